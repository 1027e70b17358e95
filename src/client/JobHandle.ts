/**
 * What a client holds of a job that it submitted: the events, the result, the means to cancel.
 *
 * @since 0.1.0
 */
import type { DateTime, Stream } from "effect"
import type * as Credential from "../protocol/Credential.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobEvent from "../protocol/JobEvent.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as ClientError from "./ClientError.ts"
import type * as FollowedJob from "./FollowedJob.ts"

/**
 * An accepted job, with a result of type `A` and declared errors of type `E`.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobHandle<out A, out E = never> extends FollowedJob.FollowedJob<A, E> {
  /** What the job could spend when it was accepted, per currency (§9.6). */
  readonly budget: JobMessage.Budget | undefined
  /**
   * Upstream credentials minted for this job (§9.8), with the values of its acceptance; a `status` of phase `credential_rotated` brings the
   * `id` and the new `value` of one that was replaced. Those of schemes that version 1.1 does not know are left out.
   */
  readonly credentials: ReadonlyArray<Credential.Credential>
  readonly traceId: Ids.TraceId
  readonly acceptedAt: DateTime.Utc

  /**
   * What the job says, from its first event to its last; ends when the job does, however that was, and goes on over lost connections.
   *
   * It may be run many times, also at once, and each run gets all events. While somebody reads, nothing is lost: a reader that is slow
   * slows down its job (§6.5), and no other, if the runtime paces by acknowledgements; else it slows down the connection. While nobody
   * does, events beyond the client's limits are dropped, oldest first. A stream that is then opened reads them from the runtime, if that
   * is built with this package and `subscribe` was negotiated; what the runtime keeps no more, or another runtime cannot give, fails it
   * with `ResumeWindowExpired`, whose `details.dropped` says how many are gone.
   */
  readonly events: Stream.Stream<JobEvent.JobEvent, ClientError.EventsError>
}
