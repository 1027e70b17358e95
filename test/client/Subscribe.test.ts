import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import * as Fake from "./FakeRuntime.ts"

const subscribed = (jobId: string, payload?: object) => ({
  type: "job.subscribed",
  job_id: jobId,
  payload: {
    job_id: jobId,
    current_status: "running",
    agent: "a@1",
    lease: {},
    parent_job_id: null,
    subscribed_from: 0,
    replayed: true,
    ...payload
  }
})

const numbered = (event_seq: number, job_seq: number) => ({ ...Fake.event("job_9", event_seq), job_seq })

const messages = (events: ReadonlyArray<{ readonly body: unknown }>) =>
  events.map(({ body }) => Number((body as { readonly message: string }).message))

const start = Effect.fnUntraced(function* (welcome: object = Fake.declared, options: object = {}) {
  const runtime = yield* Fake.make()
  const client = yield* Fake.connect(runtime, options, { ...welcome })
  return { runtime, client }
})

describe("a subscription", () => {
  it.effect("takes in what comes before its answer, and understands an answer without a name", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start({})
      const subscribing = yield* Effect.forkChild(client.subscribe("job_9", { history: true }))
      const request = yield* runtime.hear("job.subscribe")
      assert.deepStrictEqual(request.payload, { job_id: "job_9", history: true })
      yield* runtime.say(Fake.event("job_9", 1), subscribed("job_9"), Fake.event("job_9", 2))
      const observer = yield* Fiber.join(subscribing)
      yield* runtime.say(Fake.result("job_9", 3, { x: 1 }))
      assert.deepStrictEqual(messages(yield* Stream.runCollect(observer.events)), [1, 2])
      assert.deepStrictEqual(yield* observer.result, { x: 1 })
    }).pipe(Effect.scoped)
  )

  const refusals: Record<string, (id: string) => { type: string; [member: string]: unknown }> = {
    "session.error with request_id": (request_id) => ({
      type: "session.error",
      payload: { code: "JOB_NOT_FOUND", message: "no", retryable: false, request_id }
    }),
    "session.error with the job's id": () => ({
      type: "session.error",
      payload: { code: "JOB_NOT_FOUND", message: "no", retryable: false, job_id: "job_9" }
    }),
    "session.error and no more": () => ({
      type: "session.error",
      payload: { code: "JOB_NOT_FOUND", message: "no", retryable: false }
    }),
    "job.error of the job": () => ({
      type: "job.error",
      job_id: "job_9",
      event_seq: 1,
      payload: { code: "JOB_NOT_FOUND", message: "no" }
    })
  }

  it.effect.each(Object.keys(refusals))("is refused by %s", (how) =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start({})
      const subscribing = yield* Effect.forkChild(Fake.failed(client.subscribe("job_9")))
      yield* runtime.say(refusals[how]!((yield* runtime.hear("job.subscribe")).id))
      assert.strictEqual((yield* Fiber.join(subscribing))._tag, "JobNotFound")
    }).pipe(Effect.scoped)
  )

  it.effect("that was not answered goes on from where it had come to, on the next connection", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start()
      const subscribing = yield* Effect.forkChild(client.subscribe("job_9", { history: true }))
      const first = yield* runtime.hear("job.subscribe")
      assert.strictEqual(first.payload.from_job_seq, 0)
      yield* runtime.say(numbered(1, 1), numbered(2, 2))
      yield* Fake.settled
      yield* runtime.close()
      yield* runtime.welcome(Fake.declared)
      const second = yield* runtime.hear("job.subscribe")
      assert.strictEqual(second.payload.from_job_seq, 2)
      // Some of it comes again all the same.
      yield* runtime.say(subscribed("job_9", { request_id: second.id }), numbered(3, 2), numbered(4, 3))
      const observer = yield* Fiber.join(subscribing)
      yield* runtime.say({ ...Fake.result("job_9", 5, null), job_seq: 4 })
      assert.deepStrictEqual(messages(yield* Stream.runCollect(observer.events)), [1, 2, 4])
    }).pipe(Effect.scoped)
  )

  it.effect("asks once more for what is missing when the job's end comes early", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start()
      const subscribing = yield* Effect.forkChild(client.subscribe("job_9", { history: true }))
      const first = yield* runtime.hear("job.subscribe")
      yield* runtime.say(subscribed("job_9", { request_id: first.id }), numbered(1, 1))
      const observer = yield* Fiber.join(subscribing)
      yield* runtime.say(numbered(2, 7), { ...Fake.result("job_9", 3, "x"), job_seq: 8 })
      assert.strictEqual((yield* runtime.hear("job.subscribe")).payload.from_job_seq, 1)
      yield* runtime.say(numbered(4, 2), { ...Fake.result("job_9", 5, "x"), job_seq: 3 })
      assert.deepStrictEqual(messages(yield* Stream.runCollect(observer.events)), [1, 4])
      assert.strictEqual(yield* observer.result, "x")
    }).pipe(Effect.scoped)
  )

  it.effect(
    "to what comes next notices that the first of it is missing, and asks for that when the job has ended",
    () =>
      Effect.gen(function* () {
        const { client, runtime } = yield* start()
        const subscribing = yield* Effect.forkChild(client.subscribe("job_9"))
        const first = yield* runtime.hear("job.subscribe")
        assert.deepStrictEqual(first.payload, { job_id: "job_9" })
        yield* runtime.say({ ...subscribed("job_9", { request_id: first.id, replayed: false }), job_seq: 5 })
        const observer = yield* Fiber.join(subscribing)
        // Of another reading of the job in this session, then one too far on.
        yield* runtime.say(numbered(1, 5), numbered(2, 8), { ...Fake.result("job_9", 3, "x"), job_seq: 9 })
        assert.deepStrictEqual((yield* runtime.hear("job.subscribe")).payload, {
          job_id: "job_9",
          history: true,
          from_job_seq: 5
        })
        yield* runtime.say(numbered(4, 6), numbered(5, 7), numbered(6, 8), {
          ...Fake.result("job_9", 7, "x"),
          job_seq: 9
        })
        assert.deepStrictEqual(messages(yield* Stream.runCollect(observer.events)), [4, 5, 6])
        assert.strictEqual(yield* observer.result, "x")
      }).pipe(Effect.scoped)
  )

  it.effect("to what comes next asks again for what came of it before its answer, and for nothing else", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start()
      const subscribing = yield* Effect.forkChild(client.subscribe("job_9"))
      const first = yield* runtime.hear("job.subscribe")
      const answer = subscribed("job_9", { request_id: first.id, replayed: false })
      yield* runtime.say(
        numbered(1, 4),
        numbered(2, 5),
        numbered(3, 6),
        { ...Fake.result("job_9", 4, "x"), job_seq: 7 },
        { ...answer, job_seq: 5 }
      )
      const observer = yield* Fiber.join(subscribing)
      const again = yield* runtime.hear("job.subscribe")
      assert.strictEqual(again.payload.from_job_seq, 5)
      // It is asked again on the next line, if this one breaks.
      yield* runtime.close()
      yield* runtime.welcome(Fake.declared)
      const repeated = yield* runtime.hear("job.subscribe")
      assert.deepStrictEqual(repeated.payload, again.payload)
      yield* runtime.say(
        { ...subscribed("job_9", { request_id: repeated.id, current_status: "success" }), job_seq: 5 },
        numbered(5, 6),
        { ...Fake.result("job_9", 6, "x"), job_seq: 7 }
      )
      assert.deepStrictEqual(messages(yield* Stream.runCollect(observer.events)), [5])
      assert.strictEqual(yield* observer.result, "x")
    }).pipe(Effect.scoped)
  )

  it.effect("ends as far as it came, if what is missing is not to be had", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start()
      const subscribing = yield* Effect.forkChild(client.subscribe("job_9", { history: true }))
      const first = yield* runtime.hear("job.subscribe")
      yield* runtime.say(subscribed("job_9", { request_id: first.id }), numbered(1, 1))
      const observer = yield* Fiber.join(subscribing)
      yield* runtime.say({ ...Fake.result("job_9", 2, "x"), job_seq: 8 })
      const { id } = yield* runtime.hear("job.subscribe")
      const payload = { code: "JOB_NOT_FOUND", message: "no", retryable: false, request_id: id }
      yield* runtime.say({ type: "session.error", payload })
      const error = yield* Fake.failed(Stream.runCollect(observer.events))
      assert.deepInclude(error, { _tag: "ResumeWindowExpired", details: { dropped: 1, code: "JOB_NOT_FOUND" } })
      assert.strictEqual((yield* Fake.failed(observer.result))._tag, "ResumeWindowExpired")
    }).pipe(Effect.scoped)
  )

  it.effect("to what comes next takes no runtime's word for it but that of one of our own", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start({})
      const subscribing = yield* Effect.forkChild(client.subscribe("job_9"))
      const first = yield* runtime.hear("job.subscribe")
      yield* runtime.say({ ...subscribed("job_9", { request_id: first.id }), job_seq: 5 }, numbered(1, 2))
      const observer = yield* Fiber.join(subscribing)
      yield* runtime.say(Fake.result("job_9", 2, "x"))
      assert.deepStrictEqual(messages(yield* Stream.runCollect(observer.events)), [1])
    }).pipe(Effect.scoped)
  )

  it.effect("is told of what the runtime keeps no more, and goes on behind it", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start()
      const subscribing = yield* Effect.forkChild(client.subscribe("job_9", { history: true }))
      const first = yield* runtime.hear("job.subscribe")
      yield* runtime.say(
        subscribed("job_9", { request_id: first.id }),
        Fake.event("job_9", 1, "status", { phase: "subscription_lagged", message: "5 events are no longer kept" }),
        numbered(2, 6),
        { ...Fake.result("job_9", 3, "x"), job_seq: 7 }
      )
      const observer = yield* Fiber.join(subscribing)
      const events = yield* Stream.runCollect(observer.events)
      assert.deepStrictEqual(
        events.map(({ kind }) => kind),
        ["status", "log"]
      )
      assert.strictEqual(yield* observer.result, "x")
    }).pipe(Effect.scoped)
  )

  it.effect("is ended by its scope, unless another one of the job is left", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start()
      const observe = Effect.gen(function* () {
        const subscribing = yield* Effect.forkChild(client.subscribe("job_9"))
        yield* runtime.say(subscribed("job_9", { request_id: (yield* runtime.hear("job.subscribe")).id }))
        return yield* Fiber.join(subscribing)
      })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* observe
          yield* Effect.scoped(observe)
          yield* Fake.settled
          assert.deepStrictEqual(yield* runtime.unheard, [])
        })
      )
      assert.deepStrictEqual((yield* runtime.hear("job.unsubscribe")).payload, { job_id: "job_9" })
    })
  )

  it.effect("and a listing are refused before they are said, if they were not negotiated", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start(Fake.declared, { features: [] })
      assert.strictEqual((yield* Fake.failed(client.subscribe("job_9")))._tag, "InvalidRequest")
      assert.strictEqual((yield* Fake.failed(Stream.runDrain(client.jobs())))._tag, "InvalidRequest")
      assert.deepStrictEqual(yield* runtime.unheard, [])
    }).pipe(Effect.scoped)
  )
})

describe("a listing", () => {
  it.effect("asks for a page when it is needed, and ends with a cursor that leads nowhere", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start({})
      const listing = yield* Effect.forkChild(Stream.runCollect(client.jobs({ agent: "a", pageSize: 1 })))
      const page = (cursor: string | null) => ({
        type: "session.jobs",
        payload: { jobs: [{ job_id: `job_${cursor}`, status: "SUCCEEDED", created_at: "x" }], next_cursor: cursor }
      })
      assert.deepStrictEqual((yield* runtime.hear("session.list_jobs")).payload, { filter: { agent: "a" }, limit: 1 })
      yield* runtime.say(page("c1"))
      assert.strictEqual((yield* runtime.hear("session.list_jobs")).payload.cursor, "c1")
      yield* runtime.say(page("c1"))
      const jobs = yield* Fiber.join(listing)
      assert.deepStrictEqual(
        jobs.map(({ createdAt, status }) => [status, createdAt]),
        [
          ["success", undefined],
          ["success", undefined]
        ]
      )
    })
  )
})
