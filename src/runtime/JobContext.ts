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
import { Clock, Context, Deferred, Effect, Option, Record, Ref, Result, type Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { Base64 } from "effect/encoding"
import * as JobEmitter from "../authority/JobEmitter.ts"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as LeasedJob from "../leased/LeasedJob.ts"
import * as LeasedTool from "../leased/LeasedTool.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Ids from "../protocol/Ids.ts"
import * as JobEvent from "../protocol/JobEvent.ts"
import type * as Json from "../protocol/Json.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
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
    /** Names that begin with `cost.` are costs, which must not be negative (§9.6). */
    readonly metric: Emit<[name: string, value: number, options?: Omit<JobEvent.Body<"metric">, "name" | "value">]>
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
    /**
     * Streams the result: text as it is, bytes in base64, cut into chunks that never split a character (§8.4). For a session without
     * `result_chunk` it is collected and sent as one.
     */
    readonly streamResult: <E, R>(
      content: Stream.Stream<string, E, R> | Stream.Stream<Uint8Array, E, R>
    ) => Effect.Effect<StreamedResult, E | ArcpError.InvalidRequest | ArcpError.InternalError, R>
  }
>()("arcp/runtime/JobContext") {}

const invalid = (field: string, problem: string) =>
  new ArcpError.InvalidRequest({ message: `${field}: ${problem}`, details: { field } })

/**
 * JSON text, or why there is none: a value with a cycle, a `BigInt`, one that is nested without end, or one that is too long.
 *
 * @category conversions
 * @since 0.1.0
 */
export const stringify = (value: unknown, limit: number): Result.Result<string, string> => {
  try {
    const text = JSON.stringify(value)
    if (text === undefined) return Result.fail("cannot be written as JSON")
    return text.length > limit
      ? Result.fail(`of ${text.length} characters is longer than ${limit}`)
      : Result.succeed(text)
  } catch (cause) {
    return Result.fail(
      `cannot be written as JSON: ${cause instanceof Error ? cause.message.split("\n")[0] : "unknown"}`
    )
  }
}

/**
 * A result that was streamed, at least in part.
 */
export interface Collected {
  /** What the runner keeps for the terminal if the session cannot take chunks; nothing if chunks of it were sent. */
  readonly text: string | undefined
}

/**
 * The context of one job, and what it has collected of a streamed result.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (job: {
  readonly record: Job.JobRecord
  readonly epoch: number
  readonly guard: LeaseGuard.LeaseGuard["Service"]
  readonly cancellation: Deferred.Deferred<string>
  /** Whether the agent is to stop, for whatever reason. */
  readonly isEnding: () => boolean
  /** Ends with the job. */
  readonly scope: Scope.Scope
}) {
  const { epoch, guard, record, scope } = job
  const journal = yield* JobJournal.JobJournal
  const config = yield* RuntimeConfig.RuntimeConfig
  const random = yield* SecureRandom.SecureRandom
  const collected = yield* Ref.make(Option.none<Collected>())

  let stampedAt = -1
  let stamp = ""
  const timestamp = (millis: number) => {
    if (millis !== stampedAt) {
      stampedAt = millis
      stamp = Timestamp.format(millis)
    }
    return stamp
  }

  const append = (kind: string, body: unknown, isCost = false): Effect.Effect<void, ArcpError.InvalidRequest> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const text = stringify(body, config.maxPayload)
      if (Result.isFailure(text)) return Effect.fail(invalid(`${kind} body`, text.failure))
      const payload = `{"kind":${JSON.stringify(kind)},"ts":"${timestamp(now)}","body":${text.success}}`
      return Effect.catchTag(
        journal.append(record.id, epoch, [{ type: "job.event", kind, payload }], {
          urgent: isCost || job.isEnding()
        }),
        "JournalClosed",
        () => Effect.interrupt
      )
    })

  const nonEmpty = (kind: string, field: string, value: string, then: Effect.Effect<void, ArcpError.InvalidRequest>) =>
    value === "" ? Effect.fail(invalid(`${kind}.${field}`, "must not be empty")) : then

  const toolCall = (call: JobEvent.Body<"tool_call">) =>
    nonEmpty("tool_call", "tool", call.tool, append("tool_call", call))

  const toolResult = (result: JobEvent.Body<"tool_result">) =>
    (result.error === undefined) === (result.result === undefined)
      ? Effect.fail(invalid("tool_result", "needs exactly one of result and error"))
      : append("tool_result", result)

  /** What cannot be shown as it is shows why: it must not be lost for that, nor hide what it came with. */
  const shown = (value: unknown): Json.Json =>
    Result.match(stringify(value ?? null, config.maxPayload), {
      onSuccess: () => (value ?? null) as Json.Json,
      onFailure: (problem) => `(a value that ${problem})`
    })

  const showable = (body: { readonly [member: string]: unknown }) =>
    Record.map(body, (member, name) => {
      if (name !== "error") return shown(member)
      const { code, message, retryable } = member as ArcpError.Payload
      return { code, message: message.slice(0, 1024), retryable }
    })

  const emitter = JobEmitter.JobEmitter.of({
    emit: (kind, body) =>
      append(kind, body).pipe(
        Effect.catch(() => append(kind, showable(body))),
        Effect.catch((error) => Effect.logWarning(`An event of kind ${kind} cannot be told`, error.message))
      )
  })

  const leased = LeasedJob.make({
    guard,
    emitter,
    nextCallId: Effect.map(random.ulid, (ulid) => `call_${ulid}`),
    scope
  })

  const tool: JobContext["Service"]["tool"] = (name, arguments_, run, options) =>
    nonEmpty("tool_call", "tool", name, Effect.void).pipe(
      Effect.andThen(
        Effect.fromResult(
          Result.mapError(stringify(arguments_, config.maxPayload), (problem) => invalid("tool_call.args", problem))
        )
      ),
      Effect.andThen(LeasedTool.call(leased, name, arguments_, run, options))
    )

  const streamResult: JobContext["Service"]["streamResult"] = Effect.fnUntraced(function* (content) {
    if (Option.isSome(yield* Ref.get(collected))) {
      return yield* Effect.fail(invalid("streamResult", "the job has streamed a result already"))
    }
    const resultId = yield* Effect.provideService(Ids.makeResultId, SecureRandom.SecureRandom, random)
    const inline = !record.features.has("result_chunk")
    let seq = 0
    let size = 0
    let pending: Chunk | undefined
    /** A character of which the stream has given the first half. */
    let half = ""
    /** What is sent as one: text, or bytes of which the base64 is made when all are there. */
    let text = ""
    const parts: Array<Uint8Array> = []

    const send = (chunk: Chunk, more: boolean): Effect.Effect<void, ArcpError.InvalidRequest> =>
      Effect.suspend(() => {
        size += chunk.size
        const { data, encoding } = chunk
        const body = { result_id: resultId, chunk_seq: seq++, data, encoding, more }
        return Effect.andThen(Ref.set(collected, Option.some({ text: undefined })), append("result_chunk", body))
      })

    const collect = (part: string | Uint8Array): Effect.Effect<void, ArcpError.InternalError> =>
      Effect.suspend(() => {
        if (typeof part === "string") text += part
        else parts.push(part.slice())
        size += typeof part === "string" ? utf8.encode(part).length : part.length
        return size > config.maxPayload
          ? Effect.fail(
              new ArcpError.InternalError({ message: `The result is longer than ${config.maxPayload} bytes` })
            )
          : Effect.void
      })

    const write = Effect.fnUntraced(function* (part: string | Uint8Array) {
      if (inline) return yield* collect(part)
      for (const chunk of cut(part)) {
        if (pending !== undefined) yield* send(pending, true)
        pending = chunk
      }
    })

    yield* Stream.runForEach(content as Stream.Stream<string | Uint8Array, never, never>, (part) => {
      if (typeof part !== "string") return write(part)
      const whole = half + part
      half = endsInHalf(whole) ? whole.slice(-1) : ""
      return write(half === "" ? whole : whole.slice(0, -1))
    })
    yield* write(half)
    if (inline) yield* Ref.set(collected, Option.some({ text: parts.length > 0 ? Base64.encode(concat(parts)) : text }))
    else yield* send(pending ?? { data: "", encoding: "utf8", size: 0 }, false)
    return new StreamedResult(resultId, size)
  })

  const context = JobContext.of({
    id: record.id,
    agent: record.agent,
    traceId: record.traceId,
    principal: record.principal,
    cancellation: Deferred.await(job.cancellation),
    log: (level, message, attributes) =>
      append("log", attributes === undefined ? { level, message } : { level, message, attributes }),
    thought: (text) => append("thought", { text }),
    status: (phase, message) =>
      nonEmpty("status", "phase", phase, append("status", message === undefined ? { phase } : { phase, message })),
    metric: (name, value, options) => {
      if (!Number.isFinite(value)) return Effect.fail(invalid("metric.value", "must be a finite number"))
      const isCost = name.startsWith(JobEvent.costPrefix) && name !== JobEvent.budgetRemaining
      if (isCost && value < 0) {
        return Effect.fail(invalid("metric.value", "a cost must not be negative"))
      }
      const dimensions = options?.dimensions
      // Some clients read the labels from `dims`.
      return nonEmpty(
        "metric",
        "name",
        name,
        append(
          "metric",
          { name, value, ...options, ...(dimensions === undefined ? undefined : { dims: dimensions }) },
          isCost
        )
      )
    },
    progress: (progress) => {
      const { current, total } = progress
      if (!(Number.isFinite(current) && current >= 0)) {
        return Effect.fail(invalid("progress.current", "must be a number, not negative"))
      }
      if (total !== undefined && !(Number.isFinite(total) && total >= current)) {
        return Effect.fail(invalid("progress.total", "must be a number, not below current"))
      }
      return append("progress", progress)
    },
    artifact: (artifact) => nonEmpty("artifact_ref", "uri", artifact.uri, append("artifact_ref", artifact)),
    toolCall,
    toolResult,
    emit: (kind, body) =>
      JobEvent.isVendorKind(kind)
        ? append(kind, body)
        : Effect.fail(invalid("kind", "must be x-vendor.<vendor>.<name>")),
    tool,
    streamResult
  })
  return { context, leased, collected: Ref.get(collected) }
})

interface Chunk {
  readonly data: string
  readonly encoding: "utf8" | "base64"
  /** Bytes, decoded. */
  readonly size: number
}

/** Characters of text, or bytes, in one chunk; in base64 a multiple of three needs no padding before the end. */
const chunkLength = 192 * 1024

const utf8 = new TextEncoder()

const endsInHalf = (text: string): boolean => /[\ud800-\udbff]$/.test(text)

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

function* cut(part: string | Uint8Array): Generator<Chunk> {
  for (let start = 0; start < part.length;) {
    let end = Math.min(part.length, start + chunkLength)
    if (typeof part === "string") {
      const last = part.charCodeAt(end - 1)
      if (end < part.length && last >= 0xd800 && last <= 0xdbff) end--
      const data = part.slice(start, end)
      yield { data, encoding: "utf8", size: utf8.encode(data).length }
    } else {
      yield { data: Base64.encode(part.subarray(start, end)), encoding: "base64", size: end - start }
    }
    start = end
  }
}
