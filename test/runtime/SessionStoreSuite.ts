/** What every store of sessions owes, whatever it writes to. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import * as SessionStore from "../../src/runtime/SessionStore.ts"
import type * as StampLog from "../../src/session/StampLog.ts"

const session = "sess_1" as Ids.SessionId
const job = "job_1" as Ids.JobId
const token = (n: number) => new Uint8Array(32).fill(n)

const range = (firstSeq: number, firstOffset: number, count: number): StampLog.Stamp => ({
  _tag: "Range",
  firstSeq,
  job,
  firstOffset,
  count
})

export const suite = (name: string, makeLayer: Layer.Layer<SessionStore.SessionStore>) => {
  const using = (changes: Partial<RuntimeConfig.RuntimeConfig> = {}) =>
    Effect.provide(Layer.fresh(makeLayer).pipe(Layer.provide(RuntimeConfig.layer(changes))))

  /** A store with one session whose connection has epoch 1 and token 1. */
  const opened = Effect.gen(function* () {
    const store = yield* SessionStore.SessionStore
    yield* store.create({ id: session, principal: "tester", createdAt: 7 })
    const epoch = yield* store.rotate(session, { presented: Option.none(), next: token(1), lenient: false })
    assert.deepStrictEqual(epoch, Option.some(1))
    const rotate = (presented: number, next: number, lenient = false) =>
      store.rotate(session, { presented: Option.some(token(presented)), next: token(next), lenient })
    return { ...store, rotate }
  })

  describe(name, () => {
    it.effect("knows its sessions until they are removed", () =>
      Effect.gen(function* () {
        const store = yield* opened
        assert.deepStrictEqual(
          yield* store.get(session),
          Option.some({ id: session, principal: "tester", createdAt: 7 })
        )
        yield* store.stamp(session, 1, [range(1, 0, 1)])
        yield* store.remove(session)
        assert.deepStrictEqual(yield* store.get(session), Option.none())
        assert.deepStrictEqual(yield* store.since(session, 0), Option.none())
        assert.strictEqual(yield* store.lastSeq(session, job), 0)
        assert.deepStrictEqual(yield* store.rotate(1, 2), Option.none())
        assert.strictEqual((yield* Effect.flip(store.stamp(session, 1, [range(2, 1, 1)])))._tag, "StaleEpoch")
      }).pipe(using())
    )

    it.effect("a token begins one epoch, and a wrong one changes nothing", () =>
      Effect.gen(function* () {
        const store = yield* opened
        assert.deepStrictEqual(yield* store.rotate(9, 2), Option.none())
        assert.deepStrictEqual(yield* store.rotate(1, 2), Option.some(2))
        assert.deepStrictEqual(yield* store.rotate(1, 3), Option.none())
        assert.deepStrictEqual(yield* store.rotate(2, 3), Option.some(3))
      }).pipe(using())
    )

    it.effect("many that show one token at the same moment begin one epoch", () =>
      Effect.gen(function* () {
        const store = yield* opened
        const all = yield* Effect.forEach([2, 3, 4, 5], (next) => store.rotate(1, next), { concurrency: "unbounded" })
        assert.lengthOf(all.filter(Option.isSome), 1)
      }).pipe(using())
    )

    it.effect("a token that was replaced leniently stays good until its successor is confirmed", () =>
      Effect.gen(function* () {
        const store = yield* opened
        assert.deepStrictEqual(yield* store.rotate(1, 2, true), Option.some(2))
        assert.deepStrictEqual(yield* store.rotate(1, 3, true), Option.some(3))
        // The one in between was never heard of.
        assert.deepStrictEqual(yield* store.rotate(2, 4, true), Option.none())
        // A connection that is over confirms nothing.
        yield* store.confirm(session, 2)
        assert.deepStrictEqual(yield* store.rotate(1, 5, true), Option.some(4))
        yield* store.confirm(session, 4)
        assert.deepStrictEqual(yield* store.rotate(1, 6, true), Option.none())
        assert.deepStrictEqual(yield* store.rotate(5, 6, true), Option.some(5))
      }).pipe(using())
    )

    it.effect("only the newest epoch stamps, and what an old one tried leaves no trace", () =>
      Effect.gen(function* () {
        const store = yield* opened
        yield* store.stamp(session, 1, [range(1, 0, 2)])
        yield* store.rotate(1, 2)
        const stale = yield* Effect.flip(store.stamp(session, 1, [range(3, 2, 1)]))
        assert.deepStrictEqual([stale._tag, stale.epoch], ["StaleEpoch", 1])
        assert.deepStrictEqual(yield* store.since(session, 0), Option.some([range(1, 0, 2)]))
        yield* store.stamp(session, 2, [range(3, 2, 1)])
        assert.deepStrictEqual(yield* store.since(session, 1), Option.some([range(2, 1, 2)]))
        assert.strictEqual(yield* store.lastSeq(session, job), 3)
        assert.deepStrictEqual(yield* store.offsetAt(session, job, 2), Option.some(1))
      }).pipe(using())
    )

    it.effect("forgets the oldest stamps beyond its bound, and says so", () =>
      Effect.gen(function* () {
        const store = yield* opened
        for (let seq = 1; seq <= 100; seq++) {
          yield* store.stamp(session, 1, [{ _tag: "Own", firstSeq: seq, type: "job.event", tail: "" }])
        }
        assert.deepStrictEqual(yield* store.since(session, 0), Option.none())
        assert.deepStrictEqual(yield* store.since(session, 101), Option.none())
        assert.deepStrictEqual(yield* store.since(session, 100), Option.some([]))
        assert.lengthOf(Option.getOrThrow(yield* store.since(session, 90)), 10)
      }).pipe(using({ maxStamps: 20 }))
    )
  })
}
