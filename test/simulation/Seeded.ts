/**
 * Everything that a run could draw from chance, drawn from a number: values, the order in which fibers run, the bytes of ids. And time, which
 * passes only when nothing else can happen.
 */
import { createHash } from "node:crypto"
import { Clock, Duration, Effect, Layer, Scheduler } from "effect"
import { WebCrypto } from "effect/crypto"
import { TestClock } from "effect/testing"

/** Numbers in [0, 1) that follow from a seed (mulberry32). */
export type Chance = () => number

export const chance = (seed: number): Chance => {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let word = Math.imul(state ^ (state >>> 15), state | 1)
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61)
    return ((word ^ (word >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/** A whole number from `low` to `high`, both included. */
export const between = (next: Chance, low: number, high: number): number => low + Math.floor(next() * (high - low + 1))

export const pick = <A>(next: Chance, from: ReadonlyArray<A>): A => from[Math.floor(next() * from.length)]!

export interface SeededScheduler extends Scheduler.Scheduler {
  /** Calls back, once, when no fiber can go on without the clock. */
  readonly onRest: (callback: () => void) => void
  /** Whether the fibers went on and on without the clock, and were stopped. */
  readonly spins: () => boolean
}

/** Turns of fibers between two steps of the clock. No run that ends comes near. */
const maxTurns = 300_000

/**
 * Runs whichever fiber chance points at, and makes each give way after a number of operations that chance decides, of at most so many.
 */
export const scheduler = (next: Chance, most = 400): SeededScheduler => {
  const tasks: Array<() => void> = []
  let armed = false
  let rest: (() => void) | undefined
  let budget = 1
  let turns = 0
  let spins = false

  const arm = () => {
    if (armed) return
    armed = true
    // Not a microtask: what a promise brings is in before fibers go on, and before anybody calls it rest.
    setImmediate(drain)
  }
  const drain = () => {
    armed = false
    if (tasks.length === 0) {
      const callback = rest
      rest = undefined
      turns = 0
      callback?.()
      return
    }
    while (tasks.length > 0) {
      const index = Math.floor(next() * tasks.length)
      const task = tasks[index]!
      const last = tasks.pop()!
      if (index < tasks.length) tasks[index] = last
      task()
      if (++turns > maxTurns) {
        spins = true
        turns = 0
        tasks.length = 0
      }
    }
    arm()
  }
  const dispatcher: Scheduler.SchedulerDispatcher = {
    scheduleTask: (task) => {
      tasks.push(task)
      arm()
    },
    flush: drain
  }
  return {
    executionMode: "async",
    shouldYield: (fiber) => {
      if (fiber.currentOpCount < budget) return false
      budget = 1 + Math.floor(next() * most)
      return true
    },
    makeDispatcher: () => dispatcher,
    spins: () => spins,
    onRest: (callback) => {
      rest = callback
      arm()
    }
  }
}

/**
 * A `TestClock` that says when the next sleep ends.
 */
export interface SteppingClock {
  readonly layer: Layer.Layer<never>
  /** Goes to the end of the next sleep; says whether there was one. */
  readonly step: Effect.Effect<boolean>
  /** Milliseconds. */
  readonly now: Effect.Effect<number>
}

export const steppingClock: Effect.Effect<SteppingClock, never, never> = Effect.scoped(
  Effect.gen(function* () {
    const test = yield* TestClock.make({ warningDelay: Duration.infinity })
    const ends: Array<number> = []
    const clock: Clock.Clock = {
      ...test,
      sleep: (duration) =>
        Effect.suspend(() => {
          const end = test.currentTimeMillisUnsafe() + Duration.toMillis(duration)
          if (!Number.isFinite(end)) return Effect.never
          ends.push(end)
          return Effect.ensuring(
            test.sleep(duration),
            Effect.sync(() => ends.splice(ends.indexOf(end), 1))
          )
        })
    }
    return {
      layer: Layer.succeed(Clock.Clock, clock),
      now: test.currentTimeMillis,
      step: Effect.suspend(() => {
        if (ends.length === 0) return Effect.succeed(false)
        return Effect.as(test.setTime(Math.min(...ends)), true)
      })
    }
  })
)

/** SHA-256 and its like without a thread pool, whose answers would come in an order of their own. */
export const layerCrypto: Layer.Layer<never> = WebCrypto.layer(
  Object.create(globalThis.crypto, {
    subtle: {
      value: {
        digest: async (algorithm: string | { readonly name: string }, data: Uint8Array) => {
          const name = typeof algorithm === "string" ? algorithm : algorithm.name
          const bytes = createHash(name.replace("-", "").toLowerCase()).update(data).digest()
          return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
        }
      }
    }
  })
)
