import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Dialer from "../../src/session/Dialer.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { answer, answers, assertRefused, join, received, run, sendSubmit, submit, withRuntime } from "./Conversation.ts"
import { verifies } from "./verifies.ts"

const sequenced = ["job.event", "job.result", "job.error"]

/** A session in which every kind of frame that a runtime sends occurs. */
const everything = Effect.fnUntraced(function* (peer: TestPeer.TestPeer) {
  yield* peer.hello()
  yield* run(peer, "kitchen-sink", null)
  yield* run(peer, "failing", "declared")
  const { job_id } = yield* submit(peer, "sleeper", 1)
  yield* peer.expect("job.event")
  yield* peer.send({ type: "job.cancel", job_id })
  yield* peer.until("job.error")
  yield* peer.send({ type: "session.ping", payload: { nonce: "n" } })
  yield* peer.expect("session.pong")
  yield* sendSubmit(peer, "nobody", null)
  yield* peer.expect("session.error")
  yield* peer.send({ type: "session.close" })
  yield* peer.expect("session.closed")
  yield* peer.closed
  return yield* received(peer)
})

describe("Envelope", () => {
  verifies("C-003", "every frame has the version, an id, a type and an object as its payload", () =>
    Effect.gen(function* () {
      const frames = yield* everything(yield* TestPeer.connect)
      assert.isAtLeast(frames.length, 20)
      for (const frame of frames) {
        assert.strictEqual(frame.arcp, "1.1")
        assert.match(frame.id!, /^msg_[0-9A-HJKMNP-TV-Z]{26}$/)
        assert.isString(frame.type)
        assert.isObject(frame.payload)
      }
    }).pipe(withRuntime())
  )

  verifies("C-004", "no two frames of a session have the same id", () =>
    Effect.gen(function* () {
      const ids = (yield* everything(yield* TestPeer.connect)).map((frame) => frame.id)
      assert.strictEqual(new Set(ids).size, ids.length)
    }).pipe(withRuntime())
  )

  // Not so yet: sessions that were opened in the same millisecond number their frames with the same ids.
  it.effect("no two frames of two sessions have the same id", () =>
    Effect.gen(function* () {
      const one = yield* everything(yield* TestPeer.connect)
      const two = yield* everything(yield* TestPeer.connect)
      const ids = [...one, ...two].map((frame) => frame.id)
      assert.strictEqual(new Set(ids).size, ids.length)
    }).pipe(withRuntime())
  )

  verifies("C-009", "every frame from the welcome on names the session, and the same", () =>
    Effect.gen(function* () {
      const frames = yield* everything(yield* TestPeer.connect)
      assert.strictEqual(new Set(frames.map((frame) => frame.session_id)).size, 1)
      assert.isString(frames[0]!.session_id)
    }).pipe(withRuntime())
  )

  verifies("C-010", "only what a job says has a place in the sequence", () =>
    Effect.gen(function* () {
      const frames = yield* everything(yield* TestPeer.connect)
      for (const { event_seq, type } of frames)
        assert.strictEqual(event_seq !== undefined, sequenced.includes(type), type)
      const types = new Set(frames.map((frame) => frame.type))
      assert.includeMembers([...types], ["job.accepted", "job.cancelled", "session.pong", ...sequenced])
    }).pipe(withRuntime())
  )

  verifies(["C-005", "C-007"], "members that nobody knows are passed over, outside and inside the payload", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      yield* peer.send({
        type: "job.submit",
        zzz: 1,
        correlation_id: { deep: [null] },
        __proto__: { polluted: true },
        extensions: { "not.a.vendor": 1, "x-vendor.acme.thing": { a: 1 } },
        payload: { agent: "tck-echo", input: { zzz: 2 }, zzz: [3], constructor: null }
      })
      yield* peer.expect("job.accepted")
      const frames = yield* peer.until("job.result")
      assert.deepStrictEqual(frames.at(-1)!.payload["result"], { zzz: 2 })
    }).pipe(withRuntime())
  )

  verifies("C-008", "what is no frame is refused, field by field, and the session goes on", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (const text of ["{", "", "[]", "7", "null", `"text"`, "\u0000", "[".repeat(100_000)]) {
        yield* peer.send(text)
        assertRefused(yield* answer(peer), "INVALID_REQUEST")
      }
      const cases: ReadonlyArray<readonly [field: string, frame: TestPeer.Draft]> = [
        ["id", { type: "session.ping", id: 7, payload: { nonce: "n" } }],
        ["id", { type: "session.ping", id: "", payload: { nonce: "n" } }],
        ["id", { type: "session.ping", id: undefined, payload: { nonce: "n" } }],
        ["arcp", { type: "session.ping", arcp: "2.0", payload: { nonce: "n" } }],
        ["payload", { type: "session.ping", payload: [] }],
        ["payload.nonce", { type: "session.ping", payload: {} }],
        ["payload.agent", { type: "job.submit", payload: { input: 1 } }],
        ["payload.max_runtime_sec", { type: "job.submit", payload: { agent: "a", max_runtime_sec: 0 } }],
        ["payload.max_runtime_sec", { type: "job.submit", payload: { agent: "a", max_runtime_sec: 1.5 } }],
        ["payload.idempotency_key", { type: "job.submit", payload: { agent: "a", idempotency_key: "" } }],
        ["payload.last_processed_seq", { type: "session.ack", payload: { last_processed_seq: 2 ** 60 } }],
        ["payload.last_processed_seq", { type: "session.ack", payload: { last_processed_seq: -1 } }]
      ]
      for (const [field, frame] of cases) {
        yield* peer.send(frame)
        const refusal = yield* answer(peer)
        assertRefused(refusal, "INVALID_REQUEST")
        assert.containSubset(refusal.payload["details"], { field })
        assert.isTrue(
          (refusal.payload["message"] as string).startsWith(`${field}: `),
          refusal.payload["message"] as string
        )
        if (typeof frame["id"] === "string" && frame["id"] !== "")
          assert.strictEqual(refusal.payload["request_id"], frame["id"])
      }
    }).pipe(withRuntime())
  )

  verifies("C-028", "a ping is answered with its nonce, negotiated or not", () =>
    Effect.gen(function* () {
      const peer = yield* join({ features: [] })
      for (const nonce of ["a", "b", ""]) {
        yield* peer.send({ type: "session.ping", payload: { nonce, sent_at: "whenever" } })
        const pong = yield* peer.expect("session.pong")
        assert.deepStrictEqual(pong.payload, { ping_nonce: nonce, received_at: "1970-01-01T00:00:00.000Z" })
      }
    }).pipe(withRuntime())
  )

  verifies("C-032", "pings between events take no number", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const one = yield* run(peer, "tck-log-emitter", 2)
      yield* answers(peer)
      yield* answers(peer)
      const two = yield* run(peer, "tck-log-emitter", 2)
      const numbers = [...one.frames, ...two.frames].map((frame) => frame.event_seq)
      assert.deepStrictEqual(numbers, [1, 2, 3, 4, 5, 6, 7, 8])
    }).pipe(withRuntime())
  )

  verifies("C-038", "an acknowledgement of what was never sent, or of less than before, does no harm", () =>
    Effect.gen(function* () {
      const peer = yield* join({ features: ["ack"] })
      for (const last_processed_seq of [1_000_000_000, 3, 0, Number.MAX_SAFE_INTEGER]) {
        yield* peer.send({ type: "session.ack", payload: { last_processed_seq } })
      }
      assert.deepStrictEqual(yield* answers(peer), [])
      const { frames } = yield* run(peer, "tck-log-emitter", 3)
      assert.deepStrictEqual(
        frames.map((frame) => frame.event_seq),
        [1, 2, 3, 4, 5]
      )
    }).pipe(withRuntime())
  )

  it.effect("takes the versions and the omissions of other peers", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (const envelope of [
        { arcp: "1" },
        { arcp: "1.2" },
        { arcp: null },
        { arcp: undefined },
        { session_id: undefined },
        { session_id: null, trace_id: null, job_id: null, event_seq: null, extensions: null },
        { trace_id: "no trace" },
        { event_seq: 7 }
      ]) {
        yield* peer.send({
          type: "job.submit",
          payload: { agent: "tck-echo", input: 1, max_runtime_sec: null },
          ...envelope
        })
        yield* peer.expect("job.accepted")
        yield* peer.until("job.result")
      }
      yield* peer.send({ type: "session.pong", payload: undefined })
      assertRefused(yield* answer(peer), "INVALID_REQUEST")
    }).pipe(withRuntime())
  )

  it.effect("refuses a frame of another session", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const sent = yield* peer.send({ type: "job.submit", session_id: "sess_other", payload: { agent: "tck-echo" } })
      const refusal = yield* answer(peer)
      assertRefused(refusal, "INVALID_REQUEST", sent)
      assert.deepStrictEqual(refusal.payload["details"], { field: "session_id" })
    }).pipe(withRuntime())
  )

  it.effect("refuses types that it does not know, unless they may be passed over", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (const type of ["job.frobnicate", "x-vendor.acme.thing", "toString", "__proto__", "session.welcome"]) {
        const sent = yield* peer.send({ type })
        const refusal = yield* answer(peer)
        assertRefused(refusal, "INVALID_REQUEST", sent)
        assert.deepStrictEqual(refusal.payload["details"], { type })
      }
      for (let times = 0; times < 40; times++) {
        yield* peer.send({ type: "x-vendor.acme.thing", extensions: { optional: true } })
      }
      assert.deepStrictEqual(yield* answers(peer), [])
    }).pipe(withRuntime())
  )

  it.effect("hears a frame once, however often its transport brings it, but every ping", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (let times = 0; times < 3; times++) {
        yield* peer.send({ type: "job.submit", id: "once", payload: { agent: "sleeper", input: 60 } })
      }
      const frames = yield* answers(peer)
      assert.strictEqual(frames.filter((frame) => frame.type === "job.accepted").length, 1)
      for (let times = 0; times < 3; times++) {
        yield* peer.send({ type: "session.ping", id: "same", payload: { nonce: "n" } })
        yield* peer.expect("session.pong")
      }
    }).pipe(withRuntime())
  )

  it.effect("closes on a peer that sends nothing but what is no frame, and says why before", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (let times = 0; times < 3; times++) yield* peer.send("{")
      yield* peer.send({ type: "session.ping", payload: { nonce: "n" } })
      yield* peer.until("session.pong")
      for (let times = 0; times < 4; times++) yield* peer.send("{")
      for (let times = 0; times < 4; times++) assertRefused(yield* peer.receive, "INVALID_REQUEST")
      assert.strictEqual((yield* peer.closed).code, 1007)
      assert.strictEqual((yield* run(yield* join(), "tck-echo", 1)).terminal.type, "job.result")
    }).pipe(withRuntime({ config: { maxBadFrames: 4 } }))
  )

  it.effect("answers all of many bad frames that come in one write before it closes", () =>
    Effect.gen(function* () {
      const line = yield* Dialer.Dialer.use((dialer) => dialer.dial)
      yield* line.send([JSON.stringify({ id: "x", ...TestPeer.helloOf() })])
      yield* line.pull
      yield* line.send(["{", "[", "7", "null", "{"])
      let answered = 0
      const end = yield* Effect.flip(
        Effect.forever(Effect.map(line.pull, (frames) => (answered += frames.filter(Result.isSuccess).length)))
      )
      assert.deepStrictEqual([answered, end.code], [4, 1007])
    }).pipe(withRuntime({ config: { maxBadFrames: 4 } }))
  )
})
