/**
 * From a request to a job that runs: everything is decided first, then everything is done in one step (§7.1, §10). Jobs that a session asks
 * for and those that an agent delegates come to be in the same way.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Exit, Option, Result, type Scope, type Tracer } from "effect"
import { SecureRandom } from "effect/crypto"
import type * as Authenticator from "../authority/Authenticator.ts"
import * as Budget from "../authority/Budget.ts"
import * as Budgets from "../authority/Budgets.ts"
import * as Credentials from "../authority/Credentials.ts"
import * as Lease from "../authority/Lease.ts"
import * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as Leases from "../authority/Leases.ts"
import * as Operation from "../authority/Operation.ts"
import * as LeasedServices from "../leased/LeasedServices.ts"
import * as AgentContract from "../protocol/AgentContract.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Credential from "../protocol/Credential.ts"
import type * as Feature from "../protocol/Feature.ts"
import * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import * as SequencedFrame from "../protocol/SequencedFrame.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as AgentRegistry from "./AgentRegistry.ts"
import type * as Job from "./Job.ts"
import * as JobContext from "./JobContext.ts"
import * as JobJournal from "./JobJournal.ts"
import * as JobLimits from "./JobLimits.ts"
import * as JobRunner from "./JobRunner.ts"
import * as JobStore from "./JobStore.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as RunningJob from "./RunningJob.ts"
import * as Turns from "./internal/turns.ts"

/**
 * What is asked for, and on whose behalf.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ask {
  readonly principal: Authenticator.Principal
  readonly session: Ids.SessionId
  /** What the session negotiated. */
  readonly features: ReadonlySet<Feature.Feature>
  /** Whether credentials may be issued to who asks (§14). */
  readonly secure: boolean
  readonly traceId: Option.Option<Ids.TraceId>
  /** The span in which it is asked for. */
  readonly span: Tracer.AnySpan | undefined
  readonly request: JobMessage.Submit["payload"]
  readonly claim: Option.Option<Job.Claim>
  /** The job that delegates, and the name of that act. */
  readonly parent: Parent | undefined
}

/**
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
 * @category models
 * @since 0.1.0
 */
export interface Acceptance {
  /**
   * Decides on a request, and starts the job. `told` hears of it in the same step, before its agent runs, and must not wait.
   */
  readonly accept: (ask: Ask, told: (record: Job.JobRecord) => Effect.Effect<void>) => Effect.Effect<Outcome, Refusal>
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

const unNegotiated = (field: string, feature: Feature.Feature) =>
  new ArcpError.InvalidRequest({
    message: `${field}: the session did not negotiate ${feature}`,
    details: { field, feature }
  })

/** A lease that leans on a feature the session does not have is refused: to ignore it would widen it. */
const requireFeatures = ({ features, request }: Ask): Effect.Effect<void, ArcpError.InvalidRequest> => {
  const lease = request.lease_request ?? {}
  if (Object.hasOwn(lease, "cost.budget") && !features.has("cost.budget")) {
    return Effect.fail(unNegotiated("payload.lease_request.cost.budget", "cost.budget"))
  }
  if (Object.hasOwn(lease, "model.use") && !features.has("model.use")) {
    return Effect.fail(unNegotiated("payload.lease_request.model.use", "model.use"))
  }
  return request.lease_constraints?.expires_at !== undefined && !features.has("lease_expires_at")
    ? Effect.fail(unNegotiated("payload.lease_constraints.expires_at", "lease_expires_at"))
    : Effect.void
}

/** What is asked for over a line that is not safe gets none, nor does what comes of it (§14). */
const withoutCredentials = (features: ReadonlySet<Feature.Feature>): ReadonlySet<Feature.Feature> =>
  features.has("provisioned_credentials")
    ? new Set(Array.from(features).filter((feature) => feature !== "provisioned_credentials"))
    : features

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
  const registry = yield* AgentRegistry.AgentRegistry
  const leases = yield* Leases.Leases
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

  const requireInput = ({ request }: Ask): Effect.Effect<void, ArcpError.InvalidRequest> => {
    const input = JobContext.stringify(request.input, config.maxInput)
    return Result.isSuccess(input)
      ? Effect.void
      : Effect.fail(
          new ArcpError.InvalidRequest({
            message: `payload.input: ${input.failure}`,
            details: { field: "payload.input", limit: config.maxInput }
          })
        )
  }

  const countAsked = (parent: RunningJob.RunningJob, change: number) =>
    Effect.sync(() => void asked.set(parent, (asked.get(parent) ?? 0) + change))

  /** A delegation must not go on without end, be it in depth or in width (§14). */
  const withinBounds = (
    { parent }: Ask,
    accepted: Effect.Effect<Outcome, Refusal>
  ): Effect.Effect<Outcome, Refusal> => {
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

  /** What is asked about is the agent as it is resolved: a grant for one version is none for what a bare name means today. */
  const requireGrant = ({ parent, request }: Ask): Effect.Effect<AgentRegistry.Registered, Refusal> => {
    const resolved = registry.resolve(request.agent)
    if (parent === undefined) return resolved
    const granted = (reference: string) => parent.job.guard.authorize(Operation.agentDelegate(reference))
    return resolved.pipe(
      // Who may not delegate to an agent need not know whether it is there.
      Effect.tapError((error) => (error._tag === "InvalidRequest" ? Effect.void : granted(request.agent))),
      Effect.tap(({ contract }) => granted(AgentContract.reference(contract)))
    )
  }

  const leaseOf = Effect.fnUntraced(function* ({ parent, principal, request }: Ask, agent: string) {
    const granted = yield* leases.grant({
      principal,
      agent,
      request: request.lease_request,
      constraints: request.lease_constraints
    })
    if (parent === undefined) return granted
    const now = yield* Clock.currentTimeMillis
    // What the parent has left is for the ledger to say, in the step in which it sets it aside.
    return yield* Effect.fromResult(Lease.restrict(parent.job.guard.lease, granted, { now }))
  })

  /** What is to be spent counts from here on; a job that nobody bounds needs no account. */
  const openAccount = (
    id: Ids.JobId,
    lease: Lease.Lease,
    parent: Parent | undefined
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
              message: `lease_request.cost.budget: beyond what the parent has left, ${error.message}`,
              details: { field: "lease_request.cost.budget", ...error.details }
            })
      )
    )
  }

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
    ask: Ask,
    told: (record: Job.JobRecord) => Effect.Effect<void>,
    place: Place
  ): Effect.fn.Return<Outcome, Refusal> {
    const { parent, principal, request, session } = ask
    yield* requireInput(ask)
    const agent = yield* requireGrant(ask)
    const reference = AgentContract.reference(agent.contract)
    yield* requireFeatures(ask)
    const lease = yield* leaseOf(ask, reference)
    const prepared = yield* agent.prepare(request.input)

    const id = yield* freshJobId
    const traceId = Option.isSome(ask.traceId) ? ask.traceId.value : yield* freshTraceId
    const createdAt = yield* Clock.currentTimeMillis
    const constraints = lease.constraints.expires_at === undefined ? undefined : lease.constraints
    const features = ask.secure ? ask.features : withoutCredentials(ask.features)
    const accepted: JobMessage.Accepted["payload"] = {
      job_id: id,
      agent: reference,
      lease: lease.grants,
      ...(constraints === undefined ? undefined : { lease_constraints: constraints }),
      ...(Object.hasOwn(lease.grants, "cost.budget") ? { budget: Budget.toNumbers(lease.budget) } : undefined),
      accepted_at: Timestamp.format(createdAt),
      trace_id: traceId,
      ...(parent === undefined ? undefined : { parent_job_id: parent.job.record.id, delegate_id: parent.delegateId })
    }
    const record: Job.JobRecord = {
      id,
      agent: reference,
      principal: principal.id,
      session,
      traceId,
      parent: parent?.job.record.id,
      lease: lease.grants,
      constraints,
      features,
      maxRuntime: request.max_runtime_sec,
      createdAt,
      accepted
    }
    const started = start({ ask, agent, lease, prepared, record, place }, told)
    return yield* features.has("provisioned_credentials") ? provisioned(ask, lease, record, started) : started
  })

  /** Has credentials minted first, for they come with the acceptance; if the job does not come to be they are void again (§9.8.2). */
  const provisioned = (
    { parent }: Ask,
    lease: Lease.Lease,
    record: Job.JobRecord,
    started: Effect.Effect<Outcome, Refusal>
  ): Effect.Effect<Outcome, Refusal> => {
    const revoked = credentials.revokeAll(record.id)
    /** Whether a job has ended from which this one has its authority: what it leaves behind must not get any of its own (§9.8.2). */
    const isLeft = () => parent !== undefined && RunningJob.lineage(parent.job).some((job) => job.isOver())
    const issued = () =>
      credentials.issueFor(
        {
          job: record.id,
          agent: record.agent,
          principal: record.principal,
          parent: Option.fromUndefinedOr(record.parent),
          lease,
          // What is to be spent of a parent's budget bounds a child that has none.
          budget: Effect.suspend(() => {
            const account = running.get(record.id)?.account
            if (account !== undefined && lease.budget.size > 0) return account.available
            const shared = parent?.job.account
            return lease.budget.size === 0 && shared !== undefined ? shared.available : Effect.succeed(lease.budget)
          })
        },
        { secure: true, onRotated: (credential, told) => rotated(record, credential, told) },
        () =>
          // Looked at again, for that may have been while they were minted.
          isLeft()
            ? Effect.andThen(revoked, started)
            : Effect.tap(started, ({ _tag }) => (_tag === "Started" ? Effect.void : revoked))
      )
    return Effect.suspend(() => (isLeft() ? started : issued()))
  }

  /** The new value stands in no journal: the outbox of the submitter adds it, and says when it was sent. */
  const rotated = Effect.fnUntraced(function* (
    { id }: Job.JobRecord,
    credential: Ids.CredentialId,
    told: Effect.Effect<void>
  ) {
    const isTold = (yield* credentials.current(id)).some((one) => one.id === credential && Credential.isDefined(one))
    if (!isTold) return
    const body = { phase: "credential_rotated", id: credential, credential_id: credential }
    const draft: JobJournal.Draft = {
      type: "job.event",
      kind: "status",
      payload: `${SequencedFrame.payloadHead("status", Timestamp.format(yield* Clock.currentTimeMillis))}${JSON.stringify(body)}}`,
      note: { _tag: "Rotated", credential }
    }
    yield* Effect.ignore(Effect.andThen(journal.append(id, 1, [draft], { forced: true }), told))
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
      readonly ask: Ask
      readonly agent: AgentRegistry.Registered
      readonly lease: Lease.Lease
      readonly prepared: AgentRegistry.Prepared
      readonly record: Job.JobRecord
      readonly place: Place
    },
    told: (record: Job.JobRecord) => Effect.Effect<void>
  ): Effect.Effect<Outcome, Refusal> =>
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
          yield* journal.open(record)
          yield* told(record)
          yield* runner.start({
            record,
            epoch: 1,
            principal: ask.principal,
            prepared,
            turn,
            guard: yield* LeaseGuard.make(lease, { account, parent: parent?.job.guard }),
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
