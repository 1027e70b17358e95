/**
 * All that a session is, in one place and apart from the connection that carries it at the moment: its ids, how far its sequence has
 * come, which requests wait, which jobs run. What each frame means for it, `inbound.ts` decides.
 *
 * Changed in place and synchronously, by the one fiber that reads the connection and by those that make requests.
 */
import { type Clock, Deferred, Effect, Exit, Latch, type Scope } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import * as Feature from "../../protocol/Feature.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as Message from "../../protocol/Message.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Version from "../../protocol/Version.ts"
import * as ClientError from "../ClientError.ts"
import type * as Children from "./children.ts"
import * as EventBuffer from "./eventBuffer.ts"
import * as Job from "./job.ts"
import * as Pace from "./pace.ts"
import * as Requests from "./requests.ts"
import * as Unclaimed from "./unclaimed.ts"

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
  /** The latest: each connection brings a new resume token. */
  welcome: SessionMessage.Welcome["payload"]
  /** What was negotiated when the session began, and holds for all of its connections. */
  readonly features: ReadonlySet<Feature.Feature>
  /** The runtime is built with this package, and so names the request in each answer. */
  readonly declared: boolean
  /** As well, and acknowledgements pace it. */
  readonly paced: boolean
  /** Whether consumers say themselves how far they are. */
  readonly manual: boolean
  readonly limits: Limits
  readonly clock: Clock.Clock
  readonly nextId: Effect.Effect<Ids.MessageId>
  /** Milliseconds that an answer may take. */
  readonly within: number
  /** Owns the fibers of requests under way. */
  readonly scope: Scope.Scope
  /** Requests that may be under way at a time. */
  readonly maxRequests: number
  readonly requests: Requests.Requests
  readonly traceIds: Set<Ids.TraceId>
  readonly jobs: Map<Ids.JobId, Job.Job>
  /** Jobs that have ended, or that others submitted: whatever still comes for them is none of ours. */
  readonly settled: Set<Ids.JobId>
  /** Readings of jobs by subscription, also of those that were submitted here. */
  readonly observers: Map<Ids.JobId, Set<Job.Followed>>
  readonly pace: Pace.Pace
  readonly held: Map<Ids.JobId, Held>
  /** Children that are followed, and that nobody has taken; once they have ended, with what they weigh. Oldest first. */
  readonly untaken: Map<Ids.JobId, { readonly child: Children.Child; weight: number }>
  /** Jobs that run, and that nobody here has a handle of. */
  readonly unclaimed: Unclaimed.Unclaimed
  readonly pings: Map<string, Deferred.Deferred<void, ClientError.SessionLost>>
  /** Opened when the connection, waiting for a slow reader, may go on. */
  readonly space: Latch.Latch
  readonly farewell: Deferred.Deferred<"closed" | "refused">
  /** The place of the last frame of the sequence: what a resume would start from. */
  lastSeq: number
  /** The id of our `session.close`, once it is sent. */
  closing: Ids.MessageId | undefined
  lost: ClientError.SessionLost | undefined
  /** The reader of the connection waits at {@link ClientSession.space}: that it hears nothing is its own doing. */
  waiting: boolean
  /** Says something over the connection of the moment; suspends while that is full. Without one it is not said. */
  send: (frame: string) => Effect.Effect<void>
  /** Done whenever more has been consumed. */
  onProgress: Effect.Effect<void>
  heldCount: number
  heldBytes: number
  untakenWeight: number
}

const maxSettled = 1024

export const make = (options: {
  readonly id: Ids.SessionId
  readonly welcome: SessionMessage.Welcome["payload"]
  readonly features: ReadonlySet<Feature.Feature>
  readonly limits: Limits
  readonly clock: Clock.Clock
  readonly nextId: Effect.Effect<Ids.MessageId>
  readonly within: number
  readonly scope: Scope.Scope
  readonly lastSeq: number
  readonly manual: boolean
}): ClientSession => {
  const declaration = options.welcome.capabilities[Feature.declaration.key]
  const declared = declaration !== undefined
  const paced = declared && options.features.has("ack")
  return {
    ...options,
    declared,
    paced,
    maxRequests: declared ? options.limits.requests : 1,
    requests: Requests.make(),
    traceIds: new Set(),
    jobs: new Map(),
    settled: new Set(),
    observers: new Map(),
    pace: Pace.make(options.lastSeq, paced, Feature.windowOf(declaration)),
    held: new Map(),
    untaken: new Map(),
    // As much as one job that somebody has a handle of.
    unclaimed: Unclaimed.make(options.limits.eventBytes + options.limits.resultBytes),
    pings: new Map(),
    space: Latch.makeUnsafe(true),
    farewell: Deferred.makeUnsafe(),
    closing: undefined,
    lost: undefined,
    waiting: false,
    send: () => Effect.void,
    onProgress: Effect.void,
    heldCount: 0,
    heldBytes: 0,
    untakenWeight: 0
  }
}

/** The members that each of our frames has after the hello, its id apart. */
export const base = (self: ClientSession) => ({
  arcp: Version.version as typeof Version.version,
  session_id: self.id
})

/** As {@link base}, with the id. */
export const head = (self: ClientSession, id: Ids.MessageId) => ({ ...base(self), id })

/** Refuses what takes a feature that was not negotiated (§6.2): the runtime would not know it. */
export const needs = (
  { features }: ClientSession,
  feature: Feature.Feature
): Effect.Effect<void, ArcpError.InvalidRequest> =>
  features.has(feature)
    ? Effect.void
    : Effect.fail(
        new ArcpError.InvalidRequest({
          message: `The session has not negotiated ${JSON.stringify(feature)}`,
          details: { feature }
        })
      )

/** The session is over: the one place where all that waits on it is told. */
export const lose = (self: ClientSession, error: ClientError.SessionLost): void => {
  if (self.lost !== undefined) return
  self.lost = error
  for (const request of self.requests.all.values()) Requests.refuse(self.requests, request, error)
  for (const job of self.jobs.values()) Job.lose(job, error)
  for (const pong of self.pings.values()) Deferred.doneUnsafe(pong, Exit.fail(error))
  for (const observers of self.observers.values()) for (const observer of observers) Job.lose(observer, error)
  self.jobs.clear()
  self.untaken.clear()
  Unclaimed.clear(self.unclaimed)
  self.observers.clear()
  self.pings.clear()
  releaseHeld(self)
  Deferred.doneUnsafe(self.farewell, Exit.succeed("closed"))
  self.space.openUnsafe()
}

/** For the events of a job, within the session's bounds. */
export const makeBuffer = (self: ClientSession, job: Ids.JobId): EventBuffer.EventBuffer =>
  EventBuffer.make({
    job,
    maxEvents: self.limits.events,
    maxBytes: self.limits.eventBytes,
    space: self.space,
    pace: self.pace,
    manual: self.manual
  })

/** When no submit waits any more, what was held belongs to nobody. */
export const releaseUnclaimed = (self: ClientSession) => {
  if (!Requests.hasSubmit(self.requests) && self.held.size > 0) releaseHeld(self)
}

const releaseHeld = (self: ClientSession) => {
  self.held.clear()
  self.heldCount = 0
  self.heldBytes = 0
}

/** Lets go of a job that nobody here has a handle of: whatever still comes for it is none of ours. */
export const forget = (self: ClientSession, id: Ids.JobId): void => {
  self.jobs.delete(id)
  settle(self, id)
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
