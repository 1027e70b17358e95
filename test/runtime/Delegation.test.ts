import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as AgentContract from "../../src/protocol/AgentContract.ts"
import * as JobEvent from "../../src/protocol/JobEvent.ts"
import * as Json from "../../src/protocol/Json.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import type * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import type * as Delegation from "../../src/runtime/Delegation.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as Script from "../conformance/Script.ts"
import { run, statuses, stored, submit, withAgents, withScripts } from "./Families.ts"

describe("Delegation by contract", () => {
  class Spoilt extends Schema.TaggedError<Spoilt>("test/Spoilt")("Spoilt", { days: Schema.Int }) {}

  const Cook = Agent.make({
    name: "cook",
    version: "1.0.0",
    input: Schema.Struct({ dish: Schema.String, at: Schema.DateFromString }),
    output: Schema.Struct({ dish: Schema.String, ready: Schema.DateFromString }),
    error: Spoilt,
    errorCode: "PERMISSION_DENIED"
  })

  const cook = Cook.toLayer(
    Effect.fnUntraced(function* ({ at, dish }) {
      const job = yield* JobContext.JobContext
      if (dish === "fish") return yield* new Spoilt({ days: 3 })
      yield* job.log("info", `cooking ${dish}`)
      yield* job.progress({ current: 1, total: 1 })
      return { dish, ready: new Date(at.getTime() + 1000) }
    })
  )

  /** Hands on to the cook; each way of doing it is one answer. */
  const host = (
    handOn: (job: Script.Job) => Effect.Effect<Json.Json, Agent.HostError, Agent.Services>
  ): Layer.Layer<never, never, AgentRegistry.AgentRegistry> =>
    Layer.merge(cook, Script.layer({ host: (job) => handOn(job) }))

  it.effect("speaks the types of the contract, both ways, and hears what the child says", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* run("host"), ["cook@1.0.0", 2000, ["status", "log", "progress"], "soup"])
    }).pipe(
      withAgents(
        host(
          Effect.fnUntraced(function* (job) {
            const child = yield* job.delegate(Cook, { dish: "soup", at: new Date(1000) })
            const { dish, ready } = yield* Effect.catchTag(child.result, "Spoilt", Effect.die)
            const events = yield* Stream.runCollect(child.events)
            // Again, and by another reader: the same.
            assert.deepStrictEqual(yield* Stream.runCollect(child.events), events)
            assert.strictEqual((yield* Effect.catchTag(child.result, "Spoilt", Effect.die)).dish, dish)
            return [child.agent, ready.getTime(), events.map(({ kind }) => kind), dish]
          })
        )
      )
    )
  )

  it.effect("fails with the error that the contract declares, caught by its tag", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* run("host"), 3)
      const jobs = yield* stored
      assert.deepStrictEqual(
        jobs.map(({ status }) => status),
        ["success", "error"]
      )
    }).pipe(
      withAgents(
        host(
          Effect.fnUntraced(function* (job) {
            const child = yield* job.delegate(Cook, { dish: "fish", at: new Date(0) })
            return yield* child.result.pipe(
              Effect.as(-1),
              Effect.catchTag("Spoilt", ({ days }) => Effect.succeed(days))
            )
          })
        )
      )
    )
  )

  it.effect("refuses an input that does not fit, and a result that does not", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* run("host"), [
        ["InvalidRequest", "input.at"],
        ["InternalError", "result.dish"]
      ])
    }).pipe(
      withAgents(
        host(
          Effect.fnUntraced(function* (job) {
            const Other = AgentContract.make({
              name: "cook",
              input: Schema.Struct({ dish: Schema.String, at: Schema.DateFromString }),
              output: Schema.Struct({ dish: Schema.Int })
            })
            const never = new Date(Number.NaN)
            const given = yield* Script.refused(Effect.asVoid(job.delegate(Cook, { dish: "soup", at: never })))
            const child = yield* job.delegate(Other, { dish: "soup", at: new Date(0) })
            const got = yield* Script.refused(child.result)
            return [
              [given[0], given[1]["field"]!],
              [got[0], got[1]["field"]!]
            ]
          })
        )
      )
    )
  )

  it.effect("puts together a result that the child streams, text or bytes, in one piece or in chunks", () =>
    Effect.gen(function* () {
      const expected = ["grüße, 世界", "AQIDBA=="]
      assert.deepStrictEqual(yield* run("host"), expected)
    }).pipe(
      withAgents(
        Script.layer({
          text: (job) => streamed(job, Stream.make("grü", "ße, ", "世界")),
          bytes: (job) => streamed(job, Stream.make(Uint8Array.of(1, 2, 3), Uint8Array.of(4))),
          host: (job) =>
            Effect.forEach(["text", "bytes"], (agent) =>
              Effect.flatMap(job.delegate(agent, null), (child) => child.result)
            )
        })
      )
    )
  )

  it.effect("the same for a session without chunks", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* run("host"), "whole")
    }).pipe(
      withAgents(
        Script.layer({
          text: (job) => streamed(job, Stream.make("who", "le")),
          host: (job) => Effect.flatMap(job.delegate("text", null), (child) => child.result)
        }),
        { client: { features: ArcpClient.features.filter((feature) => feature !== "result_chunk") } }
      )
    )
  )

  /** What a script streams is its result, though its type says JSON. */
  const streamed = (job: Script.Job, content: Stream.Stream<string> | Stream.Stream<Uint8Array>) =>
    job.streamResult(content) as Effect.Effect<never, Agent.HostError>

  it.effect("may be cancelled by the parent, who then hears that it was", () =>
    Effect.gen(function* () {
      const job = yield* submit("host")
      assert.deepStrictEqual(yield* job.result, ["Cancelled", { reason: "enough" }])
      assert.deepStrictEqual(yield* statuses, ["success", "cancelled"])
    }).pipe(
      withScripts({
        child: () => Effect.never,
        host: Effect.fnUntraced(function* (job) {
          const child = yield* job.delegate("child", null)
          yield* child.cancel("enough")
          const answer = yield* Script.refused(child.result)
          // Once more it changes nothing.
          yield* child.cancel("late")
          return [...answer]
        })
      })
    )
  )

  it.effect("a time-out or a cancellation of a child is a failure of its parent, and not the same of the parent", () =>
    Effect.gen(function* () {
      const job = yield* submit("host")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Effect.flip(job.result))._tag, "Timeout")
      assert.deepStrictEqual(yield* statuses, ["error", "timed_out"])
    }).pipe(
      withScripts({
        child: () => Effect.never,
        host: (job) =>
          Effect.flatMap(job.delegate("child", null, { maxRuntime: "1500 millis" }), (child) => child.result)
      })
    )
  )

  it.effect("what is refused is a failure of its own type, and among the events, and nothing has begun", () =>
    Effect.gen(function* () {
      const job = yield* submit("host", null, { lease: { "agent.delegate": ["child", "ghost"] } })
      assert.deepStrictEqual(yield* job.result, ["LeaseSubsetViolation", "AgentNotAvailable", "PermissionDenied"])
      const refusals = (yield* Stream.runCollect(job.events)).filter(JobEvent.is("tool_result"))
      assert.deepStrictEqual(
        refusals.map(({ body }) => body.error!.code),
        ["LEASE_SUBSET_VIOLATION", "AGENT_NOT_AVAILABLE", "PERMISSION_DENIED"]
      )
      assert.strictEqual(new Set(refusals.map(({ body }) => body.call_id)).size, 3)
      assert.lengthOf(yield* stored, 1)
    }).pipe(
      withScripts({
        child: () => Effect.die("it ran"),
        other: () => Effect.die("it ran"),
        host: Effect.fnUntraced(function* (job) {
          const ask = (agent: string, options?: Delegation.Options) =>
            Effect.map(Script.refused(Effect.asVoid(job.delegate(agent, null, options))), ([tag]) => tag)
          return [yield* ask("child", { lease: { "fs.read": ["/**"] } }), yield* ask("ghost"), yield* ask("other")]
        })
      })
    )
  )

  it.effect("events that are no longer kept are missed with a word, and so is a result that was streamed in them", () =>
    Effect.gen(function* () {
      const job = yield* submit("host")
      const [events, result, text] = (yield* job.result) as ReadonlyArray<Json.Json>
      assert.deepStrictEqual([events, result], ["ResumeWindowExpired", "short"])
      assert.match(text as string, /no longer kept/)
    }).pipe(
      withScripts(
        {
          talker: (job) =>
            Effect.as(
              Effect.forEach(Array.from({ length: 200 }), () => job.log("info", "x".repeat(100))),
              "short"
            ),
          streamer: (job) => streamed(job, Stream.fromIterable(Array.from({ length: 200 }, () => "x".repeat(100)))),
          host: Effect.fnUntraced(function* (job) {
            const talker = yield* job.delegate("talker", null)
            const result = yield* talker.result
            const [missed] = yield* Script.refused(Stream.runCollect(talker.events))
            const streamer = yield* job.delegate("streamer", null)
            const lost = yield* Effect.match(streamer.result, {
              onFailure: ({ message }) => message,
              onSuccess: () => ""
            })
            return [missed, result, lost]
          })
        },
        { config: { maxJournalPerJob: 4000 } }
      )
    )
  )

  it.effect("an input that is too long for an event is left out of it, and handed on all the same", () =>
    Effect.gen(function* () {
      const job = yield* submit("host")
      assert.strictEqual(yield* job.result, 5000)
      const [told] = (yield* Stream.runCollect(job.events)).filter(JobEvent.is("delegate"))
      assert.notProperty(told!.body, "input")
      assert.strictEqual(told!.body.agent, "child@1.0.0")
    }).pipe(
      withScripts(
        {
          child: (_, input) => Effect.succeed((input as string).length),
          host: (job) => Effect.flatMap(job.delegate("child", "x".repeat(5000)), (child) => child.result)
        },
        { config: { maxPayload: 4000 } }
      )
    )
  )
})
