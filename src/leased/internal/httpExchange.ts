/**
 * One request of a job and its response: admitted by the lease, sent to an address that was judged, ended with the lease (§9.3, §9.5).
 */
import { Duration, Effect, Exit, type Fiber, Option, Result, Scope, Semaphore, Stream } from "effect"
import type { HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import * as Operation from "../../authority/Operation.ts"
import * as PinnedHttp from "../PinnedHttp.ts"
import * as HttpAccess from "./httpAccess.ts"
import * as HttpFailure from "./httpFailure.ts"
import * as HttpMessage from "./httpMessage.ts"
import * as LeasedResponse from "./leasedResponse.ts"

export interface Options {
  readonly maxConnections: number
  readonly maxGathered: number
}

export interface Answer {
  readonly response: HttpClientResponse.HttpClientResponse
  /** Gives the connection up, for a response that nobody reads. */
  readonly discard: Effect.Effect<void>
}

export type HttpExchange = (
  request: HttpClientRequest.HttpClientRequest,
  /** What the request comes to, without fragment. */
  url: URL,
  signal: AbortSignal
) => Effect.Effect<Answer, HttpClientError.HttpClientError>

/** So many of a host's addresses are tried. */
const maxAttempts = 8

/** How long a request waits while its job has as many connections as it may have. */
const patience = Duration.seconds(10)

const withoutBody: ReadonlySet<number> = new Set([204, 205, 304])

const { denied, transport } = HttpFailure

export const make = (
  http: PinnedHttp.PinnedHttp["Service"],
  guard: LeaseGuard.LeaseGuard["Service"],
  { maxConnections, maxGathered }: Options
): HttpExchange => {
  const access = HttpAccess.make(http, guard)
  const places = Semaphore.makeUnsafe(maxConnections)

  const takePlace = (request: HttpClientRequest.HttpClientRequest) =>
    Effect.timeoutOrElse(places.takeScoped(1), {
      duration: patience,
      orElse: () =>
        Effect.fail(
          transport(
            request,
            `${maxConnections} responses of this job are open: read them to the end, or interrupt them`
          )
        )
    })

  /** Sends the request in the scope of the connection. */
  const send = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest, url: URL) {
    const { addresses, operation, ...place } = yield* access.admit(request, url)
    const { body, ...message } = yield* HttpMessage.make(request, place.authority)
    yield* takePlace(request)
    const whileAlive = body && {
      length: body.length,
      content: Stream.tap(body.content, () =>
        Effect.mapError(access.alive(operation), (cause) => denied(request, cause))
      )
    }
    let last: PinnedHttp.PinnedHttpError | undefined
    for (const address of addresses.slice(0, maxAttempts)) {
      yield* access.authorize(request, operation)
      const scope = yield* Effect.flatMap(Effect.scope, Scope.fork)
      const sent = yield* Effect.result(
        Scope.provide(http.send({ ...place, ...message, address, body: whileAlive }), scope)
      )
      if (Result.isSuccess(sent)) return { ...sent.success, operation }
      const error = sent.failure
      yield* Scope.close(scope, Exit.fail(error))
      if (!(error instanceof PinnedHttp.PinnedHttpError)) return yield* error
      if (error.reason !== "connect") return yield* transport(request, error.message, error)
      last = error
    }
    return yield* transport(request, last?.message ?? "the host has no address", last)
  })

  const untilExpiry = <A, R>(
    request: HttpClientRequest.HttpClientRequest,
    effect: Effect.Effect<A, HttpClientError.HttpClientError, R>
  ) =>
    Option.match(access.expiry, {
      onNone: () => effect,
      onSome: (expiry) =>
        Effect.raceFirst(
          effect,
          Effect.mapError(expiry(Operation.netFetch(request.url)), (cause) => denied(request, cause))
        )
    })

  const guarded = (body: PinnedHttp.Response["body"], operation: Operation.Operation) => {
    const alive = Stream.tap(body, () => access.alive(operation))
    return Option.match(access.expiry, {
      onNone: () => alive,
      onSome: (expiry) => Stream.interruptWhen(alive, expiry(operation))
    })
  }

  return (request, url, signal) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.withFiber((fiber: Fiber.Fiber<unknown, unknown>) => {
        const scope = Scope.makeUnsafe()
        const discard = Scope.close(scope, Exit.void)
        const onAbort = () => void Effect.runForkWith(fiber.context)(discard)
        signal.addEventListener("abort", onAbort, { once: true })
        if (signal.aborted) onAbort()
        return Scope.addFinalizer(
          scope,
          Effect.sync(() => signal.removeEventListener("abort", onAbort))
        ).pipe(
          Effect.andThen(restore(Scope.provide(untilExpiry(request, send(request, url)), scope))),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause))),
          Effect.flatMap(({ body, headers, operation, setCookies, status }) => {
            const empty =
              request.method.toUpperCase() === "HEAD" || withoutBody.has(status) || headers["content-length"] === "0"
            const response = LeasedResponse.make({
              request,
              url: url.href,
              status,
              headers,
              setCookies,
              maxGathered,
              body: empty ? Stream.empty : Stream.ensuring(guarded(body, operation), discard)
            })
            return Effect.as(empty ? discard : Effect.void, { response, discard })
          })
        )
      })
    )
}
