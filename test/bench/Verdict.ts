/**
 * What was asked for, beside what was measured.
 */
import * as Case from "./Case.ts"
import * as Measured from "./Measured.ts"

export interface Verdict extends Pick<Case.Demand, "atLeast" | "atMost" | "stretch"> {
  /** What the value was compared with, if with anything, and how. */
  readonly to?: { readonly name: string; readonly by: NonNullable<Case.Reference["by"]> }
  /** Of the metric, unless this is a ratio. */
  readonly unit: string
  readonly value: number
  /** Whether it is what was asked for, or even what would be better still. */
  readonly word: "MISSED" | "met" | "well met"
}

const isWithin = (value: number, { atLeast, atMost }: Pick<Case.Demand, "atLeast" | "atMost">) =>
  value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY)

const wordFor = (value: number, demand: Case.Demand): Verdict["word"] => {
  if (!isWithin(value, demand)) return "MISSED"
  const { atLeast, stretch } = demand
  if (stretch === undefined) return "met"
  return isWithin(value, atLeast === undefined ? { atMost: stretch } : { atLeast: stretch }) ? "well met" : "met"
}

/** What there is to say of one metric of one subject. */
export const judge = (
  metric: Case.Metric,
  self: Measured.Measured,
  { all, metrics }: { readonly all: ReadonlyArray<Measured.Measured>; readonly metrics: ReadonlyArray<Case.Metric> }
): ReadonlyArray<Verdict> => {
  const ours = Measured.values(self, metric.id)
  return (metric.demands ?? []).flatMap((demand): ReadonlyArray<Verdict> => {
    const { of, to, ...bounds } = demand
    if (of === undefined ? self.subject.kind === "raw" : self.subject.name !== of) return []
    const { unit } = metric
    if (to === undefined) {
      const value = Case.median(ours)
      return [{ ...bounds, unit, value, word: wordFor(value, demand) }]
    }
    const other = to.subject === undefined ? self : all.find(({ subject }) => subject.name === to.subject)
    // A profile is of the system's side alone.
    if (other === undefined) return []
    const by = to.by ?? "ratio"
    const value = Measured.compare(ours, Measured.values(other, to.metric ?? metric.against ?? metric.id), by)
    const name = to.subject ?? metrics.find(({ id }) => id === to.metric)?.name ?? ""
    return [{ ...bounds, to: { name, by }, unit, value, word: wordFor(value, demand) }]
  })
}
