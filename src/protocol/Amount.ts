/**
 * Money and other budgeted amounts: `USD:5.00`, exact decimals and never binary floating point (§9.6).
 *
 * @since 0.1.0
 */
import { BigDecimal, Effect, Option, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"

/**
 * So much of a currency.
 *
 * @category models
 * @since 0.1.0
 */
export interface Amount {
  readonly currency: string
  readonly value: BigDecimal.BigDecimal
}

const currency = "[A-Za-z][A-Za-z0-9._-]{0,31}"
const grammar = (digits: number) => new RegExp(`^(${currency}):(\\d{1,${digits}}(?:\\.\\d{1,${digits}})?)$`)
const onlyCurrency = new RegExp(`^${currency}$`)
const given = grammar(64)
/** What is counted grows longer than what is given: sums, and numbers down to the smallest that there is. */
const counted = grammar(512)

const read = (pattern: RegExp, text: string): Option.Option<Amount> => {
  const match = pattern.exec(text)
  if (match === null) return Option.none()
  return Option.map(BigDecimal.fromString(match[2]!), (value) => ({ currency: match[1]!, value }))
}

/**
 * Whether a text can name a currency, or anything else that budgets count.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isCurrency = (text: string): boolean => onlyCurrency.test(text)

/**
 * Reads `currency ":" decimal`: no sign, no exponent, no bare fraction. The failure says what is wrong.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<Amount, string> =>
  Result.fromOption(read(given, text), () => `${JSON.stringify(text.slice(0, 80))} is not an amount such as "USD:5.00"`)

/**
 * The amount that a number in JSON means: exactly its shortest decimal text, so 0.1 is a tenth. The failure says what is wrong with a
 * number that is no amount: not finite, or negative.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromNumber = (currency: string, value: number): Result.Result<Amount, string> => {
  if (!isCurrency(currency)) return Result.fail(`${JSON.stringify(currency.slice(0, 80))} is not a currency`)
  const decimal = BigDecimal.fromNumber(value)
  if (Option.isNone(decimal)) return Result.fail("an amount is a finite number")
  return value < 0 ? Result.fail("an amount is not negative") : Result.succeed({ currency, value: decimal.value })
}

/**
 * The number that travels for a decimal: the nearest with at most nine digits after the point (§9.6).
 *
 * @category conversions
 * @since 0.1.0
 */
export const toNumber = (value: BigDecimal.BigDecimal): number => {
  const number = BigDecimal.toNumberUnsafe(BigDecimal.round(value, { scale: 9, mode: "half-from-zero" }))
  // JSON has no infinity.
  return Math.min(Number.MAX_VALUE, Math.max(-Number.MAX_VALUE, number))
}

/**
 * Digits with a point where one is needed, a sign before them if negative, and never an exponent.
 *
 * @category conversions
 * @since 0.1.0
 */
export const formatValue = (value: BigDecimal.BigDecimal): string => {
  const { scale, value: digits } = BigDecimal.normalize(value)
  const sign = digits < 0n ? "-" : ""
  const text = String(digits < 0n ? -digits : digits)
  if (scale <= 0) return sign + text + "0".repeat(-scale)
  const padded = text.padStart(scale + 1, "0")
  return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`
}

/**
 * The text that {@link parse} reads.
 *
 * @category conversions
 * @since 0.1.0
 */
export const format = (amount: Amount): string => `${amount.currency}:${formatValue(amount.value)}`

/**
 * An amount, kept as its text. Takes more digits than {@link parse}, for what was counted up.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FromString: Schema.Codec<Amount, string> = Schema.String.pipe(
  Schema.decodeTo(
    Schema.Struct({
      currency: Schema.String.check(Schema.isPattern(onlyCurrency)),
      value: Schema.BigDecimal.check(Schema.isGreaterThanOrEqualToBigDecimal(BigDecimal.fromBigInt(0n)))
    }),
    SchemaTransformation.transformEffect<Amount, string>({
      decode: (text, options) =>
        Option.match(read(counted, text), {
          onNone: () => Effect.fail(new SchemaIssue.InvalidValue({ expected: "an amount" }, text, options)),
          onSome: Effect.succeed
        }),
      encode: (amount) => Effect.succeed(format(amount))
    })
  )
)

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
