/**
 * Behaves as a LiteLLM proxy does, as far as virtual keys go: how it makes, shows and deletes them, what it lets them do, and in which words
 * it refuses.
 */
import { Effect } from "effect"
import * as Crypto from "node:crypto"
import * as HttpFake from "./HttpFake.ts"

export const masterKey = "sk-MASTER-CANARY"

export interface Key {
  readonly value: string
  readonly alias: string
  readonly models: ReadonlyArray<string>
  readonly maxBudget: number | null
  readonly expires: number | null
  readonly keyType: string
  readonly parameters: { readonly [parameter: string]: unknown }
  spend: number
}

const hash = (value: string) => Crypto.createHash("sha256").update(value).digest("hex")

/** The shape of all of its errors; the code is text. */
const refuse = (status: number, type: string, message: unknown, param: unknown = "None"): HttpFake.Answer => ({
  status,
  body: { error: { message, type, param, code: String(status) } }
})

/** A 404 of its router, which knows nothing of keys. */
const notFound: HttpFake.Answer = { status: 404, body: { detail: "Not Found" } }

export const make = Effect.gen(function* () {
  const keys = new Map<string, Key>()
  /** The clock of the proxy, in milliseconds. */
  const state = { now: 0, models: ["gpt-4o", "gpt-4o-mini", "claude/haiku", "claude/opus"], made: 0 }
  const byHash = (key: string) => [...keys.values()].find(({ value }) => hash(value) === key)
  const byValue = (value: string) => [...keys.values()].find((key) => key.value === value)

  const generate = (body: { readonly [parameter: string]: unknown }): HttpFake.Answer => {
    const { duration, key_alias: alias, key_type, max_budget, models, ...parameters } = body
    if (typeof alias !== "string") return refuse(500, "internal_server_error", "no alias")
    if (keys.has(alias)) {
      const message = `Key with alias '${alias}' already exists. Unique key aliases across all keys are required.`
      return refuse(400, "bad_request_error", message, "key_alias")
    }
    if (typeof max_budget === "number" && max_budget < 0) {
      return refuse(400, "internal_server_error", { error: `max_budget cannot be negative. Received: ${max_budget}` })
    }
    const seconds = typeof duration === "string" ? /^(\d+)s$/.exec(duration)?.[1] : undefined
    if (duration !== undefined && seconds === undefined)
      return refuse(500, "internal_server_error", "Invalid duration format")
    const key: Key = {
      value: `sk-CANARY-${Crypto.randomBytes(16).toString("base64url")}`,
      alias,
      models: Array.isArray(models) ? models : [],
      maxBudget: typeof max_budget === "number" ? max_budget : null,
      expires: seconds === undefined ? null : state.now + Number(seconds) * 1000,
      keyType: typeof key_type === "string" ? key_type : "default",
      parameters,
      spend: 0
    }
    keys.set(alias, key)
    state.made++
    return {
      status: 200,
      body: {
        key_alias: alias,
        key: key.value,
        key_name: `sk-...${key.value.slice(-4)}`,
        token: hash(key.value),
        token_id: hash(key.value),
        models: key.models,
        max_budget: key.maxBudget,
        budget_duration: null,
        spend: 0,
        user_id: null,
        team_id: null,
        blocked: null,
        metadata: parameters["metadata"],
        expires: key.expires === null ? null : new Date(key.expires).toISOString().replace("Z", "000+00:00")
      }
    }
  }

  /** A request to a model, as an agent makes it with its key; each costs a dime. */
  const complete = (value: string, model: string): HttpFake.Answer => {
    const key = byValue(value)
    if (key === undefined || (key.expires !== null && state.now >= key.expires)) {
      return refuse(401, "token_not_found_in_db", "Authentication Error, Invalid proxy server token passed.", "key")
    }
    const isAll =
      key.models.length === 0 || key.models.includes("all-proxy-models") || key.models.includes("all-team-models")
    // It makes an expression of a pattern, in which a dot is any character.
    const covers = (allowed: string) =>
      allowed === model || (allowed.includes("*") && new RegExp(`^${allowed.replaceAll("*", ".*")}$`).test(model))
    if (!isAll && !key.models.some(covers)) {
      return refuse(
        401,
        "key_model_access_denied",
        `key not allowed to access model. This key can only access models=${key.models}`,
        "model"
      )
    }
    if (key.maxBudget !== null && key.spend >= key.maxBudget) {
      const message = `Budget has been exceeded! Current cost: ${key.spend}, Max budget: ${key.maxBudget}`
      return refuse(400, "budget_exceeded", message, null)
    }
    key.spend += 0.1
    return { status: 200, body: { choices: [{ message: { role: "assistant", content: "hello" } }] } }
  }

  const administer = (call: HttpFake.Call): HttpFake.Answer => {
    const body = call.text === "" ? {} : JSON.parse(call.text)
    switch (`${call.method} ${call.url.pathname}`) {
      case "GET /models":
        return { status: 200, body: { object: "list", data: state.models.map((id) => ({ id, object: "model" })) } }
      case "POST /key/generate":
        return generate(body)
      case "GET /key/info": {
        const key = byHash(call.url.searchParams.get("key") ?? "")
        if (key === undefined) return refuse(404, "not_found_error", "Key not found in database", "key")
        const { alias: key_alias, maxBudget: max_budget, models, spend } = key
        return { status: 200, body: { key: hash(key.value), info: { key_alias, max_budget, models, spend } } }
      }
      case "POST /key/delete": {
        const aliases: ReadonlyArray<string> = body.key_aliases ?? []
        const found = aliases.filter((alias) => keys.delete(alias))
        return found.length === 0
          ? refuse(404, "internal_server_error", { error: "No keys found" })
          : { status: 200, body: { deleted_keys: aliases } }
      }
      default:
        return notFound
    }
  }

  const http = yield* HttpFake.make((call) => {
    const bearer = (call.headers.authorization ?? "").replace(/^Bearer /, "")
    if (call.url.pathname === "/v1/chat/completions") return complete(bearer, JSON.parse(call.text).model)
    return bearer === masterKey
      ? administer(call)
      : refuse(
          401,
          "auth_error",
          `Authentication Error, Invalid proxy server token passed. Received API Key = ${bearer}`
        )
  })
  return { ...http, keys, state, complete }
})

export type LiteLlmServer = Effect.Success<typeof make>
