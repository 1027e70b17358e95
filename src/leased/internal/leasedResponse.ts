/**
 * A response whose body ends with the lease: each part of it is handed on only while the lease lasts (§9.5).
 */
import { Bytes, Effect, Inspectable, Option, Pipeable, type Schema, Stream } from "effect"
import {
  Cookies,
  type Headers,
  HttpClientError,
  type HttpClientRequest,
  HttpClientResponse,
  HttpIncomingMessage,
  UrlParams
} from "effect/http"

export interface Options {
  readonly request: HttpClientRequest.HttpClientRequest
  /** Where it came from, without fragment. */
  readonly url: string
  readonly status: number
  readonly headers: Headers.Headers
  readonly setCookies: ReadonlyArray<string>
  /** Read at most once. */
  readonly body: Stream.Stream<Uint8Array, Error>
  /** The most that is gathered of it in memory, in bytes. */
  readonly maxGathered: number
}

type Failing<A> = Effect.Effect<A, HttpClientError.HttpClientError>

const once = <A>(effect: Failing<A>): Failing<A> => Effect.runSync(Effect.cached(effect))

const utf8 = new TextDecoder()
const form = new TextDecoder("utf-8", { ignoreBOM: true })

class LeasedResponse extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId]: typeof HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: typeof HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly request: HttpClientRequest.HttpClientRequest
  readonly url: string
  readonly status: number
  readonly headers: Headers.Headers
  readonly cookies: Cookies.Cookies
  readonly remoteAddress = Option.none<string>()
  readonly stream: Stream.Stream<Uint8Array, HttpClientError.HttpClientError>
  readonly arrayBuffer: Failing<ArrayBuffer>
  readonly text: Failing<string>
  readonly json: Failing<Schema.Json>
  readonly urlParamsBody: Failing<UrlParams.UrlParams>
  readonly formData: Failing<FormData>
  readonly upgrade: HttpClientResponse.HttpClientResponse["upgrade"]

  constructor({ body, headers, maxGathered, request, setCookies, status, url }: Options) {
    super()
    this.request = request
    this.url = url
    this.status = status
    this.headers = headers
    this.cookies = Cookies.fromSetCookie(setCookies)
    this.stream = Stream.mapError(body, (cause) => this.failure(cause.message, cause))
    this.arrayBuffer = once(Effect.suspend(() => this.gather(maxGathered)))
    this.text = Effect.map(this.arrayBuffer, (bytes) => utf8.decode(bytes))
    this.json = this.decode(this.text, (text): Schema.Json => (text === "" ? null : JSON.parse(text)))
    this.urlParamsBody = this.decode(this.arrayBuffer, (bytes) =>
      // A leading "?" is form data, not the mark of a query.
      UrlParams.fromInput(new URLSearchParams(form.decode(bytes).replace(/^\?/, "%3F")))
    )
    this.formData = once(
      Effect.flatMap(this.arrayBuffer, (bytes) =>
        Effect.tryPromise({
          try: () => new Response(bytes, { headers: { "content-type": headers["content-type"] ?? "" } }).formData(),
          catch: (cause) => this.failure("the body is no form", cause)
        })
      )
    )
    this.upgrade = Effect.suspend(() =>
      Effect.fail(
        new HttpClientError.HttpClientError({
          reason: new HttpClientError.StatusCodeError({
            request,
            response: this,
            description: "under a lease no connection is handed over"
          })
        })
      )
    )
  }

  private failure(description: string, cause?: unknown): HttpClientError.HttpClientError {
    return new HttpClientError.HttpClientError({
      reason: new HttpClientError.DecodeError({
        request: this.request,
        response: this,
        description,
        ...(cause === undefined ? undefined : { cause })
      })
    })
  }

  private decode<A, B>(source: Failing<A>, read: (source: A) => B): Failing<B> {
    return Effect.flatMap(source, (value) =>
      Effect.try({ try: () => read(value), catch: (cause) => this.failure("the body cannot be read", cause) })
    )
  }

  private gather(maxGathered: number): Failing<ArrayBuffer> {
    return Effect.gen({ self: this }, function* () {
      const asked = yield* HttpIncomingMessage.MaxBodySize
      const limit = asked === undefined ? maxGathered : Math.min(maxGathered, Number(asked))
      const parts: Array<Uint8Array> = []
      let size = 0
      yield* Stream.runForEach(this.stream, (part) => {
        size += part.byteLength
        if (size > limit) return Effect.fail(this.failure(`the body has more than ${limit} bytes: read it as a stream`))
        parts.push(part)
        return Effect.void
      })
      return Bytes.concat(parts).buffer
    })
  }

  toJSON(): unknown {
    return HttpIncomingMessage.inspect(this, {
      _id: "HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status
    })
  }

  pipe() {
    return Pipeable.pipeArguments(this, arguments)
  }
}

export const make = (options: Options): HttpClientResponse.HttpClientResponse => new LeasedResponse(options)
