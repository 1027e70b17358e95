/**
 * One connection of a session, from its first frame to its last word (§6).
 *
 * What comes in is read and handed to the dispatcher; what goes out leaves through the outbox of the session.
 *
 * **While nothing happens** a connection is two fibers that wait - one for the next frame, one for the end - and an alarm for what time will
 * do to it. Nothing runs, and nothing of what a request or a job would take is there.
 *
 * @since 0.1.0
 */
import { Deferred, Duration, Effect, Fiber, type Option } from "effect"
import type * as Authenticator from "../authority/Authenticator.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Codec from "../protocol/Codec.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Connection from "../session/Connection.ts"
import * as Dispatcher from "./Dispatcher.ts"
import * as AlarmClock from "./internal/alarmClock.ts"
import * as Link from "./internal/link.ts"
import * as Reader from "./internal/reader.ts"
import * as Vigil from "./internal/vigil.ts"
import * as Session from "./Session.ts"
import * as SessionOutbox from "./SessionOutbox.ts"

/**
 * How a connection of a session ended.
 *
 * @category models
 * @since 0.1.0
 */
export type End =
  /** The client said that it is done, or the line broke: the session waits to be resumed. */
  | "detached"
  /** A later connection took over. */
  | "superseded"
  /** The session is over: nothing can resume it. */
  | "over"

/**
 * Why the runtime ends a conversation.
 *
 * @category models
 * @since 0.1.0
 */
export type Dismissal = Link.Dismissal

/** How long the last words may take. */
const farewellTimeout = Duration.seconds(1)

const closed = (
  session: Session.Session,
  request: Ids.MessageId,
  reason: string
): Effect.Effect<SessionMessage.Closed> =>
  Effect.map(Session.replyId(session, request), (id) => ({
    arcp: "1.1",
    id,
    type: "session.closed",
    session_id: session.id,
    payload: { reason }
  }))

/**
 * Tells a connection whose epoch is over that a later one took its place, and closes it.
 *
 * **Details**
 *
 * Goes past the outbox, which sends nothing for an epoch that is over; so nobody else may be writing.
 *
 * @category running
 * @since 0.1.0
 */
export const supersede = Effect.fnUntraced(function* (session: Session.Session, connection: Connection.Line) {
  const words = Codec.encode(yield* closed(session, "msg_superseded" as Ids.MessageId, "superseded"))
  yield* Effect.ignore(Effect.timeoutOption(connection.send([words]), farewellTimeout))
  yield* connection.close(Connection.close.normal)
  return "superseded" as const
})

/** Says the last words, lets what waits go out first, and closes the line. */
const farewell = Effect.fnUntraced(function* (
  session: Session.Session,
  link: Link.Link,
  outcome: Link.Outcome
): Effect.fn.Return<End> {
  const { line } = link
  const leave = (words: ReadonlyArray<Message.FromRuntime>, reason: Connection.CloseReason, before = Effect.void) =>
    Effect.andThen(
      Effect.timeoutOption(Effect.andThen(before, SessionOutbox.part(session.outbox, link, words)), farewellTimeout),
      line.close(reason)
    )
  switch (outcome._tag) {
    case "Said": {
      const { id, payload, type } = outcome.message
      const words = type === "session.close" ? [yield* closed(session, id, payload.reason ?? "client.close")] : []
      yield* leave(words, Connection.close.normal)
      return "detached"
    }
    case "Dismissed": {
      const { reason } = outcome
      if (reason === "superseded") {
        yield* SessionOutbox.detach(session.outbox, link)
        return yield* supersede(session, line)
      }
      yield* leave([yield* closed(session, `msg_${reason}` as Ids.MessageId, reason)], Connection.close.goingAway)
      return "over"
    }
    case "Malformed":
      yield* leave([], Connection.close.malformed)
      return "detached"
    case "Expired": {
      const message = "The credentials of the session have expired"
      const refusal = Dispatcher.refuse(session, {}, new ArcpError.Unauthenticated({ message }))
      yield* leave([], Connection.close.refused, refusal)
      return "detached"
    }
    case "Lost": {
      const message = "Nothing was heard for two heartbeat intervals"
      const refusal = Dispatcher.refuse(session, {}, new ArcpError.HeartbeatLost({ message }))
      yield* leave([], Connection.close.goingAway, refusal)
      return "detached"
    }
  }
})

/**
 * Ends the conversation that is going on, if one is, with a word to the client.
 *
 * @category running
 * @since 0.1.0
 */
export const dismiss = (session: Session.Session, reason: Dismissal): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { current } = session
    if (current === undefined) return Effect.void
    Link.end(current.link, Effect.succeed({ _tag: "Dismissed", reason }))
    return Deferred.await(current.done)
  })

/**
 * What a connection of a session begins with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Beginning {
  readonly epoch: number
  /** The last number that the client has, if it resumes. */
  readonly replay: Option.Option<number>
  /** The same principal, as the credentials of this connection describe it. */
  readonly principal: Authenticator.Principal
}

/**
 * Converses over a connection until it ends. One that is still going on is superseded.
 *
 * @category running
 * @since 0.1.0
 */
export const converse = (
  session: Session.Session,
  connection: Connection.Connection<Message.FromClient>,
  beginning: Beginning
): Effect.Effect<End> =>
  Effect.flatMap(dismiss(session, "superseded"), () => {
    const current = { link: begin(session, connection, beginning), done: Deferred.makeUnsafe<void>() }
    return Effect.ensuring(
      Effect.suspend(() => {
        session.current = current
        session.principal = beginning.principal
        return run(session, current.link, connection, beginning.replay)
      }),
      Effect.sync(() => {
        if (session.current === current) session.current = undefined
        Deferred.doneUnsafe(current.done, Effect.void)
      })
    )
  })

const begin = (
  session: Session.Session,
  line: Connection.Line,
  { epoch, principal: { expiresAt } }: Beginning
): Link.Link => {
  const { alarms, config } = session.surroundings
  const now = AlarmClock.now(alarms)
  const link: Link.Link = Link.make(
    {
      line,
      epoch,
      // By the clock that nobody sets.
      expiresAt: expiresAt === undefined ? undefined : now + expiresAt - alarms.clock.currentTimeMillisUnsafe(),
      idleAt: now + Duration.toMillis(config.idleTimeout),
      wasBusy: SessionOutbox.isBusy(session.outbox)
    },
    now,
    (now) => Vigil.look(session, link, now)
  )
  return link
}

const run = (
  session: Session.Session,
  link: Link.Link,
  connection: Connection.Connection<Message.FromClient>,
  replay: Option.Option<number>
): Effect.Effect<End> =>
  hold(session, link, connection, replay).pipe(
    Effect.ensuring(Effect.suspend(() => release(session, link))),
    Effect.catch((error) => {
      switch (error._tag) {
        case "ConnectionError":
          return Effect.as(Effect.logDebug("A connection ended", error.message), "detached" as const)
        case "StaleEpoch":
          return supersede(session, connection)
        // What was to be replayed went while it was being replayed: the client must hear that there is a hole.
        case "Uncovered":
          return Effect.succeed("over" as const)
      }
    })
  )

const hold = (
  session: Session.Session,
  link: Link.Link,
  connection: Connection.Connection<Message.FromClient>,
  replay: Option.Option<number>
): Effect.Effect<End, Link.Failure> =>
  Effect.suspend(() => {
    SessionOutbox.attach(session.outbox, link, replay)
    return Effect.forkChild(Reader.read(session, link, connection), { startImmediately: true })
  }).pipe(
    Effect.flatMap((reader) => {
      link.reader = reader
      reader.addObserver((exit) => Link.end(link, exit))
      Vigil.look(session, link, AlarmClock.now(session.surroundings.alarms))
      return Deferred.await(link.ended)
    }),
    Effect.flatMap((outcome) => Effect.andThen(hush(link), farewell(session, link, outcome)))
  )

/** Reads no more. */
const hush = ({ reader }: Link.Link): Effect.Effect<void> =>
  reader === undefined ? Effect.void : Fiber.interrupt(reader)

const release = (session: Session.Session, link: Link.Link): Effect.Effect<void> =>
  hush(link).pipe(
    Effect.andThen(SessionOutbox.detach(session.outbox, link)),
    Effect.andThen(Effect.sync(() => AlarmClock.clear(session.surroundings.alarms, link.alarm)))
  )
