import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Layer } from "effect"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"

const built = (changes: Partial<RuntimeConfig.RuntimeConfig>) =>
  Effect.scoped(Effect.exit(Layer.build(RuntimeConfig.layer(changes))))

describe("RuntimeConfig", () => {
  it.effect.each<readonly [keyof RuntimeConfig.RuntimeConfig, unknown]>([
    ["maxGreeting", 0],
    ["maxBatch", Number.NaN],
    ["maxEndedJobs", -1],
    ["resumeWindow", Duration.infinity],
    ["heartbeatInterval", Duration.infinity]
  ])("dies of a %s that leaves nothing to hold to, and names it", ([setting, value]) =>
    Effect.gen(function* () {
      const exit = yield* built({ [setting]: value })
      assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes(`RuntimeConfig.${setting}`))
    })
  )

  it.effect("takes what is without a bound where there may be none", () =>
    Effect.gen(function* () {
      const changes = {
        idleTimeout: Duration.infinity,
        maxSubmissionsPerMinute: Number.POSITIVE_INFINITY,
        maxEndedJobs: 0
      }
      assert.isTrue(Exit.isSuccess(yield* built(changes)))
    })
  )
})
