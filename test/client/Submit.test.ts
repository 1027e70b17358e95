import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Fiber, Schema, Stream, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as AgentContract from "../../src/protocol/AgentContract.ts"
import type * as Json from "../../src/protocol/Json.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Fake from "./FakeRuntime.ts"

const hex = /^[0-9a-f]{32}$/

const Greeter = AgentContract.make({
  name: "greeter",
  version: "1.0.0",
  input: Schema.Struct({ name: Schema.String, age: Schema.FiniteFromString }),
  output: Schema.String
})

describe("a submit", () => {
  verifies(["C-003", "C-009"], "says what was asked for, and gives a handle of what was granted", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const submitting = yield* Effect.forkChild(
        client.submit(
          Greeter,
          { name: "x", age: 5 },
          {
            lease: { "fs.read": ["/a/**"], "cost.budget": ["USD:1"] },
            expiresAt: DateTime.makeUnsafe("2030-01-01T00:00:00Z"),
            maxRuntime: Duration.millis(1001),
            idempotencyKey: "mine",
            traceId: "0af7651916cd43dd8448eb211c80319c"
          }
        )
      )
      const submit = yield* runtime.hear("job.submit")
      assert.strictEqual(submit.trace_id, "0af7651916cd43dd8448eb211c80319c")
      assert.deepStrictEqual(submit.payload, {
        agent: "greeter@1.0.0",
        input: { name: "x", age: "5" },
        idempotency_key: "mine",
        lease_request: { "fs.read": ["/a/**"], "cost.budget": ["USD:1"] },
        lease_constraints: { expires_at: "2030-01-01T00:00:00.000Z" },
        max_runtime_sec: 2
      })
      yield* runtime.say(
        Fake.accept(submit, "job_1", {
          lease: { "fs.read": ["/a/**"] },
          lease_constraints: { expires_at: "2030-01-01T00:00:00.000Z" },
          budget: { USD: 1 }
        })
      )
      const job = yield* Fiber.join(submitting)
      assert.strictEqual(job.id, "job_1")
      assert.strictEqual(job.agent, "greeter@1.0.0")
      assert.deepStrictEqual(job.lease, { "fs.read": ["/a/**"] })
      assert.deepStrictEqual(job.leaseConstraints, { expires_at: "2030-01-01T00:00:00.000Z" })
      assert.deepStrictEqual(job.budget, { USD: 1 })
      assert.strictEqual(job.traceId, "0af7651916cd43dd8448eb211c80319c")
      assert.strictEqual(DateTime.formatIso(job.acceptedAt), "2026-05-13T19:30:00.000Z")
      for (const frame of runtime.heard) {
        assert.strictEqual(frame.arcp, "1.1")
        assert.match(frame.id, /^msg_/)
        assert.isObject(frame.payload)
        assert.strictEqual(frame.session_id, frame.type === "session.hello" ? undefined : Fake.sessionId)
      }
    })
  )

  it.effect("gets an idempotency key, a trace id and an envelope id of its own", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      yield* Effect.forkScoped(Effect.all([client.submit("a", 1), client.submit("a", 1)], { concurrency: 2 }))
      const first = yield* runtime.hear("job.submit")
      const second = yield* runtime.hear("job.submit")
      assert.match(first.trace_id!, hex)
      assert.match(second.trace_id!, hex)
      assert.match(first.payload.idempotency_key, /^key_.{26}$/)
      assert.notStrictEqual(first.trace_id, second.trace_id)
      assert.notStrictEqual(first.payload.idempotency_key, second.payload.idempotency_key)
      assert.notStrictEqual(first.id, second.id)
    })
  )

  verifies("C-125", "takes the trace id of its span, and tells of the span in an extension", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const { sampled, spanId, traceId } = yield* Effect.currentSpan
      yield* Effect.forkChild(client.submit("a", 1))
      yield* Effect.forkChild(client.submit("a", 2))
      for (let n = 1; n <= 2; n++) {
        const submit = yield* runtime.hear("job.submit")
        assert.strictEqual(submit.trace_id, traceId)
        assert.deepStrictEqual(submit.extensions, {
          "x-vendor.opentelemetry.tracecontext": { traceparent: `00-${traceId}-${spanId}-${sampled ? "01" : "00"}` }
        })
      }
      // Also if the caller has a trace id of its own for the job.
      yield* Effect.forkChild(client.submit("a", 3, { traceId: "0af7651916cd43dd8448eb211c80319c" }))
      const own = yield* runtime.hear("job.submit")
      assert.strictEqual(own.trace_id, "0af7651916cd43dd8448eb211c80319c")
      assert.include(JSON.stringify(own.extensions), spanId)
    }).pipe(Effect.withSpan("caller"))
  )

  it.effect("tells of no span where there is none, or one that nobody could read", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      yield* Effect.forkChild(client.submit("a", 1))
      const without = yield* runtime.hear("job.submit")
      assert.match(without.trace_id!, hex)
      assert.notProperty(without, "extensions")
      const odd = Tracer.externalSpan({ traceId: "7", spanId: "7" })
      yield* Effect.forkChild(Effect.withParentSpan(client.submit("a", 2), odd))
      const submit = yield* runtime.hear("job.submit")
      assert.match(submit.trace_id!, hex)
      assert.notProperty(submit, "extensions")
    })
  )

  it.effect("has a trace id that no other submit has at the moment, where answers are matched by that", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const { traceId } = yield* Effect.currentSpan
      const first = yield* Effect.forkChild(client.submit("a", 1))
      yield* Effect.forkChild(client.submit("a", 2))
      const submit = yield* runtime.hear("job.submit")
      assert.strictEqual(submit.trace_id, traceId)
      yield* runtime.say(Fake.accept(submit, "job_1"))
      yield* Fiber.join(first)
      const other = (yield* runtime.hear("job.submit")).trace_id!
      assert.match(other, hex)
      assert.notStrictEqual(other, traceId)
    }).pipe(Effect.withSpan("caller"))
  )

  it.effect("runs for at least a second, and without a limit for ever", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const seconds = (maxRuntime: Duration.Input) =>
        Effect.gen(function* () {
          yield* Effect.forkScoped(client.submit("a", 1, { maxRuntime }))
          return (yield* runtime.hear("job.submit")).payload.max_runtime_sec
        })
      assert.strictEqual(yield* seconds(0), 1)
      assert.strictEqual(yield* seconds("1 millis"), 1)
      assert.strictEqual(yield* seconds("2 seconds"), 2)
      assert.strictEqual(yield* seconds(Duration.infinity), undefined)
    })
  )

  it.effect("takes the details of an acceptance that is short of them from what was asked for", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      yield* TestClock.adjust("5 seconds")
      const submitting = yield* Effect.forkChild(client.submit("greeter", null))
      yield* runtime.hear("job.submit")
      yield* runtime.say({ type: "job.accepted", job_id: "job_1", payload: {} })
      const job = yield* Fiber.join(submitting)
      assert.strictEqual(job.agent, "greeter")
      assert.deepStrictEqual(job.lease, {})
      assert.strictEqual(DateTime.toEpochMillis(job.acceptedAt), 5000)
    })
  )

  verifies("C-117", "leaves out credentials of a scheme that it does not know, and keeps the others", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const submitting = yield* Effect.forkChild(client.submit("greeter", null))
      const submit = yield* runtime.hear("job.submit")
      const credential = { value: "s3cret", endpoint: "https://e" }
      yield* runtime.say(
        Fake.accept(submit, "job_1", {
          credentials: [
            { id: "cred_1", scheme: "basic", ...credential },
            { id: "cred_2", scheme: "bearer", ...credential }
          ]
        })
      )
      const job = yield* Fiber.join(submitting)
      assert.deepStrictEqual(
        job.credentials.map((kept) => kept.id),
        ["cred_2"]
      )
      assert.notInclude(JSON.stringify(job.credentials), "s3cret")
    })
  )
})

describe("a submit is refused here, and nothing is said,", () => {
  const refused = (
    welcome: ReadonlyArray<string>,
    submit: (client: Fake.Client) => Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>
  ) =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, { capabilities: { features: welcome } })
      const error = yield* Fake.failed(submit(client))
      assert.strictEqual(error._tag, "InvalidRequest")
      assert.deepStrictEqual(yield* runtime.unheard, [])
      return error.message
    })

  verifies("C-015", "for a feature that was not negotiated", () =>
    Effect.gen(function* () {
      const without = (
        submit: (client: Fake.Client) => Effect.Effect<unknown, never | { _tag: string; message: string }>
      ) => refused([], submit)
      assert.include(yield* without((client) => client.submit("greeter@1.0.0", null)), "agent_versions")
      assert.include(yield* without((client) => client.submit(Greeter, { name: "x", age: 1 })), "agent_versions")
      assert.include(
        yield* without((client) => client.submit("a", null, { lease: { "cost.budget": ["USD:1"] } })),
        "cost.budget"
      )
      assert.include(
        yield* without((client) => client.submit("a", null, { lease: { "model.use": ["*"] } })),
        "model.use"
      )
      assert.include(
        yield* without((client) => client.submit("a", null, { expiresAt: "2030-01-01T00:00:00Z" })),
        "lease_expires_at"
      )
      assert.include(yield* without((client) => client.ping), "heartbeat")
    })
  )

  it.effect("for an input that does not fit the contract, or is not JSON", () =>
    Effect.gen(function* () {
      const loop: { self?: unknown } = {}
      loop.self = loop
      const anything = AgentContract.make({ name: "any", input: Schema.Unknown, output: Schema.Unknown })
      const all = ["agent_versions"]
      const wrong = { name: 1, age: 1 }
      assert.match(yield* refused(all, (client) => client.submit(Greeter, wrong as never)), /^input\.name: /)
      assert.match(yield* refused(all, (client) => client.submit(anything, loop)), /^input: not a JSON value: [^\n]*$/)
      assert.match(yield* refused(all, (client) => client.submit(anything, { a: 1n })), /^input: not a JSON value/)
      assert.match(yield* refused(all, (client) => client.submit(anything, () => 1)), /^input: a function/)
      let deep: Json.Json = []
      for (let i = 0; i < 100_000; i++) deep = [deep]
      assert.match(yield* refused(all, (client) => client.submit("any", deep)), /^input: not a JSON value/)
    })
  )

  it.effect("for options that cannot be said", () =>
    Effect.gen(function* () {
      const all = ["lease_expires_at", "agent_versions"]
      assert.match(yield* refused(all, (client) => client.submit("No", null)), /^agent: /)
      assert.match(yield* refused(all, (client) => client.submit("a@", null)), /^agent: /)
      assert.match(
        yield* refused(all, (client) => client.submit("a", null, { expiresAt: "2030-01-01T00:00:00+02:00" })),
        /^lease_constraints\.expires_at: .*UTC/
      )
      assert.match(yield* refused(all, (client) => client.submit("a", null, { traceId: "x" })), /^trace_id: /)
      assert.match(
        yield* refused(all, (client) => client.submit("a", null, { idempotencyKey: "" })),
        /^idempotency_key/
      )
    })
  )
})

/** How runtimes say which submit an acceptance is for, other than by its place. */
const correlations: Record<string, (submit: Fake.Frame) => object> = {
  "the envelope id": ({ id }) => ({ id }),
  "payload.request_id": ({ id }) => ({ payload: { request_id: id } }),
  "payload.reply_to": ({ id }) => ({ payload: { reply_to: id } }),
  "the trace id": ({ trace_id }) => ({ trace_id }),
  "payload.trace_id": ({ trace_id }) => ({ payload: { trace_id } })
}

describe("answers are told apart", () => {
  it.effect.each(Object.keys(correlations))("by %s, in whatever order they come", (how) =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const first = yield* Effect.forkChild(client.submit("first", 1))
      const second = yield* Effect.forkChild(client.submit("second", 2))
      const submits = [yield* runtime.hear("job.submit"), yield* runtime.hear("job.submit")] as const
      const accepted = (submit: Fake.Frame, job_id: string) => {
        const named = correlations[how]!(submit) as { payload?: object }
        return { type: "job.accepted", job_id, ...named, payload: { job_id, ...named.payload } }
      }
      yield* runtime.say(accepted(submits[1], "job_2"), accepted(submits[0], "job_1"))
      assert.strictEqual((yield* Fiber.join(first)).id, "job_1")
      assert.strictEqual((yield* Fiber.join(second)).id, "job_2")
    })
  )

  it.effect("by their order, from a runtime that says nothing: one request is under way at a time", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const first = yield* Effect.forkChild(client.submit("first", 1))
      const second = yield* Effect.forkChild(client.submit("second", 2))
      assert.strictEqual((yield* runtime.hear("job.submit")).payload.agent, "first")
      assert.deepStrictEqual(yield* runtime.unheard, [])
      yield* runtime.say({ type: "job.accepted", payload: { job_id: "job_1" } })
      const job = yield* Fiber.join(first)
      assert.strictEqual(job.id, "job_1")
      assert.strictEqual((yield* runtime.hear("job.submit")).payload.agent, "second")
      const cancelling = yield* Effect.forkChild(job.cancel())
      assert.deepStrictEqual(yield* runtime.unheard, [])
      yield* runtime.say({ type: "job.accepted", payload: { job_id: "job_2" } })
      assert.strictEqual((yield* Fiber.join(second)).id, "job_2")
      yield* runtime.hear("job.cancel")
      yield* runtime.say({ type: "job.cancelled", payload: {} })
      yield* Fiber.join(cancelling)
    })
  )

  it.effect("and one that names another request is not taken for lack of a better", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const submitting = yield* Effect.forkChild(client.submit("a", 1))
      const { id } = yield* runtime.hear("job.submit")
      yield* runtime.say(
        { type: "job.accepted", payload: { job_id: "job_x", request_id: "msg_x" } },
        { type: "session.error", payload: { code: "INVALID_REQUEST", message: "no", request_id: "msg_x" } },
        { type: "job.accepted", payload: { job_id: "job_1", request_id: id } }
      )
      assert.strictEqual((yield* Fiber.join(submitting)).id, "job_1")
    })
  )

  it.effect("and a child that a job delegated to is no answer", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const submitting = yield* Effect.forkChild(client.submit("parent", 1))
      const submit = yield* runtime.hear("job.submit")
      yield* runtime.say(
        { type: "job.accepted", trace_id: submit.trace_id, payload: { job_id: "job_c", parent_job_id: "job_p" } },
        { type: "job.accepted", payload: { job_id: "job_d", delegate_id: "d" } },
        Fake.event("job_c", 1),
        Fake.failure("job_d", 2, "INTERNAL_ERROR"),
        { type: "job.accepted", payload: { job_id: "job_1" } }
      )
      assert.strictEqual((yield* Fiber.join(submitting)).id, "job_1")
    })
  )

  it.effect("and the second submit under one key is a second handle of one job", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const one = yield* Effect.forkChild(client.submit("a", 1, { idempotencyKey: "k" }))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"), Fake.event("job_1", 1))
      const other = yield* Effect.forkChild(client.submit("a", 1, { idempotencyKey: "k" }))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"), Fake.result("job_1", 2, "done"))
      for (const handle of [yield* Fiber.join(one), yield* Fiber.join(other)]) {
        assert.strictEqual(yield* handle.result, "done")
        assert.strictEqual((yield* Stream.runCollect(handle.events)).length, 1)
      }
      // Once more after its end: the runtime says the last frame again.
      const late = yield* Effect.forkChild(client.submit("a", 1, { idempotencyKey: "k" }))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"), Fake.result("job_1", 3, "done"))
      assert.strictEqual(yield* (yield* Fiber.join(late)).result, "done")
    })
  )
})

const refusal = { code: "AGENT_NOT_AVAILABLE", message: "no such agent", retryable: false }

/** In how many ways runtimes refuse a submit. */
const refusals: Record<string, (submit: Fake.Frame) => { type: string; [member: string]: unknown }> = {
  "session.error with request_id": ({ id }) => ({ type: "session.error", payload: { ...refusal, request_id: id } }),
  "session.error with reply_to": ({ id }) => ({ type: "session.error", payload: { ...refusal, reply_to: id } }),
  "session.error with the envelope id": ({ id }) => ({ type: "session.error", id, payload: refusal }),
  "session.error with the trace id": ({ trace_id }) => ({ type: "session.error", trace_id, payload: refusal }),
  "session.error and no more": () => ({ type: "session.error", payload: refusal }),
  "job.error with the envelope id and no job": ({ id }) => ({ type: "job.error", id, payload: refusal }),
  "job.error of a fresh job": () => ({ type: "job.error", job_id: "job_x", event_seq: 1, payload: refusal }),
  "job.error of a fresh job, traced": ({ trace_id }) => ({
    type: "job.error",
    job_id: "job_x",
    trace_id,
    event_seq: 1,
    payload: refusal
  })
}

describe("a submit that is refused", () => {
  it.effect.each(Object.keys(refusals))("by %s fails, and no other job does", (how) =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const accepting = yield* Effect.forkChild(client.submit("good", 1))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"))
      const job = yield* Fiber.join(accepting)
      const submitting = yield* Effect.forkChild(Fake.failed(client.submit("bad", 1)))
      yield* runtime.say(refusals[how]!(yield* runtime.hear("job.submit")))
      const error = yield* Fiber.join(submitting)
      assert.strictEqual(error._tag, "AgentNotAvailable")
      assert.strictEqual(error.message, "no such agent")
      yield* runtime.say(Fake.result("job_1", how.includes("fresh") ? 2 : 1, "fine"))
      assert.strictEqual(yield* job.result, "fine")
    })
  )

  it.effect("for its key does not end the job that has the key", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const accepting = yield* Effect.forkChild(client.submit("a", 1, { idempotencyKey: "k" }))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"))
      const job = yield* Fiber.join(accepting)
      const submitting = yield* Effect.forkChild(Fake.failed(client.submit("a", 2, { idempotencyKey: "k" })))
      yield* runtime.hear("job.submit")
      yield* runtime.say(Fake.failure("job_1", 1, "DUPLICATE_KEY", { existing_job_id: "job_1" }))
      const error = yield* Fiber.join(submitting)
      assert.strictEqual(error._tag, "DuplicateKey")
      assert.deepStrictEqual(error.details, { existing_job_id: "job_1" })
      yield* runtime.say(Fake.result("job_1", 2, "fine"))
      assert.strictEqual(yield* job.result, "fine")
    })
  )

  it.effect("for a reason that no submit has keeps the code in an InternalError", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const submitting = yield* Effect.forkChild(Fake.failed(client.submit("a", 1)))
      const { id } = yield* runtime.hear("job.submit")
      yield* runtime.say({
        type: "session.error",
        payload: { code: "CANCELLED", message: "odd", retryable: false, request_id: id }
      })
      const error = yield* Fiber.join(submitting)
      assert.strictEqual(error._tag, "InternalError")
      assert.deepStrictEqual(error.details, { code: "CANCELLED" })
    })
  )

  it.effect("by a frame that cannot be read does not wait for ever", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const submitting = yield* Effect.forkChild(Fake.failed(client.submit("a", 1)))
      yield* runtime.hear("job.submit")
      yield* runtime.say({ type: "job.accepted", payload: { job_id: "job_1", lease: 5 } })
      const error = yield* Fiber.join(submitting)
      assert.strictEqual(error._tag, "InternalError")
      assert.include(error.message, "payload.lease")
    })
  )
})

describe("an answer that does not come", () => {
  it.effect(
    "is a Timeout; without correlation the next request waits for the late answer, which is not taken for its own",
    () =>
      Effect.gen(function* () {
        const runtime = yield* Fake.make()
        const client = yield* Fake.connect(runtime, { requestTimeout: "10 seconds" })
        const first = yield* Effect.forkChild(Fake.failed(client.submit("first", 1)))
        const second = yield* Effect.forkChild(client.submit("second", 2))
        yield* runtime.hear("job.submit")
        yield* TestClock.adjust("10 seconds")
        const error = yield* Fiber.join(first)
        assert.strictEqual(error._tag, "Timeout")
        assert.isTrue(error.retryable)
        assert.deepStrictEqual(yield* runtime.unheard, [])
        yield* runtime.say({ type: "job.accepted", payload: { job_id: "job_1" } })
        yield* runtime.hear("job.submit")
        yield* runtime.say({ type: "job.accepted", payload: { job_id: "job_2" } })
        assert.strictEqual((yield* Fiber.join(second)).id, "job_2")
      })
  )

  it.effect("does not hold up others where answers are named", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, { requestTimeout: "10 seconds" }, Fake.declared)
      const first = yield* Effect.forkChild(Fake.failed(client.submit("first", 1)))
      const forgotten = yield* runtime.hear("job.submit")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Fiber.join(first))._tag, "Timeout")
      const second = yield* Effect.forkChild(client.submit("second", 2))
      const submit = yield* runtime.hear("job.submit")
      yield* runtime.say(Fake.accept(forgotten, "job_1"), Fake.event("job_1", 1), Fake.accept(submit, "job_2"))
      assert.strictEqual((yield* Fiber.join(second)).id, "job_2")
    })
  )
})

describe("an acceptance that comes too late", () => {
  it.effect.each([{}, Fake.declared])(
    "is found, with all events, by whoever submits again under the same key",
    (welcome) =>
      Effect.gen(function* () {
        const runtime = yield* Fake.make()
        const client = yield* Fake.connect(runtime, { requestTimeout: "10 seconds" }, { ...welcome })
        const first = yield* Effect.forkChild(Fake.failed(client.submit("a", 1, { idempotencyKey: "k" })))
        const submit = yield* runtime.hear("job.submit")
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* Fiber.join(first))._tag, "Timeout")
        yield* runtime.say(Fake.accept(submit, "job_1"), Fake.event("job_1", 1), Fake.event("job_1", 2))
        const second = yield* Effect.forkChild(client.submit("a", 1, { idempotencyKey: "k" }))
        yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"), Fake.result("job_1", 3, "done"))
        const job = yield* Fiber.join(second)
        assert.strictEqual((yield* Stream.runCollect(job.events)).length, 2)
        assert.strictEqual(yield* job.result, "done")
      })
  )
})

describe("what comes before its acceptance", () => {
  it.effect("is handed over with it", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const submitting = yield* Effect.forkChild(client.submit("a", 1))
      const submit = yield* runtime.hear("job.submit")
      yield* runtime.say(Fake.event("job_1", 1), Fake.event("job_9", 2), Fake.event("job_1", 3))
      yield* runtime.say(Fake.failure("job_1", 4, "BUDGET_EXHAUSTED"), Fake.accept(submit, "job_1"))
      const job = yield* Fiber.join(submitting)
      const events = yield* Stream.runCollect(job.events)
      assert.deepStrictEqual(
        events.map((event) => event.body),
        [
          { level: "info", message: "1" },
          { level: "info", message: "3" }
        ]
      )
      assert.strictEqual((yield* Fake.failed(job.result))._tag, "BudgetExhausted")
    })
  )

  it.effect("may be an error, which is the job's and not the submit's", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const submitting = yield* Effect.forkChild(client.submit("a", 1))
      const submit = yield* runtime.hear("job.submit")
      yield* runtime.say(
        Fake.event("job_1", 1),
        Fake.failure("job_1", 2, "PERMISSION_DENIED"),
        Fake.accept(submit, "job_1")
      )
      const job = yield* Fiber.join(submitting)
      assert.strictEqual((yield* Fake.failed(job.result))._tag, "PermissionDenied")
    })
  )

  it.effect("is kept within bounds, and what is not kept is told of", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, { ...Fake.plain }, Fake.declared)
      const submitting = yield* Effect.forkChild(client.submit("a", 1))
      const submit = yield* runtime.hear("job.submit")
      yield* runtime.say(...Array.from({ length: 1030 }, (_, index) => Fake.event("job_1", index + 1)))
      yield* runtime.say(Fake.result("job_1", 1031, "x"), Fake.accept(submit, "job_1"))
      const job = yield* Fiber.join(submitting)
      const error = yield* Fake.failed(Stream.runDrain(job.events))
      assert.strictEqual(error._tag, "ResumeWindowExpired")
      assert.deepStrictEqual(error.details, { dropped: 6 })
      assert.strictEqual((yield* Fake.failed(job.result))._tag, "InternalError")
    })
  )
})

describe("interrupting", () => {
  it.effect("a submit leaves the job alone, unless told to cancel it", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const interrupted = (cancelOnInterrupt: boolean) =>
        Effect.gen(function* () {
          const submitting = yield* Effect.forkChild(client.submit("a", 1, { cancelOnInterrupt }))
          const submit = yield* runtime.hear("job.submit")
          yield* Fiber.interrupt(submitting)
          yield* runtime.say(Fake.accept(submit, `job_${cancelOnInterrupt}`))
        })
      yield* interrupted(false)
      yield* interrupted(true)
      const cancel = yield* runtime.hear("job.cancel")
      assert.strictEqual(cancel.job_id, "job_true")
    })
  )

  it.effect("a submit does not take the events from another handle of the same job", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const one = yield* Effect.forkChild(client.submit("a", 1, { idempotencyKey: "k" }))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"), Fake.event("job_1", 1))
      const job = yield* Fiber.join(one)
      const other = yield* Effect.forkChild(client.submit("a", 1, { idempotencyKey: "k" }))
      const submit = yield* runtime.hear("job.submit")
      yield* Fiber.interrupt(other)
      yield* runtime.say(Fake.accept(submit, "job_1"))
      yield* Fake.settled
      yield* runtime.say(Fake.event("job_1", 2), Fake.result("job_1", 3, null))
      assert.strictEqual((yield* Stream.runCollect(job.events)).length, 2)
    })
  )

  it.effect("a submit that waits for its turn never says it", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime)
      const first = yield* Effect.forkChild(client.submit("first", 1))
      yield* runtime.hear("job.submit")
      const second = yield* Effect.forkChild(client.submit("second", 2))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(second)
      yield* runtime.say({ type: "job.accepted", payload: { job_id: "job_1" } })
      yield* Fiber.join(first)
      const third = yield* Effect.forkChild(client.submit("third", 3))
      assert.strictEqual((yield* runtime.hear("job.submit")).payload.agent, "third")
      yield* Fiber.interrupt(third)
    })
  )

  it.effect("a run leaves the job alone, unless told to cancel it", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const running = yield* Effect.forkChild(client.run("a", 1))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"))
      const cancelling = yield* Effect.forkChild(client.run("a", 1, { cancelOnInterrupt: true }))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_2"))
      yield* runtime.say({ type: "session.ping", payload: { nonce: "n" } })
      yield* runtime.hear("session.pong")
      yield* Fiber.interrupt(running)
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(cancelling))
      const cancel = yield* runtime.hear("job.cancel")
      assert.strictEqual(cancel.job_id, "job_2")
      yield* runtime.say({ type: "job.cancelled", job_id: "job_2", payload: { request_id: cancel.id } })
      yield* Fiber.join(interrupting)
    })
  )
})

describe("a run", () => {
  it.effect("keeps no events, until somebody else holds the job", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const running = yield* Effect.forkChild(client.run("a", 1, { idempotencyKey: "k" }))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"))
      const submitting = yield* Effect.forkChild(client.submit("a", 1, { idempotencyKey: "k" }))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"))
      const job = yield* Fiber.join(submitting)
      yield* runtime.say(Fake.event("job_1", 1), Fake.result("job_1", 2, "x"))
      assert.strictEqual((yield* Stream.runCollect(job.events)).length, 1)
      assert.strictEqual(yield* Fiber.join(running), "x")
    })
  )

  it.effect("is a submit and its result, whatever the job says in between", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, { limits: { events: 2 } }, Fake.declared)
      const running = yield* Effect.forkChild(client.run(Greeter, { name: "x", age: 1 }))
      const submit = yield* runtime.hear("job.submit")
      yield* runtime.say(
        Fake.accept(submit, "job_1"),
        ...Array.from({ length: 50 }, (_, index) => Fake.event("job_1", index + 1)),
        Fake.result("job_1", 51, "hello")
      )
      assert.strictEqual(yield* Fiber.join(running), "hello")
    })
  )
})
