/**
 * One run of one agent, from `running` to exactly one outcome (§7.3).
 *
 * The agent has a fiber of its own in the runtime's scope. A cancellation or the end of `max_runtime_sec` interrupts it; its finalizers run,
 * and if they take longer than the grace the job ends without waiting for them. Whatever happens, the last thing this does is to write the
 * terminal entry.
 *
 * @since 0.1.0
 */
import { Cause, Clock, Context, Deferred, Duration, Effect, Exit, Fiber, Option, Result, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import * as LeaseGuard from "../authority/LeaseGuard.ts"
import type * as LeasedJob from "../leased/LeasedJob.ts"
import type * as LeasedServices from "../leased/LeasedServices.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Json from "../protocol/Json.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import type * as AgentPlaces from "./AgentPlaces.ts"
import type * as AgentRegistry from "./AgentRegistry.ts"
import type * as Job from "./Job.ts"
import * as JobContext from "./JobContext.ts"
import * as JobJournal from "./JobJournal.ts"
import * as JobStore from "./JobStore.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/** Why a run is to stop before its agent is done. */
type Stop = { readonly _tag: "Cancel"; readonly reason: string } | { readonly _tag: "Deadline" }

/**
 * A job that is about to run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Run {
  readonly record: Job.JobRecord
  readonly epoch: number
  readonly prepared: AgentRegistry.Prepared
  /** Where the job waits for its turn, with a reservation; nothing if its agent runs without bound. */
  readonly places: AgentPlaces.AgentPlaces | undefined
  readonly guard: LeaseGuard.LeaseGuard["Service"]
  readonly services: (job: LeasedJob.LeasedJob) => Context.Context<LeasedServices.LeasedServices>
  /** Completed with the reason to ask for the end of the job. */
  readonly cancellation: Deferred.Deferred<string>
  /** Owns the agent's fiber, also when the job has ended without it. */
  readonly scope: Scope.Scope
}

/**
 * Runs the agent and writes the job's outcome.
 *
 * @category running
 * @since 0.1.0
 */
export const run: (
  job: Run
) => Effect.Effect<void, never, JobJournal.JobJournal | JobStore.JobStore | SecureRandom.SecureRandom> = Effect.fn(
  "JobRunner.run"
)(
  function* (job) {
    const { record } = job
    yield* Effect.annotateCurrentSpan({
      "arcp.job_id": record.id,
      "arcp.agent": record.agent,
      "arcp.trace_id": record.traceId
    })
    const outcome = (yield* hasTurn(job)) ? yield* attempt(job) : yield* withdrawn(job)

    yield* Effect.uninterruptible(conclude(job, outcome))
  },
  (run, job) =>
    // Whatever happens, the job gets an outcome: a defect here, or the end of the runtime, leaves nobody waiting.
    Effect.onError(run, () =>
      conclude(job, Result.fail(new ArcpError.InternalError({ message: "The runtime gave the job up" })))
    )
)

/** Writes the outcome, in one step with the decision what it is. */
const conclude = Effect.fnUntraced(function* ({ epoch, record }: Run, outcome: Outcome) {
  const config = yield* RuntimeConfig.RuntimeConfig
  const journal = yield* JobJournal.JobJournal
  const store = yield* JobStore.JobStore
  const characters = lengthOf(outcome, config.maxPayload) + JSON.stringify(record.lease).length
  const final = yield* store.conclude(record.id, finalOf(outcome), characters)
  const reason = Option.getOrElse(
    Option.flatMap(yield* store.get(record.id), (stored) => stored.cancel),
    () => "cancelled"
  )
  const completed = Timestamp.format(yield* Clock.currentTimeMillis)
  // Once a cancellation was taken the job ends as cancelled, even if the agent was faster (§7.4).
  const told =
    final === "cancelled" && finalOf(outcome) !== "cancelled" ? stopped({ _tag: "Cancel", reason }, record) : outcome
  yield* journal.end(record.id, epoch, terminal(told, final, completed, config.maxPayload))
})

/** About how many characters are kept of an outcome. */
const lengthOf = (outcome: Outcome, limit: number): number => {
  if (Result.isSuccess(outcome)) return "result" in outcome.success ? outcome.success.result.length : 1024
  const text = JobContext.stringify(ArcpError.toPayload(outcome.failure), limit)
  return Result.isSuccess(text) ? text.success.length : maxMessage
}

/** Waits until the agent has a place for the job; `false` if the job is cancelled before. */
const hasTurn = ({ cancellation, places }: Run): Effect.Effect<boolean> =>
  places === undefined
    ? Effect.succeed(true)
    : Effect.raceFirst(Effect.as(places.take, true), Effect.as(Deferred.await(cancellation), false))

const withdrawn = Effect.fnUntraced(function* ({ cancellation, places, record }: Run) {
  if (places !== undefined) yield* places.leave(false)
  return stopped({ _tag: "Cancel", reason: yield* Deferred.await(cancellation) }, record)
})

/** Runs the agent until it is done, or is stopped. */
const attempt = Effect.fnUntraced(function* (job: Run) {
  const { cancellation, record } = job
  const config = yield* RuntimeConfig.RuntimeConfig
  const store = yield* JobStore.JobStore
  let ending = false
  // What its services do for the job beyond a call ends with it, whatever scopes the agent has opened or left open.
  const scope = yield* Effect.scope
  const { collected, context, leased } = yield* JobContext.make({ ...job, isEnding: () => ending, scope })
  yield* store.start(record.id)
  yield* Effect.ignore(context.status("running"))

  const agent = yield* Effect.scoped(job.prepared).pipe(
    Effect.provideContext(
      Context.mergeAll(
        job.services(leased),
        Context.make(JobContext.JobContext, context),
        Context.make(LeaseGuard.LeaseGuard, job.guard)
      )
    ),
    // The place is the agent's, also when it outstays its job.
    Effect.ensuring(job.places === undefined ? Effect.void : job.places.leave(true)),
    Effect.forkIn(job.scope, { startImmediately: true })
  )

  const stop: Effect.Effect<Stop> = Effect.raceFirst(
    Effect.map(Deferred.await(cancellation), (reason): Stop => ({ _tag: "Cancel", reason })),
    record.maxRuntime === undefined
      ? Effect.never
      : Effect.as(Effect.sleep(Duration.seconds(record.maxRuntime)), { _tag: "Deadline" } as Stop)
  )
  const first = yield* Effect.raceFirst(
    Effect.map(Fiber.await(agent), (exit) => Result.succeed(exit)),
    Effect.map(stop, (stopped) => Result.fail(stopped))
  )
  if (Result.isSuccess(first)) return yield* outcomeOf(first.success, yield* collected, config.maxPayload)
  ending = true
  const unwound = yield* Effect.timeoutOption(Fiber.interrupt(agent), config.cancelGrace)
  if (Option.isNone(unwound)) yield* Effect.logWarning("The agent did not unwind within the grace")
  return stopped(first.failure, record)
}, Effect.scoped)

type Outcome = Result.Result<Completed, ArcpError.ArcpError>

type Completed = { readonly result: string } | { readonly resultId: string; readonly size: number }

const finalOf = (outcome: Outcome): Job.Final => {
  if (Result.isSuccess(outcome)) return "success"
  if (outcome.failure._tag === "Cancelled") return "cancelled"
  return outcome.failure._tag === "Timeout" ? "timed_out" : "error"
}

const stopped = (stop: Stop, record: Job.JobRecord): Outcome =>
  Result.fail(
    stop._tag === "Cancel"
      ? new ArcpError.Cancelled({ message: `Cancelled: ${stop.reason}`, details: { reason: stop.reason } })
      : new ArcpError.Timeout({
          message: `The job ran longer than ${record.maxRuntime} s`,
          details: { max_runtime_sec: record.maxRuntime ?? 0 }
        })
  )

const outcomeOf = Effect.fnUntraced(function* (
  exit: Exit.Exit<Json.Json | JobContext.StreamedResult, ArcpError.ArcpError>,
  collected: Option.Option<JobContext.Collected>,
  limit: number
): Effect.fn.Return<Outcome> {
  if (Exit.isSuccess(exit)) {
    const streamed = exit.value instanceof JobContext.StreamedResult ? exit.value : undefined
    if (streamed === undefined && Option.isSome(collected)) {
      return Result.fail(
        new ArcpError.InternalError({ message: "The agent streamed a result and then answered with another" })
      )
    }
    const inline = Option.getOrUndefined(collected)?.text
    if (streamed !== undefined && inline === undefined) {
      return Result.succeed({ resultId: streamed.resultId, size: streamed.size })
    }
    const value = streamed === undefined ? exit.value : inline
    // What answers nothing answers `null`.
    const text = JobContext.stringify(value ?? null, limit)
    // Encoded before anything is decided: a result that cannot travel is an error of the job, not a silence.
    return Result.isSuccess(text)
      ? Result.succeed({ result: text.success })
      : Result.fail(new ArcpError.InternalError({ message: `The result ${text.failure}` }))
  }
  const error = Cause.findError(exit.cause)
  if (Result.isSuccess(error)) return Result.fail(error.success)
  if (Cause.hasInterruptsOnly(exit.cause)) {
    return Result.fail(new ArcpError.InternalError({ message: "The agent was interrupted" }))
  }
  yield* Effect.logError("The agent died", exit.cause)
  return Result.fail(new ArcpError.InternalError({ message: "The agent failed unexpectedly" }))
})

const terminal = (outcome: Outcome, final: Job.Final, completed_at: string, limit: number): JobJournal.Draft => {
  if (Result.isSuccess(outcome)) {
    const done = outcome.success
    const result =
      "result" in done
        ? `"result":${done.result}`
        : `"result_id":${JSON.stringify(done.resultId)},"result_size":${done.size}`
    return {
      type: "job.result",
      kind: "",
      payload: `{"final_status":"success",${result},"completed_at":"${completed_at}"}`
    }
  }
  const { details, ...error } = ArcpError.toPayload(outcome.failure)
  const message = error.message.slice(0, maxMessage)
  const told = { final_status: final, ...error, message, completed_at }
  // Details that cannot travel must not keep the outcome from doing so.
  const payload = Result.getOrElse(JobContext.stringify({ ...told, details }, limit), () => JSON.stringify(told))
  return { type: "job.error", kind: "", payload }
}

/** Characters of an error's message. */
const maxMessage = 16_384
