/**
 * What a case measured, and what that is beside something else.
 */
import * as Case from "./Case.ts"

/** The values of each round. */
export interface Measured {
  readonly subject: Case.Subject
  readonly rounds: ReadonlyArray<Case.Values>
}

export const values = ({ rounds }: Measured, metric: string): ReadonlyArray<number> =>
  rounds.flatMap((round) => round[metric] ?? [])

/** Compares round by round, so that what slowed the machine down for a while slowed both sides. */
export const compare = (
  ours: ReadonlyArray<number>,
  others: ReadonlyArray<number>,
  by: Case.Reference["by"] = "ratio"
): number =>
  Case.median(
    ours.map((value, round) => {
      const other = others[round] ?? NaN
      return by === "ratio" ? value / other : value - other
    })
  )
