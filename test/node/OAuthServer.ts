/**
 * Behaves as an authorization server does: client credentials, token exchange and revocation, with the errors of their specifications.
 */
import { Effect } from "effect"
import * as Crypto from "node:crypto"
import * as HttpFake from "./HttpFake.ts"

export const clientId = "arcp client:1"
export const clientSecret = "CANARY sécret%&+="
export const subjectToken = "CANARY-subject"

const exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
const prefix = "urn:ietf:params:oauth:token-type:"

export interface Token {
  readonly value: string
  readonly kind: "access_token" | "refresh_token"
  readonly scope: string
  readonly expires: number
  readonly subject: string
  readonly form: { readonly [parameter: string]: string }
}

const refuse = (status: number, error: string, headers: Record<string, string> = {}): HttpFake.Answer => ({
  status,
  body: { error, error_description: "CANARY of the server" },
  headers
})

export const make = Effect.gen(function* () {
  const tokens = new Map<string, Token>()
  const state = {
    /** The clock of the server, in milliseconds. */
    now: 0,
    lifetime: 3600,
    scopes: new Set(["read", "write"]),
    refreshes: false,
    /** How clients have shown who they are. */
    authentications: [] as Array<string>
  }

  const mint = (form: Token["form"], kind: Token["kind"], subject: string): string => {
    const value = `CANARY-${kind}-${Crypto.randomBytes(16).toString("base64url")}`
    const expires = state.now + state.lifetime * 1000
    tokens.set(value, { value, kind, scope: form["scope"] ?? "", expires, subject, form })
    return value
  }

  /** Both halves are form-encoded before they are joined (RFC 6749, section 2.3.1). */
  const decode = (text: string) => decodeURIComponent(text.replaceAll("+", " "))

  const isClient = (call: HttpFake.Call, form: Token["form"]) => {
    const basic = /^Basic (.*)$/.exec(call.headers.authorization ?? "")?.[1]
    const [id, secret] =
      basic === undefined
        ? [form["client_id"], form["client_secret"]]
        : Buffer.from(basic, "base64").toString("utf8").split(":").map(decode)
    state.authentications.push(basic === undefined ? "post" : "basic")
    return id === clientId && secret === clientSecret
  }

  const token = (form: Token["form"]): HttpFake.Answer => {
    const grant = form["grant_type"]
    if (grant !== "client_credentials" && grant !== exchange) return refuse(400, "unsupported_grant_type")
    if (grant === exchange) {
      if (form["subject_token_type"] !== `${prefix}jwt`) return refuse(400, "invalid_request")
      if (form["subject_token"] !== subjectToken) return refuse(400, "invalid_grant")
      if (form["audience"] === "elsewhere") return refuse(400, "invalid_target")
    }
    const scope = form["scope"] ?? ""
    if (!scope.split(" ").every((one) => state.scopes.has(one))) return refuse(400, "invalid_scope")
    const subject = grant === exchange ? "ada" : clientId
    return {
      status: 200,
      headers: { "cache-control": "no-store" },
      body: {
        access_token: mint(form, "access_token", subject),
        token_type: "Bearer",
        expires_in: state.lifetime,
        scope,
        ...(grant === exchange ? { issued_token_type: `${prefix}access_token` } : {}),
        ...(state.refreshes ? { refresh_token: mint(form, "refresh_token", subject) } : {})
      }
    }
  }

  const http = yield* HttpFake.make((call) => {
    if (call.method !== "POST" || call.headers["content-type"] !== "application/x-www-form-urlencoded") {
      return { status: 405, body: undefined }
    }
    const form = Object.fromEntries(new URLSearchParams(call.text))
    if (!isClient(call, form)) return refuse(401, "invalid_client", { "www-authenticate": 'Basic realm="CANARY"' })
    switch (call.url.pathname) {
      case "/token":
        return token(form)
      case "/revoke":
        // Also of a token that it does not know (RFC 7009, section 2.2).
        tokens.delete(form["token"] ?? "")
        return { status: 200, body: undefined }
      default:
        return { status: 404, body: undefined }
    }
  })

  /** Whether a resource would take the token. */
  const isGood = (value: string, scope: string) => {
    const token = tokens.get(value)
    return token?.kind === "access_token" && token.scope.split(" ").includes(scope) && state.now < token.expires
  }

  return { ...http, tokens, state, isGood }
})

export type OAuthServer = Effect.Success<typeof make>
