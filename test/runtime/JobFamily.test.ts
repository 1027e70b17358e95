import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Layer, Logger, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import * as Budgets from "../../src/authority/Budgets.ts"
import * as Leases from "../../src/authority/Leases.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as Json from "../../src/protocol/Json.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as Script from "../conformance/Script.ts"
import { settled } from "../conformance/Stage.ts"
import { lease, run, statuses, stored, submit, type Options, withScripts } from "./Families.ts"

describe("A family of jobs", () => {
  /** How a member behaves: it waits, as far as it lets itself be stopped, or ends in some way when it is told to. */
  interface Member {
    readonly children: ReadonlyArray<Member>
    readonly detached?: boolean
    /** Does not stop when it is told to. */
    readonly stubborn?: boolean
    /** What it does once its children are there; to wait for ever is the default. */
    readonly finale?: "return" | "fail" | "die" | "interrupt"
  }

  const member = (more: Omit<Member, "children"> = {}, ...children: ReadonlyArray<Member>): Member => ({
    ...more,
    children
  })

  const script: Script.Script = Effect.fnUntraced(function* (job, input) {
    const { children, finale, stubborn } = input as unknown as Member
    for (const child of children) {
      yield* job.delegate("member", child as unknown as Json.Json, { lease, detached: child.detached ?? false })
    }
    yield* job.log("info", "ready")
    if (finale !== undefined) yield* Deferred.await(go)
    switch (finale) {
      case "return":
        return "done"
      case "fail":
        return yield* new ArcpError.PermissionDenied({ message: "no" })
      case "die":
        return yield* Effect.die("a bug")
      case "interrupt":
        return yield* Effect.interrupt
      default:
        return yield* stubborn === true
          ? Effect.uninterruptible(Effect.as(Deferred.await(release), null))
          : Effect.never
    }
  })

  /** What those wait for that are to end, and what holds those that do not stop. */
  let go = Deferred.makeUnsafe<void>()
  let release = Deferred.makeUnsafe<void>()

  /** Provides the runtime; when the test is done all are let go, since it waits for them. */
  const withFamily =
    (options?: Options) =>
    <A, E>(test: Effect.Effect<A, E, ArcpClient.ArcpClient | ArcpTest.Runtime>) =>
      Effect.suspend(() => {
        go = Deferred.makeUnsafe()
        const latch = Deferred.makeUnsafe<void>()
        release = latch
        return test.pipe(Effect.ensuring(Deferred.succeed(latch, undefined)), withScripts({ member: script }, options))
      })

  /** Starts a family; its members as they come, the eldest first, and the order in which they end. */
  const start = Effect.fnUntraced(function* (eldest: Member, more?: ArcpClient.SubmitOptions) {
    const journal = yield* JobJournal.JobJournal
    const job = yield* submit("member", eldest as unknown as Json.Json, more)
    yield* settled
    const jobs = yield* stored
    const ended: Array<Ids.JobId> = []
    for (const { record } of jobs) {
      const look = Effect.map(journal.read(record.id, -1, Number.MAX_SAFE_INTEGER), (page) => page.ended)
      if (yield* look) ended.push(record.id)
      yield* journal.watch(record.id, () => {
        if (!ended.includes(record.id) && Effect.runSync(look)) ended.push(record.id)
      })
    }
    return { job, ids: jobs.map(({ record }) => record.id), ended }
  })

  const chain = member({}, member({}, member({}, member())))

  describe("ends with its eldest, the youngest first,", () => {
    it.effect("when that is cancelled", () =>
      Effect.gen(function* () {
        const { ended, ids, job } = yield* start(chain)
        assert.lengthOf(ids, 4)
        yield* job.cancel("enough")
        const error = yield* Effect.flip(job.result)
        assert.deepStrictEqual(error.details, { reason: "enough" })
        assert.deepStrictEqual(ended, ids.toReversed())
        assert.deepStrictEqual(yield* statuses, ["cancelled", "cancelled", "cancelled", "cancelled"])
      }).pipe(withFamily())
    )

    it.effect("when that has had its time", () =>
      Effect.gen(function* () {
        const { ended, ids, job } = yield* start(chain, { maxRuntime: "10 seconds" })
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* Effect.flip(job.result))._tag, "Timeout")
        assert.deepStrictEqual(ended, ids.toReversed())
        assert.deepStrictEqual(yield* statuses, ["timed_out", "cancelled", "cancelled", "cancelled"])
      }).pipe(withFamily())
    )

    it.effect("when its lease is over", () =>
      Effect.gen(function* () {
        const { ended, ids, job } = yield* start(chain, { expiresAt: "1970-01-01T00:00:10Z" })
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* Effect.flip(job.result))._tag, "LeaseExpired")
        assert.deepStrictEqual(ended, ids.toReversed())
        assert.deepStrictEqual(yield* statuses, ["error", "error", "error", "error"])
      }).pipe(withFamily())
    )

    for (const [finale, outcome] of [
      ["return", "success"],
      ["fail", "error"],
      ["die", "error"],
      ["interrupt", "error"]
    ] as const) {
      it.effect(`when its agent does: ${finale}`, () =>
        Effect.gen(function* () {
          const { ended, ids, job } = yield* start(member({ finale }, member({}, member())))
          yield* Deferred.succeed(go, undefined)
          yield* Effect.exit(job.result)
          assert.deepStrictEqual(ended, ids.toReversed())
          assert.deepStrictEqual(yield* statuses, [outcome, "cancelled", "cancelled"])
          for (const id of ids.slice(1)) {
            const terminal = Option.getOrThrow(yield* JobJournal.outcome(id))
            assert.include(terminal.tail, "the job that delegated it has ended")
          }
        }).pipe(withFamily(), Effect.provide(Logger.layer([])))
      )
    }

    it.effect("also where some do not stop, within the grace, all of which they have at the same time", () =>
      Effect.gen(function* () {
        const stubborn = member({}, member({ stubborn: true }, member({}, member({ stubborn: true }))))
        const { ended, ids, job } = yield* start(stubborn)
        yield* job.cancel()
        yield* TestClock.adjust("29 seconds")
        // Only who does as told and waits for nobody has gone.
        assert.deepStrictEqual(ended, [])
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Effect.flip(job.result))._tag, "Cancelled")
        assert.deepStrictEqual(ended, ids.toReversed())
        assert.deepStrictEqual(yield* statuses, ["cancelled", "cancelled", "cancelled", "cancelled"])
        assert.strictEqual(yield* Clock.currentTimeMillis, 30_000)
      }).pipe(withFamily(), Effect.provide(Logger.layer([])))
    )

    it.effect("also when the eldest itself does not stop, and when only the youngest does not", () =>
      Effect.gen(function* () {
        for (const family of [
          member({ stubborn: true }, member({}, member())),
          member({ finale: "return" }, member({}, member({ stubborn: true }))),
          member({ stubborn: true }, member({ stubborn: true }, member({ stubborn: true })))
        ]) {
          const before = (yield* stored).length
          const { ended, ids, job } = yield* start(family)
          yield* family.finale === undefined ? job.cancel() : Deferred.succeed(go, undefined)
          yield* TestClock.adjust("30 seconds")
          yield* Effect.exit(job.result)
          assert.deepStrictEqual(ended.slice(-3), ids.slice(before).toReversed())
        }
      }).pipe(withFamily(), Effect.provide(Logger.layer([])))
    )
  })

  it.effect("goes on where a child is detached, with all that is below it, and ends with that", () =>
    Effect.gen(function* () {
      const { ids, job } = yield* start(
        member({ finale: "return" }, member({ detached: true }, member()), member({}, member({ detached: true })))
      )
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual(yield* job.result, "done")
      yield* settled
      // The eldest; a child that outlives it, with its own; one that does not, and a child of that which does.
      assert.lengthOf(ids, 5)
      assert.deepStrictEqual(yield* statuses, ["success", "running", "running", "cancelled", "running"])
      const client = yield* ArcpClient.ArcpClient
      const [, detached, below, , orphan] = ids
      const observer = yield* client.subscribe(detached!)
      yield* observer.cancel("enough")
      yield* settled
      assert.deepStrictEqual(yield* statuses, ["success", "cancelled", "cancelled", "cancelled", "running"])
      assert.notStrictEqual(below, orphan)
    }).pipe(Effect.scoped, withFamily())
  )

  it.effect("has a bound in its depth and in its width, also for those that are asked for at once", () =>
    Effect.gen(function* () {
      const job = yield* submit("deep", 10)
      assert.strictEqual(yield* job.result, "jobs_in_a_chain_of_delegations after 3")
      const wide = yield* submit("wide")
      assert.deepStrictEqual(yield* wide.result, [4, 2, "children_per_job", "InternalError", true, "room again"])
    }).pipe(
      withScripts(
        {
          child: () => Effect.never,
          deep: Effect.fnUntraced(function* (job, left) {
            const child = yield* Effect.result(job.delegate("deep", (left as number) - 1, { lease }))
            if (Result.isSuccess(child)) return yield* child.success.result
            return `${child.failure.details?.["limit"] as string} after ${10 - (left as number)}`
          }),
          wide: Effect.fnUntraced(function* (job) {
            const tool = { "tool.call": ["x"] }
            const asks = Array.from({ length: 6 }, () => Effect.result(job.delegate("child", null, { lease: tool })))
            const answers = yield* Effect.all(asks, { concurrency: "unbounded" })
            const children = answers.flatMap((answer) => (Result.isSuccess(answer) ? [answer.success] : []))
            const [refusal, ...more] = answers.flatMap((answer) => (Result.isFailure(answer) ? [answer.failure] : []))
            const { _tag, details, retryable } = refusal!
            yield* children[0]!.cancel()
            yield* Effect.exit(children[0]!.result)
            yield* job.delegate("child", null)
            return [children.length, more.length + 1, details!["limit"]!, _tag, retryable, "room again"]
          })
        },
        {
          config: { maxDelegationDepth: 3, maxChildren: 4 },
          // So that all are being decided on at the same time.
          leases: Leases.layerPolicy(() => Effect.as(Effect.yieldNow, true))
        }
      )
    )
  )

  it.effect("does not wait for itself: a place that only its own end could free is refused at once", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* run("alone"), ["InternalError", "jobs_waiting_for_this_agent"])
    }).pipe(
      withScripts(
        {
          alone: Effect.fnUntraced(function* (job, input) {
            const [tag, details] = yield* Script.refused(Effect.asVoid(job.delegate("alone", input)))
            return [tag, details["limit"]!]
          })
        },
        {},
        { alone: { concurrency: 1 } }
      )
    )
  )

  describe("and another do not wait for each other,", () => {
    const stage = () => {
      const first = Deferred.makeUnsafe<void>()
      const second = Deferred.makeUnsafe<void>()
      const scripts: Readonly<Record<string, Script.Script>> = {
        a: Effect.fnUntraced(function* (job) {
          yield* Deferred.await(first)
          const child = yield* job.delegate("b", "leaf")
          return yield* child.result
        }),
        b: Effect.fnUntraced(function* (job, input) {
          if (input === "leaf") return input
          if (input === "busy") return yield* Effect.as(Effect.sleep("10 seconds"), input)
          yield* Deferred.await(second)
          const child = yield* Effect.result(job.delegate("a", null, { lease }))
          return Result.isSuccess(child) ? yield* child.success.result : child.failure.details!["limit"]!
        })
      }
      // Everybody has a place; then the first asks for one of b, and then the second for that of a.
      const play = Effect.gen(function* () {
        yield* settled
        yield* Deferred.succeed(first, undefined)
        yield* settled
        yield* Deferred.succeed(second, undefined)
        yield* settled
      })
      return { scripts, play }
    }

    it.effect("and who would have to is refused", () => {
      const { play, scripts } = stage()
      return Effect.gen(function* () {
        const [first, second] = yield* Effect.all([submit("a"), submit("b", "second")])
        yield* play
        assert.strictEqual(yield* second.result, "jobs_waiting_for_this_agent")
        assert.strictEqual(yield* first.result, "leaf")
      }).pipe(withScripts(scripts, {}, { a: { concurrency: 1 }, b: { concurrency: 1 } }))
    })

    it.effect("unless somebody else goes on whose place will do", () => {
      const { play, scripts } = stage()
      return Effect.gen(function* () {
        const jobs = yield* Effect.all([submit("a"), submit("b", "second"), submit("b", "busy")])
        yield* play
        assert.deepStrictEqual(yield* statuses, ["running", "running", "running", "pending", "pending"])
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* Effect.forEach(jobs, (job) => job.result), ["leaf", "leaf", "busy"])
      }).pipe(withScripts(scripts, {}, { a: { concurrency: 1 }, b: { concurrency: 2 } }))
    })
  })

  it.effect("may wait for its turn behind others, and runs when it comes", () =>
    Effect.gen(function* () {
      const busy = yield* submit("worker", 5)
      const job = yield* submit("host")
      yield* settled
      assert.deepStrictEqual(yield* statuses, ["running", "running", "pending"])
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual([yield* busy.result, yield* job.result], [5, 1])
      // A child that waits ends with its parent, and has never begun.
      yield* submit("worker", 5)
      const hasty = yield* submit("hasty")
      assert.strictEqual(yield* hasty.result, "gone")
      assert.deepStrictEqual((yield* statuses).slice(-2), ["success", "cancelled"])
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* run("worker", 0), 0)
    }).pipe(
      withScripts(
        {
          worker: (_, seconds) => Effect.as(Effect.sleep(`${seconds as number} seconds`), seconds),
          host: (job) => Effect.flatMap(job.delegate("worker", 1), (child) => child.result),
          hasty: (job) => Effect.as(job.delegate("worker", 1), "gone")
        },
        {},
        { worker: { concurrency: 1 } }
      )
    )
  )

  it.effect("takes nobody in while it ends", () => {
    let late: Effect.Effect<Exit.Exit<unknown, unknown>> | undefined
    const called = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      const job = yield* submit("host")
      yield* Deferred.await(called)
      yield* job.cancel()
      yield* settled
      // While it unwinds, and when it is over.
      for (let turn = 0; turn < 2; turn++) {
        const exit = yield* late!
        assert.isTrue(Exit.isFailure(exit) && Exit.hasInterrupts(exit))
        yield* TestClock.adjust("10 seconds")
      }
      assert.deepStrictEqual(yield* statuses, ["cancelled"])
    }).pipe(
      withScripts({
        child: () => Effect.never,
        host: Effect.fnUntraced(function* (job) {
          late = Effect.exit(job.delegate("child", null))
          yield* Deferred.succeed(called, undefined)
          return yield* Effect.onInterrupt(Effect.never, () => Effect.sleep("5 seconds"))
        })
      })
    )
  })

  /** A ledger that takes so long, in milliseconds, to open the account of a child, and to close any. */
  const slow = ({ close, open }: { readonly open: number; readonly close: number }) =>
    Layer.effect(
      Budgets.Budgets,
      Effect.map(Budgets.make, (ledger) =>
        Budgets.Budgets.of({
          open: (opening) =>
            Effect.andThen(
              opening.parent === undefined ? Effect.void : Effect.sleep(open),
              Effect.map(ledger.open(opening), (account) => ({
                ...account,
                close: Effect.andThen(Effect.sleep(close), account.close)
              }))
            )
        })
      )
    )

  describe("where deciding takes its time,", () => {
    /** Asks for a child, and is gone before that is there. */
    const hasty: Readonly<Record<string, Script.Script>> = {
      child: () => Effect.never,
      hasty: Effect.fnUntraced(function* (job, budget) {
        const cap = budget === null ? undefined : { "cost.budget": [budget as string] }
        const asking = job.delegate("child", null, { lease: { "tool.call": ["x"], ...cap } })
        yield* Effect.forkDetach(asking, { startImmediately: true })
        return "gone"
      })
    }

    const budget = { lease: { ...lease, "cost.budget": ["USD:5"] } }

    it.effect("takes nobody in for whom the decision comes too late", () =>
      Effect.gen(function* () {
        const job = yield* submit("hasty")
        assert.strictEqual(yield* job.result, "gone")
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* statuses, ["success"])
      }).pipe(
        withScripts(hasty, {
          leases: Leases.layerPolicy(({ agent }) =>
            Effect.as(agent.startsWith("child") ? Effect.sleep(1000) : Effect.void, true)
          )
        })
      )
    )

    it.effect("waits for one that is about to begin, and ends it", () =>
      Effect.gen(function* () {
        const job = yield* submit("hasty", "USD:1", budget)
        yield* settled
        assert.deepStrictEqual(yield* statuses, ["running"])
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* job.result, "gone")
        assert.deepStrictEqual(yield* statuses, ["success", "cancelled"])
      }).pipe(withScripts(hasty, { budgets: slow({ open: 1000, close: 0 }) }))
    )

    it.effect("has the last word also where its own agent does not stop, and its children take long to settle", () => {
      const release = Deferred.makeUnsafe<void>()
      return Effect.gen(function* () {
        const job = yield* submit("stubborn", null, budget)
        yield* settled
        yield* job.cancel()
        yield* TestClock.adjust("31 seconds")
        assert.deepStrictEqual(yield* statuses, ["running", "running"])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* statuses, ["running", "cancelled"])
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(yield* statuses, ["cancelled", "cancelled"])
      }).pipe(
        Effect.ensuring(Deferred.succeed(release, undefined)),
        withScripts(
          {
            child: () => Effect.as(Effect.uninterruptible(Deferred.await(release)), null),
            stubborn: (job) =>
              Effect.gen(function* () {
                yield* job.delegate("child", null, { lease: { "cost.budget": ["USD:1"] } })
                yield* Deferred.await(release)
                return null
              }).pipe(Effect.uninterruptible)
          },
          { budgets: slow({ open: 0, close: 2000 }) }
        ),
        Effect.provide(Logger.layer([]))
      )
    })
  })

  it.effect("lives by the clock of the runtime, whatever its eldest holds up to it", () =>
    Effect.gen(function* () {
      const job = yield* submit("host")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* job.result, "LeaseExpired")
    }).pipe(
      withScripts({
        child: () => Effect.never,
        host: Effect.fnUntraced(function* (job) {
          const clock = yield* Clock.Clock
          const stopped: Clock.Clock = {
            ...clock,
            currentTimeMillisUnsafe: () => 0,
            currentTimeMillis: Effect.succeed(0),
            monotonicTimeNanosUnsafe: () => 0n,
            sleep: () => Effect.never
          }
          const child = yield* job
            .delegate("child", null, { expiresAt: "1970-01-01T00:00:01Z" })
            .pipe(Effect.provideService(Clock.Clock, stopped))
          const [tag] = yield* Script.refused(child.result)
          return tag
        })
      })
    )
  )

  it.effect("takes from what its eldest has set aside for it", () =>
    Effect.gen(function* () {
      const job = yield* submit("host", null, { lease: { ...lease, "cost.budget": ["USD:1.00"] } })
      assert.deepStrictEqual(yield* job.result, [["spent", { USD: "0.2" }], "LeaseSubsetViolation", { USD: "0.5" }])
    }).pipe(
      withScripts({
        child: (job, cost) => Effect.as(job.metric("cost.part", cost as number, { unit: "USD" }), "spent"),
        host: Effect.fnUntraced(function* (job) {
          const ask = (cost: number, budget: string) =>
            Effect.flatMap(job.delegate("child", cost, { lease: { "cost.budget": [budget] } }), (child) => child.result)
          // More than is left beside, but not more than is set aside.
          const within = yield* job.reserve("USD:0.80", Effect.all([ask(0.5, "USD:0.80"), Script.left(job)]))
          const [beyond] = yield* Script.refused(ask(0.1, "USD:0.51"))
          return [[...within], beyond, yield* Script.left(job)]
        })
      })
    )
  )
})
