import { assert, describe, it } from "@effect/vitest"
import * as Inclusion from "../../src/authority/Inclusion.ts"
import * as Segment from "../../src/authority/Segment.ts"
import * as Random from "./RandomPatterns.ts"

const cases = 1_000_000
const minutes = 120_000

const anyTargets: Inclusion.Targets = { emptyParts: true, noParts: true }
const names: Inclusion.Targets = { emptyParts: true, noParts: false }
const paths: Inclusion.Targets = { emptyParts: false, noParts: true }
const agents: Inclusion.Targets = { emptyParts: false, noParts: false }

const split = (pattern: string) => pattern.split("/").map(Segment.parse)

const decide = (
  patterns: ReadonlyArray<string>,
  child: string,
  targets: Inclusion.Targets = anyTargets,
  allowance = Inclusion.allowance()
) => Inclusion.decide(Inclusion.union(patterns.map(split)), split(child), targets, allowance)

describe("Inclusion", () => {
  it(
    "is sound on a million random cases, of which a fifth and more are included because the one was made from the other",
    () => {
      const below = Random.random(Random.seed)
      const kinds = [anyTargets, names, paths, agents]
      const counts = { made: 0, proved: 0, beyond: 0, unproved: 0 }
      for (let index = 0; index < cases; index++) {
        const targets = kinds[below(kinds.length)]!
        const child = Random.pattern(below)
        const isMade = below(5) < 2
        const parents = Array.from({ length: 1 + below(3) }, () =>
          below(2) === 0 ? Random.pattern(below) : Random.widen(below, Random.pattern(below))
        )
        if (isMade) parents[below(parents.length)] = Random.widen(below, child)
        const fail = (why: string) =>
          assert.fail(`seed ${Random.seed}, case ${index}: ${JSON.stringify({ parents, child, targets })} ${why}`)

        const union = Inclusion.union(parents.map(Random.segments))
        const verdict = Inclusion.decide(union, Random.segments(child), targets, Inclusion.allowance())
        if (isMade) counts.made++
        switch (verdict._tag) {
          case "Within": {
            if (isMade) counts.proved++
            for (let word = 0; word < 3; word++) {
              const target = Random.spell(below, child, targets.emptyParts)
              if (target.length === 0 && !targets.noParts) continue
              if (target.includes("") && !targets.emptyParts) continue
              if (!parents.some((parent) => Random.covers(parent, target))) fail(`misses ${JSON.stringify(target)}`)
            }
            break
          }
          case "Beyond": {
            // Shown by example, so nothing that is included was refused.
            counts.beyond++
            const { parts } = verdict
            const isTarget = (targets.emptyParts || !parts.includes("")) && (targets.noParts || parts.length > 0)
            if (!isTarget || !Random.covers(child, parts)) fail(`does not cover ${JSON.stringify(parts)}`)
            if (parents.some((parent) => Random.covers(parent, parts))) fail(`includes ${JSON.stringify(parts)}`)
            break
          }
          case "Unproved":
            counts.unproved++
        }
      }
      assert.isAbove(counts.made, cases / 5)
      assert.strictEqual(counts.proved, counts.made)
      assert.strictEqual(counts.unproved, 0)
      assert.isAbove(counts.beyond, cases / 5)
    },
    minutes
  )

  it.each<readonly [patterns: ReadonlyArray<string>, child: string, targets: Inclusion.Targets]>([
    [["a/**"], "a/b/**", anyTargets],
    [["search.*"], "search.web", names],
    [["*a*b*"], "*a*ab*", names],
    [["*"], "*a", names],
    // Only together.
    [["*/x", "**/*/*/x", "x"], "**/x", paths],
    [["a", "a/*/**", "a//**"], "a/**", names],
    [["*", "*/*", "*/*/*/**"], "*/**", paths],
    // Where no part is empty, and there is at least one.
    [["a", "a/*/**"], "a/**", paths],
    [["*", "*/**"], "**", agents]
  ])("proves that %j include %j", (patterns, child, targets) => {
    assert.deepStrictEqual(decide(patterns, child, targets), { _tag: "Within" })
  })

  it.each<readonly [patterns: ReadonlyArray<string>, child: string, targets: Inclusion.Targets]>([
    [["a/*"], "a/**", anyTargets],
    [["*"], "**", names],
    [["*"], "a*/b", names],
    [["a*", "*b"], "*", names],
    [["*ab*"], "*a*b*", names],
    [["a", "a/*/**"], "a/**", names],
    [["**/*/x"], "**/x", paths],
    [["*/**"], "**", paths],
    [[], "a", names]
  ])("shows by example that %j do not include %j", (patterns, child, targets) => {
    const verdict = decide(patterns, child, targets)
    assert.strictEqual(verdict._tag, "Beyond")
    if (verdict._tag !== "Beyond") return
    assert.isTrue(Random.covers(child.split("/"), verdict.parts))
    assert.isFalse(patterns.some((pattern) => Random.covers(pattern.split("/"), verdict.parts)))
  })

  const many = (count: number, one: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => one(index))

  const hostile: ReadonlyArray<readonly [name: string, patterns: ReadonlyArray<string>, child: string]> = [
    ["stars", many(8, () => `${"*a".repeat(510)}b`), `*${"a*".repeat(510)}b`],
    ["many rows of stars", many(256, () => `${"*a".repeat(15)}b`), `*${"a*".repeat(510)}b`],
    ["parts so far apart", many(8, (index) => `**/a/${"*/".repeat(500 - index)}b`), `${"**/a/".repeat(200)}b`],
    ["stars in parts", many(256, () => `**/${"*a*/".repeat(7)}c`), `**/${"*a*/".repeat(250)}c`],
    ["literals all over", many(256, () => `**/${"*/a/".repeat(7)}c`), `**/${"*/a/".repeat(250)}c`]
  ]

  it.each(hostile)("gives up rather than search for ever: %s", (_, patterns, child) => {
    const allowance = Inclusion.allowance()
    const { left } = allowance
    assert.strictEqual(decide(patterns, child, names, allowance)._tag, "Unproved")
    assert.isBelow(allowance.left, 0)
    // The last step may have been a large one.
    assert.isAbove(allowance.left, -left / 10)
    assert.strictEqual(decide(["a"], "a", names, allowance)._tag, "Unproved")
  })

  it("looks only at patterns that may have to do with it", () => {
    const allowance = Inclusion.allowance()
    const { left } = allowance
    const patterns = many(256, (index) => `**/*.x${index}`)
    assert.strictEqual(decide(patterns, "src/**/*.x7", names, allowance)._tag, "Within")
    assert.isBelow(left - allowance.left, 1000)
  })
})
