/**
 * Testing an agent: an hour passes when the test says so.
 *
 * `ArcpTest.layer` is a runtime, a client and a network in memory. They take time from `Clock` alone, so under `TestClock` a job that
 * sleeps for an hour, a deadline and a lease that runs out are tested in no time at all, and the same way each time. Here the tests run
 * under plain Node; with `@effect/vitest` each would be an `it.effect`, which brings the `TestClock` along.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/testing` for `../src/testing/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Clock, Console, DateTime, Effect, Fiber, Ref, Result, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Assert from "node:assert/strict"
import { performance } from "node:perf_hooks"
import { ArcpClient } from "../src/client/index.ts"
import { JobEvent } from "../src/protocol/index.ts"
import { Agent, JobContext } from "../src/runtime/index.ts"
import { ArcpTest } from "../src/testing/index.ts"

/** Watches a pot for an hour and says so every quarter; whatever ends it, it turns off the stove. */
const Watch = Agent.make({ name: "watch", input: Schema.String, output: Schema.String })

const stove = Ref.makeUnsafe<"on" | "off">("off")

const WatchLive = Watch.toLayer(
  Effect.fnUntraced(function* (dish) {
    const job = yield* JobContext.JobContext
    yield* Effect.acquireRelease(Ref.set(stove, "on"), () => Ref.set(stove, "off"))
    for (let quarter = 1; quarter <= 4; quarter++) {
      yield* Effect.sleep("15 minutes")
      yield* job.tool("stir", { dish }, Effect.succeed("stirred"))
      yield* job.progress({ current: quarter, total: 4, units: "quarters" })
    }
    return `${dish} is done`
  })
)

const lease = { "tool.call": ["stir"] }

const submit = Effect.fn(function* (options: ArcpClient.SubmitOptions = {}) {
  const client = yield* ArcpClient.ArcpClient
  return yield* client.submit(Watch, "soup", { lease, ...options })
})

const tests: { readonly [name: string]: Effect.Effect<void, unknown, ArcpClient.ArcpClient> } = {
  "a job that takes an hour ends after an hour": Effect.gen(function* () {
    const job = yield* submit()
    const result = yield* Effect.forkChild(job.result)
    yield* TestClock.adjust("59 minutes")
    Assert.equal(result.pollUnsafe(), undefined)
    Assert.equal(yield* Ref.get(stove), "on")
    yield* TestClock.adjust("1 minute")
    Assert.equal(yield* Fiber.join(result), "soup is done")
    Assert.equal(yield* Clock.currentTimeMillis, 3_600_000)
  }),

  "a job that is cancelled ends as such, and cleans up": Effect.gen(function* () {
    const job = yield* submit()
    yield* TestClock.adjust("20 minutes")
    yield* job.cancel("the guests are late")
    const error = yield* Effect.flip(job.result)
    Assert.equal(error._tag, "Cancelled")
    Assert.equal(yield* Ref.get(stove), "off")
  }),

  "a job past its deadline ends with a time-out": Effect.gen(function* () {
    const job = yield* submit({ maxRuntime: "30 minutes" })
    yield* TestClock.adjust("30 minutes")
    const error = yield* Effect.flip(job.result)
    Assert.deepEqual([error._tag, error.retryable], ["Timeout", true])
    Assert.equal(yield* Ref.get(stove), "off")
  }),

  "a job ends with its lease, at the very instant": Effect.gen(function* () {
    const job = yield* submit({ expiresAt: DateTime.addDuration(yield* DateTime.now, "40 minutes") })
    const result = yield* Effect.forkChild(Effect.flip(job.result))
    yield* TestClock.adjust("39 minutes")
    Assert.equal(result.pollUnsafe(), undefined)
    yield* TestClock.adjust("1 minute")
    Assert.equal((yield* Fiber.join(result))._tag, "LeaseExpired")
    Assert.equal(yield* Ref.get(stove), "off")
    // It came to stir twice.
    const events = yield* Stream.runCollect(job.events)
    Assert.equal(events.filter(JobEvent.is("tool_result")).length, 2)
  })
}

const program = Effect.gen(function* () {
  const started = performance.now()
  let failed = 0
  for (const [name, test] of Object.entries(tests)) {
    // Each test has a kitchen and a clock of its own, which starts at 0.
    const isolated = test.pipe(Effect.provide(ArcpTest.layer({ agents: WatchLive })), Effect.provide(TestClock.layer()))
    const outcome = yield* Effect.result(Effect.sandbox(isolated))
    yield* Console.log(`${Result.isSuccess(outcome) ? "ok    " : "FAILED"} ${name}`)
    if (Result.isSuccess(outcome)) continue
    failed++
    yield* Console.error(outcome.failure)
  }
  yield* Console.log(`almost three hours in ${Math.round(performance.now() - started)} ms`)
  Assert.equal(failed, 0)
})

NodeRuntime.runMain(program)
