import { assert, describe, it } from "@effect/vitest"
import { ByteSize, Context, Effect, Fiber, Layer, Stream } from "effect"
import { HttpBody, HttpClient, HttpClientRequest, HttpClientResponse, HttpIncomingMessage } from "effect/http"
import { TestClock } from "effect/testing"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as LeasedHttpClient from "../../src/leased/LeasedHttpClient.ts"
import * as LeasedServices from "../../src/leased/LeasedServices.ts"
import * as PinnedHttp from "../../src/leased/PinnedHttp.ts"
import { verifies } from "../conformance/verifies.ts"
import * as FakeHttp from "./FakeHttp.ts"
import * as FakeJob from "./FakeJob.ts"

const { failing, leased, refused, utf8 } = FakeHttp

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
