/**
 * An agent as its caller sees it: how to say the input, and what the outcome means. Either a contract says so, or everything is JSON.
 */
import { type Context, Deferred, Effect, type Exit, Option, type Schema, SchemaParser } from "effect"
import * as AgentContract from "../../protocol/AgentContract.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import * as Codec from "../../protocol/Codec.ts"
import type * as Json from "../../protocol/Json.ts"
import type * as ClientError from "../ClientError.ts"
import type * as Job from "./job.ts"

export interface Target<A, E> extends Reader<A, E> {
  /** `name` or `name@version`. */
  readonly reference: string
  readonly input: Effect.Effect<Json.Json, ArcpError.InvalidRequest>
}

/** What the outcome means. */
export interface Reader<A, E> {
  readonly decode: (outcome: Job.Outcome) => Effect.Effect<A, ClientError.JobFailure<E>>
}

/** Whatever it is, it is JSON. */
export const json: Reader<Json.Json, never> = {
  decode: (outcome) => (outcome._tag === "Result" ? Effect.succeed(outcome.value) : Effect.fail(ordinary(outcome)))
}

const at = (root: string, field: string) =>
  field === "" ? root : field.startsWith("[") ? root + field : `${root}.${field}`

/** Whatever the agent is, by its name: the input goes as it is, and so does the result. */
export const named = (reference: string, input: Json.Json): Target<Json.Json, never> => ({
  reference,
  input: Effect.succeed(input),
  ...json
})

/** Gives what the outcome means, which is found out once, however many ask. */
export const outcome = <A, E>(job: Job.Followed, reader: Reader<A, E>): Effect.Effect<A, ClientError.JobFailure<E>> => {
  let decoded: Exit.Exit<A, ClientError.JobFailure<E>> | undefined
  return Effect.flatMap(
    Deferred.await(job.outcome),
    (outcome) => decoded ?? Effect.flatMap(Effect.exit(reader.decode(outcome)), (exit) => (decoded ??= exit))
  )
}

const ordinary = (outcome: Exclude<Job.Outcome, { readonly _tag: "Result" }>): ArcpError.ArcpError =>
  outcome._tag === "Error" ? ArcpError.fromPayload(outcome.payload) : outcome.error

type Services<Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top> =
  | Input["EncodingServices"]
  | Output["DecodingServices"]
  | Failure["DecodingServices"]

/** The outcome as a contract's schemas read it. */
export const reader = <Output extends Schema.Top, Failure extends Schema.Top>(
  contract: AgentContract.AgentContract<Schema.Top, Output, Failure>,
  services: Context.Context<Output["DecodingServices"] | Failure["DecodingServices"]>
): Reader<Output["Type"], Failure["Type"]> => {
  const decodeOutput = SchemaParser.decodeUnknownEffect(contract.output)
  const decodeError = SchemaParser.decodeUnknownEffect(contract.error)

  /** The declared error, if the job failed with one that fits its contract. */
  const declared = ({ code, details }: ArcpError.Payload): Effect.Effect<Option.Option<Failure["Type"]>> =>
    code === contract.errorCode && details?.["agent_error"] !== undefined
      ? Effect.provideContext(Effect.option(decodeError(details["agent_error"])), services)
      : Effect.succeedNone

  return {
    decode: (outcome) => {
      if (outcome._tag === "Result") {
        return decodeOutput(outcome.value).pipe(
          Effect.provideContext(services),
          Effect.mapError((issue) => {
            const { field, problem } = Codec.describe(issue)
            return new ArcpError.InternalError({
              message: `The result does not fit the agent's contract: ${at("result", field)}: ${problem}`,
              details: { field: at("result", field) }
            })
          })
        )
      }
      if (outcome._tag === "Unknown") return Effect.fail(outcome.error)
      return Effect.flatMap(declared(outcome.payload), (error) =>
        Effect.fail(Option.getOrElse(error, () => ordinary(outcome)))
      )
    }
  }
}

/** An agent by its contract, whose schemas read and write. */
export const contracted = <Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top>(
  contract: AgentContract.AgentContract<Input, Output, Failure>,
  input: Input["Type"],
  services: Context.Context<Services<Input, Output, Failure>>
): Target<Output["Type"], Failure["Type"]> => ({
  ...reader(contract, services),
  reference: AgentContract.reference(contract),
  input: SchemaParser.encodeUnknownEffect(contract.input)(input).pipe(
    Effect.provideContext(services),
    Effect.mapError((issue) => {
      const { field, problem } = Codec.describe(issue)
      return new ArcpError.InvalidRequest({
        message: `${at("input", field)}: ${problem}`,
        details: { field: at("input", field) }
      })
    }),
    // What a schema encodes to is checked to be JSON when it is written; nothing at all is written as null.
    Effect.map((encoded) => (encoded ?? null) as Json.Json)
  )
})
