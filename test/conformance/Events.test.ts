import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import * as Json from "../../src/protocol/Json.ts"
import * as JobEvent from "../../src/protocol/JobEvent.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import type * as TestPeer from "../../src/testing/TestPeer.ts"
import { answers, bodies, join, kinds, run, submit, withAgents, withRuntime } from "./Conversation.ts"
import { verifies } from "./verifies.ts"

interface ChunkBody {
  readonly result_id: string
  readonly chunk_seq: number
  readonly data: string
  readonly encoding: "utf8" | "base64"
  readonly more: boolean
}

const chunks = (frames: ReadonlyArray<TestPeer.Frame>) =>
  bodies(frames, "result_chunk") as unknown as ReadonlyArray<ChunkBody>

/** An agent whose handler is this effect. */
const agentOf = (handler: (job: JobContext.JobContext["Service"]) => Effect.Effect<unknown, never>) =>
  Agent.make({ name: "it", input: Json.Json, output: Schema.Unknown }).toLayer(() =>
    Effect.flatMap(JobContext.JobContext, handler)
  )

const chunked = { features: ["result_chunk"] }

describe("Events", () => {
  verifies(["C-084", "C-085"], "every kind that an agent can emit has the names of its table", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { accepted, frames } = yield* run(peer, "kitchen-sink", null)
      const events = frames.filter((frame) => frame.type === "job.event")
      for (const event of events) {
        assert.hasAllKeys(event, [
          "arcp",
          "id",
          "type",
          "session_id",
          "job_id",
          "trace_id",
          "event_seq",
          "job_seq",
          "payload"
        ])
        assert.hasAllKeys(event.payload, ["kind", "ts", "body"])
        assert.strictEqual(event.payload["ts"], "1970-01-01T00:00:00.000Z")
      }
      const result_id = chunks(frames)[0]!.result_id
      assert.match(result_id, /^res_/)
      assert.deepStrictEqual(
        events.map(({ payload }) => [payload["kind"], payload["body"]]),
        [
          ["status", { phase: "running" }],
          ["log", { level: "info", message: "preheating", attributes: { degrees: 180 } }],
          ["thought", { text: "the oven is warm" }],
          ["status", { phase: "baking", message: "in the oven" }],
          [
            "metric",
            {
              name: "oven.temperature",
              value: 180,
              unit: "celsius",
              dimensions: { shelf: "middle" },
              dims: { shelf: "middle" }
            }
          ],
          ["progress", { current: 1, total: 2, units: "trays", message: "first tray" }],
          ["artifact_ref", { uri: "file:///cake.png", content_type: "image/png", byte_size: 3, sha256: "00" }],
          ["tool_call", { tool: "timer", args: { minutes: 30 }, call_id: "call_1" }],
          ["tool_result", { call_id: "call_1", result: "ding" }],
          [
            "tool_result",
            { call_id: "call_2", error: { code: "PERMISSION_DENIED", message: "no second timer", retryable: false } }
          ],
          ["x-vendor.test.crumb", { crumbs: 7 }],
          ["result_chunk", { result_id, chunk_seq: 0, data: "ca", encoding: "utf8", more: true }],
          ["result_chunk", { result_id, chunk_seq: 1, data: "ke", encoding: "utf8", more: false }]
        ]
      )
      // No agent can delegate so far; every other kind was there.
      const emitted = new Set(kinds(frames))
      assert.deepStrictEqual(
        Object.keys(JobEvent.bodies).filter((kind) => !emitted.has(kind)),
        ["delegate"]
      )
      assert.strictEqual(frames[0]!.job_id, accepted.job_id)
    }).pipe(withRuntime())
  )

  verifies("C-089", "the sequence of a session has no hole and no repeat over ten jobs at once", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const jobs = yield* Effect.forEach(Array.from({ length: 10 }), () => submit(peer, "sleeper", 3600))
      const running = yield* answers(peer)
      for (let n = 0; n < 10; n++) {
        yield* peer.send({ type: "job.submit", payload: { agent: "tck-log-emitter", input: 20 } })
      }
      const frames: Array<TestPeer.Frame> = [...running]
      while (frames.filter((frame) => frame.type === "job.result").length < 10) frames.push(yield* peer.receive)
      const events = frames.filter((frame) => frame.event_seq !== undefined)
      const first = events[0]!.event_seq!
      assert.isAtMost(first, jobs.length)
      assert.deepStrictEqual(
        events.map((frame) => frame.event_seq),
        events.map((_, index) => first + index)
      )
      for (const of of Map.groupBy(events, (frame) => frame.job_id).values()) {
        const own = of.map((frame) => frame.job_seq!)
        assert.deepStrictEqual(
          own,
          own.map((_, index) => own[0]! + index)
        )
      }
      assert.strictEqual((yield* run(yield* join(), "tck-echo", 1)).frames[0]!.event_seq, 1)
    }).pipe(withRuntime())
  )

  verifies(
    ["C-087", "C-088"],
    "progress below zero or beyond its total, and other nonsense, is refused where it is said",
    () =>
      Effect.gen(function* () {
        const peer = yield* join()
        const { frames, terminal } = yield* run(peer, "it", null)
        assert.deepStrictEqual(kinds(frames), ["status", "progress"])
        assert.deepStrictEqual(terminal.payload["result"], [
          "progress.current",
          "progress.current",
          "progress.total",
          "metric.value",
          "metric.value",
          "metric.name",
          "status.phase",
          "tool_result",
          "kind",
          "log body"
        ])
      }).pipe(
        withAgents(
          agentOf(
            Effect.fnUntraced(function* (job) {
              const field = (emit: Effect.Effect<void, { readonly details?: Json.JsonObject }>) =>
                Effect.match(emit, { onSuccess: () => "emitted", onFailure: (error) => error.details?.["field"] })
              const refusals = [
                yield* field(job.progress({ current: -1 })),
                yield* field(job.progress({ current: Number.NaN })),
                yield* field(job.progress({ current: 5, total: 3 })),
                yield* field(job.metric("m", Number.POSITIVE_INFINITY)),
                yield* field(job.metric("cost.search", -1)),
                yield* field(job.metric("", 1)),
                yield* field(job.status("")),
                yield* field(job.toolResult({ call_id: "c" })),
                yield* field(job.emit("x-vendor.only" as never, 1)),
                yield* field(job.log("info", "m", { self: 1n } as never))
              ]
              yield* field(job.progress({ current: 3, total: 3 }))
              return refusals
            })
          )
        )
      )
  )
})

describe("Streamed results", () => {
  verifies(
    ["C-091", "C-092"],
    "chunks count from zero under one id, the last says so, and the result only names them",
    () =>
      Effect.gen(function* () {
        const peer = yield* join(chunked)
        for (const parts of [["a"], ["a", "b", "ç", "🍰"], [], [""], ["x".repeat(500_000), "y"]]) {
          const { frames, terminal } = yield* run(peer, "streamer", parts)
          const sent = chunks(frames)
          const { result_id } = sent[0]!
          assert.deepStrictEqual(
            sent.map((chunk) => [chunk.result_id, chunk.chunk_seq, chunk.more]),
            sent.map((_, index) => [result_id, index, index < sent.length - 1])
          )
          assert.strictEqual(sent.map((chunk) => chunk.data).join(""), parts.join(""))
          assert.deepStrictEqual(terminal.payload, {
            final_status: "success",
            result_id,
            result_size: new TextEncoder().encode(parts.join("")).length,
            completed_at: "1970-01-01T00:00:00.000Z"
          })
        }
      }).pipe(withRuntime())
  )

  verifies("C-093", "an agent that streams and then answers, or streams twice, does not mix two results", () =>
    Effect.gen(function* () {
      for (const options of [chunked, { features: [] }]) {
        const peer = yield* join(options)
        const { terminal } = yield* run(peer, "it", null)
        assert.strictEqual(terminal.type, "job.error")
        assert.strictEqual(terminal.payload["code"], "INTERNAL_ERROR")
        assert.notProperty(terminal.payload, "result")
      }
      const peer = yield* join(chunked)
      const { frames } = yield* run(peer, "it", null)
      assert.strictEqual(new Set(chunks(frames).map((chunk) => chunk.result_id)).size, 1)
    }).pipe(
      withAgents(
        agentOf(
          Effect.fnUntraced(function* (job) {
            yield* Effect.orDie(job.streamResult(Stream.make("streamed")))
            yield* Effect.ignore(job.streamResult(Stream.make("again")))
            return "answered"
          })
        )
      )
    )
  )

  it.effect("an agent whose stream broke off may still answer if nothing of it was sent", () =>
    Effect.gen(function* () {
      const peer = yield* join(chunked)
      const { frames, terminal } = yield* run(peer, "it", null)
      assert.deepStrictEqual(chunks(frames), [])
      assert.strictEqual(terminal.payload["result"], "answered")
    }).pipe(withAgents(agentOf((job) => Effect.as(Effect.ignore(job.streamResult(Stream.fail("broken"))), "answered"))))
  )

  verifies("C-095", "a result beyond the cap, answered or collected from a stream, is an internal error", () =>
    Effect.gen(function* () {
      const peer = yield* join({ features: [] })
      for (const [agent, input] of [
        ["tck-echo", "x".repeat(2000)],
        ["streamer", ["x".repeat(600), "x".repeat(600)]]
      ] as const) {
        const { terminal } = yield* run(peer, agent, input)
        assert.containSubset(terminal.payload, { code: "INTERNAL_ERROR", retryable: true, final_status: "error" })
      }
      const within = yield* run(peer, "streamer", ["x".repeat(400), "x".repeat(400)])
      assert.strictEqual(within.terminal.payload["result"], "x".repeat(800))
    }).pipe(withRuntime({ config: { maxPayload: 1000 } }))
  )

  const halves = Agent.make({ name: "halves", input: Json.Json, output: Schema.String }).toLayer(
    Effect.fnUntraced(function* () {
      const job = yield* JobContext.JobContext
      return yield* job.streamResult(Stream.make("a\ud83c", "\udf70", "b\ud83c"))
    })
  )
  const bytes = Agent.make({ name: "bytes", input: Json.Json, output: Schema.String }).toLayer(
    Effect.fnUntraced(function* () {
      const job = yield* JobContext.JobContext
      return yield* job.streamResult(
        Stream.make(Uint8Array.of(1), Uint8Array.of(0, 2, 3, 0).subarray(1, 3), Uint8Array.of(255))
      )
    })
  )

  it.effect("a character that the stream cut in two arrives whole, and the size counts it so", () =>
    Effect.gen(function* () {
      const { frames, terminal } = yield* run(yield* join(chunked), "halves", null)
      assert.deepStrictEqual(
        chunks(frames).map((chunk) => chunk.data),
        ["a", "🍰", "b", "\ud83c"]
      )
      assert.strictEqual(terminal.payload["result_size"], 1 + 4 + 1 + 3)
    }).pipe(withAgents(halves))
  )

  it.effect("bytes travel in base64, chunk by chunk or as one", () =>
    Effect.gen(function* () {
      const { frames, terminal } = yield* run(yield* join(chunked), "bytes", null)
      assert.deepStrictEqual(
        chunks(frames).map((chunk) => [chunk.encoding, chunk.data]),
        [
          ["base64", "AQ=="],
          ["base64", "AgM="],
          ["base64", "/w=="]
        ]
      )
      assert.strictEqual(terminal.payload["result_size"], 4)
      const inline = yield* run(yield* join({ features: [] }), "bytes", null)
      assert.strictEqual(inline.terminal.payload["result"], "AQID/w==")
    }).pipe(withAgents(Layer.merge(halves, bytes)))
  )
})
