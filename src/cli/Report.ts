/**
 * How the course of a job is told to whoever runs `arcp submit`: to a person on standard error, or to a program on standard output. The
 * result goes to standard output either way.
 *
 * @since 0.1.0
 */
import {
  Clock,
  Config,
  Console,
  Effect,
  Option,
  Schedule,
  type Scope,
  Semaphore,
  Stdio,
  Stream,
  Terminal
} from "effect"
import type * as JobHandle from "../client/JobHandle.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as JobEvent from "../protocol/JobEvent.ts"
import type * as Json from "../protocol/Json.ts"
import * as Printable from "./Printable.ts"
import * as Progress from "./Progress.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly accepted: (job: JobHandle.JobHandle<Json.Json>) => Effect.Effect<void>
  /** The request was refused, and there is no job. */
  readonly refused: (error: ArcpError.ArcpError) => Effect.Effect<void>
  readonly events: (events: ReadonlyArray<JobEvent.JobEvent>) => Effect.Effect<void>
  /** Something about this command rather than the job. */
  readonly note: (text: string) => Effect.Effect<void>
  readonly succeeded: (result: Json.Json) => Effect.Effect<void>
  readonly failed: (error: ArcpError.ArcpError) => Effect.Effect<void>
}

/**
 * The state in which a job ends that fails with this error (§7.3).
 *
 * @category conversions
 * @since 0.1.0
 */
export const finalStatus = (error: ArcpError.ArcpError): "cancelled" | "timed_out" | "error" =>
  error._tag === "Cancelled" ? "cancelled" : error._tag === "Timeout" ? "timed_out" : "error"

const say = (frame: object) => Console.log(Printable.json(frame))

/**
 * One JSON object per line, spelled as on the wire: `job.accepted`, `job.event`s, and then `job.result` or `job.error`; `session.error`
 * alone if the request was refused. Secrets are left out.
 *
 * @category constructors
 * @since 0.1.0
 */
export const json: Report = {
  accepted: (job) =>
    say({
      type: "job.accepted",
      job_id: job.id,
      agent: job.agent,
      lease: job.lease,
      ...(job.leaseConstraints === undefined ? undefined : { lease_constraints: job.leaseConstraints }),
      ...(job.budget === undefined ? undefined : { budget: job.budget }),
      trace_id: job.traceId
    }),
  refused: (error) => say({ type: "session.error", ...ArcpError.toPayload(error) }),
  events: (events) =>
    Console.log(events.map(({ body, kind, ts }) => Printable.json({ type: "job.event", kind, ts, body })).join("\n")),
  note: (text) => Console.error(text),
  succeeded: (result) => say({ type: "job.result", final_status: "success", result }),
  failed: (error) => say({ type: "job.error", final_status: finalStatus(error), ...ArcpError.toPayload(error) })
}

const printResult = (result: Json.Json) => Console.log(Printable.json(result, 2))

/**
 * Only the result.
 *
 * @category constructors
 * @since 0.1.0
 */
export const quiet: Report = {
  accepted: () => Effect.void,
  refused: () => Effect.void,
  events: () => Effect.void,
  note: (text) => Console.error(text),
  succeeded: printResult,
  failed: () => Effect.void
}

const clear = "\r\u001b[2K"

/** How often the line that changes does so while nothing happens. */
const pace = Schedule.spaced("100 millis")

const canColor = Effect.gen(function* () {
  const noColor = yield* Config.option(Config.String("NO_COLOR"))
  const term = yield* Config.option(Config.String("TERM"))
  return Option.isNone(Option.filter(noColor, (text) => text !== "")) && Option.getOrElse(term, () => "") !== "dumb"
}).pipe(Effect.orElseSucceed(() => true))

/**
 * Lines for a person on standard error. On a terminal one more line below them changes with the progress of the job, until the scope
 * closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const human: Effect.Effect<Report, never, Stdio.Stdio | Terminal.Terminal | Scope.Scope> = Effect.gen(
  function* () {
    const stdio = yield* Stdio.Stdio
    const terminal = yield* Terminal.Terminal
    const isTerminal = yield* stdio.stderrIsTerminal
    const style = isTerminal && (yield* canColor) ? Progress.colored : Progress.plain
    const began = yield* Clock.currentTimeMillis
    const turn = yield* Semaphore.make(1)
    let progress = Progress.initial
    let tick = 0
    let isLive = isTerminal

    // Nobody reads it any more: the job matters more than its description.
    const write = (text: string) => Effect.ignore(Stream.run(Stream.make(text), stdio.stderr({ endOnDone: false })))

    const status = Effect.gen(function* () {
      if (!isLive) return ""
      const columns = (yield* terminal.columns) || 80
      const seconds = Math.floor(((yield* Clock.currentTimeMillis) - began) / 1000)
      return Progress.status(progress, { tick, seconds, columns, style })
    })

    const print = (lines: ReadonlyArray<string>) =>
      Effect.flatMap(status, (status) => {
        const text = lines.map((line) => `${line}\n`).join("")
        const whole = isTerminal ? `${clear}${text}${status}` : text
        return whole === "" ? Effect.void : write(whole)
      }).pipe(turn.withPermits(1))

    const end = Effect.suspend(() => {
      if (!isLive) return Effect.void
      isLive = false
      return print([])
    })

    if (isTerminal) {
      yield* Effect.addFinalizer(() => end)
      yield* Effect.suspend(() => {
        tick++
        return print([])
      }).pipe(Effect.repeat(pace), Effect.forkScoped)
    }

    return {
      accepted: (job) => print([style.dim(Printable.line(`accepted ${job.agent} as ${job.id}`))]),
      refused: () => end,
      events: (events) => {
        const lines: Array<string> = []
        for (const event of events) {
          const line = isTerminal && event.kind === "progress" ? Option.none() : Progress.line(progress, event, style)
          if (Option.isSome(line)) lines.push(line.value)
          progress = Progress.add(progress, event)
        }
        return lines.length > 0 ? print(lines) : Effect.void
      },
      note: (text) => print([text]),
      succeeded: (result) => Effect.andThen(end, printResult(result)),
      failed: () => end
    }
  }
)
