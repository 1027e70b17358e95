/**
 * Dials WebSockets on Node with the socket underneath at hand: what the global `WebSocket` cannot do, it reads no faster than it is
 * pulled, writes a batch as one, and checks certificates against an authority of your own.
 *
 * @since 0.1.0
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { Duration, Effect, type Layer, Redacted, type Scope } from "effect"
import * as Connection from "../session/Connection.ts"
import * as Dialer from "../session/Dialer.ts"
import * as FrameSize from "../transport/FrameSize.ts"
import * as WebSocketTransport from "../transport/WebSocketTransport.ts"
import * as NodeSocket from "./internal/nodeSocket.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends WebSocketTransport.DialOptions {
  readonly tls?: {
    /** Certificate authorities to trust instead of Node's own, in PEM. */
    readonly ca?: string
    /** The client's own certificate and key, in PEM. */
    readonly cert?: string
    readonly key?: Redacted.Redacted
  }
}

/**
 * Opens one line. Asks for no sub-protocol and no compression, sends no `Origin`, follows no redirect.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dial = (options: Options): Effect.Effect<Connection.Frames, Connection.ConnectionError, Scope.Scope> =>
  Effect.gen(function* () {
    const { url, ...line } = yield* WebSocketTransport.endpoint(options.url)
    const maxFrameBytes = options.maxFrameBytes ?? FrameSize.defaultMax
    const limits = {
      perMessageDeflate: false,
      maxPayload: maxFrameBytes,
      closeTimeout: Duration.toMillis(Duration.seconds(2)),
      ...(options.tls?.ca === undefined ? undefined : { ca: options.tls.ca }),
      ...(options.tls?.cert === undefined ? undefined : { cert: options.tls.cert }),
      ...(options.tls?.key === undefined ? undefined : { key: Redacted.value(options.tls.key) })
    }
    let wire: WebSocketTransport.Wire | undefined
    const acquire = Effect.try({
      try: () => {
        const ws = new NodeWS.WebSocket(url, limits)
        ws.once("upgrade", (response) => {
          wire = NodeSocket.clientWire(ws, response.socket)
        })
        return NodeSocket.make(ws)
      },
      catch: (cause) =>
        new Connection.ConnectionError({ reason: "open", message: "the WebSocket could not be made", cause })
    })
    return yield* WebSocketTransport.fromWebSocket(acquire, { ...options, ...line, wire: () => wire })
  })

/**
 * A dialer for clients on Node.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Dialer.Dialer> => Dialer.layer(dial(options))
