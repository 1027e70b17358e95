/**
 * What models cost: the prices that a host sets, and what a call that used so much costs by them (§9.6). All of it is exact decimals.
 *
 * ```ts
 * import { PriceTable } from "effect-arcp/authority"
 *
 * const prices = PriceTable.make([
 *   { model: "acme/small", currency: "USD", input: "0.15", output: "0.60" },
 *   { model: "acme/*", currency: "USD", input: "2.50", cachedInput: "1.25", output: "10" },
 *   { model: "embed-*", currency: "USD", embedding: "0.02" }
 * ])
 * ```
 *
 * @since 0.1.0
 */
import { BigDecimal, Option, Result, Schema } from "effect"
import * as Amount from "../protocol/Amount.ts"
import * as Automaton from "./Automaton.ts"
import * as Operation from "./Operation.ts"
import * as Pattern from "./Pattern.ts"

/**
 * What some models cost. Prices are decimals such as `"2.50"`, with at most nine digits before the point and six behind. One that is left
 * out is zero, unless it says otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  /** Which models: a pattern as under `model.use` in a lease. The first entry that covers a model is the one that counts. */
  readonly model: string
  readonly currency: string
  /** Per million tokens of input. */
  readonly input?: string | undefined
  /** Per million tokens of input that the provider had in its cache; as `input` if left out. */
  readonly cachedInput?: string | undefined
  /** Per million tokens of input that the provider put into its cache; as `input` if left out. */
  readonly cacheWrite?: string | undefined
  /** Per million tokens of output. */
  readonly output?: string | undefined
  /** Per million tokens of reasoning; as `output` if left out. */
  readonly reasoning?: string | undefined
  /** Per million tokens that are embedded. */
  readonly embedding?: string | undefined
  /** Per call, whatever it used. */
  readonly call?: string | undefined
}

/**
 * What a call used, in tokens. No token is counted twice; what is unknown is left out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Usage {
  /** Input that was neither read from the provider's cache nor written to it. */
  readonly input?: number | undefined
  readonly cachedInput?: number | undefined
  readonly cacheWrite?: number | undefined
  /** Output besides reasoning. */
  readonly output?: number | undefined
  readonly reasoning?: number | undefined
  readonly embedding?: number | undefined
}

/**
 * What a call uses at most, in tokens. What is left out has no bound.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bound {
  /** Input of every kind. */
  readonly input?: number | undefined
  /** Output, reasoning included. */
  readonly output?: number | undefined
  readonly embedding?: number | undefined
}

type Kind = keyof Usage

interface Row {
  readonly models: Automaton.Automaton
  readonly currency: string
  readonly call: BigDecimal.BigDecimal
  /** Per million. */
  readonly tokens: { readonly [K in Kind]: BigDecimal.BigDecimal }
}

/**
 * Prices in the order in which they are looked at.
 *
 * @category models
 * @since 0.1.0
 */
export interface PriceTable {
  readonly rows: ReadonlyArray<Row>
}

/**
 * An entry that cannot be used. `index` counts from 0.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidPrice extends Schema.TaggedError<InvalidPrice>("arcp/authority/InvalidPrice")("InvalidPrice", {
  index: Schema.Int,
  /** The entry's pattern, if it has one. */
  model: Schema.String,
  field: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    const model = this.model === "" ? "" : ` (${JSON.stringify(this.model)})`
    return `prices[${this.index}].${this.field}${model}: ${this.reason}`
  }
}

const kinds: ReadonlyArray<Kind> = ["input", "cachedInput", "cacheWrite", "output", "reasoning", "embedding"]

const priced: ReadonlyArray<string> = [...kinds, "call"]

const fields: ReadonlySet<string> = new Set(["model", "currency", ...priced])

const grammar = /^\d{1,9}(?:\.\d{1,6})?$/

const zero = BigDecimal.make(0n, 0)

const shown = (value: unknown): string => JSON.stringify(String(value).slice(0, 80).toWellFormed())

/**
 * Checks the entries. No two may have the same pattern, and each has at least one price.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (entries: ReadonlyArray<Entry>): Result.Result<PriceTable, InvalidPrice> =>
  Result.gen(function* () {
    const rows: Array<Row> = []
    const known = new Set<string>()
    for (const [index, entry] of entries.entries()) {
      const model = typeof entry.model === "string" ? entry.model.slice(0, 80).toWellFormed() : ""
      const invalid = (field: string, reason: string) => new InvalidPrice({ index, model, field, reason })
      for (const field of Object.keys(entry)) {
        if (!fields.has(field)) return yield* Result.fail(invalid(field, "there is no such price"))
      }
      if (typeof entry.model !== "string") return yield* Result.fail(invalid("model", "is not a pattern"))
      const pattern = yield* Result.mapError(Pattern.compile("model.use", entry.model), (reason) =>
        invalid("model", reason)
      )
      if (known.has(pattern.canonical)) return yield* Result.fail(invalid("model", "an entry before has this pattern"))
      known.add(pattern.canonical)
      if (typeof entry.currency !== "string" || Result.isFailure(Amount.parse(`${entry.currency}:1`))) {
        return yield* Result.fail(invalid("currency", `${shown(entry.currency)} is not a currency such as "USD"`))
      }
      const prices = new Map<string, BigDecimal.BigDecimal>()
      for (const [field, text] of Object.entries(entry)) {
        if (!priced.includes(field) || text === undefined) continue
        const price =
          typeof text === "string" && grammar.test(text) ? BigDecimal.fromString(text) : Option.none<never>()
        if (Option.isNone(price)) {
          return yield* Result.fail(invalid(field, `${shown(text)} is not a price such as "2.50"`))
        }
        prices.set(field, price.value)
      }
      if (prices.size === 0) return yield* Result.fail(invalid("call", "the entry names no price at all"))
      const price = (...names: ReadonlyArray<string>) =>
        prices.get(names.find((name) => prices.has(name)) ?? "") ?? zero
      rows.push({
        models: Automaton.make([pattern.segments]),
        currency: entry.currency,
        call: price("call"),
        tokens: {
          input: price("input"),
          cachedInput: price("cachedInput", "input"),
          cacheWrite: price("cacheWrite", "input"),
          output: price("output"),
          reasoning: price("reasoning", "output"),
          embedding: price("embedding")
        }
      })
    }
    return { rows }
  })

/**
 * Knows no price.
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: PriceTable = { rows: [] }

const rowOf = ({ rows }: PriceTable, model: string): Row | undefined => {
  const parts = Operation.parts(Operation.modelUse(model))
  return Result.isSuccess(parts) ? rows.find(({ models }) => Automaton.accepts(models, parts.success)) : undefined
}

const tokens = (perMillion: BigDecimal.BigDecimal, count: number): BigDecimal.BigDecimal =>
  BigDecimal.multiply(perMillion, BigDecimal.make(BigInt(count), 6))

/** Tokens come whole and are not given back, whatever a provider reports. */
const whole = (count: number | undefined): number =>
  count !== undefined && Number.isFinite(count) && count > 0 ? Math.ceil(count) : 0

/**
 * What a call of this model that used so much costs; nothing if no entry covers the model.
 *
 * @category combinators
 * @since 0.1.0
 */
export const cost = (self: PriceTable, model: string, usage: Usage): Option.Option<Amount.Amount> => {
  const row = rowOf(self, model)
  if (row === undefined) return Option.none()
  const value = kinds.reduce((sum, kind) => BigDecimal.sum(sum, tokens(row.tokens[kind], whole(usage[kind]))), row.call)
  return Option.some({ currency: row.currency, value: BigDecimal.normalize(value) })
}

/**
 * What a call of this model that stays within the bound costs at most. Nothing if no entry covers the model, or if something that has a
 * price has no bound.
 *
 * @category combinators
 * @since 0.1.0
 */
export const costAtMost = (self: PriceTable, model: string, bound: Bound): Option.Option<Amount.Amount> => {
  const row = rowOf(self, model)
  if (row === undefined) return Option.none()
  const { cacheWrite, cachedInput, embedding, input, output, reasoning } = row.tokens
  let value = row.call
  for (const [perMillion, count] of [
    [[input, cachedInput, cacheWrite].reduce(BigDecimal.max), bound.input],
    [BigDecimal.max(output, reasoning), bound.output],
    [embedding, bound.embedding]
  ] as const) {
    if (BigDecimal.isZero(perMillion)) continue
    if (count === undefined || !Number.isFinite(count)) return Option.none()
    value = BigDecimal.sum(value, tokens(perMillion, whole(count)))
  }
  return Option.some({ currency: row.currency, value: BigDecimal.normalize(value) })
}
