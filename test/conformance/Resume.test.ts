import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as Codec from "../../src/protocol/Codec.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as Connection from "../../src/session/Connection.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import { answers, assertRefused, eventually, outcome, run, sendSubmit, submit } from "./Conversation.ts"
import {
  configured,
  enter,
  lineOf,
  numbered,
  onStage,
  rejoin,
  returnOf,
  seqs,
  settled,
  take,
  ticketOf,
  turnedAway,
  upTo
} from "./Stage.ts"
import { verifies } from "./verifies.ts"

const openSessions = Sessions.Sessions.use((sessions) => sessions.size)

const forms = ["hello", "top-level", "first frame"] as const

const joined = Effect.fnUntraced(function* (options?: TestPeer.HelloOptions) {
  const peer = yield* TestPeer.connect
  return { peer, ticket: ticketOf(yield* peer.hello(options)) }
})

const principals = { secret: "tester", other: "another" }

describe("Resume", () => {
  for (const form of forms) {
    verifies(["C-019", "C-021"], `replays what the client lacks, byte by byte, to a resume as ${form}`, () =>
      onStage((stage) =>
        Effect.gen(function* () {
          const { peer, ticket } = yield* joined()
          const job = yield* enter(peer, "a")
          yield* stage.say("a", "one", "two", "three", "four")
          yield* take(peer, 4)
          yield* peer.close()

          const back = yield* rejoin(ticket, { last: 2, form })
          assert.match(back.ticket.resume_token, /^rt_[0-9a-f]{64}$/)
          assert.notStrictEqual(back.ticket.resume_token, ticket.resume_token)
          yield* take(back.peer, 3)
          assert.deepStrictEqual(yield* numbered(back.peer), (yield* numbered(peer)).slice(2))

          yield* stage.exit("a")
          const { frames, terminal } = yield* outcome(back.peer, job)
          assert.deepStrictEqual([seqs(frames), terminal.type], [[6], "job.result"])
        })
      )
    )
  }

  verifies("C-019", "every welcome carries a token of its own, and names what was agreed at first", () =>
    onStage(() =>
      Effect.gen(function* () {
        const { peer, ticket } = yield* joined({ features: ["progress", "list_jobs"] })
        yield* peer.close()
        const tokens = new Set([ticket.resume_token])
        let last = ticket
        for (let round = 0; round < 3; round++) {
          const back = yield* rejoin(last, { last: 0, hello: { features: ["subscribe"] } })
          const { features } = back.welcome.payload["capabilities"] as { readonly features: ReadonlyArray<string> }
          assert.sameMembers([...features], ["progress", "list_jobs"])
          assert.strictEqual(back.welcome.payload["resume_window_sec"], 600)
          tokens.add(back.ticket.resume_token)
          last = back.ticket
          yield* back.peer.close()
        }
        assert.strictEqual(tokens.size, 4)
      })
    )
  )

  verifies(["C-020", "C-024"], "a token works once, and trying the old one costs the owner nothing", () =>
    onStage(() =>
      Effect.gen(function* () {
        const { peer, ticket } = yield* joined()
        yield* peer.close()
        const first = yield* rejoin(ticket, { last: 0 })
        for (let guess = 0; guess < 5; guess++) {
          assertRefused(yield* turnedAway(ticket, { last: 0 }), "RESUME_WINDOW_EXPIRED")
        }
        assert.deepStrictEqual(yield* answers(first.peer), [])
        yield* first.peer.close()
        const second = yield* rejoin(first.ticket, { last: 0 })
        assert.strictEqual((yield* run(second.peer, "tck-echo", 1)).terminal.type, "job.result")
      })
    )
  )

  verifies("C-022", "what happens while nobody is connected comes after the replay, without gap or repeat", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const { peer, ticket } = yield* joined()
        yield* enter(peer, "a")
        const other = yield* enter(peer, "b")
        yield* stage.say("a", "a1")
        yield* peer.receive
        yield* peer.close()
        yield* settled
        yield* stage.say("a", "a2", "a3")
        yield* stage.say("b", "b1")
        yield* stage.exit("b")
        yield* eventually(
          Effect.sync(() => stage.said("a") + stage.said("b")),
          (said) => said === 4
        )

        const back = yield* rejoin(ticket, { last: 2 })
        yield* stage.say("a", "a4")
        const frames = yield* take(back.peer, 6)
        assert.deepStrictEqual(seqs(frames), upTo(8, 3))
        assert.sameMembers(
          frames.flatMap((frame) => lineOf(frame) ?? []),
          ["a1", "a2", "a3", "a4", "b1"]
        )
        assert.lengthOf(
          frames.filter((frame) => frame.type === "job.result" && frame.job_id === other),
          1
        )
        const ofA = frames.flatMap((frame) => (lineOf(frame)?.startsWith("a") === true ? [lineOf(frame)] : []))
        assert.deepStrictEqual(ofA, ["a1", "a2", "a3", "a4"])
      })
    )
  )

  it.effect("goes on after many drops, at any point, with one unbroken sequence", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const first = yield* joined()
        const { job_id } = yield* submit(first.peer, "actor", "a")
        let { peer, ticket } = first
        const seen: Array<TestPeer.Frame> = []
        for (let round = 1; round <= 12; round++) {
          yield* stage.say("a", ...upTo(round).map((line) => `${round}.${line}`))
          // Reads less than there is, so that frames are lost on the way.
          seen.push(...(yield* take(peer, Math.max(1, round - 2))))
          yield* peer.close()
          const back = yield* rejoin(ticket, { last: seen.at(-1)!.event_seq! })
          peer = back.peer
          ticket = back.ticket
        }
        yield* stage.exit("a")
        seen.push(...(yield* outcome(peer, job_id)).frames)
        assert.deepStrictEqual(seqs(seen), upTo(78 + 2))
        assert.deepStrictEqual(
          seen.flatMap((frame) => lineOf(frame) ?? []),
          upTo(12).flatMap((round) => upTo(round).map((line) => `${round}.${line}`))
        )
      })
    )
  )

  verifies("C-023", "what is kept no more is not passed over in silence", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const { peer, ticket } = yield* joined()
          yield* enter(peer, "a")
          yield* stage.say("a", ...upTo(40).map((line) => `${line}`.padEnd(100, ".")))
          yield* take(peer, 40)
          yield* peer.close()
          assertRefused(yield* turnedAway(ticket, { last: 3 }), "RESUME_WINDOW_EXPIRED")
          const back = yield* rejoin(ticket, { last: 39 })
          assert.deepStrictEqual(seqs(yield* take(back.peer, 2)), [40, 41])
        }),
      configured({ maxJournalPerJob: 4000, pacingWindow: 1000 })
    )
  )

  verifies("C-023", "numbers that the session has forgotten, or not given yet, are refused", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const { peer, ticket } = yield* joined()
          yield* enter(peer, "a")
          yield* enter(peer, "b")
          for (let turn = 0; turn < 8; turn++) {
            yield* stage.say(turn % 2 === 0 ? "a" : "b", "line")
            yield* peer.receive
          }
          yield* peer.close()
          assertRefused(yield* turnedAway(ticket, { last: 1 }), "RESUME_WINDOW_EXPIRED")
          assertRefused(yield* turnedAway(ticket, { last: 11 }), "RESUME_WINDOW_EXPIRED")
          const back = yield* rejoin(ticket, { last: 8 })
          assert.deepStrictEqual(seqs(yield* take(back.peer, 2)), [9, 10])
        }),
      configured({ maxStamps: 4 })
    )
  )

  verifies(
    ["C-024", "C-025"],
    "no refusal tells why: unknown session, wrong token, foreign principal, impossible cursor",
    () =>
      onStage(
        () =>
          Effect.gen(function* () {
            const { peer, ticket } = yield* joined()
            yield* peer.close()
            const foreign = { token: "other" }
            const refusals = yield* Effect.all([
              turnedAway({ ...ticket, session_id: "sess_01ARZ3NDEKTSV4RRFFQ69G5FAV" }, { last: 0 }),
              turnedAway({ ...ticket, resume_token: `rt_${"0".repeat(64)}` }, { last: 0 }),
              turnedAway({ ...ticket, resume_token: "" }, { last: 0 }),
              turnedAway({ ...ticket, resume_token: "short" }, { last: 0, form: "top-level" }),
              turnedAway(ticket, { last: 1 }),
              ...forms.map((form) => turnedAway(ticket, { last: 0, form, hello: foreign }))
            ])
            const told = refusals.map(({ payload: { request_id: _, ...rest } }) => rest)
            assert.deepStrictEqual(
              told,
              told.map(() => told[0]!)
            )
            assert.strictEqual(told[0]!["code"], "RESUME_WINDOW_EXPIRED")
            assert.isFalse(refusals.some((refusal) => refusal.session_id === ticket.session_id))
            // None of it hurt the owner.
            yield* rejoin(ticket, { last: 0 })
          }),
        { tokens: principals }
      )
  )

  it.effect("refuses a resume that does not say who resumes, or says it wrongly", () =>
    onStage(() =>
      Effect.gen(function* () {
        const { peer, ticket } = yield* joined()
        yield* peer.close()
        const bare = yield* TestPeer.connect
        yield* bare.send({ type: "session.resume", payload: { ...ticket, last_event_seq: 0 } })
        assertRefused(yield* bare.expect("session.error"), "UNAUTHENTICATED")
        assert.strictEqual((yield* bare.closed).code, 1008)
        for (const form of forms) {
          assertRefused(yield* turnedAway(ticket, { last: 0, form, hello: { token: "wrong" } }), "UNAUTHENTICATED")
        }
        yield* rejoin(ticket, { last: 0 })
      })
    )
  )

  verifies("C-026", "an acknowledgement does not move where a resume begins", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        for (const profile of ["standard", "effect"] as const) {
          const actor = `${profile} actor`
          const { peer, ticket } = yield* joined({ profile, features: ["ack"] })
          yield* enter(peer, actor)
          yield* stage.say(actor, "one", "two", "three")
          yield* take(peer, 3)
          yield* peer.send({ type: "session.ack", payload: { last_processed_seq: 4 } })
          assert.deepStrictEqual(yield* answers(peer), [])
          yield* peer.close()
          const back = yield* rejoin(ticket, { last: 1, hello: { profile } })
          assert.deepStrictEqual(seqs(yield* take(back.peer, 3)), [2, 3, 4])
        }
      })
    )
  )

  verifies("C-027", "a session that was resumed can still cancel its jobs", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const { peer, ticket } = yield* joined()
        const job = yield* enter(peer, "a")
        yield* stage.say("a", "one")
        yield* peer.receive
        yield* peer.close()
        const back = yield* rejoin(ticket, { last: 2 })
        yield* back.peer.send({ type: "job.cancel", payload: { job_id: job } })
        yield* back.peer.expect("job.cancelled")
        const { terminal } = yield* outcome(back.peer, job)
        assert.deepStrictEqual([terminal.payload["code"], terminal.event_seq], ["CANCELLED", 3])
      })
    )
  )

  it.effect("a job whose acceptance was lost with the line speaks to the session that asked for it", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const { peer, ticket } = yield* joined()
          // A pong that is not read fills the line.
          yield* peer.send({ type: "session.ping", payload: { nonce: "n" } })
          yield* settled
          const trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
          yield* sendSubmit(peer, "tck-echo", 1, { trace_id })
          yield* settled
          yield* peer.close()
          const back = yield* rejoin(ticket, { last: 0 })
          const frames = yield* take(back.peer, 2)
          assert.deepStrictEqual(
            frames.map((frame) => [frame.event_seq, frame.trace_id]),
            [
              [1, trace_id],
              [2, trace_id]
            ]
          )
        }),
      { transport: { capacity: 1 } }
    )
  )

  it.effect("replays frames that belong to no job", () =>
    onStage(() =>
      Effect.gen(function* () {
        const { peer, ticket } = yield* joined({ profile: "ts" })
        const refused = yield* sendSubmit(peer, "nobody", 1)
        const refusal = yield* peer.expect("job.error", (frame) => frame.payload["request_id"] === refused.id)
        assert.strictEqual(refusal.event_seq, 1)
        yield* run(peer, "tck-echo", 1)
        yield* peer.close()
        const back = yield* rejoin(ticket, { last: 0, hello: { profile: "ts" } })
        yield* take(back.peer, 3)
        assert.deepStrictEqual(yield* numbered(back.peer), yield* numbered(peer))
      })
    )
  )

  it.effect("replays more than a batch, and more than the line holds, to a peer that reads slowly", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const { peer, ticket } = yield* joined()
          yield* enter(peer, "a")
          const lines = upTo(600).map((line) => `line ${line}`)
          yield* stage.say("a", ...lines)
          const seen = yield* take(peer, 600)
          yield* peer.close()
          const back = yield* rejoin(ticket, { last: 1 })
          yield* stage.say("a", "live")
          const again: Array<TestPeer.Frame> = []
          for (let pause = 0; pause < 6; pause++) {
            again.push(...(yield* take(back.peer, 100)))
            yield* settled
          }
          assert.deepStrictEqual(again, seen)
          assert.strictEqual(lineOf(yield* back.peer.receive), "live")
        }),
      { config: { maxBatch: 2000 }, transport: { capacity: 8 } }
    )
  )

  it.effect("a later connection takes over: the earlier is told, and hears and does nothing more", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const { peer, ticket } = yield* joined()
        const job = yield* enter(peer, "a")
        const back = yield* rejoin(ticket, { last: 1 })
        yield* peer.expect("session.closed", (frame) => frame.payload["reason"] === "superseded")
        assert.strictEqual((yield* peer.closed).code, 1000)
        assert.strictEqual((yield* Effect.flip(peer.send({ type: "session.ping" })))._tag, "PeerError")

        yield* stage.say("a", "one")
        assert.deepInclude(yield* back.peer.receive, { job_id: job, event_seq: 2 })
        assert.strictEqual(yield* openSessions, 1)
        // The end of the earlier connection does not start the clock of the later one.
        yield* TestClock.adjust("11 minutes")
        assert.deepStrictEqual(yield* answers(back.peer), [])
        assert.strictEqual(yield* openSessions, 1)
      })
    )
  )

  it.effect("tells the earlier connection also while it has events to send", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const { peer, ticket } = yield* joined()
          yield* enter(peer, "a")
          const again = yield* TestPeer.connect
          yield* again.send(returnOf(ticket, { last: 1 }))
          yield* stage.say("a", ...upTo(20).map(String))
          const frames = yield* peer.until("session.closed")
          assert.deepStrictEqual(seqs(frames), upTo(frames.length, 2))
          yield* again.expect("session.welcome")
          assert.deepStrictEqual(seqs(yield* take(again, 20)), upTo(21, 2))
        }),
      configured({ maxBatch: 100 })
    )
  )

  it.effect("takes over from a connection that does not read", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const { peer, ticket } = yield* joined()
          const { job_id } = yield* submit(peer, "actor", "a")
          yield* stage.say("a", ...upTo(50).map(String))
          yield* settled
          const again = yield* TestPeer.connect
          yield* again.send(returnOf(ticket, { last: 0 }))
          yield* settled
          yield* TestClock.adjust("1 second")
          yield* again.expect("session.welcome")
          assert.deepStrictEqual(seqs(yield* take(again, 51)), upTo(51))
          yield* stage.exit("a")
          assert.strictEqual((yield* outcome(again, job_id)).terminal.event_seq, 52)
        }),
      { transport: { capacity: 4 } }
    )
  )

  it.effect("waits as long as it said, from the moment the connection ended", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const { peer, ticket } = yield* joined()
          yield* enter(peer, "a")
          yield* TestClock.adjust("25 minutes")
          yield* peer.close()
          yield* settled
          yield* TestClock.adjust("9 minutes")
          const back = yield* rejoin(ticket, { last: 1 })
          assert.strictEqual(back.welcome.payload["resume_window_sec"], 600)
          yield* TestClock.adjust("25 minutes")
          yield* back.peer.close()
          yield* settled
          yield* TestClock.adjust(Duration.millis(10 * 60_000 - 1))
          assert.strictEqual(yield* openSessions, 1)
          yield* TestClock.adjust("1 millis")
          assert.strictEqual(yield* openSessions, 0)
          assertRefused(yield* turnedAway(back.ticket, { last: 1 }), "RESUME_WINDOW_EXPIRED")
          // The job outlives its session.
          yield* stage.say("a", "one")
          yield* eventually(
            Effect.sync(() => stage.said("a")),
            (said) => said === 1
          )
        }),
      configured({ resumeWindow: Duration.minutes(10) })
    )
  )

  describe("after a lost welcome", () => {
    /** A resume of which the client does not take note. */
    const lost = Effect.fnUntraced(function* (profile: "effect" | "standard") {
      const { peer, ticket } = yield* joined({ profile })
      yield* peer.close()
      const unlucky = yield* TestPeer.connect
      yield* unlucky.send(returnOf(ticket, { last: 0, hello: { profile } }))
      yield* unlucky.expect("session.welcome")
      yield* unlucky.close()
      return ticket
    })

    it.effect("a peer that declares itself comes back with the token it has, as often as it takes", () =>
      onStage(() =>
        Effect.gen(function* () {
          const ticket = yield* lost("effect")
          const hello = { profile: "effect" } as const
          const again = yield* TestPeer.connect
          yield* again.send(returnOf(ticket, { last: 0, hello }))
          yield* again.expect("session.welcome")
          yield* again.close()
          const back = yield* rejoin(ticket, { last: 0, hello })
          // From its first frame on, the new token is the only one.
          assert.deepStrictEqual(yield* answers(back.peer), [])
          assertRefused(yield* turnedAway(ticket, { last: 0, hello }), "RESUME_WINDOW_EXPIRED")
          yield* back.peer.close()
          yield* rejoin(back.ticket, { last: 0, hello })
        })
      )
    )

    it.effect("the connection that was there before has ended all the same", () =>
      onStage(() =>
        Effect.gen(function* () {
          const hello = { profile: "effect" } as const
          const { peer, ticket } = yield* joined(hello)
          const unlucky = yield* TestPeer.connect
          yield* unlucky.send(returnOf(ticket, { last: 0, hello }))
          yield* unlucky.close()
          yield* peer.expect("session.closed", (frame) => frame.payload["reason"] === "superseded")
          yield* rejoin(ticket, { last: 0, hello })
        })
      )
    )

    it.effect("to any other peer the token is gone", () =>
      onStage(() =>
        Effect.gen(function* () {
          const ticket = yield* lost("standard")
          assertRefused(yield* turnedAway(ticket, { last: 0 }), "RESUME_WINDOW_EXPIRED")
        })
      )
    )
  })

  it.effect("goes on at the pace of the peer after the line broke twice with frames on the way", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const hello = { profile: "effect" } as const
          const { peer, ticket } = yield* joined(hello)
          const job = yield* enter(peer, "a")
          yield* peer.close()
          yield* settled
          yield* stage.say("a", ...upTo(60).map((line) => `${line}`.padEnd(50, ".")))
          yield* eventually(
            Effect.sync(() => stage.said("a")),
            (said) => said === 60
          )
          // Its welcome, which it does not read, fills the line.
          const unlucky = yield* TestPeer.connect
          yield* unlucky.send(returnOf(ticket, { last: 1, hello }))
          yield* settled
          yield* unlucky.close()
          const back = yield* rejoin(ticket, { last: 1, hello })
          yield* take(back.peer, 60)
          yield* stage.say("a", "one more")
          assert.strictEqual(lineOf(yield* back.peer.receive), "one more")
          yield* stage.exit("a")
          assert.strictEqual((yield* outcome(back.peer, job)).terminal.event_seq, 63)
        }),
      { config: { pacingWindow: 1000 }, transport: { capacity: 2 } }
    )
  )

  it.effect("the connection that was resumed last stays, in whatever order they begin to talk", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const { peer } = yield* joined({ profile: "effect" })
        const job = yield* enter(peer, "a")
        const sessions = yield* Sessions.Sessions
        const id = (yield* peer.record).flatMap(({ text }) => (JSON.parse(text) as TestPeer.Frame).session_id ?? [])[0]!
        const principal = { id: "tester" }
        const resumeWith = (resume_token: Redacted.Redacted) =>
          sessions.resume(principal, { session_id: id as Ids.SessionId, resume_token, last_event_seq: 1 })
        const line = Effect.map(MemoryTransport.pair(), ([near, far]) => ({
          peer: TestPeer.make(near),
          connection: Connection.make(far, Codec.decodeFromClient)
        }))
        const token = (yield* peer.record).flatMap(({ text }) => {
          const resume_token = (JSON.parse(text) as TestPeer.Frame).payload["resume_token"]
          return typeof resume_token === "string" ? [Redacted.make(resume_token)] : []
        })[0]!
        const [earlier, later] = [yield* resumeWith(token), yield* resumeWith(token)]
        const [first, second] = [yield* line, yield* line]
        yield* Effect.forkChild(sessions.converse(later, second.connection))
        yield* settled
        yield* sessions.converse(earlier, first.connection)
        yield* stage.say("a", "one")
        assert.deepInclude(yield* second.peer.receive, { job_id: job, event_seq: 2 })
        yield* TestClock.adjust("11 minutes")
        assert.strictEqual(yield* openSessions, 1)
        yield* stage.say("a", "two")
        assert.deepInclude(yield* second.peer.receive, { job_id: job, event_seq: 3 })
      })
    )
  )
})
