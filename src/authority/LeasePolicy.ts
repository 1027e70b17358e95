/**
 * From whom to how much: the largest lease that a principal may ask for (§9.1). `Leases.layerWithin` holds submissions to it.
 *
 * ```ts
 * import { Duration, Effect, Layer } from "effect"
 * import { LeasePolicy, Leases } from "effect-arcp/authority"
 *
 * const Policy = LeasePolicy.layer(({ principal }) =>
 *   Effect.succeed({
 *     grants: { "fs.read": [`/home/${principal.id}/**`], "cost.budget": ["USD:5.00"] },
 *     lifetime: Duration.hours(1)
 *   })
 * )
 *
 * export const LeasesLive = Leases.layerWithin().pipe(Layer.provide(Policy))
 * ```
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"
import type * as ArcpError from "../protocol/ArcpError.ts"
import type * as Authenticator from "./Authenticator.ts"
import * as LargestLease from "./LargestLease.ts"

/**
 * Who asks, and for a lease of which agent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ask {
  readonly principal: Authenticator.Principal
  /** `name` or `name@version`. */
  readonly agent: string
}

/**
 * Says how much a principal may ask for.
 *
 * @category services
 * @since 0.1.0
 */
export class LeasePolicy extends Context.Service<
  LeasePolicy,
  {
    /** The most that a lease may be; a failure refuses the job. To answer with the same grants again saves reading them again. */
    readonly largest: (ask: Ask) => Effect.Effect<LargestLease.LargestLease, ArcpError.PermissionDenied>
  }
>()("arcp/authority/LeasePolicy") {}

/**
 * A policy that is one function.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R>(
  largest: (ask: Ask) => Effect.Effect<LargestLease.LargestLease, ArcpError.PermissionDenied, R>
): Layer.Layer<LeasePolicy, never, R> =>
  Layer.effect(
    LeasePolicy,
    Effect.gen(function* () {
      const context = yield* Effect.context<R>()
      return LeasePolicy.of({ largest: (ask) => Effect.provideContext(largest(ask), context) })
    })
  )

/**
 * Goes by what the authenticator knows of the principal, such as the claims of its token. Of whom it knows nothing may ask for nothing.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPrincipal: Layer.Layer<LeasePolicy> = Layer.succeed(
  LeasePolicy,
  LeasePolicy.of({ largest: ({ principal }) => Effect.succeed(principal.largestLease ?? LargestLease.none) })
)
