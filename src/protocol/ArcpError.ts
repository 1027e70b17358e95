/**
 * The fifteen errors of the protocol (§12): each a class with its tag, all in one table with their code and retry advice.
 *
 * They are the error channels of runtime and client, so a pipeline catches them by tag:
 *
 * ```ts
 * import { Effect } from "effect"
 * import { ArcpError } from "effect-arcp/protocol"
 *
 * declare const run: Effect.Effect<string, ArcpError.PermissionDenied | ArcpError.Timeout>
 *
 * const answer = run.pipe(Effect.catchTag("Timeout", () => Effect.succeed("too slow")))
 * ```
 *
 * @since 0.1.0
 */
import { Effect, Schema } from "effect"
import * as Json from "./Json.ts"

const fields = (retryable: boolean) => ({
  /** What went wrong, in words for a person. Never holds a secret or a stack. */
  message: Schema.String,
  /** Whether the same request may succeed later. Defaults to the advice of the table; a peer may have said otherwise. */
  retryable: Schema.Boolean.pipe(Schema.withConstructorDefault(Effect.succeed(retryable))),
  /** Facts for a program: the field, the limit, the id. */
  details: Schema.optionalKey(Json.JsonObject)
})

/**
 * The lease does not cover the operation, or the session may see the job but not do this to it.
 *
 * @category errors
 * @since 0.1.0
 */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>("arcp/PermissionDenied")(
  "PermissionDenied",
  fields(false)
) {}

/**
 * A child was to get more authority than its parent has (§9.4).
 *
 * @category errors
 * @since 0.1.0
 */
export class LeaseSubsetViolation extends Schema.TaggedError<LeaseSubsetViolation>("arcp/LeaseSubsetViolation")(
  "LeaseSubsetViolation",
  fields(false)
) {}

/**
 * No such job, or none that this principal may see.
 *
 * @category errors
 * @since 0.1.0
 */
export class JobNotFound extends Schema.TaggedError<JobNotFound>("arcp/JobNotFound")("JobNotFound", fields(false)) {}

/**
 * The idempotency key was used before with other parameters (§7.2).
 *
 * @category errors
 * @since 0.1.0
 */
export class DuplicateKey extends Schema.TaggedError<DuplicateKey>("arcp/DuplicateKey")(
  "DuplicateKey",
  fields(false)
) {}

/**
 * No agent of that name (§7.5).
 *
 * @category errors
 * @since 0.1.0
 */
export class AgentNotAvailable extends Schema.TaggedError<AgentNotAvailable>("arcp/AgentNotAvailable")(
  "AgentNotAvailable",
  fields(false)
) {}

/**
 * The agent exists, that version of it does not (§7.5).
 *
 * @category errors
 * @since 0.1.0
 */
export class AgentVersionNotAvailable extends Schema.TaggedError<AgentVersionNotAvailable>(
  "arcp/AgentVersionNotAvailable"
)("AgentVersionNotAvailable", fields(false)) {}

/**
 * The job was cancelled (§7.4).
 *
 * @category errors
 * @since 0.1.0
 */
export class Cancelled extends Schema.TaggedError<Cancelled>("arcp/Cancelled")("Cancelled", fields(false)) {}

/**
 * The job ran longer than its `max_runtime_sec` (§7.3).
 *
 * @category errors
 * @since 0.1.0
 */
export class Timeout extends Schema.TaggedError<Timeout>("arcp/Timeout")("Timeout", fields(true)) {}

/**
 * The session can no longer be resumed, or not from that point (§6.3).
 *
 * @category errors
 * @since 0.1.0
 */
export class ResumeWindowExpired extends Schema.TaggedError<ResumeWindowExpired>("arcp/ResumeWindowExpired")(
  "ResumeWindowExpired",
  fields(false)
) {}

/**
 * The connection is gone: silent for too long (§6.4), or it could not be opened at all. Jobs go on.
 *
 * @category errors
 * @since 0.1.0
 */
export class HeartbeatLost extends Schema.TaggedError<HeartbeatLost>("arcp/HeartbeatLost")(
  "HeartbeatLost",
  fields(false)
) {}

/**
 * The operation came at or after the lease's `expires_at` (§9.5).
 *
 * @category errors
 * @since 0.1.0
 */
export class LeaseExpired extends Schema.TaggedError<LeaseExpired>("arcp/LeaseExpired")(
  "LeaseExpired",
  fields(false)
) {}

/**
 * A budget counter is spent (§9.6).
 *
 * @category errors
 * @since 0.1.0
 */
export class BudgetExhausted extends Schema.TaggedError<BudgetExhausted>("arcp/BudgetExhausted")(
  "BudgetExhausted",
  fields(false)
) {}

/**
 * The request is malformed, or uses what was not negotiated; `details` or the message names the field.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>("arcp/InvalidRequest")(
  "InvalidRequest",
  fields(false)
) {}

/**
 * The credentials of the session were missing, wrong or out of date (§6.1).
 *
 * @category errors
 * @since 0.1.0
 */
export class Unauthenticated extends Schema.TaggedError<Unauthenticated>("arcp/Unauthenticated")(
  "Unauthenticated",
  fields(false)
) {}

/**
 * A failure that is not the requester's fault: a defect, a limit of the runtime, an error of a later protocol version.
 *
 * @category errors
 * @since 0.1.0
 */
export class InternalError extends Schema.TaggedError<InternalError>("arcp/InternalError")(
  "InternalError",
  fields(true)
) {}

/**
 * Any of the fifteen.
 *
 * @category models
 * @since 0.1.0
 */
export const ArcpError = Schema.Union([
  PermissionDenied,
  LeaseSubsetViolation,
  JobNotFound,
  DuplicateKey,
  AgentNotAvailable,
  AgentVersionNotAvailable,
  Cancelled,
  Timeout,
  ResumeWindowExpired,
  HeartbeatLost,
  LeaseExpired,
  BudgetExhausted,
  InvalidRequest,
  Unauthenticated,
  InternalError
])
export type ArcpError = typeof ArcpError.Type

/**
 * Whether a value is one of the fifteen errors.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isArcpError: (value: unknown) => value is ArcpError = Schema.is(ArcpError)

interface Row {
  readonly code: string
  readonly retryable: boolean
  readonly make: new (fields: { message: string; retryable?: boolean; details?: Json.JsonObject }) => ArcpError
}

/**
 * Tag to code and retry advice. An error without a row does not compile.
 *
 * @category constants
 * @since 0.1.0
 */
export const table = {
  PermissionDenied: { code: "PERMISSION_DENIED", retryable: false, make: PermissionDenied },
  LeaseSubsetViolation: { code: "LEASE_SUBSET_VIOLATION", retryable: false, make: LeaseSubsetViolation },
  JobNotFound: { code: "JOB_NOT_FOUND", retryable: false, make: JobNotFound },
  DuplicateKey: { code: "DUPLICATE_KEY", retryable: false, make: DuplicateKey },
  AgentNotAvailable: { code: "AGENT_NOT_AVAILABLE", retryable: false, make: AgentNotAvailable },
  AgentVersionNotAvailable: {
    code: "AGENT_VERSION_NOT_AVAILABLE",
    retryable: false,
    make: AgentVersionNotAvailable
  },
  Cancelled: { code: "CANCELLED", retryable: false, make: Cancelled },
  Timeout: { code: "TIMEOUT", retryable: true, make: Timeout },
  ResumeWindowExpired: { code: "RESUME_WINDOW_EXPIRED", retryable: false, make: ResumeWindowExpired },
  HeartbeatLost: { code: "HEARTBEAT_LOST", retryable: false, make: HeartbeatLost },
  LeaseExpired: { code: "LEASE_EXPIRED", retryable: false, make: LeaseExpired },
  BudgetExhausted: { code: "BUDGET_EXHAUSTED", retryable: false, make: BudgetExhausted },
  InvalidRequest: { code: "INVALID_REQUEST", retryable: false, make: InvalidRequest },
  Unauthenticated: { code: "UNAUTHENTICATED", retryable: false, make: Unauthenticated },
  InternalError: { code: "INTERNAL_ERROR", retryable: true, make: InternalError }
} as const satisfies { readonly [Tag in ArcpError["_tag"]]: Row }

/**
 * The refusal of a request for what one of its fields says, which the message and the details name.
 *
 * @category constructors
 * @since 0.1.0
 */
export const invalidField = (field: string, problem: string, details?: Json.JsonObject): InvalidRequest =>
  new InvalidRequest({ message: `${field}: ${problem}`, details: { field, ...details } })

/**
 * The fifteen codes as they travel.
 *
 * @category models
 * @since 0.1.0
 */
export type Code = (typeof table)[keyof typeof table]["code"]

const byCode: ReadonlyMap<string, Row> = new Map(Object.values(table).map((row: Row) => [row.code, row]))

/**
 * The code of an error.
 *
 * @category conversions
 * @since 0.1.0
 */
export const code = (error: ArcpError): Code => table[error._tag].code

/**
 * The retry advice for a code that came without one; codes of which we know nothing are not retried.
 *
 * @category conversions
 * @since 0.1.0
 */
export const retryableByDefault = (code: string): boolean => byCode.get(code)?.retryable ?? false

/**
 * The error object of the wire, as `session.error`, `job.error` and a `tool_result` carry it (§12).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Payload = Schema.Struct({
  code: Schema.NonEmptyString,
  message: Schema.String,
  retryable: Schema.Boolean,
  details: Schema.optionalKey(Json.JsonObject)
})
export type Payload = typeof Payload.Type

/**
 * What is sent for an error. The three codes whose advice §12 fixes keep it, whatever the error says.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toPayload = (error: ArcpError): Payload => {
  const { code, retryable } = table[error._tag]
  const fixed = code === "INTERNAL_ERROR" || code === "LEASE_EXPIRED" || code === "BUDGET_EXHAUSTED"
  return {
    code,
    message: error.message === "" ? code : error.message,
    retryable: fixed ? retryable : error.retryable,
    ...(error.details === undefined ? undefined : { details: error.details })
  }
}

/**
 * The error that a peer sent. A code of a later version or of a vendor becomes {@link InternalError} with the original in `details`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromPayload = (payload: Payload): ArcpError => {
  const row = byCode.get(payload.code)
  const { details, message, retryable } = payload
  return row === undefined
    ? new InternalError({ message, retryable, details: { ...details, code: payload.code } })
    : new row.make({ message, retryable, ...(details === undefined ? undefined : { details }) })
}
