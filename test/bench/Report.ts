/**
 * The outcome of a case, and how it is shown. A ratio is the system's value by that of a raw limit, of rates and of times alike.
 */
import * as Case from "./Case.ts"
import type * as Machine from "./Machine.ts"
import * as Measured from "./Measured.ts"
import * as Verdict from "./Verdict.ts"

export interface Row {
  readonly subject: string
  readonly kind: Case.Subject["kind"]
  readonly metric: string
  readonly unit: string
  readonly median: number
  readonly values: ReadonlyArray<number>
  readonly ratios: ReadonlyArray<{ readonly raw: string; readonly ratio: number }>
  readonly verdicts: ReadonlyArray<Verdict.Verdict>
}

export interface Outcome {
  readonly id: string
  readonly title: string
  readonly notes: ReadonlyArray<string>
  readonly rows: ReadonlyArray<Row>
  /** Why nothing was measured. */
  readonly failure?: string
}

export interface Report {
  readonly machine: Machine.Facts
  readonly scale: Case.Scale
  readonly outcomes: ReadonlyArray<Outcome>
}

export const outcome = ({ id, metrics, notes, title }: Case.Case, all: ReadonlyArray<Measured.Measured>): Outcome => ({
  id,
  title,
  notes,
  rows: all.flatMap((self) =>
    metrics.flatMap((metric): ReadonlyArray<Row> => {
      const values = Measured.values(self, metric.id)
      if (values.length === 0) return []
      const limits = self.subject.kind === "raw" ? [] : all.filter((other) => other.subject.kind === "raw")
      return [
        {
          subject: self.subject.name,
          kind: self.subject.kind,
          metric: metric.name,
          unit: metric.unit,
          median: Case.median(values),
          values,
          ratios: limits.flatMap((limit) => {
            const raw = Measured.values(limit, metric.against ?? metric.id)
            return raw.length === 0 ? [] : [{ raw: limit.subject.name, ratio: Measured.compare(values, raw) }]
          }),
          verdicts: Verdict.judge(metric, self, { all, metrics })
        }
      ]
    })
  )
})

/** The outcome of a case that came to nothing. */
export const failure = ({ id, notes, title }: Case.Case, cause: unknown): Outcome => ({
  id,
  title,
  notes,
  rows: [],
  failure: cause instanceof Error ? cause.message : String(cause)
})

const figure = (value: number): string => {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

const range = (values: ReadonlyArray<number>) =>
  values.length < 2 ? "" : `${figure(Math.min(...values))} .. ${figure(Math.max(...values))}`

const asked = ({ atLeast, atMost, stretch, to, unit }: Verdict.Verdict): string => {
  const bound = (words: string, value: number | undefined) =>
    value === undefined ? [] : [`${words} ${value.toLocaleString("en-US")}`]
  const bounds = [...bound("at least", atLeast), ...bound("at most", atMost)].join(" and ")
  const than = to === undefined ? unit : to.by === "ratio" ? `x ${to.name}` : `${unit} more than ${to.name}`
  return [`${bounds} ${than}`, ...bound("stretch", stretch)].join(", ")
}

const measured = ({ to, unit, value }: Verdict.Verdict): string =>
  to?.by === "ratio" ? `${figure(value)} x` : `${figure(value)} ${unit}${to === undefined ? "" : " more"}`

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

export const print = ({ failure, notes, rows, title }: Outcome): string => {
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
      ...row.verdicts.map(({ word }) => word)
    ].join(", ")
  ])
  const head = ["subject", "metric", "median", "unit", "lowest .. highest", "by the raw limit"]
  return [
    "",
    `## ${title}`,
    ...notes.map((note) => `   ${note}`),
    "",
    ...(failure === undefined ? table([head, ...cells], new Set([2, 4])) : [`not measured: ${failure}`])
  ].join("\n")
}

/** All that was asked for, in one table. */
export const printVerdicts = (outcomes: ReadonlyArray<Outcome>): string => {
  const cells = outcomes.flatMap(({ failure, id, rows }) =>
    failure === undefined
      ? rows.flatMap(({ metric, subject, verdicts }) =>
          verdicts.map((verdict) => [id, subject, metric, asked(verdict), measured(verdict), verdict.word])
        )
      : [[id, "", "", "", "", "NOT MEASURED"]]
  )
  const head = ["case", "subject", "metric", "asked for", "measured", ""]
  return ["", "## what was asked for", "", ...table([head, ...cells], new Set([4]))].join("\n")
}

export const printMachine = (machine: Machine.Facts): string =>
  [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, load ${machine.load.toFixed(2)}, ${machine.platform}`,
    `Node ${machine.node} (V8 ${machine.v8}), effect ${machine.effect}, @effect/platform-node ${machine.platformNode}, ws ${machine.ws}`
  ].join("\n")
