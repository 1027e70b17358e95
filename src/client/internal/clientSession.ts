/**
 * All that a session is, in one place and apart from the connection that carries it at the moment: its ids, how far its sequence has
 * come, which requests wait, which jobs run. What each frame means for it, `inbound.ts` decides.
 *
 * Changed in place and synchronously, by the one fiber that reads the connection and by those that make requests.
 */
import { type Clock, Deferred, Effect, Exit, Latch, type Scope, Semaphore } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import * as Feature from "../../protocol/Feature.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as Message from "../../protocol/Message.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import * as Version from "../../protocol/Version.ts"
import * as ClientError from "../ClientError.ts"
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
export interface Held {
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

/** No submit waits any more, so what was held belongs to nobody. */
export const releaseHeld = (self: ClientSession) => {
  self.held.clear()
  self.heldCount = 0
  self.heldBytes = 0
}

/** Nothing more is to be heard of a job. */
export const settle = (self: ClientSession, id: Ids.JobId) => {
  self.settled.add(id)
  if (self.settled.size <= maxSettled) return
  for (const oldest of self.settled) {
    self.settled.delete(oldest)
    return
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
