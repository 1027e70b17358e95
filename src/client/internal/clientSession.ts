/**
 * All that a session is, in one place and apart from the connection that carries it at the moment: its ids, how far its sequence has
 * come, which requests wait, which jobs run. {@link receive} decides what each frame means for it.
 *
 * Changed in place and synchronously, by the one fiber that reads the connection and by those that make requests.
 */
import { type Clock, Deferred, Effect, Exit, Latch, Option, Result, type Scope, Semaphore } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Codec from "../../protocol/Codec.ts"
import * as Feature from "../../protocol/Feature.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobEvent from "../../protocol/JobEvent.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as Message from "../../protocol/Message.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import * as Version from "../../protocol/Version.ts"
import * as ClientError from "../ClientError.ts"
import * as EventBuffer from "./eventBuffer.ts"
import * as Job from "./job.ts"
import * as Requests from "./requests.ts"

/** The bounds of what a client holds. */
export interface Limits {
  readonly events: number
  readonly eventBytes: number
  readonly resultBytes: number
  readonly requests: number
}

/** What came for a job before its acceptance did. */
interface Held {
  readonly frames: Array<JobMessage.Event | Message.Terminal>
  dropped: number
  /** The outcome could not be kept or read. */
  unread: boolean
}

export interface ClientSession {
  readonly id: Ids.SessionId
  readonly welcome: SessionMessage.Welcome["payload"]
  readonly features: ReadonlySet<Feature.Feature>
  /** The runtime is built with this package, and so names the request in each answer. */
  readonly declared: boolean
  readonly limits: Limits
  readonly clock: Clock.Clock
  readonly nextId: Effect.Effect<Ids.MessageId>
  /** Owns the fibers of requests under way. */
  readonly scope: Scope.Scope
  readonly permits: Semaphore.Semaphore
  readonly requests: Requests.Requests
  readonly traceIds: Set<Ids.TraceId>
  readonly jobs: Map<Ids.JobId, Job.Job>
  /** Jobs that have ended, or that others submitted: whatever still comes for them is none of ours. */
  readonly settled: Set<Ids.JobId>
  readonly held: Map<Ids.JobId, Held>
  readonly pings: Map<string, Deferred.Deferred<void, ClientError.SessionLost>>
  /** Opened when the connection, waiting for a slow reader, may go on. */
  readonly space: Latch.Latch
  readonly farewell: Deferred.Deferred<"closed" | "refused">
  /** The place of the last frame of the sequence: what a resume would start from. */
  lastSeq: number
  /** The id of our `session.close`, once it is sent. */
  closing: Ids.MessageId | undefined
  lost: ClientError.SessionLost | undefined
  /** Says something over the connection of the moment; suspends while that is full. */
  send: (frame: string) => Effect.Effect<void>
  heldCount: number
  heldBytes: number
}

const maxSettled = 1024
const maxHeld = 1024
const maxHeldBytes = 4 * 1024 * 1024
const maxPings = 64

export const make = (options: {
  readonly id: Ids.SessionId
  readonly welcome: SessionMessage.Welcome["payload"]
  readonly features: ReadonlySet<Feature.Feature>
  readonly limits: Limits
  readonly clock: Clock.Clock
  readonly nextId: Effect.Effect<Ids.MessageId>
  readonly scope: Scope.Scope
}): ClientSession => {
  const declared = options.welcome.capabilities[Feature.declaration.key] !== undefined
  return {
    ...options,
    declared,
    permits: Semaphore.makeUnsafe(declared ? options.limits.requests : 1),
    requests: Requests.make(),
    traceIds: new Set(),
    jobs: new Map(),
    settled: new Set(),
    held: new Map(),
    pings: new Map(),
    space: Latch.makeUnsafe(true),
    farewell: Deferred.makeUnsafe(),
    lastSeq: 0,
    closing: undefined,
    lost: undefined,
    send: () => Effect.void,
    heldCount: 0,
    heldBytes: 0
  }
}

/** The members that each of our frames has after the hello. */
export const head = (self: ClientSession, id: Ids.MessageId) => ({
  arcp: Version.version as typeof Version.version,
  id,
  session_id: self.id
})

/** The session is over: the one place where all that waits on it is told. */
export const lose = (self: ClientSession, error: ClientError.SessionLost): void => {
  if (self.lost !== undefined) return
  self.lost = error
  for (const request of self.requests.values()) Requests.refuse(self.requests, request, error)
  for (const job of self.jobs.values()) Job.lose(job, error)
  for (const pong of self.pings.values()) Deferred.doneUnsafe(pong, Exit.fail(error))
  self.jobs.clear()
  self.pings.clear()
  releaseHeld(self)
  Deferred.doneUnsafe(self.farewell, Exit.succeed("closed"))
  self.space.openUnsafe()
}

/**
 * Takes in one frame. What it gives back, if anything, is to be done before the next: a wait, or an answer to send; its failure is the
 * end of the session.
 */
export const receive = (
  self: ClientSession,
  frame: Result.Result<Message.FromRuntime, Codec.BadFrame>
): Effect.Effect<void, ClientError.SessionLost> | undefined => {
  const { event_seq } = Result.isSuccess(frame) ? frame.success : frame.failure
  if (event_seq !== undefined) {
    if (event_seq <= self.lastSeq) return undefined
    const expected = self.lastSeq + 1
    if (event_seq > expected) {
      return Effect.fail(
        new ArcpError.HeartbeatLost({
          message: `The runtime's sequence has a gap: expected event_seq ${expected}, not ${event_seq}`,
          details: { expected, received: event_seq }
        })
      )
    }
    self.lastSeq = event_seq
  }
  return Result.isSuccess(frame) ? understand(self, frame.success) : misunderstand(self, frame.failure)
}

const understand = (
  self: ClientSession,
  message: Message.FromRuntime
): Effect.Effect<void, ClientError.SessionLost> | undefined => {
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
    case "session.welcome":
    case "session.jobs":
    case "job.subscribed":
      return ignored(message.type, "nobody asked for it")
  }
}

const ignored = (type: string | undefined, why: string) =>
  Effect.logDebug(`Ignored ${type === undefined ? "a frame" : `a ${type}`}: ${why}`)

const onEvent = (self: ClientSession, message: JobMessage.Event) => {
  const job = self.jobs.get(message.job_id!)
  return job === undefined ? hold(self, message) : tell(self, job, message)
}

const tell = (self: ClientSession, job: Job.Job, { payload }: JobMessage.Event): Effect.Effect<void> | undefined => {
  const ts = payload.ts ?? Timestamp.format(self.clock.currentTimeMillisUnsafe())
  // The codec has checked that the body is one of this kind.
  const event = { kind: payload.kind, ts, body: payload.body } as JobEvent.JobEvent
  if (EventBuffer.isSpilling(job.events))
    return Effect.andThen(
      patience(job),
      Effect.sync(() => Job.tell(job, event))
    )
  Job.tell(job, event)
  return isBlocked(self, job) ? untilRead(self, job) : undefined
}

/** A job may say more than is kept before the fiber that submitted it had a turn to open the stream: it gets a few. */
const patience = (job: Job.Job): Effect.Effect<void> =>
  Effect.repeat(Effect.yieldNow, { times: 16, while: () => EventBuffer.isSpilling(job.events) })

/**
 * A slow reader holds up the connection, so that it loses nothing. But the reader may be slow because it waits for an answer that is to
 * come over this very connection, so while requests are under way the bounds are stretched.
 */
const isBlocked = (self: ClientSession, job: Job.Job) =>
  self.lost === undefined && EventBuffer.isFull(job.events, self.requests.size === 0 && self.pings.size === 0 ? 1 : 4)

const untilRead = (self: ClientSession, job: Job.Job): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!isBlocked(self, job)) return Effect.void
    self.space.closeUnsafe()
    return Effect.andThen(self.space.await, untilRead(self, job))
  })

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

const releaseHeld = (self: ClientSession) => {
  self.held.clear()
  self.heldCount = 0
  self.heldBytes = 0
}

const settle = (self: ClientSession, id: Ids.JobId) => {
  self.settled.add(id)
  if (self.settled.size <= maxSettled) return
  for (const oldest of self.settled) {
    self.settled.delete(oldest)
    return
  }
}

const onAccepted = (self: ClientSession, message: JobMessage.Accepted) => {
  const { payload } = message
  if (payload.parent_job_id !== undefined || payload.delegate_id !== undefined) {
    // A child that one of the jobs delegated to: accepted, but not what we asked for.
    if (!self.jobs.has(payload.job_id)) settle(self, payload.job_id)
    self.held.delete(payload.job_id)
    return undefined
  }
  const request = Requests.submitOf(self.requests, message, self.declared)
  if (request === undefined) {
    settle(self, payload.job_id)
    return ignored(message.type, "no submit waits for it")
  }
  if (Deferred.isDoneUnsafe(request.reply)) {
    // Nobody waits any more. The job runs on, and its key finds it again.
    settle(self, payload.job_id)
    Requests.refuse(self.requests, request, timeout("job.submit"))
    return undefined
  }
  const job = self.jobs.get(payload.job_id) ?? adopt(self, message, request)
  Requests.accept(self.requests, request, job)
  if (!Requests.hasSubmit(self.requests)) releaseHeld(self)
  return undefined
}

const adopt = (self: ClientSession, message: JobMessage.Accepted, request: Requests.Submit): Job.Job => {
  const { payload } = message
  const now = self.clock.currentTimeMillisUnsafe()
  const job = Job.make({
    accepted: payload,
    agent: payload.agent === undefined || payload.agent === "" ? request.agent : payload.agent,
    traceId: message.trace_id ?? request.traceId,
    acceptedAt: Option.getOrElse(Timestamp.parse(payload.accepted_at ?? ""), () => now),
    events: EventBuffer.make({
      maxEvents: self.limits.events,
      maxBytes: self.limits.eventBytes,
      space: self.space
    }),
    maxResultBytes: self.limits.resultBytes
  })
  self.jobs.set(job.id, job)
  // A finished job that is submitted again under its key has its last frame said again.
  self.settled.delete(job.id)
  const held = self.held.get(job.id)
  if (held !== undefined) {
    self.held.delete(job.id)
    for (const frame of held.frames) {
      if (frame.type === "job.event") tell(self, job, frame)
      else end(self, job, frame)
    }
    if (held.dropped > 0) EventBuffer.skip(job.events, held.dropped)
    if (held.unread) endUnread(self, job, "The job's outcome came before its acceptance and could not be kept")
  }
  return job
}

const end = (self: ClientSession, job: Job.Job, terminal: Message.Terminal) => {
  forget(self, job)
  Job.finish(job, terminal)
}

const endUnread = (self: ClientSession, job: Job.Job, message: string) => {
  forget(self, job)
  Job.finishUnread(job, message)
}

const forget = (self: ClientSession, job: Job.Job) => {
  self.jobs.delete(job.id)
  settle(self, job.id)
  // Some peers acknowledge a cancellation by the job's end alone (§7.4).
  for (let cancel = Requests.cancelOf(self.requests, job.id); cancel !== undefined;) {
    Requests.cancelled(self.requests, cancel)
    cancel = Requests.cancelOf(self.requests, job.id)
  }
}

const onTerminal = (self: ClientSession, message: Message.Terminal) => {
  const job = message.job_id === undefined ? undefined : self.jobs.get(message.job_id)
  if (job === undefined) return hold(self, message)
  end(self, job, message)
  return undefined
}

/** What no job ends with, but a request about a job is refused with: some peers say it as if the job had (§7.2, §7.4). */
const isRefusal = (self: ClientSession, { job_id, payload }: JobMessage.JobError) =>
  !self.declared &&
  (payload.code === "DUPLICATE_KEY" ||
    payload.code === "JOB_NOT_FOUND" ||
    (payload.code === "PERMISSION_DENIED" && Requests.cancelOf(self.requests, job_id) !== undefined))

const onJobError = (self: ClientSession, message: JobMessage.JobError) => {
  const named = Requests.named(self.requests, message)
  if (named !== undefined) {
    Requests.refuse(self.requests, named, ArcpError.fromPayload(message.payload))
    return undefined
  }
  const { job_id, payload } = message
  const known = job_id !== undefined && (self.jobs.has(job_id) || self.settled.has(job_id) || self.held.has(job_id))
  if (!isRefusal(self, message) && (known || self.declared)) return onTerminal(self, message)
  const request =
    Requests.cancelOf(self.requests, job_id) ??
    (payload.code === "JOB_NOT_FOUND" ? undefined : Requests.submitOf(self.requests, message, self.declared))
  if (request === undefined) return ignored(message.type, "no request waits for it")
  Requests.refuse(self.requests, request, ArcpError.fromPayload(payload))
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

/** An error refuses the request that it is about; it ends the session only if it says so and no request had asked. */
const onSessionError = (self: ClientSession, message: SessionMessage.SessionError) => {
  const { payload } = message
  const error = ArcpError.fromPayload(payload)
  const named = Requests.named(self.requests, message)
  if (named !== undefined) {
    Requests.refuse(self.requests, named, error)
    return undefined
  }
  if (ClientError.isSessionLost(error) && payload.request_id === undefined) return Effect.fail(error)
  const { closing } = self
  const isOfClose = payload.request_id === undefined ? error._tag === "InvalidRequest" : payload.request_id === closing
  if (closing !== undefined && (message.id === closing || isOfClose)) {
    Deferred.doneUnsafe(self.farewell, Exit.succeed("refused"))
    return undefined
  }
  // JOB_NOT_FOUND answers no submit: it is for a cancellation that the job's end has overtaken.
  const request =
    Requests.cancelOf(self.requests, payload.job_id) ??
    (self.declared || payload.request_id !== undefined
      ? undefined
      : error._tag === "JobNotFound"
        ? Requests.oldestCancel(self.requests)
        : (Requests.submitOf(self.requests, message, false) ?? Requests.oldestCancel(self.requests)))
  if (request === undefined) {
    return Effect.logWarning(`The runtime reported an error that belongs to no request: ${payload.code}`)
  }
  Requests.refuse(self.requests, request, error)
  return undefined
}

const pong = (self: ClientSession, { payload }: SessionMessage.Ping) =>
  Effect.flatMap(self.nextId, (id) =>
    self.send(
      JSON.stringify({
        ...head(self, id),
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
  const { reason } = payload
  return Effect.fail(
    new ArcpError.HeartbeatLost({
      message: reason === undefined ? "The runtime closed the session" : `The runtime closed the session: ${reason}`,
      ...(reason === undefined ? undefined : { details: { reason } })
    })
  )
}

/** What waits for a frame that cannot be read must not wait for ever. */
const misunderstand = (self: ClientSession, bad: Codec.BadFrame) => {
  const message = `The runtime's ${bad.type ?? "frame"} could not be read: ${bad.error.message}`
  const id = bad.job_id as Ids.JobId | undefined
  const isTerminal = bad.type === "job.result" || bad.type === "job.error"
  const job = isTerminal && id !== undefined ? self.jobs.get(id) : undefined
  const request = job === undefined ? requestOf(self, bad) : undefined
  if (job !== undefined) endUnread(self, job, message)
  else if (request !== undefined) {
    Requests.refuse(self.requests, request, new ArcpError.InternalError({ message }))
  } else if (isTerminal && id !== undefined && Requests.hasSubmit(self.requests) && !self.settled.has(id)) {
    const held = self.held.get(id) ?? { frames: [], dropped: 0, unread: true }
    held.unread = true
    if (self.held.size < maxHeld) self.held.set(id, held)
  }
  return bad.ignorable ? undefined : Effect.logWarning(message)
}

/** The request that an unreadable frame answers: the one whose id it has, or the only one that it can be about. */
const requestOf = (self: ClientSession, bad: Codec.BadFrame): Requests.Request | undefined => {
  const named = Requests.named(self.requests, { ...bad, payload: {} })
  if (named !== undefined) return named
  const [only, second] = self.requests.values()
  if (second !== undefined) return undefined
  switch (bad.type) {
    case "job.accepted":
      return only?._tag === "Submit" ? only : undefined
    case "job.cancelled":
      return only?._tag === "Cancel" ? only : undefined
    case "session.error":
      return only
    case "job.error":
      return self.declared ? undefined : only
    default:
      return undefined
  }
}

const timeout = (what: string) => new ArcpError.Timeout({ message: `The runtime did not answer ${what} in time` })

/**
 * Sends a request and waits for its answer. Interrupting the wait lets the exchange go on: what is asked cannot be taken back, and its
 * answer must not be taken for that of the next request.
 */
export const request = <A>(
  self: ClientSession,
  pending: Requests.Request & { readonly reply: Deferred.Deferred<A, ArcpError.ArcpError> },
  frame: string,
  within: number
): Effect.Effect<A, ArcpError.ArcpError> => {
  const exchange = Effect.gen(function* () {
    self.requests.set(pending.id, pending)
    self.space.openUnsafe()
    yield* self.send(frame)
    const answered = Effect.timeoutOption(Deferred.await(pending.answered), within)
    if ((yield* answered)._tag === "Some") return
    Deferred.doneUnsafe(pending.reply, Exit.fail(timeout(pending._tag === "Submit" ? "job.submit" : "job.cancel")))
    // Where nothing but the order tells whose an answer is, a late one gets the same time again before others may ask.
    if (!self.declared) yield* answered
  }).pipe(
    Effect.ensuring(
      Effect.suspend(() => {
        self.requests.delete(pending.id)
        if (!Requests.hasSubmit(self.requests)) releaseHeld(self)
        return self.permits.release(1)
      })
    )
  )
  return Effect.uninterruptibleMask((restore) =>
    Effect.andThen(
      restore(self.permits.take(1)),
      Effect.suspend(() =>
        self.lost === undefined
          ? Effect.andThen(
              Effect.forkIn(exchange, self.scope, { startImmediately: true }),
              restore(Deferred.await(pending.reply))
            )
          : Effect.andThen(self.permits.release(1), Effect.fail(self.lost))
      )
    )
  )
}

/** Asks for a sign of life. */
export const ping = (
  self: ClientSession,
  within: number
): Effect.Effect<void, ArcpError.Timeout | ArcpError.InvalidRequest | ClientError.SessionLost> =>
  Effect.gen(function* () {
    if (self.lost !== undefined) return yield* Effect.fail(self.lost)
    if (self.pings.size >= maxPings) {
      return yield* new ArcpError.InvalidRequest({ message: `${maxPings} pings are under way already` })
    }
    const pong = Deferred.makeUnsafe<void, ClientError.SessionLost>()
    const id = yield* self.nextId
    const frame: SessionMessage.Ping = {
      ...head(self, id),
      type: "session.ping",
      payload: { nonce: id, sent_at: Timestamp.format(self.clock.currentTimeMillisUnsafe()) }
    }
    self.pings.set(id, pong)
    self.space.openUnsafe()
    return yield* Effect.andThen(self.send(JSON.stringify(frame)), Deferred.await(pong)).pipe(
      Effect.timeoutOrElse({ duration: within, orElse: () => Effect.fail(timeout("session.ping")) }),
      Effect.ensuring(Effect.sync(() => self.pings.delete(id)))
    )
  })
