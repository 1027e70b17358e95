import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as ArcpServer from "../../src/runtime/ArcpServer.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import * as FaultyNetwork from "../../src/testing/FaultyNetwork.ts"

const Counter = Agent.make({ name: "counter", input: Schema.Int, output: Schema.Int })

let runs = 0

const CounterLive = Counter.toLayer(
  Effect.fnUntraced(function* (count) {
    runs++
    const context = yield* JobContext.JobContext
    for (let n = 1; n <= count; n++) {
      yield* context.log("info", String(n))
      if (n % 10 === 0) yield* Effect.sleep("1 seconds")
    }
    return count
  })
)

const layer = (options: FaultyNetwork.Options) => {
  const token = Redacted.make("secret")
  const server = Layer.orDie(ArcpServer.layer).pipe(
    Layer.provide(CounterLive),
    Layer.provide(ArcpServer.layerMemory),
    Layer.provide(ArcpServer.layerPolicies()),
    Layer.provide(Layer.orDie(Authenticator.layerStatic([{ token, principal: "tester" }]))),
    Layer.provide(RuntimeConfig.layer({ maxJobsPerSession: 100 }))
  )
  return ArcpClient.ArcpClient.layerWithRandom({ token, requestTimeout: "10 minutes" }).pipe(
    Layer.orDie,
    Layer.provide(server),
    Layer.provide(FaultyNetwork.layer(options)),
    Layer.provide(SecureRandom.layerWebCrypto)
  )
}

const range = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

/**
 * The first welcome arrives: a client that never had a session does not try again by itself. And no hello comes twice, which no transport
 * with an order does.
 */
const afterWelcome = (plan: FaultyNetwork.Plan): FaultyNetwork.Plan => ({
  dial: (connection) => connection > 0 && plan.dial!(connection),
  frame: (place) => {
    const fault = place.connection === 0 && place.frame === 0 ? undefined : plan.frame(place)
    return fault?._tag === "Duplicate" && place.frame === 0 ? undefined : fault
  }
})

/** Digests are made outside of the event loop, in real time, which the test's clock must not overtake. */
const breath = Effect.promise(() => new Promise<void>((resume) => setTimeout(resume, 1)))

/** Time passes whenever nothing else can happen. */
const tick = Effect.forever(
  Effect.repeat(Effect.yieldNow, { times: 50 }).pipe(
    Effect.andThen(breath),
    Effect.andThen(TestClock.adjust("200 millis"))
  )
)

describe("over a network that fails", () => {
  for (const seed of range(12)) {
    it.effect(`every job runs once and every event comes once, in order (${seed})`, () =>
      Effect.gen(function* () {
        runs = 0
        yield* Effect.forkChild(tick)
        const services = yield* Layer.build(
          layer({ plan: afterWelcome(FaultyNetwork.seeded({ seed, rates: { drop: 0.05 } })), maxFaults: 60 })
        )
        const client = Context.get(services, ArcpClient.ArcpClient)
        const jobs = yield* Effect.forEach(
          range(5),
          () =>
            Effect.gen(function* () {
              const job = yield* client.submit(Counter, 60)
              const reading = yield* Effect.forkChild(Stream.runCollect(job.events))
              const result = yield* job.result
              return { result, events: yield* Fiber.join(reading) }
            }),
          { concurrency: "unbounded" }
        )
        for (const { events, result } of jobs) {
          assert.strictEqual(result, 60)
          const numbers = events.flatMap(({ body, kind }) =>
            kind === "log" ? [Number((body as { readonly message: string }).message)] : []
          )
          assert.deepStrictEqual(numbers, range(60))
        }
        assert.strictEqual(runs, 5)
      }).pipe(Effect.scoped)
    )
  }
})
