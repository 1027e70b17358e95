import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Logger, Option } from "effect"
import { KeyValueStore } from "effect/persistence"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import { idsOf, outstanding, suite } from "./CredentialStoreSuite.ts"

const maxOutstanding = 25

suite("CredentialStore in memory", CredentialStore.layerMemory, { durable: false, maxOutstanding: 10_000 })

suite(
  "CredentialStore over a key value store",
  CredentialStore.layerKeyValueStore({ durable: true, maxOutstanding }).pipe(Layer.provide(KeyValueStore.layerMemory)),
  { durable: true, maxOutstanding }
)

const files = Layer.unwrap(
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    return KeyValueStore.layerFileSystem(yield* fs.makeTempDirectoryScoped({ prefix: "arcp-" }))
  })
).pipe(Layer.provide(NodeServices.layer))

suite(
  "CredentialStore over files",
  CredentialStore.layerKeyValueStore({ durable: true, maxOutstanding }).pipe(Layer.provide(files)),
  { durable: true, maxOutstanding }
)

/** Two lives of a process over one backing store. */
const lives = Effect.gen(function* () {
  const backing = yield* Layer.build(KeyValueStore.layerMemory)
  const raw = yield* Effect.provideContext(KeyValueStore.KeyValueStore, backing)
  const live = (options: Partial<CredentialStore.Options> = {}) =>
    Effect.provide(
      CredentialStore.layerKeyValueStore({ durable: true, ...options }).pipe(
        Layer.provide(Layer.succeedContext(backing))
      ),
      { local: true }
    )
  return { raw, live }
})

describe("CredentialStore over a key value store", () => {
  it.effect("finds again what an earlier life has left, and counts it", () =>
    Effect.gen(function* () {
      const { live } = yield* lives
      yield* CredentialStore.CredentialStore.use((store) =>
        Effect.andThen(store.add(outstanding("cred_a.1")), store.fail("cred_a.1", { at: 3, reason: "down" }))
      ).pipe(live())
      yield* CredentialStore.CredentialStore.use((store) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* store.list, [
            { outstanding: outstanding("cred_a.1"), failure: Option.some({ at: 3, reason: "down" }) }
          ])
          yield* store.add(outstanding("cred_b.1"))
          assert.strictEqual((yield* Effect.flip(store.add(outstanding("cred_c.1")))).reason, "Full")
        })
      ).pipe(live({ maxOutstanding: 2 }))
    })
  )

  it.effect("shares its store with others, and sees its own prefix alone", () =>
    Effect.gen(function* () {
      const { live, raw } = yield* lives
      yield* raw.set("session", "something else")
      yield* CredentialStore.CredentialStore.use((store) => store.add(outstanding("cred_a.1"))).pipe(
        live({ prefix: "x-" })
      )
      assert.deepStrictEqual(
        idsOf(yield* CredentialStore.CredentialStore.use((store) => store.list).pipe(live({ prefix: "x-" }))),
        ["cred_a.1"]
      )
      assert.deepStrictEqual(yield* CredentialStore.CredentialStore.use((store) => store.list).pipe(live()), [])
      assert.strictEqual(yield* raw.get("session"), "something else")
    })
  )

  it.effect("leaves out a record that a crash has cut short, says so, and keeps the others", () => {
    const logged: Array<unknown> = []
    const logger = Logger.make(({ message }) => {
      logged.push(message)
    })
    return Effect.gen(function* () {
      const { live, raw } = yield* lives
      const list = CredentialStore.CredentialStore.use((store) => store.list).pipe(live())
      yield* CredentialStore.CredentialStore.use((store) =>
        Effect.forEach(["cred_a.1", "cred_b.1", "cred_c.1"], (id) => store.add(outstanding(id)))
      ).pipe(live())
      const whole = yield* raw.get("arcp-credential-r.cred_a.1")
      assert.isString(whole)
      for (let length = 0; length < whole!.length; length++) {
        yield* raw.set("arcp-credential-r.cred_b.1", whole!.slice(0, length))
        assert.deepStrictEqual(idsOf(yield* list), ["cred_a.1", "cred_c.1"])
      }
      assert.lengthOf(logged, whole!.length)
      assert.include(JSON.stringify(logged[0]), "cred_b.1")
      // What is broken beside a record does not hide the record.
      yield* raw.set("arcp-credential-f.cred_a.1", "{")
      assert.deepStrictEqual(idsOf(yield* list), ["cred_a.1", "cred_c.1"])
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("never writes a record again, so that no crash can cut it short later", () =>
    Effect.gen(function* () {
      const { live, raw } = yield* lives
      const writes: Array<string> = []
      const counting = KeyValueStore.make({
        ...raw,
        set: (key, value) =>
          Effect.andThen(
            Effect.sync(() => writes.push(key)),
            raw.set(key, value)
          )
      })
      yield* CredentialStore.CredentialStore.use((store) =>
        Effect.andThen(store.add(outstanding("cred_a.1")), store.fail("cred_a.1", { at: 1, reason: "down" }))
      ).pipe(
        Effect.provide(CredentialStore.layerKeyValueStore({ durable: true })),
        Effect.provideService(KeyValueStore.KeyValueStore, counting)
      )
      assert.deepStrictEqual(writes, ["arcp-credential-r.cred_a.1", "arcp-credential-f.cred_a.1"])
      assert.lengthOf(yield* CredentialStore.CredentialStore.use((store) => store.list).pipe(live()), 1)
    })
  )

  it.effect("fails with what its store says, and holds no place for what was not written", () =>
    Effect.gen(function* () {
      const { raw } = yield* lives
      let isDown = false
      const down = <A>(effect: Effect.Effect<A, KeyValueStore.KeyValueStoreError>) =>
        Effect.suspend(() =>
          isDown ? Effect.fail(new KeyValueStore.KeyValueStoreError({ method: "any", message: "disk full" })) : effect
        )
      const flaky = KeyValueStore.make({
        ...raw,
        get: (key) => down(raw.get(key)),
        set: (key, value) => down(raw.set(key, value)),
        remove: (key) => down(raw.remove(key)),
        keys: down(raw.keys)
      })
      const layer = CredentialStore.layerKeyValueStore({ durable: true, maxOutstanding: 1 }).pipe(
        Layer.provide(Layer.succeed(KeyValueStore.KeyValueStore, flaky))
      )
      yield* CredentialStore.CredentialStore.use((store) =>
        Effect.gen(function* () {
          isDown = true
          const error = yield* Effect.flip(store.add(outstanding("cred_a.1")))
          assert.strictEqual(error.message, "the list of credentials: disk full")
          assert.strictEqual((yield* Effect.flip(store.list)).reason, "Unavailable")
          assert.strictEqual((yield* Effect.flip(store.remove("cred_a.1"))).reason, "Unavailable")
          isDown = false
          yield* store.add(outstanding("cred_b.1"))
          isDown = true
          assert.strictEqual((yield* Effect.flip(store.remove("cred_b.1"))).reason, "Unavailable")
          isDown = false
          // It could not be removed, so it is still there.
          assert.deepStrictEqual(idsOf(yield* store.list), ["cred_b.1"])
        })
      ).pipe(Effect.provide(layer))
      isDown = true
      const start = yield* Effect.flip(CredentialStore.CredentialStore.pipe(Effect.provide(layer, { local: true })))
      assert.strictEqual(start._tag, "CredentialStoreError")
    })
  )
})
