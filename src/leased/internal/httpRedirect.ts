/**
 * The request that a redirect asks for, by the rules of `fetch` and of RFC 9110, section 15.4. Whether it may be sent is for the lease to
 * say, as with any other.
 */
import { Option } from "effect"
import { Headers, HttpBody, HttpClientRequest, UrlParams } from "effect/http"
import * as HttpMessage from "./httpMessage.ts"

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** They describe a body. */
const ofBody = ["content-encoding", "content-language", "content-length", "content-location", "content-type"]

/** They are meant for the origin that they were given for. */
const secrets = ["authorization", "cookie", "proxy-authorization", "x-api-key"]

const becomesGet = (status: number, method: string): boolean =>
  status === 303 ? method !== "GET" && method !== "HEAD" : (status === 301 || status === 302) && method === "POST"

export interface Redirect {
  readonly request: HttpClientRequest.HttpClientRequest
  readonly url: URL
}

/**
 * `url` is where the request was sent. `None` if this is no redirect, leads to no URL, or wants a body again that is gone: then the response
 * is the answer.
 */
export const next = (
  request: HttpClientRequest.HttpClientRequest,
  url: URL,
  response: { readonly status: number; readonly headers: Headers.Headers },
  isSecret: (name: string) => boolean = () => false
): Option.Option<Redirect> => {
  const { location } = response.headers
  if (!redirects.has(response.status) || location === undefined) return Option.none()
  const target = URL.parse(location, url)
  if (target === null) return Option.none()
  target.hash = ""
  const bare = becomesGet(response.status, request.method.toUpperCase())
  if (!bare && !HttpMessage.isReplayable(request)) return Option.none()
  const kept = target.origin === url.origin ? [] : Object.keys(request.headers).filter(isSecret).concat(secrets)
  return Option.some({
    url: target,
    request: HttpClientRequest.makeWith(
      bare ? "GET" : request.method,
      target.href,
      UrlParams.empty,
      Option.none(),
      Headers.removeMany(request.headers, bare ? kept.concat(ofBody, "host") : kept.concat("host")),
      bare ? HttpBody.empty : request.body
    )
  })
}
