/**
 * The records of jobs and the keys under which they were asked for: what must survive when journals are trimmed.
 *
 * Each method is one atomic step, since each decides something that must not be decided twice.
 *
 * @since 0.1.0
 */
import { type Clock, Context, Duration, Effect, Layer, Option } from "effect"
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
 * How a job ends, and why it was to be cancelled, if it was.
 *
 * @category models
 * @since 0.1.0
 */
export interface Conclusion {
  readonly final: Job.Final
  readonly cancel: Option.Option<string>
}

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
  /** Sessions that repeated the submission under its key, the latest of them: each is a submitter too. */
  readonly submitters: ReadonlySet<Ids.SessionId>
}

/**
 * Which jobs to list. Bounds on `createdAt` are exclusive, in milliseconds since the Unix epoch.
 *
 * @category models
 * @since 0.1.0
 */
export interface Query {
  readonly principal: string
  readonly statuses: Option.Option<ReadonlySet<string>>
  /** `name` for any version, or `name@version`. */
  readonly agent: Option.Option<string>
  readonly createdAfter: number
  readonly createdBefore: number
  /** The place of the job that came last: when it was created, and its id. New jobs and forgotten ones do not move it. */
  readonly after: Option.Option<readonly [createdAt: number, job: string]>
  readonly limit: number
}

/**
 * What is known of each job beside what it said.
 *
 * @category ports
 * @since 0.1.0
 */
export class JobStore extends Context.Service<
  JobStore,
  {
    /** Stores the record and binds the key to it, if there is one and it is free. */
    readonly accept: (record: Job.JobRecord, claim: Option.Option<Job.Claim>) => Effect.Effect<Acceptance>
    /** The job that a key stands for already, of which the session becomes a submitter; looked up before anything costly is done for a submit. */
    readonly claimed: (
      claim: Job.Claim
    ) => Effect.Effect<Option.Option<Exclude<Acceptance, { readonly _tag: "Accepted" }>>>
    readonly get: (job: Ids.JobId) => Effect.Effect<Option.Option<Stored>>
    /** Jobs of a principal, oldest first, after a place in that order (§6.6). */
    readonly list: (query: Query) => Effect.Effect<ReadonlyArray<Stored>>
    readonly start: (job: Ids.JobId) => Effect.Effect<void>
    /** Notes that a job is to be cancelled; from then on it can only end as cancelled. */
    readonly requestCancel: (job: Ids.JobId, reason: string) => Effect.Effect<Cancellation>
    /**
     * Decides how a job ends: the outcome given, or `cancelled` if that was asked for before. Only the first decision counts; a later one
     * gets it back. `characters` is about how long its outcome is, which counts against `maxOutcomes`.
     */
    readonly conclude: (job: Ids.JobId, final: Job.Final, characters: number) => Effect.Effect<Conclusion>
    /** Jobs that ended longer ago than the retention, now forgotten. */
    readonly sweep: Effect.Effect<ReadonlyArray<Ids.JobId>>
  }
>()("arcp/runtime/JobStore") {}

/** A key and what it stands for. */
interface Bound {
  readonly parameters: string
  readonly record: Job.JobRecord
  /** When it was bound. */
  readonly at: number
}

interface Ended {
  readonly principal: string
  readonly at: number
  readonly characters: number
}

/**
 * The oldest of more than `most` things, so that at most that many are left: of those alone who hold more than an even share, since a busy
 * principal must not push out what others keep.
 */
const surplus = <K, V>(things: ReadonlyMap<K, V>, most: number, holder: (thing: V) => string): ReadonlyArray<K> => {
  if (things.size <= most) return []
  const held = new Map<string, number>()
  for (const thing of things.values()) held.set(holder(thing), (held.get(holder(thing)) ?? 0) + 1)
  const share = most / Math.max(1, held.size)
  const gone: Array<K> = []
  for (const [key, thing] of things) {
    if (things.size - gone.length <= most) break
    const left = held.get(holder(thing))!
    if (left <= share) continue
    held.set(holder(thing), left - 1)
    gone.push(key)
  }
  return gone
}

interface Row {
  readonly record: Job.JobRecord
  status: Job.Status
  cancel: Option.Option<string>
  submitters: ReadonlySet<Ids.SessionId>
  isForgotten: boolean
}

const nobody: ReadonlySet<Ids.SessionId> = new Set()

/** Sessions beside the first that one job remembers as its submitters. */
const maxSubmitters = 16

const compare = (a: Row, b: Row) => a.record.createdAt - b.record.createdAt || (a.record.id < b.record.id ? -1 : 1)

const none: ReadonlyArray<Ids.JobId> = []

/** Milliseconds by the clock that nobody sets: a step of the wall clock must neither forget what binds nor keep it for ever. */
const monotonic = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000

const isFinal = (status: Job.Status): status is Job.Final => status !== "pending" && status !== "running"

/**
 * Records in memory, within the bounds of the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<JobStore> = Layer.effect(
  JobStore,
  Effect.gen(function* () {
    const config = yield* RuntimeConfig.RuntimeConfig
    const rows = new Map<Ids.JobId, Row>()
    /** By principal and key. A map keeps the order of insertion, so the oldest key is the first. */
    const claims = new Map<string, Bound>()
    /** Ended jobs, oldest first. */
    const ended = new Map<Ids.JobId, Ended>()
    /** Characters of their outcomes. */
    let outcomes = 0
    /** Characters of the parameters that keys stand for. */
    let parameters = 0
    let nextSweep = 0

    /** Each principal's jobs, oldest first. */
    const byPrincipal = new Map<string, Array<Row>>()

    /** Nearly always at the end: a clock may step back. */
    const insert = (order: Array<Row>, row: Row) => {
      let at = order.length
      while (at > 0 && compare(order[at - 1]!, row) > 0) at--
      order.splice(at, 0, row)
    }

    const forget = (jobs: ReadonlyArray<Ids.JobId>) => {
      const principals = new Set<string>()
      for (const job of jobs) {
        const row = rows.get(job)
        if (row === undefined) continue
        row.isForgotten = true
        principals.add(row.record.principal)
        rows.delete(job)
      }
      for (const principal of principals) {
        const left = (byPrincipal.get(principal) ?? []).filter(({ isForgotten }) => !isForgotten)
        if (left.length === 0) byPrincipal.delete(principal)
        else byPrincipal.set(principal, left)
      }
    }

    const keyOf = (claim: Job.Claim) => JSON.stringify([claim.principal, claim.key])

    const claimed = (claim: Job.Claim): Option.Option<Exclude<Acceptance, { readonly _tag: "Accepted" }>> => {
      const bound = claims.get(keyOf(claim))
      if (bound === undefined) return Option.none()
      const { record } = bound
      if (bound.parameters !== claim.parameters) return Option.some({ _tag: "Conflict", record })
      const row = rows.get(record.id)
      if (row !== undefined && claim.session !== record.session) {
        const others = Array.from(row.submitters).filter((session) => session !== claim.session)
        row.submitters = new Set([...others, claim.session].slice(-maxSubmitters))
      }
      return Option.some({ _tag: "Known", record })
    }

    const sweep = (now: number): ReadonlyArray<Ids.JobId> => {
      const retention = Duration.toMillis(config.jobRetention)
      // In large steps, since each costs time in proportion to what stays.
      const crowded =
        ended.size > config.maxEndedJobs * 1.1 ||
        outcomes > config.maxOutcomes * 1.1 ||
        claims.size > config.maxEndedJobs * 4.4 ||
        parameters > config.maxParameters * 1.1
      if (!crowded && now < nextSweep) return none
      nextSweep = now + retention / 64
      const gone: Array<Ids.JobId> = []
      const end = (job: Ids.JobId) => {
        outcomes -= ended.get(job)!.characters
        ended.delete(job)
        gone.push(job)
      }
      for (const [job, { at }] of ended) {
        if (at + retention > now) break
        end(job)
      }
      for (const job of surplus(ended, config.maxEndedJobs, ({ principal }) => principal)) end(job)
      for (const job of ended.keys()) {
        if (outcomes <= config.maxOutcomes) break
        end(job)
      }
      if (gone.length > 0) forget(gone)
      const binding = Duration.toMillis(config.idempotencyRetention)
      const unbind = (key: string) => {
        parameters -= claims.get(key)!.parameters.length
        claims.delete(key)
      }
      for (const [key, { at }] of claims) {
        if (at + binding > now && parameters <= config.maxParameters) break
        unbind(key)
      }
      for (const key of surplus(claims, config.maxEndedJobs * 4, ({ record }) => record.principal)) unbind(key)
      return gone
    }

    return JobStore.of({
      claimed: (claim) => Effect.sync(() => claimed(claim)),
      accept: (record, claim) =>
        Effect.clockWith((clock) =>
          Effect.sync((): Acceptance => {
            if (Option.isSome(claim)) {
              const bound = claimed(claim.value)
              if (Option.isSome(bound)) return bound.value
              claims.set(keyOf(claim.value), { parameters: claim.value.parameters, record, at: monotonic(clock) })
              parameters += claim.value.parameters.length
            }
            const row: Row = {
              record,
              status: "pending",
              cancel: Option.none(),
              submitters: nobody,
              isForgotten: false
            }
            rows.set(record.id, row)
            const order = byPrincipal.get(record.principal)
            if (order === undefined) byPrincipal.set(record.principal, [row])
            else insert(order, row)
            return { _tag: "Accepted" }
          })
        ),
      get: (job) => Effect.sync(() => Option.map(Option.fromUndefinedOr(rows.get(job)), (row) => ({ ...row }))),
      list: ({ after, agent, createdAfter, createdBefore, limit, principal, statuses }) =>
        Effect.sync(() => {
          const found: Array<Stored> = []
          const order = byPrincipal.get(principal) ?? []
          const isBefore = ({ record }: Row, [createdAt, id]: readonly [number, string]) =>
            record.createdAt < createdAt || (record.createdAt === createdAt && record.id <= id)
          // Jobs stand in the order in which they were created, so where to begin is found by halving.
          let low = 0
          for (let high = order.length; Option.isSome(after) && low < high;) {
            const middle = (low + high) >>> 1
            if (isBefore(order[middle]!, after.value)) low = middle + 1
            else high = middle
          }
          for (; low < order.length && found.length < limit; low++) {
            const row = order[low]!
            const { agent: reference, createdAt } = row.record
            if (
              !row.isForgotten &&
              createdAt > createdAfter &&
              createdAt < createdBefore &&
              (Option.isNone(statuses) || statuses.value.has(row.status)) &&
              (Option.isNone(agent) || agent.value === reference || agent.value === reference.split("@")[0])
            )
              found.push({ ...row })
          }
          return found
        }),
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
      conclude: (job, final, characters) =>
        Effect.clockWith((clock) =>
          Effect.sync((): Conclusion => {
            const row = rows.get(job)
            if (row === undefined) return { final, cancel: Option.none() }
            if (!isFinal(row.status)) {
              ended.set(job, { principal: row.record.principal, at: monotonic(clock), characters })
              outcomes += characters
              row.status = Option.isSome(row.cancel) ? "cancelled" : final
            }
            return { final: isFinal(row.status) ? row.status : final, cancel: row.cancel }
          })
        ),
      sweep: Effect.clockWith((clock) => Effect.sync(() => sweep(monotonic(clock))))
    })
  })
)
