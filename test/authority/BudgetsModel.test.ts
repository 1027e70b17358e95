/**
 * The ledger against a model that is worked out anew at every step, and against nothing but the sum of all costs.
 */
import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Deferred, Effect, Exit, Fiber, HashMap, Queue } from "effect"
import * as Budget from "../../src/authority/Budget.ts"
import * as Budgets from "../../src/authority/Budgets.ts"
import type * as Amount from "../../src/protocol/Amount.ts"
import * as Seeded from "../simulation/Seeded.ts"
import { type Job, open } from "./Ledger.ts"
import * as Model from "./LedgerModel.ts"

const texts = (cents: Model.Cents): ReadonlyArray<string> =>
  Object.entries(cents).map(([currency, value]) => `${currency}:${(value / 100).toFixed(2)}`)

const amountsOf = (cents: Model.Cents): ReadonlyArray<Amount.Amount> =>
  Object.entries(cents).map(([currency, value]) => ({ currency, value: BigDecimal.make(BigInt(value), 2) }))

const centsOf = (value: BigDecimal.BigDecimal | undefined) => Number(BigDecimal.scale(value!, 2).value)

const leftIn = (job: Job, currency: string) => Effect.map(job.account.available, (left) => centsOf(left.get(currency)))

/** Some cents of some currencies. */
const draw = (next: Seeded.Chance, most: number): Model.Cents => {
  const cents: Model.Cents = {}
  for (const currency of Model.currencies) if (next() < 0.6) cents[currency] = Seeded.between(next, 0, most)
  return cents
}

interface Account {
  readonly job: Job
  readonly model: Model.Node
  readonly root: Account | undefined
  /** What was spent by the jobs of this tree; kept for the root. */
  readonly total: Record<Model.Currency, number>
}

interface Reserved {
  readonly account: Account
  readonly model: Model.Node
}

/** A fiber that does what it is told, in an account and within reservations, the innermost last. */
interface Place {
  readonly account: Account
  readonly within: ReadonlyArray<Reserved>
  readonly inbox: Queue.Queue<Effect.Effect<boolean, string>>
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

const loop = (inbox: Place["inbox"]): Effect.Effect<void, string> =>
  Effect.gen(function* () {
    while (!(yield* yield* Queue.take(inbox))) continue
  })

/** Has an effect run by the fiber of a place. */
const at = <A, E>(place: Place, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const answer = yield* Deferred.make<A, E>()
    yield* Queue.offer(place.inbox, Effect.as(Deferred.into(effect, answer), false))
    return yield* Deferred.await(answer)
  })

const modelPlace = (account: Account, within: ReadonlyArray<Reserved>): Model.Node =>
  within.findLast((reserved) => reserved.account === account && !reserved.model.isClosed)?.model ?? account.model

const currenciesOf = (node: Model.Node | undefined): ReadonlySet<string> =>
  node === undefined ? new Set() : new Set([...Object.keys(node.caps), ...currenciesOf(node.parent)])

const scenario = Effect.fnUntraced(function* (seed: number, steps: number) {
  const next = Seeded.chance(seed)
  const scope = yield* Effect.scope
  const ledger = yield* Budgets.Budgets
  const accounts: Array<Account> = []
  const places: Array<Place> = []
  const seen = { admitted: 0, refused: 0, overdrawn: 0, passed: 0, blocked: 0, costs: 0, late: 0 }

  const start = Effect.fnUntraced(function* (account: Account, within: ReadonlyArray<Reserved>) {
    const inbox = yield* Queue.unbounded<Effect.Effect<boolean, string>>()
    const fiber = yield* Effect.forkIn(loop(inbox), scope)
    places.push({ account, within, inbox, fiber })
  })

  const opened = Effect.fnUntraced(function* (parent: Place | undefined) {
    const name = `job${accounts.length}`
    const caps = draw(next, parent === undefined ? 1000 : 250)
    const beside = parent && modelPlace(parent.account, parent.within)
    const model = Model.make("account", beside, caps)
    const opening = open(name, texts(caps), parent === undefined ? {} : { parent: parent.account.job.job })
    const root = parent && (parent.account.root ?? parent.account)
    const add = Effect.fnUntraced(function* () {
      const job = yield* Effect.provideService(opening, Budgets.Budgets, ledger)
      const account = { job, model, root, total: { USD: 0, EUR: 0 } }
      Model.add(model)
      accounts.push(account)
      // What runs in a child inherits the reservation in which its parent was.
      yield* start(account, parent?.within ?? [])
    })
    if (parent === undefined) return yield* add()
    const expected = !parent.account.model.isClosed && Model.isThere(beside!, caps)
    const exit = yield* Effect.exit(at(parent, add()))
    assert.strictEqual(Exit.isSuccess(exit), expected, `${name} within ${parent.account.job.job}`)
    seen[expected ? "admitted" : "refused"]++
  })

  const cost = Effect.fnUntraced(function* (place: Place) {
    const { account } = place
    const cents = draw(next, 40)
    const late = Model.isSettled(account.model)
    const counted = Object.entries(cents).filter(([currency, value]) => {
      const name = currency as Model.Currency
      if (value === 0 || !Model.spend(modelPlace(account, place.within), name, value)) return false
      ;(account.root ?? account).total[name] += value
      return true
    })
    const { standings } = yield* at(place, account.job.spend(...texts(cents), "xyz:5"))
    assert.deepStrictEqual(
      standings.map(({ currency }) => currency),
      counted.map(([currency]) => currency)
    )
    seen.costs += counted.length
    if (late) seen.late += counted.length
  })

  const reserve = Effect.fnUntraced(function* (place: Place) {
    const { account } = place
    const bounded = currenciesOf(account.model)
    const wanted = draw(next, 200)
    const caps = Object.fromEntries(Object.entries(wanted).filter(([name, value]) => bounded.has(name) && value > 0))
    const beside = modelPlace(account, place.within)
    const isOver = Model.isSettled(account.model) && Object.keys(caps).length > 0
    const expected = !isOver && Model.isThere(beside, caps)
    const inbox = yield* Queue.unbounded<Effect.Effect<boolean, string>>()
    const started = yield* Deferred.make<boolean>()
    const use = Effect.andThen(Deferred.succeed(started, true), loop(inbox))
    const reserving = account.job.account
      .reserve(amountsOf(wanted), use)
      .pipe(Effect.onExit(() => Deferred.succeed(started, false)))
    const fiber = yield* at(place, Effect.forkIn(reserving, scope))
    assert.strictEqual(yield* Deferred.await(started), expected, JSON.stringify(wanted))
    seen[expected ? "admitted" : "refused"]++
    if (!expected) return
    const model = Model.make("reservation", beside, caps)
    // In a job that is over it can be of nothing, and changes nothing.
    if (!Model.isSettled(beside)) Model.add(model)
    places.push({ account, within: [...place.within, { account, model }], inbox, fiber })
  })

  /** Ends a reservation in any of the ways in which it can end. */
  const end = Effect.fnUntraced(function* (place: Place) {
    places.splice(places.indexOf(place), 1)
    const model = place.within.at(-1)!.model
    const ending = Seeded.pick(next, ["succeed", "fail", "die", "interrupt"] as const)
    if (ending === "succeed") yield* Queue.offer(place.inbox, Effect.succeed(true))
    if (ending === "fail") yield* Queue.offer(place.inbox, Effect.fail("no"))
    if (ending === "die") yield* Queue.offer(place.inbox, Effect.die("a bug"))
    if (ending === "interrupt") yield* Fiber.interrupt(place.fiber)
    yield* Fiber.await(place.fiber)
    model.isClosed = true
  })

  const close = Effect.fnUntraced(function* (account: Account) {
    account.model.isClosed = true
    yield* account.job.account.close
  })

  const compare = Effect.fnUntraced(function* () {
    for (const { job, model } of accounts) {
      if (Model.isSettled(model)) continue
      for (const currency of Object.keys(model.caps)) {
        const left = Model.left(model, currency as Model.Currency)
        if (left < 0) seen.overdrawn++
        assert.strictEqual(yield* leftIn(job, currency), left, `${currency} of ${job.job}`)
      }
      assert.deepStrictEqual(yield* job.folded, yield* job.left, `the journal of ${job.job}`)
    }
    const place = Seeded.pick(next, places)
    const node = modelPlace(place.account, place.within)
    const currencies = [...currenciesOf(place.account.model)] as ReadonlyArray<Model.Currency>
    const isLeft = (currency: Model.Currency) =>
      !Model.isSettled(place.account.model) && Model.room(node, currency)! > 0
    const exit = yield* Effect.exit(at(place, place.account.job.account.check))
    assert.strictEqual(Exit.isSuccess(exit), currencies.every(isLeft), `a check of ${place.account.job.job}`)
    seen[Exit.isSuccess(exit) ? "passed" : "blocked"]++
  })

  const isReservation = (place: Place) => place.within.at(-1)?.account === place.account
  yield* opened(undefined)
  yield* opened(undefined)
  for (let step = 0; step < steps; step++) {
    const place = Seeded.pick(next, places)
    const dice = next()
    if (dice < 0.4) yield* cost(place)
    else if (dice < 0.6) yield* reserve(place)
    else if (dice < 0.75 && accounts.length < 12) yield* opened(place)
    else if (dice < 0.92 && isReservation(place)) yield* end(place)
    else if (dice > 0.95 && accounts.length > 2) yield* close(Seeded.pick(next, accounts.slice(2)))
    yield* compare()
  }
  while (places.some(isReservation)) {
    yield* end(Seeded.pick(next, places.filter(isReservation)))
    yield* compare()
  }
  for (const account of accounts.slice(2).toSorted(() => next() - 0.5)) yield* close(account)
  yield* compare()
  for (const { job, model, total } of accounts.slice(0, 2)) {
    for (const [currency, cap] of Object.entries(model.caps)) {
      const name = currency as Model.Currency
      assert.strictEqual(yield* leftIn(job, name), cap - total[name], `every ${currency} cent of ${job.job}`)
    }
    yield* job.account.close
  }
  return seen
})

describe("Budgets", () => {
  it.effect("conserves every cent over random trees of jobs and reservations", () =>
    Effect.gen(function* () {
      const sum: Record<string, number> = {}
      for (let seed = 1; seed <= 300; seed++) {
        const seen = yield* scenario(seed, 60).pipe(
          Effect.scoped,
          Effect.provide(Budgets.layer, { local: true }),
          Effect.catchDefect((defect) => Effect.die(new Error(`seed ${seed}: ${String(defect)}`, { cause: defect })))
        )
        for (const [what, count] of Object.entries(seen)) sum[what] = (sum[what] ?? 0) + count
      }
      // Were one of these rare, the test would show little.
      for (const [what, count] of Object.entries(sum)) assert.isAbove(count, 200, what)
    })
  )
})

/** A tree of jobs at once, each cost of which is covered by a reservation. What ends a part of it is chance. */
const turmoil = (next: Seeded.Chance) =>
  Effect.gen(function* () {
    const jobs: Array<Job> = []
    const detached: Array<Fiber.Fiber<unknown, unknown>> = []
    const seen = { spent: 0, interrupted: 0, refused: 0 }

    const turns = (most: number): Effect.Effect<void> =>
      Effect.suspend(() =>
        Effect.forEach(Array.from({ length: Seeded.between(next, 0, most) }), () => Effect.yieldNow, { discard: true })
      )

    /** Nothing is ever overdrawn: not by two at once, and not by who is interrupted. */
    const overdrawn: Array<string> = []
    const look = Effect.suspend(() =>
      Effect.forEach(
        jobs,
        (job) => Effect.map(leftIn(job, "USD"), (left) => (left < 0 ? overdrawn.push(`${job.job}: ${left}`) : 0)),
        { discard: true }
      )
    )

    const spend = (job: Job, cents: number) =>
      Effect.gen(function* () {
        seen.spent += cents
        yield* job.spend(`USD:${(cents / 100).toFixed(2)}`)
        yield* look
      }).pipe(Effect.uninterruptible)

    const reserved = (job: Job, cents: number, depth: number): Effect.Effect<void, unknown, Budgets.Budgets> =>
      job.account.reserve(
        amountsOf({ USD: cents }),
        Effect.gen(function* () {
          let rest = cents
          while (rest > 0 && next() < 0.8) {
            const part = Seeded.between(next, 1, rest)
            if (depth > 0 && next() < 0.4) yield* Effect.exit(reserved(job, part, depth - 1))
            else if (depth > 0 && next() < 0.3) yield* Effect.exit(delegated(job, part, depth - 1))
            else yield* spend(job, part)
            rest -= part
            yield* turns(3)
          }
          if (next() < 0.1) yield* Effect.fail("no")
          if (next() < 0.1) yield* Effect.die("a bug")
        })
      )

    const delegated = (parent: Job, cents: number, depth: number): Effect.Effect<void, unknown, Budgets.Budgets> =>
      Effect.gen(function* () {
        const child = Effect.acquireUseRelease(
          opened(`job${jobs.length}`, cents, parent),
          (job) => work(job, cents, depth),
          (job) => job.account.close
        )
        if (next() < 0.7) return yield* child
        detached.push(yield* Effect.forkDetach(child))
      })

    const opened = (name: string, cents: number, parent?: Job) =>
      open(name, [`USD:${(cents / 100).toFixed(2)}`], {
        delay: turns(2),
        ...(parent === undefined ? {} : { parent: parent.job })
      }).pipe(Effect.tap((job) => Effect.sync(() => jobs.push(job))))

    const work = (job: Job, cents: number, depth: number) =>
      Effect.forEach(
        Array.from({ length: Seeded.between(next, 1, 4) }),
        () => {
          const some = Seeded.between(next, 1, cents)
          const task = next() < 0.5 || depth === 0 ? reserved(job, some, depth) : delegated(job, some, depth - 1)
          const watched = task.pipe(
            Effect.tapError((error) => Effect.sync(() => void (error === "no" ? 0 : seen.refused++))),
            Effect.onInterrupt(() => Effect.sync(() => void seen.interrupted++))
          )
          return Effect.exit(next() < 0.7 ? watched : Effect.raceFirst(watched, turns(12)))
        },
        { concurrency: "unbounded", discard: true }
      )

    const root = yield* opened("root", 1000)
    yield* work(root, 1000, 3)
    while (detached.length > 0) yield* Fiber.await(detached.pop()!)
    assert.deepStrictEqual(overdrawn, [])
    assert.strictEqual(yield* leftIn(root, "USD"), 1000 - seen.spent)
    for (const job of jobs) {
      assert.deepStrictEqual(yield* job.folded, yield* job.left, `the journal of ${job.job}`)
      const budget = Budget.fold(Budget.make(new Map([["USD", BigDecimal.fromBigInt(10n)]])), job.journal)
      assert.strictEqual(HashMap.size(budget.holds), 0, `a hold of ${job.job} is open`)
    }
    return { ...seen, jobs: jobs.length }
  })

describe("Budgets, whatever the order in which fibers run,", () => {
  it("conserve every cent and overdraw nothing", async () => {
    const sum: Record<string, number> = {}
    for (let seed = 1; seed <= 150; seed++) {
      const next = Seeded.chance(seed)
      const run = turmoil(next).pipe(
        Effect.provide(Budgets.layer, { local: true }),
        Effect.timeout("10 seconds"),
        Effect.catchDefect((defect) => Effect.die(new Error(`seed ${seed}: ${String(defect)}`, { cause: defect })))
      )
      const seen = await Effect.runPromise(run, { scheduler: Seeded.scheduler(next) })
      for (const [what, count] of Object.entries(seen)) sum[what] = (sum[what] ?? 0) + count
    }
    for (const [what, count] of Object.entries(sum)) assert.isAbove(count, 200, what)
  })
})
