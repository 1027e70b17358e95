import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, FileSystem, Layer, Redacted, Schema, Scope, Stream } from "effect"
import { HttpClient } from "effect/http"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Budgets from "../../src/authority/Budgets.ts"
import type * as Credentials from "../../src/authority/Credentials.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as LiteLlmProvisioner from "../../src/node/LiteLlmProvisioner.ts"
import * as NodeArcp from "../../src/node/NodeArcp.ts"
import * as NodeWebSocketListener from "../../src/node/NodeWebSocketListener.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as LiteLlmServer from "./LiteLlmServer.ts"
import * as WebServer from "./WebServer.ts"

const Fetch = Agent.make({ name: "fetch", input: Schema.String, output: Schema.String })
const FetchLive = Fetch.toLayer((url) => Effect.flatMap(HttpClient.get(url), ({ text }) => text))

const Writer = Agent.make({ name: "writer", input: Schema.Literals(["hold", "go"]), output: Schema.String })
const WriterLive = Writer.toLayer((what) => (what === "hold" ? Effect.never : Effect.succeed("done")))

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

const Runner = Agent.make({ name: "runner", input: Schema.Array(Schema.String), output: Schema.String })

const RunnerLive = Runner.toLayer(
  Effect.fnUntraced(function* ([command = "", ...args]) {
    const fs = yield* FileSystem.FileSystem
    const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
    const text = yield* spawner.string(ChildProcess.make(command, args))
    // Under a grant with a wildcard: the usual host holds its files.
    yield* fs.writeFileString("said.txt", text)
    return text
  })
)

const directory = Effect.acquireRelease(
  Effect.sync(() => Fs.realpathSync(Fs.mkdtempSync(Path.join(Os.tmpdir(), "arcp-")))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
)

const Usual = Layer.unwrap(
  Effect.map(directory, (root) => {
    const commands = { env: { executable: "/usr/bin/env", env: { OWN: "own", ABSENT: undefined } } }
    const server = NodeArcp.layerServer(RunnerLive, { port: 0, root, commands, tokens: [{ token, principal: "ada" }] })
    const client = Layer.unwrap(
      Effect.map(NodeWebSocketListener.Address, ({ url }) => NodeArcp.layerClient({ url, token }))
    )
    return Layer.provide(client, server)
  })
)

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

  it.live("mints credentials, and remembers over its death which of them are outstanding", () =>
    Effect.gen(function* () {
      const litellm = yield* LiteLlmServer.make
      const directory = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
      const life = Layer.fresh(
        NodeArcp.layerServer(WriterLive, {
          tokens: [{ token, principal: "ada" }],
          credentials: {
            directory,
            provisioners: [
              LiteLlmProvisioner.make({
                url: litellm.url,
                masterKey: Redacted.make(LiteLlmServer.masterKey),
                modelsByDefault: ["gpt-4o"]
              })
            ]
          }
        })
      )
      const begun = Effect.gen(function* () {
        const { url } = yield* NodeWebSocketListener.Address
        const client = yield* Layer.build(Layer.fresh(NodeArcp.layerClient({ url, token })))
        const job = yield* Context.get(client, ArcpClient.ArcpClient).submit(Writer, "hold")
        const [key] = job.credentials
        assert.strictEqual(litellm.complete(Redacted.value(key!.value), "gpt-4o").status, 200)
        return key!
      })
      // A process that is killed closes nothing.
      const key = yield* Effect.provideContext(begun, yield* Layer.buildWithScope(life, yield* Scope.make()))
      assert.lengthOf(litellm.keys, 1)
      const scope = yield* Scope.make()
      const next = yield* Effect.provideContext(begun, yield* Layer.buildWithScope(life, scope))
      assert.strictEqual(litellm.complete(Redacted.value(key.value), "gpt-4o").status, 401)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(litellm.complete(Redacted.value(next.value), "gpt-4o").status, 401)
      assert.lengthOf(litellm.keys, 0)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("does not start with a provisioner, a directory or a bound that cannot be used", () =>
    Effect.gen(function* () {
      const start = (directory: string, url: string, bounds?: Credentials.Options) =>
        Layer.build(
          NodeArcp.layerServer(WriterLive, {
            tokens: [{ token, principal: "ada" }],
            credentials: { directory, provisioners: [LiteLlmProvisioner.make({ url, masterKey: token })], ...bounds }
          })
        ).pipe(Effect.scoped, Effect.exit)
      const directory = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
      const url = "https://llm.example.com"
      const failures = [
        yield* start(directory, "http://llm.example.com"),
        yield* start("/dev/null/x", url),
        yield* start(directory, url, { maxPerJob: 0 })
      ].map((exit) => (Exit.isFailure(exit) ? String(exit.cause) : "none"))
      assert.match(failures[0]!, /InvalidProvisioner/)
      assert.match(failures[1]!, /CredentialStoreError/)
      assert.match(failures[2]!, /RangeError.*Credentials\.maxPerJob/)
      assert.isTrue(Exit.isSuccess(yield* start(directory, url)))
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("asks the budgets that it was given", () =>
    Effect.gen(function* () {
      const opened: Array<string> = []
      const budgets = Layer.effect(
        Budgets.Budgets,
        Effect.map(Budgets.Budgets, ({ open }) =>
          Budgets.Budgets.of({
            open: (options) => Effect.suspend(() => (opened.push(options.job), open(options)))
          })
        )
      ).pipe(Layer.provide(Budgets.layer))
      const server = NodeArcp.layerServer(WriterLive, { tokens: [{ token, principal: "ada" }], budgets })
      yield* Effect.gen(function* () {
        const { url } = yield* NodeWebSocketListener.Address
        const client = yield* Layer.build(NodeArcp.layerClient({ url, token }))
        yield* Context.get(client, ArcpClient.ArcpClient).run(Writer, "go", { lease: { "cost.budget": ["USD:1"] } })
        assert.lengthOf(opened, 1)
      }).pipe(Effect.provide(server))
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

  it.live("runs the commands that it declares, under the lease of the job", () =>
    Effect.gen(function* () {
      // Node hands this one to every child, whatever environment that is given.
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          const before = process.env["NODE_V8_COVERAGE"]
          process.env["NODE_V8_COVERAGE"] = "/of/the/host"
          return before
        }),
        (before) =>
          Effect.sync(() => {
            if (before === undefined) delete process.env["NODE_V8_COVERAGE"]
            else process.env["NODE_V8_COVERAGE"] = before
          })
      )
      yield* run.pipe(Effect.provide(Usual))
    })
  )

  const run = Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const lease = { "tool.call": ["env"], "fs.write": ["/**"] }
    const job = yield* client.submit(Runner, ["env"], { lease })
    const kinds = yield* Stream.runCollect(Stream.map(job.events, ({ kind }) => kind))
    assert.sameMembers((yield* job.result).trim().split("\n"), ["OWN=own", "NODE_V8_COVERAGE="])
    assert.deepStrictEqual([...kinds], ["status", "tool_call", "tool_result"])
    const denied = yield* Effect.flip(client.run(Runner, ["env"]))
    assert.strictEqual(denied._tag, "PermissionDenied")
    const undeclared = yield* Effect.flip(client.run(Runner, ["id"], { lease: { "tool.call": ["*"] } }))
    assert.strictEqual(undeclared._tag, "PermissionDenied")
  })
})
