/**
 * Proves that whatever one pattern covers is covered by others too, taken together (§9.4).
 *
 * The proof plays a game: somebody spells a target that the pattern covers, character by character, and looks at all positions in all the
 * others that could have been reached by it. Who gets to the end of the pattern while none of the others is at its end has found a target
 * beyond them; if every way to spell one has been tried, there is none. Three things keep this short:
 *
 * - where the pattern has a wildcard, a character that stands in none of the others is tried alone: any other reaches at least as much;
 * - a situation is dropped when an earlier one, at the same place of the pattern, reached no more than it;
 * - the search has a bound. The question is a hard one for hostile patterns, so beyond the bound the answer is that nothing is proved.
 *
 * So an answer is right whenever there is one, and there is one for all patterns that people write.
 *
 * @since 0.1.0
 */
import * as Segment from "./Segment.ts"

/**
 * What is known of the targets besides that they have parts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Targets {
  /** Whether a target may have a part without characters. */
  readonly emptyParts: boolean
  /** Whether a target may have no parts at all. */
  readonly noParts: boolean
}

/**
 * Patterns taken together, ready to be compared with others.
 *
 * @category models
 * @since 0.1.0
 */
export interface Union {
  readonly patterns: ReadonlyArray<Edged>
}

/**
 * A pattern and the text that everything it covers begins and ends with, read with a separator behind every part.
 *
 * @category models
 * @since 0.1.0
 */
export interface Edged {
  readonly segments: ReadonlyArray<Segment.Segment>
  readonly prefix: string
  readonly suffix: string
}

/**
 * How far a search may go: about how many positions it may look at, in all the searches that share this. A million take some milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Allowance {
  left: number
}

/**
 * What is known of a pattern and others.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict =
  /** Whatever it covers the others cover too. */
  | { readonly _tag: "Within" }
  /** It covers the target of these parts, which none of the others does. */
  | { readonly _tag: "Beyond"; readonly parts: ReadonlyArray<string> }
  /** The search was given up. */
  | { readonly _tag: "Unproved" }

/**
 * What one question may take: a bound that no pattern that people write comes near to, and about ten milliseconds.
 *
 * @category constructors
 * @since 0.1.0
 */
export const allowance = (): Allowance => ({ left: 1 << 20 })

const edged = (segments: ReadonlyArray<Segment.Segment>): Edged => {
  const texts = segments.map((segment) => (segment === Segment.anyDepth ? ["", ""] : segment))
  const isLiteral = (pieces: ReadonlyArray<string>) => pieces.length === 1
  const first = texts.findIndex((pieces) => !isLiteral(pieces))
  const last = texts.findLastIndex((pieces) => !isLiteral(pieces))
  const join = (from: number, to: number) =>
    texts
      .slice(from, to)
      .map(([piece]) => `${piece}/`)
      .join("")
  if (first < 0) {
    const text = join(0, texts.length)
    return { segments, prefix: text, suffix: text }
  }
  const end = segments[last] === Segment.anyDepth ? "" : `${texts[last]!.at(-1)}/`
  return { segments, prefix: `${join(0, first)}${texts[first]![0]}`, suffix: `${end}${join(last + 1, texts.length)}` }
}

/** Whether there may be a target that both cover. */
const touch = (left: Edged, right: Edged): boolean =>
  (left.prefix.startsWith(right.prefix) || right.prefix.startsWith(left.prefix)) &&
  (left.suffix.endsWith(right.suffix) || right.suffix.endsWith(left.suffix))

/**
 * Reads patterns that are to be held against others, once for all questions.
 *
 * @category constructors
 * @since 0.1.0
 */
export const union = (patterns: ReadonlyArray<ReadonlyArray<Segment.Segment>>): Union => ({
  patterns: patterns.map(edged)
})

const separator = -1
const anything = -2
const nothing = -3
const slash = 47

/** All positions of some patterns in one row. */
interface Row {
  /** The first position of each pattern. */
  readonly starts: ReadonlyArray<number>
  /** What each position is left on: a character, or a separator, anything but that, or nothing: the end. */
  readonly leaves: Int32Array
  /** Positions that wait on anything but a separator. */
  readonly waits: Uint8Array
  /** Positions that come back behind every separator once they were reached. */
  readonly returns: Uint8Array
}

const rowOf = (patterns: ReadonlyArray<Edged>): Row => {
  const starts: Array<number> = []
  const leaves: Array<number> = []
  const waits: Array<number> = []
  const returns: Array<number> = []
  for (const { segments } of patterns) {
    starts.push(leaves.length)
    for (const segment of segments) {
      if (segment === Segment.anyDepth) {
        returns.push(leaves.length)
        continue
      }
      if (Segment.isLoneStar(segment)) leaves.push(anything)
      segment.forEach((piece, index) => {
        if (index > 0) waits.push(leaves.length)
        for (let at = 0; at < piece.length; at++) leaves.push(piece.charCodeAt(at))
      })
      leaves.push(separator)
    }
    leaves.push(nothing)
  }
  const flags = (positions: ReadonlyArray<number>) => {
    const row = new Uint8Array(leaves.length)
    for (const position of positions) row[position] = 1
    return row
  }
  return { starts, leaves: Int32Array.from(leaves), waits: flags(waits), returns: flags(returns) }
}

type Positions = ReadonlyArray<number>

/** Where a way to spell a target has led to. */
interface Situation {
  /** Twice the position in the pattern that is spelled, and one more within a part that its `**` takes. */
  readonly place: number
  /** Positions of the others, ascending. */
  readonly reached: Positions
  /** Those of them that come back behind every separator. */
  readonly returning: Positions
  readonly before: Situation | undefined
  readonly symbol: number
}

/**
 * Whether `child` is within the union. Of what `allowance` has left, it takes what the search costs.
 *
 * @category predicates
 * @since 0.1.0
 */
export const decide = (
  self: Union,
  child: ReadonlyArray<Segment.Segment>,
  targets: Targets,
  allowance: Allowance
): Verdict => {
  const spelling = edged(child)
  // The others have no part in it, and there may be many.
  const touching = self.patterns.filter((pattern) => touch(pattern, spelling))
  const others = rowOf(touching)
  allowance.left -= self.patterns.length + others.leaves.length
  const spelled = rowOf([spelling])
  const known = new Map<number, Array<Situation>>()
  const open: Array<Situation> = []

  const go = (from: Situation, place: number, symbol: number) => {
    allowance.left -= from.reached.length + 1
    const reached = symbol === separator ? pass(others, from) : move(others, from.reached, symbol)
    const returning = symbol === separator ? returningFrom(others, reached, from.returning) : from.returning
    open.push({ place, reached, returning, before: from, symbol })
  }

  const start = others.starts
  const returning = returningFrom(others, start, [])
  open.push({ place: 0, reached: start, returning, before: undefined, symbol: nothing })
  for (let situation = open.pop(); situation !== undefined; situation = open.pop()) {
    if (allowance.left < 0) return { _tag: "Unproved" }
    const { place, reached, returning } = situation
    // From there on every target is covered.
    if (hasEnd(others, returning)) continue
    // Where no target ends yet, a situation stands for less than a later one that reached the same.
    const isBlank = situation.before === undefined && !targets.noParts
    if (!isBlank && !isNews(known, situation, allowance)) continue

    const position = place >>> 1
    if ((place & 1) === 1) {
      go(situation, position << 1, separator)
      go(situation, place, anything)
      continue
    }
    const leave = spelled.leaves[position]!
    const starting = situation.before === undefined || situation.symbol === separator
    if (leave === nothing) {
      if (!isBlank && !hasEnd(others, reached)) {
        return { _tag: "Beyond", parts: partsOf(situation, other(others, spelled)) }
      }
    } else if (leave !== separator || targets.emptyParts || !starting) {
      go(situation, (position + 1) << 1, leave)
    }
    // Last what is tried first: it reaches the least.
    if (spelled.returns[position] === 1) {
      if (targets.emptyParts) go(situation, place, separator)
      go(situation, place | 1, anything)
    }
    if (spelled.waits[position] === 1) go(situation, place, anything)
  }
  return { _tag: "Within" }
}

/** The positions behind one character, or with {@link anything} behind one that stands in no pattern. */
const move = ({ leaves, waits }: Row, reached: Positions, symbol: number): Positions => {
  const next: Array<number> = []
  let last = -1
  for (const position of reached) {
    if (waits[position] === 1 && last !== position) next.push((last = position))
    const leave = leaves[position]!
    if (leave === anything || (leave >= 0 && leave === symbol)) next.push((last = position + 1))
  }
  return next
}

/** The positions behind a separator. */
const pass = ({ leaves }: Row, { reached, returning }: Situation): Positions => {
  const left: Array<number> = []
  for (const position of reached) if (leaves[position] === separator) left.push(position + 1)
  return merge(left, returning)
}

/** Those that come back behind every separator from now on. */
const returningFrom = ({ returns }: Row, reached: Positions, before: Positions): Positions => {
  const more: Array<number> = []
  for (const position of reached) if (returns[position] === 1) more.push(position)
  return more.length === before.length ? before : more
}

const merge = (left: Positions, right: Positions): Positions => {
  if (left.length === 0) return right
  if (right.length === 0) return left
  const merged: Array<number> = []
  let at = 0
  for (const position of left) {
    while (at < right.length && right[at]! < position) merged.push(right[at++]!)
    if (at < right.length && right[at] === position) at++
    merged.push(position)
  }
  while (at < right.length) merged.push(right[at++]!)
  return merged
}

const hasEnd = ({ leaves }: Row, positions: Positions): boolean => {
  for (const position of positions) if (leaves[position] === nothing) return true
  return false
}

/** Notes a situation, unless one at the same place reached no more. */
const isNews = (known: Map<number, Array<Situation>>, situation: Situation, allowance: Allowance): boolean => {
  const before = known.get(situation.place)
  if (before === undefined) {
    known.set(situation.place, [situation])
    return true
  }
  const isWithin = (left: Positions, right: Positions): boolean => {
    if (left.length > right.length) return false
    let at = 0
    for (const position of left) {
      while (at < right.length && right[at]! < position) at++
      if (right[at] !== position) {
        allowance.left -= at
        return false
      }
    }
    allowance.left -= at
    return true
  }
  for (const one of before) {
    allowance.left -= 1
    if (isWithin(one.reached, situation.reached) && isWithin(one.returning, situation.returning)) return false
  }
  before.push(situation)
  return true
}

/** A character that stands in none of the patterns. */
const other = (self: Row, spelled: Row): string => {
  const isFree = (code: number) => code !== slash && !self.leaves.includes(code) && !spelled.leaves.includes(code)
  for (let code = 97; code < 123; code++) if (isFree(code)) return String.fromCharCode(code)
  let code = 0xa1
  while (!isFree(code)) code++
  return String.fromCharCode(code)
}

const partsOf = (situation: Situation, other: string): ReadonlyArray<string> => {
  const symbols: Array<string> = []
  for (let at: Situation | undefined = situation; at?.before !== undefined; at = at.before) {
    symbols.push(at.symbol === separator ? "/" : at.symbol === anything ? other : String.fromCharCode(at.symbol))
  }
  const text = symbols.toReversed().join("")
  return text === "" ? [] : text.slice(0, -1).split("/")
}
