/**
 * The tools of one request to a language model, under a lease.
 *
 * A model that was made by `LanguageModel.make` runs the tools that it calls before it gives its answer. Here they run after it: so the
 * answer is paid by then, tools do not run on money that is set aside for the model, and one that fails loses no cost. Only calls that
 * somebody has approved, which are in the prompt already, run before the model is asked, since their results go into the request.
 */
import { Effect, Stream } from "effect"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Operation from "../../authority/Operation.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Json from "../../protocol/Json.ts"
import type * as LeasedJob from "../LeasedJob.ts"
import * as LeasedToolkit from "../LeasedToolkit.ts"
import * as AiDenial from "./aiDenial.ts"

export type Tools = Record<string, Tool.Any>

export type TextOptions = LanguageModel.GenerateTextOptions<Tools>

type Part = Response.AllParts<Tools>

/** A result of a tool, as it stands in the answer of a model. */
export type ResultPart = Response.ToolResultParts<Tools>

export interface ModelTools {
  /** For the model. It names the tools, and runs none of them. */
  readonly toolkit: Toolkit.WithHandler<Tools> | undefined
  /** Fails unless the lease covers the tools that the provider may run by itself. */
  readonly ask: Effect.Effect<void, AiError.AiError>
  /** Takes note of a part of the answer, and tells of tools that the provider ran. */
  readonly heard: (part: { readonly type: string }) => Effect.Effect<void>
  /** Runs the tools that the model called. */
  readonly results: Stream.Stream<ResultPart, unknown, unknown>
}

/** The calls about which somebody was asked. */
const requested = (prompt: Prompt.Prompt): ReadonlySet<string> =>
  new Set(
    prompt.content.flatMap(({ content }) =>
      typeof content === "string"
        ? []
        : content.flatMap((part) => (part.type === "tool-approval-request" ? [part.toolCallId] : []))
    )
  )

const runByProvider = ({ toolChoice }: TextOptions, tools: Tools): ReadonlyArray<string> => {
  if (toolChoice === "none") return []
  const choice = typeof toolChoice === "object" && "oneOf" in toolChoice ? toolChoice.oneOf : undefined
  return Object.values(tools)
    .filter((tool) => Tool.isProviderDefined(tool) && !tool.requiresHandler)
    .map(({ name }): string => name)
    .filter((name) => choice === undefined || choice.includes(name))
}

/** `early` is called when a tool that runs before the model fails, so that the model is not asked. */
export const make = (
  job: LeasedJob.LeasedJob,
  method: string,
  options: TextOptions,
  prompt: Prompt.Prompt,
  given: Toolkit.WithHandler<Tools> | undefined,
  early: () => void
): ModelTools => {
  const leased = given === undefined ? undefined : LeasedToolkit.make(job, given)
  const approved = requested(prompt)
  const called: Array<{ readonly name: string; readonly params: unknown; readonly id: string }> = []
  /** Calls to which the model itself has put a result, since its answer broke off. */
  const answered = new Set<string>()
  /** Of tools that the provider runs: its id of the call, and ours. */
  const told = new Map<string, string>()

  const begun = (id: string, tool: string, args: unknown) =>
    Effect.flatMap(job.nextCallId, (call_id) => {
      told.set(id, call_id)
      return job.emitter.emit("tool_call", { tool, args: (args ?? null) as Json.Json, call_id })
    })

  const ended = (id: string, result: unknown, isFailure: boolean) => {
    const call_id = told.get(id)
    if (call_id === undefined) return Effect.void
    told.delete(id)
    const error = new ArcpError.InternalError({ message: "The provider's tool failed" })
    return job.emitter.emit(
      "tool_result",
      isFailure ? { call_id, error: ArcpError.toPayload(error) } : { call_id, result: (result ?? null) as Json.Json }
    )
  }

  return {
    toolkit: leased && {
      tools: leased.tools,
      handle: (name, params, id = "", parsing) => {
        if (approved.has(id)) {
          return Effect.map(
            leased.handle(name, params, id, parsing),
            Stream.tapCause(() => Effect.sync(early))
          )
        }
        return Effect.sync(() => {
          called.push({ name, params, id })
          return Stream.empty
        })
      }
    },
    ask: Effect.forEach(
      given === undefined ? [] : runByProvider(options, given.tools),
      (name) =>
        Effect.mapError(job.guard.authorize(Operation.toolCall(name)), (denial) =>
          AiDenial.make("LanguageModel", method, denial)
        ),
      { discard: true }
    ),
    heard: (heard) => {
      const part = heard as Part
      if (part.type === "tool-call" && part.providerExecuted) return begun(part.id, part.name, part.params)
      if (part.type !== "tool-result") return Effect.void
      if (part.providerExecuted) return part.preliminary ? Effect.void : ended(part.id, part.result, part.isFailure)
      if (!part.preliminary) answered.add(part.id)
      return Effect.void
    },
    results: Stream.suspend(() => {
      if (leased === undefined) return Stream.empty
      const run = called.filter(({ id }) => !answered.has(id))
      return Stream.mergeAll(
        run.map(({ id, name, params }) =>
          Stream.unwrap(leased.handle(name, params as never, id)).pipe(
            Stream.map(
              ({ encodedResult, isFailure, modelOutput, preliminary, result }) =>
                Response.makePart("tool-result", {
                  id,
                  name,
                  providerExecuted: false,
                  result,
                  encodedResult,
                  ...(modelOutput === undefined ? undefined : { modelOutput }),
                  isFailure,
                  preliminary
                }) as ResultPart
            ),
            Stream.withSpan("Toolkit.handle")
          )
        ),
        { concurrency: options.concurrency ?? "unbounded" }
      )
    })
  }
}
