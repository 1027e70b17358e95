/**
 * Whether a request may become a job, and of what: all that is decided before anything is done (§7.1, §10).
 */
import { Clock, Effect, Result } from "effect"
import * as Lease from "../../authority/Lease.ts"
import * as Leases from "../../authority/Leases.ts"
import * as Operation from "../../authority/Operation.ts"
import * as AgentContract from "../../protocol/AgentContract.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Feature from "../../protocol/Feature.ts"
import * as Json from "../../protocol/Json.ts"
import * as AgentRegistry from "../AgentRegistry.ts"
import type * as JobRequest from "../JobRequest.ts"
import * as RuntimeConfig from "../RuntimeConfig.ts"

export interface Decided {
  readonly agent: AgentRegistry.Registered
  readonly lease: Lease.Lease
  readonly prepared: AgentRegistry.Prepared
}

export type Decision = (ask: JobRequest.JobRequest) => Effect.Effect<Decided, JobRequest.Refusal>

const unNegotiated = (field: string, feature: Feature.Feature) =>
  ArcpError.invalidField(field, `the session did not negotiate ${feature}`, { feature })

/** A lease that leans on a feature the session does not have is refused: to ignore it would widen it. */
const requireFeatures = ({
  features,
  request
}: JobRequest.JobRequest): Effect.Effect<void, ArcpError.InvalidRequest> => {
  const lease = request.lease_request ?? {}
  if (Object.hasOwn(lease, "cost.budget") && !features.has("cost.budget")) {
    return Effect.fail(unNegotiated("payload.lease_request.cost.budget", "cost.budget"))
  }
  if (Object.hasOwn(lease, "model.use") && !features.has("model.use")) {
    return Effect.fail(unNegotiated("payload.lease_request.model.use", "model.use"))
  }
  return request.lease_constraints?.expires_at !== undefined && !features.has("lease_expires_at")
    ? Effect.fail(unNegotiated("payload.lease_constraints.expires_at", "lease_expires_at"))
    : Effect.void
}

export const make: Effect.Effect<Decision, never, AgentRegistry.AgentRegistry | Leases.Leases> = Effect.gen(
  function* () {
    const config = yield* RuntimeConfig.RuntimeConfig
    const registry = yield* AgentRegistry.AgentRegistry
    const leases = yield* Leases.Leases

    const requireInput = ({ request }: JobRequest.JobRequest): Effect.Effect<void, ArcpError.InvalidRequest> => {
      const input = Json.stringify(request.input, config.maxInput)
      return Result.isSuccess(input)
        ? Effect.void
        : Effect.fail(ArcpError.invalidField("payload.input", input.failure, { limit: config.maxInput }))
    }

    /** What is asked about is the agent as it is resolved: a grant for one version is none for what a bare name means today. */
    const requireGrant = ({
      parent,
      request
    }: JobRequest.JobRequest): Effect.Effect<AgentRegistry.Registered, JobRequest.Refusal> => {
      const resolved = registry.resolve(request.agent)
      if (parent === undefined) return resolved
      const granted = (reference: string) => parent.job.guard.authorize(Operation.agentDelegate(reference))
      return resolved.pipe(
        // Who may not delegate to an agent need not know whether it is there.
        Effect.tapError((error) => (error._tag === "InvalidRequest" ? Effect.void : granted(request.agent))),
        Effect.tap(({ contract }) => granted(AgentContract.reference(contract)))
      )
    }

    const leaseOf = Effect.fnUntraced(function* ({ parent, principal, request }: JobRequest.JobRequest, agent: string) {
      const granted = yield* leases.grant({
        principal,
        agent,
        request: request.lease_request,
        constraints: request.lease_constraints
      })
      if (parent === undefined) return granted
      const now = yield* Clock.currentTimeMillis
      // What the parent has left is for the ledger to say, in the step in which it sets it aside.
      return yield* Effect.fromResult(Lease.restrict(parent.job.guard.lease, granted, { now }))
    })

    return Effect.fnUntraced(function* (ask) {
      yield* requireInput(ask)
      const agent = yield* requireGrant(ask)
      yield* requireFeatures(ask)
      const lease = yield* leaseOf(ask, AgentContract.reference(agent.contract))
      return { agent, lease, prepared: yield* agent.prepare(ask.request.input) }
    })
  }
)
