import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Leases from "../../src/authority/Leases.ts"
import * as Operation from "../../src/authority/Operation.ts"
import * as Lease from "../../src/authority/Lease.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Capability from "../../src/protocol/Capability.ts"

const ask = (request?: Capability.Grants, constraints?: Capability.Constraints): Leases.Request => ({
  principal: { id: "alice" },
  agent: "writer",
  request,
  constraints
})

const grant = (request: Leases.Request) => Leases.Leases.use((leases) => leases.grant(request))

const Everything: Capability.Grants = {
  "fs.read": ["/ws/**", "/etc/*"],
  "tool.call": ["search", "shell"],
  "cost.budget": ["USD:1.00"]
}

describe("Leases", () => {
  it.effect("grants what is asked for, and nothing when nothing is asked for", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* grant(ask(Everything))).grants, Everything)
      const nothing = yield* grant(ask())
      assert.deepStrictEqual(nothing.grants, {})
      assert.deepStrictEqual(nothing.constraints, {})
    }).pipe(Effect.provide(Leases.layer))
  )

  it.effect("takes the time from the clock unless it is told", () =>
    Effect.gen(function* () {
      const request = ask({}, { expires_at: "1970-01-01T00:01:00Z" })
      yield* grant(request)
      const late = yield* Effect.flip(grant({ ...request, now: 60_000 }))
      assert.strictEqual(late._tag, "InvalidRequest")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Effect.flip(grant(request)))._tag, "InvalidRequest")
      yield* grant({ ...request, now: 0 })
    }).pipe(Effect.provide(Leases.layer))
  )

  it.effect("reads expires_at also when no lease is asked for", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(grant(ask(undefined, { expires_at: "2026-01-01T00:00:00+01:00" })))
      assert.deepStrictEqual(error.details, { field: "lease_constraints.expires_at" })
    }).pipe(Effect.provide(Leases.layer))
  )

  it.effect("keeps what the policy keeps, and shows it who asks for what", () => {
    const seen: Array<Leases.Ask> = []
    const policy = Leases.layerPolicy((asked) =>
      Effect.sync(() => {
        seen.push(asked)
        return asked.pattern === "/ws/**"
      })
    )
    return Effect.gen(function* () {
      const lease = yield* grant(ask(Everything, { expires_at: "1970-01-02T00:00:00Z" }))
      assert.deepStrictEqual(lease.grants, { "fs.read": ["/ws/**"], "cost.budget": ["USD:1.00"] })
      assert.deepStrictEqual(lease.constraints, { expires_at: "1970-01-02T00:00:00Z" })
      assert.strictEqual(
        (yield* Effect.flip(Effect.fromResult(Lease.authorize(lease, Operation.toolCall("search"), 0))))._tag,
        "PermissionDenied"
      )
      assert.deepStrictEqual(seen, [
        { principal: { id: "alice" }, agent: "writer", capability: "fs.read", pattern: "/ws/**" },
        { principal: { id: "alice" }, agent: "writer", capability: "fs.read", pattern: "/etc/*" },
        { principal: { id: "alice" }, agent: "writer", capability: "tool.call", pattern: "search" },
        { principal: { id: "alice" }, agent: "writer", capability: "tool.call", pattern: "shell" }
      ])
    }).pipe(Effect.provide(policy))
  })

  it.effect("keeps the budget whatever the policy says: without it there would be no bound", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* grant(ask(Everything))).grants, { "cost.budget": ["USD:1.00"] })
    }).pipe(Effect.provide(Leases.layerPolicy(() => Effect.succeed(false))))
  )

  it.effect("refuses the job when the policy does, and a malformed request before the policy is asked", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(grant(ask(Everything)))).message, "not you")
      assert.strictEqual((yield* Effect.flip(grant(ask({ "fs.read": ["x"] }))))._tag, "InvalidRequest")
    }).pipe(
      Effect.provide(Leases.layerPolicy(() => Effect.fail(new ArcpError.PermissionDenied({ message: "not you" }))))
    )
  )

  it.effect("lets a policy use services", () => {
    class Directory extends Context.Service<Directory, { readonly admins: ReadonlySet<string> }>()("test/Directory") {}
    const policy = Leases.layerPolicy(({ capability, principal }) =>
      Directory.useSync(({ admins }) => capability !== "tool.call" || admins.has(principal.id))
    )
    const grants = (id: string) =>
      Effect.map(grant({ ...ask(Everything), principal: { id } }), (lease) => Object.keys(lease.grants))
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* grants("alice"), ["fs.read", "cost.budget"])
      assert.deepStrictEqual(yield* grants("root"), ["fs.read", "tool.call", "cost.budget"])
    }).pipe(Effect.provide(policy.pipe(Layer.provide(Layer.succeed(Directory, { admins: new Set(["root"]) })))))
  })

  it.effect.prop(
    "never grants what was not asked for",
    {
      patterns: Schema.Array(Schema.Literals(["/a", "/a/*", "/**", "/b"])).check(Schema.isMaxLength(6)),
      kept: Schema.Array(Schema.Boolean)
    },
    ({ kept, patterns }) => {
      let index = 0
      const policy = Leases.layerPolicy(() => Effect.sync(() => kept[index++] ?? false))
      return Effect.gen(function* () {
        const lease = yield* grant(ask({ "fs.read": patterns }))
        assert.deepStrictEqual(
          lease.grants["fs.read"] ?? [],
          patterns.filter((_, at) => kept[at] ?? false)
        )
      }).pipe(Effect.provide(policy))
    }
  )
})
