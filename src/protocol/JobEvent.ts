/**
 * What a job says while it runs: ten kinds of events, and those of vendors (§8.2).
 *
 * @since 0.1.0
 */
import { Function, Schema } from "effect"
import * as ArcpError from "./ArcpError.ts"
import * as Capability from "./Capability.ts"
import * as Ids from "./Ids.ts"
import * as Json from "./Json.ts"

const NonNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/**
 * How much a line of a log matters.
 *
 * @category models
 * @since 0.1.0
 */
export const LogLevel = Schema.Literals(["debug", "info", "warn", "error"])
export type LogLevel = typeof LogLevel.Type

/**
 * The body of each kind that the protocol defines (§8.2).
 *
 * @category schemas
 * @since 0.1.0
 */
export const bodies = {
  log: Schema.Struct({
    level: LogLevel,
    message: Schema.String,
    attributes: Schema.optionalKey(Json.JsonObject)
  }),
  thought: Schema.Struct({ text: Schema.String }),
  tool_call: Schema.Struct({ tool: Schema.NonEmptyString, args: Json.Json, call_id: Schema.NonEmptyString }),
  tool_result: Schema.Struct({
    call_id: Schema.NonEmptyString,
    /** What the tool answered; exactly one of `result` and `error` is there. */
    result: Schema.optionalKey(Json.Json),
    error: Schema.optionalKey(ArcpError.Payload)
  }),
  status: Schema.Struct({
    phase: Schema.NonEmptyString,
    message: Schema.optionalKey(Schema.String),
    details: Schema.optionalKey(Json.JsonObject),
    /** With phase `credential_rotated` (§9.8.2): the credential, and for the submitter alone its new value. */
    id: Schema.optionalKey(Schema.String),
    value: Schema.optionalKey(Schema.RedactedFromValue(Schema.String, { label: "credential" }))
  }),
  metric: Schema.Struct({
    name: Schema.NonEmptyString,
    value: Schema.Finite,
    unit: Schema.optionalKey(Schema.String),
    dimensions: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
  }),
  artifact_ref: Schema.Struct({
    uri: Schema.NonEmptyString,
    content_type: Schema.NonEmptyString,
    byte_size: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
    sha256: Schema.optionalKey(Schema.String)
  }),
  delegate: Schema.Struct({
    delegate_id: Schema.optionalKey(Schema.NonEmptyString),
    child_job_id: Schema.optionalKey(Ids.JobId),
    agent: Schema.NonEmptyString,
    input: Schema.optionalKey(Json.Json),
    lease_request: Schema.optionalKey(Capability.Grants),
    lease: Schema.optionalKey(Capability.Grants),
    lease_constraints: Schema.optionalKey(Capability.Constraints)
  }),
  progress: Schema.Struct({
    current: NonNegative,
    total: Schema.optionalKey(NonNegative),
    units: Schema.optionalKey(Schema.String),
    message: Schema.optionalKey(Schema.String)
  }),
  result_chunk: Schema.Struct({
    result_id: Ids.ResultId,
    /** Counts from 0, without a hole, per `result_id` (§8.4). */
    chunk_seq: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
    data: Schema.String,
    encoding: Schema.Literals(["utf8", "base64"]),
    /** `false` on the last chunk. */
    more: Schema.Boolean
  })
}

/**
 * The name of a kind that the protocol defines.
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = keyof typeof bodies

/**
 * The body that belongs to a kind.
 *
 * @category models
 * @since 0.1.0
 */
export type Body<K extends Kind> = (typeof bodies)[K]["Type"]

/**
 * A vendor's kind: `x-vendor.<vendor>.<name>`.
 *
 * @category models
 * @since 0.1.0
 */
export type VendorKind = `x-vendor.${string}`

/**
 * Whether a kind is a vendor's.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isVendorKind = (kind: string): kind is VendorKind => /^x-vendor(\.[A-Za-z0-9_-]+){2,}$/.test(kind)

/**
 * An event of a kind that the protocol defines.
 *
 * @category models
 * @since 0.1.0
 */
export type Known = {
  readonly [K in Kind]: { readonly kind: K; readonly ts: string; readonly body: Body<K> }
}[Kind]

/**
 * An event of a vendor, or of a later version: its body is handed on as it came.
 *
 * @category models
 * @since 0.1.0
 */
export interface Opaque {
  readonly kind: VendorKind | (string & {})
  readonly ts: string
  readonly body: Json.Json
}

/**
 * The payload of `job.event`. Narrow it with {@link is}, since `kind` is open:
 *
 * ```ts
 * import { JobEvent } from "effect-arcp/protocol"
 *
 * const line = (event: JobEvent.JobEvent) => JobEvent.is(event, "log") ? event.body.message : event.kind
 * const logs = (events: ReadonlyArray<JobEvent.JobEvent>) => events.filter(JobEvent.is("log"))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export type JobEvent = Known | Opaque

/**
 * Whether the event is of this kind; its body then has that kind's type. (The codec has checked the body of each kind it knows.)
 *
 * @category predicates
 * @since 0.1.0
 */
export const is: {
  <K extends Kind>(kind: K): (event: JobEvent) => event is Extract<Known, { readonly kind: K }>
  <K extends Kind>(event: JobEvent, kind: K): event is Extract<Known, { readonly kind: K }>
} = Function.dual(
  2,
  <K extends Kind>(event: JobEvent, kind: K): event is Extract<Known, { readonly kind: K }> => event.kind === kind
)

/**
 * Metrics with this prefix are costs, which budgets count (§9.6)...
 *
 * @category constants
 * @since 0.1.0
 */
export const costPrefix = "cost."

/**
 * ... but for this one, which reports what is left.
 *
 * @category constants
 * @since 0.1.0
 */
export const budgetRemaining = "cost.budget.remaining"
