/**
 * What a client holds of a job that it observes: one of another session, or of an earlier life of its own (§7.6).
 *
 * @since 0.1.0
 */
import type { Effect, Stream } from "effect"
import type * as Credential from "../protocol/Credential.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobEvent from "../protocol/JobEvent.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import type * as ClientError from "./ClientError.ts"
import type * as FollowedJob from "./FollowedJob.ts"

/**
 * From where to observe.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Whether to begin with what the job has said so far, as far as the runtime keeps it. Default `false`. */
  readonly history?: boolean
  /** Begin after this place in the job's own sequence, which counts from 1; implies `history`. Of runtimes of this package only. */
  readonly fromJobSeq?: number
}

/**
 * A job that is observed, with a result of type `A` and declared errors of type `E`. The subscription ends with the scope it was made in.
 *
 * Its children are those that it delegates while it is observed, and before that as far as there is history. They are read as other jobs are,
 * by subscriptions of their own, and whether that is allowed is asked for each.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobObserver<out A, out E = never> extends FollowedJob.FollowedJob<A, E> {
  /** How the job was when the subscription began (§7.3). */
  readonly status: SessionMessage.JobStatus
  readonly budget: JobMessage.Budget | undefined
  /** For the principal that submitted the job only (§9.8). */
  readonly credentials: ReadonlyArray<Credential.Credential>
  readonly parentJobId: Ids.JobId | undefined
  readonly traceId: string | undefined

  /**
   * What the job says, from where the subscription began. An observer never slows the job down: one that falls behind what the runtime
   * keeps is told so by a `status` of phase `subscription_lagged`, and goes on with the oldest event there is.
   */
  readonly events: Stream.Stream<JobEvent.JobEvent, ClientError.EventsError>

  /**
   * The result, as the last frame of the job tells it. One that is streamed takes all of its chunks, and hence a subscription with history;
   * the same holds for `content` and `text`.
   */
  readonly result: Effect.Effect<A, ClientError.JobFailure<E>>

  /** Asks the runtime to end the job (§7.4). Only the session that submitted a job may; for others it is `PermissionDenied`. */
  readonly cancel: (reason?: string) => Effect.Effect<void, ClientError.CancelError>
}
