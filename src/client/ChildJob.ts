/**
 * What a client holds of a job that one of its own has delegated to another agent (§10).
 *
 * @since 0.1.0
 */
import type { Effect, Stream } from "effect"
import type * as Capability from "../protocol/Capability.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobEvent from "../protocol/JobEvent.ts"
import type * as Json from "../protocol/Json.ts"
import type * as ClientError from "./ClientError.ts"

/**
 * A child of a job. Its result is JSON: which agent it is its parent decides.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildJob {
  readonly id: Ids.JobId
  /** The resolved `name@version`. */
  readonly agent: string
  /** The name of the act of delegating, if the runtime gave it one. */
  readonly delegateId: string | undefined
  /** The effective lease: within that of the parent (§9.4). */
  readonly lease: Capability.Grants
  readonly leaseConstraints: Capability.Constraints | undefined

  /**
   * What the child says, from its first event to its last, as the `events` of a handle are read: many times, and while somebody reads nothing
   * is lost. Of a child that nobody has taken from the stream of children little is kept; its events are then read from the runtime.
   */
  readonly events: Stream.Stream<JobEvent.JobEvent, ClientError.EventsError>

  /** With `ack: "manual"`: the consumer is done with this event, and all before it. */
  readonly ack: (event: JobEvent.JobEvent) => Effect.Effect<void>

  /** The result, or why there is none; may be awaited by many, before and after the child's end. */
  readonly result: Effect.Effect<Json.Json, ClientError.JobFailure<never>>

  /** Asks the runtime to end the child (§7.4). What its parent makes of that is the parent's affair. */
  readonly cancel: (reason?: string) => Effect.Effect<void, ClientError.CancelError>

  /** The jobs that this one has delegated in its turn. */
  readonly children: Stream.Stream<ChildJob, ClientError.EventsError>
}
