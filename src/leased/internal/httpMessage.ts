/**
 * What of an agent's request goes on the wire: its method, its headers and its body, checked.
 *
 * Between the lines of a request an agent could hide a second one, for a place that no lease covers. So whatever frames the message is set
 * by the host: its lengths, the life of the connection, and where it goes.
 */
import { Effect, Result, Stream } from "effect"
import { Headers, type HttpBody, type HttpClientError, type HttpClientRequest } from "effect/http"
import type * as PinnedHttp from "../PinnedHttp.ts"
import * as HttpFailure from "./httpFailure.ts"

export interface HttpMessage {
  readonly method: string
  readonly headers: Headers.Headers
  readonly body: PinnedHttp.Body<HttpClientError.HttpClientError> | undefined
}

const token = /^[\w!#$%&'*+\-.^`|~]+$/

/** One byte each, and no control characters: nothing that could end the line. */
const fieldValue = /^[\t\u0020-\u007e\u0080-\u00ff]*$/

/** Those that `fetch` refuses as well: to tunnel, and to have all that was sent reflected. */
const forbiddenMethods: ReadonlySet<string> = new Set(["CONNECT", "TRACE", "TRACK"])

/** They frame the message or rule the connection. */
const framing: ReadonlySet<string> = new Set([
  "connection",
  "expect",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade"
])

/** With them a server, or a proxy before it, takes the request for another host or path than the one that was judged. */
const placing =
  /^(?:forwarded|x-forwarded(?:-.*)?|x-host|x-http-host-override|x-original-(?:host|uri|url)|x-override-url|x-rewrite-url)$/

const bodiless: ReadonlySet<string> = new Set(["GET", "HEAD"])

/** An empty body is announced where one would be expected. */
const bodied: ReadonlySet<string> = new Set(["PATCH", "POST", "PUT"])

const { malformed } = HttpFailure

const methodOf = (request: HttpClientRequest.HttpClientRequest) => {
  const method = request.method.toUpperCase()
  return token.test(method) && !forbiddenMethods.has(method)
    ? Result.succeed(method)
    : Result.fail(malformed(request, `the method ${JSON.stringify(method.slice(0, 32))} is not sent`))
}

/** `authority` is the one value that `Host` may have. */
const headersOf = (
  request: HttpClientRequest.HttpClientRequest,
  authority: string
): Result.Result<Headers.Headers, HttpClientError.HttpClientError> => {
  const sent: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.headers)) {
    const shown = JSON.stringify(name.slice(0, 64))
    if (!token.test(name)) return Result.fail(malformed(request, `${shown} is not the name of a header`))
    if (typeof value !== "string" || !fieldValue.test(value)) {
      return Result.fail(malformed(request, `the header ${shown} has characters that none may have`))
    }
    if (name === "content-length" || (name === "host" && value === authority)) continue
    // To many servers a_b and a-b are one name.
    const plain = name.replaceAll("_", "-")
    if (framing.has(plain) || placing.test(plain) || plain === "host" || plain === "content-length") {
      const reason = `the header ${shown} is the host's to set`
      return Result.fail(HttpFailure.denied(request, HttpFailure.because(request.url, reason, { header: name })))
    }
    sent[name] = value
  }
  // What is not undone here is not asked for.
  return Result.succeed(Headers.fromInput({ "accept-encoding": "identity", ...sent }))
}

const bytes = (content: Uint8Array): PinnedHttp.Body<never> => ({
  length: content.byteLength,
  content: Stream.succeed(content)
})

const utf8 = new TextEncoder()

const rawBody = (request: HttpClientRequest.HttpClientRequest, body: HttpBody.Raw) => {
  const content = body.body
  if (typeof content === "string") return Result.succeed(bytes(utf8.encode(content)))
  if (content instanceof ArrayBuffer) return Result.succeed(bytes(new Uint8Array(content)))
  if (ArrayBuffer.isView(content)) {
    return Result.succeed(bytes(new Uint8Array(content.buffer, content.byteOffset, content.byteLength)))
  }
  if (content instanceof ReadableStream || content instanceof Blob) {
    return Result.succeed<PinnedHttp.Body<HttpClientError.HttpClientError>>({
      length: content instanceof Blob ? content.size : body.contentLength,
      content: Stream.fromReadableStream({
        evaluate: () => (content instanceof Blob ? content.stream() : content),
        onError: (cause) => malformed(request, "the body failed", cause)
      })
    })
  }
  return Result.fail(malformed(request, "a raw body is a string, bytes, a Blob or a ReadableStream of bytes"))
}

const formBody = (request: HttpClientRequest.HttpClientRequest, form: FormData) =>
  Effect.tryPromise({
    try: async () => {
      const encoded = new globalThis.Response(form)
      return {
        contentType: encoded.headers.get("content-type") ?? "multipart/form-data",
        content: new Uint8Array(await encoded.arrayBuffer())
      }
    },
    catch: (cause) => malformed(request, "the form failed", cause)
  })

/** Whether the body can be sent once more, after a redirect. */
export const isReplayable = ({ body }: HttpClientRequest.HttpClientRequest): boolean =>
  body._tag !== "Stream" && !(body._tag === "Raw" && body.body instanceof ReadableStream)

/** Fails for what would not reach the server as it was meant; nothing is left out in silence. */
export const make = Effect.fnUntraced(function* (
  request: HttpClientRequest.HttpClientRequest,
  authority: string
): Effect.fn.Return<HttpMessage, HttpClientError.HttpClientError> {
  const method = yield* Effect.fromResult(methodOf(request))
  const headers = yield* Effect.fromResult(headersOf(request, authority))
  const { body } = request
  if (body._tag === "Empty") {
    return { method, headers, body: bodied.has(method) ? { length: 0, content: Stream.empty } : undefined }
  }
  // Servers disagree about where such a request ends.
  if (bodiless.has(method)) return yield* malformed(request, `a ${method} request has no body`)
  switch (body._tag) {
    case "Uint8Array":
      return { method, headers, body: bytes(body.body) }
    case "Raw":
      return { method, headers, body: yield* Effect.fromResult(rawBody(request, body)) }
    case "FormData": {
      const { content, contentType } = yield* formBody(request, body.formData)
      return { method, headers: Headers.set(headers, "content-type", contentType), body: bytes(content) }
    }
    case "Stream":
      return {
        method,
        headers,
        body: {
          length: body.contentLength,
          content: Stream.mapError(body.stream, (cause) => malformed(request, "the body failed", cause))
        }
      }
  }
})
