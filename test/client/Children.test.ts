import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Fiber, Latch, Layer, Redacted, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import type * as ChildJob from "../../src/client/ChildJob.ts"
import * as ClientSession from "../../src/client/internal/clientSession.ts"
import * as EventBuffer from "../../src/client/internal/eventBuffer.ts"
import * as Inbound from "../../src/client/internal/inbound.ts"
import * as Pace from "../../src/client/internal/pace.ts"
import * as Requests from "../../src/client/internal/requests.ts"
import * as Codec from "../../src/protocol/Codec.ts"
import * as Feature from "../../src/protocol/Feature.ts"
import * as Ids from "../../src/protocol/Ids.ts"
import * as JobEvent from "../../src/protocol/JobEvent.ts"
import * as Json from "../../src/protocol/Json.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as ArcpServer from "../../src/runtime/ArcpServer.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as FaultyNetwork from "../../src/testing/FaultyNetwork.ts"
import * as Script from "../conformance/Script.ts"
import { settled } from "../conformance/Stage.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Fake from "./FakeRuntime.ts"

const lease = { "agent.delegate": ["**"] }

/** A client with one running job, `job_p`. */
const start = Effect.fnUntraced(function* (
  welcome: { readonly [member: string]: unknown } = Fake.declared,
  options: Partial<ArcpClient.Options> = {}
) {
  const runtime = yield* Fake.make()
  const client = yield* Fake.connect(runtime, options, welcome)
  const submitting = yield* Effect.forkChild(client.submit("parent", null))
  yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_p"))
  return { runtime, client, job: yield* Fiber.join(submitting) }
})

const told = (child: string, seq: number, body: object = {}) =>
  Fake.event("job_p", seq, "delegate", {
    delegate_id: `del_${child}`,
    child_job_id: child,
    agent: "child@1.0.0",
    lease: { "tool.call": ["a"] },
    ...body
  })

const accepted = (child: string, more: object = {}) => ({
  type: "job.accepted",
  job_id: child,
  payload: {
    job_id: child,
    agent: "child@1.0.0",
    lease: { "tool.call": ["a"] },
    accepted_at: "2026-05-13T19:30:00.000Z",
    parent_job_id: "job_p",
    delegate_id: `del_${child}`,
    ...more
  }
})

/** The first so many children of a job. */
const children = (job: { readonly children: ChildJob.ChildJob["children"] }, count: number) =>
  Stream.runCollect(Stream.take(job.children, count))

const messages = (events: ReadonlyArray<JobEvent.JobEvent>) =>
  events.filter(JobEvent.is("log")).map(({ body }) => body.message)

const acks = (runtime: Fake.FakeRuntime) =>
  Effect.map(Effect.andThen(Fake.settled, runtime.unheard), () =>
    runtime.heard.filter(({ type }) => type === "session.ack").map(({ payload }) => payload)
  )

describe("The children of a job", () => {
  it.effect("come as they are told of, and each says what it says, to its end", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      const reading = yield* Effect.forkChild(Stream.runCollect(job.children))
      yield* runtime.say(
        told("job_a", 1),
        accepted("job_a"),
        Fake.event("job_a", 2),
        told("job_b", 3),
        accepted("job_b"),
        Fake.event("job_b", 4),
        Fake.event("job_a", 5),
        Fake.result("job_a", 6, "well"),
        Fake.failure("job_b", 7, "PERMISSION_DENIED"),
        Fake.result("job_p", 8, null)
      )
      const [a, b, ...more] = yield* Fiber.join(reading)
      assert.deepStrictEqual(more, [])
      assert.deepInclude(a as object, {
        id: "job_a",
        agent: "child@1.0.0",
        delegateId: "del_job_a",
        lease: { "tool.call": ["a"] }
      })
      assert.deepStrictEqual(messages(yield* Stream.runCollect(a!.events)), ["2", "5"])
      assert.strictEqual(yield* a!.result, "well")
      assert.strictEqual((yield* Effect.flip(b!.result))._tag, "PermissionDenied")
      assert.deepStrictEqual(messages(yield* Stream.runCollect(b!.events)), ["4"])
      // Whoever comes later gets the same.
      assert.deepStrictEqual(
        (yield* Stream.runCollect(job.children)).map(({ id }) => id),
        ["job_a", "job_b"]
      )
      assert.deepStrictEqual(yield* Stream.runCollect(a!.children), [])
    })
  )

  it.effect("are there also if their acceptance is lost, which may come later or more than once", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(told("job_a", 1), Fake.event("job_a", 2))
      const [child] = yield* children(job, 1)
      const again = accepted("job_a", { lease_constraints: { expires_at: "2030-01-01T00:00:00Z" } })
      yield* runtime.say(again, Fake.event("job_a", 3), again, Fake.result("job_a", 4, 1), Fake.result("job_p", 5, 2))
      assert.deepStrictEqual(messages(yield* Stream.runCollect(child!.events)), ["2", "3"])
      assert.strictEqual(yield* child!.result, 1)
      const [known, ...more] = yield* Stream.runCollect(job.children)
      assert.deepStrictEqual(known!.leaseConstraints, { expires_at: "2030-01-01T00:00:00Z" })
      assert.deepStrictEqual(more, [])
    })
  )

  it.effect("are known by their acceptance where what tells of them does not name them", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start({})
      yield* runtime.say(
        Fake.event("job_p", 1, "delegate", { delegate_id: "del_job_a", agent: "child" }),
        accepted("job_a"),
        Fake.event("job_a", 2),
        Fake.result("job_a", 3, 1)
      )
      const [child] = yield* children(job, 1)
      assert.deepInclude(child as object, { id: "job_a", agent: "child@1.0.0", delegateId: "del_job_a" })
      assert.deepStrictEqual(messages(yield* Stream.runCollect(child!.events)), ["2"])
      assert.strictEqual(yield* child!.result, 1)
    })
  )

  it.effect("have children of their own", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(
        told("job_a", 1),
        { ...told("job_aa", 2), job_id: "job_a" },
        Fake.event("job_aa", 3),
        Fake.result("job_aa", 4, "deep"),
        Fake.result("job_a", 5, null)
      )
      const [child] = yield* children(job, 1)
      const [grandchild, ...more] = yield* Stream.runCollect(child!.children)
      assert.deepStrictEqual(more, [])
      assert.strictEqual(yield* grandchild!.result, "deep")
    })
  )

  it.effect("may be cancelled", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      yield* runtime.say(told("job_a", 1), accepted("job_a"))
      const [child] = yield* children(job, 1)
      const cancelling = yield* Effect.forkChild(child!.cancel("enough"))
      const frame = yield* runtime.hear("job.cancel")
      assert.deepStrictEqual(frame.payload, { job_id: "job_a", reason: "enough" })
      yield* runtime.say({ type: "job.cancelled", job_id: "job_a", payload: { job_id: "job_a", request_id: frame.id } })
      yield* Fiber.join(cancelling)
      yield* runtime.say(Fake.failure("job_a", 2, "CANCELLED"))
      assert.strictEqual((yield* Effect.flip(child!.result))._tag, "Cancelled")
      assert.strictEqual((yield* Effect.flip(child!.cancel()))._tag, "JobNotFound")
    })
  )

  it.effect("end with the session", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start(Fake.declared, { reconnect: false })
      yield* runtime.say(told("job_a", 1), accepted("job_a"))
      const [child] = yield* children(job, 1)
      const all = yield* Effect.forkChild(Effect.flip(Stream.runCollect(job.children)))
      const events = yield* Effect.forkChild(Effect.flip(Stream.runCollect(child!.events)))
      yield* Fake.settled
      yield* runtime.close()
      assert.strictEqual((yield* Fiber.join(all))._tag, "HeartbeatLost")
      assert.strictEqual((yield* Fiber.join(events))._tag, "HeartbeatLost")
      assert.strictEqual((yield* Effect.flip(child!.result))._tag, "HeartbeatLost")
    })
  )

  it.effect("hold up no acknowledgement while nobody reads them, and only their own while somebody does", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      const gate = yield* Latch.make(false)
      const parent = yield* Effect.forkChild(Stream.runDrain(job.events))
      yield* Fake.settled
      yield* runtime.say(told("job_a", 1), accepted("job_a"), Fake.event("job_a", 2), Fake.event("job_a", 3))
      yield* Fake.settled
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual(yield* acks(runtime), [{ last_processed_seq: 3 }])
      const [child] = yield* children(job, 1)
      const slow = yield* Effect.forkChild(Stream.runForEach(child!.events, () => gate.await))
      yield* Fake.settled
      yield* runtime.say(Fake.event("job_a", 4), Fake.event("job_p", 5), Fake.event("job_a", 6))
      yield* Fake.settled
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual((yield* acks(runtime)).slice(1), [{ last_processed_seq: 3, jobs: { job_p: 5 } }])
      yield* gate.open
      yield* Fake.settled
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual((yield* acks(runtime)).slice(2), [{ last_processed_seq: 6 }])
      yield* Fiber.interrupt(slow)
      yield* Fiber.interrupt(parent)
    })
  )

  it.effect("of which nobody has taken any are read from the runtime once they have said much, or are many", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start(Fake.declared, { limits: { eventBytes: 100_000 } })
      const big = { level: "info", message: "x".repeat(20_000) }
      // Says more than is kept of what nobody has taken.
      yield* runtime.say(told("job_a", 1), Fake.event("job_a", 2, "log", big), Fake.event("job_a", 3, "log", big))
      yield* runtime.say(Fake.event("job_a", 4), Fake.result("job_a", 5, "well"))
      // And each of these has a long result.
      yield* runtime.say(
        told("job_b", 6),
        Fake.result("job_b", 7, "b".repeat(20_000)),
        told("job_c", 8),
        Fake.result("job_c", 9, "c".repeat(20_000)),
        told("job_d", 10),
        Fake.result("job_d", 11, "d".repeat(20_000)),
        Fake.result("job_p", 12, null)
      )
      yield* Fake.settled
      const [a, b, c, d] = yield* Stream.runCollect(job.children)
      // The latest are there; nothing is asked.
      assert.strictEqual(yield* d!.result, "d".repeat(20_000))
      assert.strictEqual(yield* c!.result, "c".repeat(20_000))
      assert.deepStrictEqual(yield* runtime.unheard, [])
      const subscribe = Effect.fnUntraced(function* <A, E>(
        effect: Effect.Effect<A, E>,
        ...frames: ReadonlyArray<{ readonly type: string; readonly [member: string]: unknown }>
      ) {
        const asking = yield* Effect.forkChild(effect)
        const { id, payload } = yield* runtime.hear("job.subscribe")
        assert.deepInclude(payload, { history: true, from_job_seq: 0 })
        yield* runtime.say(
          {
            type: "job.subscribed",
            job_id: payload.job_id,
            payload: { job_id: payload.job_id, current_status: "success", agent: "child@1.0.0", request_id: id }
          },
          ...frames
        )
        return yield* Fiber.join(asking)
      })
      const logged = (seq: number, job_seq: number) => ({ ...Fake.event("job_a", seq), job_seq })
      const ended = (id: string, seq: number, job_seq: number, value: string) => ({
        ...Fake.result(id, seq, value),
        job_seq
      })
      const events = yield* subscribe(
        Stream.runCollect(a!.events),
        logged(13, 1),
        logged(14, 2),
        ended("job_a", 15, 3, "well")
      )
      assert.deepStrictEqual(messages(events), ["13", "14"])
      assert.strictEqual(yield* subscribe(b!.result, ended("job_b", 16, 1, "b again")), "b again")
    })
  )

  it.effect("that nobody has taken yet keep little of what they say, also while they run", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      const big = { level: "info", message: "x".repeat(20_000) }
      yield* runtime.say(told("job_a", 1), Fake.event("job_a", 2, "log", big), Fake.event("job_a", 3, "log", big))
      const [child] = yield* children(job, 1)
      const reading = yield* Effect.forkChild(Stream.runCollect(child!.events))
      const { id, payload } = yield* runtime.hear("job.subscribe")
      assert.deepInclude(payload, { job_id: "job_a", from_job_seq: 0 })
      const subscribed = { job_id: "job_a", current_status: "running", agent: "child@1.0.0", request_id: id }
      yield* runtime.say(
        { type: "job.subscribed", job_id: "job_a", payload: subscribed },
        { ...Fake.event("job_a", 4), job_seq: 1 },
        { ...Fake.result("job_a", 5, "well"), job_seq: 2 }
      )
      assert.deepStrictEqual(messages(yield* Fiber.join(reading)), ["4"])
      assert.strictEqual(yield* child!.result, "well")
    })
  )

  it.effect("that have ended before the job is known to be accepted are there all the same", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, {}, Fake.declared)
      const submitting = yield* Effect.forkChild(client.submit("parent", null))
      const submit = yield* runtime.hear("job.submit")
      // As after a line that took the acceptances with it.
      yield* runtime.say(
        told("job_a", 1),
        accepted("job_a"),
        Fake.event("job_a", 2),
        Fake.result("job_a", 3, "well"),
        Fake.accept(submit, "job_p")
      )
      const [child] = yield* children(yield* Fiber.join(submitting), 1)
      assert.deepStrictEqual(messages(yield* Stream.runCollect(child!.events)), ["2"])
      assert.strictEqual(yield* child!.result, "well")
    })
  )

  it.effect("that nobody takes leave little behind, and those that nobody can take nothing", () =>
    Effect.gen(function* () {
      const eventBytes = 1_000_000
      for (const isDiscarded of [false, true]) {
        const session = ClientSession.make({
          id: Ids.SessionId.make(Fake.sessionId),
          welcome: {
            runtime: { name: "fake", version: "1" },
            resume_token: Redacted.make("rt"),
            resume_window_sec: 600,
            capabilities: { features: Feature.all, ...Fake.declared.capabilities }
          },
          features: new Set(Feature.all),
          limits: { ...ArcpClient.limits, eventBytes },
          clock: yield* Clock.Clock,
          nextId: Effect.succeed(Ids.MessageId.make("msg_1")),
          within: 1000,
          scope: yield* Effect.scope,
          lastSeq: 0,
          manual: false
        })
        const hear = (...frames: ReadonlyArray<object>) =>
          Effect.forEach(frames, (frame) => {
            const text = JSON.stringify({ arcp: "1.1", id: "rt_1", session_id: Fake.sessionId, payload: {}, ...frame })
            return Inbound.receive(session, Codec.decodeFromRuntime(text)) ?? Effect.void
          })
        const traceId = Ids.TraceId.make("4bf92f3577b34da6a3ce929d0e0e4736")
        const pending = Requests.submit(Ids.MessageId.make("msg_s"), traceId, "parent", () => "")
        Requests.begin(session.requests, pending, Number.POSITIVE_INFINITY)
        yield* hear(
          Fake.accept({ arcp: "1.1", id: "msg_s", type: "job.submit", trace_id: traceId, payload: {} }, "job_p")
        )
        const parent = yield* Deferred.await(pending.reply)
        if (isDiscarded) EventBuffer.discard(parent.events)
        for (let n = 0; n < 2000; n++) {
          const [id, seq] = [`job_${n}`, n * 3]
          yield* hear(
            told(id, seq + 1),
            accepted(id),
            Fake.event(id, seq + 2),
            Fake.result(id, seq + 3, "x".repeat(1000))
          )
        }
        assert.deepStrictEqual([...session.jobs.keys()], [parent.id])
        assert.strictEqual(session.held.size, 0)
        assert.isAtMost(session.settled.size, 1024)
        const kept = parent.children.list.filter(({ job }) => job !== undefined)
        assert.strictEqual(kept.length, session.untaken.size)
        assert.isAtMost(session.untakenWeight, eventBytes)
        if (isDiscarded) assert.lengthOf(kept, 0)
        else assert.isAbove(kept.length, 200)
        // Nothing waits to be acknowledged.
        assert.deepStrictEqual(Pace.take(session.pace, session.lastSeq), { last_processed_seq: 6000 })
      }
    })
  )

  it.effect("are bounded: of very many the first are forgotten, and that is said", () =>
    Effect.gen(function* () {
      const { job, runtime } = yield* start()
      for (let n = 0; n < 4097; n++) {
        const id = `job_${n}`
        yield* runtime.say(told(id, n * 2 + 1), Fake.result(id, n * 2 + 2, n))
      }
      yield* Fake.settled
      const error = yield* Effect.flip(Stream.runCollect(job.children))
      assert.strictEqual(error._tag, "ResumeWindowExpired")
      assert.deepStrictEqual(error.details, { dropped: 512 })
    })
  )
})

describe("The children of a job of our own runtime", () => {
  const family = () => {
    const end = Deferred.makeUnsafe<void>()
    const scripts: Readonly<Record<string, Script.Script>> = {
      parent: Effect.fnUntraced(function* (job, depth) {
        yield* job.log("info", `generation ${depth as number}`)
        if (depth === 0) {
          yield* Deferred.await(end)
          return "the last"
        }
        const child = yield* job.delegate("parent", (depth as number) - 1, { lease })
        return yield* child.result
      })
    }
    return { scripts, end: Deferred.succeed(end, undefined) }
  }

  /** One more client of the runtime, in a session of its own. */
  const another = Effect.map(
    Layer.build(ArcpClient.ArcpClient.layerWithRandom({ token: Redacted.make("secret") })),
    (context) => Context.get(context, ArcpClient.ArcpClient)
  )

  const layer = (scripts: Readonly<Record<string, Script.Script>>) => ArcpTest.layer({ agents: Script.layer(scripts) })

  verifies("C-123", "are followed through all generations", () => {
    const { end, scripts } = family()
    return Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit("parent", 2, { lease })
      const [child] = yield* children(job, 1)
      const [grandchild] = yield* children(child!, 1)
      yield* end
      assert.deepStrictEqual(messages(yield* Stream.runCollect(grandchild!.events)), ["generation 0"])
      const results: ReadonlyArray<Json.Json> = yield* Effect.all([grandchild!.result, child!.result, job.result])
      assert.deepStrictEqual(results, ["the last", "the last", "the last"])
      assert.deepStrictEqual(yield* Stream.runCollect(grandchild!.children), [])
      assert.lengthOf(yield* Stream.runCollect(child!.children), 1)
    }).pipe(Effect.provide(layer(scripts)))
  })

  it.effect("may be cancelled one by one, and are read from the runtime when they were taken late", () => {
    const scripts: Readonly<Record<string, Script.Script>> = {
      talker: (job) =>
        Effect.as(
          Effect.forEach(Array.from({ length: 300 }), (_, n) => job.log("info", `${n}`.padEnd(500, "."))),
          "said"
        ),
      sleeper: () => Effect.never,
      host: Effect.fnUntraced(function* (job) {
        const talker = yield* job.delegate("talker", null)
        const sleeper = yield* job.delegate("sleeper", null)
        yield* talker.result
        const [tag] = yield* Script.refused(sleeper.result)
        return tag
      })
    }
    return Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit("host", null, { lease })
      yield* settled
      const [talker, sleeper] = yield* children(job, 2)
      yield* sleeper!.cancel("enough")
      assert.strictEqual(yield* job.result, "Cancelled")
      assert.strictEqual((yield* Effect.flip(sleeper!.result))._tag, "Cancelled")
      assert.strictEqual(yield* talker!.result, "said")
      assert.lengthOf(messages(yield* Stream.runCollect(talker!.events)), 300)
    }).pipe(Effect.provide(layer(scripts)))
  })

  describe("that stream their results", () => {
    const lines = Array.from({ length: 40 }, (_, n) => `${n} grün `.padEnd(1000, "."))
    const scripts: Readonly<Record<string, Script.Script>> = {
      host: Effect.fnUntraced(function* (job) {
        const child = yield* job.delegate("streamer", null)
        return ((yield* child.result) as string).length
      })
    }
    const whole = lines.join("")
    const Streamer = Agent.make({ name: "streamer", version: "1.0.0", input: Json.Json, output: Schema.String })
    const streamer = Streamer.toLayer(() =>
      Effect.flatMap(JobContext.JobContext, (job) => job.streamResult(Stream.fromIterable(lines)))
    )
    const served = ArcpTest.layer({ agents: Layer.merge(Script.layer(scripts), streamer) })

    it.effect("are read as bytes or text while they come", () =>
      Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const job = yield* client.submit("host", null, { lease })
        const [child] = yield* children(job, 1)
        const received = yield* Effect.forkChild(Stream.runCollect(child!.received))
        assert.strictEqual((yield* Stream.runCollect(child!.text)).join(""), whole)
        const bytes = yield* Stream.runCollect(child!.content)
        assert.strictEqual(Buffer.concat([...bytes]).toString("utf8"), whole)
        assert.strictEqual((yield* Fiber.join(received)).at(-1), new TextEncoder().encode(whole).length)
        assert.strictEqual((yield* Effect.flip(child!.result))._tag, "InvalidRequest")
        assert.strictEqual(yield* job.result, whole.length)
      }).pipe(Effect.provide(served))
    )

    it.effect("are put together when nobody does", () =>
      Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const job = yield* client.submit("host", null, { lease })
        const [child] = yield* children(job, 1)
        assert.strictEqual(yield* child!.result, whole)
      }).pipe(Effect.provide(served))
    )

    it.effect("are the same where nothing is kept of them", () =>
      Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const job = yield* client.submit("host", null, { lease })
        yield* job.result
        const observer = yield* another.pipe(Effect.flatMap(({ subscribe }) => subscribe(job.id, { history: true })))
        const [child] = yield* children(observer, 1)
        assert.strictEqual(yield* child!.result, whole)
        assert.strictEqual((yield* Stream.runCollect(child!.text)).join(""), whole)
        const bytes = yield* Stream.runCollect(child!.content)
        assert.strictEqual(Buffer.concat([...bytes]).toString("utf8"), whole)
        assert.strictEqual((yield* Stream.runCollect(child!.received)).at(-1), new TextEncoder().encode(whole).length)
        assert.deepStrictEqual(yield* Stream.runCollect(child!.children), [])
      }).pipe(Effect.scoped, Effect.provide(served))
    )
  })

  it.effect("are seen by who observes it: all of them with history, else those that come", () => {
    const gate = Latch.makeUnsafe()
    const scripts: Readonly<Record<string, Script.Script>> = {
      leaf: (job, input) => Effect.as(job.log("info", `leaf ${input as number}`), input),
      branch: Effect.fnUntraced(function* (job, input) {
        const leaf = yield* job.delegate("leaf", input)
        return yield* leaf.result
      }),
      tree: Effect.fnUntraced(function* (job) {
        const first = yield* job.delegate("branch", 1, { lease })
        yield* first.result
        yield* gate.await
        const second = yield* job.delegate("branch", 2, { lease })
        return yield* second.result
      })
    }
    return Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit("tree", null, { lease })
      yield* settled
      const other = yield* another
      const [whole, live] = yield* Effect.all([other.subscribe(job.id, { history: true }), other.subscribe(job.id)])
      const late = yield* Effect.forkChild(Stream.runCollect(live.children))
      yield* settled
      yield* gate.open
      const [second, ...none] = yield* Fiber.join(late)
      assert.deepStrictEqual(none, [])
      const all = yield* Stream.runCollect(whole.children)
      assert.deepStrictEqual(
        all.map(({ id }) => id),
        (yield* Stream.runCollect(job.children)).map(({ id }) => id)
      )
      assert.strictEqual(all[1]!.id, second!.id)
      assert.match(second!.agent, /^branch@/)
      assert.deepStrictEqual(yield* Effect.forEach(all, ({ result }) => result), [1, 2])
      // And so on: a child of theirs is observed as well.
      const [leaf, ...more] = yield* Stream.runCollect(all[0]!.children)
      assert.deepStrictEqual(more, [])
      assert.deepStrictEqual(messages(yield* Stream.runCollect(leaf!.events)), ["leaf 1"])
      assert.strictEqual((yield* Effect.flip(leaf!.cancel()))._tag, "PermissionDenied")
      // Who comes when it has ended is told of none, unless it asks for the past.
      assert.deepStrictEqual(yield* Stream.runCollect((yield* other.subscribe(job.id)).children), [])
      assert.lengthOf(yield* Stream.runCollect((yield* other.subscribe(job.id, { history: true })).children), 2)
    }).pipe(Effect.scoped, Effect.provide(layer(scripts)))
  })

  it.effect("end with what observes it", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const job = yield* client.submit("sleeper", null)
      const reading = yield* Effect.scoped(
        Effect.gen(function* () {
          const { children } = yield* (yield* another).subscribe(job.id)
          const reading = yield* Effect.forkDetach(Effect.flip(Stream.runCollect(children)))
          yield* settled
          return reading
        })
      )
      assert.strictEqual((yield* Fiber.join(reading))._tag, "HeartbeatLost")
    }).pipe(Effect.provide(layer({ sleeper: () => Effect.never })))
  )

  it.effect("are all there, whichever frame the line breaks at", () =>
    Effect.gen(function* () {
      const token = Redacted.make("secret")
      const lines = ["one", "two", "three", "four"]
      const scripts: Readonly<Record<string, Script.Script>> = {
        child: (job, input) =>
          Effect.as(
            Effect.forEach(lines, (line) => Effect.andThen(job.log("info", line), Effect.sleep(1))),
            input
          ),
        parent: Effect.fnUntraced(function* (job) {
          const first = yield* job.delegate("child", 1)
          yield* Effect.sleep(2)
          const second = yield* job.delegate("child", 2)
          return [yield* first.result, yield* second.result]
        })
      }
      const agents = Script.layer(scripts)
      const run = (frame: number) => {
        let broken = false
        const network = FaultyNetwork.layer({
          plan: {
            frame: (place) => {
              if (place.connection > 0 || place.direction !== "toClient" || place.frame !== frame) return undefined
              broken = true
              return FaultyNetwork.drop
            }
          }
        })
        return Effect.gen(function* () {
          const client = yield* ArcpClient.ArcpClient
          const job = yield* client.submit("parent", null, { lease })
          const heard = yield* Effect.forkChild(
            job.children.pipe(
              Stream.mapEffect(
                (child) => Effect.all([Effect.map(Stream.runCollect(child.events), messages), child.result]),
                { concurrency: "unbounded" }
              ),
              Stream.runCollect
            )
          )
          const clock = yield* Effect.forkChild(Effect.forever(TestClock.adjust(1)))
          assert.deepStrictEqual(yield* job.result, [1, 2], `frame ${frame}`)
          const all = (yield* Fiber.join(heard)).toSorted(([, a], [, b]) => (a as number) - (b as number))
          assert.deepStrictEqual(
            all,
            [
              [lines, 1],
              [lines, 2]
            ],
            `frame ${frame}`
          )
          yield* Fiber.interrupt(clock)
          return broken
        }).pipe(
          Effect.provide(
            ArcpClient.ArcpClient.layer({ token }).pipe(
              Layer.provide(ArcpServer.serve(agents)),
              Layer.provide(Authenticator.layerStatic([{ token, principal: "tester" }])),
              Layer.provide(network),
              Layer.fresh
            ),
            { local: true }
          )
        )
      }
      // The first is the welcome, without which there is no session; beyond the last nothing breaks.
      let frame = 1
      while (yield* run(frame)) frame++
      assert.isAbove(frame, 18)
    })
  )
})
