import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as Credentials from "../../src/authority/Credentials.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import {
  capture,
  current,
  handles,
  issue,
  over,
  revokeAll,
  rotate,
  silent,
  stored,
  turn,
  valueOf
} from "./CredentialActs.ts"
import * as FakeUpstream from "./FakeUpstream.ts"

const { job, request } = FakeUpstream

describe("Rotating credentials", () => {
  it.effect(
    "keeps the id, tells of it when the new value is there, and revokes the former one, never the new one",
    () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const seen: Array<unknown> = []
        const onRotated = (id: Ids.CredentialId) =>
          Effect.gen(function* () {
            const now = yield* Credentials.Credentials.use(({ value }) => value(job("job_1"), id))
            seen.push([id, Option.map(now, Redacted.value), [...upstream.keys.keys()]])
          })
        const context = yield* Effect.context<Credentials.Credentials>()
        const [first] = yield* issue("job_1", {
          secure: true,
          onRotated: (id) => Effect.provideContext(onRotated(id), context)
        })
        assert.isTrue(yield* rotate("job_1", first!.id))
        assert.deepStrictEqual(seen, [[first!.id, Option.some("CANARY-gateway-2"), ["gateway-key-1", "gateway-key-2"]]])
        yield* turn
        assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-2"])
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
        const now = yield* current("job_1")
        assert.deepStrictEqual(
          now.map((credential) => [credential.id, valueOf(credential)]),
          [[first!.id, "CANARY-gateway-2"]]
        )
        assert.deepStrictEqual(yield* handles, ["gateway-key-2"])
        yield* revokeAll("job_1")
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1", "gateway-key-2"])
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(over(upstream))
    }
  )

  it.effect("writes the new handle down before the upstream hears of it", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const waiting = yield* FakeUpstream.gate
      const [credential] = yield* issue("job_1")
      upstream.is.beforeRotate = waiting.pass
      const rotation = yield* Effect.forkChild(rotate("job_1", credential!.id))
      yield* waiting.reached
      assert.sameMembers(yield* handles, ["gateway-key-1", "gateway-key-2"])
      assert.deepStrictEqual((yield* current("job_1")).map(valueOf), ["CANARY-gateway-1"])
      yield* waiting.open
      assert.isTrue(yield* Fiber.join(rotation))
    }).pipe(over(upstream))
  })

  it.effect("is one rotation for all who ask at once, and goes on if they go", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const waiting = yield* FakeUpstream.gate
      const [credential] = yield* issue("job_1")
      upstream.is.beforeRotate = waiting.pass
      const all = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(rotate("job_1", credential!.id)))
      yield* waiting.reached
      yield* turn
      yield* Fiber.interrupt(all[0]!)
      yield* waiting.open
      assert.isTrue(yield* Fiber.join(all[1]!))
      assert.isTrue(yield* Fiber.join(all[2]!))
      yield* turn
      assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-2"])
      upstream.is.beforeRotate = Effect.void
      assert.isTrue(yield* rotate("job_1", credential!.id))
      yield* turn
      assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-3"])
    }).pipe(over(upstream))
  })

  it.effect("that fails leaves the value that there is, and clears away its attempt", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const issued = yield* issue("job_1")
      upstream.is.beforeRotate = Effect.fail(upstream.error("Unavailable"))
      assert.strictEqual((yield* Effect.flip(rotate("job_1", issued[0]!.id))).reason, "Unavailable")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-1"])
      assert.deepStrictEqual(yield* handles, ["gateway-key-1"])
      assert.deepStrictEqual(yield* current("job_1"), issued)
    }).pipe(over(upstream))
  })

  it.effect("of a job that ends meanwhile leaves neither the former value nor the new one", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const waiting = yield* FakeUpstream.gate
      const [credential] = yield* issue("job_1")
      upstream.is.beforeRotate = waiting.pass
      const rotation = yield* Effect.forkChild(rotate("job_1", credential!.id))
      yield* waiting.reached
      yield* revokeAll("job_1")
      yield* turn
      assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
      yield* waiting.open
      assert.strictEqual((yield* Effect.flip(Fiber.join(rotation))).reason, "Rejected")
      yield* turn
      assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1", "gateway-key-2"])
      assert.strictEqual(upstream.keys.size, 0)
      assert.deepStrictEqual(yield* stored, [])
      assert.isFalse(yield* rotate("job_1", credential!.id))
    }).pipe(over(upstream))
  })

  it.effect("of a job that ends while its submitter is being told leaves nothing", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const waiting = yield* FakeUpstream.gate
      const [credential] = yield* issue("job_1", { secure: true, onRotated: () => waiting.pass })
      const rotation = yield* Effect.forkChild(rotate("job_1", credential!.id))
      yield* waiting.reached
      yield* revokeAll("job_1")
      yield* waiting.open
      yield* Fiber.join(rotation)
      yield* turn
      assert.strictEqual(upstream.keys.size, 0)
      assert.deepStrictEqual(yield* stored, [])
    }).pipe(over(upstream))
  })

  it.effect("is not held up for ever by a submitter who cannot be told", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const told = yield* Deferred.make<void>()
      const [credential] = yield* issue("job_1", {
        secure: true,
        onRotated: () => Effect.andThen(Effect.sleep("1 minute"), Deferred.succeed(told, undefined))
      })
      yield* Effect.forkChild(rotate("job_1", credential!.id))
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(upstream.revoked(), [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
      // It is told all the same, once it can be.
      yield* TestClock.adjust("50 seconds")
      assert.isTrue(yield* Deferred.isDone(told))
    }).pipe(over(upstream))
  })

  it.effect("revokes the former value once it was said that the new one, and no other, was sent", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const { told } = yield* Credentials.Credentials
      const [credential] = yield* issue("job_1", { secure: true, onRotated: (_, told) => told })
      const rotation = yield* Effect.forkChild(rotate("job_1", credential!.id))
      yield* TestClock.adjust("9 seconds")
      yield* told(job("job_1"), credential!.id, credential!.value)
      yield* told(job("job_2"), credential!.id, Redacted.make("CANARY-gateway-2"))
      yield* turn
      assert.deepStrictEqual(upstream.revoked(), [])
      yield* told(job("job_1"), credential!.id, Redacted.make("CANARY-gateway-2"))
      yield* turn
      assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
      assert.isTrue(yield* Fiber.join(rotation))
    }).pipe(over(upstream))
  })

  it.effect("waits for nobody to be told once the job has ended", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const [credential] = yield* issue("job_1", { secure: true, onRotated: (_, told) => told })
      yield* Effect.forkChild(rotate("job_1", credential!.id))
      yield* turn
      assert.deepStrictEqual(upstream.revoked(), [])
      yield* revokeAll("job_1")
      yield* turn
      assert.strictEqual(upstream.keys.size, 0)
      assert.deepStrictEqual(yield* stored, [])
    }).pipe(over(upstream))
  })

  it.effect("in place, by the former handle, revokes nothing", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const told: Array<string> = []
      const [credential] = yield* issue("job_1", {
        secure: true,
        onRotated: (id) => Effect.sync(() => told.push(id))
      })
      upstream.is.nextHandle = () => "gateway-key-1"
      assert.isTrue(yield* rotate("job_1", credential!.id))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(told, [credential!.id])
      assert.deepStrictEqual(upstream.revoked(), [])
      assert.deepStrictEqual((yield* current("job_1")).map(valueOf), ["CANARY-gateway-2"])
      yield* revokeAll("job_1")
      yield* turn
      assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
      assert.deepStrictEqual(yield* stored, [])
    }).pipe(over(upstream))
  })

  it.effect("to the same value is none: nobody is told and nothing is revoked before the job ends", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const told: Array<string> = []
      const [credential] = yield* issue("job_1", {
        secure: true,
        onRotated: (id) => Effect.sync(() => told.push(id))
      })
      upstream.is.nextValue = () => "CANARY-gateway-1"
      assert.isFalse(yield* rotate("job_1", credential!.id))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(told, [])
      assert.deepStrictEqual(upstream.revoked(), [])
      assert.deepStrictEqual(yield* handles, ["gateway-key-2"])
      yield* revokeAll("job_1")
      yield* turn
      assert.deepStrictEqual(upstream.revoked(), ["gateway-key-2"])
    }).pipe(over(upstream))
  })

  it.effect("never gives one job the value of another", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const [credential] = yield* issue("job_1")
      yield* issue("job_2")
      upstream.is.nextValue = () => "CANARY-gateway-2"
      assert.strictEqual((yield* Effect.flip(rotate("job_1", credential!.id))).reason, "Malformed")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(upstream.revoked(), [])
      assert.deepStrictEqual((yield* current("job_1")).map(valueOf), ["CANARY-gateway-1"])
    }).pipe(over(upstream))
  })

  it.effect("is not there for a provisioner that cannot, for an unknown credential, nor for an unknown job", () => {
    const upstream = FakeUpstream.make("gateway", { rotates: false })
    upstream.is.lifetime = 1000
    return Effect.gen(function* () {
      const [credential] = yield* issue("job_1")
      assert.strictEqual((yield* Effect.flip(rotate("job_1", credential!.id))).reason, "Unsupported")
      assert.isFalse(yield* rotate("job_1", "cred_other" as Ids.CredentialId))
      assert.isFalse(yield* rotate("job_2", credential!.id))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(upstream.calls, ["issue job_1", "made gateway-key-1"])
    }).pipe(over(upstream))
  })

  it.effect("comes by itself whenever the time has come, until the job ends", () => {
    const upstream = FakeUpstream.make()
    upstream.is.lifetime = Duration.toMillis("1 hour")
    return Effect.gen(function* () {
      const told: Array<string> = []
      const [credential] = yield* issue("job_1", {
        secure: true,
        onRotated: (id) => Effect.sync(() => told.push(id))
      })
      yield* TestClock.adjust("59 minutes")
      assert.lengthOf(told, 0)
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(told, 1)
      yield* TestClock.adjust("30 minutes")
      // By hand: its successor has its hour from now on.
      assert.isTrue(yield* rotate("job_1", credential!.id))
      yield* TestClock.adjust("59 minutes")
      assert.lengthOf(told, 2)
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(told, 3)
      yield* TestClock.adjust("10 hours")
      assert.lengthOf(told, 13)
      assert.strictEqual(upstream.keys.size, 1)
      yield* revokeAll("job_1")
      yield* TestClock.adjust("10 hours")
      assert.lengthOf(told, 13)
      assert.strictEqual(upstream.keys.size, 0)
    }).pipe(over(upstream))
  })

  it.effect(
    "comes no sooner than the least time, whatever the provisioner says, and not before the job is accepted",
    () => {
      const upstream = FakeUpstream.make()
      upstream.is.lifetime = -5000
      return Effect.gen(function* () {
        const { issueFor } = yield* Credentials.Credentials
        const waiting = yield* FakeUpstream.gate
        yield* Effect.forkChild(issueFor(request("job_1"), silent, () => waiting.pass))
        yield* waiting.reached
        yield* TestClock.adjust("1 minute")
        assert.lengthOf(upstream.revoked(), 0)
        yield* waiting.open
        yield* TestClock.adjust("100 seconds")
        assert.lengthOf(upstream.revoked(), 10)
      }).pipe(over(upstream))
    }
  )

  it.effect("is tried again while the upstream is not available, and given up with an error", () => {
    const upstream = FakeUpstream.make()
    const log = capture()
    upstream.is.lifetime = Duration.toMillis("1 hour")
    return Effect.gen(function* () {
      yield* issue("job_1")
      upstream.is.beforeRotate = Effect.fail(upstream.error("Unavailable"))
      yield* TestClock.adjust("61 minutes")
      assert.isAbove(upstream.calls.filter((call) => call.startsWith("rotate")).length, 3)
      upstream.is.beforeRotate = Effect.void
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(upstream.keys.size, 1)
      assert.lengthOf(log.lines, 0)
      upstream.is.beforeRotate = Effect.fail(upstream.error("BudgetExceeded"))
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(log.lines, 1)
      assert.match(log.lines[0]!.text, /will run out.*BudgetExceeded/)
      assert.lengthOf(yield* current("job_1"), 1)
    }).pipe(over(upstream), Effect.provide(log.layer))
  })
})
