/**
 * From an open line to a session, or to a refusal that says why, within a bounded time (§6.1, §6.2).
 *
 * @since 0.1.0
 */
import { Clock, Duration, Effect, Option, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Authenticator from "../authority/Authenticator.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Codec from "../protocol/Codec.ts"
import * as Dialect from "../protocol/Dialect.ts"
import * as Feature from "../protocol/Feature.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as Connection from "../session/Connection.ts"
import * as AgentRegistry from "./AgentRegistry.ts"
import * as Refusal from "./Refusal.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import type * as Session from "./Session.ts"
import * as Sessions from "./Sessions.ts"

/**
 * A session that was opened, and its first connection with what had come in after the hello.
 *
 * @category models
 * @since 0.1.0
 */
export interface Greeted {
  readonly session: Session.Session
  readonly epoch: number
  readonly connection: Connection.Connection<Message.FromClient>
}

interface Refused {
  readonly error: ArcpError.ArcpError
  readonly close: Connection.CloseReason
  readonly request: { readonly id?: string; readonly type?: string }
  readonly profile: Dialect.Profile
}

/**
 * Reads the first frame, checks who it is from, and welcomes or refuses it. A refusal is sent and the line closed; then there is nothing.
 *
 * @category running
 * @since 0.1.0
 */
export const greet: (
  connection: Connection.Connection<Message.FromClient>
) => Effect.Effect<
  Option.Option<Greeted>,
  Connection.ConnectionError,
  Authenticator.Authenticator | AgentRegistry.AgentRegistry | Sessions.Sessions | SecureRandom.SecureRandom
> = Effect.fn("Handshake.greet")(function*(connection) {
  const config = yield* RuntimeConfig.RuntimeConfig
  const random = yield* SecureRandom.SecureRandom
  // Allocated before anything is decided: several clients hear a refusal only if it names a session.
  const session_id = `sess_${yield* random.ulid}` as Ids.SessionId

  const refuse = Effect.fnUntraced(function*({ close, error, profile, request }: Refused) {
    const completedAt = Timestamp.format(yield* Clock.currentTimeMillis)
    const ulid = yield* random.ulid
    const refusal = Refusal.make({ profile, session_id, request, error, job_id: undefined, ulid, completedAt })
    if (refusal._tag === "Reply") yield* connection.send([Codec.encode(refusal.message)])
    yield* connection.close(close)
    return Option.none<Greeted>()
  })

  const first = yield* Effect.timeoutOption(connection.pull, config.helloTimeout)
  if (Option.isNone(first)) {
    const message = `No session.hello within ${Duration.format(config.helloTimeout)}`
    return yield* refuse({
      error: new ArcpError.InvalidRequest({ message }),
      close: Connection.close.refused,
      request: {},
      profile: "standard"
    })
  }
  const [frame, ...rest] = first.value
  if (Result.isFailure(frame)) {
    const { error, id, type } = frame.failure
    return yield* refuse({
      error: type === "session.open" ? notHello(type) : error,
      close: Connection.close.protocolError,
      request: id === undefined ? {} : { id },
      profile: "standard"
    })
  }
  const message = frame.success
  if (message.type !== "session.hello") {
    const resume = message.type === "session.resume"
    return yield* refuse({
      error: resume ? expired() : notHello(message.type),
      close: resume ? Connection.close.refused : Connection.close.protocolError,
      request: message,
      profile: "standard"
    })
  }

  const profile = Dialect.recognize(message)
  const welcomed = yield* Effect.result(Effect.timeoutOrElse(welcome(message, session_id, profile), {
    duration: config.helloTimeout,
    orElse: () => Effect.fail(new ArcpError.InternalError({ message: "The handshake took too long" }))
  }))
  if (Result.isFailure(welcomed)) {
    const error = welcomed.failure
    return yield* refuse({
      error,
      close: error._tag === "InternalError" ? Connection.close.overloaded : Connection.close.refused,
      request: message,
      profile
    })
  }
  const { epoch, reply, session } = welcomed.success
  const sessions = yield* Sessions.Sessions
  yield* Effect.onError(connection.send([Codec.encode(reply)]), () => sessions.close(session_id))
  return Option.some({ session, epoch, connection: Connection.unread(connection, rest) })
})

const notHello = (type: string) =>
  new ArcpError.InvalidRequest({
    message: `Expected session.hello, got ${type}`,
    details: { type, expected: "session.hello" }
  })

/** One answer for every session that cannot be resumed, so that nothing is learned of those that can. */
const expired = () => new ArcpError.ResumeWindowExpired({ message: "The session cannot be resumed" })

const welcome = Effect.fnUntraced(function*(
  hello: SessionMessage.Hello,
  id: Ids.SessionId,
  profile: Dialect.Profile
) {
  const config = yield* RuntimeConfig.RuntimeConfig
  const authenticator = yield* Authenticator.Authenticator
  const registry = yield* AgentRegistry.AgentRegistry
  const sessions = yield* Sessions.Sessions
  const random = yield* SecureRandom.SecureRandom
  const { auth, capabilities, resume } = hello.payload

  const principal = yield* authenticator.authenticate(auth)
  if (resume !== undefined) return yield* expired()
  const features = Feature.negotiate(config.features, capabilities.features ?? [])
  const { epoch, resumeToken, session } = yield* sessions.open({ id, principal, features, profile })
  const reply: SessionMessage.Welcome = {
    arcp: "1.1",
    id: Refusal.echoes(profile) ? hello.id : `msg_${yield* random.ulid}` as Ids.MessageId,
    type: "session.welcome",
    session_id: id,
    payload: {
      runtime: config.runtime,
      session_id: id,
      resume_token: resumeToken,
      resume_window_sec: Math.max(1, Math.floor(Duration.toSeconds(config.resumeWindow))),
      accepted_at: Timestamp.format(yield* Clock.currentTimeMillis),
      capabilities: {
        encodings: ["json"],
        features: [...features],
        agents: yield* registry.inventory,
        ...(profile === "effect" ? { [Feature.declaration.key]: Feature.declaration.value } : undefined)
      }
    }
  }
  return { epoch, session, reply }
})
