import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Redacted, Result, Scope, Stream } from "effect"
import { Headers, HttpBody, HttpClient } from "effect/http"
import { Dns, NetAddress } from "effect/net"
import { TestClock } from "effect/testing"
import type * as Net from "node:net"
import * as Zlib from "node:zlib"
import * as PinnedHttp from "../../src/leased/PinnedHttp.ts"
import * as NodePinnedHttp from "../../src/node/NodePinnedHttp.ts"
import * as FakeHttp from "../leased/FakeHttp.ts"
import { certificate } from "../transport/fixtures/certificate.ts"
import * as WebServer from "./WebServer.ts"

const { failing, leased, refused, utf8 } = FakeHttp

const tls = { cert: certificate.cert, key: Redacted.value(certificate.key) }

/** Names that no other resolver knows lead here. */
const zone = Result.getOrThrow(
  Dns.makeStatic({ hosts: { "a.invalid": ["127.0.0.1"], "b.invalid": ["127.0.0.1"], localhost: ["127.0.0.1"] } })
)

const http = NodePinnedHttp.make(zone)

const request = (port: number, more: Partial<PinnedHttp.Request<never>> = {}): PinnedHttp.Request<never> => ({
  address: NetAddress.ipv4Loopback,
  port,
  secure: false,
  host: "a.invalid",
  authority: `a.invalid:${port}`,
  method: "GET",
  target: "/x?y=1",
  headers: Headers.fromInput({ "x-a": "b" }),
  body: undefined,
  ...more
})

const textOf = ({ body }: PinnedHttp.Response) =>
  Effect.map(Stream.runCollect(body), (parts) => Buffer.concat(parts).toString())

const reasonOf = <A, R>(effect: Effect.Effect<A, PinnedHttp.PinnedHttpError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

/** Lets what the machine does happen, without waiting for any time to pass. */
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const until = (done: () => boolean) =>
  Effect.gen(function* () {
    while (!done()) yield* turn
  })

/** Moves the clock on until the fiber is done. */
const passing = <A, E>(fiber: Fiber.Fiber<A, E>, step: number) =>
  Effect.gen(function* () {
    while (fiber.pollUnsafe() === undefined) {
      yield* turn
      yield* TestClock.adjust(step)
    }
    return yield* Fiber.join(fiber)
  })

/** What arrives on each connection of a server that answers with `answer`, and closes. */
const recording = (answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") =>
  Effect.gen(function* () {
    const received: Array<string> = []
    const served = yield* WebServer.raw((socket) => {
      const index = received.push("") - 1
      socket.on("data", (data) => {
        received[index] += data.toString("latin1")
        if (received[index]!.includes("\r\n\r\n")) socket.end(answer)
      })
    })
    return { ...served, received }
  })

describe("NodePinnedHttp", () => {
  it.effect("writes the request as it is, with what frames it and nothing else", () =>
    Effect.gen(function* () {
      const server = yield* recording()
      const response = yield* http.send(request(server.port))
      assert.strictEqual(yield* textOf(response), "ok")
      assert.deepStrictEqual(server.received, [
        `GET /x?y=1 HTTP/1.1\r\nhost: a.invalid:${server.port}\r\nx-a: b\r\nconnection: close\r\n\r\n`
      ])
    })
  )

  it.effect("gives status, headers and cookies as they came", () =>
    Effect.gen(function* () {
      const server = yield* WebServer.http((_, response) => {
        response.writeHead(404, { "X-B": "c", "Set-Cookie": ["a=1", "b=2"] })
        response.end("no")
      })
      const response = yield* http.send(request(server.port))
      assert.strictEqual(response.status, 404)
      assert.strictEqual(response.headers["x-b"], "c")
      assert.deepStrictEqual(response.setCookies, ["a=1", "b=2"])
      assert.strictEqual(yield* textOf(response), "no")
    })
  )

  it.effect("follows no redirect", () =>
    Effect.gen(function* () {
      const server = yield* WebServer.http((_, response) => {
        response.writeHead(302, { location: "/y" })
        response.end()
      })
      assert.strictEqual((yield* http.send(request(server.port))).status, 302)
      assert.strictEqual(server.connections(), 1)
    })
  )

  it.effect("has a connection of its own for each request, which ends with it", () =>
    Effect.gen(function* () {
      const server = yield* WebServer.http((_, response) => response.end("x"))
      for (let round = 0; round < 3; round++) {
        yield* Effect.scoped(Effect.flatMap(http.send(request(server.port)), textOf))
      }
      assert.strictEqual(server.connections(), 3)
      yield* until(() => server.open() === 0)
    })
  )

  it.effect("uses no proxy of the environment", () =>
    Effect.gen(function* () {
      const proxy = yield* recording()
      const server = yield* recording()
      const names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "NODE_USE_ENV_PROXY"]
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          for (const name of names) process.env[name] = `http://127.0.0.1:${proxy.port}`
        }),
        () =>
          Effect.sync(() => {
            for (const name of names) delete process.env[name]
          })
      )
      yield* Effect.flatMap(http.send(request(server.port)), textOf)
      assert.deepStrictEqual([proxy.connections(), server.connections()], [0, 1])
    })
  )

  describe("addresses", () => {
    it.effect("are those of the resolver, without links that nobody can name", () =>
      Effect.gen(function* () {
        const dns = Result.getOrThrow(
          Dns.makeStatic({ hosts: { "a.test": ["fe80::1", "10.0.0.1", "2606:4700::1"], "b.test": ["fe80::1"] } })
        )
        const { resolve } = NodePinnedHttp.make(dns)
        assert.deepStrictEqual((yield* resolve("a.test")).map(NetAddress.formatIp), ["10.0.0.1", "2606:4700::1"])
        assert.strictEqual(yield* reasonOf(resolve("b.test")), "resolve")
        assert.strictEqual(yield* reasonOf(resolve("c.test")), "resolve")
        assert.strictEqual(yield* reasonOf(resolve("not a name")), "resolve")
      })
    )

    it.effect("are waited for a bounded time", () =>
      Effect.gen(function* () {
        const { resolve } = NodePinnedHttp.make(Dns.make({ lookup: () => Effect.never }))
        const fiber = yield* Effect.forkChild(reasonOf(resolve("a.test")))
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* Fiber.join(fiber), "resolve")
      })
    )

    it.live("come from the operating system in the layer", () =>
      Effect.gen(function* () {
        const { resolve } = yield* PinnedHttp.PinnedHttp
        const addresses = (yield* resolve("localhost")).map(NetAddress.formatIp)
        assert.isTrue(addresses.includes("127.0.0.1") || addresses.includes("::1"), addresses.join())
      }).pipe(Effect.provide(NodePinnedHttp.layer()))
    )

    it.effect("that nobody answers at are a failure to connect, before anything is sent", () =>
      Effect.gen(function* () {
        const { port } = yield* Effect.scoped(recording())
        assert.strictEqual(yield* reasonOf(http.send(request(port))), "connect")
      })
    )
  })

  describe("a lease", () => {
    it.effect("pins the connection: a name that leads elsewhere the second time leads nowhere", () =>
      Effect.gen(function* () {
        let asked = 0
        const dns = Dns.make({
          lookup: () =>
            Effect.sync(() =>
              asked++ % 2 === 0 ? [NetAddress.ipv4Loopback] : [NetAddress.ipFromStringUnsafe("127.0.0.2")]
            )
        })
        const server = yield* recording()
        const client = yield* leased(NodePinnedHttp.make(dns), [`http://rebind.invalid:${server.port}/**`])
        // The name is one that only this resolver knows: had anybody else looked it up, there would be no answer.
        const response = yield* client.get(`http://rebind.invalid:${server.port}/x`)
        assert.strictEqual(yield* response.text, "ok")
        assert.strictEqual(asked, 1)
        assert.include(server.received[0], `host: rebind.invalid:${server.port}\r\n`)
      })
    )

    it.effect("that names the host through a wildcard does not lead to this machine", () =>
      Effect.gen(function* () {
        const server = yield* recording()
        const client = yield* leased(http, [`http://*.invalid:*/**`, `http://127.0.0.*:*/**`])
        yield* refused(client.get(`http://a.invalid:${server.port}/x`))
        yield* refused(client.get(`http://127.0.0.1:${server.port}/x`))
        yield* refused(client.get(`http://0x7f.1:${server.port}/x`))
        assert.strictEqual(server.connections(), 0)
      })
    )

    it.effect("is asked about each redirect, also to another server", () =>
      Effect.gen(function* () {
        const there = yield* WebServer.http((incoming, response) =>
          response.end(JSON.stringify([incoming.url, incoming.headers.host, incoming.headers.authorization]))
        )
        const here = yield* WebServer.http((incoming, response) => {
          response.writeHead(307, { location: `http://b.invalid:${there.port}${incoming.url}` })
          response.end()
        })
        const from = `http://a.invalid:${here.port}`
        const to = `http://b.invalid:${there.port}`
        const client = yield* leased(http, [`${from}/**`, `${to}/pub/**`])
        const response = yield* client.get(`${from}/pub/x`, { headers: { authorization: "secret" } })
        assert.deepStrictEqual(yield* response.json, ["/pub/x", `b.invalid:${there.port}`, null])
        assert.strictEqual(response.url, `${to}/pub/x`)
        yield* refused(client.get(`${from}/admin`))
        assert.deepStrictEqual([here.connections(), there.connections()], [2, 1])
      })
    )

    it.effect("hides no second request in a body", () =>
      Effect.gen(function* () {
        const asked: Array<string> = []
        const server = yield* WebServer.http((incoming, response) => {
          asked.push(incoming.url!)
          response.end("x")
          incoming.resume()
        })
        const base = `http://a.invalid:${server.port}/pub/x`
        const client = yield* leased(http, [`http://a.invalid:${server.port}/pub/**`])
        const hidden = "GET /admin HTTP/1.1\r\nhost: a\r\n\r\n"
        const bodies = [
          HttpBody.text(hidden),
          HttpBody.stream(Stream.make(utf8(hidden)), "text/plain", 0),
          HttpBody.stream(Stream.make(utf8("x"), utf8(hidden)), "text/plain", 1),
          HttpBody.stream(Stream.make(utf8(`0\r\n\r\n${hidden}`)))
        ]
        for (const body of bodies) {
          yield* Effect.exit(client.post(base, { body, headers: { "content-length": "0" } }))
          yield* Effect.exit(client.del(base, { body }))
        }
        yield* until(() => server.open() === 0)
        assert.deepStrictEqual([...new Set(asked)], ["/pub/x"])
      })
    )
  })

  describe("TLS", () => {
    const secure = (port: number, more: Partial<PinnedHttp.Request<never>> = {}) =>
      request(port, { secure: true, host: "localhost", authority: `localhost:${port}`, ...more })
    const trusting = NodePinnedHttp.make(zone, { ca: tls.cert })

    it.effect("asks for the name of the URL, at the address that was judged", () =>
      Effect.gen(function* () {
        const names: Array<string | false> = []
        const server = yield* WebServer.https(tls, (incoming, response) => response.end(incoming.headers.host), names)
        const response = yield* trusting.send(secure(server.port))
        assert.strictEqual(yield* textOf(response), `localhost:${server.port}`)
        assert.strictEqual(
          yield* textOf(yield* trusting.send(secure(server.port, { host: "localhost." }))),
          `localhost:${server.port}`
        )
        yield* textOf(yield* trusting.send(secure(server.port, { host: "127.0.0.1" })))
        assert.deepStrictEqual(names, ["localhost", "localhost"])
      })
    )

    it.effect("sends nothing to a server whose certificate is not good for the name, or of nobody", () =>
      Effect.gen(function* () {
        let requests = 0
        const server = yield* WebServer.https(tls, (_, response) => response.end(String(requests++)))
        assert.strictEqual(yield* reasonOf(trusting.send(secure(server.port, { host: "a.invalid" }))), "connect")
        assert.strictEqual(yield* reasonOf(http.send(secure(server.port))), "connect")
        yield* Effect.acquireUseRelease(
          Effect.sync(() => {
            process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0"
          }),
          () => Effect.map(reasonOf(http.send(secure(server.port))), (reason) => assert.strictEqual(reason, "connect")),
          () => Effect.sync(() => delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"])
        )
        assert.strictEqual(requests, 0)
      })
    )

    it.effect("with a server that never answers the handshake is given up", () =>
      Effect.gen(function* () {
        const server = yield* WebServer.raw(() => {})
        const fiber = yield* Effect.forkChild(reasonOf(Effect.scoped(trusting.send(secure(server.port)))))
        yield* until(() => server.open() === 1)
        assert.strictEqual(yield* passing(fiber, 1000), "connect")
        yield* until(() => server.open() === 0)
      })
    )
  })

  describe("a body", () => {
    const post = <E>(port: number, body: PinnedHttp.Body<E>) =>
      http.send({ ...request(port, { method: "POST" }), body } as PinnedHttp.Request<E>)

    it.effect("of known length is announced, any other is sent in chunks", () =>
      Effect.gen(function* () {
        const server = yield* WebServer.http((incoming, response) => {
          const { "content-length": length, "transfer-encoding": coding } = incoming.headers
          const parts: Array<Buffer> = []
          incoming.on("data", (part: Buffer) => parts.push(part))
          incoming.on("end", () => response.end(JSON.stringify([length, coding, Buffer.concat(parts).toString()])))
        })
        const echoed = <E>(body: PinnedHttp.Body<E>) =>
          Effect.map(Effect.flatMap(post(server.port, body), textOf), (text): unknown => JSON.parse(text))
        const content = Stream.make(utf8("ab"), new Uint8Array(0), utf8("c"))
        assert.deepStrictEqual(yield* echoed({ length: 3, content }), ["3", null, "abc"])
        assert.deepStrictEqual(yield* echoed({ length: 0, content: Stream.empty }), ["0", null, ""])
        assert.deepStrictEqual(yield* echoed({ length: undefined, content }), [null, "chunked", "abc"])
        assert.deepStrictEqual(yield* echoed({ length: undefined, content: Stream.empty }), [null, "chunked", ""])
        // Node frames no body of a DELETE by itself.
        const remove = request(server.port, { method: "DELETE", body: { length: undefined, content } })
        assert.deepStrictEqual(JSON.parse(yield* Effect.flatMap(http.send(remove), textOf)), [null, "chunked", "abc"])
      })
    )

    it.effect("is sent no longer and no shorter than it was announced", () =>
      Effect.gen(function* () {
        const received: Array<string> = []
        const server = yield* WebServer.raw((socket) => {
          const index = received.push("") - 1
          socket.on("data", (data) => {
            received[index] += data.toString()
          })
        })
        for (const length of [2, 4]) {
          const exit = yield* Effect.exit(
            Effect.scoped(post(server.port, { length, content: Stream.make(utf8("a"), utf8("bc")) }))
          )
          assert.isTrue(Exit.isFailure(exit))
          yield* until(() => server.open() === 0)
        }
        const bodies = received.map((text) => text.split("\r\n\r\n")[1])
        assert.deepStrictEqual(bodies, ["a", "abc"])
      })
    )

    it.effect("that fails takes the request with it, and is the failure", () =>
      Effect.gen(function* () {
        const server = yield* WebServer.raw(() => {})
        const content = Stream.concat(Stream.make(utf8("a")), Stream.fail("my own" as const))
        const error = yield* Effect.flip(Effect.scoped(post(server.port, { length: undefined, content })))
        assert.strictEqual(error, "my own")
        yield* until(() => server.open() === 0)
      })
    )

    it.effect("that fails takes a response with it that has begun", () =>
      Effect.gen(function* () {
        const server = yield* WebServer.raw((socket) =>
          socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\nx"))
        )
        const begun = WebServer.signal<void>()
        const content = Stream.concat(
          Stream.make(utf8("a")),
          Stream.fromEffect(Effect.andThen(begun.wait, Effect.fail("no" as const)))
        )
        const response = yield* post(server.port, { length: undefined, content })
        const reading = yield* Effect.forkChild(reasonOf(textOf(response)))
        begun.tell()
        assert.strictEqual(yield* Fiber.join(reading), "receive")
        yield* until(() => server.open() === 0)
      })
    )

    it.effect("is read no faster than the server takes it, and given up when that takes none", () =>
      Effect.gen(function* () {
        const server = yield* WebServer.raw((socket) => socket.pause())
        let pulled = 0
        const part = new Uint8Array(256 * 1024)
        const content = Stream.fromEffectRepeat(
          Effect.sync(() => {
            pulled++
            return part
          })
        )
        const fiber = yield* Effect.forkChild(
          reasonOf(Effect.scoped(post(server.port, { length: undefined, content })))
        )
        let before = -1
        for (let still = 0; still < 50;) {
          still = pulled > 0 && pulled === before ? still + 1 : 0
          before = pulled
          yield* turn
        }
        // What fits into the buffers of the kernel, far from all.
        assert.isBelow(pulled, 200)
        assert.strictEqual(yield* passing(fiber, 1000), "send")
      })
    )

    it.effect("may still be under way when the response comes, and ends with it", () =>
      Effect.gen(function* () {
        const server = yield* WebServer.http((incoming, response) => {
          incoming.once("data", () => {
            response.writeHead(413)
            response.end("too much")
          })
        })
        let ended = false
        const content = Stream.concat(Stream.make(utf8("a")), Stream.never).pipe(
          Stream.ensuring(
            Effect.sync(() => {
              ended = true
            })
          )
        )
        yield* Effect.gen(function* () {
          const response = yield* post(server.port, { length: undefined, content })
          assert.strictEqual(response.status, 413)
          assert.strictEqual(yield* textOf(response), "too much")
        }).pipe(Effect.scoped)
        assert.isTrue(ended)
        yield* until(() => server.open() === 0)
      })
    )
  })

  describe("a response", () => {
    it.effect("is read no faster than it is pulled", () =>
      Effect.gen(function* () {
        let written = 0
        const server = yield* WebServer.raw((socket) => {
          socket.write("HTTP/1.1 200 OK\r\n\r\n")
          const more = () => {
            written++
            if (!socket.destroyed) socket.write(new Uint8Array(256 * 1024), more)
          }
          more()
        })
        const response = yield* http.send(request(server.port))
        yield* Stream.runDrain(Stream.take(response.body, 1)).pipe(
          Effect.andThen(Effect.sync(() => assert.isBelow(written, 200)))
        )
        yield* until(() => server.open() === 0)
        written = 0
        const unread = yield* http.send(request(server.port))
        let before = -1
        for (let still = 0; still < 50;) {
          still = written > 0 && written === before ? still + 1 : 0
          before = written
          yield* turn
        }
        assert.isBelow(written, 200)
        assert.strictEqual(unread.status, 200)
      })
    )

    it.effect("that does not begin is given up after a while, whatever is said in between", () =>
      Effect.gen(function* () {
        for (const greeting of ["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nx-a: "]) {
          const server = yield* WebServer.raw((socket) => socket.write(greeting))
          const fiber = yield* Effect.forkChild(reasonOf(Effect.scoped(http.send(request(server.port)))))
          yield* until(() => server.open() === 1)
          assert.strictEqual(yield* passing(fiber, 5000), "receive")
          yield* until(() => server.open() === 0)
        }
      })
    )

    it.effect.each<[string, string]>([
      ["headers without end", `HTTP/1.1 200 OK\r\n${"x-a: b\r\n".repeat(8000)}\r\n`],
      ["more headers than anybody needs", `HTTP/1.1 200 OK\r\n${"a: b\r\n".repeat(300)}\r\n`],
      ["one endless header", `HTTP/1.1 200 OK\r\nx-a: ${"b".repeat(20_000)}\r\n\r\n`],
      [
        "greetings without end",
        `${"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(40)}HTTP/1.1 200 OK\r\n\r\n`
      ],
      ["no HTTP", "+OK redis\r\n"],
      ["a header with a bare line feed", "HTTP/1.1 200 OK\r\nx-a: b\nx-c: d\r\n\r\n"],
      ["both framings", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
      ["nothing", ""]
    ])("is none if it is %s", ([, answer]) =>
      Effect.gen(function* () {
        const server = yield* recording(answer)
        assert.strictEqual(yield* reasonOf(Effect.scoped(http.send(request(server.port)))), "receive")
        yield* until(() => server.open() === 0)
      })
    )

    it.effect("that hands the connection over is none, and says so", () =>
      Effect.gen(function* () {
        const server = yield* recording(
          "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\nx"
        )
        const error = yield* Effect.flip(Effect.scoped(http.send(request(server.port))))
        assert.include(error.message, "another protocol")
      })
    )

    it.effect("may have some greetings first", () =>
      Effect.gen(function* () {
        const server = yield* recording(
          `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nok`
        )
        const response = yield* http.send(request(server.port))
        assert.deepStrictEqual([response.status, yield* textOf(response)], [200, "ok"])
      })
    )

    it.effect.each<[string, string]>([
      ["before its length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"],
      ["between its chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"]
    ])("that breaks off %s is a failure, not an end", ([, answer]) =>
      Effect.gen(function* () {
        const server = yield* recording(answer)
        const response = yield* http.send(request(server.port))
        assert.strictEqual(yield* reasonOf(textOf(response)), "receive")
      })
    )

    it.effect("that breaks off without a length is a failure too", () =>
      Effect.gen(function* () {
        const arrived = WebServer.signal<Net.Socket>()
        const server = yield* WebServer.raw((socket) => {
          socket.write("HTTP/1.1 200 OK\r\n\r\nabc")
          arrived.tell(socket)
        })
        const response = yield* http.send(request(server.port))
        const socket = yield* arrived.wait
        const reading = yield* Effect.forkChild(
          reasonOf(Stream.runForEach(response.body, () => Effect.sync(() => socket.resetAndDestroy())))
        )
        assert.strictEqual(yield* Fiber.join(reading), "receive")
      })
    )

    it.effect("is not unpacked, so none is larger than what was sent", () =>
      Effect.gen(function* () {
        const bomb = Zlib.gzipSync(Buffer.alloc(10_000_000))
        const server = yield* WebServer.http((_, response) => {
          response.writeHead(200, { "content-encoding": "gzip", "content-type": "text/plain" })
          response.end(bomb)
        })
        const client = yield* leased(http, [`http://a.invalid:${server.port}/**`])
        const response = yield* client.get(`http://a.invalid:${server.port}/`)
        assert.strictEqual((yield* response.arrayBuffer).byteLength, bomb.byteLength)
      })
    )

    it.effect("on which nothing passes is given up, read or not", () =>
      Effect.gen(function* () {
        const server = yield* WebServer.raw((socket) => socket.write("HTTP/1.1 200 OK\r\n\r\na"))
        const response = yield* http.send(request(server.port))
        const fiber = yield* Effect.forkChild(reasonOf(textOf(response)))
        yield* http.send(request(server.port))
        yield* until(() => server.open() === 2)
        assert.strictEqual(yield* passing(fiber, 60_000), "receive")
        yield* TestClock.adjust("10 minutes")
        yield* until(() => server.open() === 0)
      })
    )
  })

  describe("an interruption", () => {
    it.effect("ends a request that waits, and a response that is read", () =>
      Effect.gen(function* () {
        const arrived = WebServer.signal<Net.Socket>()
        const server = yield* WebServer.raw((socket) => socket.once("data", () => arrived.tell(socket)))
        const client = yield* leased(http, [`http://a.invalid:${server.port}/**`])
        const fiber = yield* Effect.forkChild(client.get(`http://a.invalid:${server.port}/`))
        yield* arrived.wait
        yield* Fiber.interrupt(fiber)
        yield* until(() => server.open() === 0)

        const streaming = yield* WebServer.raw((socket) => socket.write("HTTP/1.1 200 OK\r\n\r\na"))
        const reader = yield* leased(http, [`http://a.invalid:${streaming.port}/**`])
        const response = yield* reader.get(`http://a.invalid:${streaming.port}/`)
        const got = WebServer.signal<void>()
        const reading = yield* Effect.forkChild(Stream.runForEach(response.stream, () => Effect.sync(() => got.tell())))
        yield* got.wait
        yield* Fiber.interrupt(reading)
        yield* until(() => streaming.open() === 0)
      })
    )

    it.effect("of the scope, or of the client's own, ends the connection", () =>
      Effect.gen(function* () {
        const server = yield* WebServer.raw((socket) => socket.write("HTTP/1.1 200 OK\r\n\r\na"))
        const scope = yield* Scope.make()
        yield* Scope.provide(http.send(request(server.port)), scope)
        yield* until(() => server.open() === 1)
        yield* Scope.close(scope, Exit.void)
        yield* until(() => server.open() === 0)

        const client = HttpClient.withScope(yield* leased(http, [`http://a.invalid:${server.port}/**`]))
        yield* Effect.scoped(client.get(`http://a.invalid:${server.port}/`))
        yield* until(() => server.open() === 0)
      })
    )
  })

  it.effect("a failure of the line is one that may be tried again", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(recording())
      const client = yield* leased(http, [`http://a.invalid:${port}/**`])
      const error = yield* Effect.flip(client.get(`http://a.invalid:${port}/`))
      assert.isTrue(HttpClient.isTransientError(error))
      assert.strictEqual((yield* failing(client.get(`http://a.invalid:${port}/`)))._tag, "TransportError")
    })
  )
})
