import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import type * as TestPeer from "../../src/testing/TestPeer.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import { bodies, join, kinds, outcome, submit, withAgents, withRuntime } from "./Conversation.ts"
import * as Script from "./Script.ts"
import { verifies } from "./verifies.ts"

const second = 1000
const day = 86_400_000

const at = (millis: number) => new Date(millis).toISOString()

/** A lease for everything that these tests do, that ends then. */
const until = (millis: number) => ({
  payload: {
    lease_request: { "tool.call": ["*"], "agent.delegate": ["*"] },
    lease_constraints: { expires_at: at(millis) }
  }
})

/** What a job ends with when its lease has. */
const assertExpired = (terminal: TestPeer.Frame, millis: number, completed = millis) => {
  assert.strictEqual(terminal.type, "job.error", JSON.stringify(terminal))
  assert.containSubset(terminal.payload, {
    code: "LEASE_EXPIRED",
    final_status: "error",
    retryable: false,
    details: { expires_at: at(millis) },
    completed_at: at(completed)
  })
}

/** What is logged, as text. */
const withLog = <A, E, R>(test: (lines: ReadonlyArray<string>) => Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel} ${JSON.stringify(message)}`))
  return Effect.provide(test(lines), Logger.layer([logger]))
}

describe("Expiry", () => {
  verifies(
    ["C-105", "C-061"],
    "an operation from the instant on is refused as a tool that failed, and the job ends",
    () =>
      Effect.gen(function* () {
        const peer = yield* join()
        const { job_id } = yield* submit(peer, "late", null, until(10 * second))
        yield* TestClock.adjust("10500 millis")
        const { frames, terminal } = yield* outcome(peer, job_id)
        assert.deepStrictEqual(kinds(frames), ["status", "tool_call", "tool_result", "tool_call", "tool_result"])
        assert.deepStrictEqual(Script.toolResults(frames), ["done", "LEASE_EXPIRED"])
        const [, refused] = bodies(frames, "tool_result")
        assert.containSubset(refused, { error: { code: "LEASE_EXPIRED", retryable: false } })
        assertExpired(terminal, 10 * second, 10_500)
      }).pipe(
        withAgents(
          Script.layer({
            // It does not stop when it is told to.
            late: (job) =>
              Effect.gen(function* () {
                yield* Script.work(job)
                yield* Effect.sleep("10500 millis")
                return yield* Script.work(job)
              }).pipe(Effect.uninterruptible)
          })
        )
      )
  )

  verifies("C-106", "a job that does nothing ends at the very instant, and not a moment before", () =>
    withLog((lines) =>
      Effect.gen(function* () {
        const peer = yield* join()
        const { job_id } = yield* submit(peer, "sleeper", 3600, until(90 * second))
        yield* TestClock.adjust(90 * second - 1)
        const early = yield* peer.drain
        assert.deepStrictEqual(kinds(early), ["status"])
        assert.isFalse(lines.some((line) => line.includes("its lease has expired")))
        yield* TestClock.adjust(1)
        const { frames, terminal } = yield* outcome(peer, job_id)
        // Its finalizers have run.
        assert.deepStrictEqual(kinds(frames), ["log"])
        assertExpired(terminal, 90 * second)
        const audit = lines.filter((line) => line.includes("its lease has expired"))
        assert.lengthOf(audit, 1)
        assert.include(audit[0], job_id)
        assert.include(audit[0], at(90 * second))
        assert.match(audit[0]!, /^Info /)
      }).pipe(withRuntime())
    )
  )

  it.effect("a job that waits for its turn ends at the instant, and its place in the queue is free again", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const first = yield* submit(peer, "slow", 100)
      const waiting = yield* submit(peer, "slow", 1, until(10 * second))
      yield* TestClock.adjust("10 seconds")
      assertExpired((yield* outcome(peer, waiting.job_id)).terminal, 10 * second)
      const next = yield* submit(peer, "slow", 1)
      yield* TestClock.adjust("90 seconds")
      assert.strictEqual((yield* outcome(peer, first.job_id)).terminal.payload["result"], 100)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* outcome(peer, next.job_id)).terminal.payload["result"], 1)
    }).pipe(
      withAgents(
        Script.layer(
          { slow: (_, seconds) => Effect.as(Effect.sleep(`${seconds as number} seconds`), seconds) },
          { slow: { concurrency: 1, queue: 1 } }
        )
      )
    )
  )

  it.effect("an end that is sixty days ahead is no earlier for that, and does come", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "sleeper", 100 * 24 * 3600, until(60 * day))
      yield* TestClock.adjust(2 ** 31)
      yield* TestClock.adjust(60 * day - 2 ** 31 - 1)
      assert.deepStrictEqual(kinds(yield* peer.drain), ["status"])
      yield* TestClock.adjust(1)
      assertExpired((yield* outcome(peer, job_id)).terminal, 60 * day)
    }).pipe(withRuntime())
  )

  verifies("C-130", "an agent that does not stop has a second more, and can do nothing in it", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "stubborn", null, until(10 * second))
      yield* TestClock.adjust("10999 millis")
      assert.deepStrictEqual(kinds(yield* peer.drain), ["status", "log"])
      yield* TestClock.adjust(1)
      assertExpired((yield* outcome(peer, job_id)).terminal, 10 * second, 11 * second)
      const stubbornness = yield* TestAgent.Stubbornness
      yield* stubbornness.release
      assert.deepStrictEqual(yield* peer.drain, [])
    }).pipe(withAgents(TestAgent.layerStubborn))
  )

  verifies("C-130", "a clock that is set back extends no lease, and one that is set forward ends it soon", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let ahead = 0
      // Of the wall clock alone: time itself goes on as ever.
      const jumping: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + ahead,
        currentTimeMillis: Effect.sync(() => clock.currentTimeMillisUnsafe() + ahead)
      }
      yield* Effect.gen(function* () {
        const peer = yield* join()
        const { job_id: first } = yield* submit(peer, "sleeper", 3600, until(60 * second))
        yield* TestClock.adjust("40 seconds")
        ahead = -40 * second
        yield* TestClock.adjust(19_999)
        assert.deepStrictEqual(kinds(yield* peer.drain), ["status"])
        yield* TestClock.adjust(1)
        assertExpired((yield* outcome(peer, first)).terminal, 60 * second, 20 * second)

        const { job_id: later } = yield* submit(peer, "sleeper", 30 * 24 * 3600, until(20 * day))
        yield* TestClock.adjust("1 minute")
        ahead += 20 * day
        // It is looked at every hour at least.
        yield* TestClock.adjust("1 hour")
        assert.strictEqual((yield* outcome(peer, later)).terminal.payload["code"], "LEASE_EXPIRED")
      }).pipe(withRuntime(), Effect.provideService(Clock.Clock, jumping))
    })
  )

  const family: Readonly<Record<string, Script.Script>> = {
    /** Delegates as many generations as its input says, and awaits the next. */
    parent: Effect.fnUntraced(function* (job, depth) {
      if (depth === 0) return yield* Effect.never
      const child = yield* job.delegate("parent", (depth as number) - 1, {
        lease: { "agent.delegate": ["*"], "tool.call": ["*"] }
      })
      return yield* child.result
    }),
    leaver: (job) => Effect.as(job.delegate("parent", 0, { lease: { "tool.call": ["*"] }, detached: true }), "left"),
    guardian: Effect.fnUntraced(function* (job) {
      const child = yield* job.delegate("parent", 0, { expiresAt: at(5 * second) })
      const error = yield* Effect.flip(Effect.asVoid(child.result)).pipe(
        Effect.catch(() => Effect.die("it ended well"))
      )
      return [error._tag, yield* Script.work(job)]
    })
  }

  /** The terminals that come, in their order, by job. */
  const terminals = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, count: number) {
    const found: Array<TestPeer.Frame> = []
    while (found.length < count) {
      const frame = yield* peer.receive
      if (frame.type === "job.error" || frame.type === "job.result") found.push(frame)
    }
    return found
  })

  verifies("C-102", "who is delegated to without an end ends with its parent, in any depth", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "parent", 3, until(10 * second))
      const accepted = (yield* peer.drain).filter(({ type }) => type === "job.accepted")
      assert.lengthOf(accepted, 3)
      for (const { payload } of accepted) {
        assert.deepStrictEqual(payload["lease_constraints"], { expires_at: at(10 * second) })
      }
      yield* TestClock.adjust("10 seconds")
      const ended = yield* terminals(peer, 4)
      for (const terminal of ended) assertExpired(terminal, 10 * second)
      assert.sameMembers(
        ended.map((frame) => frame.job_id),
        [job_id, ...accepted.map((frame) => frame.job_id)]
      )
    }).pipe(withAgents(Script.layer(family)))
  )

  it.effect("a child may end before its parent, which goes on", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "guardian", null, until(10 * second))
      yield* TestClock.adjust("5 seconds")
      const ended = yield* terminals(peer, 2)
      assertExpired(
        ended.find((frame) => frame.job_id !== job_id)!,
        5 * second
      )
      const { payload } = ended.find((frame) => frame.job_id === job_id)!
      assert.deepStrictEqual(payload["result"], ["LeaseExpired", "done"])
    }).pipe(withAgents(Script.layer(family)))
  )

  it.effect("a child that outlives its parent does not outlive the parent's lease", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "leaver", null, until(10 * second))
      const [parent] = yield* terminals(peer, 1)
      assert.strictEqual(parent!.job_id, job_id)
      yield* TestClock.adjust(10 * second - 1)
      assert.deepStrictEqual(
        (yield* peer.drain).filter(({ type }) => type === "job.error"),
        []
      )
      yield* TestClock.adjust(1)
      const [child] = yield* terminals(peer, 1)
      assertExpired(child!, 10 * second)
    }).pipe(withAgents(Script.layer(family)))
  )
})
