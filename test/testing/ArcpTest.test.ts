import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"

const withAgents = Effect.provide(ArcpTest.layer({ agents: TestAgent.layer }))

describe("ArcpTest", () => {
  it.effect("an hour of an agent's time passes when the test says so", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit(TestAgent.Sleeper, 3600)
      const result = yield* Effect.forkScoped(job.result, { startImmediately: true })
      yield* TestClock.adjust("3599 seconds")
      assert.isUndefined(result.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(result), "slept")
    }).pipe(withAgents)
  )

  it.effect("each ready agent does what it says", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      assert.deepStrictEqual(yield* client.run(TestAgent.Echo, { a: [1] }), { a: [1] })
      assert.strictEqual(yield* client.run(TestAgent.Streamer, ["a", "🍰"]), "a🍰")
      assert.strictEqual(yield* client.run(TestAgent.KitchenSink, null), "cake")
      assert.strictEqual((yield* Effect.flip(client.run(TestAgent.Unencodable, "cycle")))._tag, "InternalError")
      assert.deepStrictEqual(
        yield* Effect.flip(client.run(TestAgent.Failing, "declared")),
        new TestAgent.Spilled({ litres: 2 })
      )
      const tags = yield* Effect.forEach(["defect", "thrown", "lease", "budget", "interrupted"] as const, (how) =>
        Effect.map(Effect.flip(client.run(TestAgent.Failing, how)), (error) => error._tag)
      )
      assert.deepStrictEqual(tags, [
        "InternalError",
        "InternalError",
        "LeaseExpired",
        "BudgetExhausted",
        "InternalError"
      ])
      const job = yield* client.submit(TestAgent.LogEmitter, 2)
      const events = yield* Stream.runCollect(job.events)
      assert.deepStrictEqual(
        events.map((event) => event.kind),
        ["status", "log", "log"]
      )
    }).pipe(withAgents)
  )

  it.effect("a stubborn agent holds until it is released", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit(TestAgent.Stubborn, null)
      const result = yield* Effect.forkScoped(job.result, { startImmediately: true })
      yield* TestClock.adjust("1 day")
      assert.isUndefined(result.pollUnsafe())
      yield* (yield* TestAgent.Stubbornness).release
      assert.strictEqual(yield* Fiber.join(result), "released")
    }).pipe(Effect.provide(ArcpTest.layer({ agents: TestAgent.layerStubborn })))
  )

  it.effect("a stubborn agent does not keep the runtime from closing", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      yield* client.submit(TestAgent.Stubborn, null)
    }).pipe(Effect.provide(ArcpTest.layer({ agents: TestAgent.layerStubborn })))
  )

  it.effect("raw peers, the client and the runtime's own services see one runtime", () =>
    Effect.gen(function* () {
      const sessions = yield* Sessions.Sessions
      assert.strictEqual(yield* sessions.size, 1)
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      assert.strictEqual(yield* sessions.size, 2)
    }).pipe(withAgents)
  )

  it.effect("two runs from one seed are the same to the last character", () => {
    const told = Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      yield* peer.send({ type: "job.submit", payload: { agent: "kitchen-sink", input: null } })
      yield* peer.until("job.result")
      return yield* peer.record
    })
    const from = (seed: number) =>
      told.pipe(Effect.provide(Layer.fresh(ArcpTest.layerRuntime({ agents: TestAgent.layer, seed }))), Effect.scoped)
    return Effect.gen(function* () {
      const one = yield* from(1)
      assert.deepStrictEqual(yield* from(1), one)
      assert.notDeepEqual(yield* from(2), one)
    })
  })

  it.effect("agents may ask for services of the test", () => {
    const Price = Agent.make({ name: "price", input: Schema.String, output: Schema.Int })
    const agents = Price.toLayer(() => Effect.map(TestAgent.Stubbornness, () => 42))
    return Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      assert.strictEqual(yield* client.run(Price, "cake"), 42)
    }).pipe(
      Effect.provide(ArcpTest.layer({ agents })),
      Effect.provideService(TestAgent.Stubbornness, { release: Effect.void })
    )
  })

  it.effect("a client that cannot come in is a mistake in the test", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Layer.build(ArcpTest.layer({ agents: TestAgent.layer, tokens: {} })))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    })
  )
})
