/**
 * The job on whose behalf a leased service acts: the lease that it asks, and the voice in which it tells what it did.
 *
 * @since 0.1.0
 */
import { Effect, type Scope } from "effect"
import type * as JobEmitter from "../authority/JobEmitter.ts"
import * as LeaseGuard from "../authority/LeaseGuard.ts"
import type * as Operation from "../authority/Operation.ts"
import * as Denial from "./internal/denial.ts"

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

/**
 * A job whose lease ends with it: an agent that does not let itself be stopped keeps its services, and they refuse.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (job: LeasedJob): LeasedJob => {
  const authorize = (operation: Operation.Operation) =>
    Effect.suspend(() =>
      job.scope.state._tag === "Closed"
        ? Effect.fail(Denial.because(operation, "the job has ended"))
        : job.guard.authorize(operation)
    )
  return { ...job, guard: LeaseGuard.LeaseGuard.of({ ...job.guard, authorize }) }
}
