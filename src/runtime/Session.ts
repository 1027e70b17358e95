/**
 * One conversation (§6): who it is with, what was agreed, and its connections one after the other.
 *
 * A session outlives its connections and holds no job. It reads what comes in and hands it to its dispatcher; what goes out leaves through
 * its outbox.
 *
 * @since 0.1.0
 */
import { Clock, Deferred, Duration, Effect, Fiber, Latch, Option, Result, type Scope } from "effect"
import type { SecureRandom } from "effect/crypto"
import type * as Authenticator from "../authority/Authenticator.ts"
import type * as Credentials from "../authority/Credentials.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Codec from "../protocol/Codec.ts"
import type * as Dialect from "../protocol/Dialect.ts"
import type * as Feature from "../protocol/Feature.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Connection from "../session/Connection.ts"
import * as Heartbeat from "../session/Heartbeat.ts"
import * as Dispatcher from "./Dispatcher.ts"
import type * as JobJournal from "./JobJournal.ts"
import type * as Jobs from "./Jobs.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as SessionOutbox from "./SessionOutbox.ts"
import * as SessionStore from "./SessionStore.ts"

/**
 * What was settled at the handshake and never changes after.
 *
 * @category models
 * @since 0.1.0
 */
export interface Agreement {
  readonly id: Ids.SessionId
  readonly principal: Authenticator.Principal
  readonly features: ReadonlySet<Feature.Feature>
  /** The habits of the client at the other end. */
  readonly profile: Dialect.Profile
}

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
export type Dismissal = "superseded" | "shutting_down" | "idle"

/**
 * @category models
 * @since 0.1.0
 */
export interface Session extends Agreement {
  /** Converses over a connection until it ends. One that is still going on is superseded. */
  readonly converse: (
    connection: Connection.Connection<Message.FromClient>,
    options: {
      readonly epoch: number
      /** The last number that the client has, if it resumes. */
      readonly replay: Option.Option<number>
      /** The same principal, as the credentials of this connection describe it. */
      readonly principal: Authenticator.Principal
    }
  ) => Effect.Effect<End>
  /** Whether all that was sent after a number can still be replayed. */
  readonly covers: (seq: number) => Effect.Effect<boolean>
  /** Ends the conversation that is going on, if one is, with a word to the client. */
  readonly dismiss: (reason: Dismissal) => Effect.Effect<void>
  /** Tells a connection whose epoch is over that a later one took its place, and closes it. */
  readonly supersede: (connection: Connection.Line) => Effect.Effect<"superseded">
}

/** How long the last words may take. */
const farewellTimeout = Duration.seconds(1)

/** What ended a conversation. */
type Outcome =
  | { readonly _tag: "Said"; readonly message: SessionMessage.Close | SessionMessage.Bye }
  | { readonly _tag: "Dismissed"; readonly reason: Dismissal }
  | { readonly _tag: "Malformed" }
  | { readonly _tag: "Lost" }
  | { readonly _tag: "Expired" }

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: (
  agreement: Agreement
) => Effect.Effect<
  Session,
  never,
  | Jobs.Jobs
  | JobJournal.JobJournal
  | SessionStore.SessionStore
  | Credentials.Credentials
  | SecureRandom.SecureRandom
  | Scope.Scope
> = Effect.fnUntraced(function* (agreement) {
  const { features, id: session_id } = agreement
  const config = yield* RuntimeConfig.RuntimeConfig
  const store = yield* SessionStore.SessionStore
  const outbox = yield* SessionOutbox.make(agreement, (job) => dispatcher.child(job))
  const dispatcher: Dispatcher.Dispatcher = yield* Dispatcher.make(agreement, outbox)
  let current: { readonly stop: Deferred.Deferred<Dismissal>; readonly done: Deferred.Deferred<void> } | undefined

  /** What is about the connection and not about jobs: it neither waits nor is it ever a repeat. */
  const isSign = ({ type }: Message.FromClient): boolean =>
    type === "session.ping" || type === "session.pong" || type === "session.ack"

  /** Tells whether a frame of this id came before: a peer whose transport repeats frames must not run a job twice. */
  const repeats = () => {
    // Of two generations the older is forgotten as a whole.
    let older = new Set<string>()
    let newer = new Set<string>()
    return (message: Message.FromClient): boolean => {
      if (isSign(message)) return false
      if (newer.has(message.id) || older.has(message.id)) return true
      newer.add(message.id)
      if (newer.size >= config.maxSeenIds / 2) {
        older = newer
        newer = new Set()
      }
      return false
    }
  }

  const read = Effect.fnUntraced(function* (
    connection: Connection.Connection<Message.FromClient>,
    epoch: number
  ): Effect.fn.Return<Outcome, Connection.ConnectionError> {
    /** The request that came last of those that are done in order, and how many there are that are not done. */
    let latest: Fiber.Fiber<void> | undefined
    let waiting = 0
    const fewer = Latch.makeUnsafe(true)
    const passed = () => (latest === undefined || waiting === 0 ? Effect.void : Effect.asVoid(Fiber.await(latest)))
    const done = Effect.sync(() => {
      waiting--
      fewer.openUnsafe()
    })

    /** Done when no more than so many requests are not done. */
    const atMost = (count: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (waiting <= count) return Effect.void
        fewer.closeUnsafe()
        return Effect.andThen(fewer.await, atMost(count))
      })

    /**
     * Requests are done in their order, but apart from the reader: a decision that takes long - that of a policy, of a vault - must not be
     * taken for the silence of the client, nor leave its pings without answer. A submit, which may wait for an upstream to mint credentials,
     * holds up nothing else, if the client says which answer belongs to which request.
     */
    const request = Effect.fnUntraced(function* (message: Message.FromClient) {
      askedAt = yield* Clock.currentTimeMillis
      yield* atMost(config.maxPendingRequests - 1)
      const isApart = message.type === "job.submit" && agreement.profile === "effect"
      const turn = dispatcher.dispatch(message)
      waiting++
      // What can be done at once is done before the next frame is looked at.
      const fiber = yield* Effect.forkChild(
        Effect.ensuring(isApart || waiting === 1 ? turn : Effect.andThen(passed(), turn), done),
        { startImmediately: true }
      )
      if (!isApart) latest = fiber
    })

    const isRepeated = repeats()
    let malformed = 0
    let confirmed = false
    while (true) {
      const frames = yield* connection.pull
      for (const frame of frames) {
        if (Result.isFailure(frame)) {
          yield* dispatcher.bad(frame.failure)
          if (!frame.failure.ignorable && ++malformed >= config.maxBadFrames) return { _tag: "Malformed" }
          continue
        }
        malformed = 0
        const message = frame.success
        // A hello that comes again, from a line that repeats frames, does not show that the welcome arrived.
        if (!confirmed && message.type !== "session.hello" && message.type !== "session.resume") {
          confirmed = true
          yield* store.confirm(session_id, epoch)
        }
        if (isRepeated(message)) continue
        if (message.session_id !== undefined && message.session_id !== session_id) {
          yield* dispatcher.refuse(
            message,
            new ArcpError.InvalidRequest({
              message: "session_id: not the session of this connection",
              details: { field: "session_id" }
            })
          )
        } else if (message.type === "session.close" || message.type === "session.bye") {
          yield* atMost(0)
          return { _tag: "Said", message }
        } else if (isSign(message)) {
          yield* dispatcher.dispatch(message)
        } else {
          yield* request(message)
        }
      }
    }
  })

  const closed = Effect.fnUntraced(function* (request: Ids.MessageId, reason: string) {
    const id = yield* dispatcher.replyId(request)
    yield* outbox.reply({ arcp: "1.1", id, type: "session.closed", session_id, payload: { reason } })
  })

  /** Goes past the outbox, which sends nothing for an epoch that is over; so nobody else may be writing. */
  const supersede: Session["supersede"] = Effect.fnUntraced(function* (connection) {
    const id = yield* dispatcher.replyId("msg_superseded" as Ids.MessageId)
    const words = Codec.encode({
      arcp: "1.1",
      id,
      type: "session.closed",
      session_id,
      payload: { reason: "superseded" }
    })
    yield* Effect.ignore(Effect.timeoutOption(connection.send([words]), farewellTimeout))
    yield* connection.close(Connection.close.normal)
    return "superseded" as const
  })

  /** Says the last words, lets what waits go out first, and closes the line. */
  const farewell = Effect.fnUntraced(function* (connection: Connection.Line, outcome: Outcome): Effect.fn.Return<End> {
    const leave = (words: Effect.Effect<void>, reason: Connection.CloseReason) =>
      Effect.andThen(
        Effect.timeoutOption(Effect.andThen(words, outbox.flushed), farewellTimeout),
        connection.close(reason)
      )
    switch (outcome._tag) {
      case "Said": {
        const { id, payload, type } = outcome.message
        const words = type === "session.close" ? closed(id, payload.reason ?? "client.close") : Effect.void
        yield* leave(words, Connection.close.normal)
        return "detached"
      }
      case "Dismissed": {
        if (outcome.reason === "superseded") return yield* supersede(connection)
        yield* leave(closed(`msg_${outcome.reason}` as Ids.MessageId, outcome.reason), Connection.close.goingAway)
        return "over"
      }
      case "Malformed":
        yield* leave(Effect.void, Connection.close.malformed)
        return "detached"
      case "Expired": {
        const message = "The credentials of the session have expired"
        yield* leave(dispatcher.refuse({}, new ArcpError.Unauthenticated({ message })), Connection.close.refused)
        return "detached"
      }
      case "Lost": {
        const message = "Nothing was heard for two heartbeat intervals"
        yield* leave(dispatcher.refuse({}, new ArcpError.HeartbeatLost({ message })), Connection.close.goingAway)
        return "detached"
      }
    }
  })

  /** When the client last asked for something. */
  let askedAt = 0

  /** Done when nothing was asked and no job was delivered for as long as may be; at the latest after twice as long. */
  const untilIdle = Effect.gen(function* () {
    const limit = Duration.toMillis(config.idleTimeout)
    askedAt = yield* Clock.currentTimeMillis
    for (let wasBusy = outbox.isBusy(); ; wasBusy = outbox.isBusy()) {
      yield* Effect.sleep(askedAt + limit - (yield* Clock.currentTimeMillis))
      const now = yield* Clock.currentTimeMillis
      if (wasBusy || outbox.isBusy()) askedAt = now
      if (now - askedAt >= limit) return
    }
  })

  const hold = Effect.fnUntraced(
    function* (
      connection: Connection.Connection<Message.FromClient>,
      epoch: number,
      replay: Option.Option<number>,
      expiresAt: number | undefined,
      stop: Deferred.Deferred<Dismissal>
    ) {
      const line = yield* Heartbeat.observe(connection)
      const writer = yield* Effect.forkScoped(outbox.run(line, epoch, replay), { startImmediately: true })
      const lost = features.has("heartbeat")
        ? Heartbeat.untilLost(line, { interval: config.heartbeatInterval, ping: dispatcher.ping, role: "runtime" })
        : Effect.never
      const idle = Duration.isFinite(config.idleTimeout) ? untilIdle : Effect.never
      const expired =
        expiresAt === undefined
          ? Effect.never
          : Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep(Math.max(0, expiresAt - now)))
      const outcome = yield* Effect.raceAllFirst([
        read(line, epoch),
        Fiber.join(writer),
        Effect.map(Deferred.await(stop), (reason): Outcome => ({ _tag: "Dismissed", reason })),
        Effect.as(lost, { _tag: "Lost" } as Outcome),
        Effect.as(idle, { _tag: "Dismissed", reason: "idle" } as Outcome),
        Effect.as(expired, { _tag: "Expired" } as Outcome)
      ])
      if (outcome._tag === "Dismissed" && outcome.reason === "superseded") yield* Fiber.interrupt(writer)
      return yield* farewell(line, outcome)
    },
    Effect.scoped,
    (held, connection) =>
      Effect.catchTags(held, {
        ConnectionError: (error) => Effect.as(Effect.logDebug("connection ended", error.message), "detached" as const),
        StaleEpoch: () => supersede(connection),
        // What was to be replayed went while it was being replayed: the client must hear that there is a hole.
        Uncovered: () => Effect.succeed("over" as const)
      })
  )

  const dismiss: Session["dismiss"] = (reason) =>
    Effect.suspend(() =>
      current === undefined
        ? Effect.void
        : Effect.andThen(Deferred.succeed(current.stop, reason), Deferred.await(current.done))
    )

  const converse: Session["converse"] = Effect.fn("Session.converse")(function* (
    connection,
    { epoch, principal, replay }
  ) {
    yield* Effect.annotateCurrentSpan({ "arcp.session_id": session_id, "arcp.peer": connection.peer })
    yield* dismiss("superseded")
    const mine = { stop: yield* Deferred.make<Dismissal>(), done: yield* Deferred.make<void>() }
    current = mine
    dispatcher.speakFor(principal)
    return yield* Effect.ensuring(
      hold(connection, epoch, replay, principal.expiresAt, mine.stop),
      Effect.suspend(() => {
        if (current === mine) current = undefined
        return Deferred.succeed(mine.done, undefined)
      })
    )
  })

  return { ...agreement, converse, dismiss, supersede, covers: outbox.covers }
})
