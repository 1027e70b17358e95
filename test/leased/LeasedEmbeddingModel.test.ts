import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { AiError, EmbeddingModel } from "effect/ai"
import { TestClock } from "effect/testing"
import * as LeasedEmbeddingModel from "../../src/leased/LeasedEmbeddingModel.ts"
import type * as ModelPolicy from "../../src/leased/ModelPolicy.ts"
import * as Scripted from "./ScriptedModel.ts"

const id = "acme/embed"
const granted = { "model.use": ["acme/*"] }

const leased = (
  raw: EmbeddingModel.EmbeddingModel,
  job: Parameters<typeof LeasedEmbeddingModel.make>[1],
  options?: ModelPolicy.Options<LeasedEmbeddingModel.Request>
) => LeasedEmbeddingModel.make(raw, job, id, Scripted.policy({ prices: [Scripted.dollar], ...options }))

type Member = Exclude<keyof EmbeddingModel.EmbeddingModel, `~${string}`>

/** Every member of the service, with a call of it. A member without a row does not compile. */
const members: {
  readonly [M in Member]: (model: EmbeddingModel.EmbeddingModel) => Effect.Effect<unknown, AiError.AiError>
} = {
  embed: (model) => model.embed("four"),
  embedMany: (model) => model.embedMany(["four"]),
  resolver: (model) => Effect.request(new EmbeddingModel.EmbeddingRequest({ input: "four" }), model.resolver)
}

const calls = Object.entries(members).map(([name, call]) => ({ name, call }))

const cost = (value: number, more = {}) => ({
  name: "cost.model",
  value,
  unit: "USD",
  dimensions: { model: id, ...more }
})

describe("each member of the leased embedding model", () => {
  it("is listed here, so that one which a later Effect adds is not overlooked", () => {
    const namesOf = (model: EmbeddingModel.EmbeddingModel) =>
      Object.keys(model)
        .filter((key) => !key.startsWith("~"))
        .toSorted()
    const listed = Object.keys(members).toSorted()
    const { model } = Scripted.embedding()
    assert.deepStrictEqual(namesOf(model), listed)
    assert.deepStrictEqual(namesOf(LeasedEmbeddingModel.refusing), listed)
    assert.deepStrictEqual(namesOf(leased(model, Effect.runSync(Scripted.job({})))), listed)
  })

  it.effect.each(calls)("$name answers as without a lease, and tells what it cost", ({ call }) =>
    Effect.gen(function* () {
      const job = yield* Scripted.job(granted)
      const { model } = Scripted.embedding()
      assert.deepStrictEqual(yield* call(leased(model, job)), yield* call(model))
      assert.deepStrictEqual(job.said, [{ kind: "metric", body: cost(0.000004) }])
    })
  )

  it.effect.each(calls)("$name is refused by a lease that does not name the model, and nobody is asked", ({ call }) =>
    Effect.gen(function* () {
      for (const grants of [{}, { "model.use": ["acme/embed-large"] }]) {
        const job = yield* Scripted.job(grants)
        const { model, requests } = Scripted.embedding()
        const { cause, error, reason } = yield* Scripted.denial(call(leased(model, job)))
        assert.strictEqual(cause._tag, "PermissionDenied")
        assert.deepStrictEqual(cause.details, { capability: "model.use", target: id })
        assert.strictEqual(error.module, "EmbeddingModel")
        assert.strictEqual(reason._tag, "AuthenticationError")
        assert.deepStrictEqual([requests, job.said], [[], []])
      }
    })
  )

  it.effect.each(calls)("$name is refused when the lease is over, or the budget spent", ({ call }) =>
    Effect.gen(function* () {
      const { model, requests } = Scripted.embedding()
      const poor = Scripted.withDollars(yield* Scripted.job(granted), "0").job
      assert.strictEqual((yield* Scripted.denial(call(leased(model, poor)))).cause._tag, "BudgetExhausted")
      const job = yield* Scripted.job(granted, { expires_at: "1970-01-01T00:00:01Z" })
      const subject = leased(model, job)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Scripted.denial(call(subject))).cause._tag, "LeaseExpired")
      assert.lengthOf(requests, 0)
    })
  )

  it.effect.each(calls)("$name says so when the host offers no model", ({ call }) =>
    Effect.gen(function* () {
      const { cause } = yield* Scripted.denial(call(LeasedEmbeddingModel.refusing))
      assert.include(cause.message, "the host offers no embedding model")
    })
  )
})

describe("requests for embeddings", () => {
  it.effect("of one job at the same time are one, of two jobs are two", () =>
    Effect.gen(function* () {
      const { model, requests } = Scripted.embedding()
      const ann = yield* Scripted.job(granted)
      const bob = yield* Scripted.job(granted)
      const embed = (job: typeof ann, ...inputs: ReadonlyArray<string>) => {
        const subject = leased(model, job)
        return Effect.forEach(inputs, (input) => Effect.withSpan(subject.embed(input), `embed ${input}`), {
          concurrency: "unbounded"
        })
      }
      const [vectors] = yield* Effect.all([embed(ann, "a", "bb", "ccc"), embed(bob, "dddd")], {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        vectors.map(({ vector }) => vector[0]),
        [1, 2, 3]
      )
      assert.sameDeepMembers([...requests], [["a", "bb", "ccc"], ["dddd"]])
      assert.deepStrictEqual(Scripted.costs(ann), [cost(0.000006)])
      assert.deepStrictEqual(Scripted.costs(bob), [cost(0.000004)])
    })
  )

  it.effect("for nothing ask nobody", () =>
    Effect.gen(function* () {
      const { model, requests } = Scripted.embedding()
      const job = yield* Scripted.job({})
      assert.lengthOf((yield* leased(model, job).embedMany([])).embeddings, 0)
      assert.deepStrictEqual([requests, job.said], [[], []])
    })
  )

  it.effect("set aside what they can cost at most, and give back the rest", () =>
    Effect.gen(function* () {
      const { job, left, purse } = Scripted.withDollars(yield* Scripted.job(granted), "0.00001")
      const { model, requests } = Scripted.embedding()
      const atMost = ({ inputs }: LeasedEmbeddingModel.Request) => ({
        embedding: LeasedEmbeddingModel.bytesOf(inputs)
      })
      const subject = leased(model, job, { atMost })
      yield* subject.embedMany(["äöü", "x"])
      assert.deepStrictEqual([purse.reserved, left()], [["0.000007"], "0.000006"])
      const { cause } = yield* Scripted.denial(subject.embedMany(["seven b"]))
      assert.strictEqual(cause._tag, "BudgetExhausted")
      assert.deepStrictEqual([requests.length, left()], [1, "0.000006"])
      const refused = Scripted.embedding(
        AiError.make({ module: "Acme", method: "embed", reason: new AiError.RateLimitError({}) })
      )
      yield* Effect.flip(leased(refused.model, job, { atMost }).embed("a"))
      assert.deepStrictEqual([refused.requests.length, left()], [1, "0.000006"])
    })
  )
})
