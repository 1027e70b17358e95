import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as JobEmitter from "../../src/authority/JobEmitter.ts"

describe("JobEmitter", () => {
  it.effect("carries kind and body of an event as they belong together", () =>
    Effect.gen(function* () {
      const spoken: Array<unknown> = []
      const emitter = JobEmitter.JobEmitter.of({
        emit: (kind, body) =>
          Effect.sync(() => {
            spoken.push({ kind, body })
          })
      })
      yield* JobEmitter.JobEmitter.use(({ emit }) =>
        emit("tool_call", { tool: "search", args: {}, call_id: "c1" })
      ).pipe(Effect.provideService(JobEmitter.JobEmitter, emitter))
      assert.deepStrictEqual(spoken, [{ kind: "tool_call", body: { tool: "search", args: {}, call_id: "c1" } }])
    })
  )
})
