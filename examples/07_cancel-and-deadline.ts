/**
 * What ends a job, and what does not.
 *
 * A job belongs to the runtime. Whoever reads its events may stop, and it runs on; it ends by itself, by `cancel`, or at its deadline. In
 * each case its fiber is interrupted and its finalizers run, and the caller gets a typed error. A time-out around `run` cancels the job
 * only if the submit says so.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/runtime` for `../src/runtime/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Option, Queue, Redacted, Schema, Stream } from "effect"
import * as Assert from "node:assert/strict"
import { Authenticator } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { JobEvent } from "../src/protocol/index.ts"
import { Agent, ArcpServer, JobContext } from "../src/runtime/index.ts"
import { MemoryTransport } from "../src/transport/index.ts"

/** Ticks for ever, and says who stopped when its scope closes. */
const Ticker = Agent.make({ name: "ticker", input: Schema.String, output: Schema.Never })

const stopped = Effect.runSync(Queue.bounded<string>(8))

/** Who stopped next. None for so long is a failure. */
const nextStopped = Effect.timeout(Queue.take(stopped), "5 seconds")

const TickerLive = Ticker.toLayer(
  Effect.fnUntraced(function* (name) {
    const job = yield* JobContext.JobContext
    yield* Effect.addFinalizer(() => Queue.offer(stopped, name))
    return yield* Effect.forever(Effect.andThen(job.log("info", "tick"), Effect.sleep("5 millis")))
  })
)

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient

  // To stop reading is not to cancel: the second reader still hears the job, from its first event on.
  const first = yield* client.submit(Ticker, "first")
  const ticks = first.events.pipe(Stream.filter(JobEvent.is("log")))
  yield* Stream.runDrain(Stream.take(ticks, 2))
  Assert.equal((yield* Stream.runCollect(Stream.take(ticks, 4))).length, 4)
  yield* Console.log("two readers came and went; the job runs on")

  // To cancel waits until the runtime has taken note; the result says how the job ended.
  yield* first.cancel("seen enough")
  const cancelled = yield* Effect.flip(first.result)
  yield* Console.log(`${yield* nextStopped}: ${cancelled.message}`)
  Assert.equal(cancelled._tag, "Cancelled")

  // A job that has ended cannot be cancelled, and says so.
  const late = yield* Effect.flip(first.cancel())
  Assert.equal(late._tag, "JobNotFound")

  // A deadline is the runtime's to keep: it holds also when the client is gone.
  const deadline = yield* Effect.flip(client.run(Ticker, "second", { maxRuntime: "1 second" }))
  yield* Console.log(`${yield* nextStopped}: ${deadline.message}`)
  Assert.equal(deadline._tag, "Timeout")

  // A time-out of one's own gives up waiting; `cancelOnInterrupt` makes the job give up too.
  const answer = yield* Effect.timeoutOption(client.run(Ticker, "third", { cancelOnInterrupt: true }), "50 millis")
  yield* Console.log(`${yield* nextStopped}: cancelled, since nobody waits for it any more`)
  Assert.ok(Option.isNone(answer))
})

const token = Redacted.make("a token for this example")

const Live = ArcpClient.ArcpClient.layer({ token }).pipe(
  Layer.provide(ArcpServer.serve(TickerLive)),
  Layer.provide(Authenticator.layerStatic([{ token, principal: "me" }])),
  Layer.provide(MemoryTransport.layer)
)

program.pipe(Effect.provide(Live), NodeRuntime.runMain)
