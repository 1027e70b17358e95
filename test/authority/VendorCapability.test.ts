import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import * as Lease from "../../src/authority/Lease.ts"
import * as Leases from "../../src/authority/Leases.ts"
import * as Operation from "../../src/authority/Operation.ts"
import * as VendorCapability from "../../src/authority/VendorCapability.ts"

const capability = "x-vendor.acme.rows"

/** At most so many rows, as a number. */
const Rows = VendorCapability.make<number>({
  parse: (source) => (/^\d+$/.test(source) ? Result.succeed(Number(source)) : Result.fail("this is no number of rows")),
  covers: (limits, target) => limits.some((limit) => Number(target) <= limit),
  includes: (limits, child) => limits.some((limit) => child <= limit)
})

const registry: VendorCapability.VendorCapabilities = new Map([[capability, Rows]])

const tagOf = (result: Result.Result<unknown, { readonly _tag: string }>) =>
  Result.isFailure(result) ? result.failure._tag : "ok"

const lease = (sources: ReadonlyArray<string>, vendors = registry) =>
  Result.getOrThrow(Lease.make({ [capability]: sources }, {}, 0, vendors))

const read = (rows: string) => Operation.vendor(capability, rows)

const refusalOf = <A, E>(result: Result.Result<A, E>) => Result.getOrThrow(Result.flip(result))

describe("VendorCapability", () => {
  it("is decided by the matcher of the host", () => {
    const subject = lease(["10", "100"])
    assert.strictEqual(tagOf(Lease.authorize(subject, read("100"), 0)), "ok")
    assert.strictEqual(tagOf(Lease.authorize(subject, read("101"), 0)), "PermissionDenied")
    assert.deepStrictEqual(subject.grants, { [capability]: ["10", "100"] })
  })

  it("is matched as a name where no host speaks for it", () => {
    const subject = lease(["10", "1*"], new Map())
    assert.strictEqual(tagOf(Lease.authorize(subject, read("100"), 0)), "ok")
    assert.strictEqual(tagOf(Lease.authorize(subject, read("5"), 0)), "PermissionDenied")
  })

  it("refuses a lease with a pattern that the matcher cannot read", () => {
    const error = refusalOf(Lease.make({ [capability]: ["1", "many"] }, {}, 0, registry))
    assert.strictEqual(error._tag, "InvalidRequest")
    assert.deepStrictEqual(error.details, { field: `lease_request.${capability}[1]`, pattern: "many" })
    assert.include(error.message, "no number of rows")
    // The bounds of all patterns hold for these too.
    for (const sources of [["1".repeat(1025)], [""], ["\udc00"], Array.from({ length: 9 }, () => "1".repeat(1000))]) {
      assert.isTrue(Result.isFailure(Lease.make({ [capability]: sources }, {}, 0, registry)))
    }
  })

  it("shows the matcher no target that is empty, endless or malformed", () => {
    const seen: Array<string> = []
    const watching = VendorCapability.make<string>({
      parse: Result.succeed,
      covers: (_, target) => seen.push(target) > 0,
      includes: () => true
    })
    const subject = lease(["a"], new Map([[capability, watching]]))
    for (const target of ["", "a".repeat(1025), "\udc00"]) {
      assert.strictEqual(tagOf(Lease.authorize(subject, read(target), 0)), "PermissionDenied")
    }
    assert.strictEqual(tagOf(Lease.authorize(subject, read("a/b"), 0)), "ok")
    assert.deepStrictEqual(seen, ["a/b"])
  })

  it("is not asked about any other capability", () => {
    const vendors = new Map([["tool.call", Rows]])
    const subject = Result.getOrThrow(Lease.make({ "tool.call": ["search"] }, {}, 0, vendors))
    assert.strictEqual(tagOf(Lease.authorize(subject, Operation.toolCall("search"), 0)), "ok")
  })

  it("gives a child what the matcher finds within the grant of its parent", () => {
    const restrict = (sources: ReadonlyArray<string>) =>
      Lease.restrict(lease(["10", "100"]), { grants: { [capability]: sources }, constraints: {} }, { now: 0 })
    const child = Result.getOrThrow(restrict(["50"]))
    assert.strictEqual(tagOf(Lease.authorize(child, read("50"), 0)), "ok")
    assert.strictEqual(tagOf(Lease.authorize(child, read("51"), 0)), "PermissionDenied")
    const beyond = refusalOf(restrict(["5", "101"]))
    assert.strictEqual(beyond._tag, "LeaseSubsetViolation")
    assert.deepStrictEqual(beyond.details, { field: `lease_request.${capability}[1]`, pattern: "101" })
    assert.strictEqual(refusalOf(restrict(["many"]))._tag, "InvalidRequest")
  })

  it("denies where the matcher throws or does not answer", () => {
    const thrower = () => {
      throw new Error("hunter2")
    }
    const parse = (source: string) => Result.succeed(source)
    const broken = VendorCapability.make<string>({ parse, covers: thrower, includes: thrower })
    const subject = lease(["a"], new Map([[capability, broken]]))
    const denied = refusalOf(Lease.authorize(subject, read("a"), 0))
    assert.strictEqual(denied._tag, "PermissionDenied")
    assert.notInclude(JSON.stringify(denied), "hunter2")
    const child = Lease.restrict(subject, { grants: { [capability]: ["b"] }, constraints: {} }, { now: 0 })
    assert.strictEqual(refusalOf(child)._tag, "LeaseSubsetViolation")

    const unreadable = VendorCapability.make<string>({ parse: thrower, covers: () => true, includes: () => true })
    const made = Lease.make({ [capability]: ["a"] }, {}, 0, new Map([[capability, unreadable]]))
    assert.strictEqual(refusalOf(made)._tag, "InvalidRequest")

    // As from JavaScript, where nobody checks what comes back.
    const vague = VendorCapability.make<string>({
      parse,
      covers: () => JSON.parse("1"),
      includes: () => JSON.parse("1")
    })
    const loose = lease(["a"], new Map([[capability, vague]]))
    assert.strictEqual(tagOf(Lease.authorize(loose, read("a"), 0)), "PermissionDenied")
    assert.isTrue(
      Result.isFailure(Lease.restrict(loose, { grants: { [capability]: ["b"] }, constraints: {} }, { now: 0 }))
    )
  })

  it.effect("reaches the leases of a runtime by a layer", () =>
    Effect.gen(function* () {
      const grant = Leases.Leases.use((leases) =>
        leases.grant({ principal: { id: "a" }, agent: "a", request: { [capability]: ["7"] }, constraints: undefined })
      )
      const leases = Leases.layer.pipe(Layer.provide(VendorCapability.layer({ [capability]: Rows })))
      const subject = yield* Effect.provide(grant, leases)
      assert.strictEqual(tagOf(Lease.authorize(subject, read("3"), 0)), "ok")
      const plain = yield* Effect.provide(grant, Leases.layer)
      assert.strictEqual(tagOf(Lease.authorize(plain, read("3"), 0)), "PermissionDenied")

      const narrowed = yield* Effect.provide(
        grant,
        Leases.layerPolicy(() => Effect.succeed(true)).pipe(
          Layer.provide(VendorCapability.layer({ [capability]: Rows }))
        )
      )
      assert.strictEqual(tagOf(Lease.authorize(narrowed, read("3"), 0)), "ok")
    })
  )
})
