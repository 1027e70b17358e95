import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { FetchHttpClient, Headers, HttpBody, HttpClientRequest } from "effect/http"
import { verifies } from "../conformance/verifies.ts"
import * as FakeHttp from "./FakeHttp.ts"

const { failing, leased, refused, utf8 } = FakeHttp

const pub = ["https://good.com/pub/**"]

describe("a redirect under a lease", () => {
  const to = (status: number, location: string) => (sent: FakeHttp.Sent) =>
    sent.url.endsWith("/from") ? { status, headers: { location } } : { body: "there" }

  it.effect("is followed within the lease, relative to where it came from", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({ reply: to(302, "../pub/there?x=1#y") })
      const client = yield* leased(fake.http, pub)
      const response = yield* client.get("https://good.com/pub/from")
      assert.strictEqual(response.url, "https://good.com/pub/there?x=1")
      assert.strictEqual(response.request.url, "https://good.com/pub/there?x=1")
      assert.strictEqual(yield* response.text, "there")
      assert.strictEqual(fake.open(), 0)
    })
  )

  verifies("C-096", "leads nowhere that the lease does not cover", () =>
    Effect.gen(function* () {
      for (const location of [
        "https://evil.com/pub/x",
        "//evil.com/pub/x",
        "/admin",
        "../admin",
        "/pub/%2e%2e/admin",
        "/pub/..%2fadmin",
        "http://good.com/pub/x",
        "https://good.com:444/pub/x",
        "https://good.com@evil.com/pub/x",
        "https://user@good.com/pub/x",
        "\\\\evil.com\\pub\\x",
        "file:///etc/passwd",
        "data:text/html,x",
        "javascript:alert(1)",
        "gopher://good.com/pub/x",
        "ftp://good.com/pub/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        `/pub/${"x".repeat(9000)}`
      ]) {
        const fake = FakeHttp.make({ reply: to(302, location) })
        const client = yield* leased(fake.http, pub)
        yield* refused(client.get("https://good.com/pub/from"))
        assert.lengthOf(fake.sent, 1, location)
        assert.strictEqual(fake.open(), 0)
      }
    })
  )

  it.effect("is judged by where its host leads, and resolved anew", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({
        names: { "b.good.com": [["127.0.0.1"]], "a.good.com": [["93.184.215.14"], ["10.0.0.1"]] },
        reply: ({ url }) => ({
          status: 302,
          headers: { location: url.includes("self") ? "https://a.good.com/x" : "https://b.good.com/x" }
        })
      })
      const client = yield* leased(fake.http, ["https://*.good.com/**"])
      yield* refused(client.get("https://c.good.com/"))
      yield* refused(client.get("https://a.good.com/self"))
      assert.lengthOf(fake.sent, 2)
    })
  )

  it.effect("to plain HTTP is asked about, and followed only if the lease covers that as well", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({ reply: to(302, "http://good.com/pub/there") })
      yield* refused((yield* leased(fake.http, pub)).get("https://good.com/pub/from"))
      const both = yield* leased(fake.http, [...pub, "http://good.com/pub/**"])
      const response = yield* both.get("https://good.com/pub/from", { headers: { authorization: "secret" } })
      assert.strictEqual(yield* response.text, "there")
      assert.strictEqual(fake.sent.at(-1)!.url, "http://good.com/pub/there")
      assert.isFalse("authorization" in fake.sent.at(-1)!.headers)
    })
  )

  it.effect.each<[number, string, string, string | undefined]>([
    [301, "GET", "GET", undefined],
    [301, "POST", "GET", undefined],
    [301, "PUT", "PUT", "body"],
    [302, "POST", "GET", undefined],
    [302, "DELETE", "DELETE", "body"],
    [303, "POST", "GET", undefined],
    [303, "PUT", "GET", undefined],
    [303, "HEAD", "HEAD", undefined],
    [307, "POST", "POST", "body"],
    [307, "GET", "GET", undefined],
    [308, "PATCH", "PATCH", "body"],
    [308, "POST", "POST", "body"]
  ])("%i makes of a %s a %s", ([status, method, then, body]) =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({ reply: to(status, "there") })
      const client = yield* leased(fake.http, pub)
      const request = HttpClientRequest.make(method as "GET")("https://good.com/pub/from", {
        headers: { "content-language": "en", "x-a": "b" },
        ...(method === "GET" || method === "HEAD" ? undefined : { body: HttpBody.text("body") })
      })
      yield* client.execute(request)
      const last = fake.sent.at(-1)!
      assert.deepInclude(last, { url: "https://good.com/pub/there", method: then, body })
      assert.strictEqual(last.headers["x-a"], "b")
      assert.strictEqual("content-type" in last.headers, body !== undefined)
      if (then !== method) assert.isFalse("content-language" in last.headers)
    })
  )

  it.effect("does not carry secrets to another origin", () =>
    Effect.gen(function* () {
      const headers = {
        authorization: "a",
        cookie: "b",
        "proxy-authorization": "c",
        "x-api-key": "d",
        "x-own-secret": "e",
        "x-plain": "f",
        host: "good.com"
      }
      const carried = (location: string) =>
        Effect.gen(function* () {
          const fake = FakeHttp.make({ reply: to(307, location) })
          const client = yield* leased(fake.http, [...pub, "https://*.good.com/**", "https://good.com:444/**"])
          yield* client
            .post("https://good.com/pub/from", { headers, body: HttpBody.text("x") })
            .pipe(Effect.provideService(Headers.CurrentRedactedNames, ["x-own-secret"]))
          assert.lengthOf(fake.sent, 2)
          return Object.keys(fake.sent[1]!.headers).filter((name) => name in headers)
        })
      assert.lengthOf(yield* carried("/pub/there"), 6)
      for (const location of ["https://b.good.com/", "https://good.com:444/"]) {
        assert.deepStrictEqual(yield* carried(location), ["x-plain"])
      }
    })
  )

  it.effect("that wants a body again which is gone is the response", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({ reply: to(307, "there") })
      const client = yield* leased(fake.http, pub)
      for (const body of [HttpBody.stream(Stream.make(utf8("x"))), HttpBody.raw(new Blob(["x"]).stream())]) {
        const response = yield* client.post("https://good.com/pub/from", { body })
        assert.strictEqual(response.status, 307)
      }
      assert.lengthOf(fake.sent, 2)
      // As GET it does not want it.
      const seeOther = FakeHttp.make({ reply: to(303, "there") })
      const other = yield* leased(seeOther.http, pub)
      yield* other.post("https://good.com/pub/from", { body: HttpBody.stream(Stream.make(utf8("x"))) })
      assert.deepInclude(seeOther.sent[1], { method: "GET", body: undefined })
    })
  )

  it.effect("without end, or to no URL, is the response at last", () =>
    Effect.gen(function* () {
      const loop = FakeHttp.make({ reply: () => ({ status: 302, headers: { location: "/pub/again" } }) })
      const response = yield* (yield* leased(loop.http, pub, { maxRedirects: 3 })).get("https://good.com/pub/x")
      assert.strictEqual(response.status, 302)
      assert.lengthOf(loop.sent, 4)
      yield* (yield* leased(loop.http, pub)).get("https://good.com/pub/x")
      assert.lengthOf(loop.sent, 4 + 11)
      for (const headers of [{ location: "https://" }, { location: "https://a:b:c/" }, {}]) {
        const fake = FakeHttp.make({ reply: () => ({ status: 302, headers }) })
        assert.strictEqual((yield* (yield* leased(fake.http, pub)).get("https://good.com/pub/x")).status, 302)
        assert.lengthOf(fake.sent, 1)
      }
      for (const status of [300, 304, 305, 306]) {
        const fake = FakeHttp.make({ reply: to(status, "there") })
        yield* (yield* leased(fake.http, pub)).get("https://good.com/pub/from")
        assert.lengthOf(fake.sent, 1)
      }
    })
  )

  it.effect("is left to the agent, or is a failure, where the request says so as for fetch", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({ reply: to(302, "there") })
      const client = yield* leased(fake.http, pub)
      const as = (redirect: RequestRedirect) =>
        Effect.provideService(client.get("https://good.com/pub/from"), FetchHttpClient.RequestInit, { redirect })
      assert.strictEqual((yield* as("manual")).status, 302)
      assert.strictEqual((yield* failing(as("error")))._tag, "TransportError")
      assert.strictEqual((yield* as("follow")).status, 200)
    })
  )
})
