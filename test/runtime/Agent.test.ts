import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FileSystem, Layer, Result, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Lease from "../../src/authority/Lease.ts"
import * as Leases from "../../src/authority/Leases.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"

const Say = Agent.make({ name: "say", input: Schema.Json, output: Schema.Json })

const hostFiles = Layer.succeed(
  FileSystem.FileSystem,
  FileSystem.makeNoop({ readFileString: () => Effect.succeed("the host's secret") })
)

describe("Agent", () => {
  it.effect("while its layer is built it sees refusing services, whatever the host has", () => {
    const layer = Layer.unwrap(
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        const read = yield* Effect.exit(files.readFileString("/etc/hostname"))
        return Say.toLayer(() => Effect.succeed(Exit.isSuccess(read) ? read.value : "refused"))
      })
    )
    return Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      yield* peer.send({ type: "job.submit", payload: { agent: "say", input: 1 } })
      const frames = yield* peer.until("job.result")
      assert.strictEqual(frames.at(-1)!.payload["result"], "refused")
    }).pipe(Effect.provide(ArcpTest.layerRuntime({ agents: layer }).pipe(Layer.provide(hostFiles))))
  })

  it.effect("is gone with its layer, and can come again", () =>
    Effect.gen(function* () {
      const registry = yield* AgentRegistry.AgentRegistry
      for (let round = 0; round < 2; round++) {
        const scope = yield* Scope.make()
        yield* Layer.buildWithScope(Layer.fresh(Say.toLayer(Effect.succeed)), scope)
        assert.lengthOf(yield* registry.inventory, 1)
        yield* Scope.close(scope, Exit.void)
        assert.lengthOf(yield* registry.inventory, 0)
        assert.strictEqual((yield* Effect.flip(registry.resolve("say")))._tag, "AgentNotAvailable")
      }
    }).pipe(Effect.provide(AgentRegistry.layer))
  )

  it.effect("registering one reference twice is a mistake in the program", () =>
    Effect.gen(function* () {
      const twice = Layer.mergeAll(
        Say.toLayer(Effect.succeed),
        Say.toLayer(() => Effect.succeed(2))
      )
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(twice)))
      assert.isTrue(Exit.hasDies(exit))
    }).pipe(Effect.provide(AgentRegistry.layer))
  )

  it.effect("an answer of nothing is null", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      yield* peer.send({ type: "job.submit", payload: { agent: "nothing", input: null } })
      assert.isNull((yield* peer.until("job.result")).at(-1)!.payload["result"])
    }).pipe(
      Effect.provide(
        ArcpTest.layerRuntime({
          agents: Agent.make({ name: "nothing", input: Schema.Json, output: Schema.Void }).toLayer(() => Effect.void)
        })
      )
    )
  )

  it.effect("a tool that dies leaves a result all the same, without the defect's words", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      yield* peer.send({
        type: "job.submit",
        payload: { agent: "say", input: null, lease_request: { "tool.call": ["boom"] } }
      })
      const frames = yield* peer.until("job.error")
      const result = frames.find(({ payload }) => payload["kind"] === "tool_result")!
      assert.deepInclude((result.payload["body"] as { error: object }).error, { code: "INTERNAL_ERROR" })
      assert.notInclude(JSON.stringify(frames), "private words")
    }).pipe(
      Effect.provide(
        ArcpTest.layerRuntime({
          agents: Say.toLayer(
            Effect.fnUntraced(function* () {
              const job = yield* JobContext.JobContext
              return yield* job.tool("boom", {}, Effect.die(new Error("private words")))
            })
          )
        })
      )
    )
  )

  it.effect("the acceptance tells the constraints that were granted, not those that were asked for", () => {
    const shortened = Layer.succeed(
      Leases.Leases,
      Leases.Leases.of({
        grant: () =>
          Effect.fromResult(
            Result.mapError(Lease.make({}, { expires_at: "1970-01-01T00:01:00.000Z" }, 0), (error) => error)
          )
      })
    )
    return Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      const lease_constraints = { expires_at: "1970-01-02T00:00:00.000Z" }
      yield* peer.send({ type: "job.submit", payload: { agent: "say", input: 1, lease_constraints } })
      const accepted = yield* peer.expect("job.accepted")
      assert.deepStrictEqual(accepted.payload["lease_constraints"], { expires_at: "1970-01-01T00:01:00.000Z" })
    }).pipe(Effect.provide(ArcpTest.layerRuntime({ agents: Say.toLayer(Effect.succeed), leases: shortened })))
  })

  it.effect("an input that is nested without end is the fault of who sends it, with a key and without", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      const nested = `${"[".repeat(20_000)}${"]".repeat(20_000)}`
      for (const key of ["", `,"idempotency_key":"k"`]) {
        yield* peer.send(
          `{"arcp":"1.1","id":"m${key.length}","type":"job.submit","payload":{"agent":"say","input":${nested}${key}}}`
        )
        assert.strictEqual((yield* peer.expect("session.error")).payload["code"], "INVALID_REQUEST")
      }
      yield* peer.send({ type: "session.ping", payload: { nonce: "n" } })
      yield* peer.expect("session.pong")
    }).pipe(Effect.provide(ArcpTest.layerRuntime({ agents: Say.toLayer(Effect.succeed) })))
  )

  it.effect("a cancellation that was noted reaches the agent, also when the line goes at that moment", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      yield* peer.send({ type: "job.submit", payload: { agent: "waits", input: null } })
      const { job_id } = yield* peer.expect("job.accepted")
      yield* peer.drain
      yield* peer.send({ type: "job.cancel", job_id: job_id!, payload: {} })
      yield* peer.close()
      yield* TestClock.adjust("1 second")
      const other = yield* TestPeer.connect
      yield* other.hello()
      yield* other.send({ type: "job.subscribe", payload: { job_id: job_id!, history: true } })
      assert.strictEqual((yield* other.expect("job.subscribed")).payload["current_status"], "cancelled")
    }).pipe(
      Effect.provide(
        ArcpTest.layerRuntime({
          agents: Agent.make({ name: "waits", input: Schema.Json, output: Schema.Never }).toLayer(() => Effect.never)
        })
      )
    )
  )
})
