/** What every journal owes, whatever it writes to. */
import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Effect, Fiber, Layer, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Budget from "../../src/authority/Budget.ts"
import * as Amount from "../../src/protocol/Amount.ts"
import * as Frame from "../../src/protocol/Frame.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import type * as JobEntry from "../../src/runtime/JobEntry.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"

const job = "job_1" as Ids.JobId
const session = "sess_1" as Ids.SessionId
const traceId = "4bf92f3577b34da6a3ce929d0e0e4736" as Ids.TraceId

const event = (n: number): JobEntry.Draft => ({ type: "job.event", kind: "log", payload: JSON.stringify({ n }) })
const terminal: JobEntry.Draft = { type: "job.result", kind: "", payload: JSON.stringify({ done: true }) }

const parse = ({ tail }: JobEntry.JobEntry) => JSON.parse(`{${Frame.textOfPiece(tail).slice(1)}`)

/** The numbers that entries hold, and their places. */
const numbers = (page: JobEntry.Page) =>
  page.entries.map((entry) => {
    const frame = parse(entry)
    return entry.type === "job.event" ? frame.payload.n : "end"
  })

const all = Number.MAX_SAFE_INTEGER

export const suite = (name: string, makeLayer: Layer.Layer<JobJournal.JobJournal>) => {
  const using = (changes: Partial<RuntimeConfig.RuntimeConfig> = {}) =>
    Effect.provide(Layer.fresh(makeLayer).pipe(Layer.provide(RuntimeConfig.layer(changes))))

  const opened = Effect.tap(JobJournal.JobJournal, (journal) => journal.open({ id: job, traceId }))

  describe(name, () => {
    it.effect("keeps order, and numbers each entry of the job from 1", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.append(job, 1, [event(0), event(1)])
        yield* journal.append(job, 1, [event(2)])
        const page = yield* journal.read(job, -1, all)
        assert.deepStrictEqual(numbers(page), [0, 1, 2])
        assert.deepStrictEqual(
          page.entries.map((entry) => parse(entry).job_seq),
          [1, 2, 3]
        )
        assert.deepStrictEqual([page.firstOffset, page.ended], [0, false])
      }).pipe(using())
    )

    it.effect("reads after an offset, in pages of about the size asked for, never none if there is one", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.append(job, 1, [event(0), event(1), event(2)])
        assert.deepStrictEqual(numbers(yield* journal.read(job, 0, all)), [1, 2])
        assert.deepStrictEqual(numbers(yield* journal.read(job, -1, 1)), [0])
        assert.deepStrictEqual(numbers(yield* journal.read(job, 2, all)), [])
      }).pipe(using())
    )

    it.effect("takes one terminal, as the last entry, and says who wrote it", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.append(job, 1, [event(0)])
        assert.isTrue(yield* journal.end(job, 1, terminal))
        assert.isFalse(yield* journal.end(job, 1, terminal))
        const refused = yield* Effect.flip(journal.append(job, 1, [event(1)]))
        assert.deepStrictEqual([refused._tag, refused.reason], ["JournalClosed", "ended"])
        const page = yield* journal.read(job, -1, all)
        assert.deepStrictEqual([numbers(page), page.ended], [[0, "end"], true])
        assert.isTrue((yield* journal.read(job, 1, all)).ended)
        assert.isFalse((yield* journal.read(job, -1, 1)).ended)
      }).pipe(using())
    )

    it.effect("refuses a writer of another epoch, and an unknown job", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        assert.strictEqual((yield* Effect.flip(journal.append(job, 2, [event(0)]))).reason, "stale")
        assert.isFalse(yield* journal.end(job, 2, terminal))
        assert.strictEqual((yield* Effect.flip(journal.append("job_2" as Ids.JobId, 1, [event(0)]))).reason, "unknown")
      }).pipe(using())
    )

    it.effect("follows history and live as one, each entry once, to the end", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.append(job, 1, [event(0), event(1)])
        const reader = yield* JobJournal.follow(job, -1, 1).pipe(
          Stream.map(numbers),
          Stream.runCollect,
          Effect.forkChild
        )
        for (let n = 2; n < 50; n++) {
          yield* journal.append(job, 1, [event(n)])
          if (n % 7 === 0) yield* Effect.yieldNow
        }
        yield* journal.end(job, 1, terminal)
        const seen = (yield* Fiber.join(reader)).flat()
        assert.deepStrictEqual(seen, [...Array.from({ length: 50 }, (_, n) => n), "end"])
      }).pipe(using())
    )

    it.effect("without a pacer an append never waits, and the oldest entries make room", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        for (let n = 0; n < 1000; n++) yield* journal.append(job, 1, [event(n)])
        yield* journal.end(job, 1, terminal)
        const page = yield* journal.read(job, -1, all)
        assert.isAbove(page.firstOffset, 0)
        const expected = [...Array.from({ length: 1000 - page.firstOffset }, (_, n) => n + page.firstOffset), "end"]
        assert.deepStrictEqual(numbers(page), expected)
        const held = page.entries.reduce((sum, entry) => sum + Frame.lengthOfPiece(entry.tail), 0)
        assert.isAtMost(held, 20_000)
      }).pipe(using({ maxJournalPerJob: 20_000 }))
    )

    it.effect("the bound over all jobs holds, and no terminal is lost to it", () =>
      Effect.gen(function* () {
        const journal = yield* JobJournal.JobJournal
        const jobs = Array.from({ length: 10 }, (_, n) => `job_${n}` as Ids.JobId)
        for (const id of jobs) {
          yield* journal.open({ id, traceId })
          for (let n = 0; n < 100; n++) yield* journal.append(id, 1, [event(n)])
          yield* journal.end(id, 1, terminal)
        }
        const pages = yield* Effect.forEach(jobs, (id) => journal.read(id, -1, all))
        const held = pages
          .flatMap((page) => page.entries)
          .reduce((sum, entry) => sum + Frame.lengthOfPiece(entry.tail), 0)
        assert.isAtMost(held, 30_000 + 10 * 200)
        assert.isTrue(pages.every((page) => numbers(page).at(-1) === "end"))
      }).pipe(using({ maxJournal: 30_000 }))
    )

    it.effect("over all jobs, what a submitter has goes first, and what one waits for goes last", () =>
      Effect.gen(function* () {
        const journal = yield* JobJournal.JobJournal
        const [waitedFor, read, left, next] = ["job_a", "job_b", "job_c", "job_d"] as [
          Ids.JobId,
          Ids.JobId,
          Ids.JobId,
          Ids.JobId
        ]
        for (const id of [waitedFor, left, read, next]) yield* journal.open({ id, traceId })
        yield* journal.advance(waitedFor, session, Option.some(-1))
        for (const id of [waitedFor, left, read]) for (let n = 0; n < 50; n++) yield* journal.append(id, 1, [event(n)])
        yield* journal.advance(read, session, Option.some(49))
        const kept = Effect.forEach([waitedFor, left, read], (id) => Effect.map(journal.read(id, -1, all), numbers))

        const more = Effect.fnUntraced(function* (from: number, to: number) {
          for (let n = from; n < to; n++) {
            yield* journal.append(next, 1, [event(n)])
            yield* journal.advance(next, session, Option.some(n))
          }
        })
        yield* more(0, 200)
        const [first, second, third] = yield* kept
        assert.deepStrictEqual([first!.length, second!.length], [50, 50])
        assert.isBelow(third!.length, 50)
        // Nothing is left that anybody has: then what nobody waits for.
        for (let n = 0; n < 130; n++) yield* journal.append(left, 1, [event(n)])
        assert.lengthOf((yield* kept)[0]!, 50)
      }).pipe(using({ maxJournal: 30_000 }))
    )

    it.effect("last words and costs have room of their own, which has an end", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.advance(job, session, Option.some(-1))
        const fill = yield* Effect.forkChild(Effect.forever(journal.append(job, 1, [event(0)])), {
          startImmediately: true
        })
        yield* TestClock.adjust("1 second")
        let written = 0
        const urgent = yield* Effect.forkChild(
          Effect.forever(
            Effect.andThen(
              journal.append(job, 1, [event(1)], { urgent: true }),
              Effect.sync(() => written++)
            )
          ),
          { startImmediately: true }
        )
        yield* Effect.repeat(Effect.yieldNow, { times: 5000 })
        assert.isAbove(written, 10)
        assert.isBelow(written, 2500)
        yield* Fiber.interrupt(urgent)
        yield* Fiber.interrupt(fill)
      }).pipe(using({ pacingWindow: 2000 }))
    )

    it.effect("a job suspends at the window of its pacer and goes on as that advances", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.advance(job, session, Option.some(-1))
        let written = 0
        const writer = yield* Effect.gen(function* () {
          for (let n = 0; n < 200; n++) {
            yield* journal.append(job, 1, [event(n)])
            written++
          }
        }).pipe(Effect.forkChild({ startImmediately: true }))
        yield* TestClock.adjust("1 hour")
        const first = written
        assert.isBelow(first, 30)
        yield* journal.advance(job, session, Option.some(first - 1))
        yield* TestClock.adjust("1 hour")
        // Entries differ by a digit in length, hence not to the entry.
        assert.isAtMost(Math.abs(written - first * 2), 2)
        // Nobody paces any more: the job runs on.
        yield* journal.advance(job, session, Option.none())
        yield* Fiber.join(writer)
        assert.strictEqual(written, 200)
      }).pipe(using({ pacingWindow: 2000 }))
    )

    it.effect("of two submitters the one that came first sets the pace, and the other when that has gone", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        const other = "sess_2" as Ids.SessionId
        yield* journal.advance(job, session, Option.some(-1))
        let written = 0
        const writer = yield* Effect.gen(function* () {
          for (let n = 0; n < 1000; n++) {
            yield* journal.append(job, 1, [event(0)])
            written++
          }
        }).pipe(Effect.forkChild({ startImmediately: true }))
        yield* TestClock.adjust("1 second")
        const first = written
        // The second comes, reads all there is, and goes: the first still waits to be waited for.
        yield* journal.advance(job, other, Option.some(first - 1))
        yield* journal.advance(job, other, Option.none())
        yield* TestClock.adjust("1 second")
        assert.strictEqual(written, first)
        yield* journal.advance(job, other, Option.some(first - 1))
        yield* journal.advance(job, session, Option.none())
        yield* TestClock.adjust("1 second")
        assert.isAtMost(Math.abs(written - first * 2), 2)
        yield* Fiber.interrupt(writer)
      }).pipe(using({ pacingWindow: 2000 }))
    )

    it.effect("what is urgent goes a little beyond the window", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.advance(job, session, Option.some(-1))
        const fill = Effect.fnUntraced(function* (urgent: boolean) {
          for (let n = 0; n < 1000; n++) yield* journal.append(job, 1, [event(0)], { urgent })
        })
        const full = yield* Effect.forkChild(fill(false), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(full)
        const before = yield* journal.tip(job)
        const urgent = yield* Effect.forkChild(fill(true), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        const more = (yield* journal.tip(job)) - before
        yield* Fiber.interrupt(urgent)
        assert.isAbove(more, 3)
        assert.isBelow(more, 20)
      }).pipe(using({ pacingWindow: 2000, pacingReserve: 1000 }))
    )

    it.effect("says when there is room, and is not in the way of who does not wait for it", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.room(job)
        yield* journal.advance(job, session, Option.some(-1))
        const appends = Array.from({ length: 100 }, () => journal.append(job, 1, [event(0)]))
        const fill = yield* Effect.forkChild(Effect.all(appends), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(fill)
        // The reserve is left for what is urgent, and what is forced asks for no room.
        yield* journal.room(job, { urgent: true })
        yield* journal.room(job, { forced: true })
        const tip = yield* journal.tip(job)
        const waiting = yield* Effect.forkChild(journal.room(job), { startImmediately: true })
        const interrupted = yield* Effect.forkChild(journal.room(job), { startImmediately: true })
        yield* Fiber.interrupt(interrupted)
        yield* journal.append(job, 1, [event(1)], { forced: true })
        assert.isUndefined(waiting.pollUnsafe())
        yield* journal.advance(job, session, Option.some(tip + 1))
        yield* Fiber.join(waiting)
        assert.strictEqual(yield* journal.tip(job), tip + 1)
        // Nobody waits for room in what has ended, or never was.
        yield* journal.advance(job, session, Option.some(-1))
        yield* journal.end(job, 1, terminal)
        yield* journal.room(job)
        yield* journal.room("job_never" as Ids.JobId)
      }).pipe(using({ pacingWindow: 2000, pacingReserve: 1000 }))
    )

    it.effect("keeps the ledger of a job in few entries, whose sum is that of all", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        const amounts = [{ currency: "USD", value: BigDecimal.make(1n, 2) }]
        for (let n = 0; n < 3000; n++) {
          // Every third thing that is set aside stays so.
          yield* journal.record(job, 1, { _tag: "Hold", id: `${n}`, amounts })
          if (n % 3 > 0) yield* journal.record(job, 1, { _tag: "Settle", id: `${n}`, spent: amounts })
          yield* journal.append(job, 1, [event(n)], { ledger: [{ _tag: "Charge", amounts }] })
        }
        yield* journal.end(job, 1, terminal)
        yield* journal.record(job, 1, { _tag: "Settle", id: "0", spent: [] })
        // Who is no longer the owner adds nothing.
        yield* journal.record(job, 2, { _tag: "Charge", amounts })
        const entries = yield* journal.ledger(job)
        assert.isBelow(entries.length, 2500)
        const caps = new Map([["USD", BigDecimal.fromBigInt(100n)]])
        const { available, charged, held } = Budget.fold(Budget.make(caps), entries).standings.get("USD")!
        assert.deepStrictEqual([charged, held, available].map(Amount.formatValue), ["50", "9.99", "40.01"])
        yield* journal.remove(job)
        assert.deepStrictEqual(yield* journal.ledger(job), [])
      }).pipe(using())
    )

    it.effect("outcomes, however long, do not push out what running jobs say", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.append(job, 1, [event(0)])
        for (let n = 0; n < 20; n++) {
          const id = `job_long_${n}` as Ids.JobId
          yield* journal.open({ id, traceId })
          yield* journal.end(id, 1, { ...terminal, payload: JSON.stringify("x".repeat(5000)) })
        }
        yield* journal.append(job, 1, [event(1)])
        assert.deepStrictEqual(numbers(yield* journal.read(job, -1, all)), [0, 1])
      }).pipe(using({ maxJournal: 30_000 }))
    )

    it.effect("a suspended append can be interrupted, and the end of the job ends it", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.advance(job, session, Option.some(-1))
        const fill = Effect.forever(journal.append(job, 1, [event(0)]))
        const interrupted = yield* Effect.forkChild(fill, { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(interrupted)
        const ended = yield* Effect.forkChild(fill, { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* journal.end(job, 1, terminal)
        const refused = yield* Effect.flip(Fiber.join(ended))
        assert.strictEqual(refused.reason, "ended")
      }).pipe(using({ pacingWindow: 2000 }))
    )

    it.effect("wakes watchers until their scope closes", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        let woken = 0
        const unwatch = yield* journal.watch(job, () => woken++)
        yield* journal.append(job, 1, [event(0)])
        assert.strictEqual(woken, 1)
        yield* unwatch
        yield* journal.append(job, 1, [event(1)])
        assert.strictEqual(woken, 1)
      }).pipe(using())
    )

    it.effect("forgets a job altogether, and lets its followers go", () =>
      Effect.gen(function* () {
        const journal = yield* opened
        yield* journal.append(job, 1, [event(0)])
        const reader = yield* JobJournal.follow(job, -1).pipe(
          Stream.runDrain,
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust("1 second")
        yield* journal.remove(job)
        yield* Fiber.join(reader)
        assert.deepStrictEqual((yield* journal.read(job, -1, all)).entries, [])
      }).pipe(using())
    )
  })
}
