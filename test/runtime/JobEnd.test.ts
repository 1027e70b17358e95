import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Budgets from "../../src/authority/Budgets.ts"
import * as LeasedHttpClient from "../../src/leased/LeasedHttpClient.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import { answers, join, run, submit, outcome, withAgents, withRuntime } from "../conformance/Conversation.ts"
import { settled } from "../conformance/Stage.ts"

const Careless = Agent.make({ name: "careless", version: "1.0.0", input: Schema.Boolean, output: Schema.String })

/** An agent that closes what it had open in this way, when it has answered or, with `true`, when it has died. */
const closing = (finalizer: Effect.Effect<void>) =>
  Careless.toLayer(
    Effect.fnUntraced(function* (dies): Effect.fn.Return<string, never, Scope.Scope> {
      yield* Effect.addFinalizer(() => finalizer)
      return yield* dies ? Effect.die(new Error("it broke")) : Effect.succeed("done")
    })
  )

/** The ledger, but accounts close in this way. */
const ledger = (close: Effect.Effect<void>) =>
  Layer.effect(
    Budgets.Budgets,
    Effect.map(Budgets.make, (budgets) =>
      Budgets.Budgets.of({
        ...budgets,
        open: (opening) => Effect.map(budgets.open(opening), (account) => ({ ...account, close }))
      })
    )
  )

describe("a job ends, once", () => {
  it.effect("also where a service that the host leases cannot be made for it", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (let round = 0; round < 2; round++) {
        const { terminal } = yield* run(peer, "tck-echo", round)
        assert.strictEqual(terminal.payload["code"], "INTERNAL_ERROR", JSON.stringify(terminal))
        assert.notInclude(JSON.stringify(terminal), "secret")
      }
    }).pipe(
      withRuntime({ config: { maxJobsPerSession: 1 } }),
      Effect.provideService(LeasedHttpClient.LeasedHttpClient, () => {
        throw new Error("a secret of the host")
      })
    )
  )

  it.effect.each<readonly [string, Effect.Effect<void>]>([
    ["dies", Effect.die(new Error("it was open already"))],
    ["throws", Effect.sync(() => assert.fail("it was never open"))],
    ["is interrupted", Effect.interrupt]
  ])("also where its agent %s as it closes what it had open", ([, finalizer]) =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (const dies of [false, true]) {
        const { terminal } = yield* run(peer, "careless", dies)
        assert.strictEqual(terminal.payload["code"], "INTERNAL_ERROR", JSON.stringify(terminal))
        assert.notInclude(JSON.stringify(terminal), "open")
      }
      assert.deepStrictEqual(yield* answers(peer), [])
    }).pipe(withAgents(closing(finalizer), { config: { maxJobsPerSession: 1 } }))
  )

  it.effect.each<readonly [string, Effect.Effect<void>]>([
    ["dies", Effect.die(new Error("the ledger is gone"))],
    ["hangs", Effect.never]
  ])("also where the ledger %s as it closes the account", ([, close]) =>
    Effect.gen(function* () {
      const peer = yield* join()
      const lease_request = { "cost.budget": ["USD:1"] }
      const { job_id } = yield* submit(peer, "tck-echo", 1, { payload: { lease_request } })
      yield* settled
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual((yield* outcome(peer, job_id)).terminal.type, "job.result")
    }).pipe(withRuntime({ budgets: ledger(close) }))
  )
})
