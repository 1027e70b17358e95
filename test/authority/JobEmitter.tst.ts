import { describe, expect, it } from "tstyche"
import type * as JobEmitter from "../../src/authority/JobEmitter.ts"

declare const emitter: JobEmitter.JobEmitter["Service"]

describe("JobEmitter", () => {
  it("takes the body that belongs to the kind, and no other", () => {
    expect(emitter.emit).type.toBeCallableWith("tool_call", { tool: "search", args: {}, call_id: "c1" })
    expect(emitter.emit).type.not.toBeCallableWith("tool_call", { level: "info", message: "" })
    expect(emitter.emit).type.not.toBeCallableWith("shout", { message: "" })
  })
})
