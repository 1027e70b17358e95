import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { HttpClient } from "effect/http"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as NodeArcp from "../../src/node/NodeArcp.ts"
import * as NodeWebSocketListener from "../../src/node/NodeWebSocketListener.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as WebServer from "./WebServer.ts"

const Fetch = Agent.make({ name: "fetch", input: Schema.String, output: Schema.String })
const FetchLive = Fetch.toLayer((url) => Effect.flatMap(HttpClient.get(url), ({ text }) => text))

const token = Redacted.make("secret")

/** A client of a runtime on this machine, with these options for the HTTP of its agents. */
const connected = (http?: NodeArcp.ServerOptions["http"]) =>
  Layer.unwrap(Effect.map(NodeWebSocketListener.Address, ({ url }) => NodeArcp.layerClient({ url, token }))).pipe(
    Layer.provide(
      NodeArcp.layerServer(FetchLive, {
        tokens: [{ token, principal: "ada" }],
        ...(http === undefined ? undefined : { http })
      })
    )
  )

const fetch = (url: string, patterns: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const job = yield* client.submit(Fetch, url, { lease: { "net.fetch": patterns } })
    return yield* job.result
  })

const hello = WebServer.http((incoming, response) => {
  response.writeHead(incoming.url === "/far" ? 302 : 200, { location: "/near" })
  response.end(`hello ${incoming.url}`)
})

describe("the usual host on Node", () => {
  it.live("sends the requests that leases allow", () =>
    Effect.gen(function* () {
      const { connections, port } = yield* hello
      const base = `http://127.0.0.1:${port}`
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* fetch(`${base}/far`, [`${base}/**`]), "hello /near")
        assert.strictEqual(yield* fetch(`http://localhost:${port}/x`, ["http://localhost:*/**"]), "hello /x")
        assert.strictEqual(connections(), 3)
        for (const patterns of [["http://127.0.0.*:*/**", "http://**:*/**"], [`${base}/y`], [], ["https://**/**"]]) {
          assert.strictEqual((yield* Effect.flip(fetch(`${base}/x`, patterns)))._tag, "PermissionDenied")
        }
        assert.strictEqual(connections(), 3)
        assert.strictEqual((yield* Effect.flip(fetch(`${base}/far`, [`${base}/far`])))._tag, "PermissionDenied")
      }).pipe(Effect.provide(connected()))
    })
  )

  it.live("has its bounds from the options", () =>
    Effect.gen(function* () {
      const { port } = yield* hello
      const base = `http://127.0.0.1:${port}`
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(fetch(`${base}/x`, [`${base}/**`]))
        assert.strictEqual(error._tag, "InternalError")
        assert.include(error.message, "more than 3 bytes")
      }).pipe(Effect.provide(connected({ maxGatheredBytes: 3 })))
    })
  )

  it.live("sends nothing if that is switched off", () =>
    Effect.gen(function* () {
      const { connections, port } = yield* hello
      const base = `http://127.0.0.1:${port}`
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(fetch(`${base}/x`, [`${base}/**`]))
        assert.strictEqual(error._tag, "PermissionDenied")
        assert.include(error.message, "the host offers no HTTP client")
        assert.strictEqual(connections(), 0)
      }).pipe(Effect.provide(connected(false)))
    })
  )
})
