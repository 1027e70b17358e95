/**
 * One job as this client knows it, between its acceptance and its outcome. It belongs to the session while it runs and to its handle
 * for as long as somebody holds that; of the connection it knows nothing.
 */
import { Deferred, Exit, Result } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobEvent from "../../protocol/JobEvent.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as Json from "../../protocol/Json.ts"
import type * as Message from "../../protocol/Message.ts"
import type * as ClientError from "../ClientError.ts"
import * as ResultAssembler from "../ResultAssembler.ts"
import * as EventBuffer from "./eventBuffer.ts"

/** How a job ended, as far as this client can tell. */
export type Outcome =
  | { readonly _tag: "Result"; readonly value: Json.Json }
  | { readonly _tag: "Error"; readonly payload: JobMessage.JobError["payload"] }
  /** The outcome is not known: the session went, or what came cannot be used. */
  | { readonly _tag: "Unknown"; readonly error: ArcpError.ArcpError }

export interface Job {
  readonly id: Ids.JobId
  readonly accepted: JobMessage.Accepted["payload"]
  readonly agent: string
  readonly traceId: Ids.TraceId
  /** Milliseconds since the Unix epoch. */
  readonly acceptedAt: number
  readonly events: EventBuffer.EventBuffer
  readonly outcome: Deferred.Deferred<Outcome>
  assembly: Result.Result<ResultAssembler.ResultAssembler, ResultAssembler.AssemblyError>
  finalStatus: string | undefined
  /** How many were given out. */
  handles: number
}

export const make = (options: {
  readonly accepted: JobMessage.Accepted["payload"]
  readonly agent: string
  readonly traceId: Ids.TraceId
  readonly acceptedAt: number
  readonly events: EventBuffer.EventBuffer
  readonly maxResultBytes: number
}): Job => ({
  id: options.accepted.job_id,
  accepted: options.accepted,
  agent: options.agent,
  traceId: options.traceId,
  acceptedAt: options.acceptedAt,
  events: options.events,
  outcome: Deferred.makeUnsafe(),
  assembly: Result.succeed(ResultAssembler.make(options.maxResultBytes)),
  finalStatus: undefined,
  handles: 0
})

/** Takes one more event. Chunks of the result are put together here, so that the result comes whether or not anybody reads events. */
export const tell = (self: Job, event: JobEvent.JobEvent): void => {
  if (event.kind === "result_chunk") {
    const chunk = event.body as ResultAssembler.Chunk
    self.assembly = Result.flatMap(self.assembly, (assembler) => ResultAssembler.add(assembler, chunk))
  }
  EventBuffer.append(self.events, event, EventBuffer.weigh(event))
}

const end = (self: Job, finalStatus: string, outcome: Outcome) => {
  self.finalStatus = finalStatus
  // The chunks are in the outcome now, or of no use.
  self.assembly = Result.succeed(ResultAssembler.make(0))
  Deferred.doneUnsafe(self.outcome, Exit.succeed(outcome))
}

const valueOf = (self: Job, payload: JobMessage.JobResult["payload"]): Outcome => {
  if (payload.result_id === undefined) return { _tag: "Result", value: payload.result ?? null }
  const { result_id, result_size } = payload
  const assembled = Result.flatMap(self.assembly, (assembler) =>
    ResultAssembler.finish(assembler, { result_id, ...(result_size === undefined ? undefined : { result_size }) })
  )
  return Result.isSuccess(assembled)
    ? { _tag: "Result", value: ResultAssembler.toJson(assembled.success) }
    : { _tag: "Unknown", error: assembled.failure }
}

/** The job has ended. */
export const finish = (self: Job, terminal: Message.Terminal): void => {
  EventBuffer.end(self.events, "done")
  const { payload } = terminal
  end(
    self,
    payload.final_status,
    terminal.type === "job.result" ? valueOf(self, terminal.payload) : { _tag: "Error", payload: terminal.payload }
  )
}

/** The job has ended, but nobody can say how: its last frame was unreadable, or came too early to be kept. */
export const finishUnread = (self: Job, message: string): void => {
  EventBuffer.end(self.events, "done")
  end(self, "unknown", {
    _tag: "Unknown",
    error: new ArcpError.InternalError({ message, details: { job_id: self.id } })
  })
}

/** The session has gone, and no more will be heard of the job. */
export const lose = (self: Job, error: ClientError.SessionLost): void => {
  EventBuffer.end(self.events, error)
  Deferred.doneUnsafe(self.outcome, Exit.succeed({ _tag: "Unknown", error }))
}
