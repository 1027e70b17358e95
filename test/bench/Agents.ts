/**
 * What the agents of the workload do.
 */
import { Effect, Latch, Layer, Stream } from "effect"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as Workload from "./Workload.ts"

/** How many events the steady and the held jobs of this process have emitted. */
export const counted = { said: 0 }

const gate = Latch.makeUnsafe(false)

/** Tells all held jobs to go on. */
export const release = gate.release

const say = Effect.fnUntraced(function* (count: number, message: string) {
  const job = yield* JobContext.JobContext
  for (let sent = 0; sent < count; sent++) {
    yield* job.log("info", message)
    counted.said++
  }
})

/** As if from a disk: each part comes in a turn of its own. */
const document = <A>(parts: number, part: A) =>
  Stream.mapEffect(Stream.range(1, parts), () => Effect.as(Effect.yieldNow, part))

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
      while (true) {
        yield* say(each, message)
        yield* Effect.sleep("10 millis")
      }
    })
  ),
  Agent.toLayer(
    Workload.Held,
    Effect.fnUntraced(function* ({ after, before, message }) {
      yield* say(before, message)
      yield* gate.await
      yield* say(after, message)
      return before + after
    })
  ),
  Agent.toLayer(
    Workload.Document,
    Effect.fnUntraced(function* ({ encoding, parts }) {
      const job = yield* JobContext.JobContext
      return yield* encoding === "utf8"
        ? job.streamResult(document(parts, Workload.partOf.utf8))
        : job.streamResult(document(parts, Workload.partOf.base64))
    })
  ),
  Agent.toLayer(Workload.Echo, Effect.succeed)
)
