/**
 * What a client has of a job that it follows, whoever submitted it: what it says, how it ends, the means to end it.
 *
 * @since 0.1.0
 */
import type { Effect, Stream } from "effect"
import type * as Capability from "../protocol/Capability.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobEvent from "../protocol/JobEvent.ts"
import type * as ChildJob from "./ChildJob.ts"
import type * as ClientError from "./ClientError.ts"

/**
 * A job with a result of type `A` and declared errors of type `E`.
 *
 * Interrupting whoever reads of it or awaits its result never cancels the job: only {@link FollowedJob.cancel} does.
 *
 * @category models
 * @since 0.1.0
 */
export interface FollowedJob<out A, out E = never> {
  readonly id: Ids.JobId
  /** The resolved `name@version` (§7.5); what was asked for, if the runtime does not say. */
  readonly agent: string
  /** The effective lease, which may be narrower than the one asked for (§9.1). */
  readonly lease: Capability.Grants
  readonly leaseConstraints: Capability.Constraints | undefined

  /** What the job says; ends when the job does, however that was, and goes on over lost connections. It may be run many times, also at once. */
  readonly events: Stream.Stream<JobEvent.JobEvent, ClientError.EventsError>

  /** With `ack: "manual"`: the consumer is done with this event, and all before it. */
  readonly ack: (event: JobEvent.JobEvent) => Effect.Effect<void>

  /**
   * The result, as the contract's output schema decodes it; may be awaited by many, before and after the job's end.
   *
   * A streamed result is the string that its text chunks make up, or the base64 of its bytes, before it is decoded: `Schema.String` and
   * `Schema.Uint8ArrayFromBase64` are outputs that fit (§8.4).
   *
   * Fails with the error that the agent declares, or with one of the fifteen: the one that the job ended with, the loss of the session,
   * `InternalError` for a result that does not fit the contract, and `InvalidRequest` for chunks that do not add up.
   */
  readonly result: Effect.Effect<A, ClientError.JobFailure<E>>

  /**
   * The result as it comes: bytes, of text those of its UTF-8, in constant memory however large it is. A reader that is slow slows down
   * whatever a reader of {@link FollowedJob.events} slows down, and with `ack: "manual"` it acknowledges by itself. Ends when the job has
   * succeeded and all was there, and fails as {@link FollowedJob.result} does, with `InvalidRequest` for chunks that do not add up. A result
   * that was not streamed is its text, or its JSON if it is none.
   *
   * Once it is read, what is streamed is not put together besides: {@link FollowedJob.result} of a streamed result then fails with
   * `InvalidRequest`. May be run again, as events may. (§8.4)
   *
   * ```ts
   * import { type FileSystem, Stream } from "effect"
   * import type { FollowedJob } from "effect-arcp/client"
   *
   * const download = (job: FollowedJob.FollowedJob<string>, fs: FileSystem.FileSystem) => Stream.run(job.content, fs.sink("report.pdf"))
   * ```
   */
  readonly content: Stream.Stream<Uint8Array, ClientError.JobFailure<E>>

  /** As {@link FollowedJob.content}, as text in whole characters; bytes are read as UTF-8, and are `InvalidRequest` if they are none. */
  readonly text: Stream.Stream<string, ClientError.JobFailure<E>>

  /** How many bytes of a streamed result are here: the number now, and each time that there are more, until the job has ended. */
  readonly received: Stream.Stream<number>

  /**
   * The jobs that this one has delegated to other agents, from the first that was heard of to the last (§10); ends when the job does. It may
   * be run many times, also at once, and slows nothing down: of very many children the first are forgotten, and a stream that would begin
   * with one of these fails with `ResumeWindowExpired`.
   */
  readonly children: Stream.Stream<ChildJob.ChildJob, ClientError.EventsError>

  /**
   * Asks the runtime to end the job, and waits until it says that it will (§7.4). How the job then ends is for {@link FollowedJob.result}
   * to say. A job that has already ended is not found.
   */
  readonly cancel: (reason?: string) => Effect.Effect<void, ClientError.CancelError>
}
