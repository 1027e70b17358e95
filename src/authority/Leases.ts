/**
 * Decides what lease a job gets (§9.1): never more than was asked for.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"
import type * as ArcpError from "../protocol/ArcpError.ts"
import type * as Capability from "../protocol/Capability.ts"
import type * as Authenticator from "./Authenticator.ts"
import * as Lease from "./Lease.ts"

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

const compile = ({ constraints, now, request }: Request): Effect.Effect<Lease.Lease, ArcpError.InvalidRequest> =>
  request === undefined && constraints === undefined
    ? nothing
    : Effect.clockWith((clock) =>
        Effect.fromResult(Lease.make(request ?? {}, constraints ?? {}, now ?? clock.currentTimeMillisUnsafe()))
      )

/** What is granted where nothing is asked for, as for most jobs that only compute. */
const nothing = Effect.fromResult(Lease.make({}, {}, 0))

/**
 * Grants what is asked for, if it is well formed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Leases> = Layer.succeed(Leases, Leases.of({ grant: compile }))

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
          return yield* Effect.fromResult(Lease.compile(Object.fromEntries(kept), asked.constraints))
        })
      })
    })
  )
