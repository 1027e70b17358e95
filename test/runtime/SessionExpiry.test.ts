import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as ArcpServer from "../../src/runtime/ArcpServer.ts"
import * as Listener from "../../src/session/Listener.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import { answers, assertRefused, withRuntime } from "../conformance/Conversation.ts"
import { returnOf, ticketOf } from "../conformance/Stage.ts"

/** Opens a way to the runtime of the test on which a token is the time, in milliseconds, at which it expires. */
const listen = Effect.gen(function* () {
  const network = yield* MemoryTransport.make()
  const authenticator = Authenticator.Authenticator.of({
    authenticate: ({ token }) => Effect.succeed({ id: "tester", expiresAt: Number(Redacted.value(token)) })
  })
  const way = Layer.merge(
    Listener.layer((accept) => network.listen(accept)),
    Layer.succeed(Authenticator.Authenticator, authenticator)
  )
  yield* Layer.buildWithScope(Layer.provide(Layer.fresh(ArcpServer.layer), way), yield* Effect.scope)
  return Effect.map(network.dial, (line) => TestPeer.make(line))
})

describe("a session whose credentials expire", () => {
  it.effect("ends its connection then, and goes on over one with fresh credentials, as do its jobs", () =>
    Effect.gen(function* () {
      const connect = yield* listen
      const peer = yield* connect
      const ticket = ticketOf(yield* peer.hello({ token: "10000" }))
      yield* peer.send({ type: "job.submit", payload: { agent: "sleeper", input: 12 } })
      yield* peer.until("job.event")
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(yield* answers(peer), [])
      yield* TestClock.adjust("1 millis")
      assertRefused(yield* peer.expect("session.error"), "UNAUTHENTICATED")
      assert.strictEqual((yield* peer.closed).code, 1008)

      const back = yield* connect
      yield* back.send(returnOf(ticket, { last: 1, hello: { token: "20000" } }))
      yield* back.expect("session.welcome")
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual((yield* back.expect("job.result")).event_seq, 2)
      assert.deepStrictEqual(yield* answers(back), [])
      yield* TestClock.adjust("1 second")
      assertRefused(yield* back.expect("session.error"), "UNAUTHENTICATED")
    }).pipe(withRuntime())
  )

  it.effect.each(["0", "-Infinity", "NaN"])("ends at once if they expire at %s", (token) =>
    Effect.gen(function* () {
      const peer = yield* yield* listen
      yield* peer.hello({ token })
      assertRefused(yield* peer.expect("session.error"), "UNAUTHENTICATED")
    }).pipe(withRuntime())
  )

  it.effect.each(["8640000000000000", "Infinity"])("goes on if they expire at %s", (token) =>
    Effect.gen(function* () {
      const peer = yield* yield* listen
      yield* peer.hello({ token })
      yield* TestClock.adjust("100 days")
      assert.deepStrictEqual(yield* answers(peer), [])
    }).pipe(withRuntime())
  )
})
