/**
 * One job as this client knows it, between its acceptance and its outcome. It belongs to the session while it runs and to its handle
 * for as long as somebody holds that; of the connection it knows nothing.
 */
import { Deferred, Exit, Latch, Result } from "effect"
import type * as AgentOutcome from "../../protocol/AgentOutcome.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobEvent from "../../protocol/JobEvent.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as Message from "../../protocol/Message.ts"
import type * as ClientError from "../ClientError.ts"
import * as ResultAssembler from "../../protocol/ResultAssembler.ts"
import * as Children from "./children.ts"
import * as EventBuffer from "./eventBuffer.ts"

/** The places in the job's own sequence of what was passed over; none yet if the first is behind the last. */
interface Passed {
  readonly first: number
  readonly last: number
}

/** What is heard of a job, whoever submitted it. */
export interface Followed {
  readonly id: Ids.JobId
  readonly events: EventBuffer.EventBuffer
  readonly outcome: Deferred.Deferred<AgentOutcome.AgentOutcome>
  assembly: Result.Result<ResultAssembler.ResultAssembler, ResultAssembler.AssemblyError>
  /** What the chunks that were put together weigh in memory, in bytes. */
  assembled: number
  /** Bytes of a streamed result that have come in. */
  received: number
  /** Open while there is more of them than was said, or the job has ended. */
  readonly arrivals: Latch.Latch
  /** The streamed result that the last frame names. */
  streamed: ResultAssembler.Announced | undefined
  finalStatus: string | undefined
  /** The place in the job's own sequence of what was taken last; nothing if any is as good as another to begin with. */
  cursor: number | undefined
  /** What comes next has to be the next in the job's own sequence: all else is of another reading of the same job. */
  strict: boolean
  /** Where it begins is for the answer to say; what comes before that is passed over. */
  passed: Passed | undefined
  /** What is missing was said to be gone, so that the next may come from anywhere behind it. */
  lagged: boolean
  /** Nothing may be missing. */
  readonly whole: boolean
  /** How many of the first entries went by before the job was known here. */
  missed: number
  /** The jobs that it has delegated. */
  readonly children: Children.Children
}

/** A job that was submitted here. */
export interface Job extends Followed {
  readonly accepted: JobMessage.Accepted["payload"]
  readonly agent: string
  readonly traceId: Ids.TraceId
  /** Milliseconds since the Unix epoch. */
  readonly acceptedAt: () => number
  /** How many were given out. */
  handles: number
  /** Submits of ours that it answered, and whose callers have not gone. */
  claims: number
}

export const follow = (options: {
  readonly id: Ids.JobId
  readonly events: EventBuffer.EventBuffer
  readonly maxResultBytes: number
  readonly cursor: number | undefined
  readonly strict: boolean
  readonly whole: boolean
  /** Whether the runtime will say where it begins. */
  readonly isTold: boolean
}): Followed => ({
  id: options.id,
  events: options.events,
  outcome: Deferred.makeUnsafe(),
  assembly: Result.succeed(ResultAssembler.make(options.maxResultBytes)),
  assembled: 0,
  received: 0,
  arrivals: Latch.makeUnsafe(false),
  streamed: undefined,
  finalStatus: undefined,
  cursor: options.cursor,
  strict: options.strict,
  passed: options.isTold && options.cursor === undefined ? { first: Number.POSITIVE_INFINITY, last: 0 } : undefined,
  lagged: false,
  whole: options.whole,
  missed: 0,
  children: Children.make()
})

export const make = (options: {
  readonly accepted: JobMessage.Accepted["payload"]
  readonly agent: string
  readonly traceId: Ids.TraceId
  readonly acceptedAt: () => number
  readonly events: EventBuffer.EventBuffer
  readonly maxResultBytes: number
  /** Whether the runtime numbers what the job says. */
  readonly numbered: boolean
}): Job => ({
  ...follow({
    ...options,
    id: options.accepted.job_id,
    cursor: options.numbered ? 0 : undefined,
    strict: false,
    whole: true,
    isTold: false
  }),
  accepted: options.accepted,
  agent: options.agent,
  traceId: options.traceId,
  acceptedAt: options.acceptedAt,
  handles: 0,
  claims: 0
})

/** Whether it is not known yet where the reading begins: then a frame with this place in the job's sequence is only noted. */
export const passOver = (self: Followed, job_seq: number | undefined): boolean => {
  if (self.passed === undefined) return false
  if (job_seq !== undefined) {
    const { first, last } = self.passed
    self.passed = { first: Math.min(first, job_seq), last: Math.max(last, job_seq) }
  }
  return true
}

/** The reading begins after this place. Tells whether some of it was passed over, and has to be asked for again. */
export const begin = (self: Followed, job_seq: number | undefined): boolean => {
  if (self.passed === undefined) return false
  const { first, last } = self.passed
  self.passed = undefined
  self.cursor = job_seq ?? (last > 0 ? first - 1 : undefined)
  return self.cursor !== undefined && last > self.cursor
}

/** Whether a frame with this place in the job's sequence is the next; nothing can be said of one without. */
export const isNext = (self: Followed, job_seq: number | undefined): boolean => {
  if (job_seq === undefined || self.cursor === undefined) return true
  return self.strict && !self.lagged ? job_seq === self.cursor + 1 : job_seq > self.cursor
}

/**
 * A job whose acceptance was lost may be known here only when it has spoken for a while, or all along. Who reads it then has to read it from
 * the runtime.
 */
const noteMissed = (self: Followed, job_seq: number | undefined): void => {
  if (job_seq === undefined || self.cursor !== 0 || job_seq === 1 || self.lagged) return
  self.missed = job_seq - 1
  if (self.events.readers.size === 0) EventBuffer.skip(self.events, self.missed)
  else EventBuffer.end(self.events, EventBuffer.expired(self.missed))
}

/** What of a result that is read as it comes is kept for the next reader, in bytes. */
const kept = 256 * 1024

/** Somebody reads the result as it comes: it is not put together besides. */
export const readAsStream = (self: Followed): void => {
  EventBuffer.shrink(self.events, kept)
  self.assembled = 0
  self.assembly = Result.fail(
    new ArcpError.InvalidRequest({
      message: "The result was read as a stream, and is not kept",
      details: { job_id: self.id }
    })
  )
}

/**
 * Takes one more event, and tells whether somebody has yet to consume it. Chunks of the result are put together here, so that the result
 * comes whether or not anybody reads events.
 */
export const tell = (
  self: Followed,
  event: JobEvent.JobEvent,
  weight: number,
  { event_seq, job_seq }: { readonly event_seq?: number; readonly job_seq?: number }
): boolean => {
  if (job_seq !== undefined) {
    noteMissed(self, job_seq)
    self.cursor = job_seq
    self.lagged = false
  } else if (event.kind === "status" && (event.body as JobEvent.Body<"status">).phase === "subscription_lagged") {
    if (self.whole) close(self, EventBuffer.expired(self.cursor ?? 0))
    self.lagged = true
  }
  if (event.kind === "result_chunk") {
    const chunk = event.body as ResultAssembler.Chunk
    self.assembly = Result.flatMap(self.assembly, (assembler) => ResultAssembler.add(assembler, chunk))
    self.assembled = Result.isSuccess(self.assembly) ? self.assembled + weight : 0
    self.received += ResultAssembler.sizeOf(chunk)
    self.arrivals.openUnsafe()
  }
  return EventBuffer.append(self.events, event, weight, event_seq)
}

/** Nothing more is to be heard of what it says. */
export const close = (self: Followed, how: "done" | ClientError.EventsError): void => {
  EventBuffer.end(self.events, how)
  Children.end(self.children, how)
}

const end = (self: Followed, finalStatus: string, outcome: AgentOutcome.AgentOutcome) => {
  close(self, "done")
  self.finalStatus = finalStatus
  // The chunks are in the outcome now, or of no use.
  self.assembly = Result.succeed(ResultAssembler.make(0))
  self.assembled = 0
  Deferred.doneUnsafe(self.outcome, Exit.succeed(outcome))
  self.arrivals.openUnsafe()
}

const valueOf = (self: Followed, payload: JobMessage.JobResult["payload"]): AgentOutcome.AgentOutcome => {
  if (payload.result_id === undefined) return { _tag: "Result", value: payload.result ?? null }
  const { result_id, result_size } = payload
  const announced = { result_id, ...(result_size === undefined ? undefined : { result_size }) }
  self.streamed = announced
  if (self.missed > 0) return { _tag: "Unknown", error: EventBuffer.expired(self.missed) }
  const assembled = Result.flatMap(self.assembly, (assembler) => ResultAssembler.finish(assembler, announced))
  return Result.isSuccess(assembled)
    ? { _tag: "Result", value: ResultAssembler.toJson(assembled.success) }
    : { _tag: "Unknown", error: assembled.failure }
}

/** The job has ended. */
export const finish = (self: Followed, terminal: Message.Terminal): void => {
  noteMissed(self, terminal.job_seq)
  const { payload } = terminal
  end(
    self,
    payload.final_status,
    terminal.type === "job.result" ? valueOf(self, terminal.payload) : { _tag: "Error", payload: terminal.payload }
  )
}

/** The job has ended, but nobody can say how: its last frame was unreadable, or came too early to be kept. */
export const finishUnread = (self: Followed, message: string): void => {
  end(self, "unknown", {
    _tag: "Unknown",
    error: new ArcpError.InternalError({ message, details: { job_id: self.id } })
  })
}

/** It takes too much for one that nobody has: no more of it is kept, and whoever has to do with it all the same is told. */
export const giveUp = (self: Followed): void => {
  const error = EventBuffer.expired(self.cursor ?? 0)
  close(self, error)
  EventBuffer.discard(self.events)
  self.assembly = Result.succeed(ResultAssembler.make(0))
  self.assembled = 0
  Deferred.doneUnsafe(self.outcome, Exit.succeed({ _tag: "Unknown", error }))
  self.arrivals.openUnsafe()
}

/** The session has gone, and no more will be heard of the job. */
export const lose = (self: Followed, error: ClientError.SessionLost): void => {
  close(self, error)
  Deferred.doneUnsafe(self.outcome, Exit.succeed({ _tag: "Unknown", error }))
  self.arrivals.openUnsafe()
}
