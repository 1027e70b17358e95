import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, References } from "effect"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { answers, join, received, run, sendSubmit, submit, withRuntime } from "./Conversation.ts"
import { verifies } from "./verifies.ts"

const failWith = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, how: string) {
  const { terminal } = yield* run(peer, "failing", how)
  assert.strictEqual(terminal.type, "job.error")
  const { completed_at, ...payload } = terminal.payload
  assert.isString(completed_at)
  return payload
})

describe("Errors", () => {
  verifies("C-126", "every error has a code of the fifteen, a message, and says whether to try again", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      yield* Effect.forEach(["defect", "declared", "lease", "budget", "interrupted"], (how) => failWith(peer, how))
      yield* sendSubmit(peer, "nobody", null)
      yield* sendSubmit(peer, "tck-echo@2", null)
      yield* sendSubmit(peer, "", null)
      yield* peer.send("{")
      yield* peer.send({ type: "job.cancel", job_id: "job_x" })
      assert.lengthOf(yield* answers(peer), 5)
      const { job_id } = yield* submit(peer, "sleeper", 60)
      yield* peer.send({ type: "job.cancel", job_id })
      yield* peer.until("job.error")
      const errors = (yield* received(peer)).filter((frame) => frame.type.endsWith(".error"))
      assert.isAtLeast(errors.length, 10)
      for (const { payload } of errors) {
        assert.match(payload["code"] as string, /^[A-Z_]+$/)
        assert.isAbove((payload["message"] as string).length, 0)
        assert.isBoolean(payload["retryable"])
      }
    }).pipe(withRuntime())
  )

  verifies(["C-061", "C-127"], "the advice that the protocol fixes is given whatever the agent says", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      assert.deepStrictEqual(yield* failWith(peer, "lease"), {
        final_status: "error",
        code: "LEASE_EXPIRED",
        message: "too late",
        retryable: false
      })
      assert.deepStrictEqual(yield* failWith(peer, "budget"), {
        final_status: "error",
        code: "BUDGET_EXHAUSTED",
        message: "too dear",
        retryable: false
      })
      assert.containSubset(yield* failWith(peer, "interrupted"), { code: "INTERNAL_ERROR", retryable: true })
    }).pipe(withRuntime())
  )

  verifies("C-129", "a defect shows nothing of itself", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      for (const how of ["defect", "thrown"]) {
        assert.deepStrictEqual(yield* failWith(peer, how), {
          final_status: "error",
          code: "INTERNAL_ERROR",
          message: "The agent failed unexpectedly",
          retryable: true
        })
      }
    }).pipe(withRuntime())
  )

  it.effect("an agent's own error travels whole, under the code of its contract", () =>
    Effect.gen(function* () {
      const peer = yield* join()
      assert.deepStrictEqual(yield* failWith(peer, "declared"), {
        final_status: "error",
        code: "PERMISSION_DENIED",
        message: "The agent failed: Spilled",
        retryable: false,
        details: { agent_error: { _tag: "Spilled", litres: 2 } }
      })
    }).pipe(withRuntime())
  )

  verifies("C-133", "no token, right or wrong, old or new, reaches a log or an error", () => {
    const logged: Array<string> = []
    const keep = Logger.make(({ cause, message, date, fiber }) => {
      const annotations = fiber.getRef(References.CurrentLogAnnotations)
      logged.push(
        [date.toISOString(), String(message), JSON.stringify([message, annotations]), String(cause)].join(" ")
      )
    })
    return Effect.gen(function* () {
      const tokens: Array<string> = ["secret-right", "secret-wrong"]
      const wrong = yield* TestPeer.connect
      yield* wrong.send(TestPeer.helloOf({ token: "secret-wrong" }))
      yield* wrong.until("session.error")
      const peer = yield* TestPeer.connect
      const welcome = yield* peer.hello({ token: "secret-right" })
      tokens.push(welcome.payload["resume_token"] as string)
      yield* failWith(peer, "defect")
      yield* peer.send(TestPeer.helloOf({ token: "secret-right" }))
      yield* peer.send(
        `{"type":"session.hello","payload":{"auth":{"token":"secret-right"},"resume":{"resume_token":7}}}`
      )
      yield* peer.until("session.error")
      yield* peer.until("session.error")
      yield* peer.close()
      const back = yield* TestPeer.connect
      yield* back.send({
        type: "session.resume",
        payload: { resume_token: "secret-wrong", auth: { scheme: "bearer", token: "secret-right" } }
      })
      yield* back.until("session.error")

      assert.isAbove(logged.length, 0)
      const told = [...(yield* wrong.record), ...(yield* peer.record), ...(yield* back.record)]
        .filter(({ direction, text }) => direction === "received" && !text.includes("session.welcome"))
        .map(({ text }) => text)
      for (const token of tokens) {
        for (const line of [...logged, ...told]) assert.notInclude(line, token)
      }
    }).pipe(
      withRuntime({ tokens: { "secret-right": "tester" } }),
      Effect.provide(Logger.layer([keep])),
      Effect.provideService(References.MinimumLogLevel, "Trace")
    )
  })
})
