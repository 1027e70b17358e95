/**
 * The use cases of jobs: submit and cancel (§7). Owns every run; a job lives as long as this layer, whatever becomes of the session that
 * asked for it.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Exit, Latch, Layer, Option, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import type * as Authenticator from "../authority/Authenticator.ts"
import * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as Leases from "../authority/Leases.ts"
import * as ObserverPolicy from "../authority/ObserverPolicy.ts"
import * as LeasedServices from "../leased/LeasedServices.ts"
import * as AgentContract from "../protocol/AgentContract.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Feature from "../protocol/Feature.ts"
import * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as AgentRegistry from "./AgentRegistry.ts"
import * as Job from "./Job.ts"
import * as JobContext from "./JobContext.ts"
import * as JobJournal from "./JobJournal.ts"
import * as JobLimits from "./JobLimits.ts"
import * as JobRunner from "./JobRunner.ts"
import * as JobStore from "./JobStore.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * A submission and who makes it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Submission {
  readonly principal: Authenticator.Principal
  readonly session: Ids.SessionId
  /** What the session negotiated. */
  readonly features: ReadonlySet<Feature.Feature>
  readonly traceId: Option.Option<Ids.TraceId>
  readonly request: JobMessage.Submit["payload"]
}

/**
 * Hears of a job that was accepted.
 *
 * @category models
 * @since 0.1.0
 */
export type Submitted = (record: Job.JobRecord) => Effect.Effect<void>

/**
 * Why a submission can be refused.
 *
 * @category models
 * @since 0.1.0
 */
export type Refusal =
  | ArcpError.InvalidRequest
  | ArcpError.AgentNotAvailable
  | ArcpError.AgentVersionNotAvailable
  | ArcpError.PermissionDenied
  | ArcpError.DuplicateKey
  | ArcpError.InternalError

/**
 * @category services
 * @since 0.1.0
 */
export class Jobs extends Context.Service<
  Jobs,
  {
    /**
     * Accepts a job and starts it. With an idempotency key that stands for the same request already, gives the job of then and starts nothing
     * (§7.2). `taken` is told of the job in the same step, before the agent runs, and must not wait.
     */
    readonly submit: (submission: Submission, taken: Submitted) => Effect.Effect<void, Refusal>
    /**
     * Takes the request to end a job; `taken` runs once that is certain and before the outcome is written, which is the order in which the
     * client must hear of them (§7.4). It must not wait.
     */
    readonly cancel: (
      request: {
        readonly principal: Authenticator.Principal
        readonly session: Ids.SessionId
        readonly job: Ids.JobId
        readonly reason: string
      },
      taken: Effect.Effect<void>
    ) => Effect.Effect<void, ArcpError.JobNotFound | ArcpError.PermissionDenied>
    /** A job that this principal may watch; the decision is logged (§14). */
    readonly observe: (
      principal: Authenticator.Principal,
      job: Ids.JobId
    ) => Effect.Effect<JobStore.Stored, ArcpError.JobNotFound>
    /** The principal's own jobs, oldest first, running and ended (§6.6). */
    readonly list: (query: JobStore.Query) => Effect.Effect<ReadonlyArray<JobStore.Stored>>
  }
>()("arcp/runtime/Jobs") {}

const notFound = (job: Ids.JobId, details?: { readonly final_status: string }) =>
  new ArcpError.JobNotFound({ message: `No job ${job}`, details: { job_id: job, ...details } })

const unNegotiated = (field: string, feature: Feature.Feature) =>
  new ArcpError.InvalidRequest({
    message: `${field}: the session did not negotiate ${feature}`,
    details: { field, feature }
  })

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Jobs,
  never,
  AgentRegistry.AgentRegistry | Leases.Leases | JobStore.JobStore | JobJournal.JobJournal | SecureRandom.SecureRandom
> = Layer.effect(
  Jobs,
  Effect.gen(function* () {
    const config = yield* RuntimeConfig.RuntimeConfig
    const registry = yield* AgentRegistry.AgentRegistry
    const leases = yield* Leases.Leases
    const store = yield* JobStore.JobStore
    const journal = yield* JobJournal.JobJournal
    const leased = yield* LeasedServices.forJob
    const policy = yield* ObserverPolicy.ObserverPolicy
    const scope = yield* Effect.scope
    const services = yield* Effect.context<SecureRandom.SecureRandom>()
    const runner = yield* JobRunner.make
    const running = new Map<Ids.JobId, JobRunner.Running>()
    const limits = JobLimits.make(config)
    /** Open once a job has ended since the last sweep began to wait. */
    const ended = yield* Latch.make(false)

    const sweep = Effect.flatMap(store.sweep, (gone) =>
      gone.length === 0 ? Effect.void : Effect.forEach(gone, (job) => journal.remove(job), { discard: true })
    )

    /** A lease that leans on a feature the session does not have is refused: to ignore it would widen it. */
    const requireFeatures = ({ features, request }: Submission): Effect.Effect<void, ArcpError.InvalidRequest> => {
      const lease = request.lease_request ?? {}
      if (Object.hasOwn(lease, "cost.budget") && !features.has("cost.budget")) {
        return Effect.fail(unNegotiated("payload.lease_request.cost.budget", "cost.budget"))
      }
      if (Object.hasOwn(lease, "model.use") && !features.has("model.use")) {
        return Effect.fail(unNegotiated("payload.lease_request.model.use", "model.use"))
      }
      if (request.lease_constraints?.expires_at !== undefined && !features.has("lease_expires_at")) {
        return Effect.fail(unNegotiated("payload.lease_constraints.expires_at", "lease_expires_at"))
      }
      return request.parent_job_id === undefined
        ? Effect.void
        : Effect.fail(
            new ArcpError.InvalidRequest({
              message: "payload.parent_job_id: this runtime takes delegations from agents only",
              details: { field: "payload.parent_job_id" }
            })
          )
    }

    const claimOf = ({ principal, request, session }: Submission): Option.Option<Job.Claim> => {
      const { idempotency_key: key, ...parameters } = request
      return key === undefined
        ? Option.none()
        : Option.some({ principal: principal.id, session, key, parameters: Job.canonical(parameters) })
    }

    const settle = Effect.fnUntraced(function* (
      { _tag, record }: Exclude<JobStore.Acceptance, { readonly _tag: "Accepted" }>,
      taken: Submitted
    ): Effect.fn.Return<void, ArcpError.DuplicateKey> {
      if (_tag === "Known" && Option.isSome(yield* store.get(record.id))) return yield* taken(record)
      // A key binds longer than its job is kept: accepting it would promise an outcome that nobody can give any more.
      const message =
        _tag === "Known"
          ? "The job of the idempotency key has ended, and what came of it is no longer kept"
          : "The idempotency key stands for another request"
      return yield* new ArcpError.DuplicateKey({ message, details: { existing_job_id: record.id } })
    })

    const submit: Jobs["Service"]["submit"] = Effect.fnUntraced(function* (submission, taken) {
      const { principal, session } = submission
      yield* sweep
      const claim = claimOf(submission)
      const bound = Option.isSome(claim) ? yield* store.claimed(claim.value) : Option.none()
      if (Option.isSome(bound)) return yield* Effect.uninterruptible(settle(bound.value, taken))
      const place = limits.admit(principal.id, session, yield* Clock.currentTimeMillis)
      if (Result.isFailure(place)) return yield* place.failure
      yield* Effect.onExit(accept(submission, claim, taken, place.success), (exit) =>
        // Once a run has the place it gives it back itself.
        Effect.sync(() => (Exit.isSuccess(exit) && exit.value ? undefined : place.success()))
      )
    })

    /** Decides on a submission that has a place, and starts it; `true` if a run has that place now. */
    const accept = Effect.fnUntraced(function* (
      submission: Submission,
      claim: Option.Option<Job.Claim>,
      taken: Submitted,
      leave: () => void
    ): Effect.fn.Return<boolean, Refusal> {
      const { principal, request, session } = submission
      const input = JobContext.stringify(request.input, config.maxInput)
      if (Result.isFailure(input)) {
        return yield* new ArcpError.InvalidRequest({
          message: `payload.input: ${input.failure}`,
          details: { field: "payload.input", limit: config.maxInput }
        })
      }
      const agent = yield* registry.resolve(request.agent)
      yield* requireFeatures(submission)
      const lease = yield* leases.grant({
        principal,
        agent: AgentContract.reference(agent.contract),
        request: request.lease_request,
        constraints: request.lease_constraints
      })
      const prepared = yield* agent.prepare(request.input)
      const { places } = agent
      const guard = yield* LeaseGuard.make(lease)

      const id = yield* Effect.provideContext(Ids.makeJobId, services)
      const traceId = Option.isSome(submission.traceId)
        ? submission.traceId.value
        : yield* Ids.makeTraceId.pipe(Effect.provideContext(services))
      const createdAt = yield* Clock.currentTimeMillis
      const reference = AgentContract.reference(agent.contract)
      const constraints = lease.constraints.expires_at === undefined ? undefined : lease.constraints
      const accepted: JobMessage.Accepted["payload"] = {
        job_id: id,
        agent: reference,
        lease: lease.grants,
        ...(constraints === undefined ? undefined : { lease_constraints: constraints }),
        accepted_at: Timestamp.format(createdAt),
        trace_id: traceId
      }
      const record: Job.JobRecord = {
        id,
        agent: reference,
        principal: principal.id,
        session,
        traceId,
        parent: undefined,
        lease: lease.grants,
        constraints,
        features: submission.features,
        maxRuntime: request.max_runtime_sec,
        createdAt,
        accepted
      }
      // From the claim on nothing may come between: a key without a job would refuse its owner, a job without a follower be silent.
      return yield* Effect.uninterruptible(
        Effect.gen(function* () {
          if (places !== undefined && !places.reserve()) {
            return yield* JobLimits.exceeded("jobs_waiting_for_this_agent", places.queue, 1000)
          }
          const acceptance = yield* store.accept(record, claim)
          if (acceptance._tag !== "Accepted") {
            if (places !== undefined) yield* places.leave(false)
            yield* settle(acceptance, taken)
            return false
          }
          yield* journal.open(record)
          yield* taken(record)
          let hasEnded = false
          const run = yield* runner.start({
            record,
            epoch: 1,
            prepared,
            places,
            guard,
            services: leased,
            scope,
            onEnd: () => {
              hasEnded = true
              running.delete(id)
              leave()
              ended.openUnsafe()
            }
          })
          if (!hasEnded) running.set(id, run)
          return true
        })
      )
    })

    /** Unknown jobs and those that may not be seen get the same answer. */
    const visible = Effect.fnUntraced(function* (principal: Authenticator.Principal, job: Ids.JobId) {
      const stored = yield* store.get(job)
      if (Option.isNone(stored)) return yield* notFound(job)
      const { agent, principal: owner } = stored.value.record
      const allowed = owner === principal.id || (yield* policy({ observer: principal, owner, job, agent }))
      return allowed ? stored.value : yield* notFound(job)
    })

    const observe: Jobs["Service"]["observe"] = Effect.fn("Jobs.observe")(function* (principal, job) {
      const decision = yield* Effect.exit(visible(principal, job))
      // Of a job that may not be seen only the log says whose it is.
      const owner = Option.match(yield* store.get(job), {
        onNone: () => "unknown",
        onSome: ({ record }) => record.principal
      })
      const facts = { observer: principal.id, job, owner, decision: Exit.isSuccess(decision) ? "allowed" : "refused" }
      yield* Effect.logInfo("A principal asks to watch a job", facts)
      return yield* decision
    })

    const cancel: Jobs["Service"]["cancel"] = Effect.fn("Jobs.cancel")(function* (
      { job, principal, reason, session },
      taken
    ) {
      const { record, submitters } = yield* visible(principal, job)
      if (record.session !== session && !submitters.has(session)) {
        return yield* new ArcpError.PermissionDenied({
          message: "Only the session that submitted a job can cancel it",
          details: { job_id: job }
        })
      }
      // One step: a cancellation that was noted must reach the agent, whoever goes meanwhile.
      yield* Effect.uninterruptible(
        Effect.gen(function* () {
          const cancellation = yield* store.requestCancel(job, reason)
          if (cancellation === "ended" || cancellation === "unknown") {
            const stored = yield* store.get(job)
            return yield* Option.isSome(stored) ? notFound(job, { final_status: stored.value.status }) : notFound(job)
          }
          yield* taken
          const run = running.get(job)
          if (run !== undefined) yield* run.stop({ _tag: "Cancel", reason })
        })
      )
    })

    // What nobody asks for any more must go also while nobody asks for anything; with no job to forget, nothing wakes.
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.gen(function* () {
          yield* ended.await
          yield* ended.close
          yield* Effect.sleep(config.jobRetention)
          yield* sweep
        })
      )
    )

    return Jobs.of({ submit, cancel, observe, list: store.list })
  })
)
