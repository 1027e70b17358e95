/**
 * The ordinary `EmbeddingModel` service behind a job's lease (§9.7): an agent uses it as it would use the host's, and each request is asked
 * about under `model.use`, by the id that the host gives the model.
 *
 * | member | the lease covers |
 * | --- | --- |
 * | `embed` `embedMany` `resolver` | `model.use` of the model, once for each request to the provider |
 *
 * `embed` and `resolver` gather what comes at the same time into one request, and only what one job asks for: no two jobs share a request, so
 * each is asked about and paid by its own. What a request cost is told as for `LeasedLanguageModel`, and so are denials.
 *
 * @since 0.1.0
 */
import { Context, Effect, type Layer, References, Tracer } from "effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as Model from "effect/ai/Model"
import * as Operation from "../authority/Operation.ts"
import type * as PriceTable from "../authority/PriceTable.ts"
import * as AiDenial from "./internal/aiDenial.ts"
import * as Denial from "./internal/denial.ts"
import * as ModelCall from "./internal/modelCall.ts"
import * as ModelOffer from "./internal/modelOffer.ts"
import type * as LeasedJob from "./LeasedJob.ts"
import type * as ModelPolicy from "./ModelPolicy.ts"

/**
 * A request that is about to be made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  /** The id of the model. */
  readonly model: string
  readonly inputs: ReadonlyArray<string>
}

/**
 * The length of the inputs in bytes: an upper bound of their tokens, for a token has at least a byte.
 *
 * @category combinators
 * @since 0.1.0
 */
export const bytesOf = (inputs: ReadonlyArray<string>): number => {
  const utf8 = new TextEncoder()
  return inputs.reduce((sum, input) => sum + utf8.encode(input).length, 0)
}

type EmbedMany = Parameters<typeof EmbeddingModel.make>[0]["embedMany"]

/** What differs from call to call without making a difference to it. */
const withoutTraces = Context.omit(Tracer.ParentSpan, References.CurrentStackFrame)

/** Effect makes all members from this one. Requests are gathered as long as they come from the same surroundings. */
const assemble = (embedMany: EmbedMany): EmbeddingModel.EmbeddingModel =>
  Effect.runSync(EmbeddingModel.make({ embedMany, batchKey: (context) => withoutTraces(context) }))

/**
 * The model `raw` as far as the lease of a job goes, which names it by this id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  raw: EmbeddingModel.EmbeddingModel,
  job: LeasedJob.LeasedJob,
  id: string,
  policy: ModelPolicy.ModelPolicy<Request>
): EmbeddingModel.EmbeddingModel => {
  const model: ModelCall.Model = { job, module: "EmbeddingModel", id, policy }
  return assemble(({ inputs }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const call = yield* ModelCall.open(model, "embedMany", {
          input: 0,
          output: 0,
          ...policy.atMost({ model: id, inputs })
        })
        call.sent()
        const { embeddings, usage } = yield* Effect.tapError(raw.embedMany(inputs), (error) =>
          Effect.sync(() => call.failed(error))
        )
        if (usage.inputTokens !== undefined) call.used({ embedding: usage.inputTokens })
        return { results: embeddings.map(({ vector }) => [...vector]), usage: { inputTokens: usage.inputTokens } }
      })
    )
  )
}

const absent = (id: string, reason: string): EmbeddingModel.EmbeddingModel =>
  assemble(() =>
    Effect.fail(AiDenial.make("EmbeddingModel", "embedMany", Denial.because(Operation.modelUse(id), reason)))
  )

/**
 * The model of a host that offers none: each request fails as one that a lease does not cover.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusing: EmbeddingModel.EmbeddingModel = absent("", "the host offers no embedding model")

/**
 * Makes the embedding model of one job.
 *
 * @category models
 * @since 0.1.0
 */
export type Factory = (job: LeasedJob.LeasedJob) => EmbeddingModel.EmbeddingModel

/**
 * What a runtime makes the embedding models of its jobs with; {@link refusing} for all of them unless the host says otherwise.
 *
 * @category services
 * @since 0.1.0
 */
export const LeasedEmbeddingModel = Context.Reference<Factory>("arcp/leased/LeasedEmbeddingModel", {
  defaultValue: () => () => refusing
})

const offer = ModelOffer.make({
  service: EmbeddingModel.EmbeddingModel,
  factory: LeasedEmbeddingModel,
  lease: make,
  absent
})

/**
 * Offers the embedding model that is provided to this layer, under this id. Fails if a price is malformed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  id: string,
  options: ModelPolicy.Options<Request> = {}
): Layer.Layer<never, PriceTable.InvalidPrice, EmbeddingModel.EmbeddingModel> => offer.layer(id, options)

/**
 * Offers several embedding models, by their ids. A job has the first, and may pick another by {@link model}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerModels = <
  Models extends Readonly<Record<string, Layer.Layer<EmbeddingModel.EmbeddingModel, unknown, unknown>>>
>(
  models: Models,
  options: ModelPolicy.Options<Request> = {}
): Layer.Layer<
  never,
  PriceTable.InvalidPrice | Layer.Error<Models[keyof Models]>,
  Layer.Services<Models[keyof Models]>
> => offer.layerModels(models, options)

/**
 * Within an agent, the model of this id in place of the one that its job has, see `LeasedLanguageModel.model`.
 *
 * @category layers
 * @since 0.1.0
 */
export const model = (id: string): Model.Model<"arcp", EmbeddingModel.EmbeddingModel, EmbeddingModel.EmbeddingModel> =>
  offer.model(id)
