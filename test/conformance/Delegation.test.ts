import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import type * as Capability from "../../src/protocol/Capability.ts"
import * as Json from "../../src/protocol/Json.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import type * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import type * as Delegation from "../../src/runtime/Delegation.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import {
  answer,
  answers,
  assertRefused,
  bodies,
  join,
  kinds,
  outcome,
  received,
  run,
  submit,
  withAgents
} from "./Conversation.ts"
import * as Script from "./Script.ts"
import { lineOf, rejoin, seqs, settled, ticketOf, upTo } from "./Stage.ts"
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

  it.effect("a grant is asked about the very version that would run, also where the name alone was given", () => {
    const versions = ["1.0.0", "2.0.0"].map((version) =>
      Agent.make({ name: "child", version, default: version === "2.0.0", input: Json.Json, output: Json.Json }).toLayer(
        () => Effect.succeed(version)
      )
    ) as [
      Layer.Layer<never, never, AgentRegistry.AgentRegistry>,
      Layer.Layer<never, never, AgentRegistry.AgentRegistry>
    ]
    return Effect.gen(function* () {
      const peer = yield* join()
      const cases: ReadonlyArray<readonly [grant: string, asked: string, answer: string]> = [
        ["child", "child", "2.0.0"],
        ["child", "child@1.0.0", "1.0.0"],
        ["child@2.0.0", "child", "2.0.0"],
        ["child@1.0.0", "child", "PermissionDenied"],
        ["child@1.0.0", "child@1.0.0", "1.0.0"],
        ["child@1.0.0", "child@2.0.0", "PermissionDenied"],
        ["child@1.*", "child@1.0.0", "1.0.0"],
        ["chi*", "child", "2.0.0"],
        ["parent", "child", "PermissionDenied"],
        // Whether an agent is there is not for everybody to know.
        ["child", "nobody", "PermissionDenied"],
        ["child", "nobody@1", "PermissionDenied"],
        ["**", "nobody", "AgentNotAvailable"],
        ["child", "child@3.0.0", "AgentVersionNotAvailable"],
        ["child@1.0.0", "child@3.0.0", "PermissionDenied"],
        ["**", "Child!", "InvalidRequest"]
      ]
      for (const [grant, agent, answer] of cases) {
        const { answers } = yield* handOn(peer, [{ "agent.delegate": [grant] }], { agent })
        assert.deepStrictEqual(answers, [answer], `${agent} under ${grant}`)
      }
      assert.deepStrictEqual((yield* handOn(peer, [{}], { agent: "child" })).answers, ["PermissionDenied"])
    }).pipe(withAgents(Layer.mergeAll(Script.layer({ parent }), ...versions)))
  })

  /** Delegates when it is told to, and ends when it is told to. */
  const family = () => {
    const go = Deferred.makeUnsafe<void>()
    const end = Deferred.makeUnsafe<void>()
    const scripts: Readonly<Record<string, Script.Script>> = {
      parent: Effect.fnUntraced(function* (job) {
        yield* job.log("info", "before")
        yield* Deferred.await(go)
        const child = yield* job.delegate("child", null, { lease: {} })
        yield* job.log("info", "after")
        yield* Deferred.await(end)
        return yield* child.result
      }),
      child: Effect.fnUntraced(function* (job) {
        yield* job.log("info", "from the child")
        yield* Deferred.await(end)
        yield* job.log("info", "the child goes")
        return "well"
      })
    }
    return { scripts, go: Deferred.succeed(go, undefined), end: Deferred.succeed(end, undefined) }
  }

  const linesOf = (frames: ReadonlyArray<TestPeer.Frame>, job?: string) =>
    frames.flatMap((frame) => (job === undefined || frame.job_id === job ? (lineOf(frame) ?? []) : []))

  const cancel = (peer: TestPeer.TestPeer, job_id: string) =>
    Effect.andThen(peer.send({ type: "job.cancel", job_id, payload: {} }), answers(peer))

  it.effect("who submits the parent again is sent the child as well, and may cancel it", () => {
    const { end, go, scripts } = family()
    return Effect.gen(function* () {
      const first = yield* join()
      const more = { payload: { idempotency_key: "k", lease_request: everything } }
      const { job_id } = yield* submit(first, "parent", null, more)
      yield* go
      yield* settled
      const second = yield* join()
      const again = yield* submit(second, "parent", null, more)
      assert.strictEqual(again.job_id, job_id)
      const frames = yield* answers(second)
      const [child] = acceptances(frames)
      assert.strictEqual(child!.payload["parent_job_id"], job_id)
      assert.isUndefined(child!.payload["request_id"])
      assert.deepStrictEqual(linesOf(frames), ["before", "from the child", "after"])
      assert.deepStrictEqual(seqs(frames), upTo(seqs(frames).length))

      const stranger = yield* join()
      assertRefused((yield* cancel(stranger, child!.job_id!))[0]!, "PERMISSION_DENIED")
      const cancelled = yield* cancel(second, child!.job_id!)
      assert.strictEqual(cancelled[0]!.type, "job.cancelled")
      assert.strictEqual(cancelled.find(isTerminal)!.payload["code"], "CANCELLED")
      yield* end
      for (const peer of [first, second]) {
        // The child was cancelled, and its parent was not: it failed for that.
        const { terminal } = yield* outcome(peer, job_id)
        assert.containSubset(terminal.payload, { code: "CANCELLED", final_status: "error" })
      }
    }).pipe(withAgents(Script.layer(scripts)))
  })

  it.effect("who observes the parent hears of the child, and hears the child if it asks to; both are listed", () => {
    const { end, go, scripts } = family()
    return Effect.gen(function* () {
      const owner = yield* join()
      const { job_id } = yield* submit(owner, "parent", null, lease(everything))
      const observer = yield* join()
      yield* observer.send({ type: "job.subscribe", payload: { job_id, history: true } })
      yield* go
      yield* settled
      const frames = yield* answers(observer)
      const [told] = bodies(frames, "delegate") as unknown as ReadonlyArray<{ readonly child_job_id: string }>
      const child = told!.child_job_id
      assert.deepStrictEqual(linesOf(frames), ["before", "after"])
      assert.deepStrictEqual(acceptances(frames), [])
      yield* observer.send({ type: "job.subscribe", payload: { job_id: child, history: true } })
      const [subscribed, ...rest] = yield* answers(observer)
      assert.deepInclude(subscribed!.payload, { parent_job_id: job_id, agent: "child@1.0.0" })
      assert.deepStrictEqual(linesOf(rest, child), ["from the child"])
      yield* observer.send({ type: "session.list_jobs" })
      const listed = (yield* answers(observer))[0]!.payload["jobs"] as ReadonlyArray<Json.JsonObject>
      assert.deepStrictEqual(
        listed.map(({ job_id, parent_job_id, status }) => [job_id, parent_job_id, status]),
        [
          [job_id, null, "running"],
          [child, job_id, "running"]
        ]
      )
      yield* end
      const ended = yield* observer.until("job.result", (frame) => frame.job_id === job_id)
      assert.deepStrictEqual(linesOf(ended), ["the child goes"])
    }).pipe(withAgents(Script.layer(scripts)))
  })

  it.effect("what a session hears of its own jobs anew does not bring their children anew", () => {
    const { end, go, scripts } = family()
    const last = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "elder", null, lease(everything))
      yield* go
      yield* end
      yield* peer.until("job.event", (frame) => lineOf(frame) === "alone again")
      const again = Effect.gen(function* () {
        yield* peer.send({ type: "job.subscribe", payload: { job_id, history: true } })
        const frames = yield* answers(peer)
        assert.deepStrictEqual(linesOf(frames), ["before", "after", "alone again"])
        assert.deepStrictEqual(acceptances(frames), [])
      })
      yield* again
      yield* Deferred.succeed(last, undefined)
      yield* peer.until("job.result", (frame) => frame.job_id === job_id)
      yield* again
    }).pipe(
      withAgents(
        Script.layer({
          ...scripts,
          elder: Effect.fnUntraced(function* (job, input) {
            const answer = yield* scripts["parent"]!(job, input)
            yield* job.log("info", "alone again")
            yield* Deferred.await(last)
            return answer
          })
        })
      )
    )
  })

  it.effect(
    "a session that comes back in the midst of it misses nothing, and learns of a child that it had not",
    () => {
      const { end, go, scripts } = family()
      return Effect.gen(function* () {
        const first = yield* TestPeer.connect
        const welcome = yield* first.hello()
        const { job_id } = yield* submit(first, "parent", null, lease(everything))
        yield* go
        const frames = yield* first.until("job.event", (frame) => frame.payload["kind"] === "delegate")
        const last = frames.at(-1)!.event_seq!
        // The acceptance of the child is lost with the line.
        yield* first.close()
        yield* settled
        const second = yield* rejoin(ticketOf(welcome), { last })
        const missed = yield* answers(second.peer)
        assert.strictEqual(missed[0]!.type, "job.accepted")
        assert.strictEqual(missed[0]!.payload["parent_job_id"], job_id)
        assert.deepStrictEqual(linesOf(missed), ["from the child", "after"])
        assert.deepStrictEqual(
          seqs(missed),
          upTo(seqs(missed).length).map((seq) => last + seq)
        )
        // Who has heard the child knows of it.
        const heard = missed.find((frame) => linesOf([frame])[0] === "from the child")!.event_seq!
        yield* second.peer.close()
        yield* end
        const third = yield* rejoin(second.ticket, { last: heard })
        const rest = yield* third.peer.until("job.result", (frame) => frame.job_id === job_id)
        assert.deepStrictEqual(acceptances(rest), [])
        assert.deepStrictEqual(linesOf(rest), ["after", "the child goes"])
        assert.deepStrictEqual(
          seqs(rest),
          upTo(seqs(rest).length).map((seq) => heard + seq)
        )
        assert.strictEqual(rest.at(-1)!.payload["result"], "well")
      }).pipe(withAgents(Script.layer(scripts)))
    }
  )

  /** A parent that speaks beside a child that says much, and ends when that does. */
  const chatty = (options: Delegation.Options = {}): Readonly<Record<string, Script.Script>> => ({
    parent: Effect.fnUntraced(function* (job) {
      const child = yield* job.delegate("child", null, options)
      if (options.detached === true) return "gone"
      yield* Effect.forkChild(Effect.forever(Effect.andThen(job.log("info", "parent"), Effect.yieldNow)))
      return yield* child.result
    }),
    child: (job) =>
      Effect.as(
        Effect.forEach(upTo(100), (line) => job.log("info", `${line}`)),
        "said"
      )
  })

  it.effect("the outcome of a parent comes behind all that its children have said", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "parent", null, lease(everything))
      const frames = yield* peer.until("job.result", (frame) => frame.job_id === job_id)
      const [child] = acceptances(frames)
      assert.lengthOf(linesOf(frames, child!.job_id), 100)
      assert.isTrue(frames.some((frame) => frame.job_id === child!.job_id && isTerminal(frame)))
      assert.deepStrictEqual(yield* peer.drain, [])
    }).pipe(withAgents(Script.layer(chatty()), { config: { maxBatch: 4000 } }))
  )

  it.effect("but not behind what a client does not take, nor behind what goes on without the parent", () =>
    Effect.gen(function* () {
      // Says that its acknowledgements are the pace, and gives none of the child.
      const peer = yield* join({ profile: "effect", features: ["ack"] })
      const { job_id } = yield* submit(peer, "parent", null, lease(everything))
      const frames = yield* peer.until("job.result", (frame) => frame.job_id === job_id)
      assert.isBelow(linesOf(frames).length, 100)
      assert.isAbove(linesOf(frames).length, 1)
      assert.strictEqual(frames.at(-1)!.payload["result"], "gone")
    }).pipe(withAgents(Script.layer(chatty({ detached: true })), { config: { pacingWindow: 2000, maxBatch: 4000 } }))
  )

  it.effect("a client may delegate from a job of its own, within the lease of that", () => {
    const { end, scripts } = family()
    return Effect.gen(function* () {
      const peer = yield* join()
      const grants = { "agent.delegate": ["child"], "fs.read": ["/a/**"] }
      const mine = yield* submit(peer, "parent", null, lease(grants))
      const parent_job_id = mine.job_id
      const under = (agent: string, lease_request: Json.JsonObject, more: Json.JsonObject = {}) => ({
        type: "job.submit",
        payload: { agent, input: null, parent_job_id, lease_request, ...more }
      })
      yield* peer.drain
      const refusedAs = Effect.fnUntraced(function* (who: TestPeer.TestPeer, draft: TestPeer.Draft, code: string) {
        const sent = yield* who.send(draft)
        assertRefused(yield* answer(who), code, sent)
      })
      yield* refusedAs(peer, under("child", { "fs.read": ["/**"] }), "LEASE_SUBSET_VIOLATION")
      yield* refusedAs(peer, under("parent", {}), "PERMISSION_DENIED")
      yield* refusedAs(yield* join(), under("child", {}), "PERMISSION_DENIED")
      yield* refusedAs(yield* join({ token: "other" }), under("child", {}), "JOB_NOT_FOUND")

      const key = { idempotency_key: "k" }
      const sent = yield* peer.send(under("child", { "fs.read": ["/a/b"] }, key))
      const frames = yield* answers(peer)
      const [accepted] = acceptances(frames)
      const [told] = bodies(frames, "delegate")
      assert.deepInclude(accepted!.payload, { parent_job_id, trace_id: mine.trace_id!, request_id: sent.id })
      assert.deepInclude(told as object, {
        child_job_id: accepted!.job_id,
        delegate_id: accepted!.payload["delegate_id"],
        lease: { "fs.read": ["/a/b"] }
      })
      assert.deepStrictEqual(linesOf(frames), ["from the child"])
      // Once more under the same key it is the same job, and the parent says nothing new.
      yield* peer.send(under("child", { "fs.read": ["/a/b"] }, key))
      const again = yield* answers(peer)
      assert.deepStrictEqual(
        again.map(({ job_id, type }) => [type, job_id]),
        [["job.accepted", accepted!.job_id]]
      )

      // It is a child like any other: it ends with its parent.
      yield* peer.send({ type: "job.cancel", job_id: parent_job_id, payload: {} })
      const ended = yield* peer.until("job.error", (frame) => frame.job_id === parent_job_id)
      const [child] = ended.filter((frame) => frame.job_id === accepted!.job_id)
      assert.containSubset(child!.payload, { code: "CANCELLED", final_status: "cancelled" })
      yield* refusedAs(peer, under("child", {}), "INVALID_REQUEST")
      yield* end
    }).pipe(withAgents(Script.layer(scripts), { tokens: { secret: "tester", other: "another" } }))
  })
})
