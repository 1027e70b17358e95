import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Redacted, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import type * as ArcpClient from "../../src/client/ArcpClient.ts"
import type * as ConnectionState from "../../src/client/ConnectionState.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Fake from "./FakeRuntime.ts"

/** A client with a running job that has said one thing. */
const start = Effect.fnUntraced(function* (
  options: Partial<ArcpClient.Options> = {},
  welcome: { readonly [member: string]: unknown } = Fake.declared
) {
  const runtime = yield* Fake.make()
  const client = yield* Fake.connect(runtime, options, welcome)
  const states: Array<ConnectionState.ConnectionState> = []
  yield* Effect.forkScoped(Stream.runForEach(client.state, (state) => Effect.sync(() => states.push(state))))
  const submitting = yield* Effect.forkChild(client.submit("a", null))
  yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"), Fake.event("job_1", 1))
  const job = yield* Fiber.join(submitting)
  yield* Fake.settled
  return { runtime, client, job, states }
})

const refusal = (code: string) => ({ type: "session.error", payload: { code, message: "no", retryable: false } })

const messages = (events: ReadonlyArray<{ readonly body: unknown }>) =>
  events.map(({ body }) => (body as { readonly message: string }).message)

describe("a client whose line is gone", () => {
  it.effect("dials again and goes on with the session: events and results just come", () =>
    Effect.gen(function* () {
      const { job, runtime, states } = yield* start()
      const reading = yield* Effect.forkChild(Stream.runCollect(job.events))
      yield* runtime.say(Fake.event("job_1", 2))
      yield* Fake.settled
      yield* runtime.close()
      const hello = yield* runtime.welcome({ ...Fake.declared, resume_token: "rt2" })
      assert.deepInclude(hello.payload, {
        resume: { session_id: Fake.sessionId, resume_token: "rt", last_event_seq: 2 },
        resume_token: "rt",
        last_event_seq: 2
      })
      // What came before comes once more, and is passed over.
      yield* runtime.say(Fake.event("job_1", 2), Fake.event("job_1", 3), Fake.result("job_1", 4, "x"))
      assert.strictEqual(yield* job.result, "x")
      assert.deepStrictEqual(messages(yield* Fiber.join(reading)), ["1", "2", "3"])
      assert.deepStrictEqual(
        states.map(({ _tag }) => _tag),
        ["Connected", "Reconnecting", "Connected"]
      )
      yield* runtime.close()
      assert.strictEqual((yield* runtime.welcome(Fake.declared)).payload.resume.resume_token, "rt2")
    })
  )

  it.effect("says again what was not answered: the same, under a new id", () =>
    Effect.gen(function* () {
      const { client, job, runtime } = yield* start()
      const submitting = yield* Effect.forkChild(client.submit("b", { x: 1 }))
      const first = yield* runtime.hear("job.submit")
      const cancelling = yield* Effect.forkChild(job.cancel("why"))
      const cancel = yield* runtime.hear("job.cancel")
      const pinging = yield* Effect.forkChild(client.ping)
      const ping = yield* runtime.hear("session.ping")
      yield* runtime.close()
      yield* runtime.hear("session.hello")
      // Asked for while there was no line.
      const late = yield* Effect.forkChild(client.submit("c", null))
      yield* Fake.settled
      yield* runtime.say({
        type: "session.welcome",
        payload: { runtime: { name: "r", version: "1" }, resume_token: "t", resume_window_sec: 60, ...Fake.declared }
      })
      const second = yield* runtime.hear("job.submit")
      const cancelled = yield* runtime.hear("job.cancel")
      const third = yield* runtime.hear("job.submit")
      assert.deepStrictEqual((yield* runtime.hear("session.ping")).payload.nonce, ping.payload.nonce)
      assert.notStrictEqual(second.id, first.id)
      assert.deepStrictEqual({ ...second, id: "" }, { ...first, id: "" })
      assert.deepStrictEqual({ ...cancelled, id: "" }, { ...cancel, id: "" })
      yield* runtime.say(
        Fake.accept(second, "job_2"),
        Fake.accept(third, "job_3"),
        { type: "job.cancelled", payload: { request_id: cancelled.id } },
        { type: "session.pong", payload: { ping_nonce: ping.payload.nonce } }
      )
      assert.strictEqual((yield* Fiber.join(submitting)).id, "job_2")
      assert.strictEqual((yield* Fiber.join(late)).id, "job_3")
      yield* Fiber.join(cancelling)
      yield* Fiber.join(pinging)
    })
  )

  it.effect(
    "dials again also where who gives the tokens has died of it once, and says so to all who wait if it always does",
    () =>
      Effect.gen(function* () {
        let asked = 0
        const dyingAt = (dies: (times: number) => boolean) =>
          Effect.suspend(() => (dies(++asked) ? Effect.die(new Error("no vault")) : Effect.succeed(Redacted.make("t"))))
        const once = yield* start({ token: dyingAt((times) => times === 2) })
        yield* once.runtime.close()
        yield* Fake.settled
        yield* TestClock.adjust("1 second")
        yield* once.runtime.welcome(Fake.declared)
        yield* once.runtime.say(Fake.result("job_1", 2, "x"))
        assert.strictEqual(yield* once.job.result, "x")

        asked = 0
        const always = yield* start({ token: dyingAt((times) => times > 1) })
        yield* always.runtime.close()
        const waiting = yield* Effect.forkChild(Fake.failed(always.job.result))
        yield* Fake.settled
        yield* TestClock.adjust("11 minutes")
        assert.strictEqual((yield* Fiber.join(waiting))._tag, "ResumeWindowExpired")
      })
  )

  it.effect("tells all who wait when its own schedule dies", () =>
    Effect.gen(function* () {
      const reconnect: Schedule.Schedule<unknown> = Schedule.modifyDelay(Schedule.forever, () =>
        Effect.die("a mistake")
      )
      const { job, runtime } = yield* start({ reconnect })
      yield* runtime.close()
      yield* Effect.forkScoped(Effect.andThen(runtime.hear("session.hello"), runtime.close()))
      const waiting = yield* Effect.forkChild(Fake.failed(job.result))
      yield* Fake.settled
      runtime.refuse(true)
      yield* TestClock.adjust("1 minute")
      yield* runtime.close()
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "HeartbeatLost")
    })
  )

  it.effect("gets a fresh token for each dial, and dials at once, then ever less often", () =>
    Effect.gen(function* () {
      let tokens = 0
      const { client, runtime, states } = yield* start({ token: Effect.sync(() => Redacted.make(`t${++tokens}`)) })
      runtime.refuse(true)
      yield* runtime.close()
      yield* Fake.settled
      assert.strictEqual(runtime.dials(), 2)
      yield* TestClock.adjust("79 millis")
      assert.strictEqual(runtime.dials(), 2)
      yield* TestClock.adjust("41 millis")
      assert.strictEqual(runtime.dials(), 3)
      yield* TestClock.adjust("2 minutes")
      const before = runtime.dials()
      yield* TestClock.adjust("60 seconds")
      assert.isAtLeast(runtime.dials() - before, 9)
      assert.isAtMost(runtime.dials() - before, 16)
      assert.isTrue(states.every((state) => state._tag !== "Closed"))
      runtime.refuse(false)
      yield* Effect.forkChild(TestClock.adjust("6 seconds"))
      const hello = yield* runtime.welcome(Fake.declared)
      assert.strictEqual(hello.payload.auth.token, `t${tokens}`)
      assert.isAbove(tokens, 20)
      const waiting = yield* Effect.forkChild(client.submit("b", null))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_2"))
      assert.strictEqual((yield* Fiber.join(waiting)).id, "job_2")
    })
  )

  it.effect(
    "gives up with the resume window: those who wait hear of it once, and the next request opens a session",
    () =>
      Effect.gen(function* () {
        const { client, job, runtime, states } = yield* start({}, { ...Fake.declared, resume_window_sec: 60 })
        const waiting = yield* Effect.forkChild(
          Effect.all([Fake.failed(job.result), Fake.failed(Stream.runDrain(job.events))], { concurrency: 2 })
        )
        runtime.refuse(true)
        yield* runtime.close()
        yield* Fake.settled
        yield* TestClock.adjust("59 seconds")
        assert.isUndefined(waiting.pollUnsafe())
        yield* TestClock.adjust("1 seconds")
        const [first, second] = yield* Fiber.join(waiting)
        assert.strictEqual(first._tag, "ResumeWindowExpired")
        assert.strictEqual(second as unknown, first)
        assert.deepInclude(first.details, { code: "HEARTBEAT_LOST", reason: "open" })
        assert.strictEqual(states.at(-1)?._tag, "Closed")
        assert.strictEqual((yield* Fake.failed(job.cancel()))._tag, "ResumeWindowExpired")

        // Nobody there: the request says so, and the one after tries again.
        assert.strictEqual((yield* Fake.failed(client.submit("b", null)))._tag, "HeartbeatLost")
        runtime.refuse(false)
        const both = yield* Effect.forkChild(
          Effect.all([client.submit("b", null), client.submit("c", null)], { concurrency: 2 })
        )
        const hello = yield* runtime.hear("session.hello")
        assert.isUndefined(hello.payload.resume)
        yield* runtime.say({
          type: "session.welcome",
          session_id: "sess_2",
          payload: { runtime: { name: "r", version: "1" }, resume_token: "t", ...Fake.declared }
        })
        const submits = [yield* runtime.hear("job.submit"), yield* runtime.hear("job.submit")]
        assert.deepStrictEqual(
          submits.map(({ session_id }) => session_id),
          ["sess_2", "sess_2"]
        )
        yield* runtime.say(...submits.map((submit, index) => Fake.accept(submit, `job_${index + 2}`)))
        yield* Fiber.join(both)
        assert.strictEqual((yield* client.session).id, "sess_2")
        assert.deepStrictEqual(states.at(-1), { _tag: "Connected", sessionId: (yield* client.session).id })
      })
  )

  it.effect("is told by the runtime that the session is gone", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.close()
      yield* runtime.hear("session.hello")
      yield* runtime.say(refusal("RESUME_WINDOW_EXPIRED"))
      const error = yield* Fake.failed(job.result)
      assert.deepInclude(error, { _tag: "ResumeWindowExpired", message: "no" })
      assert.strictEqual(runtime.dials(), 2)
    })
  )

  it.effect("closes for good when its schedule is used up", () =>
    Effect.gen(function* () {
      const { client, job, runtime, states } = yield* start({ reconnect: Schedule.recurs(2) })
      runtime.refuse(true)
      yield* runtime.close()
      yield* Effect.forkChild(TestClock.adjust("1 seconds"))
      const error = yield* Fake.failed(job.result)
      assert.strictEqual(error._tag, "HeartbeatLost")
      assert.strictEqual(runtime.dials(), 4)
      assert.strictEqual((yield* Fake.failed(client.submit("b", null))) as unknown, error)
      assert.strictEqual(runtime.dials(), 4)
      yield* Fake.settled
      assert.deepStrictEqual(states.at(-1), { _tag: "Closed", cause: error, renewable: false } as never)
    })
  )
})

describe("resuming", () => {
  for (const [how, answer] of [
    ["refuses the hello", refusal("INVALID_REQUEST")],
    [
      "opens another session",
      {
        type: "session.welcome",
        session_id: "sess_9",
        payload: { runtime: { name: "r", version: "1" }, resume_token: "t" }
      }
    ]
  ] as const) {
    it.effect(`tries the older form when the runtime ${how}`, () =>
      Effect.gen(function* () {
        const { job, runtime } = yield* start({}, {})
        yield* runtime.close()
        yield* runtime.hear("session.hello")
        yield* runtime.say(answer)
        const resume = yield* runtime.hear("session.resume")
        assert.deepStrictEqual(resume.payload, {
          session_id: Fake.sessionId,
          resume_token: "rt",
          last_event_seq: 1,
          auth: { scheme: "bearer", token: "secret" }
        })
        yield* runtime.say(
          {
            type: "session.welcome",
            payload: { runtime: { name: "r", version: "1" }, resume_token: "t", resume_window_sec: 1 }
          },
          Fake.result("job_1", 2, "x")
        )
        assert.strictEqual(yield* job.result, "x")
      })
    )

    it.effect(`fails when the runtime ${how} and knows neither form`, () =>
      Effect.gen(function* () {
        const { job, runtime } = yield* start({}, {})
        yield* runtime.close()
        yield* runtime.hear("session.hello")
        yield* runtime.say(answer)
        yield* runtime.hear("session.resume")
        yield* runtime.say(answer)
        assert.strictEqual((yield* Fake.failed(job.result))._tag, "ResumeWindowExpired")
        assert.strictEqual(runtime.dials(), 3)
      })
    )
  }

  verifies("C-090", "starts from the last number without a gap when one is missing", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(Fake.event("job_1", 2), Fake.event("job_1", 4), Fake.event("job_1", 5))
      const hello = yield* runtime.welcome(Fake.declared)
      assert.strictEqual(hello.payload.resume.last_event_seq, 2)
      yield* runtime.say(...[3, 4, 5].map((seq) => Fake.event("job_1", seq)), Fake.result("job_1", 6, "x"))
      assert.strictEqual(yield* job.result, "x")
      assert.deepStrictEqual(messages(yield* Stream.runCollect(job.events)), ["1", "2", "3", "4", "5"])
    })
  )

  it.effect("ends somewhere, also with a runtime that leaves the same gap each time", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(Fake.event("job_1", 3))
      const welcome = {
        type: "session.welcome",
        payload: { runtime: { name: "r", version: "1" }, resume_token: "t", resume_window_sec: 600 }
      }
      const answer = Effect.andThen(runtime.hear("session.hello"), runtime.say(welcome, Fake.event("job_1", 3)))
      const playing = yield* Effect.forkChild(Effect.forever(answer))
      yield* Effect.forkChild(Effect.forever(Effect.andThen(Fake.settled, TestClock.adjust("1 seconds"))))
      const error = yield* Fake.failed(job.result)
      assert.include(error.message, "gap")
      yield* Fiber.interrupt(playing)
      assert.isBelow(runtime.dials(), 20)
    })
  )

  it.effect("is what the runtime's own loss of us comes to", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(refusal("HEARTBEAT_LOST"))
      yield* runtime.welcome(Fake.declared)
      yield* runtime.say(Fake.result("job_1", 2, "x"))
      assert.strictEqual(yield* job.result, "x")
    })
  )

  it.effect("follows two intervals of silence", () =>
    Effect.gen(function* () {
      const { job, runtime, states } = yield* start()
      yield* TestClock.adjust("30 seconds")
      yield* runtime.hear("session.ping")
      yield* runtime.say({ type: "session.ping", payload: { nonce: "n" } })
      yield* runtime.hear("session.pong")
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(runtime.dials(), 1)
      yield* TestClock.adjust("1 seconds")
      yield* Fake.settled
      assert.strictEqual(runtime.dials(), 2)
      assert.deepInclude(states[1], { _tag: "Reconnecting", attempt: 1 })
      yield* runtime.unheard
      yield* runtime.say({
        type: "session.welcome",
        payload: { runtime: { name: "r", version: "1" }, resume_token: "t", resume_window_sec: 60 }
      })
      yield* runtime.say(Fake.result("job_1", 2, "x"))
      assert.strictEqual(yield* job.result, "x")
    })
  )

  it.effect("gets a fresh token when the old one has expired, and asks for no more than three", () =>
    Effect.gen(function* () {
      const { client, job, runtime } = yield* start()
      yield* runtime.say(refusal("UNAUTHENTICATED"))
      yield* runtime.welcome(Fake.declared)
      yield* runtime.say(refusal("UNAUTHENTICATED"))
      const waiting = yield* Effect.forkChild(Fake.failed(job.result))
      yield* Effect.forkChild(TestClock.adjust("10 seconds"))
      for (let attempt = 0; attempt < 3; attempt++) {
        yield* runtime.hear("session.hello")
        yield* runtime.say(refusal("UNAUTHENTICATED"))
      }
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "Unauthenticated")
      assert.strictEqual(runtime.dials(), 5)
      const asking = yield* Effect.forkChild(Fake.failed(client.submit("b", null)))
      yield* runtime.hear("session.hello")
      yield* runtime.say(refusal("UNAUTHENTICATED"))
      assert.strictEqual((yield* Fiber.join(asking))._tag, "Unauthenticated")
    })
  )
})

describe("the runtime's farewell", () => {
  it.effect("to a client that was superseded is the end", () =>
    Effect.gen(function* () {
      const { client, job, runtime, states } = yield* start()
      yield* runtime.say({ type: "session.closed", payload: { reason: "superseded" } })
      const error = yield* Fake.failed(job.result)
      assert.deepStrictEqual(error.details, { reason: "superseded" })
      yield* TestClock.adjust("1 hours")
      assert.strictEqual((yield* Fake.failed(client.ping))._tag, "HeartbeatLost")
      assert.strictEqual(runtime.dials(), 1)
      assert.deepInclude(states.at(-1), { _tag: "Closed", renewable: false })
    })
  )

  it.effect("before it restarts is no reason to give up, or to come back all at once", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say({ type: "session.closed", payload: { reason: "shutting_down" } })
      yield* Fake.settled
      assert.strictEqual(runtime.dials(), 1)
      yield* Effect.forkChild(TestClock.adjust("120 millis"))
      yield* runtime.welcome(Fake.declared)
      yield* runtime.say(Fake.result("job_1", 2, "x"))
      assert.strictEqual(yield* job.result, "x")
    })
  )

  it.effect("to an idle client waits until there is something to ask", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start()
      yield* runtime.say({ type: "session.closed", payload: { reason: "idle" } })
      yield* Fake.settled
      yield* TestClock.adjust(Duration.hours(1))
      assert.strictEqual(runtime.dials(), 1)
      yield* Effect.forkChild(client.submit("b", null))
      assert.isUndefined((yield* runtime.hear("session.hello")).payload.resume)
    })
  )
})
