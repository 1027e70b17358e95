/**
 * A place for a known bug: what a plant puts between the parts of the runtime, or between the runtime and its lines.
 */
import { Context, Effect, Layer } from "effect"
import type * as JobJournal from "../../src/runtime/JobJournal.ts"
import type * as Jobs from "../../src/runtime/Jobs.ts"
import type * as JobStore from "../../src/runtime/JobStore.ts"
import type * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import type * as Sessions from "../../src/runtime/Sessions.ts"
import type * as SessionStore from "../../src/runtime/SessionStore.ts"
import type * as Connection from "../../src/session/Connection.ts"

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
