import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { EmbeddingModel, LanguageModel } from "effect/ai"
import * as LeasedEmbeddingModel from "../../src/leased/LeasedEmbeddingModel.ts"
import * as LeasedLanguageModel from "../../src/leased/LeasedLanguageModel.ts"
import * as Feature from "../../src/protocol/Feature.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as Scripted from "../leased/ScriptedModel.ts"
import { assertRefused, answer, bodies, join, kinds, outcome, run, sendSubmit, submit } from "./Conversation.ts"
import { verifies } from "./verifies.ts"

const Writer = Agent.make({
  name: "writer",
  input: Schema.Literals(["small", "large", "embed"]),
  output: Schema.String
})

/** Written against the plain services: it does not know that there are leases. */
const WriterLive = Writer.toLayer(
  Effect.fnUntraced(function* (what) {
    if (what === "embed") {
      const { embed } = yield* EmbeddingModel.EmbeddingModel
      return `${(yield* embed("four")).vector[0]}`
    }
    const write = LanguageModel.generateText({ prompt: "write" })
    const { text } = yield* what === "small" ? write : Effect.provide(write, LeasedLanguageModel.model("acme/large"))
    return text
  })
)

const answering = (text: string) =>
  Layer.succeed(LanguageModel.LanguageModel, Scripted.language([Scripted.text(text), Scripted.finish(100, 20)]).model)

/** A host with two language models, of which the small one is the usual, and one for embeddings. */
const withModels = (whenUngranted?: "deny" | "allow") => {
  const options = { prices: [Scripted.dollar], whenUngranted }
  const language = LeasedLanguageModel.layerModels(
    { "acme/small": answering("briefly"), "acme/large": answering("at length") },
    options
  )
  const embedding = LeasedEmbeddingModel.layer("acme/embed", options).pipe(
    Layer.provide(Layer.succeed(EmbeddingModel.EmbeddingModel, Scripted.embedding().model))
  )
  return Effect.provide(
    ArcpTest.layerRuntime({ agents: WriterLive }).pipe(Layer.provide([language, embedding]), Layer.orDie)
  )
}

const using = (...models: ReadonlyArray<string>) => ({ payload: { lease_request: { "model.use": models } } })

describe("Models", () => {
  verifies("C-114", "a model that the lease covers answers, any other is denied", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const small = yield* run(peer, "writer", "small", using("acme/small"))
      assert.strictEqual(small.terminal.payload["result"], "briefly")
      assert.deepStrictEqual(bodies(small.frames, "metric"), [
        {
          name: "cost.model",
          value: 0.00012,
          unit: "USD",
          dimensions: { model: "acme/small" },
          dims: { model: "acme/small" }
        }
      ])
      const large = yield* run(peer, "writer", "large", using("acme/*"))
      assert.strictEqual(large.terminal.payload["result"], "at length")
      assert.strictEqual((yield* run(peer, "writer", "embed", using("**"))).terminal.payload["result"], "4")

      for (const [what, target, ...models] of [
        ["large", "acme/large", "acme/small"],
        ["small", "acme/small", "acme/large", "acme/embed", "small", "acme/small/x"],
        ["embed", "acme/embed", "acme/emb", "acme/embed-*"]
      ] as const) {
        const { frames, terminal } = yield* run(peer, "writer", what, using(...models))
        assert.deepStrictEqual(kinds(frames), ["status"])
        assert.containSubset(terminal.payload, {
          code: "PERMISSION_DENIED",
          final_status: "error",
          details: { capability: "model.use", target }
        })
      }
    }).pipe(withModels())
  )

  verifies("C-115", "a lease that names no models has none, unless the host's policy is another", () => {
    const codes = Effect.gen(function* () {
      const peer = yield* join()
      const none = yield* run(peer, "writer", "small")
      const others = yield* run(peer, "writer", "embed", { payload: { lease_request: { "tool.call": ["**"] } } })
      const named = yield* run(peer, "writer", "small", using("acme/large"))
      return [none, others, named].map(({ terminal }) => terminal.payload["code"] ?? terminal.payload["result"])
    })
    return Effect.gen(function* () {
      const denied = ["PERMISSION_DENIED", "PERMISSION_DENIED", "PERMISSION_DENIED"]
      assert.deepStrictEqual(yield* codes.pipe(withModels()), denied)
      assert.deepStrictEqual(yield* codes.pipe(withModels("deny")), denied)
      assert.deepStrictEqual(yield* codes.pipe(withModels("allow")), ["briefly", "4", "PERMISSION_DENIED"])
    })
  })

  verifies("C-115", "a host that offers no models has none, whatever a lease says", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (const what of ["small", "large", "embed"]) {
        const { terminal } = yield* run(peer, "writer", what, using("**"))
        assert.containSubset(terminal.payload, { code: "PERMISSION_DENIED", final_status: "error" })
      }
    }).pipe(Effect.provide(ArcpTest.layerRuntime({ agents: WriterLive })))
  )

  it.effect("are not to be had in a session that did not negotiate them", () =>
    Effect.gen(function* () {
      const peer = yield* join({ features: Feature.all.filter((feature) => feature !== "model.use") })
      const sent = yield* sendSubmit(peer, "writer", "small", using("acme/small"))
      const refusal = yield* answer(peer)
      assertRefused(refusal, "INVALID_REQUEST", sent)
      assert.containSubset(refusal.payload["details"], { feature: "model.use" })
    }).pipe(withModels())
  )

  it.effect("tell what a request can have cost when the job is cancelled in the middle, before it ends", () => {
    const endless = Layer.succeed(LanguageModel.LanguageModel, Scripted.language(Effect.never).model)
    const host = LeasedLanguageModel.layer("acme/small", {
      prices: [Scripted.dollar],
      atMost: { input: 1000, output: 1000 }
    })
    return Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "writer", "small", using("**"))
      yield* peer.expect("job.event")
      yield* peer.send({ type: "job.cancel", job_id, payload: {} })
      const { frames, terminal } = yield* outcome(peer, job_id)
      assert.strictEqual(terminal.payload["code"], "CANCELLED")
      assert.containSubset(bodies(frames, "metric"), [{ value: 0.002, dimensions: { estimated: "at_most" } }])
    }).pipe(
      Effect.provide(
        ArcpTest.layerRuntime({ agents: WriterLive }).pipe(Layer.provide(Layer.provide(host, endless)), Layer.orDie)
      )
    )
  })
})
