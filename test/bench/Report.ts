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
  readonly verdicts: ReadonlyArray<Verdict>
}

/** What was asked for, what was measured, and whether that is it. */
export interface Verdict {
  readonly asked: string
  readonly measured: string
  readonly value: number
  readonly met: boolean
  /** Whether it is also what would be better still, if anybody said that. */
  readonly stretch?: boolean
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

/** What a case measured: for each subject the values of each round. */
export interface Measured {
  readonly subject: Case.Subject
  readonly rounds: ReadonlyArray<Case.Values>
}

const valuesOf = ({ rounds }: Measured, metric: string): ReadonlyArray<number> =>
  rounds.flatMap((round) => round[metric] ?? [])

/** Compares round by round, so that what slowed the machine down for a while slowed both sides. */
const compare = (
  ours: ReadonlyArray<number>,
  others: ReadonlyArray<number>,
  by: NonNullable<Case.Reference["by"]> = "ratio"
): number =>
  Case.median(
    ours.map((value, round) => (by === "ratio" ? value / (others[round] ?? NaN) : value - (others[round] ?? NaN)))
  )

const judge = (
  metric: Case.Metric,
  self: Measured,
  measured: ReadonlyArray<Measured>,
  demand: Case.Demand
): ReadonlyArray<Verdict> => {
  if (demand.of === undefined ? self.subject.kind === "raw" : self.subject.name !== demand.of) return []
  const { atLeast, atMost, stretch, to } = demand
  const ours = valuesOf(self, metric.id)
  const other =
    to?.subject === undefined
      ? self
      : measured.find(({ subject }) => subject.name === to.subject && subject !== self.subject)
  if (ours.length === 0 || other === undefined) return []
  const value =
    to === undefined
      ? Case.median(ours)
      : compare(ours, valuesOf(other, to.metric ?? metric.against ?? metric.id), to.by)
  const isWithin = (bound: number) => (atLeast === undefined ? value <= bound : value >= bound)
  const unit = to === undefined ? ` ${metric.unit}` : to.by === "excess" ? ` ${metric.unit} more` : " x"
  const reference = to === undefined ? "" : ` ${to.by === "excess" ? "than " : ""}${to.subject ?? "the same"}`
  const bounds = [
    ...(atLeast === undefined ? [] : [`at least ${bound(atLeast)}`]),
    ...(atMost === undefined ? [] : [`at most ${bound(atMost)}`])
  ]
  return [
    {
      asked: `${bounds.join(" and ")}${unit}${reference}`,
      measured: `${figure(value)}${unit}`,
      value,
      met: value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY),
      ...(stretch === undefined ? undefined : { stretch: isWithin(stretch) })
    }
  ]
}

export const outcome = (subject: Case.Case, measured: ReadonlyArray<Measured>): Outcome => ({
  id: subject.id,
  title: subject.title,
  notes: subject.notes,
  rows: measured.flatMap((self) =>
    subject.metrics.flatMap((metric): ReadonlyArray<Row> => {
      const values = valuesOf(self, metric.id)
      if (values.length === 0) return []
      const limits = self.subject.kind === "raw" ? [] : measured.filter((other) => other.subject.kind === "raw")
      return [
        {
          subject: self.subject.name,
          kind: self.subject.kind,
          metric: metric.name,
          unit: metric.unit,
          median: Case.median(values),
          values,
          ratios: limits.flatMap((limit) => {
            const raw = valuesOf(limit, metric.against ?? metric.id)
            return raw.length === 0 ? [] : [{ raw: limit.subject.name, ratio: compare(values, raw) }]
          }),
          verdicts: (metric.demands ?? []).flatMap((demand) => judge(metric, self, measured, demand))
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

const bound = (value: number): string => value.toLocaleString("en-US")

const range = (values: ReadonlyArray<number>) =>
  values.length < 2 ? "" : `${figure(Math.min(...values))} .. ${figure(Math.max(...values))}`

const word = ({ met, stretch }: Verdict): string => (met ? (stretch === true ? "well met" : "met") : "MISSED")

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
      ...row.verdicts.map(word)
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
          verdicts.map((verdict) => [id, subject, metric, verdict.asked, verdict.measured, word(verdict)])
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
