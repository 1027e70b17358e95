import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import type * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Feature from "../../src/protocol/Feature.ts"
import type * as JobEvent from "../../src/protocol/JobEvent.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Fake from "./FakeRuntime.ts"

/** A client with two running jobs, `job_1` and `job_2`. */
const start = Effect.fnUntraced(function* (options: Partial<ArcpClient.Options> = {}, welcome: object = Fake.declared) {
  const runtime = yield* Fake.make()
  const client = yield* Fake.connect(runtime, options, { ...welcome })
  const submit = (id: string) =>
    Effect.gen(function* () {
      const submitting = yield* Effect.forkChild(client.submit("a", null))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), id))
      return yield* Fiber.join(submitting)
    })
  const one = yield* submit("job_1")
  const two = yield* submit("job_2")
  return { runtime, client, one, two }
})

const acks = (runtime: Fake.FakeRuntime) =>
  Effect.map(Effect.andThen(Fake.settled, runtime.unheard), () =>
    runtime.heard.filter(({ type }) => type === "session.ack").map(({ payload }) => payload)
  )

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
const tell = (job: string, from: number, to: number) => range(from, to).map((seq) => Fake.event(job, seq))

describe("acknowledgements", () => {
  verifies("C-037", "come after a quarter of a second, or 32 events", () =>
    Effect.gen(function* () {
      const { runtime } = yield* start({}, {})
      yield* runtime.say(...tell("job_1", 1, 3))
      assert.deepStrictEqual(yield* acks(runtime), [])
      yield* TestClock.adjust("249 millis")
      assert.deepStrictEqual(yield* acks(runtime), [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* acks(runtime), [{ last_processed_seq: 3 }])
      yield* runtime.say(...tell("job_1", 4, 34))
      assert.strictEqual((yield* acks(runtime)).length, 1)
      yield* runtime.say(...tell("job_1", 35, 35))
      assert.deepStrictEqual((yield* acks(runtime)).slice(1), [{ last_processed_seq: 35 }])
      yield* TestClock.adjust("1 minutes")
      assert.strictEqual((yield* acks(runtime)).length, 2)
    })
  )

  it.effect("come when half of the window was taken, where they open one, and not for each few events", () =>
    Effect.gen(function* () {
      const declared = { capabilities: { [Feature.declaration.key]: { flow: 1, window: 40_000 } } }
      const { one, runtime } = yield* start({}, declared)
      yield* Effect.forkChild(Stream.runDrain(one.events))
      yield* Fake.settled
      yield* runtime.say(...tell("job_1", 1, 64))
      assert.deepStrictEqual(yield* acks(runtime), [])
      yield* runtime.say(...tell("job_1", 65, 200))
      const [first] = yield* acks(runtime)
      // Some 300 bytes in memory for each.
      assert.isAbove(Number(first?.["last_processed_seq"]), 64)
    })
  )

  it.effect("come at once when much was taken", () =>
    Effect.gen(function* () {
      const { runtime } = yield* start()
      const big = { level: "info", message: "x".repeat(300_000) }
      yield* runtime.say(Fake.event("job_1", 1, "log", big))
      assert.deepStrictEqual(yield* acks(runtime), [{ last_processed_seq: 1 }])
    })
  )

  it.effect("say of each job how far its reader is, and of all no more than the slowest", () =>
    Effect.gen(function* () {
      const { one, runtime, two } = yield* start()
      const gate = yield* Latch.make(false)
      yield* Effect.forkChild(Stream.runForEach(one.events, () => gate.await))
      yield* Effect.forkChild(Stream.runDrain(two.events))
      yield* Fake.settled
      yield* runtime.say(...tell("job_1", 1, 2), ...tell("job_2", 3, 6), Fake.event("job_x", 7))
      yield* Fake.settled
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual(yield* acks(runtime), [{ last_processed_seq: 0, jobs: { job_2: 6, job_x: 7 } }])
      yield* gate.open
      yield* Fake.settled
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual((yield* acks(runtime)).slice(1), [{ last_processed_seq: 7 }])
    })
  )

  it.effect("do not wait for a reader that has gone", () =>
    Effect.gen(function* () {
      const { one, runtime } = yield* start()
      const reading = yield* Effect.forkChild(Stream.runForEach(one.events, () => Effect.never))
      yield* Fake.settled
      yield* runtime.say(...tell("job_1", 1, 2))
      yield* Fake.settled
      yield* Fiber.interrupt(reading)
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual(yield* acks(runtime), [{ last_processed_seq: 2 }])
    })
  )

  it.effect("are given by the consumer, if it wants to", () =>
    Effect.gen(function* () {
      const { one, runtime, two } = yield* start({ ack: "manual" })
      const events = yield* Queue.unbounded<JobEvent.JobEvent>()
      yield* Effect.forkChild(Stream.runForEach(one.events, (event) => Queue.offer(events, event)))
      yield* Fake.settled
      yield* runtime.say(...tell("job_1", 1, 3))
      yield* Fake.settled
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* acks(runtime), [])
      const [, second] = yield* Queue.takeAll(events)
      yield* two.ack(second!)
      yield* one.ack(second!)
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* acks(runtime), [{ last_processed_seq: 2 }])
    })
  )

  it.effect("name no jobs to a runtime that would not know what that means", () =>
    Effect.gen(function* () {
      const { one, runtime } = yield* start({}, {})
      yield* Effect.forkChild(Stream.runForEach(one.events, () => Effect.never))
      yield* Fake.settled
      yield* runtime.say(...tell("job_2", 1, 2), ...tell("job_1", 3, 3), ...tell("job_2", 4, 5))
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* acks(runtime), [{ last_processed_seq: 2 }])
    })
  )

  it.effect("are not sent unless that was negotiated", () =>
    Effect.gen(function* () {
      const { runtime } = yield* start(Fake.plain)
      yield* runtime.say(...tell("job_1", 1, 100))
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* acks(runtime), [])
    })
  )

  it.effect("are given anew on the next connection", () =>
    Effect.gen(function* () {
      const { runtime } = yield* start()
      yield* runtime.say(...tell("job_1", 1, 3))
      yield* Fake.settled
      yield* runtime.close()
      yield* runtime.welcome(Fake.declared)
      assert.deepStrictEqual((yield* runtime.hear("session.ack")).payload, { last_processed_seq: 3 })
    })
  )
})

describe("a reader that is slow", () => {
  it.effect("does not hold up what others wait for, where acknowledgements pace", () =>
    Effect.gen(function* () {
      const { one, runtime, two } = yield* start({ limits: { events: 4 } })
      yield* Effect.forkChild(Stream.runForEach(one.events, () => Effect.never))
      yield* Fake.settled
      yield* runtime.say(...tell("job_1", 1, 500), Fake.result("job_2", 501, "x"))
      assert.strictEqual(yield* two.result, "x")
    })
  )

  it.effect("holds up a runtime that does not keep to its window", () =>
    Effect.gen(function* () {
      const { one, runtime, two } = yield* start({ limits: { eventBytes: 100_000 } })
      const reading = yield* Effect.forkChild(Stream.runForEach(one.events, () => Effect.never))
      yield* Fake.settled
      const big = { level: "info", message: "x".repeat(10_000) }
      yield* runtime.say(...range(1, 400).map((seq) => Fake.event("job_1", seq, "log", big)))
      yield* runtime.say(Fake.result("job_2", 401, "x"))
      const waiting = yield* Effect.forkChild(two.result)
      yield* Fake.settled
      assert.isUndefined(waiting.pollUnsafe())
      yield* Fiber.interrupt(reading)
      assert.strictEqual(yield* Fiber.join(waiting), "x")
    })
  )
})
