/** A consumer that uses its client for each thing that it reads. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import { ArcpClient } from "../../src/client/index.ts"
import { JobEvent } from "../../src/protocol/index.ts"
import { Agent } from "../../src/runtime/index.ts"
import { ArcpTest } from "../../src/testing/index.ts"
import * as Counting from "./fixtures/Numbers.ts"

const events = 10_000

const Double = Agent.make({ name: "double", input: Schema.Int, output: Schema.Int })
const DoubleLive = Double.toLayer((number) => Effect.succeed(number * 2))

const agents = Layer.merge(
  Counting.layer(() => Effect.void),
  DoubleLive
)

describe("a job for each event of a job", () => {
  it.live(
    "finishes: who reads one job may await another on the same session",
    () =>
      Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const job = yield* client.submit(Counting.Numbers, { count: events })
        const doubled: Array<number> = []
        yield* job.events.pipe(
          Stream.filter(JobEvent.is("log")),
          Stream.mapEffect(({ body }) => client.run(Double, Counting.numberIn(body.message))),
          Stream.runForEach((number) => Effect.sync(() => doubled.push(number)))
        )
        assert.deepStrictEqual(
          doubled,
          Array.from({ length: events }, (_, index) => (index + 1) * 2)
        )
        assert.strictEqual(yield* job.result, (events * (events + 1)) / 2)
      }).pipe(Effect.provide(ArcpTest.layer({ agents }))),
    40_000
  )
})
