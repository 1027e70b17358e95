import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as AlarmClock from "../../src/runtime/internal/alarmClock.ts"

const count = 40

const Which = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: count - 1 }))
const Away = Schema.Int.check(Schema.isBetween({ minimum: -10, maximum: 90 }))

/** What a test does next: it sets an alarm so far from now, clears one, or lets time pass. */
const Step = Schema.Union([
  Schema.TaggedStruct("Set", { which: Which, away: Away }),
  Schema.TaggedStruct("Clear", { which: Which }),
  Schema.TaggedStruct("Pass", { millis: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 30 })) })
])

const settled = Effect.repeat(Effect.yieldNow, { times: 20 })

describe("AlarmClock", () => {
  it.effect.prop(
    "rings each alarm by its time, unless it was cleared, whatever the others do, and rests when none is left",
    { steps: Schema.Array(Step).check(Schema.isMinLength(40), Schema.isMaxLength(200)) },
    ({ steps }) =>
      Effect.gen(function* () {
        const clock = yield* AlarmClock.make
        /** When each is to ring at the latest. */
        const due = new Map<number, number>()
        let now = 0
        const set = (which: number, at: number) => {
          AlarmClock.set(clock, alarms[which]!, at)
          due.set(which, Math.min(at, due.get(which) ?? at))
        }
        const alarms: ReadonlyArray<AlarmClock.Alarm> = Array.from({ length: count }, (_, which) =>
          AlarmClock.alarm((now) => {
            due.delete(which)
            // Some set themselves again, some clear another, and some die.
            if (which % 5 === 0 && now < 1000) set(which, now + which + 1)
            if (which % 7 === 1) {
              AlarmClock.clear(clock, alarms[which - 1]!)
              due.delete(which - 1)
            }
            if (which % 11 === 3) throw new Error("a mistake")
          })
        )
        for (const step of steps) {
          if (step._tag === "Set") set(step.which, now + step.away)
          else if (step._tag === "Clear") {
            AlarmClock.clear(clock, alarms[step.which]!)
            due.delete(step.which)
          } else {
            now += step.millis
            yield* TestClock.adjust(step.millis)
            yield* settled
            for (const [which, at] of due) assert.isAbove(at, now, `alarm ${which}`)
          }
          assert.strictEqual(clock.heap.length, due.size)
        }
        yield* TestClock.adjust("2 seconds")
        yield* settled
        assert.strictEqual(due.size, 0)
        assert.isFalse(clock.isRunning)
      })
  )

  it.effect("rings no more when its scope has closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const clock = yield* Scope.provide(AlarmClock.make, scope)
      let rung = 0
      const alarm = () => AlarmClock.alarm(() => rung++)
      AlarmClock.set(clock, alarm(), 10)
      yield* Scope.close(scope, Exit.void)
      AlarmClock.set(clock, alarm(), 5)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(rung, 0)
    })
  )

  it.effect("takes no time that is none, which would bring the others out of order", () =>
    Effect.gen(function* () {
      const clock = yield* AlarmClock.make
      const rung: Array<string> = []
      for (const [name, at] of [
        ["late", 20],
        ["never", Number.NaN],
        ["endless", Number.POSITIVE_INFINITY],
        ["early", 10]
      ] as const) {
        AlarmClock.set(
          clock,
          AlarmClock.alarm(() => rung.push(name)),
          at
        )
      }
      yield* TestClock.adjust("15 millis")
      yield* settled
      assert.deepStrictEqual(rung, ["early"])
      yield* TestClock.adjust("1 hour")
      yield* settled
      assert.deepStrictEqual(rung, ["early", "late"])
      assert.isFalse(clock.isRunning)
    })
  )
})
