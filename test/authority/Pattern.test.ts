import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Operation from "../../src/authority/Operation.ts"
import * as Pattern from "../../src/authority/Pattern.ts"
import { verifies } from "../conformance/verifies.ts"

/** Whether the pattern covers the target, both as they would be sent. */
const covers = (capability: string, source: string, target: string): boolean => {
  const pattern = Result.getOrThrow(Pattern.compile(capability, source))
  const parts = Operation.parts({ capability, target })
  return Result.isSuccess(parts) && Pattern.matches(pattern, parts.success)
}

interface Row {
  readonly capability: string
  readonly pattern: string
  readonly covers: ReadonlyArray<string>
  readonly refuses: ReadonlyArray<string>
}

const check = (rows: ReadonlyArray<Row>) =>
  Effect.sync(() => {
    for (const row of rows) {
      for (const target of row.covers) {
        assert.isTrue(covers(row.capability, row.pattern, target), `${row.pattern} must cover ${target}`)
      }
      for (const target of row.refuses) {
        assert.isFalse(covers(row.capability, row.pattern, target), `${row.pattern} must not cover ${target}`)
      }
    }
  })

describe("Pattern", () => {
  verifies("C-097", "globs are anchored, case sensitive, and `*` stays inside a segment", () =>
    check([
      { capability: "fs.read", pattern: "/a/*", covers: ["/a/b", "/a/.b"], refuses: ["/a", "/a/b/c", "/b/a/b"] },
      {
        capability: "fs.read",
        pattern: "/a/**",
        covers: ["/a", "/a/b", "/a/b/c"],
        refuses: ["/ab", "/a-private", "/a-private/b", "/A/b", "/", "/x/a/b"]
      },
      { capability: "fs.read", pattern: "/a/**/z", covers: ["/a/z", "/a/b/c/z"], refuses: ["/a/bz", "/a/z/b", "/z"] },
      { capability: "fs.read", pattern: "/**", covers: ["/", "/a", "/a/b"], refuses: [] },
      { capability: "fs.read", pattern: "/", covers: ["/", "//", "/a/.."], refuses: ["/a"] },
      { capability: "fs.read", pattern: "/*", covers: ["/a"], refuses: ["/", "/a/b"] },
      { capability: "fs.read", pattern: "/a/x*z", covers: ["/a/xz", "/a/xyz"], refuses: ["/a/x/z", "/a/xy", "/a/wxz"] },
      // Glued to something else, `**` is the narrower `*`.
      { capability: "fs.read", pattern: "/a/x**", covers: ["/a/x", "/a/xy"], refuses: ["/a/x/y", "/a"] },
      { capability: "fs.read", pattern: "/a/***", covers: ["/a/b"], refuses: ["/a", "/a/b/c"] }
    ])
  )

  verifies("C-097", "`?`, `[`, `{`, `!` and dots stand for themselves", () =>
    check([
      { capability: "fs.read", pattern: "/a/?", covers: ["/a/?"], refuses: ["/a/b"] },
      { capability: "fs.read", pattern: "/a/[bc]", covers: ["/a/[bc]"], refuses: ["/a/b"] },
      { capability: "fs.read", pattern: "/a/{b,c}", covers: ["/a/{b,c}"], refuses: ["/a/b"] },
      { capability: "fs.read", pattern: "/a/!b", covers: ["/a/!b"], refuses: ["/a/c"] },
      { capability: "fs.read", pattern: "/a/.", covers: ["/a"], refuses: ["/a/b"] },
      { capability: "tool.call", pattern: "a.b", covers: ["a.b"], refuses: ["axb"] },
      { capability: "tool.call", pattern: "[[:alpha:]]", covers: ["[[:alpha:]]"], refuses: ["a", "constructor"] }
    ])
  )

  verifies("C-097", "names are matched by `/` as they are written, and dots are ordinary", () =>
    check([
      {
        capability: "tool.call",
        pattern: "search.*",
        covers: ["search.web", "search.web.deep", "search."],
        refuses: ["search", "research.web", "search.web/deep", "Search.web"]
      },
      { capability: "tool.call", pattern: "*", covers: ["search", "a.b"], refuses: ["a/b", "/"] },
      { capability: "tool.call", pattern: "**", covers: ["search", "a/b", "/"], refuses: [""] },
      // No name is rewritten: a dot segment is a name like any other.
      { capability: "tool.call", pattern: "a/../b", covers: ["a/../b"], refuses: ["b"] },
      {
        capability: "model.use",
        pattern: "anthropic/claude-3-haiku-*",
        covers: ["anthropic/claude-3-haiku-20240307"],
        refuses: ["anthropic/claude-3-opus-1", "claude-3-haiku-1", "x/anthropic/claude-3-haiku-1"]
      },
      {
        capability: "model.use",
        pattern: "tier-fast/*",
        covers: ["tier-fast/a"],
        refuses: ["tier-fast", "tier-fast/a/b"]
      },
      { capability: "x-vendor.acme.queue", pattern: "q/*", covers: ["q/a"], refuses: ["q", "q/a/b"] }
    ])
  )

  it.effect("an agent pattern without `@` covers every version, one with `@` only those it names", () =>
    check([
      {
        capability: "agent.delegate",
        pattern: "planner",
        covers: ["planner", "planner@1.0.0"],
        refuses: ["planner-x", "planner-x@1.0.0", "plan", "Planner", "planner@", "planner@a@b", "planner/x"]
      },
      {
        capability: "agent.delegate",
        pattern: "planner@1.*",
        covers: ["planner@1.0.0", "planner@1."],
        refuses: ["planner", "planner@2.0.0", "planner@10"]
      },
      { capability: "agent.delegate", pattern: "plan*", covers: ["planner", "plan@2"], refuses: ["replan"] },
      { capability: "agent.delegate", pattern: "*@1", covers: ["a@1"], refuses: ["a", "a@11"] },
      { capability: "agent.delegate", pattern: "**", covers: ["a", "a@1"], refuses: [""] }
    ])
  )

  verifies("C-098", "no spelling of a path gets around a pattern", () =>
    check([
      {
        capability: "fs.read",
        pattern: "/ws/**",
        covers: ["/ws/", "/ws//a", "/ws/./a", "/ws/a/../b", "//ws/a", "/etc/../ws/a"],
        refuses: [
          "/ws/../etc/passwd",
          "/ws/a/../../etc/passwd",
          "/ws/..",
          "/ws//../etc",
          "/ws/./../etc",
          "/ws/../../ws/a",
          "/ws\\..\\..\\etc\\passwd",
          "/ws/..\\etc",
          "/ws/a\0/../../etc",
          "/WS/a",
          "ws/a",
          "./ws/a",
          "file:///ws/a"
        ]
      },
      // Below /ws, under an odd name: no file system decodes it.
      { capability: "fs.read", pattern: "/ws/**", covers: ["/ws/%2e%2e/etc/passwd"], refuses: ["/%77s/a"] },
      {
        capability: "fs.read",
        pattern: "/ws/*",
        covers: ["/ws/a/"],
        refuses: ["/ws/../etc/passwd", "/ws/a/b/c", "/ws/"]
      },
      { capability: "fs.write", pattern: "/ws//x/../a/", covers: ["/ws/a", "/ws/a/"], refuses: ["/ws/x", "/ws/a/b"] }
    ])
  )

  verifies("C-098", "no spelling of a URL gets around a pattern", () =>
    check([
      {
        capability: "net.fetch",
        pattern: "https://h.com/**",
        covers: [
          "https://h.com:443/x",
          "HTTPS://H.COM/x",
          "https://h.com",
          "https://h.com/a/../b",
          "https://h.com/x?q#f"
        ],
        refuses: ["http://h.com/x", "https://h.com:8443/x", "https://h.com.evil.com/x", "https://evil.com/h.com/x"]
      },
      {
        capability: "net.fetch",
        pattern: "https://h/pub/**",
        covers: ["https://h/pub", "https://h/pub/", "https://h/pub/a//b", "https://h/x/../pub/a", "https://h/%70ub/a"],
        refuses: [
          "https://h/pub/../admin",
          "https://h/pub/%2e%2e/admin",
          "https://h/pub/%2E%2E/admin",
          "https://h/pub/.%2e/admin",
          "https://h/pub\\..\\admin",
          "https://h/pub/..%2fadmin",
          "https://h/pub/..%5cadmin",
          "https://h/pub/..;/admin",
          "https://h/public",
          "https://h/Pub/a",
          "https://h/x?/pub/a",
          "https://h/x#/pub/a",
          "https://h/pub%2fa"
        ]
      },
      {
        capability: "net.fetch",
        pattern: "https://*.good.com/**",
        covers: ["https://api.good.com/x", "https://API.Good.com/"],
        refuses: [
          "https://good.com/x",
          "https://a.b.good.com/x",
          "https://.good.com/x",
          "https://evilgood.com/x",
          "https://a@evil.com#.good.com/x",
          "https://evil.com#.good.com/x",
          "https://evil.com?.good.com/x",
          "https://evil.com/.good.com/x",
          "https://evil.com\\.good.com/x",
          "https://x.good.com@evil.com/",
          "https://x.good.com:443@evil.com/",
          "https://x.good.com.evil.com/",
          "https://x.good.com./"
        ]
      },
      {
        capability: "net.fetch",
        pattern: "https://**.good.com/a/*",
        covers: ["https://good.com/a/b", "https://a.good.com/a/b", "https://a.b.good.com/a/b"],
        refuses: [
          "https://evilgood.com/a/b",
          "https://a.good.com/a/b/c",
          "https://a.good.com/a/",
          "https://evil.com/good.com/a/b"
        ]
      },
      {
        capability: "net.fetch",
        pattern: "https://h/",
        covers: ["https://h", "https://h/?q"],
        refuses: ["https://h/x"]
      },
      {
        capability: "net.fetch",
        pattern: "http://localhost:*/x",
        covers: ["http://localhost/x", "http://localhost:8080/x"],
        refuses: ["https://localhost/x", "http://127.0.0.1/x"]
      },
      {
        capability: "net.fetch",
        pattern: "https://127.0.0.1/**",
        covers: ["https://0x7f.1/x", "https://2130706433/"],
        refuses: ["https://[::ffff:127.0.0.1]/", "https://127.0.0.2/"]
      },
      { capability: "net.fetch", pattern: "https://*/**", covers: ["https://localhost/"], refuses: ["https://a.b/"] },
      {
        capability: "net.fetch",
        pattern: "https://**/**",
        covers: ["https://a.b.c/d/e"],
        refuses: ["https://u@a/", "ftp://a/"]
      },
      {
        capability: "net.fetch",
        pattern: "s3://b/x/**",
        covers: ["s3://b/x/y"],
        refuses: ["s3://b/x/../y", "s3://B/x/y"]
      },
      { capability: "net.fetch", pattern: "s3://b:*/x", covers: ["s3://b:9000/x"], refuses: ["s3://b/x"] }
    ])
  )

  it("says where `*` in a host ends: no label ever matches the port or the path", () => {
    assert.isFalse(covers("net.fetch", "https://**.com/x", "https://evil/com/x"))
    assert.isFalse(covers("net.fetch", "https://**/x/y", "https://h/z/x/y"))
    assert.isFalse(covers("net.fetch", "https://h/**", "https://x/h/"))
  })

  it.each([
    ["fs.read", "", "empty"],
    ["fs.read", "ws/**", "absolute"],
    ["fs.read", "**", "absolute"],
    ["fs.read", "/../x", "above the root"],
    ["fs.read", "/a/**/../b", "wildcard"],
    ["fs.read", "/a\\b", "backslash"],
    ["net.fetch", "h.com/**", "scheme://"],
    ["net.fetch", "https://h/x?y", "scheme://"],
    ["agent.delegate", "planner@1/2", "slash"],
    ["cost.budget", "USD:1", "amount"],
    ["tool.call", "\udc00", "surrogate"],
    ["tool.call", "a".repeat(1025), "1024"],
    ["fs.read", "/".repeat(1025), "1024"],
    // Short as it is written, too long once its characters are escaped.
    ["net.fetch", `https://h/${"é".repeat(500)}`, "escapes included"]
  ])("refuses the %s pattern %j", (capability, source, reason) => {
    const result = Pattern.compile(capability, source)
    assert.isTrue(Result.isFailure(result) && result.failure.includes(reason), JSON.stringify(result))
  })

  it("takes a pattern of exactly 1024 characters", () => {
    assert.isTrue(covers("tool.call", `${"a".repeat(1023)}*`, "a".repeat(1024)))
  })

  const includes = (capability: string, sources: ReadonlyArray<string>, child: string): boolean => {
    const compile = (source: string) => Result.getOrThrow(Pattern.compile(capability, source))
    return Pattern.includes(sources.map(compile), compile(child))
  }

  it.each<readonly [capability: string, sources: ReadonlyArray<string>, child: string]>([
    ["fs.read", ["/ws/**"], "/ws"],
    ["fs.read", ["/ws/**"], "/ws/a/../b/*.ts"],
    ["fs.read", ["/ws", "/ws/*/**"], "/ws/**"],
    ["fs.write", ["/ws/*"], "/ws/x*"],
    ["net.fetch", ["https://*.good.com/**"], "https://API.good.com:443/v1/*"],
    ["net.fetch", ["https://**.good.com/**"], "https://good.com/"],
    ["net.fetch", ["http://localhost:*/**"], "http://localhost:8080/x"],
    ["agent.delegate", ["planner"], "planner@1.*"],
    ["agent.delegate", ["plan*"], "planner"],
    ["agent.delegate", ["*"], "**"],
    ["tool.call", ["search.*"], "search.web.*"],
    ["model.use", ["tier-fast/*", "anthropic/**"], "anthropic/claude-3-haiku-*"],
    ["x-vendor.acme.queue", ["q/**"], "q/*"]
  ])("%s: %j include %j", (capability, sources, child) => {
    assert.isTrue(includes(capability, sources, child))
  })

  it.each<readonly [capability: string, sources: ReadonlyArray<string>, child: string]>([
    ["fs.read", ["/a/*"], "/a/**"],
    ["fs.read", ["/ws/**"], "/ws-private/**"],
    ["fs.read", ["/ws/**"], "/ws/../etc/*"],
    ["net.fetch", ["https://*.good.com/**"], "https://**.good.com/**"],
    ["net.fetch", ["https://h/**"], "http://h/**"],
    ["net.fetch", ["https://h/**"], "https://h:*/**"],
    ["net.fetch", ["https://h/pub/**"], "https://h/pub*/**"],
    ["net.fetch", ["https://**/**"], "http://h/"],
    ["agent.delegate", ["planner@1.*"], "planner"],
    ["agent.delegate", ["planner@1.*"], "planner@*"],
    ["tool.call", ["*"], "**"],
    ["model.use", ["tier-fast/*"], "*"],
    ["tool.call", [], "a"]
  ])("%s: %j do not include %j", (capability, sources, child) => {
    assert.isFalse(includes(capability, sources, child))
  })
})
