import { assert, describe, it } from "@effect/vitest"
import type * as Case from "./Case.ts"
import type * as Measured from "./Measured.ts"
import * as Verdict from "./Verdict.ts"

const measured = (name: string, kind: Case.Subject["kind"], rate: ReadonlyArray<number>): Measured.Measured => ({
  subject: { name, kind, run: () => Promise.resolve({}) },
  rounds: rate.map((rate) => ({ rate, double: 2 * rate }))
})

// The second round was slow for both.
const ours = measured("ours", "system", [30, 15, 33])
const other = measured("other", "system", [1, 1, 1])
const raw = measured("raw", "raw", [100, 50, 100])

const judge = (demand: Case.Demand, self = ours) => {
  const metrics: ReadonlyArray<Case.Metric> = [
    { id: "rate", name: "rate", unit: "MiB", demands: [demand] },
    { id: "double", name: "twice the rate", unit: "MiB" }
  ]
  return Verdict.judge(metrics[0]!, self, { all: [ours, other, raw], metrics })
}
const wordOf = (demand: Case.Demand) => judge(demand).map(({ word }) => word)

describe("Verdict", () => {
  it("judges by the median, the bound included", () => {
    assert.deepStrictEqual(wordOf({ atMost: 30 }), ["met"])
    assert.deepStrictEqual(wordOf({ atMost: 29 }), ["MISSED"])
    assert.deepStrictEqual(wordOf({ atLeast: 30 }), ["met"])
    assert.deepStrictEqual(wordOf({ atLeast: 31 }), ["MISSED"])
    assert.deepStrictEqual(wordOf({ atLeast: 10, atMost: 20 }), ["MISSED"])
  })

  it("compares round by round, by quotient or difference", () => {
    assert.deepStrictEqual(
      judge({ to: { subject: "raw" }, atLeast: 0.3 }).map(({ to, value, word }) => ({ to, value, word })),
      [{ to: { name: "raw", by: "ratio" }, value: 0.3, word: "met" }]
    )
    assert.deepStrictEqual(wordOf({ to: { subject: "raw" }, atLeast: 0.31 }), ["MISSED"])
    assert.deepStrictEqual(
      judge({ to: { subject: "raw", by: "excess" }, atMost: 0 }).map(({ value }) => value),
      [-67]
    )
  })

  it("compares with another metric of the same subject", () => {
    assert.deepStrictEqual(
      judge({ to: { metric: "double" }, atMost: 0.5 }).map(({ to, value, word }) => ({ to, value, word })),
      [{ to: { name: "twice the rate", by: "ratio" }, value: 0.5, word: "met" }]
    )
  })

  it("says when it is better still", () => {
    assert.deepStrictEqual(wordOf({ atLeast: 10, stretch: 30 }), ["well met"])
    assert.deepStrictEqual(wordOf({ atLeast: 10, stretch: 31 }), ["met"])
    assert.deepStrictEqual(wordOf({ atLeast: 31, stretch: 20 }), ["MISSED"])
    assert.deepStrictEqual(wordOf({ atMost: 40, stretch: 30 }), ["well met"])
    assert.deepStrictEqual(wordOf({ atMost: 40, stretch: 29 }), ["met"])
  })

  it("is of the subject that is named, else of the system, and of nothing that was not measured", () => {
    assert.strictEqual(judge({ of: "other", atMost: 1 }).length, 0)
    assert.strictEqual(judge({ of: "other", atMost: 1 }, other).length, 1)
    assert.strictEqual(judge({ atMost: 1 }, raw).length, 0)
    assert.strictEqual(judge({ to: { subject: "elsewhere" }, atMost: 1 }).length, 0)
  })
})
