/**
 * Requests that wait for their answer, and which answer belongs to which (§6.6; the draft says it for one message only).
 *
 * Peers correlate in five ways. In order of trust: the answer has the request's envelope id; its payload names that id; both are about
 * one job; both have one trace id, which is distinct per submit; or nothing says so and the oldest request is meant. The last is safe
 * only while a single request is under way, so a peer that has not declared to correlate gets no more than one at a time.
 */
import { Deferred, Exit } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as Job from "./job.ts"

interface Common<A> {
  readonly id: Ids.MessageId
  /** What the caller waits for; fails when the time is up, while the answer may still come. */
  readonly reply: Deferred.Deferred<A, ArcpError.ArcpError>
  readonly answered: Deferred.Deferred<void>
}

export interface Submit extends Common<Job.Job> {
  readonly _tag: "Submit"
  readonly traceId: Ids.TraceId
  /** What was asked for, in case that the acceptance does not say what was resolved. */
  readonly agent: string
}

export interface Cancel extends Common<void> {
  readonly _tag: "Cancel"
  readonly jobId: Ids.JobId
}

export type Request = Submit | Cancel

/** Those under way, oldest first. */
export type Requests = Map<Ids.MessageId, Request>

export const make = (): Requests => new Map()

export const submit = (id: Ids.MessageId, traceId: Ids.TraceId, agent: string): Submit => ({
  _tag: "Submit",
  id,
  traceId,
  agent,
  reply: Deferred.makeUnsafe(),
  answered: Deferred.makeUnsafe()
})

export const cancel = (id: Ids.MessageId, jobId: Ids.JobId): Cancel => ({
  _tag: "Cancel",
  id,
  jobId,
  reply: Deferred.makeUnsafe(),
  answered: Deferred.makeUnsafe()
})

/** The ids of an answer. */
export interface Answer {
  readonly id?: string
  readonly trace_id?: Ids.TraceId
  readonly payload: { readonly request_id?: string; readonly trace_id?: string }
}

/** The request that the answer names, whatever it is. */
export const named = (self: Requests, answer: Answer): Request | undefined =>
  self.get(answer.id as Ids.MessageId) ?? self.get(answer.payload.request_id as Ids.MessageId)

const first = <A extends Request>(self: Requests, is: (request: Request) => request is A): A | undefined => {
  for (const request of self.values()) {
    if (is(request)) return request
  }
  return undefined
}

const isSubmit = (request: Request): request is Submit => request._tag === "Submit"
const isCancel = (request: Request): request is Cancel => request._tag === "Cancel"

/** The submit that an acceptance or a refusal is about. */
export const submitOf = (self: Requests, answer: Answer, declared: boolean): Submit | undefined => {
  const request = named(self, answer)
  if (request !== undefined) return isSubmit(request) ? request : undefined
  // It names a request, but one that we have given up.
  if (answer.payload.request_id !== undefined) return undefined
  const traceId = answer.trace_id ?? answer.payload.trace_id
  const traced = first(self, (other): other is Submit => isSubmit(other) && other.traceId === traceId)
  return traced ?? (declared ? undefined : first(self, isSubmit))
}

/** The cancellation of this job that has waited longest. */
export const cancelOf = (self: Requests, jobId: Ids.JobId | undefined): Cancel | undefined =>
  jobId === undefined
    ? undefined
    : first(self, (request): request is Cancel => isCancel(request) && request.jobId === jobId)

/** The one cancellation that an answer without any id can be about. */
export const oldestCancel = (self: Requests): Cancel | undefined => first(self, isCancel)

export const hasSubmit = (self: Requests): boolean => first(self, isSubmit) !== undefined

const done = <A>(self: Requests, request: Common<A>, exit: Exit.Exit<A, ArcpError.ArcpError>) => {
  self.delete(request.id)
  Deferred.doneUnsafe(request.reply, exit)
  Deferred.doneUnsafe(request.answered, Exit.void)
}

export const accept = (self: Requests, request: Submit, job: Job.Job): void => done(self, request, Exit.succeed(job))

export const cancelled = (self: Requests, request: Cancel): void => done(self, request, Exit.void)

export const refuse = (self: Requests, request: Request, error: ArcpError.ArcpError): void => {
  if (request._tag === "Submit") done(self, request, Exit.fail(error))
  else done(self, request, Exit.fail(error))
}
