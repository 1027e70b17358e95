/**
 * One run of one agent, from `running` to exactly one outcome (§7.3).
 *
 * The agent has a fiber of its own in the runtime's scope, and its job ends with that. A cancellation or the end of `max_runtime_sec`
 * interrupts it; its finalizers run, and if they take longer than the grace the job ends without waiting for them. Whatever happens, the
 * last thing that is done is to write the terminal entry.
 *
 * @since 0.1.0
 */
import { Clock, Context, Deferred, Duration, Effect, Exit, Fiber, Latch, Option, Scope, Tracer } from "effect"
import { SecureRandom } from "effect/crypto"
import * as LeaseGuard from "../authority/LeaseGuard.ts"
import type * as LeasedJob from "../leased/LeasedJob.ts"
import type * as LeasedServices from "../leased/LeasedServices.ts"
import type * as Credential from "../protocol/Credential.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import type * as AgentPlaces from "./AgentPlaces.ts"
import type * as AgentRegistry from "./AgentRegistry.ts"
import type * as Delegation from "./Delegation.ts"
import * as JobOutcome from "./internal/jobOutcome.ts"
import * as JobSpan from "./internal/jobSpan.ts"
import * as JobContext from "./JobContext.ts"
import * as JobJournal from "./JobJournal.ts"
import * as JobStore from "./JobStore.ts"
import type * as RunningJob from "./RunningJob.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * A job that is about to run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Run extends Omit<RunningJob.RunningJob, "children" | "expectChild" | "stop" | "isOver" | "ended"> {
  readonly epoch: number
  readonly prepared: AgentRegistry.Prepared
  /** The place at its agent for which the job waits; nothing if its agent runs without bound. */
  readonly turn: AgentPlaces.Place | undefined
  /** The span in which the job was asked for. */
  readonly span: Tracer.AnySpan | undefined
  readonly services: (job: LeasedJob.LeasedJob) => Context.Context<LeasedServices.LeasedServices>
  readonly delegate: (
    parent: RunningJob.RunningJob,
    leased: LeasedJob.LeasedJob,
    request: Delegation.Request
  ) => Effect.Effect<Delegation.Started, Delegation.DelegateError>
  /** The credentials that were provisioned for the job, with the values that they have now. */
  readonly credentials: Effect.Effect<ReadonlyArray<Credential.Credential>>
  /** Done when the outcome is written, or cannot be. */
  readonly onConcluded: Effect.Effect<void>
  /** Owns the agent's fiber, also when the job has ended without it. */
  readonly scope: Scope.Scope
  /** Called before the agent runs. */
  readonly onStart: (job: RunningJob.RunningJob) => void
  /** Called once the outcome is written. */
  readonly onEnd: () => void
}

/**
 * Starts jobs.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobRunner {
  /**
   * Starts the agent, which runs until it first has to wait before this is done. Its job ends with its fiber, or without it when that does not
   * end in time.
   */
  readonly start: (job: Run) => Effect.Effect<void>
  /** Ends a job that was accepted and could not be started. */
  readonly giveUp: (job: Pick<Run, "epoch" | "record">) => Effect.Effect<void>
}

/**
 * Starts runs in the surroundings of the runtime.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  JobRunner,
  never,
  JobJournal.JobJournal | JobStore.JobStore | SecureRandom.SecureRandom
> = Effect.gen(function* () {
  const config = yield* RuntimeConfig.RuntimeConfig
  const store = yield* JobStore.JobStore
  const journal = yield* JobJournal.JobJournal
  const contextOf = yield* JobContext.factory

  /** Writes the outcome, in one step with the decision what it is. */
  const conclude = Effect.fnUntraced(function* (
    { epoch, record }: Pick<Run, "epoch" | "record">,
    outcome: JobOutcome.JobOutcome
  ) {
    const completed = Timestamp.format(yield* Clock.currentTimeMillis)
    const characters = JobOutcome.lengthOf(outcome, config.maxPayload) + JSON.stringify(record.lease).length
    const { cancel, final } = yield* store.conclude(record.id, outcome.final, characters)
    // Once a cancellation was taken the job ends as cancelled, even if the agent was faster (§7.4).
    const told =
      final === "cancelled" && outcome.final !== "cancelled"
        ? JobOutcome.ofStop({ _tag: "Cancel", reason: Option.getOrElse(cancel, () => "cancelled") }, record)
        : outcome
    yield* journal.end(record.id, epoch, JobOutcome.terminal(told.came, final, completed, config.maxPayload))
  })

  /** What the job has not spent returns before its end is known, so that whoever waits for that finds it there. */
  const settle = ({ account, record }: Run): Effect.Effect<void> =>
    account === undefined
      ? Effect.void
      : Effect.flatMap(Effect.timeoutOption(account.close, config.cancelGrace), (closed) =>
          Option.isSome(closed)
            ? Effect.void
            : Effect.logError("The ledger did not close the account of a job", record.id)
        ).pipe(survived("The ledger died as it closed the account of a job"))

  const start: JobRunner["start"] = Effect.fnUntraced(function* (job) {
    const { record, scope, turn } = job
    const cancellation = Deferred.makeUnsafe<string>()
    let stopped: RunningJob.Stop | undefined
    let agent: Fiber.Fiber<unknown, unknown> | undefined
    /** Done when the agent is, and what it had open is closed. */
    const unwound = Deferred.makeUnsafe<void>()
    let concluded = false
    const timers: Array<Fiber.Fiber<void>> = []
    const ended = Deferred.makeUnsafe<void>()
    /** Children that are about to start. */
    let expected = 0
    const noneExpected = Latch.makeUnsafe(true)
    // What its services do for the job beyond a call ends with it, whatever scopes the agent has opened or left open.
    const scopeOfServices = Scope.makeUnsafe()
    const { collected, context, leased } = contextOf({
      ...job,
      cancellation: Deferred.await(cancellation),
      isEnding: () => stopped !== undefined,
      scope: scopeOfServices,
      // Who has ended, or is to, hands on nothing more.
      delegate: (request) => (isEnding() ? Effect.interrupt : job.delegate(running, leased, request))
    })

    const letGo = (exit: Exit.Exit<unknown, unknown>) =>
      survived("What a service did for a job died as it was let go")(Scope.close(scopeOfServices, exit))

    const isEnding = () => concluded || stopped !== undefined || Deferred.isDoneUnsafe(unwound)

    /** Whoever comes first writes the outcome: the agent's fiber at its end, or who could not wait for that. */
    const end = (outcome: JobOutcome.JobOutcome): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (concluded) return Effect.void
        concluded = true
        for (const timer of timers) timer.interruptUnsafe()
        return letGo(Exit.void).pipe(
          Effect.andThen(settle(job)),
          Effect.andThen(conclude(job, outcome)),
          Effect.ensuring(job.onConcluded),
          Effect.ensuring(
            Effect.sync(() => {
              job.parent?.children.delete(running)
              job.onEnd()
              Deferred.doneUnsafe(ended, Effect.void)
            })
          )
        )
      })

    /** The children that do not outlive the job. */
    const bound = () => Array.from(running.children).filter(({ detached }) => !detached)

    /** What ends the job from without ends them by the same name, be it the lease or the runtime; whatever else ends it cancels them. */
    const stopChildren = Effect.suspend(() => {
      const reason = stopped
      return Effect.forEach(
        bound(),
        (child) =>
          reason?._tag === "Expired" || reason?._tag === "Shutdown"
            ? child.stop(reason)
            : Effect.andThen(
                store.requestCancel(child.record.id, orphaned),
                child.stop({ _tag: "Cancel", reason: orphaned })
              ),
        { discard: true }
      )
    })

    /** The children end before their parent does; each within a bounded time, since each is ended without its agent if need be. */
    const childrenEnded: Effect.Effect<void> = Effect.suspend(() => {
      const children = bound()
      if (children.length === 0 && expected === 0) return Effect.void
      return Effect.andThen(
        children.length === 0
          ? noneExpected.await
          : Effect.andThen(
              stopChildren,
              Effect.forEach(children, (child) => child.ended, { discard: true })
            ),
        childrenEnded
      )
    })

    const stop: RunningJob.RunningJob["stop"] = (reason) =>
      Effect.suspend(() => {
        if (concluded || stopped !== undefined) return Effect.void
        stopped = reason
        if (reason._tag === "Cancel") Deferred.doneUnsafe(cancellation, Effect.succeed(reason.reason))
        agent?.interruptUnsafe()
        return Effect.all([audit(reason), stopChildren, Effect.forkIn(outstayed(reason), scope)], { discard: true })
      }).pipe(Effect.uninterruptible)

    const audit = (reason: RunningJob.Stop) =>
      reason._tag === "Expired"
        ? Effect.logInfo("A job ends: its lease has expired", { job: record.id, ...reason.error.details })
        : Effect.void

    /** Ends the job without its agent if that takes longer than it may. */
    const outstayed = (reason: RunningJob.Stop) =>
      Effect.timeoutOption(
        Deferred.await(unwound),
        reason._tag === "Expired" ? Duration.min(expiryGrace, config.cancelGrace) : config.cancelGrace
      ).pipe(
        Effect.flatMap((done) =>
          Option.isSome(done)
            ? Effect.void
            : Effect.logWarning("The agent did not unwind within the grace", { job: record.id }).pipe(
                Effect.andThen(childrenEnded),
                Effect.andThen(end(JobOutcome.ofStop(reason, record)))
              )
        )
      )

    const expectChild: RunningJob.RunningJob["expectChild"] = () => {
      if (isEnding()) return undefined
      expected++
      noneExpected.closeUnsafe()
      return () => {
        if (--expected === 0) noneExpected.openUnsafe()
      }
    }

    const running: RunningJob.RunningJob = {
      ...job,
      children: new Set(),
      expectChild,
      stop,
      isOver: () => concluded,
      ended: Deferred.await(ended)
    }
    job.parent?.children.add(running)
    job.onStart(running)

    const scopeOfAgent = Scope.makeUnsafe()
    // Made where the agent runs: if what the host has given dies of it, that ends the job.
    const services = () =>
      Context.mergeAll(
        job.services(leased),
        Context.make(JobContext.JobContext, context),
        Context.make(LeaseGuard.LeaseGuard, job.guard),
        Context.make(Scope.Scope, scopeOfAgent)
      )
    // The lease may end also while the job waits for its turn.
    if (job.guard.tenures.some(({ lease }) => Option.isSome(lease.expiresAt))) {
      const expiry = Effect.flatMap(job.guard.expired, (error) => stop({ _tag: "Expired", error }))
      timers.push(yield* Effect.forkIn(expiry, scope))
    }

    const attempt = Effect.gen(function* () {
      if (turn !== undefined) yield* turn.take
      yield* store.start(record.id)
      if (record.maxRuntime !== undefined) {
        const deadline = Effect.delay(stop({ _tag: "Deadline" }), Duration.seconds(record.maxRuntime))
        timers.push(yield* Effect.forkIn(deadline, scope))
      }
      yield* Effect.ignore(context.status("running"))
      return yield* Effect.useSpan("arcp.job", JobSpan.options(record, job.span), (span) =>
        job.prepared(Context.add(services(), Tracer.ParentSpan, span))
      )
    })

    /** Whatever happens to the fiber, and be it that it is interrupted before it begins, the job ends with it. */
    yield* Effect.withFiber((fiber) => {
      agent = fiber
      if (stopped !== undefined) fiber.interruptUnsafe()
      return Effect.interruptible(attempt)
    }).pipe(
      Effect.onExit(
        Effect.fnUntraced(function* (exit) {
          // What the agent had open it closes itself. If it dies of that, that is how it ended; its job ends in any case.
          const closed = yield* Effect.exit(Scope.close(scopeOfAgent, exit))
          if (Exit.isFailure(exit)) yield* survived("The agent died as it closed what it had open")(closed)
          const ended = Exit.isSuccess(exit) && Exit.isFailure(closed) ? Exit.failCause(closed.cause) : exit
          yield* letGo(exit)
          Deferred.doneUnsafe(unwound, Effect.void)
          yield* childrenEnded
          // The place is the agent's, also when it outstays its job.
          if (turn !== undefined) yield* turn.leave
          yield* end(
            stopped === undefined
              ? yield* JobOutcome.ofExit(ended, collected(), config.maxPayload)
              : JobOutcome.ofStop(stopped, record)
          )
        })
      ),
      Effect.forkIn(scope, { startImmediately: true, uninterruptible: true })
    )
  })

  const giveUp: JobRunner["giveUp"] = (job) =>
    survived("The outcome of a job that could not be started was not written")(conclude(job, JobOutcome.notStarted))

  return { start, giveUp }
})

/** Goes on, and says so, where something died that must not keep a job from its end. */
const survived =
  (what: string) =>
  (effect: Effect.Effect<void>): Effect.Effect<void> =>
    Effect.catchCause(effect, (cause) => Effect.logError(what, cause))

const orphaned = "the job that delegated it has ended"

/** How long an agent may go on when its lease has expired (§14). */
const expiryGrace = Duration.seconds(1)
