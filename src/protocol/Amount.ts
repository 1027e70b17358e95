/**
 * Money and other budgeted amounts: `USD:5.00`, exact decimals and never binary floating point (§9.6).
 *
 * @since 0.1.0
 */
import { BigDecimal, Option, Result } from "effect"

/**
 * @category models
 * @since 0.1.0
 */
export interface Amount {
  readonly currency: string
  readonly value: BigDecimal.BigDecimal
}

const grammar = /^([A-Za-z][A-Za-z0-9._-]{0,31}):(\d{1,64}(?:\.\d{1,64})?)$/

/**
 * Reads `currency ":" decimal`: no sign, no exponent, no bare fraction. The failure says what is wrong.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<Amount, string> => {
  const match = grammar.exec(text)
  const value = match === null ? Option.none() : BigDecimal.fromString(match[2]!)
  return Option.isSome(value)
    ? Result.succeed({ currency: match![1]!, value: value.value })
    : Result.fail(`${JSON.stringify(text.slice(0, 80))} is not an amount such as "USD:5.00"`)
}

/**
 * @category conversions
 * @since 0.1.0
 */
export const format = (amount: Amount): string => `${amount.currency}:${BigDecimal.format(amount.value)}`

/**
 * One amount per currency: amounts that name the same currency are added, so a lease reads the same to everyone.
 *
 * @category combinators
 * @since 0.1.0
 */
export const total = (amounts: Iterable<Amount>): ReadonlyMap<string, BigDecimal.BigDecimal> => {
  const sums = new Map<string, BigDecimal.BigDecimal>()
  for (const { currency, value } of amounts) {
    const sum = sums.get(currency)
    sums.set(currency, sum === undefined ? value : BigDecimal.sum(sum, value))
  }
  return sums
}
