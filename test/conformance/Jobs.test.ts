import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Leases from "../../src/authority/Leases.ts"
import * as Json from "../../src/protocol/Json.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import {
  answer,
  answers,
  assertRefused,
  bodies,
  eventually,
  join,
  outcome,
  received,
  run,
  sendSubmit,
  submit,
  withAgents,
  withRuntime
} from "./Conversation.ts"
import { verifies } from "./verifies.ts"

const anyJson = { input: Json.Json, output: Json.Json }

/** Two versions of one agent, of which the newer is the default, and one agent without a version. */
const versioned = Layer.mergeAll(
  Agent.make({ name: "v", version: "1.0.0", ...anyJson }).toLayer(() => Effect.succeed("one")),
  Agent.make({ name: "v", version: "2.0.0", default: true, ...anyJson }).toLayer(() => Effect.succeed("two")),
  Agent.make({ name: "bare", ...anyJson }).toLayer(() => Effect.succeed("bare"))
)

/** Says the time each second, as often as its input says. */
const ticker = Agent.make({ name: "ticker", version: "1.0.0", input: Schema.Int, output: Schema.Int }).toLayer(
  Effect.fnUntraced(function* (times) {
    const job = yield* JobContext.JobContext
    for (let tick = 1; tick <= times; tick++) {
      yield* Effect.sleep("1 second")
      yield* job.log("info", `tick ${tick}`)
    }
    return times
  })
)

const two = { secret: "tester", other: "another" }

describe("Submit", () => {
  verifies(["C-049", "C-051"], "accepted with its lease, constraints and agent, then it speaks, then its result", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const lease_request = { "fs.read": ["/workspace/**"], "x-vendor.acme.thing": ["a*"] }
      const lease_constraints = { expires_at: "1970-01-01T01:00:00Z" }
      const { accepted, frames, terminal } = yield* run(
        peer,
        "tck-echo@1.0.0",
        { a: [1, null] },
        {
          payload: { lease_request, lease_constraints }
        }
      )
      const { request_id, trace_id, ...payload } = accepted.payload
      assert.isString(request_id)
      assert.strictEqual(trace_id, accepted.trace_id)
      assert.deepStrictEqual(payload, {
        job_id: accepted.job_id,
        agent: "tck-echo@1.0.0",
        lease: lease_request,
        lease_constraints,
        accepted_at: "1970-01-01T00:00:00.000Z"
      })
      assert.deepStrictEqual(
        frames.map((frame) => [frame.type, frame.event_seq]),
        [
          ["job.event", 1],
          ["job.result", 2]
        ]
      )
      assert.deepStrictEqual(terminal.payload, {
        final_status: "success",
        result: { a: [1, null] },
        completed_at: "1970-01-01T00:00:00.000Z"
      })
    }).pipe(withRuntime())
  )

  verifies("C-052", "what the policy does not keep of a lease is not in the acceptance", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const asked = yield* run(peer, "tck-echo", 1, { payload: { lease_request: { "fs.read": ["/a/**", "/b"] } } })
      assert.deepStrictEqual(asked.accepted.payload["lease"], { "fs.read": ["/a/**", "/b"] })
      const nothing = yield* run(peer, "tck-echo", 1)
      assert.deepStrictEqual(nothing.accepted.payload["lease"], {})
    }).pipe(withRuntime())
  )

  verifies("C-053", "twenty submits in flight are answered in order, and told apart", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const traceOf = (n: number) => `${n}`.padStart(32, "a")
      const ids = yield* Effect.forEach(Array.from({ length: 20 }), (_, n) =>
        Effect.map(sendSubmit(peer, "tck-echo", n, { trace_id: traceOf(n) }), ({ id }) => id)
      )
      const frames = yield* Effect.forEach(Array.from({ length: 60 }), () => peer.receive)
      const accepted = frames.filter((frame) => frame.type === "job.accepted")
      assert.deepStrictEqual(
        accepted.map((frame) => frame.payload["request_id"]),
        ids
      )
      assert.deepStrictEqual(
        accepted.map((frame) => frame.trace_id),
        ids.map((_, n) => traceOf(n))
      )
      for (const [n, { job_id }] of accepted.entries()) {
        const result = frames.find((frame) => frame.type === "job.result" && frame.job_id === job_id)
        assert.strictEqual(result?.payload["result"], n)
        assert.strictEqual(result?.trace_id, traceOf(n))
      }
    }).pipe(withRuntime())
  )

  verifies("C-124", "a job keeps the trace it was submitted with, and gets one if there was none", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const inside = "4bf92f3577b34da6a3ce929d0e0e4736"
      for (const trace_id of [inside, `00-${inside}-00f067aa0ba902b7-01`]) {
        const { accepted, frames } = yield* run(peer, "tck-log-emitter", 1, { trace_id })
        assert.deepStrictEqual(new Set([accepted, ...frames].map((frame) => frame.trace_id)), new Set([inside]))
      }
      for (const trace_id of ["none", "0".repeat(32)]) {
        const { accepted, frames } = yield* run(peer, "tck-log-emitter", 1, { trace_id })
        assert.match(accepted.trace_id!, /^(?!0{32})[0-9a-f]{32}$/)
        assert.deepStrictEqual(new Set(frames.map((frame) => frame.trace_id)), new Set([accepted.trace_id]))
      }
    }).pipe(withRuntime())
  )

  it.effect("refuses before anything has started, and nothing comes of it later", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const cases: ReadonlyArray<readonly [code: string, field: string | undefined, payload: object]> = [
        ["AGENT_NOT_AVAILABLE", undefined, { agent: "nobody" }],
        ["INVALID_REQUEST", "payload.input", { agent: "sleeper", input: "long", max_runtime_sec: 5 }],
        ["INVALID_REQUEST", "lease_request.fs.fly", { agent: "sleeper", input: 1, lease_request: { "fs.fly": ["/x"] } }]
      ]
      for (const [code, field, payload] of cases) {
        const sent = yield* peer.send({ type: "job.submit", payload: payload as never })
        const refusal = yield* answer(peer)
        assertRefused(refusal, code, sent)
        if (field !== undefined) assert.containSubset(refusal.payload["details"], { field })
      }
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* answers(peer), [])
    }).pipe(withRuntime())
  )

  it.effect("runs no more jobs of one session at once than it may", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      yield* submit(peer, "sleeper", 1)
      yield* answers(peer)
      const { job_id } = yield* submit(peer, "sleeper", 1)
      yield* answers(peer)
      const third = yield* sendSubmit(peer, "tck-echo", 1)
      const refusal = yield* answer(peer)
      assertRefused(refusal, "INTERNAL_ERROR", third)
      assert.isTrue(refusal.payload["retryable"])
      assert.strictEqual((yield* run(yield* join(), "tck-echo", 1)).terminal.type, "job.result")
      yield* TestClock.adjust("1 second")
      yield* outcome(peer, job_id)
      assert.strictEqual((yield* run(peer, "tck-echo", 1)).terminal.type, "job.result")
    }).pipe(withRuntime({ config: { maxJobsPerSession: 2 } }))
  )
})

describe("Agent reference", () => {
  verifies(["C-067", "C-068"], "a bare name means the default, a version exactly that", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (const [asked, resolved, result] of [
        ["v", "v@2.0.0", "two"],
        ["v@2.0.0", "v@2.0.0", "two"],
        ["v@1.0.0", "v@1.0.0", "one"],
        ["bare", "bare", "bare"]
      ]) {
        const { accepted, terminal } = yield* run(peer, asked!, null)
        assert.strictEqual(accepted.payload["agent"], resolved)
        assert.strictEqual(terminal.payload["result"], result)
      }
    }).pipe(withAgents(versioned))
  )

  verifies(
    ["C-069", "C-070", "C-071"],
    "an unknown version, an unknown agent and what is no reference are three things",
    () =>
      Effect.gen(function* () {
        const peer = yield* join()
        for (const [agent, code] of [
          ["v@9.99.99", "AGENT_VERSION_NOT_AVAILABLE"],
          ["bare@1.0.0", "AGENT_VERSION_NOT_AVAILABLE"],
          ["nobody", "AGENT_NOT_AVAILABLE"],
          ["nobody@1.0.0", "AGENT_NOT_AVAILABLE"],
          ["BAD NAME", "INVALID_REQUEST"],
          ["v@", "INVALID_REQUEST"],
          ["@1.0.0", "INVALID_REQUEST"],
          ["v@1.0.0@2", "INVALID_REQUEST"],
          ["", "INVALID_REQUEST"]
        ]) {
          const sent = yield* sendSubmit(peer, agent!, null)
          const refusal = yield* answer(peer)
          assertRefused(refusal, code!, sent)
          assert.isFalse(refusal.payload["retryable"])
        }
      }).pipe(withAgents(versioned))
  )

  verifies("C-072", "a job keeps its version when another becomes the default", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "sleeper", 1)
      const newer = Agent.make({ name: "sleeper", version: "2.0.0", default: true, ...anyJson })
      yield* Layer.build(newer.toLayer(() => Effect.succeed("newer")))
      assert.strictEqual((yield* run(peer, "sleeper", 1)).terminal.payload["result"], "newer")
      yield* TestClock.adjust("1 second")
      const { terminal } = yield* outcome(peer, job_id)
      assert.strictEqual(terminal.payload["result"], "slept")
    }).pipe(withRuntime())
  )
})

describe("Lifecycle", () => {
  verifies("C-059", "one outcome, the last that a job says, whatever it does", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const jobs = [
        yield* run(peer, "tck-echo", 1),
        yield* run(peer, "streamer", ["a"]),
        yield* run(peer, "kitchen-sink", null),
        yield* run(peer, "unencodable", "cycle"),
        ...(yield* Effect.forEach(["defect", "thrown", "declared", "lease", "budget", "interrupted"], (how) =>
          run(peer, "failing", how)
        ))
      ]
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* answers(peer), [])
      const frames = yield* received(peer)
      for (const { accepted, terminal } of jobs) {
        const its = frames.filter((frame) => frame.job_id === accepted.job_id && frame.type !== "job.accepted")
        assert.deepStrictEqual(
          its.filter((frame) => frame.type !== "job.event"),
          [terminal]
        )
        assert.deepStrictEqual(its.at(-1), terminal)
        const status = terminal.type === "job.result" ? "success" : "error"
        assert.strictEqual(terminal.payload["final_status"], status)
      }
    }).pipe(withRuntime())
  )

  verifies("C-060", "a job that takes longer than it may is timed out", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "sleeper", 3600, { payload: { max_runtime_sec: 60 } })
      yield* peer.expect("job.event")
      yield* TestClock.adjust("59999 millis")
      assert.deepStrictEqual(yield* answers(peer), [])
      yield* TestClock.adjust("1 millis")
      const { frames, terminal } = yield* outcome(peer, job_id)
      assert.deepStrictEqual(bodies(frames, "log"), [{ level: "warn", message: "woken" }])
      assert.deepStrictEqual(terminal.payload, {
        final_status: "timed_out",
        code: "TIMEOUT",
        message: "The job ran longer than 60 s",
        retryable: true,
        details: { max_runtime_sec: 60 },
        completed_at: "1970-01-01T00:01:00.000Z"
      })
    }).pipe(withRuntime())
  )

  it.live("a limit of sixty days is no limit of a few milliseconds", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { terminal } = yield* run(peer, "sleeper", 0.02, { payload: { max_runtime_sec: 60 * 24 * 3600 } })
      assert.strictEqual(terminal.type, "job.result")
    }).pipe(withRuntime())
  )

  it.effect("a result that JSON cannot hold, or that is too long, is an error and not a silence", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (const terminal of [
        (yield* run(peer, "unencodable", "bigint")).terminal,
        (yield* run(peer, "unencodable", "cycle")).terminal,
        (yield* run(peer, "tck-echo", "x".repeat(1000))).terminal
      ]) {
        assert.strictEqual(terminal.type, "job.error")
        assert.containSubset(terminal.payload, { code: "INTERNAL_ERROR", final_status: "error", retryable: true })
      }
      assert.strictEqual((yield* run(peer, "tck-echo", "short")).terminal.type, "job.result")
    }).pipe(withRuntime({ config: { maxPayload: 500 } }))
  )

  it.effect("a defect in a contract's own schema is the submit's failure, not the session's", () => {
    const Trap = Schema.String.check(
      Schema.makeFilter((): boolean => {
        throw new Error("the schema is broken")
      })
    )
    return Effect.gen(function* () {
      const peer = yield* join()
      const sent = yield* sendSubmit(peer, "trap", "x")
      assertRefused(yield* answer(peer), "INTERNAL_ERROR", sent)
      assert.strictEqual((yield* run(peer, "v", null)).terminal.type, "job.result")
    }).pipe(
      withAgents(
        Layer.merge(versioned, Agent.make({ name: "trap", input: Trap, output: Schema.String }).toLayer(Effect.succeed))
      )
    )
  })
})

describe("A job outlives its session", () => {
  const cases: ReadonlyArray<
    readonly [how: string, leave: (peer: Effect.Success<ReturnType<typeof join>>) => Effect.Effect<unknown, unknown>]
  > = [
    ["its line is cut", (peer) => peer.close({ code: 1006, reason: "cut" })],
    ["it is closed", (peer) => Effect.andThen(peer.send({ type: "session.close" }), peer.until("session.closed"))],
    ["its client says bye", (peer) => Effect.andThen(peer.send({ type: "session.bye" }), peer.closed)]
  ]
  for (const [how, leave] of cases) {
    it.effect(`when ${how}: it goes on to speak and ends well`, () =>
      Effect.gen(function* () {
        const first = yield* join()
        const payload = { idempotency_key: "k" }
        const { job_id } = yield* submit(first, "ticker", 5, { payload })
        yield* first.expect("job.event")
        yield* TestClock.adjust("2 seconds")
        yield* first.expect("job.event")
        yield* first.expect("job.event")
        yield* leave(first)
        yield* TestClock.adjust("1 minute")

        const second = yield* join()
        const again = yield* run(second, "ticker", 5, { payload })
        assert.strictEqual(again.accepted.job_id, job_id)
        assert.deepStrictEqual(
          bodies(again.frames, "log"),
          [1, 2, 3, 4, 5].map((tick) => ({ level: "info", message: `tick ${tick}` }))
        )
        assert.deepStrictEqual(again.terminal.payload, {
          final_status: "success",
          result: 5,
          completed_at: "1970-01-01T00:00:05.000Z"
        })
      }).pipe(withAgents(ticker))
    )
  }
})

describe("Idempotency", () => {
  const payload = { idempotency_key: "k", lease_request: { "fs.read": ["/a"], "fs.write": ["/b"] } }

  verifies("C-054", "the same key and parameters give the job of then, however their members are ordered", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const first = yield* run(peer, "tck-echo", { a: 1, b: 2 }, { payload })
      yield* TestClock.adjust("1 minute")
      const reordered = { lease_request: { "fs.write": ["/b"], "fs.read": ["/a"] }, idempotency_key: "k" }
      const other = yield* join()
      const again = yield* submit(other, "tck-echo", { b: 2, a: 1 }, { payload: reordered })
      const { request_id: _1, ...then } = first.accepted.payload
      const { request_id: _2, ...now } = again.payload
      assert.deepStrictEqual(now, then)
    }).pipe(withRuntime())
  )

  verifies("C-055", "the same key for anything else is refused, and the job of the key goes on", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "sleeper", 1, { payload })
      yield* answers(peer)
      for (const [agent, input, more] of [
        ["sleeper", 2, payload],
        ["tck-echo", 1, payload],
        ["sleeper", 1, { idempotency_key: "k" }],
        ["sleeper", 1, { ...payload, max_runtime_sec: 1 }]
      ] as const) {
        const sent = yield* sendSubmit(peer, agent, input, { payload: more })
        const refusal = yield* answer(peer)
        assertRefused(refusal, "DUPLICATE_KEY", sent)
        assert.deepStrictEqual(refusal.payload["details"], { existing_job_id: job_id })
      }
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* outcome(peer, job_id)).terminal.type, "job.result")
    }).pipe(withRuntime())
  )

  verifies("C-056", "keys of two principals are two keys", () =>
    Effect.gen(function* () {
      const one = yield* submit(yield* join(), "tck-echo", 1, { payload })
      const other = yield* submit(yield* join({ token: "other" }), "tck-echo", 2, { payload })
      assert.notStrictEqual(one.job_id, other.job_id)
    }).pipe(withRuntime({ tokens: two }))
  )

  verifies("C-057", "a repetition after the end gives the outcome again, and runs nothing", () =>
    Effect.gen(function* () {
      const first = yield* run(yield* join(), "tck-echo", 1, { payload })
      yield* TestClock.adjust("1 minute")
      const again = yield* run(yield* join(), "tck-echo", 1, { payload })
      assert.strictEqual(again.accepted.job_id, first.accepted.job_id)
      assert.deepStrictEqual(again.terminal.payload, first.terminal.payload)
    }).pipe(withRuntime())
  )

  verifies("C-058", "three sessions that submit one key at the same moment get one job", () => {
    let runs = 0
    const counted = Agent.make({ name: "counted", ...anyJson }).toLayer(() => Effect.sync(() => ++runs))
    // All three are past the look at the key before any is accepted.
    const slow = Leases.layerPolicy(() => Effect.as(Effect.sleep("1 second"), true))
    return Effect.gen(function* () {
      const peers = yield* Effect.all([join(), join(), join()])
      const running = yield* Effect.forkScoped(
        Effect.forEach(peers, (peer) => run(peer, "counted", 1, { payload }), { concurrency: "unbounded" })
      )
      yield* eventually(TestClock.adjust("1 second"), () => running.pollUnsafe() !== undefined)
      const jobs = yield* Fiber.join(running)
      assert.strictEqual(new Set(jobs.map(({ accepted }) => accepted.job_id)).size, 1)
      assert.deepStrictEqual(
        jobs.map(({ terminal }) => terminal.payload["result"]),
        [1, 1, 1]
      )
      assert.strictEqual(runs, 1)
    }).pipe(withAgents(counted, { leases: slow }))
  })

  it.effect("two keys are two jobs, and no key is no promise", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const jobs = yield* Effect.forEach([{ idempotency_key: "a" }, { idempotency_key: "b" }, {}, {}], (payload) =>
        Effect.map(run(peer, "tck-echo", 1, { payload }), ({ accepted }) => accepted.job_id)
      )
      assert.strictEqual(new Set(jobs).size, 4)
    }).pipe(withRuntime())
  )

  it.effect("a refused submit leaves its key free", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const sent = yield* sendSubmit(peer, "sleeper", "long", { payload })
      assertRefused(yield* answer(peer), "INVALID_REQUEST", sent)
      yield* submit(peer, "sleeper", 1, { payload })
    }).pipe(withRuntime())
  )

  it.effect("a key that outlives what is kept of its job does not leave the client waiting", () =>
    Effect.gen(function* () {
      const first = yield* run(yield* join(), "tck-echo", 1, { payload })
      yield* TestClock.adjust("23 hours")
      const peer = yield* join()
      // Another submit is when the runtime looks what it may forget.
      yield* run(peer, "tck-echo", 2)
      yield* sendSubmit(peer, "tck-echo", 1, { payload })
      const frames = yield* peer.until("session.error").pipe(Effect.catch(() => received(peer)))
      const told = frames.some(
        (frame) =>
          frame.type === "session.error" ||
          (["job.result", "job.error"].includes(frame.type) && frame.job_id === first.accepted.job_id)
      )
      assert.isTrue(told, "an answer that ends the wait")
    }).pipe(withRuntime())
  )
})

describe("Agents", () => {
  it.effect("with one reference twice is a mistake in the program", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Layer.build(ArcpTest.layerRuntime({ agents: Layer.merge(TestAgent.layer, Layer.fresh(TestAgent.layer)) }))
      )
      assert.strictEqual(exit._tag, "Failure")
      assert.include(String(exit), "registered twice")
    })
  )
})
