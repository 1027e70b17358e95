import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Schema, Stream } from "effect"
import type * as ArcpClient from "../../src/client/ArcpClient.ts"
import type * as JobHandle from "../../src/client/JobHandle.ts"
import * as AgentContract from "../../src/protocol/AgentContract.ts"
import * as JobEvent from "../../src/protocol/JobEvent.ts"
import type * as Json from "../../src/protocol/Json.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Fake from "./FakeRuntime.ts"

class Sad extends Schema.TaggedError<Sad>("test/Sad")("Sad", { why: Schema.String, when: Schema.FiniteFromString }) {}

const Moody = AgentContract.make({
  name: "moody",
  input: Schema.Null,
  output: Schema.Struct({ at: Schema.FiniteFromString }),
  error: Sad,
  errorCode: "PERMISSION_DENIED"
})

/** A client with one accepted job, `job_1`. */
const start = Effect.fnUntraced(function* (
  options: Partial<ArcpClient.Options> = {},
  welcome: object = Fake.declared,
  network: object = {}
) {
  const runtime = yield* Fake.make(network)
  const client = yield* Fake.connect(runtime, options, { ...welcome })
  const submitting = yield* Effect.forkChild(client.submit("a", null))
  yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_1"))
  return { runtime, client, job: yield* Fiber.join(submitting) }
})

/** A job of {@link Moody}. */
const startMoody = Effect.fnUntraced(function* () {
  const { client, runtime } = yield* start()
  const submitting = yield* Effect.forkChild(client.submit(Moody, null))
  yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_2"))
  return { runtime, job: yield* Fiber.join(submitting) }
})

const seqs = (events: ReadonlyArray<{ readonly body: unknown }>) =>
  events.map(({ body }) => Number((body as { readonly message: string }).message))

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

const tell = (from: number, to: number) => range(from, to).map((seq) => Fake.event("job_1", seq))

describe("the result", () => {
  it.effect("is decoded as the contract says, and can be awaited by many, also afterwards", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* startMoody()
      const awaiting = yield* Effect.forkChild(Effect.all([job.result, job.result], { concurrency: 2 }))
      yield* Fake.settled
      yield* runtime.say(Fake.result("job_2", 1, { at: "12" }))
      assert.deepStrictEqual(yield* Fiber.join(awaiting), [{ at: 12 }, { at: 12 }])
      const first = yield* job.result
      assert.strictEqual(yield* job.result, first)
    })
  )

  it.effect("is an InternalError that names the field if it does not fit the contract", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* startMoody()
      yield* runtime.say(Fake.result("job_2", 1, { at: {} }))
      const error = yield* Fake.failed(job.result)
      assert.strictEqual(error._tag, "InternalError")
      assert.include(error.message, "result.at: ")
    })
  )

  it.effect("is the declared error of the agent, as its type", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* startMoody()
      yield* runtime.say(
        Fake.failure("job_2", 1, "PERMISSION_DENIED", { agent_error: { _tag: "Sad", why: "rain", when: "3" } })
      )
      const error = yield* Fake.failed(job.result)
      assert.instanceOf(error, Sad)
      assert.strictEqual(error.when, 3)
    })
  )

  it.effect("is the protocol's error if the agent did not declare it, not so or not under this code", () =>
    Effect.gen(function* () {
      const outcome = (code: string, details?: object) =>
        Effect.gen(function* () {
          const { job, runtime } = yield* startMoody()
          yield* runtime.say(Fake.failure("job_2", 1, code, details))
          return yield* Fake.failed(job.result)
        })
      assert.strictEqual((yield* outcome("PERMISSION_DENIED"))._tag, "PermissionDenied")
      assert.strictEqual(
        (yield* outcome("PERMISSION_DENIED", { agent_error: { _tag: "Mad" } }))._tag,
        "PermissionDenied"
      )
      const sad = { agent_error: { _tag: "Sad", why: "rain", when: "3" } }
      assert.strictEqual((yield* outcome("TIMEOUT", sad))._tag, "Timeout")
    })
  )

  verifies("C-128", "is an InternalError that keeps the code of a later version", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(Fake.failure("job_1", 1, "RATE_LIMITED", { limit: 5 }, true))
      const error = yield* Fake.failed(job.result)
      assert.strictEqual(error._tag, "InternalError")
      assert.isTrue(error.retryable)
      assert.deepStrictEqual(error.details, { limit: 5, code: "RATE_LIMITED" })
    })
  )

  it.effect("is understood in the forms that other runtimes give it", () =>
    Effect.gen(function* () {
      const outcome = (type: string, payload: object) =>
        Effect.gen(function* () {
          const { job, runtime } = yield* start({}, {})
          yield* runtime.say({ type, payload: { job_id: "job_1", ...payload } })
          return yield* Effect.result(job.result)
        })
      const success = (value: Json.Json) => Effect.result(Effect.succeed(value))
      assert.deepStrictEqual(yield* outcome("job.result", { output: [1] }), yield* success([1]))
      assert.deepStrictEqual(yield* outcome("job.result", {}), yield* success(null))
      const timedOut = yield* outcome("job.result", { final_status: "timed_out" })
      assert.isTrue(timedOut._tag === "Failure" && timedOut.failure._tag === "Timeout")
      const cancelled = yield* outcome("job.error", { code: "CANCELLED", detail: "why" })
      assert.isTrue(cancelled._tag === "Failure" && cancelled.failure._tag === "Cancelled")
    })
  )

  it.effect("fails rather than hang if the last frame cannot be read", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(
        Fake.event("job_1", 1),
        { type: "job.result", job_id: "job_1", event_seq: 2, payload: { final_status: "success", result_id: 5 } },
        { type: "session.ping", payload: { nonce: "n" } }
      )
      const error = yield* Fake.failed(job.result)
      assert.strictEqual(error._tag, "InternalError")
      assert.include(error.message, "payload.result_id")
      assert.strictEqual((yield* Stream.runCollect(job.events)).length, 1)
      yield* runtime.hear("session.pong")
    })
  )
})

describe("a streamed result", () => {
  const chunk = (event_seq: number, chunk_seq: number, data: string, encoding: string, more: boolean) =>
    Fake.event("job_1", event_seq, "result_chunk", { result_id: "res_1", chunk_seq, data, encoding, more })

  const terminal = (event_seq: number, result_size?: number) => ({
    type: "job.result",
    job_id: "job_1",
    event_seq,
    payload: { final_status: "success", result_id: "res_1", ...(result_size === undefined ? {} : { result_size }) }
  })

  verifies("C-094", "is the text of its chunks, or the base64 of their bytes", () =>
    Effect.gen(function* () {
      const text = yield* start()
      // A character of four bytes, cut between its two halves.
      yield* text.runtime.say(chunk(1, 0, "grün \ud83d", "utf8", true), chunk(2, 1, "\ude00", "utf8", false))
      yield* text.runtime.say(terminal(3, 10))
      assert.strictEqual(yield* text.job.result, "grün 😀")
      assert.strictEqual((yield* Stream.runCollect(text.job.events)).length, 2)

      const mixed = yield* start()
      yield* mixed.runtime.say(chunk(1, 0, "ü", "utf8", true), chunk(2, 1, "AAE=", "base64", false), terminal(3, 4))
      assert.strictEqual(yield* mixed.job.result, "w7wAAQ==")
    })
  )

  it.effect("is put together although nobody reads the events, and with more of them than are kept", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start({ limits: { events: 2 } })
      const chunks = range(0, 19).map((seq) => chunk(seq + 1, seq, `${seq},`, "utf8", seq < 19))
      yield* runtime.say(...chunks, terminal(21))
      assert.strictEqual(
        yield* job.result,
        range(0, 19)
          .map((seq) => `${seq},`)
          .join("")
      )
    })
  )

  it.effect("decodes through the contract", () =>
    Effect.gen(function* () {
      const { client, runtime } = yield* start()
      const Photo = AgentContract.make({ name: "photo", input: Schema.Null, output: Schema.Uint8ArrayFromBase64 })
      const running = yield* Effect.forkChild(client.run(Photo, null))
      const submit = yield* runtime.hear("job.submit")
      yield* runtime.say(Fake.accept(submit, "job_2"), { ...chunk(1, 0, "AAE=", "base64", false), job_id: "job_2" })
      yield* runtime.say({ ...terminal(2), job_id: "job_2" })
      assert.deepStrictEqual(yield* Fiber.join(running), new Uint8Array([0, 1]))
    })
  )

  it.effect("fails with what is wrong with it", () =>
    Effect.gen(function* () {
      const gap = yield* start()
      yield* gap.runtime.say(chunk(1, 0, "a", "utf8", true), chunk(2, 2, "c", "utf8", false), terminal(3))
      assert.strictEqual((yield* Fake.failed(gap.job.result))._tag, "InvalidRequest")
      const size = yield* start()
      yield* size.runtime.say(chunk(1, 0, "a", "utf8", false), terminal(2, 2))
      assert.strictEqual((yield* Fake.failed(size.job.result))._tag, "InvalidRequest")
      const big = yield* start({ limits: { resultBytes: 3 } })
      yield* big.runtime.say(chunk(1, 0, "abcd", "utf8", false), terminal(2))
      assert.strictEqual((yield* Fake.failed(big.job.result))._tag, "InternalError")
    })
  )

  describe("that is read as it comes", () => {
    const textOf = (parts: ReadonlyArray<Uint8Array>) => Buffer.concat([...parts]).toString()

    verifies("C-094", "is its bytes or its text, in order and whole", () =>
      Effect.gen(function* () {
        const { job, runtime } = yield* start()
        const received = yield* Effect.forkChild(Stream.runCollect(job.received))
        yield* Fake.settled
        yield* runtime.say(chunk(1, 0, "grün \ud83d", "utf8", true), Fake.event("job_1", 2))
        yield* Fake.settled
        yield* runtime.say(chunk(3, 1, "\ude00!", "utf8", false), terminal(4, 11))
        assert.deepStrictEqual([...(yield* Stream.runCollect(job.text))], ["grün ", "😀!"])
        assert.strictEqual(textOf(yield* Stream.runCollect(job.content)), "grün 😀!")
        assert.deepStrictEqual([...(yield* Fiber.join(received))].slice(0, 1), [0])
        assert.isAbove((yield* Fiber.join(received)).at(-1)!, 10)
        // It had been put together before anybody read it as a stream.
        assert.strictEqual(yield* job.result, "grün 😀!")
      })
    )

    it.effect("is text also where the agent wrote bytes, with characters over several chunks", () =>
      Effect.gen(function* () {
        const cake = Buffer.from("a🍰")
        const { job, runtime } = yield* start()
        yield* runtime.say(
          chunk(1, 0, cake.subarray(0, 3).toString("base64"), "base64", true),
          chunk(2, 1, cake.subarray(3).toString("base64"), "base64", true),
          chunk(3, 2, "!", "utf8", false),
          terminal(4, 6)
        )
        assert.strictEqual((yield* Stream.runCollect(job.text)).join(""), "a🍰!")
        const binary = yield* start()
        yield* binary.runtime.say(chunk(1, 0, "gA==", "base64", false), terminal(2, 1))
        const error = yield* Fake.failed(Stream.runCollect(binary.job.text))
        assert.strictEqual(error._tag, "InvalidRequest")
        const cut = yield* start()
        yield* cut.runtime.say(chunk(1, 0, "8J+N", "base64", false), terminal(2, 3))
        assert.strictEqual((yield* Fake.failed(Stream.runCollect(cut.job.text)))._tag, "InvalidRequest")
      })
    )

    it.effect("is not put together besides", () =>
      Effect.gen(function* () {
        const { job, runtime } = yield* start({ limits: { resultBytes: 3 } })
        const reading = yield* Effect.forkChild(Stream.runCollect(job.content))
        yield* Fake.settled
        yield* runtime.say(chunk(1, 0, "more than three", "utf8", false), terminal(2, 15))
        assert.strictEqual(textOf(yield* Fiber.join(reading)), "more than three")
        const error = yield* Fake.failed(job.result)
        assert.strictEqual(error._tag, "InvalidRequest")
        assert.include(error.message, "read as a stream")
      })
    )

    it.effect("fails at what does not add up, and with the error of the job", () =>
      Effect.gen(function* () {
        const gap = yield* start()
        yield* gap.runtime.say(chunk(1, 0, "a", "utf8", true), chunk(2, 2, "c", "utf8", false), terminal(3))
        assert.include((yield* Fake.failed(Stream.runDrain(gap.job.content))).message, "chunk_seq: expected 1, not 2")
        const size = yield* start()
        yield* size.runtime.say(chunk(1, 0, "a", "utf8", false), terminal(2, 2))
        assert.include((yield* Fake.failed(Stream.runDrain(size.job.content))).message, "result_size")
        const mixed = yield* start()
        yield* mixed.runtime.say(chunk(1, 0, "a", "utf8", false), Fake.result("job_1", 2, "b"))
        assert.include((yield* Fake.failed(Stream.runDrain(mixed.job.content))).message, "another")
        const { job, runtime } = yield* startMoody()
        yield* runtime.say(
          Fake.failure("job_2", 1, "PERMISSION_DENIED", { agent_error: { _tag: "Sad", why: "rain", when: "3" } })
        )
        assert.instanceOf(yield* Fake.failed(Stream.runDrain(job.content)), Sad)
      })
    )

    it.effect("is the text of a result that came whole, or its JSON", () =>
      Effect.gen(function* () {
        const text = yield* start()
        yield* text.runtime.say(Fake.result("job_1", 1, "whole"))
        assert.strictEqual(textOf(yield* Stream.runCollect(text.job.content)), "whole")
        const json = yield* start()
        yield* json.runtime.say(Fake.result("job_1", 1, { a: [1] }))
        assert.strictEqual((yield* Stream.runCollect(json.job.text)).join(""), `{"a":[1]}`)
        assert.deepStrictEqual(yield* json.job.result, { a: [1] })
        assert.deepStrictEqual([...(yield* Stream.runCollect(json.job.received))], [0])
      })
    )

    it.effect("ends with the session if that is lost", () =>
      Effect.gen(function* () {
        const { job, runtime } = yield* start({ reconnect: false })
        const reading = yield* Effect.forkChild(Effect.flip(Stream.runDrain(job.content)))
        const received = yield* Effect.forkChild(Stream.runCollect(job.received))
        yield* runtime.say(chunk(1, 0, "a", "utf8", true))
        yield* Fake.settled
        yield* runtime.say({ type: "session.closed", payload: { reason: "shutting_down" } })
        assert.strictEqual((yield* Fiber.join(reading))._tag, "HeartbeatLost")
        assert.strictEqual((yield* Fiber.join(received)).at(-1), 1)
      })
    )
  })
})

describe("the events", () => {
  verifies("C-086", "are all that the job says, of kinds that nobody knows too", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(
        Fake.event("job_1", 1, "zzz", { a: [1] }),
        { type: "job.event", job_id: "job_1", event_seq: 2, payload: { kind: "thought", body: { text: "hm" } } },
        Fake.result("job_1", 3, null)
      )
      assert.deepStrictEqual(yield* Stream.runCollect(job.events), [
        { kind: "zzz", ts: "2026-05-13T19:30:00.000Z", body: { a: [1] } },
        { kind: "thought", ts: "1970-01-01T00:00:00.000Z", body: { text: "hm" } }
      ])
    })
  )

  it.effect("come to each reader from the first on, while they come in and afterwards", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      const early = yield* Effect.forkChild(Stream.runCollect(job.events))
      yield* runtime.say(...tell(1, 3))
      yield* Fake.settled
      const late = yield* Effect.forkChild(Stream.runCollect(job.events))
      yield* runtime.say(...tell(4, 5), Fake.failure("job_1", 6, "TIMEOUT"))
      assert.deepStrictEqual(seqs(yield* Fiber.join(early)), range(1, 5))
      assert.deepStrictEqual(seqs(yield* Fiber.join(late)), range(1, 5))
      assert.deepStrictEqual(seqs(yield* Stream.runCollect(job.events)), range(1, 5))
    })
  )

  it.effect("fail when the runtime says that some of them are gone, after those that came before", () =>
    Effect.gen(function* () {
      for (const when of ["while it reads", "before it reads"] as const) {
        const { job, runtime } = yield* start()
        const seen: Array<number> = []
        const reading = Effect.flip(
          Stream.runForEach(Stream.filter(job.events, JobEvent.is("log")), (event) =>
            Effect.sync(() => seen.push(...seqs([event])))
          )
        )
        const early = when === "while it reads" ? yield* Effect.forkChild(reading) : undefined
        yield* Fake.settled
        yield* runtime.say(
          ...tell(1, 2),
          Fake.event("job_1", 3, "status", { phase: "subscription_lagged" }),
          ...tell(4, 5)
        )
        const error = yield* early === undefined ? reading : Fiber.join(early)
        assert.strictEqual(error._tag, "ResumeWindowExpired")
        assert.deepStrictEqual(seen, [1, 2])
        // The outcome is known all the same.
        yield* runtime.say(Fake.result("job_1", 6, "done"))
        assert.strictEqual(yield* job.result, "done")
      }
    })
  )

  it.effect("wait for a slow reader, and nothing of them is lost", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start({ ...Fake.plain, limits: { events: 4 } }, Fake.declared, { capacity: 8 })
      const gate = yield* Latch.make(false)
      const taken: Array<number> = []
      const reading = yield* Effect.forkChild(
        Stream.runForEach(job.events, (event) =>
          Effect.andThen(
            gate.await,
            Effect.sync(() => taken.push(...seqs([event])))
          )
        )
      )
      yield* Fake.settled
      const saying = yield* Effect.forkChild(
        Effect.forEach(tell(1, 100), (event) => runtime.say(event), { discard: true })
      )
      yield* Fake.settled
      assert.isUndefined(saying.pollUnsafe(), "the runtime's writes are held up")
      yield* gate.open
      yield* Fiber.join(saying)
      yield* runtime.say(Fake.result("job_1", 101, null))
      yield* Fiber.join(reading)
      assert.deepStrictEqual(taken, range(1, 100))
    })
  )

  it.effect("do not wait for a reader that has gone", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start({ ...Fake.plain, limits: { events: 4 } })
      const reading = yield* Effect.forkChild(Stream.runForEach(job.events, () => Effect.never))
      yield* Fake.settled
      yield* runtime.say(...tell(1, 100), Fake.result("job_1", 101, "done"))
      yield* Fake.settled
      yield* Fiber.interrupt(reading)
      assert.strictEqual(yield* job.result, "done")
    })
  )

  it.effect("let an answer through that their reader waits for", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start({ ...Fake.plain, limits: { events: 4 } })
      const reading = yield* Effect.forkChild(
        Stream.runForEach(job.events, (event) => (seqs([event])[0] === 1 ? job.cancel() : Effect.void))
      )
      yield* Fake.settled
      yield* runtime.say(...tell(1, 10))
      yield* Fake.settled
      const cancel = yield* runtime.hear("job.cancel")
      yield* runtime.say(
        { type: "job.cancelled", payload: { request_id: cancel.id } },
        Fake.failure("job_1", 11, "CANCELLED")
      )
      yield* Fiber.join(reading)
    })
  )

  it.effect("are dropped beyond the bound when nobody reads: the result comes, and a stream says how many", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start({ ...Fake.plain, limits: { events: 4 } })
      yield* runtime.say(...tell(1, 10), Fake.result("job_1", 11, "done"))
      assert.strictEqual(yield* job.result, "done")
      const error = yield* Fake.failed(Stream.runDrain(job.events))
      assert.strictEqual(error._tag, "ResumeWindowExpired")
      assert.deepStrictEqual(error.details, { dropped: 6 })
    })
  )

  it.effect("are bounded in bytes too", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start({ ...Fake.plain, limits: { eventBytes: 10_000 } })
      const big = { level: "info", message: "x".repeat(4000) }
      yield* runtime.say(Fake.event("job_1", 1, "log", big), Fake.event("job_1", 2, "log", big))
      yield* runtime.say(Fake.result("job_1", 3, "done"))
      assert.strictEqual(yield* job.result, "done")
      assert.deepStrictEqual((yield* Fake.failed(Stream.runDrain(job.events))).details, { dropped: 1 })
    })
  )

  it.effect("wait a little for whoever has just submitted to read them", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, { limits: { events: 4 } }, Fake.declared)
      const reading = yield* Effect.forkChild(
        Effect.flatMap(client.submit("a", null), (job) =>
          Effect.andThen(Effect.yieldNow, Stream.runCollect(job.events))
        )
      )
      const submit = yield* runtime.hear("job.submit")
      yield* runtime.say(Fake.accept(submit, "job_1"), ...tell(1, 50), Fake.result("job_1", 51, null))
      assert.deepStrictEqual(seqs(yield* Fiber.join(reading)), range(1, 50))
    })
  )
})

/** What comes back for a cancellation that is taken. */
const acknowledgements: Record<string, (cancel: Fake.Frame) => { type: string; [member: string]: unknown }> = {
  request_id: ({ id }) => ({ type: "job.cancelled", payload: { request_id: id } }),
  "the envelope id": ({ id }) => ({ type: "job.cancelled", id, payload: {} }),
  "the job's id": () => ({ type: "job.cancelled", payload: { job_id: "job_1" } }),
  "the job's id on the envelope, and a number": () => ({ type: "job.cancelled", job_id: "job_1", event_seq: 1 }),
  nothing: () => ({ type: "job.cancelled" }),
  "the job's end": () => Fake.failure("job_1", 1, "CANCELLED"),
  "another end of the job": () => Fake.result("job_1", 1, "too late")
}

/** What comes back for one that is not. */
const refusals: Record<string, (cancel: Fake.Frame, code: string) => { type: string; [member: string]: unknown }> = {
  "session.error with request_id": ({ id }, code) => ({
    type: "session.error",
    payload: { code, message: "no", retryable: false, request_id: id }
  }),
  "session.error with the job's id": (_, code) => ({
    type: "session.error",
    payload: { code, message: "no", retryable: false, job_id: "job_1" }
  }),
  "session.error and no more": (_, code) => ({
    type: "session.error",
    payload: { code, message: "no", retryable: false }
  }),
  "job.error with the envelope id": ({ id }, code) => ({ type: "job.error", id, payload: { code, message: "no" } }),
  "job.error of the live job": (_, code) => ({ type: "job.error", job_id: "job_1", payload: { code, message: "no" } })
}

describe("cancelling", () => {
  it.effect.each(Object.keys(acknowledgements))("is acknowledged by %s", (how) =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start({}, {})
      const cancelling = yield* Effect.forkChild(job.cancel("enough"))
      const cancel = yield* runtime.hear("job.cancel")
      assert.strictEqual(cancel.job_id, "job_1")
      assert.deepStrictEqual(cancel.payload, { job_id: "job_1", reason: "enough" })
      yield* runtime.say(acknowledgements[how]!(cancel))
      yield* Fiber.join(cancelling)
    })
  )

  it.effect.each(Object.keys(refusals))("is refused by %s, and the job goes on", (how) =>
    Effect.gen(function* () {
      for (const [code, tag] of [
        ["PERMISSION_DENIED", "PermissionDenied"],
        ["JOB_NOT_FOUND", "JobNotFound"]
      ] as const) {
        const { job, runtime } = yield* start({}, {})
        const cancelling = yield* Effect.forkChild(Fake.failed(job.cancel()))
        yield* runtime.say(refusals[how]!(yield* runtime.hear("job.cancel"), code))
        assert.strictEqual((yield* Fiber.join(cancelling))._tag, tag)
        yield* runtime.say(Fake.result("job_1", 1, "fine"))
        assert.strictEqual(yield* job.result, "fine")
      }
    })
  )

  it.effect("always gives a reason", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* Effect.forkChild(job.cancel())
      assert.isString((yield* runtime.hear("job.cancel")).payload.reason)
    })
  )

  it.effect("a job that has ended finds none, and says nothing", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(Fake.result("job_1", 1, "fine"))
      yield* job.result
      const error = yield* Fake.failed(job.cancel())
      assert.strictEqual(error._tag, "JobNotFound")
      assert.deepStrictEqual(error.details, { job_id: "job_1", final_status: "success" })
      assert.deepStrictEqual(yield* runtime.unheard, [])
    })
  )

  it.effect("late is not taken for the answer to the next request", () =>
    Effect.gen(function* () {
      const { client, job, runtime } = yield* start({}, {})
      const cancelling = yield* Effect.forkChild(job.cancel())
      yield* runtime.hear("job.cancel")
      yield* runtime.say(Fake.result("job_1", 1, "fine"))
      yield* Fiber.join(cancelling)
      const submitting = yield* Effect.forkChild(client.submit("b", 1))
      const submit = yield* runtime.hear("job.submit")
      const late = { code: "JOB_NOT_FOUND", message: "no", retryable: false }
      yield* runtime.say(
        { type: "session.error", payload: late },
        { type: "job.error", job_id: "job_1", event_seq: 2, payload: late },
        Fake.accept(submit, "job_2")
      )
      assert.strictEqual((yield* Fiber.join(submitting)).id, "job_2")
    })
  )

  it.effect("a job of our own runtime that ends with a code of a refusal is no refusal", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(Fake.failure("job_1", 1, "JOB_NOT_FOUND"))
      assert.strictEqual((yield* Fake.failed(job.result))._tag, "JobNotFound")
    })
  )

  it.effect("is nothing that interrupting a reader does", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      const reading = yield* Effect.forkChild(Stream.runDrain(job.events))
      const awaiting = yield* Effect.forkChild(job.result)
      yield* Fake.settled
      yield* Fiber.interrupt(reading)
      yield* Fiber.interrupt(awaiting)
      assert.deepStrictEqual(yield* runtime.unheard, [])
      yield* runtime.say(Fake.event("job_1", 1), Fake.result("job_1", 2, "fine"))
      const handle: JobHandle.JobHandle<Json.Json> = job
      assert.strictEqual(yield* handle.result, "fine")
    })
  )
})
