import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FileSystem, Layer, Result, Stream } from "effect"
import * as Budgets from "../../src/authority/Budgets.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as LeasedFileSystem from "../../src/leased/LeasedFileSystem.ts"
import type * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import * as Frame from "../../src/protocol/Frame.ts"
import * as Ids from "../../src/protocol/Ids.ts"
import * as JobEvent from "../../src/protocol/JobEvent.ts"
import type * as Json from "../../src/protocol/Json.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import { amounts, caps } from "../authority/Ledger.ts"
import { eventually, join, submit, withAgents } from "../conformance/Conversation.ts"
import * as Script from "../conformance/Script.ts"
import { settled } from "../conformance/Stage.ts"

const lease = (...budget: ReadonlyArray<string>): Capability.Grants => ({
  "tool.call": ["work"],
  "agent.delegate": ["*"],
  "fs.read": ["/**"],
  "cost.budget": budget
})

const spend = (job: Script.Job, value: number, unit = "USD") => job.metric("cost.search", value, { unit })

/** Runs a script as a job with this lease, and gives its result with what it said. */
const run = Effect.fnUntraced(function* (agent: string, grants: Capability.Grants, input: Json.Json = null) {
  const client = yield* ArcpClient.ArcpClient
  const job = yield* client.submit(agent, input, { lease: grants })
  const events = yield* Stream.runCollect(job.events)
  return { result: yield* Effect.result(job.result), events }
})

const withScripts = (
  scripts: Readonly<Record<string, Script.Script>>,
  options: Omit<ArcpTest.Options<never, never>, "agents"> = {}
) =>
  Effect.provide(
    ArcpTest.layer({ ...options, agents: Script.layer(scripts) }).pipe(
      Layer.provide(LeasedFileSystem.layer()),
      Layer.provide(NodeFileSystem.layer)
    )
  )

/** As the test succeeds with it. */
const done = (result: Json.Json) => Result.succeed(result)

describe("A job with a budget", () => {
  it.effect("that is spent may not even read a file or delegate, and is told so in the terms of each", () =>
    Effect.gen(function* () {
      const { events, result } = yield* run("spender", lease("USD:1.00"))
      assert.deepStrictEqual(result, done(["BudgetExhausted", "BudgetExhausted", "BudgetExhausted"]))
      const [refusal] = events.filter(JobEvent.is("tool_result")).slice(-1)
      assert.match(refusal!.body.call_id, /^del_/)
      assert.strictEqual(refusal!.body.error?.code, "BUDGET_EXHAUSTED")
      assert.strictEqual(refusal!.body.error?.retryable, false)
      assert.isFalse(events.some(({ kind }) => kind === "delegate"))
    }).pipe(
      withScripts({
        other: () => Effect.succeed(null),
        spender: Effect.fnUntraced(function* (job) {
          const fs = yield* FileSystem.FileSystem
          yield* spend(job, 1)
          const file = yield* Effect.flip(Effect.asVoid(fs.readFileString("/etc/hostname"))).pipe(
            Effect.catch(() => Effect.die("it was read"))
          )
          const cause = file.reason.cause as { readonly _tag: string }
          const [tool] = yield* Script.refused(Script.work(job))
          const [child] = yield* Script.refused(job.delegate("other", null))
          return [cause._tag, tool, child]
        })
      })
    )
  )

  it.effect("sets aside what may be spent at once, all of it or nothing, and gets back what was not", () =>
    Effect.gen(function* () {
      const { result } = yield* run("spender", lease("USD:1.00", "credits:5"))
      assert.deepStrictEqual(
        result,
        done([
          { USD: "0.4", credits: "5" },
          ["BudgetExhausted", { currency: "USD", cap: "1", available: "0.4", wanted: "0.5" }],
          // What is asked for in two currencies is set aside in both or in none.
          ["BudgetExhausted", { currency: "credits", cap: "5", available: "5", wanted: "6" }],
          { USD: "0.4", credits: "5" },
          { USD: "0.75", credits: "5" }
        ])
      )
    }).pipe(
      withScripts({
        spender: Effect.fnUntraced(function* (job) {
          const gate = yield* Deferred.make<void>()
          const first = job.reserve("USD:0.60", Effect.andThen(Deferred.await(gate), spend(job, 0.25)))
          const fiber = yield* Effect.forkChild(first, { startImmediately: true })
          const beside = yield* Script.left(job)
          const more = yield* Script.refused(job.reserve("USD:0.50", Effect.die("it ran")))
          const both = yield* Script.refused(job.reserve(["USD:0.10", "credits:6"], Effect.die("it ran")))
          const still = yield* Script.left(job)
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(fiber)
          return [beside, [...more], [...both], still, yield* Script.left(job)]
        })
      })
    )
  )

  it.effect("gets back what was set aside however that ends, and names an amount that is none", () =>
    Effect.gen(function* () {
      const { result } = yield* run("spender", lease("USD:1.00"))
      assert.deepStrictEqual(result, done(["1", "0.9", "0.9", "0.9", "amounts[1]"]))
    }).pipe(
      withScripts({
        spender: Effect.fnUntraced(function* (job) {
          const left = Effect.map(Script.left(job), ({ USD }) => USD!)
          const ends: Array<string> = []
          const waiting = yield* Effect.forkChild(job.reserve("USD:1.00", Effect.never), { startImmediately: true })
          yield* Fiber.interrupt(waiting)
          ends.push(yield* left)
          yield* Effect.exit(job.reserve("USD:1.00", Effect.andThen(spend(job, 0.1), Effect.fail("no"))))
          ends.push(yield* left)
          yield* Effect.exit(job.reserve("USD:0.90", Effect.die("a bug")))
          ends.push(yield* left)
          yield* Effect.timeoutOption(job.reserve("USD:0.90", Effect.never), 0)
          ends.push(yield* left)
          const [, { field }] = yield* Script.refused(job.reserve(["USD:0.1", "USD:-1"], Effect.void))
          return [...ends, field!]
        })
      })
    )
  )

  it.effect("may go on within what it has set aside when nothing is left beside", () =>
    Effect.gen(function* () {
      const { result } = yield* run("spender", lease("USD:1.00"))
      assert.deepStrictEqual(result, done(["done", "BudgetExhausted", "0.2"]))
    }).pipe(
      withScripts({
        spender: Effect.fnUntraced(function* (job) {
          const set = yield* Deferred.make<void>()
          const gate = yield* Deferred.make<void>()
          const within = Effect.gen(function* () {
            yield* Deferred.succeed(set, undefined)
            yield* Deferred.await(gate)
            const worked = yield* Script.work(job)
            yield* spend(job, 0.8)
            return worked
          })
          const fiber = yield* Effect.forkChild(job.reserve("USD:1.00", within))
          yield* Deferred.await(set)
          const [beside] = yield* Script.refused(Script.work(job))
          yield* Deferred.succeed(gate, undefined)
          return [yield* Fiber.join(fiber), beside, (yield* Script.left(job))["USD"]!]
        })
      })
    )
  )

  it.effect("is bound by what its host caps for all, which only a refusal tells of", () => {
    const company = Ids.JobId.make("company")
    const budgets = Layer.effect(
      Budgets.Budgets,
      Effect.gen(function* () {
        const ledger = yield* Budgets.make
        yield* Effect.orDie(ledger.open({ job: company, caps: caps("USD:1.00"), record: () => Effect.void }))
        return Budgets.Budgets.of({
          open: (opening) => ledger.open({ ...opening, parent: opening.parent ?? company }),
          bindsAll: true
        })
      })
    )
    return Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      // No budget in the lease, and yet it counts.
      const free = { "tool.call": ["work"] }
      const { events, result } = yield* run("spender", free, 0.75)
      assert.deepStrictEqual(result, done({}))
      assert.deepStrictEqual(
        events.filter(JobEvent.is("metric")).map(({ body }) => body.name),
        ["cost.search"]
      )
      const tooMuch = yield* Effect.flip(client.submit("spender", 0, { lease: lease("USD:0.30") }))
      assert.strictEqual(tooMuch._tag, "BudgetExhausted")
      const bounded = yield* run("spender", lease("USD:0.25"), 0.25)
      assert.deepStrictEqual(bounded.result, done({ USD: "0" }))
      const over = yield* run("worker", free)
      assert.strictEqual(Result.isFailure(over.result) ? over.result.failure._tag : "", "BudgetExhausted")
    }).pipe(
      withScripts(
        {
          spender: (job, cost) => Effect.andThen(spend(job, cost as number), Script.left(job)),
          worker: (job) => Script.work(job)
        },
        { budgets }
      )
    )
  })

  it.effect(
    "has its costs told and counted once, also when a reader is slow and the job is cancelled meanwhile",
    () => {
      const go = Deferred.makeUnsafe<void>()
      let spending = false
      let logged = 0
      return Effect.gen(function* () {
        // Says that its acknowledgements are the pace, and gives none.
        const peer = yield* join({ profile: "effect", features: ["ack", "cost.budget"] })
        const { job_id } = yield* submit(peer, "talker", null, { payload: { lease_request: lease("USD:1.00") } })
        yield* eventually(
          Effect.sync(() => logged),
          (count) => count > 5
        )
        yield* settled
        yield* Deferred.succeed(go, undefined)
        yield* eventually(
          Effect.sync(() => spending),
          (isSpending) => isSpending
        )
        yield* settled
        const journal = yield* JobJournal.JobJournal
        const id = Ids.JobId.make(job_id)
        const all = journal.read(id, -1, Number.MAX_SAFE_INTEGER)
        const costs = Effect.map(
          all,
          ({ entries }) =>
            entries.filter(({ kind, tail }) => kind === "metric" && Frame.textOfPiece(tail).includes("cost.search"))
              .length
        )
        assert.deepStrictEqual([yield* costs, yield* journal.ledger(id)], [0, []])
        yield* peer.send({ type: "job.cancel", job_id, payload: {} })
        yield* eventually(all, ({ ended }) => ended)
        const charged = [{ _tag: "Charge", amounts: amounts("USD:0.25") }]
        assert.deepStrictEqual([yield* costs, yield* journal.ledger(id)], [1, charged])
      }).pipe(
        withAgents(
          Script.layer({
            talker: Effect.fnUntraced(function* (job) {
              const forEver = (say: Effect.Effect<void, ArcpError.InvalidRequest>) =>
                Effect.forkChild(
                  Effect.forever(
                    Effect.tap(say, () =>
                      Effect.sync(() => {
                        logged++
                      })
                    )
                  )
                )
              yield* forEver(job.log("info", "x".repeat(100)))
              // Costs have a little room beyond the rest: it is used up, too.
              yield* forEver(job.metric("cost.other", 0, { unit: "EUR" }))
              yield* Deferred.await(go)
              spending = true
              yield* spend(job, 0.25)
              return null
            })
          }),
          { config: { pacingWindow: 2000, pacingReserve: 500 } }
        )
      )
    }
  )
})
