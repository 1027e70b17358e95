/**
 * The accounts of jobs and the reservations within them, as one tree; every change is one synchronous step.
 *
 * Each node has a budget, and its cap in a currency is a hold on the nearest ancestor that caps this currency too, its holder. A reservation
 * is a node like the account of a job: what is spent in it is charged there, and in the end its hold is settled with that. They differ in
 * two ways. The cap of a job is the end of what it may spend, while what a reservation lacks may come from its ancestors. And what a
 * reservation did not spend returns as soon as it closes, while that of a job returns when the last of its children is done: until then one
 * of them may spend it.
 *
 * A hold is the cap or, where more than that is spent and held in the node, that much: so no figure further up claims what is gone.
 */
import { BigDecimal, Semaphore } from "effect"
import * as Amount from "../../protocol/Amount.ts"
import * as Budget from "../Budget.ts"

/** How it stands with what can be spent at some place. */
export type Standing = Pick<Budget.Standing, "available" | "cap" | "currency">

/** So much was to be set aside, and is not there. */
export interface Shortage {
  readonly standing: Standing
  readonly wanted: BigDecimal.BigDecimal
}

/** The accounts that have something in their outbox. */
export type Touched = ReadonlySet<Account>

abstract class Base {
  /** Names the hold that this node has on others. */
  readonly id: string
  readonly parent: Node | undefined
  readonly holders: ReadonlyMap<Node, ReadonlyArray<string>>
  budget: Budget.Budget
  closed = false
  /** Closed, with no child left: it takes part in nothing any more. */
  settled = false
  children = 0

  constructor(id: string, parent: Node | undefined, budget: Budget.Budget) {
    this.id = id
    this.parent = parent
    this.budget = budget
    const holders = new Map<Node, Array<string>>()
    for (const currency of budget.standings.keys()) {
      const holder = capping(parent, currency)
      if (holder !== undefined) holders.set(holder, [...(holders.get(holder) ?? []), currency])
    }
    this.holders = holders
  }
}

export class Account extends Base {
  readonly _tag = "Account"
  /** Every currency that is capped here or in an ancestor. */
  readonly currencies: ReadonlyArray<string>
  /** What the journal is still to hold, oldest first. */
  readonly outbox: Array<Budget.Entry> = []
  /** Taken by who empties the outbox. */
  readonly turn = Semaphore.makeUnsafe(1)
  reservations = 0

  constructor(id: string, parent: Node | undefined, budget: Budget.Budget) {
    super(id, parent, budget)
    const currencies = new Set(budget.standings.keys())
    for (let node = parent; node !== undefined; node = node.parent) {
      for (const currency of node.budget.standings.keys()) currencies.add(currency)
    }
    this.currencies = Array.from(currencies)
  }
}

export class Reservation extends Base {
  readonly _tag = "Reservation"
  readonly account: Account
  /** The one, perhaps of another job, in which this was made. */
  readonly outer: Reservation | undefined

  constructor(account: Account, parent: Node, budget: Budget.Budget, outer: Reservation | undefined) {
    super(`${account.id}/${++account.reservations}`, parent, budget)
    this.account = account
    this.outer = outer
  }
}

export type Node = Account | Reservation

const zero = BigDecimal.fromBigInt(0n)

/** What has changed in one step, and whose journals are to hear of it. */
interface Step {
  readonly changed: Set<Node>
  readonly touched: Set<Account>
}

const begin = (): Step => ({ changed: new Set(), touched: new Set() })

/** The nearest node, this one or an ancestor, that caps the currency and is not settled. */
const capping = (from: Node | undefined, currency: string): Node | undefined => {
  let node = from
  while (node !== undefined && (node.settled || !node.budget.standings.has(currency))) node = node.parent
  return node
}

/** Where a job spends: in the reservation that is current, if it is the job's own, else in the account. */
export const place = (account: Account, current: unknown): Node => {
  let node = current instanceof Reservation ? current : undefined
  while (node !== undefined && (node.account !== account || node.closed)) node = node.outer
  return node ?? account
}

/** What can be set aside, or spent by an operation, at a node; nothing if nobody caps the currency. */
const room = (from: Node, currency: string): Standing | undefined => {
  let reserved = zero
  let node = capping(from, currency)
  while (node?._tag === "Reservation") {
    const { available } = node.budget.standings.get(currency)!
    if (!node.closed && BigDecimal.isPositive(available)) reserved = BigDecimal.sum(reserved, available)
    node = capping(node.parent, currency)
  }
  const standing = node?.budget.standings.get(currency)
  if (standing === undefined || BigDecimal.isZero(reserved)) return standing
  const { available, cap } = standing
  return { currency, cap, available: BigDecimal.sum(reserved, BigDecimal.max(available, zero)) }
}

/** What a node takes of its holder: its cap, or what is spent and held in it where that is more. */
const taken = (node: Node, currency: string): BigDecimal.BigDecimal => {
  const { cap, charged, held } = node.budget.standings.get(currency)!
  const used = BigDecimal.sum(charged, held)
  return node._tag === "Reservation" && node.closed ? used : BigDecimal.max(cap, used)
}

const enter = (node: Node, entry: Budget.Entry, { changed, touched }: Step): void => {
  node.budget = Budget.apply(node.budget, entry)
  changed.add(node)
  if (node._tag === "Reservation") return
  node.outbox.push(entry)
  touched.add(node)
}

/** Lets the holds follow what has changed, from a node on to its ancestors. */
const follow = (from: Node, step: Step): void => {
  for (let node: Node | undefined = from; node !== undefined; node = node.parent) {
    if (!step.changed.delete(node) || node.settled) continue
    for (const [holder, currencies] of node.holders) {
      const held = Budget.heldBy(holder.budget, node.id)
      const amounts: Array<Amount.Amount> = []
      for (const currency of currencies) amounts.push({ currency, value: taken(node, currency) })
      if (amounts.some(({ currency, value }) => !BigDecimal.equals(value, held.get(currency) ?? zero))) {
        enter(holder, { _tag: "Hold", id: node.id, amounts }, step)
      }
    }
  }
}

/** Puts a new node in its place if there is room for what it takes, all of it or nothing. */
const attach = (node: Node, step: Step): Shortage | undefined => {
  for (const [holder, currencies] of node.holders) {
    for (const currency of currencies) {
      const wanted = taken(node, currency)
      const standing = room(holder, currency)!
      if (BigDecimal.isGreaterThan(wanted, standing.available)) return { standing, wanted }
    }
  }
  if (node.parent !== undefined) node.parent.children++
  step.changed.add(node)
  follow(node, step)
  return undefined
}

/** Opens the account of a job of which so much is known already. */
export const open = (
  id: string,
  parent: Node | undefined,
  caps: Budget.Amounts,
  history: Iterable<Budget.Entry>
): Shortage | { readonly account: Account; readonly touched: Touched } => {
  const step = begin()
  const account = new Account(id, parent, Budget.fold(Budget.make(caps), history))
  for (const settlement of Budget.settlements(account.budget)) enter(account, settlement, step)
  return attach(account, step) ?? { account, touched: step.touched }
}

/** How it stands with an account that is settled: what it had is given back. */
const givenBack = (currency: string): Standing => ({ currency, cap: zero, available: zero })

/** The first currency of which nothing is left for an operation. */
export const exhausted = (account: Account, current: unknown): Standing | undefined => {
  const from = place(account, current)
  for (const currency of account.currencies) {
    const standing = account.settled ? givenBack(currency) : room(from, currency)
    if (standing !== undefined && !BigDecimal.isPositive(standing.available)) return standing
  }
  return undefined
}

/** Sets amounts aside, as far as somebody caps their currencies. */
export const reserve = (
  account: Account,
  current: unknown,
  amounts: ReadonlyArray<Amount.Amount>
): Shortage | { readonly reservation: Reservation; readonly touched: Touched } => {
  const caps = Amount.total(
    amounts.filter(({ currency, value }) => BigDecimal.isPositive(value) && account.currencies.includes(currency))
  )
  if (account.settled) for (const [currency, wanted] of caps) return { standing: givenBack(currency), wanted }
  const step = begin()
  const outer = current instanceof Reservation ? current : undefined
  const reservation = new Reservation(account, place(account, current), Budget.make(caps), outer)
  return attach(reservation, step) ?? { reservation, touched: step.touched }
}

/** How it stands with the job that caps a currency, reservations apart. */
const standingOf = (account: Account, currency: string): Budget.Standing | undefined => {
  let node = capping(account, currency)
  while (node?._tag === "Reservation") node = capping(node.parent, currency)
  return node?.budget.standings.get(currency)
}

/** Charges each amount to the nearest node that caps its currency. The entry of the account itself is left to the caller to record. */
export const charge = (
  account: Account,
  current: unknown,
  amounts: ReadonlyArray<Amount.Amount>
): {
  readonly entries: ReadonlyArray<Budget.Entry>
  readonly standings: ReadonlyArray<Budget.Standing>
  readonly touched: Touched
} => {
  const step = begin()
  const from = place(account, current)
  const counted: Array<string> = []
  const own: Array<Amount.Amount> = []
  for (const [currency, value] of Amount.total(amounts.filter(({ value }) => BigDecimal.isPositive(value)))) {
    const node = capping(from, currency)
    if (node === undefined) continue
    counted.push(currency)
    if (node === account) own.push({ currency, value })
    else enter(node, { _tag: "Charge", amounts: [{ currency, value }] }, step)
  }
  const entries: ReadonlyArray<Budget.Entry> = own.length === 0 ? [] : [{ _tag: "Charge", amounts: own }]
  if (own.length > 0) {
    account.budget = Budget.fold(account.budget, entries)
    step.changed.add(account)
  }
  follow(from, step)
  return {
    entries,
    standings: counted.flatMap((currency) => standingOf(account, currency) ?? []),
    touched: step.touched
  }
}

const isDone = ({ children, closed, settled }: Node): boolean => closed && children === 0 && !settled

/** Ends a node. It settles once its last child has; `settled` are the accounts of which that is now true. */
export const close = (node: Node): { readonly settled: ReadonlyArray<Account>; readonly touched: Touched } => {
  const step = begin()
  const settled: Array<Account> = []
  if (node.closed) return { settled, touched: step.touched }
  node.closed = true
  step.changed.add(node)
  for (let at: Node | undefined = node; at !== undefined && isDone(at); at = at.parent) {
    at.settled = true
    if (at._tag === "Account") settled.push(at)
    if (at.parent !== undefined) at.parent.children--
    for (const [holder, currencies] of at.holders) {
      const spent: Array<Amount.Amount> = []
      for (const currency of currencies) {
        const value = at.budget.standings.get(currency)!.charged
        if (BigDecimal.isPositive(value)) spent.push({ currency, value })
      }
      enter(holder, { _tag: "Settle", id: at.id, spent }, step)
    }
  }
  follow(node, step)
  return { settled, touched: step.touched }
}
