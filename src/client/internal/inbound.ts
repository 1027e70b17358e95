/**
 * What each frame of the runtime means for the session: one match on its type, and one function for each that means something.
 */
import { Deferred, Effect, Exit, Option, Result } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Codec from "../../protocol/Codec.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as Message from "../../protocol/Message.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import * as ClientError from "../ClientError.ts"
import * as ClientSession from "./clientSession.ts"
import * as Delivery from "./delivery.ts"
import * as Ended from "./ended.ts"
import * as EventBuffer from "./eventBuffer.ts"
import * as Family from "./family.ts"
import * as Job from "./job.ts"
import * as Observation from "./observation.ts"
import * as Pace from "./pace.ts"
import * as Requests from "./requests.ts"
import * as Unclaimed from "./unclaimed.ts"

type ClientSession = ClientSession.ClientSession

const maxHeld = 1024
const maxHeldBytes = 4 * 1024 * 1024
/** What one weighs that nobody weighs. */
const unheldWeight = 1024

/**
 * Takes in one frame. What it gives back, if anything, is to be done before the next: a wait, or an answer to send; its failure is the
 * end of the connection, or of the session.
 */
export const receive = (
  self: ClientSession,
  frame: Result.Result<Message.FromRuntime, Codec.BadFrame>
): Effect.Effect<void, Ended.Ended> | undefined => {
  const { event_seq } = Result.isSuccess(frame) ? frame.success : frame.failure
  if (event_seq !== undefined) {
    if (event_seq <= self.lastSeq) return undefined
    const expected = self.lastSeq + 1
    if (event_seq > expected) {
      return Effect.fail(
        Ended.dropped(
          new ArcpError.HeartbeatLost({
            message: `The runtime's sequence has a gap: expected event_seq ${expected}, not ${event_seq}`,
            details: { expected, received: event_seq }
          })
        )
      )
    }
    self.lastSeq = event_seq
  }
  return Result.isSuccess(frame) ? understand(self, frame.success) : misunderstand(self, frame.failure)
}

const understand = (
  self: ClientSession,
  message: Message.FromRuntime
): Effect.Effect<void, Ended.Ended> | undefined => {
  switch (message.type) {
    case "job.event":
      return onEvent(self, message)
    case "job.result":
      return onTerminal(self, message)
    case "job.error":
      return onJobError(self, message)
    case "job.accepted":
      return onAccepted(self, message)
    case "job.cancelled":
      return onCancelled(self, message)
    case "session.error":
      return onSessionError(self, message)
    case "session.ping":
      return pong(self, message)
    case "session.pong":
      return onPong(self, message)
    case "session.closed":
    case "session.bye":
      return onFarewell(self, message)
    case "session.jobs":
      return onJobs(self, message)
    case "job.subscribed":
      return onSubscribed(self, message)
    case "session.welcome":
      return ignored(message.type, "nobody asked for it")
  }
}

const refuse = (self: ClientSession, request: Requests.Request, error: ArcpError.ArcpError) => {
  Requests.refuse(self.requests, request, error)
  ClientSession.releaseUnclaimed(self)
}

const ignored = (type: string | undefined, why: string) =>
  Effect.logDebug(`Ignored ${type === undefined ? "a frame" : `a ${type}`}: ${why}`)

const onEvent = (self: ClientSession, message: JobMessage.Event) => {
  const id = message.job_id!
  const { event_seq } = message
  if (event_seq !== undefined) Pace.received(self.pace, id, event_seq)
  const job = self.jobs.get(id)
  const observers = self.observers.get(id)
  if (job === undefined && observers === undefined) {
    Pace.consumed(self.pace, 1, unheldWeight)
    return hold(self, message)
  }
  return Delivery.tell(self, job, observers, message)
}

/** An event of a job that is not known may be of one whose acceptance is under way (§7.1). */
const hold = (self: ClientSession, message: JobMessage.Event | Message.Terminal) => {
  const id = message.job_id
  if (id === undefined || self.settled.has(id)) return undefined
  if (!Requests.hasSubmit(self.requests)) return ignored(message.type, "its job is not known")
  const known = self.held.get(id)
  if (known === undefined && self.held.size >= maxHeld) return ignored(message.type, "too many jobs are not known")
  const held = known ?? { frames: [], dropped: 0, unread: false }
  self.held.set(id, held)
  const weight = EventBuffer.weigh(message.payload)
  if (self.heldCount >= maxHeld || self.heldBytes + weight > maxHeldBytes) {
    if (message.type === "job.event") held.dropped++
    else held.unread = true
    return undefined
  }
  self.heldCount++
  self.heldBytes += weight
  held.frames.push(message)
  return undefined
}

const onAccepted = (self: ClientSession, message: JobMessage.Accepted) => {
  const { payload } = message
  if (payload.parent_job_id !== undefined || payload.delegate_id !== undefined) {
    // What one of our jobs has delegated: accepted, but not what we asked for.
    onChild(self, payload)
    return undefined
  }
  const request = Requests.submitOf(self.requests, message, self.declared)
  const known = self.jobs.get(payload.job_id)
  const job = known ?? adopt(self, message, request)
  if (job === undefined) {
    ClientSession.settle(self, payload.job_id)
    return ignored(message.type, "no submit waits for it")
  }
  if (request !== undefined) {
    Unclaimed.remove(self.unclaimed, job.id)
    job.claims++
    Requests.accept(self.requests, request, job)
  }
  ClientSession.releaseUnclaimed(self)
  return undefined
}

const onChild = (self: ClientSession, payload: JobMessage.Accepted["payload"]) => {
  const { job_id, parent_job_id } = payload
  const parent = parent_job_id === undefined ? undefined : self.jobs.get(parent_job_id)
  if (parent !== undefined) {
    const child = Family.accepted(self, parent, payload)
    if (child !== undefined) Delivery.unhold(self, child)
  } else if (!self.jobs.has(job_id) && !(self.declared && Requests.hasSubmit(self.requests))) {
    // Else its parent may be the one whose acceptance was lost with a line, and is asked for again.
    ClientSession.settle(self, job_id)
    self.held.delete(job_id)
  }
}

/**
 * An acceptance that comes too late is taken all the same where it cannot be mistaken for another: whoever submits again under the same
 * key then finds the job with all that it has said.
 */
const adopt = (
  self: ClientSession,
  message: JobMessage.Accepted,
  request: Requests.Submit | undefined
): Job.Job | undefined => {
  const { payload } = message
  const traceId = message.trace_id ?? request?.traceId
  if (traceId === undefined || (request === undefined && !self.declared)) return undefined
  const now = self.clock.currentTimeMillisUnsafe()
  const job = Job.make({
    accepted: payload,
    agent: payload.agent === undefined || payload.agent === "" ? (request?.agent ?? "") : payload.agent,
    traceId,
    acceptedAt: () => Option.getOrElse(Timestamp.parse(payload.accepted_at ?? ""), () => now),
    events: ClientSession.makeBuffer(self, payload.job_id),
    maxResultBytes: self.limits.resultBytes,
    numbered: self.declared
  })
  self.jobs.set(job.id, job)
  if (request === undefined) Unclaimed.add(self.unclaimed, job, () => ClientSession.forget(self, job.id))
  Delivery.unhold(self, job)
  return job
}

const onTerminal = (self: ClientSession, message: Message.Terminal) => {
  const id = message.job_id
  const job = id === undefined ? undefined : self.jobs.get(id)
  const observers = id === undefined ? undefined : self.observers.get(id)
  if (job === undefined && observers === undefined) return hold(self, message)
  if (job !== undefined) Delivery.finish(self, job, message)
  return observers === undefined ? undefined : endObservers(self, observers, message)
}

/** An end that comes before what an observer waits for is not the end of its reading: what is missing is asked for once more. */
const endObservers = (self: ClientSession, observers: ReadonlySet<Job.Followed>, message: Message.Terminal) => {
  const behind: Array<Job.Followed> = []
  for (const observer of observers) {
    if (observer.finalStatus !== undefined || Job.passOver(observer, message.job_seq)) continue
    if (Job.isNext(observer, message.job_seq)) Job.finish(observer, message)
    else if (observer.strict && message.job_seq! > observer.cursor!) behind.push(observer)
  }
  return behind.length === 0
    ? undefined
    : Effect.forEach(behind, (observer) => Observation.again(self, observer), { discard: true })
}

/** What no job ends with, but a request about a job is refused with: some peers say it as if the job had (§7.2, §7.4). */
const isRefusal = (self: ClientSession, { job_id, payload }: JobMessage.JobError) =>
  !self.declared &&
  (payload.code === "DUPLICATE_KEY" ||
    payload.code === "JOB_NOT_FOUND" ||
    (payload.code === "PERMISSION_DENIED" &&
      (Requests.cancelOf(self.requests, job_id) ?? Requests.subscribeOf(self.requests, job_id)) !== undefined))

const onJobError = (self: ClientSession, message: JobMessage.JobError) => {
  const named = Requests.named(self.requests, message)
  if (named !== undefined) {
    refuse(self, named, ArcpError.fromPayload(message.payload))
    return undefined
  }
  const { job_id, payload } = message
  const known = job_id !== undefined && (self.jobs.has(job_id) || self.settled.has(job_id) || self.held.has(job_id))
  if (!isRefusal(self, message) && (known || self.declared)) return onTerminal(self, message)
  const request =
    Requests.cancelOf(self.requests, job_id) ??
    Requests.subscribeOf(self.requests, job_id) ??
    (payload.code === "JOB_NOT_FOUND" ? undefined : Requests.submitOf(self.requests, message, self.declared))
  if (request === undefined) return ignored(message.type, "no request waits for it")
  refuse(self, request, ArcpError.fromPayload(payload))
  return undefined
}

const onCancelled = (self: ClientSession, message: JobMessage.Cancelled) => {
  const named = Requests.named(self.requests, message)
  const id = message.job_id ?? message.payload.job_id
  const request =
    named ??
    Requests.cancelOf(self.requests, id) ??
    (id === undefined && !self.declared ? Requests.oldestCancel(self.requests) : undefined)
  if (request?._tag !== "Cancel") return ignored(message.type, "no cancellation waits for it")
  Requests.cancelled(self.requests, request)
  return undefined
}

const onSubscribed = (self: ClientSession, message: JobMessage.Subscribed) => {
  const named = Requests.named(self.requests, message)
  const request = named ?? (self.declared ? undefined : Requests.subscribeOf(self.requests, message.payload.job_id))
  if (request?._tag !== "Subscribe") return ignored(message.type, "no subscription waits for it")
  const lacks = Job.begin(request.followed, message.job_seq)
  Requests.subscribed(self.requests, request, message.payload)
  return lacks ? Observation.again(self, request.followed) : undefined
}

const onJobs = (self: ClientSession, message: SessionMessage.Jobs) => {
  const named = Requests.named(self.requests, message)
  const request = named ?? (self.declared ? undefined : Requests.oldestList(self.requests))
  if (request?._tag !== "List") return ignored(message.type, "no listing waits for it")
  Requests.listed(self.requests, request, message.payload)
  return undefined
}

/** An error refuses the request that it is about; it ends the session only if it says so and no request had asked. */
const onSessionError = (self: ClientSession, message: SessionMessage.SessionError) => {
  const { payload } = message
  const error = ArcpError.fromPayload(payload)
  const named = Requests.named(self.requests, message)
  if (named !== undefined) {
    refuse(self, named, error)
    return undefined
  }
  if (ClientError.isSessionLost(error) && payload.request_id === undefined) {
    return Effect.fail(Ended.sessionError(error))
  }
  const { closing } = self
  const isOfClose = payload.request_id === undefined ? error._tag === "InvalidRequest" : payload.request_id === closing
  if (closing !== undefined && (message.id === closing || isOfClose)) {
    Deferred.doneUnsafe(self.farewell, Exit.succeed("refused"))
    return undefined
  }
  // JOB_NOT_FOUND answers no submit: it is for a cancellation that the job's end has overtaken.
  const request =
    Requests.cancelOf(self.requests, payload.job_id) ??
    Requests.subscribeOf(self.requests, payload.job_id) ??
    (self.declared || payload.request_id !== undefined
      ? undefined
      : error._tag === "JobNotFound"
        ? (Requests.oldestCancel(self.requests) ?? Requests.oldestSubscribe(self.requests))
        : (Requests.submitOf(self.requests, message, false) ?? Requests.oldest(self.requests)))
  if (request === undefined) {
    return Effect.logWarning(`The runtime reported an error that belongs to no request: ${payload.code}`)
  }
  refuse(self, request, error)
  return undefined
}

const pong = (self: ClientSession, { payload }: SessionMessage.Ping) =>
  Effect.flatMap(self.nextId, (id) =>
    self.send(
      JSON.stringify({
        ...ClientSession.head(self, id),
        type: "session.pong",
        payload: {
          ping_nonce: payload.nonce,
          received_at: Timestamp.format(self.clock.currentTimeMillisUnsafe())
        }
      } satisfies SessionMessage.Pong)
    )
  )

const onPong = (self: ClientSession, { payload }: SessionMessage.Pong) => {
  const waiting = self.pings.get(payload.ping_nonce)
  self.pings.delete(payload.ping_nonce)
  if (waiting !== undefined) Deferred.doneUnsafe(waiting, Exit.void)
  return undefined
}

const onFarewell = (self: ClientSession, { payload }: SessionMessage.Closed | SessionMessage.Bye) => {
  if (self.closing !== undefined) {
    Deferred.doneUnsafe(self.farewell, Exit.succeed("closed"))
    return undefined
  }
  return Effect.fail(Ended.farewell(payload.reason))
}

/** What waits for a frame that cannot be read must not wait for ever. */
const misunderstand = (self: ClientSession, bad: Codec.BadFrame) => {
  const message = `The runtime's ${bad.type ?? "frame"} could not be read: ${bad.error.message}`
  const id = bad.job_id as Ids.JobId | undefined
  const isTerminal = bad.type === "job.result" || bad.type === "job.error"
  const job = isTerminal && id !== undefined ? self.jobs.get(id) : undefined
  const request = job === undefined ? requestOf(self, bad) : undefined
  const observers = isTerminal && id !== undefined ? self.observers.get(id) : undefined
  for (const observer of observers ?? []) Job.finishUnread(observer, message)
  if (job !== undefined) Delivery.finishUnread(self, job, message)
  else if (request !== undefined) {
    refuse(self, request, new ArcpError.InternalError({ message }))
  } else if (isTerminal && id !== undefined && Requests.hasSubmit(self.requests) && !self.settled.has(id)) {
    const held = self.held.get(id) ?? { frames: [], dropped: 0, unread: true }
    held.unread = true
    if (self.held.size < maxHeld) self.held.set(id, held)
  }
  return bad.ignorable ? undefined : Effect.logWarning(message)
}

/** The request that an unreadable frame answers: the one whose id it has, or the only one that it can be about. */
const requestOf = (self: ClientSession, bad: Codec.BadFrame): Requests.Request | undefined => {
  const named = Requests.named(self.requests, { ...(bad.id === undefined ? undefined : { id: bad.id }), payload: {} })
  if (named !== undefined) return named
  const [only, second] = self.requests.all.values()
  if (second !== undefined) return undefined
  switch (bad.type) {
    case "job.accepted":
      return only?._tag === "Submit" ? only : undefined
    case "job.cancelled":
      return only?._tag === "Cancel" ? only : undefined
    case "job.subscribed":
      return only?._tag === "Subscribe" ? only : undefined
    case "session.jobs":
      return only?._tag === "List" ? only : undefined
    case "session.error":
      return only
    case "job.error":
      return self.declared ? undefined : only
    default:
      return undefined
  }
}
