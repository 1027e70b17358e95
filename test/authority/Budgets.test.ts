import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Cause, Deferred, Effect, Exit, Fiber, Latch, Layer, Option, Result } from "effect"
import * as Budget from "../../src/authority/Budget.ts"
import * as Budgets from "../../src/authority/Budgets.ts"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as Operation from "../../src/authority/Operation.ts"
import * as Amount from "../../src/protocol/Amount.ts"
import type * as ArcpError from "../../src/protocol/ArcpError.ts"
import * as Ids from "../../src/protocol/Ids.ts"
import { verifies } from "../conformance/verifies.ts"
import { amounts, caps, type Job, open, shown } from "./Ledger.ts"

const run = Effect.provide(Budgets.layer)

const passes = (job: Job) => Effect.map(Effect.exit(job.account.check), Exit.isSuccess)

/** Whether so much was set aside; what runs with it runs. */
const admits = <R>(job: Job, text: string, use: Effect.Effect<unknown, never, R>) =>
  job.account.reserve(amounts(text), use).pipe(
    Effect.as(true),
    Effect.catchTag("BudgetExhausted", () => Effect.succeed(false))
  )

const refused = <A, R>(effect: Effect.Effect<A, ArcpError.BudgetExhausted, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.details)

const figures = ({ available, cap, charged, currency, held }: Budget.Standing) => [
  currency,
  ...[cap, charged, held, available].map(Amount.formatValue)
]

describe("Budgets", () => {
  it.effect("charges at once, tells how it stands, and gives the entry for the journal", () =>
    Effect.gen(function* () {
      const job = yield* open("a", ["USD:5.00", "credits:10"])
      assert.deepStrictEqual(yield* job.left, { USD: "5", credits: "10" })
      const charged = yield* job.account.charge(amounts("USD:1.25"))
      assert.deepStrictEqual(yield* job.left, { USD: "3.75", credits: "10" })
      assert.deepStrictEqual(charged.entries, [{ _tag: "Charge", amounts: amounts("USD:1.25") }])
      assert.deepStrictEqual(charged.standings.map(figures), [["USD", "5", "1.25", "0", "3.75"]])
      assert.deepStrictEqual(job.journal, [], "the entry is the caller's to record")
    }).pipe(run)
  )

  verifies(["C-108", "C-109"], "a counter at zero or below blocks operations, and no cost is refused for that", () =>
    Effect.gen(function* () {
      const job = yield* open("a", ["USD:1.00", "credits:40"])
      yield* job.spend("USD:0.99", "EUR:100")
      yield* job.account.check
      yield* job.spend("USD:0.01")
      assert.deepStrictEqual(yield* refused(job.account.check), { currency: "USD", cap: "1", available: "0" })
      yield* job.spend("USD:0.12")
      assert.deepStrictEqual(yield* refused(job.account.check), { currency: "USD", cap: "1", available: "-0.12" })
      yield* job.account.charge([{ currency: "USD", value: BigDecimal.fromBigInt(-5n) }])
      assert.deepStrictEqual(yield* job.left, { USD: "-0.12", credits: "40" })
    }).pipe(run)
  )

  it.effect("counts nothing where nothing is capped", () =>
    Effect.gen(function* () {
      const job = yield* open("a", [])
      assert.deepStrictEqual(yield* job.account.charge(amounts("USD:1000")), { entries: [], standings: [] })
      yield* job.account.check
      assert.strictEqual(yield* job.account.reserve(amounts("USD:1000"), Effect.succeed(1)), 1)
      assert.deepStrictEqual(job.journal, [])
      assert.deepStrictEqual(yield* job.left, {})
    }).pipe(run)
  )

  it.effect("is at zero, exactly, after three tenths of 0.30", () =>
    Effect.gen(function* () {
      const job = yield* open("a", ["USD:0.30"])
      for (let index = 0; index < 3; index++) {
        assert.isTrue(yield* admits(job, "USD:0.10", job.spend("USD:0.10")))
      }
      assert.deepStrictEqual(yield* job.left, { USD: "0" })
      assert.isFalse(yield* admits(job, "USD:0.000000000000000000000000000001", Effect.void))
    }).pipe(run)
  )

  it.effect("opens an account once", () =>
    Effect.gen(function* () {
      const job = yield* open("a", ["USD:1"])
      assert.isTrue(Exit.hasDies(yield* Effect.exit(open("a", ["USD:2"]))))
      yield* job.account.close
      yield* open("a", ["USD:2"])
    }).pipe(run)
  )

  describe("reserve", () => {
    it.effect("lets one of five at once have 0.90 of 1.00", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        const enough = yield* Latch.make(false)
        const five = yield* Effect.forkChild(
          Effect.all(
            Array.from({ length: 5 }, () =>
              admits(job, "USD:0.90", Effect.andThen(enough.await, job.spend("USD:0.90")))
            ),
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.yieldNow
        assert.deepStrictEqual(yield* job.left, { USD: "0.1" })
        yield* enough.open
        assert.deepStrictEqual((yield* Fiber.join(five)).toSorted(), [false, false, false, false, true])
        assert.deepStrictEqual(yield* job.left, { USD: "0.1" })
      }).pipe(run)
    )

    it.effect("lets 100 of 1,000 at once have a hundredth of 1.00", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"], { delay: Effect.yieldNow })
        let ran = 0
        const one = (index: number) => {
          const work = Effect.gen(function* () {
            for (let turn = 0; turn < index % 7; turn++) yield* Effect.yieldNow
            ran++
            yield* job.spend("USD:0.01")
          })
          return Effect.andThen(index % 3 === 0 ? Effect.yieldNow : Effect.void, admits(job, "USD:0.01", work))
        }
        const admitted = yield* Effect.forEach(
          Array.from({ length: 1000 }, (_, index) => index),
          one,
          {
            concurrency: "unbounded"
          }
        )
        assert.strictEqual(admitted.filter((was) => was).length, 100)
        assert.strictEqual(ran, 100)
        assert.deepStrictEqual(yield* job.left, { USD: "0" })
        assert.deepStrictEqual(yield* job.folded, { USD: "0" })
      }).pipe(run)
    )

    it.effect("names what is missing, and runs nothing", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00", "EUR:1.00"])
        const details = yield* refused(job.account.reserve(amounts("EUR:0.5", "USD:1.01"), Effect.die("it ran")))
        assert.deepStrictEqual(details, { currency: "USD", cap: "1", available: "1", wanted: "1.01" })
        assert.deepStrictEqual(yield* job.left, { USD: "1", EUR: "1" }, "all of it or nothing")
        assert.deepStrictEqual(job.journal, [])
      }).pipe(run)
    )

    it.effect("adds up amounts of one currency", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        yield* refused(job.account.reserve(amounts("USD:0.6", "USD:0.6"), Effect.void))
      }).pipe(run)
    )

    const endings: ReadonlyArray<readonly [name: string, ending: Effect.Effect<void, string>]> = [
      ["succeeds", Effect.void],
      ["fails", Effect.fail("no")],
      ["dies", Effect.die("a bug")],
      ["is interrupted", Effect.interrupt]
    ]
    it.effect.each(endings)("gives back what is left when what runs with it %s", ([, ending]) =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        const exit = yield* Effect.exit(
          job.account.reserve(
            amounts("USD:0.90"),
            Effect.gen(function* () {
              assert.deepStrictEqual(yield* job.left, { USD: "0.1" })
              yield* job.spend("USD:0.30")
              assert.deepStrictEqual(yield* job.left, { USD: "0.1" })
              yield* ending
            })
          )
        )
        assert.deepStrictEqual(exit, yield* Effect.exit(ending))
        assert.deepStrictEqual(yield* job.left, { USD: "0.7" })
        assert.deepStrictEqual(yield* job.folded, { USD: "0.7" })
        assert.deepStrictEqual(job.journal, [
          { _tag: "Hold", id: "a/1", amounts: amounts("USD:0.90") },
          { _tag: "Settle", id: "a/1", spent: amounts("USD:0.30") }
        ])
      }).pipe(run)
    )

    it.effect("gives back what is left when it is interrupted from without", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"], { delay: Effect.yieldNow })
        const started = yield* Deferred.make<void>()
        const use = Effect.gen(function* () {
          yield* job.spend("USD:0.25")
          yield* Deferred.succeed(started, undefined)
          return yield* Effect.never
        })
        const fiber = yield* Effect.forkChild(job.account.reserve(amounts("USD:1"), use))
        yield* Deferred.await(started)
        assert.isFalse(yield* passes(job))
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* job.left, { USD: "0.75" })
        assert.deepStrictEqual(yield* job.folded, { USD: "0.75" })
      }).pipe(run)
    )

    it.effect("gives all back when it is interrupted while it is being recorded", () =>
      Effect.gen(function* () {
        const gate = yield* Latch.make(false)
        const job = yield* open("a", ["USD:1.00"], { delay: gate.await })
        const fiber = yield* Effect.forkChild(job.account.reserve(amounts("USD:1"), Effect.die("it ran")), {
          startImmediately: true
        })
        assert.deepStrictEqual(yield* job.left, { USD: "0" })
        const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        yield* gate.open
        yield* Fiber.join(interruption)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        assert.deepStrictEqual(yield* job.left, { USD: "1" })
        assert.deepStrictEqual(
          job.journal.map(({ _tag }) => _tag),
          ["Hold", "Settle"]
        )
      }).pipe(run)
    )

    it.effect("keeps nothing when the journal breaks down", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"], { delay: Effect.die("the disk is full") })
        const exit = yield* Effect.exit(job.account.reserve(amounts("USD:1"), Effect.die("it ran")))
        assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("the disk is full"))
        assert.deepStrictEqual(yield* job.left, { USD: "1" })
      }).pipe(run)
    )

    it.effect("lets operations within go on while something of it is left, though nothing else is", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00", "EUR:1.00"])
        yield* job.account.reserve(
          amounts("USD:1.00"),
          Effect.gen(function* () {
            yield* job.account.check
            yield* job.spend("USD:0.99")
            yield* job.account.check
            yield* job.spend("USD:0.01")
            assert.isFalse(yield* passes(job))
            // What it has of one currency is of no help in another.
            assert.isTrue(yield* admits(job, "EUR:1", Effect.void))
          })
        )
        assert.isFalse(yield* passes(job))
        assert.deepStrictEqual(yield* job.left, { USD: "0", EUR: "1" })
      }).pipe(run)
    )

    it.effect("is of help only to what runs within it", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        const done = yield* Latch.make(false)
        const fiber = yield* Effect.forkChild(job.account.reserve(amounts("USD:1.00"), done.await), {
          startImmediately: true
        })
        assert.isFalse(yield* passes(job))
        yield* job.spend("USD:0.20")
        assert.deepStrictEqual(yield* job.left, { USD: "-0.2" })
        yield* done.open
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(yield* job.left, { USD: "0.8" })
      }).pipe(run)
    )

    it.effect("grows by what is charged beyond it, and operations go on with what else there is", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        yield* job.account.reserve(
          amounts("USD:0.50"),
          Effect.gen(function* () {
            yield* job.spend("USD:0.70")
            assert.deepStrictEqual(yield* job.left, { USD: "0.3" })
            yield* job.account.check
            yield* job.spend("USD:0.40")
            assert.deepStrictEqual(yield* job.left, { USD: "-0.1" })
            assert.isFalse(yield* passes(job))
          })
        )
        assert.deepStrictEqual(yield* job.left, { USD: "-0.1" })
        assert.deepStrictEqual(yield* job.folded, { USD: "-0.1" })
      }).pipe(run)
    )

    it.effect("is where a reservation within takes from first, and to which what is left of that returns", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        yield* job.account.reserve(
          amounts("USD:0.60"),
          Effect.gen(function* () {
            // Three at once: the two that there is room for take 0.60 from here and 0.20 from what is free.
            const gate = yield* Latch.make(false)
            const three = yield* Effect.forkChild(
              Effect.all(
                Array.from({ length: 3 }, () =>
                  admits(job, "USD:0.40", Effect.andThen(gate.await, job.spend("USD:0.10")))
                ),
                { concurrency: "unbounded" }
              )
            )
            yield* Effect.yieldNow
            assert.deepStrictEqual(yield* job.left, { USD: "0.2" })
            assert.isTrue(yield* passes(job))
            yield* gate.open
            assert.deepStrictEqual(yield* Fiber.join(three), [true, true, false])
            assert.deepStrictEqual(yield* job.left, { USD: "0.4" })
            yield* job.spend("USD:0.40")
            assert.deepStrictEqual(yield* job.left, { USD: "0.4" })
          })
        )
        assert.deepStrictEqual(yield* job.left, { USD: "0.4" })
        assert.deepStrictEqual(yield* job.folded, { USD: "0.4" })
      }).pipe(run)
    )

    it.effect("is over for a fiber that outlives it", () =>
      Effect.gen(function* () {
        const job = yield* open("a", ["USD:1.00"])
        const later = yield* Latch.make(false)
        const fiber = yield* job.account.reserve(
          amounts("USD:0.50"),
          Effect.forkDetach(Effect.andThen(later.await, Effect.andThen(job.spend("USD:0.75"), passes(job))))
        )
        assert.deepStrictEqual(yield* job.left, { USD: "1" })
        yield* later.open
        assert.isTrue(yield* Fiber.join(fiber))
        assert.deepStrictEqual(yield* job.left, { USD: "0.25" })
        assert.deepStrictEqual(yield* job.folded, { USD: "0.25" })
      }).pipe(run)
    )
  })

  describe("a child", () => {
    it.effect("holds its caps on its parent, and returns what it did not spend", () =>
      Effect.gen(function* () {
        const parent = yield* open("p", ["USD:5.00", "credits:10"])
        const child = yield* open("c", ["USD:2.00"], { parent: parent.job })
        assert.deepStrictEqual(yield* parent.left, { USD: "3", credits: "10" })
        yield* child.spend("USD:0.50")
        assert.deepStrictEqual(yield* parent.left, { USD: "3", credits: "10" })
        assert.deepStrictEqual(yield* child.left, { USD: "1.5" })
        yield* child.account.close
        yield* child.account.close
        assert.deepStrictEqual(yield* parent.left, { USD: "4.5", credits: "10" })
        assert.deepStrictEqual(parent.journal, [
          { _tag: "Hold", id: "c", amounts: amounts("USD:2.00") },
          { _tag: "Settle", id: "c", spent: amounts("USD:0.50") }
        ])
        assert.deepStrictEqual(child.journal, [{ _tag: "Charge", amounts: amounts("USD:0.50") }])
      }).pipe(run)
    )

    it.effect("gets what is there and not a cent more, all of it or nothing", () =>
      Effect.gen(function* () {
        const parent = yield* open("p", ["USD:5.00", "EUR:5.00"])
        yield* parent.spend("USD:3")
        assert.deepStrictEqual(yield* refused(open("c", ["EUR:1", "USD:2.01"], { parent: parent.job })), {
          currency: "USD",
          cap: "5",
          available: "2",
          wanted: "2.01"
        })
        assert.deepStrictEqual(yield* parent.left, { USD: "2", EUR: "5" })
        assert.deepStrictEqual(parent.journal.length, 1)
        yield* open("c", ["EUR:1", "USD:2.00"], { parent: parent.job })
        assert.deepStrictEqual(yield* parent.left, { USD: "0", EUR: "4" })
      }).pipe(run)
    )

    it.effect("and its siblings never get more than there is, however many ask at once", () =>
      Effect.gen(function* () {
        const parent = yield* open("p", ["USD:1.00"], { delay: Effect.yieldNow })
        const children = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, index) => `c${index}`),
          (name) => Effect.option(open(name, ["USD:0.15"], { parent: parent.job })),
          { concurrency: "unbounded" }
        )
        const opened = children.flatMap(Option.toArray)
        assert.strictEqual(opened.length, 6)
        assert.deepStrictEqual(yield* parent.left, { USD: "0.1" })
        yield* Effect.forEach(opened, (child) => admits(child, "USD:0.15", child.spend("USD:0.15")), {
          concurrency: "unbounded"
        })
        yield* Effect.forEach(opened, (child) => child.account.close, { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* parent.left, { USD: "0.1" })
        assert.deepStrictEqual(yield* parent.folded, { USD: "0.1" })
      }).pipe(run)
    )

    it.effect("can operate when its parent, all of whose budget it holds, cannot", () =>
      Effect.gen(function* () {
        const parent = yield* open("p", ["USD:1.00"])
        const child = yield* open("c", ["USD:1.00"], { parent: parent.job })
        assert.isFalse(yield* passes(parent))
        assert.isTrue(yield* passes(child))
        yield* child.account.close
        assert.isTrue(yield* passes(parent))
      }).pipe(run)
    )

    it.effect("that overspends takes it from its parent, all the way up", () =>
      Effect.gen(function* () {
        const top = yield* open("t", ["USD:2.00"])
        const middle = yield* open("m", ["USD:1.00"], { parent: top.job })
        const bottom = yield* open("b", ["USD:1.00"], { parent: middle.job })
        yield* bottom.spend("USD:1.20")
        assert.deepStrictEqual(yield* bottom.left, { USD: "-0.2" })
        assert.deepStrictEqual(yield* middle.left, { USD: "-0.2" })
        assert.deepStrictEqual(yield* top.left, { USD: "0.8" })
        assert.isTrue(yield* passes(top))
        yield* bottom.account.close
        yield* middle.account.close
        assert.deepStrictEqual(yield* top.left, { USD: "0.8" })
        for (const job of [top, middle, bottom]) assert.deepStrictEqual(yield* job.folded, yield* job.left)
      }).pipe(run)
    )

    it.effect("without a cap of its own charges the nearest ancestor that has one", () =>
      Effect.gen(function* () {
        const top = yield* open("t", ["USD:2.00", "EUR:2.00"])
        const middle = yield* open("m", ["EUR:1.00"], { parent: top.job })
        const bottom = yield* open("b", ["credits:5"], { parent: middle.job })
        const { entries, standings } = yield* bottom.spend("USD:0.50", "EUR:0.25", "credits:1", "xyz:1")
        assert.deepStrictEqual(entries, [{ _tag: "Charge", amounts: amounts("credits:1") }])
        assert.deepStrictEqual(
          standings.map(({ available, currency }) => shown(new Map([[currency, available]]))),
          [{ USD: "1.5" }, { EUR: "0.75" }, { credits: "4" }]
        )
        assert.deepStrictEqual(yield* top.left, { USD: "1.5", EUR: "1" })
        assert.deepStrictEqual(yield* middle.left, { EUR: "0.75" })
        assert.deepStrictEqual(yield* bottom.left, { credits: "4" })
        assert.deepStrictEqual(middle.journal, [{ _tag: "Charge", amounts: amounts("EUR:0.25") }])

        yield* middle.spend("EUR:0.75")
        assert.strictEqual((yield* refused(bottom.account.check))?.["currency"], "EUR")
        assert.isTrue(yield* passes(top))
        yield* top.spend("EUR:1")
        assert.isFalse(yield* passes(top))
        for (const job of [top, middle, bottom]) assert.deepStrictEqual(yield* job.folded, yield* job.left)
      }).pipe(run)
    )

    it.effect("reserves on the ancestor whose cap it is", () =>
      Effect.gen(function* () {
        const parent = yield* open("p", ["USD:1.00", "EUR:1.00"])
        const child = yield* open("c", ["EUR:0.50"], { parent: parent.job })
        yield* child.account.reserve(
          amounts("USD:0.75", "EUR:0.25"),
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* parent.left, { USD: "0.25", EUR: "0.5" })
            assert.deepStrictEqual(yield* child.left, { EUR: "0.25" })
            yield* refused(child.account.reserve(amounts("USD:1.01"), Effect.void))
            yield* child.spend("USD:0.10", "EUR:0.10")
          })
        )
        assert.deepStrictEqual(yield* parent.left, { USD: "0.9", EUR: "0.5" })
        assert.deepStrictEqual(yield* child.left, { EUR: "0.4" })
        for (const job of [parent, child]) assert.deepStrictEqual(yield* job.folded, yield* job.left)
      }).pipe(run)
    )

    it.effect("that is detached keeps its parent's account until it is done", () =>
      Effect.gen(function* () {
        const top = yield* open("t", ["USD:5.00"])
        const middle = yield* open("m", ["USD:3.00"], { parent: top.job })
        const capped = yield* open("c", ["USD:1.00"], { parent: middle.job })
        const uncapped = yield* open("u", [], { parent: middle.job })
        yield* middle.spend("USD:0.50")
        yield* middle.account.close
        assert.deepStrictEqual(yield* top.left, { USD: "2" })
        // What the middle one has left is there for the child that has no cap of its own.
        yield* uncapped.spend("USD:0.25")
        yield* capped.spend("USD:0.10")
        yield* capped.account.close
        assert.isTrue(yield* passes(uncapped))
        assert.deepStrictEqual(yield* top.left, { USD: "2" })
        yield* uncapped.account.close
        assert.deepStrictEqual(yield* top.left, { USD: "4.15" })
        assert.deepStrictEqual(yield* top.folded, { USD: "4.15" })
      }).pipe(run)
    )

    it.effect("cannot be opened for a parent that is over, or that nobody knows", () =>
      Effect.gen(function* () {
        const parent = yield* open("p", ["USD:5.00"])
        const child = yield* open("c", ["USD:1.00"], { parent: parent.job })
        yield* parent.account.close
        assert.deepStrictEqual(yield* refused(open("d", ["USD:1.00"], { parent: parent.job })), { job_id: "p" })
        yield* child.account.close
        assert.deepStrictEqual(yield* refused(open("d", [], { parent: parent.job })), { job_id: "p" })
      }).pipe(run)
    )

    it.effect("whose agent outstays it can neither operate nor hide what it costs", () =>
      Effect.gen(function* () {
        const parent = yield* open("p", ["USD:5.00"])
        const child = yield* open("c", ["USD:1.00"], { parent: parent.job })
        yield* child.account.close
        assert.isFalse(yield* passes(child))
        assert.isFalse(yield* admits(child, "USD:0.01", Effect.void))
        assert.deepStrictEqual((yield* child.spend("USD:0.20")).entries, [])
        assert.deepStrictEqual(yield* parent.left, { USD: "4.8" })
        assert.deepStrictEqual(parent.journal.at(-1), { _tag: "Charge", amounts: amounts("USD:0.20") })
        yield* parent.account.close
        assert.deepStrictEqual(yield* child.account.charge(amounts("USD:0.20")), { entries: [], standings: [] })
      }).pipe(run)
    )

    it.effect("that is opened within a reservation takes from it, and leaves it what it did not spend", () =>
      Effect.gen(function* () {
        const parent = yield* open("p", ["USD:1.00"])
        const child = yield* parent.account.reserve(
          amounts("USD:0.90"),
          Effect.gen(function* () {
            const first = yield* open("c1", ["USD:0.80"], { parent: parent.job })
            assert.deepStrictEqual(yield* parent.left, { USD: "0.1" })
            yield* refused(open("c2", ["USD:0.30"], { parent: parent.job }))
            yield* first.spend("USD:0.20")
            yield* first.account.close
            return yield* open("c3", ["USD:0.60"], { parent: parent.job })
          })
        )
        // The child goes on without the reservation, of which the last tenth has returned.
        assert.deepStrictEqual(yield* parent.left, { USD: "0.2" })
        yield* child.spend("USD:0.50")
        assert.deepStrictEqual(yield* parent.left, { USD: "0.2" })
        yield* child.account.close
        assert.deepStrictEqual(yield* parent.left, { USD: "0.3" })
        assert.deepStrictEqual(yield* parent.folded, { USD: "0.3" })
      }).pipe(run)
    )

    it.effect("does not charge the reservation that its parent's fiber is in, if it has an account for that", () =>
      Effect.gen(function* () {
        const parent = yield* open("p", ["USD:1.00"])
        const child = yield* open("c", ["USD:0.50"], { parent: parent.job })
        yield* parent.account.reserve(amounts("USD:0.50"), child.spend("USD:0.10"))
        assert.deepStrictEqual(yield* child.left, { USD: "0.4" })
        assert.deepStrictEqual(yield* parent.left, { USD: "0.5" })
        // And where the fiber of a child sets something aside, its parent's is not lost from sight.
        yield* parent.account.reserve(
          amounts("USD:0.50"),
          child.account.reserve(
            amounts("USD:0.40"),
            Effect.gen(function* () {
              yield* parent.spend("USD:0.25")
              assert.deepStrictEqual(yield* parent.left, { USD: "0" })
            })
          )
        )
        assert.deepStrictEqual(yield* parent.left, { USD: "0.25" })
      }).pipe(run)
    )
  })

  describe("the journal", () => {
    it.effect("has the entries in the order of what happened, however slowly it takes them", () =>
      Effect.gen(function* () {
        // Each is taken faster than the one before.
        let turns = 100
        const delay = Effect.suspend(() => Effect.repeat(Effect.yieldNow, { times: (turns -= 5) }))
        const parent = yield* open("p", ["USD:10"], { delay: Effect.asVoid(delay) })
        const child = yield* open("c", ["USD:1"], { parent: parent.job })
        yield* Effect.forEach(
          Array.from({ length: 20 }, (_, index) => index),
          () => child.spend("USD:0.10"),
          { concurrency: "unbounded" }
        )
        const held = parent.journal.map((entry) =>
          entry._tag === "Hold" ? shown(Amount.total(entry.amounts))["USD"] : ""
        )
        assert.deepStrictEqual(held, ["1", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "2"])
      }).pipe(run)
    )

    it.effect("holds a reservation before anything runs with it", () =>
      Effect.gen(function* () {
        const gate = yield* Latch.make(false)
        const job = yield* open("a", ["USD:1"], { delay: gate.await })
        const fiber = yield* Effect.forkChild(
          job.account.reserve(
            amounts("USD:1"),
            Effect.sync(() => [...job.journal])
          ),
          { startImmediately: true }
        )
        assert.deepStrictEqual(yield* job.left, { USD: "0" })
        yield* gate.open
        assert.deepStrictEqual(yield* Fiber.join(fiber), [{ _tag: "Hold", id: "a/1", amounts: amounts("USD:1") }])
      }).pipe(run)
    )

    it.effect("of a job that runs again gives back what it spent, and open holds as spent", () =>
      Effect.gen(function* () {
        const before = yield* open("a", ["USD:5"])
        yield* before.spend("USD:1")
        const crashed = yield* before.account.reserve(
          amounts("USD:2"),
          Effect.andThen(
            before.spend("USD:0.50"),
            Effect.sync(() => [...before.journal])
          )
        )
        const again = yield* Effect.provide(open("a", ["USD:5"], { history: crashed }), Layer.fresh(Budgets.layer))
        assert.deepStrictEqual(yield* again.left, { USD: "2" })
        assert.deepStrictEqual(again.journal.slice(crashed.length), [
          { _tag: "Settle", id: "a/1", spent: amounts("USD:2") }
        ])
        yield* again.account.reserve(amounts("USD:1"), again.spend("USD:0.25"))
        assert.deepStrictEqual(yield* again.left, { USD: "1.75" })
        assert.deepStrictEqual(yield* again.folded, { USD: "1.75" })
      }).pipe(run)
    )
  })

  describe("of a host", () => {
    const usd = amounts("USD:1.00")
    const guardOf = (account: Budgets.Account) =>
      LeaseGuard.make(Result.getOrThrow(Lease.make({ "tool.call": ["*"] }, {}, 0)), { account })
    const search = Operation.toolCall("search")

    /** One cap over all jobs, on top of the default ledger. */
    const layerCompany = (cap: Budget.Amounts) =>
      Layer.effect(
        Budgets.Budgets,
        Effect.gen(function* () {
          const ledger = yield* Budgets.make
          const company = Ids.JobId.make("company")
          yield* Effect.orDie(ledger.open({ job: company, caps: cap, record: () => Effect.void }))
          return Budgets.Budgets.of({
            open: (opening) => ledger.open({ ...opening, parent: opening.parent ?? company })
          })
        })
      )

    it.effect("can put one cap over all jobs", () =>
      Effect.gen(function* () {
        const capped = yield* open("a", ["USD:0.60"])
        const free = yield* open("b", ["EUR:5"])
        const child = yield* open("c", [], { parent: capped.job })
        yield* refused(open("d", ["USD:0.41"]))
        const guard = yield* guardOf(free.account)
        yield* guard.authorize(search)
        yield* free.spend("USD:0.40")
        assert.strictEqual((yield* Effect.flip(guard.authorize(search)))._tag, "BudgetExhausted")
        yield* child.spend("USD:0.10")
        yield* (yield* guardOf(child.account)).authorize(search)
        yield* child.account.close
        yield* capped.account.close
        yield* guard.authorize(search)
        assert.isTrue(yield* admits(free, "USD:0.50", Effect.void))
        assert.isFalse(yield* admits(free, "USD:0.51", Effect.void))
      }).pipe(Effect.provide(layerCompany(caps("USD:1.00"))))
    )

    /** A ledger that owes the default one nothing: a pool, of which each job takes what it needs. */
    const layerPool = (pool: Budget.Amounts) =>
      Layer.sync(Budgets.Budgets, () => {
        let budget = Budget.make(pool)
        let holds = 0
        const enter = (entry: Budget.Entry) => Effect.sync(() => void (budget = Budget.apply(budget, entry)))
        const hold = (amounts: ReadonlyArray<Amount.Amount>) =>
          Effect.suspend(() => {
            for (const [currency, wanted] of Budget.counted(budget, amounts)) {
              const standing = budget.standings.get(currency)!
              if (BigDecimal.isGreaterThan(wanted, standing.available)) {
                return Effect.fail(Budget.refusal(standing, wanted))
              }
            }
            const id = `hold ${++holds}`
            return Effect.as(enter({ _tag: "Hold", id, amounts }), id)
          })
        return Budgets.Budgets.of({
          open: ({ job }) =>
            Effect.succeed({
              job,
              available: Effect.sync(() => Budget.available(budget)),
              check: Effect.suspend(() =>
                Option.match(Budget.exhausted(budget), {
                  onNone: () => Effect.void,
                  onSome: (standing) => Effect.fail(Budget.refusal(standing))
                })
              ),
              charge: (amounts) => Effect.as(enter({ _tag: "Charge", amounts }), { entries: [], standings: [] }),
              reserve: (amounts, use) =>
                Effect.acquireUseRelease(
                  hold(amounts),
                  () => use,
                  (id) => enter({ _tag: "Settle", id, spent: [] })
                ),
              close: Effect.void
            })
        })
      })

    it.effect("can take the place of the default one", () =>
      Effect.gen(function* () {
        const one = yield* open("a", ["USD:5"])
        const other = yield* open("b", ["USD:5"])
        const guard = yield* guardOf(other.account)
        assert.deepStrictEqual(yield* one.left, { USD: "1" })
        yield* one.account.reserve(
          usd,
          Effect.gen(function* () {
            assert.strictEqual((yield* Effect.flip(guard.authorize(search)))._tag, "BudgetExhausted")
            const refusal = yield* Effect.flip(guard.reserve(amounts("USD:0.01"), Effect.void))
            assert.strictEqual(refusal._tag, "BudgetExhausted")
          })
        )
        yield* guard.authorize(search)
        yield* guard.reserve(usd, one.spend("USD:0.25"))
        assert.deepStrictEqual(yield* other.left, { USD: "0.75" })
      }).pipe(Effect.provide(layerPool(caps("USD:1.00"))))
    )
  })
})
