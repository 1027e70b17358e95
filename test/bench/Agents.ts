/**
 * What the agents of the workload do.
 */
import { Effect, Layer } from "effect"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as Workload from "./Workload.ts"

/** How many events steady jobs of this process have emitted. */
export const steady = { said: 0 }

export const layer = Layer.mergeAll(
  Agent.toLayer(
    Workload.Flood,
    Effect.fnUntraced(function* ({ count, message }) {
      const job = yield* JobContext.JobContext
      for (let sent = 0; sent < count; sent++) yield* job.log("info", message)
      return count
    })
  ),
  Agent.toLayer(
    Workload.Steady,
    Effect.fnUntraced(function* ({ each, message }) {
      const job = yield* JobContext.JobContext
      while (true) {
        for (let sent = 0; sent < each; sent++) {
          yield* job.log("info", message)
          steady.said++
        }
        yield* Effect.sleep("10 millis")
      }
    })
  ),
  Agent.toLayer(Workload.Echo, Effect.succeed)
)
