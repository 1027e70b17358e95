/**
 * ARCP over WebSocket: one frame per text message (§4). This module runs wherever there is a `WebSocket`, a browser included; the
 * listener, and a dialer that knows the socket underneath, are with the host.
 *
 * @since 0.1.0
 */
import { Array, Duration, Effect, Layer, Predicate, type Scope } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import { Socket } from "effect/socket"
import * as Connection from "../session/Connection.ts"
import * as Dialer from "../session/Dialer.ts"
import * as FrameSize from "./FrameSize.ts"
import * as Loopback from "./Loopback.ts"

/**
 * The path that runtimes serve unless told otherwise.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultPath = "/arcp"

/**
 * What is written but not yet with the network, in bytes, above which `send` suspends.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultHighWaterMark: number = 256 * 1024

/**
 * The stream under a WebSocket, where the host gives access to it: gathers many writes into one, and says when it has room again.
 * Node's `net.Socket` is one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wire {
  readonly writableLength: number
  cork(): void
  uncork(): void
  on(event: "drain", listener: () => void): unknown
  off(event: "drain", listener: () => void): unknown
}

/**
 * @category options
 * @since 0.1.0
 */
export interface LineOptions {
  readonly secure: boolean
  readonly peer: string
  readonly maxFrameBytes?: number | undefined
  readonly highWaterMark?: number | undefined
  readonly connectTimeout?: Duration.Input | undefined
  /** Asked once the WebSocket is open. */
  readonly wire?: (() => Wire | undefined) | undefined
}

/**
 * A line of frames over any WebSocket, once it is open. Reading is paced where the WebSocket can be paused, writing by its wire, or by
 * looking at `bufferedAmount` where there is none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromWebSocket = Effect.fnUntraced(function* <R>(
  acquire: Effect.Effect<Socket.WebSocketLike, Connection.ConnectionError, R>,
  options: LineOptions
) {
  const ws = yield* acquire
  const socket = yield* Socket.fromWebSocket(Effect.succeed(ws), {
    openTimeout: options.connectTimeout ?? Duration.seconds(10)
  })
  const reader = yield* Effect.mapError(socket.reader, fromSocketError)
  const wire = options.wire?.()
  const max = options.maxFrameBytes ?? FrameSize.defaultMax
  const highWaterMark = options.highWaterMark ?? defaultHighWaterMark
  let ended: Connection.ConnectionError | undefined

  const close = (reason: Connection.CloseReason) => {
    if (ws.readyState > OPEN) return
    const text = FrameSize.byteLength(reason.reason) > 123 ? reason.reason.slice(0, 41) : reason.reason
    try {
      ws.close(reason.code, text)
    } catch {
      // A page may close with 1000 and 4000 to 4999 alone: there 1008 is said as 4008.
      ws.close(4000 + (reason.code % 1000), text)
    }
  }

  const refuse = (reason: Connection.CloseReason) => {
    ended = new Connection.ConnectionError({ reason: "read", message: reason.reason, code: reason.code })
    close(reason)
    return ended
  }

  // The frames in front of one that may not be, if there are any; the refusal itself is left for the next pull.
  const admit = (batch: NonEmptyReadonlyArray<string | Uint8Array>) => {
    const frames: string[] = []
    for (const frame of batch) {
      if (typeof frame !== "string") refuse(Connection.close.textOnly)
      else if (FrameSize.exceeds(frame, max)) refuse(Connection.close.tooBig)
      else frames.push(frame)
      if (ended !== undefined) break
    }
    return Array.isArrayNonEmpty(frames) ? Effect.succeed(frames) : pull
  }

  const pull: Connection.Frames["pull"] = Effect.suspend(() =>
    ended === undefined ? Effect.flatMap(Effect.mapError(reader.pull, fromSocketError), admit) : Effect.fail(ended)
  )

  const full = () => (wire === undefined ? bufferedAmount(ws) : wire.writableLength) > highWaterMark

  const send: Connection.Frames["send"] = (frames) =>
    Effect.suspend(() => {
      if (ws.readyState !== OPEN) return Effect.fail(gone())
      wire?.cork()
      try {
        for (const frame of frames) ws.send(frame)
      } catch (cause) {
        return Effect.fail(new Connection.ConnectionError({ reason: "write", message: "the write failed", cause }))
      } finally {
        wire?.uncork()
      }
      if (!full()) return Effect.void
      return wire === undefined ? sunk : drained(ws, wire)
    })

  // Without a wire nothing tells when there is room.
  const sunk: Effect.Effect<void, Connection.ConnectionError> = Effect.suspend(() =>
    ws.readyState !== OPEN ? Effect.fail(gone()) : full() ? Effect.delay(sunk, Duration.millis(5)) : Effect.void
  )

  return {
    secure: options.secure,
    peer: options.peer,
    pull,
    send,
    close: (reason) => Effect.sync(() => close(reason))
  } satisfies Connection.Frames
})

/** `readyState` of a WebSocket that can be written to; greater is on its way out. */
const OPEN = 1

const gone = () => new Connection.ConnectionError({ reason: "write", message: "the connection is closed" })

const bufferedAmount = (ws: Socket.WebSocketLike): number =>
  "bufferedAmount" in ws && typeof ws.bufferedAmount === "number" ? ws.bufferedAmount : 0

const drained = (ws: Socket.WebSocketLike, wire: Wire) =>
  Effect.callback<void, Connection.ConnectionError>((resume) => {
    const stop = () => {
      wire.off("drain", onDrain)
      ws.removeEventListener("close", onClose)
    }
    const onDrain = () => {
      stop()
      resume(Effect.void)
    }
    const onClose = () => {
      stop()
      resume(Effect.fail(gone()))
    }
    wire.on("drain", onDrain)
    ws.addEventListener("close", onClose)
    return Effect.sync(stop)
  })

// What `ws` makes of a peer that breaks the rules, and the code that it then closes with.
const violations: { readonly [code: string]: number } = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
  WS_ERR_INVALID_UTF8: 1007
}

const fromSocketError = (error: Socket.SocketError): Connection.ConnectionError => {
  const { reason } = error
  switch (reason._tag) {
    case "SocketCloseError":
      return new Connection.ConnectionError({
        reason: "closed",
        message: reason.closeReason === undefined || reason.closeReason === "" ? "closed" : reason.closeReason,
        code: reason.code
      })
    case "SocketReadError": {
      const cause = underlying(reason.cause)
      const code = violations[cause.code]
      return new Connection.ConnectionError({
        reason: "read",
        message: cause.message,
        cause: reason.cause,
        ...(code === undefined ? undefined : { code })
      })
    }
    case "SocketOpenError":
      return new Connection.ConnectionError({
        reason: "open",
        message: reason.kind === "Timeout" ? "the connection did not open in time" : underlying(reason.cause).message,
        cause: reason.cause
      })
    case "SocketWriteError":
    case "SocketUpgradeError":
      return new Connection.ConnectionError({ reason: "write", message: reason.message, cause: reason.cause })
  }
}

// Of an event the error that it tells of, as far as the platform says.
const underlying = (cause: unknown): { readonly message: string; readonly code: string } => {
  const error = Predicate.hasProperty(cause, "error") ? cause.error : cause
  return {
    message:
      Predicate.hasProperty(error, "message") && typeof error.message === "string" && error.message !== ""
        ? error.message
        : "the connection failed",
    code: Predicate.hasProperty(error, "code") && typeof error.code === "string" ? error.code : ""
  }
}

/**
 * What a URL says of the line that it leads to. It is used as given; one without any path gets the {@link defaultPath}. Credentials are
 * refused, as tokens travel in `session.hello` alone (§6.1).
 *
 * @category constructors
 * @since 0.1.0
 */
export const endpoint = (
  url: string
): Effect.Effect<
  { readonly url: string; readonly secure: boolean; readonly peer: string },
  Connection.ConnectionError
> =>
  Effect.suspend(() => {
    const fail = (message: string) => Effect.fail(new Connection.ConnectionError({ reason: "open", message }))
    const parsed = URL.parse(url)
    if (parsed === null) return fail("url: not a URL")
    if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") return fail("url: neither ws: nor wss:")
    if (parsed.username !== "" || parsed.password !== "") return fail("url: credentials do not belong in a URL")
    if (url.includes("#")) return fail("url: a WebSocket has no fragment")
    const bare = /^\w+:\/*[^/?]+(\?|$)/.test(url)
    if (bare) parsed.pathname = defaultPath
    return Effect.succeed({
      url: bare ? parsed.href : url,
      secure: parsed.protocol === "wss:" || Loopback.is(parsed.hostname),
      peer: parsed.host
    })
  })

/**
 * @category options
 * @since 0.1.0
 */
export interface DialOptions {
  /** `ws:` or `wss:`, used as it is; without a path `/arcp` is added. */
  readonly url: string
  /** How long to wait for the WebSocket to open. Default 10 seconds. */
  readonly connectTimeout?: Duration.Input
  /** A larger frame ends the line with 1009. Default 4 MiB. */
  readonly maxFrameBytes?: number
  /** Bytes on their way out above which `send` suspends. Default 256 KiB. */
  readonly highWaterMark?: number
}

/**
 * Opens one line with the `WebSocketConstructor` at hand. Asks for no sub-protocol.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dial = (
  options: DialOptions
): Effect.Effect<Connection.Frames, Connection.ConnectionError, Socket.WebSocketConstructor | Scope.Scope> =>
  Effect.gen(function* () {
    const construct = yield* Socket.WebSocketConstructor
    const { url, ...line } = yield* endpoint(options.url)
    const acquire = Effect.acquireRelease(
      Effect.try({
        try: () => construct(url),
        catch: (cause) =>
          new Connection.ConnectionError({ reason: "open", message: "the WebSocket could not be made", cause })
      }),
      (ws) => Effect.sync(() => ws.close(Connection.close.normal.code))
    )
    return yield* fromWebSocket(acquire, { ...options, ...line })
  })

/**
 * A dialer for the WebSocket of the environment.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDialerNoDeps = (
  options: DialOptions
): Layer.Layer<Dialer.Dialer, never, Socket.WebSocketConstructor> => Dialer.layer(dial(options))

/**
 * A dialer for the global `WebSocket`: browsers, Node, Deno, Bun.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDialer = (options: DialOptions): Layer.Layer<Dialer.Dialer> =>
  Layer.provide(layerDialerNoDeps(options), Socket.layerWebSocketConstructorGlobal)
