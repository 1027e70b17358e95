/**
 * Takes JSON Web Tokens as bearer tokens (§6.1), signed with keys that their issuer publishes: from claims to a principal, and to the largest
 * lease that it may ask for.
 *
 * ```ts
 * import { Option } from "effect"
 * import { NodeJwtAuthenticator } from "effect-arcp/node"
 *
 * export const AuthenticatorLive = NodeJwtAuthenticator.layer({
 *   jwks: "https://id.example.com/.well-known/jwks.json",
 *   issuer: "https://id.example.com",
 *   audience: "https://agents.example.com",
 *   principal: ({ sub, tier }) =>
 *     typeof sub === "string"
 *       ? Option.some({ id: sub, largestLease: { grants: tier === "gold" ? { "tool.call": ["**"] } : {} } })
 *       : Option.none()
 * })
 * ```
 *
 * With `LeasePolicy.layerPrincipal` the largest lease bounds what is asked for. Needs the package `jose`, which is not installed by itself.
 *
 * @since 0.1.0
 */
import { Clock, Duration, Effect, Layer, Option, Redacted, Result, Schema, type Scope } from "effect"
import { FetchHttpClient, type HttpClient } from "effect/http"
import type * as Jose from "jose"
import * as Authenticator from "../authority/Authenticator.ts"
import * as LargestLease from "../authority/LargestLease.ts"
import * as Json from "../protocol/Json.ts"
import * as Loopback from "../transport/Loopback.ts"
import * as DuplicateMember from "./internal/duplicateMember.ts"
import * as PublishedKeys from "./internal/publishedKeys.ts"

const algorithms = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "Ed25519",
  "EdDSA"
] as const

/**
 * How a token may be signed: with a private key whose public half is published, and in no other way.
 *
 * @category models
 * @since 0.1.0
 */
export type Algorithm = (typeof algorithms)[number]

/**
 * What a token says, after its signature, its times, its issuer and its audience were found good.
 *
 * @category models
 * @since 0.1.0
 */
export type Claims = Json.JsonObject

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Where the issuer publishes its keys: `https:`, or `http:` at a loopback address. */
  readonly jwks: string | URL
  /** Who must have issued a token. */
  readonly issuer: string
  /** Whom a token must be meant for: one of these. */
  readonly audience: string | ReadonlyArray<string>
  /** Default `RS256`, `PS256`, `ES256`, `Ed25519` and `EdDSA`. */
  readonly algorithms?: ReadonlyArray<Algorithm>
  /** The `typ` that a token must have, such as `at+jwt`. Default: any or none. */
  readonly type?: string
  /** By how much clocks may differ, at most 10 minutes. Default 5 seconds. */
  readonly leeway?: Duration.Input
  /**
   * Whom the claims stand for; none refuses them. Default: the principal is `sub`, and nothing is known of its largest lease.
   */
  readonly principal?: (claims: Claims) => Option.Option<Omit<Authenticator.Principal, "expiresAt">>
  /** The longest token that is looked at, in characters. Default 8192. */
  readonly maxTokenLength?: number
  /** The most bytes that the keys may have. Default 256 KiB. */
  readonly maxKeysBytes?: number
  /** How long it may take to fetch them. Default 5 seconds. */
  readonly timeout?: Duration.Input
  /** When they are fetched again. Default after 10 minutes. */
  readonly refreshAfter?: Duration.Input
  /** How long they serve while they cannot be fetched again. Default 1 hour. */
  readonly keepFor?: Duration.Input
  /** How long after a fetch a token with an unknown key causes no other. Default 30 seconds. */
  readonly cooldown?: Duration.Input
}

/**
 * Options with which no token could be judged.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidOptions extends Schema.TaggedError<InvalidOptions>("arcp/node/InvalidJwtOptions")(
  "InvalidOptions",
  {
    field: Schema.Literals(["jwks", "issuer", "audience", "algorithms", "leeway", "jose"]),
    reason: Schema.String
  }
) {
  override get message() {
    return `${this.field} ${this.reason}`
  }
}

const isAlgorithm = Schema.is(Schema.Literals(algorithms))
const maxLeeway = Duration.toMillis(Duration.minutes(10))

const validate = (options: Options): Result.Result<URL, InvalidOptions> => {
  const invalid = (field: InvalidOptions["field"], reason: string) => Result.fail(new InvalidOptions({ field, reason }))
  const url = URL.parse(options.jwks)
  if (url === null) return invalid("jwks", "is not a URL")
  if (url.protocol !== "https:" && !(url.protocol === "http:" && Loopback.is(url.hostname))) {
    return invalid("jwks", "is neither https: nor at a loopback address")
  }
  if (url.username !== "" || url.password !== "") return invalid("jwks", "holds a user or a password")
  if (options.issuer === "") return invalid("issuer", "is empty")
  const audiences = [options.audience].flat()
  if (audiences.length === 0 || audiences.includes("")) return invalid("audience", "is empty")
  const unfit = options.algorithms?.find((algorithm) => !isAlgorithm(algorithm))
  if (unfit !== undefined) return invalid("algorithms", `has ${JSON.stringify(unfit)}, which signs with no private key`)
  if (options.algorithms?.length === 0) return invalid("algorithms", "is empty")
  const leeway = Duration.toMillis(options.leeway ?? 0)
  if (!(leeway >= 0 && leeway <= maxLeeway)) return invalid("leeway", "is not from 0 to 10 minutes")
  return Result.succeed(url)
}

const subject = ({ sub }: Claims): Option.Option<Authenticator.Principal> =>
  typeof sub === "string" ? Option.some({ id: sub }) : Option.none()

/** Three parts in base64url. What is not signed has two or an empty one, what is encrypted has five. */
const compact = /^[\w-]+\.[\w-]+\.[\w-]+$/

/** A token that brings its own key, or says where it is, is believed by nobody who looks only at the signature. */
const ownKey = ["jwk", "jku", "x5c", "x5u"] as const

const isClaims = Schema.is(Json.JsonObject)
const isPrincipal = Schema.is(Authenticator.Principal)

/** The last instant of the year 9999: as good as never. */
const farthest = 253_402_300_799_999

/** Why a token is refused: for the log of the operator, in words without any part of the token. */
class Refused extends Schema.TaggedError<Refused>("arcp/node/RefusedToken")("RefusedToken", {
  reason: Schema.String
}) {}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "ERR_UNKNOWN"

const noSuchKey = "ERR_JWKS_NO_MATCHING_KEY"

type Keys = ReturnType<typeof Jose.createLocalJWKSet>

/**
 * Fetches keys over the client of the surroundings, which should not follow redirects. Whatever is wrong with a token, or with the fetch, the refusal is the same.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<Authenticator.Authenticator["Service"], InvalidOptions, HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function* () {
    const url = yield* Effect.fromResult(validate(options))
    const jose = yield* Effect.tryPromise({
      try: () => import("jose"),
      catch: () => new InvalidOptions({ field: "jose", reason: "is not installed" })
    })
    const millis = (duration: Duration.Input | undefined, byDefault: Duration.Input) =>
      Duration.toMillis(duration ?? byDefault)
    const leeway = millis(options.leeway, "5 seconds")
    const maxLength = options.maxTokenLength ?? 8192
    const keys = yield* PublishedKeys.make<Keys>({
      url,
      maxBytes: options.maxKeysBytes ?? 256 * 1024,
      timeout: millis(options.timeout, "5 seconds"),
      refreshAfter: millis(options.refreshAfter, "10 minutes"),
      keepFor: millis(options.keepFor, "1 hour"),
      cooldown: millis(options.cooldown, "30 seconds"),
      // Throws for what is no set of keys.
      read: (json) => jose.createLocalJWKSet(json as Jose.JSONWebKeySet)
    })

    const verify = Effect.fnUntraced(function* (token: string, known: Keys) {
      const now = yield* Clock.currentTimeMillis
      return yield* Effect.tryPromise({
        try: () =>
          jose.jwtVerify(token, known, {
            algorithms: [...(options.algorithms ?? ["RS256", "PS256", "ES256", "Ed25519", "EdDSA"])],
            issuer: options.issuer,
            audience: [options.audience].flat(),
            requiredClaims: ["exp"],
            clockTolerance: leeway / 1000,
            currentDate: new Date(now),
            ...(options.type === undefined ? undefined : { typ: options.type })
          }),
        catch: (error) => new Refused({ reason: codeOf(error) })
      })
    })

    /** The issuer may have changed its keys. */
    const verifyWithOthers = Effect.fnUntraced(function* (token: string, known: Keys, refused: Refused) {
      const others = yield* keys.otherThan(known)
      return Option.isSome(others) ? yield* verify(token, others.value) : yield* refused
    })

    const textOf = (token: string, part: 0 | 1) =>
      new TextDecoder().decode(jose.base64url.decode(token.split(".")[part]!))

    const principalOf = Effect.fnUntraced(function* (claims: Claims) {
      const named = yield* Effect.try({
        try: () => (options.principal ?? subject)(claims),
        catch: () => new Refused({ reason: "the mapping of the claims failed" })
      })
      if (Option.isNone(named)) return yield* new Refused({ reason: "the claims stand for nobody" })
      const { id, largestLease } = named.value
      const expiry = Number(claims["exp"])
      if (!Number.isFinite(expiry)) return yield* new Refused({ reason: "it ends at no time" })
      const principal = {
        id,
        expiresAt: Math.floor(Math.min(farthest, expiry * 1000 + leeway)),
        ...(largestLease === undefined ? undefined : { largestLease })
      }
      if (!isPrincipal(principal)) return yield* new Refused({ reason: "the claims stand for no possible principal" })
      const largest = LargestLease.compile(largestLease ?? LargestLease.none)
      return Result.isSuccess(largest)
        ? principal
        : yield* new Refused({ reason: `the largest lease cannot be read: ${largest.failure.message}` })
    })

    const judge = Effect.fnUntraced(function* (token: string) {
      if (token.length > maxLength) return yield* new Refused({ reason: `longer than ${maxLength} characters` })
      if (!compact.test(token)) return yield* new Refused({ reason: "no signed token in compact form" })
      const known = yield* keys.current
      if (Option.isNone(known)) return yield* new Refused({ reason: "there are no keys" })
      const { payload, protectedHeader } = yield* Effect.catch(verify(token, known.value), (refused) =>
        refused.reason === noSuchKey ? verifyWithOthers(token, known.value, refused) : Effect.fail(refused)
      )
      if (ownKey.some((name) => Object.hasOwn(protectedHeader, name))) {
        return yield* new Refused({ reason: "it brings a key of its own" })
      }
      if (DuplicateMember.has(textOf(token, 0)) || DuplicateMember.has(textOf(token, 1))) {
        return yield* new Refused({ reason: "it says one thing twice" })
      }
      return isClaims(payload) ? yield* principalOf(payload) : yield* new Refused({ reason: "no claims" })
    })

    return Authenticator.Authenticator.of({
      authenticate: Effect.fn("NodeJwtAuthenticator.authenticate")(function* ({ scheme, token }) {
        if (scheme !== "bearer") return yield* Authenticator.refusal()
        return yield* Effect.catch(judge(Redacted.value(token)), ({ reason }) =>
          Effect.andThen(Effect.logDebug("A token was refused", { reason }), Effect.fail(Authenticator.refusal()))
        )
      })
    })
  })

/**
 * As {@link make}, with the `fetch` of Node, which here follows no redirects.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Authenticator.Authenticator, InvalidOptions> =>
  Layer.provide(Layer.effect(Authenticator.Authenticator, make(options)), FetchHttpClient.layer)
