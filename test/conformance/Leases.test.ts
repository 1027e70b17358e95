import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as LeasePolicy from "../../src/authority/LeasePolicy.ts"
import * as Leases from "../../src/authority/Leases.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import {
  answer,
  assertRefused,
  bodies,
  join,
  kinds,
  outcome,
  run,
  sendSubmit,
  submit,
  withAgents,
  withRuntime
} from "./Conversation.ts"
import { rejoin, ticketOf } from "./Stage.ts"
import { verifies } from "./verifies.ts"

/** Calls a tool by the name in its input; counts in `calls` how often one really ran. */
const toolCaller = (calls: Array<string>) =>
  Agent.make({ name: "caller", input: Schema.String, output: Schema.String }).toLayer(
    Effect.fnUntraced(function* (tool) {
      const job = yield* JobContext.JobContext
      return yield* job.tool(
        tool,
        { q: 1 },
        Effect.sync(() => {
          calls.push(tool)
          return "found"
        })
      )
    })
  )

describe("Leases", () => {
  verifies("C-096", "a tool that the lease does not cover never runs, and the denial shows in the stream", () => {
    const calls: Array<string> = []
    return Effect.gen(function* () {
      const peer = yield* join()
      const payload = { lease_request: { "tool.call": ["search.*"] } }
      const denied = yield* run(peer, "caller", "delete.all", { payload })
      assert.deepStrictEqual(kinds(denied.frames), ["status", "tool_call", "tool_result"])
      const [call] = bodies(denied.frames, "tool_call")
      const [result] = bodies(denied.frames, "tool_result")
      assert.containSubset(result, {
        call_id: (call as { readonly call_id: string }).call_id,
        error: { code: "PERMISSION_DENIED", retryable: false }
      })
      assert.containSubset(denied.terminal.payload, { code: "PERMISSION_DENIED", final_status: "error" })
      const none = yield* run(peer, "caller", "search.web")
      assert.strictEqual(none.terminal.payload["code"], "PERMISSION_DENIED")
      assert.deepStrictEqual(calls, [])

      const allowed = yield* run(peer, "caller", "search.web", { payload })
      assert.strictEqual(allowed.terminal.payload["result"], "found")
      assert.deepStrictEqual(calls, ["search.web"])
    }).pipe(withAgents(toolCaller(calls)))
  })

  verifies("C-052", "a policy takes away from what was asked for, and the acceptance says what is left", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const payload = { lease_request: { "tool.call": ["search.*", "delete.*"], "fs.write": ["/**"] } }
      const { accepted, terminal } = yield* run(peer, "caller", "delete.all", { payload })
      assert.deepStrictEqual(accepted.payload["lease"], { "tool.call": ["search.*"] })
      assert.strictEqual(terminal.payload["code"], "PERMISSION_DENIED")
    }).pipe(
      withAgents(toolCaller([]), {
        leases: Leases.layerPolicy(({ pattern }) => Effect.succeed(pattern.startsWith("search.")))
      })
    )
  )

  verifies("C-099", "a malformed lease is refused, with the place where it is wrong", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const cases: ReadonlyArray<readonly [field: string, lease: unknown]> = [
        ["payload.lease_request", []],
        ["payload.lease_request", "fs.read"],
        ["payload.lease_request.fs.read", "/a"],
        ["payload.lease_request.fs.read[0]", [""]],
        ["payload.lease_request.fs.read[1]", ["/a", 7]],
        ["lease_request.fs.fly", ["/a"]],
        ["lease_request.x-vendor.acme", ["a"]],
        ["lease_request.fs.read[0]", ["/a/../../b"]],
        ["lease_request.net.fetch[0]", ["no url"]],
        ["lease_request.__proto__", ["/a"]]
      ]
      for (const [field, lease] of cases) {
        const capability = /lease_request\.(.+?)(?:\[\d\])?$/.exec(field)?.[1]
        const text =
          capability === undefined ? JSON.stringify(lease) : `{${JSON.stringify(capability)}:${JSON.stringify(lease)}}`
        const frame = `"payload":{"agent":"tck-echo","input":1,"lease_request":${text}}`
        yield* peer.send(`{"arcp":"1.1","id":${JSON.stringify(field)},"type":"job.submit",${frame}}`)
        const refusal = yield* answer(peer)
        assertRefused(refusal, "INVALID_REQUEST", { id: field })
        assert.containSubset(refusal.payload["details"], { field }, JSON.stringify(refusal.payload))
      }
    }).pipe(withRuntime())
  )

  verifies("C-104", "an expiry that is past, malformed, or not in UTC, is refused", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.parse("2026-01-01T00:00:00Z"))
      const peer = yield* join()
      for (const expires_at of [
        "2025-12-31T23:59:59Z",
        "2026-01-01T00:00:00.000Z",
        "tomorrow",
        "2026-01-02T00:00:00",
        "2026-01-02T00:00:00+02:00",
        1_800_000_000
      ]) {
        const sent = yield* sendSubmit(peer, "tck-echo", 1, { payload: { lease_constraints: { expires_at } } })
        const refusal = yield* answer(peer)
        assertRefused(refusal, "INVALID_REQUEST", sent)
        assert.match((refusal.payload["details"] as { field: string }).field, /lease_constraints\.expires_at$/)
      }
      for (const expires_at of ["2026-01-01T00:00:00.001Z", "2026-01-01T00:00:01+00:00"]) {
        const { accepted } = yield* run(peer, "tck-echo", 1, { payload: { lease_constraints: { expires_at } } })
        assert.deepStrictEqual(accepted.payload["lease_constraints"], { expires_at })
      }
    }).pipe(withRuntime())
  )

  verifies("C-104b", "an expiry sixty days ahead ends nothing before", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const lease_constraints = { expires_at: "1970-03-02T00:00:00Z" }
      const { job_id } = yield* submit(peer, "sleeper", 59 * 24 * 3600, { payload: { lease_constraints } })
      yield* TestClock.adjust("59 days")
      assert.strictEqual((yield* outcome(peer, job_id)).terminal.payload["result"], "slept")
    }).pipe(withRuntime())
  )

  it.effect("an expiry on a day that does not exist is refused", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const lease_constraints = { expires_at: "2026-02-30T00:00:00Z" }
      yield* sendSubmit(peer, "tck-echo", 1, { payload: { lease_constraints } })
      assertRefused(yield* answer(peer), "INVALID_REQUEST")
    }).pipe(withRuntime())
  )

  const asking = (...tools: ReadonlyArray<string>) => ({ payload: { lease_request: { "tool.call": tools } } })

  it.effect("no principal gets more than its credentials say, and those that it came back with count", () => {
    const holder = (...tools: ReadonlyArray<string>) => ({
      principal: "tester",
      largestLease: { grants: { "tool.call": tools } }
    })
    return Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      const ticket = ticketOf(yield* peer.hello({ token: "wide" }))
      yield* run(peer, "caller", "search.web", asking("search.*", "calc"))
      yield* sendSubmit(peer, "caller", "x", asking("search.*", "*"))
      assert.containSubset((yield* answer(peer)).payload, {
        code: "PERMISSION_DENIED",
        details: { field: "lease_request.tool.call[1]", pattern: "*" }
      })
      yield* peer.close()

      const back = yield* rejoin(ticket, { last: 4, hello: { token: "narrow" } })
      yield* sendSubmit(back.peer, "caller", "search.web", asking("search.*"))
      assert.containSubset((yield* answer(back.peer)).payload, {
        code: "PERMISSION_DENIED",
        details: { field: "lease_request.tool.call[0]", pattern: "search.*" }
      })
      const allowed = yield* submit(back.peer, "caller", "calc", asking("calc"))
      assert.deepStrictEqual(allowed.payload["lease"], { "tool.call": ["calc"] })
    }).pipe(
      withAgents(toolCaller([]), {
        tokens: { wide: holder("search.*", "calc"), narrow: holder("calc") },
        leases: Leases.layerWithin().pipe(Layer.provide(LeasePolicy.layerPrincipal))
      })
    )
  })
})
