import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import type * as Json from "../../src/protocol/Json.ts"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as Dialer from "../../src/session/Dialer.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import {
  answer,
  answers,
  assertRefused,
  eventually,
  join,
  kinds,
  run,
  sendSubmit,
  submit,
  withRuntime
} from "./Conversation.ts"
import { verifies } from "./verifies.ts"

const openSessions = Sessions.Sessions.use((sessions) => sessions.size)

const features = (welcome: TestPeer.Frame) =>
  (welcome.payload["capabilities"] as { readonly features: ReadonlyArray<string> }).features

describe("Handshake", () => {
  verifies("C-013", "a hello is welcomed with everything that the session needs", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      const welcome = yield* peer.hello()
      assert.match(welcome.session_id!, /^sess_[0-9A-HJKMNP-TV-Z]{26}$/)
      assert.isUndefined(welcome.event_seq)
      const { capabilities, resume_token, ...rest } = welcome.payload
      assert.deepStrictEqual(rest, {
        runtime: { name: "effect-arcp", version: "0.1.0" },
        session_id: welcome.session_id!,
        resume_window_sec: 600,
        accepted_at: "1970-01-01T00:00:00.000Z"
      })
      assert.match(resume_token as string, /^rt_[0-9a-f]{64}$/)
      assert.containSubset(capabilities, { encodings: ["json"] })
    }).pipe(withRuntime())
  )

  verifies("C-017", "the welcome lists every agent with its versions", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      const { payload } = yield* peer.hello()
      const { agents } = payload["capabilities"] as { readonly agents: ReadonlyArray<unknown> }
      assert.deepInclude(agents, { name: "tck-echo", versions: ["1.0.0"], default: "1.0.0" })
      assert.lengthOf(agents, 7)
    }).pipe(withRuntime())
  )

  verifies("C-014", "only what both sides named is agreed, and nothing else is done", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      const welcome = yield* peer.hello({ features: ["agent_versions", "ack", "x-later"] })
      assert.sameMembers([...features(welcome)], ["agent_versions", "ack"])

      const { frames } = yield* run(peer, "kitchen-sink@1.0.0", null)
      assert.isAbove(kinds(frames).length, 5)
      assert.deepStrictEqual(
        kinds(frames).filter((kind) => kind === "progress" || kind === "result_chunk"),
        []
      )

      for (const request of [
        { type: "session.list_jobs" },
        { type: "job.subscribe", payload: { job_id: "job_x" } },
        {
          type: "job.submit",
          payload: { agent: "tck-echo", lease_constraints: { expires_at: "2099-01-01T00:00:00Z" } }
        }
      ]) {
        const sent = yield* peer.send(request)
        assertRefused(yield* answer(peer), "INVALID_REQUEST", sent)
      }
    }).pipe(withRuntime())
  )

  verifies("C-016", "without heartbeat the welcome names no interval", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      const welcome = yield* peer.hello({ features: ["progress"] })
      assert.notInclude(features(welcome), "heartbeat")
      assert.notProperty(welcome.payload, "heartbeat_interval_sec")
      const other = yield* TestPeer.connect
      const agreed = yield* other.hello({ features: ["heartbeat"] })
      assert.strictEqual(features(agreed).includes("heartbeat"), "heartbeat_interval_sec" in agreed.payload)
    }).pipe(withRuntime())
  )

  verifies("C-018", "a submit before the hello runs nothing and ends the line", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      const sent = yield* sendSubmit(peer, "tck-echo", 1)
      assertRefused(yield* peer.expect("session.error"), "INVALID_REQUEST", sent)
      assert.strictEqual((yield* peer.closed).code, 1002)
    }).pipe(withRuntime())
  )

  verifies("C-011", "a wrong token is refused, without a welcome, and the line closed", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      const hello = yield* peer.send(TestPeer.helloOf({ token: "wrong" }))
      const refusal = yield* peer.expect("session.error")
      assertRefused(refusal, "UNAUTHENTICATED", hello)
      assert.isFalse(refusal.payload["retryable"])
      // Without a session id several clients do not hear it.
      assert.match(refusal.session_id!, /^sess_/)
      assert.strictEqual((yield* peer.closed).code, 1008)
      assert.strictEqual(yield* openSessions, 0)
    }).pipe(withRuntime())
  )

  verifies(
    "C-012",
    "a token that is empty or missing, and a scheme that is not bearer, are refused in the same words",
    () =>
      Effect.gen(function* () {
        const client = { name: "test", version: "1" }
        const auths: ReadonlyArray<Json.JsonObject | undefined> = [
          { scheme: "bearer", token: "" },
          { scheme: "bearer" },
          { scheme: "none" },
          { scheme: "anonymous", token: "secret" },
          undefined
        ]
        const refusals = yield* Effect.forEach(
          auths,
          Effect.fnUntraced(function* (auth) {
            const peer = yield* TestPeer.connect
            yield* peer.send({ type: "session.hello", payload: { client, ...(auth === undefined ? {} : { auth }) } })
            const { payload } = yield* peer.expect("session.error")
            assert.strictEqual((yield* peer.closed).code, 1008)
            return [payload["code"], payload["message"]]
          })
        )
        assert.deepStrictEqual(
          refusals,
          refusals.map(() => ["UNAUTHENTICATED", "The credentials were not accepted"])
        )
      }).pipe(withRuntime())
  )

  it.effect("asks for no capabilities, and for none of their lists", () =>
    Effect.gen(function* () {
      for (const capabilities of [undefined, null, {}, { features: [] }, { features: null, encodings: null }]) {
        const peer = yield* TestPeer.connect
        yield* peer.send({
          type: "session.hello",
          payload: {
            client: { name: "test", version: "1" },
            auth: { scheme: "bearer", token: "secret" },
            ...(capabilities === undefined ? {} : { capabilities })
          }
        })
        assert.deepStrictEqual(features(yield* peer.expect("session.welcome")), [])
      }
    }).pipe(withRuntime())
  )

  it.effect("refuses a second hello and keeps the session", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const again = yield* peer.send(TestPeer.helloOf())
      assertRefused(yield* answer(peer), "INVALID_REQUEST", again)
      assert.strictEqual((yield* run(peer, "tck-echo", 1)).terminal.type, "job.result")
      assert.strictEqual(yield* openSessions, 1)
    }).pipe(withRuntime())
  )

  it.effect("tells a peer of the older protocol what was expected, and a resume of nothing that it is over", () =>
    Effect.gen(function* () {
      const older = yield* TestPeer.connect
      yield* older.send({ type: "session.open", payload: { auth: { scheme: "bearer", token: "secret" } } })
      const refusal = yield* older.expect("session.error")
      assertRefused(refusal, "INVALID_REQUEST")
      assert.include(refusal.payload["message"] as string, "session.hello")
      assert.strictEqual((yield* older.closed).code, 1002)

      const resuming = yield* TestPeer.connect
      yield* resuming.send({
        type: "session.resume",
        payload: {
          session_id: "sess_x",
          resume_token: "rt_x",
          last_event_seq: 0,
          auth: { scheme: "bearer", token: "secret" }
        }
      })
      assertRefused(yield* resuming.expect("session.error"), "RESUME_WINDOW_EXPIRED")
      assert.strictEqual((yield* resuming.closed).code, 1008)
    }).pipe(withRuntime())
  )

  it.effect("answers a first frame that is no frame, and closes", () =>
    Effect.gen(function* () {
      for (const text of ["{", "[]", "null", `{"arcp":"2.0","id":"x","type":"session.hello","payload":{}}`]) {
        const peer = yield* TestPeer.connect
        yield* peer.send(text)
        assertRefused(yield* peer.expect("session.error"), "INVALID_REQUEST")
        assert.strictEqual((yield* peer.closed).code, 1002)
      }
    }).pipe(withRuntime())
  )

  it.effect("does not wait longer for a hello than it says", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(yield* peer.drain, [])
      yield* TestClock.adjust("1 millis")
      assertRefused(yield* peer.expect("session.error"), "INVALID_REQUEST")
      assert.strictEqual((yield* peer.closed).code, 1008)
    }).pipe(withRuntime())
  )

  it.effect("keeps nothing of peers that leave right after their hello", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 20; round++) {
        const peer = yield* TestPeer.connect
        yield* peer.send(TestPeer.helloOf())
        yield* peer.close()
      }
      yield* join({ token: "other" })
      yield* eventually(TestClock.adjust("1 second").pipe(Effect.andThen(openSessions)), (open) => open === 1)
      // Nor is a place taken.
      yield* join()
    }).pipe(
      withRuntime({
        tokens: { secret: "tester", other: "another" },
        config: { maxSessionsPerPrincipal: 20, resumeWindow: Duration.seconds(1) }
      })
    )
  )

  it.effect("reads what came in one write with the hello after it, in order", () =>
    Effect.gen(function* () {
      const line = yield* Dialer.Dialer.use((dialer) => dialer.dial)
      const frame = (draft: TestPeer.Draft) => JSON.stringify({ arcp: "1.1", id: draft.type, payload: {}, ...draft })
      yield* line.send([
        frame(TestPeer.helloOf()),
        frame({ type: "session.ping", payload: { nonce: "early" } }),
        frame({ type: "session.close" })
      ])
      const types: Array<string> = []
      yield* Effect.ignore(
        Effect.forever(
          Effect.map(line.pull, (frames) => {
            for (const result of frames) if (Result.isSuccess(result)) types.push(result.success.type)
          })
        )
      )
      assert.deepStrictEqual(types, ["session.welcome", "session.pong", "session.closed"])
    }).pipe(withRuntime())
  )

  it.effect("holds no more sessions of one principal than it may", () =>
    Effect.gen(function* () {
      yield* join()
      const second = yield* join()
      const third = yield* TestPeer.connect
      const hello = yield* third.send(TestPeer.helloOf())
      const refusal = yield* third.expect("session.error")
      assertRefused(refusal, "INTERNAL_ERROR", hello)
      assert.containSubset(refusal.payload["details"], { limit: "sessions_per_principal", retry_after_ms: 1000 })
      assert.strictEqual((yield* third.closed).code, 1013)
      yield* join({ token: "other" })
      assert.deepStrictEqual(yield* answers(second), [])
    }).pipe(withRuntime({ tokens: { secret: "tester", other: "another" }, config: { maxSessionsPerPrincipal: 2 } }))
  )
})

describe("Close", () => {
  verifies("C-046", "a close is answered, once, and the line closed", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const ids = [yield* peer.send({ type: "session.close", payload: { reason: "done" } })]
      ids.push(yield* peer.send({ type: "session.close", payload: { reason: "really" } }))
      const closed = yield* peer.expect("session.closed")
      assert.deepStrictEqual(closed.payload, { reason: "done" })
      assert.isUndefined(closed.event_seq)
      assert.strictEqual((yield* peer.closed).code, 1000)
    }).pipe(withRuntime())
  )

  it.effect("answers a close after what was asked before it, whatever form the answers have", () =>
    Effect.gen(function* () {
      for (const profile of ["standard", "ts"] as const) {
        const peer = yield* join({ profile })
        yield* peer.send({ type: "session.ping", payload: { nonce: "n" } })
        yield* sendSubmit(peer, "nobody", 1)
        yield* peer.send({ type: "session.close" })
        const frames = yield* peer.until("session.closed")
        assert.sameMembers(
          frames.map((frame) => frame.payload["code"] ?? frame.type),
          ["session.pong", "AGENT_NOT_AVAILABLE", "session.closed"]
        )
        assert.strictEqual((yield* peer.closed).code, 1000)
      }
    }).pipe(withRuntime())
  )

  it.effect("takes the older farewell, and answers it with the end of the line", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      yield* peer.send({ type: "session.bye", payload: { reason: "done" } })
      assert.strictEqual((yield* peer.closed).code, 1000)
    }).pipe(withRuntime())
  )

  it.effect("frees the place of a session that was closed", () =>
    Effect.gen(function* () {
      const one = yield* join()
      yield* one.send({ type: "session.close" })
      yield* one.expect("session.closed")
      yield* one.closed
      const two = yield* join()
      assert.strictEqual(yield* openSessions, 1)
      assert.deepStrictEqual(yield* answers(two), [])
    }).pipe(withRuntime({ config: { maxSessionsPerPrincipal: 1 } }))
  )

  it.effect("of the runtime itself is said to all sessions, once, and ends their lines", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const services = yield* Layer.buildWithScope(ArcpTest.layerRuntime({ agents: TestAgent.layer }), scope)
      const [one, two] = yield* Effect.provide(Effect.all([join(), join()]), services)
      yield* submit(one, "sleeper", 3600)
      yield* answers(one)
      yield* Scope.close(scope, Exit.void)
      for (const peer of [one, two]) {
        yield* peer.expect("session.closed", (frame) => frame.payload["reason"] === "shutting_down")
        assert.strictEqual((yield* peer.closed).code, 1001)
      }
    })
  )
})
