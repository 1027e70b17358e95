/**
 * A runtime as a child process, spoken to over its standard input and output.
 *
 * This file is both: without an argument it is the client, which starts itself as `04_stdio-child.ts runtime`. Frames are lines on
 * standard output; what the runtime logs goes to standard error, which the child shares with this process. When the client is done the
 * child's input ends, and the child with it.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/runtime` for `../src/runtime/index.ts`, and so on.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Redacted, Schema } from "effect"
import * as Assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { Authenticator } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { NodeStdioListener } from "../src/node/index.ts"
import { AgentContract } from "../src/protocol/index.ts"
import { Agent, ArcpServer } from "../src/runtime/index.ts"
import { StdioTransport } from "../src/transport/index.ts"

/** What both processes know. */
const Count = AgentContract.make({
  name: "count",
  input: Schema.String,
  output: Schema.Struct({ words: Schema.Int, pid: Schema.Int })
})

// -------------------------------------------------------------------------------------------------------- the runtime

const CountLive = Agent.toLayer(
  Count,
  Effect.fnUntraced(function* (text) {
    yield* Effect.log(`counting ${text.length} characters`)
    return { words: text.split(/\s+/).filter((word) => word !== "").length, pid: process.pid }
  })
)

const Server = Layer.unwrap(
  Effect.map(Config.Redacted("ARCP_TOKEN"), (token) =>
    ArcpServer.serve(CountLive).pipe(Layer.provide(Authenticator.layerStatic([{ token, principal: "parent" }])))
  )
)

/** Lives as long as its one connection. */
const serve = NodeStdioListener.launch(Server)

// --------------------------------------------------------------------------------------------------------- the client

/** A token for this one child. It goes by the environment, where other users of the machine cannot read it. */
const token = Redacted.make(randomBytes(16).toString("hex"))

const Client = ArcpClient.ArcpClient.layer({ token }).pipe(
  Layer.provide(
    StdioTransport.layerDialer({
      command: process.execPath,
      args: [import.meta.filename, "runtime"],
      env: { ARCP_TOKEN: token }
    })
  ),
  Layer.provide(NodeServices.layer)
)

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const texts = ["one", "to be or not to be", ""]
  const counts = yield* Effect.forEach(texts, (text) => client.run(Count, text), { concurrency: "unbounded" })
  for (const { pid, words } of counts) yield* Console.log(`${words} words, counted by process ${pid}`)

  Assert.deepEqual(
    counts.map(({ words }) => words),
    [1, 6, 0]
  )
  Assert.ok(counts.every(({ pid }) => pid !== process.pid && pid === counts[0]?.pid))
}).pipe(Effect.provide(Client))

if (process.argv[2] === "runtime") NodeRuntime.runMain(serve)
else NodeRuntime.runMain(program)
