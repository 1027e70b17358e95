import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Feature from "../../src/protocol/Feature.ts"
import type * as Profile from "../../src/protocol/Profile.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { answer, answers, join, outcome, run, sendSubmit, submit, withRuntime } from "./Conversation.ts"

const profiles: ReadonlyArray<Profile.Profile> = ["effect", "ts", "go", "echo", "java", "standard"]
const echoing: ReadonlyArray<Profile.Profile> = ["echo", "java"]

const freshId = /^msg_[0-9A-HJKMNP-TV-Z]{26}$/

for (const profile of profiles) {
  describe(`A client of the family "${profile}"`, () => {
    /** The id under which the answer to a request comes. */
    const assertReplyId = (reply: TestPeer.Frame, request: { readonly id: string }) => {
      if (echoing.includes(profile)) assert.strictEqual(reply.id, request.id)
      else assert.match(reply.id!, freshId)
    }

    it.effect("hears under which id it expects them the welcome, the acceptance, and the rest", () =>
      Effect.gen(function* () {
        const peer = yield* TestPeer.connect
        const hello = yield* peer.send(TestPeer.helloOf({ profile }))
        const welcome = yield* peer.expect("session.welcome")
        assertReplyId(welcome, hello)
        const capabilities = welcome.payload["capabilities"] as object
        assert.strictEqual(Object.hasOwn(capabilities, Feature.declaration.key), profile === "effect")

        const request = yield* sendSubmit(peer, "sleeper", 60)
        const accepted = yield* peer.expect("job.accepted")
        assertReplyId(accepted, request)
        assert.strictEqual(accepted.payload["request_id"], request.id)
        assert.match((yield* peer.expect("job.event")).id!, freshId)

        const cancel = yield* peer.send({ type: "job.cancel", job_id: accepted.job_id })
        const cancelled = yield* peer.expect("job.cancelled")
        assertReplyId(cancelled, cancel)
        assert.strictEqual(cancelled.payload["request_id"], cancel.id)
        yield* peer.until("job.error")

        const close = yield* peer.send({ type: "session.close" })
        assertReplyId(yield* peer.expect("session.closed"), close)
        yield* peer.closed
      }).pipe(withRuntime())
    )

    it.effect("is refused at the door in words that it hears", () =>
      Effect.gen(function* () {
        const peer = yield* TestPeer.connect
        const hello = yield* peer.send(TestPeer.helloOf({ profile, token: "wrong" }))
        const refusal = yield* peer.expect(profile === "java" ? "job.error" : "session.error")
        assertReplyId(refusal, hello)
        assert.match(refusal.session_id!, /^sess_/)
        assert.isUndefined(refusal.event_seq)
        assert.containSubset(refusal.payload, {
          code: "UNAUTHENTICATED",
          retryable: false,
          request_id: hello.id,
          ...(profile === "java" ? { final_status: "error" } : {})
        })
        assert.strictEqual((yield* peer.closed).code, 1008)
      }).pipe(withRuntime())
    )

    it.effect("reads an inline result where it looks for it", () =>
      Effect.gen(function* () {
        const peer = yield* join({ profile })
        const { payload } = (yield* run(peer, "tck-echo", { a: 1 })).terminal
        assert.deepStrictEqual(payload["result"], { a: 1 })
        assert.deepStrictEqual(payload["output"], profile === "go" ? { a: 1 } : undefined)
      }).pipe(withRuntime())
    )

    it.effect("hears that a submit is refused, and its other jobs go on", () =>
      Effect.gen(function* () {
        const peer = yield* join({ profile })
        const { job_id } = yield* submit(peer, "sleeper", 60)
        yield* peer.expect("job.event")
        const trace_id = "a".repeat(32)
        for (const [agent, input, code] of [
          ["nobody", null, "AGENT_NOT_AVAILABLE"],
          ["sleeper@9", 1, "AGENT_VERSION_NOT_AVAILABLE"],
          ["sleeper", "long", "INVALID_REQUEST"],
          ["Sleeper", 1, "INVALID_REQUEST"],
          ["", 1, "INVALID_REQUEST"]
        ] as const) {
          const request = yield* sendSubmit(peer, agent, input, { trace_id })
          const refusal = yield* answer(peer)
          assert.containSubset(refusal.payload, { code, request_id: request.id })
          assert.notStrictEqual(refusal.job_id, job_id)
          const asJob = profile === "java" || (profile === "ts" && code !== "AGENT_VERSION_NOT_AVAILABLE")
          assert.strictEqual(refusal.type, asJob ? "job.error" : "session.error")
          if (asJob) {
            assert.strictEqual(refusal.payload["final_status"], "error")
            assert.isString(refusal.payload["completed_at"])
          }
          if (asJob && profile === "ts") {
            assert.match(refusal.job_id!, /^job_/)
            assert.isNumber(refusal.event_seq)
            if (code !== "INVALID_REQUEST") assert.strictEqual(refusal.trace_id, trace_id)
          } else {
            assert.isUndefined(refusal.job_id)
            assert.isUndefined(refusal.event_seq)
            assertReplyId(refusal, request)
          }
        }
        yield* TestClock.adjust("60 seconds")
        assert.strictEqual((yield* outcome(peer, job_id)).terminal.type, "job.result")
      }).pipe(withRuntime())
    )

    it.effect("hears of a key that stands for another job, without a word under that job's id", () =>
      Effect.gen(function* () {
        const peer = yield* join({ profile })
        const payload = { idempotency_key: "k" }
        const { job_id } = yield* submit(peer, "sleeper", 60, { payload })
        yield* peer.expect("job.event")
        const request = yield* sendSubmit(peer, "sleeper", 61, { payload })
        const refusal = yield* answer(peer)
        assert.containSubset(refusal.payload, {
          code: "DUPLICATE_KEY",
          request_id: request.id,
          details: { existing_job_id: job_id }
        })
        assert.notStrictEqual(refusal.job_id, job_id)
      }).pipe(withRuntime())
    )

    it.effect("hears that it may not cancel what is another session's, without a word under that job's id", () =>
      Effect.gen(function* () {
        const { job_id } = yield* submit(yield* join(), "sleeper", 60)
        const peer = yield* join({ profile })
        for (const [job, code] of [
          [job_id, "PERMISSION_DENIED"],
          ["job_x", "JOB_NOT_FOUND"]
        ] as const) {
          const request = yield* peer.send({ type: "job.cancel", job_id: job, payload: { job_id: job } })
          const refusal = yield* answer(peer)
          assert.containSubset(refusal.payload, { code, request_id: request.id })
          assert.strictEqual(refusal.type, ["ts", "java"].includes(profile) ? "job.error" : "session.error")
          assert.notStrictEqual(refusal.job_id, job)
          if (refusal.type === "session.error") assert.strictEqual(refusal.payload["job_id"], job)
        }
      }).pipe(withRuntime())
    )

    it.effect("is answered about a job that has ended only if it waits for an answer", () =>
      Effect.gen(function* () {
        const peer = yield* join({ profile })
        const { accepted } = yield* run(peer, "tck-echo", 1)
        yield* peer.send({ type: "job.cancel", job_id: accepted.job_id })
        assert.lengthOf(yield* answers(peer), profile === "effect" ? 1 : 0)
      }).pipe(withRuntime())
    )

    it.effect("hears that nothing of the kind was agreed, or that there is no such job to watch", () =>
      Effect.gen(function* () {
        const peer = yield* join({ profile, features: [] })
        for (const frame of [{ type: "job.subscribe", payload: { job_id: "job_x" } }, { type: "session.list_jobs" }]) {
          const request = yield* peer.send(frame)
          const refusal = yield* answer(peer)
          assert.strictEqual(refusal.type, profile === "java" ? "job.error" : "session.error")
          assertReplyId(refusal, request)
          assert.containSubset(refusal.payload, { code: "INVALID_REQUEST", request_id: request.id })
        }
        const watching = yield* join({ profile, features: ["subscribe"] })
        const request = yield* watching.send({ type: "job.subscribe", payload: { job_id: "job_x" } })
        const refusal = yield* answer(watching)
        assert.strictEqual(refusal.type, profile === "java" ? "job.error" : "session.error")
        assertReplyId(refusal, request)
        assert.containSubset(refusal.payload, {
          code: "JOB_NOT_FOUND",
          request_id: request.id,
          ...(profile === "java" ? {} : { job_id: "job_x" })
        })
      }).pipe(withRuntime())
    )
  })
}
