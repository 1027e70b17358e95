/**
 * Virtual keys of a LiteLLM proxy as credentials (§9.8): the proxy then holds each job to its models, its money and its time, whatever the
 * agent reports.
 *
 * ```ts
 * import { Layer, Redacted } from "effect"
 * import { FetchHttpClient } from "effect/http"
 * import { LiteLlmProvisioner } from "effect-arcp/node"
 *
 * const Provisioner = LiteLlmProvisioner.layer({
 *   url: "https://llm.example.com",
 *   masterKey: Redacted.make("sk-master")
 * }).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * | lease | key |
 * | --- | --- |
 * | `model.use` | `models`: those of the proxy's models that a pattern covers, by name. None, no key |
 * | `cost.budget` in `USD` | `max_budget`; other currencies mean nothing to the proxy. Nothing left, no key |
 * | `expires_at` | `duration` |
 *
 * A key can call models and nothing else at the proxy. It has a name of its own, known before it is made, so that a key is revoked also if
 * the answer that brings it was lost.
 *
 * @since 0.1.0
 */
import { BigDecimal, Clock, Duration, Effect, type Layer, Option, Redacted, Result, Schema } from "effect"
import { Digest, SecureRandom } from "effect/crypto"
import { type HttpClient, HttpClientRequest } from "effect/http"
import * as CredentialProvisioner from "../authority/CredentialProvisioner.ts"
import * as Lease from "../authority/Lease.ts"
import * as Operation from "../authority/Operation.ts"
import * as Amount from "../protocol/Amount.ts"
import * as Credential from "../protocol/Credential.ts"
import type * as Json from "../protocol/Json.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as Upstream from "./internal/upstream.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Where this runtime reaches the proxy: `https://`, or `http://` on this machine. */
  readonly url: string
  /** A key that may make keys and delete them. */
  readonly masterKey: Redacted.Redacted
  /** Where agents use the keys. Default `url` with `/v1`. */
  readonly endpoint?: string
  /** Default `litellm`. */
  readonly name?: string
  /** The models that jobs can get. The proxy is asked each time, unless they are listed. */
  readonly models?: ReadonlyArray<string>
  /** The models that a job gets whose lease does not speak of models. None, unless some are listed. */
  readonly modelsByDefault?: ReadonlyArray<string>
  /** What one key may spend at most in USD, also if the lease does not bound that, such as `10.00`. No bound unless one is set. */
  readonly maxBudget?: string
  /** How long one key lasts at most; for a job that takes longer it is replaced. Default one day. */
  readonly lifetime?: Duration.Input
  /** More parameters of `/key/generate`, such as `team_id` or `rpm_limit`. */
  readonly parameters?: Json.JsonObject
  /** How long one request to the proxy may take. Default 10 seconds. */
  readonly timeout?: Duration.Input
}

/** What is decided by the lease, and what would undo it. */
const ours: ReadonlySet<string> = new Set([
  "allowed_routes",
  "budget_duration",
  "budget_id",
  "duration",
  "key",
  "key_alias",
  "key_type",
  "max_budget",
  "models",
  "spend"
])

/** To the proxy these are no models: the first two are all of them. */
const words: ReadonlySet<string> = new Set(["all-proxy-models", "all-team-models", "no-default-models"])

/** A name that the proxy takes for itself and nothing else: it reads `*` as any characters, `/` included. */
const isPlain = (model: string) => model !== "" && !model.includes("*") && !words.has(model)

const ErrorReply = Schema.Struct({
  error: Schema.Struct({
    type: Schema.optional(Schema.Unknown),
    param: Schema.optional(Schema.Unknown),
    message: Schema.optional(Schema.Unknown)
  })
})
const errorOf = Schema.decodeUnknownOption(ErrorReply)

const Generated = Schema.Struct({
  key: Schema.RedactedFromValue(Schema.NonEmptyString, { label: "credential" }),
  models: Schema.Array(Schema.String),
  max_budget: Schema.optional(Schema.NullOr(Schema.Finite)),
  budget_duration: Schema.optional(Schema.NullOr(Schema.String)),
  expires: Schema.optional(Schema.NullOr(Schema.String))
})
const generatedOf = Schema.decodeUnknownOption(Generated)

const Info = Schema.Struct({
  info: Schema.Struct({
    spend: Schema.optional(Schema.NullOr(Schema.Finite)),
    max_budget: Schema.optional(Schema.NullOr(Schema.Finite))
  })
})
const infoOf = Schema.decodeUnknownOption(Info)

const Models = Schema.Struct({ data: Schema.Array(Schema.Struct({ id: Schema.String })) })
const modelsOf = Schema.decodeUnknownOption(Models)

const isDeleted = Schema.is(Schema.Struct({ deleted_keys: Schema.Array(Schema.Unknown) }))

/**
 * Whether an answer of the proxy, to an agent as to this runtime, says that the money of a key is spent. Its versions say so with status 400
 * or 429, and older ones only in words.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isBudgetExceeded = (status: number, body: unknown): boolean => {
  const reply = errorOf(body)
  if (Option.isNone(reply) || status < 400 || status >= 500) return false
  const { message, type } = reply.value.error
  return (
    type === "budget_exceeded" ||
    (typeof message === "string" && /^(?:Budget has been exceeded|Exceeded(?:Token)?Budget)\b/.test(message))
  )
}

/**
 * Whether an answer of the proxy to an agent says that its key is not for the model that it asked for.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isModelDenied = (status: number, body: unknown): boolean => {
  const reply = errorOf(body)
  return (
    (status === 401 || status === 403) && Option.isSome(reply) && reply.value.error.type === "key_model_access_denied"
  )
}

/** The proxy counts in binary floating point, which has no more digits than these to say about money. */
const round = (amount: BigDecimal.BigDecimal): BigDecimal.BigDecimal => BigDecimal.floor(amount, 9)

/** Of two bounds, each of which may be none. */
const lesser = (a: BigDecimal.BigDecimal | undefined, b: BigDecimal.BigDecimal | undefined) => {
  const bound = a === undefined || b === undefined ? (a ?? b) : BigDecimal.min(a, b)
  return bound === undefined ? undefined : round(bound)
}

/** Older versions leave out that it is UTC. */
const expiryOf = (text: string | null | undefined): Option.Option<number> =>
  Option.orElse(Timestamp.parse(text ?? ""), () => Timestamp.parse(`${text}Z`))

/**
 * A provisioner of virtual keys of this proxy.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(
  function* (
    options: Options
  ): Effect.fn.Return<
    CredentialProvisioner.Provisioner,
    CredentialProvisioner.InvalidProvisioner,
    HttpClient.HttpClient | Digest.Digest | SecureRandom.SecureRandom
  > {
    const name = options.name ?? "litellm"
    const invalid = (field: string, reason: string) =>
      new CredentialProvisioner.InvalidProvisioner({ provisioner: name, field, reason })
    const url = yield* Upstream.address(name, "url", options.url)
    const endpoint = yield* Upstream.address(name, "endpoint", options.endpoint ?? `${url}/v1`)
    if (Redacted.value(options.masterKey) === "") return yield* invalid("masterKey", "is empty")
    for (const field of ["models", "modelsByDefault"] as const) {
      const index = (options[field] ?? []).findIndex((model) => !isPlain(model))
      if (index >= 0) return yield* invalid(`${field}[${index}]`, "is not the name of one model")
    }
    for (const parameter of Object.keys(options.parameters ?? {})) {
      if (ours.has(parameter)) return yield* invalid(`parameters.${parameter}`, "is decided by the lease")
    }
    const cap =
      options.maxBudget === undefined
        ? undefined
        : yield* Effect.fromResult(
            Result.mapBoth(Amount.parse(`USD:${options.maxBudget}`), {
              onFailure: () => invalid("maxBudget", "is not a decimal such as 10.00"),
              onSuccess: ({ value }) => value
            })
          )
    const lifetime = Duration.toMillis(options.lifetime ?? "1 day")
    if (!(lifetime >= 60_000)) return yield* invalid("lifetime", "is less than a minute")

    const { fail, refusal, send } = yield* Upstream.make(
      name,
      Duration.fromInputUnsafe(options.timeout ?? Upstream.defaultTimeout)
    )
    const { digestHex } = yield* Digest.Digest
    const { ulid } = yield* SecureRandom.SecureRandom

    const post = (path: string, body: Json.JsonObject) =>
      send(
        HttpClientRequest.post(`${url}${path}`).pipe(
          HttpClientRequest.bearerToken(options.masterKey),
          HttpClientRequest.bodyJsonUnsafe(body)
        )
      )
    const get = (path: string, parameters: Readonly<Record<string, string>> = {}) =>
      send(
        HttpClientRequest.get(`${url}${path}`).pipe(
          HttpClientRequest.bearerToken(options.masterKey),
          HttpClientRequest.setUrlParams(parameters)
        )
      )

    const refused = (reply: Upstream.Reply) => {
      if (isBudgetExceeded(reply.status, reply.body))
        return fail("BudgetExceeded", "the proxy says that the budget is spent")
      const error = Option.map(errorOf(reply.body), ({ error }) => error)
      // An earlier attempt has come through without our knowing; the next has a name of its own.
      return Option.isSome(error) &&
        error.value.param === "key_alias" &&
        /already exists/.test(String(error.value.message))
        ? fail("Unavailable", "the name of the key is taken")
        : refusal(reply)
    }

    /** The models of the proxy that the lease covers. */
    const modelsFor = Effect.fnUntraced(function* ({ lease }: CredentialProvisioner.Request) {
      if (!lease.granted.has("model.use")) return options.modelsByDefault ?? []
      let known = options.models
      if (known === undefined) {
        const reply = yield* get("/models")
        if (reply.status !== 200) return yield* refused(reply)
        const models = modelsOf(reply.body)
        if (Option.isNone(models)) return yield* fail("Malformed", "the proxy gives no list of models")
        known = models.value.data.map(({ id }) => id)
      }
      const now = yield* Clock.currentTimeMillis
      return known.filter(
        (model) => isPlain(model) && Result.isSuccess(Lease.authorize(lease, Operation.modelUse(model), now))
      )
    })

    /** What a key may spend: what the job may, and no more than a key may at most. */
    const budgetFor = ({ budget }: CredentialProvisioner.Request) =>
      Effect.map(budget, (budget) => lesser(budget.get("USD"), cap))

    const generate = Effect.fnUntraced(function* (
      request: CredentialProvisioner.Request,
      models: ReadonlyArray<string>,
      budget: BigDecimal.BigDecimal | undefined,
      remember: CredentialProvisioner.Remember
    ): Effect.fn.Return<CredentialProvisioner.Issued, CredentialProvisioner.ProvisionError> {
      const { agent, job, lease, parent, principal } = request
      const now = yield* Clock.currentTimeMillis
      const left = Option.getOrElse(lease.expiresAt, () => Number.POSITIVE_INFINITY) - now
      const lasts = Math.min(left, lifetime)
      const handle = `arcp-${yield* ulid}`
      yield* remember(handle)
      const { metadata, ...parameters } = options.parameters ?? {}
      const reply = yield* post("/key/generate", {
        ...parameters,
        key_alias: handle,
        key_type: "llm_api",
        models,
        ...(budget === undefined ? undefined : { max_budget: BigDecimal.toNumberUnsafe(budget) }),
        // Whole seconds are the shortest that the proxy knows.
        ...(Number.isFinite(lasts) ? { duration: `${Math.max(1, Math.floor(lasts / 1000))}s` } : undefined),
        metadata: {
          ...(typeof metadata === "object" ? metadata : undefined),
          arcp_job_id: job,
          arcp_agent: agent,
          arcp_principal: principal,
          ...(Option.isSome(parent) ? { arcp_parent_job_id: parent.value } : undefined)
        }
      })
      if (reply.status !== 200) return yield* refused(reply)
      const generated = generatedOf(reply.body)
      if (Option.isNone(generated)) return yield* fail("Malformed", "the proxy gives no key")
      const { budget_duration, expires, key, max_budget, models: confirmed } = generated.value
      if (confirmed.length === 0 || !confirmed.every((model) => models.includes(model))) {
        return yield* fail("Malformed", "the key is for other models than were asked for")
      }
      if (typeof budget_duration === "string") return yield* fail("Malformed", "the budget of the key would be renewed")
      if (
        budget !== undefined &&
        !(typeof max_budget === "number" && max_budget <= BigDecimal.toNumberUnsafe(budget))
      ) {
        return yield* fail("Malformed", "the key has another budget than was asked for")
      }
      const expiry = expiryOf(expires)
      if (Number.isFinite(lasts) && Option.isNone(expiry)) return yield* fail("Malformed", "the key does not expire")
      return {
        credential: {
          scheme: Credential.scheme,
          value: key,
          endpoint,
          profile: "openai",
          constraints: {
            "model.use": confirmed,
            ...(typeof max_budget === "number"
              ? {
                  "cost.budget": [
                    Amount.format({ currency: "USD", value: round(BigDecimal.fromNumberUnsafe(max_budget)) })
                  ]
                }
              : undefined),
            ...(Option.isSome(expiry) ? { expires_at: Timestamp.format(expiry.value) } : undefined)
          }
        },
        handle,
        renewAt: lifetime < left && Number.isFinite(lifetime) ? Option.some(now + lifetime * 0.75) : Option.none()
      }
    })

    return {
      name,
      issue: Effect.fn("LiteLlmProvisioner.issue")(function* (request, remember) {
        const models = yield* modelsFor(request)
        const budget = yield* budgetFor(request)
        // To the proxy an empty list is every model.
        if (models.length === 0 || (budget !== undefined && !BigDecimal.isPositive(budget))) return []
        return [yield* generate(request, models, budget, remember)]
      }),
      // A new key with what the former has left: to replace a key in place is not in every edition of the proxy. What the former spends
      // between this look and its revocation is not counted.
      rotate: Effect.fn("LiteLlmProvisioner.rotate")(function* (request, { credential }, remember) {
        const key = yield* digestHex(Digest.sha256, new TextEncoder().encode(Redacted.value(credential.value)))
        const reply = yield* get("/key/info", { key })
        if (reply.status !== 200) return yield* refused(reply)
        const former = infoOf(reply.body)
        if (Option.isNone(former)) return yield* fail("Malformed", "the proxy says nothing of the key")
        const { max_budget, spend } = former.value.info
        const left =
          typeof max_budget === "number"
            ? BigDecimal.subtract(BigDecimal.fromNumberUnsafe(max_budget), BigDecimal.fromNumberUnsafe(spend ?? 0))
            : undefined
        const budget = lesser(left, yield* budgetFor(request))
        if (budget !== undefined && !BigDecimal.isPositive(budget)) {
          return yield* fail("BudgetExceeded", "the budget of the key is spent")
        }
        const models = yield* modelsFor(request)
        if (models.length === 0) return yield* fail("Rejected", "the lease covers no model of the proxy any more")
        return yield* generate(request, models, budget, remember)
      }),
      revoke: Effect.fn("LiteLlmProvisioner.revoke")(function* (handle) {
        const reply = yield* post("/key/delete", { key_aliases: [handle] })
        if (reply.status === 200 && isDeleted(reply.body)) return
        // In the proxy's own words: a 404 of something in between says nothing of the key.
        if (reply.status === 404 && Option.isSome(errorOf(reply.body))) return
        return yield* reply.status === 200
          ? fail("Unavailable", "the answer of the proxy is cut short")
          : refused(reply)
      })
    }
  },
  Effect.provide([Digest.layerWebCrypto, SecureRandom.layerWebCrypto])
)

/**
 * Provisions virtual keys of this proxy.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<never, CredentialProvisioner.InvalidProvisioner, HttpClient.HttpClient> =>
  CredentialProvisioner.layer(make(options))
