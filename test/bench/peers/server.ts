/**
 * The runtime over WebSocket, as an application would serve it.
 */
import { Duration, Effect, Layer, ManagedRuntime, Redacted, References } from "effect"
import * as Authenticator from "../../../src/authority/Authenticator.ts"
import * as NodeWebSocketListener from "../../../src/node/NodeWebSocketListener.ts"
import * as ArcpServer from "../../../src/runtime/ArcpServer.ts"
import * as RuntimeConfig from "../../../src/runtime/RuntimeConfig.ts"
import * as Agents from "../Agents.ts"
import * as Peer from "../Peer.ts"
import * as Workload from "../Workload.ts"

/** In what a case departs from the defaults. */
export interface Settings {
  /** Characters of history. */
  readonly retention?: number
  /** Seconds between signs of life. */
  readonly heartbeat?: number
}

/** Room for every case that has many of them. */
const connections = 20_000

const makeRuntime = ({ heartbeat, retention }: Settings) =>
  ManagedRuntime.make(
    ArcpServer.serve(Agents.layer).pipe(
      Layer.provide(Authenticator.layerStatic([{ token: Redacted.make(Workload.token), principal: "bench" }])),
      Layer.provideMerge(NodeWebSocketListener.layer({ maxConnections: connections })),
      Layer.provide(
        RuntimeConfig.layer({
          maxSessionsPerPrincipal: connections,
          ...(retention === undefined ? undefined : { maxJournalPerJob: retention, maxJournal: retention }),
          ...(heartbeat === undefined ? undefined : { heartbeatInterval: Duration.seconds(heartbeat) })
        })
      ),
      Layer.provide(Layer.succeed(References.MinimumLogLevel, "Warn"))
    )
  )

let served: ReturnType<typeof makeRuntime> | undefined

const commands = {
  /** Begins to serve; the URL to dial. */
  serve: (settings: Settings) => {
    served ??= makeRuntime(settings)
    return served.runPromise(Effect.map(NodeWebSocketListener.Address, ({ url }) => url))
  },
  /** Tells held jobs to go on. */
  release: () => Effect.runPromise(Agents.release),
  /** How many events steady and held jobs have emitted. */
  said: () => Agents.counted.said,
  memory: Peer.memory
}

export type Commands = typeof commands

Peer.serve(commands)
