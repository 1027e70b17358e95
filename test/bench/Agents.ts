/**
 * What the agents of the workload do.
 */
import { Effect, Layer } from "effect"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as Workload from "./Workload.ts"

export const layer = Layer.mergeAll(
  Agent.toLayer(
    Workload.Flood,
    Effect.fnUntraced(function* ({ count, message }) {
      const job = yield* JobContext.JobContext
      for (let sent = 0; sent < count; sent++) yield* job.log("info", message)
      return count
    })
  ),
  Agent.toLayer(Workload.Echo, Effect.succeed)
)
