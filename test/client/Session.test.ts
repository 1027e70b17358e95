import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import type * as ArcpClient from "../../src/client/ArcpClient.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Fake from "./FakeRuntime.ts"

/** A client with a running job, one submit and one cancellation that wait. */
const busy = Effect.fnUntraced(function* (options: Partial<ArcpClient.Options> = {}) {
  const runtime = yield* Fake.make()
  const client = yield* Fake.connect(runtime, { reconnect: false, ...options }, Fake.declared)
  const accepting = yield* Effect.forkChild(client.submit("a", null))
  yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"), Fake.event("job_1", 1))
  const job = yield* Fiber.join(accepting)
  const waiting = yield* Effect.forkChild(
    Effect.all(
      [
        Fake.failed(job.result),
        Fake.failed(Stream.runDrain(job.events)),
        Fake.failed(job.cancel()),
        Fake.failed(client.submit("b", null)),
        Fake.failed(client.ping)
      ],
      { concurrency: "unbounded" }
    )
  )
  yield* runtime.hear("job.cancel")
  yield* runtime.hear("job.submit")
  yield* runtime.hear("session.ping")
  return { runtime, client, job, waiting }
})

const tags = (errors: ReadonlyArray<{ readonly _tag: string }>) => new Set(errors.map((error) => error._tag))

describe("the sequence", () => {
  it.effect("passes over what came before", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* busy()
      yield* runtime.say(Fake.event("job_1", 1), Fake.event("job_1", 2), Fake.event("job_1", 1), Fake.event("job_1", 2))
      yield* runtime.say(Fake.result("job_1", 3, "x"))
      yield* job.result
      assert.strictEqual((yield* Stream.runCollect(job.events)).length, 2)
    })
  )

  it.effect("counts what belongs to others, and what cannot be read", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* busy()
      yield* runtime.say(
        Fake.event("job_9", 2),
        Fake.event("job_1", 3, "log", { level: 5 }),
        { type: "zzz", event_seq: 4 },
        { type: "job.event", event_seq: 5, payload: { kind: "status", body: { phase: "back_pressure" } } },
        Fake.result("job_1", 6, "x")
      )
      assert.strictEqual(yield* job.result, "x")
    })
  )

  it.effect("with a gap ends the line, and the session if that is not to be resumed", () =>
    Effect.gen(function* () {
      const { runtime, waiting } = yield* busy()
      yield* runtime.say(Fake.event("job_1", 3))
      const errors = yield* Fiber.join(waiting)
      assert.deepStrictEqual(tags(errors), new Set(["HeartbeatLost"]))
      assert.deepStrictEqual(errors[0].message, "The runtime's sequence has a gap: expected event_seq 2, not 3")
      yield* runtime.closed
    })
  )
})

describe("a session that is lost tells everybody", () => {
  it.effect("when the line goes: HeartbeatLost", () =>
    Effect.gen(function* () {
      const { client, job, runtime, waiting } = yield* busy()
      yield* runtime.close()
      const errors = yield* Fiber.join(waiting)
      assert.deepStrictEqual(tags(errors), new Set(["HeartbeatLost"]))
      const [first] = errors
      assert.strictEqual((yield* Fake.failed(client.submit("c", null))) as unknown, first)
      assert.strictEqual((yield* Fake.failed(client.ping)) as unknown, first)
      assert.strictEqual((yield* Fake.failed(job.cancel())) as unknown, first)
      assert.strictEqual((yield* Fake.failed(job.result)) as unknown, first)
    })
  )

  it.effect("but what has come in can still be read", () =>
    Effect.gen(function* () {
      const { job, runtime, waiting } = yield* busy()
      yield* runtime.close()
      yield* Fiber.join(waiting)
      const events: Array<string> = []
      yield* Fake.failed(Stream.runForEach(job.events, (event) => Effect.sync(() => events.push(event.kind))))
      assert.deepStrictEqual(events, ["log"])
    })
  )

  it.effect("when the runtime says so", () =>
    Effect.gen(function* () {
      const ends = {
        UNAUTHENTICATED: "Unauthenticated",
        HEARTBEAT_LOST: "HeartbeatLost",
        RESUME_WINDOW_EXPIRED: "ResumeWindowExpired"
      }
      for (const [code, tag] of Object.entries(ends)) {
        const { runtime, waiting } = yield* busy()
        yield* runtime.say({ type: "session.error", payload: { code, message: "over", retryable: false } })
        const errors = yield* Fiber.join(waiting)
        assert.deepStrictEqual(tags(errors), new Set([tag]))
        assert.strictEqual(errors[0].message, "over")
      }
      for (const type of ["session.closed", "session.bye"]) {
        const { runtime, waiting } = yield* busy()
        yield* runtime.say({ type, payload: { reason: "superseded" } })
        const errors = yield* Fiber.join(waiting)
        assert.deepStrictEqual(tags(errors), new Set(["HeartbeatLost"]))
        assert.deepStrictEqual((errors[0] as { readonly details?: object }).details, { reason: "superseded" })
      }
    })
  )

  it.effect("when the layer is closed", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(Fake.open(runtime, {}, Fake.declared), scope)
      const waiting = yield* Effect.forkChild(Fake.failed(client.submit("a", null)))
      yield* runtime.hear("job.submit")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* runtime.hear("session.close")
      assert.isUndefined(waiting.pollUnsafe())
      yield* runtime.say({ type: "session.closed" })
      yield* Fiber.join(closing)
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "HeartbeatLost")
    })
  )

  it.effect("and not for an error that is about something else", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* busy()
      const error = { code: "INVALID_REQUEST", message: "what?", retryable: false }
      yield* runtime.say(
        { type: "session.error", payload: error },
        { type: "session.error", payload: { ...error, request_id: "msg_x" } },
        { type: "session.error", payload: { ...error, code: "HEARTBEAT_LOST", request_id: "msg_x" } },
        Fake.result("job_1", 2, "fine")
      )
      assert.strictEqual(yield* job.result, "fine")
    })
  )
})

describe("signs of life", () => {
  verifies("C-028", "a ping is answered with its nonce, negotiated or not", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      yield* Fake.connect(runtime, { features: [] })
      yield* runtime.say({ type: "session.ping", payload: { nonce: "n1", sent_at: "2026-05-13T19:30:00.000Z" } })
      const pong = yield* runtime.hear("session.pong")
      assert.deepStrictEqual(pong.payload, { ping_nonce: "n1", received_at: "1970-01-01T00:00:00.000Z" })
      assert.strictEqual(pong.session_id, Fake.sessionId)
    })
  )

  it.effect("a ping of ours measures the way there and back", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const pinging = yield* Effect.forkChild(client.ping)
      const ping = yield* runtime.hear("session.ping")
      yield* TestClock.adjust("20 millis")
      yield* runtime.say({ type: "session.pong", payload: { ping_nonce: "other" } })
      yield* runtime.say({ type: "session.pong", payload: { ping_nonce: ping.payload.nonce } })
      assert.strictEqual(Duration.toMillis(yield* Fiber.join(pinging)), 20)
    })
  )

  it.effect("a ping without a pong is a Timeout", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, { requestTimeout: "5 seconds" })
      const pinging = yield* Effect.forkChild(Fake.failed(client.ping))
      yield* runtime.hear("session.ping")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(pinging))._tag, "Timeout")
    })
  )

  it.effect("a client that has nothing to say says so after four fifths of the interval, if that was negotiated", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      yield* TestClock.adjust("23 seconds")
      yield* Effect.forkChild(client.submit("a", null))
      yield* runtime.hear("job.submit")
      yield* TestClock.adjust("23 seconds")
      assert.deepStrictEqual(yield* runtime.unheard, [])
      yield* TestClock.adjust("1 seconds")
      yield* runtime.hear("session.ping")

      const silent = yield* Fake.make()
      yield* Fake.connect(silent, { features: [] })
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* silent.unheard, [])
    })
  )
})
