/**
 * The records of jobs and the keys under which they were asked for: what must survive when journals are trimmed.
 *
 * Each method is one atomic step, since each decides something that must not be decided twice.
 *
 * @since 0.1.0
 */
import { Clock, Context, Duration, Effect, Layer, Option } from "effect"
import type * as Ids from "../protocol/Ids.ts"
import type * as Job from "./Job.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * What became of an attempt to accept a job.
 *
 * @category models
 * @since 0.1.0
 */
export type Acceptance =
  | { readonly _tag: "Accepted" }
  /** The same key with the same parameters was accepted before: this is the job. */
  | { readonly _tag: "Known"; readonly record: Job.JobRecord }
  /** The key stands for other parameters. */
  | { readonly _tag: "Conflict"; readonly record: Job.JobRecord }

/**
 * What became of an attempt to cancel a job.
 *
 * @category models
 * @since 0.1.0
 */
export type Cancellation = "requested" | "repeated" | "ended" | "unknown"

/**
 * A record with where the job stands.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored {
  readonly record: Job.JobRecord
  readonly status: Job.Status
  /** Why it is to be cancelled, once that was asked for. */
  readonly cancel: Option.Option<string>
}

/**
 * @category ports
 * @since 0.1.0
 */
export class JobStore extends Context.Service<JobStore, {
  /** Stores the record and binds the key to it, if there is one and it is free. */
  readonly accept: (record: Job.JobRecord, claim: Option.Option<Job.Claim>) => Effect.Effect<Acceptance>
  /** The job that a key stands for already; looked up before anything costly is done for a submit. */
  readonly claimed: (claim: Job.Claim) => Effect.Effect<Option.Option<Exclude<Acceptance, { readonly _tag: "Accepted" }>>>
  readonly get: (job: Ids.JobId) => Effect.Effect<Option.Option<Stored>>
  readonly start: (job: Ids.JobId) => Effect.Effect<void>
  /** Notes that a job is to be cancelled; from then on it can only end as cancelled. */
  readonly requestCancel: (job: Ids.JobId, reason: string) => Effect.Effect<Cancellation>
  /**
   * Decides how a job ends: the outcome given, or `cancelled` if that was asked for before. Only the first decision counts; a later one
   * gets it back.
   */
  readonly conclude: (job: Ids.JobId, final: Job.Final) => Effect.Effect<Job.Final>
  /** Jobs that ended longer ago than the retention, now forgotten. */
  readonly sweep: Effect.Effect<ReadonlyArray<Ids.JobId>>
}>()("arcp/runtime/JobStore") {}

interface Row {
  readonly record: Job.JobRecord
  status: Job.Status
  cancel: Option.Option<string>
}

const isFinal = (status: Job.Status): status is Job.Final => status !== "pending" && status !== "running"

/**
 * Records in memory, within the bounds of the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<JobStore> = Layer.effect(
  JobStore,
  Effect.gen(function*() {
    const config = yield* RuntimeConfig.RuntimeConfig
    const rows = new Map<Ids.JobId, Row>()
    /** By principal and key. A map keeps the order of insertion, so the oldest key is the first. */
    const claims = new Map<string, { readonly parameters: string; readonly record: Job.JobRecord; readonly at: number }>()
    /** Ended jobs, oldest first, with when they ended. */
    const ended = new Map<Ids.JobId, number>()

    const keyOf = (claim: Job.Claim) => JSON.stringify([claim.principal, claim.key])

    const claimed = (claim: Job.Claim) => {
      const bound = claims.get(keyOf(claim))
      if (bound === undefined) return Option.none()
      const _tag = bound.parameters === claim.parameters ? "Known" as const : "Conflict" as const
      return Option.some({ _tag, record: bound.record })
    }

    return JobStore.of({
      claimed: (claim) => Effect.sync(() => claimed(claim)),
      accept: (record, claim) =>
        Effect.sync((): Acceptance => {
          if (Option.isSome(claim)) {
            const bound = claimed(claim.value)
            if (Option.isSome(bound)) return bound.value
            claims.set(keyOf(claim.value), { parameters: claim.value.parameters, record, at: record.createdAt })
          }
          rows.set(record.id, { record, status: "pending", cancel: Option.none() })
          return { _tag: "Accepted" }
        }),
      get: (job) => Effect.sync(() => Option.map(Option.fromUndefinedOr(rows.get(job)), (row) => ({ ...row }))),
      start: (job) =>
        Effect.sync(() => {
          const row = rows.get(job)
          if (row?.status === "pending") row.status = "running"
        }),
      requestCancel: (job, reason) =>
        Effect.sync((): Cancellation => {
          const row = rows.get(job)
          if (row === undefined) return "unknown"
          if (isFinal(row.status)) return "ended"
          if (Option.isSome(row.cancel)) return "repeated"
          row.cancel = Option.some(reason)
          return "requested"
        }),
      conclude: (job, final) =>
        Effect.gen(function*() {
          const now = yield* Clock.currentTimeMillis
          const row = rows.get(job)
          if (row === undefined) return final
          if (!isFinal(row.status)) {
            row.status = Option.isSome(row.cancel) ? "cancelled" : final
            ended.set(job, now)
          }
          return row.status as Job.Final
        }),
      sweep: Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        const gone: Array<Ids.JobId> = []
        const retention = Duration.toMillis(config.jobRetention)
        for (const [job, at] of ended) {
          if (ended.size <= config.maxEndedJobs && at + retention > now) break
          ended.delete(job)
          rows.delete(job)
          gone.push(job)
        }
        const binding = Duration.toMillis(config.idempotencyRetention)
        for (const [key, claim] of claims) {
          if (claims.size <= config.maxEndedJobs * 4 && claim.at + binding > now) break
          claims.delete(key)
        }
        return gone
      })
    })
  })
)
