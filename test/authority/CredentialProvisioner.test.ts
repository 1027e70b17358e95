import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import * as FakeUpstream from "./FakeUpstream.ts"

const names = Effect.map(CredentialProvisioner.Provisioners, (provisioners) => provisioners.map(({ name }) => name))

const named = (name: string) => Effect.succeed(FakeUpstream.make(name).provisioner)

describe("CredentialProvisioner", () => {
  it.effect("is none unless there is one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* names, [])
      assert.deepStrictEqual(yield* names.pipe(Effect.provide(CredentialProvisioner.layer(named("a")))), ["a"])
      const two = CredentialProvisioner.layerAll([named("a"), named("b")])
      assert.deepStrictEqual(yield* names.pipe(Effect.provide(two)), ["a", "b"])
    })
  )

  it.effect("has a name of its own, since what is outstanding goes by it", () =>
    Effect.gen(function* () {
      for (const [given, message] of [
        [["a", "b", "a"], "a: name is the name of another one"],
        [[""], ": name must have 1 to 64 characters"],
        [["x".repeat(65)], `${"x".repeat(64)}: name must have 1 to 64 characters`]
      ] as const) {
        const error = yield* names.pipe(Effect.provide(CredentialProvisioner.layerAll(given.map(named))), Effect.flip)
        assert.strictEqual(error.message, message)
      }
    })
  )

  it("is to be asked again when its upstream is not available, and for no other reason", () => {
    const { error } = FakeUpstream.make()
    for (const reason of CredentialProvisioner.Reason.literals) {
      assert.strictEqual(error(reason).retryable, reason === "Unavailable", reason)
    }
  })

  it("says of a failure no more than where and of what kind it was", () => {
    const { error } = FakeUpstream.make()
    for (const reason of CredentialProvisioner.Reason.literals) {
      const told = CredentialProvisioner.toArcpError(error(reason, 1000))
      assert.notInclude(JSON.stringify(ArcpError.toPayload(told)), "as the test says")
      assert.strictEqual(
        ArcpError.code(told),
        reason === "BudgetExceeded" ? "BUDGET_EXHAUSTED" : "INTERNAL_ERROR",
        reason
      )
    }
  })
})
