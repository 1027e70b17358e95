import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"

/** A peer that plays the client, and one that plays the runtime. */
const facing = (options?: TestPeer.Options) =>
  Effect.gen(function* () {
    const [near, far] = yield* MemoryTransport.pair()
    return { client: TestPeer.make(near, options), runtime: TestPeer.make(far, options), near }
  })

const greeted = Effect.gen(function* () {
  const peers = yield* facing()
  const [welcome, hello] = yield* Effect.all([peers.client.hello(), peers.runtime.welcome()], {
    concurrency: "unbounded"
  })
  return { ...peers, welcome, hello }
})

const messageOf = <A>(effect: Effect.Effect<A, TestPeer.PeerError>) =>
  Effect.map(Effect.flip(effect), (error) => error.message)

describe("TestPeer", () => {
  it.effect("says hello as a client and welcomes as a runtime", () =>
    Effect.gen(function* () {
      const { hello, welcome } = yield* greeted
      assert.isUndefined(hello.session_id)
      assert.deepStrictEqual(hello.payload["auth"], { scheme: "bearer", token: "secret" })
      assert.strictEqual(welcome.session_id, "sess_test")
      assert.containSubset(welcome.payload, { capabilities: { features: TestPeer.features } })
    })
  )

  it.effect("fills in what a frame does not mention, and sends text as it stands", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* greeted
      const sent = yield* client.send({ type: "session.ack" })
      assert.deepStrictEqual(yield* runtime.receive, sent)
      assert.containSubset(sent, { arcp: "1.1", session_id: "sess_test", payload: {} })
      const next = yield* client.send({ type: "session.ack", id: "mine", arcp: undefined, session_id: undefined })
      assert.deepStrictEqual(yield* runtime.receive, { id: "mine", payload: {}, type: "session.ack" } as never)
      assert.strictEqual(next.id, "mine")
      yield* client.send(" { no frame ")
      assert.include(yield* messageOf(runtime.receive), "no object with a type and a payload:  { no frame")
    })
  )

  it.effect("says what came instead of what was expected, and passes over nothing", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* greeted
      for (const type of ["a", "b", "c"]) yield* client.send({ type })
      const message = yield* messageOf(runtime.expect("b"))
      assert.include(message, "Expected b, got a, then b, c")
      assert.include(message, `received: {"arcp":"1.1"`)
      yield* client.send({ type: "d", payload: { n: 1 } })
      assert.include(
        yield* messageOf(runtime.expect("d", (frame) => frame.payload["n"] === 2)),
        "Expected d, got one that does not fit"
      )
    })
  )

  it.effect("gives up on a frame that does not come, whatever the clock of the test does", () =>
    Effect.gen(function* () {
      const { runtime } = yield* facing({ patience: "20 millis" })
      assert.include(yield* messageOf(runtime.receive), "Expected a frame, got nothing within 20ms")
      assert.include(yield* messageOf(runtime.closed), "still open after 20ms")
    })
  )

  it.effect("collects up to a frame, and whatever is there", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* greeted
      for (const type of ["a", "b", "c", "d"]) yield* client.send({ type })
      const types = (frames: ReadonlyArray<TestPeer.Frame>) => frames.map((frame) => frame.type)
      assert.deepStrictEqual(types(yield* runtime.until("b")), ["a", "b"])
      assert.deepStrictEqual(types(yield* runtime.drain), ["c", "d"])
      assert.deepStrictEqual(yield* runtime.drain, [])
    })
  )

  it.effect("shows how the line ended, and not before everything was read", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* greeted
      yield* client.send({ type: "last" })
      yield* client.close({ code: 4000, reason: "gone" })
      assert.include(yield* messageOf(runtime.closed), "Expected the end of the line, got last")
      assert.deepStrictEqual(yield* runtime.closed, { code: 4000, reason: "gone" })
      assert.include(yield* messageOf(runtime.receive), "got the end of the line: 4000 gone")
      assert.include(yield* messageOf(runtime.send({ type: "late" })), "Cannot send: 4000 gone")
    })
  )

  it.effect("records both directions in order", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* greeted
      yield* client.send("x")
      yield* Effect.ignore(runtime.receive)
      const record = yield* runtime.record
      assert.deepStrictEqual(
        record.map(({ direction }) => direction),
        ["received", "sent", "received"]
      )
      assert.strictEqual(record.at(-1)!.text, "x")
    })
  )

  it.effect("reads only when it is asked to", () =>
    Effect.gen(function* () {
      const [near, far] = yield* MemoryTransport.pair({ capacity: 1 })
      const peer = TestPeer.make(far)
      yield* near.send([`{"type":"a","payload":{}}`])
      const second = yield* Effect.forkScoped(near.send([`{"type":"b","payload":{}}`]), { startImmediately: true })
      yield* Effect.yieldNow
      assert.isUndefined(second.pollUnsafe())
      yield* peer.expect("a")
      yield* Fiber.join(second)
      yield* peer.expect("b")
    })
  )

  it.effect("listens in the place of a runtime", () =>
    Effect.gen(function* () {
      const network = yield* MemoryTransport.make()
      const accept = yield* TestPeer.listen(network)
      const one = TestPeer.make(yield* network.dial)
      const two = TestPeer.make(yield* network.dial)
      yield* one.send({ type: "one" })
      yield* two.send({ type: "two" })
      yield* (yield* accept).expect("one")
      yield* (yield* accept).expect("two")
    })
  )
})
