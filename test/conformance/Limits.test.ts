import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { answer, answers, assertRefused, eventually, join, outcome, run, sendSubmit, submit } from "./Conversation.ts"
import { configured, enter, lineOf, onStage, rejoin, settled, ticketOf, turnedAway, upTo } from "./Stage.ts"
import { verifies } from "./verifies.ts"

const openSessions = Sessions.Sessions.use((sessions) => sessions.size)

const principals = { secret: "tester", other: "another" }

/** A hello that is refused for want of room. */
const crowdedOut = Effect.fnUntraced(function* (hello?: TestPeer.HelloOptions) {
  const peer = yield* TestPeer.connect
  const sent = yield* peer.send(TestPeer.helloOf(hello))
  const refusal = yield* peer.expect("session.error")
  assertRefused(refusal, "INTERNAL_ERROR", sent)
  assert.strictEqual((yield* peer.closed).code, 1013)
  return refusal.payload
})

describe("Limits", () => {
  verifies("C-131", "a principal has so many sessions and no more, and which wait longest make room", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const first = yield* TestPeer.connect
          const waiting = ticketOf(yield* first.hello())
          const second = yield* TestPeer.connect
          const later = ticketOf(yield* second.hello())
          const third = yield* join()
          assert.containSubset(yield* crowdedOut(), {
            retryable: true,
            details: { limit: "sessions_per_principal", bound: 3, retry_after_ms: 1000 }
          })
          // Each principal for itself.
          yield* join({ token: "other" })

          yield* first.close()
          yield* settled
          yield* TestClock.adjust("1 second")
          yield* second.close()
          yield* settled
          const fourth = yield* join()
          assertRefused(yield* turnedAway(waiting, { last: 0 }), "RESUME_WINDOW_EXPIRED")
          const back = yield* rejoin(later, { last: 0 })
          yield* crowdedOut()
          for (const peer of [third, fourth, back.peer]) assert.deepStrictEqual(yield* answers(peer), [])
          assert.strictEqual(yield* openSessions, 4)
        }),
      { tokens: principals, config: { maxSessionsPerPrincipal: 3 } }
    )
  )

  it.effect("a resume needs no room", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          let ticket = ticketOf(yield* peer.hello())
          for (let round = 0; round < 3; round++) ticket = (yield* rejoin(ticket, { last: 0 })).ticket
          assert.strictEqual(yield* openSessions, 1)
        }),
      configured({ maxSessionsPerPrincipal: 1 })
    )
  )

  verifies("C-131", "a session in which nothing happens is closed, one that runs or asks is not", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const idle = yield* TestPeer.connect
          const ticket = ticketOf(yield* idle.hello({ features: ["heartbeat"] }))
          const asking = yield* join()
          const running = yield* join()
          const watching = yield* join()
          const job = yield* enter(running, "a")
          yield* watching.send({ type: "job.subscribe", payload: { job_id: job } })
          yield* answers(watching)
          for (let turn = 1; turn < 30; turn++) {
            yield* TestClock.adjust("20 seconds")
            // Heartbeats alone are what an abandoned client still sends.
            for (const { type } of yield* idle.drain) assert.match(type, /^session\.p[io]ng$/)
            yield* idle.send({ type: "session.ping", payload: { nonce: "n" } })
            if (turn % 9 === 0) yield* asking.send({ type: "session.list_jobs" })
            yield* settled
          }
          yield* TestClock.adjust("20 seconds")
          const words = yield* idle.until("session.closed")
          assert.deepStrictEqual(words.at(-1)!.payload, { reason: "idle" })
          assert.strictEqual((yield* idle.closed).code, 1001)
          assertRefused(yield* turnedAway(ticket, { last: 0 }), "RESUME_WINDOW_EXPIRED")

          yield* TestClock.adjust("5 minutes")
          assert.lengthOf(yield* answers(asking), 3)
          yield* stage.say("a", "one")
          for (const peer of [running, watching]) assert.strictEqual(lineOf(yield* peer.receive), "one")
          yield* stage.exit("a")
          for (const peer of [running, watching]) yield* outcome(peer, job)
          yield* TestClock.adjust("9 minutes")
          for (const peer of [running, watching]) assert.deepStrictEqual(yield* answers(peer), [])
          // Not later than twice as long after the last job.
          yield* TestClock.adjust("11 minutes")
          for (const peer of [running, watching]) yield* peer.until("session.closed")
        }),
      configured({ idleTimeout: Duration.minutes(10) })
    )
  )

  it.effect("a principal runs so many jobs at once, over all its sessions", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const [one, two] = [yield* join(), yield* join()]
          const job = yield* enter(one, "a")
          yield* enter(two, "b")
          for (const peer of [one, two]) {
            const sent = yield* sendSubmit(peer, "tck-echo", 1)
            const refusal = yield* answer(peer)
            assertRefused(refusal, "INTERNAL_ERROR", sent)
            assert.containSubset(refusal.payload["details"], { limit: "jobs_per_principal", bound: 2 })
          }
          yield* run(yield* join({ token: "other" }), "tck-echo", 1)
          // A detached session's jobs count as well.
          yield* two.close()
          yield* settled
          yield* sendSubmit(one, "tck-echo", 1)
          assertRefused(yield* answer(one), "INTERNAL_ERROR")
          yield* stage.exit("a")
          yield* outcome(one, job)
          yield* run(one, "tck-echo", 1)
        }),
      { tokens: principals, config: { maxJobsPerPrincipal: 2 } }
    )
  )

  it.effect("a refused submit takes no place among the running jobs", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* join()
          for (const agent of ["nobody", "tck-echo@9.9.9", "sleeper"]) {
            yield* sendSubmit(peer, agent, "not a number")
            assert.strictEqual((yield* answer(peer)).type, "session.error")
          }
          yield* submit(peer, "sleeper", 1)
        }),
      configured({ maxJobsPerSession: 1, maxJobsPerPrincipal: 1 })
    )
  )

  it.effect("a principal submits so often in a minute, is told when it may again, and may then", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const [one, two] = [yield* join(), yield* join()]
          for (let round = 0; round < 3; round++) {
            yield* run(one, "tck-echo", round)
            yield* run(two, "tck-echo", round)
          }
          const refusals: Array<TestPeer.Frame> = []
          for (const peer of [one, two]) {
            yield* sendSubmit(peer, "tck-echo", 1)
            refusals.push(yield* answer(peer))
          }
          for (const refusal of refusals) {
            assertRefused(refusal, "INTERNAL_ERROR")
            assert.deepStrictEqual(refusal.payload["details"], {
              limit: "submissions_per_minute",
              bound: 6,
              retry_after_ms: 10_000
            })
          }
          yield* run(yield* join({ token: "other" }), "tck-echo", 1)
          yield* TestClock.adjust("9999 millis")
          yield* sendSubmit(one, "tck-echo", 1)
          assert.containSubset((yield* answer(one)).payload["details"], { retry_after_ms: 1 })
          yield* TestClock.adjust("1 millis")
          yield* run(one, "tck-echo", 1)
          yield* sendSubmit(two, "tck-echo", 1)
          assertRefused(yield* answer(two), "INTERNAL_ERROR")
          // A minute gives all of them back, and not more.
          yield* TestClock.adjust("10 minutes")
          for (let round = 0; round < 6; round++) yield* run(one, "tck-echo", round)
          yield* sendSubmit(one, "tck-echo", 1)
          assertRefused(yield* answer(one), "INTERNAL_ERROR")
        }),
      { tokens: principals, config: { maxSubmissionsPerMinute: 6 } }
    )
  )

  it.effect("a wall clock that is set back keeps nobody out", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let step = 86_400_000
      const wall = () => clock.currentTimeMillisUnsafe() + step
      const jumping: Clock.Clock = { ...clock, currentTimeMillisUnsafe: wall, currentTimeMillis: Effect.sync(wall) }
      yield* onStage(
        () =>
          Effect.gen(function* () {
            const peer = yield* join()
            yield* run(peer, "tck-echo", 1)
            step = 0
            yield* run(peer, "tck-echo", 2)
          }),
        configured({ maxSubmissionsPerMinute: 6 })
      ).pipe(Effect.provideService(Clock.Clock, jumping))
    })
  )

  it.effect("so many connections may be without a hello; more are told to try later, and none holds its place", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const silent = yield* Effect.forEach(upTo(3), () => TestPeer.connect)
          yield* settled
          const late = yield* TestPeer.connect
          assert.strictEqual((yield* late.closed).code, 1013)
          // Who has said hello is none of them.
          yield* silent[0]!.hello()
          yield* settled
          const peer = yield* join()
          yield* settled
          yield* TestPeer.connect
          yield* settled
          assert.strictEqual((yield* (yield* TestPeer.connect).closed).code, 1013)
          yield* TestClock.adjust("5 seconds")
          for (const one of silent.slice(1)) {
            yield* one.expect("session.error")
            yield* one.closed
          }
          yield* join()
          assert.deepStrictEqual(yield* answers(peer), [])
        }),
      configured({ maxGreeting: 3 })
    )
  )

  it.effect("a client that asks and does not read is read no further, and is served when it does", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* join()
          const count = 200
          const asking = yield* Effect.forkChild(
            Effect.forEach(upTo(count), (n) => peer.send({ type: "session.ping", payload: { nonce: String(n) } }))
          )
          yield* settled
          assert.isUndefined(asking.pollUnsafe(), "the line takes no more")
          const seen: Array<unknown> = []
          while (seen.length < count) seen.push((yield* peer.receive).payload["ping_nonce"])
          assert.deepStrictEqual(seen, upTo(count).map(String))
        }),
      { config: { maxPendingReplies: 1000 }, transport: { capacity: 4 } }
    )
  )

  it.effect("requests that wait for a decision are bounded in number", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const peer = yield* join()
          const job = yield* enter(peer, "a")
          for (const _ of upTo(20)) yield* peer.send({ type: "session.list_jobs" })
          assert.lengthOf(yield* answers(peer), 20)
          yield* stage.exit("a")
          yield* outcome(peer, job)
          yield* eventually(openSessions, (open) => open === 1)
        }),
      configured({ maxPendingRequests: 2 })
    )
  )
})
