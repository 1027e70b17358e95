/**
 * What a run leaves for its judge: every frame as each side sent and received it, what agents said, what consumers got. Nothing of it comes
 * from the insides of what is tested.
 */
import { Clock, Effect } from "effect"
import * as Outgoing from "../../src/protocol/Frame.ts"
import type * as Connection from "../../src/session/Connection.ts"
import type * as Scenario from "./Scenario.ts"

/** A frame on a line, seen from one end of it. `side` is `runtime` or the name of a party. */
export interface Crossing {
  readonly at: number
  readonly side: string
  readonly line: number
  readonly way: "sent" | "received"
  readonly text: string
}

/** One run of the agent. */
export interface Run {
  readonly job: string
  readonly principal: string
  readonly key: string
  /** What it began to say, in order; of these as many as `said` were surely said. */
  readonly attempted: Array<string>
  said: number
  /** How it was about to end by itself. */
  outcome: "result" | "failure" | undefined
}

/** What one consumer got of one job. */
export interface Delivery {
  readonly party: string
  readonly principal: string
  readonly key: string
  readonly role: "submitter" | "observer"
  /** For an observer: the place after which it begins, or from now on. */
  readonly from: number | "now"
  job: string | undefined
  /** The labels of what the agent said, in the order of delivery. */
  readonly labels: Array<string>
  /** How often it ended, and how. */
  readonly ends: Array<{ readonly status: string; readonly value: unknown }>
}

export interface Tape {
  readonly scenario: Scenario.Scenario
  readonly crossings: Array<Crossing>
  readonly runs: Array<Run>
  readonly deliveries: Array<Delivery>
  /** What a party noticed by itself to be wrong. */
  readonly complaints: Array<string>
  /** Errors that the runtime logged. */
  readonly errors: Array<string>
  /** Why the run did not come to its end, if it did not. */
  stuck: string | undefined
  /** Sessions that are left when all have gone and all windows have passed. */
  sessionsLeft: number
  /** Milliseconds of the virtual clock. */
  duration: number
  faults: number
}

export const make = (scenario: Scenario.Scenario): Tape => ({
  scenario,
  crossings: [],
  runs: [],
  deliveries: [],
  complaints: [],
  errors: [],
  stuck: undefined,
  sessionsLeft: 0,
  duration: 0,
  faults: 0
})

/** Crossings of a run that goes round in circles. No run that ends comes near. */
export const maxCrossings = 6000

/** Records what crosses a line at one of its ends. A run that goes round in circles is brought to a halt. */
export const tap = (tape: Tape, side: string, line: number, frames: Connection.Frames): Connection.Frames => {
  const record = (way: "sent" | "received", texts: ReadonlyArray<string>) =>
    Clock.clockWith((clock) => {
      if (tape.crossings.length > maxCrossings) return Effect.never
      const at = clock.currentTimeMillisUnsafe()
      for (const text of texts) tape.crossings.push({ at, side, line, way, text })
      return Effect.void
    })
  return {
    ...frames,
    pull: Effect.tap(frames.pull, (texts) => record("received", texts)),
    // Before it leaves: an answer must not be on the tape before what it answers.
    send: (texts) => Effect.andThen(record("sent", texts.map(Outgoing.textOf)), frames.send(texts))
  }
}

/** What each thing that an agent says bears, so that it is known again in whatever form a consumer gets it. */
export const label = (key: string, number: number): string => `<${key}#${number}>`

const pattern = /<[a-z]+-\d+#\d+>/

export const labelOf = (body: unknown): string | undefined => pattern.exec(JSON.stringify(body) ?? "")?.[0]

/** The run as text, for reading and for comparing two runs. */
export const print = (tape: Tape): string => {
  const clip = (text: string) => (text.length > 400 ? `${text.slice(0, 400)}...` : text)
  return [
    ...tape.crossings.map(({ at, line, side, text, way }) => `${at} ${side}/${line} ${way} ${clip(text)}`),
    ...tape.runs.map((run) => `run ${JSON.stringify(run)}`),
    ...tape.deliveries.map((delivery) => `delivery ${JSON.stringify(delivery)}`),
    ...tape.complaints.map((complaint) => `complaint ${complaint}`),
    ...tape.errors.map((error) => `error ${error}`),
    `${tape.stuck ?? "done"} after ${tape.duration} ms with ${tape.faults} faults`
  ].join("\n")
}
