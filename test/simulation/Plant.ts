/**
 * A place for a known bug: what a plant puts between the parts of the runtime, or between the runtime and its lines.
 */
import { type Context, Effect, Layer, type Option } from "effect"
import * as Outgoing from "../../src/protocol/Frame.ts"
import type * as JobEntry from "../../src/runtime/JobEntry.ts"
import type * as JobJournal from "../../src/runtime/JobJournal.ts"
import type * as Jobs from "../../src/runtime/Jobs.ts"
import type * as JobStore from "../../src/runtime/JobStore.ts"
import type * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import type * as Sessions from "../../src/runtime/Sessions.ts"
import type * as SessionStore from "../../src/runtime/SessionStore.ts"
import type * as Connection from "../../src/session/Connection.ts"
import type * as StampLog from "../../src/session/StampLog.ts"

/** What a plant may lean on besides the part that it replaces. */
export interface Grounds {
  readonly jobs: () => Jobs.Jobs["Service"]
}

export interface Plant {
  readonly config?: Partial<RuntimeConfig.RuntimeConfig>
  readonly journal?: (real: JobJournal.JobJournal["Service"]) => JobJournal.JobJournal["Service"]
  readonly jobStore?: (real: JobStore.JobStore["Service"]) => JobStore.JobStore["Service"]
  readonly sessionStore?: (real: SessionStore.SessionStore["Service"]) => SessionStore.SessionStore["Service"]
  readonly jobs?: (real: Jobs.Jobs["Service"]) => Jobs.Jobs["Service"]
  readonly sessions?: (real: Sessions.Sessions["Service"], grounds: Grounds) => Sessions.Sessions["Service"]
  /** Each line as the runtime sees it. */
  readonly line?: (real: Connection.Frames) => Connection.Frames
}

export const none: Plant = {}

/** The layer with the plant in it. */
export const into = <I, S, E, R>(
  tag: Context.Key<I, S>,
  layer: Layer.Layer<I, E, R>,
  plant: ((real: S) => S) | undefined
): Layer.Layer<I, E, R> =>
  plant === undefined ? layer : Layer.provide(Layer.effect(tag, Effect.map(tag, plant)), layer)

/** A bug with a name. */
export interface Known {
  /** What the runtime does wrong. */
  readonly bug: string
  /** The broken promise that gives it away; any of several. */
  readonly shows: RegExp
  readonly plant: () => Plant
}

export type Frame = { readonly [member: string]: unknown }

/** Changes what the runtime sends on each line; `line` counts them from 0. */
export const sending =
  (change: (line: number) => (frame: Frame) => ReadonlyArray<Frame>): (() => Plant) =>
  () => {
    let lines = 0
    return {
      line: (real) => {
        const each = change(lines++)
        return {
          ...real,
          send: (texts) => {
            const changed = texts.flatMap((text) =>
              each(JSON.parse(Outgoing.textOf(text))).map((frame) => JSON.stringify(frame))
            )
            return sendAll(real, changed)
          }
        }
      }
    }
  }

/** Changes what the runtime receives on each line. */
export const receiving =
  (change: (frame: Frame) => ReadonlyArray<Frame>): (() => Plant) =>
  () => ({
    line: (real) => {
      const pull: Connection.Frames["pull"] = Effect.flatMap(real.pull, (texts) => {
        const [first, ...rest] = texts.flatMap((text) => change(JSON.parse(text)).map((frame) => JSON.stringify(frame)))
        return first === undefined ? pull : Effect.succeed([first, ...rest])
      })
      return { ...real, pull }
    }
  })

const sendAll = (line: Connection.Frames, [first, ...rest]: ReadonlyArray<string>) =>
  first === undefined ? Effect.void : line.send([first, ...rest])

export const isSequenced = (frame: Frame) => frame["event_seq"] !== undefined

/** Changes the pages that readers of the journal get. */
export const reading =
  (change: (page: JobEntry.Page, after: number) => JobEntry.Page): (() => Plant) =>
  () => ({
    journal: (real) => ({
      ...real,
      read: (job, after, characters) => Effect.map(real.read(job, after, characters), (page) => change(page, after))
    })
  })

/** Changes what is replayed. */
export const replaying =
  (
    since: (
      real: (seq: number) => Effect.Effect<Option.Option<ReadonlyArray<StampLog.Stamp>>>,
      seq: number
    ) => Effect.Effect<Option.Option<ReadonlyArray<StampLog.Stamp>>>
  ): (() => Plant) =>
  () => ({
    sessionStore: (real) => ({ ...real, since: (session, seq) => since((after) => real.since(session, after), seq) })
  })
