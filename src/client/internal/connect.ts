/**
 * The conversation with a runtime: a session, the connections that carry it one after the other, and the next session when one is over.
 *
 * Each session is owned by one fiber, which serves a connection until that ends and then decides, by what ended it, whether to resume.
 */
import {
  Clock,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Option,
  Redacted,
  type Schedule,
  Scope,
  SubscriptionRef
} from "effect"
import type { SecureRandom } from "effect/crypto"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Feature from "../../protocol/Feature.ts"
import * as Ids from "../../protocol/Ids.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Dialer from "../../session/Dialer.ts"
import * as ClientError from "../ClientError.ts"
import type * as ConnectionState from "../ConnectionState.ts"
import * as ClientSession from "./clientSession.ts"
import * as Ended from "./ended.ts"
import * as Exchange from "./exchange.ts"
import * as Handshake from "./handshake.ts"
import * as Link from "./link.ts"
import * as Pace from "./pace.ts"
import type * as Persistence from "./persistence.ts"
import * as Resumption from "./resumption.ts"

export interface Options {
  readonly client: SessionMessage.Peer
  readonly token: Redacted.Redacted | Effect.Effect<Redacted.Redacted>
  readonly features: ReadonlyArray<Feature.Feature>
  readonly handshakeTimeout: Duration.Input
  readonly requestTimeout: Duration.Input
  readonly limits: ClientSession.Limits
  /** Whether consumers say themselves how far they are. */
  readonly manual: boolean
  readonly persistence: Persistence.Persistence
  readonly reconnect: Schedule.Schedule<unknown, ClientError.SessionLost> | undefined
}

export interface Conversation {
  /** The session to ask something of; a new one, if the last is over and may be followed by another. */
  readonly session: Effect.Effect<ClientSession.ClientSession, ClientError.SessionLost>
  /** The last session there was. */
  readonly latest: () => ClientSession.ClientSession
  readonly state: SubscriptionRef.SubscriptionRef<ConnectionState.ConnectionState>
}

/** An open connection, and the scope that owns it. */
interface Line {
  readonly opened: Handshake.Opened
  readonly scope: Scope.Closeable
}

/** Opens a session, and takes leave of it when the scope closes. */
export const connect = Effect.fnUntraced(function* (options: Options) {
  const dialer = yield* Dialer.Dialer
  const owner = yield* Effect.scope
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<SecureRandom.SecureRandom>()
  const nextId = Effect.provideContext(Ids.makeMessageId, context)
  // Closed after the farewell below, so that no request and no connection is cut off before it has been told why.
  const scope = yield* Scope.fork(owner)

  /** Dials with a fresh token, and gives back all that was opened if it comes to nothing. */
  const dial = Effect.fnUntraced(function* <E>(
    greet: (offer: Handshake.Offer) => Effect.Effect<Handshake.Opened, E, Scope.Scope>
  ): Effect.fn.Return<Line, E | ArcpError.HeartbeatLost> {
    const lineScope = yield* Scope.fork(scope)
    const token = Redacted.isRedacted(options.token) ? Effect.succeed(options.token) : options.token
    const opened = yield* Effect.flatMap(token, (token) => greet({ ...options, token })).pipe(
      Scope.provide(lineScope),
      Effect.timeoutOrElse({
        duration: options.handshakeTimeout,
        orElse: () =>
          Effect.fail(new ArcpError.HeartbeatLost({ message: "The runtime did not answer the hello in time" }))
      }),
      Effect.onError(() => Scope.close(lineScope, Exit.void))
    )
    return { opened, scope: lineScope }
  })

  const sessionOf = Effect.fnUntraced(function* (line: Line, lastSeq: number) {
    const session = ClientSession.make({
      id: line.opened.id,
      welcome: line.opened.welcome,
      features: line.opened.features,
      limits: options.limits,
      clock,
      nextId,
      within: Duration.toMillis(options.requestTimeout),
      scope: yield* Scope.fork(scope),
      lastSeq,
      manual: options.manual
    })
    yield* Effect.forkIn(Exchange.watch(session), session.scope)
    session.onProgress = Effect.suspend(() => keep(session))
    return { session, line }
  })

  const keep = (session: ClientSession.ClientSession) =>
    options.persistence.save({
      session_id: session.id,
      resume_token: session.welcome.resume_token,
      last_event_seq: Pace.cumulative(session.pace, session.lastSeq)
    })

  const begin = Effect.gen(function* () {
    return yield* sessionOf(yield* dial((offer) => Handshake.open(dialer, nextId, offer)), 0)
  })

  /** Goes on with the session of an earlier life, if there is one and it can be. */
  const enter = Effect.gen(function* () {
    const kept = yield* options.persistence.load
    if (Option.isNone(kept)) return yield* begin
    return yield* dial((offer) => Handshake.resume(dialer, nextId, offer, kept.value)).pipe(
      Effect.flatMap((line) => sessionOf(line, kept.value.last_event_seq)),
      Effect.catchTag("ResumeWindowExpired", () => begin)
    )
  })

  const first = yield* enter
  let latest = first.session
  let link: Link.Link | undefined
  /** Why there is to be no other session. */
  let stopped = false
  const state = yield* SubscriptionRef.make<ConnectionState.ConnectionState>({
    _tag: "Connected",
    sessionId: latest.id
  })

  /** Speaks over the line until it ends. */
  const converse = Effect.fnUntraced(function* (session: ClientSession.ClientSession, line: Line) {
    session.welcome = line.opened.welcome
    // Before anything is said: with the first frame the token before this one dies.
    yield* keep(session)
    const current = yield* Link.make(session, line.opened)
    link = current
    yield* SubscriptionRef.set(state, { _tag: "Connected", sessionId: session.id })
    const ended = yield* Effect.flip(current.run).pipe(
      Effect.ensuring(
        Effect.suspend(() => {
          link = undefined
          // Nobody is there to take leave of.
          if (session.closing !== undefined) Deferred.doneUnsafe(session.farewell, Exit.succeed("closed"))
          return Effect.andThen(current.close, Scope.close(line.scope, Exit.void))
        })
      )
    )
    return { ended, useful: current.isUseful() }
  })

  const over = (session: ClientSession.ClientSession, { error, next }: Ended.Ended) =>
    Effect.suspend(() => {
      const renewable = next === "renew"
      if (!renewable) stopped = true
      ClientSession.lose(session, error)
      return SubscriptionRef.set(state, { _tag: "Closed", cause: error, renewable })
    })

  /** Owns a session from its first connection to its end. */
  const serve = (session: ClientSession.ClientSession, line: Line): Effect.Effect<void> =>
    Effect.gen(function* () {
      const resumption = yield* Resumption.make({
        schedule: options.reconnect,
        window: () => Duration.seconds(session.welcome.resume_window_sec),
        onAttempt: (attempt, cause) => SubscriptionRef.set(state, { _tag: "Reconnecting", attempt, cause }),
        dial: Effect.suspend(() =>
          dial((offer) =>
            Handshake.resume(dialer, nextId, offer, {
              session_id: session.id,
              resume_token: session.welcome.resume_token,
              last_event_seq: session.lastSeq
            })
          )
        ).pipe(
          // Such as of who is to give a token, and could not this time.
          Effect.catchDefect((defect) =>
            Effect.andThen(
              Effect.logError("The client died as it dialled", defect),
              Effect.fail(new ArcpError.HeartbeatLost({ message: "The client failed as it dialled" }))
            )
          )
        )
      })
      let next = line
      while (true) {
        const { ended, useful } = yield* converse(session, next)
        if (session.lost !== undefined || session.closing !== undefined) return
        next = yield* resumption(ended, useful)
      }
    }).pipe(
      Effect.catch((ended) => over(session, ended)),
      // Whoever waits for the session must hear of it, whatever became of who served it.
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("The client died as it served a session", defect),
          over(session, Ended.make("stop", new ArcpError.HeartbeatLost({ message: "The client has failed" })))
        )
      )
    )

  /** Under way for all who ask, and not interrupted with any of them. */
  let renewing: Fiber.Fiber<ClientSession.ClientSession, ClientError.SessionLost> | undefined
  const renew = Effect.gen(function* () {
    const { line, session } = yield* Effect.mapError(begin, ClientError.fromRenewal)
    latest = session
    yield* Effect.forkIn(serve(session, line), scope)
    return session
  }).pipe(Effect.ensuring(Effect.sync(() => (renewing = undefined))))

  const current = Effect.gen(function* () {
    if (latest.lost === undefined) return latest
    if (stopped) return yield* Effect.fail(latest.lost)
    renewing ??= yield* Effect.forkIn(renew, scope)
    return yield* Fiber.join(renewing)
  })

  yield* Effect.forkIn(serve(latest, first.line), scope)
  yield* Effect.addFinalizer(() => {
    stopped = true
    const cause = new ArcpError.HeartbeatLost({ message: "The client is closed" })
    return Effect.andThen(
      leave(latest, link, cause),
      SubscriptionRef.set(state, { _tag: "Closed", cause, renewable: false })
    )
  })

  return {
    latest: () => latest,
    session: current,
    state
  } satisfies Conversation
})

/** Takes leave: `session.close`, and the older `session.bye` from a runtime that does not know it or does not answer (§6.7). */
const leave = (
  session: ClientSession.ClientSession,
  link: Link.Link | undefined,
  cause: ArcpError.HeartbeatLost
): Effect.Effect<void> => {
  const farewell = Effect.fnUntraced(function* (link: Link.Link) {
    const payload = { reason: "client.close" }
    const id = yield* session.nextId
    session.closing = id
    const close: SessionMessage.Close = { ...ClientSession.head(session, id), type: "session.close", payload }
    yield* session.send(JSON.stringify(close))
    const answer = yield* Effect.timeoutOption(Deferred.await(session.farewell), Duration.seconds(1))
    if (answer._tag === "None" || answer.value === "refused") {
      const head = ClientSession.head(session, yield* session.nextId)
      const bye: SessionMessage.Bye = { ...head, type: "session.bye", payload }
      yield* session.send(JSON.stringify(bye))
    }
    yield* link.flush
  })
  return Effect.suspend(() =>
    // A line that takes nothing any more must not keep the program from ending, and one that is gone is not dialled for a farewell.
    session.lost === undefined && link !== undefined
      ? Effect.timeoutOption(Effect.interruptible(farewell(link)), Duration.seconds(2))
      : Effect.void
  ).pipe(
    Effect.andThen(Effect.sync(() => ClientSession.lose(session, cause))),
    Effect.andThen(link === undefined ? Effect.void : link.close)
  )
}
