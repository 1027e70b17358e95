import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Automaton from "../../src/authority/Automaton.ts"
import * as Segment from "../../src/authority/Segment.ts"
import * as Random from "./RandomPatterns.ts"

const segmentsOf = (pattern: string) => pattern.split("/").map(Segment.parse)

const accepts = (patterns: ReadonlyArray<string>, target: string) =>
  Automaton.accepts(Automaton.make(patterns.map(segmentsOf)), target.split("/"))

/** The rule of the language, word for word and with no thought of speed. */
const covers = (pattern: string, target: string): boolean => {
  const known = new Map<string, boolean>()
  const remember = (key: string, decide: () => boolean) => {
    const before = known.get(key)
    if (before !== undefined) return before
    const answer = decide()
    known.set(key, answer)
    return answer
  }
  const part = (glob: string, text: string): boolean =>
    remember(JSON.stringify([glob, text]), () => {
      if (glob === "") return text === ""
      if (glob[0] === "*") return part(glob.slice(1), text) || (text !== "" && part(glob, text.slice(1)))
      return glob[0] === text[0] && part(glob.slice(1), text.slice(1))
    })
  const whole = (globs: ReadonlyArray<string>, texts: ReadonlyArray<string>): boolean =>
    remember(`${globs.length} ${texts.length}`, () => {
      const [glob, ...globsLeft] = globs
      const [text, ...textsLeft] = texts
      if (glob === undefined) return text === undefined
      if (glob === "**") return whole(globsLeft, texts) || (text !== undefined && whole(globs, textsLeft))
      if (text === undefined || (/^\*+$/.test(glob) && text === "")) return false
      return part(glob, text) && whole(globsLeft, textsLeft)
    })
  return whole(pattern.split("/"), target.split("/"))
}

const text = (letters: ReadonlyArray<string>, maxLength: number) =>
  Schema.Array(Schema.Literals(letters)).check(Schema.isMaxLength(maxLength))

const patternLetters = ["a", "b", "*", "**", "/", "/**/"]
const targetLetters = ["a", "b", "/"]
const million = 1_000_000
const runs = { arbitrary: { runs: 2000 } }

describe("Automaton", () => {
  let covered = 0

  it.prop(
    "agrees with the rule of the language",
    { pattern: text(patternLetters, 10), target: text(targetLetters, 12) },
    ({ pattern, target }) => {
      const [left, right] = [pattern.join(""), target.join("")]
      if (covers(left, right)) covered++
      assert.strictEqual(accepts([left], right), covers(left, right), `${left} on ${right}`)
    },
    runs
  )

  it("was asked both what is covered and what is not", () => {
    assert.isAbove(covered, 100)
    assert.isBelow(covered, 1900)
  })

  it.prop(
    "agrees with the rule of the language across machine words",
    { head: text(["a", "b", "/"], 64), pattern: text(patternLetters, 40), target: text(targetLetters, 40) },
    ({ head, pattern, target }) => {
      const [left, right] = [`${head.join("")}/${pattern.join("")}`, `${head.join("")}/${target.join("")}`]
      assert.strictEqual(accepts([left], right), covers(left, right), `${left} on ${right}`)
    },
    runs
  )

  it.prop(
    "covers whatever its wildcards are replaced by",
    { pattern: text(patternLetters, 40), run: text(["a", "b"], 5), parts: text(targetLetters, 9) },
    ({ parts, pattern, run }) => {
      const source = pattern.join("")
      const star = run.join("")
      const target = source
        .split("/")
        .flatMap((part) => {
          if (part === "**") return parts.length === 0 ? [] : parts.join("").split("/")
          return /^\*+$/.test(part) ? [`x${star}`] : [part.replace(/\*+/g, star)]
        })
        .join("/")
      // No parts at all is not the same as one empty part, and a joined text cannot tell them apart.
      if (target === "") return
      assert.isTrue(accepts([source], target), `${source} on ${target}`)
    },
    runs
  )

  it.prop(
    "covers with many patterns what one of them covers",
    { patterns: Schema.Array(text(patternLetters, 12)).check(Schema.isMaxLength(12)), target: text(targetLetters, 12) },
    ({ patterns, target }) => {
      const sources = patterns.map((letters) => letters.join(""))
      const whole = target.join("")
      assert.strictEqual(
        accepts(sources, whole),
        sources.some((source) => covers(source, whole)),
        `${JSON.stringify(sources)} on ${whole}`
      )
    },
    runs
  )

  it("covers no parts at all with no segments, or with `**` alone", () => {
    assert.isTrue(Automaton.accepts(Automaton.make([[]]), []))
    assert.isTrue(Automaton.accepts(Automaton.make([[Segment.anyDepth]]), []))
    assert.isFalse(Automaton.accepts(Automaton.make([segmentsOf("*")]), []))
    assert.isFalse(Automaton.accepts(Automaton.make([]), []))
  })

  // The time that a check takes is the number of these steps: 1 to 3 ns each on a slow machine.
  const hostile: ReadonlyArray<readonly [name: string, patterns: ReadonlyArray<string>, target: string]> = [
    ["one literal run behind a star", [`*${"a".repeat(510)}b*`], "a".repeat(1024)],
    ["stars between letters", [`${"a*".repeat(511)}b*`], "a".repeat(1024)],
    ["stars around letters in every part", [`**/${"*a*/".repeat(250)}b*`], "a/".repeat(512)],
    ["lone stars behind any depth", [`**/${"*/".repeat(250)}b*`], "a/".repeat(512)],
    ["any depth again and again", [`${"**/a/".repeat(204)}b*`], "a/".repeat(512)],
    ["8 KiB of it in 16 patterns", Array.from({ length: 16 }, () => `*${"a".repeat(508)}b*`), "a".repeat(1024)],
    ["8 KiB of it in 64 patterns", Array.from({ length: 64 }, () => `**/${"a/".repeat(61)}b*`), "a/".repeat(512)],
    ["8 KiB of it in 256 patterns", Array.from({ length: 256 }, () => `*${"a*".repeat(14)}b*`), "a".repeat(1024)]
  ]

  it.each(hostile)("takes no more steps than there are characters and words: %s", (_, patterns, target) => {
    const meter = { steps: 0 }
    const size = patterns.reduce((sum, pattern) => sum + pattern.length, 0)
    assert.isFalse(Automaton.accepts(Automaton.make(patterns.map(segmentsOf)), target.split("/"), meter))
    assert.isAtMost(meter.steps, size * Math.ceil((target.length + 2) / 32))
    assert.isAbove(meter.steps, 1000)
  })

  it.each([
    ["another beginning", "etc/passwd"],
    ["another end", "tmp/a.md"],
    ["too little between beginning and end", "tmp/txt"],
    ["a part too many", "tmp/a/b.txt"]
  ])("moves nothing for a target with %s", (_, target) => {
    const meter = { steps: 0 }
    const automaton = Automaton.make([segmentsOf("ws/**"), segmentsOf("tmp/*.txt")])
    assert.isFalse(Automaton.accepts(automaton, target.split("/"), meter))
    assert.strictEqual(meter.steps, 0)
  })

  it("stops at the first move that leads nowhere", () => {
    const steps = (target: string) => {
      const meter = { steps: 0 }
      const automaton = Automaton.make([segmentsOf(`**/x${"a".repeat(1000)}*`)])
      assert.isFalse(Automaton.accepts(automaton, target.split("/"), meter))
      return meter.steps
    }
    assert.isBelow(steps(`${"b".repeat(2000)}`), 100)
    assert.isAbove(steps(`x${"a".repeat(999)}b`.repeat(2)), 500)
  })

  it("takes a character beyond ASCII, and one that is made of two units, like any other", () => {
    assert.isTrue(accepts(["*\u00e9*/\u4e2d"], "caf\u00e9s/\u4e2d"))
    assert.isFalse(accepts(["*\u00e9*/\u4e2d"], "cafes/\u4e2d"))
    assert.isTrue(accepts(["**/*\u{1f600}*"], "a/b\u{1f600}"))
    assert.isFalse(accepts(["**/*\u{1f600}*"], "a/b\u{1f601}"))
  })

  it("agrees with the rule of the language on a million random pairs", () => {
    const below = Random.random(Random.seed)
    let covered = 0
    for (let index = 0; index < million; index++) {
      const patterns = Array.from({ length: below(8) === 0 ? 3 : 1 }, () => Random.pattern(below))
      const target = Random.target(below, patterns[0]!)
      // So that offsets of all words are met, and a short question follows a long one.
      const head = below(12) === 0 ? Array.from({ length: 1 + below(40) }, () => "ab") : []
      const [whole, wholes] = [[...head, ...target], patterns.map((pattern) => [...head, ...pattern])]
      const expected = patterns.some((pattern) => Random.covers(pattern, target))
      if (expected) covered++
      const automaton = Automaton.make(wholes.map(Random.segments))
      if (Automaton.accepts(automaton, whole) !== expected) {
        assert.fail(`seed ${Random.seed}, case ${index}: ${JSON.stringify(wholes)} on ${JSON.stringify(whole)}`)
      }
    }
    assert.isAbove(covered, million / 5)
    assert.isBelow(covered, (million * 4) / 5)
  }, 120_000)

  it("holds no state between two questions", () => {
    const automaton = Automaton.make([segmentsOf("a/**/b")])
    assert.isTrue(Automaton.accepts(automaton, ["a", "x", "b"]))
    assert.isFalse(Automaton.accepts(automaton, ["x", "b"]))
    assert.isTrue(Automaton.accepts(automaton, ["a", "b"]))
  })
})
