import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as CanonicalUrl from "../../src/authority/CanonicalUrl.ts"

const canonical = (text: string) => Result.map(CanonicalUrl.parse(text), CanonicalUrl.format)
const pattern = (text: string) => Result.map(CanonicalUrl.parsePattern(text), CanonicalUrl.format)

describe("CanonicalUrl", () => {
  it.each([
    ["https://h", "https://h:443/"],
    ["HTTPS://H.Example:443/x", "https://h.example:443/x"],
    ["http://h/x", "http://h:80/x"],
    ["wss://h:8443/x", "wss://h:8443/x"],
    ["https://h/pub/../admin", "https://h:443/admin"],
    ["https://h/pub/%2e%2e/admin", "https://h:443/admin"],
    ["https://h/pub/.%2E/admin", "https://h:443/admin"],
    ["https://h/../../x", "https://h:443/x"],
    ["https://h\\pub\\..\\admin", "https://h:443/admin"],
    ["https:\\\\h\\x", "https://h:443/x"],
    ["https:h/x", "https://h:443/x"],
    ["https://h/%61%7e%2Dz", "https://h:443/a~-z"],
    ["https://h/a%2fb%c3%a9", "https://h:443/a%2Fb%C3%A9"],
    ["https://h/é", "https://h:443/%C3%A9"],
    // Decoded once and no further.
    ["https://h/pub/%2561%252f", "https://h:443/pub/%2561%252f"],
    ["https://h/pub/...", "https://h:443/pub/..."],
    ["https://h/pub/%2e%2e%2e/..a/b../.c", "https://h:443/pub/.../..a/b../.c"],
    ["https://h/pub/100%25/%25zz", "https://h:443/pub/100%25/%25zz"],
    ["https://h/pub/%C0%80%FF", "https://h:443/pub/%C0%80%FF"],
    ["https://h/x?y=/../z#w", "https://h:443/x"],
    ["https://h/a//b/", "https://h:443/a//b/"],
    ["https://0x7f.1/", "https://127.0.0.1:443/"],
    ["https://2130706433/", "https://127.0.0.1:443/"],
    ["https://[::FFFF:127.0.0.1]/", "https://[::ffff:7f00:1]:443/"],
    ["https://bücher.example/", "https://xn--bcher-kva.example:443/"],
    ["https://good.com。evil.example/", "https://good.com.evil.example:443/"],
    ["s3://Bucket/a/../b", "s3://Bucket/b"],
    ["s3://bucket", "s3://bucket/"]
  ])("reads %s as %s", (text, expected) => {
    assert.deepStrictEqual(canonical(text), Result.succeed(expected))
  })

  it.each([
    ["", "not an absolute URL"],
    ["/x", "not an absolute URL"],
    ["//h/x", "not an absolute URL"],
    ["https://", "not an absolute URL"],
    ["https://h:99999/", "not an absolute URL"],
    ["https://a@evil.com#.good.com/x", "user information"],
    ["https://good.com@evil.com/", "user information"],
    ["https://:secret@h/", "user information"],
    ["https:a:b@h/", "user information"],
    ["file:///etc/passwd", "host"],
    ["data:text/plain,x", "host"],
    ["javascript:alert(1)", "host"],
    ["blob:https://h/x", "host"],
    [" https://h/", "whitespace"],
    ["https://h/\t../x", "whitespace"],
    ["https://h/a b", "whitespace"],
    ["https://h/a\0b", "whitespace"],
    ["https://h/a\u007fb", "whitespace"],
    ["https://h/\ud800", "surrogate"],
    ["https://h/100%", "escape"],
    ["https://h/%zz", "escape"],
    ["https://h/%%34%31", "escape"],
    ["https://h/pub/..%2fadmin", "dot segments"],
    ["https://h/pub/%2e%2e%2Fadmin", "dot segments"],
    ["https://h/pub/x%5c..", "dot segments"],
    ["https://h/pub/..;/admin", "dot segments"],
    ["https://h/pub/..;a=b/admin", "dot segments"],
    ["https://h/pub/..%3b/admin", "dot segments"],
    ["https://h/pub/%252e%252e/admin", "dot segments"],
    ["https://h/pub/%25252e%25252E/admin", "dot segments"],
    ["https://h/pub/..%252fadmin", "dot segments"],
    ["https://h/pub/%25%32%65%25%32%65/admin", "dot segments"],
    ["https://h/pub/%25%32%35%25%33%32%25%36%35./admin", "dot segments"],
    [
      "https://h/pub/%25%32%35%25%33%32%25%33%35%25%32%35%25%33%33%25%33%32%25%32%35%25%33%36%25%33%35./admin",
      "dot segments"
    ],
    ["https://h/pub\uff052f..\uff052fadmin", "dot segments"],
    ["https://h/pub%25%32f..%25%32fadmin", "dot segments"],
    ["https://h/pub/%EF%BC%852e./admin", "dot segments"],
    ["https://h/pub/%EF%BC%8E%25EF\uff05BC%258E%252fadmin", "dot segments"],
    ["https://h/pub/%c0%ae%c0%ae/admin", "dot segments"],
    ["https://h/pub/%e0%80%ae%f0%80%80%ae/admin", "dot segments"],
    ["https://h/pub/..%c0%afadmin", "dot segments"],
    ["https://h/pub/..%c1%9cadmin", "dot segments"],
    ["https://h/pub/\uff0e\uff0e/admin", "dot segments"],
    ["https://h/pub/\u2025/admin", "dot segments"],
    ["https://h/pub/..\uff0fadmin", "dot segments"],
    ["https://h/pub/..%20/admin", "dot segments"],
    ["https://h/pub/..%00/admin", "dot segments"],
    ["https://h/pub/.%09./admin", "dot segments"],
    ["s3://b/pub\\..\\x", "backslash"],
    ["s3://b%2f/x", "percent"],
    [`https://h/${"a".repeat(8192)}`, "8192"]
  ])("refuses %j", (text, reason) => {
    const result = canonical(text)
    assert.isTrue(Result.isFailure(result) && result.failure.includes(reason), JSON.stringify(result))
  })

  it("does not repeat what it refuses: it may hold a secret", () => {
    const result = canonical("https://user:hunter2@h/?token=hunter2")
    assert.notInclude(JSON.stringify(result), "hunter2")
  })

  it.each([
    ["https://h", "https://h:443/"],
    ["HTTPS://H:443/**", "https://h:443/**"],
    ["https://*.Good.com/v1/*", "https://*.good.com:443/v1/*"],
    ["https://**/**", "https://**:443/**"],
    ["https://10.0.0.*/x", "https://10.0.0.*:443/x"],
    ["https://[::1]:*/x", "https://[::1]:*/x"],
    ["http://localhost:*/**", "http://localhost:*/**"],
    ["https://h/a/../b/*", "https://h:443/b/*"],
    ["https://h/%7euser/{id}", "https://h:443/~user/%7Bid%7D"],
    ["s3://*/x/**", "s3://*/x/**"]
  ])("reads the pattern %s as %s", (text, expected) => {
    assert.deepStrictEqual(pattern(text), Result.succeed(expected))
  })

  it.each([
    "h.com/**",
    "**",
    "*://h/",
    "https:h/x",
    "https:\\\\h/x",
    "https://h\\x",
    "https://user@h/",
    "https://h/x?y=*",
    "https://h/x#y",
    "https://h/*?",
    "https://%2a.good.com/",
    // A full-width star, which the URL standard reads as a star.
    "https://＊.good.com/",
    "https://*bücher.example/",
    "https://h/a/**/../b",
    "https://h/a/*/%2e%2e/b",
    "https://h/a/..%2f*",
    "https://h:80*/",
    "https://*:443*/",
    "https://*.0.0.1/",
    "https://:*/x",
    "https:///x",
    "https://h/a b"
  ])("refuses the pattern %j", (text) => {
    assert.isTrue(Result.isFailure(pattern(text)), JSON.stringify(pattern(text)))
  })
})
