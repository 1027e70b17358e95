/**
 * The worst that a lease can ask of a check, in microseconds: `node test/authority/Automaton.bench.ts`.
 * What is aimed at: 100 for one pattern of 1 KiB and 500 for all patterns that a capability may have, 6 KiB, each against a target of 1 KiB.
 */
import * as Automaton from "../../src/authority/Automaton.ts"
import * as Segment from "../../src/authority/Segment.ts"

const cases: ReadonlyArray<readonly [name: string, patterns: ReadonlyArray<string>, target: string]> = [
  ["everyday, covered", ["ws/**", "tmp/*.txt"], "ws/src/index.ts"],
  ["everyday, denied", ["ws/**", "tmp/*.txt"], "etc/passwd"],
  ["1 KiB: a literal run behind a star", [`*${"a".repeat(1021)}b*`], "a".repeat(1024)],
  ["1 KiB: stars between letters", [`${"a*".repeat(511)}b`], "a".repeat(1024)],
  ["1 KiB: stars around letters in every part", [`**/${"*a*/".repeat(255)}b`], "a/".repeat(512)],
  ["1 KiB: lone stars behind any depth", [`**/${"*/".repeat(510)}b`], "a/".repeat(512)],
  ["6 KiB in 8", Array.from({ length: 8 }, () => `**/${"a/".repeat(382)}b`), "a/".repeat(512)],
  ["6 KiB in 192", Array.from({ length: 192 }, () => `**/${"*a*/".repeat(7)}b`), "a/".repeat(512)]
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
