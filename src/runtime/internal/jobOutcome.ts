/**
 * What comes of a job, whichever way it ended, and the entry that tells of it (§7.3, §8.3).
 */
import { Cause, Effect, Exit, Option, Result } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import * as Json from "../../protocol/Json.ts"
import type * as Job from "../Job.ts"
import * as JobContext from "../JobContext.ts"
import type * as JobEntry from "../JobEntry.ts"
import type * as RunningJob from "../RunningJob.ts"

/** Characters of an error's message. */
const maxMessage = 16_384

/** The JSON text of a result, or what stands for one that was streamed; else the error. */
type Came = Result.Result<Completed, ArcpError.ArcpError>

type Completed = { readonly result: string } | { readonly resultId: string; readonly size: number }

/** What came of a job, and how that is called: a time-out that an agent fails with, such as that of its child, is not its own. */
export interface JobOutcome {
  readonly final: Job.Final
  readonly came: Came
}

/** What comes of a job that is ended. */
export const ofStop = (stop: RunningJob.Stop, record: Job.JobRecord): JobOutcome => {
  switch (stop._tag) {
    case "Cancel": {
      const { reason } = stop
      return failed("cancelled", new ArcpError.Cancelled({ message: `Cancelled: ${reason}`, details: { reason } }))
    }
    case "Deadline":
      return failed(
        "timed_out",
        new ArcpError.Timeout({
          message: `The job ran longer than ${record.maxRuntime} s`,
          details: { max_runtime_sec: record.maxRuntime ?? 0 }
        })
      )
    case "Expired":
      return failed("error", stop.error)
    case "Shutdown":
      return failed("error", internal("The runtime has ended"))
  }
}

const failed = (final: Job.Final, error: ArcpError.ArcpError): JobOutcome => ({ final, came: Result.fail(error) })

const internal = (message: string) => new ArcpError.InternalError({ message })

/** What comes of a job that was accepted, and whose agent never ran. */
export const notStarted: JobOutcome = failed("error", internal("The job could not be started"))

/** What comes of a job whose agent ended by itself; a result may have so many characters. */
export const ofExit = Effect.fnUntraced(function* (
  exit: Exit.Exit<Json.Json | JobContext.StreamedResult, ArcpError.ArcpError>,
  collected: Option.Option<JobContext.Collected>,
  limit: number
): Effect.fn.Return<JobOutcome> {
  if (Exit.isSuccess(exit)) {
    const came = answered(exit.value, collected, limit)
    return { final: Result.isSuccess(came) ? "success" : "error", came }
  }
  const error = Cause.findError(exit.cause)
  if (Result.isSuccess(error)) return failed("error", error.success)
  if (Cause.hasInterruptsOnly(exit.cause)) return failed("error", internal("The agent was interrupted"))
  yield* Effect.logError("The agent died", exit.cause)
  return failed("error", internal("The agent failed unexpectedly"))
})

const answered = (
  answer: Json.Json | JobContext.StreamedResult,
  collected: Option.Option<JobContext.Collected>,
  limit: number
): Came => {
  const streamed = answer instanceof JobContext.StreamedResult ? answer : undefined
  if (streamed === undefined && Option.isSome(collected)) {
    return Result.fail(internal("The agent streamed a result and then answered with another"))
  }
  const inline = Option.getOrUndefined(collected)?.text
  if (streamed !== undefined && inline === undefined) {
    return Result.succeed({ resultId: streamed.resultId, size: streamed.size })
  }
  // What answers nothing answers `null`.
  const text = Json.stringify((streamed === undefined ? answer : inline) ?? null, limit)
  // Encoded before anything is decided: a result that cannot travel is an error of the job, not a silence.
  return Result.isSuccess(text)
    ? Result.succeed({ result: text.success })
    : Result.fail(internal(`The result ${text.failure}`))
}

/** About how many characters are kept of an outcome. */
export const lengthOf = ({ came }: JobOutcome, limit: number): number => {
  if (Result.isSuccess(came)) return "result" in came.success ? came.success.result.length : 1024
  const text = Json.stringify(ArcpError.toPayload(came.failure), limit)
  return Result.isSuccess(text) ? text.success.length : maxMessage
}

/** The terminal entry. */
export const terminal = (came: Came, final: Job.Final, completed_at: string, limit: number): JobEntry.Draft => {
  if (Result.isSuccess(came)) {
    const done = came.success
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
  const { details, ...error } = ArcpError.toPayload(came.failure)
  const message = error.message.slice(0, maxMessage)
  const told = { final_status: final, ...error, message, completed_at }
  // Details that cannot travel must not keep the outcome from doing so.
  const payload = Result.getOrElse(Json.stringify({ ...told, details }, limit), () => JSON.stringify(told))
  return { type: "job.error", kind: "", payload }
}
