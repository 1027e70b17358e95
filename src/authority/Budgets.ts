/**
 * The ledger of what jobs spend (§9.6): each has an account, and what a child may spend is held on the account of its parent.
 *
 * The default ledger keeps in memory what the journals hold, and nothing else: the state of an account is the fold of its entries. A host
 * puts a ledger of its own in its place, or over it. Here one cap binds all jobs together, also those whose leases have no budget:
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Budgets } from "effect-arcp/authority"
 * import { type Amount, Ids } from "effect-arcp/protocol"
 *
 * const layerCompany = (cap: Amount.Amount) =>
 *   Layer.effect(
 *     Budgets.Budgets,
 *     Effect.gen(function*() {
 *       const ledger = yield* Budgets.make
 *       const company = Ids.JobId.make("company")
 *       const caps = new Map([[cap.currency, cap.value]])
 *       yield* Effect.orDie(ledger.open({ job: company, caps, record: () => Effect.void }))
 *       return Budgets.Budgets.of({
 *         open: (opening) => ledger.open({ ...opening, parent: opening.parent ?? company }),
 *         bindsAll: true
 *       })
 *     })
 *   )
 * ```
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"
import type * as Amount from "../protocol/Amount.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Ids from "../protocol/Ids.ts"
import * as Budget from "./Budget.ts"
import * as ledger from "./internal/ledger.ts"

/**
 * What became of a cost that was charged.
 *
 * @category models
 * @since 0.1.0
 */
export interface Charged {
  /**
   * What the job's journal must hold of it, together with the metric that reported the cost. Empty if nobody bounds the currency, or if
   * somebody else's journal holds it already.
   */
  readonly entries: ReadonlyArray<Budget.Entry>
  /** How it stands now with each currency that was counted: in the account, or in that of the nearest ancestor that caps it. */
  readonly standings: ReadonlyArray<Budget.Standing>
}

/**
 * What one job may spend. For each currency that is capped in the job's own lease, or in that of an ancestor, the nearest of these counts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Account {
  readonly job: Ids.JobId
  /** What is left in each currency that the job's own lease caps: `budget` in `job.accepted` and `job.subscribed`. */
  readonly available: Effect.Effect<Budget.Amounts>
  /** Fails if in any currency nothing is left for an operation. Runs at each of them. */
  readonly check: Effect.Effect<void, ArcpError.BudgetExhausted>
  /**
   * Counts a cost that has come about: at once, whatever is left, so that what is left may be below zero. Amounts that are not positive, and
   * currencies that nobody caps, change nothing. Not interrupted half-way; make it one step with the append of its entries.
   */
  readonly charge: (amounts: ReadonlyArray<Amount.Amount>) => Effect.Effect<Charged>
  /**
   * Runs `use` with so much set aside, all or nothing. Costs charged within `use`, by whichever fiber, are taken from there first, and operations
   * within it go on while something of it is left. A reservation within `use` takes from it likewise. The rest returns when `use` ends,
   * however it does.
   */
  readonly reserve: <A, E, R>(
    amounts: ReadonlyArray<Amount.Amount>,
    use: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | ArcpError.BudgetExhausted, R>
  /**
   * The job is over. What it did not spend returns to its parent once the last of its children has closed, for one of those may have no cap
   * of its own. Costs that come later still are charged to the ancestors.
   */
  readonly close: Effect.Effect<void>
}

/**
 * The account that is to be opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface Opening {
  readonly job: Ids.JobId
  /** What the job's own lease caps, by currency. */
  readonly caps: Budget.Amounts
  /**
   * The job that delegates this one; its account must be open. The caps are held there, taken from the reservation in which this runs if there
   * is one.
   */
  readonly parent?: Ids.JobId | undefined
  /**
   * Adds an entry to the journal of the job. Entries come in order, one at a time, and what causes them waits: it should not take long,
   * and a journal that is closed is no failure.
   */
  readonly record: (entry: Budget.Entry) => Effect.Effect<void>
  /** What the journal holds already, of a job that is run again. Holds that are open in it count as spent. */
  readonly history?: Iterable<Budget.Entry> | undefined
}

/**
 * The ledger: opens the accounts of jobs.
 *
 * @category services
 * @since 0.1.0
 */
export class Budgets extends Context.Service<
  Budgets,
  {
    /**
     * Opens the account of a job that is about to start. Fails if the parent has not so much available; then nothing is held. Who opens an
     * account must close it.
     */
    readonly open: (opening: Opening) => Effect.Effect<Account, ArcpError.BudgetExhausted>
    /**
     * Whether every job is to have an account, also one whose lease, and those above, have no budget: so it is where the ledger has caps of
     * its own. Default `false`.
     */
    readonly bindsAll?: boolean
  }
>()("arcp/authority/Budgets") {}

/**
 * What a job has set aside for a part of its work; only a ledger knows what is in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reservation {
  readonly _tag: "Reservation"
  /** The id of the hold. */
  readonly id: string
}

/**
 * The reservation within which a fiber runs.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentReservation = Context.Reference<Reservation | undefined>("arcp/authority/CurrentReservation", {
  defaultValue: () => undefined
})

const record = (account: ledger.Account, recorder: Opening["record"]): Effect.Effect<void> =>
  Effect.suspend(() => {
    const entry = account.outbox.shift()
    return entry === undefined ? Effect.void : Effect.andThen(recorder(entry), record(account, recorder))
  })

/**
 * The default ledger.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Budgets["Service"]> = Effect.sync(() => {
  /** The accounts that are not settled. */
  const accounts = new Map<string, ledger.Account>()
  const recorders = new WeakMap<ledger.Account, Opening["record"]>()

  /** Done when the journals hold what a step brought about. They hold it in the order of the steps. */
  const flush = (touched: ledger.Touched): Effect.Effect<void> =>
    touched.size === 0
      ? Effect.void
      : Effect.uninterruptible(
          Effect.forEach(touched, (account) => account.turn.withPermit(record(account, recorders.get(account)!)), {
            discard: true
          })
        )

  const close = (node: ledger.Node): Effect.Effect<void> =>
    Effect.suspend(() => {
      const { settled, touched } = ledger.close(node)
      for (const account of settled) accounts.delete(account.id)
      return flush(touched)
    })

  const accountOf = (job: Ids.JobId, account: ledger.Account): Account => ({
    job,
    available: Effect.sync(() => Budget.available(account.budget)),
    check:
      account.currencies.length === 0
        ? Effect.void
        : Effect.withFiber((fiber) => {
            const standing = ledger.exhausted(account, fiber.getRef(CurrentReservation))
            return standing === undefined ? Effect.void : Effect.fail(Budget.refusal(standing))
          }),
    charge: (amounts) =>
      Effect.uninterruptible(
        Effect.withFiber((fiber) => {
          const { touched, ...charged } = ledger.charge(account, fiber.getRef(CurrentReservation), amounts)
          return Effect.as(flush(touched), charged)
        })
      ),
    reserve: (amounts, use) =>
      Effect.acquireUseRelease(
        Effect.withFiber((fiber) => {
          const made = ledger.reserve(account, fiber.getRef(CurrentReservation), amounts)
          return "reservation" in made ? Effect.succeed(made) : Effect.fail(Budget.refusal(made.standing, made.wanted))
        }),
        ({ reservation, touched }) =>
          Effect.andThen(flush(touched), Effect.provideService(use, CurrentReservation, reservation)),
        ({ reservation }) => close(reservation)
      ),
    close: Effect.uninterruptible(close(account))
  })

  const open = (opening: Opening): Effect.Effect<Account, ArcpError.BudgetExhausted> =>
    Effect.withFiber((fiber) => {
      const { caps, history = [], job } = opening
      if (accounts.has(job)) return Effect.die(new Error(`job ${job} has an account already`))
      const parent = opening.parent === undefined ? undefined : accounts.get(opening.parent)
      if (opening.parent !== undefined && parent?.closed !== false) return Effect.fail(over(opening.parent))
      const within = parent && ledger.place(parent, fiber.getRef(CurrentReservation))
      const opened = ledger.open(job, within, caps, history)
      if (!("account" in opened)) return Effect.fail(Budget.refusal(opened.standing, opened.wanted))
      const { account, touched } = opened
      accounts.set(job, account)
      recorders.set(account, opening.record)
      return Effect.as(flush(touched), accountOf(job, account))
    })

  return Budgets.of({ open: Effect.fn("Budgets.open")((opening) => Effect.uninterruptible(open(opening))) })
})

const over = (job: Ids.JobId) =>
  new ArcpError.BudgetExhausted({
    message: `Nothing can be spent for job ${job} any more: its budget is settled`,
    details: { job_id: job }
  })

/**
 * The default ledger.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Budgets> = Layer.effect(Budgets, make)
