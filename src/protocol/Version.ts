/**
 * The version of the protocol that this package speaks (§5).
 *
 * @since 0.1.0
 */

/**
 * What we write into the `arcp` member of each envelope.
 *
 * @category constants
 * @since 0.1.0
 */
export const version = "1.1"

/**
 * Whether an `arcp` member belongs to a version that we understand: any `1.x`. A missing member passes, since several peers leave it out.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isSupported = (literal: unknown): boolean =>
  literal === undefined || literal === null || (typeof literal === "string" && /^1(\.\d{1,4})?$/.test(literal))
