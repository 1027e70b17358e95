/**
 * The messages about jobs (§7, §8): submission, cancellation, subscription, events and outcomes.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as ArcpError from "./ArcpError.ts"
import * as Capability from "./Capability.ts"
import * as Credential from "./Credential.ts"
import * as Envelope from "./Envelope.ts"
import * as Ids from "./Ids.ts"
import type * as JobEvent from "./JobEvent.ts"
import * as Json from "./Json.ts"
import * as SessionMessage from "./SessionMessage.ts"

const count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

/**
 * Money left per currency, as JSON numbers (§7.1).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Budget = Schema.Record(Schema.String, Schema.Finite)
export type Budget = typeof Budget.Type

/**
 * Asks the runtime to run an agent (§7.1).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Submit = Envelope.message(
  "job.submit",
  Schema.Struct({
    /** `name` or `name@version` (§7.5). */
    agent: Schema.NonEmptyString,
    input: Json.Json,
    lease_request: Schema.optionalKey(Capability.Grants),
    lease_constraints: Schema.optionalKey(Capability.Constraints),
    idempotency_key: Schema.optionalKey(Schema.String.check(Schema.isBetweenLength(1, 256))),
    /** Seconds. */
    max_runtime_sec: Schema.optionalKey(positive),
    parent_job_id: Schema.optionalKey(Ids.JobId)
  })
)
export type Submit = typeof Submit.Type

/**
 * The job exists, with this authority (§7.1).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Accepted = Envelope.message(
  "job.accepted",
  Schema.Struct({
    job_id: Ids.JobId,
    /** The resolved `name@version`; peers may leave it out. */
    agent: Schema.optionalKey(Schema.String),
    /** The effective lease: never wider than what was asked for (§9.1). */
    lease: Capability.Grants,
    lease_constraints: Schema.optionalKey(Capability.Constraints),
    budget: Schema.optionalKey(Budget),
    credentials: Schema.optionalKey(Schema.Array(Credential.Credential)),
    accepted_at: Schema.optionalKey(Schema.String),
    trace_id: Schema.optionalKey(Schema.String),
    request_id: Schema.optionalKey(Ids.MessageId),
    reply_to: Schema.optionalKey(Ids.MessageId),
    /** With `delegate_id` on the acceptance of a child job (§10). */
    parent_job_id: Schema.optionalKey(Ids.JobId),
    delegate_id: Schema.optionalKey(Schema.String)
  })
)
export type Accepted = typeof Accepted.Type

/**
 * Asks the runtime to end a job (§7.4).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Cancel = Envelope.message(
  "job.cancel",
  Schema.Struct({ job_id: Schema.optionalKey(Ids.JobId), reason: Schema.optionalKey(Schema.String) })
)
export type Cancel = typeof Cancel.Type

/**
 * The cancellation was taken; the terminal `job.error` follows (§7.4).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Cancelled = Envelope.message(
  "job.cancelled",
  Schema.Struct({
    job_id: Schema.optionalKey(Ids.JobId),
    reason: Schema.optionalKey(Schema.String),
    request_id: Schema.optionalKey(Ids.MessageId)
  })
)
export type Cancelled = typeof Cancelled.Type

/**
 * Asks to observe a job of another session (§7.6).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Subscribe = Envelope.message(
  "job.subscribe",
  Schema.Struct({
    job_id: Ids.JobId,
    from_event_seq: Schema.optionalKey(count),
    /** Places the cursor in the job's own sequence: an extension of ours. */
    from_job_seq: Schema.optionalKey(count),
    history: Schema.optionalKey(Schema.Boolean)
  })
)
export type Subscribe = typeof Subscribe.Type

/**
 * The observer's view of the job's authority (§7.6).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Subscribed = Envelope.message(
  "job.subscribed",
  Schema.Struct({
    job_id: Ids.JobId,
    current_status: SessionMessage.JobStatus,
    agent: Schema.String,
    lease: Capability.Grants,
    lease_constraints: Schema.optionalKey(Capability.Constraints),
    budget: Schema.optionalKey(Budget),
    credentials: Schema.optionalKey(Schema.Array(Credential.Credential)),
    parent_job_id: Schema.NullOr(Ids.JobId),
    trace_id: Schema.optionalKey(Schema.String),
    subscribed_from: count,
    replayed: Schema.Boolean,
    request_id: Schema.optionalKey(Ids.MessageId)
  })
)
export type Subscribed = typeof Subscribed.Type

/**
 * Ends a subscription; nothing answers it (§7.6).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Unsubscribe = Envelope.message("job.unsubscribe", Schema.Struct({ job_id: Ids.JobId }))
export type Unsubscribe = typeof Unsubscribe.Type

/**
 * Something a job said (§8.1). The codec has checked `body` against `kind` for each kind it knows, see `JobEvent`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Event = Envelope.message(
  "job.event",
  Schema.Struct({
    kind: Schema.NonEmptyString,
    /** When it was said; absent from peers that do not stamp their events. */
    ts: Schema.optionalKey(Schema.String),
    body: Schema.declare((body): body is JobEvent.JobEvent["body"] => body !== undefined)
  })
)
export type Event = typeof Event.Type

/**
 * The job ended well (§7.3, §8.4).
 *
 * @category schemas
 * @since 0.1.0
 */
export const JobResult = Envelope.message(
  "job.result",
  Schema.Struct({
    final_status: Schema.Literal("success"),
    /** The result, unless it was streamed. */
    result: Schema.optionalKey(Json.Json),
    /** The streamed result, see `result_chunk`. */
    result_id: Schema.optionalKey(Ids.ResultId),
    /** Bytes of the streamed result, decoded. */
    result_size: Schema.optionalKey(count),
    summary: Schema.optionalKey(Schema.String),
    completed_at: Schema.optionalKey(Schema.String)
  })
)
export type JobResult = typeof JobResult.Type

/**
 * The job ended otherwise (§7.3, §12); or, from some peers, a request about a job was refused.
 *
 * @category schemas
 * @since 0.1.0
 */
export const JobError = Envelope.message(
  "job.error",
  Schema.Struct({
    ...ArcpError.Payload.fields,
    final_status: Schema.Literals(["error", "cancelled", "timed_out"]),
    completed_at: Schema.optionalKey(Schema.String),
    request_id: Schema.optionalKey(Ids.MessageId)
  })
)
export type JobError = typeof JobError.Type
