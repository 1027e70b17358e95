/**
 * JSON that is the agent's own business: what it is given and what it answers.
 *
 * @since 0.1.0
 */
import { Result, Schema } from "effect"

/**
 * A JSON value.
 *
 * @category models
 * @since 0.1.0
 */
export type Json = Schema.Json

/**
 * A JSON value that was just parsed, or that is about to be stringified. Checking it member by member would cost time in proportion to
 * its size and stack in proportion to its depth, and find nothing that `JSON.parse` has not already ensured.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Json: Schema.Codec<Json> = Schema.declare((value): value is Json => value !== undefined, {
  expected: "a JSON value"
})

/**
 * An object of JSON values.
 *
 * @category schemas
 * @since 0.1.0
 */
export const JsonObject: Schema.Codec<{ readonly [key: string]: Json }> = Schema.declare(
  (value): value is { readonly [key: string]: Json } =>
    typeof value === "object" && value !== null && !Array.isArray(value),
  { expected: "a JSON object" }
)
export type JsonObject = typeof JsonObject.Type

/**
 * JSON text, or why there is none: a value with a cycle, a `BigInt`, one that is nested without end, or one of more than `limit` characters.
 *
 * @category conversions
 * @since 0.1.0
 */
export const stringify = (value: unknown, limit: number): Result.Result<string, string> => {
  try {
    const text = JSON.stringify(value)
    if (text === undefined) return Result.fail("cannot be written as JSON")
    return text.length > limit ? Result.fail(tooLong(text.length, limit)) : Result.succeed(text)
  } catch (cause) {
    return Result.fail(
      `cannot be written as JSON: ${cause instanceof Error ? cause.message.split("\n")[0] : "unknown"}`
    )
  }
}

/**
 * What is wrong with a text that is longer than it may be.
 *
 * @category conversions
 * @since 0.1.0
 */
export const tooLong = (length: number, limit: number): string => `of ${length} characters is longer than ${limit}`
