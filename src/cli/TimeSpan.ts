/**
 * Spans of time and instants, as they are written on a command line: `90s`, `15m`, `2h`, `1d`.
 *
 * @since 0.1.0
 */
import { Duration, Option, Result } from "effect"
import * as Timestamp from "../protocol/Timestamp.ts"

const units = { s: Duration.seconds, m: Duration.minutes, h: Duration.hours, d: Duration.days } as const

const grammar = /^(\d{1,9})([smhd])?$/

/**
 * A span of at least a second. A bare number counts seconds.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<Duration.Duration, string> => {
  const [, amount, unit = "s"] = grammar.exec(text) ?? []
  return amount === undefined || Number(amount) === 0
    ? Result.fail(`${JSON.stringify(text)} is no span of time such as 90s, 15m, 2h or 1d`)
    : Result.succeed(units[unit as keyof typeof units](Number(amount)))
}

/**
 * An instant in milliseconds since the Unix epoch: an RFC 3339 timestamp in UTC (§9.5), or a span from now on.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parseInstant = (text: string, now: number): Result.Result<number, string> =>
  Option.isSome(Timestamp.parse(text))
    ? Timestamp.parseUtc(text)
    : Result.mapBoth(parse(text), {
        onSuccess: (span) => now + Duration.toMillis(span),
        onFailure: (problem) => `${problem}, and no timestamp such as 2030-01-31T12:00:00Z`
      })
