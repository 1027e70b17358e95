/**
 * A job as the runtime remembers it (§7).
 *
 * @since 0.1.0
 */
import type * as Capability from "../protocol/Capability.ts"
import type * as Feature from "../protocol/Feature.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as Json from "../protocol/Json.ts"

/**
 * What is fixed when a job is accepted, and never changes after.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobRecord {
  readonly id: Ids.JobId
  /** The resolved `name@version`. */
  readonly agent: string
  readonly principal: string
  /** The session that submitted it. It may cancel it (§7.4), as may one that repeats the submission under its key (§7.2). */
  readonly session: Ids.SessionId
  readonly traceId: Ids.TraceId
  readonly parent: Ids.JobId | undefined
  readonly lease: Capability.Grants
  readonly constraints: Capability.Constraints | undefined
  /** What the submitting session had negotiated: it may leave, the job's ways stay. */
  readonly features: ReadonlySet<Feature.Feature>
  /** Seconds, from the start. */
  readonly maxRuntime: number | undefined
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number
  /** The acceptance as it was first given, for when it is asked for again (§7.2). */
  readonly accepted: JobMessage.Accepted["payload"]
}

/**
 * Where a job stands (§7.3).
 *
 * @category models
 * @since 0.1.0
 */
export type Status = "pending" | "running" | Final

/**
 * How a job can end (§7.3).
 *
 * @category models
 * @since 0.1.0
 */
export type Final = "success" | "error" | "cancelled" | "timed_out"

/**
 * An idempotency key with what it stands for (§7.2).
 *
 * @category models
 * @since 0.1.0
 */
export interface Claim {
  readonly principal: string
  /** The session that submits. */
  readonly session: Ids.SessionId
  readonly key: string
  /** The canonical text of the parameters: two submits mean the same if it is the same. */
  readonly parameters: string
}

/**
 * JSON text in which the order of members does not show.
 *
 * @category conversions
 * @since 0.1.0
 */
export const canonical = (value: Json.Json | undefined): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value ?? null)
  const members = Object.entries(value as { readonly [member: string]: Json.Json })
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(",")}}`
}
