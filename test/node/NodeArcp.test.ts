import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Redacted, Schema, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as NodeArcp from "../../src/node/NodeArcp.ts"
import * as NodeWebSocketListener from "../../src/node/NodeWebSocketListener.ts"
import * as Agent from "../../src/runtime/Agent.ts"

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

const token = Redacted.make("secret")

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

describe("The usual host on Node", () => {
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
