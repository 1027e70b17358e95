import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Operation from "../../src/authority/Operation.ts"

describe("Operation", () => {
  it("has a constructor for each capability that is exercised", () => {
    assert.deepStrictEqual(
      [
        Operation.fsRead("/a"),
        Operation.fsWrite("/b"),
        Operation.netFetch("https://h/"),
        Operation.toolCall("t"),
        Operation.agentDelegate("a@1"),
        Operation.modelUse("m"),
        Operation.vendor("x-vendor.acme.queue", "q")
      ],
      [
        { capability: "fs.read", target: "/a" },
        { capability: "fs.write", target: "/b" },
        { capability: "net.fetch", target: "https://h/" },
        { capability: "tool.call", target: "t" },
        { capability: "agent.delegate", target: "a@1" },
        { capability: "model.use", target: "m" },
        { capability: "x-vendor.acme.queue", target: "q" }
      ]
    )
  })

  it.each([
    [Operation.toolCall(""), "empty"],
    [Operation.modelUse("m".repeat(1025)), "1024"],
    [Operation.toolCall("\ud800"), "surrogate"],
    [Operation.agentDelegate("No Such"), "agent name"],
    [Operation.fsRead("a"), "absolute"],
    [Operation.netFetch("h"), "URL"]
  ])("has no parts when the target has no canonical form: %j", (operation, reason) => {
    const parts = Operation.parts(operation)
    assert.isTrue(Result.isFailure(parts) && parts.failure.includes(reason), JSON.stringify(parts))
  })

  it.each([
    ["https://user:hunter2@h.com/a?token=hunter2#hunter2", "https://h.com/a"],
    ["https:user:hunter2@h.com/a", "https://h.com/a"],
    ["https:\\\\user:hunter2@h.com\\a", "https://h.com/a"],
    ["https://h.com:8443/@scope/name", "https://h.com:8443/@scope/name"],
    ["user:hunter2@h.com", "(not a URL with a host)"],
    ["https://user:hunter2@", "(not a URL with a host)"],
    [`https://h/${"hunter2".repeat(2000)}`, "(not a URL with a host)"]
  ])("shows of %j only %s", (url, shown) => {
    assert.strictEqual(Operation.describe(Operation.netFetch(url)), shown)
  })

  it("shows at most 256 characters, and never half a character", () => {
    const shown = Operation.describe(Operation.fsRead(`/${"😀".repeat(200)}`))
    assert.strictEqual(shown.length, 256)
    assert.isTrue(shown.isWellFormed())
  })
})
