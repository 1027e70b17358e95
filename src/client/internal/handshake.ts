/**
 * Opens a session: a connection, our hello on it, the runtime's welcome (§6.2).
 */
import { Effect, Redacted, Result, type Scope } from "effect"
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

const hello = (id: Ids.MessageId, offer: Offer): SessionMessage.Hello => ({
  arcp: Version.version,
  id,
  type: "session.hello",
  payload: {
    client: offer.client,
    // The caller may have labelled it otherwise.
    auth: { scheme: "bearer", token: Redacted.make(Redacted.value(offer.token), { label: "token" }) },
    capabilities: {
      encodings: ["json"],
      features: offer.features,
      [Feature.declaration.key]: Feature.declaration.value
    }
  }
})

/** What a frame means for the handshake, or nothing: what does not belong there is passed over. */
const read = (frame: Frame): Result.Result<SessionMessage.Welcome, ClientError.ConnectError> | undefined => {
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
    case "job.error":
      return Result.fail(ClientError.fromHandshake(ArcpError.fromPayload(message.payload)))
    case "session.closed":
    case "session.bye":
      return Result.fail(new ArcpError.HeartbeatLost({ message: "The runtime closed the session before it began" }))
    default:
      return undefined
  }
}

/** Dials, says hello and waits for the welcome. The scope owns the connection. */
export const open = Effect.fnUntraced(function* (
  dialer: Dialer.Dialer["Service"],
  id: Ids.MessageId,
  offer: Offer
): Effect.fn.Return<Opened, ClientError.ConnectError, Scope.Scope> {
  const connection = yield* Effect.mapError(dialer.dial, lost)
  const said = connection.send([Codec.encode(hello(id, offer))])
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
        features: Feature.negotiate(offer.features, payload.capabilities.features ?? []),
        rest: frames.slice(index + 1)
      }
    }
  }
})
