import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import type * as Ids from "../../src/protocol/Ids.ts"
import type * as Job from "../../src/runtime/Job.ts"
import * as JobStore from "../../src/runtime/JobStore.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"

const record = (id: string, principal = "ada"): Job.JobRecord => ({
  id: id as Ids.JobId,
  agent: "a",
  principal,
  session: "sess_1" as Ids.SessionId,
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736" as Ids.TraceId,
  parent: undefined,
  lease: {},
  constraints: undefined,
  features: new Set(),
  maxRuntime: undefined,
  createdAt: 0,
  accepted: { job_id: id as Ids.JobId, lease: {} }
})

const claim = (key: string, principal = "ada", parameters = "{}"): Option.Option<Job.Claim> =>
  Option.some({ principal, session: "sess_1" as Ids.SessionId, key, parameters })

const using = (changes: Partial<RuntimeConfig.RuntimeConfig> = {}) =>
  Effect.provide(JobStore.layerMemory.pipe(Layer.provide(RuntimeConfig.layer(changes))))

/** Accepts and ends one job. */
const run = (id: string, principal: string, characters: number, key: Option.Option<Job.Claim> = Option.none()) =>
  Effect.gen(function* () {
    const store = yield* JobStore.JobStore
    yield* store.accept(record(id, principal), key)
    yield* store.conclude(id as Ids.JobId, "success", characters)
  })

describe("JobStore in memory", () => {
  it.effect("long outcomes make the oldest jobs go, and only as many as they must", () =>
    Effect.gen(function* () {
      const store = yield* JobStore.JobStore
      for (let n = 0; n < 10; n++) yield* run(`job_${n}`, "ada", 200)
      assert.deepStrictEqual(
        yield* store.sweep,
        [0, 1, 2, 3, 4].map((n) => `job_${n}` as Ids.JobId)
      )
      assert.isTrue(Option.isNone(yield* store.get("job_4" as Ids.JobId)))
      assert.isTrue(Option.isSome(yield* store.get("job_5" as Ids.JobId)))
    }).pipe(using({ maxOutcomes: 1000 }))
  )

  it.effect("a busy principal pushes out its own jobs, not those of others", () =>
    Effect.gen(function* () {
      const store = yield* JobStore.JobStore
      for (const id of ["job_a", "job_b"]) yield* run(id, "ada", 1)
      for (let n = 0; n < 30; n++) yield* run(`job_${n}`, "bob", 1)
      const gone = yield* store.sweep
      assert.lengthOf(gone, 22)
      assert.isTrue(gone.every((id) => /^job_\d/.test(id)))
    }).pipe(using({ maxEndedJobs: 10 }))
  )

  it.effect("a busy principal pushes out its own keys, not those of others", () =>
    Effect.gen(function* () {
      const store = yield* JobStore.JobStore
      yield* run("job_a", "ada", 1, claim("mine"))
      for (let n = 0; n < 60; n++) yield* run(`job_${n}`, "bob", 1, claim(`key ${n}`, "bob"))
      yield* store.sweep
      const bound = yield* store.claimed(Option.getOrThrow(claim("mine")))
      assert.strictEqual(Option.getOrThrow(bound)._tag, "Known")
      assert.isTrue(Option.isNone(yield* store.claimed(Option.getOrThrow(claim("key 0", "bob")))))
    }).pipe(using({ maxEndedJobs: 10 }))
  )

  it.effect("keys with long parameters bind no longer than there is room for them", () =>
    Effect.gen(function* () {
      const store = yield* JobStore.JobStore
      for (let n = 0; n < 10; n++) yield* run(`job_${n}`, "ada", 1, claim(`key ${n}`, "ada", "x".repeat(200)))
      yield* store.sweep
      const bound = yield* Effect.forEach([0, 4, 5, 9], (n) =>
        store.claimed(Option.getOrThrow(claim(`key ${n}`, "ada", "x".repeat(200))))
      )
      assert.deepStrictEqual(bound.map(Option.isSome), [false, false, true, true])
    }).pipe(using({ maxParameters: 1000 }))
  )

  it.effect("forgets what ended longer ago than the retention", () =>
    Effect.gen(function* () {
      const store = yield* JobStore.JobStore
      yield* run("job_a", "ada", 1)
      yield* TestClock.adjust("59 minutes")
      yield* run("job_b", "ada", 1)
      assert.deepStrictEqual(yield* store.sweep, [])
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* store.sweep, ["job_a" as Ids.JobId])
    }).pipe(using())
  )

  it.effect("keeps what it keeps for as long as time passes, wherever the wall clock is set to", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let step = 0
      const wall = () => clock.currentTimeMillisUnsafe() + step
      const jumping: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: wall,
        currentTimeMillis: Effect.sync(wall)
      }
      yield* Effect.gen(function* () {
        const store = yield* JobStore.JobStore
        const bound = Effect.map(store.claimed(Option.getOrThrow(claim("key"))), Option.isSome)
        yield* run("job_a", "ada", 1, claim("key"))
        step = 365 * 86_400_000
        assert.deepStrictEqual(yield* store.sweep, [])
        assert.isTrue(yield* bound)
        step = 0
        yield* TestClock.adjust("61 minutes")
        assert.deepStrictEqual(yield* store.sweep, ["job_a" as Ids.JobId])
        yield* TestClock.adjust("24 hours")
        yield* store.sweep
        assert.isFalse(yield* bound)
      }).pipe(Effect.provideService(Clock.Clock, jumping))
    }).pipe(using())
  )

  it.effect("a cancellation that was noted decides how the job ends, and the first decision stays", () =>
    Effect.gen(function* () {
      const store = yield* JobStore.JobStore
      const id = "job_a" as Ids.JobId
      yield* store.accept(record(id), Option.none())
      assert.strictEqual(yield* store.requestCancel(id, "why not"), "requested")
      assert.strictEqual(yield* store.requestCancel(id, "again"), "repeated")
      assert.strictEqual((yield* store.conclude(id, "success", 1)).final, "cancelled")
      assert.strictEqual((yield* store.conclude(id, "error", 1)).final, "cancelled")
      assert.strictEqual(yield* store.requestCancel(id, "late"), "ended")
    }).pipe(using())
  )
})
