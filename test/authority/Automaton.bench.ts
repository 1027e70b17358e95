/**
 * The worst that a lease can ask of a check, in microseconds: `node test/authority/Automaton.bench.ts`.
 * What is aimed at: 100 for one pattern of 1 KiB and 500 for all patterns that a capability may have, 8 KiB, each against a target of 1 KiB.
 */
import * as Automaton from "../../src/authority/Automaton.ts"
import * as Segment from "../../src/authority/Segment.ts"

const many = (count: number, pattern: string) => Array.from({ length: count }, () => pattern)

const cases: ReadonlyArray<readonly [name: string, patterns: ReadonlyArray<string>, target: string]> = [
  ["everyday, covered", ["ws/**", "tmp/*.txt"], "ws/src/index.ts"],
  ["everyday, covered inside", ["ws/**/*.ts"], "ws/src/runtime/index.ts"],
  ["everyday, denied", ["ws/**", "tmp/*.txt"], "etc/passwd"],
  ["1 KiB: a literal run behind a star", [`*${"a".repeat(510)}b*`], "a".repeat(1024)],
  ["1 KiB: stars between letters", [`${"a*".repeat(511)}b*`], "a".repeat(1024)],
  ["1 KiB: lone stars behind any depth", [`**/${"*/".repeat(250)}b*`], "a/".repeat(512)],
  ["1 KiB: any depth again and again", [`${"**/a/".repeat(204)}b*`], "a/".repeat(512)],
  ["8 KiB in 16: literal runs", many(16, `*${"a".repeat(508)}b*`), "a".repeat(1024)],
  ["8 KiB in 64: any depth", many(64, `${"**/a/".repeat(25)}b*`), "a/".repeat(512)],
  ["8 KiB in 256: literal runs", many(256, `*${"a".repeat(28)}b*`), "a".repeat(1024)],
  ["8 KiB in 256: stars", many(256, `*${"a*".repeat(14)}b*`), "a".repeat(1024)],
  ["8 KiB in 256: stars now and then", many(256, `*${"aaa*".repeat(7)}b*`), "a".repeat(1024)],
  ["8 KiB in 256: lone stars", many(256, `**/${"*/".repeat(13)}b*`), "a/".repeat(512)],
  ["8 KiB in 256: lone stars now and then", many(256, `**/${"a/*/".repeat(6)}b*`), "a/".repeat(512)]
]

for (const [name, patterns, target] of cases) {
  const automaton = Automaton.make(patterns.map((pattern) => pattern.split("/").map(Segment.parse)))
  const parts = target.split("/")
  const times = Array.from({ length: 500 }, () => {
    const began = process.hrtime.bigint()
    Automaton.accepts(automaton, parts)
    return Number(process.hrtime.bigint() - began) / 1000
  }).toSorted((a, b) => a - b)
  console.log(`${name}: median ${times[250]!.toFixed(1)} us, best ${times[0]!.toFixed(1)} us`)
}
