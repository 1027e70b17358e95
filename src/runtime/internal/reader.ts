/**
 * Reads what a client says, and sees that it is done.
 */
import { Duration, Effect, Result } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Message from "../../protocol/Message.ts"
import type * as Connection from "../../session/Connection.ts"
import * as Dispatcher from "../Dispatcher.ts"
import type * as Session from "../Session.ts"
import * as AlarmClock from "./alarmClock.ts"
import * as Lane from "./lane.ts"
import type * as Link from "./link.ts"
import * as SeenIds from "./seenIds.ts"

/** What is about the connection and not about jobs: it neither waits nor is it ever a repeat. */
const isSign = ({ type }: Message.FromClient): boolean =>
  type === "session.ping" || type === "session.pong" || type === "session.ack"

interface Reading {
  readonly session: Session.Session
  readonly link: Link.Link
  readonly connection: Connection.Connection<Message.FromClient>
  /** Of requests, which most connections never see; there from the first on. */
  seen: SeenIds.SeenIds | undefined
  lane: Lane.Lane | undefined
  /** Frames in a row that meant nothing. */
  malformed: number
  /** Whether the client has shown that it was welcomed. */
  confirmed: boolean
}

/** How long the end of a conversation waits for the requests before it: what hangs must not hold up the answer for ever. */
const patience = Duration.minutes(1)

type Pulled = Effect.Success<Reading["connection"]["pull"]>

/** Reads until the client says that it is done, or makes no sense. */
export const read = (
  session: Session.Session,
  link: Link.Link,
  connection: Connection.Connection<Message.FromClient>
): Effect.Effect<Link.Outcome, Connection.ConnectionError> =>
  next({ session, link, connection, seen: undefined, lane: undefined, malformed: 0, confirmed: false })

/** A step for each pull: what was read is not held while nothing more comes. */
const next = (self: Reading): Effect.Effect<Link.Outcome, Connection.ConnectionError> => {
  const { link, session } = self
  const { alarms } = session.surroundings
  // Its silence counts from here on, until something comes: while nobody listens the peer is not silent.
  link.receivedAt = AlarmClock.now(alarms)
  return Effect.flatMap(self.connection.pull, (frames) => {
    if (frames.every((frame) => isHeard(self, frame))) {
      self.malformed = 0
      return next(self)
    }
    link.receivedAt = Number.POSITIVE_INFINITY
    return Effect.flatMap(take(self, frames), (outcome) =>
      outcome === undefined ? next(self) : Effect.succeed(outcome)
    )
  })
}

/** Whether a frame says no more than that the client is there, which reading it was. Hardly anything else comes while nothing happens. */
const isHeard = ({ confirmed, session }: Reading, frame: Pulled[number]): boolean =>
  confirmed &&
  Result.isSuccess(frame) &&
  frame.success.type === "session.pong" &&
  (frame.success.session_id === undefined || frame.success.session_id === session.id)

const take = Effect.fnUntraced(function* (self: Reading, frames: Pulled): Effect.fn.Return<Link.Outcome | undefined> {
  const { link, session } = self
  const { alarms, config, store } = session.surroundings
  for (const frame of frames) {
    if (Result.isFailure(frame)) {
      yield* Dispatcher.bad(session, frame.failure)
      if (!frame.failure.ignorable && ++self.malformed >= config.maxBadFrames) return { _tag: "Malformed" }
      continue
    }
    self.malformed = 0
    const message = frame.success
    // A hello that comes again, from a line that repeats frames, does not show that the welcome arrived.
    if (!self.confirmed && message.type !== "session.hello" && message.type !== "session.resume") {
      self.confirmed = true
      yield* store.confirm(session.id, link.epoch)
    }
    const isRequest = !isSign(message)
    if (isRequest && SeenIds.isRepeated((self.seen ??= SeenIds.make()), message.id, config.maxSeenIds)) continue
    if (message.session_id !== undefined && message.session_id !== session.id) {
      yield* Dispatcher.refuse(
        session,
        message,
        ArcpError.invalidField("session_id", "not the session of this connection")
      )
    } else if (message.type === "session.close" || message.type === "session.bye") {
      if (self.lane !== undefined) yield* Effect.timeoutOption(Lane.atMost(self.lane, 0), patience)
      return { _tag: "Said", message }
    } else if (isRequest) {
      self.lane ??= Lane.make()
      link.askedAt = AlarmClock.now(alarms)
      yield* Lane.atMost(self.lane, config.maxPendingRequests - 1)
      // A submit, which may wait for an upstream to mint credentials, holds up nothing else, if the client says which answer belongs to which
      // request.
      const isApart = message.type === "job.submit" && session.profile === "effect"
      yield* Lane.enter(self.lane, Dispatcher.dispatch(session, message), isApart)
    } else {
      yield* Dispatcher.dispatch(session, message)
    }
  }
  return undefined
})
