import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as AlarmClock from "../../src/runtime/internal/alarmClock.ts"
import * as AlarmHeap from "../../src/runtime/internal/alarmHeap.ts"
import * as Seeded from "../simulation/Seeded.ts"

interface Entry extends AlarmHeap.Entry {
  readonly name: number
}

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

/** Alarms by name, and when which of them rang. */
const bell = Effect.map(AlarmClock.make, (clock) => {
  const rang: Array<readonly [name: string, at: number]> = []
  const named = (name: string) => AlarmClock.alarm((now) => rang.push([name, now]))
  return { clock, rang, named }
})

describe("AlarmHeap", () => {
  it("has the earliest entry first, whatever is put, moved or removed", () => {
    const next = Seeded.chance(1)
    const heap: AlarmHeap.AlarmHeap<Entry> = []
    const entries = Array.from({ length: 40 }, (_, name): Entry => ({ name, at: Infinity, place: AlarmHeap.outside }))
    const expected = new Map<number, number>()
    for (let step = 0; step < 10_000; step++) {
      const entry = Seeded.pick(next, entries)
      if (next() < 0.3) {
        AlarmHeap.remove(heap, entry)
        expected.delete(entry.name)
      } else {
        const at = Seeded.between(next, 0, 100)
        AlarmHeap.put(heap, entry, at)
        expected.set(entry.name, at)
      }
      assert.lengthOf(heap, expected.size)
      assert.strictEqual(AlarmHeap.first(heap)?.at, expected.size === 0 ? undefined : Math.min(...expected.values()))
    }
    const left: Array<number> = []
    for (let first = AlarmHeap.first(heap); first !== undefined; first = AlarmHeap.first(heap)) {
      left.push(first.at)
      assert.strictEqual(expected.get(first.name), first.at)
      AlarmHeap.remove(heap, first)
    }
    assert.deepStrictEqual(
      left,
      Array.from(expected.values()).toSorted((a, b) => a - b)
    )
  })
})

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

  it.effect("rings each at its time, once", () =>
    Effect.gen(function* () {
      const { clock, named, rang } = yield* bell
      AlarmClock.set(clock, named("late"), 30)
      AlarmClock.set(clock, named("soon"), 10)
      yield* TestClock.adjust(9)
      assert.deepStrictEqual(rang, [])
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(rang, [
        ["soon", 10],
        ["late", 30]
      ])
    })
  )

  it.effect("leaves one that is to ring before, moves one that is to ring after, and forgets what is cleared", () =>
    Effect.gen(function* () {
      const { clock, named, rang } = yield* bell
      const [stays, moves, goes] = [named("stays"), named("moves"), named("goes")]
      AlarmClock.set(clock, stays, 10)
      AlarmClock.set(clock, stays, 20)
      AlarmClock.set(clock, moves, 20)
      AlarmClock.set(clock, moves, 5)
      AlarmClock.set(clock, goes, 7)
      AlarmClock.clear(clock, goes)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(rang, [
        ["moves", 5],
        ["stays", 10]
      ])
    })
  )

  it.effect("rings within its slack with another that is due, and wakes for it at its time alone", () =>
    Effect.gen(function* () {
      const { clock, named, rang } = yield* bell
      AlarmClock.set(clock, named("first"), 100, 10)
      AlarmClock.set(clock, named("within"), 110, 10)
      AlarmClock.set(clock, named("beyond"), 111, 10)
      AlarmClock.set(clock, named("exact"), 112)
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(rang, [])
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(rang, [
        ["first", 100],
        ["within", 100],
        ["beyond", 111],
        ["exact", 112]
      ])
    })
  )

  it.effect("rings all that are due at once, and what one of them sets again", () =>
    Effect.gen(function* () {
      const { clock, named, rang } = yield* bell
      for (let index = 0; index < 1000; index++) AlarmClock.set(clock, named(`${index}`), 10)
      let rounds = 0
      const again = AlarmClock.alarm((now) => {
        if (++rounds < 5) AlarmClock.set(clock, again, now + 10)
      })
      AlarmClock.set(clock, again, 10)
      yield* TestClock.adjust(60)
      assert.lengthOf(rang, 1000)
      assert.strictEqual(rounds, 5)
    })
  )

  it.effect("goes on when one of them dies", () =>
    Effect.gen(function* () {
      const { clock, named, rang } = yield* bell
      const dying = AlarmClock.alarm(() => {
        throw new Error("a defect")
      })
      AlarmClock.set(clock, dying, 10)
      AlarmClock.set(clock, named("next"), 10)
      AlarmClock.set(clock, named("later"), 20)
      yield* TestClock.adjust(30)
      assert.deepStrictEqual(rang, [
        ["next", 10],
        ["later", 20]
      ])
    })
  )

  it.effect("is silent once its scope is closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { clock, named, rang } = yield* Scope.provide(bell, scope)
      AlarmClock.set(clock, named("before"), 10)
      yield* Scope.close(scope, Exit.void)
      AlarmClock.set(clock, named("after"), 20)
      yield* TestClock.adjust(Duration.minutes(1))
      assert.deepStrictEqual(rang, [])
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
