/**
 * What a ledger should say, worked out anew each time from what happened: whole cents, no entries, no holds, nothing that is kept up to date.
 * It knows two rules only: what something uses is what was spent in it and what its children take of it, and a child takes its cap, or what
 * it uses if that is more or if the rest is not needed any more.
 */

export const currencies = ["USD", "EUR"] as const
export type Currency = (typeof currencies)[number]
export type Cents = Partial<Record<Currency, number>>

export interface Node {
  readonly kind: "account" | "reservation"
  readonly parent: Node | undefined
  readonly children: Array<Node>
  readonly caps: Cents
  readonly spent: Record<Currency, number>
  isClosed: boolean
}

export const make = (kind: Node["kind"], parent: Node | undefined, caps: Cents): Node => ({
  kind,
  parent,
  children: [],
  caps,
  spent: { USD: 0, EUR: 0 },
  isClosed: false
})

export const add = (node: Node): void => void node.parent?.children.push(node)

export const isSettled = (node: Node): boolean => node.isClosed && node.children.every(isSettled)

/** What a node uses, or what those within it use of its ancestor's money, of this currency. */
const used = (node: Node, currency: Currency): number =>
  node.children.reduce((sum, child) => sum + takes(child, currency), node.spent[currency])

const takes = (node: Node, currency: Currency): number => {
  const cap = node.caps[currency]
  const sum = used(node, currency)
  if (cap === undefined || isSettled(node) || (node.kind === "reservation" && node.isClosed)) return sum
  return Math.max(cap, sum)
}

/** What is left in a node of a currency that it caps. */
export const left = (node: Node, currency: Currency): number => (node.caps[currency] ?? 0) - used(node, currency)

/** The nearest ancestor, or the node itself, with a cap of this currency. */
const capper = (node: Node | undefined, currency: Currency): Node | undefined =>
  node === undefined || (node.caps[currency] !== undefined && !isSettled(node)) ? node : capper(node.parent, currency)

/** What can be set aside at a node; nothing if there is no bound. */
export const room = (node: Node, currency: Currency): number | undefined => {
  const at = capper(node, currency)
  if (at === undefined) return undefined
  const own = at.kind === "reservation" && at.isClosed ? 0 : left(at, currency)
  if (at.kind === "account") return own
  const beyond = room(at.parent!, currency)!
  return own > 0 ? own + Math.max(0, beyond) : beyond
}

/** Whether a node can have so much. */
export const isThere = (node: Node, caps: Cents): boolean =>
  currencies.every((currency) => {
    const wanted = caps[currency]
    const there = room(node, currency)
    return wanted === undefined || there === undefined || wanted <= there
  })

/** Puts a cost where it belongs; says whether somebody bounds it. */
export const spend = (node: Node, currency: Currency, cents: number): boolean => {
  const at = capper(node, currency)
  if (at !== undefined) at.spent[currency] += cents
  return at !== undefined
}
