import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Stream, Tracer } from "effect"
import { HttpBody, HttpClient, HttpClientRequest } from "effect/http"
import * as FakeHttp from "./FakeHttp.ts"

const { failing, leased, refused, utf8 } = FakeHttp

const pub = ["https://good.com/pub/**"]

describe("a request under a lease", () => {
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
