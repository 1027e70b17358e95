/**
 * What a runtime says of the jobs that it has (§6.6).
 *
 * @since 0.1.0
 */
import type { DateTime } from "effect"
import type * as Capability from "../protocol/Capability.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"

/**
 * One job of the principal, whichever session submitted it.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobListing {
  readonly id: Ids.JobId
  /** The resolved `name@version`. */
  readonly agent: string
  readonly status: SessionMessage.JobStatus
  readonly lease: Capability.Grants
  /** The job that delegated this one (§10). */
  readonly parentJobId: Ids.JobId | undefined
  /** Nothing from runtimes that do not say. */
  readonly createdAt: DateTime.Utc | undefined
  readonly traceId: string | undefined
  /** The last number under which the session that submitted the job was sent something of it. */
  readonly lastEventSeq: number
}

/**
 * Which jobs to list; all that is given must hold.
 *
 * @category options
 * @since 0.1.0
 */
export interface Filter {
  /** Any of these. */
  readonly status?: ReadonlyArray<SessionMessage.JobStatus>
  /** `name` for every version, `name@version` for one. */
  readonly agent?: string
  readonly createdAfter?: DateTime.DateTime
  readonly createdBefore?: DateTime.DateTime
  /** Jobs per request. The runtime's choice if not given, and it may give fewer. */
  readonly pageSize?: number
}
