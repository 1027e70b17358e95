import { assert, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Heartbeat from "../../src/session/Heartbeat.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"

// In floating point, 2.887608 and 10,000 more is beyond 10,002.887608: the time that is left is less than a clock can tell.
it.effect("the end of a silence is not waited for in steps of nothing", () =>
  Effect.gen(function* () {
    yield* TestClock.adjust(Duration.nanos(2_887_608n))
    const clock = yield* Clock.Clock
    let sleeps = 0
    const sleep: Clock.Clock["sleep"] = (duration) => (++sleeps > 100 ? Effect.never : clock.sleep(duration))
    const [near] = yield* MemoryTransport.pair()
    const line = yield* Heartbeat.observe({ ...near, pull: Effect.never })
    const watching = yield* Heartbeat.untilLost(line, {
      interval: Duration.seconds(5),
      ping: Effect.void,
      role: "runtime"
    }).pipe(Effect.provideService(Clock.Clock, { ...clock, sleep }), Effect.forkChild)
    yield* TestClock.adjust("10 seconds")
    yield* TestClock.adjust("1 milli")
    assert.isDefined(watching.pollUnsafe())
    assert.isBelow(sleeps, 10)
    yield* Fiber.join(watching)
  })
)
