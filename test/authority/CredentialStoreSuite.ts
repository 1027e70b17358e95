/** What every list of outstanding credentials owes, whatever it writes to. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, Option } from "effect"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import type * as Ids from "../../src/protocol/Ids.ts"

export const outstanding = (
  id: string,
  changes: Partial<CredentialStore.Outstanding> = {}
): CredentialStore.Outstanding => ({
  id,
  provisioner: "gateway",
  handle: `handle of ${id}`,
  job: "job_1" as Ids.JobId,
  credential: "cred_1" as Ids.CredentialId,
  issuedAt: 7,
  ...changes
})

export const idsOf = (entries: ReadonlyArray<CredentialStore.Entry>) =>
  entries.map((entry) => entry.outstanding.id).toSorted()

export interface Expectations {
  readonly durable: boolean
  /** The most records. */
  readonly maxOutstanding: number
}

/** The layer is built for each test, and must be empty then. */
export const suite = (
  name: string,
  layer: Layer.Layer<CredentialStore.CredentialStore, unknown>,
  { durable, maxOutstanding }: Expectations
) => {
  const test = (
    title: string,
    body: (store: CredentialStore.CredentialStore["Service"]) => Effect.Effect<void, unknown>
  ) => it.effect(title, () => CredentialStore.CredentialStore.use(body).pipe(Effect.provide(layer, { local: true })))

  describe(name, () => {
    test("says whether it survives the process", (store) =>
      Effect.sync(() => assert.strictEqual(store.durable, durable)))

    test("knows what was added until it is removed", (store) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* store.list, [])
        const a = outstanding("cred_a.1")
        const b = outstanding("cred_b.1", { handle: "ü/../\n\0".repeat(1000), job: "a job / ü" as Ids.JobId })
        yield* store.add(a)
        yield* store.add(b)
        const entries = yield* store.list
        assert.sameDeepMembers(
          [...entries],
          [a, b].map((outstanding) => ({ outstanding, failure: Option.none() }))
        )
        yield* store.remove(a.id)
        assert.deepStrictEqual(idsOf(yield* store.list), [b.id])
        yield* store.remove(b.id)
        assert.deepStrictEqual(yield* store.list, [])
      }))

    test("adds and removes twice as once", (store) =>
      Effect.gen(function* () {
        const record = outstanding("cred_a.1")
        yield* store.add(record)
        yield* store.add(record)
        assert.deepStrictEqual(idsOf(yield* store.list), [record.id])
        yield* store.remove(record.id)
        yield* store.remove(record.id)
        yield* store.remove("cred_never.1")
        assert.deepStrictEqual(yield* store.list, [])
      }))

    test("keeps why a record was given up, the last reason, until it is removed", (store) =>
      Effect.gen(function* () {
        const record = outstanding("cred_a.1")
        yield* store.add(record)
        yield* store.fail(record.id, { at: 1, reason: "first" })
        yield* store.fail(record.id, { at: 2, reason: "second" })
        assert.deepStrictEqual(yield* store.list, [
          { outstanding: record, failure: Option.some({ at: 2, reason: "second" }) }
        ])
        yield* store.remove(record.id)
        yield* store.add(record)
        assert.deepStrictEqual(yield* store.list, [{ outstanding: record, failure: Option.none() }])
      }))

    test("notes nothing about what it does not know", (store) =>
      Effect.gen(function* () {
        yield* store.fail("cred_a.1", { at: 1, reason: "no" })
        yield* store.add(outstanding("cred_a.1"))
        assert.deepStrictEqual(
          (yield* store.list).map((entry) => entry.failure),
          [Option.none()]
        )
      }))

    test("takes so many and no more, also from many at once, and has room again after a removal", (store) =>
      Effect.gen(function* () {
        const records = Array.from({ length: maxOutstanding + 5 }, (_, index) => outstanding(`cred_${index}.1`))
        const results = yield* Effect.forEach(records, (record) => Effect.result(store.add(record)), {
          concurrency: "unbounded"
        })
        const refused = results.flatMap((result) => (result._tag === "Failure" ? [result.failure.reason] : []))
        assert.deepStrictEqual(refused, ["Full", "Full", "Full", "Full", "Full"])
        assert.lengthOf(yield* store.list, maxOutstanding)
        yield* store.remove(records[0]!.id)
        yield* store.add(outstanding("cred_new.1"))
        assert.strictEqual((yield* Effect.flip(store.add(outstanding("cred_newer.1")))).reason, "Full")
        // One that is there already takes no room.
        yield* store.add(outstanding("cred_new.1"))
      }))

    test("loses nothing when many add and remove at once", (store) =>
      Effect.gen(function* () {
        const count = Math.min(maxOutstanding, 40)
        const ids = Array.from({ length: count }, (_, index) => `cred_${index}.1`)
        yield* Effect.forEach(
          ids,
          (id, index) => Effect.andThen(store.add(outstanding(id)), index % 2 === 0 ? store.remove(id) : Effect.void),
          { concurrency: "unbounded", discard: true }
        )
        assert.deepStrictEqual(idsOf(yield* store.list), ids.filter((_, index) => index % 2 === 1).toSorted())
      }))

    test("refuses a record that could not be read back", (store) =>
      Effect.gen(function* () {
        for (const bad of [
          outstanding(""),
          outstanding("../escape"),
          outstanding("cred_a.1", { handle: "" }),
          outstanding("cred_a.1", { issuedAt: Number.NaN })
        ]) {
          assert.strictEqual((yield* Effect.flip(store.add(bad))).reason, "Unavailable")
        }
        assert.deepStrictEqual(yield* store.list, [])
      }))
  })
}
