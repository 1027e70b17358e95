/**
 * Back-pressure from end to end: an agent waits for whoever reads its events.
 *
 * A client acknowledges an event when its reader asks for the next one, and the runtime suspends an agent whose unacknowledged events fill
 * the window. So a slow `Stream` slows down its agent, wherever that runs, and nothing piles up in between. With `ack: "manual"` the
 * consumer says itself what it is done with. Time is virtual, as in 05_test-clock.ts.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/testing` for `../src/testing/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Fiber, Ref, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Assert from "node:assert/strict"
import { ArcpClient } from "../src/client/index.ts"
import { JobEvent } from "../src/protocol/index.ts"
import { Agent, JobContext } from "../src/runtime/index.ts"
import { ArcpTest } from "../src/testing/index.ts"

/** Says numbers as fast as it may. */
const Hasty = Agent.make({ name: "hasty", input: Schema.Int, output: Schema.Int })

/** The last number that it was able to say. */
const said = Ref.makeUnsafe(0)

const HastyLive = Hasty.toLayer(
  Effect.fnUntraced(function* (to) {
    const job = yield* JobContext.JobContext
    // Events that come before there is a reader wait for nobody.
    yield* Effect.sleep("1 second")
    for (let current = 1; current <= to; current++) {
      yield* job.progress({ current, total: to })
      yield* Ref.set(said, current)
    }
    return to
  })
)

/** Some ten events; by default it is a megabyte. */
const config = { pacingWindow: 4096, maxBatch: 4096 }
/** What the agent may be ahead: the window in the runtime, and what the client acknowledges in one go. */
const ahead = 50
const total = 1000

const tests: { readonly [name: string]: Effect.Effect<void, unknown, ArcpClient.ArcpClient> } = {
  "an agent is as fast as its reader, and little ahead": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const job = yield* client.submit(Hasty, total)
    let read = 0
    const reader = yield* job.events.pipe(
      Stream.filter(JobEvent.is("progress")),
      Stream.runForEach(() =>
        Effect.andThen(
          Effect.sleep("1 second"),
          Effect.sync(() => read++)
        )
      ),
      Effect.forkChild
    )
    for (const minute of [1, 2, 3]) {
      yield* TestClock.adjust("1 minute")
      const number = yield* Ref.get(said)
      yield* Console.log(
        `       after minute ${minute} the reader has ${read} numbers, and the agent has said ${number}`
      )
      Assert.ok(read >= minute * 60 - 3 && number > read && number <= read + ahead)
    }
    yield* TestClock.adjust("1 hour")
    yield* Fiber.join(reader)
    Assert.deepEqual([read, yield* job.result], [total, total])
  }),

  "what nobody reads holds up nobody": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const result = yield* Effect.forkChild(client.run(Hasty, total))
    yield* TestClock.adjust("1 minute")
    Assert.equal(yield* Fiber.join(result), total)
  })
}

const byHand = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const job = yield* client.submit(Hasty, total)
  const events: Array<JobEvent.JobEvent> = []
  yield* Effect.forkChild(Stream.runForEach(job.events, (event) => Effect.sync(() => events.push(event))))
  yield* TestClock.adjust("1 minute")
  const before = yield* Ref.get(said)
  Assert.ok(before < ahead, "read, but not acknowledged")
  yield* job.ack(events.at(-1)!)
  yield* TestClock.adjust("1 minute")
  Assert.ok((yield* Ref.get(said)) > before)
})

const check = (name: string, test: Effect.Effect<void, unknown, ArcpClient.ArcpClient>, ack: "auto" | "manual") =>
  test.pipe(
    Effect.provide(ArcpTest.layer({ agents: HastyLive, config, client: { ack } })),
    Effect.provide(TestClock.layer()),
    Effect.andThen(Console.log(`ok     ${name}`))
  )

const program = Effect.gen(function* () {
  for (const [name, test] of Object.entries(tests)) yield* check(name, test, "auto")
  yield* check("an agent waits until the consumer says that it is done", byHand, "manual")
})

NodeRuntime.runMain(program)
