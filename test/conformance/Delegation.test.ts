import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import type * as Capability from "../../src/protocol/Capability.ts"
import type * as Json from "../../src/protocol/Json.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import type * as Delegation from "../../src/runtime/Delegation.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import type * as TestPeer from "../../src/testing/TestPeer.ts"
import {
  answer,
  answers,
  assertRefused,
  bodies,
  eventually,
  join,
  kinds,
  outcome,
  received,
  run,
  sendSubmit,
  submit,
  withAgents
} from "./Conversation.ts"
import * as Script from "./Script.ts"
import { rejoin, seqs, settled, ticketOf, upTo } from "./Stage.ts"
import { verifies } from "./verifies.ts"

const at = (millis: number) => new Date(millis).toISOString()

const lease = (lease_request: Capability.Grants, constraints?: Capability.Constraints) => ({
  payload: { lease_request, ...(constraints === undefined ? {} : { lease_constraints: constraints }) }
})

const everything: Capability.Grants = { "agent.delegate": ["**"], "tool.call": ["**"] }

/** What a parent is told to hand on: to whom, under what lease; and what it spends before. */
interface Order {
  readonly agent: string
  readonly lease?: Capability.Grants
  readonly expiresAt?: string
  readonly spend?: number
}

/** Hands on as its input says, and answers with what became of it. */
const parent: Script.Script = Effect.fnUntraced(function* (job, input) {
  const answers: Array<Json.Json> = []
  for (const { agent, expiresAt, lease, spend } of input as unknown as ReadonlyArray<Order>) {
    if (spend !== undefined) yield* job.metric("cost.part", spend, { unit: "USD" })
    const options: Delegation.Options = {
      ...(lease === undefined ? undefined : { lease }),
      ...(expiresAt === undefined ? undefined : { expiresAt })
    }
    const child = yield* Effect.result(job.delegate(agent, "hello", options))
    answers.push(child._tag === "Success" ? yield* child.success.result : child.failure._tag)
  }
  return answers
})

/** Has the parent hand on so, and gives what it answered and what it said. */
const handOn = Effect.fnUntraced(function* (
  peer: TestPeer.TestPeer,
  grants: Parameters<typeof lease>,
  ...orders: ReadonlyArray<Order>
) {
  const { frames, terminal } = yield* run(peer, "parent", orders as unknown as Json.Json, lease(...grants))
  return { frames, answers: terminal.payload["result"] }
})

/** The refusals among what a parent said, as they are told of. */
const refusals = (frames: ReadonlyArray<TestPeer.Frame>) =>
  bodies(frames, "tool_result").map((body) => {
    const { call_id, error } = body as unknown as {
      readonly call_id: string
      readonly error: { readonly code: string; readonly details?: { readonly field?: string } }
    }
    assert.match(call_id, /^del_/)
    return [error.code, error.details?.field]
  })

/** Counts the runs of a child, which says a line and answers its input. */
const counted = () => {
  const runs: Array<Json.Json> = []
  const child: Script.Script = Effect.fnUntraced(function* (job, input) {
    runs.push(input)
    yield* job.log("info", `${input as string} from the child`)
    return input
  })
  return { child, runs }
}

const acceptances = (frames: ReadonlyArray<TestPeer.Frame>) => frames.filter(({ type }) => type === "job.accepted")

const isTerminal = ({ type }: TestPeer.Frame) => type === "job.result" || type === "job.error"

describe("Delegation", () => {
  verifies(
    ["C-123", "C-124"],
    "the parent's stream tells of the child, then comes its acceptance, then what it says, in one sequence and one trace",
    () => {
      const { child } = counted()
      return Effect.gen(function* () {
        const peer = yield* join()
        const trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        const order = { agent: "child", lease: { "tool.call": ["search"] }, expiresAt: "1970-01-01T01:00:00Z" }
        const mine = yield* submit(peer, "parent", [order], { trace_id, ...lease(everything) })
        // The parent has the last word.
        const frames = yield* peer.until("job.result", (frame) => frame.job_id === mine.job_id)
        assert.deepStrictEqual(yield* peer.drain, [])
        const [told] = frames.filter((frame) => frame.payload["kind"] === "delegate")
        const [accepted] = acceptances(frames)
        const ours = frames.filter((frame) => frame.job_id === accepted!.job_id && frame !== accepted)
        assert.strictEqual(told!.job_id, mine.job_id)
        const body = told!.payload["body"] as { readonly delegate_id: string }
        assert.deepStrictEqual(body as object, {
          delegate_id: body.delegate_id,
          child_job_id: accepted!.job_id,
          agent: "child@1.0.0",
          input: "hello",
          lease_request: { "tool.call": ["search"] },
          lease: { "tool.call": ["search"] },
          lease_constraints: { expires_at: at(3_600_000) }
        })
        assert.isUndefined(accepted!.event_seq)
        assert.deepStrictEqual(accepted!.payload as object, {
          job_id: accepted!.job_id,
          agent: "child@1.0.0",
          lease: { "tool.call": ["search"] },
          lease_constraints: { expires_at: at(3_600_000) },
          accepted_at: at(0),
          trace_id,
          parent_job_id: mine.job_id,
          delegate_id: body.delegate_id
        })
        assert.deepStrictEqual(kinds(ours), ["status", "log"])
        assert.isTrue(isTerminal(ours.at(-1)!))
        const places = [told!, accepted!, ...ours].map((frame) => frames.indexOf(frame))
        assert.deepStrictEqual(
          places,
          places.toSorted((a, b) => a - b)
        )
        assert.deepStrictEqual(seqs(frames), upTo(seqs(frames).length))
        assert.deepStrictEqual(
          ours.map(({ job_seq }) => job_seq),
          upTo(ours.length)
        )
        for (const frame of frames) assert.strictEqual(frame.trace_id, trace_id, JSON.stringify(frame))
        assert.strictEqual(ours.at(-1)!.payload["result"], "hello")
      }).pipe(withAgents(Script.layer({ parent, child })))
    }
  )

  verifies("C-124", "without a trace of the submit the child has the one that its parent was given", () => {
    const { child } = counted()
    return Effect.gen(function* () {
      const peer = yield* join()
      const mine = yield* submit(peer, "parent", [{ agent: "child" }], lease(everything))
      assert.match(mine.trace_id!, /^[0-9a-f]{32}$/)
      const frames = yield* peer.until("job.result", (frame) => frame.job_id === mine.job_id)
      for (const frame of frames) assert.strictEqual(frame.trace_id, mine.trace_id, JSON.stringify(frame))
    }).pipe(withAgents(Script.layer({ parent, child })))
  })

  verifies("C-100", "a lease that is wider in any pattern is refused as the result of a tool, and nothing runs", () => {
    const { child, runs } = counted()
    return Effect.gen(function* () {
      const peer = yield* join()
      const grants = {
        "agent.delegate": ["child"],
        "fs.read": ["/a/*", "/b/**"],
        "tool.call": ["search.*"],
        "net.fetch": ["https://h/x/**"]
      }
      const wider: ReadonlyArray<readonly [field: string, lease: Capability.Grants]> = [
        ["lease_request.fs.read[0]", { "fs.read": ["/a/**"] }],
        ["lease_request.fs.read[1]", { "fs.read": ["/a/x", "/c"] }],
        ["lease_request.fs.write[0]", { "fs.write": ["/a/x"] }],
        ["lease_request.tool.call[0]", { "tool.call": ["search*"] }],
        ["lease_request.net.fetch[0]", { "net.fetch": ["http://h/x/y"] }],
        ["lease_request.agent.delegate[0]", { "agent.delegate": ["*"] }]
      ]
      const { answers, frames } = yield* handOn(
        peer,
        [grants],
        ...wider.map(([, lease]) => ({ agent: "child", lease }))
      )
      assert.deepStrictEqual(
        answers,
        wider.map(() => "LeaseSubsetViolation")
      )
      assert.deepStrictEqual(
        refusals(frames),
        wider.map(([field]) => ["LEASE_SUBSET_VIOLATION", field])
      )
      assert.notInclude(kinds(frames), "delegate")
      assert.deepStrictEqual(runs, [])
      const within = { "fs.read": ["/a/*", "/b/x/**"], "tool.call": ["search.web"], "agent.delegate": ["child@1.0.0"] }
      assert.deepStrictEqual((yield* handOn(peer, [grants], { agent: "child", lease: within })).answers, ["hello"])
      assert.deepStrictEqual(runs, ["hello"])
      assert.lengthOf(acceptances(yield* received(peer)), 3)
    }).pipe(withAgents(Script.layer({ parent, child })))
  })

  verifies("C-101", "a budget beyond what the parent has left is refused; all that it has left is not", () => {
    const { child, runs } = counted()
    return Effect.gen(function* () {
      const peer = yield* join()
      const grants = { ...everything, "cost.budget": ["USD:5.00"] }
      const asks = (budget: string, spend?: number) => ({
        agent: "child",
        lease: { "cost.budget": [budget] },
        ...(spend === undefined ? {} : { spend })
      })
      const { answers, frames } = yield* handOn(
        peer,
        [grants],
        asks("USD:5.01"),
        asks("USD:2.01", 3),
        asks("USD:2.00"),
        // The child has spent none of it, so it is there again.
        asks("USD:2.00"),
        asks("credits:1000")
      )
      assert.deepStrictEqual(answers, ["LeaseSubsetViolation", "LeaseSubsetViolation", "hello", "hello", "hello"])
      assert.deepStrictEqual(refusals(frames), [
        ["LEASE_SUBSET_VIOLATION", "lease_request.cost.budget"],
        ["LEASE_SUBSET_VIOLATION", "lease_request.cost.budget"]
      ])
      assert.lengthOf(runs, 3)
      const budgets = acceptances(yield* received(peer)).map(({ payload }) => payload["budget"])
      assert.deepStrictEqual(budgets, [{ USD: 5 }, { USD: 2 }, { USD: 2 }, { credits: 1000 }])
    }).pipe(withAgents(Script.layer({ parent, child })))
  })

  verifies("C-101", "children share what their parent has: of three that ask for all of it one gets it", () => {
    const gate = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "parent", null, lease({ ...everything, "cost.budget": ["USD:1.00"] }))
      yield* Deferred.succeed(gate, undefined)
      const { frames, terminal } = yield* outcome(peer, job_id)
      // Nothing is left for the next, not even to ask; of the others' wishes some of it would have been there.
      assert.deepStrictEqual(refusals(frames.filter((frame) => frame.job_id === job_id)), [
        ["BUDGET_EXHAUSTED", undefined],
        ["BUDGET_EXHAUSTED", undefined],
        ["LEASE_SUBSET_VIOLATION", "lease_request.cost.budget"],
        ["LEASE_SUBSET_VIOLATION", "lease_request.cost.budget"]
      ])
      assert.deepStrictEqual(terminal.payload["result"], [
        ["child", "BudgetExhausted", "BudgetExhausted"],
        { USD: "0" },
        { USD: "0.25" },
        ["LeaseSubsetViolation", "child", "LeaseSubsetViolation"],
        { USD: "0.05" }
      ])
    }).pipe(
      withAgents(
        Script.layer({
          parent: Effect.fnUntraced(function* (job) {
            const ask = (cost: number, ...budgets: ReadonlyArray<string>) =>
              Effect.forEach(
                budgets,
                (budget) => Effect.result(job.delegate("spender", cost, { lease: { "cost.budget": [budget] } })),
                { concurrency: "unbounded" }
              )
            const names = (results: Effect.Success<ReturnType<typeof ask>>) =>
              results.map((result) => (result._tag === "Success" ? "child" : result.failure._tag))
            const all = yield* ask(0.75, "USD:1.00", "USD:1.00", "USD:1.00")
            const meanwhile = yield* Script.left(job)
            for (const result of all) if (result._tag === "Success") yield* result.success.result
            // What the child has not spent is back before its result is there.
            const after = yield* Script.left(job)
            const some = yield* ask(0.2, "USD:0.26", "USD:0.20", "USD:0.06")
            return [names(all), meanwhile, after, names(some), yield* Script.left(job)]
          }),
          spender: Effect.fnUntraced(function* (job, cost) {
            yield* Deferred.await(gate)
            yield* job.metric("cost.part", cost as number, { unit: "USD" })
            return null
          })
        })
      )
    )
  })

  verifies(
    "C-102",
    "an end after the parent's is refused, the parent's is not, nor is one where the parent has none",
    () => {
      const { child } = counted()
      return Effect.gen(function* () {
        const peer = yield* join()
        const expires_at = at(60_000)
        const { answers, frames } = yield* handOn(
          peer,
          [everything, { expires_at }],
          { agent: "child", expiresAt: at(60_001) },
          { agent: "child", expiresAt: at(60_000) },
          { agent: "child", expiresAt: at(1000) },
          { agent: "child" },
          { agent: "child", expiresAt: "1970-01-01T00:00:01+02:00" },
          { agent: "child", expiresAt: at(0) }
        )
        assert.deepStrictEqual(answers, [
          "LeaseSubsetViolation",
          "hello",
          "hello",
          "hello",
          "InvalidRequest",
          "InvalidRequest"
        ])
        assert.deepStrictEqual(refusals(frames)[0], ["LEASE_SUBSET_VIOLATION", "lease_constraints.expires_at"])
        const [, ...accepted] = acceptances(yield* received(peer))
        assert.deepStrictEqual(
          accepted.map(({ payload }) => payload["lease_constraints"]),
          [60_000, 1000, 60_000].map((millis) => ({ expires_at: at(millis) }))
        )
        const free = yield* handOn(peer, [everything], { agent: "child", expiresAt: at(60_001) })
        assert.deepStrictEqual(free.answers, ["hello"])
      }).pipe(withAgents(Script.layer({ parent, child })))
    }
  )

  verifies("C-103", "a model outside those of the parent is refused", () => {
    const { child, runs } = counted()
    const features = [...RuntimeConfig.defaults.features, "model.use"] as ReadonlyArray<RuntimeConfig.Served>
    return Effect.gen(function* () {
      const peer = yield* join()
      const grants = { ...everything, "model.use": ["small/*", "large"] }
      const models = (...patterns: ReadonlyArray<string>) => ({ agent: "child", lease: { "model.use": patterns } })
      const { answers, frames } = yield* handOn(
        peer,
        [grants],
        models("large", "medium"),
        models("small/**"),
        models("large", "small/1")
      )
      assert.deepStrictEqual(answers, ["LeaseSubsetViolation", "LeaseSubsetViolation", "hello"])
      assert.deepStrictEqual(refusals(frames), [
        ["LEASE_SUBSET_VIOLATION", "lease_request.model.use[1]"],
        ["LEASE_SUBSET_VIOLATION", "lease_request.model.use[0]"]
      ])
      assert.lengthOf(runs, 1)
      const none = yield* handOn(peer, [everything], models("large"))
      assert.deepStrictEqual(none.answers, ["LeaseSubsetViolation"])
    }).pipe(withAgents(Script.layer({ parent, child }), { config: { features } }))
  })
})
