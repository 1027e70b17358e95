import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Logger, Option, Redacted, References, Result, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as Jose from "jose"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as LeasePolicy from "../../src/authority/LeasePolicy.ts"
import * as Leases from "../../src/authority/Leases.ts"
import * as NodeJwtAuthenticator from "../../src/node/NodeJwtAuthenticator.ts"
import { verifies } from "../conformance/verifies.ts"
import * as HostileTokens from "./HostileTokens.ts"
import * as Issuer from "./Issuer.ts"

const { claims, keys, noon } = Issuer

type Options = Partial<NodeJwtAuthenticator.Options>

/** An authenticator at noon, and its issuer. */
const start = Effect.fnUntraced(function* (options: Options = {}) {
  yield* TestClock.setTime(noon * 1000)
  const issuer = yield* Issuer.serve
  const context = yield* Layer.build(
    NodeJwtAuthenticator.layer({ jwks: issuer.jwks, issuer: Issuer.name, audience: Issuer.audience, ...options })
  )
  const authenticate = (token: string, scheme = "bearer") =>
    Authenticator.Authenticator.use((_) => _.authenticate({ scheme, token: Redacted.make(token) })).pipe(
      Effect.provideContext(context)
    )
  const outcome = (token: string) =>
    Effect.match(authenticate(token), { onFailure: (error) => error._tag, onSuccess: () => "ok" })
  return { issuer, authenticate, outcome }
})

const sign = (...args: Parameters<typeof Issuer.token>) => Effect.promise(() => Issuer.token(...args))

/** Lets sockets do what they will do, until something holds. */
const eventually = (holds: () => boolean) =>
  Effect.promise(async () => {
    while (!holds()) await new Promise((resolve) => setImmediate(resolve))
  })

describe("NodeJwtAuthenticator", () => {
  it.effect("takes tokens of each kind of key, and tells whom they stand for and until when", () =>
    Effect.gen(function* () {
      const { authenticate, issuer } = yield* start()
      for (const key of [keys.rsa, keys.ec, keys.ed]) {
        const principal = yield* authenticate(yield* sign(claims, key))
        assert.deepStrictEqual(principal, { id: "alice", expiresAt: (noon + 305) * 1000 })
      }
      yield* authenticate(yield* sign({ ...claims, aud: ["https://other.example.com", Issuer.audience] }))
      // Its end is not always a whole second, and may be as good as never.
      assert.strictEqual(
        (yield* authenticate(yield* sign({ ...claims, exp: noon + 0.5 }))).expiresAt,
        noon * 1000 + 5500
      )
      assert.strictEqual((yield* authenticate(yield* sign({ ...claims, exp: 1e15 }))).expiresAt, 253_402_300_799_999)
      assert.strictEqual(issuer.asked(), 1)
    })
  )

  it.effect("goes by the clock, with some leeway", () =>
    Effect.gen(function* () {
      const { outcome } = yield* start({ leeway: "2 seconds" })
      const token = yield* sign({ ...claims, nbf: noon + 10, exp: noon + 20 })
      const seen: Array<string> = []
      for (const second of [7, 8, 21, 22]) {
        yield* TestClock.setTime((noon + second) * 1000)
        seen.push(`${second} ${yield* outcome(token)}`)
      }
      assert.deepStrictEqual(seen, ["7 Unauthenticated", "8 ok", "21 ok", "22 Unauthenticated"])
    })
  )

  it.effect("can ask for a type and other algorithms", () =>
    Effect.gen(function* () {
      const { outcome } = yield* start({ type: "at+jwt", algorithms: ["ES256"] })
      assert.strictEqual(yield* outcome(yield* sign(claims, keys.ec, { typ: "at+jwt" })), "ok")
      assert.strictEqual(yield* outcome(yield* sign(claims, keys.ec, { typ: "JWT" })), "Unauthenticated")
      assert.strictEqual(yield* outcome(yield* sign(claims, keys.ec)), "Unauthenticated")
      assert.strictEqual(yield* outcome(yield* sign(claims, keys.rsa, { typ: "at+jwt" })), "Unauthenticated")
    })
  )

  it.effect("makes of claims a principal and the largest lease that it may ask for", () =>
    Effect.gen(function* () {
      const { authenticate } = yield* start({
        principal: ({ org, tools, user }) =>
          typeof user === "string" && Array.isArray(tools)
            ? Option.some({
                id: `${String(org)}/${user}`,
                largestLease: {
                  grants: { "tool.call": tools.map(String), "cost.budget": ["USD:1.00"] },
                  lifetime: Duration.minutes(1)
                }
              })
            : Option.none()
      })
      const principal = yield* authenticate(yield* sign({ ...claims, org: "acme", user: "bob", tools: ["search.*"] }))
      assert.strictEqual(principal.id, "acme/bob")
      const grant = (tool: string) =>
        Leases.Leases.use((leases) =>
          leases.grant({ principal, agent: "a", request: { "tool.call": [tool] }, constraints: undefined })
        ).pipe(Effect.provide(Leases.layerWithin().pipe(Layer.provide(LeasePolicy.layerPrincipal))))
      const lease = yield* grant("search.web")
      assert.deepStrictEqual(lease.grants, { "tool.call": ["search.web"], "cost.budget": ["USD:1"] })
      assert.deepStrictEqual(lease.constraints, { expires_at: "2026-05-13T12:01:00.000Z" })
      assert.deepStrictEqual((yield* Effect.flip(grant("shell"))).details, {
        field: "lease_request.tool.call[0]",
        pattern: "shell"
      })
      assert.strictEqual((yield* Effect.flip(authenticate(yield* sign(claims))))._tag, "Unauthenticated")
    })
  )

  it.effect("refuses claims of which the host can make no principal", () =>
    Effect.gen(function* () {
      const { outcome } = yield* start({
        principal: ({ sub }) => {
          if (sub === "thrower") throw new Error("no")
          if (sub === "nobody") return Option.none()
          return Option.some({
            id: sub === "empty" ? "" : "a",
            ...(sub === "unreadable" ? { largestLease: { grants: { "fs.read": ["x"] } } } : undefined)
          })
        }
      })
      for (const sub of ["thrower", "nobody", "empty", "unreadable"]) {
        assert.strictEqual(yield* outcome(yield* sign({ ...claims, sub })), "Unauthenticated", sub)
      }
      assert.strictEqual(yield* outcome(yield* sign(claims)), "ok")
    })
  )

  verifies(
    ["C-011", "C-012", "C-133"],
    "hostile tokens are refused in the same words, and no part of a token is in any error, log or span",
    () => {
      const seen: Array<string> = []
      const note = (value: unknown) => {
        seen.push(typeof value === "string" ? value : (JSON.stringify(value) ?? String(value)))
      }
      const logger = Logger.make((line) => {
        note(line.message)
        note(String(line.cause))
      })
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          return Object.assign(span, {
            attribute: (key: string, value: unknown) => note({ key, value }),
            event: (name: string, _: bigint, attributes: unknown) => note({ name, attributes }),
            end: (_: bigint, exit: unknown) => {
              note(options.name)
              note(exit)
            }
          })
        }
      })
      return Effect.gen(function* () {
        const { authenticate, issuer } = yield* start()
        const refusal = JSON.stringify(Authenticator.refusal())
        const good = yield* sign({ ...claims, canary: "canary-claim" })
        const hostile = yield* Effect.promise(HostileTokens.all)
        assert.isAbove(hostile.length, 90)
        yield* authenticate(good)
        for (const [why, token] of hostile) {
          const result = yield* Effect.result(authenticate(token))
          assert.isTrue(Result.isFailure(result), `must be refused: ${why}`)
          if (Result.isFailure(result)) assert.strictEqual(JSON.stringify(result.failure), refusal, why)
          note(result)
        }
        for (const scheme of ["Bearer", "basic", "none", ""]) {
          const error = yield* Effect.flip(authenticate(good, scheme))
          assert.strictEqual(JSON.stringify(error), refusal)
        }
        // Their unknown keys did not send it to the issuer again and again.
        assert.isAtMost(issuer.asked(), 2)

        const everything = seen.join("\n")
        assert.include(everything, "A token was refused")
        assert.include(everything, "NodeJwtAuthenticator.authenticate")
        for (const secret of [good, ...hostile.map(([, token]) => token)]) {
          for (const part of secret.split(".")) {
            if (part.length >= 16) assert.notInclude(everything, part.slice(0, 64))
          }
        }
        for (const word of ["canary-claim", "evil.example.com", "dev/null", "root"]) assert.notInclude(everything, word)
      }).pipe(
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.MinimumLogLevel, "Trace"),
        Effect.provideService(Tracer.Tracer, tracer)
      )
    }
  )

  it.effect("learns of new keys when a token names one, and asks for them no more often than it may", () =>
    Effect.gen(function* () {
      const { issuer, outcome } = yield* start({ cooldown: "30 seconds" })
      const token = yield* sign({ ...claims, exp: noon + 3600 })
      const next = yield* Effect.promise(() => Issuer.key("ES256", "ec-2"))
      const changed = yield* sign({ ...claims, exp: noon + 3600 }, next)
      assert.strictEqual(yield* outcome(token), "ok")
      assert.strictEqual(issuer.asked(), 1)

      issuer.publish({ keys: [next.jwk] })
      // So soon after a fetch a stranger's key causes none.
      assert.strictEqual(yield* outcome(changed), "Unauthenticated")
      assert.strictEqual(issuer.asked(), 1)
      yield* TestClock.adjust("30 seconds")
      const outcomes = yield* Effect.all(
        Array.from({ length: 20 }, () => outcome(changed)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(new Set(outcomes), new Set(["ok"]))
      assert.strictEqual(issuer.asked(), 2)
      // What is not published any more is not taken any more.
      assert.strictEqual(yield* outcome(token), "Unauthenticated")
      assert.strictEqual(issuer.asked(), 2)
      yield* TestClock.adjust("29 seconds")
      yield* Effect.all(
        Array.from({ length: 20 }, () => outcome(token)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(issuer.asked(), 2)
    })
  )

  it.effect("fetches keys again in time, so that a key that was withdrawn ends", () =>
    Effect.gen(function* () {
      const { issuer, outcome } = yield* start({ refreshAfter: "10 minutes" })
      const token = yield* sign({ ...claims, exp: noon + 36_000 })
      assert.strictEqual(yield* outcome(token), "ok")
      issuer.publish({ keys: [keys.ec.jwk] })
      yield* TestClock.adjust("9 minutes")
      assert.strictEqual(yield* outcome(token), "ok")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* outcome(token), "Unauthenticated")
      assert.strictEqual(issuer.asked(), 2)
    })
  )

  it.effect("goes on with the keys that it has while the issuer is away, but not for ever", () =>
    Effect.gen(function* () {
      const { authenticate, issuer, outcome } = yield* start({ refreshAfter: "10 minutes", keepFor: "1 hour" })
      const token = yield* sign({ ...claims, exp: noon + 36_000 })
      assert.strictEqual(yield* outcome(token), "ok")
      issuer.answer((_, response) => response.writeHead(503).end())
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* outcome(token), "ok")
      yield* TestClock.adjust("1 minute")
      const error = yield* Effect.flip(authenticate(token))
      assert.strictEqual(JSON.stringify(error), JSON.stringify(Authenticator.refusal()))
      issuer.publish(Issuer.published)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* outcome(token), "ok")
    })
  )

  it.effect("refuses in the same words while there are no keys, and asks again a second later", () =>
    Effect.gen(function* () {
      const { authenticate, issuer, outcome } = yield* start()
      const token = yield* sign(claims)
      issuer.answer((request) => request.socket.destroy())
      const error = yield* Effect.flip(authenticate(token))
      assert.strictEqual(JSON.stringify(error), JSON.stringify(Authenticator.refusal()))
      const asked = issuer.asked()
      issuer.publish(Issuer.published)
      assert.strictEqual(yield* outcome(token), "Unauthenticated")
      assert.strictEqual(issuer.asked(), asked)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* outcome(token), "ok")
    })
  )

  it.effect("takes no keys that are no keys, too many bytes of them, or from elsewhere", () =>
    Effect.gen(function* () {
      const { issuer, outcome } = yield* start({ maxKeysBytes: 20_000 })
      const elsewhere = yield* Issuer.serve
      const token = yield* sign(claims)
      const secret = { kty: "oct", k: Jose.base64url.encode("a".repeat(64)), kid: "rsa-1", alg: "RS256", use: "sig" }
      const privateJwk = {
        ...(yield* Effect.promise(() => Jose.exportJWK(keys.rsa.privateKey))),
        kid: "rsa-1",
        alg: "RS256"
      }
      const answers: ReadonlyArray<readonly [why: string, answer: Parameters<Issuer.Issuer["answer"]>[0]]> = [
        ["no JSON", (_, response) => response.end("<html>")],
        ["no set", (_, response) => response.end("[]")],
        ["null", (_, response) => response.end("null")],
        ["a set of texts", (_, response) => response.end(`{"keys":["a"]}`)],
        ["no keys", (_, response) => response.end(`{"keys":[]}`)],
        ["a shared secret", (_, response) => response.end(JSON.stringify({ keys: [secret] }))],
        ["a private key", (_, response) => response.end(JSON.stringify({ keys: [privateJwk] }))],
        ["an error", (_, response) => response.writeHead(500).end(JSON.stringify(Issuer.published))],
        ["somewhere else", (_, response) => response.writeHead(302, { location: elsewhere.jwks }).end()],
        [
          "too much",
          (_, response) => response.end(JSON.stringify({ ...Issuer.published, padding: "a".repeat(20_000) }))
        ],
        [
          "too much, piece by piece",
          (_, response) => {
            const more = () => {
              if (!response.destroyed) response.write("a".repeat(1000), more)
            }
            more()
          }
        ]
      ]
      for (const [why, answer] of answers) {
        issuer.answer(answer)
        yield* TestClock.adjust("1 hour")
        yield* TestClock.setTime(noon * 1000)
        assert.strictEqual(yield* outcome(token), "Unauthenticated", why)
      }
      assert.strictEqual(elsewhere.asked(), 0)
      issuer.publish(Issuer.published)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* outcome(token), "ok")
    })
  )

  it.effect("takes no signature by a key that is too weak", () =>
    Effect.gen(function* () {
      const { issuer, outcome } = yield* start()
      const pair = yield* Effect.promise(() =>
        crypto.subtle.generateKey(
          {
            name: "RSASSA-PKCS1-v1_5",
            hash: "SHA-256",
            modulusLength: 1024,
            publicExponent: new Uint8Array([1, 0, 1])
          },
          true,
          ["sign", "verify"]
        )
      )
      const jwk = yield* Effect.promise(() => Jose.exportJWK(pair.publicKey))
      issuer.publish({ keys: [{ ...jwk, alg: "RS256", kid: "weak", use: "sig" }, keys.ec.jwk] })
      const weak = { ...keys.rsa, ...pair, kid: "weak" }
      const token = yield* Effect.promise(() =>
        Issuer.raw(JSON.stringify(claims), JSON.stringify({ alg: "RS256", kid: "weak" }), weak)
      )
      assert.strictEqual(yield* outcome(token), "Unauthenticated")
      assert.strictEqual(yield* outcome(yield* sign(claims, keys.ec)), "ok")
    })
  )

  it.effect("waits for keys only so long", () =>
    Effect.gen(function* () {
      const { issuer, outcome } = yield* start({ timeout: "5 seconds" })
      const token = yield* sign(claims)
      let closed = 0
      for (const begin of ["", `{"keys":[`]) {
        issuer.answer((_, response) => {
          response.on("close", () => closed++)
          if (begin !== "") response.write(begin)
        })
        const before = issuer.asked()
        const waiting = yield* Effect.forkChild(outcome(token))
        yield* eventually(() => issuer.asked() > before)
        yield* TestClock.adjust("4999 millis")
        assert.isUndefined(waiting.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* Fiber.join(waiting), "Unauthenticated")
        yield* TestClock.adjust("1 second")
      }
      yield* eventually(() => closed === 2)
    })
  )

  it.effect("lets nobody keep the keys from coming by leaving early", () =>
    Effect.gen(function* () {
      const { issuer, outcome } = yield* start()
      const token = yield* sign(claims)
      let release = () => {}
      issuer.answer((_, response) => {
        release = () => response.end(JSON.stringify(Issuer.published))
      })
      const guest = yield* Effect.forkChild(outcome(token))
      yield* eventually(() => issuer.asked() === 1)
      yield* Fiber.interrupt(guest)
      const waiting = yield* Effect.forkChild(outcome(token))
      yield* Effect.yieldNow
      release()
      assert.strictEqual(yield* Fiber.join(waiting), "ok")
      assert.strictEqual(issuer.asked(), 1)
    })
  )

  it.effect("does not build from options with which no token could be judged", () =>
    Effect.gen(function* () {
      const good = { jwks: "https://id.example.com/jwks.json", issuer: Issuer.name, audience: Issuer.audience }
      const cases: ReadonlyArray<readonly [Options, message: string]> = [
        [{ jwks: "jwks.json" }, "jwks is not a URL"],
        [{ jwks: "http://id.example.com/jwks.json" }, "jwks is neither https: nor at a loopback address"],
        [{ jwks: "http://127.0.0.1.evil.com/" }, "jwks is neither https: nor at a loopback address"],
        [{ jwks: "file:///etc/jwks.json" }, "jwks is neither https: nor at a loopback address"],
        [{ jwks: "https://a:hunter2@h/" }, "jwks holds a user or a password"],
        [{ issuer: "" }, "issuer is empty"],
        [{ audience: [] }, "audience is empty"],
        [{ audience: [""] }, "audience is empty"],
        [{ algorithms: [] }, "algorithms is empty"],
        [{ algorithms: JSON.parse(`["RS256","HS256"]`) }, `algorithms has "HS256", which signs with no private key`],
        [{ algorithms: JSON.parse(`["none"]`) }, `algorithms has "none", which signs with no private key`],
        [{ leeway: "11 minutes" }, "leeway is not from 0 to 10 minutes"],
        [{ leeway: -1 }, "leeway is not from 0 to 10 minutes"]
      ]
      for (const [options, message] of cases) {
        const error = yield* Effect.flip(
          Effect.scoped(Layer.build(NodeJwtAuthenticator.layer({ ...good, ...options })))
        )
        assert.strictEqual(error.message, message)
        assert.notInclude(JSON.stringify(error), "hunter2")
      }
    })
  )
})
