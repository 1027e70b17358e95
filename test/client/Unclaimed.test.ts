import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, Result, Schema, Stream } from "effect"
import * as ClientSession from "../../src/client/internal/clientSession.ts"
import * as Inbound from "../../src/client/internal/inbound.ts"
import * as Unclaimed from "../../src/client/internal/unclaimed.ts"
import * as Codec from "../../src/protocol/Codec.ts"
import * as Feature from "../../src/protocol/Feature.ts"
import * as Ids from "../../src/protocol/Ids.ts"
import * as Fake from "./FakeRuntime.ts"

const limits = { events: 4096, eventBytes: 64 * 1024, resultBytes: 256 * 1024, requests: 256 }
const bound = limits.eventBytes + limits.resultBytes

const traceId = "0af7651916cd43dd8448eb211c80319c"

/** The acceptance of a job that nobody asked for; with a parent, of one that it delegated. */
const accepted = (jobId: string, parent?: string) => ({
  type: "job.accepted",
  job_id: jobId,
  trace_id: traceId,
  payload: {
    job_id: jobId,
    agent: "a@1.0.0",
    lease: {},
    request_id: "msg_unknown",
    ...(parent === undefined ? undefined : { parent_job_id: parent, delegate_id: `d_${jobId}` })
  }
})

const chunk = (jobId: string, seq: number, chunk_seq: number, data: string) => ({
  ...Fake.event(jobId, seq, "result_chunk", { result_id: "res_1", chunk_seq, data, encoding: "utf8", more: true }),
  job_seq: chunk_seq + 1
})

/** A session with a runtime of our own kind, and what takes in its frames. */
const session = Effect.gen(function* () {
  const self = ClientSession.make({
    id: Schema.decodeUnknownSync(Ids.SessionId)(Fake.sessionId),
    welcome: {
      runtime: { name: "fake", version: "1" },
      resume_token: "rt",
      resume_window_sec: 600,
      heartbeat_interval_sec: 30,
      capabilities: { encodings: ["json"], features: [], ...Fake.declared.capabilities }
    } as unknown as ClientSession.ClientSession["welcome"],
    features: new Set(Feature.all),
    limits,
    clock: yield* Clock.Clock,
    nextId: Effect.die("nothing is to be said"),
    within: 1000,
    scope: yield* Effect.scope,
    lastSeq: 0,
    manual: false
  })
  let count = 0
  const hear = Effect.fnUntraced(function* (frame: object) {
    const text = JSON.stringify({ arcp: "1.1", id: `rt_${++count}`, session_id: Fake.sessionId, ...frame })
    const decoded = Codec.decodeFromRuntime(text)
    assert.isTrue(Result.isSuccess(decoded), text)
    yield* Inbound.receive(self, decoded) ?? Effect.void
  })
  return { self, hear }
})

/** What is kept of all jobs: characters of their events, bytes of their results. */
const heldOf = ({ jobs }: ClientSession.ClientSession) => {
  let held = 0
  for (const { assembly, events } of jobs.values()) {
    held += events.bytes + (Result.isSuccess(assembly) ? assembly.success.bytes : 0)
  }
  return held
}

describe("jobs that nobody has a handle of", () => {
  for (const kind of ["that nobody asked for", "that one of ours has delegated"] as const) {
    it.effect(`and ${kind} hold a bounded number of bytes, however many they are and whatever they say`, () =>
      Effect.gen(function* () {
        const { hear, self } = yield* session
        const isChild = kind === "that one of ours has delegated"
        if (isChild) yield* hear(accepted("job_parent"))
        // Of that one somebody has a handle.
        Unclaimed.remove(self.unclaimed, "job_parent" as Ids.JobId)
        let seq = 0
        let most = 0
        const size = 8 * 1024
        for (let index = 0; index < 200; index++) {
          yield* hear(accepted(`job_${index}`, isChild ? "job_parent" : undefined))
          for (let part = 0; part < 8; part++) {
            yield* hear(chunk(`job_${index}`, ++seq, part, "x".repeat(size)))
            most = Math.max(most, heldOf(self))
          }
        }
        // 12.5 MiB were said.
        assert.isAtMost(most, bound)
        assert.isAtLeast(most, bound / 4)
        assert.isFalse(self.jobs.has("job_0" as Ids.JobId))
        assert.isTrue(self.jobs.has("job_199" as Ids.JobId))
        assert.isAtMost(self.untaken.size, self.jobs.size)
      })
    )
  }

  it.effect("are bounded in number too, and of many small ones the oldest are forgotten", () =>
    Effect.gen(function* () {
      const { hear, self } = yield* session
      for (let index = 0; index < 2000; index++) yield* hear(accepted(`job_${index}`))
      assert.isAtMost(self.jobs.size, 1024)
      assert.isFalse(self.jobs.has("job_0" as Ids.JobId))
      assert.isTrue(self.jobs.has("job_1999" as Ids.JobId))
      assert.strictEqual(self.unclaimed.entries.size, self.jobs.size)
      for (let index = 0; index < 2000; index++) yield* hear(Fake.result(`job_${index}`, index + 1, null))
      assert.deepStrictEqual([self.jobs.size, self.unclaimed.entries.size, self.unclaimed.weight], [0, 0, 0])
    })
  )

  it.effect("make room for each other only: one that is asked for after all counts no more, and loses nothing", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, { limits }, Fake.declared)
      const first = accepted("job_first")
      yield* runtime.say(first, chunk("job_first", 1, 0, "one "))
      const submitting = yield* Effect.forkChild(client.submit("a", 1))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_first"))
      const job = yield* Fiber.join(submitting)
      let seq = 1
      for (let index = 0; index < 100; index++) {
        yield* runtime.say(accepted(`job_${index}`), chunk(`job_${index}`, ++seq, 0, "x".repeat(16 * 1024)))
      }
      yield* runtime.say(
        { ...chunk("job_first", ++seq, 1, "two") },
        {
          ...Fake.result("job_first", ++seq, undefined),
          payload: { final_status: "success", result_id: "res_1", result_size: 7 }
        }
      )
      assert.strictEqual(yield* job.result, "one two")
      assert.strictEqual((yield* Stream.runCollect(job.events)).length, 2)
    })
  )

  it.effect("and were forgotten say what was missed to whoever asks for them after all", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, { limits, ...Fake.plain }, Fake.declared)
      yield* runtime.say(accepted("job_first"), chunk("job_first", 1, 0, "one "))
      let seq = 1
      for (let index = 0; index < 100; index++) {
        yield* runtime.say(accepted(`job_${index}`), chunk(`job_${index}`, ++seq, 0, "x".repeat(16 * 1024)))
      }
      const submitting = yield* Effect.forkChild(client.submit("a", 1))
      yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), "job_first"))
      const job = yield* Fiber.join(submitting)
      yield* runtime.say({ ...Fake.result("job_first", ++seq, "done"), job_seq: 2 })
      assert.strictEqual(yield* job.result, "done")
      const error = yield* Fake.failed(Stream.runDrain(job.events))
      assert.deepStrictEqual([error._tag, error.details], ["ResumeWindowExpired", { dropped: 1 }])
    })
  )

  it.effect("count also where a submit of this process was for them, and was interrupted", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(runtime, { limits, ...Fake.plain }, Fake.declared)
      const ask = (key: string) => Effect.forkChild(client.run("a", 1, { idempotencyKey: key }))
      const answer = Effect.fnUntraced(function* (jobId: string) {
        yield* runtime.say(Fake.accept(yield* runtime.hear("job.submit"), jobId))
        yield* Fake.settled
      })
      const gone = yield* ask("gone")
      yield* answer("job_gone")
      const one = yield* ask("kept")
      yield* answer("job_kept")
      const other = yield* ask("kept")
      yield* answer("job_kept")
      yield* runtime.say(chunk("job_gone", 1, 0, "one "), chunk("job_kept", 2, 0, "one "))
      yield* Fiber.interrupt(gone)
      // Somebody else still waits for the same job.
      yield* Fiber.interrupt(other)
      let seq = 2
      for (let index = 0; index < 100; index++) {
        yield* runtime.say(accepted(`job_${index}`), chunk(`job_${index}`, ++seq, 0, "x".repeat(16 * 1024)))
      }
      const again = yield* ask("gone")
      yield* answer("job_gone")
      for (const job_id of ["job_gone", "job_kept"]) {
        yield* runtime.say(chunk(job_id, ++seq, 1, "two"), {
          ...Fake.result(job_id, ++seq, undefined),
          job_seq: 3,
          payload: { final_status: "success", result_id: "res_1", result_size: 7 }
        })
      }
      assert.strictEqual(yield* Fiber.join(one), "one two")
      const error = yield* Fake.failed(Fiber.join(again))
      assert.deepStrictEqual([error._tag, error.details], ["ResumeWindowExpired", { dropped: 1 }])
    })
  )

  it.effect("leave nobody waiting who has to do with them all the same", () =>
    Effect.gen(function* () {
      const { hear, self } = yield* session
      for (const parent of ["job_a", "job_b"]) {
        yield* hear(accepted(parent))
        Unclaimed.remove(self.unclaimed, parent as Ids.JobId)
      }
      yield* hear(accepted("job_child"))
      const child = self.jobs.get("job_child" as Ids.JobId)!
      for (const [index, parent] of ["job_a", "job_b"].entries()) {
        const delegate = { child_job_id: "job_child", delegate_id: "d", agent: "a@1.0.0" }
        yield* hear(Fake.event(parent, index + 1, "delegate", delegate))
      }
      for (let index = 0; index < 1024; index++) yield* hear(accepted(`job_${index}`))
      assert.isFalse(self.jobs.has(child.id))
      assert.strictEqual(self.untaken.size, 0)
      const outcome = yield* Deferred.await(child.outcome)
      assert.strictEqual(outcome._tag === "Unknown" && outcome.error._tag, "ResumeWindowExpired")
      assert.strictEqual(child.events.entries.length, 0)
    })
  )
})
