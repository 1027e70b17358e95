/**
 * `PinnedHttp` on Node, over `node:http`.
 *
 * A connection is made to an address, never to a name, and the request is written to that connection; so there is no second look-up that
 * could end elsewhere. Each request has a connection of its own: nothing that one request leaves behind can be taken for a part of the next.
 * No agent, no pool, no proxy and no credential of the environment takes part, and certificates are checked whatever the environment says.
 *
 * @since 0.1.0
 */
import * as NodeDns from "@effect/platform-node/NodeDns"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { Deferred, Duration, Effect, Equal, Layer, Result, type Scope, Stream } from "effect"
import { Headers } from "effect/http"
import { Dns, NetAddress } from "effect/net"
import * as Http from "node:http"
import * as Net from "node:net"
import * as Tls from "node:tls"
import * as PinnedHttp from "../leased/PinnedHttp.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** To look a name up, and to open a connection, TLS included. Default 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** From the end of the request, or the last part of it that the server took, to the headers of the response. Default 60 seconds. */
  readonly headersTimeout?: Duration.Input | undefined
  /** A response on which nothing passes for so long is given up, also one that nobody reads. Default 5 minutes. */
  readonly idleTimeout?: Duration.Input | undefined
  /** Bytes of the headers of a response. Default 16 KiB. */
  readonly maxHeaderBytes?: number | undefined
  /** Certificate authorities to trust instead of Node's own, in PEM. */
  readonly ca?: string | undefined
}

const { PinnedHttpError } = PinnedHttp

type Reason = PinnedHttp.PinnedHttpError["reason"]

const failure = (reason: Reason, message: string, cause?: unknown) =>
  new PinnedHttpError({ reason, message, ...(cause === undefined ? undefined : { cause }) })

/** A server may say that it is still busy, but not without end. */
const maxInformational = 32

/** Header lines of a response. */
const maxHeaders = 256

/**
 * Connections of Node's own to the addresses that it is told, and to no other.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (dns: Dns.Dns["Service"], options: Options = {}): PinnedHttp.PinnedHttp["Service"] => {
  const {
    ca,
    connectTimeout = Duration.seconds(10),
    headersTimeout = Duration.seconds(60),
    idleTimeout = Duration.minutes(5),
    maxHeaderBytes = 16 * 1024
  } = options

  const within = (duration: Duration.Input, reason: Reason, message: string) =>
    Effect.timeoutOrElse({ duration, orElse: () => Effect.fail(failure(reason, message)) })

  const resolve = (host: string) =>
    dns.lookup(host).pipe(
      Effect.mapError((error) => failure("resolve", `the host is not found (${error.reason})`, error)),
      within(connectTimeout, "resolve", "the host was not found in time"),
      // A look-up does not say on which link they are, so nobody can connect to them.
      Effect.map((addresses) => addresses.filter((address) => !isUnscoped(address))),
      Effect.filterOrFail(
        (addresses) => addresses.length > 0,
        () => failure("resolve", "the host has only link-local addresses")
      )
    )

  const connect = <E>({ address, host, port, secure }: PinnedHttp.Request<E>) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const place = { host: NetAddress.formatIp(address), port, noDelay: true }
        return secure
          ? Tls.connect({
              ...place,
              // TLS names no addresses, and knows no trailing dot.
              ...(Net.isIP(host) === 0 ? { servername: host.replace(/\.$/, "") } : undefined),
              ...(ca === undefined ? undefined : { ca }),
              ALPNProtocols: ["http/1.1"],
              minVersion: "TLSv1.2",
              rejectUnauthorized: true
            })
          : Net.connect(place)
      }),
      (socket) => Effect.sync(() => socket.destroy())
    ).pipe(
      Effect.tap((socket) =>
        Effect.callback<void, PinnedHttp.PinnedHttpError>((resume) => {
          const onError = (cause?: Error) =>
            resume(Effect.fail(failure("connect", "no connection could be made", cause)))
          // Stays: an error without a listener would end the process.
          socket.on("error", onError)
          socket.once("close", () => onError())
          socket.once(secure ? "secureConnect" : "connect", () => resume(Effect.void))
        }).pipe(within(connectTimeout, "connect", "no connection was made in time"))
      ),
      Effect.tap((socket) =>
        isAt(socket, address) ? Effect.void : Effect.fail(failure("connect", "the connection leads elsewhere"))
      )
    )

  const begin = <E>(request: PinnedHttp.Request<E>, socket: Net.Socket) => {
    const head = Deferred.makeUnsafe<Http.IncomingMessage, PinnedHttp.PinnedHttpError>()
    const fail = (reason: Reason, message: string, cause?: unknown) =>
      void Deferred.doneUnsafe(head, Effect.fail(failure(reason, message, cause)))
    const acquire = Effect.try({
      try: () => {
        const { authority, body, headers, method, target } = request
        const message = Http.request({
          createConnection: () => socket,
          method,
          path: target,
          setHost: false,
          headers: {
            host: authority,
            ...headers,
            connection: "close",
            ...(body &&
              (body.length === undefined ? { "transfer-encoding": "chunked" } : { "content-length": body.length }))
          },
          maxHeaderSize: maxHeaderBytes,
          insecureHTTPParser: false
        })
        message.maxHeadersCount = maxHeaders + 1
        let informational = 0
        let arrived: Http.IncomingMessage | undefined
        const refuse = (problem: string) => {
          fail("receive", problem)
          message.destroy()
        }
        message.on("response", (response) => {
          response.on("error", () => {})
          arrived = response
          if (response.rawHeaders.length > 2 * maxHeaders) return refuse("the response has too many headers")
          if (!Deferred.doneUnsafe(head, Effect.succeed(response))) message.destroy()
        })
        message.on("information", () => {
          if (++informational > maxInformational) refuse("the response does not begin")
        })
        message.on("upgrade", (_, upgraded) => {
          upgraded.destroy()
          refuse("the server switched to another protocol")
        })
        message.on("error", (cause) => {
          fail("receive", "the response failed", cause)
          // Else a body without a length would seem to end here.
          arrived?.destroy(cause)
        })
        message.on("close", () => fail("receive", "the connection was closed before the response"))
        if (body !== undefined) message.flushHeaders()
        return message
      },
      catch: (cause) => failure("send", "the request cannot be written", cause)
    })
    return Effect.map(
      Effect.acquireRelease(acquire, (message) => Effect.sync(() => message.destroy())),
      (message) => ({ message, head: Deferred.await(head) })
    )
  }

  const write = (message: Http.ClientRequest, part: Uint8Array) =>
    Effect.callback<void, PinnedHttp.PinnedHttpError>((resume) => {
      message.write(part, (cause) =>
        resume(cause ? Effect.fail(failure("send", "the request failed", cause)) : Effect.void)
      )
    }).pipe(within(headersTimeout, "send", "the server took no more of the request"))

  /** Never more and never less than was announced: what is beyond would be read as another request. */
  const upload = Effect.fnUntraced(function* <E>(
    message: Http.ClientRequest,
    { content, length }: PinnedHttp.Body<E>
  ): Effect.fn.Return<void, PinnedHttp.PinnedHttpError | E> {
    let sent = 0
    yield* Stream.runForEach(content, (part) => {
      sent += part.byteLength
      if (length !== undefined && sent > length)
        return Effect.fail(failure("send", `the body has more than ${length} bytes`))
      return part.byteLength === 0 ? Effect.void : write(message, part)
    })
    if (length !== undefined && sent < length) {
      return yield* failure("send", `the body has ${sent} bytes instead of ${length}`)
    }
  })

  /** Destroys a line on which nothing moves. */
  const giveUpWhenIdle = Effect.fnUntraced(function* (socket: Net.Socket) {
    for (let before = -1; ;) {
      const now = socket.bytesRead + socket.bytesWritten
      if (now === before) return socket.destroy(new Error("nothing passed for too long"))
      before = now
      yield* Effect.sleep(idleTimeout)
    }
  })

  const send = <E>(
    request: PinnedHttp.Request<E>
  ): Effect.Effect<PinnedHttp.Response, PinnedHttp.PinnedHttpError | E, Scope.Scope> =>
    Effect.gen(function* () {
      const socket = yield* connect(request)
      const { head, message } = yield* begin(request, socket)
      const sent = yield* Deferred.make<void, PinnedHttp.PinnedHttpError | E>()
      yield* (request.body === undefined ? Effect.void : upload(message, request.body)).pipe(
        Effect.andThen(Effect.sync(() => message.end())),
        Effect.onError(() => Effect.sync(() => message.destroy(new Error("the request failed")))),
        Deferred.into(sent),
        Effect.forkScoped({ startImmediately: true })
      )
      const late = within(headersTimeout, "receive", "the response did not begin in time")
      // A response may begin while the request is still under way; a request that fails leaves nothing to wait for.
      const response = yield* Effect.raceFirst(head, Effect.andThen(Deferred.await(sent), late(Effect.never)))
      yield* Effect.forkScoped(giveUpWhenIdle(socket))
      return {
        status: response.statusCode ?? 0,
        headers: Headers.fromInput(response.headers),
        setCookies: response.headers["set-cookie"] ?? [],
        body: NodeStream.fromReadable<Uint8Array, PinnedHttp.PinnedHttpError>({
          evaluate: () => response,
          onError: (cause) => failure("receive", "the response broke off", cause)
        })
      }
    })

  return PinnedHttp.PinnedHttp.of({ resolve, send })
}

const isUnscoped = (address: NetAddress.IpAddress): boolean =>
  NetAddress.isIpv6Address(address) && NetAddress.isLinkLocal(address)

/** Whether the socket is connected to just this address. */
const isAt = (socket: Net.Socket, address: NetAddress.IpAddress): boolean => {
  const peer = NetAddress.ipFromString(socket.remoteAddress ?? "")
  return Result.isSuccess(peer) && Equal.equals(NetAddress.toCanonical(peer.success), NetAddress.toCanonical(address))
}

/**
 * Names are looked up by the `Dns` that is provided.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDns = (options?: Options): Layer.Layer<PinnedHttp.PinnedHttp, never, Dns.Dns> =>
  Layer.effect(
    PinnedHttp.PinnedHttp,
    Effect.map(Dns.Dns, (dns) => make(dns, options))
  )

/**
 * Names are looked up as the operating system does.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<PinnedHttp.PinnedHttp> =>
  Layer.provide(layerDns(options), NodeDns.layer)
