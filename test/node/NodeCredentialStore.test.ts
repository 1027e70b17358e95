import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import * as NodeCredentialStore from "../../src/node/NodeCredentialStore.ts"
import { idsOf, outstanding, suite } from "../authority/CredentialStoreSuite.ts"

const maxOutstanding = 25

const folder = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped({ prefix: "arcp-" }))

suite(
  "CredentialStore over files of Node",
  Layer.unwrap(Effect.map(folder, (directory) => NodeCredentialStore.layer(directory, { maxOutstanding }))).pipe(
    Layer.provide(NodeServices.layer)
  ),
  { durable: true, maxOutstanding }
)

const using = <A, E>(
  directory: string,
  body: (store: CredentialStore.CredentialStore["Service"]) => Effect.Effect<A, E>
) =>
  CredentialStore.CredentialStore.use(body).pipe(Effect.provide(NodeCredentialStore.layer(directory), { local: true }))

describe("NodeCredentialStore", () => {
  it.effect("makes its directory, and finds there what an earlier life has left", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const directory = `${yield* folder}/not/there/yet`
      yield* using(directory, (store) =>
        Effect.andThen(store.add(outstanding("cred_a.1")), store.fail("cred_a.1", { at: 1, reason: "down" }))
      )
      for (const name of yield* fs.readDirectory(directory)) {
        assert.strictEqual(Number((yield* fs.stat(`${directory}/${name}`)).mode) & 0o777, 0o600)
      }
      yield* using(directory, (store) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(idsOf(yield* store.list), ["cred_a.1"])
          yield* store.remove("cred_a.1")
        })
      )
      assert.deepStrictEqual(yield* fs.readDirectory(directory), [])
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.effect("clears away what was being written when the process died", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* folder
      yield* using(directory, (store) => store.add(outstanding("cred_a.1")))
      yield* fs.writeFileString(`${directory}/~1.arcp-credential-r.cred_b.1`, '{"id":"cred')
      yield* using(directory, (store) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(idsOf(yield* store.list), ["cred_a.1"])
          yield* store.add(outstanding("cred_b.1"))
        })
      )
      assert.sameMembers(yield* fs.readDirectory(directory), [
        "arcp-credential-r.cred_a.1",
        "arcp-credential-r.cred_b.1"
      ])
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.effect("fails with a reason where it cannot write, and leaves nothing half written", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* folder
      yield* fs.writeFileString(`${directory}/file`, "")
      const error = yield* Effect.flip(using(`${directory}/file/below`, () => Effect.void))
      assert.strictEqual(error.reason, "Unavailable")
      assert.include(error.message, "file/below")
      yield* using(directory, (store) =>
        Effect.gen(function* () {
          // In the way of the name that the record is to have.
          yield* fs.makeDirectory(`${directory}/arcp-credential-r.cred_a.1/taken`, { recursive: true })
          assert.strictEqual((yield* Effect.flip(store.add(outstanding("cred_a.1")))).reason, "Unavailable")
        })
      )
      assert.sameMembers(yield* fs.readDirectory(directory), ["file", "arcp-credential-r.cred_a.1"])
    }).pipe(Effect.provide(NodeServices.layer))
  )
})
