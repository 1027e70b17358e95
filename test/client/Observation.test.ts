import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Latch, Layer, Queue, Redacted, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Feature from "../../src/protocol/Feature.ts"
import type * as JobEvent from "../../src/protocol/JobEvent.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as Fake from "./FakeRuntime.ts"

class Sad extends Schema.TaggedError<Sad>("test/Sad")("Sad", { why: Schema.String }) {}

/** Says so many things, each with so much text, then waits for the gate. */
const Talker = Agent.make({
  name: "talker",
  input: Schema.Struct({ count: Schema.Int, size: Schema.Int }),
  output: Schema.FiniteFromString
})
const Moody = Agent.make({ name: "moody", input: Schema.Null, output: Schema.String, error: Sad })

const gate = Latch.makeUnsafe(true)

const agents = Layer.mergeAll(
  Talker.toLayer(
    Effect.fnUntraced(function* ({ count, size }) {
      const context = yield* JobContext.JobContext
      for (let n = 1; n <= count; n++) yield* context.log("info", `${n} ${"x".repeat(size)}`)
      yield* gate.await
      return count
    })
  ),
  Moody.toLayer(() => Effect.fail(new Sad({ why: "rain" })))
)

/** One more client of the runtime, in a session of its own. */
const another = (options: Partial<ArcpClient.Options> = {}) =>
  Effect.map(
    Layer.build(ArcpClient.ArcpClient.layerWithRandom({ token: Redacted.make("secret"), ...options })),
    (context) => Context.get(context, ArcpClient.ArcpClient)
  )

const layer = (client?: Partial<ArcpClient.Options>) =>
  ArcpTest.layer({ agents, ...(client === undefined ? undefined : { client }) })

const numbers = (events: ReadonlyArray<{ readonly kind: string; readonly body: unknown }>) =>
  events
    .filter(({ kind }) => kind === "log")
    .map(({ body }) => Number((body as { readonly message: string }).message.split(" ")[0]))

const range = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

describe("a slow reader", () => {
  it.effect("of one job may wait for another, although each says more than a window", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const input = { count: 400, size: 10_000 }
      const first = yield* client.submit(Talker, input)
      const second = yield* client.submit(Talker, input)
      const seen: Array<number> = []
      const reading = yield* Effect.forkChild(
        Stream.runForEach(first.events, (event) =>
          Effect.gen(function* () {
            seen.push(...numbers([event]))
            if (seen.length === 1) assert.strictEqual(yield* second.result, 400)
          })
        )
      )
      yield* Effect.forkChild(Effect.forever(Effect.andThen(Fake.settled, TestClock.adjust("250 millis"))))
      yield* Fiber.join(reading)
      assert.deepStrictEqual(seen, range(400))
      assert.strictEqual(yield* first.result, 400)
    }).pipe(Effect.provide(layer()))
  )

  it.effect("holds up its own job and is never ahead of its acknowledgements, when it gives them itself", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit(Talker, { count: 400, size: 10_000 })
      const taken = yield* Queue.unbounded<JobEvent.JobEvent>()
      yield* Effect.forkChild(Stream.runForEach(job.events, (event) => Queue.offer(taken, event)))
      yield* Effect.forkChild(Effect.forever(Effect.andThen(Fake.settled, TestClock.adjust("250 millis"))))
      yield* Effect.repeat(Fake.settled, { times: 10 })
      const before = yield* Queue.size(taken)
      assert.isBelow(before, 200)
      const result = yield* Effect.forkChild(job.result)
      yield* Effect.forkChild(Effect.forever(Effect.flatMap(Queue.take(taken), job.ack)))
      assert.strictEqual(yield* Fiber.join(result), 400)
    }).pipe(Effect.provide(layer({ ack: "manual" })))
  )
})

describe("a stream of events that is opened late", () => {
  it.effect("reads from the runtime what the client keeps no more, and goes on live", () =>
    Effect.gen(function* () {
      yield* gate.close
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit(Talker, { count: 100, size: 10 })
      yield* Fake.settled
      const early = yield* Effect.forkChild(Stream.runCollect(job.events))
      const late = yield* Effect.forkChild(Stream.runCollect(job.events))
      yield* Fake.settled
      yield* gate.open
      assert.deepStrictEqual(numbers(yield* Fiber.join(early)), range(100))
      assert.deepStrictEqual(numbers(yield* Fiber.join(late)), range(100))
      // And once more, now that the job has ended.
      yield* Fake.settled
      assert.deepStrictEqual(numbers(yield* Stream.runCollect(job.events)), range(100))
      assert.strictEqual(yield* job.result, 100)
    }).pipe(Effect.provide(layer({ limits: { events: 4 } })))
  )

  it.effect("fails where that cannot be had", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit(Talker, { count: 100, size: 10 })
      yield* job.result
      const error = yield* Fake.failed(Stream.runDrain(job.events))
      assert.strictEqual(error._tag, "ResumeWindowExpired")
    }).pipe(
      Effect.provide(
        layer({ limits: { events: 4 }, features: Feature.all.filter((feature) => feature !== "subscribe") })
      )
    )
  )
})

describe("an observer", () => {
  it.effect("sees a job of another session, from the beginning or from where it likes", () =>
    Effect.gen(function* () {
      yield* gate.close
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit(Talker, { count: 5, size: 1 })
      yield* Fake.settled
      const other = yield* another()
      const whole = yield* other.subscribe(job.id, { history: true })
      assert.strictEqual(whole.status, "running")
      assert.strictEqual(whole.agent, job.agent)
      const live = yield* (yield* another()).subscribe(job.id)
      const fifth = yield* (yield* another()).subscribe(job.id, { fromJobSeq: 4 })
      yield* Fake.settled
      yield* gate.open
      assert.deepStrictEqual(numbers(yield* Stream.runCollect(whole.events)), range(5))
      assert.deepStrictEqual(numbers(yield* Stream.runCollect(live.events)), [])
      assert.deepStrictEqual(numbers(yield* Stream.runCollect(fifth.events)), [4, 5])
      assert.strictEqual(yield* whole.result, "5")
      assert.strictEqual(yield* live.result, "5")
      assert.strictEqual((yield* Fake.failed(whole.cancel()))._tag, "JobNotFound")
    }).pipe(Effect.provide(layer()), Effect.scoped)
  )

  it.effect("of what comes next is not shown the past that another one of its session asks for", () =>
    Effect.gen(function* () {
      yield* gate.close
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit(Talker, { count: 5, size: 1 })
      yield* Fake.settled
      const other = yield* another()
      const live = yield* other.subscribe(job.id)
      const whole = yield* other.subscribe(job.id, { history: true })
      yield* Fake.settled
      yield* gate.open
      assert.deepStrictEqual(numbers(yield* Stream.runCollect(whole.events)), range(5))
      assert.deepStrictEqual(numbers(yield* Stream.runCollect(live.events)), [])
      assert.strictEqual(yield* live.result, "5")
    }).pipe(Effect.provide(layer()), Effect.scoped)
  )

  it.effect("of a job that has ended hears how", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit(Talker, { count: 5, size: 1 })
      yield* job.result
      const other = yield* another()
      const observer = yield* other.subscribe(job.id)
      assert.strictEqual(observer.status, "success")
      assert.deepStrictEqual(yield* Stream.runCollect(observer.events), [])
      assert.strictEqual(yield* observer.result, "5")
      assert.strictEqual((yield* Fake.failed(other.subscribe("job_x")))._tag, "JobNotFound")
    }).pipe(Effect.provide(layer()), Effect.scoped)
  )

  it.effect("attached by contract gets what the contract says", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const talker = yield* client.submit(Talker, { count: 3, size: 1 })
      const moody = yield* client.submit(Moody, null)
      const other = yield* another()
      const observer = yield* other.attach(Talker, talker.id)
      assert.strictEqual(yield* observer.result, 3)
      assert.deepStrictEqual(numbers(yield* Stream.runCollect(observer.events)), range(3))
      const sad = yield* Fake.failed((yield* other.attach(Moody, moody.id)).result)
      assert.instanceOf(sad, Sad)
    }).pipe(Effect.provide(layer()), Effect.scoped)
  )

  it.effect("cannot cancel, and ends with its scope", () =>
    Effect.gen(function* () {
      yield* gate.close
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit(Talker, { count: 1, size: 1 })
      const other = yield* another()
      const result = yield* Effect.scoped(
        Effect.gen(function* () {
          const observer = yield* other.subscribe(job.id)
          assert.strictEqual((yield* Fake.failed(observer.cancel()))._tag, "PermissionDenied")
          return observer.result
        })
      )
      assert.strictEqual((yield* Fake.failed(result))._tag, "HeartbeatLost")
      yield* gate.open
      assert.strictEqual(yield* job.result, 1)
    }).pipe(Effect.provide(layer()), Effect.scoped)
  )
})

describe("the jobs", () => {
  it.effect("are listed page by page, and filtered", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const ids: Array<string> = []
      for (let n = 0; n < 5; n++) {
        const job = yield* client.submit(Talker, { count: n, size: 1 })
        yield* job.result
        ids.push(job.id)
        yield* TestClock.adjust("1 seconds")
      }
      const moody = yield* client.submit(Moody, null)
      yield* Effect.exit(moody.result)
      const other = yield* another()
      const all = yield* Stream.runCollect(other.jobs({ pageSize: 2 }))
      assert.deepStrictEqual(
        all.map(({ id }) => id as string),
        [...ids, moody.id]
      )
      const talkers = yield* Stream.runCollect(other.jobs({ agent: "talker", status: ["success"], pageSize: 1 }))
      assert.deepStrictEqual(
        talkers.map(({ id }) => id as string),
        ids
      )
      const later = yield* Stream.runCollect(other.jobs({ createdAfter: talkers[2]!.createdAt! }))
      assert.deepStrictEqual(
        later.map(({ id }) => id as string),
        [...ids.slice(3), moody.id]
      )
      assert.deepStrictEqual(yield* Stream.runCollect(other.jobs({ status: ["running"] })), [])
    }).pipe(Effect.provide(layer()), Effect.scoped)
  )
})
