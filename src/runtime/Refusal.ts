/**
 * How a refusal is put, so that the client at the other end hears it (§12). The draft leaves the carrier open, and clients differ: what one
 * matches with its request another takes for the end of everything.
 *
 * @since 0.1.0
 */
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as Message from "../protocol/Message.ts"
import type * as Profile from "../protocol/Profile.ts"

/**
 * How a refusal goes out.
 *
 * @category models
 * @since 0.1.0
 */
export type Refusal =
  /** A frame without a number. */
  | { readonly _tag: "Reply"; readonly message: Message.FromRuntime }
  /** A frame with the session's next number; `tail` is its text after the head. */
  | { readonly _tag: "Own"; readonly type: string; readonly tail: string }

/**
 * Whether clients of this family match an answer by the envelope id of their request.
 *
 * @category predicates
 * @since 0.1.0
 */
export const echoes = (profile: Profile.Profile): boolean => profile === "echo" || profile === "java"

/**
 * Puts a refusal as this client expects it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (refusal: {
  readonly profile: Profile.Profile
  readonly session_id: Ids.SessionId
  readonly request: { readonly id?: string; readonly type?: string; readonly trace_id?: Ids.TraceId }
  readonly error: ArcpError.ArcpError
  /** The job that the request was about, if the client named one. */
  readonly job_id: Ids.JobId | undefined
  /** Fresh, for the ids of the frame. */
  readonly ulid: string
  readonly completedAt: string
}): Refusal => {
  const { completedAt, error, job_id, profile, request, session_id, ulid } = refusal
  const payload = ArcpError.toPayload(error)
  const request_id = request.id as Ids.MessageId | undefined
  const id = (request_id !== undefined && echoes(profile) ? request_id : `msg_${ulid}`) as Ids.MessageId
  const correlation = request_id === undefined ? undefined : { request_id }
  const aboutJob = request.type === "job.submit" || request.type === "job.cancel"

  // This client fails every job it has on a `session.error`, and reads the refusal of a submit from a `job.error` of a job it does not know.
  if (profile === "ts" && aboutJob && error._tag !== "AgentVersionNotAvailable") {
    const frame = {
      job_id: `job_${ulid}`,
      ...(request.trace_id === undefined ? undefined : { trace_id: request.trace_id }),
      payload: { final_status: "error", ...payload, completed_at: completedAt, ...correlation }
    }
    return { _tag: "Own", type: "job.error", tail: `,${JSON.stringify(frame).slice(1)}` }
  }
  if (profile === "java" && request_id !== undefined) {
    return {
      _tag: "Reply",
      message: {
        arcp: "1.1",
        id,
        type: "job.error",
        session_id,
        payload: { final_status: "error", ...payload, completed_at: completedAt, ...correlation }
      }
    }
  }
  return {
    _tag: "Reply",
    message: {
      arcp: "1.1",
      id,
      type: "session.error",
      session_id,
      payload: { ...payload, ...correlation, ...(job_id === undefined ? undefined : { job_id }) }
    }
  }
}
