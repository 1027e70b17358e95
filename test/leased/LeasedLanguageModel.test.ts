import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { AiError, type LanguageModel, Prompt, Telemetry } from "effect/ai"
import { TestClock } from "effect/testing"
import * as LeasedLanguageModel from "../../src/leased/LeasedLanguageModel.ts"
import type * as ModelPolicy from "../../src/leased/ModelPolicy.ts"
import type * as ArcpError from "../../src/protocol/ArcpError.ts"
import * as Scripted from "./ScriptedModel.ts"

const id = "acme/small"
const granted = { "model.use": ["acme/*"] }
const prices = [Scripted.dollar]
const Answer = Schema.Struct({ answer: Schema.Int })

type Options = ModelPolicy.Options<LeasedLanguageModel.Request>

const leased = (
  raw: LanguageModel.LanguageModel,
  job: Parameters<typeof LeasedLanguageModel.make>[1],
  options?: Options
) => LeasedLanguageModel.make(raw, job, id, Scripted.policy({ prices, ...options }))

type Member = Exclude<keyof LanguageModel.LanguageModel, `~${string}`>

/** Every member of the service, with what a call of it is. A member without a row does not compile. */
const members: {
  readonly [M in Member]: ((model: LanguageModel.LanguageModel) => Effect.Effect<unknown, unknown>) | "asks no model"
} = {
  supportsSystemMessagesInHistory: "asks no model",
  generateText: (model) => model.generateText({ prompt: "hi" }),
  generateObject: (model) => model.generateObject({ prompt: "hi", schema: Answer }),
  streamText: (model) => Stream.runDrain(model.streamText({ prompt: "hi" }))
}

const calls = Object.entries(members).flatMap(([name, call]) => (call === "asks no model" ? [] : [{ name, call }]))

/** A provider that answers each of them, and what each answer uses. */
const anyProvider = (name: string) =>
  name === "streamText"
    ? Scripted.language(Scripted.parts(Scripted.delta("4"), Scripted.finish(100, 20)))
    : Scripted.language([Scripted.text(`{"answer":4}`), Scripted.finish(100, 20)])

const cost = (value: number, model = id) => ({ name: "cost.model", value, unit: "USD", dimensions: { model } })
const atMost = (value: number) => ({ ...cost(value), dimensions: { model: id, estimated: "at_most" } })

const failing = (reason: AiError.AiErrorReason) =>
  Effect.fail(AiError.make({ module: "Acme", method: "generateText", reason }))

describe("each member of the leased language model", () => {
  it("is listed here, so that one which a later Effect adds is not overlooked", () => {
    const namesOf = (model: LanguageModel.LanguageModel) =>
      Object.keys(model)
        .filter((key) => !key.startsWith("~"))
        .toSorted()
    const listed = Object.keys(members).toSorted()
    const { model } = Scripted.language([])
    assert.deepStrictEqual(namesOf(model), listed)
    assert.deepStrictEqual(namesOf(LeasedLanguageModel.refusing), listed)
    assert.deepStrictEqual(namesOf(leased(model, Effect.runSync(Scripted.job({})))), listed)
  })

  it.effect.each(calls)("$name answers as without a lease, and tells what it cost", ({ call, name }) =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted)
      const { model, requests } = anyProvider(name)
      yield* call(leased(model, job))
      assert.lengthOf(requests, 1)
      assert.deepStrictEqual(job.said, [{ kind: "metric", body: cost(0.00012) }])
    })
  )

  it.effect.each(calls)(
    "$name is refused by a lease that does not name the model, and nobody is asked",
    ({ call, name }) =>
      Effect.gen(function* () {
        for (const grants of [{}, { "model.use": [] }, { "model.use": ["acme/large"] }]) {
          const job = yield* Scripted.job(grants)
          const { model, requests } = anyProvider(name)
          const { cause, error, reason } = yield* Scripted.denial(call(leased(model, job)))
          assert.strictEqual(cause._tag, "PermissionDenied")
          assert.deepStrictEqual(cause.details, { capability: "model.use", target: id })
          assert.deepStrictEqual([error.module, error.method], ["LanguageModel", name])
          assert.strictEqual(reason._tag, "AuthenticationError")
          assert.isFalse(error.isRetryable)
          assert.deepStrictEqual([requests, job.said], [[], []])
        }
      })
  )

  it.effect.each(calls)("$name is refused from the instant on at which the lease ends", ({ call, name }) =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted, { expires_at: "1970-01-01T00:00:01Z" })
      const { model, requests } = anyProvider(name)
      yield* TestClock.adjust(999)
      yield* call(leased(model, job))
      yield* TestClock.adjust(1)
      const { cause } = yield* Scripted.denial(call(leased(model, job)))
      assert.strictEqual(cause._tag, "LeaseExpired")
      assert.lengthOf(requests, 1)
    })
  )

  it.effect.each(calls)("$name is refused when the budget is spent", ({ call, name }) =>
    Effect.gen(function* () {
      const { job } = Scripted.withDollars(yield* Scripted.job(granted), "0")
      const { model, requests } = anyProvider(name)
      const { cause, reason } = yield* Scripted.denial(call(leased(model, job)))
      assert.strictEqual(cause._tag, "BudgetExhausted")
      assert.strictEqual(reason._tag, "QuotaExhaustedError")
      assert.lengthOf(requests, 0)
    })
  )

  it.effect.each(calls)("$name says so when the host offers no model", ({ call, name }) =>
    Effect.gen(function* () {
      const { cause, error } = yield* Scripted.denial(call(LeasedLanguageModel.refusing))
      assert.strictEqual(error.method, name)
      assert.strictEqual(cause._tag, "PermissionDenied")
      assert.include(cause.message, "the host offers no language model")
    })
  )

  it.effect("supportsSystemMessagesInHistory is the provider's own word", () =>
    Effect.gen(function* () {
      const { model } = Scripted.language([])
      const knowing = { ...model, supportsSystemMessagesInHistory: Effect.succeed(true) }
      const job = yield* Scripted.job({})
      assert.isTrue(yield* leased(knowing, job).supportsSystemMessagesInHistory!)
      assert.isUndefined(leased(model, job).supportsSystemMessagesInHistory)
    })
  )
})

describe("a lease that names no models", () => {
  const ask = (grants: Record<string, ReadonlyArray<string>>, whenUngranted: "allow" | "deny", dollars = "1") =>
    Effect.gen(function* () {
      const constraints = { expires_at: "1970-01-01T01:00:00Z" }
      const { job } = Scripted.withDollars(yield* Scripted.job(grants, constraints), dollars)
      const { model } = Scripted.language([Scripted.finish(1, 1)])
      return yield* leased(model, job, { whenUngranted })
        .generateText({ prompt: "hi" })
        .pipe(
          Effect.as("ok"),
          Effect.catch((error) => Effect.map(Scripted.denial(Effect.fail(error)), ({ cause }) => cause._tag))
        )
    })

  it.effect("allows them if the host says so, and then they are bound by its end and its budget all the same", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ask({}, "deny"), "PermissionDenied")
      assert.strictEqual(yield* ask({}, "allow"), "ok")
      assert.strictEqual(yield* ask({}, "allow", "0"), "BudgetExhausted")
      // One that names some has said which.
      assert.strictEqual(yield* ask({ "model.use": ["other"] }, "allow"), "PermissionDenied")
      assert.strictEqual(yield* ask({ "model.use": [] }, "allow"), "PermissionDenied")
      yield* TestClock.adjust("1 hour")
      const job = yield* Scripted.job({}, { expires_at: "1970-01-01T02:00:00Z" })
      const { model } = Scripted.language([Scripted.finish(1, 1)])
      const allowed = leased(model, job, { whenUngranted: "allow" })
      yield* TestClock.adjust("2 hours")
      const { cause } = yield* Scripted.denial(allowed.generateText({ prompt: "hi" }))
      assert.strictEqual(cause._tag, "LeaseExpired")
    })
  )
})

describe("what a request cost", () => {
  it.effect("counts every kind of token once", () =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted)
      const table = [
        {
          model: id,
          currency: "USD",
          input: "1",
          cachedInput: "10",
          cacheWrite: "100",
          output: "1000",
          reasoning: "10000"
        }
      ]
      const { model } = Scripted.language(
        [
          {
            ...Scripted.finish(0, 0),
            usage: {
              inputTokens: { uncached: 1, cacheRead: 2, cacheWrite: 3, total: 6 },
              outputTokens: { text: 4, reasoning: 5, total: 9 }
            }
          }
        ],
        [
          {
            ...Scripted.finish(0, 0),
            usage: { inputTokens: { cacheRead: 2, total: 6 }, outputTokens: { reasoning: 5, total: 9 } }
          }
        ]
      )
      const subject = leased(model, job, { prices: table })
      yield* subject.generateText({ prompt: "hi" })
      yield* subject.generateText({ prompt: "hi" })
      assert.deepStrictEqual(Scripted.costs(job), [
        cost((1 + 20 + 300 + 4000 + 50_000) / 1e6),
        cost((4 + 20 + 4000 + 50_000) / 1e6)
      ])
    })
  )

  it.effect("is told by the price of a call where the provider tells no usage, and not at all without a price", () =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted)
      const { model } = Scripted.language([Scripted.text("hi")])
      yield* leased(model, job, { prices: [{ model: id, currency: "USD", call: "0.01", output: "1" }] }).generateText({
        prompt: "hi"
      })
      yield* leased(model, job, { prices: [{ model: "other", currency: "USD", call: "1" }] }).generateText({
        prompt: "hi"
      })
      yield* leased(model, job, { prices: [] }).generateText({ prompt: "hi" })
      assert.deepStrictEqual(Scripted.costs(job), [cost(0.01)])
    })
  )

  it.effect("is told also when the answer is not of the wanted shape", () =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted)
      const { model } = Scripted.language([Scripted.text("no json"), Scripted.finish(100, 20)])
      const seen: Array<string> = []
      const error = yield* leased(model, job)
        .generateObject({ prompt: "hi", schema: Answer })
        .pipe(
          Effect.provideService(Telemetry.CurrentSpanTransformer, ({ response }) => {
            seen.push(...response.map(({ type }) => type))
          }),
          Effect.flip
        )
      assert.strictEqual(error.reason._tag, "StructuredOutputError")
      assert.deepStrictEqual(Scripted.costs(job), [cost(0.00012)])
      assert.deepStrictEqual(seen, ["text", "finish"], "who watches spans still does")
    })
  )

  it.effect.each([
    new AiError.RateLimitError({}),
    new AiError.AuthenticationError({ kind: "InvalidKey" }),
    new AiError.InternalProviderError({ description: "overloaded" }),
    new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "https://acme/" })
  ])("is nothing when the provider turns the request down: $_tag", (reason) =>
    Effect.gen(function* () {
      const { job, left, purse } = Scripted.withDollars(yield* Scripted.job(granted), "1")
      const { model } = Scripted.language(failing(reason))
      const subject = leased(model, job, { atMost: { input: 1000, output: 1000 } })
      const error = yield* Effect.flip(subject.generateText({ prompt: "hi" }))
      assert.strictEqual(error.reason._tag, reason._tag)
      assert.deepStrictEqual([purse.reserved, job.said, left()], [["0.002"], [], "1"])
    })
  )

  it.effect("is taken from what an error says of it, or else is what it can be at most", () =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted)
      const usage = { promptTokens: 7, completionTokens: 5 }
      const { model } = Scripted.language(
        failing(new AiError.InvalidOutputError({ description: "cut off", usage })),
        failing(new AiError.InvalidResponseError({ description: "html" }))
      )
      const subject = leased(model, job, { atMost: { input: 1000, output: 1000 } })
      yield* Effect.flip(subject.generateText({ prompt: "hi" }))
      yield* Effect.flip(subject.generateText({ prompt: "hi" }))
      assert.deepStrictEqual(Scripted.costs(job), [cost(0.000012), atMost(0.002)])
    })
  )

  it.effect("is at most what it can be when the request is interrupted, and is told by then", () =>
    Effect.gen(function* () {
      const { job, left } = Scripted.withDollars(yield* Scripted.job(granted), "1")
      const { model, requests } = Scripted.language(Effect.never)
      const bound = ({ prompt }: LeasedLanguageModel.Request) => ({
        input: LeasedLanguageModel.bytesOf(prompt),
        output: 1000
      })
      const prompt = Prompt.make("häh")
      const running = yield* Effect.forkChild(leased(model, job, { atMost: bound }).generateText({ prompt }), {
        startImmediately: true
      })
      while (requests.length === 0) yield* Effect.yieldNow
      yield* Fiber.interrupt(running)
      const bytes = new TextEncoder().encode(JSON.stringify(prompt.content)).length
      assert.isAbove(bytes, JSON.stringify(prompt.content).length)
      assert.deepStrictEqual(Scripted.costs(job), [atMost((bytes + 1000) / 1e6)])
      assert.strictEqual(left(), String(1 - (bytes + 1000) / 1e6))
    })
  )
})

describe("a stream", () => {
  /** Gives one part, and another one whenever the test says so. */
  const slow = Effect.gen(function* () {
    const more = yield* Deferred.make<void>()
    let closed = false
    const stream = Stream.make(Scripted.delta("a")).pipe(
      Stream.concat(Stream.fromEffect(Effect.as(Deferred.await(more), Scripted.delta("b")))),
      Stream.concat(Stream.make(Scripted.finish(100, 20))),
      Stream.ensuring(
        Effect.sync(() => {
          closed = true
        })
      )
    )
    return { ...Scripted.language({ stream }), more, closed: () => closed }
  })

  it.effect("hands on each part when it comes, and the finish last", () =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted)
      const { model, more } = yield* slow
      const seen: Array<string> = []
      const reading = yield* Stream.runForEach(leased(model, job).streamText({ prompt: "hi" }), (part) => {
        seen.push(part.type === "text-delta" ? part.delta : part.type)
        return Effect.void
      }).pipe(Effect.forkChild)
      while (seen.length === 0) yield* Effect.yieldNow
      assert.deepStrictEqual(seen, ["a"])
      yield* Deferred.succeed(more, undefined)
      yield* Fiber.join(reading)
      assert.deepStrictEqual(seen, ["a", "b", "finish"])
      assert.deepStrictEqual(Scripted.costs(job), [cost(0.00012)])
    })
  )

  it.effect("without tools is in the order of the provider", () =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted)
      const { model } = Scripted.language(Scripted.parts(Scripted.finish(1, 1), Scripted.delta("late")))
      const parts = yield* Stream.runCollect(leased(model, job).streamText({ prompt: "hi" }))
      assert.deepStrictEqual(
        parts.map(({ type }) => type),
        ["finish", "text-delta"]
      )
    })
  )

  it.effect("ends with the lease, while its provider is silent and when it speaks", () =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted, { expires_at: "1970-01-01T00:01:00Z" })
      const silent = yield* slow
      const subject = leased(silent.model, job, { atMost: { input: 1000, output: 1000 } })
      const seen: Array<unknown> = []
      const reading = yield* Stream.runForEach(subject.streamText({ prompt: "hi" }), (part) => {
        seen.push(part.type)
        return Effect.void
      }).pipe(Effect.exit, Effect.forkChild)
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual([seen, silent.closed()], [["text-delta"], false])
      yield* TestClock.adjust("1 second")
      const { cause, error } = yield* Scripted.denial(yield* Fiber.join(reading))
      assert.strictEqual(cause._tag, "LeaseExpired")
      assert.deepStrictEqual([error.module, error.method], ["LanguageModel", "streamText"])
      assert.isTrue(silent.closed())
      assert.deepStrictEqual(Scripted.costs(job), [atMost(0.002)])
    })
  )

  it.effect("shows nothing that came after the lease ended, also where the clock has not been waited for", () =>
    Effect.gen(function* () {
      let asked = 0
      const base = yield* Scripted.job(granted)
      const expired = (yield* Effect.flip(
        Effect.andThen(
          TestClock.adjust("1 minute"),
          (yield* Scripted.job(granted, { expires_at: "1970-01-01T00:00:01Z" })).guard.authorize({
            capability: "model.use",
            target: id
          })
        )
      )) as ArcpError.LeaseExpired
      const guard = {
        ...base.guard,
        authorize: () => Effect.suspend(() => (++asked > 2 ? Effect.fail(expired) : Effect.void))
      }
      const { model } = Scripted.language(
        Scripted.parts(Scripted.delta("a"), Scripted.delta("b"), Scripted.finish(1, 1)),
        Scripted.parts(Scripted.delta("a"), Scripted.finish(100, 20))
      )
      const subject = leased(model, { ...base, guard })
      for (const told of [[], [cost(0.00012)]]) {
        asked = 0
        const seen: Array<string> = []
        const { cause } = yield* Scripted.denial(
          Stream.runForEach(subject.streamText({ prompt: "hi" }), (part) => {
            seen.push(part.type === "text-delta" ? part.delta : part.type)
            return Effect.void
          })
        )
        assert.strictEqual(cause._tag, "LeaseExpired")
        assert.deepStrictEqual(seen, ["a"])
        // What is known of its cost by then is told.
        assert.deepStrictEqual(Scripted.costs(base), told)
      }
    })
  )

  it.effect("that nobody reads to its end costs at most what it can, and gives back what was set aside beyond", () =>
    Effect.gen(function* () {
      const { job, left, purse } = Scripted.withDollars(yield* Scripted.job(granted), "1")
      const { closed, model } = yield* slow
      const subject = leased(model, job, { atMost: { input: 1000, output: 1000 } })
      yield* Stream.runDrain(Stream.take(subject.streamText({ prompt: "hi" }), 1))
      assert.isTrue(closed())
      assert.deepStrictEqual(Scripted.costs(job), [atMost(0.002)])
      assert.deepStrictEqual([purse.reserved, left()], [["0.002"], "0.998"])
    })
  )

  it.effect("that breaks in the middle costs at most what it can, and one that never began costs nothing", () =>
    Effect.gen(function* () {
      const { job, left } = Scripted.withDollars(yield* Scripted.job(granted), "1")
      const broken = Stream.fromEffect(
        failing(new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "https://acme/" }))
      )
      const { model } = Scripted.language(
        { stream: broken },
        {
          stream: Stream.concat(
            Stream.make({
              type: "response-metadata" as const,
              id: "r",
              modelId: "m",
              timestamp: undefined,
              request: undefined
            }),
            broken
          )
        },
        { stream: Stream.concat(Stream.make(Scripted.delta("a")), broken) }
      )
      const subject = leased(model, job, { atMost: { input: 1000, output: 1000 } })
      const ask = Effect.flip(Stream.runDrain(subject.streamText({ prompt: "hi" })))
      yield* ask
      yield* ask
      assert.deepStrictEqual([Scripted.costs(job), left()], [[], "1"])
      assert.strictEqual((yield* ask).reason._tag, "NetworkError")
      assert.deepStrictEqual([Scripted.costs(job), left()], [[atMost(0.002)], "0.998"])
    })
  )

  it.effect("is not ended by a budget that others spend: what was begun is paid", () =>
    Effect.gen(function* () {
      const { job, purse } = Scripted.withDollars(yield* Scripted.job(granted), "0.002")
      const { model, more } = yield* slow
      const subject = leased(model, job, { atMost: { input: 1000, output: 1000 } })
      const reading = yield* Effect.forkChild(Stream.runCollect(subject.streamText({ prompt: "hi" })))
      yield* Effect.yieldNow
      yield* Deferred.succeed(more, undefined)
      assert.lengthOf(yield* Fiber.join(reading), 3)
      assert.deepStrictEqual(purse.reserved, ["0.002"])
    })
  )
})

describe("requests side by side", () => {
  it.effect("cannot spend together what each of them could spend alone", () =>
    Effect.gen(function* () {
      const { job, left } = Scripted.withDollars(yield* Scripted.job(granted), "0.01")
      const gate = yield* Deferred.make<void>()
      const answer = Effect.as(Deferred.await(gate), [Scripted.finish(900, 900)])
      const { model, requests } = Scripted.language(answer)
      const subject = leased(model, job, { atMost: { input: 1000, output: 1000 } })
      const running = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: 20 }),
          (_, index) =>
            Effect.exit(
              index % 2 === 0
                ? subject.generateText({ prompt: "hi" })
                : subject.generateObject({ prompt: "hi", schema: Answer })
            ),
          { concurrency: "unbounded" }
        )
      )
      while (requests.length < 5) yield* Effect.yieldNow
      for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
      assert.strictEqual(left(), "0")
      yield* Deferred.succeed(gate, undefined)
      const exits = yield* Fiber.join(running)
      // Five times 0.002 are in a cent, and each of the five gives back what it did not use.
      assert.lengthOf(requests, 5)
      assert.lengthOf(Scripted.costs(job), 5)
      assert.strictEqual(left(), "0.001")
      for (const exit of exits.filter((exit) => Exit.isFailure(exit)).slice(-1)) {
        assert.strictEqual((yield* Scripted.denial(exit)).cause._tag, "BudgetExhausted")
      }
    })
  )
})
