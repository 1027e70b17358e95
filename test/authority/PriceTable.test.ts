import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Effect, Option, Result, Schema } from "effect"
import * as PriceTable from "../../src/authority/PriceTable.ts"
import * as Amount from "../../src/protocol/Amount.ts"

const table = (...entries: ReadonlyArray<PriceTable.Entry>) => Result.getOrThrow(PriceTable.make(entries))

const shown = (amount: Option.Option<Amount.Amount>) => Option.getOrUndefined(Option.map(amount, Amount.format))

const entry = { model: "acme/*", currency: "USD", input: "2.50", output: "10" } satisfies PriceTable.Entry

/** A price in millionths, as it is written. */
const written = (millionths: number) => `${Math.floor(millionths / 1e6)}.${String(millionths % 1e6).padStart(6, "0")}`

const Millionths = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999_999_999 }))
const Tokens = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000_000 }))
const kinds = ["input", "cachedInput", "cacheWrite", "output", "reasoning", "embedding"] as const
const each = <S>(schema: S): { readonly [K in (typeof kinds)[number]]: S } => ({
  input: schema,
  cachedInput: schema,
  cacheWrite: schema,
  output: schema,
  reasoning: schema,
  embedding: schema
})
const Prices = Schema.Struct({ ...each(Millionths), call: Millionths })
const Usage = Schema.Struct(each(Tokens))

const priced = (prices: typeof Prices.Type) =>
  table({
    model: "m",
    currency: "EUR",
    call: written(prices.call),
    input: written(prices.input),
    cachedInput: written(prices.cachedInput),
    cacheWrite: written(prices.cacheWrite),
    output: written(prices.output),
    reasoning: written(prices.reasoning),
    embedding: written(prices.embedding)
  })

describe("PriceTable", () => {
  it.effect.prop("is exact to the last digit", { prices: Prices, usage: Usage }, ({ prices, usage }) =>
    Effect.sync(() => {
      const cost = Option.getOrThrow(PriceTable.cost(priced(prices), "m", usage))
      // In units of 10^-12: a price is in millionths, and it is for a million tokens.
      const expected = kinds.reduce(
        (sum, kind) => sum + BigInt(prices[kind]) * BigInt(usage[kind]),
        BigInt(prices.call) * 1_000_000n
      )
      assert.strictEqual(cost.currency, "EUR")
      assert.isTrue(BigDecimal.equals(cost.value, BigDecimal.make(expected, 12)))
    })
  )

  it.effect.prop(
    "costs never more than at most, within the bound, and as much at the most expensive",
    { prices: Prices, usage: Usage },
    ({ prices, usage }) =>
      Effect.sync(() => {
        const subject = priced(prices)
        const bound = {
          input: usage.input + usage.cachedInput + usage.cacheWrite,
          output: usage.output + usage.reasoning,
          embedding: usage.embedding
        }
        const atMost = Option.getOrThrow(PriceTable.costAtMost(subject, "m", bound)).value
        const cost = Option.getOrThrow(PriceTable.cost(subject, "m", usage)).value
        assert.isTrue(BigDecimal.isLessThanOrEqualTo(cost, atMost))
        const dearest = (...names: ReadonlyArray<(typeof kinds)[number]>) =>
          names.reduce((best, name) => (prices[name] > prices[best] ? name : best))
        const worst = PriceTable.cost(subject, "m", {
          [dearest("input", "cachedInput", "cacheWrite")]: bound.input,
          [dearest("output", "reasoning")]: bound.output,
          embedding: bound.embedding
        })
        assert.isTrue(BigDecimal.equals(Option.getOrThrow(worst).value, atMost))
      })
  )

  it("takes the first entry that covers the model, in the words of leases", () => {
    const subject = table({ ...entry, model: "acme/small", output: "1" }, entry, {
      model: "**",
      currency: "credits",
      call: "3"
    })
    const cost = (model: string) => shown(PriceTable.cost(subject, model, { output: 1_000_000 }))
    assert.strictEqual(cost("acme/small"), "USD:1")
    assert.strictEqual(cost("acme/large"), "USD:10")
    assert.strictEqual(cost("other/a/b"), "credits:3")
    assert.isUndefined(cost(""))
    assert.isUndefined(shown(PriceTable.cost(PriceTable.empty, "acme/small", {})))
  })

  it("has cached input and reasoning cost what input and output cost, where nothing else is said", () => {
    const usage = { cachedInput: 1_000_000, cacheWrite: 1_000_000, reasoning: 1_000_000 }
    assert.strictEqual(shown(PriceTable.cost(table(entry), "acme/a", usage)), "USD:15")
    const cheaper = table({ ...entry, cachedInput: "0.25", cacheWrite: "0", reasoning: "1" })
    assert.strictEqual(shown(PriceTable.cost(cheaper, "acme/a", usage)), "USD:1.25")
  })

  it("lets no usage that a provider reports lower a cost", () => {
    const cost = (usage: PriceTable.Usage) => shown(PriceTable.cost(table(entry), "acme/a", usage))
    assert.strictEqual(cost({ input: -5, output: Number.NaN, reasoning: Number.POSITIVE_INFINITY }), "USD:0")
    assert.strictEqual(cost({ output: 0.5 }), "USD:0.00001")
  })

  it("knows no bound where something that has a price is unbounded", () => {
    const atMost = (bound: PriceTable.Bound, over: Partial<PriceTable.Entry> = {}) =>
      shown(PriceTable.costAtMost(table({ ...entry, ...over }), "acme/a", bound))
    assert.strictEqual(atMost({ input: 1000, output: 1000 }), "USD:0.0125")
    assert.isUndefined(atMost({ input: 1000 }))
    assert.isUndefined(atMost({ output: 1000 }))
    assert.isUndefined(atMost({ input: Number.POSITIVE_INFINITY, output: 1 }))
    assert.strictEqual(atMost({ output: 1000 }, { input: "0" }), "USD:0.01")
    assert.strictEqual(atMost({}, { input: undefined, output: undefined, call: "0.002" }), "USD:0.002")
    assert.isUndefined(shown(PriceTable.costAtMost(table(entry), "other", { input: 1, output: 1 })))
  })

  it.each<readonly [field: string, entry: object]>([
    ["model", { ...entry, model: "" }],
    ["model", { ...entry, model: 7 }],
    ["model", { ...entry, model: "m".repeat(1025) }],
    ["model", { currency: "USD", call: "1" }],
    ["currency", { ...entry, currency: "" }],
    ["currency", { ...entry, currency: "US:D" }],
    ["currency", { model: "m", call: "1" }],
    ["input", { ...entry, input: "1e3" }],
    ["input", { ...entry, input: "-1" }],
    ["input", { ...entry, input: ".5" }],
    ["output", { ...entry, output: 10 }],
    ["output", { ...entry, output: "0.1234567" }],
    ["cachedInput", { ...entry, cachedInput: "1234567890" }],
    ["call", { ...entry, call: "" }],
    ["call", { model: "m", currency: "USD" }],
    ["outputs", { ...entry, outputs: "10" }],
    ["model", { ...entry, model: "first" }]
  ])("names the entry and the field %s that is wrong: %j", (field, wrong) => {
    const first = { ...entry, model: "first" }
    const made = PriceTable.make([first, wrong as PriceTable.Entry])
    assert.isTrue(Result.isFailure(made))
    if (Result.isSuccess(made)) return
    assert.strictEqual(made.failure._tag, "InvalidPrice")
    assert.deepStrictEqual([made.failure.index, made.failure.field], [1, field])
    assert.match(made.failure.message, new RegExp(`^prices\\[1\\]\\.${field}`))
    assert.isBelow(made.failure.message.length, 300)
  })
})
