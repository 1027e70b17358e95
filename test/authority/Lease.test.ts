import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Effect, Option, Result, Schema } from "effect"
import * as Lease from "../../src/authority/Lease.ts"
import * as Operation from "../../src/authority/Operation.ts"
import * as Capability from "../../src/protocol/Capability.ts"
import * as JobMessage from "../../src/protocol/JobMessage.ts"
import { verifies } from "../conformance/verifies.ts"

const now = Date.parse("2026-05-13T12:00:00Z")

const lease = (grants: Capability.Grants, constraints: Capability.Constraints = {}) =>
  Result.getOrThrow(Lease.make(grants, constraints, now))

const tagOf = (result: Result.Result<unknown, { readonly _tag: string }>) =>
  Result.isFailure(result) ? result.failure._tag : "ok"

describe("Lease", () => {
  verifies("C-096", "what no grant covers is denied, with capability and target", () =>
    Effect.sync(() => {
      const subject = lease({ "tool.call": ["search.*"], "fs.read": ["/ws/**", "/tmp/*"] })
      assert.strictEqual(tagOf(Lease.authorize(subject, Operation.toolCall("search.web"), now)), "ok")
      assert.strictEqual(tagOf(Lease.authorize(subject, Operation.fsRead("/tmp/a"), now)), "ok")

      const denied = Lease.authorize(subject, Operation.toolCall("shell"), now)
      assert.isTrue(Result.isFailure(denied))
      if (Result.isSuccess(denied)) return
      assert.strictEqual(denied.failure._tag, "PermissionDenied")
      assert.deepStrictEqual(denied.failure.details, { capability: "tool.call", target: "shell" })

      // Reading is not writing, and a capability that is absent grants nothing.
      assert.strictEqual(tagOf(Lease.authorize(subject, Operation.fsWrite("/ws/a"), now)), "PermissionDenied")
      assert.strictEqual(tagOf(Lease.authorize(subject, Operation.modelUse("m"), now)), "PermissionDenied")
      assert.strictEqual(tagOf(Lease.authorize(lease({}), Operation.toolCall("search"), now)), "PermissionDenied")
      assert.strictEqual(
        tagOf(Lease.authorize(lease({ "tool.call": [] }), Operation.toolCall("search"), now)),
        "PermissionDenied"
      )
    })
  )

  it.each(["cost.budget", "__proto__", "constructor", "toString", "", "fs.read\0"])(
    "denies an operation under %j, which no lease can grant",
    (capability) => {
      const subject = lease({ "fs.read": ["/**"], "tool.call": ["**"], "cost.budget": ["USD:1"] })
      assert.strictEqual(tagOf(Lease.authorize(subject, { capability, target: "USD:1" }, now)), "PermissionDenied")
    }
  )

  it("denies what has no canonical form even where everything is granted", () => {
    const subject = lease({ "fs.read": ["/**"], "net.fetch": ["https://**/**"], "tool.call": ["**"] })
    for (const operation of [
      Operation.fsRead("/../x"),
      Operation.fsRead("x"),
      Operation.netFetch("https://u:p@h/"),
      Operation.toolCall("")
    ]) {
      assert.strictEqual(tagOf(Lease.authorize(subject, operation, now)), "PermissionDenied")
    }
  })

  it("puts no secret of a URL and no endless target into a denial", () => {
    const denied = (operation: Operation.Operation) =>
      JSON.stringify(Result.getOrThrow(Result.flip(Lease.authorize(lease({ "net.fetch": [] }), operation, now))))
    assert.notInclude(denied(Operation.netFetch("https://u:hunter2@h/?token=hunter2")), "hunter2")
    assert.isBelow(denied(Operation.toolCall("a".repeat(1_000_000))).length, 2000)
  })

  it("travels as it was asked for", () => {
    const grants = { "fs.read": ["/ws//a/../**"], "cost.budget": ["USD:1.00", "USD:0.50"] }
    const constraints = { expires_at: "2026-05-14T00:00:00+00:00" }
    const subject = lease(grants, constraints)
    assert.deepStrictEqual(subject.grants, grants)
    assert.deepStrictEqual(subject.constraints, constraints)
    assert.deepStrictEqual(subject.expiresAt, Option.some(Date.parse("2026-05-14T00:00:00Z")))
    assert.deepStrictEqual(
      Array.from(subject.budget, ([unit, sum]) => [unit, BigDecimal.format(sum)]),
      [["USD", "1.5"]]
    )
  })

  verifies("C-099", "a malformed lease is refused, and the refusal names the field", () =>
    Effect.sync(() => {
      const refusals: ReadonlyArray<readonly [Capability.Grants, field: string, pattern?: string]> = [
        [{ "fs.read": ["/a", "b"] }, "lease_request.fs.read[1]", "b"],
        [{ "fs.read": [""] }, "lease_request.fs.read[0]", ""],
        [{ "fs.write": ["/../a"] }, "lease_request.fs.write[0]", "/../a"],
        [{ "net.fetch": ["https://h/?q"] }, "lease_request.net.fetch[0]", "https://h/?q"],
        [{ "cost.budget": ["USD:1", "USD:-1"] }, "lease_request.cost.budget[1]", "USD:-1"],
        [{ "cost.budget": ["USD:1e3"] }, "lease_request.cost.budget[0]", "USD:1e3"],
        [{ "fs.delete": ["/a"] }, "lease_request.fs.delete"],
        [{ "x-vendor.acme": ["a"] }, "lease_request.x-vendor.acme"],
        [{ "": ["a"] }, "lease_request."],
        [JSON.parse(`{"__proto__":["a"]}`), "lease_request.__proto__"],
        [{ "tool.call": ["a".repeat(1025)] }, "lease_request.tool.call[0]", "a".repeat(256)],
        [{ "tool.call": Array.from({ length: 257 }, () => "a") }, "lease_request.tool.call"],
        [{ "tool.call": [...Array.from({ length: 8 }, () => "a".repeat(1024)), "a"] }, "lease_request.tool.call"],
        [
          Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`x-vendor.acme.c${index}`, ["a"]])),
          "lease_request"
        ]
      ]
      for (const [grants, field, pattern] of refusals) {
        const result = Lease.make(grants, {}, now)
        assert.isTrue(Result.isFailure(result), `${field} must be refused`)
        if (Result.isSuccess(result)) continue
        assert.strictEqual(result.failure._tag, "InvalidRequest")
        assert.deepStrictEqual(result.failure.details, pattern === undefined ? { field } : { field, pattern })
        assert.include(result.failure.message, field)
      }
    })
  )

  verifies("C-099", "patterns that are no array, or empty text, do not decode", () =>
    Effect.sync(() => {
      const isGrants = Schema.is(Capability.Grants)
      assert.isTrue(isGrants({ "fs.read": ["/a"] }))
      for (const grants of [
        { "fs.read": "/a" },
        { "fs.read": [""] },
        { "fs.read": [1] },
        ["fs.read"],
        { "fs.read": null }
      ]) {
        assert.isFalse(isGrants(grants), JSON.stringify(grants))
        const payload = { agent: "a", input: null, lease_request: grants }
        assert.isFalse(Schema.is(JobMessage.Submit.fields.payload)(payload), JSON.stringify(grants))
      }
    })
  )

  it("takes a lease at each of its limits", () => {
    lease({ "tool.call": Array.from({ length: 256 }, () => "a".repeat(32)) })
    assert.strictEqual(256 * 32, Lease.maxTotalLength)
    lease(Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`x-vendor.acme.c${index}`, ["a"]])))
  })

  verifies("C-104", "an expires_at that is past, malformed or not in UTC is refused", () =>
    Effect.sync(() => {
      for (const expires_at of [
        "2026-05-13T11:59:59.999Z",
        "2026-05-13T12:00:00Z",
        "1970-01-01T00:00:00Z",
        "2026-05-13T14:30:00+02:00",
        "2026-05-14T12:00:00",
        "2026-05-14",
        "2026-02-30T00:00:00Z",
        "9999-99-99T99:99:99Z",
        "tomorrow",
        ""
      ]) {
        const result = Lease.make({}, { expires_at }, now)
        assert.isTrue(Result.isFailure(result), `${JSON.stringify(expires_at)} must be refused`)
        if (Result.isSuccess(result)) continue
        assert.strictEqual(result.failure._tag, "InvalidRequest")
        assert.deepStrictEqual(result.failure.details, { field: "lease_constraints.expires_at" })
        if (expires_at === "tomorrow") assert.include(result.failure.message, "is not an RFC 3339 timestamp such as")
        if (expires_at.endsWith("+02:00")) assert.include(result.failure.message, "is not in UTC")
      }
      for (const expires_at of ["2026-05-13T12:00:00.001Z", "2026-05-13T12:00:01.0000000+00:00"]) {
        assert.isTrue(Result.isSuccess(Lease.make({}, { expires_at }, now)), expires_at)
      }
    })
  )

  it("ends at the very instant, and says so before anything else", () => {
    const expires_at = "2026-05-13T12:00:01.000Z"
    const subject = lease({ "tool.call": ["search"] }, { expires_at })
    assert.strictEqual(tagOf(Lease.authorize(subject, Operation.toolCall("search"), now + 999)), "ok")
    assert.strictEqual(tagOf(Lease.authorize(subject, Operation.toolCall("shell"), now + 999)), "PermissionDenied")

    const expired = Lease.authorize(subject, Operation.toolCall("search"), now + 1000)
    assert.isTrue(Result.isFailure(expired))
    if (Result.isFailure(expired)) {
      assert.strictEqual(expired.failure._tag, "LeaseExpired")
      assert.deepStrictEqual(expired.failure.details, { capability: "tool.call", target: "search", expires_at })
    }
    assert.strictEqual(tagOf(Lease.authorize(subject, Operation.toolCall("shell"), now + 1000)), "LeaseExpired")
  })

  it("can be compiled again after it has expired, and is expired then", () => {
    const again = Result.getOrThrow(Lease.compile({ "tool.call": ["**"] }, { expires_at: "2026-05-13T11:00:00Z" }))
    assert.isTrue(Lease.isExpired(again, now))
    assert.strictEqual(tagOf(Lease.authorize(again, Operation.toolCall("search"), now)), "LeaseExpired")
  })

  describe("a request that leads inside is covered", () => {
    const inside = (patterns: ReadonlyArray<string>, url: string) => {
      const subject = lease({ "net.fetch": patterns })
      return [Operation.netFetch(url), Operation.netFetchInside(url)].map((operation) =>
        tagOf(Lease.authorize(subject, operation, now))
      )
    }

    it.each<[pattern: string, url: string]>([
      ["http://localhost/**", "http://localhost/x"],
      ["http://localhost:*/**", "http://localhost:8080/x"],
      ["http://LOCALHOST:8080/**", "http://localhost:8080/x"],
      ["http://10.0.0.1/*", "http://10.0.0.1/x"],
      ["http://0x7f.1/*", "http://127.0.0.1/x"],
      ["http://[::1]:*/**", "http://[0::1]:3000/"],
      ["http://[::ffff:127.0.0.1]/**", "http://[::ffff:7f00:1]/"],
      ["https://db.corp.example/**/x", "https://db.corp.example/a/x"]
    ])("by %s, which spells the host of %s out", (pattern, url) => {
      assert.deepStrictEqual(inside(["https://other/**", pattern], url), ["ok", "ok"])
    })

    it.each<[pattern: string, url: string]>([
      ["http://*/**", "http://localhost/x"],
      ["http://**/**", "http://10.0.0.1/x"],
      ["http://10.0.0.*/**", "http://10.0.0.1/x"],
      ["http://**.corp.example/**", "http://corp.example/x"],
      ["http://localhos*/**", "http://localhost/x"],
      ["http://local**host:*/**", "http://localhost/x"]
    ])("not by %s, which covers %s all the same", (pattern, url) => {
      assert.deepStrictEqual(inside([pattern], url), ["ok", "PermissionDenied"])
      // One that spells out another host, port or path does not help.
      const others = ["http://localhost:1/**", "http://10.0.0.1/y", "http://corp.example/x/y", "https://localhost/x"]
      assert.deepStrictEqual(inside([pattern, ...others], url), ["ok", "PermissionDenied"])
    })
  })
})

describe("Lease.restrict", () => {
  const parent = lease(
    {
      "fs.read": ["/ws/**", "/tmp/*"],
      "net.fetch": ["https://*.good.com/**"],
      "tool.call": ["search.*", "calc"],
      "agent.delegate": ["planner"],
      "model.use": ["tier-fast/*"],
      "cost.budget": ["USD:5.00", "credits:10"]
    },
    { expires_at: "2026-05-13T13:00:00Z" }
  )

  const restrict = (
    grants: Capability.Grants,
    constraints: Capability.Constraints = {},
    options: Partial<Lease.RestrictOptions> = {},
    from = parent
  ) => Lease.restrict(from, { grants, constraints }, { now, ...options })

  const refusal = (...args: Parameters<typeof restrict>) => Result.getOrThrow(Result.flip(restrict(...args)))

  it("gives a child what it asks for within the lease of its parent, and enforces it", () => {
    const grants = {
      "fs.read": ["/ws/src/**", "/ws", "/tmp/a*"],
      "net.fetch": ["https://API.good.com:443/v1/*"],
      "tool.call": ["search.web"],
      "agent.delegate": ["planner@1.*"],
      "model.use": ["tier-fast/haiku-*"],
      "cost.budget": ["USD:2.00"]
    }
    const child = Result.getOrThrow(restrict(grants, { expires_at: "2026-05-13T12:30:00Z" }))
    assert.deepStrictEqual(child.grants, grants)
    assert.deepStrictEqual(child.constraints, { expires_at: "2026-05-13T12:30:00Z" })
    assert.strictEqual(tagOf(Lease.authorize(child, Operation.fsRead("/ws/src/a.ts"), now)), "ok")
    assert.strictEqual(tagOf(Lease.authorize(child, Operation.fsRead("/ws/other"), now)), "PermissionDenied")
  })

  it("gives nothing when nothing is asked for, but the end of the parent", () => {
    const child = Result.getOrThrow(restrict({}))
    assert.deepStrictEqual(child.grants, {})
    assert.deepStrictEqual(child.constraints, parent.constraints)
    assert.deepStrictEqual(child.expiresAt, parent.expiresAt)
    assert.isTrue(Lease.isExpired(child, Date.parse("2026-05-13T13:00:00Z")))
  })

  it("takes the very lease of the parent for a part of it", () => {
    assert.deepStrictEqual(Result.getOrThrow(restrict(parent.grants, parent.constraints)).grants, parent.grants)
  })

  it.each<readonly [grants: Capability.Grants, field: string, pattern: string]>([
    [{ "fs.read": ["/ws/a", "/ws/../etc/**"] }, "lease_request.fs.read[1]", "/ws/../etc/**"],
    [{ "fs.read": ["/tmp/**"] }, "lease_request.fs.read[0]", "/tmp/**"],
    [{ "fs.write": ["/ws/a"] }, "lease_request.fs.write[0]", "/ws/a"],
    [{ "net.fetch": ["https://good.com/"] }, "lease_request.net.fetch[0]", "https://good.com/"],
    [{ "net.fetch": ["http://a.good.com/"] }, "lease_request.net.fetch[0]", "http://a.good.com/"],
    [{ "tool.call": ["search.*", "*"] }, "lease_request.tool.call[1]", "*"],
    [{ "agent.delegate": ["**"] }, "lease_request.agent.delegate[0]", "**"],
    [{ "model.use": ["tier-slow/x"] }, "lease_request.model.use[0]", "tier-slow/x"],
    [{ "model.use": ["*/*"] }, "lease_request.model.use[0]", "*/*"],
    [{ "x-vendor.acme.queue": ["a"] }, "lease_request.x-vendor.acme.queue[0]", "a"],
    [{ "cost.budget": ["USD:5.01"] }, "lease_request.cost.budget", "USD:5.01"],
    [{ "cost.budget": ["USD:3", "USD:2.01"] }, "lease_request.cost.budget", "USD:5.01"]
  ])("refuses %j, and names the field and the pattern", (grants, field, pattern) => {
    const error = refusal(grants)
    assert.strictEqual(error._tag, "LeaseSubsetViolation")
    assert.deepStrictEqual(error.details, { field, pattern })
    assert.include(error.message, field)
  })

  it("refuses what cannot be proved, and says that it is that", () => {
    const hard = lease({ "tool.call": Array.from({ length: 8 }, () => `${"*a".repeat(510)}b`) })
    const error = refusal({ "tool.call": [`*${"a*".repeat(510)}b`] }, {}, {}, hard)
    assert.strictEqual(error._tag, "LeaseSubsetViolation")
    assert.include(error.message, "could not be proved")
    assert.isBelow(JSON.stringify(error).length, 1000)
  })

  it("compares a budget with what is left of it, and finds the same enough", () => {
    const available = new Map([["USD", BigDecimal.fromStringUnsafe("2")]])
    assert.isTrue(Result.isSuccess(restrict({ "cost.budget": ["USD:2.00"] }, {}, { available })))
    const error = refusal({ "cost.budget": ["USD:2.01"] }, {}, { available })
    assert.deepStrictEqual(error.details, { field: "lease_request.cost.budget", pattern: "USD:2.01" })
    // Where the parent is not bounded, a bound takes nothing from anyone.
    assert.isTrue(Result.isSuccess(restrict({ "cost.budget": ["EUR:9"] }, {}, { available })))
    const spent = new Map([["USD", BigDecimal.fromStringUnsafe("-0.01")]])
    assert.strictEqual(refusal({ "cost.budget": ["USD:0"] }, {}, { available: spent })._tag, "LeaseSubsetViolation")
  })

  it("lets a child end with its parent or before, and not in the past", () => {
    assert.isTrue(Result.isSuccess(restrict({}, { expires_at: "2026-05-13T13:00:00.000Z" })))
    const later = refusal({}, { expires_at: "2026-05-13T13:00:00.001Z" })
    assert.strictEqual(later._tag, "LeaseSubsetViolation")
    assert.deepStrictEqual(later.details, { field: "lease_constraints.expires_at" })
    assert.strictEqual(refusal({}, { expires_at: "2026-05-13T12:00:00Z" })._tag, "InvalidRequest")
    // Under a parent that has no end a child may have one.
    const endless = Result.getOrThrow(restrict({}, { expires_at: "2027-01-01T00:00:00Z" }, {}, lease({})))
    assert.deepStrictEqual(endless.constraints, { expires_at: "2027-01-01T00:00:00Z" })
    assert.deepStrictEqual(Result.getOrThrow(restrict({}, {}, {}, lease({}))).constraints, {})
  })

  it("refuses what is malformed before it is compared", () => {
    const error = refusal({ "tool.call": ["*"], "fs.read": ["x"] })
    assert.strictEqual(error._tag, "InvalidRequest")
    assert.deepStrictEqual(error.details, { field: "lease_request.fs.read[0]", pattern: "x" })
  })

  it("bounds the models of a child also where a lease that names none lets any be used", () => {
    const open = { anyModelUnlessNamed: true }
    // The parent names some: a child that is silent would have them all.
    assert.deepStrictEqual(Result.getOrThrow(restrict({}, {}, open)).grants, { "model.use": [] })
    assert.strictEqual(refusal({ "model.use": ["x"] }, {}, open)._tag, "LeaseSubsetViolation")
    // The parent names none and has them all: a child may name some.
    assert.isTrue(Result.isSuccess(restrict({ "model.use": ["x"] }, {}, open, lease({}))))
    assert.deepStrictEqual(Result.getOrThrow(restrict({}, {}, open, lease({}))).grants, {})
    assert.strictEqual(refusal({ "model.use": ["x"] }, {}, {}, lease({}))._tag, "LeaseSubsetViolation")
  })

  it("searches no longer for a whole lease than for one capability", () => {
    const wide = Array.from({ length: 128 }, () => `**/${"*/a/".repeat(7)}c`)
    const hard = [`**/${"*/a/".repeat(120)}c`]
    const from = lease({ "x-vendor.acme.one": wide, "x-vendor.acme.two": wide })
    assert.isTrue(Result.isSuccess(restrict({ "x-vendor.acme.two": hard }, {}, {}, from)))
    const error = refusal({ "x-vendor.acme.one": hard, "x-vendor.acme.two": hard }, {}, {}, from)
    assert.deepStrictEqual(error.details, {
      field: "lease_request.x-vendor.acme.two[0]",
      pattern: hard[0]!.slice(0, 256)
    })
    assert.include(error.message, "could not be proved")
  })

  const parts = ["a", "b", "ab", "*", "**", "a*", "*b"] as const
  const Pattern = Schema.Array(Schema.Literals(parts)).check(Schema.isBetweenLength(1, 4))
  const Grants = Schema.Array(Pattern).check(Schema.isBetweenLength(1, 3))
  let given = 0

  it.prop(
    "lets no child do what its parent may not",
    {
      parents: Grants,
      children: Grants,
      targets: Schema.Array(Schema.Array(Schema.Literals(["a", "b", "ab", "ba"])).check(Schema.isMaxLength(4))).check(
        Schema.isBetweenLength(8, 16)
      )
    },
    ({ children, parents, targets }) => {
      const wide = lease({ "fs.read": parents.map((pattern) => `/${pattern.join("/")}`) })
      const child = restrict({ "fs.read": children.map((pattern) => `/${pattern.join("/")}`) }, {}, {}, wide)
      if (Result.isFailure(child)) return
      given++
      for (const target of targets) {
        const operation = Operation.fsRead(`/${target.join("/")}`)
        if (Result.isSuccess(Lease.authorize(child.success, operation, now))) {
          assert.strictEqual(tagOf(Lease.authorize(wide, operation, now)), "ok")
        }
      }
    },
    { arbitrary: { runs: 3000 } }
  )

  it("was asked for what it gives too", () => {
    assert.isAbove(given, 100)
  })
})
