/**
 * Tokens that must be refused, each with what is wrong with it. The classes are those of RFC 8725 (best current practices for JWT), RFC 7515
 * (critical headers, unique names) and RFC 7519 (claims), and of known attacks: "none" and its spellings, the public key as a shared secret,
 * keys that a token brings along, a `kid` that means something to a file system or a database.
 */
import * as Jose from "jose"
import { audience, claims, key, keys, name, noon, raw, token } from "./Issuer.ts"

type Hostile = readonly [why: string, token: string]

const encode = (value: unknown): string => Jose.base64url.encode(JSON.stringify(value))
const unsigned = (header: unknown, signature = ""): string => `${encode(header)}.${encode(claims)}.${signature}`
const without = (claim: string) => Object.fromEntries(Object.entries(claims).filter(([name]) => name !== claim))
const header = JSON.stringify({ alg: "RS256", kid: "rsa-1" })

const secretOf = async (form: "pem" | "jwk"): Promise<Uint8Array> =>
  new TextEncoder().encode(form === "pem" ? await Jose.exportSPKI(keys.rsa.publicKey) : JSON.stringify(keys.rsa.jwk))

const shared = async (alg: string, form: "pem" | "jwk") =>
  new Jose.SignJWT(claims).setProtectedHeader({ alg, kid: "rsa-1" }).sign(await secretOf(form))

const flip = (text: string, at: number): string =>
  `${text.slice(0, at)}${text[at] === "A" ? "B" : "A"}${text.slice(at + 1)}`

export const all = async (): Promise<ReadonlyArray<Hostile>> => {
  const good = await token(claims)
  const [first = "", second = "", third = ""] = good.split(".")
  const strangerJwk = keys.stranger.jwk
  const other = await key("ES256", "ec-1")
  return [
    // Not signed, by whatever spelling.
    ...["none", "None", "NONE", "nOnE", "", "null"].map((alg): Hostile => [
      `alg ${alg}`,
      unsigned({ alg, kid: "rsa-1" })
    ]),
    ["alg none with a signature", unsigned({ alg: "none" }, third)],
    ["no alg", unsigned({ kid: "rsa-1" }, third)],
    ["alg that is no text", unsigned({ alg: ["RS256"], kid: "rsa-1" }, third)],
    ["signature taken away", `${first}.${second}.`],
    ["two parts", `${first}.${second}`],
    // Signed by the wrong key.
    ["a stranger's key under a known kid", await token(claims, keys.stranger)],
    ["a stranger's key of another type", await token(claims, other)],
    ["a signature of other claims", `${first}.${encode({ ...claims, sub: "root" })}.${third}`],
    ["a header that was changed", `${encode({ alg: "RS512", kid: "rsa-1" })}.${second}.${third}`],
    ["a signature with one character changed", `${first}.${second}.${flip(third, 20)}`],
    ["a signature that is too short", `${first}.${second}.${third.slice(0, 40)}`],
    ["an empty ECDSA signature", `${encode({ alg: "ES256", kid: "ec-1" })}.${second}.${"A".repeat(86)}`],
    // The public key as a shared secret.
    ["HS256 with the public key as PEM", await shared("HS256", "pem")],
    ["HS256 with the public key as JWK", await shared("HS256", "jwk")],
    ["HS384 with the public key", await shared("HS384", "pem")],
    ["HS512 with the public key", await shared("HS512", "pem")],
    // An algorithm that the host does not take, though the key could sign so.
    ["RS384", await token(claims, { ...keys.rsa, alg: "RS256" }, { alg: "RS256", kid: "rsa-384" })],
    ["RS256 under the kid of an ECDSA key", await token(claims, keys.rsa, { kid: "ec-1" })],
    ["ES256 under the kid of an RSA key", await token(claims, keys.ec, { kid: "rsa-1" })],
    // A key that the token brings along.
    ["jwk of a stranger", await token(claims, keys.stranger, { jwk: strangerJwk, kid: "mine" })],
    [
      "jwk of a stranger without kid",
      await raw(JSON.stringify(claims), JSON.stringify({ alg: "RS256", jwk: strangerJwk }), keys.stranger)
    ],
    ["jwk beside a good signature", await token(claims, keys.rsa, { jwk: keys.rsa.jwk })],
    ["jku", await token(claims, keys.stranger, { jku: "https://evil.example.com/jwks.json" })],
    ["jku beside a good signature", await token(claims, keys.rsa, { jku: "https://evil.example.com/jwks.json" })],
    ["x5u", await token(claims, keys.stranger, { x5u: "https://evil.example.com/chain.pem" })],
    ["x5c", await token(claims, keys.rsa, { x5c: ["AAAA"] })],
    // A kid that means something elsewhere.
    ...(await Promise.all(
      [
        "../../../../dev/null",
        "/proc/self/environ",
        "rsa-1' OR '1'='1",
        "rsa-1\0",
        "__proto__",
        "constructor",
        "",
        "x".repeat(2000)
      ].map(async (kid): Promise<Hostile> => [`kid ${kid.slice(0, 24)}`, await token(claims, keys.stranger, { kid })])
    )),
    ["kid that is a number", await raw(JSON.stringify(claims), `{"alg":"RS256","kid":1}`)],
    ["kid that is an object", await raw(JSON.stringify(claims), `{"alg":"RS256","kid":{"$ne":null}}`)],
    // Headers that must be understood.
    ["crit", await raw(JSON.stringify(claims), `{"alg":"RS256","kid":"rsa-1","crit":["x"],"x":1}`)],
    ["crit that is empty", await raw(JSON.stringify(claims), `{"alg":"RS256","kid":"rsa-1","crit":[]}`)],
    ["crit that is no list", await raw(JSON.stringify(claims), `{"alg":"RS256","kid":"rsa-1","crit":"exp"}`)],
    ["b64 false", await raw(JSON.stringify(claims), `{"alg":"RS256","kid":"rsa-1","b64":false,"crit":["b64"]}`)],
    // One thing said twice.
    ["sub twice", await raw(JSON.stringify(claims).replace("{", `{"sub":"root",`), header)],
    ["exp twice", await raw(JSON.stringify(claims).replace("{", `{"exp":9999999999,`), header)],
    ["sub twice, once escaped", await raw(JSON.stringify(claims).replace("{", `{"s\\u0075b" : "root",`), header)],
    ["alg twice", await raw(JSON.stringify(claims), `{"alg":"none","kid":"rsa-1","alg":"RS256"}`)],
    // Claims of somebody else, for somebody else, or of none.
    ["another issuer", await token({ ...claims, iss: "https://evil.example.com" })],
    ["an issuer that begins alike", await token({ ...claims, iss: `${name}.evil.com` })],
    ["an issuer with a slash more", await token({ ...claims, iss: `${name}/` })],
    ["an issuer in a list", await raw(JSON.stringify({ ...claims, iss: [name] }), header)],
    ["no issuer", await token(without("iss"))],
    ["another audience", await token({ ...claims, aud: "https://other.example.com" })],
    ["an audience that begins alike", await token({ ...claims, aud: `${audience}.evil.com` })],
    ["an empty list of audiences", await token({ ...claims, aud: [] })],
    ["no audience", await token(without("aud"))],
    ["no subject", await token(without("sub"))],
    ["a subject that is a number", await raw(JSON.stringify({ ...claims, sub: 7 }), header)],
    ["an empty subject", await token({ ...claims, sub: "" })],
    ["an endless subject", await token({ ...claims, sub: "a".repeat(257) })],
    // Times.
    ["expired", await token({ ...claims, exp: noon - 6 })],
    ["expired at the very second", await token({ ...claims, exp: noon - 5 })],
    ["expired long ago", await token({ ...claims, exp: 0 })],
    ["expired before all time", await token({ ...claims, exp: -noon })],
    ["no exp", await token(without("exp"))],
    ["exp that is text", await raw(JSON.stringify({ ...claims, exp: `${noon + 300}` }), header)],
    ["exp that is null", await raw(JSON.stringify({ ...claims, exp: null }), header)],
    ["exp beyond all numbers", await raw(JSON.stringify(claims).replace(`${noon + 300}`, "1e999"), header)],
    ["not yet good", await token({ ...claims, nbf: noon + 6 })],
    ["nbf that is text", await raw(JSON.stringify({ ...claims, nbf: "0" }), header)],
    // No token at all.
    ["nothing", ""],
    ["dots", ".."],
    ["more dots", "...."],
    ["plain text", "secret"],
    ["a good token and a blank", `${good} `],
    ["a good token with a line feed", `${good}\n`],
    ["a good token with its scheme", `Bearer ${good}`],
    ["a good token twice", `${good}.${good}`],
    ["padding", `${first}=.${second}.${third}`],
    ["the other base64", `${first}.${second}.+/${third.slice(2)}`],
    ["not in ASCII", `${first}.${second}.é${third.slice(1)}`],
    ["claims that are a list", await raw("[]", header)],
    ["claims that are null", await raw("null", header)],
    ["claims that are no JSON", await raw("{", header)],
    ["a header that is no JSON", await raw(JSON.stringify(claims), "{")],
    ["claims that are no UTF-8", await raw("\ud800", header)],
    ["encrypted", `${encode({ alg: "dir", enc: "A256GCM" })}..AAAA.AAAA.AAAA`],
    ["a serialization in JSON", JSON.stringify({ payload: second, protected: first, signature: third })],
    ["too long", await token({ ...claims, padding: "a".repeat(8192) })],
    ["a megabyte", `${first}.${"A".repeat(1_000_000)}.${third}`],
    ["deeply nested claims", await raw(`{"a":${"[".repeat(4000)}`, header)],
    ["a key that nobody publishes", await token(claims, { ...keys.stranger, kid: "rsa-9" })]
  ]
}
