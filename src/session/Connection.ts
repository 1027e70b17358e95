/**
 * One open line to a peer: text frames in, text frames out (§4). A session outlives it.
 *
 * A transport supplies {@link Frames}; {@link make} puts the codec on top, so no transport knows what is said.
 *
 * @since 0.1.0
 */
import { Array, Effect, Result, Schema } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Codec from "../protocol/Codec.ts"
import type * as Frame from "../protocol/Frame.ts"

/**
 * Why a line ended, or could not be opened.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConnectionError extends Schema.TaggedError<ConnectionError>("arcp/ConnectionError")("ConnectionError", {
  reason: Schema.Literals(["open", "closed", "read", "write"]),
  message: Schema.String,
  /** The close code of the WebSocket protocol, from transports that have one. */
  code: Schema.optionalKey(Schema.Int),
  cause: Schema.optionalKey(Schema.Defect())
}) {}

/**
 * What the end of a connection says to the other side, in the codes of the WebSocket protocol. Transports without close codes just
 * close.
 *
 * @category models
 * @since 0.1.0
 */
export interface CloseReason {
  readonly code: number
  readonly reason: string
}

/**
 * The closings that the protocol knows.
 *
 * @category constants
 * @since 0.1.0
 */
export const close = {
  normal: { code: 1000, reason: "closed" },
  goingAway: { code: 1001, reason: "shutting down" },
  protocolError: { code: 1002, reason: "protocol error" },
  textOnly: { code: 1003, reason: "text frames only" },
  malformed: { code: 1007, reason: "malformed frames" },
  refused: { code: 1008, reason: "refused" },
  tooBig: { code: 1009, reason: "frame too big" },
  overloaded: { code: 1013, reason: "try again later" }
} as const satisfies { readonly [name: string]: CloseReason }

/**
 * What is known of a connection, whoever speaks over it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Line {
  /** Whether secrets may pass: encrypted, or never leaving this machine (§14). */
  readonly secure: boolean
  /** The other side, for logs: an address, or the name of the transport. */
  readonly peer: string
  /**
   * Writes a batch of frames as one, in order. Suspends while the line is full; done when the transport has taken them. Only one fiber
   * writes at a time.
   */
  readonly send: (frames: NonEmptyReadonlyArray<Frame.Frame>) => Effect.Effect<void, ConnectionError>
  /** Says why and ends the line. Never fails: a line that is already down stays down. */
  readonly close: (reason: CloseReason) => Effect.Effect<void>
}

/**
 * A line that yields the frames that came in since the last pull, at least one. Its end, orderly or not, is a {@link ConnectionError}.
 * This is what a transport implements.
 *
 * @category models
 * @since 0.1.0
 */
export interface Frames extends Line {
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<string>, ConnectionError>
}

/**
 * A line that yields what the frames mean. A frame that means nothing is a failure value in its place.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection<out In> extends Line {
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Result.Result<In, Codec.BadFrame>>, ConnectionError>
}

/**
 * Puts a codec on a line of frames.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <In>(frames: Frames, decode: Codec.Decode<In>): Connection<In> => ({
  secure: frames.secure,
  peer: frames.peer,
  send: frames.send,
  close: frames.close,
  pull: Effect.map(
    frames.pull,
    Array.map((text) => decode(text))
  )
})

/**
 * The same connection with messages put back, which the next pull yields first.
 *
 * @category combinators
 * @since 0.1.0
 */
export const unread = <In>(
  connection: Connection<In>,
  messages: ReadonlyArray<Result.Result<In, Codec.BadFrame>>
): Connection<In> => {
  if (messages.length === 0) return connection
  let rest = messages
  return {
    ...connection,
    pull: Effect.suspend(() => {
      const first = rest
      rest = []
      return Array.isReadonlyArrayNonEmpty(first) ? Effect.succeed(first) : connection.pull
    })
  }
}
