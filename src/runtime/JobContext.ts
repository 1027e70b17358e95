/**
 * What an agent sees of its job: who it is, and a voice of every kind of event (§8.2).
 *
 * ```ts
 * import { Effect } from "effect"
 * import { JobContext } from "effect-arcp/runtime"
 *
 * const count = Effect.gen(function*() {
 *   const job = yield* JobContext.JobContext
 *   yield* job.progress({ current: 0, total: 3, units: "steps" })
 *   yield* job.log("info", "counting")
 *   return yield* job.tool("adder", { a: 1, b: 2 }, Effect.succeed(3))
 * })
 * ```
 *
 * Emitting suspends while the job is too far ahead of a submitter that is reading, and ends the fiber that still speaks after its job has
 * ended.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Option, Result, type Scope, Sink, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import type * as Budget from "../authority/Budget.ts"
import type * as Budgets from "../authority/Budgets.ts"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as LeasedJob from "../leased/LeasedJob.ts"
import * as LeasedTool from "../leased/LeasedTool.ts"
import * as Amount from "../protocol/Amount.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Credential from "../protocol/Credential.ts"
import * as Ids from "../protocol/Ids.ts"
import * as JobEvent from "../protocol/JobEvent.ts"
import * as Json from "../protocol/Json.ts"
import * as Delegation from "./Delegation.ts"
import * as ResultWriter from "./internal/resultWriter.ts"
import * as Voice from "./internal/voice.ts"
import type * as Job from "./Job.ts"
import * as JobJournal from "./JobJournal.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * Proof that the result was streamed; an agent that streams returns this instead of a value (§8.4).
 *
 * @category models
 * @since 0.1.0
 */
export class StreamedResult {
  readonly resultId: Ids.ResultId
  /** Bytes, decoded. */
  readonly size: number
  constructor(resultId: Ids.ResultId, size: number) {
    this.resultId = resultId
    this.size = size
  }
}

type Emit<Arguments extends ReadonlyArray<unknown>> = (
  ...arguments_: Arguments
) => Effect.Effect<void, ArcpError.InvalidRequest>

/**
 * The job, to the agent that runs for it.
 *
 * @category services
 * @since 0.1.0
 */
export class JobContext extends Context.Service<
  JobContext,
  {
    readonly id: Ids.JobId
    /** The resolved `name@version`. */
    readonly agent: string
    readonly traceId: Ids.TraceId
    readonly principal: string
    /** Succeeds with the reason once the job is to be cancelled; the agent's fiber is interrupted then, and this is for parts that mask it. */
    readonly cancellation: Effect.Effect<string>
    readonly log: Emit<[level: JobEvent.LogLevel, message: string, attributes?: Json.JsonObject]>
    readonly thought: Emit<[text: string]>
    readonly status: Emit<[phase: string, message?: string]>
    /**
     * Names that begin with `cost.` are costs (§9.6). They must not be negative, and are charged to the budget of the currency that is their
     * `unit`, at once and whatever is left: it is the next operation that is refused once nothing is. What is left the runtime tells itself:
     * `cost.budget.remaining` is refused.
     */
    readonly metric: Emit<[name: string, value: number, options?: Omit<JobEvent.Body<"metric">, "name" | "value">]>
    /** What is left to spend in each currency that the job's lease caps; below zero where more was spent than there was. */
    readonly budget: Effect.Effect<Budget.Amounts>
    /**
     * Runs what will cost at most so much, such as `"USD:0.05"`, with that much set aside: nothing that runs beside it can spend it too. Costs
     * that `use` reports are taken from there, and what is left returns, however `use` ends. Fails, and runs nothing, with
     * `BudgetExhausted` if so much is not left.
     */
    readonly reserve: <A, E, R>(
      amounts: string | ReadonlyArray<string>,
      use: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | ArcpError.BudgetExhausted | ArcpError.InvalidRequest, R>
    /** `current` must not be negative, nor beyond `total` (§8.2.1). */
    readonly progress: Emit<[progress: JobEvent.Body<"progress">]>
    readonly artifact: Emit<[artifact: JobEvent.Body<"artifact_ref">]>
    readonly toolCall: Emit<[call: JobEvent.Body<"tool_call">]>
    readonly toolResult: Emit<[result: JobEvent.Body<"tool_result">]>
    /** An event of a vendor's kind. */
    readonly emit: Emit<[kind: JobEvent.VendorKind, body: Json.Json]>
    /**
     * Runs a tool as the lease allows: emits the call, checks `tool.call` for this name, runs, and emits what came of it. A tool that the
     * lease does not cover does not run: the denial is emitted and is the failure.
     */
    readonly tool: <A, E, R>(
      name: string,
      arguments_: Json.Json,
      run: Effect.Effect<A, E, R>,
      options?: LeasedTool.Options<A>
    ) => Effect.Effect<A, E | LeaseGuard.Denial | ArcpError.InvalidRequest, R>
    /** The credentials that were provisioned for this job alone, with the values that they have now (§9.8). They end with the job. */
    readonly credentials: Effect.Effect<ReadonlyArray<Credential.Credential>>
    /**
     * Hands work to another agent as a job of its own, which the lease has to allow by `agent.delegate` for the version that would run, also
     * where only a name is given (§10). The child may do no more than its parent, spends from its parent's budget, and ends with its parent
     * unless it is `detached`. A refusal is among the job's events.
     */
    readonly delegate: Delegation.Delegate
    /**
     * Streams the result: text as it is, bytes in base64, cut into chunks that never split a character (§8.4). It suspends with the reader, and
     * fails with `InternalError` beyond `maxResult` bytes. For a session without `result_chunk` it is collected and sent as one, of `maxPayload`
     * bytes at most.
     */
    readonly streamResult: <E, R>(
      content: Stream.Stream<string, E, R> | Stream.Stream<Uint8Array, E, R>
    ) => Effect.Effect<StreamedResult, E | ArcpError.InvalidRequest | ArcpError.InternalError, R>
    /** As `streamResult`, for what ends in a `Sink`: `Stream.run(lines, job.resultSink)`. */
    readonly resultSink: Sink.Sink<
      StreamedResult,
      string | Uint8Array,
      never,
      ArcpError.InvalidRequest | ArcpError.InternalError
    >
  }
>()("arcp/runtime/JobContext") {}

/**
 * A result that was streamed, at least in part.
 *
 * @category models
 * @since 0.1.0
 */
export interface Collected {
  /** What the runner keeps for the terminal if the session cannot take chunks; nothing if chunks of it were sent. */
  readonly text: string | undefined
}

/**
 * The job that an agent is to see, and what its context acts with.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  readonly record: Job.JobRecord
  readonly epoch: number
  readonly guard: LeaseGuard.LeaseGuard["Service"]
  /** Nothing if neither a lease in the chain nor the host caps anything. */
  readonly account: Budgets.Account | undefined
  /** Succeeds with the reason once the job is to be cancelled. */
  readonly cancellation: Effect.Effect<string>
  /** Whether the agent is to stop, for whatever reason. */
  readonly isEnding: () => boolean
  /** Ends with the job. */
  readonly scope: Scope.Scope
  readonly credentials: Effect.Effect<ReadonlyArray<Credential.Credential>>
  readonly delegate: (request: Delegation.Request) => Effect.Effect<Delegation.Started, Delegation.DelegateError>
}

/**
 * What the agent of a job works with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Made {
  readonly context: JobContext["Service"]
  /** The job as the leased services see it. */
  readonly leased: LeasedJob.LeasedJob
  /** What it has collected of a streamed result. */
  readonly collected: () => Option.Option<Collected>
}

/**
 * What makes the contexts of jobs.
 *
 * @category constructors
 * @since 0.1.0
 */
export const factory: Effect.Effect<(job: Options) => Made, never, JobJournal.JobJournal | SecureRandom.SecureRandom> =
  Effect.gen(function* () {
    const journal = yield* JobJournal.JobJournal
    const config = yield* RuntimeConfig.RuntimeConfig
    const random = yield* SecureRandom.SecureRandom
    // The runtime's: an agent can bring a clock of its own, but events tell the runtime's time.
    const clock = yield* Clock.Clock
    return (job) => make(job, journal, config, random, clock)
  })

const make = (
  job: Options,
  journal: JobJournal.JobJournal["Service"],
  config: RuntimeConfig.RuntimeConfig,
  random: SecureRandom.SecureRandom["Service"],
  clock: Clock.Clock
): Made => {
  const { account, cancellation, credentials, delegate, guard, record, scope } = job
  let collected = Option.none<Collected>()

  const voice = Voice.make(job, journal, config, clock)
  const { append } = voice

  const nonEmpty = (kind: string, field: string, value: string, then: Effect.Effect<void, ArcpError.InvalidRequest>) =>
    value === "" ? Effect.fail(ArcpError.invalidField(`${kind}.${field}`, "must not be empty")) : then

  const toolCall = (call: JobEvent.Body<"tool_call">) =>
    nonEmpty("tool_call", "tool", call.tool, append("tool_call", call))

  const toolResult = (result: JobEvent.Body<"tool_result">) =>
    (result.error === undefined) === (result.result === undefined)
      ? Effect.fail(ArcpError.invalidField("tool_result", "needs exactly one of result and error"))
      : append("tool_result", result)

  const leased = LeasedJob.make({
    guard,
    emitter: voice.emitter,
    nextCallId: Effect.map(random.ulid, (ulid) => `call_${ulid}`),
    scope
  })

  const tool: JobContext["Service"]["tool"] = (name, arguments_, run, options) =>
    nonEmpty("tool_call", "tool", name, Effect.void).pipe(
      Effect.andThen(
        Effect.fromResult(
          Result.mapError(Json.stringify(arguments_, config.maxPayload), (problem) =>
            ArcpError.invalidField("tool_call.args", problem)
          )
        )
      ),
      Effect.andThen(LeasedTool.call(leased, name, arguments_, run, options))
    )

  let isStreaming = false

  /** One result is streamed, by one writer: whoever begins has it, until it fails with nothing sent. */
  const beginResult = Effect.suspend(() => {
    if (isStreaming) return Effect.fail(ArcpError.invalidField("streamResult", "the job has streamed a result already"))
    isStreaming = true
    return Effect.map(Effect.provideService(Ids.makeResultId, SecureRandom.SecureRandom, random), (id) => {
      const emit = (chunk: string) => {
        collected = Option.some({ text: undefined })
        return voice.appendText("result_chunk", chunk)
      }
      const options = record.features.has("result_chunk")
        ? { emit, limit: config.maxResult }
        : { emit: undefined, limit: config.maxPayload }
      return { id, ...ResultWriter.make({ resultId: id, ...options }) }
    })
  })

  const endResult = (writer: Effect.Success<typeof beginResult>) =>
    Effect.map(writer.end, ({ inline, size }) => {
      collected = Option.some({ text: inline })
      return new StreamedResult(writer.id, size)
    })

  const streamResult: JobContext["Service"]["streamResult"] = (content) =>
    Effect.flatMap(beginResult, (writer) =>
      Effect.andThen(
        Stream.runForEach(content as Stream.Stream<string | Uint8Array, never, never>, writer.write),
        endResult(writer)
      ).pipe(Effect.onError(() => Effect.sync(() => (isStreaming = Option.isSome(collected)))))
    )

  const resultSink: JobContext["Service"]["resultSink"] = Sink.unwrap(
    Effect.map(beginResult, (writer) => Sink.mapEffect(Sink.forEach(writer.write), () => endResult(writer)))
  )

  const context = JobContext.of({
    id: record.id,
    agent: record.agent,
    traceId: record.traceId,
    principal: record.principal,
    cancellation,
    log: (level, message, attributes) =>
      append("log", attributes === undefined ? { level, message } : { level, message, attributes }),
    thought: (text) => append("thought", { text }),
    status: (phase, message) =>
      nonEmpty("status", "phase", phase, append("status", message === undefined ? { phase } : { phase, message })),
    metric: (name, value, options) => nonEmpty("metric", "name", name, voice.metric({ name, value, ...options })),
    budget: account === undefined ? Effect.succeed(nothingCapped) : account.available,
    reserve: (amounts, use) =>
      Effect.flatMap(
        Effect.forEach(typeof amounts === "string" ? [amounts] : amounts, (text, index) =>
          Effect.mapError(Effect.fromResult(Amount.parse(text)), (problem) =>
            ArcpError.invalidField(`amounts[${index}]`, problem)
          )
        ),
        (amounts) => guard.reserve(amounts, use)
      ),
    progress: (progress) => {
      const { current, total } = progress
      if (!(Number.isFinite(current) && current >= 0)) {
        return Effect.fail(ArcpError.invalidField("progress.current", "must be a number, not negative"))
      }
      if (total !== undefined && !(Number.isFinite(total) && total >= current)) {
        return Effect.fail(ArcpError.invalidField("progress.total", "must be a number, not below current"))
      }
      return append("progress", progress)
    },
    artifact: (artifact) => nonEmpty("artifact_ref", "uri", artifact.uri, append("artifact_ref", artifact)),
    toolCall,
    toolResult,
    emit: (kind, body) =>
      JobEvent.isVendorKind(kind)
        ? append(kind, body)
        : Effect.fail(ArcpError.invalidField("kind", "must be x-vendor.<vendor>.<name>")),
    tool,
    resultSink,
    credentials,
    delegate: Delegation.make(delegate, journal, config.maxResult),
    streamResult
  })
  return { context, leased, collected: () => collected }
}

const nothingCapped: Budget.Amounts = new Map()
