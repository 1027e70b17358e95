/**
 * A host with a ledger of its own: one cap binds all jobs together, whoever submits them and whatever their leases say.
 *
 * Budgets are a service. The default keeps an account for each job that has a budget, and holds on the account of a parent what its
 * children may spend. Here a company lays its own over that: every job becomes a child of one account, so what a job may spend is held there
 * when it starts, and what it did not spend returns when it ends.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/authority` for `../src/authority/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Context, Effect, Layer, Redacted, Result, Schema } from "effect"
import * as Assert from "node:assert/strict"
import { Authenticator, Budgets } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { Amount, Ids } from "../src/protocol/index.ts"
import { Agent, ArcpServer, JobContext } from "../src/runtime/index.ts"
import { MemoryTransport } from "../src/transport/index.ts"

/** The money of the company; a host that wants it on disk writes each entry down in `record`, and gives them back as `history`. */
class Treasury extends Context.Service<
  Treasury,
  { readonly account: Budgets.Account; readonly ledger: Budgets.Budgets["Service"] }
>()("example/Treasury") {
  static readonly layer = (cap: Amount.Amount) =>
    Layer.effect(
      Treasury,
      Effect.gen(function* () {
        const ledger = yield* Budgets.make
        const job = Ids.JobId.make("the company")
        const caps = new Map([[cap.currency, cap.value]])
        const account = yield* Effect.orDie(ledger.open({ job, caps, record: () => Effect.void }))
        return { account, ledger }
      })
    )
}

/** A job that nobody delegated is a child of the company; those that were delegated are children of their parents, as ever. */
const CompanyBudgets = Layer.effect(
  Budgets.Budgets,
  Effect.map(Treasury, ({ account, ledger }) =>
    Budgets.Budgets.of({
      open: (opening) => ledger.open({ ...opening, parent: opening.parent ?? account.job }),
      // Also jobs whose leases have no budget are to have an account: else they would spend for nothing.
      bindsAll: true
    })
  )
)

/** Costs as many cents as it is told to, one after the other, as long as it may. */
const Spender = Agent.make({ name: "spender", input: Schema.Int, output: Schema.Int })

const SpenderLive = Spender.toLayer(
  Effect.fnUntraced(function* (cents) {
    const job = yield* JobContext.JobContext
    for (let spent = 0; spent < cents; spent += 10) {
      yield* job.tool("work", {}, Effect.void)
      yield* job.metric("cost.work", 0.1, { unit: "USD" })
    }
    return cents
  })
)

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const { account } = yield* Treasury
  const left = Effect.map(account.available, (amounts) => Amount.formatValue(amounts.get("USD")!))
  const lease = { "tool.call": ["work"] }

  /** Runs a job; what came of it, and what the company has then. */
  const run = Effect.fn(function* (what: string, cents: number, budget?: string) {
    const grants = budget === undefined ? lease : { ...lease, "cost.budget": [budget] }
    const outcome = yield* client.run(Spender, cents, { lease: grants }).pipe(
      Effect.map((spent) => `spent ${spent} cents`),
      Effect.catch((error) => Effect.succeed(error._tag))
    )
    const after = yield* left
    yield* Console.log(`${what.padEnd(44)} ${outcome.padEnd(16)} ${after} left`)
    return [outcome, after] as const
  })

  yield* Console.log(`the company has ${yield* left} USD`)

  // A budget is held when the job starts; what was not spent returns.
  Assert.deepEqual(yield* run("20 cents, with a budget of 50", 20, "USD:0.50"), ["spent 20 cents", "0.8"])

  // Nothing in this lease bounds it. The company does.
  Assert.deepEqual(yield* run("40 cents, without a budget", 40), ["spent 40 cents", "0.4"])

  // More than the company has: it does not even start.
  Assert.deepEqual(yield* run("10 cents, with a budget of 50", 10, "USD:0.50"), ["BudgetExhausted", "0.4"])

  // It starts, and its operations are refused when the money is spent; all that it cost is counted.
  Assert.deepEqual(yield* run("a dollar, without a budget", 100), ["BudgetExhausted", "0"])
  Assert.deepEqual(yield* run("10 cents, without a budget", 10), ["BudgetExhausted", "0"])
})

const token = Redacted.make("a token for this example")
const TreasuryLive = Treasury.layer(Result.getOrThrow(Amount.parse("USD:1.00")))

const Live = ArcpClient.ArcpClient.layer({ token }).pipe(
  Layer.provide(ArcpServer.serve(SpenderLive, { budgets: Layer.provide(CompanyBudgets, TreasuryLive) })),
  Layer.provide(Authenticator.layerStatic([{ token, principal: "me" }])),
  Layer.provide(MemoryTransport.layer),
  Layer.provideMerge(TreasuryLive)
)

program.pipe(Effect.provide(Live), NodeRuntime.runMain)
