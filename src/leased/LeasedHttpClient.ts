/**
 * The ordinary `HttpClient` service behind a job's lease (§9.2, §9.3): an agent uses it as it would use the host's, and cannot forget to
 * ask, since every request asks first, and every redirect again.
 *
 * What is judged is the parsed URL, in its one canonical spelling, and that spelling is sent. Where its host leads is judged as well
 * (`NetworkAddress`): the name is resolved once, and the connection goes to an address that was judged. A redirect is followed by hand, up
 * to {@link Options.maxRedirects}, as `fetch` follows it: `POST` becomes `GET` where that is the custom, `Authorization`, `Cookie`,
 * `Proxy-Authorization` and whatever else Effect calls secret stay with the origin that they were given for, and a body that cannot be
 * sent twice is not. A redirect that is not followed is the response. `FetchHttpClient.RequestInit` with `redirect: "manual"` follows none.
 *
 * | what an agent asks for | what becomes of it |
 * | --- | --- |
 * | each method of the service, and `execute` | `net.fetch` of the URL, before the name is resolved and again before the request is sent |
 * | a redirect | `net.fetch` of where it leads; also from https to http, and to another scheme |
 * | the body of a request, and of a response | sent and handed on while the lease lasts; its end cuts them off, also in a silence |
 * | `Host`, whatever frames the message (`Transfer-Encoding`, `Connection`, ...), whatever makes a server take the request for another place (`X-Forwarded-*`, `X-Original-URL`, ...) | refused; `Content-Length` is counted anew |
 * | `CONNECT`, `TRACE`, a `GET` or `HEAD` with a body, an upgrade | refused |
 *
 * The request has a connection of its own. No cookie is kept, no proxy or credential of the host is used, and content codings are neither
 * asked for nor undone. What is gathered in memory (`text`, `json`, ...) is bounded, a stream is not.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Option } from "effect"
import { FetchHttpClient, Headers, HttpClient, type HttpClientRequest, type HttpClientResponse } from "effect/http"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as HttpExchange from "./internal/httpExchange.ts"
import * as HttpFailure from "./internal/httpFailure.ts"
import * as HttpRedirect from "./internal/httpRedirect.ts"
import type * as LeasedJob from "./LeasedJob.ts"
import * as PinnedHttp from "./PinnedHttp.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How many redirects in a row are followed. Default 10. */
  readonly maxRedirects?: number | undefined
  /** How many responses of one job may be open. Those beyond wait for a few seconds, then fail. Default 64. */
  readonly maxConnections?: number | undefined
  /** The most bytes of one body that are gathered in memory. Default 64 MiB. */
  readonly maxGatheredBytes?: number | undefined
}

/**
 * The requests that `http` can send, as far as the lease goes. A refusal is an `HttpClientError` whose `cause` is the `PermissionDenied`,
 * the `LeaseExpired` or the `BudgetExhausted` of the protocol.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  http: PinnedHttp.PinnedHttp["Service"],
  guard: LeaseGuard.LeaseGuard["Service"],
  options: Options = {}
): HttpClient.HttpClient => {
  const exchange = HttpExchange.make(http, guard, {
    maxConnections: options.maxConnections ?? 64,
    maxGathered: options.maxGatheredBytes ?? 64 * 1024 * 1024
  })
  const maxRedirects = options.maxRedirects ?? 10

  return HttpClient.make((first, firstUrl, signal, fiber) => {
    const secrets = fiber.getRef(Headers.CurrentRedactedNames)
    const isSecret = (name: string) => Headers.isRedactedName(name, secrets)
    const redirect = Context.getOrUndefined(fiber.context, FetchHttpClient.RequestInit)?.redirect ?? "follow"

    const send = Effect.fnUntraced(function* (
      request: HttpClientRequest.HttpClientRequest,
      url: URL,
      left: number
    ): Effect.fn.Return<HttpClientResponse.HttpClientResponse, HttpFailure.Failure> {
      const { discard, response } = yield* exchange(request, url, signal)
      const next = redirect === "manual" ? Option.none() : HttpRedirect.next(request, url, response, isSecret)
      if (Option.isNone(next) || left === 0) return response
      yield* discard
      if (redirect === "error") return yield* HttpFailure.transport(request, "there was a redirect")
      return yield* send(next.value.request, next.value.url, left - 1)
    })

    return send(first, withoutFragment(firstUrl), maxRedirects)
  })
}

const withoutFragment = (url: URL): URL => {
  const bare = new URL(url)
  bare.hash = ""
  return bare
}

/**
 * The client of a host that offers none: every request fails as one that a lease does not cover.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusing: HttpClient.HttpClient = HttpClient.make((request) =>
  Effect.fail(HttpFailure.denied(request, HttpFailure.because(request.url, "the host offers no HTTP client")))
)

/**
 * Makes the HTTP client of one job.
 *
 * @category models
 * @since 0.1.0
 */
export type Factory = (job: LeasedJob.LeasedJob) => HttpClient.HttpClient

/**
 * What a runtime makes the HTTP clients of its jobs with; {@link refusing} for all of them unless the host says otherwise.
 *
 * @category services
 * @since 0.1.0
 */
export const LeasedHttpClient = Context.Reference<Factory>("arcp/leased/LeasedHttpClient", {
  defaultValue: () => () => refusing
})

/**
 * Offers HTTP to jobs, each within its lease.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never, never, PinnedHttp.PinnedHttp> =>
  Layer.effect(
    LeasedHttpClient,
    Effect.map(
      PinnedHttp.PinnedHttp,
      (http): Factory =>
        ({ guard }) =>
          make(http, guard, options)
    )
  )
