/** Runtimes whose agents delegate, and what became of their jobs. */
import { Effect, Layer, Option } from "effect"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Json from "../../src/protocol/Json.ts"
import type * as AgentPlaces from "../../src/runtime/AgentPlaces.ts"
import type * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import * as JobStore from "../../src/runtime/JobStore.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as Script from "../conformance/Script.ts"

export const lease = { "agent.delegate": ["**"], "tool.call": ["**"] }

export type Options = Omit<ArcpTest.Options<never, never>, "agents">

export const withAgents = <A = never>(
  agents: Layer.Layer<A, never, AgentRegistry.AgentRegistry>,
  options: Options = {}
) => Effect.provide(ArcpTest.layer({ ...options, agents }))

export const withScripts = (
  scripts: Readonly<Record<string, Script.Script>>,
  options: Options = {},
  places: Readonly<Record<string, AgentPlaces.Options>> = {}
) => withAgents(Script.layer(scripts, places), options)

export const submit = Effect.fnUntraced(function* (
  agent: string,
  input: Json.Json = null,
  more: ArcpClient.SubmitOptions = {}
) {
  const client = yield* ArcpClient.ArcpClient
  return yield* client.submit(agent, input, { lease, ...more })
})

export const run = (agent: string, input: Json.Json = null, more?: ArcpClient.SubmitOptions) =>
  Effect.flatMap(submit(agent, input, more), (job) => job.result)

/** The jobs of the runtime, oldest first. */
export const stored = Effect.flatMap(JobStore.JobStore, (store) =>
  store.list({
    principal: "tester",
    statuses: Option.none(),
    agent: Option.none(),
    createdAfter: Number.NEGATIVE_INFINITY,
    createdBefore: Number.POSITIVE_INFINITY,
    after: Option.none(),
    limit: 1000
  })
)

export const statuses = Effect.map(stored, (jobs) => jobs.map(({ status }) => status))
