import { assert, describe, it } from "@effect/vitest"
import { Duration, Option, Result } from "effect"
import * as CommandWords from "../../src/cli/CommandWords.ts"
import * as LeaseRequest from "../../src/cli/LeaseRequest.ts"
import * as Printable from "../../src/cli/Printable.ts"
import * as Progress from "../../src/cli/Progress.ts"
import * as TimeSpan from "../../src/cli/TimeSpan.ts"
import type * as JobEvent from "../../src/protocol/JobEvent.ts"

describe("CommandWords", () => {
  it.each([
    ["arcp serve agents.ts", ["arcp", "serve", "agents.ts"]],
    ["  a\t b  ", ["a", "b"]],
    [`'a b' "c d" e\\ f`, ["a b", "c d", "e f"]],
    [`a'b'"c"d`, ["abcd"]],
    [`"say \\"hi\\"" '\\'`, [`say "hi"`, "\\"]],
    [`''`, [""]]
  ])("%s", (text, words) => {
    assert.deepStrictEqual<ReadonlyArray<string>>(Result.getOrThrow(CommandWords.parse(text)), words)
  })

  it.each([
    ["", "it is empty"],
    ["  ", "it is empty"],
    ["a 'b", "a quote is not closed"],
    [`a "b`, "a quote is not closed"]
  ])("%j is refused", (text, problem) => {
    assert.deepStrictEqual(CommandWords.parse(text), Result.fail(problem))
  })
})

describe("LeaseRequest", () => {
  it("adds up pairs and objects", () => {
    assert.deepStrictEqual(
      LeaseRequest.parse(["fs.read=/a/**", `{"fs.read":["/b"],"tool.call":["x","y"]}`, "cost.budget=USD:1.00"]),
      Result.succeed({ "fs.read": ["/a/**", "/b"], "tool.call": ["x", "y"], "cost.budget": ["USD:1.00"] })
    )
  })

  it("keeps an equals sign that is part of the pattern", () => {
    assert.deepStrictEqual(
      LeaseRequest.parse(["net.fetch=https://a/?b=c"]),
      Result.succeed({ "net.fetch": ["https://a/?b=c"] })
    )
  })

  it.each([["fs.read"], ["=x"], ["fs.read="], ["{"], [`{"fs.read":"x"}`], ["__proto__=x"]])("%s is refused", (text) => {
    assert.isTrue(Result.isFailure(LeaseRequest.parse([text])))
  })
})

describe("TimeSpan", () => {
  it.each([
    ["30", 30_000],
    ["90s", 90_000],
    ["15m", 900_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000]
  ])("%s", (text, millis) => {
    assert.deepStrictEqual(Result.map(TimeSpan.parse(text), Duration.toMillis), Result.succeed(millis))
  })

  it.each([["0"], [""], ["-1"], ["1.5h"], ["1w"], ["soon"]])("%j is refused", (text) => {
    assert.isTrue(Result.isFailure(TimeSpan.parse(text)))
  })

  it("is an instant, from now on or by itself", () => {
    assert.deepStrictEqual(TimeSpan.parseInstant("1m", 5), Result.succeed(60_005))
    assert.deepStrictEqual(TimeSpan.parseInstant("1970-01-01T00:00:01Z", 5), Result.succeed(1000))
    assert.include(Result.getFailure(TimeSpan.parseInstant("1970-01-01T00:00:01+01:00", 5)).valueOrUndefined, "UTC")
  })
})

describe("Printable", () => {
  it.each([
    ["plain ünïcode 日本 🎉", "plain ünïcode 日本 🎉"],
    ["\u001b[31mred\u001b[0m", "red"],
    ["\u001b]0;title\u0007a\u001b]8;;http://x\u001b\\b", "ab"],
    ["\u009b2Jclear\u009dtitle\u009cend", "clearend"],
    ["\u001bPdevice\u001b\\ok", "ok"],
    ["a\u0000b\u0008c\u007fd\u0085e", "abcde"],
    ["one\r\ntwo\tthree", "one two three"],
    ["\u202eright to left\u2066", "right to left"],
    ["\u001b]unfinished", ""]
  ])("%j is one harmless line", (text, line) => {
    assert.strictEqual(Printable.line(text), line)
  })

  it("keeps what JSON says", () => {
    const value = { "\u009b\u202e": ["\u001b[2J\u007f", "a\nb", { deep: "日本" }] }
    for (const indent of [undefined, 2]) {
      const text = Printable.json(value, indent)
      // oxlint-disable-next-line no-control-regex
      assert.notMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
      assert.deepStrictEqual(JSON.parse(text), value)
    }
  })
})

describe("Progress", () => {
  const event = <K extends JobEvent.Kind>(kind: K, body: JobEvent.Body<K>): JobEvent.JobEvent =>
    ({ kind, ts: "", body }) as JobEvent.JobEvent

  /** The lines of a run of events, and where it is after them. */
  const tell = (events: ReadonlyArray<JobEvent.JobEvent>) => {
    const lines: Array<string> = []
    let progress = Progress.initial
    for (const next of events) {
      const line = Progress.line(progress, next, Progress.plain)
      if (Option.isSome(line)) lines.push(line.value)
      progress = Progress.add(progress, next)
    }
    return { lines, progress }
  }

  it("has a line for each kind of event", () => {
    const { lines } = tell([
      event("log", { level: "warn", message: "careful\nnow", attributes: { a: 1 } }),
      event("thought", { text: "hm" }),
      event("status", { phase: "reading", message: "the file" }),
      event("tool_call", { tool: "search", args: { q: "x" }, call_id: "1" }),
      event("tool_result", { call_id: "1", result: [1] }),
      event("tool_result", { call_id: "2", error: { code: "TIMEOUT", message: "slow", retryable: true } }),
      event("metric", { name: "cost.tokens", value: 0.1 + 0.2, unit: "USD" }),
      event("artifact_ref", { uri: "s3://x", content_type: "text/plain", byte_size: 3 }),
      event("delegate", { agent: "child" }),
      { kind: "x-vendor.acme.thing", ts: "", body: { a: 1 } }
    ])
    assert.deepStrictEqual(lines, [
      `warn     careful now {"a":1}`,
      "thought  hm",
      "status   reading: the file",
      `tool     search {"q":"x"}`,
      "tool     search answered [1]",
      "tool     2 failed: TIMEOUT: slow",
      "metric   cost.tokens 0.3 USD",
      "artifact s3://x (text/plain, 3 bytes)",
      "delegate child",
      `event    x-vendor.acme.thing {"a":1}`
    ])
  })

  it("does not repeat itself with every step", () => {
    const { lines } = tell(Array.from({ length: 1001 }, (_, current) => event("progress", { current, total: 1000 })))
    assert.strictEqual(lines.length, 21)
    assert.strictEqual(lines.at(-1), "progress 1000/1000")
    assert.strictEqual(tell([1, 2, 2].map((current) => event("progress", { current }))).lines.length, 2)
  })

  it("forgets calls that are never answered", () => {
    const { progress } = tell(
      Array.from({ length: 1000 }, (_, n) => event("tool_call", { tool: "t", args: null, call_id: String(n) }))
    )
    assert.strictEqual(progress.calls.size, 256)
    assert.isTrue(progress.calls.has("999"))
  })

  const view = { tick: 0, seconds: 7, columns: 80, style: Progress.plain }

  it("draws a bar when it knows how much there is", () => {
    const at = (current: number, total?: number) =>
      Progress.status(
        tell([event("progress", { current, units: "files", ...(total === undefined ? undefined : { total }) })])
          .progress,
        view
      )
    assert.strictEqual(at(1, 4), `⠋ ${"█".repeat(6)}${"░".repeat(18)}  25%  1/4 files  7s`)
    assert.strictEqual(at(4, 4), `⠋ ${"█".repeat(24)} 100%  4/4 files  7s`)
    assert.strictEqual(at(0, 0), "⠋ 0/0 files  7s")
    assert.strictEqual(at(3), "⠋ 3 files  7s")
    assert.strictEqual(Progress.status(Progress.initial, view), "⠋ waiting  7s")
  })

  it("fits in the terminal, whatever the job says", () => {
    const { progress } = tell([event("progress", { current: 1, total: 3, message: "長い".repeat(200) })])
    for (const columns of [40, 80, 200]) {
      const line = Progress.status(progress, { ...view, columns })
      assert.isBelow(
        [...line].reduce((width, char) => width + (char > "\u2fff" ? 2 : 1), 0),
        columns
      )
    }
  })
})
