/**
 * From what a caller asks for to the `job.submit` that asks for it. What the session did not negotiate is refused here, before it is
 * said (§6.2).
 */
import { DateTime, Duration, Effect, Result, Schema } from "effect"
import * as AgentRef from "../../protocol/AgentRef.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Capability from "../../protocol/Capability.ts"
import type * as Feature from "../../protocol/Feature.ts"
import * as Ids from "../../protocol/Ids.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as Json from "../../protocol/Json.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import * as Requests from "./requests.ts"

/** What the caller may say beside agent and input; documented where it is public. */
export interface Options {
  readonly lease?: Capability.Grants
  readonly expiresAt?: DateTime.DateTime | string
  readonly maxRuntime?: Duration.Input
  readonly idempotencyKey?: string
  readonly traceId?: string
}

type Payload = JobMessage.Submit["payload"]

const isTraceId = Schema.is(Ids.TraceId)

/** The option's trace id, if it is one. */
export const traceId = (given: string): Result.Result<Ids.TraceId, ArcpError.InvalidRequest> =>
  isTraceId(given)
    ? Result.succeed(given)
    : Result.fail(ArcpError.invalidField("trace_id", "expected 32 lower-case hexadecimal digits, not all of them zero"))

const expiry = (given: DateTime.DateTime | string): Result.Result<string, ArcpError.InvalidRequest> => {
  if (typeof given !== "string") return Result.succeed(Timestamp.format(DateTime.toEpochMillis(given)))
  return Result.mapBoth(Timestamp.parseUtc(given), {
    onFailure: (problem) => ArcpError.invalidField("lease_constraints.expires_at", problem),
    onSuccess: Timestamp.format
  })
}

/** Whole seconds, rounded up: a job is never given less time than was asked for. */
const seconds = (given: Duration.Input): number | undefined => {
  const millis = Duration.toMillis(given)
  return Number.isFinite(millis) ? Math.max(1, Math.ceil(millis / 1000)) : undefined
}

/** The features that these parts of a submit need. */
const needs = (payload: Payload, ref: AgentRef.AgentRef): ReadonlyArray<readonly [Feature.Feature, field: string]> => [
  ...(ref.version === undefined ? [] : [["agent_versions", "agent"] as const]),
  ...(payload.lease_request?.["cost.budget"] === undefined
    ? []
    : [["cost.budget", "lease_request.cost.budget"] as const]),
  ...(payload.lease_request?.["model.use"] === undefined ? [] : [["model.use", "lease_request.model.use"] as const]),
  ...(payload.lease_constraints === undefined ? [] : [["lease_expires_at", "lease_constraints.expires_at"] as const])
]

/** The payload of the submit, or what is wrong with it. */
export const make = (
  features: ReadonlySet<Feature.Feature>,
  agent: string,
  input: Json.Json,
  idempotencyKey: string,
  options: Options
): Result.Result<Payload, ArcpError.InvalidRequest> => {
  const ref = AgentRef.parse(agent)
  if (Result.isFailure(ref)) return Result.fail(ArcpError.invalidField("agent", ref.failure))
  if (idempotencyKey.length < 1 || idempotencyKey.length > 256) {
    return Result.fail(ArcpError.invalidField("idempotency_key", "expected 1 to 256 characters"))
  }
  const expires_at = options.expiresAt === undefined ? undefined : expiry(options.expiresAt)
  if (expires_at !== undefined && Result.isFailure(expires_at)) return Result.fail(expires_at.failure)
  const max_runtime_sec = options.maxRuntime === undefined ? undefined : seconds(options.maxRuntime)
  const payload: Payload = {
    agent,
    input,
    idempotency_key: idempotencyKey,
    ...(options.lease === undefined ? undefined : { lease_request: options.lease }),
    ...(expires_at === undefined ? undefined : { lease_constraints: { expires_at: expires_at.success } }),
    ...(max_runtime_sec === undefined ? undefined : { max_runtime_sec })
  }
  for (const [feature, field] of needs(payload, ref.success)) {
    if (features.has(feature)) continue
    return Result.fail(
      ArcpError.invalidField(field, `the session has not negotiated ${JSON.stringify(feature)}`, { feature })
    )
  }
  return Result.succeed(payload)
}

/** The frame, but for its id. A value that is no JSON, such as a cyclic one or a bigint, is the caller's mistake and not a defect. */
export const encode = (
  frame: Omit<JobMessage.Submit, "id">
): Result.Result<(id: Ids.MessageId) => string, ArcpError.InvalidRequest> =>
  typeof frame.payload.input === "function" || typeof frame.payload.input === "symbol"
    ? Result.fail(ArcpError.invalidField("input", `a ${typeof frame.payload.input} is not a JSON value`))
    : Result.try({
        try: () => Requests.framed(frame),
        catch: (cause) =>
          ArcpError.invalidField("input", `not a JSON value: ${cause instanceof Error ? firstLine(cause) : "unknown"}`)
      })

/** Engines draw a cycle over several lines. */
const firstLine = (error: Error) => error.message.split("\n", 1)[0]!.slice(0, 200)

/** A key for a submit that came without one, so that it can be said again without running the job twice (§7.2). */
export const makeIdempotencyKey = Effect.map(Ids.makeMessageId, (id) => `key_${id.slice(4)}`)
