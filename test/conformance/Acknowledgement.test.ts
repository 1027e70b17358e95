import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type * as Json from "../../src/protocol/Json.ts"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { answers, assertRefused, eventually, join, outcome, run, submit } from "./Conversation.ts"
import {
  configured,
  enter,
  lineOf,
  onStage,
  rejoin,
  seqs,
  settled,
  take,
  ticketOf,
  turnedAway,
  upTo,
  type Stage
} from "./Stage.ts"
import { verifies } from "./verifies.ts"

const openSessions = Sessions.Sessions.use((sessions) => sessions.size)

/** A client of this package: it says that its acknowledgements are its pace. */
const declared: TestPeer.HelloOptions = { profile: "effect", features: ["ack", "subscribe"] }

/** One entry to a write, so that windows are exact to one. */
const windows = configured({ pacingWindow: 2000, maxBatch: 400 })

const ack = (peer: TestPeer.TestPeer, last_processed_seq: number, jobs?: Json.JsonObject) =>
  peer.send({ type: "session.ack", payload: { last_processed_seq, ...(jobs === undefined ? {} : { jobs }) } })

const lines = (count: number) => upTo(count).map((line) => `${line}`.padEnd(100, "."))

const allSaid = (stage: Stage, actor: string, count: number) =>
  eventually(
    Effect.sync(() => stage.said(actor)),
    (said) => said === count
  )

/** Reads to the end of a job, and acknowledges whatever has come when nothing more comes. */
const readPaced = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, before: ReadonlyArray<TestPeer.Frame> = []) {
  const frames: Array<TestPeer.Frame> = []
  while (!frames.some(({ type }) => type === "job.result" || type === "job.error")) {
    const more = yield* peer.drain
    if (more.length > 0) frames.push(...more)
    else yield* ack(peer, seqs([...before, ...frames]).at(-1)!)
  }
  return frames
})

describe("Acknowledgement", () => {
  describe("of a peer that declares its pace", () => {
    it.effect("holds a job that is a window ahead, until what was sent is acknowledged", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* join(declared)
            yield* enter(peer, "a")
            yield* stage.say("a", ...lines(100))
            yield* stage.exit("a")
            const first = yield* peer.drain
            assert.isAbove(first.length, 2)
            const held = stage.said("a")
            assert.isBelow(held, 30)
            // A sign of life is no acknowledgement.
            assert.deepStrictEqual(yield* answers(peer), [])
            yield* settled
            assert.strictEqual(stage.said("a"), held)

            yield* ack(peer, seqs(first).at(-1)!)
            const second = yield* peer.drain
            assert.isAbove(second.length, 2)
            assert.isAbove(stage.said("a"), held)
            const rest = yield* readPaced(peer, second)
            const all = [...first, ...second, ...rest]
            assert.deepStrictEqual(seqs(all), upTo(102, 2))
            assert.deepStrictEqual(
              all.flatMap((frame) => lineOf(frame) ?? []),
              lines(100)
            )
          }),
        windows
      )
    )

    it.effect("holds each job by itself: one that nobody reads does not hold another", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* join(declared)
            const a = yield* enter(peer, "a")
            const b = yield* enter(peer, "b")
            yield* stage.say("a", ...lines(50))
            const ofA = yield* peer.drain
            assert.isTrue(ofA.every(({ job_id }) => job_id === a))
            yield* stage.say("b", ...lines(50))
            yield* stage.exit("b")
            const ofB: Array<TestPeer.Frame> = []
            while (ofB.at(-1)?.type !== "job.result") {
              const more = yield* peer.drain
              assert.isNotEmpty(more)
              assert.isTrue(more.every(({ job_id }) => job_id === b))
              ofB.push(...more)
              yield* ack(peer, 0, { [b]: seqs(ofB).at(-1)! })
            }
            assert.lengthOf(ofB, 51)
            assert.isBelow(stage.said("a"), 30)
            yield* ack(peer, seqs(ofB).at(-1)!)
            assert.isNotEmpty(yield* peer.drain)
          }),
        windows
      )
    )

    it.effect("an outcome does not wait, nor does an answer", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* join(declared)
            const a = yield* enter(peer, "a")
            yield* stage.say("a", "x".repeat(3000))
            yield* peer.receive
            yield* stage.exit("a")
            assert.strictEqual((yield* outcome(peer, a)).terminal.type, "job.result")

            const b = yield* enter(peer, "b")
            yield* stage.say("b", ...lines(50))
            const seen = yield* peer.drain
            yield* peer.send({ type: "job.cancel", payload: { job_id: b } })
            yield* peer.expect("job.cancelled")
            assert.deepStrictEqual(yield* answers(peer), [])
            const rest = yield* readPaced(peer, seen)
            assert.strictEqual(rest.at(-1)!.payload["code"], "CANCELLED")
          }),
        windows
      )
    )

    it.effect("an agent that is cancelled says its last words without waiting for room", () =>
      onStage(
        () =>
          Effect.gen(function* () {
            const peer = yield* join(declared)
            const { job_id } = yield* submit(peer, "sleeper", 60)
            yield* peer.receive
            yield* peer.send({ type: "job.cancel", payload: { job_id } })
            yield* peer.expect("job.cancelled")
            yield* settled
            const observer = yield* join()
            yield* observer.send({ type: "job.subscribe", payload: { job_id, history: true } })
            const { payload } = yield* observer.expect("job.subscribed")
            assert.strictEqual(payload["current_status"], "cancelled")
            const { frames } = yield* outcome(observer, job_id)
            assert.deepStrictEqual(
              frames.flatMap((frame) => lineOf(frame) ?? []),
              ["woken"]
            )
          }),
        configured({ pacingWindow: 1 })
      )
    )

    it.effect("the window of the session holds all its jobs, and what one gives back others use", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* join(declared)
            const a = yield* enter(peer, "a")
            const b = yield* enter(peer, "b")
            yield* stage.say("a", "x".repeat(5000))
            assert.strictEqual((yield* peer.receive).job_id, a)
            yield* stage.say("b", ...lines(3))
            assert.deepStrictEqual(yield* peer.drain, [])
            // The outcome of the one that fills it passes, and takes with it what it owed.
            yield* stage.exit("a")
            yield* outcome(peer, a)
            assert.deepStrictEqual((yield* take(peer, 3)).map(lineOf), lines(3))
            yield* stage.exit("b")
            yield* outcome(peer, b)
          }),
        configured({ pacingWindow: 10_000, sessionWindow: 4000, maxBatch: 400 })
      )
    )

    it.effect("what the session does not see needs no acknowledgement", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* join(declared)
            const job = yield* enter(peer, "a")
            yield* ack(peer, 1)
            yield* stage.step("a", ...upTo(100))
            yield* allSaid(stage, "a", 100)
            // Nor does it while something else is owed.
            yield* stage.say("a", "seen")
            yield* stage.step("a", ...upTo(5))
            yield* peer.expect("job.event", (frame) => lineOf(frame) === "seen")
            yield* ack(peer, 2)
            yield* stage.step("a", ...upTo(100))
            yield* allSaid(stage, "a", 206)
            yield* stage.exit("a")
            assert.strictEqual((yield* outcome(peer, job)).terminal.event_seq, 3)
          }),
        windows
      )
    )

    it.effect("is dropped when it acknowledges nothing for too long; the job runs on, the session waits", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* TestPeer.connect
            const ticket = ticketOf(yield* peer.hello(declared))
            yield* enter(peer, "a")
            yield* stage.say("a", ...lines(60))
            const seen = [...(yield* peer.drain)]
            for (let turn = 0; turn < 3; turn++) {
              yield* TestClock.adjust("40 seconds")
              yield* ack(peer, 2 + turn)
              seen.push(...(yield* answers(peer)))
            }
            seen.push(...(yield* peer.drain))
            yield* TestClock.adjust("2 minutes")
            assert.strictEqual((yield* peer.closed).code, 1000)
            yield* allSaid(stage, "a", 60)
            assert.strictEqual(yield* openSessions, 1)

            const last = seqs(seen).at(-1)!
            const back = yield* rejoin(ticket, { last: last - 2, hello: declared })
            yield* stage.exit("a")
            const rest = yield* readPaced(back.peer)
            assert.deepStrictEqual(seqs(rest), upTo(62, last - 1))
          }),
        windows
      )
    )

    it.effect("is not dropped while nothing waits for it, however long it is silent", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* join(declared)
            yield* enter(peer, "a")
            yield* stage.say("a", "one")
            yield* peer.receive
            yield* TestClock.adjust("1 hour")
            yield* stage.say("a", "two")
            assert.strictEqual(lineOf(yield* peer.receive), "two")
          }),
        windows
      )
    )

    it.effect("a job whose submitter is away is not held, and is again when it comes back", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* TestPeer.connect
            const ticket = ticketOf(yield* peer.hello(declared))
            const job = yield* enter(peer, "a")
            yield* stage.say("a", ...lines(50))
            yield* peer.drain
            assert.isBelow(stage.said("a"), 30)
            yield* peer.close()
            yield* allSaid(stage, "a", 50)

            const back = yield* rejoin(ticket, { last: 1, hello: declared })
            const replayed = yield* back.peer.drain
            yield* stage.say("a", ...lines(50))
            yield* settled
            assert.isBelow(stage.said("a"), 80)
            yield* stage.exit("a")
            yield* ack(back.peer, seqs(replayed).at(-1)!)
            const rest = yield* readPaced(back.peer)
            assert.deepStrictEqual(seqs([...replayed, ...rest]), upTo(102, 2))
            assert.isTrue(rest.every((frame) => frame.job_id === job))
          }),
        windows
      )
    )

    verifies("C-038", "an acknowledgement that cannot be is no acknowledgement of what comes later", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* join(declared)
            const job = yield* enter(peer, "a")
            yield* ack(peer, Number.MAX_SAFE_INTEGER, {
              [job]: 1_000_000,
              job_unknown: 5,
              __proto__: 7,
              constructor: 3
            })
            yield* stage.say("a", ...lines(60))
            yield* stage.exit("a")
            const first = yield* peer.drain
            yield* ack(peer, 0, { job_unknown: 5 })
            assert.deepStrictEqual(yield* answers(peer), [])
            assert.isBelow(stage.said("a"), 30)
            yield* ack(peer, seqs(first).at(-1)!)
            yield* ack(peer, 1)
            assert.deepStrictEqual(seqs([...first, ...(yield* readPaced(peer))]), upTo(62, 2))
          }),
        windows
      )
    )
  })

  it.effect("a peer that offers to acknowledge and never does is not waited for", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          for (const hello of [{ features: ["ack"] }, { profile: "effect", features: [] }] as const) {
            const actor = JSON.stringify(hello)
            const peer = yield* join(hello)
            const { job_id } = yield* submit(peer, "actor", actor)
            yield* stage.say(actor, ...lines(100))
            yield* stage.exit(actor)
            assert.deepStrictEqual(seqs((yield* outcome(peer, job_id)).frames), upTo(102))
          }
        }),
      windows
    )
  )

  it.effect("a peer that does not read holds its job, and is dropped in the end", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          const ticket = ticketOf(yield* peer.hello())
          const { job_id } = yield* submit(peer, "actor", "a")
          yield* stage.say("a", ...lines(60))
          yield* settled
          assert.isBelow(stage.said("a"), 30)
          yield* TestClock.adjust("59 seconds")
          assert.isBelow(stage.said("a"), 30)
          yield* TestClock.adjust("1 seconds")
          yield* allSaid(stage, "a", 60)
          const back = yield* rejoin(ticket, { last: 0 })
          yield* stage.exit("a")
          assert.deepStrictEqual(seqs((yield* outcome(back.peer, job_id)).frames), upTo(62))
        }),
      { config: { pacingWindow: 2000, maxBatch: 400 }, transport: { capacity: 2 } }
    )
  )

  verifies(
    "C-036",
    "a peer that lags is told once, under a number, of a job that it has, and again after it caught up",
    () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* TestPeer.connect
            const ticket = ticketOf(yield* peer.hello({ features: ["ack"] }))
            const job = yield* enter(peer, "a")
            const pressure = (frame: TestPeer.Frame) =>
              (frame.payload["body"] as { readonly phase?: string }).phase === "back_pressure"
            yield* stage.say("a", ...lines(40))
            const first = yield* take(peer, 41)
            const [told, ...again] = first.filter(pressure)
            assert.deepStrictEqual(again, [])
            assert.deepInclude(told, { type: "job.event", job_id: job })
            assert.strictEqual(told!.payload["kind"], "status")
            assert.match((told!.payload["body"] as { readonly message: string }).message, /^consumer lag \d+ events$/)
            assert.deepStrictEqual(seqs(first), upTo(42, 2))

            // Not yet: it must have caught up by half.
            yield* ack(peer, 42 - 8)
            assert.deepStrictEqual(yield* answers(peer), [])
            yield* stage.say("a", ...lines(5))
            assert.isFalse((yield* take(peer, 5)).some(pressure))
            assert.deepStrictEqual(yield* answers(peer), [])
            yield* ack(peer, 47)
            assert.deepStrictEqual(yield* answers(peer), [])
            yield* stage.say("a", ...lines(20))
            assert.lengthOf((yield* take(peer, 21)).filter(pressure), 1)

            yield* peer.close()
            const back = yield* rejoin(ticket, { last: 0 })
            const replayed = yield* take(back.peer, 68)
            assert.deepStrictEqual(seqs(replayed), upTo(68))
            assert.deepStrictEqual(replayed.find(pressure), told)
          }),
        configured({ lagWarning: 10 })
      )
  )

  it.effect("a peer that does not acknowledge by agreement is not told that it lags", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const peer = yield* join({ features: ["subscribe"] })
          yield* ack(peer, 1)
          const job = yield* enter(peer, "a")
          yield* stage.say("a", ...lines(40))
          yield* stage.exit("a")
          assert.lengthOf((yield* outcome(peer, job)).frames, 41)
        }),
      configured({ lagWarning: 10 })
    )
  )

  verifies(
    ["C-034", "C-035"],
    "what is not acknowledged is kept however long it takes, and all is kept below the bound",
    () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const peer = yield* TestPeer.connect
            const ticket = ticketOf(yield* peer.hello({ features: ["ack"] }))
            yield* enter(peer, "a")
            yield* stage.say("a", ...lines(10))
            const first = yield* take(peer, 10)
            yield* ack(peer, 4)
            yield* TestClock.adjust("5 hours")
            yield* peer.close()
            yield* settled
            const back = yield* rejoin(ticket, { last: 1 })
            assert.deepStrictEqual(yield* take(back.peer, 10), first)
            // Beyond the bound of its job the oldest goes.
            yield* stage.say("a", ...lines(30))
            yield* take(back.peer, 30)
            yield* back.peer.close()
            assertRefused(yield* turnedAway(back.ticket, { last: 1 }), "RESUME_WINDOW_EXPIRED")
          }),
        configured({ maxJournalPerJob: 8000, pacingWindow: 2000 })
      )
  )

  it.effect("a session has no end of events", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* join({ features: ["ack"] })
          for (let turn = 0; turn < 3; turn++) {
            const { frames } = yield* run(peer, "tck-log-emitter", 4000)
            assert.lengthOf(frames, 4002)
            yield* ack(peer, seqs(frames).at(-1)!)
          }
          assert.strictEqual((yield* run(peer, "tck-echo", 1)).terminal.event_seq, 3 * 4002 + 2)
        }),
      configured({ maxJournal: 1_000_000, maxStamps: 100, lagWarning: Number.POSITIVE_INFINITY })
    )
  )
})
