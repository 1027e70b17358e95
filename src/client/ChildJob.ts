/**
 * What a client holds of a job that one which it follows has delegated to another agent (§10).
 *
 * @since 0.1.0
 */
import type { Stream } from "effect"
import type * as JobEvent from "../protocol/JobEvent.ts"
import type * as Json from "../protocol/Json.ts"
import type * as ClientError from "./ClientError.ts"
import type * as FollowedJob from "./FollowedJob.ts"

/**
 * A child of a job. Its result is JSON: which agent it is its parent decides. Its lease is within that of the parent (§9.4), and what the
 * parent makes of its being cancelled is the parent's affair.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildJob extends FollowedJob.FollowedJob<Json.Json> {
  /** The name of the act of delegating, if the runtime gave it one. */
  readonly delegateId: string | undefined

  /**
   * What the child says, from its first event to its last, as the `events` of a handle are read: many times, and while somebody reads nothing
   * is lost. Of a child that nobody has taken from the stream of children little is kept, and nothing of the children of a job that is only
   * observed; its events are then read from the runtime, and so are its result and the bytes of that.
   */
  readonly events: Stream.Stream<JobEvent.JobEvent, ClientError.EventsError>
}
