/**
 * Decides whether any of many patterns covers a target, in time that no pattern and no target can blow up.
 *
 * A backtracking matcher takes exponential time on hostile patterns. This one reads each pattern once, from left to right, and holds the
 * set of all offsets in the target that the part read so far could end at, one bit each. A piece of a pattern moves the whole set at once,
 * 32 offsets to a machine word, so a check takes at most `length of the pattern * ceil(length of the target / 32)` word steps for each of
 * the patterns, whatever is written in them. What keeps the everyday check short: a pattern is left as soon as its literal beginning or end
 * is not that of the target or its set is empty, and of the set only the words between the first and the last offset are looked at.
 *
 * The target is read with a separator behind every part. A pattern is a literal beginning, a row of moves, and a literal end. The moves:
 *
 * - a letter: on by one wherever that character stands;
 * - a star with the letter behind it: first to every offset in the same part, then as above;
 * - a lone star, which stands for one part that is not empty: to the start of the next part;
 * - `**`: to the start of every part from the first offset on.
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
  readonly rules: ReadonlyArray<Rule>
  /** The characters that stand in moves, by their letter. */
  readonly characters: ReadonlyArray<number>
  /** Their letters: below 128 by the character, -1 for none, and the others. */
  readonly ascii: Int32Array
  readonly others: ReadonlyMap<number, number>
}

/**
 * One pattern.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rule {
  readonly prefix: string
  /** A letter from 0 on, {@link star} of one, {@link skip} or {@link again}. */
  readonly moves: Int32Array
  readonly suffix: string
  /** The fewest characters that the moves pass over. */
  readonly length: number
}

const slash = 47
const separator = 0
const star = (letter: number) => -1 - letter
const again = -0x8000_0000
const skip = again + 1

interface Unit {
  readonly move: number
  readonly length: number
}

/**
 * Builds the automaton of all the patterns together. It covers what one of them covers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (patterns: ReadonlyArray<ReadonlyArray<Segment.Segment>>): Automaton => {
  const characters = [slash]
  const letters = new Map([[slash, separator]])
  const letterOf = (code: number): number => {
    const known = letters.get(code)
    if (known !== undefined) return known
    letters.set(code, characters.length)
    return characters.push(code) - 1
  }
  const textOf = (units: ReadonlyArray<Unit>) => units.map(({ move }) => String.fromCharCode(move)).join("")

  const rules = patterns.map((segments): Rule => {
    // Letters are the characters themselves until it is known which of them stand in moves.
    const units: Array<Unit> = []
    for (const segment of segments) {
      if (segment === Segment.anyDepth) {
        if (units.at(-1)?.move !== again) units.push({ move: again, length: 0 })
      } else if (Segment.isLoneStar(segment)) {
        units.push({ move: skip, length: 2 })
      } else {
        segment.forEach((piece, index) => {
          const text = index === segment.length - 1 ? `${piece}/` : piece
          for (let at = 0; at < text.length; at++) {
            const code = text.charCodeAt(at)
            units.push({ move: at === 0 && index > 0 ? star(code) : code, length: 1 })
          }
        })
      }
    }
    const isWild = ({ move }: Unit) => move < 0
    const first = units.findIndex(isWild)
    if (first < 0) return { prefix: textOf(units), moves: new Int32Array(0), suffix: "", length: 0 }
    const last = units.findLastIndex(isWild) + 1
    const between = units.slice(first, last)
    return {
      prefix: textOf(units.slice(0, first)),
      moves: Int32Array.from(between, ({ move }) => {
        if (move <= skip) return move
        return move < 0 ? star(letterOf(star(move))) : letterOf(move)
      }),
      suffix: textOf(units.slice(last)),
      length: between.reduce((sum, { length }) => sum + length, 0)
    }
  })

  const ascii = new Int32Array(128).fill(-1)
  const others = new Map<number, number>()
  for (const [code, letter] of letters) {
    if (code < 128) ascii[code] = letter
    else others.set(code, letter)
  }
  return { rules, characters, ascii, others }
}

/**
 * Whether one of the patterns covers the target, given as its parts (of which none holds a `/`). A `meter` counts the words of the set that
 * were moved.
 *
 * @category predicates
 * @since 0.1.0
 */
export const accepts = (self: Automaton, parts: ReadonlyArray<string>, meter?: { steps: number }): boolean => {
  const text = parts.length === 0 ? "" : `${parts.join("/")}/`
  let prepared = false
  for (const rule of self.rules) {
    const { length, moves, prefix, suffix } = rule
    if (!text.startsWith(prefix)) continue
    if (moves.length === 0) {
      if (text.length === prefix.length) return true
      continue
    }
    const end = text.length - suffix.length
    if (end < prefix.length + length || !text.endsWith(suffix)) continue
    const walked = walk(self, rule, text, end)
    if (walked === true) return true
    if (walked === false) continue
    if (!prepared) prepare(self, text)
    prepared = true
    if (sweep(rule, walked.move, walked.at, end, walked.left, meter)) return true
  }
  return false
}

/** As far as there is just one offset, it is a number. Gives the answer, or the move from which on there may be several. */
const walk = (
  { characters }: Automaton,
  { length, moves, prefix, suffix }: Rule,
  text: string,
  end: number
): boolean | { readonly move: number; readonly at: number; readonly left: number } => {
  let at = prefix.length
  let left = length
  const last = moves.length - 1
  for (let move = 0; move <= last; move++) {
    const kind = moves[move]!
    if (kind >= 0) {
      if (text.charCodeAt(at) !== characters[kind]) return false
      at++
      left--
    } else if (kind === skip) {
      const next = text.indexOf("/", at)
      if (next <= at) return false
      at = next + 1
      left -= 2
    } else if (kind === again) {
      // Without a literal end this is the end of the pattern, and the end of a target is always the start of a part.
      return move === last && suffix === "" ? true : { move, at, left }
    } else {
      if (move < last) return { move, at, left }
      return end > at && text.charCodeAt(end - 1) === characters[star(kind)] && text.indexOf("/", at) >= end - 1
    }
  }
  return at === end
}

// Where the sets are kept while a question is answered. Nothing else runs meanwhile, and nothing is read that was not written before.
const keptWords = 1 << 18
let masks = new Int32Array(4096)
let reached = new Int32Array(512)
let places = new Int32Array(256)
let words = 0

/** Notes where in the target each letter stands: rows of `words` words, of which the first is empty. */
const prepare = ({ ascii, characters, others }: Automaton, text: string): void => {
  words = (text.length >>> 5) + 1
  const needed = (4 + Math.min(characters.length, text.length)) * words
  if (masks.length < needed || masks.length > keptWords) masks = new Int32Array(Math.max(needed, 4096))
  else masks.fill(0, 0, needed)
  if (reached.length < words) reached = new Int32Array(words)
  if (places.length < characters.length) places = new Int32Array(characters.length)
  else places.fill(0, 0, characters.length)

  const inside = words
  const starts = 2 * words
  let free = 4 * words
  places[separator] = 3 * words
  masks[starts] = 1
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    const word = at >>> 5
    const bit = 1 << (at & 31)
    if (code === slash) masks[starts + ((at + 1) >>> 5)]! |= 1 << ((at + 1) & 31)
    else masks[inside + word]! |= bit
    const letter = code < 128 ? ascii[code]! : (others.get(code) ?? -1)
    if (letter < 0) continue
    let place = places[letter]!
    if (place === 0) {
      places[letter] = place = free
      free += words
    }
    masks[place + word]! |= bit
  }
}

/** Makes the moves from `first` on, starting at one offset. `left` is the fewest characters that they pass over. */
const sweep = (
  { moves }: Rule,
  first: number,
  at: number,
  end: number,
  left: number,
  meter: { steps: number } | undefined
): boolean => {
  const [rows, set, count] = [masks, reached, moves.length]
  const [inside, starts, separators] = [words, 2 * words, 3 * words]
  let low = at >>> 5
  let high = low
  set[low] = 1 << (at & 31)

  for (let move = first; move < count;) {
    const kind = moves[move]!
    const following =
      kind >= 0 && move + 3 < count ? Math.min(moves[move + 1]!, moves[move + 2]!, moves[move + 3]!) : -1
    const taken = following >= 0 ? 4 : 1
    left -= kind === again ? 0 : kind === skip ? 2 : taken
    // What is further on than this has no room for the moves that are left.
    const top = (end - left) >>> 5
    // What the move can reach behind the words that are held.
    if (kind !== again && high < top) set[++high] = 0
    if (kind < 0 && kind !== again) {
      while (high < top && rows[inside + high] === -1) set[++high] = 0
      if (high < top) set[++high] = 0
    }
    let carry = 0
    if (following >= 0) {
      const row0 = places[kind]!
      const row1 = places[moves[move + 1]!]!
      const row2 = places[moves[move + 2]!]!
      const row3 = places[moves[move + 3]!]!
      let [carry1, carry2, carry3] = [0, 0, 0]
      for (let word = low; word <= high; word++) {
        let leaving = set[word]! & rows[row0 + word]!
        let to = (leaving << 1) | carry
        carry = leaving >>> 31
        leaving = to & rows[row1 + word]!
        to = (leaving << 1) | carry1
        carry1 = leaving >>> 31
        leaving = to & rows[row2 + word]!
        to = (leaving << 1) | carry2
        carry2 = leaving >>> 31
        leaving = to & rows[row3 + word]!
        set[word] = (leaving << 1) | carry3
        carry3 = leaving >>> 31
      }
    } else if (kind >= 0) {
      const row = places[kind]!
      for (let word = low; word <= high; word++) {
        const leaving = set[word]! & rows[row + word]!
        set[word] = (leaving << 1) | carry
        carry = leaving >>> 31
      }
    } else if (kind === again) {
      const lowest = set[low]! & -set[low]!
      set[low] = rows[starts + low]! & -lowest
      for (let word = low + 1; word <= top; word++) set[word] = rows[starts + word]!
      high = top
    } else if (kind === skip) {
      let run = 0
      for (let word = low; word <= high; word++) {
        const within = rows[inside + word]!
        const starting = set[word]! & within
        const sum = (starting + within + run) | 0
        run = (starting | (within & ~sum)) >>> 31
        const leaving = sum & rows[separators + word]!
        set[word] = (leaving << 1) | carry
        carry = leaving >>> 31
      }
    } else {
      const row = places[star(kind)]!
      let run = 0
      for (let word = low; word <= high; word++) {
        const from = set[word]!
        const within = rows[inside + word]!
        const starting = from & within
        const sum = (starting + within + run) | 0
        run = (starting | (within & ~sum)) >>> 31
        const leaving = (from | (sum ^ within)) & rows[row + word]!
        set[word] = (leaving << 1) | carry
        carry = leaving >>> 31
      }
    }
    if (meter !== undefined) meter.steps += (high - low + 1) * taken
    move += taken
    if (high > top) high = top
    while (low <= high && set[low] === 0) low++
    if (low > high) return false
    while (set[high] === 0) high--
  }
  const word = end >>> 5
  return word >= low && word <= high && ((set[word]! >>> (end & 31)) & 1) === 1
}
