/**
 * An agent as its caller sees it: how to say the input, and what the outcome means. Either a contract says so, or everything is JSON.
 */
import { type Context, Deferred, Effect, type Exit, type Schema } from "effect"
import * as AgentContract from "../../protocol/AgentContract.ts"
import * as AgentOutcome from "../../protocol/AgentOutcome.ts"
import type * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Json from "../../protocol/Json.ts"
import type * as ClientError from "../ClientError.ts"
import type * as Job from "./job.ts"

export interface Target<A, E> {
  /** `name` or `name@version`. */
  readonly reference: string
  readonly input: Effect.Effect<Json.Json, ArcpError.InvalidRequest>
  /** What the outcome means. */
  readonly read: AgentOutcome.Read<A, E>
}

/** Whatever the agent is, by its name: the input goes as it is, and so does the result. */
export const named = (reference: string, input: Json.Json): Target<Json.Json, never> => ({
  reference,
  input: Effect.succeed(input),
  read: AgentOutcome.json
})

/** Gives what the outcome means, which is found out once, however many ask. */
export const outcome = <A, E>(
  job: Job.Followed,
  read: AgentOutcome.Read<A, E>
): Effect.Effect<A, ClientError.JobFailure<E>> => {
  let known: Exit.Exit<A, ClientError.JobFailure<E>> | undefined
  return Effect.flatMap(
    Deferred.await(job.outcome),
    (outcome) => known ?? Effect.flatMap(Effect.exit(read(outcome)), (exit) => (known ??= exit))
  )
}

/** An agent by its contract, whose schemas read and write. */
export const contracted = <Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top>(
  contract: AgentContract.AgentContract<Input, Output, Failure>,
  input: Input["Type"],
  services: Context.Context<Input["EncodingServices"] | Output["DecodingServices"] | Failure["DecodingServices"]>
): Target<Output["Type"], Failure["Type"]> => ({
  reference: AgentContract.reference(contract),
  input: AgentOutcome.encodeInput(contract, input, services),
  read: AgentOutcome.read(contract, services)
})
