/**
 * Work that one job hands to another (§10): what an agent asks for, and what it holds of the child while that runs.
 *
 * @since 0.1.0
 */
import { Context, DateTime, Duration, Effect, Option, Result, Schema, Stream } from "effect"
import * as AgentContract from "../protocol/AgentContract.ts"
import * as AgentOutcome from "../protocol/AgentOutcome.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Capability from "../protocol/Capability.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobEvent from "../protocol/JobEvent.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as Json from "../protocol/Json.ts"
import * as ResultAssembler from "../protocol/ResultAssembler.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import type * as Job from "./Job.ts"
import type * as JobEntry from "./JobEntry.ts"
import * as JobJournal from "./JobJournal.ts"
import * as View from "./internal/view.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * The authority of the child: what is not proved to be within the parent's own is refused (§9.4). Without it the child can do nothing that
   * a lease governs. A child without `cost.budget` spends its parent's.
   */
  readonly lease?: Capability.Grants
  /** When that authority ends; with the parent's if not given, and never later. Text must be UTC. */
  readonly expiresAt?: DateTime.DateTime | string
  /** How long the child may run; rounded up to whole seconds. */
  readonly maxRuntime?: Duration.Input
  /** Whether the child goes on when its parent has ended. By default it is cancelled with it. */
  readonly detached?: boolean
}

/**
 * A child job, with a result of type `A` and declared errors of type `E`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delegated<out A, out E = never> {
  readonly id: Ids.JobId
  /** The resolved `name@version`. */
  readonly agent: string
  /** The effective lease: within the parent's. */
  readonly lease: Capability.Grants
  /**
   * What the child says, from its first event to its last, for as many readers as run it. A reader does not pace the child: one that falls
   * behind what is kept fails with `ResumeWindowExpired`.
   */
  readonly events: Stream.Stream<JobEvent.JobEvent, ArcpError.ResumeWindowExpired>
  /** The result, or the error that the child ended with. */
  readonly result: Effect.Effect<A, E | ArcpError.ArcpError>
  /** Asks for the end of the child; {@link result} says how it ends. */
  readonly cancel: (reason?: string) => Effect.Effect<void>
}

/**
 * Why a delegation was refused. The refusal is among the parent's events, too, as the result of a tool that failed.
 *
 * @category errors
 * @since 0.1.0
 */
export type DelegateError =
  | ArcpError.PermissionDenied
  | ArcpError.LeaseExpired
  | ArcpError.BudgetExhausted
  | ArcpError.LeaseSubsetViolation
  | ArcpError.InvalidRequest
  | ArcpError.AgentNotAvailable
  | ArcpError.AgentVersionNotAvailable
  | ArcpError.InternalError

/**
 * Delegates by the types of a contract, or by name alone, in JSON.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delegate {
  <Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top>(
    agent: AgentContract.AgentContract<Input, Output, Failure>,
    input: Input["Type"],
    options?: Options
  ): Effect.Effect<
    Delegated<Output["Type"], Failure["Type"]>,
    DelegateError,
    Input["EncodingServices"] | Output["DecodingServices"] | Failure["DecodingServices"]
  >
  /** `agent` is `name` or `name@version` (§7.5). */
  (agent: string, input: Json.Json, options?: Options): Effect.Effect<Delegated<Json.Json>, DelegateError>
}

/**
 * A delegation as the runtime is asked for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  readonly agent: string
  readonly input: Json.Json
  readonly lease: Capability.Grants | undefined
  readonly constraints: Capability.Constraints | undefined
  /** Seconds. */
  readonly maxRuntime: number | undefined
  readonly detached: boolean
}

/**
 * A child that was started.
 *
 * @category models
 * @since 0.1.0
 */
export interface Started {
  readonly record: Job.JobRecord
  readonly cancel: (reason: string) => Effect.Effect<void>
}

/**
 * What an agent delegates with.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  start: (request: Request) => Effect.Effect<Started, DelegateError>,
  journal: JobJournal.JobJournal["Service"],
  maxResultBytes: number
): Delegate => {
  const begin = Effect.fnUntraced(function* <A, E>(
    agent: string,
    input: Json.Json,
    options: Options,
    read: AgentOutcome.Read<A, E>
  ) {
    const started = yield* start({
      agent,
      input,
      lease: options.lease,
      constraints: options.expiresAt === undefined ? undefined : { expires_at: yield* expiry(options.expiresAt) },
      maxRuntime: options.maxRuntime === undefined ? undefined : seconds(options.maxRuntime),
      detached: options.detached ?? false
    })
    return handle(started, read, journal, maxResultBytes)
  })

  const delegate = <Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top>(
    agent: AgentContract.AgentContract<Input, Output, Failure> | string,
    input: Input["Type"],
    options: Options = {}
  ) =>
    typeof agent === "string"
      ? begin(agent, input as Json.Json, options, AgentOutcome.json)
      : Effect.contextWith(
          (
            services: Context.Context<
              Input["EncodingServices"] | Output["DecodingServices"] | Failure["DecodingServices"]
            >
          ) =>
            Effect.flatMap(AgentOutcome.encodeInput(agent, input, services), (encoded) =>
              begin(AgentContract.reference(agent), encoded, options, AgentOutcome.read(agent, services))
            )
        )
  return delegate as Delegate
}

const expiry = (given: DateTime.DateTime | string): Effect.Effect<string, ArcpError.InvalidRequest> =>
  typeof given === "string"
    ? Effect.mapError(Effect.fromResult(Result.map(Timestamp.parseUtc(given), Timestamp.format)), (problem) =>
        ArcpError.invalidField("lease_constraints.expires_at", problem)
      )
    : Effect.succeed(Timestamp.format(DateTime.toEpochMillis(given)))

/** Whole seconds, rounded up: a job is never given less time than was asked for. */
const seconds = (given: Duration.Input): number | undefined => {
  const millis = Duration.toMillis(given)
  return Number.isFinite(millis) ? Math.max(1, Math.ceil(millis / 1000)) : undefined
}

const handle = <A, E>(
  { cancel, record }: Started,
  read: AgentOutcome.Read<A, E>,
  journal: JobJournal.JobJournal["Service"],
  maxResultBytes: number
): Delegated<A, E> => {
  const pages = whole(JobJournal.follow(record.id, -1).pipe(Stream.provideService(JobJournal.JobJournal, journal)))
  return {
    id: record.id,
    agent: record.agent,
    lease: record.lease,
    events: Stream.flattenIterable(
      Stream.map(pages, (page) => page.entries.flatMap((entry) => (entry.type === "job.event" ? [eventOf(entry)] : [])))
    ),
    result: Effect.flatMap(outcomeOf(record.id, pages, journal, maxResultBytes), read),
    cancel: (reason = "parent.cancel") => cancel(reason)
  }
}

/** Fails where entries are missing. */
const whole = (pages: Stream.Stream<JobEntry.Page>): Stream.Stream<JobEntry.Page, ArcpError.ResumeWindowExpired> =>
  pages.pipe(
    Stream.mapAccumEffect(
      () => 0,
      (expected, page) =>
        page.firstOffset === expected
          ? Effect.succeed([expected + page.entries.length, [page]] as const)
          : Effect.fail(
              new ArcpError.ResumeWindowExpired({
                message: `${page.firstOffset - expected} events of the child are no longer kept`,
                details: { dropped: page.firstOffset - expected }
              })
            )
    )
  )

const payloadOf = (entry: JobEntry.JobEntry): unknown => (View.parse(entry) as { readonly payload: unknown }).payload

const eventOf = (entry: JobEntry.JobEntry) => payloadOf(entry) as JobEvent.JobEvent

/** Waits for the end of a job, and reads what came of it. */
const outcomeOf = Effect.fnUntraced(function* (
  job: Ids.JobId,
  pages: Stream.Stream<JobEntry.Page, ArcpError.ResumeWindowExpired>,
  journal: JobJournal.JobJournal["Service"],
  maxResultBytes: number
): Effect.fn.Return<AgentOutcome.AgentOutcome> {
  const terminal = yield* Effect.provideService(JobJournal.outcome(job), JobJournal.JobJournal, journal)
  if (Option.isNone(terminal)) {
    return unknown(new ArcpError.InternalError({ message: "The outcome of the child is no longer kept" }))
  }
  if (terminal.value.type === "job.error") {
    return { _tag: "Error", payload: payloadOf(terminal.value) as JobMessage.JobError["payload"] }
  }
  const { result, result_id, result_size } = payloadOf(terminal.value) as JobMessage.JobResult["payload"]
  if (result_id === undefined) return { _tag: "Result", value: result ?? null }
  const chunks = pages.pipe(
    Stream.flatMap((page) => Stream.fromIterable(page.entries.filter(({ kind }) => kind === "result_chunk"))),
    Stream.runFoldEffect(
      () => ResultAssembler.make(maxResultBytes),
      (assembler, entry) =>
        Effect.fromResult(ResultAssembler.add(assembler, eventOf(entry).body as ResultAssembler.Chunk))
    )
  )
  const assembled = yield* Effect.result(
    Effect.flatMap(chunks, (assembler) =>
      Effect.fromResult(
        ResultAssembler.finish(assembler, { result_id, ...(result_size === undefined ? undefined : { result_size }) })
      )
    )
  )
  return Result.isSuccess(assembled)
    ? { _tag: "Result", value: ResultAssembler.toJson(assembled.success) }
    : unknown(assembled.failure)
})

const unknown = (error: ArcpError.ArcpError): AgentOutcome.AgentOutcome => ({ _tag: "Unknown", error })
