/**
 * How a job says what it has to say: each event is checked and written into its journal, and a metric that reports a cost is charged as it is
 * told (§8.2, §9.6).
 */
import { Cause, type Clock, Effect, Option, Record, Result } from "effect"
import type * as Budget from "../../authority/Budget.ts"
import type * as Budgets from "../../authority/Budgets.ts"
import * as JobEmitter from "../../authority/JobEmitter.ts"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import * as RemainingBudget from "../../authority/RemainingBudget.ts"
import * as Amount from "../../protocol/Amount.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import * as JobEvent from "../../protocol/JobEvent.ts"
import * as Json from "../../protocol/Json.ts"
import * as SequencedFrame from "../../protocol/SequencedFrame.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import type * as Job from "../Job.ts"
import type * as JobEntry from "../JobEntry.ts"
import type * as JobJournal from "../JobJournal.ts"
import type * as RuntimeConfig from "../RuntimeConfig.ts"

type Emitted = Effect.Effect<void, ArcpError.InvalidRequest>

/** Who speaks. */
export interface Speaker {
  readonly record: Job.JobRecord
  readonly epoch: number
  readonly guard: LeaseGuard.LeaseGuard["Service"]
  readonly account: Budgets.Account | undefined
  /** Whether these are its last words, which may use the reserve. */
  readonly isEnding: () => boolean
}

export interface Voice {
  /** Says it as it is, or fails with why that cannot be. */
  readonly append: (kind: string, body: unknown) => Emitted
  /** As `append`, of a body that is JSON text already. */
  readonly appendText: (kind: string, body: string) => Emitted
  /** A metric, and with a cost what is then left, if that has changed by much. */
  readonly metric: (body: JobEvent.Body<"metric">) => Emitted
  /** Says what it can of anything. */
  readonly emitter: JobEmitter.JobEmitter["Service"]
}

export const make = (
  { account, epoch, guard, isEnding, record }: Speaker,
  journal: JobJournal.JobJournal["Service"],
  config: RuntimeConfig.RuntimeConfig,
  clock: Clock.Clock
): Voice => {
  const head = headOfPayloads()
  const urgently = { urgent: true }

  const draftOf = (kind: string, body: string): JobEntry.Draft => ({
    type: "job.event",
    kind,
    payload: head(kind, clock.currentTimeMillisUnsafe()) + body + "}"
  })

  const draft = (kind: string, body: unknown): Result.Result<JobEntry.Draft, ArcpError.InvalidRequest> => {
    const text = Json.stringify(body, config.maxPayload)
    return Result.isFailure(text)
      ? Result.fail(ArcpError.invalidField(`${kind} body`, text.failure))
      : Result.succeed(draftOf(kind, text.success))
  }

  const tell = (draft: JobEntry.Draft): Effect.Effect<void> =>
    Effect.catchCause(journal.append(record.id, epoch, [draft], isEnding() ? urgently : undefined), endWithJob)

  const append: Voice["append"] = (kind, body) =>
    Effect.suspend(() => {
      const made = draft(kind, body)
      return Result.isFailure(made) ? Effect.fail(made.failure) : tell(made.success)
    })

  const appendText: Voice["appendText"] = (kind, body) =>
    Effect.suspend(() =>
      body.length > config.maxPayload
        ? Effect.fail(ArcpError.invalidField(`${kind} body`, Json.tooLong(body.length, config.maxPayload)))
        : tell(draftOf(kind, body))
    )

  let told = RemainingBudget.nothing

  /** Whether this lease, or one above it, caps the currency: what a host caps besides is not the job's to tell. */
  const isCapped = ({ currency }: Budget.Standing) => guard.tenures.some(({ lease }) => lease.budget.has(currency))

  // Some clients read the labels from `dims`.
  const metric: Voice["metric"] = (body) => {
    const { dimensions, name, value } = body
    if (!Number.isFinite(value)) return Effect.fail(ArcpError.invalidField("metric.value", "must be a finite number"))
    if (name === JobEvent.budgetRemaining) {
      return Effect.fail(ArcpError.invalidField("metric.name", `${name} is what the runtime says of a budget`))
    }
    const made = draft("metric", dimensions === undefined ? body : { ...body, dims: dimensions })
    if (Result.isFailure(made)) return Effect.fail(made.failure)
    const reported = made.success
    const cost = costOf(body)
    if (cost === undefined) return tell(reported)
    if (Result.isFailure(cost)) return Effect.fail(ArcpError.invalidField("metric.value", cost.failure))
    // Nothing comes between a cost and its being counted, and once it is counted it is told, once.
    return Effect.uninterruptibleMask(
      Effect.fnUntraced(function* (restore) {
        const charged = account === undefined ? notCounted : yield* account.charge([cost.success])
        const remaining = RemainingBudget.tell(told, charged.standings.filter(isCapped))
        told = remaining.told
        const drafts = [
          reported,
          ...remaining.metrics.flatMap((body) => Result.getSuccess(draft("metric", body)).pipe(Option.toArray))
        ] as const
        const waited = yield* Effect.exit(restore(journal.room(record.id, urgently)))
        yield* Effect.catch(journal.append(record.id, epoch, drafts, { forced: true, ledger: charged.entries }), () =>
          Effect.forEach(charged.entries, (entry) => journal.record(record.id, epoch, entry)).pipe(
            Effect.andThen(Effect.interrupt)
          )
        )
        return yield* waited
      })
    )
  }

  /** What cannot be shown as it is shows why: it must not be lost for that, nor hide what it came with. */
  const shown = (value: unknown): Json.Json =>
    Result.match(Json.stringify(value ?? null, config.maxPayload), {
      onSuccess: () => (value ?? null) as Json.Json,
      onFailure: (problem) => `(a value that ${problem})`
    })

  const showable = (body: { readonly [member: string]: unknown }) =>
    Record.map(body, (member, name) => {
      if (name !== "error") return shown(member)
      const { code, message, retryable } = member as ArcpError.Payload
      return { code, message: message.slice(0, 1024), retryable }
    })

  /** A metric that cannot be shown as it is must be counted all the same. */
  const emitMetric = (body: JobEvent.Body<"metric">) =>
    Effect.catch(metric(body), () => {
      const { name, unit, value } = body
      return metric({ name, value, ...(unit === undefined ? undefined : { unit }) })
    })

  const emitter = JobEmitter.JobEmitter.of({
    emit: (kind, body) =>
      (kind === "metric"
        ? emitMetric(body as JobEvent.Body<"metric">)
        : Effect.catch(append(kind, body), () => append(kind, showable(body)))
      ).pipe(Effect.catch((error) => Effect.logWarning(`An event of kind ${kind} cannot be told`, error.message)))
  })

  return { append, appendText, metric, emitter }
}

const notCounted: Budgets.Charged = { entries: [], standings: [] }

/** The cost that a metric reports, or why it cannot be one; nothing if it reports none, or in no currency. */
const costOf = ({ name, unit, value }: JobEvent.Body<"metric">): Result.Result<Amount.Amount, string> | undefined => {
  if (!name.startsWith(JobEvent.costPrefix)) return undefined
  if (value < 0) return Result.fail("a cost must not be negative")
  return unit !== undefined && Amount.isCurrency(unit) ? Amount.fromNumber(unit, value) : undefined
}

/** Once the job has ended whoever still speaks for it ends too. One function for all: this stands behind every event. */
const endWithJob = (cause: Cause.Cause<JobJournal.JournalClosed>): Effect.Effect<never> => {
  const closed = Cause.findError(cause)
  return Result.isSuccess(closed) ? Effect.interrupt : Effect.failCause(closed.failure)
}

/** Writes how the payload of an event begins. What is said at one time and of one kind begins alike. */
const headOfPayloads = () => {
  let last = { kind: "", millis: Number.NaN, text: "" }
  return (kind: string, millis: number): string => {
    if (last.millis !== millis || last.kind !== kind) {
      last = { kind, millis, text: SequencedFrame.payloadHead(kind, Timestamp.format(millis)) }
    }
    return last.text
  }
}
