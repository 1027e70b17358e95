import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import {
  answer,
  assertRefused,
  bodies,
  join,
  kinds,
  outcome,
  run,
  sendSubmit,
  submit,
  withAgents,
  withRuntime
} from "./Conversation.ts"
import * as Script from "./Script.ts"
import { verifies } from "./verifies.ts"

/** A lease for the tool of the tests, with so much to spend. */
const lease = (...budget: ReadonlyArray<string>) => ({
  payload: { lease_request: { "tool.call": ["work"], "cost.budget": budget } }
})

/** Reports a cost of one API call. */
const spend = (job: Script.Job, value: number, unit = "USD") => job.metric("cost.search", value, { unit })

const subscribe = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, job_id: string) {
  yield* peer.send({ type: "job.subscribe", payload: { job_id } })
  return (yield* peer.until("job.subscribed", (frame) => frame.job_id === job_id)).at(-1)!.payload
})

describe("Budget", () => {
  verifies("C-050", "the acceptance tells what can be spent, in numbers, exactly when the lease has a budget", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { accepted } = yield* run(peer, "tck-echo", 1, lease("USD:5.00", "credits:40", "USD:0.25"))
      assert.deepStrictEqual(accepted.payload["budget"], { USD: 5.25, credits: 40 })
      assert.deepStrictEqual(accepted.payload["lease"], {
        "tool.call": ["work"],
        "cost.budget": ["USD:5.00", "credits:40", "USD:0.25"]
      })
      const none = yield* run(peer, "tck-echo", 1, lease())
      assert.deepStrictEqual(none.accepted.payload["budget"], {})
      for (const payload of [{}, { lease_request: { "tool.call": ["work"] } }]) {
        const { accepted } = yield* run(peer, "tck-echo", 1, { payload })
        assert.notProperty(accepted.payload, "budget")
      }
    }).pipe(withRuntime())
  )

  it.effect("a budget that the session did not negotiate is refused", () =>
    Effect.gen(function* () {
      const features = TestPeer.features.filter((feature) => feature !== "cost.budget")
      const peer = yield* join({ features })
      const sent = yield* sendSubmit(peer, "tck-echo", 1, lease("USD:1"))
      const refusal = yield* answer(peer)
      assertRefused(refusal, "INVALID_REQUEST", sent)
      assert.containSubset(refusal.payload["details"], { feature: "cost.budget" })
    }).pipe(withRuntime())
  )

  verifies("C-061", "a job that dies of its budget ends as an error that it is no use to repeat", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { frames, terminal } = yield* run(peer, "spender", null, lease("USD:1.00"))
      assert.deepStrictEqual(kinds(frames), ["status", "metric", "metric", "tool_call", "tool_result"])
      assert.strictEqual(terminal.type, "job.error")
      assert.deepInclude(terminal.payload, {
        code: "BUDGET_EXHAUSTED",
        final_status: "error",
        retryable: false,
        details: { currency: "USD", cap: "1", available: "0" }
      })
    }).pipe(
      withAgents(
        Script.layer({ spender: (job) => Effect.andThen(spend(job, 1), Effect.as(Script.work(job), "unreachable")) })
      )
    )
  )

  verifies(
    "C-110",
    "a spent budget refuses the next call, as the result of that, and the job may succeed all the same",
    () => {
      let calls = 0
      const counted = Effect.sync(() => ++calls)
      return Effect.gen(function* () {
        const peer = yield* join()
        const { frames, terminal } = yield* run(peer, "spender", null, lease("USD:1.00"))
        assert.deepStrictEqual(terminal.payload["result"], ["BudgetExhausted", "BudgetExhausted"])
        assert.strictEqual(terminal.payload["final_status"], "success")
        assert.deepStrictEqual(Script.toolResults(frames), [1, "BUDGET_EXHAUSTED", "BUDGET_EXHAUSTED"])
        assert.strictEqual(calls, 1)
        const [, refused] = bodies(frames, "tool_result")
        assert.containSubset(refused, { error: { code: "BUDGET_EXHAUSTED", retryable: false } })
        const callIds = (kind: string) => bodies(frames, kind).map((body) => (body as { call_id: string }).call_id)
        assert.deepStrictEqual(callIds("tool_result"), callIds("tool_call"))
        // The metric that spent it is told, though there was not so much.
        assert.deepStrictEqual(Script.metrics(frames), ["cost.search 1.12 USD", "cost.budget.remaining -0.12 USD"])
      }).pipe(
        withAgents(
          Script.layer({
            spender: Effect.fnUntraced(function* (job) {
              yield* job.tool("work", {}, counted)
              yield* spend(job, 1.12)
              const [first] = yield* Script.refused(job.tool("work", {}, counted))
              // Not even what the lease does not grant is told from the rest.
              const [second] = yield* Script.refused(job.tool("other", {}, counted))
              return [first, second]
            })
          })
        )
      )
    }
  )

  verifies("C-107", "costs in a currency of the lease are counted; other units, and other metrics, are not", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { frames, terminal } = yield* run(peer, "spender", null, lease("USD:5.00", "credits:40"))
      assert.deepStrictEqual(terminal.payload["result"], [
        { USD: "5", credits: "40" },
        { USD: "3.75", credits: "40" },
        { USD: "3.75", credits: "30" }
      ])
      assert.sameMembers(
        Script.metrics(frames).filter((metric) => !metric.startsWith("cost.budget.remaining")),
        [
          "cost.search 3 EUR",
          "cost.search 3 usd",
          "cost.search 3",
          "cost.search 3 US dollars",
          "costs.search 3 USD",
          "price 3 USD",
          "cost 3 USD",
          "cost.search 1.25 USD",
          "cost.anything.else 10 credits"
        ]
      )
    }).pipe(
      withAgents(
        Script.layer({
          spender: Effect.fnUntraced(function* (job) {
            const left = Script.left(job)
            for (const unit of ["EUR", "usd", "US dollars"]) yield* spend(job, 3, unit)
            yield* job.metric("cost.search", 3)
            for (const name of ["costs.search", "price", "cost"]) yield* job.metric(name, 3, { unit: "USD" })
            const before = yield* left
            yield* spend(job, 1.25)
            const between = yield* left
            yield* job.metric("cost.anything.else", 10, { unit: "credits" })
            return [before, between, yield* left]
          })
        })
      )
    )
  )

  verifies("C-111", "what is left is told right after the cost, in the same write, and may be below nothing", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { frames, terminal } = yield* run(peer, "spender", null, lease("USD:1.00", "credits:10"))
      assert.strictEqual(terminal.payload["result"], "InvalidRequest")
      assert.deepStrictEqual(Script.metrics(frames), [
        "cost.search 0.5 USD",
        "cost.budget.remaining 0.5 USD",
        "cost.search 0.01 USD",
        "cost.search 4 credits",
        "cost.budget.remaining 6 credits",
        "cost.search 0.75 USD",
        "cost.budget.remaining -0.26 USD",
        "cost.search 0.01 USD",
        "cost.search 0.5 USD",
        "cost.budget.remaining -0.77 USD",
        "cost.search 9 EUR"
      ])
    }).pipe(
      withAgents(
        Script.layer({
          spender: Effect.fnUntraced(function* (job) {
            yield* spend(job, 0.5)
            // Less than a twentieth of the cap is not worth a metric.
            yield* spend(job, 0.01)
            yield* spend(job, 4, "credits")
            yield* spend(job, 0.75)
            yield* spend(job, 0.01)
            yield* spend(job, 0.5)
            yield* spend(job, 9, "EUR")
            // Only the runtime knows what is left: an agent can neither give itself more by saying so, nor take away.
            const before = yield* Script.left(job)
            const [refused, details] = yield* Script.refused(job.metric("cost.budget.remaining", 100, { unit: "USD" }))
            assert.deepStrictEqual(yield* Script.left(job), before)
            assert.deepStrictEqual(details, { field: "metric.name" })
            return refused
          })
        })
      )
    )
  )

  it.effect("small costs make few metrics of what is left", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { frames, terminal } = yield* run(peer, "spender", null, lease("USD:1.00"))
      assert.deepStrictEqual(terminal.payload["result"], { USD: "0.2" })
      const told = Script.metrics(frames).filter((metric) => metric.startsWith("cost.budget"))
      // The first, and then one for each twentieth.
      assert.strictEqual(told.length, 16)
      assert.deepStrictEqual(told.slice(0, 3), [
        "cost.budget.remaining 0.999 USD",
        "cost.budget.remaining 0.949 USD",
        "cost.budget.remaining 0.899 USD"
      ])
    }).pipe(
      withAgents(
        Script.layer({
          spender: (job) =>
            Effect.andThen(
              Effect.forEach(Array.from({ length: 800 }), () => spend(job, 0.001), { discard: true }),
              Script.left(job)
            )
        })
      )
    )
  )

  verifies("C-108", "a cost that is negative, or no number, is refused and told to nobody", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { frames, terminal } = yield* run(peer, "spender", null, lease("USD:1.00"))
      assert.deepStrictEqual(terminal.payload["result"], { USD: "0.5" })
      assert.deepStrictEqual(Script.metrics(frames), [
        "cost.search 0 USD",
        "cost.search 0.5 USD",
        "cost.budget.remaining 0.5 USD"
      ])
    }).pipe(
      withAgents(
        Script.layer({
          spender: Effect.fnUntraced(function* (job) {
            for (const value of [-1, -0.000_001, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
              assert.deepStrictEqual(yield* Script.refused(spend(job, value)), [
                "InvalidRequest",
                { field: "metric.value" }
              ])
            }
            yield* spend(job, 0)
            yield* spend(job, 0.5)
            return yield* Script.left(job)
          })
        })
      )
    )
  )

  verifies("C-076", "an observer is told what is left now, and in the end what was left then", () => {
    const spent = Deferred.makeUnsafe<void>()
    const go = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      const owner = yield* join()
      const observer = yield* join()
      const { job_id } = yield* submit(owner, "spender", null, lease("USD:5.00", "credits:40"))
      yield* Deferred.await(spent)
      const live = yield* subscribe(observer, job_id)
      assert.deepStrictEqual(live["budget"], { USD: 3.75, credits: 40 })
      assert.strictEqual(live["current_status"], "running")
      yield* Deferred.succeed(go, undefined)
      yield* outcome(observer, job_id)
      assert.strictEqual((yield* outcome(owner, job_id)).terminal.payload["final_status"], "success")
      const late = yield* join()
      const final = yield* subscribe(late, job_id)
      assert.deepStrictEqual(final["budget"], { USD: -0.25, credits: 39 })
      assert.strictEqual(final["current_status"], "success")
      const { job_id: free } = yield* submit(owner, "tck-echo", 1)
      yield* outcome(owner, free)
      assert.notProperty(yield* subscribe(late, free), "budget")
    }).pipe(
      withAgents(
        Script.layer({
          "tck-echo": (_, input) => Effect.succeed(input),
          spender: Effect.fnUntraced(function* (job) {
            yield* spend(job, 1.25)
            yield* Deferred.succeed(spent, undefined)
            yield* Deferred.await(go)
            yield* spend(job, 4)
            yield* spend(job, 1, "credits")
            return null
          })
        })
      )
    )
  })
})
