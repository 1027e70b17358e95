/**
 * Decides what lease a job gets (§9.1): never more than was asked for.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Option, Result } from "effect"
import * as Amount from "../protocol/Amount.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Capability from "../protocol/Capability.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import type * as Authenticator from "./Authenticator.ts"
import * as LargestLease from "./LargestLease.ts"
import * as Lease from "./Lease.ts"
import * as LeasePolicy from "./LeasePolicy.ts"
import * as VendorCapability from "./VendorCapability.ts"

/**
 * A submission, as far as its authority goes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  readonly principal: Authenticator.Principal
  /** The agent that was asked for, `name` or `name@version`. */
  readonly agent: string
  /** What was asked for; nothing asked, nothing granted. */
  readonly request: Capability.Grants | undefined
  readonly constraints: Capability.Constraints | undefined
  /** Milliseconds since the Unix epoch; the clock's time if left out. */
  readonly now?: number
}

/**
 * Grants leases: what a job gets of what was asked for (§9.1).
 *
 * @category services
 * @since 0.1.0
 */
export class Leases extends Context.Service<
  Leases,
  {
    /** Fails with `InvalidRequest` when the request is malformed, whatever the policy is. */
    readonly grant: (
      request: Request
    ) => Effect.Effect<Lease.Lease, ArcpError.InvalidRequest | ArcpError.PermissionDenied>
  }
>()("arcp/authority/Leases") {}

const compileWith =
  (vendors: VendorCapability.VendorCapabilities) =>
  ({ constraints, now, request }: Request): Effect.Effect<Lease.Lease, ArcpError.InvalidRequest> =>
    request === undefined && constraints === undefined
      ? nothing
      : Effect.clockWith((clock) =>
          Effect.fromResult(
            Lease.make(request ?? {}, constraints ?? {}, now ?? clock.currentTimeMillisUnsafe(), vendors)
          )
        )

/** What is granted where nothing is asked for, as for most jobs that only compute. */
const nothing = Effect.fromResult(Lease.make({}, {}, 0))

/**
 * Grants what is asked for, if it is well formed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Leases> = Layer.effect(
  Leases,
  Effect.map(VendorCapability.Registry, (vendors) => Leases.of({ grant: compileWith(vendors) }))
)

/**
 * One pattern that someone asks for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ask {
  readonly principal: Authenticator.Principal
  readonly agent: string
  readonly capability: string
  /** As it was sent. */
  readonly pattern: string
}

/**
 * Grants the part of what is asked for that the policy keeps: `true` keeps a pattern, `false` drops it, a failure refuses the job. So a
 * policy can narrow and refuse, and has no way to widen. It is not asked about `cost.budget`: that is a bound, and to drop it would widen.
 * A capability of which nothing was kept is absent from the lease.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPolicy = <R>(
  policy: (ask: Ask) => Effect.Effect<boolean, ArcpError.PermissionDenied, R>
): Layer.Layer<Leases, never, R> =>
  Layer.effect(
    Leases,
    Effect.gen(function* () {
      const context = yield* Effect.context<R>()
      const vendors = yield* VendorCapability.Registry
      const compile = compileWith(vendors)
      return Leases.of({
        grant: Effect.fn("Leases.grant")(function* (request) {
          const { principal, agent } = request
          const asked = yield* compile(request)
          const kept: Array<readonly [string, ReadonlyArray<string>]> = []
          for (const [capability, patterns] of Object.entries(asked.grants)) {
            if (capability === "cost.budget") {
              kept.push([capability, patterns])
              continue
            }
            const allowed = yield* Effect.filter(patterns, (pattern) =>
              policy({ principal, agent, capability, pattern }).pipe(Effect.provideContext(context))
            )
            if (allowed.length > 0) kept.push([capability, allowed])
          }
          return yield* Effect.fromResult(Lease.compile(Object.fromEntries(kept), asked.constraints, vendors))
        })
      })
    })
  )

/**
 * Refuses what goes beyond the largest lease of the {@link LeasePolicy.LeasePolicy} with `PERMISSION_DENIED`, naming the field and the pattern;
 * what cannot be proved to be within is beyond. A lease that names no budget, or no end, where the policy bounds it gets that of the policy.
 * What is left of the request goes to `inner`, which grants it or less. Default {@link layer}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWithin = <E = never, R = never>(
  inner: Layer.Layer<Leases, E, R> = layer
): Layer.Layer<Leases, E, R | LeasePolicy.LeasePolicy> =>
  Layer.effect(
    Leases,
    Effect.gen(function* () {
      const leases = yield* Leases
      const policy = yield* LeasePolicy.LeasePolicy
      const vendors = yield* VendorCapability.Registry
      const compile = compileWith(vendors)
      // A policy often answers with the same grants.
      const known = new WeakMap<Capability.Grants, Lease.Lease>()

      const boundsOf = Effect.fnUntraced(function* (
        largest: LargestLease.LargestLease,
        principal: string,
        now: number
      ) {
        const before = known.get(largest.grants)
        const compiled = before === undefined ? LargestLease.compile(largest, vendors) : Result.succeed(before)
        if (Result.isFailure(compiled)) {
          yield* Effect.logError("The largest lease of a principal cannot be read", {
            principal,
            reason: compiled.failure.message
          })
          return yield* new ArcpError.PermissionDenied({ message: "What the principal may ask for cannot be read" })
        }
        known.set(largest.grants, compiled.success)
        const expiresAt = LargestLease.latest(largest, now)
        if (Option.isSome(expiresAt) && expiresAt.value <= now) {
          return yield* new ArcpError.PermissionDenied({
            message: "The time in which the principal may ask for leases is over",
            details: { field: "lease_constraints.expires_at" }
          })
        }
        return { ...compiled.success, expiresAt }
      })

      return Leases.of({
        grant: Effect.fn("Leases.grantWithin")(function* (request) {
          const { agent, principal } = request
          const now = request.now ?? (yield* Clock.currentTimeMillis)
          const asked = yield* compile({ ...request, now })
          const bounds = yield* boundsOf(yield* policy.largest({ principal, agent }), principal.id, now)
          const excess = Lease.excess(asked, bounds)
          if (Option.isSome(excess)) {
            const { field, pattern, reason } = excess.value
            return yield* new ArcpError.PermissionDenied({
              message: `${field}: beyond what the principal may ask for, ${reason}`,
              details: pattern === undefined ? { field } : { field, pattern }
            })
          }
          return yield* leases.grant({ ...request, now, ...within(asked, bounds) })
        })
      })
    })
  ).pipe(Layer.provide(inner))

/** What was asked for, with the bounds on what was left out. */
const within = (asked: Lease.Lease, bounds: Lease.Lease): Pick<Request, "request" | "constraints"> => {
  const budget = Array.from(bounds.budget).filter(([currency]) => !asked.budget.has(currency))
  const amounts = budget.map(([currency, value]) => Amount.format({ currency, value }))
  // Where a lease that does not name models lets any be used, to leave them out must not widen it.
  const namesNoModel = Object.hasOwn(bounds.grants, "model.use") && !Object.hasOwn(asked.grants, "model.use")
  return {
    request: {
      ...asked.grants,
      ...(namesNoModel ? { "model.use": [] } : undefined),
      ...(amounts.length === 0 ? undefined : { "cost.budget": [...(asked.grants["cost.budget"] ?? []), ...amounts] })
    },
    constraints:
      Option.isNone(asked.expiresAt) && Option.isSome(bounds.expiresAt)
        ? { ...asked.constraints, expires_at: Timestamp.format(bounds.expiresAt.value) }
        : asked.constraints
  }
}
