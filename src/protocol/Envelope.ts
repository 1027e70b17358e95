/**
 * What every frame has around its payload (§5).
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as Ids from "./Ids.ts"
import * as Json from "./Json.ts"
import * as Version from "./Version.ts"

const count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const members = {
  arcp: Schema.Literal(Version.version),
  id: Ids.MessageId,
  /** Absent on `session.hello` only. */
  session_id: Schema.optionalKey(Ids.SessionId),
  trace_id: Schema.optionalKey(Ids.TraceId),
  job_id: Schema.optionalKey(Ids.JobId),
  /** Place in the session's sequence: from 1, by 1, on what a job says and on nothing else (§8.3). */
  event_seq: Schema.optionalKey(count),
  /**
   * Place in the job's own sequence, from 1: a cursor that holds in any session. On `job.subscribed` that of the last entry before those that
   * are to come, 0 if there is none. An extension of ours that others ignore.
   */
  job_seq: Schema.optionalKey(count),
  extensions: Schema.optionalKey(Json.JsonObject)
}

/**
 * The schema of the frame with this type and payload.
 *
 * @category constructors
 * @since 0.1.0
 */
export const message = <const Type extends string, Payload extends Schema.Top>(type: Type, payload: Payload) =>
  Schema.Struct({ ...members, type: Schema.Literal(type), payload })
