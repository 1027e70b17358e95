/**
 * Agents: a typed contract and the Effect that fulfils it.
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Agent, JobContext } from "effect-arcp/runtime"
 *
 * const Greeter = Agent.make({
 *   name: "greeter",
 *   version: "1.0.0",
 *   input: Schema.Struct({ name: Schema.String }),
 *   output: Schema.String
 * })
 *
 * const GreeterLive = Greeter.toLayer(Effect.fnUntraced(function*({ name }) {
 *   const job = yield* JobContext.JobContext
 *   yield* job.log("info", `greeting ${name}`)
 *   return `Hello, ${name}!`
 * }))
 * ```
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, type PlatformError, Predicate, Schema, SchemaParser } from "effect"
import type * as AiError from "effect/ai/AiError"
import { HttpClientError } from "effect/http"
import { SchemaJITCompiler } from "effect/schema"
import * as Operation from "../authority/Operation.ts"
import * as LeasedToolkit from "../leased/LeasedToolkit.ts"
import * as AgentContract from "../protocol/AgentContract.ts"
import * as AgentOutcome from "../protocol/AgentOutcome.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Codec from "../protocol/Codec.ts"
import type * as Json from "../protocol/Json.ts"
import * as AgentPlaces from "./AgentPlaces.ts"
import * as AgentRegistry from "./AgentRegistry.ts"
import * as JobContext from "./JobContext.ts"

/**
 * What a handler may ask for without anybody providing it: the runtime makes these anew for each job, under the job's lease. The ordinary
 * services among them, such as `FileSystem`, are always the leased ones, whatever the application around has.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = AgentRegistry.Services

/**
 * What a handler may fail with besides the errors it declares: the fifteen, and those of the leased services, which carry one of the
 * fifteen if the lease was the cause.
 *
 * @category models
 * @since 0.1.0
 */
export type HostError =
  | ArcpError.ArcpError
  | PlatformError.PlatformError
  | HttpClientError.HttpClientError
  | AiError.AiError

/**
 * A contract that can be given its handler.
 *
 * @category models
 * @since 0.1.0
 */
export interface Agent<
  Input extends Schema.Top,
  Output extends Schema.Top,
  Failure extends Schema.Top
> extends AgentContract.AgentContract<Input, Output, Failure> {
  /** Registers the agent with this handler. See {@link toLayer}. */
  readonly toLayer: <R>(
    handler: Handler<Input, Output, Failure, R>,
    options?: AgentPlaces.Options
  ) => Layer.Layer<never, never, Requirements<Input, Output, Failure, R>>
}

/**
 * What an agent does with an input.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler<Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top, R> = (
  input: Input["Type"]
) => Effect.Effect<Output["Type"] | JobContext.StreamedResult, Failure["Type"] | HostError, R>

/**
 * What is left to provide: the registry, what the handler asks for beyond {@link Services}, and what its schemas need.
 *
 * @category models
 * @since 0.1.0
 */
export type Requirements<Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top, R> =
  | AgentRegistry.AgentRegistry
  | Exclude<R, Services>
  | Input["DecodingServices"]
  | Output["EncodingServices"]
  | Failure["EncodingServices"]

/**
 * Describes an agent that is to be served here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  Input extends Schema.Top,
  Output extends Schema.Top,
  Failure extends Schema.Top = typeof Schema.Never
>(
  options: AgentContract.Options<Input, Output, Failure>
): Agent<Input, Output, Failure> => {
  const contract = AgentContract.make(options)
  return { ...contract, toLayer: (handler, options) => toLayer(contract, handler, options) }
}

/**
 * Serves a contract with a handler. Each run has a scope of its own, which closes when the agent is done.
 *
 * @category layers
 * @since 0.1.0
 */
export const toLayer = <Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top, R>(
  contract: AgentContract.AgentContract<Input, Output, Failure>,
  handler: Handler<Input, Output, Failure, R>,
  options?: AgentPlaces.Options
): Layer.Layer<never, never, Requirements<Input, Output, Failure, R>> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const registry = yield* AgentRegistry.AgentRegistry
      const surroundings = yield* Effect.context<Requirements<Input, Output, Failure, R>>()
      SchemaJITCompiler.enable(contract.input.ast)
      const tools = LeasedToolkit.handlersIn(surroundings)
      const decode = SchemaParser.decodeUnknownEffect(contract.input)
      const encode = SchemaParser.encodeUnknownEffect(contract.output)
      const failure = describeFailure(contract)

      const run = (input: Input["Type"]) =>
        Effect.suspend(() => handler(input)).pipe(
          Effect.catch((error) => Effect.flatMap(failure(error), Effect.fail)),
          Effect.flatMap(
            (
              output
            ): Effect.Effect<Json.Json | JobContext.StreamedResult, ArcpError.ArcpError, Output["EncodingServices"]> =>
              output instanceof JobContext.StreamedResult
                ? Effect.succeed(output)
                : (Effect.mapError(encode(output), AgentOutcome.misfit) as Effect.Effect<
                    Json.Json,
                    ArcpError.ArcpError,
                    Output["EncodingServices"]
                  >)
          )
        )

      yield* registry.register({
        contract,
        places: options === undefined ? undefined : yield* AgentPlaces.make(options),
        prepare: (input) =>
          decode(input).pipe(
            Effect.mapBoth({
              onFailure: (issue) => {
                const { field, problem } = Codec.describe(issue, "payload.input")
                return ArcpError.invalidField(field, problem)
              },
              // Over the surroundings of the layer go the services of the job, and nothing else that happens to be where it runs: a service that
              // the agent did not ask for by its type is not within its reach. Tools are among the surroundings, and become the job's.
              onSuccess:
                (decoded): AgentRegistry.Prepared =>
                (job) =>
                  Effect.updateContext(
                    run(decoded),
                    () =>
                      Context.mergeAll(
                        surroundings,
                        Context.get(job, LeasedToolkit.LeasedToolkit)(tools),
                        job
                      ) as Context.Context<R | Output["EncodingServices"] | Failure["EncodingServices"]>
                  )
            }),
            Effect.provideContext(surroundings)
          )
      })
    })
  )

/** Finds the protocol error under the errors of services that wrap one. */
const unwrap = (error: unknown): ArcpError.ArcpError | undefined => {
  let inner = error
  for (let depth = 0; depth < 8 && typeof inner === "object" && inner !== null; depth++) {
    if (ArcpError.isArcpError(inner)) return inner
    inner =
      "reason" in inner && typeof inner.reason === "object" ? inner.reason : "cause" in inner ? inner.cause : undefined
  }
  return undefined
}

const unnamed = "The agent failed"

/** What is told of an error. The query of a URL is not, for it may hold a secret. */
const messageOf = (error: unknown): string => {
  if (HttpClientError.isHttpClientError(error)) {
    const { description = "the request failed", request } = error.reason
    return `${description} (${request.method} ${Operation.describe(Operation.netFetch(request.url))})`
  }
  return error instanceof Error && error.message !== "" ? error.message : unnamed
}

/** The protocol error as which a handler's failure travels. */
const describeFailure = <Failure extends Schema.Top>(
  contract: AgentContract.AgentContract<Schema.Top, Schema.Top, Failure>
) => {
  const isDeclared = Schema.is(contract.error)
  const encode = SchemaParser.encodeUnknownEffect(contract.error)
  const row = Object.values(ArcpError.table).find((row) => row.code === contract.errorCode)!
  return (error: unknown): Effect.Effect<ArcpError.ArcpError, never, Failure["EncodingServices"]> => {
    const message = messageOf(error)
    if (isDeclared(error)) {
      const named =
        message === unnamed && Predicate.hasProperty(error, "_tag") ? `${unnamed}: ${String(error._tag)}` : message
      return Effect.match(encode(error), {
        onSuccess: (agent_error): ArcpError.ArcpError =>
          new row.make({ message: named, details: { agent_error: agent_error as Json.Json } }),
        onFailure: () => new ArcpError.InternalError({ message: "The agent's error does not fit its contract" })
      })
    }
    return Effect.succeed(unwrap(error) ?? new ArcpError.InternalError({ message }))
  }
}
