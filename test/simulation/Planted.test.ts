/**
 * Proof that the simulation finds bugs: each known one is put into the runtime and is caught, by its own mark, within a bounded number of
 * seeds; and the same seed without it is clean.
 */
import { expect, it } from "vitest"
import * as Checker from "./Checker.ts"
import * as Plants from "./Plants.ts"
import * as World from "./World.ts"

/** Some bugs need a rare moment. */
const maxSeeds = 100

it.each(Plants.all)("$bug", { timeout: 120_000 }, async ({ plant, shows }) => {
  const others: Array<string> = []
  for (let seed = 1; seed <= maxSeeds; seed++) {
    const violations = Checker.check(await World.run(seed, { plant: plant() }))
    if (violations.some((violation) => shows.test(violation))) {
      expect(Checker.check(await World.run(seed))).toEqual([])
      return
    }
    others.push(...violations)
  }
  expect.fail(`no seed up to ${maxSeeds} shows it; what they show is ${others.slice(0, 3).join("\n")}`)
})

it("as many as were asked for, no two alike", () => {
  expect(new Set(Plants.all.map(({ bug }) => bug)).size).toBe(Plants.all.length)
  expect(Plants.all.length).toBeGreaterThanOrEqual(15)
})
