/**
 * What a host lays down for the models that it offers to jobs: whom they are for, what they cost, and what a request can cost at most.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import * as PriceTable from "../authority/PriceTable.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<in Request> {
  /** What the models cost. A request whose model has no price costs nothing that is told. */
  readonly prices?: ReadonlyArray<PriceTable.Entry> | undefined
  /** Whether a lease that names no models at all allows them (§9.7); it does not by default. Its end and its budget hold either way. */
  readonly whenUngranted?: "deny" | "allow" | undefined
  /**
   * What a request uses at most, in tokens: so much of the budget is set aside before it is sent (§9.6). The host answers for it, such as by
   * the limit on output that it sets its provider. Without it, a request is admitted as long as anything is left.
   */
  readonly atMost?: PriceTable.Bound | ((request: Request) => PriceTable.Bound) | undefined
}

/**
 * What a host says of its models: their prices, and what a lease without a word on models means.
 *
 * @category models
 * @since 0.1.0
 */
export interface ModelPolicy<in Request> {
  readonly prices: PriceTable.PriceTable
  readonly whenUngranted: "deny" | "allow"
  readonly atMost: (request: Request) => PriceTable.Bound
}

/**
 * Fails if a price is malformed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Request>({
  atMost = {},
  prices = [],
  whenUngranted = "deny"
}: Options<Request> = {}): Result.Result<ModelPolicy<Request>, PriceTable.InvalidPrice> =>
  Result.map(PriceTable.make(prices), (prices) => ({
    prices,
    whenUngranted,
    atMost: typeof atMost === "function" ? atMost : () => atMost
  }))
