import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Tracer } from "effect"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import type * as Json from "../../src/protocol/Json.ts"
import * as TraceContext from "../../src/protocol/TraceContext.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import type * as TestPeer from "../../src/testing/TestPeer.ts"
import { join, outcome, received, withAgents } from "./Conversation.ts"
import * as Script from "./Script.ts"
import { verifies } from "./verifies.ts"

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
const otherTrace = "0af7651916cd43dd8448eb211c80319c"
const spanId = "00f067aa0ba902b7"
const traceparent = `00-${traceId}-${spanId}-01`

const tracecontext = (traceparent: string) => ({ [TraceContext.extension]: { traceparent } })

/** Runs a test with a tracer that keeps all spans, for the runtime as well if that is provided within. */
const traced = <A, E, R>(test: (spans: ReadonlyArray<Tracer.Span>) => Effect.Effect<A, E, R>) => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return Effect.provideService(test(spans), Tracer.Tracer, tracer)
}

const named = (spans: ReadonlyArray<Tracer.Span>, name: string) => spans.filter((span) => span.name === name)

const parentOf = (span: Tracer.Span | undefined) => Option.getOrThrow(span!.parent)

/** Notes the span in which each tool is run, and by whom. */
const family = () => {
  const tools: Array<Tracer.Span> = []
  const tool = (job: Script.Job) =>
    job.tool(
      "work",
      {},
      Effect.map(Effect.currentSpan, (span) => void tools.push(span))
    )
  const scripts: Readonly<Record<string, Script.Script>> = {
    parent: Effect.fnUntraced(function* (job) {
      yield* Effect.orDie(tool(job))
      const child = yield* Effect.withSpan(job.delegate("child", null, { lease: { "tool.call": ["*"] } }), "step")
      return yield* child.result
    }),
    child: (job) => Effect.as(Effect.orDie(Effect.withSpan(tool(job), "inner")), job.traceId)
  }
  return { tools, scripts }
}

const submit = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, more: { readonly [member: string]: Json.Json }) {
  const lease_request = { "tool.call": ["*"], "agent.delegate": ["*"] }
  yield* peer.send({ type: "job.submit", payload: { agent: "parent", input: null, lease_request }, ...more })
  const accepted = yield* peer.expect("job.accepted")
  return { accepted, ...(yield* outcome(peer, accepted.job_id!)) }
})

describe("Tracing", () => {
  verifies(
    "C-125",
    "a job goes on with the trace of its submit, below the span that it names; so do tools and children",
    () => {
      const { scripts, tools } = family()
      return traced((spans) =>
        Effect.gen(function* () {
          const peer = yield* join()
          const { terminal } = yield* submit(peer, { trace_id: traceId, extensions: tracecontext(traceparent) })
          assert.strictEqual(terminal.payload["result"], traceId)
          const [parent, child, ...more] = named(spans, "arcp.job")
          assert.deepStrictEqual(more, [])
          assert.deepInclude(parentOf(parent), { traceId, spanId })
          assert.notProperty(Object.fromEntries(parent!.attributes), "arcp.parent_span")
          const [step] = named(spans, "step")
          assert.strictEqual(parentOf(step), parent)
          assert.strictEqual(parentOf(child), step)
          const [inner] = named(spans, "inner")
          assert.strictEqual(parentOf(inner), child)
          // What a tool sends on it takes from here.
          assert.deepStrictEqual(tools, [parent!, inner!])
          for (const span of [parent!, step!, child!, inner!]) assert.strictEqual(span.traceId, traceId)
          for (const frame of yield* received(peer)) {
            if (frame.type !== "session.welcome") assert.strictEqual(frame.trace_id, traceId)
          }
          assert.deepInclude(Object.fromEntries(child!.attributes), {
            "arcp.agent": "child@1.0.0",
            "arcp.trace_id": traceId
          })
          assert.strictEqual(parent!.status._tag, "Ended")
        }).pipe(withAgents(Script.layer(scripts)))
      )
    }
  )

  verifies(
    "C-125",
    "a trace without a span is gone on with, too, and it is said that nobody knows what was above",
    () => {
      const { scripts } = family()
      return traced((spans) =>
        Effect.gen(function* () {
          const peer = yield* join()
          yield* submit(peer, { trace_id: traceId })
          const none = yield* submit(peer, {})
          const jobs = named(spans, "arcp.job").filter((span) => span.attributes.get("arcp.agent") === "parent@1.0.0")
          assert.deepStrictEqual(
            jobs.map((span) => span.traceId),
            [traceId, none.accepted.trace_id!]
          )
          for (const job of jobs) {
            assert.strictEqual(job.attributes.get("arcp.parent_span"), "unknown")
            assert.match(parentOf(job).spanId, /^(?!0{16})[0-9a-f]{16}$/)
          }
          // Of the children it is known.
          const children = named(spans, "arcp.job").filter((span) => !jobs.includes(span))
          assert.deepStrictEqual(
            children.map((span) => span.attributes.has("arcp.parent_span")),
            [false, false]
          )
        }).pipe(withAgents(Script.layer(scripts)))
      )
    }
  )

  it.effect("the trace is found where peers put it; a span of another trace is a link", () => {
    const { scripts } = family()
    return traced((spans) =>
      Effect.gen(function* () {
        const peer = yield* join()
        const top = Effect.fnUntraced(function* (more: { readonly [member: string]: Json.Json }) {
          const before = named(spans, "arcp.job").length
          const { accepted } = yield* submit(peer, more)
          const job = named(spans, "arcp.job")[before]!
          assert.strictEqual(job.traceId, accepted.trace_id)
          return job
        })
        for (const more of [{ trace_id: traceparent }, { extensions: tracecontext(traceparent) }]) {
          const job = yield* top(more)
          assert.deepInclude(parentOf(job), { traceId, spanId })
          assert.deepStrictEqual(job.links, [])
        }
        const linked = yield* top({ trace_id: otherTrace, extensions: tracecontext(traceparent) })
        assert.strictEqual(linked.traceId, otherTrace)
        assert.notStrictEqual(parentOf(linked).spanId, spanId)
        assert.deepStrictEqual(
          linked.links.map(({ span }) => [span.traceId, span.spanId]),
          [[traceId, spanId]]
        )
        const broken = yield* top({ trace_id: otherTrace, extensions: tracecontext("00-xyz") })
        assert.deepStrictEqual(broken.links, [])
      }).pipe(withAgents(Script.layer(scripts)))
    )
  })

  verifies("C-125", "a client's span is the one above the job that it submits, and above both of two at once", () => {
    const { scripts } = family()
    return traced((spans) =>
      Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const lease = { "tool.call": ["*"], "agent.delegate": ["*"] }
        const run = client.run("parent", null, { lease })
        const results = yield* Effect.withSpan(Effect.all([run, run], { concurrency: 2 }), "mine")
        const [mine] = named(spans, "mine")
        assert.deepStrictEqual(results, [mine!.traceId, mine!.traceId])
        const jobs = named(spans, "arcp.job").filter((span) => span.attributes.get("arcp.agent") === "parent@1.0.0")
        assert.lengthOf(jobs, 2)
        for (const job of jobs) assert.deepInclude(parentOf(job), { traceId: mine!.traceId, spanId: mine!.spanId })
      }).pipe(Effect.provide(ArcpTest.layer({ agents: Script.layer(scripts) })))
    )
  })
})
