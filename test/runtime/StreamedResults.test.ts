import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Ref, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import { verifies } from "../conformance/verifies.ts"

const kibibyte = "x".repeat(1023) + "\n"

/** Writes so many KiB, by a stream or into a sink, and counts them as it does. */
const documents = (written: Ref.Ref<number>, how: "stream" | "sink", part: string | Uint8Array = kibibyte) => {
  const Document = Agent.make({ name: "document", input: Schema.Int, output: Schema.String })
  const live = Document.toLayer(
    Effect.fnUntraced(function* (count) {
      const job = yield* JobContext.JobContext
      const parts = Stream.range(1, count).pipe(
        Stream.mapEffect((number) => Effect.as(Ref.set(written, number), part)),
        Stream.rechunk(1)
      )
      return how === "stream"
        ? yield* job.streamResult(parts as Stream.Stream<string>)
        : yield* Stream.run(parts, job.resultSink)
    })
  )
  return { Document, live }
}

/** Some ten parts. */
const config = { pacingWindow: 16_384, maxBatch: 16_384 }

describe("a streamed result", () => {
  it.effect.each(["stream", "sink"] as const)("written by a %s waits for a slow disk", (how) =>
    Effect.gen(function* () {
      const written = yield* Ref.make(0)
      const { Document, live } = documents(written, how)
      yield* Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const total = 500
        const job = yield* client.submit(Document, total)
        let saved = 0
        const download = yield* job.content.pipe(
          Stream.runForEach((bytes) =>
            Effect.andThen(
              Effect.sleep("1 second"),
              Effect.sync(() => {
                saved += bytes.length / 1024
              })
            )
          ),
          Effect.forkChild
        )
        for (const minute of [1, 2, 3]) {
          yield* TestClock.adjust("1 minute")
          assert.isAtLeast(saved, minute * 60 - 2)
          assert.isAtMost(saved, minute * 60)
          assert.isAtMost(yield* Ref.get(written), saved + 60)
        }
        yield* TestClock.adjust("10 minutes")
        yield* Fiber.join(download)
        assert.deepStrictEqual([saved, yield* Ref.get(written)], [total, total])
      }).pipe(Effect.provide(ArcpTest.layer({ agents: live, config })))
    })
  )

  it.effect("that is ready all at once is paced from its first part on", () =>
    Effect.gen(function* () {
      const part = "y".repeat(256 * 1024)
      const Ready = Agent.make({ name: "ready", input: Schema.Int, output: Schema.String })
      const live = Ready.toLayer((count) =>
        Effect.flatMap(JobContext.JobContext, (job) =>
          job.streamResult(Stream.fromIterable(Array.from({ length: count }, () => part)))
        )
      )
      yield* Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const job = yield* client.submit(Ready, 100)
        let length = 0
        yield* Stream.runForEach(job.content, (bytes) => Effect.sync(() => void (length += bytes.length)))
        assert.strictEqual(length, 100 * part.length)
      }).pipe(Effect.provide(ArcpTest.layer({ agents: live })))
    })
  )

  it.effect("tells how much of it is here", () =>
    Effect.gen(function* () {
      const written = yield* Ref.make(0)
      const { Document, live } = documents(written, "stream")
      yield* Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const job = yield* client.submit(Document, 40)
        const received = yield* Effect.forkChild(Stream.runCollect(job.received))
        assert.strictEqual((yield* job.result).length, 40 * 1024)
        const told = yield* Fiber.join(received)
        assert.deepStrictEqual(
          told,
          told.toSorted((a, b) => a - b)
        )
        assert.strictEqual(told.at(-1), 40 * 1024)
      }).pipe(Effect.provide(ArcpTest.layer({ agents: live, config })))
    })
  )

  verifies("C-095", "ends with an internal error when it is more than the cap, after chunks of it were sent", () =>
    Effect.forEach(["stream", "sink"] as const, (how) =>
      Effect.gen(function* () {
        const written = yield* Ref.make(0)
        const { Document, live } = documents(written, how)
        yield* Effect.gen(function* () {
          const client = yield* ArcpClient.ArcpClient
          const within = yield* client.submit(Document, 64)
          assert.strictEqual((yield* Stream.runCollect(within.text)).join("").length, 65_536)
          const beyond = yield* client.submit(Document, 65)
          const parts: Array<Uint8Array> = []
          const error = yield* Effect.flip(
            Stream.runForEach(beyond.content, (bytes) => Effect.sync(() => parts.push(bytes)))
          )
          assert.strictEqual(error._tag, "InternalError")
          assert.include(error.message, "longer than 65536 bytes")
          assert.isAtMost(parts.length, 64)
          // The agent was stopped at the part that was too much.
          assert.strictEqual(yield* Ref.get(written), 65)
        }).pipe(Effect.provide(ArcpTest.layer({ agents: live, config: { ...config, maxResult: 65_536 } })))
      })
    )
  )

  it.effect("of bytes comes as the bytes that they were", () =>
    Effect.gen(function* () {
      const written = yield* Ref.make(0)
      const part = Uint8Array.from({ length: 1000 }, (_, index) => index & 0xff)
      const { Document, live } = documents(written, "sink", part)
      yield* Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const job = yield* client.submit(Document, 7)
        const parts = yield* Stream.runCollect(job.content)
        assert.deepStrictEqual(Buffer.concat([...parts]), Buffer.concat(Array.from({ length: 7 }, () => part)))
        // Somebody else may observe the same job, and read it too.
        const seen = yield* Effect.scoped(
          Effect.flatMap(client.attach(Document, job.id), (observer) => Stream.runCollect(observer.content))
        )
        assert.deepStrictEqual(Buffer.concat([...seen]), Buffer.concat([...parts]))
      }).pipe(Effect.provide(ArcpTest.layer({ agents: live })))
    })
  )
})
