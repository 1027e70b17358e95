import { assert, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Heartbeat from "../../src/session/Heartbeat.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"

const interval = Duration.seconds(5)

for (const role of ["client", "runtime"] as const) {
  it.effect(`a silent line is lost after two intervals, also for a ${role} whose times are no whole milliseconds`, () =>
    Effect.gen(function* () {
      for (const millis of [0.3, 0.961478, 250.9614781, 1 / 3]) {
        yield* TestClock.adjust(millis)
        const [near] = yield* MemoryTransport.pair()
        const line = yield* Heartbeat.observe({ ...near, pull: Effect.never })
        const began = yield* Clock.currentTimeMillis
        const watching = yield* Effect.forkChild(Heartbeat.untilLost(line, { interval, ping: Effect.void, role }))
        yield* TestClock.adjust("9.5 seconds")
        assert.isUndefined(watching.pollUnsafe())
        yield* TestClock.adjust("501 millis")
        yield* Fiber.join(watching)
        assert.closeTo((yield* Clock.currentTimeMillis) - began, 10_001, 0.01)
      }
    })
  )
}
