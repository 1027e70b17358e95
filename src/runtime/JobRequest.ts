/**
 * A request for a job, before anything is decided on it: from a session (§7.1), or from a job that delegates (§10).
 *
 * @since 0.1.0
 */
import type { Option, Tracer } from "effect"
import type * as Authenticator from "../authority/Authenticator.ts"
import type * as Budgets from "../authority/Budgets.ts"
import type * as ArcpError from "../protocol/ArcpError.ts"
import type * as Feature from "../protocol/Feature.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as Job from "./Job.ts"
import type * as RunningJob from "./RunningJob.ts"

/**
 * What is asked for, and on whose behalf.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobRequest {
  readonly principal: Authenticator.Principal
  readonly session: Ids.SessionId
  /** What the session negotiated. */
  readonly features: ReadonlySet<Feature.Feature>
  /** Whether credentials may be issued to who asks (§14). */
  readonly secure: boolean
  readonly traceId: Option.Option<Ids.TraceId>
  /** The span in which it is asked for, if who asks told of one. */
  readonly span: Tracer.AnySpan | undefined
  readonly request: JobMessage.Submit["payload"]
  readonly claim: Option.Option<Job.Claim>
  /** The job that delegates, and the name of that act. */
  readonly parent: Parent | undefined
}

/**
 * The job that hands work on, and on what terms.
 *
 * @category models
 * @since 0.1.0
 */
export interface Parent {
  readonly job: RunningJob.RunningJob
  readonly delegateId: string
  readonly detached: boolean
  /** What the job has set aside for this part of its work: the budget of the child is taken from there. */
  readonly reservation: Budgets.Reservation | undefined
}

/**
 * Why a request can be refused.
 *
 * @category errors
 * @since 0.1.0
 */
export type Refusal =
  | ArcpError.InvalidRequest
  | ArcpError.AgentNotAvailable
  | ArcpError.AgentVersionNotAvailable
  | ArcpError.PermissionDenied
  | ArcpError.LeaseSubsetViolation
  | ArcpError.BudgetExhausted
  | ArcpError.LeaseExpired
  | ArcpError.InternalError
