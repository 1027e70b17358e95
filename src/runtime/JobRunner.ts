/**
 * One run of one agent, from `running` to exactly one outcome (§7.3).
 *
 * The agent has a fiber of its own in the runtime's scope, and its job ends with that. A cancellation or the end of `max_runtime_sec`
 * interrupts it; its finalizers run, and if they take longer than the grace the job ends without waiting for them. Whatever happens, the
 * last thing that is done is to write the terminal entry.
 *
 * @since 0.1.0
 */
import { Cause, Clock, Context, Deferred, Duration, Effect, Exit, Fiber, Option, Result, Scope, Tracer } from "effect"
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

/**
 * Why a job is to end before its agent is done.
 *
 * @category models
 * @since 0.1.0
 */
export type Stop = { readonly _tag: "Cancel"; readonly reason: string } | { readonly _tag: "Deadline" }

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
  /** Owns the agent's fiber, also when the job has ended without it. */
  readonly scope: Scope.Scope
  /** Called once the outcome is written. */
  readonly onEnd: () => void
}

/**
 * A job that runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Running {
  /** Has the job end for this reason; the first one counts. Does not wait for the end. */
  readonly stop: (stop: Stop) => Effect.Effect<void>
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
  readonly start: (job: Run) => Effect.Effect<Running>
}

/**
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
  const conclude = Effect.fnUntraced(function* ({ epoch, record }: Run, outcome: Outcome) {
    const completed = Timestamp.format(yield* Clock.currentTimeMillis)
    const characters = lengthOf(outcome, config.maxPayload) + JSON.stringify(record.lease).length
    const { cancel, final } = yield* store.conclude(record.id, finalOf(outcome), characters)
    // Once a cancellation was taken the job ends as cancelled, even if the agent was faster (§7.4).
    const told =
      final === "cancelled" && finalOf(outcome) !== "cancelled"
        ? outcomeOfStop({ _tag: "Cancel", reason: Option.getOrElse(cancel, () => "cancelled") }, record)
        : outcome
    yield* journal.end(record.id, epoch, terminal(told, final, completed, config.maxPayload))
  })

  const start: JobRunner["start"] = Effect.fnUntraced(function* (job) {
    const { places, record, scope } = job
    const cancellation = Deferred.makeUnsafe<string>()
    let stopped: Stop | undefined
    let concluded = false
    let timer: Fiber.Fiber<void> | undefined
    const { collected, context, leased } = contextOf({
      ...job,
      cancellation: Deferred.await(cancellation),
      isEnding: () => stopped !== undefined
    })

    /** Whoever comes first writes the outcome: the agent's fiber at its end, or who could not wait for that. */
    const end = (outcome: Outcome): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (concluded) return Effect.void
        concluded = true
        timer?.interruptUnsafe()
        return Effect.ensuring(conclude(job, outcome), Effect.sync(job.onEnd))
      })

    const stop: Running["stop"] = (reason) =>
      Effect.suspend(() => {
        if (concluded || stopped !== undefined) return Effect.void
        stopped = reason
        if (reason._tag === "Cancel") Deferred.doneUnsafe(cancellation, Effect.succeed(reason.reason))
        fiber.interruptUnsafe()
        const unwound = Effect.timeoutOption(Fiber.await(fiber), config.cancelGrace)
        return Effect.asVoid(
          Effect.forkIn(
            Effect.flatMap(unwound, (exit) =>
              Option.isSome(exit)
                ? Effect.void
                : Effect.andThen(
                    Effect.logWarning("The agent did not unwind within the grace", { job: record.id }),
                    end(outcomeOfStop(reason, record))
                  )
            ),
            scope
          )
        )
      })

    const scopeOfAgent = Scope.makeUnsafe()
    const services = Context.mergeAll(
      job.services(leased),
      Context.make(JobContext.JobContext, context),
      Context.make(LeaseGuard.LeaseGuard, job.guard),
      Context.make(Scope.Scope, scopeOfAgent)
    )
    let ran = false
    const attempt = Effect.gen(function* () {
      if (places !== undefined) yield* places.take
      ran = true
      yield* store.start(record.id)
      if (record.maxRuntime !== undefined) {
        const deadline = Effect.delay(stop({ _tag: "Deadline" }), Duration.seconds(record.maxRuntime))
        timer = yield* Effect.forkIn(deadline, scope)
      }
      yield* Effect.ignore(context.status("running"))
      return yield* Effect.useSpan("arcp.job", { attributes: attributesOf(record) }, (span) =>
        job.prepared(Context.add(services, Tracer.ParentSpan, span))
      )
    })

    const fiber = yield* attempt.pipe(
      Effect.onExit(
        Effect.fnUntraced(function* (exit) {
          yield* Scope.close(scopeOfAgent, exit)
          // The place is the agent's, also when it outstays its job.
          if (places !== undefined) yield* places.leave(ran)
          yield* end(
            stopped === undefined
              ? yield* outcomeOf(exit, collected(), config.maxPayload)
              : outcomeOfStop(stopped, record)
          )
        })
      ),
      Effect.forkIn(scope, { startImmediately: true })
    )
    return { stop }
  })

  return { start }
})

/** About how many characters are kept of an outcome. */
const lengthOf = (outcome: Outcome, limit: number): number => {
  if (Result.isSuccess(outcome)) return "result" in outcome.success ? outcome.success.result.length : 1024
  const text = JobContext.stringify(ArcpError.toPayload(outcome.failure), limit)
  return Result.isSuccess(text) ? text.success.length : maxMessage
}

const attributesOf = (record: Job.JobRecord) => ({
  "arcp.job_id": record.id,
  "arcp.agent": record.agent,
  "arcp.trace_id": record.traceId
})

type Outcome = Result.Result<Completed, ArcpError.ArcpError>

type Completed = { readonly result: string } | { readonly resultId: string; readonly size: number }

const finalOf = (outcome: Outcome): Job.Final => {
  if (Result.isSuccess(outcome)) return "success"
  if (outcome.failure._tag === "Cancelled") return "cancelled"
  return outcome.failure._tag === "Timeout" ? "timed_out" : "error"
}

const outcomeOfStop = (stop: Stop, record: Job.JobRecord): Outcome =>
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
