import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as Leases from "../../src/authority/Leases.ts"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { answers, assertRefused, eventually, join, outcome, run, sendSubmit } from "./Conversation.ts"
import { enter, lineOf, onStage, rejoin, seqs, settled, ticketOf } from "./Stage.ts"
import { verifies } from "./verifies.ts"

const openSessions = Sessions.Sessions.use((sessions) => sessions.size)

const beating: TestPeer.HelloOptions = { features: ["heartbeat"] }

/** Lets time pass in steps, and gives what came with each. */
const pass = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, seconds: number, step = 1) {
  const frames: Array<readonly [second: number, frame: TestPeer.Frame]> = []
  for (let second = step; second <= seconds; second += step) {
    yield* TestClock.adjust(Duration.seconds(step))
    for (const frame of yield* peer.drain) frames.push([second, frame])
  }
  return frames
})

const pongTo = (ping: TestPeer.Frame) => ({
  type: "session.pong",
  payload: { ping_nonce: ping.payload["nonce"] as string }
})

describe("Heartbeat", () => {
  it.effect("names its interval if it was agreed, and is silent if it was not", () =>
    onStage(() =>
      Effect.gen(function* () {
        const peer = yield* TestPeer.connect
        const welcome = yield* peer.hello(beating)
        assert.strictEqual(welcome.payload["heartbeat_interval_sec"], 30)
        const other = yield* TestPeer.connect
        assert.isUndefined((yield* other.hello()).payload["heartbeat_interval_sec"])
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* other.drain, [])
        assert.deepStrictEqual(yield* answers(other), [])
      })
    )
  )

  verifies("C-028", "a ping is answered at once with its nonce, also if no heartbeat was agreed", () =>
    onStage(() =>
      Effect.gen(function* () {
        for (const hello of [beating, { features: [] }]) {
          const peer = yield* join(hello)
          yield* peer.send({ type: "session.ping", payload: { nonce: "p_1", sent_at: "2026-05-13T19:42:13.000Z" } })
          const pong = yield* peer.expect("session.pong")
          assert.deepStrictEqual(pong.payload, { ping_nonce: "p_1", received_at: "1970-01-01T00:00:00.000Z" })
        }
      })
    )
  )

  verifies("C-029", "an idle runtime gives a sign of life in each interval", () =>
    onStage(() =>
      Effect.gen(function* () {
        const peer = yield* join(beating)
        const seen: Array<number> = []
        const nonces = new Set<unknown>()
        for (let second = 1; second <= 150; second++) {
          yield* TestClock.adjust("1 second")
          for (const ping of yield* peer.drain) {
            assert.strictEqual(ping.type, "session.ping")
            seen.push(second)
            nonces.add(ping.payload["nonce"])
            yield* peer.send(pongTo(ping))
          }
        }
        assert.deepStrictEqual(seen, [30, 60, 90, 120, 150])
        assert.strictEqual(nonces.size, 5)
      })
    )
  )

  it.effect("asks a client that says nothing also while it has much to tell itself", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const peer = yield* join(beating)
        yield* enter(peer, "a")
        const pings: Array<number> = []
        for (let second = 1; second <= 59; second++) {
          yield* stage.say("a", "line")
          for (const [, frame] of yield* pass(peer, 1)) if (frame.type === "session.ping") pings.push(second)
        }
        assert.deepStrictEqual(pings, [30])
      })
    )
  )

  it.effect("sends to a client that talks and hears nothing otherwise", () =>
    onStage(() =>
      Effect.gen(function* () {
        const peer = yield* join({ features: ["heartbeat", "ack"] })
        const heard: Array<number> = []
        for (let second = 1; second <= 100; second++) {
          yield* peer.send({ type: "session.ack", payload: { last_processed_seq: 0 } })
          for (const [, frame] of yield* pass(peer, 1)) {
            assert.strictEqual(frame.type, "session.ping")
            heard.push(second)
          }
        }
        assert.deepStrictEqual(heard, [30, 60, 90])
      })
    )
  )

  verifies(
    ["C-030", "C-031"],
    "after two silent intervals the client is told and the line closed; its job and its session live",
    () =>
      onStage((stage) =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          const ticket = ticketOf(yield* peer.hello(beating))
          const job = yield* enter(peer, "a")
          assert.deepStrictEqual(
            (yield* pass(peer, 59)).map(([, frame]) => frame.type),
            ["session.ping"]
          )
          yield* TestClock.adjust("1 second")
          const refusal = yield* peer.expect("session.error")
          assertRefused(refusal, "HEARTBEAT_LOST")
          assert.strictEqual((yield* peer.closed).code, 1001)

          yield* stage.say("a", "one")
          yield* eventually(
            Effect.sync(() => stage.said("a")),
            (said) => said === 1
          )
          assert.strictEqual(yield* openSessions, 1)
          yield* TestClock.adjust("9 minutes")
          const back = yield* rejoin(ticket, { last: 1 })
          assert.strictEqual(back.welcome.payload["heartbeat_interval_sec"], 30)
          yield* stage.exit("a")
          const { frames } = yield* outcome(back.peer, job)
          assert.deepStrictEqual(seqs(frames), [2, 3])
          // The new connection is watched anew.
          yield* TestClock.adjust("30 seconds")
          yield* back.peer.expect("session.ping")
          yield* TestClock.adjust("30 seconds")
          assertRefused(yield* back.peer.expect("session.error"), "HEARTBEAT_LOST")
        })
      )
  )

  verifies("C-032", "no heartbeat takes a number", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const peer = yield* join(beating)
        const job = yield* enter(peer, "a")
        const beats: Array<TestPeer.Frame> = []
        for (let round = 0; round < 4; round++) {
          yield* stage.say("a", "line")
          assert.strictEqual(lineOf(yield* peer.receive), "line")
          yield* TestClock.adjust("30 seconds")
          beats.push(yield* peer.expect("session.ping"))
          yield* peer.send({ type: "session.ping", payload: { nonce: "mine" } })
          beats.push(yield* peer.expect("session.pong"))
        }
        yield* stage.exit("a")
        assert.deepStrictEqual(seqs((yield* outcome(peer, job)).frames), [6])
        assert.isTrue(beats.every(({ event_seq }) => event_seq === undefined))
        assert.strictEqual(new Set(beats.map(({ id }) => id)).size, 8)
      })
    )
  )

  for (const [what, sign] of Object.entries({
    "a pong": { type: "session.pong", payload: { ping_nonce: "whatever" } },
    "a ping": { type: "session.ping", payload: { nonce: "n" } },
    "an ack": { type: "session.ack", payload: { last_processed_seq: 0 } },
    "a request that is refused": { type: "job.subscribe", payload: { job_id: "job_x" } },
    "something unknown": { type: "x-vendor.test.hum" },
    "something that means nothing": "{}"
  })) {
    verifies("C-033", `${what} is a sign of life`, () =>
      onStage(() =>
        Effect.gen(function* () {
          const peer = yield* join({ features: ["heartbeat", "ack", "subscribe"] })
          for (let round = 0; round < 5; round++) {
            yield* TestClock.adjust("50 seconds")
            if (typeof sign === "string") yield* peer.send(sign)
            else yield* peer.send(sign)
            yield* settled
          }
          yield* TestClock.adjust("59 seconds")
          assert.notInclude(
            (yield* peer.drain).map(({ payload }) => payload["code"]),
            "HEARTBEAT_LOST"
          )
          yield* TestClock.adjust("1 seconds")
          assertRefused((yield* peer.until("session.error")).at(-1)!, "HEARTBEAT_LOST")
        })
      )
    )
  }

  it.effect("an interval below a second is announced as one", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          assert.strictEqual((yield* peer.hello(beating)).payload["heartbeat_interval_sec"], 1)
        }),
      { config: { heartbeatInterval: Duration.millis(200) } }
    )
  )

  it.effect("a decision that takes long is not the silence of the client, nor does it keep others waiting", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* join(beating)
          const slow = yield* sendSubmit(peer, "tck-echo", 1)
          yield* settled
          const pings: Array<TestPeer.Frame> = []
          for (let second = 1; second <= 119; second++) {
            yield* TestClock.adjust("1 second")
            for (const frame of yield* peer.drain) {
              assert.strictEqual(frame.type, "session.ping")
              pings.push(frame)
              yield* peer.send(pongTo(frame))
            }
          }
          assert.lengthOf(pings, 3)
          yield* TestClock.adjust("1 second")
          yield* peer.until("job.accepted", (frame) => frame.payload["request_id"] === slow.id)
          yield* peer.until("job.result")
        }),
      {
        leases: Layer.effect(
          Leases.Leases,
          Effect.map(Leases.Leases, (granting) =>
            Leases.Leases.of({ ...granting, grant: (ask) => Effect.delay(granting.grant(ask), "2 minutes") })
          )
        ).pipe(Layer.provide(Leases.layer))
      }
    )
  )

  it.effect("nothing of it is left when the line is closed", () =>
    onStage(() =>
      Effect.gen(function* () {
        const peer = yield* join(beating)
        yield* run(peer, "tck-echo", 1)
        yield* peer.send({ type: "session.close" })
        yield* peer.expect("session.closed")
        yield* peer.closed
        yield* TestClock.adjust("5 minutes")
        const sent = yield* Effect.map(peer.record, (record) => record.length)
        yield* TestClock.adjust("6 minutes")
        assert.strictEqual(yield* openSessions, 0)
        assert.strictEqual((yield* peer.record).length, sent)
      })
    )
  )

  it.effect("requests that hang, however many, are no silence of the client that made them", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* join(beating)
          // More than may wait, so that nothing more is read.
          for (let request = 0; request < 5; request++)
            yield* sendSubmit(peer, "tck-echo", request, { payload: { lease_request: { "tool.call": ["a"] } } })
          for (let turn = 0; turn < 9; turn++) {
            yield* peer.send({ type: "session.ping", payload: { nonce: `p${turn}` } })
            for (const [, { type }] of yield* pass(peer, 20, 20)) assert.strictEqual(type, "session.ping")
          }
        }),
      { config: { maxPendingRequests: 2 }, leases: Leases.layerPolicy(() => Effect.never) }
    )
  )
})
