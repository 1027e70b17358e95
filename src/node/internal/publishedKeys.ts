/**
 * Keys that an issuer publishes, kept as long as they may be and fetched again when they must be.
 */
import { Clock, Effect, Fiber, Option, Result, Schema, type Scope, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"

/** Keys of type `A`, as they are made from what was fetched. */
export interface PublishedKeys<A> {
  /** Those that are known, after a fetch if they are too old; none if they cannot be had. */
  readonly current: Effect.Effect<Option.Option<A>>
  /** Others than these, for a token whose key is not among them. None if it is too early to ask again, or there are no others. */
  readonly otherThan: (known: A) => Effect.Effect<Option.Option<A>>
}

export interface Options<A> {
  readonly url: URL
  readonly maxBytes: number
  /** How long a fetch may take, in milliseconds, as all of these. */
  readonly timeout: number
  /** When keys are fetched again. */
  readonly refreshAfter: number
  /** How long keys serve that cannot be fetched again. */
  readonly keepFor: number
  /** How long after a fetch an unknown key causes no other. */
  readonly cooldown: number
  /** Reads what was fetched; throws if it means nothing. */
  readonly read: (json: unknown) => A
}

/** How long after a fetch that failed there is no other. */
const retryAfter = 1000

class Unreadable extends Schema.TaggedError<Unreadable>("arcp/node/Unreadable")("Unreadable", {
  message: Schema.String
}) {}

/** No redirect is followed: it would lead to where nobody said that the keys are. */
export const make = <A>({
  cooldown,
  keepFor,
  maxBytes,
  read,
  refreshAfter,
  timeout,
  url
}: Options<A>): Effect.Effect<PublishedKeys<A>, never, HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function* () {
    const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
    const scope = yield* Effect.scope
    // Time that passes, not that of the day: keys serve no longer when a clock is set back.
    const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))
    let known: { readonly keys: A; readonly at: number } | undefined
    let tried: { readonly at: number; readonly failed: boolean } | undefined
    let running: Fiber.Fiber<void> | undefined

    const fetched = Effect.gen(function* () {
      const request = HttpClientRequest.acceptJson(HttpClientRequest.get(url))
      const { stream } = yield* Effect.provideService(client.execute(request), FetchHttpClient.RequestInit, {
        redirect: "error"
      })
      const chunks: Array<Uint8Array> = []
      yield* Stream.runFoldEffect(
        stream,
        () => 0,
        (size, chunk) => {
          chunks.push(chunk)
          return size + chunk.length > maxBytes
            ? Effect.fail(new Unreadable({ message: `more than ${maxBytes} bytes were sent` }))
            : Effect.succeed(size + chunk.length)
        }
      )
      const decoder = new TextDecoder()
      const text = chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode()
      return yield* Effect.try({
        try: () => read(JSON.parse(text)),
        catch: () => new Unreadable({ message: "what was sent is no set of keys" })
      })
    }).pipe(
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(new Unreadable({ message: `it took longer than ${timeout} ms` }))
      })
    )

    const fetch = Effect.gen(function* () {
      tried = { at: yield* now, failed: true }
      const result = yield* Effect.result(fetched)
      const at = yield* now
      tried = { at, failed: Result.isFailure(result) }
      if (Result.isSuccess(result)) {
        known = { keys: result.success, at }
      } else {
        const reason = result.failure.message
        yield* Effect.logWarning("The keys of an issuer could not be fetched", { host: url.host, reason })
      }
    }).pipe(
      Effect.interruptible,
      Effect.ensuring(
        Effect.sync(() => {
          running = undefined
        })
      )
    )

    /** One at a time. It goes on when who waits for it goes: else guests who leave early could keep the keys from ever coming. */
    const refresh = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        running ??= yield* Effect.forkIn(fetch, scope)
        yield* restore(Fiber.await(running))
      })
    )

    const isDue = (at: number, pause: number): boolean =>
      running !== undefined ||
      tried === undefined ||
      at - tried.at >= (tried.failed ? Math.min(retryAfter, pause) : pause)

    const current = Effect.gen(function* () {
      const at = yield* now
      if ((known === undefined || at - known.at >= refreshAfter) && isDue(at, retryAfter)) yield* refresh
      return known !== undefined && (yield* now) - known.at < keepFor ? Option.some(known.keys) : Option.none<A>()
    })

    const otherThan = Effect.fnUntraced(function* (before: A) {
      if (known?.keys === before && isDue(yield* now, cooldown)) yield* refresh
      return known === undefined || known.keys === before ? Option.none<A>() : Option.some(known.keys)
    })

    return { current, otherThan }
  })
