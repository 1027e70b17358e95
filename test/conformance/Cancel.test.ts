import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import {
  answer,
  answers,
  assertRefused,
  bodies,
  join,
  outcome,
  received,
  run,
  submit,
  withAgents,
  withRuntime
} from "./Conversation.ts"
import { verifies } from "./verifies.ts"

const two = { secret: "tester", other: "another" }

/** A session with a job that sleeps for an hour. */
const sleeping = Effect.gen(function* () {
  const peer = yield* join()
  const { job_id } = yield* submit(peer, "sleeper", 3600)
  yield* peer.expect("job.event")
  return { peer, job_id }
})

describe("Cancel", () => {
  verifies("C-062", "is answered first, then the agent unwinds, then the job ends as cancelled", () =>
    Effect.gen(function* () {
      const { job_id, peer } = yield* sleeping
      const { id } = yield* peer.send({ type: "job.cancel", job_id, payload: { job_id, reason: "no more" } })
      const cancelled = yield* peer.expect("job.cancelled")
      assert.strictEqual(cancelled.job_id, job_id)
      assert.deepStrictEqual(cancelled.payload, { job_id, reason: "no more", request_id: id })
      const { frames, terminal } = yield* outcome(peer, job_id)
      assert.deepStrictEqual(bodies(frames, "log"), [{ level: "warn", message: "woken" }])
      assert.strictEqual(terminal.type, "job.error")
      assert.deepStrictEqual(terminal.payload, {
        final_status: "cancelled",
        code: "CANCELLED",
        message: "Cancelled: no more",
        retryable: false,
        details: { reason: "no more" },
        completed_at: "1970-01-01T00:00:00.000Z"
      })
    }).pipe(withRuntime())
  )

  verifies("C-066", "finds its job in the envelope or in the payload, but not two of them", () =>
    Effect.gen(function* () {
      for (const where of ["envelope", "payload"]) {
        const { job_id, peer } = yield* sleeping
        yield* peer.send({ type: "job.cancel", ...(where === "envelope" ? { job_id } : { payload: { job_id } }) })
        yield* peer.expect("job.cancelled", (frame) => frame.payload["reason"] === "client.cancel")
        assert.strictEqual((yield* outcome(peer, job_id)).terminal.payload["code"], "CANCELLED")
      }
      const { job_id, peer } = yield* sleeping
      for (const frame of [{ type: "job.cancel", job_id, payload: { job_id: "job_other" } }, { type: "job.cancel" }]) {
        const sent = yield* peer.send(frame)
        const refusal = yield* answer(peer)
        assertRefused(refusal, "INVALID_REQUEST", sent)
        assert.deepStrictEqual(refusal.payload["details"], { field: "job_id" })
      }
    }).pipe(withRuntime())
  )

  verifies("C-063", "does not wait longer for an agent that ignores it than the grace", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "stubborn", null)
      yield* peer.until("job.event", (frame) => frame.payload["kind"] === "log")
      yield* peer.send({ type: "job.cancel", job_id })
      yield* peer.expect("job.cancelled")
      yield* TestClock.adjust("29999 millis")
      assert.deepStrictEqual(yield* answers(peer), [])
      yield* TestClock.adjust("1 millis")
      const { terminal } = yield* outcome(peer, job_id)
      assert.containSubset(terminal.payload, { code: "CANCELLED", final_status: "cancelled" })

      // What it says when it is let go at last has no place any more.
      yield* (yield* TestAgent.Stubbornness).release
      yield* Effect.repeat(Effect.yieldNow, { times: 20 })
      assert.deepStrictEqual(yield* answers(peer), [])
    }).pipe(withAgents(TestAgent.layerStubborn))
  )

  verifies("C-064", "is refused to another session of the same principal, and the job goes on", () =>
    Effect.gen(function* () {
      const { job_id, peer } = yield* sleeping
      const other = yield* join()
      const sent = yield* other.send({ type: "job.cancel", job_id })
      const refusal = yield* answer(other)
      assertRefused(refusal, "PERMISSION_DENIED", sent)
      assert.strictEqual(refusal.payload["job_id"], job_id)
      assert.deepStrictEqual(yield* answers(peer), [])
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* outcome(peer, job_id)).terminal.type, "job.result")
      assert.isFalse((yield* received(other)).some((frame) => frame.type.startsWith("job.")))
    }).pipe(withRuntime())
  )

  verifies("C-065", "of an unknown job and of another principal's is refused in the same words", () =>
    Effect.gen(function* () {
      const { job_id } = yield* sleeping
      const other = yield* join({ token: "other" })
      const refusals: Array<unknown> = []
      for (const job of [job_id, "job_unknown"]) {
        const sent = yield* other.send({ type: "job.cancel", job_id: job })
        const refusal = yield* answer(other)
        assertRefused(refusal, "JOB_NOT_FOUND", sent)
        refusals.push(JSON.stringify({ ...refusal.payload, request_id: "" }).replaceAll(job, "<job>"))
      }
      assert.strictEqual(refusals[0], refusals[1])
    }).pipe(withRuntime({ tokens: two }))
  )

  it.effect("of a job that has ended is answered to those who wait for it, and to nobody else", () =>
    Effect.gen(function* () {
      const ours = yield* join({ profile: "effect" })
      const { accepted } = yield* run(ours, "tck-echo", 1)
      const sent = yield* ours.send({ type: "job.cancel", job_id: accepted.job_id })
      const refusal = yield* answer(ours)
      assertRefused(refusal, "JOB_NOT_FOUND", sent)
      assert.containSubset(refusal.payload["details"], { final_status: "success" })

      const theirs = yield* join()
      const ended = yield* run(theirs, "tck-echo", 1)
      yield* theirs.send({ type: "job.cancel", job_id: ended.accepted.job_id })
      assert.deepStrictEqual(yield* answers(theirs), [])
    }).pipe(withRuntime())
  )

  it.effect("keeps no more than the beginning of a long reason", () =>
    Effect.gen(function* () {
      const { job_id, peer } = yield* sleeping
      yield* peer.send({ type: "job.cancel", job_id, payload: { reason: "r".repeat(100_000) } })
      const { reason } = (yield* peer.expect("job.cancelled")).payload
      assert.strictEqual(reason, "r".repeat(1024))
      const { terminal } = yield* outcome(peer, job_id)
      assert.deepStrictEqual(terminal.payload["details"], { reason: "r".repeat(1024) })
    }).pipe(withRuntime())
  )

  it.effect("asked for twice is answered twice, and the job ends once", () =>
    Effect.gen(function* () {
      const { job_id, peer } = yield* sleeping
      yield* peer.send({ type: "job.cancel", job_id })
      yield* peer.send({ type: "job.cancel", job_id })
      const frames = [...(yield* peer.until("job.error")), ...(yield* answers(peer))]
      assert.lengthOf(
        frames.filter((frame) => frame.type === "job.error"),
        1
      )
      assert.isAtLeast(frames.filter((frame) => frame.type === "job.cancelled").length, 1)
    }).pipe(withRuntime())
  )

  it.effect("that was taken wins over an agent that answers it with a result", () => {
    const eager = Agent.make({ name: "eager", input: Schema.Null, output: Schema.String }).toLayer(() =>
      Effect.flatMap(JobContext.JobContext, (job) => Effect.as(job.cancellation, "finished"))
    )
    return Effect.gen(function* () {
      const peer = yield* join()
      const { job_id } = yield* submit(peer, "eager", null)
      yield* peer.expect("job.event")
      yield* peer.send({ type: "job.cancel", job_id })
      yield* peer.expect("job.cancelled")
      assert.containSubset((yield* outcome(peer, job_id)).terminal, {
        type: "job.error",
        payload: { code: "CANCELLED", final_status: "cancelled" }
      })
    }).pipe(withAgents(eager))
  })
})
