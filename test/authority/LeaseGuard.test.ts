import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Clock, Effect, Fiber, Latch, Logger, type LogLevel, Result } from "effect"
import { TestClock } from "effect/testing"
import * as Budgets from "../../src/authority/Budgets.ts"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as Operation from "../../src/authority/Operation.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import * as Timestamp from "../../src/protocol/Timestamp.ts"
import { verifies } from "../conformance/verifies.ts"
import { amounts, open } from "./Ledger.ts"

const search = Operation.toolCall("search")

const guard = Effect.fnUntraced(function* (constraints: Capability.Constraints) {
  const now = yield* Clock.currentTimeMillis
  return yield* LeaseGuard.make(yield* Effect.fromResult(Lease.make({ "tool.call": ["search"] }, constraints, now)))
})

const outcome = <A, R>(effect: Effect.Effect<A, { readonly _tag: string }, R>) =>
  Effect.match(effect, { onFailure: (error) => error._tag, onSuccess: () => "ok" })

describe("LeaseGuard", () => {
  verifies("C-096", "an operation that is denied never starts", () =>
    Effect.gen(function* () {
      const { authorize } = yield* guard({})
      let calls = 0
      const call = Effect.sync(() => {
        calls++
      })
      yield* Effect.andThen(authorize(search), call)
      assert.strictEqual(calls, 1)
      const denied = yield* Effect.flip(Effect.andThen(authorize(Operation.toolCall("shell")), call))
      assert.strictEqual(denied._tag, "PermissionDenied")
      assert.strictEqual(calls, 1)
    })
  )

  it.effect("asks the clock each time that the same check runs, and ends at the very instant", () =>
    Effect.gen(function* () {
      const check = (yield* guard({ expires_at: Timestamp.format(1000) })).authorize(search)
      yield* TestClock.adjust(999)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
    })
  )

  verifies("C-104b", "a lease of 60 days lasts 60 days", () =>
    Effect.gen(function* () {
      const days = 86_400_000
      const check = (yield* guard({ expires_at: Timestamp.format(60 * days) })).authorize(search)
      assert.strictEqual(yield* outcome(check), "ok")
      // Past the longest time that a 32-bit timer can count.
      yield* TestClock.adjust(2 ** 31)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(60 * days - 2 ** 31 - 1)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
    })
  )

  it.effect("gives no more time when the wall clock is set back", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_000_000)
      const check = (yield* guard({ expires_at: Timestamp.format(1_060_000) })).authorize(search)
      yield* TestClock.adjust("40 seconds")
      yield* TestClock.setTime(0)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(19_999)
      assert.strictEqual(yield* outcome(check), "ok")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Clock.currentTimeMillis, 20_000)
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
    })
  )

  it.effect("ends at once when the wall clock is set past the end", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let wall = 0
      // A jump of the wall clock alone: no time has passed.
      const jumping: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => wall,
        currentTimeMillis: Effect.sync(() => wall)
      }
      const made = guard({ expires_at: Timestamp.format(60_000) }).pipe(Effect.provideService(Clock.Clock, jumping))
      const check = (yield* made).authorize(search)
      assert.strictEqual(yield* outcome(check), "ok")
      wall = 60_000
      assert.strictEqual(yield* outcome(check), "LeaseExpired")
    })
  )

  it.effect("does not live by a clock that the agent brings", () =>
    Effect.gen(function* () {
      const check = (yield* guard({ expires_at: Timestamp.format(60_000) })).authorize(search)
      const clock = yield* Clock.Clock
      const stopped: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => 0,
        currentTimeMillis: Effect.succeed(0),
        monotonicTimeNanosUnsafe: () => 0n
      }
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* outcome(Effect.provideService(check, Clock.Clock, stopped)), "LeaseExpired")
    })
  )

  it.effect("has no end without expires_at", () =>
    Effect.gen(function* () {
      const subject = yield* guard({})
      yield* TestClock.adjust("10000 days")
      assert.strictEqual(yield* outcome(subject.authorize(search)), "ok")
      assert.deepStrictEqual(subject.lease.grants, { "tool.call": ["search"] })
    })
  )

  const leaseOf = (grants: Capability.Grants, constraints: Capability.Constraints = {}) =>
    Result.getOrThrow(Lease.make(grants, constraints, 0))
  const day = 86_400_000
  const at = (millis: number): Capability.Constraints => ({ expires_at: Timestamp.format(millis) })

  describe("with an account", () => {
    const everything = leaseOf({ "tool.call": ["search"], "fs.read": ["/**"], "net.fetch": ["https://h/**"] })
    const operations = [
      search,
      Operation.fsRead("/a"),
      Operation.netFetch("https://h/a"),
      // Not even what is not granted is told from the rest: the budget comes first.
      Operation.agentDelegate("other"),
      Operation.modelUse("m")
    ]

    verifies("C-109", "one counter at zero blocks every operation, and the other counters stay", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00", "credits:40"])
        const { authorize } = yield* LeaseGuard.make(everything, { account: job.account })
        assert.deepStrictEqual(yield* Effect.forEach(operations, (operation) => outcome(authorize(operation))), [
          "ok",
          "ok",
          "ok",
          "PermissionDenied",
          "PermissionDenied"
        ])
        yield* job.spend("credits:40")
        for (const operation of operations) {
          const denied = yield* Effect.flip(authorize(operation))
          assert.strictEqual(denied._tag, "BudgetExhausted")
          assert.deepStrictEqual(denied.details, { currency: "credits", cap: "40", available: "0" })
          assert.isFalse(denied.retryable)
        }
        assert.deepStrictEqual(yield* job.left, { USD: "1", credits: "0" })
      }).pipe(Effect.provide(Budgets.layer))
    )

    it.effect("looks at time first, then at the budget, then at capabilities", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        const { authorize } = yield* LeaseGuard.make(leaseOf({}, at(1000)), { account: job.account })
        assert.strictEqual(yield* outcome(authorize(search)), "PermissionDenied")
        yield* job.spend("USD:1.00")
        assert.strictEqual(yield* outcome(authorize(search)), "BudgetExhausted")
        yield* TestClock.adjust(1000)
        assert.strictEqual(yield* outcome(authorize(search)), "LeaseExpired")
      }).pipe(Effect.provide(Budgets.layer))
    )

    it.effect("looks at time again when the ledger has taken its time", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        const slow = { ...job.account, check: Effect.sleep(1000) }
        const { authorize } = yield* LeaseGuard.make(leaseOf({ "tool.call": ["search"] }, at(1000)), { account: slow })
        const fiber = yield* Effect.forkChild(outcome(authorize(search)), { startImmediately: true })
        yield* TestClock.adjust(1000)
        assert.strictEqual(yield* Fiber.join(fiber), "LeaseExpired")
      }).pipe(Effect.provide(Budgets.layer))
    )

    it.effect("sets aside what an operation will cost, so that two at once cannot spend the same", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        const { authorize, reserve } = yield* LeaseGuard.make(everything, { account: job.account })
        const gate = yield* Latch.make(false)
        const work = Effect.gen(function* () {
          yield* authorize(search)
          yield* gate.await
          yield* job.spend("USD:0.90")
          yield* authorize(search)
        })
        const first = yield* Effect.forkChild(reserve(amounts("USD:1.00"), work), { startImmediately: true })
        assert.strictEqual(yield* outcome(reserve(amounts("USD:0.01"), Effect.die("it ran"))), "BudgetExhausted")
        assert.strictEqual(yield* outcome(authorize(search)), "BudgetExhausted")
        yield* gate.open
        yield* Fiber.join(first)
        assert.deepStrictEqual(yield* job.left, { USD: "0.1" })
      }).pipe(Effect.provide(Budgets.layer))
    )

    it.effect("refuses to set a negative amount aside, and names it", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        const wrong = [...amounts("USD:0.1"), { currency: "USD", value: BigDecimal.fromBigInt(-1n) }]
        for (const options of [{ account: job.account }, {}]) {
          const { reserve } = yield* LeaseGuard.make(everything, options)
          const error = yield* Effect.flip(reserve(wrong, Effect.die("it ran")))
          assert.strictEqual(error._tag, "InvalidRequest")
          assert.deepStrictEqual(error.details, { field: "amounts[1]" })
        }
        assert.deepStrictEqual(yield* job.left, { USD: "1" })
        assert.deepStrictEqual(job.journal, [])
      }).pipe(Effect.provide(Budgets.layer))
    )

    it.effect("counts nothing without one", () =>
      Effect.gen(function* () {
        const { authorize, reserve } = yield* LeaseGuard.make(everything)
        assert.strictEqual(yield* reserve(amounts("USD:1000000"), Effect.as(authorize(search), 7)), 7)
      })
    )
  })

  describe("of a job that another delegated", () => {
    it.effect("needs what its own lease covers, and that of every ancestor", () =>
      Effect.gen(function* () {
        const top = yield* LeaseGuard.make(leaseOf({ "tool.call": ["search", "calc", "shell"] }))
        const middle = yield* LeaseGuard.make(leaseOf({ "tool.call": ["search", "calc"] }), { parent: top })
        // Wider than it should be: whoever let it through widened nothing.
        const bottom = yield* LeaseGuard.make(leaseOf({ "tool.call": ["*"], "fs.read": ["/**"] }), { parent: middle })
        assert.strictEqual(yield* outcome(bottom.authorize(search)), "ok")
        assert.strictEqual(yield* outcome(bottom.authorize(Operation.toolCall("shell"))), "PermissionDenied")
        assert.strictEqual(yield* outcome(bottom.authorize(Operation.toolCall("other"))), "PermissionDenied")
        assert.strictEqual(yield* outcome(bottom.authorize(Operation.fsRead("/a"))), "PermissionDenied")
        assert.strictEqual(yield* outcome(top.authorize(Operation.toolCall("shell"))), "ok")
        assert.strictEqual(bottom.tenures.length, 3)
      })
    )

    it.effect("ends with the first of the leases, each by its own clock", () =>
      Effect.gen(function* () {
        const grants = { "tool.call": ["search"] }
        const top = yield* LeaseGuard.make(leaseOf(grants, at(60_000)))
        yield* TestClock.adjust(30_000)
        yield* TestClock.setTime(0)
        // Of the parent's minute half has passed, whatever the wall clock says now.
        const free = yield* LeaseGuard.make(leaseOf(grants), { parent: top })
        const short = yield* LeaseGuard.make(leaseOf(grants, at(10_000)), { parent: top })
        yield* TestClock.adjust(9_999)
        assert.strictEqual(yield* outcome(short.authorize(search)), "ok")
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* outcome(short.authorize(search)), "LeaseExpired")
        assert.strictEqual(yield* outcome(free.authorize(search)), "ok")
        yield* TestClock.adjust(20_000)
        assert.strictEqual(yield* Clock.currentTimeMillis, 30_000)
        assert.strictEqual(yield* outcome(free.authorize(search)), "LeaseExpired")
        assert.strictEqual(yield* outcome(top.authorize(search)), "LeaseExpired")
      })
    )

    it.effect("spends by its own account, not by what its parent has left besides", () =>
      Effect.gen(function* () {
        const grants = { "tool.call": ["search"] }
        const parent = yield* open("p", ["USD:1.00"])
        const child = yield* open("c", ["USD:1.00"], { parent: parent.job })
        const above = yield* LeaseGuard.make(leaseOf(grants), { account: parent.account })
        const below = yield* LeaseGuard.make(leaseOf(grants), { account: child.account, parent: above })
        assert.strictEqual(yield* outcome(above.authorize(search)), "BudgetExhausted")
        assert.strictEqual(yield* outcome(below.authorize(search)), "ok")
        // The end of a lease comes before the end of the money, also that of an ancestor's.
        yield* child.spend("USD:1.00")
        const late = yield* LeaseGuard.make(leaseOf(grants, at(1000)), { account: parent.account })
        const under = yield* LeaseGuard.make(leaseOf(grants), { account: child.account, parent: late })
        assert.strictEqual(yield* outcome(under.authorize(search)), "BudgetExhausted")
        yield* TestClock.adjust(1000)
        assert.strictEqual(yield* outcome(under.authorize(search)), "LeaseExpired")
      }).pipe(Effect.provide(Budgets.layer))
    )
  })

  describe("tells the end of a lease", () => {
    const grants = { "tool.call": ["search"] }

    /** When it was told, looked for at some instants. */
    const toldBy = Effect.fnUntraced(function* (
      subject: LeaseGuard.LeaseGuard["Service"],
      instants: ReadonlyArray<number>
    ) {
      const fiber = yield* Effect.forkChild(subject.expired, { startImmediately: true })
      const told: Array<boolean> = []
      for (const instant of instants) {
        yield* TestClock.adjust(instant - (yield* Clock.currentTimeMillis))
        told.push(fiber.pollUnsafe() !== undefined)
      }
      yield* Fiber.interrupt(fiber)
      return told
    })

    it.effect("at the very instant, near or far", () =>
      Effect.gen(function* () {
        for (const end of [1, 999, 1000, 1001, 90_000, 60 * day, 400 * day]) {
          const start = yield* Clock.currentTimeMillis
          const subject = yield* LeaseGuard.make(leaseOf(grants, at(start + end)))
          const instants = [start + Math.floor(end / 2), start + end - 1, start + end]
          assert.deepStrictEqual(yield* toldBy(subject, instants), [false, false, true], `${end} ms`)
        }
      })
    )

    it.effect("of which it is the first to end, with the error that the job then ends with", () =>
      Effect.gen(function* () {
        const top = yield* LeaseGuard.make(leaseOf(grants, at(1000)))
        const middle = yield* LeaseGuard.make(leaseOf(grants), { parent: top })
        const bottom = yield* LeaseGuard.make(leaseOf(grants, at(5000)), { parent: middle })
        const fiber = yield* Effect.forkChild(bottom.expired, { startImmediately: true })
        yield* TestClock.adjust(1000)
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error._tag, "LeaseExpired")
        assert.deepStrictEqual(error.details, { expires_at: "1970-01-01T00:00:01.000Z" })
        const short = yield* LeaseGuard.make(leaseOf(grants, at(2000)), {
          parent: yield* LeaseGuard.make(leaseOf(grants, at(60 * day)))
        })
        assert.deepStrictEqual(yield* toldBy(short, [1999, 2000]), [false, true])
        // And who asks late hears it at once.
        assert.strictEqual((yield* bottom.expired)._tag, "LeaseExpired")
      })
    )

    it.effect("never, of one that has none", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* toldBy(yield* LeaseGuard.make(leaseOf(grants)), [1000 * day]), [false])
      })
    )

    it.effect("soon after the wall clock was set past it", () =>
      Effect.gen(function* () {
        const clock = yield* Clock.Clock
        let ahead = 0
        const jumping: Clock.Clock = {
          ...clock,
          currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + ahead,
          currentTimeMillis: Effect.sync(() => clock.currentTimeMillisUnsafe() + ahead)
        }
        const subject = yield* Effect.provideService(
          LeaseGuard.make(leaseOf(grants, at(60 * day))),
          Clock.Clock,
          jumping
        )
        const fiber = yield* Effect.forkChild(subject.expired, { startImmediately: true })
        yield* TestClock.adjust(day)
        ahead = 59 * day
        yield* TestClock.adjust("1 hour")
        assert.isTrue(fiber.pollUnsafe() !== undefined)
      })
    )

    it.effect("not later because the wall clock was set back", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(1_000_000)
        const subject = yield* LeaseGuard.make(leaseOf(grants, at(1_060_000)))
        yield* TestClock.adjust(40_000)
        yield* TestClock.setTime(0)
        assert.deepStrictEqual(yield* toldBy(subject, [19_999, 20_000]), [false, true])
      })
    )
  })

  it.effect("logs that an operation came too late, once aloud, and with no secret", () =>
    Effect.gen(function* () {
      const job = yield* open("job_1", ["USD:1"])
      const logged: Array<{ readonly level: LogLevel.LogLevel; readonly text: string }> = []
      const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
        logged.push({ level: logLevel, text: JSON.stringify(message) })
      })
      const { authorize } = yield* LeaseGuard.make(leaseOf({ "net.fetch": ["https://**/**"] }, at(1000)), {
        account: job.account
      })
      const late = outcome(authorize(Operation.netFetch("https://u:hunter2@h/a?token=hunter2")))
      const denied = Effect.provide(late, Logger.layer([logger]))
      yield* Effect.exit(denied)
      assert.deepStrictEqual(logged, [], "a denial for another reason is the agent's affair")
      yield* TestClock.adjust(1000)
      for (let times = 0; times < 10; times++) assert.strictEqual(yield* denied, "LeaseExpired")
      assert.deepStrictEqual(
        logged.map(({ level }) => level),
        ["Info"]
      )
      const [line] = logged
      for (const fact of ["job_1", "net.fetch", "https://h/a", "1970-01-01T00:00:01.000Z"])
        assert.include(line?.text, fact)
      assert.notInclude(line?.text, "hunter2")
    }).pipe(Effect.provide(Budgets.layer))
  )
})
