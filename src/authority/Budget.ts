/**
 * What one job may spend, by currency (§9.6): a pure fold of the entries that its journal holds.
 *
 * ```ts
 * import { Result } from "effect"
 * import { Budget } from "effect-arcp/authority"
 * import { Amount } from "effect-arcp/protocol"
 *
 * const usd = (value: number) => [Result.getOrThrow(Amount.fromNumber("USD", value))]
 *
 * const left = Budget.fold(Budget.make(Amount.total(usd(5))), [
 *   Budget.Charge.make({ amounts: usd(1.25) }),
 *   Budget.Hold.make({ id: "download", amounts: usd(2) })
 * ])
 * Budget.toNumbers(Budget.available(left)) // { USD: 1.75 }
 * ```
 *
 * What a budget does not name is not bounded, and costs in it are not counted.
 *
 * @since 0.1.0
 */
import { BigDecimal, HashMap, Option, Schema } from "effect"
import * as Amount from "../protocol/Amount.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"

const Amounts = Schema.Array(Amount.FromString)

/**
 * A cost that was reported.
 *
 * @category entries
 * @since 0.1.0
 */
export const Charge = Schema.TaggedStruct("Charge", { amounts: Amounts })
export type Charge = typeof Charge.Type

/**
 * Set aside, so that nothing else spends it: for a reservation, or for a child job. The same id again replaces what it held.
 *
 * @category entries
 * @since 0.1.0
 */
export const Hold = Schema.TaggedStruct("Hold", { id: Schema.String, amounts: Amounts })
export type Hold = typeof Hold.Type

/**
 * The end of a hold: so much of it was spent, the rest is free again.
 *
 * @category entries
 * @since 0.1.0
 */
export const Settle = Schema.TaggedStruct("Settle", { id: Schema.String, spent: Amounts })
export type Settle = typeof Settle.Type

/**
 * What a journal holds of a budget. As JSON its amounts are text, `"USD:5.00"`.
 *
 * @category entries
 * @since 0.1.0
 */
export const Entry = Schema.Union([Charge, Hold, Settle])
export type Entry = typeof Entry.Type

/**
 * Amounts by currency.
 *
 * @category models
 * @since 0.1.0
 */
export type Amounts = ReadonlyMap<string, BigDecimal.BigDecimal>

/**
 * How it stands with one currency.
 *
 * @category models
 * @since 0.1.0
 */
export interface Standing {
  readonly currency: string
  readonly cap: BigDecimal.BigDecimal
  readonly charged: BigDecimal.BigDecimal
  readonly held: BigDecimal.BigDecimal
  /** `cap - charged - held`: below zero once more was charged than there was (§9.6). */
  readonly available: BigDecimal.BigDecimal
}

/**
 * What is spent and set aside of each currency that is capped: a value, which entries change.
 *
 * @category models
 * @since 0.1.0
 */
export interface Budget {
  readonly standings: ReadonlyMap<string, Standing>
  /** The open holds, of bounded currencies only. */
  readonly holds: HashMap.HashMap<string, Amounts>
}

const zero = BigDecimal.fromBigInt(0n)
const nothing: Amounts = new Map()

const standing = (
  currency: string,
  cap: BigDecimal.BigDecimal,
  charged: BigDecimal.BigDecimal,
  held: BigDecimal.BigDecimal
): Standing => ({
  currency,
  cap,
  charged,
  held,
  available: BigDecimal.subtract(BigDecimal.subtract(cap, charged), held)
})

/**
 * A budget of which nothing is spent. `caps` is the most that may be, by currency.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (caps: Amounts): Budget => ({
  standings: new Map(Array.from(caps, ([currency, cap]) => [currency, standing(currency, cap, zero, zero)])),
  holds: HashMap.empty()
})

/**
 * The part of some amounts that a budget counts: positive, and in a currency that it bounds.
 *
 * @category getters
 * @since 0.1.0
 */
export const counted = (self: Budget, amounts: Iterable<Amount.Amount>): Amounts => {
  const some = Array.from(amounts).filter(
    ({ currency, value }) => BigDecimal.isPositive(value) && self.standings.has(currency)
  )
  return some.length === 0 ? nothing : Amount.total(some)
}

const minus = (from: Amounts, less: Amounts): Amounts => {
  if (less.size === 0) return from
  const rest = new Map(from)
  for (const [currency, value] of less) rest.set(currency, BigDecimal.subtract(rest.get(currency) ?? zero, value))
  return rest
}

const shift = (self: Budget, charged: Amounts, held: Amounts, holds: Budget["holds"]): Budget => {
  if (charged.size === 0 && held.size === 0) return holds === self.holds ? self : { ...self, holds }
  const standings = new Map(self.standings)
  for (const currency of new Set([...charged.keys(), ...held.keys()])) {
    const { cap, ...was } = standings.get(currency)!
    standings.set(
      currency,
      standing(
        currency,
        cap,
        BigDecimal.sum(was.charged, charged.get(currency) ?? zero),
        BigDecimal.sum(was.held, held.get(currency) ?? zero)
      )
    )
  }
  return { standings, holds }
}

/**
 * The budget after an entry. Amounts that are negative or not bounded change nothing.
 *
 * @category combinators
 * @since 0.1.0
 */
export const apply = (self: Budget, entry: Entry): Budget => {
  switch (entry._tag) {
    case "Charge":
      return shift(self, counted(self, entry.amounts), nothing, self.holds)
    case "Hold": {
      const amounts = counted(self, entry.amounts)
      return shift(self, nothing, minus(amounts, heldBy(self, entry.id)), HashMap.set(self.holds, entry.id, amounts))
    }
    case "Settle":
      return shift(
        self,
        counted(self, entry.spent),
        minus(nothing, heldBy(self, entry.id)),
        HashMap.remove(self.holds, entry.id)
      )
  }
}

/**
 * The budget after these entries.
 *
 * @category combinators
 * @since 0.1.0
 */
export const fold = (self: Budget, entries: Iterable<Entry>): Budget => {
  let budget = self
  for (const entry of entries) budget = apply(budget, entry)
  return budget
}

/**
 * Fewer entries that come to the same, whatever the caps: one charge of all that was spent, and the holds that are open.
 *
 * @category combinators
 * @since 0.1.0
 */
export const compact = (entries: Iterable<Entry>): ReadonlyArray<Entry> => {
  const spent: Array<Amount.Amount> = []
  const holds = new Map<string, Hold>()
  for (const entry of entries) {
    if (entry._tag === "Charge") spent.push(...positive(entry.amounts))
    else if (entry._tag === "Hold") holds.set(entry.id, entry)
    else {
      spent.push(...positive(entry.spent))
      holds.delete(entry.id)
    }
  }
  return [...(spent.length === 0 ? [] : [Charge.make({ amounts: toAmounts(Amount.total(spent)) })]), ...holds.values()]
}

const positive = (amounts: ReadonlyArray<Amount.Amount>) => amounts.filter(({ value }) => BigDecimal.isPositive(value))

/**
 * What an open hold has set aside.
 *
 * @category getters
 * @since 0.1.0
 */
export const heldBy = (self: Budget, id: string): Amounts =>
  Option.getOrElse(HashMap.get(self.holds, id), () => nothing)

/**
 * The entries that close every open hold as spent in full. After a crash nobody knows what became of them, and to count too little would
 * let a job spend twice.
 *
 * @category recovery
 * @since 0.1.0
 */
export const settlements = (self: Budget): ReadonlyArray<Settle> =>
  Array.from(self.holds, ([id, amounts]) => Settle.make({ id, spent: toAmounts(amounts) }))

/**
 * The budget as it is after a crash: an open hold counts as spent.
 *
 * @category recovery
 * @since 0.1.0
 */
export const closeHolds = (self: Budget): Budget => fold(self, settlements(self))

/**
 * What may still be spent, by currency; below zero where more was charged than there was, and never clamped.
 *
 * @category getters
 * @since 0.1.0
 */
export const available = (self: Budget): Amounts =>
  new Map(Array.from(self.standings.values(), ({ available, currency }) => [currency, available]))

/**
 * The first currency of which nothing is left; zero is nothing.
 *
 * @category getters
 * @since 0.1.0
 */
export const exhausted = (self: Budget): Option.Option<Standing> => {
  for (const standing of self.standings.values()) {
    if (!BigDecimal.isPositive(standing.available)) return Option.some(standing)
  }
  return Option.none()
}

/**
 * Why an operation is refused: nothing is left of a currency, or, with `wanted`, not so much as was to be set aside.
 *
 * @category errors
 * @since 0.1.0
 */
export const refusal = (
  { available, cap, currency }: Pick<Standing, "available" | "cap" | "currency">,
  wanted?: BigDecimal.BigDecimal
): ArcpError.BudgetExhausted => {
  const left = Amount.formatValue(available)
  const details = { currency, cap: Amount.formatValue(cap), available: left }
  return wanted === undefined
    ? new ArcpError.BudgetExhausted({
        message: `The budget of ${details.cap} ${currency} is spent: ${left} is left`,
        details
      })
    : new ArcpError.BudgetExhausted({
        message: `${Amount.formatValue(wanted)} ${currency} cannot be set aside: ${left} of ${details.cap} is left`,
        details: { ...details, wanted: Amount.formatValue(wanted) }
      })
}

/**
 * The amounts one by one, as entries hold them.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toAmounts = (amounts: Amounts): ReadonlyArray<Amount.Amount> =>
  Array.from(amounts, ([currency, value]) => ({ currency, value }))

/**
 * The numbers that travel as `budget` in `job.accepted` and `job.subscribed`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toNumbers = (amounts: Amounts): JobMessage.Budget =>
  Object.fromEntries(Array.from(amounts, ([currency, value]) => [currency, Amount.toNumber(value)]))
