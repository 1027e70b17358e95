/**
 * Accounts with their journals, kept in memory, and amounts written as text.
 */
import { Effect, Result } from "effect"
import * as Budget from "../../src/authority/Budget.ts"
import * as Budgets from "../../src/authority/Budgets.ts"
import * as Amount from "../../src/protocol/Amount.ts"
import * as Ids from "../../src/protocol/Ids.ts"

export const amounts = (...texts: ReadonlyArray<string>): ReadonlyArray<Amount.Amount> =>
  texts.map((text) => Result.getOrThrow(Amount.parse(text)))

export const caps = (...texts: ReadonlyArray<string>): Budget.Amounts => Amount.total(amounts(...texts))

export const shown = (some: Budget.Amounts): Readonly<Record<string, string>> =>
  Object.fromEntries(Array.from(some, ([currency, value]) => [currency, Amount.formatValue(value)]))

export interface Options {
  readonly parent?: Ids.JobId
  /** Runs before an entry is in the journal. */
  readonly delay?: Effect.Effect<void>
  /** What the journal holds before. */
  readonly history?: ReadonlyArray<Budget.Entry>
}

export type Job = Effect.Success<ReturnType<typeof open>>

/** Opens the account of a job that caps so much. */
export const open = Effect.fnUntraced(function* (name: string, some: ReadonlyArray<string>, options: Options = {}) {
  const ledger = yield* Budgets.Budgets
  const { delay = Effect.void, history = [], parent } = options
  const journal: Array<Budget.Entry> = [...history]
  const write = (entries: ReadonlyArray<Budget.Entry>) =>
    Effect.andThen(
      delay,
      Effect.sync(() => void journal.push(...entries))
    )
  const job = Ids.JobId.make(name)
  const account = yield* ledger.open({ job, caps: caps(...some), parent, history, record: (entry) => write([entry]) })
  return {
    job,
    account,
    journal,
    left: Effect.map(account.available, shown),
    /** What is left if one asks the journal alone. */
    folded: Effect.sync(() => shown(Budget.available(Budget.fold(Budget.make(caps(...some)), journal)))),
    /** Charges, and puts into the journal what is to be there, as a runner does with a metric. */
    spend: (...texts: ReadonlyArray<string>) =>
      Effect.uninterruptible(Effect.tap(account.charge(amounts(...texts)), ({ entries }) => write(entries)))
  }
})
