/**
 * The runtime over WebSocket, as an application would serve it.
 */
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import * as Authenticator from "../../../src/authority/Authenticator.ts"
import * as NodeWebSocketListener from "../../../src/node/NodeWebSocketListener.ts"
import * as ArcpServer from "../../../src/runtime/ArcpServer.ts"
import * as RuntimeConfig from "../../../src/runtime/RuntimeConfig.ts"
import * as Agents from "../Agents.ts"
import * as Peer from "../Peer.ts"
import * as Workload from "../Workload.ts"

const runtime = ManagedRuntime.make(
  ArcpServer.serve(Agents.layer).pipe(
    Layer.provide(Authenticator.layerStatic([{ token: Redacted.make(Workload.token), principal: "bench" }])),
    Layer.provideMerge(NodeWebSocketListener.layer()),
    Layer.provide(RuntimeConfig.layer({ maxSessionsPerPrincipal: 10_000 }))
  )
)

const commands = {
  url: () => runtime.runPromise(Effect.map(NodeWebSocketListener.Address, ({ url }) => url)),
  steady: () => Agents.steady.said,
  memory: Peer.memory
}

export type Commands = typeof commands

Peer.serve(commands)
