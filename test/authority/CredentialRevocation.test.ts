import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import * as Credentials from "../../src/authority/Credentials.ts"
import { verifies } from "../conformance/verifies.ts"
import { capture, current, handles, issue, over, revokeAll, silent, stored, turn } from "./CredentialActs.ts"
import * as FakeUpstream from "./FakeUpstream.ts"

const { job, request } = FakeUpstream

describe("Revoking credentials", () => {
  it.effect("does not make who ends a job wait, and voids the values at once", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const waiting = yield* FakeUpstream.gate
      const [issued] = yield* issue("job_1")
      upstream.is.beforeRevoke = waiting.pass
      yield* revokeAll("job_1")
      assert.deepStrictEqual(yield* current("job_1"), [])
      const value = yield* Credentials.Credentials.use(({ value }) => value(job("job_1"), issued!.id))
      assert.deepStrictEqual(value, Option.none())
      yield* waiting.reached
      assert.strictEqual(upstream.keys.size, 1)
      assert.lengthOf(yield* stored, 1)
      yield* waiting.open
      yield* turn
      assert.strictEqual(upstream.keys.size, 0)
      assert.deepStrictEqual(yield* stored, [])
    }).pipe(over(upstream))
  })

  it.effect("is done once for each credential, however often the end is reported", () => {
    const upstream = FakeUpstream.make()
    upstream.is.count = 3
    return Effect.gen(function* () {
      yield* issue("job_1")
      yield* Effect.all([revokeAll("job_1"), revokeAll("job_1"), revokeAll("job_none")], { concurrency: 3 })
      yield* TestClock.adjust("1 hour")
      yield* revokeAll("job_1")
      yield* TestClock.adjust("1 hour")
      assert.sameMembers([...upstream.revoked()], ["gateway-key-1", "gateway-key-2", "gateway-key-3"])
    }).pipe(over(upstream))
  })

  it.effect("runs so many at once and no more, and one that waits to try again holds up no other", () => {
    const upstream = FakeUpstream.make()
    let running = 0
    let most = 0
    upstream.is.count = 12
    upstream.is.beforeRevoke = Effect.acquireUseRelease(
      Effect.sync(() => (most = Math.max(most, ++running))),
      () => Effect.sleep("1 second"),
      () => Effect.sync(() => running--)
    )
    return Effect.gen(function* () {
      yield* issue("job_1")
      yield* revokeAll("job_1")
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(upstream.keys.size, 0)
      assert.strictEqual(most, 3)
      upstream.is.beforeRevoke = Effect.suspend(() =>
        upstream.revoked().at(-1) === "gateway-key-24" ? Effect.void : Effect.fail(upstream.error("Unavailable"))
      )
      yield* issue("job_2")
      yield* revokeAll("job_2")
      yield* turn
      assert.isFalse(upstream.keys.has("gateway-key-24"))
    }).pipe(over(upstream, { maxRevoking: 3, maxPerJob: 20 }))
  })

  verifies("C-120", "is tried again with growing pauses while the upstream is not available", () => {
    const upstream = FakeUpstream.make()
    const at: Array<number> = []
    upstream.is.beforeRevoke = Effect.clockWith((clock) =>
      Effect.suspend(() => {
        at.push(clock.currentTimeMillisUnsafe())
        return at.length < 7 ? Effect.fail(upstream.error("Unavailable")) : Effect.void
      })
    )
    return Effect.gen(function* () {
      yield* issue("job_1")
      yield* revokeAll("job_1")
      yield* TestClock.adjust("10 minutes")
      assert.lengthOf(at, 7)
      for (let index = 1; index < at.length; index++) {
        const pause = at[index]! - at[index - 1]!
        const expected = 1000 * 2 ** (index - 1)
        assert.isAtLeast(pause, 0.79 * expected)
        assert.isAtMost(pause, 1.21 * expected)
      }
      assert.strictEqual(upstream.keys.size, 0)
      assert.deepStrictEqual(yield* stored, [])
      assert.deepStrictEqual(yield* Credentials.Credentials.use(({ unrevocable }) => unrevocable), [])
    }).pipe(over(upstream))
  })

  it.effect("does not try again for all jobs in the same moment", () => {
    const upstream = FakeUpstream.make()
    const at = new Set<number>()
    upstream.is.count = 10
    return Effect.gen(function* () {
      yield* issue("job_1")
      upstream.is.beforeRevoke = Effect.clockWith((clock) =>
        Effect.suspend(() => {
          at.add(clock.currentTimeMillisUnsafe())
          return Effect.fail(upstream.error("Unavailable"))
        })
      )
      yield* revokeAll("job_1")
      yield* TestClock.adjust("1500 millis")
      assert.strictEqual(at.size, 1 + 10)
    }).pipe(over(upstream))
  })

  it.effect("waits as long as the upstream asks, within reason", () => {
    const upstream = FakeUpstream.make()
    upstream.is.beforeRevoke = Effect.fail(upstream.error("Unavailable", 60_000))
    return Effect.gen(function* () {
      yield* issue("job_1")
      yield* revokeAll("job_1")
      yield* TestClock.adjust("59 seconds")
      assert.lengthOf(upstream.revoked(), 1)
      upstream.is.beforeRevoke = Effect.fail(upstream.error("Unavailable", 1e12))
      yield* TestClock.adjust("1 second")
      assert.lengthOf(upstream.revoked(), 2)
      upstream.is.beforeRevoke = Effect.void
      yield* TestClock.adjust("299 seconds")
      assert.lengthOf(upstream.revoked(), 2)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(upstream.keys.size, 0)
    }).pipe(over(upstream))
  })

  it.effect("takes one attempt that hangs for a failed one", () => {
    const upstream = FakeUpstream.make()
    upstream.is.beforeRevoke = Effect.never
    return Effect.gen(function* () {
      yield* issue("job_1")
      yield* revokeAll("job_1")
      yield* turn
      upstream.is.beforeRevoke = Effect.void
      yield* TestClock.adjust("32 seconds")
      assert.strictEqual(upstream.keys.size, 0)
    }).pipe(over(upstream))
  })

  verifies("C-120", "what cannot be revoked is logged as an error, kept, listed, and tried again on demand", () => {
    const upstream = FakeUpstream.make()
    const log = capture()
    const errors = () => log.lines.filter(({ level }) => level === "Error")
    return Effect.gen(function* () {
      const credentials = yield* Credentials.Credentials
      const [down] = yield* issue("job_1")
      upstream.is.beforeRevoke = Effect.fail(upstream.error("Unavailable"))
      yield* revokeAll("job_1")
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(upstream.revoked(), 10)
      const [refused] = yield* issue("job_2")
      upstream.is.beforeRevoke = Effect.fail(upstream.error("Rejected"))
      yield* revokeAll("job_2")
      yield* turn
      // No patience helps against a refusal.
      assert.lengthOf(upstream.revoked(), 11)
      assert.lengthOf(errors(), 2)
      assert.include(errors()[0]!.text, down!.id)
      assert.include(errors()[1]!.text, refused!.id)
      const listed = yield* credentials.unrevocable
      assert.sameDeepMembers(
        listed.map(({ failure, outstanding: { credential, job } }) => ({ failure, credential, job })),
        [
          {
            credential: down!.id,
            job: job("job_1"),
            failure: Option.map(listed[0]!.failure, ({ at }) => ({ at, reason: "Unavailable: as the test says" }))
          },
          {
            credential: refused!.id,
            job: job("job_2"),
            failure: Option.some({ at: 3_600_000, reason: "Rejected: as the test says" })
          }
        ]
      )
      upstream.is.beforeRevoke = Effect.void
      yield* issue("job_3")
      yield* credentials.sweep
      assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-3"])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* credentials.unrevocable, [])
      assert.deepStrictEqual(yield* handles, ["gateway-key-3"])
    }).pipe(over(upstream), Effect.provide(log.layer))
  })

  it.effect("ends what the job has delegated, at any depth, and what is just being issued there", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const waiting = yield* FakeUpstream.gate
      yield* issue("child", silent).pipe(Effect.asVoid)
      yield* issue(request("grandchild", { parent: "child" }))
      yield* issue(request("great-grandchild", { parent: "grandchild" }))
      yield* issue("other")
      upstream.is.beforeIssue = waiting.pass
      const late = yield* Effect.forkChild(issue(request("late", { parent: "child" })))
      yield* waiting.reached
      yield* revokeAll("child")
      yield* waiting.open
      assert.strictEqual((yield* Effect.flip(Fiber.join(late)))._tag, "InternalError")
      yield* turn
      assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-4"])
      for (const name of ["child", "grandchild", "great-grandchild", "late"]) {
        assert.deepStrictEqual(yield* current(name), [])
      }
      assert.deepStrictEqual(yield* handles, ["gateway-key-4"])
    }).pipe(over(upstream))
  })

  it.effect("ends the children of a job that has no credentials of its own", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      yield* issue(request("child", { parent: "bare" }))
      yield* revokeAll("bare")
      yield* turn
      assert.strictEqual(upstream.keys.size, 0)
    }).pipe(over(upstream))
  })
})
