/**
 * From a request to a job that runs: everything is decided first, then everything is done in one step (§7.1, §10). Jobs that a session asks
 * for and those that an agent delegates come to be in the same way.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Exit, Option, Result, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Budget from "../authority/Budget.ts"
import * as Budgets from "../authority/Budgets.ts"
import * as Credentials from "../authority/Credentials.ts"
import * as Lease from "../authority/Lease.ts"
import * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as Leases from "../authority/Leases.ts"
import * as LeasedServices from "../leased/LeasedServices.ts"
import * as AgentContract from "../protocol/AgentContract.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Ids from "../protocol/Ids.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as AgentRegistry from "./AgentRegistry.ts"
import * as Decision from "./internal/decision.ts"
import * as Provisioning from "./internal/provisioning.ts"
import * as Turns from "./internal/turns.ts"
import type * as Job from "./Job.ts"
import * as JobJournal from "./JobJournal.ts"
import * as JobLimits from "./JobLimits.ts"
import type * as JobRequest from "./JobRequest.ts"
import * as JobRunner from "./JobRunner.ts"
import * as JobStore from "./JobStore.ts"
import * as RunningJob from "./RunningJob.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * What became of a request that is not refused.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "Started"; readonly record: Job.JobRecord }
  | Exclude<JobStore.Acceptance, { readonly _tag: "Accepted" }>

/**
 * The one way in which a job comes to be.
 *
 * @category models
 * @since 0.1.0
 */
export interface Acceptance {
  /**
   * Decides on a request, and starts the job. `told` hears of it in the same step, before its agent runs, and must not wait.
   */
  readonly accept: (
    ask: JobRequest.JobRequest,
    told: (record: Job.JobRecord) => Effect.Effect<void>
  ) => Effect.Effect<Outcome, JobRequest.Refusal>
  readonly running: (job: Ids.JobId) => RunningJob.RunningJob | undefined
  /** Has every job end, and is done once their outcomes are written. */
  readonly shutdown: Effect.Effect<void>
}

/** A place within the limits of who asks; a run keeps it until its end. */
interface Place {
  readonly leave: () => void
  kept: boolean
}

const over = (job: Ids.JobId) =>
  new ArcpError.InvalidRequest({ message: "The job that delegates has ended", details: { parent_job_id: job } })

const recordOf = (
  { features, parent, principal, request, secure, session }: JobRequest.JobRequest,
  agent: string,
  lease: Lease.Lease,
  { createdAt, id, traceId }: Pick<Job.JobRecord, "createdAt" | "id" | "traceId">
): Job.JobRecord => {
  const constraints = lease.constraints.expires_at === undefined ? undefined : lease.constraints
  return {
    id,
    agent,
    principal: principal.id,
    session,
    traceId,
    parent: parent?.job.record.id,
    lease: lease.grants,
    constraints,
    features: secure ? features : Provisioning.without(features),
    maxRuntime: request.max_runtime_sec,
    createdAt,
    accepted: {
      job_id: id,
      agent,
      lease: lease.grants,
      ...(constraints === undefined ? undefined : { lease_constraints: constraints }),
      ...(Object.hasOwn(lease.grants, "cost.budget") ? { budget: Budget.toNumbers(lease.budget) } : undefined),
      accepted_at: Timestamp.format(createdAt),
      trace_id: traceId,
      ...(parent === undefined ? undefined : { parent_job_id: parent.job.record.id, delegate_id: parent.delegateId })
    }
  }
}

/**
 * `onEnd` is called when a job has ended; `delegate` is what the agents delegate with.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: {
  /** Owns the fibers of agents. */
  readonly scope: Scope.Scope
  readonly onEnd: () => void
  readonly delegate: JobRunner.Run["delegate"]
}): Effect.fn.Return<
  Acceptance,
  never,
  | AgentRegistry.AgentRegistry
  | Leases.Leases
  | Budgets.Budgets
  | Credentials.Credentials
  | JobStore.JobStore
  | JobJournal.JobJournal
  | SecureRandom.SecureRandom
> {
  const config = yield* RuntimeConfig.RuntimeConfig
  const decision = yield* Decision.make
  const budgets = yield* Budgets.Budgets
  const credentials = yield* Credentials.Credentials
  const store = yield* JobStore.JobStore
  const journal = yield* JobJournal.JobJournal
  const leased = yield* LeasedServices.forJob
  const random = yield* SecureRandom.SecureRandom
  const runner = yield* JobRunner.make
  const limits = JobLimits.make(config)
  const running = new Map<Ids.JobId, RunningJob.RunningJob>()
  /** How many children of each job are being decided on. */
  const asked = new WeakMap<RunningJob.RunningJob, number>()
  const turns = Turns.make()
  const freshJobId = Effect.provideService(Ids.makeJobId, SecureRandom.SecureRandom, random)
  const freshTraceId = Effect.provideService(Ids.makeTraceId, SecureRandom.SecureRandom, random)

  const countAsked = (parent: RunningJob.RunningJob, change: number) =>
    Effect.sync(() => void asked.set(parent, (asked.get(parent) ?? 0) + change))

  /** A delegation must not go on without end, be it in depth or in width (§14). */
  const withinBounds = (
    { parent }: JobRequest.JobRequest,
    accepted: Effect.Effect<Outcome, JobRequest.Refusal>
  ): Effect.Effect<Outcome, JobRequest.Refusal> => {
    if (parent === undefined) return accepted
    const { job } = parent
    if (RunningJob.lineage(job).length > config.maxDelegationDepth) {
      return Effect.fail(JobLimits.exceeded("jobs_in_a_chain_of_delegations", config.maxDelegationDepth, 1000))
    }
    return Effect.suspend(() =>
      job.children.size + (asked.get(job) ?? 0) < config.maxChildren
        ? Effect.acquireUseRelease(
            countAsked(job, 1),
            () => accepted,
            () => countAsked(job, -1)
          )
        : Effect.fail(JobLimits.exceeded("children_per_job", config.maxChildren, 1000))
    )
  }

  /** What is to be spent counts from here on; a job that nobody bounds needs no account. */
  const openAccount = (
    id: Ids.JobId,
    lease: Lease.Lease,
    parent: JobRequest.Parent | undefined
  ): Effect.Effect<Budgets.Account | undefined, ArcpError.BudgetExhausted | ArcpError.LeaseSubsetViolation> => {
    if (lease.budget.size === 0 && parent?.job.account === undefined && budgets.bindsAll !== true) {
      return Effect.succeed(undefined)
    }
    const opened = budgets.open({
      job: id,
      caps: lease.budget,
      parent: parent?.job.account?.job,
      record: (entry) => journal.record(id, 1, entry)
    })
    if (parent === undefined) return opened
    return opened.pipe(
      Effect.provideService(Budgets.CurrentReservation, parent.reservation),
      // More than is left is more than the parent has (§9.4).
      Effect.mapError((error) =>
        error.details?.["wanted"] === undefined
          ? error
          : new ArcpError.LeaseSubsetViolation({
              message: `lease_request.cost.budget: beyond what the parent has left. ${error.message}`,
              details: { field: "lease_request.cost.budget", ...error.details }
            })
      )
    )
  }

  const provisioned = Provisioning.make(credentials, journal, (job) => running.get(job)?.account)

  const accept: Acceptance["accept"] = (ask, told) => withinBounds(ask, admitted(ask, told))

  const admitted: Acceptance["accept"] = Effect.fnUntraced(function* (ask, told) {
    const { principal, session } = ask
    // By the clock that nobody sets: a step back of the other would keep a principal out for as long.
    const now = Number(yield* Clock.monotonicTimeNanos) / 1_000_000
    const admitted = limits.admit(principal.id, session, now)
    if (Result.isFailure(admitted)) return yield* admitted.failure
    const place: Place = { leave: admitted.success, kept: false }
    return yield* Effect.ensuring(
      decide(ask, told, place),
      // Once a run has the place it gives it back itself, also if who asked for it goes at that moment.
      Effect.sync(() => (place.kept ? undefined : place.leave()))
    )
  })

  const decide = Effect.fnUntraced(function* (
    ask: JobRequest.JobRequest,
    told: (record: Job.JobRecord) => Effect.Effect<void>,
    place: Place
  ): Effect.fn.Return<Outcome, JobRequest.Refusal> {
    const { agent, lease, prepared } = yield* decision(ask)
    const reference = AgentContract.reference(agent.contract)
    const id = yield* freshJobId
    const traceId = Option.isSome(ask.traceId) ? ask.traceId.value : yield* freshTraceId
    const createdAt = yield* Clock.currentTimeMillis
    const record = recordOf(ask, reference, lease, { id, traceId, createdAt })
    const started = start({ ask, agent, lease, prepared, record, place }, told)
    return yield* record.features.has("provisioned_credentials")
      ? provisioned({ record, lease, parent: ask.parent?.job }, started)
      : started
  })

  /** From the claim on nothing may come between: a key without a job would refuse its owner, a job without a follower be silent. */
  const start = (
    {
      agent: { places },
      ask,
      lease,
      place,
      prepared,
      record
    }: {
      readonly ask: JobRequest.JobRequest
      readonly agent: AgentRegistry.Registered
      readonly lease: Lease.Lease
      readonly prepared: AgentRegistry.Prepared
      readonly record: Job.JobRecord
      readonly place: Place
    },
    told: (record: Job.JobRecord) => Effect.Effect<void>
  ): Effect.Effect<Outcome, JobRequest.Refusal> =>
    Effect.uninterruptible(
      Effect.gen(function* () {
        const { parent } = ask
        const born = parent?.job.expectChild()
        if (parent !== undefined && born === undefined) return yield* over(parent.job.record.id)
        let account: Budgets.Account | undefined
        let turn: Turns.Turn | undefined
        return yield* Effect.gen(function* () {
          if (places !== undefined) turn = yield* turns.reserve(record.agent, places, parent?.job)
          account = yield* openAccount(record.id, lease, parent)
          const acceptance = yield* store.accept(record, ask.claim)
          if (acceptance._tag !== "Accepted") return acceptance
          const begin = Effect.gen(function* () {
            yield* journal.open(record)
            const guard = yield* LeaseGuard.make(lease, { account, parent: parent?.job.guard })
            yield* told(record)
            yield* runner.start({
              record,
              epoch: 1,
              principal: ask.principal,
              prepared,
              turn,
              guard,
              account,
              parent: parent?.job,
              detached: parent?.detached ?? false,
              span: ask.span,
              services: leased,
              delegate: options.delegate,
              credentials: credentials.available ? credentials.current(record.id) : Effect.succeed([]),
              onConcluded: credentials.available ? credentials.revokeAll(record.id) : Effect.void,
              scope: options.scope,
              onStart: (job) => {
                place.kept = true
                turn?.begin(job)
                running.set(record.id, job)
              },
              onEnd: () => {
                running.delete(record.id)
                place.leave()
                options.onEnd()
              }
            })
            return { _tag: "Started", record } as const
          })
          // Stored it is there for all: without an end its key would stand for a job that never has one.
          const giveUp = Effect.andThen(runner.giveUp({ record, epoch: 1 }), Effect.sync(options.onEnd))
          return yield* Effect.onError(begin, () => (place.kept ? Effect.void : giveUp))
        }).pipe(
          Effect.onExit((exit) =>
            Exit.isSuccess(exit) && exit.value._tag === "Started"
              ? Effect.void
              : Effect.andThen(turn?.leave ?? Effect.void, account?.close ?? Effect.void)
          ),
          Effect.ensuring(Effect.sync(() => born?.()))
        )
      })
    )

  const shutdown = Effect.suspend(() => {
    const jobs = Array.from(running.values())
    return Effect.andThen(
      Effect.forEach(jobs, (job) => job.stop({ _tag: "Shutdown" }), { discard: true }),
      Effect.forEach(jobs, (job) => job.ended, { discard: true })
    )
  })

  return { accept, running: (job) => running.get(job), shutdown }
})
