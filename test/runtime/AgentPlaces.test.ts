import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Agent from "../../src/runtime/Agent.ts"
import * as AgentPlaces from "../../src/runtime/AgentPlaces.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import * as Seeded from "../simulation/Seeded.ts"

const Slow = Agent.make({ name: "slow", input: Schema.Int, output: Schema.Int })

const runtime = ArcpTest.layerRuntime({
  agents: Slow.toLayer((seconds) => Effect.as(Effect.sleep(`${seconds} seconds`), seconds), {
    concurrency: 1,
    queue: 1
  })
})

const submit = (input: number) => ({ type: "job.submit", payload: { agent: "slow", input } })

/** The types, kinds and phases that came, as words. */
const words = (frames: ReadonlyArray<TestPeer.Frame>) =>
  frames.map(({ payload, type }) => String(payload["code"] ?? (type === "job.event" ? "running" : type)))

describe("AgentPlaces", () => {
  it.effect("runs as many as there are places, lets as many wait as the queue holds, and refuses the next", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      for (const seconds of [1, 2, 3]) yield* peer.send(submit(seconds))
      const first = yield* peer.drain
      assert.sameMembers([...words(first)], ["job.accepted", "running", "job.accepted", "INTERNAL_ERROR"])
      const refusal = first.find(({ type }) => type === "session.error")!
      assert.deepInclude(refusal.payload["details"], { limit: "jobs_waiting_for_this_agent", retry_after_ms: 1000 })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(words(yield* peer.drain), ["job.result", "running"])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(words(yield* peer.drain), ["job.result"])
      yield* peer.send(submit(0))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(words(yield* peer.drain), ["job.accepted", "running", "job.result"])
    }).pipe(Effect.provide(runtime))
  )

  it.effect("a job that waits can be cancelled, and gives its place in the queue back", () =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* peer.hello()
      yield* peer.send(submit(10))
      yield* peer.send(submit(10))
      const waiting = (yield* peer.drain).filter(({ type }) => type === "job.accepted")[1]!
      yield* peer.send({ type: "job.cancel", job_id: waiting.job_id!, payload: {} })
      assert.deepStrictEqual(words(yield* peer.drain), ["job.cancelled", "CANCELLED"])
      yield* peer.send(submit(10))
      assert.deepStrictEqual(words(yield* peer.drain), ["job.accepted"])
    }).pipe(Effect.provide(runtime))
  )

  it("loses no place, whenever those are interrupted that have one or wait for it", async () => {
    let waited = 0
    for (let seed = 1; seed <= 300; seed++) {
      const next = Seeded.chance(seed)
      const turns = Effect.suspend(() =>
        Effect.forEach(Array.from({ length: Seeded.between(next, 0, 20) }), () => Effect.yieldNow, { discard: true })
      )
      const run = Effect.gen(function* () {
        const places = yield* AgentPlaces.make({ concurrency: 2, queue: 20 })
        const visit = Effect.suspend(() => {
          if (!places.hasFree()) waited++
          const place = places.reserve()!
          return Effect.ensuring(Effect.interruptible(Effect.andThen(place.take, turns)), place.leave)
        })
        const visitors = yield* Effect.forEach(Array.from({ length: 12 }), () =>
          Effect.forkChild(Effect.uninterruptible(visit))
        )
        for (const visitor of visitors) {
          yield* turns
          if (next() < 0.5) yield* Effect.forkChild(Fiber.interrupt(visitor))
        }
        yield* Effect.forEach(visitors, Fiber.await)
        // As many as ever have a place at the same time.
        for (let n = 0; n < 2; n++) {
          assert.isTrue(places.hasFree())
          yield* Effect.timeout(places.reserve()!.take, "1 second")
        }
        assert.isFalse(places.hasFree())
      })
      const named = Effect.catchDefect(run, (defect) => Effect.die(new Error(`seed ${seed}`, { cause: defect })))
      await Effect.runPromise(named, { scheduler: Seeded.scheduler(next, 6) })
    }
    assert.isAbove(waited, 300)
  })
})
