/**
 * The lease of one running job, asked before every operation (§9.3). The runner makes one for each job.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect } from "effect"
import type * as Amount from "../protocol/Amount.ts"
import type * as ArcpError from "../protocol/ArcpError.ts"
import * as Lease from "./Lease.ts"
import type * as Operation from "./Operation.ts"

/**
 * Why an operation is refused: the lease does not cover it, has run out, or has nothing left to spend.
 *
 * @category errors
 * @since 0.1.0
 */
export type Denial = ArcpError.PermissionDenied | ArcpError.LeaseExpired | ArcpError.BudgetExhausted

/**
 * @category services
 * @since 0.1.0
 */
export class LeaseGuard extends Context.Service<
  LeaseGuard,
  {
    readonly lease: Lease.Lease
    /** Fails unless the lease covers the operation at the moment that this runs. Run it right before the operation. */
    readonly authorize: (operation: Operation.Operation) => Effect.Effect<void, Denial>
    /**
     * Runs what will cost at most so much with that much set aside, so that what runs beside it cannot spend it too (§9.6). Costs that `use`
     * reports are taken from there; what is left returns, however `use` ends. Fails, and runs nothing, if so much is not there.
     */
    readonly reserve: <A, E, R>(
      amounts: ReadonlyArray<Amount.Amount>,
      use: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | ArcpError.BudgetExhausted, R>
  }
>()("arcp/authority/LeaseGuard") {}

/**
 * Guards a lease from now on. The lease ends when the wall clock reaches `expires_at`, or when as much time has passed as was left of it
 * now, whichever is first: setting the wall clock back gives nobody more time.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (lease: Lease.Lease): Effect.Effect<LeaseGuard["Service"]> =>
  Clock.clockWith((clock) => {
    const wall = clock.currentTimeMillisUnsafe()
    const origin = clock.monotonicTimeNanosUnsafe()
    // This clock and no other: an agent can bring a clock of its own, and must not live by it.
    const now = () => {
      const elapsed = Number(clock.monotonicTimeNanosUnsafe() - origin) / 1_000_000
      return Math.max(clock.currentTimeMillisUnsafe(), wall + elapsed)
    }
    return Effect.succeed(
      LeaseGuard.of({
        lease,
        authorize: (operation) => Effect.suspend(() => Effect.fromResult(Lease.authorize(lease, operation, now()))),
        reserve: (_, use) => use
      })
    )
  })
