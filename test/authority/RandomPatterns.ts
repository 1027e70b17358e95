/**
 * Patterns and targets at random, cheap enough for millions, and the rule of their language word for word, with no thought of speed.
 */
import * as Segment from "../../src/authority/Segment.ts"

/** Where the numbers come from. Set `ARCP_PROPERTY_SEED` to repeat what a failure names, or to try others. */
export const seed = Number(process.env["ARCP_PROPERTY_SEED"] ?? 20_260_513)

/** Numbers below `count`: the generator sfc32. */
export const random = (seed: number) => {
  let [a, b, c, counter] = [seed | 0, 0x9e37_79b9 | 0, 0x243f_6a88 | 0, 1]
  const next = () => {
    const sum = (a + b + counter++) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + sum
    return sum >>> 0
  }
  for (let round = 0; round < 12; round++) next()
  return (count: number) => next() % count
}

export type Random = ReturnType<typeof random>

const pick = <A>(below: Random, from: ReadonlyArray<A>): A => from[below(from.length)]!

const shape = [0, 1, 1, 1, 2, 2, 3, 3, 4, 5]
const pieces = ["a", "b", "ab", "aa", "*", "*", "a*", "*b", "é"]
const letters = ["a", "b", "a", "b", "ab", "é", "c"]

const times = (count: number, one: () => string) => {
  let text = ""
  for (let at = 0; at < count; at++) text += one()
  return text
}

const part = (below: Random): string => times(pick(below, [0, 1, 1, 1, 1, 2, 2, 3]), () => pick(below, pieces))

/** The parts of a pattern, as they are written. */
export const pattern = (below: Random): ReadonlyArray<string> =>
  Array.from({ length: pick(below, shape) }, () => (below(4) === 0 ? "**" : part(below)))

const run = (below: Random) => times(pick(below, [0, 0, 1, 1, 2, 3]), () => pick(below, letters))

const isLone = (part: string) => /^\*+$/.test(part)

/** A target that the pattern covers: each wildcard is replaced by something that it stands for. */
export const spell = (below: Random, pattern: ReadonlyArray<string>, emptyParts: boolean): ReadonlyArray<string> => {
  const solid = () => pick(below, letters) + run(below)
  const target: Array<string> = []
  for (const part of pattern) {
    if (part === "**") {
      for (let left = pick(below, [0, 0, 1, 1, 2, 3]); left > 0; left--) target.push(emptyParts ? run(below) : solid())
    } else {
      target.push(isLone(part) ? solid() : part.includes("*") ? part.replace(/\*+/g, () => run(below)) : part)
    }
  }
  return target
}

/** A target that has nothing to do with any pattern, or was almost one that this covers. */
export const target = (below: Random, pattern: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (below(3) === 0) return Array.from({ length: pick(below, shape) }, () => run(below))
  const parts = [...spell(below, pattern, true)]
  const at = below(parts.length + 1)
  if (below(3) === 0) parts.splice(at, below(2), run(below))
  else if (parts[at] !== undefined && below(2) === 0) parts[at] += pick(below, letters)
  return parts
}

/** A pattern that covers all that this one covers: each change is a widening by the very meaning of the wildcards. */
export const widen = (below: Random, pattern: ReadonlyArray<string>): ReadonlyArray<string> => {
  const parts = [...pattern]
  for (let changes = 1 + below(3); changes > 0; changes--) {
    const at = below(parts.length + 1)
    const part = parts[at]
    switch (below(4)) {
      case 0: {
        // Any number of parts, also none.
        parts.splice(at, 0, "**")
        break
      }
      case 1: {
        parts.splice(at, below(3), "**")
        break
      }
      case 2: {
        // A part that cannot be empty is one that is not.
        if (part !== undefined && part !== "**" && /[^*]/.test(part)) parts[at] = "*"
        break
      }
      default: {
        // Part of a part, perhaps nothing of it, is any run of characters. Alone it would stand for less.
        if (part === undefined || part === "**" || isLone(part)) break
        const from = below(part.length + 1)
        const widened = `${part.slice(0, from)}*${part.slice(from + below(part.length + 1 - from))}`
        if (!isLone(widened)) parts[at] = widened
      }
    }
  }
  return parts
}

export const segments = (pattern: ReadonlyArray<string>): ReadonlyArray<Segment.Segment> => pattern.map(Segment.parse)

const coversPart = (glob: string, text: string): boolean => {
  if (glob === "") return text === ""
  if (glob[0] === "*") return coversPart(glob.slice(1), text) || (text !== "" && coversPart(glob, text.slice(1)))
  return glob[0] === text[0] && coversPart(glob.slice(1), text.slice(1))
}

/** Whether the pattern covers the target. */
export const covers = (pattern: ReadonlyArray<string>, target: ReadonlyArray<string>, glob = 0, text = 0): boolean => {
  if (glob === pattern.length) return text === target.length
  const part = pattern[glob]!
  if (part === "**") {
    return covers(pattern, target, glob + 1, text) || (text < target.length && covers(pattern, target, glob, text + 1))
  }
  if (text === target.length || (isLone(part) && target[text] === "")) return false
  return coversPart(part, target[text]!) && covers(pattern, target, glob + 1, text + 1)
}
