/**
 * Listens for WebSockets on Node: an HTTP or HTTPS server that admits only what may connect, and gives each connection the socket
 * underneath, so that a batch of frames is one write and a full socket suspends its sender.
 *
 * @since 0.1.0
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { Context, Duration, Effect, Layer, Redacted, Result, type Scope } from "effect"
import * as Http from "node:http"
import * as Https from "node:https"
import type * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Connection from "../session/Connection.ts"
import * as Listener from "../session/Listener.ts"
import * as Acceptor from "../session/Acceptor.ts"
import * as Admission from "../transport/Admission.ts"
import * as FrameSize from "../transport/FrameSize.ts"
import * as Loopback from "../transport/Loopback.ts"
import * as WebSocketTransport from "../transport/WebSocketTransport.ts"
import * as NodeSocket from "./internal/nodeSocket.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Default `127.0.0.1`. */
  readonly host?: string
  /** Default 0: any that is free. */
  readonly port?: number
  /** Default `/arcp`. */
  readonly path?: string
  /** Certificate and key in PEM. With it the server speaks `wss:` alone. */
  readonly tls?: {
    readonly cert: string
    readonly key: Redacted.Redacted
    readonly passphrase?: Redacted.Redacted
  }
  /** Origins of the pages that may connect. Default none: nothing that runs in a browser. */
  readonly origins?: ReadonlyArray<string>
  /** Names that clients may ask for, `host` or `host:port`. Default, on a loopback address: its own names. Else any. */
  readonly hosts?: ReadonlyArray<string>
  /** A larger frame closes its connection with 1009. Default 4 MiB. */
  readonly maxFrameBytes?: number
  /** Pieces that one frame may come in; more close the connection with 1008. Default 64. */
  readonly maxFragments?: number
  /** Open connections; one more is answered with 503. Default 10,000. */
  readonly maxConnections?: number
  /** Bytes on their way out of one connection above which its `send` suspends. Default 256 KiB. */
  readonly highWaterMark?: number
  /** How long a client may take for its opening handshake, TLS included. Default 10 seconds. */
  readonly handshakeTimeout?: Duration.Input
  /** How long a closing handshake may take. Default 2 seconds. */
  readonly closeTimeout?: Duration.Input
  /** Whether secrets may pass. Default: with TLS, or from a loopback address. Set it behind a proxy that ends TLS. */
  readonly secure?: boolean
  /** Answers plain HTTP requests on the same port. Default: 426 on the path, else 404. */
  readonly onRequest?: Http.RequestListener
}

/**
 * Where a listener can be reached.
 *
 * @category services
 * @since 0.1.0
 */
export class Address extends Context.Service<
  Address,
  {
    readonly host: string
    readonly port: number
    /** The URL to dial. */
    readonly url: string
  }
>()("arcp/node/NodeWebSocketListener/Address") {}

/** Connections that may be in their handshake, or in plain HTTP, beside those that are open. */
const handshakes = 1024

const ignore = () => {}

const refuse = (socket: Duplex, { status, reason }: Admission.Refusal): void => {
  // The client may never close its side.
  socket.once("finish", () => socket.destroy())
  const head = `HTTP/1.1 ${status} ${Http.STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: text/plain\r\n`
  socket.end(`${head}Content-Length: ${reason.length}\r\n\r\n${reason}`)
}

// With TLS the socket that connects and the socket that speaks are two objects, of one peer.
const nameOf = (socket: Net.Socket) => `${socket.remoteAddress} ${socket.remotePort}`

const bracketed = (host: string) => (host.includes(":") ? `[${host}]` : host)

const createServer = (options: Options): Http.Server => {
  const handshakeTimeout = Duration.toMillis(options.handshakeTimeout ?? Duration.seconds(10))
  const limits: Http.ServerOptions = {
    requestTimeout: handshakeTimeout,
    connectionsCheckingInterval: Math.min(handshakeTimeout, 1000)
  }
  return options.tls === undefined
    ? Http.createServer(limits)
    : Https.createServer({
        ...limits,
        handshakeTimeout,
        cert: options.tls.cert,
        key: Redacted.value(options.tls.key),
        ...(options.tls.passphrase === undefined ? undefined : { passphrase: Redacted.value(options.tls.passphrase) })
      })
}

/** Binds the server to the scope: at its end open handshakes are cut, open connections have the time of a closing handshake. */
const bind = Effect.fnUntraced(function* (options: Options) {
  const host = options.host ?? "127.0.0.1"
  const fail = (cause: unknown) =>
    new Connection.ConnectionError({
      reason: "open",
      message: `cannot listen on ${bracketed(host)}:${options.port ?? 0}`,
      cause
    })
  const server = yield* Effect.try({ try: () => createServer(options), catch: fail })
  server.maxConnections = (options.maxConnections ?? 10_000) + handshakes

  const unfinished = new Map<string, Net.Socket>()
  function onClose(this: Net.Socket) {
    unfinished.delete(nameOf(this))
  }
  server.on("connection", (socket: Net.Socket) => {
    unfinished.set(nameOf(socket), socket)
    socket.on("close", onClose)
  })
  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.closeAllConnections()
      for (const socket of unfinished.values()) socket.destroy()
    })
  )
  yield* Effect.callback<void, Connection.ConnectionError>((resume) => {
    server.once("error", (cause) => resume(Effect.fail(fail(cause))))
    server.listen({ host, port: options.port ?? 0 }, () => resume(Effect.void))
  })
  // What goes wrong in accepting one connection is no reason to end the process.
  server.on("error", ignore)
  return { server, host, unfinished }
})

/**
 * Binds the port. Connections are taken once `listen` has been called, and answered with 503 before.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<
  {
    readonly address: Address["Service"]
    readonly listen: (accept: Acceptor.Accept) => Effect.Effect<void, Connection.ConnectionError, Scope.Scope>
  },
  Connection.ConnectionError,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const { server, host, unfinished } = yield* bind(options)
    const bound = server.address()
    const port = typeof bound === "object" && bound !== null ? bound.port : 0
    const path = options.path ?? WebSocketTransport.defaultPath
    const maxConnections = options.maxConnections ?? 10_000
    const maxFrameBytes = options.maxFrameBytes ?? FrameSize.defaultMax
    const policy: Admission.Policy = {
      path,
      origins: options.origins ?? [],
      hosts:
        options.hosts ?? (Loopback.is(host) ? [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`] : undefined),
      defaultPort: options.tls === undefined ? 80 : 443
    }
    const limits = {
      perMessageDeflate: false,
      maxPayload: maxFrameBytes,
      maxFragments: options.maxFragments ?? 64,
      // A frame in pieces smaller than this costs more to hold than it is large.
      maxBufferedChunks: Math.max(1024, Math.ceil(maxFrameBytes / 512)),
      closeTimeout: Duration.toMillis(options.closeTimeout ?? Duration.seconds(2)),
      clientTracking: false
    }
    const wss = new NodeWS.WebSocketServer({ ...limits, noServer: true, handleProtocols: () => false })

    let serve: Effect.Success<ReturnType<typeof Acceptor.make>> | undefined
    let open = 0

    const decide = (request: Http.IncomingMessage): Admission.Refusal | undefined => {
      const { host, origin } = request.headers
      // Before its final version the protocol named the origin differently, and `ws` still speaks it.
      const early = request.headers["sec-websocket-origin"]
      const verdict = Admission.decide(policy, {
        target: request.url,
        host,
        origin: origin ?? (typeof early === "string" ? early : undefined)
      })
      if (Result.isFailure(verdict)) return verdict.failure
      if (serve === undefined) return { status: 503, reason: "not listening" }
      return open >= maxConnections ? { status: 503, reason: "too many connections" } : undefined
    }

    const onClose = () => {
      open--
    }
    // What is open holds nothing of the request that it began with.
    const accept = (ws: NodeWS.WebSocket, { socket }: Http.IncomingMessage) => {
      unfinished.delete(nameOf(socket))
      open++
      ws.on("close", onClose)
      ws.on("error", ignore)
      // Nothing is read before there is somebody to read it.
      ws.pause()
      const peer = socket.remoteAddress ?? ""
      serve?.(
        WebSocketTransport.fromWebSocket(
          Effect.sync(() => NodeSocket.make(ws)),
          {
            secure: options.secure ?? (options.tls !== undefined || Loopback.is(peer)),
            peer: `${bracketed(peer)}:${socket.remotePort}`,
            maxFrameBytes,
            highWaterMark: options.highWaterMark,
            wire: () => NodeSocket.serverWire(socket)
          }
        )
      )
    }

    server.on("upgrade", (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on("error", ignore)
      const refusal = decide(request)
      if (refusal !== undefined) return refuse(socket, refusal)
      wss.handleUpgrade(request, socket, head, accept)
    })
    server.on(
      "request",
      options.onRequest ??
        ((request, response) => {
          const here = request.url?.split("?", 1)[0] === path
          response
            .writeHead(here ? 426 : 404, { connection: "close", ...(here ? { upgrade: "websocket" } : undefined) })
            .end()
        })
    )

    const scheme = options.tls === undefined ? "ws" : "wss"
    const reachable = host === "0.0.0.0" || host === "::" ? "localhost" : bracketed(host)
    return {
      address: { host, port, url: `${scheme}://${reachable}:${port}${path}` },
      listen: Effect.fnUntraced(function* (accept) {
        if (serve !== undefined) {
          return yield* Effect.fail(
            new Connection.ConnectionError({ reason: "open", message: "somebody listens already" })
          )
        }
        const run = yield* Acceptor.make(accept)
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            serve = run
          }),
          () =>
            Effect.sync(() => {
              serve = undefined
            })
        )
      })
    }
  })

/**
 * A listener on a port of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Listener.Listener | Address, Connection.ConnectionError> =>
  Layer.unwrap(
    Effect.map(make(options), ({ address, listen }) =>
      Layer.merge(Listener.layer(listen), Layer.succeed(Address, Address.of(address)))
    )
  )
