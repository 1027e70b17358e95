/** The parts of a job's context that leased services use, which no agent can reach. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Option, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import type * as Budget from "../../src/authority/Budget.ts"
import * as Budgets from "../../src/authority/Budgets.ts"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as Frame from "../../src/protocol/Frame.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import type * as JobEvent from "../../src/protocol/JobEvent.ts"
import type * as Job from "../../src/runtime/Job.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import { amounts, caps, shown } from "../authority/Ledger.ts"

const id = "job_01ARZ3NDEKTSV4RRFFQ69G5FAV" as Ids.JobId
const traceId = "4bf92f3577b34da6a3ce929d0e0e4736" as Ids.TraceId

const record: Job.JobRecord = {
  id,
  agent: "tester@1.0.0",
  principal: "me",
  session: "sess_01ARZ3NDEKTSV4RRFFQ69G5FAV" as Ids.SessionId,
  traceId,
  parent: undefined,
  lease: {},
  constraints: undefined,
  features: new Set(),
  maxRuntime: undefined,
  createdAt: 0,
  accepted: { job_id: id, lease: {} }
}

/** The voice of a job that caps a dollar, its account, and what its journal holds. */
const start = Effect.gen(function* () {
  const journal = yield* JobJournal.JobJournal
  const budgets = yield* Budgets.Budgets
  yield* journal.open({ id, traceId })
  const account = yield* budgets.open({
    job: id,
    caps: caps("USD:1.00"),
    record: (entry) => journal.record(id, 1, entry)
  })
  const lease = Result.getOrThrow(Lease.make({ "cost.budget": ["USD:1.00"] }, {}, 0))
  const make = yield* JobContext.factory
  const { context, leased } = make({
    record,
    epoch: 1,
    guard: yield* LeaseGuard.make(lease, { account }),
    account,
    cancellation: Effect.never,
    scope: yield* Effect.scope,
    isEnding: () => false,
    credentials: Effect.succeed([]),
    delegate: () => Effect.die("it does not delegate")
  })
  const told = Effect.map(journal.read(id, -1, Number.MAX_SAFE_INTEGER), ({ entries }) =>
    entries.map(({ tail }) => {
      const { name, value } = JSON.parse(`{${Frame.textOfPiece(tail).slice(1)}`).payload.body as JobEvent.Body<"metric">
      return `${name} ${value}`
    })
  )
  return { account, context, emitter: leased.emitter, journal, left: Effect.map(account.available, shown), told }
})

const layer = Layer.mergeAll(JobJournal.layerMemory, Budgets.layer, SecureRandom.layerWebCrypto)

/** Collects what is logged. */
const withLog = <A, E, R>(effect: (lines: ReadonlyArray<string>) => Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ message }) => void lines.push(JSON.stringify(message)))
  return Effect.provide(effect(lines), Logger.layer([logger]))
}

const cost = (value: number, more: Partial<JobEvent.Body<"metric">> = {}): JobEvent.Body<"metric"> => ({
  name: "cost.model",
  value,
  unit: "USD",
  ...more
})

const charge = (...texts: ReadonlyArray<string>): Budget.Entry => ({ _tag: "Charge", amounts: amounts(...texts) })

describe("The voice of leased services", () => {
  it.effect("has the costs that they report charged, in one step with their being told", () =>
    Effect.gen(function* () {
      const { emitter, journal, left, told } = yield* start
      yield* emitter.emit("metric", cost(0.25, { dimensions: { model: "m" } }))
      assert.deepStrictEqual(yield* left, { USD: "0.75" })
      assert.deepStrictEqual(yield* told, ["cost.model 0.25", "cost.budget.remaining 0.75"])
      assert.deepStrictEqual(yield* journal.ledger(id), [charge("USD:0.25")])
    }).pipe(Effect.provide(layer))
  )

  it.effect("charges a cost also if what comes with it cannot be shown", () =>
    Effect.gen(function* () {
      const { emitter, left, told } = yield* start
      const cycle: Record<string, string> = {}
      Object.assign(cycle, { cycle })
      yield* emitter.emit("metric", cost(0.25, { dimensions: cycle }))
      assert.deepStrictEqual(yield* left, { USD: "0.75" })
      assert.deepStrictEqual(yield* told, ["cost.model 0.25", "cost.budget.remaining 0.75"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("says nothing of a cost that is none, nor of what only the runtime knows, but to the log", () =>
    withLog((lines) =>
      Effect.gen(function* () {
        const { emitter, left, told } = yield* start
        yield* emitter.emit("metric", cost(-1))
        yield* emitter.emit("metric", cost(Number.NaN))
        yield* emitter.emit("metric", cost(1000, { name: "cost.budget.remaining" }))
        assert.deepStrictEqual(yield* left, { USD: "1" })
        assert.deepStrictEqual(yield* told, [])
        assert.lengthOf(lines, 3)
        assert.isTrue(lines.every((line) => line.includes("cannot be told")))
      }).pipe(Effect.provide(layer))
    )
  )

  it.effect("keeps account of a cost that came about when the job had just ended, and then falls silent", () =>
    Effect.gen(function* () {
      const { context, emitter, journal, left, told } = yield* start
      yield* journal.end(id, 1, { type: "job.result", kind: "", payload: `{"body":{}}` })
      for (const late of [emitter.emit("metric", cost(0.25)), context.metric("cost.late", 0.5, { unit: "USD" })]) {
        assert.isTrue(Option.isNone(Exit.findErrorOption(yield* Effect.exit(late))))
      }
      assert.deepStrictEqual(yield* left, { USD: "0.25" })
      assert.deepStrictEqual(yield* journal.ledger(id), [charge("USD:0.25"), charge("USD:0.5")])
      assert.lengthOf(yield* told, 1)
    }).pipe(Effect.provide(layer))
  )
})
