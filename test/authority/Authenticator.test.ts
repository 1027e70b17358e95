import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import { verifies } from "../conformance/verifies.ts"

const tokens = [
  { token: Redacted.make("alpha"), principal: "alice" },
  { token: Redacted.make("beta"), principal: "bob" },
  { token: Redacted.make("beta-2"), principal: "bob" }
]

const authenticate = (token: string, scheme = "bearer") =>
  Authenticator.Authenticator.use((_) => _.authenticate({ scheme, token: Redacted.make(token) })).pipe(
    Effect.provide(Authenticator.layerStatic(tokens))
  )

/** Notes how often each byte of each digest is read. */
const watched = (fill: number, id: string) => {
  const reads: Array<string> = []
  const digest = new Proxy(new Uint8Array(32).fill(fill), {
    get: (bytes, key) => {
      if (typeof key === "string" && /^\d+$/.test(key)) reads.push(key)
      return Reflect.get(bytes, key)
    }
  })
  return { reads, entry: { digest, principal: { id } } }
}

describe("Authenticator", () => {
  it.effect("knows each token by its principal", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* authenticate("alpha"), { id: "alice" })
      assert.deepStrictEqual(yield* authenticate("beta"), { id: "bob" })
      assert.deepStrictEqual(yield* authenticate("beta-2"), { id: "bob" })
    })
  )

  verifies("C-011", "a wrong token is refused", () =>
    Effect.gen(function* () {
      for (const token of ["gamma", "Alpha", "alpha ", "alph", "alphaa", "alice", "\0"]) {
        assert.strictEqual((yield* Effect.flip(authenticate(token)))._tag, "Unauthenticated")
      }
    })
  )

  verifies("C-012", "an empty token and another scheme are refused in the same words as a wrong one", () =>
    Effect.gen(function* () {
      const wrong = yield* Effect.flip(authenticate("gamma"))
      const others = [
        yield* Effect.flip(authenticate("")),
        yield* Effect.flip(authenticate("alpha", "basic")),
        yield* Effect.flip(authenticate("alpha", "Bearer")),
        yield* Effect.flip(authenticate("alpha", "none"))
      ]
      for (const other of others) {
        assert.strictEqual(other._tag, "Unauthenticated")
        assert.strictEqual(JSON.stringify(other), JSON.stringify(wrong))
      }
      assert.notInclude(JSON.stringify(wrong), "gamma")
    })
  )

  it.effect("refuses every token when the list is empty", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Authenticator.Authenticator.use((_) => _.authenticate({ scheme: "bearer", token: Redacted.make("") })).pipe(
          Effect.provide(Authenticator.layerStatic([]))
        )
      )
      assert.strictEqual(error._tag, "Unauthenticated")
    })
  )

  it.each([0, 1, 2, undefined])("compares every byte of every entry, whichever matches: %s", (match) => {
    const entries = [0, 1, 2].map((index) => watched(index, `p${index}`))
    const presented = new Uint8Array(32).fill(match ?? 9)
    const found = Authenticator.find(
      entries.map(({ entry }) => entry),
      presented
    )
    assert.deepStrictEqual(found, match === undefined ? Option.none() : Option.some({ id: `p${match}` }))
    const everyByte = Array.from({ length: 32 }, (_, index) => `${index}`)
    for (const { reads } of entries) assert.deepStrictEqual(reads, everyByte)
  })

  it("is not fooled by a digest that is only a beginning", () => {
    const entry = { digest: new Uint8Array(32), principal: { id: "a" } }
    assert.isTrue(Option.isNone(Authenticator.find([entry], new Uint8Array(31))))
    assert.isTrue(Option.isNone(Authenticator.find([entry], new Uint8Array(0))))
  })

  it.effect("does not build from a list that cannot be used, and says which entry is wrong", () =>
    Effect.gen(function* () {
      const build = (list: Parameters<typeof Authenticator.layerStatic>[0]) =>
        Effect.flip(Effect.scoped(Layer.build(Authenticator.layerStatic(list))))
      const good = { token: Redacted.make("hunter2"), principal: "alice" }

      const empty = yield* build([good, { token: Redacted.make(""), principal: "bob" }])
      assert.strictEqual(empty.message, "tokens[1].token is empty")
      const nobody = yield* build([{ token: Redacted.make("t"), principal: "" }])
      assert.strictEqual(nobody.message, "tokens[0].principal must have 1 to 256 characters")
      const twice = yield* build([good, { ...good, principal: "bob" }])
      assert.strictEqual(twice.message, "tokens[1].token is listed twice")
      assert.notInclude(JSON.stringify(twice), "hunter2")
    })
  )

  it.effect("builds any number of times from a list that can be read once", () =>
    Effect.gen(function* () {
      const layer = Authenticator.layerStatic(tokens.values())
      for (let round = 0; round < 2; round++) {
        const principal = yield* Authenticator.Authenticator.use((_) =>
          _.authenticate({ scheme: "bearer", token: Redacted.make("alpha") })
        ).pipe(Effect.provide(Layer.fresh(layer)))
        assert.deepStrictEqual(principal, { id: "alice" })
      }
    })
  )
})
