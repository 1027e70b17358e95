/** An issuer of tokens that publishes its keys on a loopback address, well or badly. */
import { Effect } from "effect"
import * as Jose from "jose"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"

export const name = "https://id.example.com"
export const audience = "https://agents.example.com"

/** 2026-05-13T12:00:00Z, in seconds since the Unix epoch. */
export const noon = 1_778_673_600

export interface Key {
  readonly alg: string
  readonly kid: string
  readonly privateKey: Jose.CryptoKey
  readonly publicKey: Jose.CryptoKey
  readonly jwk: Jose.JWK
}

export const key = async (alg: string, kid: string): Promise<Key> => {
  const { privateKey, publicKey } = await Jose.generateKeyPair(alg, { extractable: true })
  return { alg, kid, privateKey, publicKey, jwk: { ...(await Jose.exportJWK(publicKey)), alg, kid, use: "sig" } }
}

/** The keys that all tests may use: to make them takes time. */
export const keys = {
  rsa: await key("RS256", "rsa-1"),
  ec: await key("ES256", "ec-1"),
  ed: await key("EdDSA", "ed-1"),
  stranger: await key("RS256", "rsa-1")
}

export const published = { keys: [keys.rsa.jwk, keys.ec.jwk, keys.ed.jwk] }

/** Claims that are good at noon. */
export const claims: Jose.JWTPayload = { iss: name, aud: audience, sub: "alice", iat: noon - 60, exp: noon + 300 }

export const token = (
  claims: Jose.JWTPayload,
  by: Key = keys.rsa,
  header: Partial<Jose.JWTHeaderParameters> = {}
): Promise<string> =>
  new Jose.SignJWT(claims).setProtectedHeader({ alg: by.alg, kid: by.kid, ...header }).sign(by.privateKey)

/** Signs this text as it is, whatever it says. */
export const raw = async (payload: string, header: string, by: Key = keys.rsa): Promise<string> => {
  const input = `${Jose.base64url.encode(header)}.${Jose.base64url.encode(payload)}`
  const algorithm = by.alg.startsWith("ES")
    ? { name: "ECDSA", hash: "SHA-256" }
    : { name: by.privateKey.algorithm.name }
  const signature = await crypto.subtle.sign(algorithm, by.privateKey, new TextEncoder().encode(input))
  return `${input}.${Jose.base64url.encode(new Uint8Array(signature))}`
}

export interface Issuer {
  readonly jwks: string
  /** How often the keys were asked for. */
  readonly asked: () => number
  /** What it does when it is asked. */
  readonly answer: (answer: Http.RequestListener) => void
  readonly publish: (jwks: unknown) => void
}

/** Publishes at first the keys above. */
export const serve: Effect.Effect<Issuer, never, import("effect").Scope.Scope> = Effect.acquireRelease(
  Effect.callback<{ readonly issuer: Issuer; readonly server: Http.Server }>((resume) => {
    let asked = 0
    let listener: Http.RequestListener = () => {}
    const server = Http.createServer((request, response) => {
      asked++
      listener(request, response)
    })
    server.listen(0, "127.0.0.1", () => {
      const answer: Issuer["answer"] = (next) => {
        listener = next
      }
      const publish: Issuer["publish"] = (jwks) =>
        answer((_, response) => response.setHeader("content-type", "application/json").end(JSON.stringify(jwks)))
      publish(published)
      const { port } = server.address() as AddressInfo
      const issuer = { jwks: `http://127.0.0.1:${port}/jwks.json`, asked: () => asked, answer, publish }
      resume(Effect.succeed({ issuer, server }))
    })
  }),
  ({ server }) =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.closeAllConnections()
    })
).pipe(Effect.map(({ issuer }) => issuer))
