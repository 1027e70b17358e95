import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Effect, Option, Result, Schema } from "effect"
import * as Budget from "../../src/authority/Budget.ts"
import * as Amount from "../../src/protocol/Amount.ts"
import { verifies } from "../conformance/verifies.ts"

const amounts = (...texts: ReadonlyArray<string>) => texts.map((text) => Result.getOrThrow(Amount.parse(text)))
const budget = (...caps: ReadonlyArray<string>) => Budget.make(Amount.total(amounts(...caps)))
const charge = (...texts: ReadonlyArray<string>): Budget.Entry => ({ _tag: "Charge", amounts: amounts(...texts) })
const hold = (id: string, ...texts: ReadonlyArray<string>): Budget.Entry => ({
  _tag: "Hold",
  id,
  amounts: amounts(...texts)
})
const settle = (id: string, ...texts: ReadonlyArray<string>): Budget.Settle => ({
  _tag: "Settle",
  id,
  spent: amounts(...texts)
})
const left = (self: Budget.Budget) =>
  Object.fromEntries(Array.from(Budget.available(self), ([currency, value]) => [currency, Amount.formatValue(value)]))

/** All that a budget says. */
const figures = (self: Budget.Budget) => ({
  standings: Array.from(self.standings.values(), (standing) => ({
    currency: standing.currency,
    charged: Amount.formatValue(standing.charged),
    held: Amount.formatValue(standing.held),
    available: Amount.formatValue(standing.available)
  })),
  holds: ["a", "b", "c"].map((id) =>
    Array.from(Budget.heldBy(self, id), ([currency, value]) => `${currency}:${Amount.formatValue(value)}`).toSorted()
  )
})

/** Any history in cents of two currencies, of which a budget of the tests caps the first or both; and one that no budget caps. */
const Cents = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 500 }))
const Currency = Schema.Literals(["USD", "EUR", "xyz"])
const Id = Schema.Literals(["a", "b", "c"])
const Step = Schema.Struct({
  does: Schema.Literals(["Charge", "Hold", "Settle"]),
  id: Id,
  currency: Currency,
  cents: Cents
})
const Steps = Schema.Array(Step).check(Schema.isMaxLength(30))

const entryOf = ({ cents, currency, does, id }: typeof Step.Type): Budget.Entry => {
  const some = [{ currency, value: BigDecimal.make(BigInt(cents), 2) }]
  switch (does) {
    case "Charge":
      return { _tag: does, amounts: some }
    case "Hold":
      return { _tag: does, id, amounts: some }
    case "Settle":
      return { _tag: does, id, spent: some }
  }
}

describe("Budget", () => {
  it("has what was not charged and not held", () => {
    const entries = [charge("USD:1.25"), hold("a", "USD:2", "credits:10"), settle("a", "USD:0.50"), hold("b", "USD:1")]
    const [first, second, third, fourth] = entries.map((_, index) =>
      left(Budget.fold(budget("USD:5.00", "credits:40"), entries.slice(0, index + 1)))
    )
    assert.deepStrictEqual(first, { USD: "3.75", credits: "40" })
    assert.deepStrictEqual(second, { USD: "1.75", credits: "30" })
    assert.deepStrictEqual(third, { USD: "3.25", credits: "40" })
    assert.deepStrictEqual(fourth, { USD: "2.25", credits: "40" })
  })

  it("is at zero, exactly, after three tenths of 0.30", () => {
    const spent = Budget.fold(budget("USD:0.30"), [charge("USD:0.1"), charge("USD:0.1"), charge("USD:0.1")])
    assert.strictEqual(Budget.available(spent).get("USD")!.value, 0n)
    assert.deepStrictEqual(Budget.toNumbers(Budget.available(spent)), { USD: 0 })
    assert.isTrue(Option.isSome(Budget.exhausted(spent)))
  })

  it("goes below zero and stays there", () => {
    const over = Budget.apply(budget("USD:1.00"), charge("USD:1.12"))
    assert.deepStrictEqual(left(over), { USD: "-0.12" })
    assert.deepStrictEqual(left(Budget.fold(over, [hold("a", "USD:1"), settle("a")])), { USD: "-0.12" })
  })

  verifies("C-109", "each currency counts for itself, and one that is spent is named, the first of them", () =>
    Effect.sync(() => {
      const start = budget("USD:1", "EUR:1", "credits:1")
      assert.deepStrictEqual(Budget.exhausted(start), Option.none())
      const one = Budget.apply(start, charge("credits:1"))
      assert.deepStrictEqual(left(one), { USD: "1", EUR: "1", credits: "0" })
      assert.strictEqual(Option.getOrThrow(Budget.exhausted(one)).currency, "credits")
      const two = Budget.apply(one, hold("a", "EUR:1"))
      assert.strictEqual(Option.getOrThrow(Budget.exhausted(two)).currency, "EUR")
      assert.deepStrictEqual(Budget.exhausted(budget()), Option.none())
      assert.strictEqual(Option.getOrThrow(Budget.exhausted(budget("USD:0"))).currency, "USD")
    })
  )

  verifies("C-108", "what is negative, or in a currency without a cap, changes nothing", () =>
    Effect.sync(() => {
      const start = Budget.fold(budget("USD:5"), [charge("USD:1"), hold("a", "USD:1")])
      const negative = [{ currency: "USD", value: BigDecimal.fromBigInt(-3n) }]
      const entries: ReadonlyArray<Budget.Entry> = [
        charge("EUR:3", "usd:3"),
        hold("b", "EUR:3"),
        settle("b", "EUR:1"),
        { _tag: "Charge", amounts: negative },
        { _tag: "Hold", id: "b", amounts: negative },
        { _tag: "Settle", id: "b", spent: negative }
      ]
      for (const entry of entries) assert.deepStrictEqual(left(Budget.apply(start, entry)), { USD: "3" }, entry._tag)
    })
  )

  it("replaces what a hold of the same id held, in every currency", () => {
    const held = Budget.fold(budget("USD:5", "EUR:5"), [hold("a", "USD:2", "EUR:1"), hold("a", "USD:3")])
    assert.deepStrictEqual(left(held), { USD: "2", EUR: "5" })
    assert.deepStrictEqual(left(Budget.apply(held, hold("a"))), { USD: "5", EUR: "5" })
  })

  it("counts an open hold as spent after a crash", () => {
    const crashed = Budget.fold(budget("USD:5", "EUR:5"), [
      charge("USD:1"),
      hold("a", "USD:2"),
      hold("b", "EUR:1"),
      settle("b")
    ])
    const closed = Budget.closeHolds(crashed)
    assert.deepStrictEqual(left(closed), left(crashed))
    assert.deepStrictEqual(left(Budget.apply(closed, settle("a"))), { USD: "2", EUR: "5" })
    assert.deepStrictEqual(Budget.settlements(crashed), [settle("a", "USD:2")])
    assert.deepStrictEqual(Budget.settlements(closed), [])
  })

  it.prop("is what a sum over its history says", { steps: Steps }, ({ steps }) => {
    const result = Budget.fold(budget("USD:3", "EUR:2"), steps.map(entryOf))
    for (const [currency, cap] of [
      ["USD", 300],
      ["EUR", 200]
    ] as const) {
      let charged = 0
      const held: Record<string, number> = {}
      for (const step of steps) {
        if (step.does !== "Charge") held[step.id] = 0
        if (step.currency !== currency) continue
        if (step.does === "Hold") held[step.id] = step.cents
        else charged += step.cents
      }
      const sum = Object.values(held).reduce((total, cents) => total + cents, 0)
      const standing = result.standings.get(currency)!
      assert.strictEqual(Number(Amount.formatValue(standing.charged)), charged / 100)
      assert.strictEqual(Number(Amount.formatValue(standing.held)), sum / 100)
      assert.strictEqual(Number(Amount.formatValue(standing.available)), (cap - charged - sum) / 100)
    }
    assert.isFalse(Budget.available(result).has("xyz"))
  })

  it.prop(
    "is the same wherever a charge stands among the other entries",
    { steps: Steps, at: Schema.Int },
    ({ at, steps }) => {
      const entries = steps.map(entryOf)
      const cost = charge("USD:0.07", "EUR:1")
      const position = Math.abs(at) % (entries.length + 1)
      const mixed = Budget.fold(budget("USD:3", "EUR:2"), [
        ...entries.slice(0, position),
        cost,
        ...entries.slice(position)
      ])
      assert.deepStrictEqual(left(mixed), left(Budget.fold(budget("USD:3", "EUR:2"), [...entries, cost])))
    }
  )

  it.prop(
    "comes to the same if a part of its history is made shorter, whatever comes after",
    { steps: Steps, more: Steps },
    ({ more, steps }) => {
      const entries = steps.map(entryOf)
      const short = Budget.compact(entries)
      for (const caps of [[], ["USD:3"], ["USD:3", "EUR:2"]]) {
        const whole = Budget.fold(budget(...caps), [...entries, ...more.map(entryOf)])
        const less = Budget.fold(budget(...caps), [...short, ...more.map(entryOf)])
        assert.deepStrictEqual(figures(less), figures(whole))
        assert.deepStrictEqual(left(Budget.closeHolds(less)), left(Budget.closeHolds(whole)))
      }
      // No more than a charge and the holds that are open.
      assert.isAtMost(short.length, 1 + 3)
      assert.deepStrictEqual(Budget.compact(short), short)
    }
  )

  it.prop("leaves what it was as it was", { steps: Steps }, ({ steps }) => {
    const start = Budget.fold(budget("USD:3"), [charge("USD:0.5"), hold("a", "USD:1")])
    Budget.fold(start, steps.map(entryOf))
    assert.deepStrictEqual(left(start), { USD: "1.5" })
    assert.strictEqual(BigDecimal.format(Budget.heldBy(start, "a").get("USD")!), "1")
  })

  it.prop("comes back from the JSON of its entries", { steps: Steps }, ({ steps }) => {
    const entries = steps.map(entryOf)
    const json = JSON.parse(JSON.stringify(Schema.encodeSync(Schema.Array(Budget.Entry))(entries))) as unknown
    const decoded = Schema.decodeUnknownSync(Schema.Array(Budget.Entry))(json)
    assert.deepStrictEqual(
      left(Budget.fold(budget("USD:3", "EUR:2"), decoded)),
      left(Budget.fold(budget("USD:3", "EUR:2"), entries))
    )
  })

  it("has entries that are plain JSON, with amounts as text", () => {
    const encode = Schema.encodeSync(Budget.Entry)
    assert.deepStrictEqual(encode(charge("USD:5.00", "credits:3")), { _tag: "Charge", amounts: ["USD:5", "credits:3"] })
    assert.deepStrictEqual(encode(hold("job_1", "USD:0.10")), { _tag: "Hold", id: "job_1", amounts: ["USD:0.1"] })
    assert.deepStrictEqual(encode(settle("job_1")), { _tag: "Settle", id: "job_1", spent: [] })
    const decode = Schema.decodeUnknownOption(Budget.Entry)
    for (const wrong of [
      { _tag: "Charge", amounts: ["USD:-5"] },
      { _tag: "Charge", amounts: ["5"] },
      { _tag: "Charge", amounts: [5] },
      { _tag: "Hold", amounts: ["USD:5"] },
      { _tag: "Refund", amounts: ["USD:5"] }
    ]) {
      assert.isTrue(Option.isNone(decode(wrong)), JSON.stringify(wrong))
    }
  })

  it("says why it refuses, with currency, cap and what is left", () => {
    const over = Budget.apply(budget("USD:1.00"), charge("USD:1.12"))
    const refusal = Budget.refusal(Option.getOrThrow(Budget.exhausted(over)))
    assert.strictEqual(refusal._tag, "BudgetExhausted")
    assert.isFalse(refusal.retryable)
    assert.deepStrictEqual(refusal.details, { currency: "USD", cap: "1", available: "-0.12" })
    assert.include(refusal.message, "-0.12")
    const wanted = Budget.refusal(over.standings.get("USD")!, BigDecimal.fromStringUnsafe("0.90"))
    assert.deepStrictEqual(wanted.details, { currency: "USD", cap: "1", available: "-0.12", wanted: "0.9" })
  })
})
