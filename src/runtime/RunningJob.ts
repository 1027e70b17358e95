/**
 * A job while it runs here: what others need of it that is in no store.
 *
 * @since 0.1.0
 */
import type { Effect } from "effect"
import type * as Authenticator from "../authority/Authenticator.ts"
import type * as Budgets from "../authority/Budgets.ts"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"
import type * as ArcpError from "../protocol/ArcpError.ts"
import type * as Job from "./Job.ts"

/**
 * Why a job is to end before its agent is done.
 *
 * @category models
 * @since 0.1.0
 */
export type Stop =
  | { readonly _tag: "Cancel"; readonly reason: string }
  | { readonly _tag: "Deadline" }
  | { readonly _tag: "Expired"; readonly error: ArcpError.LeaseExpired }
  /** The runtime ends. */
  | { readonly _tag: "Shutdown" }

/**
 * A run, to those above and below it.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunningJob {
  readonly record: Job.JobRecord
  /** For whom it runs. */
  readonly principal: Authenticator.Principal
  readonly guard: LeaseGuard.LeaseGuard["Service"]
  /** What it may spend; nothing if neither a lease in the chain nor the host caps anything. */
  readonly account: Budgets.Account | undefined
  /** The job that delegated it, if one did (§10). */
  readonly parent: RunningJob | undefined
  /** The jobs that it delegated and that run: those that end with it, and those that may outlive it. */
  readonly children: Set<RunningJob>
  /** Whether it may outlive its parent. */
  readonly detached: boolean
  /**
   * Takes note that a child is about to start, and gives how to say that it has, or does not: until then the job does not end. Nothing if the
   * job is to end already, and takes no more children.
   */
  readonly expectChild: () => (() => void) | undefined
  /** Has the job end for this reason, and with it those of its children that are to; the first reason counts. Does not wait for the end. */
  readonly stop: (stop: Stop) => Effect.Effect<void>
  /** Whether it has come to its end, though its outcome may not be written yet. */
  readonly isOver: () => boolean
  /** Done once the outcome is written. */
  readonly ended: Effect.Effect<void>
}

/**
 * The job, the one that delegated it, and so on.
 *
 * @category getters
 * @since 0.1.0
 */
export const lineage = (self: RunningJob): ReadonlyArray<RunningJob> => {
  const jobs: Array<RunningJob> = []
  for (let job: RunningJob | undefined = self; job !== undefined; job = job.parent) jobs.push(job)
  return jobs
}
