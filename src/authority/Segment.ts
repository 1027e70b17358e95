/**
 * One part of a pattern: what stands between two separators (§9.2).
 *
 * @since 0.1.0
 */

/**
 * The segment that stands for any number of segments, also none.
 *
 * @category constants
 * @since 0.1.0
 */
export const anyDepth = "**"

/**
 * Either {@link anyDepth}, or the literal pieces of one segment with a `*` between each two: `fetch.*` is `["fetch.", ""]`, a segment
 * without a wildcard is one piece, and `*` alone is `["", ""]`.
 *
 * @category models
 * @since 0.1.0
 */
export type Segment = typeof anyDepth | ReadonlyArray<string>

/**
 * Reads one segment. A run of stars is one star, so `a**b` is `a*b`: the narrower reading.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Segment => (text === anyDepth ? anyDepth : text.split(/\*+/))

/**
 * Whether the segment is a star alone, which stands for exactly one segment that is not empty.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isLoneStar = (pieces: ReadonlyArray<string>): boolean =>
  pieces.length === 2 && pieces[0] === "" && pieces[1] === ""
