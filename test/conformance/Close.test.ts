import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Leases from "../../src/authority/Leases.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { assertRefused, eventually, join, outcome, run, sendSubmit, submit } from "./Conversation.ts"
import { enter, lineOf, onStage, rejoin, seqs, settled, take, ticketOf, turnedAway } from "./Stage.ts"
import { verifies } from "./verifies.ts"

const openSessions = Sessions.Sessions.use((sessions) => sessions.size)

describe("Close", () => {
  verifies("C-046", "is answered in the same words, once, whoever closes and however often", () =>
    onStage(() =>
      Effect.gen(function* () {
        for (const payload of [{ reason: "done" }, {}]) {
          const peer = yield* join()
          for (const _ of [1, 2, 3]) yield* peer.send({ type: "session.close", payload })
          const closed = yield* peer.expect("session.closed")
          assert.strictEqual(closed.payload["reason"], payload.reason ?? "client.close")
          assert.isUndefined(closed.event_seq)
          assert.strictEqual((yield* peer.closed).code, 1000)
        }
      })
    )
  )

  for (const farewell of ["session.close", "session.bye", undefined] as const) {
    verifies("C-047", `after ${farewell ?? "a drop"} the jobs go on, and the session can be resumed`, () =>
      onStage((stage) =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          const ticket = ticketOf(yield* peer.hello())
          const job = yield* enter(peer, "a")
          const other = yield* submit(peer, "sleeper", 60)
          yield* take(peer, 1)
          if (farewell === undefined) yield* peer.close()
          else yield* peer.send({ type: farewell })
          if (farewell === "session.close") yield* peer.expect("session.closed")
          yield* peer.closed.pipe(Effect.ignore)
          yield* settled

          yield* stage.say("a", "one")
          yield* eventually(
            Effect.sync(() => stage.said("a")),
            (said) => said === 1
          )
          yield* TestClock.adjust("9 minutes")
          const back = yield* rejoin(ticket, { last: 1 })
          const frames = yield* take(back.peer, 3)
          assert.deepStrictEqual(seqs(frames), [2, 3, 4])
          assert.isTrue(frames.some((frame) => frame.type === "job.result" && frame.job_id === other.job_id))
          assert.isTrue(frames.some((frame) => lineOf(frame) === "one"))
          yield* back.peer.send({ type: "job.cancel", payload: { job_id: job } })
          yield* back.peer.expect("job.cancelled")
          assert.strictEqual((yield* outcome(back.peer, job)).terminal.payload["code"], "CANCELLED")
        })
      )
    )
  }

  it.effect("comes after the answers to what was asked before, and before what is asked after", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const peer = yield* join()
        yield* peer.send({ type: "session.list_jobs" })
        yield* sendSubmit(peer, "nobody", 1)
        yield* peer.send({ type: "session.close" })
        yield* sendSubmit(peer, "actor", "a")
        const types = (yield* peer.until("session.closed")).map(({ type }) => type)
        assert.deepStrictEqual(types, ["session.jobs", "session.error", "session.closed"])
        yield* peer.closed
        yield* settled
        assert.strictEqual(stage.entered("a"), 0)
      })
    )
  )

  verifies(
    "C-047",
    "is the last word: what jobs say is for the next connection, whatever was asked in the same breath",
    () =>
      onStage(() =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          const ticket = ticketOf(yield* peer.hello())
          for (let index = 0; index < 60; index++) yield* sendSubmit(peer, "tck-echo", index)
          yield* peer.send({ type: "session.close" })
          const said = yield* peer.until("session.closed")
          const jobs = said.flatMap(({ job_id, type }) => (type === "job.accepted" ? [job_id!] : []))
          assert.strictEqual(jobs.length, 60)
          yield* settled
          assert.deepStrictEqual(
            (yield* peer.drain).map(({ type }) => type),
            []
          )
          assert.strictEqual((yield* peer.closed).code, 1000)
          const last = Math.max(0, ...seqs(said).map((seq) => seq ?? 0))
          const back = yield* rejoin(ticket, { last })
          yield* settled
          const ends = [...said, ...(yield* back.peer.drain)].filter(({ type }) => type === "job.result")
          assert.sameMembers(
            ends.map(({ job_id }) => job_id),
            jobs
          )
        })
      )
  )

  it.effect("comes after the answer to a request that takes its time", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* join()
          yield* sendSubmit(peer, "tck-echo", 1, { payload: { lease_request: { "fs.read": ["/a"] } } })
          yield* peer.send({ type: "session.close" })
          yield* settled
          assert.deepStrictEqual(yield* peer.drain, [])
          yield* TestClock.adjust("10 seconds")
          yield* peer.expect("job.accepted")
          yield* peer.until("session.closed")
        }),
      { leases: Leases.layerPolicy(() => Effect.as(Effect.sleep("10 seconds"), true)) }
    )
  )

  it.effect("is not held up by a peer that does not read", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const peer = yield* join()
          yield* submit(peer, "actor", "a")
          yield* stage.say("a", "one", "two", "three")
          yield* settled
          yield* peer.send({ type: "session.close" })
          yield* settled
          yield* TestClock.adjust("1 second")
          yield* peer.drain
          assert.strictEqual((yield* peer.closed).code, 1000)
          yield* TestClock.adjust("10 minutes")
          assert.strictEqual(yield* openSessions, 0)
        }),
      { transport: { capacity: 1 } }
    )
  )

  it.effect("a shutdown says so to every client, and closes its line", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const runtime = yield* Layer.buildWithScope(ArcpTest.layerRuntime({ agents: TestAgent.layer }), scope)
      const { connect } = Context.get(runtime, TestPeer.TestPeers)
      const peers = yield* Effect.forEach([undefined, ["heartbeat"], ["ack"]], (features) =>
        Effect.tap(connect, (peer) => peer.hello(features === undefined ? {} : { features }))
      )
      yield* submit(peers[0]!, "sleeper", 60)
      const detached = yield* connect
      yield* detached.hello()
      yield* detached.close()
      const greeting = yield* connect
      yield* settled
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      for (const peer of peers) {
        const words = yield* peer.until("session.closed")
        assert.deepStrictEqual(words.at(-1)!.payload, { reason: "shutting_down" })
        assert.strictEqual((yield* peer.closed).code, 1001)
      }
      assert.strictEqual((yield* greeting.closed).code, 1001)
      yield* eventually(
        Effect.sync(() => closing.pollUnsafe()),
        (exit) => exit !== undefined
      )
    })
  )

  it.effect("a session that is over cannot be resumed, and its jobs go on", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const sessions = yield* Sessions.Sessions
        const peer = yield* TestPeer.connect
        const ticket = ticketOf(yield* peer.hello())
        yield* enter(peer, "a")
        yield* sessions.shutdown
        yield* peer.expect("session.closed")
        yield* peer.closed
        yield* settled
        assert.strictEqual(yield* openSessions, 0)
        assertRefused(yield* turnedAway(ticket, { last: 1 }), "RESUME_WINDOW_EXPIRED")
        const next = yield* join()
        yield* run(next, "tck-echo", 1)
        yield* stage.say("a", "one")
        yield* eventually(
          Effect.sync(() => stage.said("a")),
          (said) => said === 1
        )
      })
    )
  )

  it.effect("waits for the requests before it, but not for ever", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* join()
          yield* sendSubmit(peer, "tck-echo", 1, { payload: { lease_request: { "tool.call": ["a"] } } })
          yield* peer.send({ type: "session.close" })
          yield* TestClock.adjust("59 seconds")
          assert.deepStrictEqual(yield* peer.drain, [])
          yield* TestClock.adjust("1 second")
          yield* peer.expect("session.closed")
          assert.strictEqual((yield* peer.closed).code, 1000)
        }),
      { leases: Leases.layerPolicy(() => Effect.never) }
    )
  )

  it.effect("a session that the host closes says so, and holds up none of its jobs", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          const ticket = ticketOf(yield* peer.hello())
          yield* enter(peer, "a")
          yield* Sessions.Sessions.use((sessions) => sessions.close(ticket.session_id as Ids.SessionId))
          const closed = yield* peer.expect("session.closed")
          assert.deepStrictEqual(closed.payload, { reason: "closed" })
          assert.strictEqual((yield* peer.closed).code, 1001)
          assert.strictEqual(yield* openSessions, 0)
          yield* stage.say("a", ..."x".repeat(100).padEnd(500, " x").split(" "))
          yield* eventually(
            Effect.sync(() => stage.said("a")),
            (said) => said === 201
          )
          assertRefused(yield* turnedAway(ticket, { last: 0 }), "RESUME_WINDOW_EXPIRED")
        }),
      { config: { pacingWindow: 500 } }
    )
  )
})
