/**
 * When a job says what is left of its budget, and how: the metric `cost.budget.remaining` (§9.6). It is told after a cost, when what is left
 * has changed materially since it was told last, so that many small costs do not make as many metrics again.
 *
 * @since 0.1.0
 */
import { BigDecimal } from "effect"
import * as Amount from "../protocol/Amount.ts"
import * as JobEvent from "../protocol/JobEvent.ts"
import type * as Budget from "./Budget.ts"

/**
 * What a job has told last, by currency.
 *
 * @category models
 * @since 0.1.0
 */
export type Told = Budget.Amounts

/**
 * Nothing told yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const nothing: Told = new Map()

/**
 * The metrics that a job emits after a cost, and what it has told then.
 *
 * @category combinators
 * @since 0.1.0
 */
export const tell = (
  told: Told,
  standings: Iterable<Budget.Standing>
): { readonly metrics: ReadonlyArray<JobEvent.Body<"metric">>; readonly told: Told } => {
  const due = Array.from(standings).filter((standing) => isMaterial(told.get(standing.currency), standing))
  return due.length === 0
    ? { metrics: [], told }
    : {
        metrics: due.map(metric),
        told: new Map([...told, ...due.map(({ available, currency }) => [currency, available] as const)])
      }
}

/**
 * Whether what is left is worth a metric: it was never told, has come down to nothing since, or has changed by a twentieth of the cap. Once
 * nothing is left it must also have changed by half of what was told, so that a cap of next to nothing, or of nothing, makes no flood.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isMaterial = (told: BigDecimal.BigDecimal | undefined, { available, cap }: Budget.Standing): boolean => {
  if (told === undefined) return true
  const wasLeft = BigDecimal.isPositive(told)
  if (wasLeft && !BigDecimal.isPositive(available)) return true
  const change = BigDecimal.abs(BigDecimal.subtract(available, told))
  const step = BigDecimal.multiply(cap, twentieth)
  const least = wasLeft ? step : BigDecimal.max(step, BigDecimal.multiply(BigDecimal.abs(told), half))
  return BigDecimal.isPositive(change) && BigDecimal.isGreaterThanOrEqualTo(change, least)
}

const twentieth = BigDecimal.make(5n, 2)
const half = BigDecimal.make(5n, 1)

/**
 * The body of the metric.
 *
 * @category conversions
 * @since 0.1.0
 */
export const metric = ({
  available,
  currency
}: Pick<Budget.Standing, "available" | "currency">): JobEvent.Body<"metric"> => ({
  name: JobEvent.budgetRemaining,
  value: Amount.toNumber(available),
  unit: currency
})
