/**
 * What a host has to do so that a request goes where the lease was asked about, and nowhere else (§9.3).
 *
 * A host name is resolved once. Its addresses are judged by whoever asks, and the request is sent over a connection to exactly the address
 * that was chosen. The name is looked up nowhere else, so a resolver that answers differently the second time is not asked a second time.
 *
 * @since 0.1.0
 */
import { Context, type Effect, Schema, type Scope, type Stream } from "effect"
import type { Headers } from "effect/http"
import type { NetAddress } from "effect/net"

/**
 * Why a request came to nothing. After `connect` nothing was sent yet, so that another address may be tried.
 *
 * @category errors
 * @since 0.1.0
 */
export class PinnedHttpError extends Schema.TaggedError<PinnedHttpError>("arcp/PinnedHttpError")("PinnedHttpError", {
  reason: Schema.Literals(["resolve", "connect", "send", "receive"]),
  message: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {}

/**
 * What is sent after the headers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Body<E> {
  /** In bytes; the content has exactly so many. Without it the content is sent in chunks. */
  readonly length: number | undefined
  readonly content: Stream.Stream<Uint8Array, E>
}

/**
 * A request, and the one address that it may go to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request<E> {
  /** Where to connect. */
  readonly address: NetAddress.IpAddress
  readonly port: number
  /** Whether to speak TLS. The certificate has to be good for `host`. */
  readonly secure: boolean
  /** The host of the URL, a name or an address, without brackets: what TLS asks for. */
  readonly host: string
  /** The value of the header `Host`. */
  readonly authority: string
  readonly method: string
  /** Path and query, as they stand in the request line. */
  readonly target: string
  /** All but `Host` and those that frame the message, which are the host's to set. */
  readonly headers: Headers.Headers
  readonly body: Body<E> | undefined
}

/**
 * The head of a response, and its body as it comes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Response {
  /** Never one of the 1xx. */
  readonly status: number
  readonly headers: Headers.Headers
  /** The values of `Set-Cookie`, one by one. */
  readonly setCookies: ReadonlyArray<string>
  /** As it was sent: content codings are not undone. Read at most once, and no faster than it is pulled. */
  readonly body: Stream.Stream<Uint8Array, PinnedHttpError>
}

/**
 * A port. Whoever implements it follows no redirect, sends no header of its own besides those named, adds no credentials, heeds no proxy of
 * the environment, and shares no connection between requests. It bounds the time to resolve, to connect and until the headers of the
 * response are there, and the size of these.
 *
 * @category ports
 * @since 0.1.0
 */
export class PinnedHttp extends Context.Service<
  PinnedHttp,
  {
    /** All addresses of this name, at least one, in the order of preference. */
    readonly resolve: (host: string) => Effect.Effect<ReadonlyArray<NetAddress.IpAddress>, PinnedHttpError>
    /**
     * Sends one request and gives the response once its headers are there; what is left of the request is sent meanwhile. The scope owns the
     * connection: closing it ends whatever is under way.
     */
    readonly send: <E>(request: Request<E>) => Effect.Effect<Response, PinnedHttpError | E, Scope.Scope>
  }
>()("arcp/leased/PinnedHttp") {}
