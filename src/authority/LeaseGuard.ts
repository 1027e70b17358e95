/**
 * The lease of one running job, asked before every operation (§9.3). The runner makes one for each job.
 *
 * @since 0.1.0
 */
import { BigDecimal, Clock, Context, Duration, Effect, Option, Result } from "effect"
import type * as Amount from "../protocol/Amount.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import type * as Budgets from "./Budgets.ts"
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
 * A lease and its time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tenure {
  readonly lease: Lease.Lease
  /**
   * Milliseconds since the Unix epoch, as they count for this lease: never less than when it was accepted and what has passed since, so
   * setting the wall clock back gives nobody more time.
   */
  readonly now: () => number
}

/**
 * Asks the lease of one job, and those above it, about each thing that is done.
 *
 * @category services
 * @since 0.1.0
 */
export class LeaseGuard extends Context.Service<
  LeaseGuard,
  {
    readonly lease: Lease.Lease
    /** The lease, then those of the jobs that delegated this one, the nearest first. An operation needs all of them (§9.4). */
    readonly tenures: ReadonlyArray<Tenure>
    /**
     * Fails unless every lease covers the operation at the moment that this runs, and something is left to spend. Run it right before the
     * operation. Looks at time first, then at the budget, then at capabilities.
     */
    readonly authorize: (operation: Operation.Operation) => Effect.Effect<void, Denial>
    /**
     * Runs what will cost at most so much with that much set aside, so that what runs beside it cannot spend it too (§9.6). Costs that `use`
     * reports are taken from there; what is left returns, however `use` ends. Fails, and runs nothing, if so much is not there, or with
     * `InvalidRequest` if an amount is negative.
     */
    readonly reserve: <A, E, R>(
      amounts: ReadonlyArray<Amount.Amount>,
      use: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | ArcpError.BudgetExhausted | ArcpError.InvalidRequest, R>
    /** Completes when the first of the leases ends, with the error that the job then ends with; never if none does. */
    readonly expired: Effect.Effect<ArcpError.LeaseExpired>
  }
>()("arcp/authority/LeaseGuard") {}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** What the job may spend; nothing is counted without one. */
  readonly account?: Budgets.Account | undefined
  /** The guard of the job that delegated this one. */
  readonly parent?: LeaseGuard["Service"] | undefined
}

/**
 * Guards a lease from now on. The lease ends when the wall clock reaches `expires_at`, or when as much time has passed as was left of it
 * now, whichever is first.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (lease: Lease.Lease, { account, parent }: Options = {}): Effect.Effect<LeaseGuard["Service"]> =>
  Clock.clockWith((clock) => {
    const wall = clock.currentTimeMillisUnsafe()
    const origin = clock.monotonicTimeNanosUnsafe()
    // This clock and no other: an agent can bring a clock of its own, and must not live by it.
    const now = () => {
      const elapsed = Number(clock.monotonicTimeNanosUnsafe() - origin) / 1_000_000
      return Math.max(clock.currentTimeMillisUnsafe(), wall + elapsed)
    }
    const tenures: ReadonlyArray<Tenure> = [{ lease, now }, ...(parent?.tenures ?? [])]
    let isLogged = false

    const late = (operation: Operation.Operation, error: ArcpError.LeaseExpired) =>
      Effect.suspend(() => {
        // An agent that tries again and again must not fill the log.
        const level = isLogged ? "Debug" : "Info"
        isLogged = true
        const facts = { ...error.details, ...(account === undefined ? undefined : { job: account.job }) }
        return Effect.andThen(
          Effect.logWithLevel(level)("An operation was denied: the lease has expired", facts),
          Effect.fail(error)
        )
      })

    /** Calls `then` if no lease has ended. */
    const inTime = (
      operation: Operation.Operation,
      then: () => Effect.Effect<void, Denial>
    ): Effect.Effect<void, Denial> => {
      for (const { lease, now } of tenures) {
        const time = Lease.inTime(lease, operation, now())
        if (Result.isFailure(time)) return late(operation, time.failure)
      }
      return then()
    }

    const covered = (operation: Operation.Operation) => {
      for (const { lease } of tenures) {
        const granted = Lease.covers(lease, operation)
        if (Result.isFailure(granted)) return Effect.fail(granted.failure)
      }
      return Effect.void
    }

    const authorize = (operation: Operation.Operation): Effect.Effect<void, Denial> =>
      Effect.suspend(() =>
        inTime(operation, () =>
          account === undefined
            ? covered(operation)
            : // A ledger elsewhere may take its time.
              Effect.flatMap(account.check, () => inTime(operation, () => covered(operation)))
        )
      )

    return Effect.succeed(
      LeaseGuard.of({
        lease,
        tenures,
        authorize,
        reserve: (amounts, use) => {
          const index = amounts.findIndex(({ value }) => BigDecimal.isNegative(value))
          if (index !== -1) return Effect.fail(negative(index))
          return account === undefined ? use : account.reserve(amounts, use)
        },
        expired: expiry(tenures, clock)
      })
    )
  })

const negative = (index: number) => ArcpError.invalidField(`amounts[${index}]`, "an amount is not negative")

const hour = 3_600_000

const expiry = (tenures: ReadonlyArray<Tenure>, clock: Clock.Clock): Effect.Effect<ArcpError.LeaseExpired> =>
  Effect.suspend(() => {
    let next = Number.POSITIVE_INFINITY
    for (const { lease, now } of tenures) {
      if (Option.isNone(lease.expiresAt)) continue
      const left = lease.expiresAt.value - now()
      if (left <= 0) return Effect.succeed(ended(lease.expiresAt.value))
      next = Math.min(next, left)
    }
    if (next === Number.POSITIVE_INFINITY) return Effect.never
    // In steps, for meanwhile the wall clock may be set forward; and the nearer the end, the shorter.
    const step = next <= 1000 ? next : Math.min(hour, Math.max(1000, next / 2))
    return Effect.andThen(clock.sleep(Duration.millis(Math.ceil(step))), expiry(tenures, clock))
  })

const ended = (millis: number) => {
  const expires_at = Timestamp.format(millis)
  return new ArcpError.LeaseExpired({ message: `The lease expired at ${expires_at}`, details: { expires_at } })
}
