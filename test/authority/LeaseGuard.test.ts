import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as Operation from "../../src/authority/Operation.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import * as Timestamp from "../../src/protocol/Timestamp.ts"
import { verifies } from "../conformance/verifies.ts"

const search = Operation.toolCall("search")

const guard = Effect.fnUntraced(function* (constraints: Capability.Constraints) {
  const now = yield* Clock.currentTimeMillis
  return yield* LeaseGuard.make(yield* Effect.fromResult(Lease.make({ "tool.call": ["search"] }, constraints, now)))
})

const outcome = <A, R>(effect: Effect.Effect<A, { readonly _tag: string }, R>) =>
  Effect.match(effect, { onFailure: (error) => error._tag, onSuccess: () => "ok" })

describe("LeaseGuard", () => {
  verifies("C-096", "an operation that is denied never starts", () =>
    Effect.gen(function* () {
      const { authorize } = yield* guard({})
      let calls = 0
      const call = Effect.sync(() => {
        calls++
      })
      yield* Effect.andThen(authorize(search), call)
      assert.strictEqual(calls, 1)
      const denied = yield* Effect.flip(Effect.andThen(authorize(Operation.toolCall("shell")), call))
      assert.strictEqual(denied._tag, "PermissionDenied")
      assert.strictEqual(calls, 1)
    })
  )

  it.effect("asks the clock each time that the same check runs, and ends at the very instant", () =>
    Effect.gen(function* () {
      const check = (yield* guard({ expires_at: Timestamp.format(1000) })).authorize(search)
      yield* TestClock.adjust(999)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
    })
  )

  verifies("C-104b", "a lease of 60 days lasts 60 days", () =>
    Effect.gen(function* () {
      const days = 86_400_000
      const check = (yield* guard({ expires_at: Timestamp.format(60 * days) })).authorize(search)
      assert.strictEqual(yield* outcome(check), "ok")
      // Past the longest time that a 32-bit timer can count.
      yield* TestClock.adjust(2 ** 31)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(60 * days - 2 ** 31 - 1)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
    })
  )

  it.effect("gives no more time when the wall clock is set back", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_000_000)
      const check = (yield* guard({ expires_at: Timestamp.format(1_060_000) })).authorize(search)
      yield* TestClock.adjust("40 seconds")
      yield* TestClock.setTime(0)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(19_999)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Clock.currentTimeMillis, 20_000)
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
    })
  )

  it.effect("ends at once when the wall clock is set past the end", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let wall = 0
      // A jump of the wall clock alone: no time has passed.
      const jumping: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => wall,
        currentTimeMillis: Effect.sync(() => wall)
      }
      const made = guard({ expires_at: Timestamp.format(60_000) }).pipe(Effect.provideService(Clock.Clock, jumping))
      const check = (yield* made).authorize(search)
      assert.strictEqual(yield* outcome(check), "ok")
      wall = 60_000
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
    })
  )

  it.effect("does not live by a clock that the agent brings", () =>
    Effect.gen(function* () {
      const check = (yield* guard({ expires_at: Timestamp.format(60_000) })).authorize(search)
      const clock = yield* Clock.Clock
      const stopped: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => 0,
        currentTimeMillis: Effect.succeed(0),
        monotonicTimeNanosUnsafe: () => 0n
      }
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* outcome(Effect.provideService(check, Clock.Clock, stopped)), "LeaseExpired")
    })
  )

  it.effect("has no end without expires_at", () =>
    Effect.gen(function* () {
      const subject = yield* guard({})
      yield* TestClock.adjust("10000 days")
      assert.strictEqual(yield* outcome(subject.authorize(search)), "ok")
      assert.deepStrictEqual(subject.lease.grants, { "tool.call": ["search"] })
    })
  )
})
