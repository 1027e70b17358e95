/**
 * Testing what depends on sessions: lines that break, windows that pass, readers that are slow, runtimes that go.
 *
 * These are tests as an application would have them, for its own agent and with its own bounds. `ArcpTest.layer` is runtime, client and
 * network in memory; its `faults` say what goes wrong on the line, and `TestClock` says when. So a minute without a line takes no time, and
 * goes the same way each time. Here the tests run under plain Node; with `@effect/vitest` each would be an `it.effect`.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/testing` for `../src/testing/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import {
  Cause,
  Console,
  Context,
  Duration,
  Effect,
  Fiber,
  Layer,
  Redacted,
  Result,
  Schema,
  type Scope,
  Stream
} from "effect"
import { TestClock } from "effect/testing"
import * as Assert from "node:assert/strict"
import { performance } from "node:perf_hooks"
import { ArcpClient, type ConnectionState } from "../src/client/index.ts"
import { JobEvent } from "../src/protocol/index.ts"
import { Agent, JobContext, Sessions } from "../src/runtime/index.ts"
import { ArcpTest, FaultyNetwork } from "../src/testing/index.ts"

// ------------------------------------------------------------------------------------------------------- what is tested

/** Counts the seconds, aloud. */
const Counter = Agent.make({ name: "counter", input: Schema.Int, output: Schema.Int })

/** What the test sees of the agent from behind. */
class Backstage extends Context.Service<Backstage, { runs: number; said: number }>()("example/Backstage") {
  static readonly layer = Layer.sync(Backstage, () => ({ runs: 0, said: 0 }))
}

const CounterLive = Counter.toLayer(
  Effect.fnUntraced(function* (total) {
    const backstage = yield* Backstage
    const job = yield* JobContext.JobContext
    backstage.runs++
    for (let current = 1; current <= total; current++) {
      yield* Effect.sleep("1 second")
      yield* job.progress({ current, total })
      backstage.said = current
    }
    return total
  })
)

// ------------------------------------------------------------------------------------------------------------ the network

/** What a test does to the line. */
class Line extends Context.Service<
  Line,
  {
    /** Breaks at the next frame, and the next line holds. Both sides see it. */
    readonly cut: Effect.Effect<void>
    /** Loses all that is sent over this one from now on, and neither side is told. The next line holds. */
    readonly silence: Effect.Effect<void>
    /** Whether a new line can be had. */
    readonly reachable: (can: boolean) => Effect.Effect<void>
  }
>()("example/Line") {}

const makeLine = () => {
  let open = -1
  let broken: { readonly connection: number; readonly fault: FaultyNetwork.Fault } | undefined
  let reachable = true
  const breakWith = (fault: FaultyNetwork.Fault) => Effect.sync(() => void (broken = { connection: open, fault }))
  const faults: FaultyNetwork.Options = {
    plan: {
      dial: (connection) => {
        if (reachable) open = connection
        return !reachable
      },
      frame: ({ connection }) => (connection === broken?.connection ? broken.fault : undefined)
    }
  }
  const line = Line.of({
    cut: breakWith(FaultyNetwork.drop),
    silence: breakWith(FaultyNetwork.vanish),
    reachable: (can) => Effect.sync(() => void (reachable = can))
  })
  return { faults, layer: Layer.succeed(Line, line) }
}

/** Lets so many seconds pass, one by one. Digests are made outside of the virtual time, so each second leaves some real time for them. */
const pass = (seconds: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), breath), { times: seconds - 1 })

const breath = Effect.promise(() => new Promise<void>((resume) => setTimeout(resume, 5)))

/** Lets time pass until it is so. */
const passUntil = (isSo: () => boolean) => Effect.repeat(pass(1), { until: isSo })

/** A test that waits for what does not come fails after 20 seconds of real time. */
const patience = Effect.callback<never>((resume) => {
  const timer = setTimeout(() => resume(Effect.die("it waits for something that does not come")), 20_000)
  return Effect.sync(() => clearTimeout(timer))
})

/** Collects the numbers that a job says, as they come. */
const follow = Effect.fnUntraced(function* (events: Stream.Stream<JobEvent.JobEvent, unknown>) {
  const numbers: Array<number> = []
  const done = yield* events.pipe(
    Stream.filter(JobEvent.is("progress")),
    Stream.runForEach(({ body }) => Effect.sync(() => numbers.push(body.current))),
    Effect.result,
    Effect.forkChild
  )
  return { numbers, done: Fiber.join(done) }
})

/** The states that the client goes through. */
const watch = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const states: Array<ConnectionState.ConnectionState> = []
  yield* Effect.forkScoped(Stream.runForEach(client.state, (state) => Effect.sync(() => states.push(state))))
  yield* Effect.yieldNow
  /** In a row only once: how often it dials is not the tests' business. */
  const tags = () => states.map(({ _tag }) => _tag).filter((tag, index, all) => tag !== all[index - 1])
  return { states, tags }
})

const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1)

// --------------------------------------------------------------------------------------------------------------- the tests

type Needs =
  | ArcpClient.ArcpClient
  | Backstage
  | Line
  | Layer.Success<ReturnType<typeof ArcpTest.layer<never, never>>>
  | Scope.Scope

const tests: { readonly [name: string]: Effect.Effect<void, unknown, Needs> } = {
  "a line that breaks costs nothing: each event comes once, in order": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const line = yield* Line
    const { tags } = yield* watch
    const session = (yield* client.session).id
    const job = yield* client.submit(Counter, 20)
    const reader = yield* follow(job.events)
    for (const [number, changes] of [
      [3, 3],
      [7, 5]
    ] as const) {
      yield* passUntil(() => reader.numbers.includes(number))
      yield* line.cut
      // Away, and back.
      yield* passUntil(() => tags().length === changes)
    }
    yield* passUntil(() => reader.numbers.includes(20))
    Assert.ok(Result.isSuccess(yield* reader.done))
    Assert.deepEqual(reader.numbers, upTo(20))
    Assert.equal(yield* job.result, 20)
    Assert.deepEqual(tags(), ["Connected", "Reconnecting", "Connected", "Reconnecting", "Connected"])
    Assert.equal((yield* client.session).id, session)
    Assert.equal((yield* Backstage).runs, 1)
  }),

  "a line that has gone silent is noticed by its missing signs of life": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const line = yield* Line
    const { states, tags } = yield* watch
    const job = yield* client.submit(Counter, 90)
    const reader = yield* follow(job.events)
    yield* pass(10)
    Assert.deepEqual(reader.numbers, upTo(10))
    yield* line.silence
    yield* pass(15)
    // Nobody can know yet: a line on which nothing comes may be one on which nothing is said.
    Assert.deepEqual([tags(), reader.numbers.length], [["Connected"], 10])
    yield* pass(30)
    Assert.deepEqual(tags(), ["Connected", "Reconnecting", "Connected"])
    Assert.ok(states[1]?._tag === "Reconnecting" && states[1].cause._tag === "HeartbeatLost")
    yield* pass(45)
    Assert.ok(Result.isSuccess(yield* reader.done))
    Assert.deepEqual(reader.numbers, upTo(90))
  }),

  "who is away longer than the window loses the session, and not the job": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const line = yield* Line
    const { states } = yield* watch
    const job = yield* client.submit(Counter, 100)
    const waiting = yield* Effect.forkChild(Effect.flip(job.result))
    yield* pass(5)
    yield* line.reachable(false)
    yield* line.cut
    yield* pass(59)
    Assert.equal(states.at(-1)?._tag, "Reconnecting")
    Assert.equal(waiting.pollUnsafe(), undefined)
    yield* pass(6)
    const lost = yield* Fiber.join(waiting)
    Assert.ok(lost._tag === "HeartbeatLost" || lost._tag === "ResumeWindowExpired", lost._tag)
    Assert.deepEqual(states.at(-1), { _tag: "Closed", cause: lost, renewable: true })
    // The next request opens a new session; the job has gone on, and can be followed from there.
    yield* line.reachable(true)
    const again = yield* client.attach(Counter, job.id)
    const reader = yield* follow(again.events)
    yield* pass(40)
    Assert.ok(Result.isSuccess(yield* reader.done))
    Assert.deepEqual(reader.numbers, upTo(100))
    Assert.equal(yield* again.result, 100)
    Assert.equal((yield* Backstage).runs, 1)
  }),

  "an agent waits for a reader that is slow, and for none that has gone": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const backstage = yield* Backstage
    const job = yield* client.submit(Counter, 250)
    let read = 0
    const reader = yield* job.events.pipe(
      Stream.filter(JobEvent.is("progress")),
      Stream.runForEach(() =>
        Effect.andThen(
          Effect.sleep("5 seconds"),
          Effect.sync(() => read++)
        )
      ),
      Effect.forkChild
    )
    yield* pass(200)
    // Alone it would have said two hundred. It is ahead by the window, which is some twenty of its events, and by what is on its way.
    const ahead = backstage.said - read
    Assert.ok(read >= 35 && ahead > 0 && ahead <= 80, `${backstage.said} said, ${read} read`)
    yield* Fiber.interrupt(reader)
    yield* passUntil(() => backstage.said === 250)
    Assert.equal(yield* job.result, 250)
  }),

  "to submit again with the same key is to submit once": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const line = yield* Line
    const first = yield* client.submit(Counter, 5, { idempotencyKey: "order 66" })
    yield* line.cut
    yield* pass(3)
    const second = yield* client.submit(Counter, 5, { idempotencyKey: "order 66" })
    Assert.equal(second.id, first.id)
    yield* pass(5)
    Assert.deepEqual([yield* first.result, yield* second.result, (yield* Backstage).runs], [5, 5, 1])
    const other = yield* Effect.flip(client.submit(Counter, 6, { idempotencyKey: "order 66" }))
    Assert.equal(other._tag, "DuplicateKey")
  }),

  "jobs are listed, of whatever session, oldest first": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const ids: Array<string> = []
    for (const seconds of [2, 30, 40]) {
      ids.push((yield* client.submit(Counter, seconds)).id)
      yield* pass(1)
    }
    yield* pass(2)
    const other = yield* anotherClient("secret")
    const all = yield* Stream.runCollect(other.jobs({ pageSize: 2 }))
    Assert.deepEqual(
      all.map(({ id, status }) => [id, status]),
      [
        [ids[0], "success"],
        [ids[1], "running"],
        [ids[2], "running"]
      ]
    )
    const running = yield* Stream.runCollect(other.jobs({ status: ["running"] }))
    Assert.deepEqual(
      running.map(({ id }) => id),
      ids.slice(1)
    )
    const stranger = yield* anotherClient("strange")
    Assert.deepEqual(yield* Stream.runCollect(stranger.jobs()), [])
  }),

  "who observes a job sees all of it, and cannot end it": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const job = yield* client.submit(Counter, 10)
    yield* pass(4)
    const other = yield* anotherClient("secret")
    const observed = yield* other.attach(Counter, job.id)
    const reader = yield* follow(observed.events)
    const refused = yield* Effect.flip(observed.cancel("I would rather not"))
    Assert.equal(refused._tag, "PermissionDenied")
    yield* pass(7)
    Assert.ok(Result.isSuccess(yield* reader.done))
    Assert.deepEqual([reader.numbers, yield* observed.result], [upTo(10), 10])
    const stranger = yield* anotherClient("strange")
    Assert.equal((yield* Effect.flip(stranger.attach(Counter, job.id)))._tag, "JobNotFound")
  }),

  "a runtime that shuts its sessions down says so, and the client finds its job again": Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const sessions = yield* Sessions.Sessions
    const { tags } = yield* watch
    const before = (yield* client.session).id
    const job = yield* client.submit(Counter, 20)
    const waiting = yield* Effect.forkChild(Effect.flip(job.result))
    yield* pass(5)
    yield* sessions.shutdown
    // It comes back as it would to a runtime that was started anew, and hears that its session is over.
    yield* pass(6)
    const lost = yield* Fiber.join(waiting)
    Assert.equal(lost._tag, "ResumeWindowExpired")
    Assert.deepEqual(tags(), ["Connected", "Reconnecting", "Closed"])
    const again = yield* client.attach(Counter, job.id)
    yield* pass(16)
    Assert.equal(yield* again.result, 20)
    Assert.notEqual((yield* client.session).id, before)
  })
}

/** One more client of the same runtime, as whom the token is of. */
const anotherClient = Effect.fnUntraced(function* (token: string) {
  const layer = ArcpClient.ArcpClient.layer({ token: Redacted.make(token) })
  return Context.get(yield* Layer.build(layer), ArcpClient.ArcpClient)
})

/** Small bounds, so that a test reaches them soon. */
const config = {
  heartbeatInterval: Duration.seconds(10),
  resumeWindow: Duration.minutes(1),
  pacingWindow: 4096,
  maxBatch: 4096
}

const isolated = (test: Effect.Effect<void, unknown, Needs>) =>
  Effect.suspend(() => {
    const line = makeLine()
    const runtime = ArcpTest.layer({
      agents: CounterLive,
      config,
      tokens: { secret: "me", strange: "a stranger" },
      faults: line.faults
    })
    return Effect.raceFirst(Effect.scoped(test), patience).pipe(
      // Client and runtime take their leave by the same clock, also of who does not answer.
      Effect.ensuring(Effect.forkScoped(Effect.forever(pass(1)))),
      Effect.provide(runtime.pipe(Layer.provideMerge(Layer.merge(Backstage.layer, line.layer)))),
      Effect.scoped,
      Effect.provide(TestClock.layer())
    )
  })

const program = Effect.gen(function* () {
  const started = performance.now()
  let failed = 0
  for (const [name, test] of Object.entries(tests)) {
    const outcome = yield* Effect.result(Effect.sandbox(isolated(test)))
    yield* Console.log(`${Result.isSuccess(outcome) ? "ok    " : "FAILED"} ${name}`)
    if (Result.isSuccess(outcome)) continue
    failed++
    yield* Console.error(Cause.pretty(outcome.failure))
  }
  yield* Console.log(`more than ten minutes in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  Assert.equal(failed, 0)
})

NodeRuntime.runMain(program)
