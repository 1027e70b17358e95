import { assert, describe, it } from "@effect/vitest"
import { Effect, ExecutionPlan, Exit, Layer, Schema, Stream } from "effect"
import { EmbeddingModel, LanguageModel, Tool, Toolkit } from "effect/ai"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as LeasedEmbeddingModel from "../../src/leased/LeasedEmbeddingModel.ts"
import * as LeasedLanguageModel from "../../src/leased/LeasedLanguageModel.ts"
import * as LeasedServices from "../../src/leased/LeasedServices.ts"
import * as JobEvent from "../../src/protocol/JobEvent.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import type * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as Scripted from "./ScriptedModel.ts"

const Search = Tool.make("search", { parameters: Schema.Struct({ q: Schema.String }), success: Schema.String })
const Tools = Toolkit.make(Search)

/** The tools of a host or of an agent. */
const tools = (ran: Array<string>) =>
  Tools.toLayer({
    search: ({ q }) =>
      Effect.sync(() => {
        ran.push(q)
        return `found ${q}`
      })
  })

const Finder = Agent.make({ name: "finder", input: Schema.String, output: Schema.String })

const search = (toolkit: Toolkit.WithHandler<Toolkit.Tools<typeof Tools>>, q: string) =>
  Effect.flatMap(toolkit.handle("search", { q }), Stream.runCollect).pipe(
    Effect.map((results) => String(results.at(-1)?.encodedResult))
  )

/** Written against the plain toolkit. */
const FinderLive = Finder.toLayer(
  Effect.fnUntraced(function* (q) {
    return yield* search(yield* Tools, q)
  })
)

const lease = { "tool.call": ["search"] }

/** Runs it without a lease, then with one. */
const bothWays = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const denied = yield* client.submit(Finder, "a")
  assert.strictEqual((yield* Effect.flip(denied.result))._tag, "PermissionDenied")
  const allowed = yield* client.submit(Finder, "b", { lease })
  assert.strictEqual(yield* allowed.result, "found b")
  const kinds = yield* Stream.runCollect(allowed.events)
  assert.deepStrictEqual(
    kinds.map(({ kind }) => kind),
    ["status", "tool_call", "tool_result"]
  )
  assert.deepStrictEqual(kinds.filter(JobEvent.is("tool_call"))[0]?.body.args, { q: "b" })
})

describe("the tools around an agent", () => {
  it.effect("are leased where the host provides them", () => {
    const ran: Array<string> = []
    return Effect.gen(function* () {
      yield* bothWays
      assert.deepStrictEqual(ran, ["b"])
    }).pipe(Effect.provide(Layer.provide(ArcpTest.layer({ agents: FinderLive }), tools(ran))))
  })

  it.effect("are leased where they come along with the agent", () => {
    const ran: Array<string> = []
    return Effect.gen(function* () {
      yield* bothWays
      assert.deepStrictEqual(ran, ["b"])
    }).pipe(Effect.provide(ArcpTest.layer({ agents: Layer.provide(FinderLive, tools(ran)) })))
  })

  it.effect("refuse to be kept from when the layer of the agent was built", () => {
    const ran: Array<string> = []
    const keeping = Layer.unwrap(
      Effect.gen(function* () {
        const kept = yield* Tools
        const early = yield* Effect.exit(search(kept, "early"))
        assert.isTrue(Exit.isFailure(early))
        return Finder.toLayer((q) => search(kept, q))
      })
    )
    return Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const error = yield* Effect.flip(client.run(Finder, "late", { lease }))
      assert.strictEqual(error._tag, "PermissionDenied")
      assert.deepStrictEqual(ran, [])
    }).pipe(Effect.provide(Layer.provide(ArcpTest.layer({ agents: keeping }), tools(ran))))
  })
})

describe("the models of a host", () => {
  const Asker = Agent.make({ name: "asker", input: Schema.Array(Schema.String), output: Schema.String })

  const say = (text: string) =>
    Layer.succeed(LanguageModel.LanguageModel, Scripted.language([Scripted.text(text), Scripted.finish(1, 1)]).model)

  const host = LeasedLanguageModel.layerModels({ first: say("1"), second: say("2") }, { prices: [Scripted.dollar] })

  const write = Effect.map(LanguageModel.generateText({ prompt: "hi" }), ({ text }) => text)

  const second = LeasedLanguageModel.model("second")

  const run = (
    agents: Layer.Layer<never, never, AgentRegistry.AgentRegistry>,
    models: ReadonlyArray<string>,
    input: ReadonlyArray<string> = []
  ) =>
    Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      return yield* client.run(Asker, input, { lease: { "model.use": models } })
    }).pipe(Effect.provide(Layer.provide(ArcpTest.layer({ agents }), host)))

  it.effect("are picked by their ids, within the lease of whoever picks", () => {
    const agents = Asker.toLayer((ids) =>
      Effect.map(
        Effect.forEach(ids, (id) => Effect.provide(write, LeasedLanguageModel.model(id))),
        (texts) => texts.join()
      )
    )
    return Effect.gen(function* () {
      assert.strictEqual(yield* run(agents, ["*"], ["first", "second", "first"]), "1,2,1")
      assert.strictEqual((yield* Effect.flip(run(agents, ["first"], ["first", "second"])))._tag, "PermissionDenied")
      const error = yield* Effect.flip(run(agents, ["*"], ["third"]))
      assert.include(error.message, "the host offers no such model")
    })
  })

  it.effect("are each job's own, also where one layer picks for all of them", () => {
    const agents = Asker.toLayer(() => Effect.provide(write, second))
    return Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const ask = (models: ReadonlyArray<string>) => client.run(Asker, [], { lease: { "model.use": models } })
      assert.strictEqual(yield* ask(["second"]), "2")
      assert.strictEqual((yield* Effect.flip(ask(["first"])))._tag, "PermissionDenied")
      assert.strictEqual(yield* ask(["**"]), "2")
    }).pipe(Effect.provide(Layer.provide(ArcpTest.layer({ agents }), host)))
  })

  it.effect("take turns in a plan when the lease covers only the other", () => {
    const plan = ExecutionPlan.make({ provide: second }, { provide: LeasedLanguageModel.model("first") })
    const agents = Asker.toLayer(() => Effect.withExecutionPlan(write, plan))
    return Effect.gen(function* () {
      assert.strictEqual(yield* run(agents, ["first"]), "1")
      assert.strictEqual(yield* run(agents, ["*"]), "2")
    })
  })

  it.effect("refuse where there is no job that picks them", () =>
    Effect.gen(function* () {
      const { cause } = yield* Scripted.denial(Effect.provide(write, second).pipe(Effect.provide(say("raw"))))
      assert.include(cause.message, "there is no job here")
      const embed = Effect.flatMap(EmbeddingModel.EmbeddingModel, ({ embed }) => embed("a"))
      const raw = Layer.succeed(EmbeddingModel.EmbeddingModel, Scripted.embedding().model)
      const picked = embed.pipe(Effect.provide(LeasedEmbeddingModel.model("x")), Effect.provide(raw))
      assert.include((yield* Scripted.denial(picked)).cause.message, "there is no job here")
    })
  )

  it.effect("are not offered at a price that is none", () =>
    Effect.gen(function* () {
      const prices = [{ model: "first", currency: "USD", output: "1,50" }]
      const raw = [say("1"), Layer.succeed(EmbeddingModel.EmbeddingModel, Scripted.embedding().model)] as const
      for (const layer of [
        LeasedLanguageModel.layer("first", { prices }).pipe(Layer.provide(raw[0])),
        LeasedLanguageModel.layerModels({ first: raw[0] }, { prices }),
        LeasedEmbeddingModel.layer("first", { prices }).pipe(Layer.provide(raw[1])),
        LeasedEmbeddingModel.layerModels({ first: raw[1] }, { prices })
      ]) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        assert.strictEqual(error._tag, "InvalidPrice")
        assert.match(error.message, /^prices\[0\]\.output \("first"\)/)
      }
    })
  )

  it.effect("that fail to be built, or need something, say so in the type of the layer", () =>
    Effect.gen(function* () {
      class Key extends Schema.TaggedError<Key>("test/Key")("Key", {}) {}
      const broken: Layer.Layer<LanguageModel.LanguageModel, Key> = Layer.effect(
        LanguageModel.LanguageModel,
        Effect.fail(new Key())
      )
      const layer: Layer.Layer<never, Key | { readonly _tag: "InvalidPrice" }> = LeasedLanguageModel.layerModels({
        good: say("1"),
        broken
      })
      assert.strictEqual((yield* Effect.flip(Effect.scoped(Layer.build(layer))))._tag, "Key")
    })
  )
})

it("the services of a job and those where there is none are the same", () => {
  const keys = LeasedServices.keys.map(({ key }) => key)
  assert.sameMembers([...LeasedServices.refusing.mapUnsafe.keys()], keys)
  const services = Effect.runSync(LeasedServices.forJob)(Effect.runSync(Scripted.job({})))
  assert.sameMembers([...services.mapUnsafe.keys()], keys)
})
