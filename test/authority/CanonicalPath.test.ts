import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as CanonicalPath from "../../src/authority/CanonicalPath.ts"

const canonical = (text: string) => Result.map(CanonicalPath.parse(text), CanonicalPath.format)

describe("CanonicalPath", () => {
  it.each([
    ["/", "/"],
    ["/ws", "/ws"],
    ["/ws/", "/ws"],
    ["//ws///a//", "/ws/a"],
    ["/ws/./a/.", "/ws/a"],
    ["/ws/../etc/passwd", "/etc/passwd"],
    ["/ws/a/../../etc", "/etc"],
    ["/ws/..", "/"],
    // What only looks like a dot segment is a name.
    ["/ws/...", "/ws/..."],
    ["/ws/..a", "/ws/..a"],
    ["/ws/%2e%2e/etc/passwd", "/ws/%2e%2e/etc/passwd"],
    ["/ws/ a b ", "/ws/ a b "],
    ["/WS/é", "/WS/é"]
  ])("reads %s as %s", (text, expected) => {
    assert.deepStrictEqual(canonical(text), Result.succeed(expected))
  })

  it.each([
    ["", "absolute"],
    ["ws/a", "absolute"],
    ["./a", "absolute"],
    ["c:/../x", "absolute"],
    ["~/a", "absolute"],
    ["/..", "above the root"],
    ["/ws/../../etc/passwd", "above the root"],
    ["/ws/a\0.txt", "NUL"],
    ["/ws\\..\\..\\etc\\passwd", "backslash"],
    ["\\\\host\\share", "absolute"],
    ["/ws/\ud800", "surrogate"],
    [`/${"a".repeat(4096)}`, "4096"]
  ])("refuses %j", (text, reason) => {
    const result = canonical(text)
    assert.isTrue(Result.isFailure(result) && result.failure.includes(reason), JSON.stringify(result))
  })

  it("starts a relative path at a base, and lets it lead out of it but not above the root", () => {
    const base = Result.getOrThrow(CanonicalPath.parse("/ws/job"))
    const resolved = (text: string) => Result.map(CanonicalPath.resolve(base, text), CanonicalPath.format)
    assert.deepStrictEqual(resolved("a/b"), Result.succeed("/ws/job/a/b"))
    assert.deepStrictEqual(resolved(""), Result.succeed("/ws/job"))
    assert.deepStrictEqual(resolved("../../etc"), Result.succeed("/etc"))
    assert.deepStrictEqual(resolved("/etc"), Result.succeed("/etc"))
    assert.isTrue(Result.isFailure(resolved("../../../etc")))
  })

  it("refuses `..` behind a wildcard in a pattern, and reads it anywhere else", () => {
    const pattern = (text: string) => Result.map(CanonicalPath.parsePattern(text), CanonicalPath.format)
    assert.deepStrictEqual(pattern("/a/b/../*"), Result.succeed("/a/*"))
    for (const text of ["/a/**/../b", "/a/*/../b", "/a/b*/.."]) {
      assert.deepStrictEqual(pattern(text), Result.fail("'..' must not follow a wildcard"))
    }
    // In a target a star is a character like any other.
    assert.deepStrictEqual(canonical("/a/*/../b"), Result.succeed("/a/b"))
  })

  it.prop(
    "reads its own spelling as itself, free of what it resolves",
    { parts: Schema.Array(Schema.Literals(["a", "b", ".", "..", ""])).check(Schema.isMaxLength(12)) },
    ({ parts }) => {
      const result = canonical(`/${parts.join("/")}`)
      if (Result.isFailure(result)) return
      assert.deepStrictEqual(canonical(result.success), result)
      assert.match(result.success, /^\/$|^(\/[ab])+$/)
    },
    { arbitrary: { runs: 500 } }
  )
})
