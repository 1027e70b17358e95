/**
 * Opens a session: a connection, our hello on it, the runtime's welcome (§6.2).
 */
import { Effect, Exit, Redacted, Result, Scope } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import * as Codec from "../../protocol/Codec.ts"
import * as Feature from "../../protocol/Feature.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as Message from "../../protocol/Message.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Version from "../../protocol/Version.ts"
import * as Connection from "../../session/Connection.ts"
import type * as Dialer from "../../session/Dialer.ts"
import * as ClientError from "../ClientError.ts"

export interface Offer {
  readonly client: SessionMessage.Peer
  readonly token: Redacted.Redacted
  readonly features: ReadonlyArray<Feature.Feature>
}

/** What a session is resumed with (§6.3). */
export interface Resume {
  readonly session_id: Ids.SessionId
  readonly resume_token: Redacted.Redacted
  readonly last_event_seq: number
}

type Frame = Result.Result<Message.FromRuntime, Codec.BadFrame>

export interface Opened {
  readonly connection: Connection.Connection<Message.FromRuntime>
  readonly id: Ids.SessionId
  readonly welcome: SessionMessage.Welcome["payload"]
  readonly features: ReadonlySet<Feature.Feature>
  /** What came with the welcome and is of the session already. */
  readonly rest: ReadonlyArray<Frame>
}

/** The end of a connection, in the words of the session. */
export const lost = (error: Connection.ConnectionError): ArcpError.HeartbeatLost =>
  new ArcpError.HeartbeatLost({
    message: `${error.reason === "open" ? "The runtime cannot be reached" : "The connection is gone"}: ${error.message}`,
    details: { reason: error.reason, ...(error.code === undefined ? undefined : { code: error.code }) }
  })

/** Some runtimes refuse a token by closing the line, without a word but with the code for it (§6.1). */
const refused = (error: Connection.ConnectionError): ClientError.ConnectError =>
  error.code === Connection.close.refused.code
    ? new ArcpError.Unauthenticated({ message: "The runtime closed the connection in answer to the hello" })
    : lost(error)

// The caller may have labelled it otherwise.
const auth = (token: Redacted.Redacted): SessionMessage.Auth => ({
  scheme: "bearer",
  token: Redacted.make(Redacted.value(token), { label: "token" })
})

/** Runtimes look for the resume in two places of the hello, so it stands in both. */
const hello = (id: Ids.MessageId, offer: Offer, resume: Resume | undefined): SessionMessage.Hello => ({
  arcp: Version.version,
  id,
  type: "session.hello",
  payload: {
    client: offer.client,
    auth: auth(offer.token),
    capabilities: {
      encodings: ["json"],
      features: offer.features,
      [Feature.declaration.key]: Feature.declaration.value
    },
    ...(resume === undefined
      ? undefined
      : { resume, resume_token: resume.resume_token, last_event_seq: resume.last_event_seq })
  }
})

const firstFrame = (id: Ids.MessageId, offer: Offer, resume: Resume): SessionMessage.Resume => ({
  arcp: Version.version,
  id,
  type: "session.resume",
  session_id: resume.session_id,
  payload: { ...resume, auth: auth(offer.token) }
})

type Refusal = ClientError.ConnectError | ArcpError.ResumeWindowExpired

/** What a frame means for the handshake, or nothing: what does not belong there is passed over. */
const read = (frame: Frame): Result.Result<SessionMessage.Welcome, Refusal> | undefined => {
  if (Result.isFailure(frame)) {
    const { error, type } = frame.failure
    return type === "session.welcome" || type === "session.error"
      ? Result.fail(
          new ArcpError.InternalError({ message: `The runtime's ${type} could not be read: ${error.message}` })
        )
      : undefined
  }
  const message = frame.success
  switch (message.type) {
    case "session.welcome":
      return Result.succeed(message)
    case "session.error":
    case "job.error": {
      const error = ArcpError.fromPayload(message.payload)
      return Result.fail(error._tag === "ResumeWindowExpired" ? error : ClientError.fromHandshake(error))
    }
    case "session.closed":
    case "session.bye":
      return Result.fail(new ArcpError.HeartbeatLost({ message: "The runtime closed the session before it began" }))
    default:
      return undefined
  }
}

/** Dials, says the first frame and waits for the welcome. The scope owns the connection. */
const greet = Effect.fnUntraced(function* (
  dialer: Dialer.Dialer["Service"],
  features: ReadonlyArray<Feature.Feature>,
  first: SessionMessage.Hello | SessionMessage.Resume
): Effect.fn.Return<Opened, Refusal, Scope.Scope> {
  const connection = yield* Effect.mapError(dialer.dial, lost)
  const said = connection.send([Codec.encode(first)])
  const next = Effect.mapError(connection.pull, refused)
  yield* Effect.mapError(said, refused)
  while (true) {
    const frames = yield* next
    for (const [index, frame] of frames.entries()) {
      const answer = read(frame)
      if (answer === undefined) continue
      const { payload, session_id } = yield* Effect.fromResult(answer)
      if (session_id === undefined) {
        return yield* new ArcpError.InternalError({ message: "The runtime's session.welcome has no session_id" })
      }
      return {
        connection,
        id: session_id,
        welcome: payload,
        features: Feature.negotiate(features, payload.capabilities.features ?? []),
        rest: frames.slice(index + 1)
      }
    }
  }
})

/** Opens a session. */
export const open = (
  dialer: Dialer.Dialer["Service"],
  nextId: Effect.Effect<Ids.MessageId>,
  offer: Offer
): Effect.Effect<Opened, ClientError.ConnectError, Scope.Scope> =>
  nextId.pipe(
    Effect.flatMap((id) => greet(dialer, offer.features, hello(id, offer, undefined))),
    Effect.catchTag("ResumeWindowExpired", (error) => Effect.fail(ClientError.fromHandshake(error)))
  )

const notResumed = (id: Ids.SessionId) =>
  new ArcpError.ResumeWindowExpired({
    message: "The runtime cannot resume the session",
    details: { session_id: id }
  })

/**
 * Goes on with a session (§6.3). A runtime that refuses the hello, or opens another session instead, may know the older form: a first frame
 * of its own. It gets one connection of its own.
 */
export const resume = Effect.fnUntraced(function* (
  dialer: Dialer.Dialer["Service"],
  nextId: Effect.Effect<Ids.MessageId>,
  offer: Offer,
  session: Resume
): Effect.fn.Return<Opened, Refusal, Scope.Scope> {
  const scope = yield* Effect.scope
  const attempt = Effect.fnUntraced(function* (first: SessionMessage.Hello | SessionMessage.Resume) {
    const line = yield* Scope.fork(scope)
    const opened = yield* greet(dialer, offer.features, first).pipe(
      Scope.provide(line),
      Effect.catchTag("InvalidRequest", () => Effect.succeed(undefined)),
      Effect.onError(() => Scope.close(line, Exit.void))
    )
    if (opened?.id === session.session_id) return opened
    yield* Scope.close(line, Exit.void)
    return undefined
  })
  return (
    (yield* attempt(hello(yield* nextId, offer, session))) ??
    (yield* attempt(firstFrame(yield* nextId, offer, session))) ??
    (yield* notResumed(session.session_id))
  )
})
