/**
 * Many seeds, one after the other. `SIMULATION_SEEDS` asks for more or fewer of them in all, `SIMULATION_FROM` for others, and
 * `SIMULATION_SEED` for one alone, whose tape is then printed.
 */
import { describe, expect, it } from "vitest"
import * as Checker from "./Checker.ts"
import * as Tape from "./Tape.ts"
import * as World from "./World.ts"

const number = (name: string): number | undefined => {
  const value = process.env[name]
  return value === undefined || value === "" ? undefined : Number(value)
}

const perTest = 250

/** What went wrong with a seed, and how to see it again. */
const report = (seed: number, file: string, violations: ReadonlyArray<string>): string =>
  [
    `seed ${seed}: ${violations.length} promises broken`,
    ...violations.slice(0, 5).map((violation) => `  ${violation.slice(0, 600)}`),
    `again: SIMULATION_SEED=${seed} npx vitest run test/simulation/${file}`
  ].join("\n")

export const sweep = (file: string, seeds: number, options: World.Options = {}): void => {
  const one = number("SIMULATION_SEED")
  if (one !== undefined) {
    it(`seed ${one}`, async () => {
      const tape = await World.run(one, options)
      process.stdout.write(`${Tape.print(tape)}\n`)
      expect(Checker.check(tape), report(one, file, Checker.check(tape))).toEqual([])
    })
    return
  }
  const from = number("SIMULATION_FROM") ?? 1
  const count = number("SIMULATION_SEEDS") ?? seeds
  describe("every promise is kept", () => {
    for (let start = from; start < from + count; start += perTest) {
      const end = Math.min(start + perTest, from + count)
      it(`by seeds ${start} to ${end - 1}`, { timeout: 300_000 }, async () => {
        const failures: Array<string> = []
        for (let seed = start; seed < end && failures.length < 3; seed++) {
          const violations = Checker.check(await World.run(seed, options))
          if (violations.length > 0) failures.push(report(seed, file, violations))
        }
        expect(failures, failures.join("\n")).toEqual([])
      })
    }
  })
  it("a seed gives the same run each time, to the last frame", { timeout: 60_000 }, async () => {
    const prints = new Set<string>()
    for (let seed = from; seed < from + 20; seed++) {
      const print = Tape.print(await World.run(seed, options))
      expect(Tape.print(await World.run(seed, options))).toBe(print)
      prints.add(print)
    }
    expect(prints.size).toBe(20)
  })
}
