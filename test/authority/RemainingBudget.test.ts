import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Result, Schema } from "effect"
import * as Budget from "../../src/authority/Budget.ts"
import * as RemainingBudget from "../../src/authority/RemainingBudget.ts"
import * as Amount from "../../src/protocol/Amount.ts"
import * as JobEvent from "../../src/protocol/JobEvent.ts"

const value = BigDecimal.fromStringUnsafe

/** What is told while costs come one after the other. */
const spend = (cap: string, costs: ReadonlyArray<string>) => {
  let budget = Budget.make(new Map([["USD", value(cap)]]))
  let told = RemainingBudget.nothing
  const values: Array<number> = []
  for (const cost of costs) {
    budget = Budget.apply(budget, { _tag: "Charge", amounts: [{ currency: "USD", value: value(cost) }] })
    const step = RemainingBudget.tell(told, budget.standings.values())
    told = step.told
    for (const metric of step.metrics) values.push(metric.value)
  }
  return values
}

const times = (count: number, cost: string) => Array.from({ length: count }, () => cost)

describe("RemainingBudget", () => {
  it("tells the first cost, then each twentieth of the cap", () => {
    assert.deepStrictEqual(spend("1.00", times(11, "0.01")), [0.99, 0.94, 0.89])
    assert.deepStrictEqual(spend("5", ["0.20", "0.24", "0.01", "0.30"]), [4.8, 4.55, 4.25])
  })

  it("tells when nothing is left, and by how much more than all was spent", () => {
    assert.deepStrictEqual(spend("1.00", ["0.98", "0.01", "0.01"]), [0.02, 0])
    assert.deepStrictEqual(spend("1.00", ["0.98", "0.03"]), [0.02, -0.01])
    assert.deepStrictEqual(spend("1.00", ["1.12"]), [-0.12])
    assert.deepStrictEqual(spend("1.00", ["1.00", "0.04", "0.01"]), [0, -0.05])
  })

  it("makes no flood, whatever the cap", () => {
    assert.isAtMost(spend("1.00", times(10_000, "0.0001")).length, 21)
    for (const cap of ["0", "0.000000001", "0.01"]) {
      const told = spend(cap, times(10_000, "0.01"))
      assert.isAtMost(told.length, 30, `a cap of ${cap}`)
      assert.isAtMost(Math.abs(told.at(-1)! + 100), 50, "what was told is far from what is so")
    }
    assert.strictEqual(spend("0", times(10_000, "0")).length, 1)
  })

  it.prop(
    "is never off by a twentieth of the cap while something is left",
    {
      costs: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 }))).check(Schema.isMaxLength(60))
    },
    ({ costs }) => {
      let told = RemainingBudget.nothing
      let budget = Budget.make(new Map([["USD", value("10.00")]]))
      for (const cents of costs) {
        const amounts = [{ currency: "USD", value: BigDecimal.make(BigInt(cents), 2) }]
        budget = Budget.apply(budget, { _tag: "Charge", amounts })
        told = RemainingBudget.tell(told, budget.standings.values()).told
        const { available } = budget.standings.get("USD")!
        const off = BigDecimal.abs(BigDecimal.subtract(told.get("USD")!, available))
        if (BigDecimal.isPositive(available)) assert.isTrue(BigDecimal.isLessThan(off, value("0.5")))
        assert.strictEqual(BigDecimal.isPositive(told.get("USD")!), BigDecimal.isPositive(available))
      }
    }
  )

  it("tells what returned, once it is as much", () => {
    const cap = value("1")
    const material = (told: string, available: string) =>
      RemainingBudget.isMaterial(value(told), {
        currency: "USD",
        cap,
        charged: value("0"),
        held: value("0"),
        available: value(available)
      })
    assert.isTrue(material("0.10", "0.15"))
    assert.isFalse(material("0.10", "0.149"))
    assert.isFalse(material("0.10", "0.10"))
    assert.isTrue(material("0", "0.05"))
    assert.isFalse(material("0", "0.04"))
    assert.isTrue(material("-2", "-1"))
    assert.isFalse(material("-2", "-1.5"))
  })

  it("tells each currency for itself", () => {
    const start = Budget.make(Amount.total(["USD:1", "EUR:1"].map((text) => Result.getOrThrow(Amount.parse(text)))))
    const first = RemainingBudget.tell(RemainingBudget.nothing, [start.standings.get("EUR")!])
    assert.deepStrictEqual(first.metrics, [{ name: "cost.budget.remaining", value: 1, unit: "EUR" }])
    const second = RemainingBudget.tell(first.told, start.standings.values())
    assert.deepStrictEqual(second.metrics, [{ name: "cost.budget.remaining", value: 1, unit: "USD" }])
    const third = RemainingBudget.tell(second.told, start.standings.values())
    assert.deepStrictEqual(third.metrics, [])
    assert.strictEqual(third.told, second.told)
  })

  it("has a body that is a metric of the protocol, rounded to nine digits", () => {
    const metric = RemainingBudget.metric({ currency: "USD", available: value("0.58000000004") })
    assert.deepStrictEqual(metric, { name: JobEvent.budgetRemaining, value: 0.58, unit: "USD" })
    assert.isTrue(Schema.is(JobEvent.bodies.metric)(metric))
    assert.strictEqual(RemainingBudget.metric({ currency: "USD", available: value("-0.12") }).value, -0.12)
  })
})
