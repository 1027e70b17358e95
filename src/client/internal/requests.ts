/**
 * Requests that wait for their answer, and which answer belongs to which (§6.6; the draft says it for one message only).
 *
 * Peers correlate in five ways. In order of trust: the answer has the request's envelope id; its payload names that id; both are about
 * one job; both have one trace id, which is distinct per submit; or nothing says so and the oldest request is meant. The last is safe
 * only while a single request is under way, so a peer that has not declared to correlate gets no more than one at a time.
 */
import { Deferred, Exit, Latch } from "effect"
import type * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import type * as Job from "./job.ts"

interface Common<A> {
  /** That of the frame that was sent last: on a new connection the request is said again, under a new id. */
  id: Ids.MessageId
  /** The frame's text. */
  readonly encode: (id: Ids.MessageId) => string
  /** What the caller waits for; fails when the time is up, while the answer may still come. */
  readonly reply: Deferred.Deferred<A, ArcpError.ArcpError>
  /** When the time is up, in milliseconds since the Unix epoch. */
  deadline: number
  /** The time was up once, and the caller has been told. */
  overdue: boolean
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

export interface Subscribe extends Common<JobMessage.Subscribed["payload"]> {
  readonly _tag: "Subscribe"
  readonly jobId: Ids.JobId
  readonly followed: Job.Followed
}

export interface List extends Common<SessionMessage.Jobs["payload"]> {
  readonly _tag: "List"
}

export type Request = Submit | Cancel | Subscribe | List

export interface Requests {
  /** Those under way, oldest first. */
  readonly all: Map<Ids.MessageId, Request>
  /** How many of them are submits. */
  submits: number
  /** Opened when one fewer is under way. */
  readonly fewer: Latch.Latch
  /** Opened when there is one more. */
  readonly more: Latch.Latch
}

export const make = (): Requests => ({
  all: new Map(),
  submits: 0,
  fewer: Latch.makeUnsafe(true),
  more: Latch.makeUnsafe(false)
})

export const begin = (self: Requests, request: Request, deadline: number): void => {
  request.deadline = deadline
  self.all.set(request.id, request)
  if (request._tag === "Submit") self.submits++
  self.more.openUnsafe()
}

/** The request is not under way any more. */
export const remove = (self: Requests, request: Request): void => {
  if (!self.all.delete(request.id)) return
  if (request._tag === "Submit") self.submits--
  self.fewer.openUnsafe()
}

/** When the time of the first is up; nothing if none is under way. */
export const firstDeadline = (self: Requests): number | undefined => {
  let first: number | undefined
  for (const { deadline } of self.all.values()) first = Math.min(first ?? deadline, deadline)
  return first
}

/** A frame whose id is not settled yet; all else is written once, so that it is the same when it is said again. */
export const framed = (frame: object): ((id: Ids.MessageId) => string) => {
  const text = JSON.stringify(frame).slice(1)
  return (id) => `{"id":${JSON.stringify(id)},${text}`
}

const common = <A>(id: Ids.MessageId, encode: Common<A>["encode"]): Common<A> => ({
  id,
  encode,
  reply: Deferred.makeUnsafe(),
  deadline: Number.POSITIVE_INFINITY,
  overdue: false
})

type Encode = (id: Ids.MessageId) => string

export const submit = (id: Ids.MessageId, traceId: Ids.TraceId, agent: string, encode: Encode): Submit => ({
  _tag: "Submit",
  traceId,
  agent,
  ...common(id, encode)
})

export const cancel = (id: Ids.MessageId, jobId: Ids.JobId, encode: Encode): Cancel => ({
  _tag: "Cancel",
  jobId,
  ...common(id, encode)
})

export const subscribe = (id: Ids.MessageId, followed: Job.Followed, encode: Encode): Subscribe => ({
  _tag: "Subscribe",
  jobId: followed.id,
  followed,
  ...common(id, encode)
})

export const list = (id: Ids.MessageId, encode: Encode): List => ({ _tag: "List", ...common(id, encode) })

/** The message type of a request. */
export const type = (request: Request): string => {
  switch (request._tag) {
    case "Submit":
      return "job.submit"
    case "Cancel":
      return "job.cancel"
    case "Subscribe":
      return "job.subscribe"
    case "List":
      return "session.list_jobs"
  }
}

/** The request is said again, under this id: what still answers the old one answers nothing. */
export const rename = (self: Requests, request: Request, id: Ids.MessageId): void => {
  self.all.delete(request.id)
  request.id = id
  self.all.set(id, request)
}

/** The ids of an answer. */
export interface Answer {
  readonly id?: string
  readonly trace_id?: Ids.TraceId
  readonly payload: { readonly request_id?: string; readonly trace_id?: string }
}

/** The request that the answer names, whatever it is. */
export const named = (self: Requests, answer: Answer): Request | undefined =>
  self.all.get(answer.id as Ids.MessageId) ?? self.all.get(answer.payload.request_id as Ids.MessageId)

const first = <A extends Request>(self: Requests, is: (request: Request) => request is A): A | undefined => {
  for (const request of self.all.values()) {
    if (is(request)) return request
  }
  return undefined
}

const isSubmit = (request: Request): request is Submit => request._tag === "Submit"
const isCancel = (request: Request): request is Cancel => request._tag === "Cancel"
const isList = (request: Request): request is List => request._tag === "List"

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

/** The subscription to this job that has waited longest. */
export const subscribeOf = (self: Requests, jobId: Ids.JobId | undefined): Subscribe | undefined =>
  jobId === undefined
    ? undefined
    : first(self, (request): request is Subscribe => request._tag === "Subscribe" && request.jobId === jobId)

/** The one subscription that an answer without any id can be about. */
export const oldestSubscribe = (self: Requests): Subscribe | undefined =>
  first(self, (request): request is Subscribe => request._tag === "Subscribe")

/** The listing that has waited longest. */
export const oldestList = (self: Requests): List | undefined => first(self, isList)

/** The request that has waited longest, whatever it is. */
export const oldest = (self: Requests): Request | undefined => self.all.values().next().value

export const hasSubmit = (self: Requests): boolean => self.submits > 0

const done = <A>(
  self: Requests,
  request: Request & { readonly reply: Deferred.Deferred<A, ArcpError.ArcpError> },
  answer: A
) => {
  remove(self, request)
  Deferred.doneUnsafe(request.reply, Exit.succeed(answer))
}

export const accept = (self: Requests, request: Submit, job: Job.Job): void => done(self, request, job)

export const cancelled = (self: Requests, request: Cancel): void => done(self, request, undefined)

export const subscribed = (self: Requests, request: Subscribe, payload: JobMessage.Subscribed["payload"]): void =>
  done(self, request, payload)

export const listed = (self: Requests, request: List, payload: SessionMessage.Jobs["payload"]): void =>
  done(self, request, payload)

export const refuse = (self: Requests, request: Request, error: ArcpError.ArcpError): void => {
  remove(self, request)
  fail(request, error)
}

/** The caller waits no longer; the answer may still come. */
export const fail = (request: Request, error: ArcpError.ArcpError): void => {
  switch (request._tag) {
    case "Submit":
      return void Deferred.doneUnsafe(request.reply, Exit.fail(error))
    case "Cancel":
      return void Deferred.doneUnsafe(request.reply, Exit.fail(error))
    case "Subscribe":
      return void Deferred.doneUnsafe(request.reply, Exit.fail(error))
    case "List":
      return void Deferred.doneUnsafe(request.reply, Exit.fail(error))
  }
}
