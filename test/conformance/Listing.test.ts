import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { Base64Url } from "effect/encoding"
import { TestClock } from "effect/testing"
import type * as Json from "../../src/protocol/Json.ts"
import type * as TestPeer from "../../src/testing/TestPeer.ts"
import { answer, answers, assertRefused, eventually, join, outcome, run, submit, withRuntime } from "./Conversation.ts"
import { configured, enter, onStage, settled, take, upTo } from "./Stage.ts"
import { verifies } from "./verifies.ts"

interface Page {
  readonly jobs: ReadonlyArray<{ readonly [member: string]: Json.Json } & { readonly job_id: string }>
  readonly next_cursor: string | null
}

const list = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, payload: Json.JsonObject = {}) {
  const asked = yield* peer.send({ type: "session.list_jobs", payload })
  const frames = yield* peer.until("session.jobs", (frame) => frame.payload["request_id"] === asked.id)
  const { request_id: _, ...page } = frames.at(-1)!.payload
  return page as object as Page
})

const idsOf = ({ jobs }: Page) => jobs.map(({ job_id }) => job_id)

/** Every page, from the first to the last. */
const pages = Effect.fnUntraced(function* (
  peer: TestPeer.TestPeer,
  limit: number,
  between: Effect.Effect<void> = Effect.void
): Effect.fn.Return<ReadonlyArray<string>, TestPeer.PeerError> {
  const ids: Array<string> = []
  let cursor: string | null = null
  do {
    const page: Page = yield* list(peer, { limit, cursor })
    assert.isAtMost(page.jobs.length, limit)
    ids.push(...idsOf(page))
    cursor = page.next_cursor
    yield* between
  } while (cursor !== null)
  return ids
})

const echoes = (peer: TestPeer.TestPeer, count: number) =>
  Effect.forEach(upTo(count), (n) => Effect.map(run(peer, "tck-echo", n), ({ accepted }) => accepted.job_id))

const principals = { secret: "tester", other: "another" }

describe("Listing", () => {
  verifies(["C-039", "C-044", "C-045"], "an entry says what a job is and where it stands, and nothing else", () =>
    onStage(() =>
      Effect.gen(function* () {
        const peer = yield* join()
        yield* TestClock.adjust("1 minute")
        const lease = { "fs.read": ["/a/**"] }
        const { accepted } = yield* run(peer, "tck-echo", 1, { payload: { lease_request: lease } })
        const running = yield* enter(peer, "a")
        const asked = yield* peer.send({ type: "session.list_jobs" })
        const reply = yield* answer(peer)
        assert.strictEqual(reply.type, "session.jobs")
        assert.isUndefined(reply.event_seq)
        const created = "1970-01-01T00:01:00.000Z"
        const common = { parent_job_id: null, created_at: created, submitted_at: created }
        assert.deepStrictEqual(reply.payload, {
          request_id: asked.id,
          jobs: [
            {
              job_id: accepted.job_id,
              agent: "tck-echo@1.0.0",
              status: "success",
              lease,
              trace_id: accepted.payload["trace_id"]!,
              last_event_seq: 2,
              ...common
            },
            {
              job_id: running,
              agent: "actor@1.0.0",
              status: "running",
              lease: {},
              trace_id: (yield* list(peer, { filter: { agent: "actor" } })).jobs[0]!["trace_id"]!,
              last_event_seq: 3,
              ...common
            }
          ],
          next_cursor: null
        })
      })
    )
  )

  verifies("C-040", "each filter holds by itself and with the others", () =>
    onStage(() =>
      Effect.gen(function* () {
        const peer = yield* join()
        const at = (minute: number) => `1970-01-01T00:${String(minute).padStart(2, "0")}:00Z`
        yield* TestClock.adjust("1 minute")
        const echo = (yield* run(peer, "tck-echo", 1)).accepted.job_id
        yield* TestClock.adjust("1 minute")
        const failed = (yield* run(peer, "failing", "defect")).accepted.job_id
        yield* TestClock.adjust("1 minute")
        const running = yield* enter(peer, "a")
        const cancelled = yield* enter(peer, "b")
        yield* peer.send({ type: "job.cancel", payload: { job_id: cancelled } })
        yield* outcome(peer, cancelled)
        const late = (yield* run(peer, "sleeper", 60, { payload: { max_runtime_sec: 5 } }).pipe(
          Effect.raceFirst(Effect.andThen(TestClock.adjust("5 seconds"), Effect.never))
        )).accepted.job_id

        const of = (filter: Json.JsonObject) => Effect.map(list(peer, { filter }), idsOf)
        const all = [echo, failed, running, cancelled, late]
        assert.sameMembers(yield* of({}), all)
        assert.deepStrictEqual(yield* of({ status: ["running"] }), [running])
        assert.deepStrictEqual(yield* of({ status: ["success"] }), [echo])
        assert.deepStrictEqual(yield* of({ status: ["error"] }), [failed])
        assert.sameMembers(yield* of({ status: ["cancelled", "timed_out"] }), [cancelled, late])
        assert.deepStrictEqual(yield* of({ status: [] }), [])
        assert.deepStrictEqual(yield* of({ status: ["no-such"] }), [])
        assert.sameMembers(yield* of({ agent: "actor" }), [running, cancelled])
        assert.sameMembers(yield* of({ agent: "actor@1.0.0" }), [running, cancelled])
        assert.deepStrictEqual(yield* of({ agent: "actor@2.0.0" }), [])
        assert.deepStrictEqual(yield* of({ agent: "act" }), [])
        // Both bounds are exclusive.
        assert.sameMembers(yield* of({ created_after: at(1) }), [failed, running, cancelled, late])
        assert.sameMembers(yield* of({ created_after: "1970-01-01T00:00:59.999Z" }), all)
        assert.sameMembers(yield* of({ created_before: at(2) }), [echo])
        assert.sameMembers(yield* of({ created_after: at(1), created_before: at(3) }), [failed])
        assert.sameMembers(yield* of({ agent: "actor", status: ["running"], created_after: at(2) }), [running])
      })
    )
  )

  verifies("C-041", "pages go through all jobs once, in the order in which they came, while others come", () =>
    onStage(() =>
      Effect.gen(function* () {
        const peer = yield* join()
        // Many in one millisecond.
        const before = yield* echoes(peer, 25)
        yield* TestClock.adjust("1 millis")
        before.push(...(yield* echoes(peer, 12)))
        for (const limit of [1, 4, 37, 1000]) {
          assert.deepStrictEqual(yield* pages(peer, limit), before)
        }
        const other = yield* join()
        let added = 0
        const meanwhile = Effect.suspend(() =>
          added++ < 5 ? Effect.asVoid(Effect.andThen(TestClock.adjust("1 millis"), echoes(other, 2))) : Effect.void
        )
        const seen = yield* pages(peer, 5, Effect.orDie(meanwhile))
        assert.deepStrictEqual(seen.slice(0, 37), before)
        assert.strictEqual(new Set(seen).size, seen.length)
        assert.strictEqual(seen.length, 47)
      })
    )
  )

  it.effect("goes on behind jobs that were forgotten meanwhile, the one of the cursor among them", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* join()
          const old = yield* echoes(peer, 6)
          yield* TestClock.adjust("30 minutes")
          const young = yield* echoes(peer, 3)
          const first = yield* list(peer, { limit: 4 })
          assert.deepStrictEqual(idsOf(first), old.slice(0, 4))
          yield* TestClock.adjust("31 minutes")
          const [late] = yield* echoes(peer, 1)
          const second = yield* list(peer, { limit: 4, cursor: first.next_cursor })
          assert.deepStrictEqual([idsOf(second), second.next_cursor], [[...young, late!], null])
          assert.deepStrictEqual(yield* pages(peer, 100), [...young, late!])
        }),
      configured({ jobRetention: Duration.hours(1) })
    )
  )

  it.effect("gives a hundred unless told, and never more than a thousand", () =>
    Effect.gen(function* () {
      const peer = yield* join({ features: ["list_jobs"] })
      yield* echoes(peer, 1050)
      assert.lengthOf((yield* list(peer)).jobs, 100)
      const page = yield* list(peer, { limit: 5000 })
      assert.lengthOf(page.jobs, 1000)
      const rest = yield* list(peer, { limit: 5000, cursor: page.next_cursor })
      assert.deepStrictEqual([rest.jobs.length, rest.next_cursor], [50, null])
    }).pipe(withRuntime())
  )

  it.effect("refuses what is no cursor and what is no filter, and says which", () =>
    onStage(() =>
      Effect.gen(function* () {
        const peer = yield* join()
        yield* echoes(peer, 3)
        const encoded = (value: Json.Json) => Base64Url.encode(JSON.stringify(value))
        const wrong: ReadonlyArray<readonly [string, Json.JsonObject]> = [
          ...["", "x", "job_1", "!!!", "eyJ", encoded({}), encoded([]), encoded(["a", 1]), encoded([1, "a", 2])].map(
            (cursor) => ["payload.cursor", { cursor }] as const
          ),
          ["payload.limit", { limit: 0 }],
          ["payload.limit", { limit: -1 }],
          ["payload.limit", { limit: 1.5 }],
          ["payload.cursor", { cursor: 7 }],
          ["payload.filter.status", { filter: { status: "running" } }],
          ["payload.filter.agent", { filter: { agent: 1 } }],
          ["payload.filter.created_after", { filter: { created_after: "yesterday" } }],
          ["payload.filter.created_before", { filter: { created_before: "2026-02-03" } }]
        ]
        for (const [field, payload] of wrong) {
          const asked = yield* peer.send({ type: "session.list_jobs", payload })
          const refusal = yield* answer(peer)
          assertRefused(refusal, "INVALID_REQUEST", asked)
          assert.match(refusal.payload["message"] as string, new RegExp(`^${field}`), JSON.stringify(payload))
          assert.notMatch(refusal.payload["message"] as string, /JSON|token|position/)
          if ((yield* peer.record).length % 20 === 0) yield* list(peer)
        }
        assert.lengthOf((yield* list(peer, { cursor: null, filter: {} })).jobs, 3)
      })
    )
  )

  verifies("C-042", "shows no job of another principal, whatever is asked", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const mine = yield* join()
          const theirs = yield* join({ token: "other" })
          const ids = yield* echoes(mine, 5)
          const [one] = yield* echoes(theirs, 1)
          const page = yield* list(mine, { limit: 2 })
          for (const payload of [
            {},
            { cursor: page.next_cursor },
            { filter: { agent: "tck-echo" } },
            { limit: 1000 }
          ]) {
            const seen = idsOf(yield* list(theirs, payload))
            assert.deepStrictEqual(
              seen.filter((id) => id !== one),
              []
            )
          }
          // Another session of the principal sees them.
          assert.deepStrictEqual(idsOf(yield* list(yield* join())), ids)
        }),
      { tokens: principals }
    )
  )

  verifies("C-043", "a job that was listed is not thereby followed", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        const job = yield* enter(owner, "a")
        const observer = yield* join()
        assert.deepStrictEqual(idsOf(yield* list(observer)), [job])
        yield* stage.say("a", "one")
        yield* owner.receive
        assert.deepStrictEqual(yield* answers(observer), [])
      })
    )
  )

  it.effect("counts `last_event_seq` in the sequence of the submitter, who may be asked by it", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const owner = yield* join()
        yield* run(owner, "tck-echo", 1)
        const job = yield* enter(owner, "a")
        yield* stage.say("a", "one", "two")
        yield* take(owner, 2)
        const observer = yield* join()
        const [entry] = (yield* list(observer, { filter: { agent: "actor" } })).jobs
        assert.strictEqual(entry!["last_event_seq"], 5)
        yield* stage.say("a", "three")
        yield* owner.receive
        yield* observer.send({
          type: "job.subscribe",
          payload: { job_id: job, history: true, from_event_seq: entry!["last_event_seq"]! }
        })
        yield* observer.expect("job.subscribed")
        assert.strictEqual((yield* observer.receive).job_seq, 4)
      })
    )
  )

  it.effect("names a job as long as it runs, and for a while after", () =>
    onStage(
      () =>
        Effect.gen(function* () {
          const peer = yield* join()
          const sleeping = yield* submit(peer, "sleeper", 3600 * 3)
          const [ended] = yield* echoes(peer, 1)
          yield* TestClock.adjust("59 minutes")
          assert.deepStrictEqual(yield* pages(peer, 10), [sleeping.job_id, ended!])
          yield* TestClock.adjust("2 minutes")
          // What is forgotten is found by the next submission, whoever makes it.
          const [next] = yield* echoes(peer, 1)
          assert.deepStrictEqual(yield* pages(peer, 10), [sleeping.job_id, next!])
        }),
      configured({ jobRetention: Duration.hours(1) })
    )
  )

  it.effect("keeps no more ended jobs than it may, and every running one", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const peer = yield* join()
          const running = yield* enter(peer, "a")
          const ids = yield* echoes(peer, 40)
          yield* settled
          const seen = yield* pages(peer, 100)
          assert.strictEqual(seen[0], running)
          assert.isAtMost(seen.length, 1 + 10 + 2)
          assert.deepStrictEqual(seen.slice(1), ids.slice(-(seen.length - 1)))
          yield* stage.say("a", "one")
          yield* eventually(
            Effect.sync(() => stage.said("a")),
            (said) => said === 1
          )
        }),
      configured({ maxEndedJobs: 10 })
    )
  )
})
