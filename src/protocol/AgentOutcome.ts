/**
 * How a job ended, and what that means by the contract of its agent: a result of its output type, the error that it declares, or one of the
 * fifteen (§7.3, §12).
 *
 * @since 0.1.0
 */
import { type Context, Effect, Option, type Schema, type SchemaIssue, SchemaParser } from "effect"
import type * as AgentContract from "./AgentContract.ts"
import * as ArcpError from "./ArcpError.ts"
import * as Codec from "./Codec.ts"
import type * as JobMessage from "./JobMessage.ts"
import type * as Json from "./Json.ts"

/**
 * How a job ended, as it was heard.
 *
 * @category models
 * @since 0.1.0
 */
export type AgentOutcome =
  | { readonly _tag: "Result"; readonly value: Json.Json }
  | { readonly _tag: "Error"; readonly payload: JobMessage.JobError["payload"] }
  /** The outcome is not known: what came of it was lost, or cannot be used. */
  | { readonly _tag: "Unknown"; readonly error: ArcpError.ArcpError }

/**
 * Reads an outcome by the types of an agent: its result, or the error it declared.
 *
 * @category models
 * @since 0.1.0
 */
export type Read<A, E> = (outcome: AgentOutcome) => Effect.Effect<A, E | ArcpError.ArcpError>

/**
 * Reads the outcome of whatever agent: it is JSON.
 *
 * @category conversions
 * @since 0.1.0
 */
export const json: Read<Json.Json, never> = (outcome) =>
  outcome._tag === "Result" ? Effect.succeed(outcome.value) : Effect.fail(errorOf(outcome))

/**
 * Reads an outcome by the schemas of a contract.
 *
 * @category conversions
 * @since 0.1.0
 */
export const read = <Output extends Schema.Top, Failure extends Schema.Top>(
  contract: AgentContract.AgentContract<Schema.Top, Output, Failure>,
  services: Context.Context<Output["DecodingServices"] | Failure["DecodingServices"]>
): Read<Output["Type"], Failure["Type"]> => {
  const decodeOutput = SchemaParser.decodeUnknownEffect(contract.output)
  const decodeError = SchemaParser.decodeUnknownEffect(contract.error)

  /** The declared error, if the job failed with one that fits its contract. */
  const declared = ({ code, details }: ArcpError.Payload): Effect.Effect<Option.Option<Failure["Type"]>> =>
    code === contract.errorCode && details?.["agent_error"] !== undefined
      ? Effect.provideContext(Effect.option(decodeError(details["agent_error"])), services)
      : Effect.succeedNone

  return (outcome) => {
    if (outcome._tag === "Result") {
      return decodeOutput(outcome.value).pipe(Effect.provideContext(services), Effect.mapError(misfit))
    }
    if (outcome._tag === "Unknown") return Effect.fail(outcome.error)
    return Effect.flatMap(declared(outcome.payload), (error) =>
      Effect.fail(Option.getOrElse(error, () => errorOf(outcome)))
    )
  }
}

const errorOf = (outcome: Exclude<AgentOutcome, { readonly _tag: "Result" }>): ArcpError.ArcpError =>
  outcome._tag === "Error" ? ArcpError.fromPayload(outcome.payload) : outcome.error

/**
 * A result that is not what the contract promises, on either side of the wire.
 *
 * @category constructors
 * @since 0.1.0
 */
export const misfit = (issue: SchemaIssue.Issue): ArcpError.InternalError => {
  const { field, problem } = Codec.describe(issue, "result")
  return new ArcpError.InternalError({
    message: `The result does not fit the agent's contract: ${field}: ${problem}`,
    details: { field }
  })
}

/**
 * The input of a call as JSON, by the schema of the contract. Nothing at all is written as `null`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const encodeInput = <Input extends Schema.Top>(
  contract: AgentContract.AgentContract<Input, Schema.Top, Schema.Top>,
  input: Input["Type"],
  services: Context.Context<Input["EncodingServices"]>
): Effect.Effect<Json.Json, ArcpError.InvalidRequest> =>
  SchemaParser.encodeUnknownEffect(contract.input)(input).pipe(
    Effect.provideContext(services),
    Effect.mapError((issue) => {
      const { field, problem } = Codec.describe(issue, "input")
      return ArcpError.invalidField(field, problem)
    }),
    // What a schema encodes to is checked to be JSON when it is written.
    Effect.map((encoded) => (encoded ?? null) as Json.Json)
  )
