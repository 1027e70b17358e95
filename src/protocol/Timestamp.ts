/**
 * Instants as they travel: RFC 3339 text (§8.1, §9.5).
 *
 * @since 0.1.0
 */
import { DateTime, Option, Result, Schema } from "effect"

const grammar = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/

/**
 * RFC 3339 text with any offset and up to nine digits of fraction.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Timestamp = Schema.String.check(Schema.isPattern(grammar, { expected: "an RFC 3339 timestamp" }))

/**
 * `YYYY-MM-DDTHH:mm:ss.sssZ`, the one form that we emit. `millis` counts from the Unix epoch.
 *
 * @category conversions
 * @since 0.1.0
 */
export const format = (millis: number): string => {
  if (millis !== latest.millis) latest = { millis, text: DateTime.formatIso(DateTime.makeUnsafe(millis)) }
  return latest.text
}

/** Most of what is written at one time tells one time. */
let latest = { millis: Number.NaN, text: "" }

/**
 * Milliseconds since the Unix epoch, or nothing for text that is not a timestamp or names no real date.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Option.Option<number> =>
  grammar.test(text) && isDay(text) ? Option.map(DateTime.make(text), DateTime.toEpochMillis) : Option.none()

/** A day beyond the end of its month would roll over into the next. */
const isDay = (text: string): boolean => {
  const [year, month, day] = [Number(text.slice(0, 4)), Number(text.slice(5, 7)), Number(text.slice(8, 10))]
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
  return day >= 1 && day <= (days[month - 1] ?? 0)
}

/**
 * As {@link parse}, but only for UTC, as lease constraints require (§9.5): `Z`, or the same thing written `+00:00` or `-00:00`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parseUtc = (text: string): Result.Result<number, string> =>
  Result.flatMap(
    Result.fromOption(
      parse(text),
      () => `${JSON.stringify(text.slice(0, 64))} is not an RFC 3339 timestamp such as 2030-01-31T12:00:00Z`
    ),
    (instant) =>
      /([Zz]|[+-]00:00)$/.test(text)
        ? Result.succeed(instant)
        : Result.fail(`${JSON.stringify(text.slice(0, 64))} is not in UTC: it must end with "Z"`)
  )
