/**
 * What is measured: subjects, of which some are the system and some the limit that the same machine sets without it, by some metrics.
 */
import type * as Peer from "./Peer.ts"

/** Something that is counted or timed. */
export interface Metric {
  readonly id: string
  readonly name: string
  readonly unit: string
  /** The metric of a raw subject that this one is compared with, where it is not the same. */
  readonly against?: string
  readonly demands?: ReadonlyArray<Demand>
}

/** What has been asked for. Printed with a verdict, never asserted. */
export interface Demand {
  /** The subject that it is made of; each of the system if not said. */
  readonly of?: string
  /** What the value is compared with, round by round; with nothing, the bounds are in the unit of the metric. */
  readonly to?: Reference
  readonly atLeast?: number
  readonly atMost?: number
  /** What would be better still. */
  readonly stretch?: number
}

/** A value to compare with: of another subject, of another metric, or both; the rest is the same. */
export interface Reference {
  readonly subject?: string
  readonly metric?: string
  /** Whether the bounds are for the quotient, or for the difference. Default: the quotient. */
  readonly by?: "ratio" | "excess"
}

/** Values by the id of their metric. */
export interface Values {
  readonly [metric: string]: number
}

export interface Subject {
  readonly name: string
  readonly kind: "system" | "raw"
  /** Measures once. */
  readonly run: () => Promise<Values>
}

/** How much to measure. */
export interface Scale {
  readonly quick: boolean
  readonly rounds: number
}

/** Starts processes that end with the case, whatever happens. */
export interface Stage {
  readonly scale: Scale
  /** `role` names the profile of the process, if one is taken. */
  readonly start: <C extends Peer.Commands>(script: string, role: string) => Promise<Peer.Peer<C>>
  readonly stop: (peer: { readonly stop: () => Promise<void> }) => Promise<void>
}

export interface Case {
  /** Names it on the command line. */
  readonly id: string
  readonly title: string
  /** What a reader has to know to judge the numbers. */
  readonly notes: ReadonlyArray<string>
  readonly metrics: ReadonlyArray<Metric>
  /** Rounds, where the scale's number does not fit. */
  readonly rounds?: (scale: Scale) => number
  /** Each subject runs once before anything counts. Default true. */
  readonly warmup?: boolean
  readonly open: (stage: Stage) => Promise<ReadonlyArray<Subject>>
}

export const make = (options: Case): Case => options

/** The middle of several values. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)] ?? NaN
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? NaN
  return (lower + upper) / 2
}

/** The smallest value that a share of all values does not exceed. */
export const quantile = (values: ReadonlyArray<number>, share: number): number =>
  values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? NaN
