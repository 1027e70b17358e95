import * as NodeWS from "@effect/platform-node/NodeWS"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Queue, Redacted, Result, type Scope } from "effect"
import { Socket } from "effect/socket"
import * as Net from "node:net"
import * as NodeWebSocketDialer from "../../src/node/NodeWebSocketDialer.ts"
import * as NodeWebSocketListener from "../../src/node/NodeWebSocketListener.ts"
import * as Connection from "../../src/session/Connection.ts"
import * as WebSocketTransport from "../../src/transport/WebSocketTransport.ts"
import { verifies } from "../conformance/verifies.ts"
import { certificate } from "./fixtures/certificate.ts"
import { maxFrameBytes, ports, suite } from "./TransportSuite.ts"

const listener: NodeWebSocketListener.Options = { maxFrameBytes, closeTimeout: "300 millis" }

suite(
  "WebSocket, Node's dialer",
  Effect.map(NodeWebSocketListener.make(listener), ({ address, listen }) => ({
    dial: NodeWebSocketDialer.dial({ url: address.url, maxFrameBytes }),
    listen
  })),
  { many: true, codes: true, pacedDialer: true }
)

suite(
  "WebSocket, the platform's dialer",
  Effect.map(NodeWebSocketListener.make(listener), ({ address, listen }) => ({
    dial: Effect.provide(
      WebSocketTransport.dial({ url: address.url, maxFrameBytes }),
      Socket.layerWebSocketConstructorGlobal
    ),
    listen
  })),
  { many: true, codes: true, pacedDialer: false }
)

suite(
  "WebSocket over TLS",
  Effect.map(NodeWebSocketListener.make({ ...listener, tls: certificate }), ({ address, listen }) => ({
    dial: NodeWebSocketDialer.dial({ url: address.url, maxFrameBytes, tls: { ca: certificate.cert } }),
    listen
  })),
  { many: true, codes: true, pacedDialer: true }
)

const bound = <D, E, R>(dialer: (url: string) => Layer.Layer<D, E, R>) =>
  Layer.unwrap(Effect.map(NodeWebSocketListener.Address, ({ url }) => dialer(url))).pipe(
    Layer.provideMerge(NodeWebSocketListener.layer())
  )

ports(
  "Node's dialer",
  bound((url) => NodeWebSocketDialer.layer({ url }))
)
ports(
  "the platform's dialer",
  bound((url) => WebSocketTransport.layerDialer({ url }))
)

/** A listener whose handler answers each frame with itself. */
const echo = Effect.fnUntraced(function* (options: NodeWebSocketListener.Options = {}) {
  const { address, listen } = yield* NodeWebSocketListener.make({ closeTimeout: "300 millis", ...options })
  const ended = yield* Queue.unbounded<Connection.ConnectionError>()
  yield* listen((frames) =>
    Effect.forever(Effect.flatMap(frames.pull, (batch) => frames.send(batch))).pipe(
      Effect.catch((error) => Queue.offer(ended, error))
    )
  )
  return { ...address, ended: Queue.take(ended) }
})

/** Writes bytes to a port and yields all that comes back until the other side closes. */
const raw = (port: number, text: string) =>
  Effect.callback<string>((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(text, "latin1"))
    let answer = ""
    socket.setEncoding("latin1")
    socket.on("data", (chunk) => {
      answer += chunk
    })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(answer)))
    return Effect.sync(() => socket.destroy())
  })

const handshake = (
  port: number,
  options: { readonly target?: string; readonly host?: string; readonly headers?: ReadonlyArray<string> } = {}
) =>
  [
    `GET ${options.target ?? "/arcp"} HTTP/1.1`,
    `Host: ${options.host ?? `127.0.0.1:${port}`}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...(options.headers ?? []),
    "",
    ""
  ].join("\r\n")

/** A close frame with code 1000, masked with zeros: whoever got in leaves again. */
const leave = "\x88\x82\x00\x00\x00\x00\x03\xe8"

const status = (port: number, options?: Parameters<typeof handshake>[1]) =>
  Effect.map(raw(port, handshake(port, options) + leave), (answer) => Number(answer.split(" ")[1]))

/** A client that is not ours, already open. */
const client = (url: string, options?: NodeWS.ClientOptions) =>
  Effect.acquireRelease(
    Effect.callback<NodeWS.WebSocket>((resume) => {
      const ws = new NodeWS.WebSocket(url, options)
      ws.on("error", () => {})
      ws.once("open", () => resume(Effect.succeed(ws)))
    }),
    (ws) => Effect.sync(() => ws.terminate())
  )

const closing = (ws: NodeWS.WebSocket) =>
  Effect.callback<number>((resume) => {
    ws.once("close", (code) => resume(Effect.succeed(code)))
  })

describe("admission", () => {
  it.live("serves one path", () =>
    Effect.gen(function* () {
      const { port } = yield* echo()
      assert.strictEqual(yield* status(port), 101)
      assert.strictEqual(yield* status(port, { target: "/arcp?trace=1" }), 101)
      for (const target of ["/", "/arcp/", "/ARCP", "/other", `http://127.0.0.1:${port}/arcp`, "*"]) {
        assert.strictEqual(yield* status(port, { target }), 404, target)
      }
      const moved = yield* echo({ path: "/agents" })
      assert.strictEqual(yield* status(moved.port, { target: "/agents" }), 101)
      assert.strictEqual(yield* status(moved.port), 404)
    })
  )

  it.live("answers, on a loopback address, to its own names alone", () =>
    Effect.gen(function* () {
      const { port } = yield* echo()
      for (const host of [`localhost:${port}`, `LOCALHOST:${port}`, `[::1]:${port}`, `[0:0::1]:${port}`]) {
        assert.strictEqual(yield* status(port, { host }), 101, host)
      }
      for (const host of [
        `evil.example:${port}`,
        "localhost",
        "localhost:1",
        `localhost.evil.example:${port}`,
        `localhost:${port}@evil.example`,
        `[::2]:${port}`,
        `::1:${port}`,
        ""
      ])
        assert.strictEqual(yield* status(port, { host }), 403, host)
    })
  )

  it.live("answers to the names that it was given", () =>
    Effect.gen(function* () {
      const { port } = yield* echo({ hosts: ["arcp.example", "[2001:db8::1]:443"] })
      for (const host of ["arcp.example", "ARCP.example:8443", "[2001:DB8:0::1]:443"]) {
        assert.strictEqual(yield* status(port, { host }), 101, host)
      }
      for (const host of ["127.0.0.1", `localhost:${port}`, "[2001:db8::1]", "[2001:db8::1]:80"]) {
        assert.strictEqual(yield* status(port, { host }), 403, host)
      }
    })
  )

  it.live("turns away pages whose origin it does not know", () =>
    Effect.gen(function* () {
      const { port } = yield* echo({ origins: ["https://app.example"] })
      const from = (origin: string, header = "Origin") => status(port, { headers: [`${header}: ${origin}`] })
      assert.strictEqual(yield* from("https://app.example"), 101)
      for (const origin of ["https://evil.example", "http://app.example", "https://app.example:8443", "null", ""]) {
        assert.strictEqual(yield* from(origin), 403, origin)
      }
      assert.strictEqual(yield* from("https://evil.example", "Sec-WebSocket-Origin"), 403)
      const closed = yield* echo()
      assert.strictEqual(yield* status(closed.port, { headers: [`Origin: http://127.0.0.1:${closed.port}`] }), 403)
    })
  )

  it.live("accepts no compression and no sub-protocol that is offered", () =>
    Effect.gen(function* () {
      const { port } = yield* echo()
      const headers = ["Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: arcp.v1"]
      const answer = yield* raw(port, handshake(port, { headers }) + leave)
      assert.match(answer, /^HTTP\/1.1 101 /)
      assert.notMatch(answer, /sec-websocket-(extensions|protocol)/i)
    })
  )

  it.live("has 503 for one connection too many, and while nobody listens", () =>
    Effect.gen(function* () {
      const { port, url } = yield* echo({ maxConnections: 1 })
      const ws = yield* client(url)
      assert.strictEqual(yield* status(port), 503)
      const gone = closing(ws)
      ws.close()
      yield* gone
      assert.strictEqual(yield* Effect.repeat(status(port), { until: (status) => status === 101 }), 101)
      const { address } = yield* NodeWebSocketListener.make()
      assert.strictEqual(yield* status(address.port), 503)
    })
  )

  it.live("answers what is no WebSocket handshake, and goes on", () =>
    Effect.gen(function* () {
      const { port } = yield* echo()
      const answers = yield* Effect.forEach(
        [
          "GET /arcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
          "GET /else HTTP/1.1\r\nHost: localhost\r\n\r\n",
          "\x16\x03\x01 this is not HTTP\r\n\r\n",
          handshake(port).replace("Version: 13", "Version: 99"),
          handshake(port).replace("GET", "POST")
        ],
        (text) => Effect.map(raw(port, text), (answer) => Number(answer.split(" ")[1]))
      )
      assert.deepStrictEqual(answers, [426, 404, 400, 400, 405])
      assert.strictEqual(yield* status(port), 101)
    })
  )

  it.live("cuts handshakes that take too long", () =>
    Effect.gen(function* () {
      const { port } = yield* echo({ handshakeTimeout: "200 millis" })
      const answer = yield* raw(port, "GET /arcp HTTP/1.1\r\nHost: loc")
      assert.match(answer, /^(HTTP\/1.1 408 |$)/)
    })
  )

  it.live.each([
    [{}, "GET /arcp HTTP/1.1\r\n"],
    [{ tls: certificate }, "\x16\x03\x01\x02\x00"]
  ] as const)("is not held up by an open handshake when its scope closes", ([options, start]) =>
    Effect.gen(function* () {
      const slow = yield* Effect.scoped(
        Effect.flatMap(echo({ ...options, handshakeTimeout: "1 minute" }), ({ port }) =>
          Effect.callback<Net.Socket>((resume) => {
            const socket = Net.connect(port, "127.0.0.1", () =>
              socket.write(start, "latin1", () => resume(Effect.succeed(socket)))
            )
            socket.on("error", () => {})
          })
        )
      )
      yield* Effect.callback<void>((resume) => {
        if (slow.closed) return resume(Effect.void)
        slow.once("close", () => resume(Effect.void))
        slow.resume()
      })
    })
  )

  it.live("says why it cannot listen", () =>
    Effect.gen(function* () {
      const { port } = yield* echo()
      const error = yield* Effect.flip(NodeWebSocketListener.make({ port }))
      assert.deepInclude(error, { reason: "open", message: `cannot listen on 127.0.0.1:${port}` })
      const bad = { cert: "none", key: Redacted.make("none") }
      assert.strictEqual((yield* Effect.flip(NodeWebSocketListener.make({ tls: bad }))).reason, "open")
    })
  )
})

describe("frames", () => {
  verifies.live("C-001", "text frames, one JSON object each", () =>
    Effect.gen(function* () {
      const { url } = yield* echo()
      const ws = yield* client(url)
      const sent = Array.from({ length: 50 }, (_, i) => ({ arcp: "1.1", id: `msg_${i}`, type: "session.ping" }))
      const messages = Effect.callback<ReadonlyArray<readonly [data: string, binary: boolean]>>((resume) => {
        const all: Array<readonly [string, boolean]> = []
        ws.on("message", (data, binary) => {
          if (all.push([data.toString(), binary]) === sent.length) resume(Effect.succeed(all))
        })
        for (const message of sent) ws.send(JSON.stringify(message))
      })
      const received = yield* messages
      assert.isTrue(received.every(([, binary]) => !binary))
      assert.deepStrictEqual(
        received.map(([data]) => JSON.parse(data)),
        sent
      )
    })
  )

  it.live("closes with 1003 at a binary frame", () =>
    Effect.gen(function* () {
      const { url, ended } = yield* echo()
      const ws = yield* client(url)
      const code = closing(ws)
      ws.send(new Uint8Array([123, 125]))
      assert.strictEqual(yield* code, 1003)
      assert.deepInclude(yield* ended, { reason: "read", code: 1003 })
    })
  )

  it.live("passes on no control characters of the reason that a peer closes with", () =>
    Effect.gen(function* () {
      const { url, ended } = yield* echo()
      const ws = yield* client(url)
      ws.close(1000, "\u001b[2Jgone\nlevel=INFO")
      assert.strictEqual((yield* ended).message, "\ufffd[2Jgone\ufffdlevel=INFO")
    })
  )

  it.live("closes with 1007 at text that is no text", () =>
    Effect.gen(function* () {
      const { url, ended } = yield* echo()
      const ws = yield* client(url)
      const code = closing(ws)
      ws.send(new Uint8Array([0xc3, 0x28]), { binary: false })
      assert.strictEqual(yield* code, 1007)
      assert.strictEqual((yield* ended).code, 1007)
    })
  )

  it.live("closes with 1009 before a frame that is too large has arrived", () =>
    Effect.gen(function* () {
      const { port, ended } = yield* echo({ maxFrameBytes: 1024 })
      // The head of a masked text frame of 1 GiB, and not one byte of it.
      const head = "\x81\xff\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00"
      const answer = yield* raw(port, handshake(port) + head)
      assert.include(answer, "\x88\x02\x03\xf1")
      assert.strictEqual((yield* ended).code, 1009)
    })
  )

  it.live("joins fragments, and closes with 1008 at a flood of them", () =>
    Effect.gen(function* () {
      const { url, ended } = yield* echo({ maxFragments: 8 })
      const ws = yield* client(url)
      const echoed = Effect.callback<string>((resume) => {
        ws.once("message", (data) => resume(Effect.succeed(data.toString())))
        for (let i = 0; i < 7; i++) ws.send("é", { fin: false })
        ws.send("!", { fin: true })
      })
      assert.strictEqual(yield* echoed, "ééééééé!")
      const code = closing(ws)
      for (let i = 0; i < 1000; i++) ws.send("x", { fin: false })
      assert.strictEqual(yield* code, 1008)
      assert.strictEqual((yield* ended).code, 1008)
    })
  )

  it.live("delivers what came whole from a peer that vanishes in the middle of a batch", () =>
    Effect.gen(function* () {
      const { address, listen } = yield* NodeWebSocketListener.make()
      const heard = yield* Queue.unbounded<ReadonlyArray<string> | Connection.ConnectionError>()
      yield* listen((frames) =>
        Effect.forever(Effect.flatMap(frames.pull, (batch) => Queue.offer(heard, batch))).pipe(
          Effect.catch((error) => Queue.offer(heard, error))
        )
      )
      yield* Effect.callback<void>((resume) => {
        const socket = Net.connect(address.port, "127.0.0.1", () =>
          // One whole frame, then half of one.
          socket.end(handshake(address.port) + "\x81\x82\x00\x00\x00\x00ok\x81\x88\x00\x00\x00\x00half", "latin1")
        )
        socket.resume()
        socket.on("close", () => resume(Effect.void))
      })
      assert.deepStrictEqual(yield* Queue.take(heard), ["ok"])
      assert.deepInclude(yield* Queue.take(heard), { reason: "closed", code: 1006 })
    })
  )
})

describe("dialing", () => {
  const dials: Record<
    string,
    (
      options: WebSocketTransport.DialOptions
    ) => Effect.Effect<Connection.Frames, Connection.ConnectionError, Scope.Scope>
  > = {
    "Node's": NodeWebSocketDialer.dial,
    "the platform's": (options) =>
      Effect.provide(WebSocketTransport.dial(options), Socket.layerWebSocketConstructorGlobal)
  }

  for (const [name, dial] of Object.entries(dials)) {
    it.live(`${name}: says what is wrong with a URL`, () =>
      Effect.gen(function* () {
        for (const url of ["", "no url", "http://localhost/arcp", "ws://user:pass@localhost/", "ws://localhost/#f"]) {
          const error = yield* Effect.flip(dial({ url }))
          assert.strictEqual(error.reason, "open")
          assert.match(error.message, /^url: /)
        }
      })
    )

    it.live(`${name}: fails when it is refused, when nobody is there, and when nobody answers in time`, () =>
      Effect.gen(function* () {
        const { port } = yield* echo()
        assert.strictEqual((yield* Effect.flip(dial({ url: `ws://127.0.0.1:${port}/else` }))).reason, "open")
        const closed = yield* Effect.scoped(Effect.map(echo(), ({ url }) => url))
        assert.strictEqual((yield* Effect.flip(dial({ url: closed }))).reason, "open")
        const mute = yield* Effect.acquireRelease(
          Effect.callback<Net.Server>((resume) => {
            const server = Net.createServer((socket) => socket.on("error", () => {}))
            server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
          }),
          (server) => Effect.sync(() => server.close())
        )
        const address = mute.address()
        assert.isObject(address)
        const url = `ws://127.0.0.1:${typeof address === "object" ? address?.port : 0}`
        const error = yield* Effect.flip(dial({ url, connectTimeout: "100 millis" }))
        assert.deepInclude(error, { reason: "open", message: "the connection did not open in time" })
      })
    )
  }

  it.live("asks for the default path, no sub-protocol, no compression, with its true host and no origin", () =>
    Effect.gen(function* () {
      const asked = yield* Queue.unbounded<Record<string, unknown>>()
      const { address } = yield* NodeWebSocketListener.make({ path: "/nowhere" })
      const spy = yield* Effect.acquireRelease(
        Effect.callback<Net.Server>((resume) => {
          const server = Net.createServer((socket) => {
            socket.on("error", () => {})
            socket.once("data", (data) => {
              const [line, ...headers] = data.toString().toLowerCase().split("\r\n")
              Queue.offerUnsafe(asked, { line, ...Object.fromEntries(headers.map((header) => header.split(": "))) })
              socket.destroy()
            })
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const at = spy.address()
      const host = `127.0.0.1:${typeof at === "object" ? at?.port : 0}`
      assert.notStrictEqual(host, `127.0.0.1:${address.port}`)
      yield* Effect.flip(NodeWebSocketDialer.dial({ url: `ws://${host}` }))
      const request = yield* Queue.take(asked)
      assert.deepInclude(request, { line: "get /arcp http/1.1", host })
      for (const header of ["origin", "sec-websocket-protocol", "sec-websocket-extensions", "authorization"]) {
        assert.notProperty(request, header)
      }
    })
  )

  it.effect("uses a URL as it is given, and knows which lines are secure", () =>
    Effect.gen(function* () {
      const paths = {
        "ws://runtime.example": ["ws://runtime.example/arcp", false],
        "ws://runtime.example?x=1": ["ws://runtime.example/arcp?x=1", false],
        "ws://runtime.example/": ["ws://runtime.example/", false],
        "wss://runtime.example:8443/a//b?c": ["wss://runtime.example:8443/a//b?c", true],
        "ws://localhost:80/x": ["ws://localhost:80/x", true],
        "ws://127.8.9.1/x": ["ws://127.8.9.1/x", true],
        "ws://[::1]:9/x": ["ws://[::1]:9/x", true],
        "ws://[::ffff:127.0.0.1]/x": ["ws://[::ffff:127.0.0.1]/x", true],
        "ws://127.0.0.1.evil.example/x": ["ws://127.0.0.1.evil.example/x", false],
        "ws://localhost.evil.example/x": ["ws://localhost.evil.example/x", false]
      } as const
      for (const [given, [url, secure]] of Object.entries(paths)) {
        assert.deepInclude(yield* WebSocketTransport.endpoint(given), { url, secure })
      }
    })
  )

  it.live("trusts no certificate that it was not told to trust", () =>
    Effect.gen(function* () {
      const { url } = yield* echo({ tls: certificate })
      assert.match(url, /^wss:/)
      assert.strictEqual((yield* Effect.flip(NodeWebSocketDialer.dial({ url }))).reason, "open")
      const line = yield* NodeWebSocketDialer.dial({ url, tls: { ca: certificate.cert } })
      assert.isTrue(line.secure)
      assert.isTrue(Result.isSuccess(yield* Effect.result(line.send(["hi"]))))
      assert.deepStrictEqual(yield* line.pull, ["hi"])
    })
  )
})
