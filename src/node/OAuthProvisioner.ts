/**
 * Access tokens of an OAuth 2.0 authorization server as credentials (§9.8): by client credentials (RFC 6749, section 4.4), or in exchange
 * for a token that stands for the submitter (RFC 8693). They are renewed before they expire and revoked (RFC 7009) when the job has ended.
 *
 * ```ts
 * import { Layer, Redacted } from "effect"
 * import { FetchHttpClient } from "effect/http"
 * import { OAuthProvisioner } from "effect-arcp/node"
 *
 * const Provisioner = OAuthProvisioner.layer({
 *   tokenUrl: "https://login.example.com/token",
 *   revocationUrl: "https://login.example.com/revoke",
 *   clientId: "arcp",
 *   clientSecret: Redacted.make("secret"),
 *   sealingKey: Redacted.make("3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8="),
 *   endpoint: "https://search.example.com/v2",
 *   scopes: ({ lease }) => lease.granted.has("tool.call") ? ["search.read"] : []
 * }).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * To revoke a token one has to show it, so what is stored of it is the token itself, sealed with `sealingKey`. A token whose answer was lost
 * is known to nobody: it ends when it expires, so let the server give short ones.
 *
 * @since 0.1.0
 */
import { Clock, Duration, Effect, type Layer, Option, Redacted, Schema } from "effect"
import { type HttpClient, HttpClientRequest } from "effect/http"
import * as CredentialProvisioner from "../authority/CredentialProvisioner.ts"
import * as Credential from "../protocol/Credential.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as Sealing from "./internal/sealing.ts"
import * as Upstream from "./internal/upstream.ts"

/**
 * A token that is given in exchange, with its type as RFC 8693 names it: `urn:ietf:params:oauth:token-type:...`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Token {
  readonly token: Redacted.Redacted
  readonly type: string
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Where tokens are issued: `https://`, or `http://` on this machine. */
  readonly tokenUrl: string
  /** Where tokens are revoked. A server without such a place cannot be used: what it issues could not be taken back. */
  readonly revocationUrl: string
  readonly clientId: string
  readonly clientSecret: Redacted.Redacted
  /** How the client shows who it is (RFC 6749, section 2.3.1). Default `basic`. */
  readonly authentication?: "basic" | "post"
  /** 32 bytes in base64, the same from start to start, and kept elsewhere than what is outstanding. */
  readonly sealingKey: Redacted.Redacted
  /** The base URL at which agents use the tokens. */
  readonly endpoint: string
  /** What protocol is spoken there. */
  readonly profile?: string
  /** What a token may do, by the lease of its job. None, no token. */
  readonly scopes: (request: CredentialProvisioner.Request) => ReadonlyArray<string>
  /** Whose token is exchanged. Without it the token is the client's own. */
  readonly subject?: (
    request: CredentialProvisioner.Request
  ) => Effect.Effect<Token, CredentialProvisioner.ProvisionError>
  /** More parameters of the request, such as `audience` or `resource`. */
  readonly parameters?: { readonly [parameter: string]: string }
  /** Default `oauth`. */
  readonly name?: string
  /** How long one request to the server may take. Default 10 seconds. */
  readonly timeout?: Duration.Input
}

/** What this sets itself. */
const ours: ReadonlySet<string> = new Set([
  "client_id",
  "client_secret",
  "grant_type",
  "requested_token_type",
  "scope",
  "subject_token",
  "subject_token_type"
])

const accessToken = "urn:ietf:params:oauth:token-type:access_token"

/** RFC 6749, section 3.3. */
const isScope = (text: string) => /^[\x21\x23-\x5B\x5D-\x7E]+$/.test(text)

const Answer = Schema.Struct({
  access_token: Schema.NonEmptyString,
  token_type: Schema.String,
  /** Some servers write the number as text. */
  expires_in: Schema.optional(Schema.Union([Schema.Finite, Schema.FiniteFromString])),
  scope: Schema.optional(Schema.String),
  issued_token_type: Schema.optional(Schema.String),
  refresh_token: Schema.optional(Schema.String)
})
const answerOf = Schema.decodeUnknownOption(Answer)

const ErrorAnswer = Schema.Struct({ error: Schema.String })
const errorOf = Schema.decodeUnknownOption(ErrorAnswer)

/** What is sealed: all that the server must be shown to take a token back. */
const Sealed = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.NullOr(Schema.String)]))
const sealedOf = Schema.decodeUnknownOption(Sealed)

/** The codes of RFC 6749, section 5.2, RFC 7009 and RFC 8693: any other is not repeated, since it may be anything. */
const codes: ReadonlySet<string> = new Set([
  "access_denied",
  "invalid_client",
  "invalid_grant",
  "invalid_request",
  "invalid_scope",
  "invalid_target",
  "server_error",
  "temporarily_unavailable",
  "unauthorized_client",
  "unsupported_grant_type",
  "unsupported_token_type"
])

/** As a value in a form, which is how `basic` wants both halves. */
const formEncoded = (text: string) => new URLSearchParams({ v: text }).toString().slice("v=".length)

/**
 * A provisioner of access tokens of this server.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<
  CredentialProvisioner.Provisioner,
  CredentialProvisioner.InvalidProvisioner,
  HttpClient.HttpClient
> {
  const name = options.name ?? "oauth"
  const invalid = (field: string, reason: string) =>
    new CredentialProvisioner.InvalidProvisioner({ provisioner: name, field, reason })
  const tokenUrl = yield* Upstream.address(name, "tokenUrl", options.tokenUrl)
  const revocationUrl = yield* Upstream.address(name, "revocationUrl", options.revocationUrl)
  const endpoint = yield* Upstream.address(name, "endpoint", options.endpoint)
  if (options.clientId === "") return yield* invalid("clientId", "is empty")
  if (Redacted.value(options.clientSecret) === "") return yield* invalid("clientSecret", "is empty")
  for (const parameter of Object.keys(options.parameters ?? {})) {
    if (ours.has(parameter)) return yield* invalid(`parameters.${parameter}`, "has an option of its own")
  }
  const sealing = yield* Sealing.make(name, "sealingKey", options.sealingKey)
  const { fail, refusal, send } = yield* Upstream.make(
    name,
    Duration.fromInputUnsafe(options.timeout ?? Upstream.defaultTimeout)
  )

  const post = (url: string, parameters: Readonly<Record<string, string>>) => {
    const request = HttpClientRequest.acceptJson(HttpClientRequest.post(url))
    const secret = Redacted.value(options.clientSecret)
    return send(
      options.authentication === "post"
        ? HttpClientRequest.bodyUrlParams(request, {
            ...parameters,
            client_id: options.clientId,
            client_secret: secret
          })
        : request.pipe(
            HttpClientRequest.basicAuth(formEncoded(options.clientId), formEncoded(secret)),
            HttpClientRequest.bodyUrlParams(parameters)
          )
    )
  }

  const refused = (reply: Upstream.Reply) => {
    const code = Option.match(errorOf(reply.body), { onNone: () => "", onSome: ({ error }) => error })
    if (!codes.has(code)) return refusal(reply)
    if (code === "temporarily_unavailable" || code === "server_error") {
      return fail("Unavailable", `the server answers ${code}`, reply.retryAfter)
    }
    // The status says better whether it helps to wait.
    const asked = refusal(reply)
    return asked.retryable ? asked : fail("Rejected", `the server answers ${code}`)
  }

  /** RFC 7009: a token that is not valid any more is none that could not be revoked. */
  const takeBack = Effect.fnUntraced(function* (token: string, kind: "access_token" | "refresh_token") {
    const reply = yield* post(revocationUrl, { token, token_type_hint: kind })
    if (reply.status < 200 || reply.status > 299) return yield* refused(reply)
  })

  /** The one that could bring forth others first, and in any case both. */
  const takeBackAll = Effect.fnUntraced(function* (access: string, refresh: string | null) {
    const first = yield* Effect.exit(refresh === null ? Effect.void : takeBack(refresh, "refresh_token"))
    yield* takeBack(access, "access_token")
    yield* first
  })

  /** From the moment that a token is there nothing may come between it and the list of what is outstanding. */
  const accept = Effect.fnUntraced(function* (
    { lease }: CredentialProvisioner.Request,
    scopes: ReadonlyArray<string>,
    sent: number,
    reply: Upstream.Reply,
    remember: CredentialProvisioner.Remember
  ): Effect.fn.Return<CredentialProvisioner.Issued, CredentialProvisioner.ProvisionError> {
    if (reply.status !== 200) return yield* refused(reply)
    const answer = answerOf(reply.body)
    if (Option.isNone(answer)) return yield* fail("Malformed", "the server gives no token")
    const { access_token, expires_in, issued_token_type, refresh_token, scope, token_type } = answer.value
    const handle = yield* sealing.seal(JSON.stringify([access_token, refresh_token ?? null]))
    if (handle.length > CredentialProvisioner.maxHandleLength) {
      yield* Effect.ignore(takeBackAll(access_token, refresh_token ?? null))
      return yield* fail("Malformed", "the token is too long to be kept until it is revoked")
    }
    yield* remember(handle)
    if (token_type.toLowerCase() !== "bearer") return yield* fail("Malformed", "the token is no bearer token")
    if (issued_token_type !== undefined && !/:(?:access_token|jwt)$/.test(issued_token_type)) {
      return yield* fail("Malformed", "the token is no access token")
    }
    if (scope !== undefined && !scope.split(" ").every((one) => one === "" || scopes.includes(one))) {
      return yield* fail("Malformed", "the token has a wider scope than was asked for")
    }
    // Up to a century, for there is an end to dates.
    if (expires_in !== undefined && !(expires_in > 0 && expires_in < 3.2e9))
      return yield* fail("Malformed", "the token lasts for no such time")
    // From when it was asked for: on its way it has grown older.
    const lasts = expires_in === undefined ? Number.POSITIVE_INFINITY : expires_in * 1000
    const runsOut = sent + lasts < Option.getOrElse(lease.expiresAt, () => Number.POSITIVE_INFINITY)
    return {
      credential: {
        scheme: Credential.scheme,
        value: Redacted.make(access_token, { label: "credential" }),
        endpoint,
        ...(options.profile === undefined ? undefined : { profile: options.profile }),
        ...(Number.isFinite(lasts) ? { constraints: { expires_at: Timestamp.format(sent + lasts) } } : undefined)
      },
      handle,
      renewAt: runsOut ? Option.some(sent + lasts * 0.75) : Option.none()
    }
  })

  const obtain = Effect.fnUntraced(function* (
    request: CredentialProvisioner.Request,
    scopes: ReadonlyArray<string>,
    remember: CredentialProvisioner.Remember
  ) {
    if (!scopes.every(isScope)) return yield* fail("Rejected", "a scope has characters that no scope can have")
    const parameters = { ...options.parameters, scope: scopes.join(" ") }
    const subject = options.subject === undefined ? undefined : yield* options.subject(request)
    const sent = yield* Clock.currentTimeMillis
    const asking = post(
      tokenUrl,
      subject === undefined
        ? { ...parameters, grant_type: "client_credentials" }
        : {
            ...parameters,
            grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token: Redacted.value(subject.token),
            subject_token_type: subject.type,
            requested_token_type: accessToken
          }
    )
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(asking), (reply) => accept(request, scopes, sent, reply, remember))
    )
  })

  return {
    name,
    issue: Effect.fn("OAuthProvisioner.issue")(function* (request, remember) {
      const scopes = options.scopes(request)
      return scopes.length === 0 ? [] : [yield* obtain(request, scopes, remember)]
    }),
    rotate: Effect.fn("OAuthProvisioner.rotate")(function* (request, _, remember) {
      const scopes = options.scopes(request)
      if (scopes.length === 0) return yield* fail("Rejected", "the lease covers no scope any more")
      return yield* obtain(request, scopes, remember)
    }),
    revoke: Effect.fn("OAuthProvisioner.revoke")(function* (handle) {
      const tokens = Option.flatMap(yield* sealing.open(handle), sealedOf)
      if (Option.isNone(tokens)) return yield* fail("Rejected", "it was sealed with another key")
      yield* takeBackAll(...tokens.value)
    })
  }
})

/**
 * Provisions access tokens of this server.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<never, CredentialProvisioner.InvalidProvisioner, HttpClient.HttpClient> =>
  CredentialProvisioner.layer(make(options))
