/**
 * What a client holds of a job that it observes: one of another session, or of an earlier life of its own (§7.6).
 *
 * @since 0.1.0
 */
import type { Effect, Stream } from "effect"
import type * as Capability from "../protocol/Capability.ts"
import type * as Credential from "../protocol/Credential.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobEvent from "../protocol/JobEvent.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import type * as ClientError from "./ClientError.ts"

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
 * @category models
 * @since 0.1.0
 */
export interface JobObserver<out A, out E = never> {
  readonly id: Ids.JobId
  readonly agent: string
  /** How the job was when the subscription began (§7.3). */
  readonly status: SessionMessage.JobStatus
  readonly lease: Capability.Grants
  readonly leaseConstraints: Capability.Constraints | undefined
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

  /** With `ack: "manual"`: the consumer is done with this event, and all before it. */
  readonly ack: (event: JobEvent.JobEvent) => Effect.Effect<void>

  /**
   * The result, as the last frame of the job tells it. One that is streamed takes all of its chunks, and hence a subscription with history.
   */
  readonly result: Effect.Effect<A, ClientError.JobFailure<E>>

  /**
   * The result as it comes: bytes, of text those of its UTF-8, in constant memory however large it is. A reader that is slow slows down
   * the agent, as one of {@link JobObserver.events} does, and with `ack: "manual"` it acknowledges by itself. Ends when the job has succeeded
   * and all was there, and fails as {@link JobObserver.result} does, with `InvalidRequest` for chunks that do not add up. A result that was not
   * streamed is its text, or its JSON if it is none.
   *
   * Once it is read, what is streamed is not put together besides: {@link JobObserver.result} of a streamed result then fails with
   * `InvalidRequest`. May be run again, as events may. (§8.4) Takes a subscription with history.
   */
  readonly content: Stream.Stream<Uint8Array, ClientError.JobFailure<E>>

  /** As {@link JobObserver.content}, as text in whole characters; bytes are read as UTF-8, and are `InvalidRequest` if they are none. */
  readonly text: Stream.Stream<string, ClientError.JobFailure<E>>

  /** How many bytes of a streamed result are here: the number now, and each time that there are more, until the job has ended. */
  readonly received: Stream.Stream<number>

  /** Asks the runtime to end the job (§7.4). Only the session that submitted a job may; for others it is `PermissionDenied`. */
  readonly cancel: (reason?: string) => Effect.Effect<void, ClientError.CancelError>
}
