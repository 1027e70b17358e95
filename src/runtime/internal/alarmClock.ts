/**
 * One clock that wakes whoever waits for a time, however many they are: the sessions of a runtime have a great many such waits - for signs of
 * life, for silence, for the end of a resume window - and hardly one of them is still of interest when its time comes.
 *
 * **Details**
 *
 * A wait is not a fiber that sleeps, and not a timer: it is an entry in a heap. A single fiber sleeps until the earliest of them, and there is
 * none while nobody waits. What makes this cheap is that an alarm is a hint. It rings at its time _or before_; whoever is rung looks at what
 * is due by then, and sets the alarm again for what is not. So a time that moves further away, as that of a silence does with each frame,
 * costs nothing when it moves: the alarm is left where it is. Only a time that comes nearer moves it.
 *
 * An alarm may say how much before its time it is as welcome. It then rings with one that is due, so that many sessions that are asked for a
 * sign of life are asked at once, and their answers are read at once; but nobody wakes for it before its time.
 *
 * Times are milliseconds of the monotonic clock: a step of the wall clock is no time that passes.
 */
import { Clock, Effect, type Fiber, type Scope } from "effect"
import * as AlarmHeap from "./alarmHeap.ts"

export interface Alarm extends AlarmHeap.Entry {
  /** Must neither wait nor take long: all others wait for it. */
  readonly ring: (now: number) => void
  /** How much before its time it may as well ring. */
  slack: number
}

export interface AlarmClock {
  readonly clock: Clock.Clock
  readonly heap: AlarmHeap.AlarmHeap<Alarm>
  readonly fork: (sleep: Effect.Effect<void>) => Fiber.Fiber<void>
  /** Whether somebody sleeps, or looks at what is due. */
  isRunning: boolean
  sleeper: Fiber.Fiber<void> | undefined
  /** When the sleeper wakes; before all times while it is awake, as it then looks at all there is. */
  wakesAt: number
}

/** Alarms that ring before others have their turn. */
const burst = 128

/** A clock without alarms. With the scope it stops. */
export const make: Effect.Effect<AlarmClock, never, Scope.Scope> = Effect.gen(function* () {
  const self: AlarmClock = {
    clock: yield* Clock.Clock,
    heap: [],
    fork: Effect.runForkWith(yield* Effect.context<never>()),
    isRunning: false,
    sleeper: undefined,
    wakesAt: Number.NEGATIVE_INFINITY
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      // As if it was awake: nothing starts it again.
      self.isRunning = true
      self.wakesAt = Number.NEGATIVE_INFINITY
      self.sleeper?.interruptUnsafe()
    })
  )
  return self
})

/** An alarm that is not set. */
export const alarm = (ring: Alarm["ring"]): Alarm => ({
  at: Number.POSITIVE_INFINITY,
  place: AlarmHeap.outside,
  ring,
  slack: 0
})

export const now = ({ clock }: AlarmClock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000

/**
 * Has it ring at a time at the latest; one that is set to ring before stays so. Whoever is rung within the slack must be done with it. What is
 * no time would bring the others out of order.
 */
export const set = (self: AlarmClock, alarm: Alarm, at: number, slack = 0): void => {
  if (!(at < Number.POSITIVE_INFINITY) || (alarm.place >= 0 && alarm.at <= at)) return
  alarm.slack = slack
  AlarmHeap.put(self.heap, alarm, at)
  if (self.isRunning) {
    if (at >= self.wakesAt) return
    self.sleeper?.interruptUnsafe()
  }
  self.isRunning = true
  self.sleeper = self.fork(run(self))
}

export const clear = (self: AlarmClock, alarm: Alarm): void => AlarmHeap.remove(self.heap, alarm)

/** Sleeps and rings as long as there is an alarm. */
const run = Effect.fnUntraced(function* (self: AlarmClock) {
  for (let next = AlarmHeap.first(self.heap); next !== undefined; next = AlarmHeap.first(self.heap)) {
    const wait = next.at - now(self)
    self.wakesAt = next.at
    // What is less than a tick of the clock would be waited for without end.
    yield* wait > 0 ? Effect.sleep(Math.max(1, Math.ceil(wait))) : Effect.yieldNow
    self.wakesAt = Number.NEGATIVE_INFINITY
    const time = now(self)
    for (let rung = 0; rung < burst; rung++) {
      const due = AlarmHeap.first(self.heap)
      if (due === undefined || due.at - due.slack > time) break
      AlarmHeap.remove(self.heap, due)
      try {
        due.ring(time)
      } catch (defect) {
        yield* Effect.logError("An alarm died", defect)
      }
    }
  }
  self.isRunning = false
})
