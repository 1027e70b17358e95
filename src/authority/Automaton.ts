/**
 * Decides whether any of many patterns covers a target, in time that no pattern and no target can blow up.
 *
 * A backtracking matcher takes exponential time on hostile patterns, and one pattern after the other adds up. This one reads the target
 * once, from left to right, and holds the set of all positions in all patterns that could have been reached so far, one bit each. A
 * character moves the whole set at once, 32 positions to a machine word, so a check costs exactly
 * `characters of the target * ceil(positions / 32)` word steps, whatever is written in either.
 *
 * The target is read with a separator behind every part. Each pattern is a row of positions, of which the last accepts:
 *
 * - a literal character is left on that character, the end of a segment on the separator;
 * - a star lets its position wait on anything but a separator;
 * - a lone star must first be left on one character, for it stands for a part that is not empty;
 * - `**` makes its position a point of return: once reached, it is offered again behind every further separator.
 *
 * @since 0.1.0
 */
import * as Segment from "./Segment.ts"

/**
 * A set of patterns, ready to be asked. It holds no state of a match, so it may be shared.
 *
 * @category models
 * @since 0.1.0
 */
export interface Automaton {
  /** The first position of each pattern. */
  readonly start: Int32Array
  /** The last position of each pattern. */
  readonly accept: Int32Array
  /** Positions that are left on a separator. */
  readonly separator: Int32Array
  /** Positions that are left on any other character. */
  readonly any: Int32Array
  /** Positions that are left on one certain character: the words to change in `any`, and the bits to set there. */
  readonly literal: ReadonlyMap<number, ReadonlyArray<readonly [word: number, bits: number]>>
  /** Positions that are left on each character that `literal` names, where so many sets are not too much to keep. */
  readonly rows: ReadonlyMap<number, Int32Array> | undefined
  /** Positions that wait on anything but a separator. */
  readonly wait: Int32Array
  /** Positions that come back behind every separator once they were reached. */
  readonly again: Int32Array
}

const slash = 47

/** Up to so many words of positions the sets for all characters are kept: most leases are that small, and their checks many. */
const maxKept = 8

const positions = (segments: ReadonlyArray<Segment.Segment>): number => {
  let count = 1
  for (const segment of segments) {
    if (segment === Segment.anyDepth) continue
    count += segment.reduce((sum, piece) => sum + piece.length, Segment.isLoneStar(segment) ? 2 : 1)
  }
  return count
}

/**
 * Builds the automaton of all the patterns together. It covers what one of them covers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (patterns: ReadonlyArray<ReadonlyArray<Segment.Segment>>): Automaton => {
  const size = (patterns.reduce((sum, segments) => sum + positions(segments), 0) + 31) >>> 5
  const none = () => new Int32Array(size)
  const [start, accept, separator, any, wait, again] = [none(), none(), none(), none(), none(), none()]
  const literal = new Map<number, Array<[word: number, bits: number]>>()
  let at = 0

  const mark = (set: Int32Array) => {
    set[at >>> 5]! |= 1 << (at & 31)
  }
  const markLiteral = (code: number) => {
    const rows = literal.get(code) ?? []
    literal.set(code, rows)
    const last = rows.at(-1)
    if (last?.[0] === at >>> 5) last[1] |= 1 << (at & 31)
    else rows.push([at >>> 5, 1 << (at & 31)])
  }

  for (const segments of patterns) {
    mark(start)
    for (const segment of segments) {
      if (segment === Segment.anyDepth) {
        mark(again)
        continue
      }
      if (Segment.isLoneStar(segment)) {
        mark(any)
        at++
      }
      segment.forEach((piece, index) => {
        if (index > 0) mark(wait)
        for (let char = 0; char < piece.length; char++) {
          markLiteral(piece.charCodeAt(char))
          at++
        }
      })
      mark(separator)
      at++
    }
    mark(accept)
    at++
  }
  const rows =
    size > maxKept ? undefined : new Map(Array.from(literal.keys(), (code) => [code, rowOf(any, literal, code)]))
  return { start, accept, separator, any, literal, rows, wait, again }
}

/**
 * Whether one of the patterns covers the target, given as its parts (of which none holds a `/`). A `meter` counts the word steps that
 * were taken.
 *
 * @category predicates
 * @since 0.1.0
 */
export const accepts = (self: Automaton, parts: ReadonlyArray<string>, meter?: { steps: number }): boolean => {
  const text = parts.length === 0 ? "" : `${parts.join("/")}/`
  const reached = new Int32Array(self.start)
  const returning = reached.map((bits, word) => bits & self.again[word]!)
  const made = new Map<number, Int32Array>()
  const rowFor = (code: number): Int32Array => {
    if (self.rows !== undefined) return self.rows.get(code) ?? self.any
    let row = made.get(code)
    if (row === undefined) made.set(code, (row = rowOf(self.any, self.literal, code)))
    return row
  }
  let returns = returning.some((bits) => bits !== 0)

  for (let index = 0; index < text.length; index++) {
    if (meter !== undefined) meter.steps += reached.length
    const code = text.charCodeAt(index)
    if (code === slash) {
      returns = passSeparator(self, reached, returning)
    } else {
      if (!passCharacter(self, rowFor(code), reached) && !returns) return false
    }
  }
  return reached.some((bits, word) => (bits & self.accept[word]!) !== 0)
}

/** The positions that this character leaves. */
const rowOf = (any: Int32Array, literal: Automaton["literal"], code: number): Int32Array => {
  const named = literal.get(code)
  if (named === undefined) return any
  const row = new Int32Array(any)
  for (const [word, bits] of named) row[word]! |= bits
  return row
}

/** Moves `reached` on by one character. False when nothing is left of it. */
const passCharacter = (self: Automaton, row: Int32Array, reached: Int32Array): boolean => {
  const wait = self.wait
  let carry = 0
  let alive = 0
  for (let word = 0; word < reached.length; word++) {
    const from = reached[word]!
    const leaving = from & row[word]!
    const to = (leaving << 1) | carry | (from & wait[word]!)
    carry = leaving >>> 31
    reached[word] = to
    alive |= to
  }
  return alive !== 0
}

/** Moves `reached` over a separator, with what comes back there. False when nothing comes back from now on. */
const passSeparator = (self: Automaton, reached: Int32Array, returning: Int32Array): boolean => {
  const { again, separator } = self
  let carry = 0
  let returns = 0
  for (let word = 0; word < reached.length; word++) {
    const back = returning[word]!
    const leaving = reached[word]! & separator[word]!
    const to = (leaving << 1) | carry | back
    carry = leaving >>> 31
    reached[word] = to
    const next = to & again[word]!
    // Once it comes back it keeps coming back, so most words stay as they are.
    if (next !== back) returning[word] = next
    returns |= next
  }
  return returns !== 0
}
