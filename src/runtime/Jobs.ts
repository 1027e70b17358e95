/**
 * The use cases of jobs: submit and cancel (§7). Owns every run; a job lives as long as this layer, whatever becomes of the session that
 * asked for it.
 *
 * @since 0.1.0
 */
import { Context, Effect, Exit, Latch, Layer, Option, Result, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import type * as Authenticator from "../authority/Authenticator.ts"
import * as Budget from "../authority/Budget.ts"
import * as Budgets from "../authority/Budgets.ts"
import * as Credentials from "../authority/Credentials.ts"
import type * as Leases from "../authority/Leases.ts"
import * as ObserverPolicy from "../authority/ObserverPolicy.ts"
import * as Amount from "../protocol/Amount.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Credential from "../protocol/Credential.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import * as Acceptance from "./Acceptance.ts"
import type * as AgentRegistry from "./AgentRegistry.ts"
import * as Handover from "./internal/handover.ts"
import * as Job from "./Job.ts"
import * as JobJournal from "./JobJournal.ts"
import type * as JobRequest from "./JobRequest.ts"
import * as JobStore from "./JobStore.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * A submission and who makes it.
 *
 * @category models
 * @since 0.1.0
 */
export type Submission = Omit<JobRequest.JobRequest, "claim" | "parent">

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
export type Refusal = JobRequest.Refusal | ArcpError.DuplicateKey | ArcpError.JobNotFound

/**
 * What can be asked of jobs, by whoever may.
 *
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
    /**
     * The acceptance of a job, as it was first given (§7.2): its credentials have the values of now, and are there only while the job runs,
     * and only for a line that is `secure`. Of a scheme that the protocol does not define they are for the agent alone: there are clients that
     * would not understand the rest.
     */
    readonly acceptance: (record: Job.JobRecord, secure: boolean) => Effect.Effect<JobMessage.Accepted["payload"]>
    /** A job that another one delegated; nothing if it is no longer known. */
    readonly child: (job: Ids.JobId) => Effect.Effect<Option.Option<Job.JobRecord>>
    /**
     * What a job has left to spend, in the currencies that its lease caps, or had when it ended; nothing if it caps none, or is no longer
     * known (§9.6).
     */
    readonly budget: (record: Job.JobRecord) => Effect.Effect<Option.Option<JobMessage.Budget>>
    /** The principal's own jobs, oldest first, running and ended (§6.6). */
    readonly list: (query: JobStore.Query) => Effect.Effect<ReadonlyArray<JobStore.Stored>>
  }
>()("arcp/runtime/Jobs") {}

const notFound = (job: Ids.JobId, details?: { readonly final_status: string }) =>
  new ArcpError.JobNotFound({ message: `No job ${job}`, details: { job_id: job, ...details } })

const notSubmitter = (job: Ids.JobId) =>
  new ArcpError.PermissionDenied({
    message: "Only the session that submitted a job can do this",
    details: { job_id: job }
  })

/** What the lease of a job caps; it was checked when the job was accepted. */
const capsOf = ({ lease }: Job.JobRecord): Budget.Amounts =>
  Amount.total((lease["cost.budget"] ?? []).flatMap((text) => Option.toArray(Result.getSuccess(Amount.parse(text)))))

/**
 * Jobs that run here. When it is closed they end, each with an outcome.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Jobs,
  never,
  | AgentRegistry.AgentRegistry
  | Leases.Leases
  | Budgets.Budgets
  | Credentials.Credentials
  | JobStore.JobStore
  | JobJournal.JobJournal
  | SecureRandom.SecureRandom
> = Layer.effect(
  Jobs,
  Effect.gen(function* () {
    const config = yield* RuntimeConfig.RuntimeConfig
    const store = yield* JobStore.JobStore
    const journal = yield* JobJournal.JobJournal
    const credentials = yield* Credentials.Credentials
    const policy = yield* ObserverPolicy.ObserverPolicy
    /** Open once a job has ended since the last sweep began to wait. */
    const ended = yield* Latch.make(false)

    const sweep = Effect.flatMap(store.sweep, (gone) =>
      gone.length === 0 ? Effect.void : Effect.forEach(gone, (job) => journal.remove(job), { discard: true })
    )

    const { accept, running, shutdown } = yield* Acceptance.make({
      scope: yield* Scope.fork(yield* Effect.scope),
      onEnd: () => ended.openUnsafe(),
      delegate: (parent, leased, request) => handover.delegate(parent, leased, request)
    })

    /** Has a job end as cancelled, unless it has ended. */
    const stop = (job: Ids.JobId, reason: string) =>
      Effect.uninterruptible(
        Effect.andThen(
          store.requestCancel(job, reason),
          Effect.suspend(() => running(job)?.stop({ _tag: "Cancel", reason }) ?? Effect.void)
        )
      )

    const handover: Handover.Handover = yield* Handover.make({ accept, stop })

    // Before the scope of the agents, which waits for each of them: what a job leaves behind must not depend on how its agent behaves.
    yield* Effect.addFinalizer(() => shutdown)

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

    /** Who submitted a job is a submitter of all that it has delegated. */
    const isSubmitter = Effect.fnUntraced(function* (
      { record, submitters }: Pick<JobStore.Stored, "record" | "submitters">,
      session: Ids.SessionId
    ): Effect.fn.Return<boolean> {
      if (record.session === session || submitters.has(session)) return true
      if (record.parent === undefined) return false
      const parent = yield* store.get(record.parent)
      return Option.isSome(parent) && (yield* isSubmitter(parent.value, session))
    })

    /** The job that a client delegates from, as some clients do: only who submitted it may, and only while it runs. */
    const parentOf = Effect.fnUntraced(function* ({ principal, session }: Submission, id: Ids.JobId) {
      const { record, submitters } = yield* visible(principal, id)
      if (!(yield* isSubmitter({ record, submitters }, session))) return yield* notSubmitter(id)
      const job = running(id)
      if (job === undefined) {
        return yield* ArcpError.invalidField("payload.parent_job_id", "this job has ended")
      }
      return { job, delegateId: yield* handover.freshDelegateId, detached: false, reservation: undefined }
    })

    const submit: Jobs["Service"]["submit"] = Effect.fnUntraced(function* (submission, taken) {
      yield* sweep
      const claim = claimOf(submission)
      const bound = Option.isSome(claim) ? yield* store.claimed(claim.value) : Option.none()
      if (Option.isSome(bound)) return yield* Effect.uninterruptible(settle(bound.value, taken))
      const { parent_job_id } = submission.request
      const parent = parent_job_id === undefined ? undefined : yield* parentOf(submission, parent_job_id)
      const told: Submitted = (record) =>
        parent === undefined
          ? taken(record)
          : Effect.andThen(handover.announce(parent, record, submission.request), taken(record))
      const traceId =
        parent === undefined
          ? submission.traceId
          : Option.orElseSome(submission.traceId, () => parent.job.record.traceId)
      const outcome = yield* accept({ ...submission, traceId, claim, parent }, told)
      if (outcome._tag !== "Started") yield* Effect.uninterruptible(settle(outcome, taken))
    })

    const acceptance: Jobs["Service"]["acceptance"] = Effect.fnUntraced(function* (record, secure) {
      if (!secure || !record.features.has("provisioned_credentials")) return record.accepted
      const current = (yield* credentials.current(record.id)).filter(Credential.isDefined)
      return current.length === 0 ? record.accepted : { ...record.accepted, credentials: current }
    })

    const child: Jobs["Service"]["child"] = (job) =>
      Effect.map(
        store.get(job),
        Option.map(({ record }) => record)
      )

    const budget: Jobs["Service"]["budget"] = (record) =>
      Effect.suspend(() => {
        if (!Object.hasOwn(record.lease, "cost.budget")) return Effect.succeedNone
        const account = running(record.id)?.account
        const left =
          account !== undefined
            ? account.available
            : Effect.map(journal.ledger(record.id), (entries) =>
                Budget.available(Budget.fold(Budget.make(capsOf(record)), entries))
              )
        return Effect.map(left, (amounts) => Option.some(Budget.toNumbers(amounts)))
      })

    /** A policy that dies has not allowed it: any other answer would tell that the job is there. */
    const watched = (ask: ObserverPolicy.Ask): Effect.Effect<boolean> =>
      Effect.suspend(() => policy(ask)).pipe(
        Effect.catchCause((cause) =>
          Effect.as(Effect.logError("The policy of who may watch a job died, which refuses it", cause), false)
        )
      )

    /** Unknown jobs and those that may not be seen get the same answer. */
    const visible = Effect.fnUntraced(function* (principal: Authenticator.Principal, job: Ids.JobId) {
      const stored = yield* store.get(job)
      if (Option.isNone(stored)) return yield* notFound(job)
      const { agent, principal: owner } = stored.value.record
      const allowed = owner === principal.id || (yield* watched({ observer: principal, owner, job, agent }))
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
      if (!(yield* isSubmitter({ record, submitters }, session))) return yield* notSubmitter(job)
      // One step: a cancellation that was noted must reach the agent, whoever goes meanwhile.
      yield* Effect.uninterruptible(
        Effect.gen(function* () {
          const cancellation = yield* store.requestCancel(job, reason)
          if (cancellation === "ended" || cancellation === "unknown") {
            const stored = yield* store.get(job)
            return yield* Option.isSome(stored) ? notFound(job, { final_status: stored.value.status }) : notFound(job)
          }
          yield* taken
          yield* running(job)?.stop({ _tag: "Cancel", reason }) ?? Effect.void
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

    return Jobs.of({ submit, cancel, observe, acceptance, child, budget, list: store.list })
  })
)
