/**
 * From an open line to a session, or to a refusal that says why, within a bounded time (§6.1, §6.2).
 *
 * @since 0.1.0
 */
import { Clock, Duration, Effect, Option, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Authenticator from "../authority/Authenticator.ts"
import * as Credentials from "../authority/Credentials.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Codec from "../protocol/Codec.ts"
import * as Feature from "../protocol/Feature.ts"
import * as Ids from "../protocol/Ids.ts"
import type * as Message from "../protocol/Message.ts"
import * as Profile from "../protocol/Profile.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as Connection from "../session/Connection.ts"
import * as AgentRegistry from "./AgentRegistry.ts"
import * as Refusal from "./Refusal.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as Sessions from "./Sessions.ts"

/**
 * A session that was opened, and its first connection with what had come in after the hello.
 *
 * @category models
 * @since 0.1.0
 */
export interface Greeted {
  readonly opened: Sessions.Opened
  readonly connection: Connection.Connection<Message.FromClient>
}

interface Refused {
  readonly error: ArcpError.ArcpError
  readonly close: Connection.CloseReason
  readonly request: { readonly id?: string; readonly type?: string }
  readonly profile: Profile.Profile
}

/**
 * Makes what reads the first frame of a connection, checks who it is from, and welcomes or refuses it. A refusal is sent and the line closed;
 * then there is nothing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  (
    connection: Connection.Connection<Message.FromClient>
  ) => Effect.Effect<Option.Option<Greeted>, Connection.ConnectionError>,
  never,
  | Authenticator.Authenticator
  | AgentRegistry.AgentRegistry
  | Sessions.Sessions
  | Credentials.Credentials
  | SecureRandom.SecureRandom
> = Effect.gen(function* () {
  const config = yield* RuntimeConfig.RuntimeConfig
  const random = yield* SecureRandom.SecureRandom
  const authenticator = yield* Authenticator.Authenticator
  const credentials = yield* Credentials.Credentials
  const registry = yield* AgentRegistry.AgentRegistry
  const sessions = yield* Sessions.Sessions
  const makeSessionId = Effect.provideService(Ids.makeSessionId, SecureRandom.SecureRandom, random)

  /** Says one thing. Who does not even take that has had the time that a hello may take; whether it was taken is given back. */
  const say = (connection: Connection.Line, message: Message.FromRuntime) =>
    Effect.map(Effect.timeoutOption(connection.send([Codec.encode(message)]), config.helloTimeout), Option.isSome)

  const refuse = Effect.fnUntraced(function* (
    connection: Connection.Line,
    session_id: Ids.SessionId,
    { close, error, profile, request }: Refused
  ) {
    const completedAt = Timestamp.format(yield* Clock.currentTimeMillis)
    const ulid = yield* random.ulid
    const refusal = Refusal.make({ profile, session_id, request, error, job_id: undefined, ulid, completedAt })
    if (refusal._tag === "Reply") yield* say(connection, refusal.message)
    yield* connection.close(close)
    return Option.none<Greeted>()
  })

  const begin = Effect.fnUntraced(function* (
    { payload }: SessionMessage.Hello,
    id: Ids.SessionId,
    profile: Profile.Profile,
    secure: boolean
  ) {
    const principal = yield* authenticator.authenticate(payload.auth)
    if (payload.resume !== undefined) return yield* sessions.resume(principal, payload.resume)
    // Secrets may pass over a line that is safe alone, and only where it is sure that they can be taken back (§14).
    const offered: ReadonlyArray<Feature.Feature> =
      credentials.available && secure ? [...config.features, "provisioned_credentials"] : config.features
    const features = Feature.negotiate(offered, payload.capabilities.features ?? [])
    return yield* sessions.open({ id, principal, features, profile })
  })

  /** A resume as the first frame. Who sends it must say who they are, as in a hello: a token alone is not enough. */
  const resume = Effect.fnUntraced(function* ({ payload }: SessionMessage.Resume) {
    if (payload.auth === undefined) return yield* Authenticator.refusal()
    return yield* sessions.resume(yield* authenticator.authenticate(payload.auth), payload)
  })

  const welcome = Effect.fnUntraced(function* ({ resumeToken, session }: Sessions.Opened, id: Ids.MessageId) {
    const reply: SessionMessage.Welcome = {
      arcp: "1.1",
      id,
      type: "session.welcome",
      session_id: session.id,
      payload: {
        runtime: config.runtime,
        session_id: session.id,
        resume_token: resumeToken,
        resume_window_sec: Math.max(1, Math.floor(Duration.toSeconds(config.resumeWindow))),
        ...(session.features.has("heartbeat")
          ? { heartbeat_interval_sec: Math.max(1, Math.round(Duration.toSeconds(config.heartbeatInterval))) }
          : undefined),
        accepted_at: Timestamp.format(yield* Clock.currentTimeMillis),
        capabilities: {
          encodings: ["json"],
          features: [...session.features],
          agents: yield* registry.inventory,
          ...(session.profile === "effect"
            ? { [Feature.declaration.key]: { ...Feature.declaration.value, window: config.pacingWindow } }
            : undefined)
        }
      }
    }
    return reply
  })

  return Effect.fn("Handshake.greet")(function* (connection) {
    // Allocated before anything is decided: several clients hear a refusal only if it names a session.
    const session_id = yield* makeSessionId
    const refused = (how: Refused) => refuse(connection, session_id, how)

    const first = yield* Effect.timeoutOption(connection.pull, config.helloTimeout)
    if (Option.isNone(first)) {
      const message = `No session.hello within ${Duration.format(config.helloTimeout)}`
      return yield* refused({
        error: new ArcpError.InvalidRequest({ message }),
        close: Connection.close.refused,
        request: {},
        profile: "standard"
      })
    }
    const [frame, ...rest] = first.value
    if (Result.isFailure(frame)) {
      const { error, id, type } = frame.failure
      return yield* refused({
        error: type === "session.open" ? notHello(type) : error,
        close: Connection.close.protocolError,
        request: id === undefined ? {} : { id },
        profile: "standard"
      })
    }
    const message = frame.success
    if (message.type !== "session.hello" && message.type !== "session.resume") {
      return yield* refused({
        error: notHello(message.type),
        close: Connection.close.protocolError,
        request: message,
        profile: "standard"
      })
    }

    const profile = message.type === "session.hello" ? Profile.recognize(message) : "echo"
    const began =
      message.type === "session.hello" ? begin(message, session_id, profile, connection.secure) : resume(message)
    const result = yield* Effect.result(
      Effect.timeoutOrElse(began, {
        duration: config.helloTimeout,
        orElse: () => Effect.fail(new ArcpError.InternalError({ message: "The handshake took too long" }))
      })
    )
    if (Result.isFailure(result)) {
      const error = result.failure
      return yield* refused({
        error,
        close: error._tag === "InternalError" ? Connection.close.overloaded : Connection.close.refused,
        request: message,
        profile
      })
    }
    const opened = result.success
    const id = Refusal.echoes(profile) ? message.id : (`msg_${yield* random.ulid}` as Ids.MessageId)
    if (yield* say(connection, yield* welcome(opened, id))) {
      return Option.some({ opened, connection: Connection.unread(connection, rest) })
    }
    yield* connection.close(Connection.close.overloaded)
    return Option.none()
  })
})

const notHello = (type: string) =>
  new ArcpError.InvalidRequest({
    message: `Expected session.hello, got ${type}`,
    details: { type, expected: "session.hello" }
  })
