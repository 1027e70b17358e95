import { assert, describe, it } from "@effect/vitest"
import { ByteSize, Context, Effect, Exit, Fiber, Layer, Queue, Stream, Tracer } from "effect"
import {
  FetchHttpClient,
  Headers,
  HttpBody,
  HttpClient,
  HttpClientRequest,
  HttpClientResponse,
  HttpIncomingMessage
} from "effect/http"
import { TestClock } from "effect/testing"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as LeasedHttpClient from "../../src/leased/LeasedHttpClient.ts"
import * as LeasedServices from "../../src/leased/LeasedServices.ts"
import * as PinnedHttp from "../../src/leased/PinnedHttp.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import { verifies } from "../conformance/verifies.ts"
import * as FakeHttp from "./FakeHttp.ts"
import * as FakeJob from "./FakeJob.ts"

const { denial, failing, leased, refused, utf8 } = FakeHttp

const pub = ["https://good.com/pub/**"]

describe("LeasedHttpClient", () => {
  it.effect("sends what is granted and hands the response on, like the ordinary service", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({
        reply: () => ({
          status: 201,
          headers: { "content-type": "application/json", "x-a": "b" },
          setCookies: ["a=1", "b=2; Path=/"],
          body: `{"ok":true}`
        })
      })
      const client = yield* leased(fake.http, pub)
      const response = yield* client.post("https://good.com/pub/x", {
        urlParams: { q: "a b", r: "é" },
        hash: "part",
        headers: { "X-Mine": "1" },
        body: HttpBody.text("hello")
      })
      assert.strictEqual(response.status, 201)
      assert.strictEqual(response.url, "https://good.com/pub/x?q=a+b&r=%C3%A9")
      assert.strictEqual(response.headers["x-a"], "b")
      assert.deepStrictEqual(Object.keys(response.cookies.cookies), ["a", "b"])
      assert.deepStrictEqual(yield* response.json, { ok: true })
      assert.strictEqual(yield* response.text, `{"ok":true}`)
      assert.isTrue(HttpClientResponse.TypeId in response)
      const [sent] = fake.sent
      assert.deepStrictEqual(fake.resolved, ["good.com"])
      assert.deepInclude(sent, {
        url: "https://good.com/pub/x?q=a+b&r=%C3%A9",
        address: "93.184.215.14",
        host: "good.com",
        port: 443,
        method: "POST",
        length: 5,
        body: "hello"
      })
      assert.deepInclude(sent!.headers, {
        "x-mine": "1",
        "content-type": "text/plain",
        "accept-encoding": "identity"
      })
      assert.isFalse("content-length" in sent!.headers)
      assert.strictEqual(fake.open(), 0)
    })
  )

  verifies("C-096", "what is not granted is refused with the error of the protocol, before a name is looked up", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const client = yield* leased(fake.http, pub)
      const cause = yield* refused(client.get("https://good.com/admin?token=hunter2"))
      assert.deepStrictEqual(cause.details, { capability: "net.fetch", target: "https://good.com/admin" })
      assert.notInclude(cause.message, "hunter2")
      yield* refused(client.get("https://evil.com/pub/x"))
      yield* refused(client.get("http://good.com/pub/x"))
      yield* refused(client.get("https://good.com:8443/pub/x"))
      yield* refused((yield* leased(fake.http, {})).get("https://good.com/pub/x"))
      assert.deepStrictEqual([fake.resolved, fake.sent], [[], []])
    })
  )

  it.effect("a refusal is not taken for a fault of the line, and not tried again", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const client = yield* leased(fake.http, pub)
      const error = yield* Effect.flip(client.get("https://evil.com/"))
      assert.strictEqual(error.reason._tag, "InvalidUrlError")
      assert.isFalse(HttpClient.isTransientError(error))
    })
  )

  verifies("C-098", "the URL that is sent is the one that was judged, in its canonical spelling", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const client = yield* leased(fake.http, [...pub, "http://[2606:4700::1111]:8080/**", "http://1.1.1.1/**"])
      const spellings: ReadonlyArray<[written: string, sent: string]> = [
        ["https://GOOD.com:443/pub/%7Euser/./a/../b", "https://good.com/pub/~user/b"],
        ["https:\\\\good.com\\pub\\x", "https://good.com/pub/x"],
        ["https://good.com/x/%2e%2e/pub/%78?q=%78/../#/../..", "https://good.com/pub/x?q=%78/../"],
        ["https://good.com/pub/a%2fb%c3%a9", "https://good.com/pub/a%2Fb%C3%A9"],
        ["https://good。com/pub/é", "https://good.com/pub/%C3%A9"],
        ["http://[2606:4700:0::1111]:8080", "http://[2606:4700::1111]:8080/"],
        ["http://0x1010101/", "http://1.1.1.1/"]
      ]
      for (const [written, sent] of spellings) {
        yield* client.get(written)
        assert.strictEqual(fake.sent.at(-1)!.url, sent)
      }
      assert.deepInclude(fake.sent.at(-2), { address: "2606:4700::1111", host: "2606:4700::1111", port: 8080 })
      assert.deepInclude(fake.sent.at(-1), { address: "1.1.1.1", host: "1.1.1.1", port: 80 })
      // An address is not looked up.
      assert.sameMembers([...new Set(fake.resolved)], ["good.com"])
    })
  )

  it.effect("what the parser would mend in silence is refused", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const client = yield* leased(fake.http, ["https://**/**"])
      for (const url of [
        "https://good.com/pub/\t../x",
        "https://good.com/pub\n/x",
        " https://good.com/",
        "https://good.com/a b",
        "https://good\tcom/",
        "https://good.com/\ud800",
        "https://user@good.com/",
        "https://user:secret@good.com/",
        "https://good.com/..%2fx",
        "https://good.com/100%"
      ]) {
        yield* refused(client.get(url))
      }
      assert.strictEqual((yield* failing(client.get("/x")))._tag, "InvalidUrlError")
      assert.strictEqual((yield* failing(client.get("https://")))._tag, "InvalidUrlError")
      yield* refused(client.get(`https://good.com/${"x".repeat(9000)}`))
      yield* refused(client.get("https://good.com/", { urlParams: { q: "x".repeat(9000) } }))
      assert.deepStrictEqual([fake.resolved, fake.sent], [[], []])
    })
  )

  it.effect("whatever is done to the client, the request that comes out of it is judged", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const client = yield* leased(fake.http, pub)
      const elsewhere = HttpClientRequest.setUrl("https://evil.com/pub/x")
      const good = HttpClientRequest.get("https://good.com/pub/x")
      for (const changed of [
        HttpClient.mapRequest(client, elsewhere),
        HttpClient.mapRequestInput(client, elsewhere),
        HttpClient.mapRequestEffect(client, (request) => Effect.succeed(elsewhere(request))),
        HttpClient.mapRequest(client, HttpClientRequest.prependUrl("https://evil.com/")),
        HttpClient.mapRequest(client, HttpClientRequest.appendUrl("/../../admin")),
        HttpClient.followRedirects(HttpClient.mapRequest(client, elsewhere)),
        HttpClient.transform(client, (_, request) => client.execute(elsewhere(request)))
      ]) {
        yield* refused(changed.execute(good))
      }
      yield* refused(client.postprocess(Effect.succeed(elsewhere(good))))
      yield* refused(Effect.scoped(HttpClient.withScope(client).execute(elsewhere(good))))
      assert.deepStrictEqual(fake.sent, [])
      yield* client.postprocess(Effect.succeed(good))
      assert.lengthOf(fake.sent, 1)
    })
  )

  it.effect("speaks only HTTP, whatever schemes a lease has", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const client = yield* leased(fake.http, ["ftp://good.com/**", "ws://good.com/**", "s3://bucket/**"])
      for (const url of ["ftp://good.com/x", "ws://good.com/x", "s3://bucket/x"]) {
        assert.strictEqual((yield* failing(client.get(url)))._tag, "TransportError")
      }
      for (const url of ["file:///etc/passwd", "data:text/plain,x", "javascript:1", "blob:https://good.com/x"]) {
        yield* refused(client.get(url))
      }
      assert.deepStrictEqual(fake.sent, [])
    })
  )

  describe("where a host leads", () => {
    const names = {
      "inside.good.com": [["10.0.0.5"]],
      "home.good.com": [["127.0.0.1"]],
      "cloud.good.com": [["169.254.169.254"]],
      "mixed.good.com": [["93.184.215.14", "10.0.0.5"]],
      "mapped.good.com": [["::ffff:192.168.0.1"]],
      "v6.good.com": [["2606:4700::1111", "93.184.215.14"]],
      "none.good.com": [[]],
      localhost: [["::1", "127.0.0.1"]]
    }

    it.effect("is judged too: a wildcard leads to nothing that is not public", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make({ names })
        const client = yield* leased(fake.http, ["http://*.good.com/**", "http://localhost*/**"])
        for (const host of ["inside", "home", "cloud", "mixed", "mapped"]) {
          const cause = yield* refused(client.get(`http://${host}.good.com/`))
          // What the name leads to is none of the agent's business.
          assert.notMatch(JSON.stringify(cause), /10\.0|127\.|169\.254|192\.168/)
        }
        yield* refused(client.get("http://localhost/"))
        assert.deepStrictEqual(fake.sent, [])
        yield* client.get("http://v6.good.com/")
        assert.strictEqual(fake.sent[0]!.address, "2606:4700::1111")
      })
    )

    it.effect(
      "may be inside, if a pattern spells the host out; to special addresses leads only the address itself",
      () =>
        Effect.gen(function* () {
          const fake = FakeHttp.make({ names })
          const client = yield* leased(fake.http, [
            "http://*.good.com/**",
            "http://inside.good.com/**",
            "http://mixed.good.com/**",
            "http://cloud.good.com/**",
            "http://localhost:*/**",
            "http://10.0.0.7/**",
            "http://169.254.169.254/latest/**"
          ])
          yield* client.get("http://inside.good.com/")
          yield* client.get("http://mixed.good.com/")
          yield* client.get("http://localhost:8080/")
          yield* client.get("http://10.0.0.7/")
          yield* client.get("http://0xa9fea9fe/latest/x")
          assert.deepStrictEqual(
            fake.sent.map(({ address }) => address),
            ["10.0.0.5", "93.184.215.14", "::1", "10.0.0.7", "169.254.169.254"]
          )
          yield* refused(client.get("http://cloud.good.com/"))
          yield* refused(client.get("http://169.254.169.254/other"))
          yield* refused(client.get("http://10.0.0.8/"))
          assert.lengthOf(fake.sent, 5)
        })
    )

    it.effect("is asked once: a resolver that changes its mind changes nothing", () =>
      Effect.gen(function* () {
        const rebinding = [["93.184.215.14"], ["127.0.0.1"], ["93.184.215.14"]]
        const fake = FakeHttp.make({ names: { "a.good.com": rebinding } })
        const client = yield* leased(fake.http, ["http://*.good.com/**"])
        yield* client.get("http://a.good.com/")
        assert.deepStrictEqual(fake.resolved, ["a.good.com"])
        assert.strictEqual(fake.sent[0]!.address, "93.184.215.14")
        yield* refused(client.get("http://a.good.com/"))
        assert.lengthOf(fake.sent, 1)
      })
    )

    it.effect("has to be a name of DNS", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make()
        const client = yield* leased(fake.http, ["http://**.good.com/**"])
        for (const host of ["evil.com;", "a&b", "a,b", "a'b", "-a", "a-", "(a)", "a..b", "a*", "a`b", "a$b"]) {
          yield* refused(client.get(`http://${host}.good.com/`))
        }
        yield* client.get("http://a_b-c.good.com/")
        assert.deepStrictEqual(fake.resolved, ["a_b-c.good.com"])
      })
    )

    it.effect(
      "without an address the request fails; with several, one after the other is tried before anything is sent",
      () =>
        Effect.gen(function* () {
          const unreachable = new PinnedHttp.PinnedHttpError({ reason: "connect", message: "no route" })
          const broken = new PinnedHttp.PinnedHttpError({ reason: "receive", message: "broke off" })
          const fake = FakeHttp.make({
            names,
            reply: ({ address, url }) =>
              Effect.fail(address === "2606:4700::1111" ? unreachable : broken).pipe(
                Effect.catchIf(
                  (error) => url.endsWith("/ok") && error === broken,
                  () => Effect.succeed({})
                )
              )
          })
          const client = yield* leased(fake.http, ["http://*.good.com/**"])
          yield* client.get("http://v6.good.com/ok")
          assert.deepStrictEqual(
            fake.sent.map(({ address }) => address),
            ["2606:4700::1111", "93.184.215.14"]
          )
          assert.include((yield* failing(client.get("http://v6.good.com/"))).message, "broke off")
          assert.include((yield* failing(client.get("http://none.good.com/"))).message, "no address")
          // The first response was not read.
          assert.strictEqual(fake.open(), 1)
        })
    )
  })

  it.effect("a request that may have been sent is not sent to another address", () =>
    Effect.gen(function* () {
      for (const reason of ["send", "receive"] as const) {
        const fake = FakeHttp.make({
          names: { "good.com": [["93.184.215.14", "93.184.215.15"]] },
          reply: () => Effect.fail(new PinnedHttp.PinnedHttpError({ reason, message: "broke off" }))
        })
        const client = yield* leased(fake.http, pub)
        yield* failing(client.post("https://good.com/pub/x"))
        assert.lengthOf(fake.sent, 1)
      }
    })
  )

  describe("a redirect", () => {
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

  describe("the request itself", () => {
    const send = (options: HttpClientRequest.Options.NoUrl, method = "POST") =>
      Effect.gen(function* () {
        const fake = FakeHttp.make()
        const client = yield* leased(fake.http, pub)
        const request = HttpClientRequest.make("POST")("https://good.com/pub/x", options)
        const exit = yield* Effect.exit(
          client.execute(
            HttpClientRequest.makeWith(
              method,
              request.url,
              request.urlParams,
              request.hash,
              request.headers,
              request.body
            )
          )
        )
        return { exit, sent: fake.sent }
      })

    it.effect.each([
      "host",
      "Host",
      "connection",
      "keep-alive",
      "proxy-connection",
      "te",
      "trailer",
      "transfer-encoding",
      "Transfer_Encoding",
      "upgrade",
      "expect",
      "http2-settings",
      "content_length",
      "forwarded",
      "x-forwarded-host",
      "x-forwarded-for",
      "X_Forwarded_Host",
      "x-forwarded",
      "x-host",
      "x-http-host-override",
      "x-original-host",
      "x-original-url",
      "X-Rewrite-URL"
    ])("cannot set %s", (name) =>
      Effect.gen(function* () {
        const { exit, sent } = yield* send({ headers: { [name]: "evil.com" } })
        const cause = yield* refused(exit)
        assert.include(cause.message, name.toLowerCase())
        assert.deepStrictEqual(sent, [])
      })
    )

    it.effect("may repeat the host that was judged, and its length is counted anew", () =>
      Effect.gen(function* () {
        const headers = { host: "good.com", "content-length": "0" }
        const { exit, sent } = yield* send({ body: HttpBody.text("GET /admin HTTP/1.1\r\n\r\n"), headers })
        assert.isTrue(Exit.isSuccess(exit))
        assert.strictEqual(sent[0]!.length, 23)
        assert.isFalse("host" in sent[0]!.headers)
        assert.isFalse("content-length" in sent[0]!.headers)
      })
    )

    it.effect("asks for no upgrade", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make()
        const client = yield* leased(fake.http, pub)
        const request = HttpClientRequest.upgrade(HttpClientRequest.get("https://good.com/pub/x"), "tcp")
        yield* refused(client.execute(request))
        const response = yield* client.get("https://good.com/pub/x")
        assert.strictEqual((yield* failing(response.upgrade))._tag, "StatusCodeError")
        assert.lengthOf(fake.sent, 1)
      })
    )

    it.effect.each<[string, string]>([
      ["x-a", "b\r\nHost: evil.com"],
      ["x-a", "b\nc"],
      ["x-a", "b\0c"],
      ["x-a", "b\u007fc"],
      ["x-a", "\u010a\u010d"],
      ["x-a", "\u{1f600}"],
      ["x-a\r\nhost", "b"],
      ["x a", "b"],
      ["x-a:", "b"],
      ["", "b"],
      ["x\u00e9", "b"],
      ["host ", "evil.com"],
      [" transfer-encoding", "chunked"]
    ])("has no header %j: %j", ([name, value]) =>
      Effect.gen(function* () {
        const { exit, sent } = yield* send({ headers: { [name]: value } })
        assert.strictEqual((yield* failing(exit))._tag, "EncodeError")
        assert.deepStrictEqual(sent, [])
      })
    )

    it.effect.each(["CONNECT", "connect", "TRACE", "TRACK", "GET /admin HTTP/1.1\r\nX:", "", "A B", "PÖST"])(
      "has no method %j",
      (method) =>
        Effect.gen(function* () {
          const { exit, sent } = yield* send({}, method)
          assert.strictEqual((yield* failing(exit))._tag, "EncodeError")
          assert.deepStrictEqual(sent, [])
        })
    )

    it.effect.each(["GET", "HEAD", "get"])("has no body as a %s", (method) =>
      Effect.gen(function* () {
        const { exit, sent } = yield* send({ body: HttpBody.text("x") }, method)
        assert.strictEqual((yield* failing(exit))._tag, "EncodeError")
        assert.deepStrictEqual(sent, [])
      })
    )

    it.effect.each<[string, HttpBody.HttpBody, string, number | undefined]>([
      ["nothing", HttpBody.empty, "", 0],
      ["text", HttpBody.text("é"), "é", 2],
      ["JSON", HttpBody.jsonUnsafe({ a: 1 }), `{"a":1}`, 7],
      ["bytes", HttpBody.uint8Array(utf8("abc").subarray(1)), "bc", 2],
      ["a raw string", HttpBody.raw("é"), "é", 2],
      ["a raw buffer", HttpBody.raw(new Uint8Array([97, 98]).buffer), "ab", 2],
      ["a raw view", HttpBody.raw(new DataView(new Uint8Array([97, 98, 99]).buffer, 1)), "bc", 2],
      ["a Blob", HttpBody.raw(new Blob(["ab", "c"])), "abc", 3],
      ["a web stream", HttpBody.raw(new Blob(["abc"]).stream()), "abc", undefined],
      ["a stream", HttpBody.stream(Stream.make(utf8("a"), utf8("b"))), "ab", undefined],
      ["a stream of known length", HttpBody.stream(Stream.make(utf8("ab")), "text/plain", 2), "ab", 2]
    ])("sends %s", ([, body, text, length]) =>
      Effect.gen(function* () {
        const { exit, sent } = yield* send({ body })
        assert.isTrue(Exit.isSuccess(exit))
        assert.deepInclude(sent[0], { body: text, length })
      })
    )

    it.effect("sends a form, and no raw body that is none", () =>
      Effect.gen(function* () {
        const form = new FormData()
        form.set("a", "b")
        form.set("f", new Blob(["content"]), "f.txt")
        const { sent } = yield* send({ body: HttpBody.formData(form), headers: { "content-type": "text/plain" } })
        const boundary = /^multipart\/form-data; boundary=(.*)$/.exec(sent[0]!.headers["content-type"]!)![1]!
        assert.include(sent[0]!.body, boundary)
        assert.include(sent[0]!.body, "content")
        assert.strictEqual(sent[0]!.length, utf8(sent[0]!.body!).length)
        for (const body of [HttpBody.raw({ a: 1 }), HttpBody.raw(1), HttpBody.raw(null)]) {
          assert.strictEqual((yield* failing((yield* send({ body })).exit))._tag, "EncodeError")
        }
      })
    )

    it.effect("fails when its body does, and says why", () =>
      Effect.gen(function* () {
        const body = HttpBody.stream(Stream.concat(Stream.make(utf8("a")), Stream.fail("no more")))
        const { exit } = yield* send({ body })
        const reason = yield* failing(exit)
        assert.strictEqual(reason._tag, "EncodeError")
        assert.strictEqual((reason as { cause?: unknown }).cause, "no more")
      })
    )

    it.effect("carries the trace of its span", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make()
        const client = yield* leased(fake.http, pub)
        const parent = Tracer.externalSpan({
          traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
          spanId: "00f067aa0ba902b7",
          sampled: true
        })
        yield* Effect.withParentSpan(client.get("https://good.com/pub/x"), parent)
        assert.match(fake.sent[0]!.headers["traceparent"]!, /^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01$/)
        assert.notInclude(fake.sent[0]!.headers["traceparent"], "00f067aa0ba902b7")
        yield* Effect.provideService(client.get("https://good.com/pub/x"), HttpClient.TracerPropagationEnabled, false)
        assert.isFalse("traceparent" in fake.sent[1]!.headers)
      })
    )
  })

  describe("the end of the lease", () => {
    const constraints = { expires_at: "1970-01-01T00:00:10Z" }

    it.effect("refuses each request from that instant on", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make()
        const client = yield* leased(fake.http, pub, { constraints })
        yield* TestClock.adjust(9999)
        yield* client.get("https://good.com/pub/x")
        yield* TestClock.adjust(1)
        assert.strictEqual((yield* denial(client.get("https://good.com/pub/x")))._tag, "LeaseExpired")
        assert.lengthOf(fake.sent, 1)
      })
    )

    it.effect("is looked at again for a redirect", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make({
          reply: () => Effect.as(TestClock.adjust("10 seconds"), { status: 302, headers: { location: "/pub/y" } })
        })
        const client = yield* leased(fake.http, pub, { constraints })
        assert.strictEqual((yield* denial(client.get("https://good.com/pub/x")))._tag, "LeaseExpired")
        assert.lengthOf(fake.sent, 1)
      })
    )

    it.effect("cuts off a request that waits for its response", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make({ reply: () => Effect.never })
        const client = yield* leased(fake.http, pub, { constraints })
        const fiber = yield* Effect.forkChild(denial(client.get("https://good.com/pub/x")))
        yield* TestClock.adjust(9999)
        assert.isUndefined(fiber.pollUnsafe())
        assert.strictEqual(fake.open(), 1)
        yield* TestClock.adjust(1)
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "LeaseExpired")
        assert.strictEqual(fake.open(), 0)
      })
    )

    it.effect("cuts off a body between its parts, also in a silence", () =>
      Effect.gen(function* () {
        for (const silent of [false, true]) {
          const parts = yield* Queue.unbounded<Uint8Array>()
          const fake = FakeHttp.make({ reply: () => ({ body: Stream.fromQueue(parts) }) })
          const now = Number(yield* Effect.clockWith((clock) => clock.currentTimeMillis))
          const client = yield* leased(fake.http, pub, {
            constraints: { expires_at: new Date(now + 10_000).toISOString() }
          })
          const response = yield* client.get("https://good.com/pub/x")
          const got: Array<string> = []
          const reading = yield* Effect.forkChild(
            denial(Stream.runForEach(response.stream, (part) => Effect.sync(() => got.push(String(part)))))
          )
          yield* Queue.offer(parts, utf8("a"))
          yield* TestClock.adjust(9999)
          assert.deepStrictEqual(got, ["97"])
          if (!silent) yield* Queue.offer(parts, utf8("b"))
          yield* TestClock.adjust(1)
          if (!silent) yield* Queue.offer(parts, utf8("c"))
          assert.strictEqual((yield* Fiber.join(reading))._tag, "LeaseExpired")
          assert.deepStrictEqual(got, silent ? ["97"] : ["97", "98"])
          assert.strictEqual(fake.open(), 0)
        }
      })
    )

    it.effect("cuts off a body by the guard's clock, whatever clock the agent brings", () =>
      Effect.gen(function* () {
        const parts = yield* Queue.unbounded<Uint8Array>()
        const fake = FakeHttp.make({ reply: () => ({ body: Stream.fromQueue(parts) }) })
        const client = yield* leased(fake.http, pub, { constraints })
        const frozen = TestClock.layer()
        const reading = yield* Effect.gen(function* () {
          const response = yield* client.get("https://good.com/pub/x")
          return yield* response.text
        }).pipe(Effect.provide(frozen), denial, Effect.forkChild)
        yield* Queue.offer(parts, utf8("a"))
        yield* TestClock.adjust("10 seconds")
        yield* Queue.offer(parts, utf8("b"))
        assert.strictEqual((yield* Fiber.join(reading))._tag, "LeaseExpired")
      })
    )

    it.effect("cuts off what is gathered in memory, and a body that is sent", () =>
      Effect.gen(function* () {
        const late = Stream.fromEffect(Effect.as(Effect.sleep("20 seconds"), utf8("late")))
        const fake = FakeHttp.make({ reply: () => ({ body: late }) })
        const client = yield* leased(fake.http, pub, { constraints })
        const response = yield* client.get("https://good.com/pub/x")
        const gathering = yield* Effect.forkChild(denial(response.json))
        const sending = yield* Effect.forkChild(
          denial(client.post("https://good.com/pub/x", { body: HttpBody.stream(late) }))
        )
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* Fiber.join(gathering))._tag, "LeaseExpired")
        assert.strictEqual((yield* Fiber.join(sending))._tag, "LeaseExpired")
        assert.lengthOf(fake.sent, 1)
        assert.strictEqual(fake.open(), 0)
      })
    )

    it.effect("sends no part of a body after it", () =>
      Effect.gen(function* () {
        const taken: Array<string> = []
        const http = PinnedHttp.PinnedHttp.of({
          ...FakeHttp.make().http,
          send: ({ body }) =>
            Effect.andThen(
              Stream.runForEach(body!.content, (part) => Effect.sync(() => taken.push(String(part)))),
              Effect.never
            )
        })
        // A guard that no timer of this side helps.
        const lease = yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, constraints, 0))
        const guard = yield* LeaseGuard.make(lease)
        const blind = { ...guard, lease: yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, {}, 0)) }
        const client = LeasedHttpClient.make(http, blind)
        const parts = Stream.fromIterable(["a", "b", "c"]).pipe(
          Stream.mapEffect((part) => Effect.as(Effect.sleep("4 seconds"), utf8(part)))
        )
        const sending = yield* Effect.forkChild(
          denial(client.post("https://good.com/pub/x", { body: HttpBody.stream(parts) }))
        )
        yield* TestClock.adjust("12 seconds")
        assert.strictEqual((yield* Fiber.join(sending))._tag, "LeaseExpired")
        assert.deepStrictEqual(taken, ["97", "98"])
      })
    )

    it.effect("is looked at again for each address that is tried", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make({
          names: { "good.com": [["93.184.215.14", "93.184.215.15"]] },
          reply: () =>
            Effect.andThen(
              TestClock.adjust("10 seconds"),
              Effect.fail(new PinnedHttp.PinnedHttpError({ reason: "connect", message: "no route" }))
            )
        })
        const guard = yield* LeaseGuard.make(yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, constraints, 0)))
        const blind = { ...guard, lease: yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, {}, 0)) }
        const client = LeasedHttpClient.make(fake.http, blind)
        assert.strictEqual((yield* denial(client.get("https://good.com/pub/x")))._tag, "LeaseExpired")
        assert.lengthOf(fake.sent, 1)
      })
    )

    it.effect("is no end of the budget: that refuses the next request, and lets what was begun come to its end", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make({ reply: () => ({ body: Stream.make(utf8("a"), utf8("b")) }) })
        const lease = yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, {}, 0))
        const spent = new ArcpError.BudgetExhausted({ message: "nothing is left" })
        let left = true
        const guard: LeaseGuard.LeaseGuard["Service"] = {
          ...(yield* LeaseGuard.make(lease)),
          authorize: () => Effect.suspend(() => (left ? Effect.void : Effect.fail(spent)))
        }
        const client = LeasedHttpClient.make(fake.http, guard)
        const response = yield* client.get("https://good.com/pub/x")
        left = false
        assert.strictEqual(yield* response.text, "ab")
        assert.strictEqual((yield* denial(client.get("https://good.com/pub/x")))._tag, "BudgetExhausted")
        assert.lengthOf(fake.sent, 1)
      })
    )

    it.effect("60 days ahead cuts nothing off", () =>
      Effect.gen(function* () {
        const parts = yield* Queue.unbounded<Uint8Array>()
        const fake = FakeHttp.make({ reply: () => ({ body: Stream.fromQueue(parts) }) })
        const client = yield* leased(fake.http, pub, { constraints: { expires_at: "1970-03-02T00:00:00Z" } })
        const response = yield* client.get("https://good.com/pub/x")
        const reading = yield* Effect.forkChild(Effect.flip(response.text))
        yield* TestClock.adjust("59 days")
        assert.isUndefined(reading.pollUnsafe())
        yield* TestClock.adjust("1 day")
        assert.strictEqual((yield* Fiber.join(reading)).reason._tag, "DecodeError")
      })
    )
  })

  describe("a response", () => {
    it.effect("reads as text, JSON, form and parameters, and says when it cannot", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make({
          reply: ({ url }) =>
            url.endsWith("form")
              ? {
                  headers: { "content-type": "multipart/form-data; boundary=x" },
                  body: '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n'
                }
              : { body: url.endsWith("params") ? "?a=1&b=%C3%A9" : "{" }
        })
        const client = yield* leased(fake.http, pub)
        const form = yield* (yield* client.get("https://good.com/pub/form")).formData
        assert.strictEqual(form.get("a"), "b")
        const parameters = yield* (yield* client.get("https://good.com/pub/params")).urlParamsBody
        assert.deepStrictEqual(
          [...parameters],
          [
            ["?a", "1"],
            ["b", "é"]
          ]
        )
        const response = yield* client.get("https://good.com/pub/x")
        assert.strictEqual((yield* failing(response.json))._tag, "DecodeError")
        assert.strictEqual((yield* failing(response.formData))._tag, "DecodeError")
        assert.strictEqual(yield* response.text, "{")
        assert.strictEqual(new TextDecoder().decode(yield* response.arrayBuffer), "{")
        const empty = FakeHttp.make({ reply: () => ({ body: "" }) })
        const nothing = yield* (yield* leased(empty.http, pub)).get("https://good.com/pub/x")
        assert.isNull(yield* nothing.json)
      })
    )

    it.effect("is gathered in memory up to a bound, and streamed without one", () =>
      Effect.gen(function* () {
        const endless = Stream.forever(Stream.make(utf8("x".repeat(1000))))
        const fake = FakeHttp.make({ reply: () => ({ body: endless }) })
        const client = yield* leased(fake.http, pub, { maxGatheredBytes: 10_500 })
        const get = client.get("https://good.com/pub/x")
        assert.include((yield* failing(Effect.flatMap(get, ({ text }) => text))).message, "10500 bytes")
        const own = Effect.provideService(
          Effect.flatMap(get, ({ arrayBuffer }) => arrayBuffer),
          HttpIncomingMessage.MaxBodySize,
          ByteSize.bytes(2500)
        )
        assert.include((yield* failing(own)).message, "2500 bytes")
        const parts = yield* Stream.runCollect(Stream.take((yield* get).stream, 50))
        assert.lengthOf(parts, 50)
        assert.strictEqual(fake.open(), 0)
      })
    )

    it.effect("that breaks off says so", () =>
      Effect.gen(function* () {
        const broken = Stream.concat(
          Stream.make(utf8("a")),
          Stream.fail(new PinnedHttp.PinnedHttpError({ reason: "receive", message: "the response broke off" }))
        )
        const fake = FakeHttp.make({ reply: () => ({ body: broken }) })
        const response = yield* (yield* leased(fake.http, pub)).get("https://good.com/pub/x")
        const reason = yield* failing(response.text)
        assert.deepStrictEqual([reason._tag, fake.open()], ["DecodeError", 0])
        assert.include(reason.message, "the response broke off")
      })
    )

    it.effect("gives its connection back when it is read, left, interrupted, or has no body", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make({
          reply: ({ url }) => (url.endsWith("empty") ? { status: 204 } : { body: Stream.never })
        })
        const client = yield* leased(fake.http, pub)
        yield* client.get("https://good.com/pub/empty")
        yield* client.head("https://good.com/pub/x")
        assert.strictEqual(fake.open(), 0)
        const get = client.get("https://good.com/pub/x")
        yield* Effect.timeoutOption(
          Effect.flatMap(get, ({ text }) => text),
          10
        ).pipe(
          Effect.forkChild,
          Effect.tap(() => TestClock.adjust(10)),
          Effect.flatMap(Fiber.join)
        )
        assert.strictEqual(fake.open(), 0)
        yield* Effect.scoped(HttpClient.withScope(client).get("https://good.com/pub/x"))
        yield* Effect.yieldNow
        assert.strictEqual(fake.open(), 0)
        yield* Stream.runDrain(Stream.interruptWhen((yield* get).stream, Effect.void))
        assert.strictEqual(fake.open(), 0)
      })
    )

    it.effect("waits for its turn while as many are open as may be, and not for ever", () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make({ reply: () => ({ body: "x" }) })
        const client = yield* leased(fake.http, pub, { maxConnections: 2 })
        const get = client.get("https://good.com/pub/x")
        const first = yield* get
        yield* get
        const third = yield* Effect.forkChild(get)
        const fourth = yield* Effect.forkChild(failing(get))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(fake.open(), 2)
        yield* first.text
        yield* Fiber.join(third)
        yield* TestClock.adjust("10 seconds")
        assert.include((yield* Fiber.join(fourth)).message, "2 responses of this job are open")
        const many = yield* leased(fake.http, pub, { maxConnections: 2 })
        yield* Effect.forEach(
          Array.from({ length: 50 }, (_, index) => index),
          () => Effect.flatMap(many.get("https://good.com/pub/x"), ({ text }) => text),
          { concurrency: "unbounded" }
        )
      })
    )
  })
})

describe("LeasedServices", () => {
  const guardOf = (patterns: ReadonlyArray<string>) =>
    Effect.flatMap(Effect.fromResult(Lease.make({ "net.fetch": patterns }, {}, 0)), LeaseGuard.make)

  it.effect("gives each job the HTTP of the host behind its own lease", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      yield* Effect.gen(function* () {
        const forJob = yield* LeasedServices.forJob
        const clientOf = (patterns: ReadonlyArray<string>) =>
          Effect.map(guardOf(patterns), (guard) => Context.get(forJob(FakeJob.make(guard)), HttpClient.HttpClient))
        yield* (yield* clientOf(pub)).get("https://good.com/pub/x")
        yield* refused((yield* clientOf(["https://other.com/**"])).get("https://good.com/pub/x"))
      }).pipe(
        Effect.provide(LeasedHttpClient.layer().pipe(Layer.provide(Layer.succeed(PinnedHttp.PinnedHttp, fake.http))))
      )
      assert.lengthOf(fake.sent, 1)
    })
  )

  it.effect("refuses all of it where the host offers none, or there is no job", () =>
    Effect.gen(function* () {
      const forJob = yield* LeasedServices.forJob
      for (const services of [forJob(FakeJob.make(yield* guardOf(pub))), LeasedServices.refusing]) {
        const client = Context.get(services, HttpClient.HttpClient)
        const cause = yield* refused(client.get("https://good.com/pub/x"))
        assert.include(cause.message, "the host offers no HTTP client")
      }
    })
  )
})
