/**
 * What can go wrong for a client: for each operation the errors that it can give, and no others (§12).
 *
 * @since 0.1.0
 */
import * as ArcpError from "../protocol/ArcpError.ts"

/**
 * The session is over, and with it whatever waited on it. Jobs go on in the runtime.
 *
 * `HeartbeatLost` when the connection went, `Unauthenticated` and `ResumeWindowExpired` when the runtime ended the session.
 *
 * @category models
 * @since 0.1.0
 */
export type SessionLost = ArcpError.HeartbeatLost | ArcpError.ResumeWindowExpired | ArcpError.Unauthenticated

/**
 * Why no session came to be: the runtime refused, could not be reached, or did not answer in time.
 *
 * @category models
 * @since 0.1.0
 */
export type ConnectError =
  | ArcpError.Unauthenticated
  | ArcpError.InvalidRequest
  | ArcpError.HeartbeatLost
  | ArcpError.InternalError

/**
 * Why a submit came to nothing. `Timeout` means that no answer came: the same idempotency key makes it safe to try again (§7.2).
 *
 * @category models
 * @since 0.1.0
 */
export type SubmitError =
  | ArcpError.AgentNotAvailable
  | ArcpError.AgentVersionNotAvailable
  | ArcpError.BudgetExhausted
  | ArcpError.DuplicateKey
  | ArcpError.InternalError
  | ArcpError.InvalidRequest
  | ArcpError.LeaseSubsetViolation
  | ArcpError.PermissionDenied
  | ArcpError.Timeout
  | SessionLost

/**
 * Why a job could not be cancelled. `JobNotFound` means that it has already ended.
 *
 * @category models
 * @since 0.1.0
 */
export type CancelError =
  | ArcpError.InternalError
  | ArcpError.InvalidRequest
  | ArcpError.JobNotFound
  | ArcpError.PermissionDenied
  | ArcpError.Timeout
  | SessionLost

/**
 * Why a job cannot be observed. `JobNotFound` also stands for one that this principal may not know of.
 *
 * @category models
 * @since 0.1.0
 */
export type SubscribeError =
  | ArcpError.InternalError
  | ArcpError.InvalidRequest
  | ArcpError.JobNotFound
  | ArcpError.PermissionDenied
  | ArcpError.Timeout
  | SessionLost

/**
 * Why jobs cannot be listed.
 *
 * @category models
 * @since 0.1.0
 */
export type ListError =
  | ArcpError.InternalError
  | ArcpError.InvalidRequest
  | ArcpError.PermissionDenied
  | ArcpError.Timeout
  | SessionLost

/**
 * Why a ping is not answered.
 *
 * @category models
 * @since 0.1.0
 */
export type PingError = ArcpError.InvalidRequest | ArcpError.Timeout | SessionLost

/**
 * Why a stream of events broke off. `ResumeWindowExpired` also says that its beginning is no longer kept: `details.dropped` is the number
 * of events before the oldest that is.
 *
 * @category models
 * @since 0.1.0
 */
export type EventsError = SessionLost

/**
 * Why a job gave no result: an error that its agent declares, or one of the fifteen.
 *
 * @category models
 * @since 0.1.0
 */
export type JobFailure<E> = E | ArcpError.ArcpError

const only = <const Tag extends ArcpError.ArcpError["_tag"]>(...tags: ReadonlyArray<Tag>) => {
  const expected: ReadonlySet<string> = new Set(tags)
  const isExpected = (error: ArcpError.ArcpError): error is Extract<ArcpError.ArcpError, { readonly _tag: Tag }> =>
    expected.has(error._tag)
  return (error: ArcpError.ArcpError): Extract<ArcpError.ArcpError, { readonly _tag: Tag }> | ArcpError.InternalError =>
    isExpected(error)
      ? error
      : new ArcpError.InternalError({
          message: error.message,
          retryable: error.retryable,
          details: { ...error.details, code: ArcpError.code(error) }
        })
}

const sessionLost = ["HeartbeatLost", "ResumeWindowExpired", "Unauthenticated"] as const

/**
 * Narrows what a peer answered to what a submit can give; anything else is an `InternalError` that keeps the code in its details.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromSubmit: (error: ArcpError.ArcpError) => SubmitError = only(
  "AgentNotAvailable",
  "AgentVersionNotAvailable",
  "BudgetExhausted",
  "DuplicateKey",
  "InvalidRequest",
  "LeaseSubsetViolation",
  "PermissionDenied",
  "Timeout",
  ...sessionLost
)

/**
 * As {@link fromSubmit}, for a cancellation.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromCancel: (error: ArcpError.ArcpError) => CancelError = only(
  "InvalidRequest",
  "JobNotFound",
  "PermissionDenied",
  "Timeout",
  ...sessionLost
)

/**
 * As {@link fromSubmit}, for a subscription.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromSubscribe: (error: ArcpError.ArcpError) => SubscribeError = only(
  "InvalidRequest",
  "JobNotFound",
  "PermissionDenied",
  "Timeout",
  ...sessionLost
)

/**
 * As {@link fromSubmit}, for a listing.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromList: (error: ArcpError.ArcpError) => ListError = only(
  "InvalidRequest",
  "PermissionDenied",
  "Timeout",
  ...sessionLost
)

/**
 * As {@link fromSubmit}, for a handshake.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromHandshake: (error: ArcpError.ArcpError) => ConnectError = only(
  "HeartbeatLost",
  "InvalidRequest",
  "Unauthenticated"
)

/**
 * What became of a session, if no connection could be opened for it: what is neither a refusal of the token nor the end of the line is put
 * as the latter, with its code in the details.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromRenewal = (error: ConnectError | SessionLost): SessionLost =>
  isSessionLost(error)
    ? error
    : new ArcpError.HeartbeatLost({
        message: error.message,
        retryable: error.retryable,
        details: { ...error.details, code: ArcpError.code(error) }
      })

/**
 * Whether an error that no request asked for ends the session (§12).
 *
 * @category predicates
 * @since 0.1.0
 */
export const isSessionLost = (error: ArcpError.ArcpError): error is SessionLost =>
  error._tag === "HeartbeatLost" || error._tag === "ResumeWindowExpired" || error._tag === "Unauthenticated"
