import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as Leases from "../../src/authority/Leases.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { answer, answers, assertRefused, eventually, join, outcome, run, sendSubmit, submit } from "./Conversation.ts"
import { configured, enter, lineOf, onStage, rejoin, seqs, settled, take, ticketOf, upTo } from "./Stage.ts"
import { verifies } from "./verifies.ts"

const keyed = (idempotency_key: string) => ({ payload: { idempotency_key } })

/** A policy that takes ten seconds to grant what is asked for. */
const slowly = {
  leases: Layer.effect(
    Leases.Leases,
    Effect.map(Leases.Leases, (granting) =>
      Leases.Leases.of({ ...granting, grant: (ask) => Effect.delay(granting.grant(ask), "10 seconds") })
    )
  ).pipe(Layer.provide(Leases.layer))
}

/** What an acceptance says, but for whose request it answers. */
const promised = (frame: TestPeer.Frame) => {
  const { request_id: _, ...payload } = frame.payload
  return JSON.stringify(payload)
}

describe("Idempotency", () => {
  verifies(
    "C-054",
    "in another session the acceptance is the same to the letter, and the job is heard from its start",
    () =>
      onStage((stage) =>
        Effect.gen(function* () {
          const first = yield* join()
          yield* run(first, "tck-echo", 1)
          const accepted = yield* submit(first, "actor", "a", keyed("k"))
          yield* stage.say("a", "one")
          yield* take(first, 2)
          yield* TestClock.adjust("1 hour")
          const second = yield* join()
          const again = yield* submit(second, "actor", "a", keyed("k"))
          assert.strictEqual(promised(again), promised(accepted))
          assert.strictEqual(again.trace_id, accepted.trace_id)
          yield* stage.say("a", "two")
          yield* stage.exit("a")
          const theirs = yield* outcome(second, accepted.job_id)
          assert.deepStrictEqual(seqs(theirs.frames), upTo(4))
          assert.deepStrictEqual(theirs.frames.map(lineOf), [undefined, "one", "two", undefined])
          assert.deepStrictEqual(seqs((yield* outcome(first, accepted.job_id)).frames), [5, 6])
          assert.strictEqual(stage.entered("a"), 1)
        })
      )
  )

  it.effect("in the same session nothing is told twice while the job runs", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const peer = yield* join()
        const accepted = yield* submit(peer, "actor", "a", keyed("k"))
        yield* stage.say("a", "one")
        yield* take(peer, 2)
        const again = yield* submit(peer, "actor", "a", keyed("k"))
        assert.strictEqual(promised(again), promised(accepted))
        yield* stage.exit("a")
        assert.deepStrictEqual(seqs((yield* outcome(peer, accepted.job_id)).frames), [3])
      })
    )
  )

  it.effect("who repeats a request is a submitter too, and who only watches is not", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const first = yield* TestPeer.connect
        const ticket = ticketOf(yield* first.hello())
        const { job_id } = yield* submit(first, "actor", "a", keyed("k"))
        yield* first.close()
        yield* settled
        const watching = yield* join()
        const cancel = { type: "job.cancel", payload: { job_id } }
        yield* watching.send(cancel)
        assertRefused(yield* answer(watching), "PERMISSION_DENIED")

        const second = yield* join()
        yield* submit(second, "actor", "a", keyed("k"))
        yield* take(second, 1)
        yield* second.send(cancel)
        yield* second.expect("job.cancelled")
        assert.strictEqual((yield* outcome(second, job_id)).terminal.payload["code"], "CANCELLED")
        // The first hears of it when it is back.
        const back = yield* rejoin(ticket, { last: 0 })
        assert.strictEqual((yield* outcome(back.peer, job_id)).terminal.payload["code"], "CANCELLED")
        assert.strictEqual(stage.entered("a"), 1)
      })
    )
  )

  verifies("C-057", "a client that lost its session finds its job again, running or ended, by the key", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const lost = yield* join()
        const { job_id } = yield* submit(lost, "actor", "a", keyed("k"))
        yield* lost.close()
        yield* settled
        yield* TestClock.adjust("11 minutes")
        const second = yield* join()
        const again = yield* submit(second, "actor", "a", keyed("k"))
        assert.strictEqual(again.job_id, job_id)
        yield* stage.say("a", "one")
        yield* stage.exit("a")
        const seen = yield* outcome(second, job_id)
        assert.deepStrictEqual(seqs(seen.frames), upTo(3))
        yield* second.close()
        yield* TestClock.adjust("11 minutes")
        const third = yield* join()
        yield* submit(third, "actor", "a", keyed("k"))
        const last = yield* outcome(third, job_id)
        assert.deepStrictEqual(last.terminal.payload, seen.terminal.payload)
        assert.strictEqual(stage.entered("a"), 1)
      })
    )
  )

  verifies("C-058", "two submits of one key that are decided side by side make one job", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const peers = [yield* join(), yield* join()]
          for (const peer of peers) yield* sendSubmit(peer, "actor", "a", keyed("k"))
          yield* settled
          yield* TestClock.adjust("10 seconds")
          yield* stage.exit("a")
          const jobs: Array<unknown> = []
          for (const peer of peers) {
            const { job_id } = yield* peer.expect("job.accepted")
            jobs.push(job_id)
            yield* outcome(peer, job_id!)
          }
          assert.strictEqual(jobs[0], jobs[1])
          assert.strictEqual(stage.entered("a"), 1)
        }),
      slowly
    )
  )

  it.effect("two that differ and are decided side by side make one job and one refusal", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const [one, two] = [yield* join(), yield* join()]
          yield* sendSubmit(one, "actor", "a", keyed("k"))
          yield* sendSubmit(two, "actor", "b", keyed("k"))
          yield* settled
          yield* TestClock.adjust("10 seconds")
          const { job_id } = yield* one.expect("job.accepted")
          const refusal = yield* two.expect("session.error")
          assertRefused(refusal, "DUPLICATE_KEY")
          assert.deepStrictEqual(refusal.payload["details"], { existing_job_id: job_id! })
          yield* stage.exit("a")
          yield* outcome(one, job_id!)
          assert.deepStrictEqual([stage.entered("a"), stage.entered("b")], [1, 0])
        }),
      slowly
    )
  )

  it.effect("a line that breaks before the decision starts nothing and takes no key", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          const ticket = ticketOf(yield* peer.hello())
          yield* sendSubmit(peer, "actor", "a", keyed("k"))
          yield* settled
          yield* peer.close()
          yield* settled
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(stage.entered("a"), 0)
          const back = yield* rejoin(ticket, { last: 0 })
          yield* sendSubmit(back.peer, "actor", "b", keyed("k"))
          yield* settled
          yield* TestClock.adjust("10 seconds")
          yield* back.peer.expect("job.accepted")
          yield* eventually(
            Effect.sync(() => stage.entered("b")),
            (entered) => entered === 1
          )
        }),
      slowly
    )
  )

  it.effect("a repetition needs no room among the running jobs", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const peer = yield* join()
          const { job_id } = yield* submit(peer, "actor", "a", keyed("k"))
          yield* take(peer, 1)
          assert.strictEqual((yield* submit(peer, "actor", "a", keyed("k"))).job_id, job_id)
          yield* sendSubmit(peer, "actor", "a")
          assertRefused(yield* answer(peer), "INTERNAL_ERROR")
          yield* stage.exit("a")
          yield* outcome(peer, job_id)
          assert.deepStrictEqual(yield* answers(peer), [])
        }),
      configured({ maxJobsPerSession: 1 })
    )
  )

  it.effect("a key binds as long as it should, also while its job still runs, and no longer", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const peer = yield* join()
        const job = yield* enter(peer, "idle")
        const { job_id } = yield* submit(peer, "actor", "a", keyed("k"))
        yield* take(peer, 1)
        yield* TestClock.adjust("23 hours")
        assert.strictEqual((yield* submit(peer, "actor", "a", keyed("k"))).job_id, job_id)
        yield* TestClock.adjust("61 minutes")
        const next = yield* submit(peer, "actor", "a", keyed("k"))
        assert.notStrictEqual(next.job_id, job_id)
        assert.notStrictEqual(next.job_id, job)
        yield* eventually(
          Effect.sync(() => stage.entered("a")),
          (entered) => entered === 2
        )
      })
    )
  )
})
