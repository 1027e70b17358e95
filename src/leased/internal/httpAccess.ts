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
  /** What the lease has to cover for it, still to be asked. */
  readonly operation: Operation.Operation
}

export interface HttpAccess {
  /** Finds where a request goes, if it may go anywhere. `url` is what it comes to, with its parameters and without fragment. */
  readonly admit: (
    request: HttpClientRequest.HttpClientRequest,
    url: URL
  ) => Effect.Effect<Place, HttpClientError.HttpClientError>
  /** Asks the lease. Run it right before the operation. */
  readonly authorize: (
    request: HttpClientRequest.HttpClientRequest,
    operation: Operation.Operation
  ) => Effect.Effect<void, HttpClientError.HttpClientError>
  /** Whether an operation that has begun may go on. What was begun before the budget was spent may come to its end. */
  readonly alive: (operation: Operation.Operation) => Effect.Effect<void, LeaseGuard.Denial>
  /** Waits for the end of the lease and fails with it; nothing if it has none. */
  readonly expiry: Option.Option<(operation: Operation.Operation) => Effect.Effect<never, LeaseGuard.Denial>>
}

const schemes: ReadonlySet<string> = new Set(["http", "https"])

const defaultPort: Readonly<Record<string, string>> = { http: "80", https: "443" }

export const make = (http: PinnedHttp.PinnedHttp["Service"], guard: LeaseGuard.LeaseGuard["Service"]): HttpAccess => {
  const authorize: HttpAccess["authorize"] = (request, operation) =>
    Effect.mapError(guard.authorize(operation), (cause) => HttpFailure.denied(request, cause))

  const alive: HttpAccess["alive"] = (operation) =>
    Effect.catchTag(guard.authorize(operation), "BudgetExhausted", () => Effect.void)

  const expiry: HttpAccess["expiry"] = Option.map(guard.lease.expiresAt, (at) =>
    Effect.fnUntraced(function* (operation) {
      yield* Effect.sleep(Math.max(0, at - (yield* Clock.currentTimeMillis)))
      // The guard decides, by a clock of its own.
      for (;;) {
        yield* alive(operation)
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
    // As it was written: what the parser would mend in silence is refused.
    yield* authorize(request, Operation.netFetch(request.url))
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
    return {
      secure: scheme === "https",
      host: host.replace(/^\[(.*)\]$/, "$1"),
      port: Number(port),
      authority: port === defaultPort[scheme] ? host : `${host}:${port}`,
      target: path + url.search,
      addresses,
      operation: demand === "named" ? Operation.netFetchInside(url.href) : Operation.netFetch(url.href)
    }
  })

  return { admit, authorize, alive, expiry }
}
