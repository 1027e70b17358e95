/**
 * The outcome of a case, and how it is shown. A ratio is the system's value by that of a raw limit, of rates and of times alike.
 */
import * as Case from "./Case.ts"
import type * as Machine from "./Machine.ts"

export interface Row {
  readonly subject: string
  readonly kind: Case.Subject["kind"]
  readonly metric: string
  readonly unit: string
  readonly median: number
  readonly values: ReadonlyArray<number>
  readonly ratios: ReadonlyArray<{ readonly raw: string; readonly ratio: number }>
  readonly demand: { readonly below: number; readonly met: boolean } | undefined
}

export interface Outcome {
  readonly id: string
  readonly title: string
  readonly notes: ReadonlyArray<string>
  readonly rows: ReadonlyArray<Row>
}

export interface Report {
  readonly machine: Machine.Facts
  readonly scale: Case.Scale
  readonly outcomes: ReadonlyArray<Outcome>
}

/** What a case measured: for each subject the values of each round. */
export interface Measured {
  readonly subject: Case.Subject
  readonly rounds: ReadonlyArray<Case.Values>
}

const valuesOf = ({ rounds }: Measured, metric: string): ReadonlyArray<number> =>
  rounds.flatMap((round) => round[metric] ?? [])

/** Compares round by round, so that what slowed the machine down for a while slowed both sides. */
const ratioOf = (ours: ReadonlyArray<number>, raw: ReadonlyArray<number>): number =>
  Case.median(ours.map((value, round) => value / (raw[round] ?? NaN)))

export const outcome = (subject: Case.Case, measured: ReadonlyArray<Measured>): Outcome => ({
  id: subject.id,
  title: subject.title,
  notes: subject.notes,
  rows: measured.flatMap((self) =>
    subject.metrics.flatMap((metric): ReadonlyArray<Row> => {
      const values = valuesOf(self, metric.id)
      if (values.length === 0) return []
      const limits = self.subject.kind === "raw" ? [] : measured.filter((other) => other.subject.kind === "raw")
      const median = Case.median(values)
      return [
        {
          subject: self.subject.name,
          kind: self.subject.kind,
          metric: metric.name,
          unit: metric.unit,
          median,
          values,
          ratios: limits.flatMap((limit) => {
            const raw = valuesOf(limit, metric.against ?? metric.id)
            return raw.length === 0 ? [] : [{ raw: limit.subject.name, ratio: ratioOf(values, raw) }]
          }),
          demand:
            metric.demand === undefined || self.subject.kind === "raw"
              ? undefined
              : { below: metric.demand, met: median < metric.demand }
        }
      ]
    })
  )
})

const figure = (value: number): string => {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

const range = (values: ReadonlyArray<number>) =>
  values.length < 2 ? "" : `${figure(Math.min(...values))} .. ${figure(Math.max(...values))}`

const verdict = ({ demand, unit }: Row) =>
  demand === undefined ? [] : [`${demand.met ? "within" : "MISSES"} the ${demand.below} ${unit} asked for`]

const table = (cells: ReadonlyArray<ReadonlyArray<string>>, numeric: ReadonlySet<number>): ReadonlyArray<string> => {
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  return cells.map((row) =>
    row
      .map((cell, column) =>
        numeric.has(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)
      )
      .join("  ")
      .trimEnd()
  )
}

export const print = ({ notes, rows, title }: Outcome): string => {
  // Each limit has a letter, so that the ratios stay readable.
  const limits = [...new Set(rows.filter((row) => row.kind === "raw").map((row) => row.subject))]
  const letter = (raw: string) => String.fromCharCode(65 + limits.indexOf(raw))
  const cells = rows.map((row) => [
    row.kind === "raw" ? `${letter(row.subject)}: ${row.subject}` : row.subject,
    row.metric,
    figure(row.median),
    row.unit,
    range(row.values),
    [
      ...row.ratios.map(({ ratio, raw }) => `${ratio.toFixed(ratio < 10 ? 2 : 0)} x ${letter(raw)}`),
      ...verdict(row)
    ].join(", ")
  ])
  const head = ["subject", "metric", "median", "unit", "lowest .. highest", "by the raw limit"]
  return [
    "",
    `## ${title}`,
    ...notes.map((note) => `   ${note}`),
    "",
    ...table([head, ...cells], new Set([2, 4]))
  ].join("\n")
}

export const printMachine = (machine: Machine.Facts): string =>
  [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, load ${machine.load.toFixed(2)}, ${machine.platform}`,
    `Node ${machine.node} (V8 ${machine.v8}), effect ${machine.effect}, @effect/platform-node ${machine.platformNode}, ws ${machine.ws}`
  ].join("\n")
