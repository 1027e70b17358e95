/**
 * The ordinary `LanguageModel` service behind a job's lease (§9.7): an agent uses it as it would use the host's, and each request is asked
 * about under `model.use`, by the id that the host gives the model.
 *
 * | member | the lease covers |
 * | --- | --- |
 * | `generateText` `generateObject` | `model.use` of the model, `tool.call` of each tool that the model calls |
 * | `streamText` | the same; and it ends, with the cause, when the lease does |
 * | `supportsSystemMessagesInHistory` | nothing: it asks no model |
 *
 * What a request cost is told by the host's prices as the metric `cost.model`, in the currency of the price, also when the request fails or is
 * interrupted after the provider began to work. If the host knows what a request can cost at most, so much of the budget is set aside
 * before it is sent, and requests that run side by side cannot overspend together (§9.6).
 *
 * Tools that the model calls go through `LeasedToolkit`, wherever their handlers came from, and run when the answer is there.
 *
 * A denial is an `AiError` whose reason is the nearest that there is: `AuthenticationError` for what the lease does not cover or no longer
 * covers, `QuotaExhaustedError` for a budget that is spent. Its `cause` is the error of the protocol.
 *
 * **Gotchas**
 *
 * The host's model has to be one that `LanguageModel.make` made, as those of all provider packages are: one that looped over its own tool
 * calls by itself would not see their results.
 *
 * @since 0.1.0
 */
import { Context, Effect, type Layer, Option, Stream } from "effect"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Model from "effect/ai/Model"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Telemetry from "effect/ai/Telemetry"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Operation from "../authority/Operation.ts"
import type * as PriceTable from "../authority/PriceTable.ts"
import * as AiDenial from "./internal/aiDenial.ts"
import * as Denial from "./internal/denial.ts"
import * as ModelCall from "./internal/modelCall.ts"
import * as ModelOffer from "./internal/modelOffer.ts"
import * as ModelTools from "./internal/modelTools.ts"
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
  readonly prompt: Prompt.Prompt
}

/**
 * The length of a prompt in bytes of its JSON. It is an upper bound of the tokens of a text, for a token has at least a byte; not so of
 * images and files that are given by their URL, nor of the tools that go along.
 *
 * @category combinators
 * @since 0.1.0
 */
export const bytesOf = (prompt: Prompt.Prompt): number =>
  new TextEncoder().encode(JSON.stringify(prompt.content)).length

type TextOptions = ModelTools.TextOptions

type Mode = Response.ToolParametersMode

type ObjectOptions = Parameters<LanguageModel.LanguageModel["generateObject"]>[0]

/** The service with its many signatures folded into one each: what is done under a lease does not depend on the types. */
interface Folded {
  readonly generateText: (
    options: TextOptions
  ) => Effect.Effect<LanguageModel.GenerateTextResponse<ModelTools.Tools, Mode>, unknown, unknown>
  readonly generateObject: (
    options: ObjectOptions
  ) => Effect.Effect<LanguageModel.GenerateObjectResponse<ModelTools.Tools, unknown, Mode>, unknown, unknown>
  readonly streamText: (
    options: TextOptions
  ) => Stream.Stream<Response.StreamPart<ModelTools.Tools, Mode>, unknown, unknown>
}

/** What a response says of its usage; nothing if it says nothing. */
const usageOf = ({ inputTokens, outputTokens }: Response.Usage): PriceTable.Usage | undefined => {
  const { cacheRead = 0, cacheWrite = 0, total, uncached } = inputTokens
  const { reasoning = 0, text, total: all } = outputTokens
  if ([...Object.values(inputTokens), ...Object.values(outputTokens)].every((count) => count === undefined)) {
    return undefined
  }
  return {
    // Where the parts and the total do not agree the greater counts.
    input: Math.max(uncached ?? 0, (total ?? 0) - cacheRead - cacheWrite),
    cachedInput: cacheRead,
    cacheWrite,
    output: Math.max(text ?? 0, (all ?? 0) - reasoning),
    reasoning
  }
}

const note = (call: ModelCall.ModelCall, parts: ReadonlyArray<{ readonly type: string }>) => {
  for (const part of parts as ReadonlyArray<Response.AllParts<ModelTools.Tools>>) {
    if (part.type !== "finish") continue
    const usage = usageOf(part.usage)
    if (usage !== undefined) call.used(usage)
  }
}

/** Whether a part of a stream shows that the provider is at work. What stands at the beginning can come from here. */
const isAnswer = (part: { readonly type: string }): boolean =>
  part.type !== "response-metadata" && part.type !== "tool-result"

const resolve = (toolkit: TextOptions["toolkit"]) =>
  (Effect.isEffect(toolkit) ? toolkit : Effect.succeed(toolkit)) as Effect.Effect<
    Toolkit.WithHandler<ModelTools.Tools> | undefined,
    unknown,
    unknown
  >

/**
 * The model `raw` as far as the lease of a job goes, which names it by this id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  raw: LanguageModel.LanguageModel,
  job: LeasedJob.LeasedJob,
  id: string,
  policy: ModelPolicy.ModelPolicy<Request>
): LanguageModel.LanguageModel => {
  const model: ModelCall.Model = { job, module: "LanguageModel", id, policy }
  const folded: Folded = raw

  /** Admits a request. It is to be made with these options, and when it has been answered the tools are to run. */
  const admit = Effect.fnUntraced(function* <O extends TextOptions>(method: string, options: O) {
    const prompt = Prompt.make(options.prompt)
    const toolkit = yield* resolve(options.toolkit)
    const call = yield* ModelCall.open(model, method, { embedding: 0, ...policy.atMost({ model: id, prompt }) })
    const tools = ModelTools.make(job, method, options, prompt, toolkit, call.withdrawn)
    yield* tools.ask
    return { call, tools, request: { ...options, prompt, toolkit: tools.toolkit } }
  })

  const generate = Effect.fnUntraced(function* <
    O extends TextOptions,
    A extends LanguageModel.GenerateTextResponse<ModelTools.Tools, Mode>
  >(method: string, options: O, ask: (request: O, call: ModelCall.ModelCall) => Effect.Effect<A, unknown, unknown>) {
    const { response, tools } = yield* Effect.scoped(
      Effect.gen(function* () {
        const { call, request, tools } = yield* admit(method, options)
        call.sent()
        const response = yield* Effect.tapError(ask(request, call), (error) => Effect.sync(() => call.failed(error)))
        note(call, response.content)
        yield* call.settle
        yield* Effect.forEach(response.content, tools.heard, { discard: true })
        return { response, tools }
      })
    )
    const results = yield* Stream.runCollect(Stream.filter(tools.results, ({ preliminary }) => !preliminary))
    return { response, content: [...response.content, ...results] }
  })

  const leased: Folded = {
    generateText: (options) =>
      Effect.map(
        generate("generateText", options, (request) => folded.generateText(request)),
        ({ content }) => new LanguageModel.GenerateTextResponse(content)
      ),
    generateObject: (options) =>
      Effect.map(
        generate("generateObject", options, (request, call) =>
          // An answer that is not of the wanted shape is an error that does not tell its usage; whoever watches spans is told before.
          Effect.flatMap(Effect.serviceOption(Telemetry.CurrentSpanTransformer), (watching) =>
            Effect.provideService(folded.generateObject(request), Telemetry.CurrentSpanTransformer, (answer) => {
              note(call, answer.response)
              if (Option.isSome(watching)) watching.value(answer)
            })
          )
        ),
        ({ content, response }) => new LanguageModel.GenerateObjectResponse(response.value, content)
      ),
    streamText: (options) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const { call, request, tools } = yield* admit("streamText", options)
          const finishes: Array<Response.StreamPart<ModelTools.Tools, Mode>> = []
          const answer = Stream.suspend(() => {
            call.sent()
            return folded.streamText(request)
          }).pipe(
            Stream.tapError((error) => Effect.sync(() => call.failed(error))),
            Stream.mapArrayEffect((parts) => {
              if (parts.some(isAnswer)) call.answering()
              note(call, parts)
              return call.alive.pipe(
                Effect.andThen(Effect.forEach(parts, tools.heard, { discard: true })),
                Effect.as(parts)
              )
            }),
            // The finish comes after the results of the tools, as without a lease.
            Stream.filter((part) => part.type !== "finish" || tools.toolkit === undefined || finishes.push(part) === 0),
            Stream.interruptWhen(call.expiry)
          )
          const rest = Stream.concat(
            tools.results,
            Stream.suspend(() => Stream.fromIterable(finishes))
          )
          return Stream.concat(answer, Stream.unwrap(Effect.as(call.settle, rest)))
        })
      )
  }
  return {
    [LanguageModel.TypeId]: LanguageModel.TypeId,
    supportsSystemMessagesInHistory: raw.supportsSystemMessagesInHistory,
    generateText: leased.generateText as LanguageModel.LanguageModel["generateText"],
    generateObject: leased.generateObject as LanguageModel.LanguageModel["generateObject"],
    streamText: leased.streamText as LanguageModel.LanguageModel["streamText"]
  }
}

/** A model that answers nothing, for this reason. */
const absent = (id: string, reason: string): LanguageModel.LanguageModel => {
  const denial = Denial.because(Operation.modelUse(id), reason)
  const fail = (method: string) => Effect.fail(AiDenial.make("LanguageModel", method, denial))
  return {
    [LanguageModel.TypeId]: LanguageModel.TypeId,
    supportsSystemMessagesInHistory: undefined,
    generateText: () => fail("generateText"),
    generateObject: (() => fail("generateObject")) as LanguageModel.LanguageModel["generateObject"],
    streamText: () => Stream.fromEffect(fail("streamText"))
  }
}

/**
 * The model of a host that offers none: each request fails as one that a lease does not cover.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusing: LanguageModel.LanguageModel = absent("", "the host offers no language model")

/**
 * Makes the language model of one job.
 *
 * @category models
 * @since 0.1.0
 */
export type Factory = (job: LeasedJob.LeasedJob) => LanguageModel.LanguageModel

/**
 * What a runtime makes the language models of its jobs with; {@link refusing} for all of them unless the host says otherwise.
 *
 * @category services
 * @since 0.1.0
 */
export const LeasedLanguageModel = Context.Reference<Factory>("arcp/leased/LeasedLanguageModel", {
  defaultValue: () => () => refusing
})

const offer = ModelOffer.make({
  service: LanguageModel.LanguageModel,
  factory: LeasedLanguageModel,
  lease: make,
  absent
})

/**
 * Offers the language model that is provided to this layer, under this id. Fails if a price is malformed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  id: string,
  options: ModelPolicy.Options<Request> = {}
): Layer.Layer<never, PriceTable.InvalidPrice, LanguageModel.LanguageModel> => offer.layer(id, options)

/**
 * Offers several language models, by their ids. A job has the first, and may pick another by {@link model}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerModels = <
  Models extends Readonly<Record<string, Layer.Layer<LanguageModel.LanguageModel, unknown, unknown>>>
>(
  models: Models,
  options: ModelPolicy.Options<Request> = {}
): Layer.Layer<
  never,
  PriceTable.InvalidPrice | Layer.Error<Models[keyof Models]>,
  Layer.Services<Models[keyof Models]>
> => offer.layerModels(models, options)

/**
 * Within an agent, the model of this id in place of the one that its job has: a layer as those of providers are, to be provided to a part of
 * the agent, or to take its turn in an `ExecutionPlan`. If the host does not offer it, or there is no job, each request is refused.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { LeasedLanguageModel } from "effect-arcp/leased"
 *
 * const summary = LanguageModel.generateText({ prompt: "..." }).pipe(
 *   Effect.provide(LeasedLanguageModel.model("acme/large"))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const model = (id: string): Model.Model<"arcp", LanguageModel.LanguageModel, LanguageModel.LanguageModel> =>
  offer.model(id)
