/**
 * One exchange with the administration of an upstream. What comes back can hold secrets, so of a failure only its kind is told.
 */
import { DateTime, Duration, Effect, Option, Ref, Stream } from "effect"
import { FetchHttpClient, HttpClient, type HttpClientRequest } from "effect/http"
import * as CredentialProvisioner from "../../authority/CredentialProvisioner.ts"
import * as Loopback from "../../transport/Loopback.ts"

export interface Reply {
  readonly status: number
  /** As JSON; nothing if it is none. */
  readonly body: unknown
  /** Milliseconds. */
  readonly retryAfter: number | undefined
}

export interface Upstream {
  readonly send: (
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<Reply, CredentialProvisioner.ProvisionError>
  readonly fail: (
    reason: CredentialProvisioner.Reason,
    message: string,
    retryAfter?: number
  ) => CredentialProvisioner.ProvisionError
  /** What a status means that is no success, for any upstream. */
  readonly refusal: (reply: Reply) => CredentialProvisioner.ProvisionError
}

/** The longest answer that is read, in bytes. */
const maxBody = 1024 * 1024

/** `Retry-After` is a number of seconds or a date (RFC 9110, section 10.2.3). */
const retryAfterOf = (header: string | undefined, now: number): number | undefined => {
  if (header === undefined) return undefined
  if (/^\d{1,10}$/.test(header)) return Number(header) * 1000
  return Option.match(DateTime.make(header), {
    onNone: () => undefined,
    onSome: (at) => Math.max(0, DateTime.toEpochMillis(at) - now)
  })
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const make = Effect.fnUntraced(function* (name: string, timeout: Duration.Duration) {
  const client = HttpClient.withScope(yield* HttpClient.HttpClient)

  const fail: Upstream["fail"] = (reason, message, retryAfter) =>
    new CredentialProvisioner.ProvisionError({
      provisioner: name,
      reason,
      message,
      ...(retryAfter === undefined ? undefined : { retryAfter })
    })

  const exchange = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest) {
    const response = yield* client.execute(request)
    const size = yield* Ref.make(0)
    const text = yield* response.stream.pipe(
      Stream.tap((bytes) =>
        Effect.filterOrFail(
          Ref.updateAndGet(size, (size) => size + bytes.length),
          (size) => size <= maxBody,
          () => fail("Malformed", `an answer of more than ${maxBody} bytes`)
        )
      ),
      Stream.decodeText,
      Stream.mkString
    )
    const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    return {
      status: response.status,
      body: parse(text),
      retryAfter: retryAfterOf(response.headers["retry-after"], now)
    }
  })

  const upstream: Upstream = {
    fail,
    send: (request) =>
      Effect.scoped(exchange(request)).pipe(
        // Its text may quote what was sent or received.
        Effect.catchTag("HttpClientError", () => Effect.fail(fail("Unavailable", "the upstream cannot be reached"))),
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () => Effect.fail(fail("Unavailable", `no answer within ${Duration.format(timeout)}`))
        }),
        // Whoever is redirected to would get what is meant for this one.
        Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
        // A span of the client ends with the whole request and response if their status is an error.
        Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
      ),
    refusal: ({ retryAfter, status }) => {
      if (status === 429) return fail("Unavailable", "the upstream asks for patience", retryAfter)
      if (status === 408 || status === 425 || status >= 500) {
        return fail("Unavailable", `the upstream answers ${status}`, retryAfter)
      }
      if (status === 401 || status === 403) {
        return fail("Rejected", `the upstream answers ${status}: it does not let this runtime administer it`)
      }
      return fail("Rejected", `the upstream answers ${status}`)
    }
  }
  return upstream
})

/** An address of an upstream: encrypted, or on this machine. Without a slash at its end. */
export const address = (
  provisioner: string,
  field: string,
  text: string
): Effect.Effect<string, CredentialProvisioner.InvalidProvisioner> => {
  const url = URL.parse(text)
  const problem =
    url === null || (url.protocol !== "https:" && url.protocol !== "http:")
      ? "is not an http or https URL"
      : url.username !== "" || url.password !== ""
        ? "has credentials in it"
        : url.search !== "" || url.hash !== ""
          ? "has a query or a fragment"
          : url.protocol === "http:" && !Loopback.is(url.hostname)
            ? "is neither encrypted nor on this machine"
            : undefined
  return problem === undefined
    ? Effect.succeed(text.replace(/\/+$/, ""))
    : Effect.fail(new CredentialProvisioner.InvalidProvisioner({ provisioner, field, reason: problem }))
}

/** How long one exchange may take if nothing else is said. */
export const defaultTimeout = Duration.seconds(10)
