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
