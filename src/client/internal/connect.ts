/**
 * The life of a session with its connection: dialled, welcomed, at work, and left with a farewell.
 */
import { Clock, Deferred, Duration, Effect, Exit, Redacted, Scope } from "effect"
import type { SecureRandom } from "effect/crypto"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Feature from "../../protocol/Feature.ts"
import * as Ids from "../../protocol/Ids.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Connection from "../../session/Connection.ts"
import * as Dialer from "../../session/Dialer.ts"
import * as ClientSession from "./clientSession.ts"
import * as Handshake from "./handshake.ts"
import * as Link from "./link.ts"

export interface Options {
  readonly client: SessionMessage.Peer
  readonly token: Redacted.Redacted | Effect.Effect<Redacted.Redacted>
  readonly features: ReadonlyArray<Feature.Feature>
  readonly handshakeTimeout: Duration.Input
  readonly limits: ClientSession.Limits
}

/** Opens a session, and takes leave of it when the scope closes. */
export const connect = Effect.fnUntraced(function* (options: Options) {
  const dialer = yield* Dialer.Dialer
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<SecureRandom.SecureRandom>()
  const nextId = Effect.provideContext(Ids.makeMessageId, context)
  const token = yield* Redacted.isRedacted(options.token) ? Effect.succeed(options.token) : options.token

  const lineScope = yield* Scope.fork(scope)
  const opened = yield* Handshake.open(dialer, yield* nextId, { ...options, token }).pipe(
    Scope.provide(lineScope),
    Effect.timeoutOrElse({
      duration: options.handshakeTimeout,
      orElse: () =>
        Effect.fail(new ArcpError.HeartbeatLost({ message: "The runtime did not answer the hello in time" }))
    })
  )
  // Closed after the farewell below, so that no request is cut off before it has been told why.
  const requestScope = yield* Scope.fork(scope)
  const session = ClientSession.make({
    id: opened.id,
    welcome: opened.welcome,
    features: opened.features,
    limits: options.limits,
    clock,
    nextId,
    scope: requestScope
  })
  const link = yield* Link.make(session, opened)
  yield* link.run.pipe(
    Effect.catch((error) => Effect.sync(() => ClientSession.lose(session, error))),
    Effect.andThen(opened.connection.close(Connection.close.normal)),
    Effect.ensuring(Scope.close(lineScope, Exit.void)),
    Effect.forkIn(scope)
  )
  yield* Effect.addFinalizer(() => leave(session, link, opened.connection))
  return session
})

/** Takes leave: `session.close`, and the older `session.bye` from a runtime that does not know it or does not answer (§6.7). */
const leave = (
  session: ClientSession.ClientSession,
  link: Link.Link,
  connection: Handshake.Opened["connection"]
): Effect.Effect<void> => {
  const farewell = Effect.gen(function* () {
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
    // A line that takes nothing any more must not keep the program from ending.
    session.lost === undefined ? Effect.timeoutOption(Effect.interruptible(farewell), Duration.seconds(2)) : Effect.void
  ).pipe(
    Effect.andThen(
      Effect.sync(() => ClientSession.lose(session, new ArcpError.HeartbeatLost({ message: "The client is closed" })))
    ),
    Effect.andThen(connection.close(Connection.close.normal))
  )
}
