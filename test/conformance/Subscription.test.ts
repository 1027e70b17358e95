import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import * as ObserverPolicy from "../../src/authority/ObserverPolicy.ts"
import type * as Json from "../../src/protocol/Json.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { answer, answers, assertRefused, eventually, join, outcome, run, submit } from "./Conversation.ts"
import { enter, lineOf, onStage, rejoin, seqs, settled, take, ticketOf, upTo } from "./Stage.ts"
import { verifies } from "./verifies.ts"

const principals = { secret: "tester", other: "another" }
const other: TestPeer.HelloOptions = { token: "other" }

/** Subscribes, and gives the answer, which must come next. */
const subscribe = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, job_id: string, more?: Json.JsonObject) {
  const { id } = yield* peer.send({ type: "job.subscribe", payload: { job_id, ...more } })
  return yield* peer.expect("job.subscribed", (frame) => frame.payload["request_id"] === id && frame.job_id === job_id)
})

/** What a frame says of its job, whoever it was sent to. */
const said = ({ job_id, job_seq, payload, trace_id, type }: TestPeer.Frame) => ({
  job_id,
  job_seq,
  payload,
  trace_id,
  type
})

const lines = (count: number) => upTo(count).map((line) => `${line}`.padEnd(100, "."))

describe("Subscription", () => {
  verifies(
    ["C-073", "C-079", "C-083"],
    "shows what comes after it, to the outcome, in another session of the principal",
    () =>
      onStage((stage) =>
        Effect.gen(function* () {
          const owner = yield* join()
          const job = yield* enter(owner, "a")
          yield* stage.say("a", "before")
          yield* owner.receive
          const observer = yield* join()
          const subscribed = yield* subscribe(observer, job)
          assert.deepInclude(subscribed.payload, { current_status: "running", subscribed_from: 0, replayed: false })
          assert.isUndefined(subscribed.event_seq)
          yield* stage.say("a", "after")
          yield* stage.exit("a")
          const { frames, terminal } = yield* outcome(observer, job)
          assert.deepStrictEqual(
            frames.flatMap((frame) => lineOf(frame) ?? []),
            ["after"]
          )
          assert.deepStrictEqual([terminal.type, terminal.payload["result"]], ["job.result", 2])
          assert.deepStrictEqual(seqs(frames), [1, 2])
          // Nor are the owner's frames touched by it.
          assert.deepStrictEqual(seqs((yield* outcome(owner, job)).frames), [3, 4])
        })
      )
  )

  it.effect("the answer names the place in the job's own sequence after which it begins", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        const job = yield* enter(owner, "a")
        yield* stage.say("a", "one", "two")
        yield* take(owner, 2)
        /** What a new observer is told, and the place of what it is sent next. */
        const begins = Effect.fnUntraced(function* (more: Json.JsonObject, hello?: TestPeer.HelloOptions) {
          const observer = yield* join(hello)
          const { job_seq } = yield* subscribe(observer, job, more)
          return { observer, job_seq }
        })
        const next = ({ observer }: { readonly observer: TestPeer.TestPeer }) =>
          Effect.map(observer.receive, ({ job_seq }) => job_seq)

        const live = yield* begins({})
        const declared = yield* begins({ history: false }, { profile: "effect", features: ["subscribe"] })
        assert.deepStrictEqual([live.job_seq, declared.job_seq], [3, 3])
        const whole = yield* begins({ history: true })
        assert.deepStrictEqual([whole.job_seq, yield* next(whole)], [0, 1])
        const second = yield* begins({ from_job_seq: 1 })
        assert.deepStrictEqual([second.job_seq, yield* next(second)], [1, 2])
        const ahead = yield* begins({ from_job_seq: 99 })
        assert.strictEqual(ahead.job_seq, 3)

        yield* stage.say("a", "three")
        assert.deepStrictEqual(yield* Effect.forEach([live, declared, ahead], next), [4, 4, 4])
        // What the session has of the job already does not change what is meant.
        assert.strictEqual((yield* subscribe(live.observer, job)).job_seq, 4)
        yield* stage.exit("a")
        yield* outcome(owner, job)
        assert.strictEqual((yield* begins({})).job_seq, 5)
      })
    )
  )

  verifies("C-074", "history comes whole, as it was said then, and goes over into what is said now without seam", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        const { job_id } = yield* submit(owner, "actor", "a")
        for (const line of ["one", "two", "three"]) {
          yield* stage.say("a", line)
          yield* TestClock.adjust("10 seconds")
        }
        const observer = yield* join()
        // While it subscribes the job goes on.
        yield* stage.say("a", ...lines(50))
        const subscribed = yield* subscribe(observer, job_id, { history: true, from_event_seq: 0 })
        assert.strictEqual(subscribed.payload["replayed"], true)
        yield* stage.say("a", ...lines(50))
        yield* stage.exit("a")
        const mine = yield* outcome(owner, job_id)
        const theirs = yield* outcome(observer, job_id)
        assert.deepStrictEqual(theirs.frames.map(said), mine.frames.map(said))
        assert.deepStrictEqual(seqs(theirs.frames), upTo(105))
        const ids = new Set([...mine.frames, ...theirs.frames].map(({ id }) => id))
        assert.strictEqual(ids.size, 210)
        assert.isTrue(theirs.frames.every(({ session_id }) => session_id === subscribed.session_id))
      })
    )
  )

  verifies("C-075", "history begins after a number of the owner's sequence, or after one of the job's own", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        yield* enter(owner, "noise")
        const job = yield* enter(owner, "a")
        for (const line of ["one", "two", "three"]) {
          yield* stage.say("noise", "noise")
          yield* owner.receive
          yield* stage.say("a", line)
          yield* owner.receive
        }
        // The owner has 1 and 2 of the jobs' start, then 3, 5, 7 of the noise, and 4, 6, 8 of the job.
        const shown = Effect.fnUntraced(function* (more: Json.JsonObject) {
          const observer = yield* join()
          const { payload } = yield* subscribe(observer, job, more)
          const frames = yield* answers(observer)
          assert.strictEqual(payload["replayed"], frames.length > 0)
          return frames.flatMap((frame) => lineOf(frame) ?? [])
        })
        assert.deepStrictEqual(yield* shown({ history: true, from_event_seq: 4 }), ["two", "three"])
        assert.deepStrictEqual(yield* shown({ history: true, from_event_seq: 5 }), ["two", "three"])
        assert.deepStrictEqual(yield* shown({ history: true, from_event_seq: 8 }), [])
        assert.deepStrictEqual(yield* shown({ history: true, from_event_seq: 99 }), [])
        assert.deepStrictEqual(yield* shown({ history: true, from_event_seq: 1 }), ["one", "two", "three"])
        assert.deepStrictEqual(yield* shown({ history: true }), ["one", "two", "three"])
        assert.deepStrictEqual(yield* shown({ history: false, from_event_seq: 4 }), [])
        assert.deepStrictEqual(yield* shown({ from_event_seq: 4 }), [])
        assert.deepStrictEqual(yield* shown({ from_job_seq: 2 }), ["two", "three"])
        assert.deepStrictEqual(yield* shown({ from_job_seq: 0 }), ["one", "two", "three"])
        assert.deepStrictEqual(yield* shown({ from_job_seq: 4 }), [])
      })
    )
  )

  it.effect("when the owner's session is gone, history begins with the oldest that is kept", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        const job = yield* enter(owner, "a")
        yield* stage.say("a", "one", "two")
        yield* take(owner, 2)
        yield* owner.close()
        yield* settled
        yield* TestClock.adjust("11 minutes")
        const observer = yield* join()
        yield* subscribe(observer, job, { history: true, from_event_seq: 2 })
        assert.deepStrictEqual(
          (yield* take(observer, 3)).map((frame) => frame.job_seq),
          [1, 2, 3]
        )
      })
    )
  )

  verifies("C-076", "the answer says what the job may do and where it stands, and nothing else", () =>
    onStage(() =>
      Effect.gen(function* () {
        const owner = yield* join()
        const accepted = yield* submit(owner, "sleeper", 60, {
          payload: {
            lease_request: { "fs.read": ["/a/**"], "tool.call": ["search"] },
            lease_constraints: { expires_at: "2030-01-01T00:00:00Z" }
          }
        })
        const observer = yield* join()
        yield* run(observer, "tck-echo", 1)
        const subscribed = yield* subscribe(observer, accepted.job_id)
        const { request_id: _, ...payload } = subscribed.payload
        assert.deepStrictEqual(payload, {
          job_id: accepted.job_id,
          current_status: "running",
          agent: "sleeper@1.0.0",
          lease: { "fs.read": ["/a/**"], "tool.call": ["search"] },
          lease_constraints: { expires_at: "2030-01-01T00:00:00Z" },
          parent_job_id: null,
          trace_id: accepted.payload["trace_id"]!,
          subscribed_from: 2,
          replayed: false
        })
        assert.strictEqual(subscribed.trace_id, accepted.payload["trace_id"])
      })
    )
  )

  verifies("C-077", "what an observer sees is numbered with its own jobs, without a gap for what it does not see", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        const jobs = yield* Effect.forEach(["a", "b"], (actor) => enter(owner, actor))
        const observer = yield* join({ features: ["subscribe"] })
        yield* enter(observer, "mine")
        for (const job of jobs) yield* subscribe(observer, job)
        for (let round = 0; round < 5; round++) {
          yield* stage.say("a", "a")
          yield* stage.step("b", round)
          yield* stage.say("mine", "mine")
          yield* stage.say("b", "b")
        }
        yield* stage.exit("a")
        const frames = yield* take(observer, 16)
        assert.deepStrictEqual(seqs(frames), upTo(17, 2))
        assert.strictEqual(frames.filter((frame) => frame.payload["kind"] === "progress").length, 0)
        assert.sameMembers(
          frames.flatMap((frame) => lineOf(frame) ?? []),
          upTo(5).flatMap(() => ["a", "b", "mine"])
        )
      })
    )
  )

  verifies("C-078", "a job of another principal does not exist", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const owner = yield* join()
          const job = yield* enter(owner, "a")
          const stranger = yield* join(other)
          const unknown = `job_${"0".repeat(26)}`
          const refusals: Array<Json.JsonObject> = []
          for (const job_id of [job, unknown]) {
            const asked = yield* stranger.send({ type: "job.subscribe", payload: { job_id, history: true } })
            const refusal = yield* answer(stranger)
            assertRefused(refusal, "JOB_NOT_FOUND", asked)
            const text = JSON.stringify(refusal.payload).replaceAll(job_id, "job").replaceAll(asked.id, "request")
            refusals.push(JSON.parse(text))
          }
          assert.deepStrictEqual(refusals[0], refusals[1])
          yield* stage.say("a", "one")
          yield* owner.receive
          assert.deepStrictEqual(yield* answers(stranger), [])
        }),
      { tokens: principals }
    )
  )

  describe("with a policy", () => {
    const asked: Array<ObserverPolicy.Ask> = []
    const permissive = ObserverPolicy.layer((ask) =>
      Effect.sync(() => {
        asked.push(ask)
        return ask.agent.startsWith("actor")
      })
    )

    it.effect("lets another principal watch, and no more than that", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const owner = yield* join()
            const job = yield* enter(owner, "a")
            const hidden = yield* submit(owner, "sleeper", 60)
            const observer = yield* join(other)
            asked.length = 0
            const { payload } = yield* subscribe(observer, job)
            assert.containSubset(asked, [{ owner: "tester", job, agent: "actor@1.0.0", observer: { id: "another" } }])
            assert.notProperty(payload, "credentials")
            yield* observer.send({ type: "job.subscribe", payload: { job_id: hidden.job_id } })
            assertRefused(yield* answer(observer), "JOB_NOT_FOUND")
            const cancel = yield* observer.send({ type: "job.cancel", payload: { job_id: job } })
            assertRefused(yield* answer(observer), "PERMISSION_DENIED", cancel)
            yield* stage.say("a", "one")
            assert.strictEqual(lineOf(yield* observer.receive), "one")
            // The owner is not asked about.
            asked.length = 0
            yield* subscribe(yield* join(), job)
            assert.deepStrictEqual(asked, [])
          }),
        { tokens: principals }
      ).pipe(Effect.provide(permissive))
    )

    for (const [how, policy] of [
      ["dies", () => Effect.die("the directory is down")],
      [
        "throws",
        () => {
          throw new Error("the directory is down")
        }
      ],
      ["is interrupted", () => Effect.interrupt]
    ] as const) {
      it.effect(`that ${how} has refused, and nobody can tell by it that there is such a job`, () => {
        const errors: Array<unknown> = []
        const capture = Logger.make<unknown, void>(({ logLevel, message }) => {
          if (logLevel === "Error") errors.push(Array.isArray(message) ? message[0] : message)
        })
        return onStage(
          () =>
            Effect.gen(function* () {
              const owner = yield* join()
              const job = yield* enter(owner, "a")
              const observer = yield* join(other)
              const answersTo = Effect.fnUntraced(function* (type: string, job_id: string) {
                yield* observer.send({ type, payload: { job_id } })
                const { payload, type: kind } = yield* answer(observer)
                return JSON.stringify([kind, payload["code"], payload["message"]]).replaceAll(job_id, "")
              })
              const unknown = `job_${"0".repeat(26)}`
              for (const type of ["job.subscribe", "job.cancel"]) {
                assert.strictEqual(yield* answersTo(type, job), yield* answersTo(type, unknown))
              }
              assert.deepStrictEqual(errors, Array(2).fill("The policy of who may watch a job died, which refuses it"))
            }),
          { tokens: principals }
        ).pipe(Effect.provide([ObserverPolicy.layer(policy), Logger.layer([capture])]))
      })
    }

    it.effect("that takes its time misses nothing of the job meanwhile", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const owner = yield* join()
            const job = yield* enter(owner, "a")
            const observer = yield* join(other)
            yield* observer.send({ type: "job.subscribe", payload: { job_id: job } })
            yield* settled
            yield* stage.exit("a")
            yield* outcome(owner, job)
            yield* TestClock.adjust("1 second")
            const { payload } = yield* observer.expect("job.subscribed")
            if (payload["current_status"] === "running") yield* outcome(observer, job)
            else assert.strictEqual(payload["current_status"], "success")
          }),
        { tokens: principals }
      ).pipe(Effect.provide(ObserverPolicy.layer(() => Effect.as(Effect.sleep("1 second"), true))))
    )
  })

  verifies("C-132", "each attempt is logged: who, which job, whose, and what was decided", () => {
    const entries: Array<unknown> = []
    const capture = Logger.make<unknown, void>(({ message }) => {
      if (Array.isArray(message) && message.length === 2) entries.push(message[1])
    })
    return onStage(
      () =>
        Effect.gen(function* () {
          const owner = yield* join()
          const job = yield* enter(owner, "a")
          yield* subscribe(yield* join(), job)
          const stranger = yield* join(other)
          const unknown = `job_${"0".repeat(26)}`
          for (const job_id of [job, unknown]) {
            yield* stranger.send({ type: "job.subscribe", payload: { job_id } })
            yield* answer(stranger)
          }
          assert.deepStrictEqual(entries, [
            { observer: "tester", job, owner: "tester", decision: "allowed" },
            { observer: "another", job, owner: "tester", decision: "refused" },
            { observer: "another", job: unknown, owner: "unknown", decision: "refused" }
          ])
        }),
      { tokens: principals }
    ).pipe(Effect.provide(Logger.layer([capture])))
  })

  verifies("C-081", "an end of the subscription is the end of its events, and of nothing else", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        const job = yield* enter(owner, "a")
        const observer = yield* join()
        yield* subscribe(observer, job)
        yield* stage.say("a", "one")
        assert.strictEqual(lineOf(yield* observer.receive), "one")
        for (const job_id of [job, job, "job_unknown"]) {
          yield* observer.send({ type: "job.unsubscribe", payload: { job_id } })
        }
        assert.deepStrictEqual(yield* answers(observer), [])
        yield* stage.say("a", "two")
        assert.deepStrictEqual((yield* take(owner, 2)).map(lineOf), ["one", "two"])
        assert.deepStrictEqual(yield* answers(observer), [])
        // It can begin again, where it left off.
        yield* subscribe(observer, job, { from_job_seq: 2 })
        assert.deepStrictEqual(
          (yield* take(observer, 1)).map((frame) => [frame.event_seq, lineOf(frame)]),
          [[2, "two"]]
        )
        // The submitter cannot end the delivery of its own job.
        yield* owner.send({ type: "job.unsubscribe", payload: { job_id: job } })
        assert.deepStrictEqual(yield* answers(owner), [])
        yield* stage.say("a", "three")
        assert.strictEqual(lineOf(yield* owner.receive), "three")
      })
    )
  )

  verifies("C-082", "an observer goes on when the owner drops, closes, or is forgotten", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        const job = yield* enter(owner, "a")
        const observer = yield* join()
        yield* subscribe(observer, job)
        yield* owner.close()
        yield* settled
        yield* stage.say("a", "one")
        assert.strictEqual(lineOf(yield* observer.receive), "one")
        yield* TestClock.adjust("20 minutes")
        yield* stage.say("a", "two")
        yield* stage.exit("a")
        assert.deepStrictEqual(seqs((yield* outcome(observer, job)).frames), [2, 3])
      })
    )
  )

  it.effect("subscriptions survive a resume of the observer, and what was missed is replayed", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        const job = yield* enter(owner, "a")
        const observer = yield* TestPeer.connect
        const ticket = ticketOf(yield* observer.hello())
        yield* subscribe(observer, job)
        yield* stage.say("a", "one", "two")
        yield* take(observer, 2)
        yield* observer.close()
        yield* settled
        yield* stage.say("a", "three")
        const back = yield* rejoin(ticket, { last: 1 })
        yield* stage.exit("a")
        const { frames } = yield* outcome(back.peer, job)
        assert.deepStrictEqual(
          frames.map((frame) => lineOf(frame) ?? frame.type),
          ["two", "three", "job.result"]
        )
        assert.deepStrictEqual(seqs(frames), [2, 3, 4])
      })
    )
  )

  it.effect("a job that has ended can be seen whole, or is said to have ended", () =>
    onStage(() =>
      Effect.gen(function* () {
        const owner = yield* join()
        const { accepted, frames } = yield* run(owner, "tck-log-emitter", 3)
        const observer = yield* join()
        const whole = yield* subscribe(observer, accepted.job_id, { history: true })
        assert.deepInclude(whole.payload, { current_status: "success", replayed: true })
        const seen = yield* outcome(observer, accepted.job_id)
        assert.deepStrictEqual(seen.frames.map(said), frames.map(said))
        const live = yield* subscribe(observer, accepted.job_id)
        assert.deepInclude(live.payload, { current_status: "success", replayed: false, subscribed_from: 5 })
        assert.deepStrictEqual(yield* answers(observer), [])
      })
    )
  )

  describe("to a job that is delivered already", () => {
    it.effect("shows nothing twice", () =>
      onStage((stage) =>
        Effect.gen(function* () {
          const owner = yield* join()
          const job = yield* enter(owner, "a")
          yield* subscribe(owner, job)
          const observer = yield* join()
          yield* subscribe(observer, job)
          yield* subscribe(observer, job)
          yield* stage.say("a", "one")
          yield* stage.exit("a")
          assert.lengthOf((yield* outcome(owner, job)).frames, 2)
          assert.lengthOf((yield* outcome(observer, job)).frames, 2)
          assert.deepStrictEqual([...(yield* answers(owner)), ...(yield* answers(observer))], [])
        })
      )
    )

    it.effect("shows its past again if that is asked for, under new numbers, and goes on", () =>
      onStage((stage) =>
        Effect.gen(function* () {
          const owner = yield* TestPeer.connect
          const ticket = ticketOf(yield* owner.hello())
          const job = yield* enter(owner, "a")
          yield* stage.say("a", "one", "two")
          yield* take(owner, 2)
          yield* subscribe(owner, job, { from_job_seq: 1 })
          yield* stage.say("a", "three")
          assert.deepStrictEqual(
            (yield* take(owner, 3)).map((frame) => [frame.event_seq, lineOf(frame)]),
            [
              [4, "one"],
              [5, "two"],
              [6, "three"]
            ]
          )
          yield* owner.close()
          const back = yield* rejoin(ticket, { last: 2 })
          yield* stage.exit("a")
          const { frames } = yield* outcome(back.peer, job)
          assert.deepStrictEqual(
            frames.map((frame) => [frame.event_seq, lineOf(frame)]),
            [
              [3, "two"],
              [4, "one"],
              [5, "two"],
              [6, "three"],
              [7, undefined]
            ]
          )
          // A number of this sequence still means how far the job was known by then.
          const observer = yield* join()
          yield* subscribe(observer, job, { history: true, from_event_seq: 4 })
          assert.deepStrictEqual(
            (yield* outcome(observer, job)).frames.map((frame) => lineOf(frame)),
            ["three", undefined]
          )
        })
      )
    )

    it.effect("shows its past also when it is asked for while the outcome is on its way", () =>
      onStage(
        (stage) =>
          Effect.gen(function* () {
            const owner = yield* join()
            const job = yield* enter(owner, "a")
            // A pong that is not read fills the line, so that what follows waits on the way.
            yield* owner.send({ type: "session.ping", payload: { nonce: "n" } })
            yield* settled
            yield* stage.say("a", "one", "two")
            yield* stage.exit("a")
            yield* settled
            yield* owner.send({ type: "job.subscribe", payload: { job_id: job, history: true } })
            yield* settled
            const frames = yield* owner.until("job.subscribed", (frame) => frame.payload["replayed"] === true)
            assert.strictEqual(frames.at(-2)!.type, "job.result")
            const again = yield* owner.until("job.result")
            assert.deepStrictEqual(
              again.map((frame) => frame.job_seq),
              [1, 2, 3, 4]
            )
          }),
        { transport: { capacity: 1 } }
      )
    )
  })

  describe("of a slow observer", () => {
    const isLag = (frame: TestPeer.Frame) =>
      (frame.payload["body"] as { readonly phase?: string } | undefined)?.phase === "subscription_lagged"

    for (const [what, hello] of [
      ["that does not read", { features: ["subscribe"] }],
      ["that acknowledges nothing", { profile: "effect", features: ["subscribe", "ack"] }]
    ] as const) {
      it.effect(`${what}: slows nobody, and is told what it missed`, () =>
        onStage(
          (stage) =>
            Effect.gen(function* () {
              const owner = yield* join()
              const job = yield* enter(owner, "a")
              const observer = yield* join(hello)
              const bystander = yield* join()
              yield* subscribe(observer, job)
              yield* subscribe(bystander, job)
              yield* stage.say("a", ...lines(200))
              yield* stage.exit("a")
              const [mine, theirs] = yield* Effect.all([outcome(owner, job), outcome(bystander, job)], {
                concurrency: "unbounded"
              })
              assert.deepStrictEqual(theirs.frames.map(said), mine.frames.map(said))
              assert.lengthOf(mine.frames, 201)

              const seen: Array<TestPeer.Frame> = []
              while (seen.at(-1)?.type !== "job.result") {
                seen.push(...(yield* observer.drain))
                yield* observer.send({ type: "session.ack", payload: { last_processed_seq: seen.at(-1)!.event_seq! } })
              }
              assert.deepStrictEqual(seqs(seen), upTo(seen.length))
              const lag = seen.findIndex(isLag)
              assert.isAbove(lag, 0)
              assert.strictEqual(seen[lag]!.job_id, job)
              const missed = seen[lag + 1]!.job_seq! - seen[lag - 1]!.job_seq! - 1
              assert.deepInclude(seen[lag]!.payload["body"] as object, {
                message: `${missed} events are no longer kept`
              })
              assert.lengthOf(seen, 201 - missed + 1)
            }),
          { config: { maxJournalPerJob: 8000, maxBatch: 400, pacingWindow: 4000 }, transport: { capacity: 4 } }
        )
      )
    }
  })

  it.effect("ends with its session", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        const job = yield* enter(owner, "a")
        const observer = yield* join()
        yield* subscribe(observer, job)
        yield* observer.close()
        yield* settled
        yield* TestClock.adjust("20 minutes")
        yield* stage.say("a", "one")
        yield* eventually(
          Effect.sync(() => stage.said("a")),
          (count) => count === 1
        )
        const next = yield* join()
        yield* stage.say("a", "two")
        yield* take(owner, 2)
        assert.deepStrictEqual(yield* answers(next), [])
      })
    )
  )

  it.effect("is refused when its request makes no sense", () =>
    onStage(() =>
      Effect.gen(function* () {
        const peer = yield* join()
        const job = yield* enter(peer, "a")
        for (const payload of [
          {},
          { job_id: "" },
          { job_id: job, from_event_seq: -1 },
          { job_id: job, from_job_seq: 0.5 },
          { job_id: job, history: "yes" }
        ]) {
          const asked = yield* peer.send({ type: "job.subscribe", payload })
          assertRefused(yield* answer(peer), "INVALID_REQUEST", asked)
        }
      })
    )
  )
})
