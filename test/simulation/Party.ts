/**
 * What a client can be told to do, whatever it is made of.
 */
import type { Effect, Scope } from "effect"
import type * as Connection from "../../src/session/Connection.ts"
import type * as Scenario from "./Scenario.ts"
import type * as Seeded from "./Seeded.ts"
import type * as Tape from "./Tape.ts"

export interface Party {
  /** Submits and consumes to the end. */
  readonly submit: (job: Scenario.JobPlan) => Effect.Effect<void>
  readonly observe: (job: string, key: string, from: number | "now") => Effect.Effect<void>
  readonly cancel: (job: string, key: string) => Effect.Effect<void>
  readonly conflict: (job: Scenario.JobPlan) => Effect.Effect<void>
  readonly list: Effect.Effect<void>
  readonly away: (millis: number, politely: boolean) => Effect.Effect<void>
  readonly leave: Effect.Effect<void>
  /** What a thief could have got hold of. */
  readonly secrets: () =>
    | { readonly session: string; readonly tokens: ReadonlyArray<string>; readonly last: number }
    | undefined
}

export interface Surroundings {
  readonly plan: Scenario.PartyPlan
  readonly dial: Effect.Effect<Connection.Frames, Connection.ConnectionError, Scope.Scope>
  readonly chance: Seeded.Chance
  readonly tape: Tape.Tape
  /** Tells the others which job a key stands for. */
  readonly announce: (key: string, job: string) => Effect.Effect<void>
}

export const tokenOf = (principal: string): string => `secret-${principal}`

/** What is submitted for a plan. */
export const submission = (job: Scenario.JobPlan) => ({
  agent: "actor",
  input: job,
  idempotency_key: job.key,
  ...(job.maxRuntime === null ? {} : { max_runtime_sec: job.maxRuntime })
})
