/**
 * Asks a job's lease about a URL and then about where its host leads, and hands back where to connect (§9.2, §9.3).
 */
import { Clock, Effect, Option, Result } from "effect"
import type { HttpClientError, HttpClientRequest } from "effect/http"
import { Host, type NetAddress } from "effect/net"
import * as CanonicalUrl from "../../authority/CanonicalUrl.ts"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import * as NetworkAddress from "../../authority/NetworkAddress.ts"
import * as Operation from "../../authority/Operation.ts"
import type * as PinnedHttp from "../PinnedHttp.ts"
import * as HttpFailure from "./httpFailure.ts"

/** A request that was admitted: where it goes, in the spelling that was judged. */
export interface Place {
  readonly secure: boolean
  /** Without brackets. */
  readonly host: string
  readonly port: number
  readonly authority: string
  readonly target: string
  readonly addresses: ReadonlyArray<NetAddress.IpAddress>
  /** Asks again, right before it is used. */
  readonly check: Effect.Effect<void, HttpClientError.HttpClientError>
}

export interface HttpAccess {
  /** `url` is what the request comes to, with its parameters and without fragment. */
  readonly admit: (
    request: HttpClientRequest.HttpClientRequest,
    url: URL
  ) => Effect.Effect<Place, HttpClientError.HttpClientError>
  /** Fails once the lease is over. What was begun before the budget was spent may come to its end. */
  readonly alive: Effect.Effect<void, LeaseGuard.Denial>
  /** Waits for the end of the lease and fails with it; nothing if it has none. */
  readonly expiry: Option.Option<Effect.Effect<never, LeaseGuard.Denial>>
}

const schemes: ReadonlySet<string> = new Set(["http", "https"])

const defaultPort: Readonly<Record<string, string>> = { http: "80", https: "443" }

/** The end of the lease is looked at before anything else that it says, so any operation will do. */
const anything = Operation.netFetch("https://localhost/")

export const make = (http: PinnedHttp.PinnedHttp["Service"], guard: LeaseGuard.LeaseGuard["Service"]): HttpAccess => {
  const alive: HttpAccess["alive"] = guard
    .authorize(anything)
    .pipe(Effect.catchTags({ PermissionDenied: () => Effect.void, BudgetExhausted: () => Effect.void }))

  const expiry = Option.map(guard.lease.expiresAt, (at) =>
    Effect.gen(function* () {
      yield* Effect.sleep(Math.max(0, at - (yield* Clock.currentTimeMillis)))
      // The guard decides, by a clock of its own.
      for (;;) {
        yield* alive
        yield* Effect.sleep(1000)
      }
    })
  )

  const addressesOf = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest, host: string) {
    const literal = NetworkAddress.literal(host)
    if (Option.isSome(literal)) return [literal.value]
    if (Result.isFailure(Host.domainNameFromString(host))) {
      return yield* HttpFailure.denied(request, HttpFailure.because(request.url, "its host is not a name of DNS"))
    }
    return yield* Effect.mapError(http.resolve(host), (error) => HttpFailure.transport(request, error.message, error))
  })

  const admit: HttpAccess["admit"] = Effect.fnUntraced(function* (request, url) {
    const authorize = (operation: Operation.Operation) =>
      Effect.mapError(guard.authorize(operation), (cause) => HttpFailure.denied(request, cause))

    // As it was written, too: what the parser would mend in silence is refused.
    yield* authorize(Operation.netFetch(request.url))
    yield* authorize(Operation.netFetch(url.href))
    const judged = CanonicalUrl.parse(url.href)
    if (Result.isFailure(judged)) {
      return yield* HttpFailure.denied(request, HttpFailure.because(url.href, judged.failure))
    }
    const { host, path, port, scheme } = judged.success
    if (!schemes.has(scheme)) return yield* HttpFailure.transport(request, "only http and https are sent")

    const addresses = yield* addressesOf(request, host)
    const demand = NetworkAddress.demandOf(host, addresses)
    if (demand === "refused") {
      const reason = "it leads to a special address, which only a URL and a pattern with that address itself may reach"
      return yield* HttpFailure.denied(request, HttpFailure.because(url.href, reason))
    }
    const check = authorize(demand === "named" ? Operation.netFetchInside(url.href) : Operation.netFetch(url.href))
    yield* check
    return {
      secure: scheme === "https",
      host: host.replace(/^\[(.*)\]$/, "$1"),
      port: Number(port),
      authority: port === defaultPort[scheme] ? host : `${host}:${port}`,
      target: path + url.search,
      addresses,
      check
    }
  })

  return { admit, alive, expiry }
}
