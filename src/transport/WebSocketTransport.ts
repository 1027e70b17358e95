/**
 * ARCP over WebSocket: one frame per text message (§4). This module runs wherever there is a `WebSocket`, a browser included; the
 * listener, and a dialer that knows the socket underneath, are with the host.
 *
 * @since 0.1.0
 */
import { Array, Duration, Effect, Layer, Predicate, type Scope } from "effect"
import { Socket } from "effect/socket"
import * as Frame from "../protocol/Frame.ts"
import * as Utf8 from "../protocol/Utf8.ts"
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
 * What is under a WebSocket, where the host gives access to it: makes one write of a batch, and says when there is room again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wire {
  readonly writeAll: (frames: ReadonlyArray<Frame.Frame>) => void
  /** Bytes that are written but not yet with the network. */
  readonly writableLength: () => number
  /** Whether a write was told to wait for the drain. */
  readonly needsDrain: () => boolean
  /** Calls the listener at each drain, until what it gives back is called. */
  readonly onDrain: (listener: () => void) => () => void
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
 * looking at `bufferedAmount` where there is none. The scope owns the WebSocket: closing the scope closes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromWebSocket = Effect.fnUntraced(function* <R>(
  acquire: Effect.Effect<Socket.WebSocketLike, Connection.ConnectionError, R>,
  options: LineOptions
) {
  const inlet = yield* Effect.acquireRelease(
    Effect.map(acquire, (ws) => listen(ws, options.maxFrameBytes ?? FrameSize.defaultMax)),
    shut
  )
  const { ws } = inlet
  if (!inlet.isOpen) {
    yield* Effect.timeoutOrElse(untilOpen(inlet), {
      duration: options.connectTimeout ?? Duration.seconds(10),
      orElse: () => Effect.fail(notOpened("the connection did not open in time"))
    })
  }
  return {
    secure: options.secure,
    peer: options.peer,
    pull: puller(inlet),
    send: writer(ws, options.wire?.(), options.highWaterMark ?? defaultHighWaterMark),
    close: (reason) => Effect.sync(() => close(ws, reason))
  } satisfies Connection.Frames
})

/** `readyState` of a WebSocket that can be written to; less is on its way in, greater on its way out. */
const OPEN = 1

/** What is read ahead of who pulls, in characters, before the WebSocket is paused. */
const readAhead = 64 * 1024

/** What is read ahead where there is no pausing, before the line is given up. */
const readAheadMax = 64 * 1024 * 1024

/** A WebSocket, and what came in over it that nobody has taken. */
interface Inlet {
  readonly ws: Socket.WebSocketLike
  readonly maxFrameBytes: number
  isOpen: boolean
  frames: Array<string>
  /** Characters of them. */
  held: number
  /** Why nothing more comes. */
  end: Connection.ConnectionError | undefined
  /** Wakes whoever waits for what comes; does nothing once nobody does. */
  wake: (() => void) | undefined
  /** Hears of nothing more but errors. */
  readonly deafen: () => void
}

const listen = (ws: Socket.WebSocketLike, maxFrameBytes: number): Inlet => {
  const inlet: Inlet = {
    ws,
    maxFrameBytes,
    isOpen: ws.readyState === OPEN,
    frames: [],
    held: 0,
    end: ws.readyState > OPEN ? closed(1006, undefined) : undefined,
    wake: undefined,
    deafen: () => {
      ws.removeEventListener("message", onMessage)
      ws.removeEventListener("close", onClose)
    }
  }
  const onMessage = ({ data }: Socket.WebSocketEvent) => take(inlet, data)
  const onClose = ({ code, reason }: Socket.WebSocketEvent) =>
    end(inlet, inlet.isOpen ? closed(code, reason) : notOpened("the connection was closed before it was open"))
  ws.addEventListener("message", onMessage)
  ws.addEventListener("close", onClose)
  // This one stays: an error that nobody listens to ends a Node process.
  ws.addEventListener("error", (event) => end(inlet, failed(inlet.isOpen ? "read" : "open", event)))
  resume(ws)
  return inlet
}

const resume = (ws: Socket.WebSocketLike) => {
  if (isPausable(ws) && ws.isPaused) ws.resume()
}

const wake = (self: Inlet) => {
  self.wake?.()
  self.wake = undefined
}

const take = (self: Inlet, data: unknown) => {
  if (typeof data !== "string") return refuse(self, Connection.close.textOnly)
  if (FrameSize.exceeds(data, self.maxFrameBytes)) return refuse(self, Connection.close.tooBig)
  self.frames.push(data)
  self.held += data.length
  wake(self)
  if (self.held < readAhead) return
  if (isPausable(self.ws)) self.ws.pause()
  else if (self.held > readAheadMax) refuse(self, { code: 1008, reason: "frames are not read" })
}

const refuse = (self: Inlet, reason: Connection.CloseReason) => {
  self.deafen()
  // First, as whoever learns of the end may close the line with a reason of its own.
  close(self.ws, reason)
  end(self, new Connection.ConnectionError({ reason: "read", message: reason.reason, code: reason.code }))
}

const end = (self: Inlet, error: Connection.ConnectionError) => {
  self.end ??= error
  wake(self)
}

const shut = (self: Inlet) =>
  Effect.sync(() => {
    end(self, closed(1006, "the scope of the line is closed"))
    self.deafen()
    // Unpaused, the closing handshake can be read.
    resume(self.ws)
    close(self.ws, Connection.close.normal)
  })

const untilOpen = (self: Inlet): Effect.Effect<void, Connection.ConnectionError> =>
  Effect.callback((resume) => {
    const onOpen = () => {
      self.isOpen = self.end === undefined
      self.wake = undefined
      resume(self.end === undefined ? Effect.void : Effect.fail(self.end))
    }
    if (self.end !== undefined) return onOpen()
    self.wake = onOpen
    self.ws.addEventListener("open", onOpen, { once: true })
    return Effect.sync(() => self.ws.removeEventListener("open", onOpen))
  })

/** Takes what has come in, or waits for it. */
const puller = (self: Inlet): Connection.Frames["pull"] => {
  // Whoever pulls is woken once for all that arrives in one turn.
  const more = Effect.callback<void>((resume) => {
    self.wake = () => resume(Effect.yieldNow)
  })
  const pull: Connection.Frames["pull"] = Effect.suspend(() => {
    const { end, frames } = self
    if (!Array.isReadonlyArrayNonEmpty(frames)) {
      return end === undefined ? Effect.andThen(more, pull) : Effect.fail(end)
    }
    self.frames = []
    self.held = 0
    resume(self.ws)
    return Effect.succeed(frames)
  })
  return pull
}

/**
 * A WebSocket that can be made to read no more for a while.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pausable {
  readonly isPaused: boolean
  pause(): void
  resume(): void
}

const isPausable = (ws: Socket.WebSocketLike): ws is Socket.WebSocketLike & Pausable =>
  Predicate.hasProperty(ws, "pause") && typeof ws.pause === "function"

/** A batch is one write, where the wire can gather it. */
const writer =
  (ws: Socket.WebSocketLike, wire: Wire | undefined, highWaterMark: number): Connection.Frames["send"] =>
  (frames) =>
    Effect.suspend(() => {
      if (ws.readyState !== OPEN) return Effect.fail(gone())
      try {
        if (wire !== undefined) wire.writeAll(frames)
        else for (const frame of frames) ws.send(Frame.textOf(frame))
      } catch (cause) {
        return Effect.fail(new Connection.ConnectionError({ reason: "write", message: "the write failed", cause }))
      }
      if (wire === undefined) return sunk(ws, highWaterMark)
      // Without a write that was told to wait there is no drain to wait for.
      return wire.writableLength() > highWaterMark && wire.needsDrain() ? drained(ws, wire) : Effect.void
    })

// Without a wire nothing tells when there is room.
const sunk = (ws: Socket.WebSocketLike, highWaterMark: number): Effect.Effect<void, Connection.ConnectionError> =>
  Effect.suspend(() => {
    if (bufferedAmount(ws) <= highWaterMark) return Effect.void
    if (ws.readyState !== OPEN) return Effect.fail(gone())
    return Effect.delay(sunk(ws, highWaterMark), Duration.millis(5))
  })

const close = (ws: Socket.WebSocketLike, { code, reason }: Connection.CloseReason) => {
  if (ws.readyState > OPEN) return
  // A reason may take 123 bytes.
  const text = Utf8.byteLength(reason) > 123 ? reason.slice(0, 41) : reason
  try {
    ws.close(code, text)
  } catch {
    // A page may close with 1000 and 4000 to 4999 alone: there 1008 is said as 4008.
    ws.close(4000 + (code % 1000), text)
  }
}

const gone = () => new Connection.ConnectionError({ reason: "write", message: "the connection is closed" })

const bufferedAmount = (ws: Socket.WebSocketLike): number =>
  "bufferedAmount" in ws && typeof ws.bufferedAmount === "number" ? ws.bufferedAmount : 0

const drained = (ws: Socket.WebSocketLike, wire: Wire) =>
  Effect.callback<void, Connection.ConnectionError>((resume) => {
    const onClose = () => {
      stop()
      resume(Effect.fail(gone()))
    }
    const off = wire.onDrain(() => {
      stop()
      resume(Effect.void)
    })
    const stop = () => {
      off()
      ws.removeEventListener("close", onClose)
    }
    ws.addEventListener("close", onClose)
    return Effect.sync(stop)
  })

const closed = (code: number | undefined, reason: string | undefined) =>
  new Connection.ConnectionError({
    reason: "closed",
    // The peer wrote it, and it is read in logs and on terminals.
    message: reason === undefined || reason === "" ? "closed" : reason.replace(/\p{Cc}/gu, "\ufffd"),
    code: code ?? 1006
  })

// What `ws` makes of a peer that breaks the rules, and the code that it then closes with.
const violations: { readonly [code: string]: number } = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
  WS_ERR_INVALID_UTF8: 1007
}

const notOpened = (message: string, cause?: unknown) =>
  new Connection.ConnectionError({ reason: "open", message, ...(cause === undefined ? undefined : { cause }) })

// An event tells of an error as far as the platform lets it.
const failed = (reason: "open" | "read", event: Socket.WebSocketEvent) => {
  const cause: unknown = Predicate.hasProperty(event, "error") ? event.error : event
  const code = Predicate.hasProperty(cause, "code") ? violations[String(cause.code)] : undefined
  const message = Predicate.hasProperty(cause, "message") ? String(cause.message) : ""
  return new Connection.ConnectionError({
    reason,
    message: message === "" ? "the connection failed" : message,
    cause,
    ...(code === undefined ? undefined : { code })
  })
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
    const fail = (message: string) => Effect.fail(notOpened(message))
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
    const acquire = Effect.try({
      try: () => construct(url),
      catch: (cause) => notOpened("the WebSocket could not be made", cause)
    })
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
