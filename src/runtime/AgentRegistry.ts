/**
 * Which agents can be run here, by name and version (§7.5).
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Result, type Scope } from "effect"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"
import type * as LeasedServices from "../leased/LeasedServices.ts"
import * as AgentContract from "../protocol/AgentContract.ts"
import * as AgentRef from "../protocol/AgentRef.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Json from "../protocol/Json.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import type * as AgentPlaces from "./AgentPlaces.ts"
import type * as JobContext from "./JobContext.ts"

/**
 * What each run is given.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = JobContext.JobContext | LeaseGuard.LeaseGuard | LeasedServices.LeasedServices | Scope.Scope

/**
 * A run of an agent with its input already decoded, given the services of the job: what it answers, as JSON, or the protocol error it ended
 * with.
 *
 * @category models
 * @since 0.1.0
 */
export type Prepared = (
  job: Context.Context<Services>
) => Effect.Effect<Json.Json | JobContext.StreamedResult, ArcpError.ArcpError>

/**
 * An agent as the runtime knows it, whatever its types.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registered {
  readonly contract: AgentContract.Any
  /** The places at which it runs; without a bound, none. */
  readonly places: AgentPlaces.AgentPlaces | undefined
  /** Checks the input against the contract; nothing runs yet. */
  readonly prepare: (input: Json.Json) => Effect.Effect<Prepared, ArcpError.InvalidRequest>
}

/**
 * Which agents are served, and which of them a reference means (§7.5).
 *
 * @category services
 * @since 0.1.0
 */
export class AgentRegistry extends Context.Service<
  AgentRegistry,
  {
    /** Adds an agent until the scope closes. Registering a reference twice is a mistake in the program and dies. */
    readonly register: (agent: Registered) => Effect.Effect<void, never, Scope.Scope>
    /** The agent that a reference means now: a bare name its default version. */
    readonly resolve: (
      reference: string
    ) => Effect.Effect<
      Registered,
      ArcpError.InvalidRequest | ArcpError.AgentNotAvailable | ArcpError.AgentVersionNotAvailable
    >
    /** What the welcome announces. */
    readonly inventory: Effect.Effect<ReadonlyArray<SessionMessage.AgentEntry>>
  }
>()("arcp/runtime/AgentRegistry") {}

/**
 * A registry without agents: each agent's own layer adds it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<AgentRegistry> = Layer.sync(AgentRegistry, () => {
  const agents = new Map<string, Array<Registered>>()

  const defaultOf = (versions: ReadonlyArray<Registered>) =>
    versions.find(({ contract }) => contract.default) ?? versions[0]!

  return AgentRegistry.of({
    register: (agent) =>
      Effect.suspend(() => {
        const { name, version } = agent.contract
        const versions = agents.get(name) ?? []
        if (versions.some(({ contract }) => contract.version === version)) {
          return Effect.die(new Error(`Agent ${AgentContract.reference(agent.contract)} is registered twice`))
        }
        return Effect.acquireRelease(
          Effect.sync(() => void agents.set(name, [...versions, agent])),
          () =>
            Effect.sync(() => {
              const left = (agents.get(name) ?? []).filter((other) => other !== agent)
              if (left.length === 0) agents.delete(name)
              else agents.set(name, left)
            })
        )
      }),
    resolve: Effect.fnUntraced(function* (reference) {
      const parsed = AgentRef.parse(reference)
      if (Result.isFailure(parsed)) {
        return yield* ArcpError.invalidField("payload.agent", parsed.failure)
      }
      const { name, version } = parsed.success
      const versions = agents.get(name)
      if (versions === undefined) {
        return yield* new ArcpError.AgentNotAvailable({ message: `No agent ${name}`, details: { agent: name } })
      }
      if (version === undefined) return defaultOf(versions)
      const found = versions.find(({ contract }) => contract.version === version)
      return (
        found ??
        (yield* new ArcpError.AgentVersionNotAvailable({
          message: `Agent ${name} has no version ${version}`,
          details: { agent: name, version }
        }))
      )
    }),
    inventory: Effect.sync(() =>
      Array.from(agents, ([name, versions]) => {
        const fallback = defaultOf(versions).contract.version
        return {
          name,
          versions: versions.flatMap(({ contract }) => (contract.version === undefined ? [] : [contract.version])),
          ...(fallback === undefined ? undefined : { default: fallback })
        }
      })
    )
  })
})
