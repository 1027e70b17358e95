/**
 * From a token to what may be asked for: JSON Web Tokens, published keys, and the largest lease of whoever holds one.
 *
 * An issuer signs tokens and publishes the keys to check them with. The runtime reads the claims of a good token: they say who it is, and
 * how much that principal may ask for at most. A submit within that gets the lease that it asked for, with the bounds that it left out; one
 * beyond it is refused, and the refusal names the pattern. One capability is the vendor's own, with a matcher that knows what its patterns
 * mean: how many rows of a table.
 *
 * The issuer is a small HTTP server in this process that stands for the real thing. The tokens need the package `jose`.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/node` for `../src/node/index.ts`, and so on.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Clock, Console, Duration, Effect, Layer, Option, Redacted, Result, Schema } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import * as Jose from "jose"
import * as Assert from "node:assert/strict"
import { createServer } from "node:http"
import {
  type LargestLease,
  LeaseGuard,
  LeasePolicy,
  Leases,
  Operation,
  VendorCapability
} from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { NodeJwtAuthenticator } from "../src/node/index.ts"
import type { Capability } from "../src/protocol/index.ts"
import { Agent, ArcpServer } from "../src/runtime/index.ts"
import { MemoryTransport } from "../src/transport/index.ts"

// ------------------------------------------------------------------------------------------------------------- the issuer

const issuer = "https://id.example.com"
const audience = "https://agents.example.com"

const keys = await Jose.generateKeyPair("ES256")
const published = { ...(await Jose.exportJWK(keys.publicKey)), alg: "ES256", kid: "1", use: "sig" }

const IssuerLive = HttpRouter.serve(
  HttpRouter.add("GET", "/jwks.json", HttpServerResponse.jsonUnsafe({ keys: [published] })),
  { disableLogger: true, disableListenLog: true }
).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))

/** A token that is good for five minutes. */
const sign = (claims: Jose.JWTPayload, key = keys.privateKey) =>
  Effect.gen(function* () {
    const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const token = new Jose.SignJWT({ iss: issuer, aud: audience, iat: now, exp: now + 300, ...claims })
    return Redacted.make(yield* Effect.promise(() => token.setProtectedHeader({ alg: "ES256", kid: "1" }).sign(key)))
  })

// ----------------------------------------------------------------------------------------------- the host: how much for whom

/** `"x-vendor.acme.rows": ["100"]` lets an agent read at most so many rows. */
const Rows = VendorCapability.make<number>({
  parse: (source) => (/^\d{1,9}$/.test(source) ? Result.succeed(Number(source)) : Result.fail("is no number of rows")),
  covers: (limits, target) => limits.some((limit) => Number(target) <= limit),
  includes: (limits, child) => limits.some((limit) => child <= limit)
})

const tiers: Readonly<Record<string, LargestLease.LargestLease>> = {
  gold: {
    grants: { "tool.call": ["search.*"], "x-vendor.acme.rows": ["1000"], "cost.budget": ["USD:5.00"] },
    lifetime: Duration.hours(1)
  },
  basic: {
    grants: { "tool.call": ["search.web"], "x-vendor.acme.rows": ["100"], "cost.budget": ["USD:0.50"] },
    lifetime: Duration.minutes(5)
  }
}

/** A token that does not say for whom it is, or of a tier that there is not, is one of nobody. */
const principal: NodeJwtAuthenticator.Options["principal"] = ({ sub, tier }) => {
  const largestLease = typeof tier === "string" && Object.hasOwn(tiers, tier) ? tiers[tier] : undefined
  return typeof sub === "string" && largestLease !== undefined ? Option.some({ id: sub, largestLease }) : Option.none()
}

// -------------------------------------------------------------------------------------------------------------- the agent

/** Reads so many rows, as far as its lease goes. */
const Table = Agent.make({ name: "table", input: Schema.Int, output: Schema.String })

const TableLive = Table.toLayer(
  Effect.fnUntraced(function* (rows) {
    const guard = yield* LeaseGuard.LeaseGuard
    yield* guard.authorize(Operation.vendor("x-vendor.acme.rows", String(rows)))
    return `${rows} rows`
  })
)

const Server = Layer.unwrap(
  Effect.map(HttpServer.HttpServer, ({ address }) =>
    ArcpServer.serve(TableLive, {
      // Goes by what the authenticator knows of the principal. `LeasePolicy.layer` asks a function of your own instead.
      leases: Leases.layerWithin().pipe(Layer.provide(LeasePolicy.layerPrincipal))
    }).pipe(
      Layer.provide(
        NodeJwtAuthenticator.layer({
          jwks: `${HttpServer.formatAddress(address)}/jwks.json`,
          issuer,
          audience,
          principal
        })
      )
    )
  )
).pipe(Layer.provide(VendorCapability.layer({ "x-vendor.acme.rows": Rows })), Layer.provideMerge(MemoryTransport.layer))

// ------------------------------------------------------------------------------------------------------------ the clients

/** Submits as whoever the token is of; gives what became of it, and the lease that the job had. */
const submit = (token: Effect.Effect<Redacted.Redacted>, rows: number, lease: Capability.Grants) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const job = yield* client.submit(Table, rows, { lease })
    return { lease: job.lease, ends: job.leaseConstraints?.expires_at, result: yield* job.result }
  }).pipe(Effect.provide(ArcpClient.ArcpClient.layer({ token })))

/** What a client hears that is not let in, or not let do. */
const refused = Effect.fn(function* (what: string, attempt: ReturnType<typeof submit>) {
  const error = yield* Effect.flip(attempt)
  yield* Console.log(`${what.padEnd(28)} ${error._tag}: ${error.message}`)
  return error
})

const program = Effect.gen(function* () {
  const ada = sign({ sub: "ada", tier: "gold" })
  const bob = sign({ sub: "bob", tier: "basic" })
  const asking = (rows: number) => ({ "tool.call": ["search.web"], "x-vendor.acme.rows": [String(rows)] })

  const good = yield* submit(ada, 500, asking(500))
  yield* Console.log(`${"ada asks for 500 rows".padEnd(28)} ${good.result}, with ${JSON.stringify(good.lease)}`)
  // What was asked for, and no more; the bounds that were left out are those of the tier.
  Assert.deepEqual(good.lease, { ...asking(500), "cost.budget": ["USD:5"] })
  Assert.ok(good.ends !== undefined)
  Assert.equal(good.result, "500 rows")

  const beyond = yield* refused("bob asks for 500 rows", submit(bob, 500, asking(500)))
  Assert.equal(beyond._tag, "PermissionDenied")
  Assert.deepEqual(beyond.details, { field: "lease_request.x-vendor.acme.rows[0]", pattern: "500" })

  const tools = yield* refused("bob asks for every search", submit(bob, 1, { "tool.call": ["search.*"] }))
  Assert.deepEqual(tools.details, { field: "lease_request.tool.call[0]", pattern: "search.*" })

  // The lease is granted here. What is beyond it the agent finds out, at the operation.
  const operation = yield* refused("bob has 100 and reads 101", submit(bob, 101, asking(100)))
  Assert.equal(operation._tag, "PermissionDenied")
  Assert.equal((yield* submit(bob, 100, asking(100))).result, "100 rows")

  const stranger = yield* Effect.promise(() => Jose.generateKeyPair("ES256"))
  for (const [what, token] of [
    ["another key", sign({ sub: "ada", tier: "gold" }, stranger.privateKey)],
    ["another audience", sign({ sub: "ada", tier: "gold", aud: "https://elsewhere.example.com" })],
    ["a token that has run out", sign({ sub: "ada", tier: "gold", exp: 1 })],
    ["no tier", sign({ sub: "ada" })]
  ] as const) {
    Assert.equal((yield* refused(what, submit(token, 1, {})))._tag, "Unauthenticated")
  }
})

program.pipe(Effect.provide(Server.pipe(Layer.provide(IssuerLive))), NodeRuntime.runMain)
