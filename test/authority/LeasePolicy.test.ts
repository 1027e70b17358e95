import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Logger, Redacted, References } from "effect"
import { TestClock } from "effect/testing"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import type * as LargestLease from "../../src/authority/LargestLease.ts"
import * as LeasePolicy from "../../src/authority/LeasePolicy.ts"
import * as Leases from "../../src/authority/Leases.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Capability from "../../src/protocol/Capability.ts"

const ask = (
  request?: Capability.Grants,
  constraints?: Capability.Constraints,
  principal: Authenticator.Principal = { id: "alice" }
): Leases.Request => ({ principal, agent: "writer", request, constraints })

const grant = (request: Leases.Request) => Leases.Leases.use((leases) => leases.grant(request))

const within = (largest: LargestLease.LargestLease, inner?: Layer.Layer<Leases.Leases>) =>
  Leases.layerWithin(inner).pipe(Layer.provide(LeasePolicy.layer(() => Effect.succeed(largest))))

const Largest: LargestLease.LargestLease = {
  grants: {
    "fs.read": ["/ws/**", "/tmp/*"],
    "tool.call": ["search.*"],
    "cost.budget": ["USD:5.00", "EUR:1.00"]
  },
  expiresAt: 3_600_000
}

const end = { expires_at: "1970-01-01T01:00:00.000Z" }

describe("LeasePolicy", () => {
  it.effect("grants what is within the largest lease, with the bounds that were left out", () =>
    Effect.gen(function* () {
      const asked = { "fs.read": ["/ws/src/**"], "tool.call": ["search.web"] }
      const lease = yield* grant(ask(asked))
      assert.deepStrictEqual(lease.grants, { ...asked, "cost.budget": ["USD:5", "EUR:1"] })
      assert.deepStrictEqual(lease.constraints, end)

      const some = yield* grant(
        ask({ "cost.budget": ["USD:1.00", "USD:4.00"] }, { expires_at: "1970-01-01T00:30:00Z" })
      )
      assert.deepStrictEqual(some.grants, { "cost.budget": ["USD:1.00", "USD:4.00", "EUR:1"] })
      assert.deepStrictEqual(some.constraints, { expires_at: "1970-01-01T00:30:00Z" })
      // A currency that the policy does not bound.
      assert.deepStrictEqual((yield* grant(ask({ "cost.budget": ["credits:7"] }))).grants, {
        "cost.budget": ["credits:7", "USD:5", "EUR:1"]
      })
    }).pipe(Effect.provide(within(Largest)))
  )

  it.effect("refuses what goes beyond it, and names the field and the pattern", () =>
    Effect.gen(function* () {
      const refused: ReadonlyArray<readonly [Leases.Request, field: string, pattern?: string]> = [
        [ask({ "fs.read": ["/ws/a", "/**"] }), "lease_request.fs.read[1]", "/**"],
        [ask({ "fs.write": ["/ws/a"] }), "lease_request.fs.write[0]", "/ws/a"],
        [ask({ "tool.call": ["*"] }), "lease_request.tool.call[0]", "*"],
        [ask({ "model.use": ["m"] }), "lease_request.model.use[0]", "m"],
        [ask({ "cost.budget": ["USD:5.01"] }), "lease_request.cost.budget", "USD:5.01"],
        [ask({}, { expires_at: "1970-01-01T01:00:00.001Z" }), "lease_constraints.expires_at"]
      ]
      for (const [request, field, pattern] of refused) {
        const error = yield* Effect.flip(grant(request))
        assert.strictEqual(error._tag, "PermissionDenied")
        assert.deepStrictEqual(error.details, pattern === undefined ? { field } : { field, pattern })
        assert.include(error.message, field)
      }
      // What is malformed is that, whoever asks.
      assert.strictEqual((yield* Effect.flip(grant(ask({ "fs.read": ["x"] }))))._tag, "InvalidRequest")
    }).pipe(Effect.provide(within(Largest)))
  )

  it.effect("bounds how long a lease lasts, from when it begins", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual((yield* grant(ask())).constraints, { expires_at: "1970-01-01T00:15:00.000Z" })
      yield* grant(ask({}, { expires_at: "1970-01-01T00:15:00Z" }))
      const late = yield* Effect.flip(grant(ask({}, { expires_at: "1970-01-01T00:15:01Z" })))
      assert.deepStrictEqual(late.details, { field: "lease_constraints.expires_at" })
      // The earlier of both ends.
      yield* TestClock.adjust("48 minutes")
      assert.deepStrictEqual((yield* grant(ask())).constraints, end)
      yield* TestClock.adjust("2 minutes")
      const over = yield* Effect.flip(grant(ask()))
      assert.strictEqual(over._tag, "PermissionDenied")
      assert.deepStrictEqual(over.details, { field: "lease_constraints.expires_at" })
    }).pipe(Effect.provide(within({ grants: {}, expiresAt: 3_600_000, lifetime: Duration.minutes(5) })))
  )

  it.effect("bounds nothing by an end too far to be written, and lets it be none", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* grant(ask())).constraints, { expires_at: "9999-12-31T23:59:59.999Z" })
    }).pipe(Effect.provide(within({ grants: {}, expiresAt: Number.MAX_SAFE_INTEGER, lifetime: Duration.infinity })))
  )

  it.effect("leaves no models to a lease that names none, where it bounds them", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* grant(ask())).grants, { "model.use": [] })
      assert.deepStrictEqual((yield* grant(ask({ "model.use": ["a-1"] }))).grants, { "model.use": ["a-1"] })
    }).pipe(Effect.provide(within({ grants: { "model.use": ["a-*"] } })))
  )

  it.effect("hands what is within to another policy, which narrows it further", () => {
    const seen: Array<string> = []
    const narrowing = Leases.layerPolicy(({ pattern }) =>
      Effect.sync(() => {
        seen.push(pattern)
        return pattern !== "/tmp/*"
      })
    )
    return Effect.gen(function* () {
      const lease = yield* grant(ask({ "fs.read": ["/ws/a", "/tmp/*"] }))
      assert.deepStrictEqual(lease.grants, { "fs.read": ["/ws/a"], "cost.budget": ["USD:5", "EUR:1"] })
      assert.deepStrictEqual(lease.constraints, end)
      assert.strictEqual((yield* Effect.flip(grant(ask({ "fs.read": ["/etc/a"] }))))._tag, "PermissionDenied")
      // What is beyond was not asked about.
      assert.deepStrictEqual(seen, ["/ws/a", "/tmp/*"])
    }).pipe(Effect.provide(within(Largest, narrowing)))
  })

  it.effect("goes by the principal and the agent, and can use services", () => {
    class Homes extends Context.Service<Homes, { readonly root: string }>()("test/Homes") {}
    const policy = LeasePolicy.layer(({ agent, principal }) =>
      Effect.gen(function* () {
        if (principal.id === "mallory") return yield* new ArcpError.PermissionDenied({ message: `no ${agent} for you` })
        return { grants: { "fs.read": [`${(yield* Homes).root}/${principal.id}/**`] } }
      })
    )
    const leases = Leases.layerWithin().pipe(
      Layer.provide(policy),
      Layer.provide(Layer.succeed(Homes, { root: "/home" }))
    )
    const outcome = (id: string, path: string) =>
      Effect.match(grant(ask({ "fs.read": [path] }, {}, { id })), {
        onFailure: (error) => error.message.slice(0, 22),
        onSuccess: () => "ok"
      })
    return Effect.gen(function* () {
      assert.strictEqual(yield* outcome("alice", "/home/alice/x"), "ok")
      assert.strictEqual(yield* outcome("bob", "/home/alice/x"), "lease_request.fs.read[")
      assert.strictEqual(yield* outcome("mallory", "/home/mallory/x"), "no writer for you")
    }).pipe(Effect.provide(leases))
  })

  it.effect("goes by what the authenticator knows; of whom it knows nothing may ask for nothing", () =>
    Effect.gen(function* () {
      const principals = Authenticator.layerStatic([
        { token: Redacted.make("a"), principal: "alice", largestLease: { grants: { "tool.call": ["search"] } } },
        { token: Redacted.make("b"), principal: "bob" }
      ])
      const login = (token: string) =>
        Authenticator.Authenticator.use((_) => _.authenticate({ scheme: "bearer", token: Redacted.make(token) }))
      yield* Effect.gen(function* () {
        const search = { "tool.call": ["search"] }
        assert.deepStrictEqual((yield* grant(ask(search, {}, yield* login("a")))).grants, search)
        assert.strictEqual((yield* Effect.flip(grant(ask(search, {}, yield* login("b")))))._tag, "PermissionDenied")
        assert.deepStrictEqual((yield* grant(ask({}, {}, yield* login("b")))).grants, {})
      }).pipe(
        Effect.provide(principals),
        Effect.provide(Leases.layerWithin().pipe(Layer.provide(LeasePolicy.layerPrincipal)))
      )
    })
  )

  it.effect("does not build from a static token whose largest lease cannot be read", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.scoped(
          Layer.build(
            Authenticator.layerStatic([
              { token: Redacted.make("hunter2"), principal: "alice", largestLease: { grants: { "fs.read": ["x"] } } }
            ])
          )
        )
      )
      assert.include(error.message, "tokens[0].largestLease lease_request.fs.read[0]")
      assert.notInclude(JSON.stringify(error), "hunter2")
    })
  )

  it.effect("refuses everything under a largest lease that cannot be read, and tells the operator", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => {
      lines.push(JSON.stringify(message))
    })
    return Effect.gen(function* () {
      const error = yield* Effect.flip(grant(ask()))
      assert.strictEqual(error._tag, "PermissionDenied")
      assert.strictEqual(error.message, "What the principal may ask for cannot be read")
      assert.include(lines.join(), "lease_request.fs.read[0]")
    }).pipe(
      Effect.provide(within({ grants: { "fs.read": ["x"] } })),
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "Info")
    )
  })
})
