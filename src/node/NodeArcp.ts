/**
 * The usual host on Node in one layer for each side: a runtime that listens on a WebSocket and gives its agents the files, the requests
 * and the commands that their leases allow, and a client that dials one. What is unusual is put together from the layers that these are
 * made of.
 *
 * ```ts
 * import { Effect, Layer, Redacted, Schema } from "effect"
 * import { NodeRuntime } from "@effect/platform-node"
 * import { NodeArcp } from "effect-arcp/node"
 * import { Agent } from "effect-arcp/runtime"
 *
 * const Echo = Agent.make({ name: "echo", input: Schema.String, output: Schema.String })
 *
 * NodeArcp.layerServer(Echo.toLayer(Effect.succeed), {
 *   port: 7777,
 *   tokens: [{ token: Redacted.make("secret"), principal: "ada" }]
 * }).pipe(Layer.launch, NodeRuntime.runMain)
 * ```
 *
 * @since 0.1.0
 */
import * as NodeChildProcessSpawner from "@effect/platform-node/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { Effect, Layer, Record } from "effect"
import { FetchHttpClient, type HttpClient } from "effect/http"
import * as Authenticator from "../authority/Authenticator.ts"
import * as CredentialProvisioner from "../authority/CredentialProvisioner.ts"
import * as Credentials from "../authority/Credentials.ts"
import type * as CredentialStore from "../authority/CredentialStore.ts"
import * as ArcpClient from "../client/ArcpClient.ts"
import type * as ClientError from "../client/ClientError.ts"
import * as LeasedChildProcess from "../leased/LeasedChildProcess.ts"
import * as LeasedFileSystem from "../leased/LeasedFileSystem.ts"
import * as LeasedHttpClient from "../leased/LeasedHttpClient.ts"
import type * as LeasedServices from "../leased/LeasedServices.ts"
import type * as AgentRegistry from "../runtime/AgentRegistry.ts"
import * as ArcpServer from "../runtime/ArcpServer.ts"
import type * as Connection from "../session/Connection.ts"
import * as NodeAnchoredFiles from "./NodeAnchoredFiles.ts"
import * as NodeCredentialStore from "./NodeCredentialStore.ts"
import * as NodePinnedHttp from "./NodePinnedHttp.ts"
import * as NodeWebSocketDialer from "./NodeWebSocketDialer.ts"
import * as NodeWebSocketListener from "./NodeWebSocketListener.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface ServerOptions extends NodeWebSocketListener.Options, ArcpServer.ServeOptions {
  /** Who may connect: the bearer tokens, and whom each stands for. */
  readonly tokens: Iterable<Authenticator.StaticToken>
  /** The directory in which relative paths of agents start. Without it they are refused. */
  readonly root?: string
  /** Where files cannot be held while they are used, that is elsewhere than on Linux: see `LeasedFileSystem.Options`. */
  readonly unanchoredWrites?: boolean
  /** The commands that agents may run, each as the tool of its name. None by default. */
  readonly commands?: LeasedChildProcess.Options["commands"]
  /** How agents may send HTTP requests; with `false` they may send none, whatever their leases say. */
  readonly http?: (LeasedHttpClient.Options & NodePinnedHttp.Options) | false
  /** What mints credentials for each job (§9.8). Without it, none are offered. */
  readonly credentials?: CredentialOptions
}

/**
 * @category options
 * @since 0.1.0
 */
export interface CredentialOptions extends Credentials.Options {
  /** What mints them, such as `LiteLlmProvisioner.make` and `OAuthProvisioner.make`. */
  readonly provisioners: ReadonlyArray<
    Effect.Effect<CredentialProvisioner.Provisioner, CredentialProvisioner.InvalidProvisioner, HttpClient.HttpClient>
  >
  /** The directory in which it is written down which of them are outstanding, see `NodeCredentialStore`. */
  readonly directory: string
}

/**
 * Why a server cannot be started.
 *
 * @category errors
 * @since 0.1.0
 */
export type ServerError =
  | Authenticator.InvalidEntry
  | Connection.ConnectionError
  | CredentialProvisioner.InvalidProvisioner
  | CredentialStore.CredentialStoreError

/**
 * A runtime in memory that serves these agents over a WebSocket, on a loopback address unless told otherwise. Gives the address on which it
 * listens.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerServer = <E, R>(
  agents: Layer.Layer<never, E, R>,
  options: ServerOptions
): Layer.Layer<
  NodeWebSocketListener.Address,
  E | ServerError,
  Exclude<R, AgentRegistry.AgentRegistry | LeasedServices.LeasedServices>
> => {
  const { commands = {}, credentials, http, root, tokens, unanchoredWrites } = options
  const server = credentials === undefined ? ArcpServer.serve(agents, options) : minting(agents, options, credentials)
  return server.pipe(
    Layer.provide(
      Layer.merge(
        LeasedFileSystem.layer({ root, unanchoredWrites }),
        LeasedChildProcess.layer({ commands: Record.map(commands, withoutCoverage), root })
      )
    ),
    Layer.provide(NodeAnchoredFiles.layer),
    Layer.provide(NodeChildProcessSpawner.layer),
    Layer.provide(Layer.merge(NodeFileSystem.layer, NodePath.layer)),
    Layer.provide(
      http === false ? Layer.empty : Layer.provide(LeasedHttpClient.layer(http), NodePinnedHttp.layer(http))
    ),
    Layer.provide(Authenticator.layerStatic(tokens)),
    Layer.provideMerge(NodeWebSocketListener.layer(options))
  ) as Layer.Layer<
    NodeWebSocketListener.Address,
    E | ServerError,
    Exclude<R, AgentRegistry.AgentRegistry | LeasedServices.LeasedServices>
  >
}

/** A runtime that mints credentials. What it asks upstreams with is its own: agents have no part in it. */
const minting = <E, R>(
  agents: Layer.Layer<never, E, R>,
  options: ServerOptions,
  { directory, provisioners, ...bounds }: CredentialOptions
) =>
  Layer.unwrap(
    Effect.map(Layer.build(NodeCredentialStore.layer(directory)), (store) =>
      ArcpServer.serve(agents, { credentialStore: Layer.succeedContext(store), ...options })
    )
  ).pipe(
    Layer.provide(Credentials.layerDefaults(bounds)),
    Layer.provide(Layer.provide(CredentialProvisioner.layerAll(provisioners), FetchHttpClient.layer))
  )

// The one variable that Node hands to every child on its own, unless it is set.
const withoutCoverage = (command: LeasedChildProcess.Command): LeasedChildProcess.Command =>
  process.env["NODE_V8_COVERAGE"] === undefined
    ? command
    : { ...command, env: { NODE_V8_COVERAGE: "", ...command.env } }

/**
 * Where the runtime is, and how to speak to it.
 *
 * @category options
 * @since 0.1.0
 */
export interface ClientOptions extends NodeWebSocketDialer.Options, ArcpClient.Options {}

/**
 * A client of the runtime at this URL.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient = (options: ClientOptions): Layer.Layer<ArcpClient.ArcpClient, ClientError.ConnectError> =>
  Layer.provide(ArcpClient.ArcpClient.layer(options), NodeWebSocketDialer.layer(options))
