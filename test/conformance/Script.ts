/** Agents whose whole conduct a test writes down: JSON in, JSON out, and a look at the job in between. */
import { assert } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type * as Budget from "../../src/authority/Budget.ts"
import * as Amount from "../../src/protocol/Amount.ts"
import type * as ArcpError from "../../src/protocol/ArcpError.ts"
import * as Json from "../../src/protocol/Json.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import type * as AgentPlaces from "../../src/runtime/AgentPlaces.ts"
import type * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import type * as TestPeer from "../../src/testing/TestPeer.ts"
import { bodies } from "./Conversation.ts"

export type Job = JobContext.JobContext["Service"]

export type Script = (job: Job, input: Json.Json) => Effect.Effect<Json.Json, Agent.HostError, Agent.Services>

/** Serves each script as version 1.0.0 of an agent of its name. */
export const layer = (
  scripts: Readonly<Record<string, Script>>,
  options: Readonly<Record<string, AgentPlaces.Options>> = {}
): Layer.Layer<never, never, AgentRegistry.AgentRegistry> =>
  Object.entries(scripts).reduce<Layer.Layer<never, never, AgentRegistry.AgentRegistry>>(
    (all, [name, script]) =>
      Layer.merge(
        all,
        Agent.make({ name, version: "1.0.0", input: Json.Json, output: Json.Json }).toLayer(
          (input) => Effect.flatMap(JobContext.JobContext, (job) => script(job, input)),
          options[name]
        )
      ),
    Layer.empty
  )

/** A tool that does nothing, for which the lease is asked all the same. */
export const work = (job: Job, tool = "work") => job.tool(tool, {}, Effect.succeed("done"))

/** The tag of the failure of what must fail, and its details. */
export const refused = <A, E extends ArcpError.ArcpError, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<readonly [E["_tag"], Json.JsonObject], never, R> =>
  Effect.match(effect, {
    onFailure: ({ _tag, details }) => [_tag, details ?? {}] as const,
    onSuccess: (value) => assert.fail(`not refused but ${JSON.stringify(value)}`)
  })

/** Amounts as text, by currency. */
export const shown = (amounts: Budget.Amounts): Readonly<Record<string, string>> =>
  Object.fromEntries(Array.from(amounts, ([currency, value]) => [currency, Amount.formatValue(value)]))

/** What a job has left, as text. */
export const left = (job: Job) => Effect.map(job.budget, shown)

interface Metric {
  readonly name: string
  readonly value: number
  readonly unit?: string
}

/** The metrics among frames, as `name value unit`. */
export const metrics = (frames: ReadonlyArray<TestPeer.Frame>): ReadonlyArray<string> =>
  bodies(frames, "metric").map((body) => {
    const { name, unit, value } = body as unknown as Metric
    return `${name} ${value}${unit === undefined ? "" : ` ${unit}`}`
  })

/** What the tools of a job gave: their results, and the codes of those that failed. */
export const toolResults = (frames: ReadonlyArray<TestPeer.Frame>): ReadonlyArray<Json.Json> =>
  bodies(frames, "tool_result").map((body) => {
    const { error, result } = body as { readonly error?: { readonly code: string }; readonly result?: Json.Json }
    return error?.code ?? result ?? null
  })
