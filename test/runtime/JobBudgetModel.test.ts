/**
 * Budgets in the running runtime, against the fold of what the journals hold and against nothing but the sum of all costs: over random
 * histories of costs, reservations and delegations, one step after the other, and many at once in any order of fibers.
 */
import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Deferred, Effect, Exit, Fiber, Logger, Option, Queue, Schema } from "effect"
import * as Budget from "../../src/authority/Budget.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Frame from "../../src/protocol/Frame.ts"
import * as Amount from "../../src/protocol/Amount.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import type * as Delegation from "../../src/runtime/Delegation.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as Jobs from "../../src/runtime/Jobs.ts"
import * as JobStore from "../../src/runtime/JobStore.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import { caps as amountsOf } from "../authority/Ledger.ts"
import type { Job } from "../conformance/Script.ts"
import { settled } from "../conformance/Stage.ts"
import * as Seeded from "../simulation/Seeded.ts"
import * as Puppets from "./Puppets.ts"

const currencies = ["USD", "EUR"] as const
type Cents = Partial<Record<(typeof currencies)[number], number>>

const texts = (cents: Cents) =>
  Object.entries(cents).map(([currency, value]) => `${currency}:${(value / 100).toFixed(2)}`)

/** Some cents of some currencies. */
const draw = (next: Seeded.Chance, most: number): Cents => {
  const cents: Cents = {}
  for (const currency of currencies) if (next() < 0.6) cents[currency] = Seeded.between(next, 0, most)
  return cents
}

/** What the journal of a job comes to, and what the runtime says that is left; which must be the same. */
const compare = Effect.fnUntraced(function* (id: Ids.JobId) {
  const store = yield* JobStore.JobStore
  const journal = yield* JobJournal.JobJournal
  const jobs = yield* Jobs.Jobs
  const { record } = Option.getOrThrow(yield* store.get(id))
  const said = yield* jobs.budget(record)
  if (Option.isNone(said)) return undefined
  const budget = Budget.fold(Budget.make(amountsOf(...(record.lease["cost.budget"] ?? []))), yield* journal.ledger(id))
  assert.deepStrictEqual(Budget.toNumbers(Budget.available(budget)), said.value, `the journal of ${id}`)
  return budget
})

interface Node {
  readonly name: string
  readonly id: Ids.JobId
  readonly handle: Delegation.Delegated<unknown> | undefined
  readonly place: Puppets.Place
  readonly root: Node | undefined
  readonly spent: Record<string, number>
}

/** A part of the work of a job, for which something is set aside. */
interface Within extends Puppets.Place {
  readonly node: Node
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

const scenario = Effect.fnUntraced(function* (seed: number, steps: number, puppets: Puppets.Puppets) {
  const next = Seeded.chance(seed)
  const scope = yield* Effect.scope
  const client = yield* ArcpClient.ArcpClient
  const nodes: Array<Node> = []
  const ended = new Set<Node>()
  const reservations: Array<Within> = []
  const seen = { costs: 0, delegated: 0, refused: 0, reserved: 0, denied: 0, cancelled: 0, ended: 0 }

  const begin = Effect.fnUntraced(function* (name: string, cents: Cents) {
    const lease = { "agent.delegate": ["puppet"], "cost.budget": texts(cents) }
    const { id } = yield* client.submit("puppet", name, { lease })
    const spent = { USD: 0, EUR: 0 }
    nodes.push({ name, id, handle: undefined, place: yield* puppets.entered(name), root: undefined, spent })
  })

  const delegate = Effect.fnUntraced(function* (node: Node, from: Puppets.Place) {
    const name = `job${nodes.length}`
    const cents = draw(next, 250)
    const lease = next() < 0.3 ? {} : { "agent.delegate": ["puppet"], "cost.budget": texts(cents) }
    const exit = yield* Effect.exit(Puppets.at(from, node.place.job.delegate("puppet", name, { lease })))
    if (Exit.isFailure(exit)) return void seen.refused++
    seen.delegated++
    const place = yield* puppets.entered(name)
    nodes.push({
      name,
      id: exit.value.id,
      handle: exit.value,
      place,
      root: node.root ?? node,
      spent: { USD: 0, EUR: 0 }
    })
  })

  const spend = Effect.fnUntraced(function* (node: Node, from: Puppets.Place) {
    for (const [currency, value] of Object.entries({ ...draw(next, 40), xyz: 5 })) {
      yield* Puppets.at(from, node.place.job.metric("cost.part", value / 100, { unit: currency }))
      if (currency === "xyz") continue
      const { spent } = node.root ?? node
      spent[currency] = spent[currency]! + value
      seen.costs++
    }
  })

  const reserve = Effect.fnUntraced(function* (node: Node, from: Puppets.Place) {
    const inbox = yield* Queue.unbounded<Puppets.Command>()
    const started = yield* Deferred.make<boolean>()
    const use = Effect.andThen(Deferred.succeed(started, true), Puppets.obey(inbox))
    const reserving = node.place.job
      .reserve(texts(draw(next, 200)), use)
      .pipe(Effect.onExit(() => Deferred.succeed(started, false)))
    const fiber = yield* Puppets.at(from, Effect.forkIn(reserving, scope))
    if (!(yield* Deferred.await(started))) return void seen.denied++
    seen.reserved++
    reservations.push({ job: node.place.job, node, inbox, fiber })
  })

  const close = Effect.fnUntraced(function* (within: Within) {
    reservations.splice(reservations.indexOf(within), 1)
    const ending = Seeded.pick(next, ["succeed", "fail", "die", "interrupt"] as const)
    if (ending === "succeed") yield* Queue.offer(within.inbox, Effect.succeed(true))
    if (ending === "fail") yield* Queue.offer(within.inbox, Effect.fail("no"))
    if (ending === "die") yield* Queue.offer(within.inbox, Effect.die("a bug"))
    if (ending === "interrupt") yield* Fiber.interrupt(within.fiber)
    yield* Fiber.await(within.fiber)
  })

  /** Ends a job in some way, and with it those that it has delegated. */
  const end = Effect.fnUntraced(function* (node: Node) {
    if (node.handle === undefined) return
    if (next() < 0.5) {
      yield* node.handle.cancel("enough")
      seen.cancelled++
    } else {
      yield* Queue.offer(node.place.inbox, Effect.succeed(true))
      seen.ended++
    }
    yield* Effect.exit(node.handle.result)
    yield* settled
  })

  const check = Effect.fnUntraced(function* () {
    const store = yield* JobStore.JobStore
    for (const node of nodes) {
      yield* compare(node.id)
      const { status } = Option.getOrThrow(yield* store.get(node.id))
      if (status === "running" || ended.has(node)) continue
      ended.add(node)
      for (const within of reservations.filter((one) => one.node === node)) {
        reservations.splice(reservations.indexOf(within), 1)
        yield* Fiber.interrupt(within.fiber)
      }
    }
  })

  yield* begin("job0", { USD: 1000, EUR: 800 })
  yield* begin("job1", { USD: 500 })
  for (let step = 0; step < steps; step++) {
    const node = Seeded.pick(
      next,
      nodes.filter((one) => !ended.has(one))
    )
    const from = Seeded.pick(next, [node.place, ...reservations.filter((one) => one.node === node)])
    const dice = next()
    if (dice < 0.4) yield* spend(node, from)
    else if (dice < 0.6) yield* reserve(node, from)
    else if (dice < 0.78) yield* delegate(node, from)
    else if (dice < 0.92 && reservations.length > 0) yield* close(Seeded.pick(next, reservations))
    else yield* end(node)
    yield* check()
  }
  while (reservations.length > 0) yield* close(Seeded.pick(next, reservations))
  for (const node of nodes.filter((one) => one.root !== undefined && !ended.has(one))) yield* end(node)
  yield* check()
  for (const { id, root, spent } of nodes) {
    if (root !== undefined) continue
    const { standings } = (yield* compare(id))!
    for (const { available, cap, currency, held } of standings.values()) {
      assert.isTrue(BigDecimal.isZero(held), `nothing of ${id} is held`)
      const left = BigDecimal.subtract(cap, BigDecimal.make(BigInt(spent[currency]!), 2))
      assert.strictEqual(Amount.formatValue(available), Amount.formatValue(left), `every ${currency} cent of ${id}`)
    }
  }
  return seen
})

describe("Budgets in the runtime", () => {
  it.effect("are what the journals come to, at every step, and every cent of a tree is accounted for at its root", () =>
    Effect.gen(function* () {
      const sum: Record<string, number> = {}
      for (let seed = 1; seed <= 40; seed++) {
        const puppets = Puppets.make()
        const seen = yield* scenario(seed, 50, puppets).pipe(
          Effect.scoped,
          Effect.provide(ArcpTest.layer({ agents: puppets.agent, seed }), { local: true }),
          Effect.catchDefect((defect) => Effect.die(new Error(`seed ${seed}: ${String(defect)}`, { cause: defect })))
        )
        for (const [what, count] of Object.entries(seen)) sum[what] = (sum[what] ?? 0) + count
      }
      // Were one of these rare, the test would show little.
      for (const count of Object.values(sum)) assert.isAbove(count, 30, JSON.stringify(sum))
    })
  )
})

const Worker = Agent.make({
  name: "worker",
  input: Schema.Struct({ cents: Schema.Int, depth: Schema.Int }),
  output: Schema.Int
})

/** Jobs that spend only what they have set aside, or what their parents have set aside for them; what ends a part of that is chance. */
const worker = (next: Seeded.Chance, seen: Record<string, number>) => {
  const count = (what: string) =>
    Effect.sync(() => {
      seen[what] = (seen[what] ?? 0) + 1
    })

  const turns = (most: number): Effect.Effect<void> =>
    Effect.suspend(() =>
      Effect.forEach(Array.from({ length: Seeded.between(next, 0, most) }), () => Effect.yieldNow, { discard: true })
    )

  const spend = (job: Job, cents: number) =>
    Effect.ensuring(job.metric("cost.part", cents / 100, { unit: "USD" }), count("costs"))

  const delegated = Effect.fnUntraced(function* (job: Job, cents: number, depth: number) {
    const lease = { "agent.delegate": ["worker"], "cost.budget": [`USD:${(cents / 100).toFixed(2)}`] }
    const child = yield* job.delegate(Worker, { cents, depth }, { lease: depth > 0 ? lease : {} })
    yield* count("children")
    if (next() < 0.2) return
    yield* turns(100)
    if (next() < 0.3) yield* child.cancel()
    yield* Effect.exit(child.result)
  })

  const reserved = (job: Job, cents: number, depth: number): Effect.Effect<void, unknown> =>
    job.reserve(
      `USD:${(cents / 100).toFixed(2)}`,
      Effect.gen(function* () {
        let rest = cents
        while (rest > 0 && next() < 0.8) {
          const part = Seeded.between(next, 1, rest)
          if (depth > 0 && next() < 0.3) yield* Effect.exit(reserved(job, part, depth - 1))
          // Without a budget of its own, the child spends what is set aside here.
          else if (depth > 0 && next() < 0.4) yield* Effect.exit(delegated(job, part, depth - 1))
          else yield* spend(job, part)
          rest -= part
          yield* turns(3)
        }
        if (next() < 0.1) yield* Effect.fail("no")
        if (next() < 0.1) yield* Effect.die("a bug")
      })
    )

  return Worker.toLayer(
    Effect.fnUntraced(function* ({ cents, depth }) {
      const job = yield* JobContext.JobContext
      yield* Effect.forEach(
        Array.from({ length: Seeded.between(next, 1, 4) }),
        () => {
          const some = Seeded.between(next, 1, cents)
          const task = next() < 0.5 || depth === 0 ? reserved(job, some, 0) : delegated(job, some, depth - 1)
          const watched = Effect.onInterrupt(task, () => count("interrupted"))
          return Effect.exit(next() < 0.7 ? watched : Effect.raceFirst(watched, turns(200)))
        },
        { concurrency: "unbounded", discard: true }
      )
      return cents
    })
  )
}

/** A run of a tree of workers, which the client may cancel before it is done. */
const turmoil = (next: Seeded.Chance) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const journal = yield* JobJournal.JobJournal
    const store = yield* JobStore.JobStore
    const cents = 1000
    const lease = { "agent.delegate": ["worker"], "cost.budget": ["USD:10.00"] }
    const root = yield* client.submit(Worker, { cents, depth: 3 }, { lease })
    yield* Effect.forEach(Array.from({ length: Seeded.between(next, 0, 4000) }), () => Effect.yieldNow)
    if (next() < 0.4) yield* Effect.exit(root.cancel())
    yield* Effect.exit(root.result)
    const jobs = yield* store.list({
      principal: "tester",
      statuses: Option.none(),
      agent: Option.none(),
      createdAfter: Number.NEGATIVE_INFINITY,
      createdBefore: Number.POSITIVE_INFINITY,
      after: Option.none(),
      limit: 10_000
    })
    let told = 0
    for (const { record, status } of jobs) {
      assert.notInclude(["pending", "running"], status, `${record.id} has ended with its parent`)
      const budget = yield* compare(record.id)
      for (const { available, held } of budget?.standings.values() ?? []) {
        assert.isTrue(BigDecimal.isZero(held), `a hold of ${record.id} is open`)
        assert.isFalse(BigDecimal.isNegative(available), `${record.id} is overdrawn`)
      }
      const { entries } = yield* journal.read(record.id, -1, Number.MAX_SAFE_INTEGER)
      for (const { kind, tail } of entries) {
        const { body } = JSON.parse(`{${Frame.textOfPiece(tail).slice(1)}`).payload
        if (kind === "metric" && body.name === "cost.part") told += Math.round(body.value * 100)
      }
    }
    const { charged } = (yield* compare(root.id))!.standings.get("USD")!
    assert.strictEqual(Amount.formatValue(charged), Amount.formatValue(BigDecimal.make(BigInt(told), 2)))
    return { spent: told, jobs: jobs.length }
  })

describe("Budgets in the runtime, whatever the order in which fibers run,", () => {
  it("count each cost that is told, once, and overdraw nothing", async () => {
    const sum: Record<string, number> = {}
    for (let seed = 1; seed <= 150; seed++) {
      const next = Seeded.chance(seed)
      const seen: Record<string, number> = {}
      const run = turmoil(next).pipe(
        Effect.provide(ArcpTest.layer({ agents: worker(next, seen), seed }), { local: true }),
        Effect.provide([Seeded.layerCrypto, Logger.layer([])]),
        Effect.timeout("10 seconds"),
        Effect.catchDefect((defect) => Effect.die(new Error(`seed ${seed}: ${String(defect)}`, { cause: defect })))
      )
      // Turns so short that whatever can come between two steps does.
      const { jobs, spent } = await Effect.runPromise(run, { scheduler: Seeded.scheduler(next, 6) })
      for (const [what, count] of Object.entries({ ...seen, jobs, spent })) sum[what] = (sum[what] ?? 0) + count
    }
    for (const count of Object.values(sum)) assert.isAbove(count, 100, JSON.stringify(sum))
  })
})
