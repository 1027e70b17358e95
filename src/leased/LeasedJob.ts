/**
 * The job on whose behalf a leased service acts: the lease that it asks, and the voice in which it tells what it did.
 *
 * @since 0.1.0
 */
import type { Effect, Scope } from "effect"
import type * as JobEmitter from "../authority/JobEmitter.ts"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface LeasedJob {
  readonly guard: LeaseGuard.LeaseGuard["Service"]
  readonly emitter: JobEmitter.JobEmitter["Service"]
  /** A fresh id for one call of a tool (§8.2). */
  readonly nextCallId: Effect.Effect<string>
  /** Ends when the job has: what acts for the job beyond a single call belongs in here. */
  readonly scope: Scope.Scope
}
