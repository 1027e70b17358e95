/**
 * `arcp serve`: the runtime of a module's agents, on a port of this machine or on standard input and output.
 *
 * @since 0.1.0
 */
import {
  Cause,
  Console,
  Context,
  Effect,
  type FileSystem,
  Layer,
  Option,
  Path,
  Redacted,
  type Scope,
  Stdio,
  Terminal
} from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"
import { ChildProcessSpawner } from "effect/process"
import * as NodeConsole from "node:console"
import * as Authenticator from "../authority/Authenticator.ts"
import * as LeasedFileSystem from "../leased/LeasedFileSystem.ts"
import * as NodeAnchoredFiles from "../node/NodeAnchoredFiles.ts"
import * as LeasedHttpClient from "../leased/LeasedHttpClient.ts"
import * as NodePinnedHttp from "../node/NodePinnedHttp.ts"
import * as NodeWebSocketListener from "../node/NodeWebSocketListener.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Version from "../protocol/Version.ts"
import * as AgentRegistry from "../runtime/AgentRegistry.ts"
import * as ArcpServer from "../runtime/ArcpServer.ts"
import * as RuntimeConfig from "../runtime/RuntimeConfig.ts"
import type * as Connection from "../session/Connection.ts"
import type * as Listener from "../session/Listener.ts"
import * as Loopback from "../transport/Loopback.ts"
import * as StdioTransport from "../transport/StdioTransport.ts"
import * as AgentModule from "./AgentModule.ts"
import * as ExitCode from "./ExitCode.ts"
import * as HelpPage from "./HelpPage.ts"
import * as RemoteRuntime from "./RemoteRuntime.ts"
import * as Signals from "./Signals.ts"

const pem = (name: string) => Flag.FileText(name).pipe(Flag.withMetavar("FILE"), Flag.optional)

const flags = {
  host: Flag.String("host").pipe(
    Flag.withDefault("127.0.0.1"),
    Flag.withMetavar("ADDRESS"),
    Flag.withDescription("The address to listen on (default 127.0.0.1: this machine only)")
  ),
  port: Flag.Int("port").pipe(
    Flag.withAlias("p"),
    Flag.withDefault(7777),
    Flag.filter(
      (port) => port >= 0 && port <= 65_535,
      () => "a port from 0 to 65535"
    ),
    Flag.withDescription("The port to listen on, 0 for any that is free (default 7777)")
  ),
  token: RemoteRuntime.token.pipe(
    Flag.withDescription("What clients must say (env ARCP_TOKEN; on this machine one is made if there is none)")
  ),
  principal: Flag.String("principal").pipe(
    Flag.withDefault("owner"),
    Flag.withMetavar("NAME"),
    Flag.withDescription("Whom the token stands for (default owner)")
  ),
  root: Flag.Directory("root", { mustExist: true }).pipe(
    Flag.withMetavar("DIR"),
    Flag.optional,
    Flag.withDescription("Where relative paths of agents start (without it they are refused)")
  ),
  unanchoredWrites: Flag.Boolean("unanchored-writes").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Where files cannot be held (not Linux): let leases with a wildcard cover writes all the same")
  ),
  stdio: Flag.Boolean("stdio").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Serve one client on standard input and output instead of a port")
  ),
  tlsCert: pem("tls-cert").pipe(Flag.withDescription("Certificate in PEM: serve wss:// alone")),
  tlsKey: pem("tls-key").pipe(
    Flag.map(Option.map((key) => Redacted.make(key))),
    Flag.withDescription("Its key in PEM")
  ),
  origins: Flag.String("origin").pipe(
    Flag.withMetavar("ORIGIN"),
    Flag.atLeast(0),
    Flag.withDescription("A web origin whose pages may connect; may be repeated (default none)")
  ),
  hosts: Flag.String("allow-host").pipe(
    Flag.withMetavar("HOST"),
    Flag.atLeast(0),
    Flag.withDescription(
      "A name that clients may connect by; may be repeated (default, on a loopback address, its own)"
    )
  )
}

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "serve",
  {
    module: Argument.String("module").pipe(
      Argument.withDescription("A JavaScript or TypeScript file that exports agents")
    ),
    ...flags
  },
  Effect.fn("arcp serve")(
    function* (options) {
      if (options.stdio) yield* quietConsole
      const agents = yield* AgentModule.load(options.module)
      const served = options.stdio ? agents : Layer.provideMerge(announce, agents)
      const runtime = ArcpServer.serve(served).pipe(Layer.provide(files(options)), Layer.provide(requests))
      return yield* options.stdio ? onStdio(runtime, options) : onPort(runtime, options)
    },
    Effect.scoped,
    Effect.catchTags({
      AgentModuleError: (error) =>
        Effect.andThen(
          Effect.logDebug(Cause.die(error.cause)),
          Effect.fail(ExitCode.fail(ExitCode.usage, error.message))
        ),
      ConnectionError: (error) =>
        Effect.fail(ExitCode.fail(ExitCode.failure, `${error.message}: ${reasonOf(error.cause)}`)),
      InvalidEntry: (error) => Effect.fail(ExitCode.fail(ExitCode.usage, `--${error.field} ${error.reason}`))
    })
  )
).pipe(
  Command.withDescription("Serves the agents of a module until it is told to stop (SIGINT, SIGTERM)."),
  Command.withShortDescription("Serves the agents of a module"),
  Command.withExamples([
    { command: "arcp serve agents.ts", description: "On ws://127.0.0.1:7777/arcp, with a token made for this run" },
    { command: "ARCP_TOKEN=$(cat token) arcp serve agents.ts --root ./data", description: "With a token of your own" },
    {
      command: "arcp serve agents.ts --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem",
      description: "For other machines: the token comes from ARCP_TOKEN"
    },
    { command: "arcp serve agents.ts --stdio", description: "For the process that started it" }
  ]),
  Command.annotate(HelpPage.Sections, [
    {
      title: "MODULE",
      rows: [
        ["what counts", "exports that are layers of agents: agent.toLayer(handler), or arrays of them"],
        ["which of them", "the default export if it holds any, else all named ones"],
        ["TypeScript", "loaded as it is, as long as its types can be stripped"]
      ]
    }
  ])
)

type Runtime = Layer.Layer<
  never,
  AgentModule.AgentModuleError | Connection.ConnectionError,
  Listener.Listener | Authenticator.Authenticator | FileSystem.FileSystem | Path.Path
>

interface Options {
  readonly root: Option.Option<string>
  readonly unanchoredWrites: boolean
  readonly host: string
  readonly port: number
  readonly token: Option.Option<Redacted.Redacted>
  readonly principal: string
  readonly tlsCert: Option.Option<string>
  readonly tlsKey: Option.Option<Redacted.Redacted>
  readonly origins: ReadonlyArray<string>
  readonly hosts: ReadonlyArray<string>
}

const refuse = (problem: string, hint?: string) => ExitCode.fail(ExitCode.usage, problem, hint)

const reasonOf = (cause: unknown) => (cause instanceof Error ? cause.message : "no reason is known")

/** The file system that jobs get, each within its lease. */
const files = ({ root, unanchoredWrites }: Pick<Options, "root" | "unanchoredWrites">) =>
  Layer.unwrap(
    Effect.map(Path.Path, (path) =>
      LeasedFileSystem.layer({
        root: Option.getOrUndefined(Option.map(root, (directory) => path.resolve(directory))),
        unanchoredWrites
      })
    )
  ).pipe(Layer.provide(NodeAnchoredFiles.layer))

/** The HTTP that jobs get, each within its lease. */
const requests = Layer.provide(LeasedHttpClient.layer(), NodePinnedHttp.layer())

const versionsOf = ({ default: fallback, name, versions }: SessionMessage.AgentEntry) =>
  versions.length === 0
    ? [name]
    : versions.map((version) => `${name}@${version}${versions.length > 1 && version === fallback ? " (default)" : ""}`)

/** Says what is served, once that is known. */
const announce = Layer.effectDiscard(
  Effect.gen(function* () {
    const agents = yield* AgentRegistry.AgentRegistry.use((registry) => registry.inventory)
    yield* Console.error(`arcp ${RuntimeConfig.defaults.runtime.version} (ARCP ${Version.version})`)
    yield* Console.error(`agents  ${agents.flatMap(versionsOf).join(", ")}`)
  })
)

/** Builds a runtime whose agents do not find the services of this process: what a job may do is for its lease to say. */
const build = <A, E>(layer: Layer.Layer<A, E, FileSystem.FileSystem | Path.Path>) =>
  Effect.updateContext(
    Layer.build(layer),
    (services: Context.Context<FileSystem.FileSystem | Path.Path | Scope.Scope>) =>
      Context.omit(ChildProcessSpawner.ChildProcessSpawner, Stdio.Stdio, Terminal.Terminal)(services)
  )

const onPort = Effect.fnUntraced(function* (runtime: Runtime, options: Options) {
  const { host, hosts, origins, port, principal, token } = options
  const isLocal = Loopback.is(host)
  if (Option.isNone(token) && !isLocal) {
    return yield* refuse(
      `on ${host} other machines can connect, so there has to be a token`,
      "Set ARCP_TOKEN, or give --token."
    )
  }
  const tls = yield* tlsOf(options)
  const secret = Option.isSome(token) ? token.value : yield* makeToken
  const listener = NodeWebSocketListener.layer({
    host,
    port,
    origins,
    ...(hosts.length === 0 ? undefined : { hosts }),
    ...(tls === undefined ? undefined : { tls })
  })
  const context = yield* build(
    runtime.pipe(Layer.provideMerge(listener), Layer.provide(Authenticator.layerStatic([{ token: secret, principal }])))
  )
  const { url } = Context.get(context, NodeWebSocketListener.Address)
  yield* Console.error(`url     ${url}`)
  if (Option.isNone(token)) {
    yield* Console.error(`token   ${Redacted.value(secret)}  (made for this run: set ARCP_TOKEN to one of your own)`)
  }
  if (!isLocal && tls === undefined) {
    yield* Effect.logWarning("tokens travel in the clear: give --tls-cert, or listen behind a proxy that ends TLS")
  }
  yield* Signals.Signals.use((signals) => signals.next)
  yield* Console.error("shutting down")
})

/** Whatever a module prints goes to standard error while standard output carries frames. */
const quietConsole = Effect.acquireRelease(
  Effect.sync(() => {
    const before = { ...console }
    Object.assign(console, new NodeConsole.Console(process.stderr))
    return before
  }),
  (before) => Effect.sync(() => Object.assign(console, before))
)

const onStdio = Effect.fnUntraced(function* (runtime: Runtime, { principal, token }: Options) {
  const authenticator = Option.match(token, {
    // Whoever holds the pipe started this process, or was handed it by who did.
    onNone: () => Layer.succeed(Authenticator.Authenticator, { authenticate: () => Effect.succeed({ id: principal }) }),
    onSome: (secret) => Authenticator.layerStatic([{ token: secret, principal }])
  })
  const stdio = yield* Stdio.Stdio
  const listener = StdioTransport.layerListener().pipe(Layer.provide(Layer.succeed(Stdio.Stdio, stdio)))
  const context = yield* build(runtime.pipe(Layer.provideMerge(listener), Layer.provide(authenticator)))
  yield* Effect.raceFirst(
    Context.get(context, StdioTransport.Finished).await,
    Signals.Signals.use((signals) => signals.next)
  )
})

const tlsOf = ({ tlsCert, tlsKey }: Options) => {
  if (Option.isNone(tlsCert) && Option.isNone(tlsKey)) return Effect.undefined
  return Option.isSome(tlsCert) && Option.isSome(tlsKey)
    ? Effect.succeed({ cert: tlsCert.value, key: tlsKey.value })
    : Effect.fail(refuse("--tls-cert and --tls-key belong together"))
}

const makeToken = SecureRandom.SecureRandom.use((random) => random.randomBytes(32)).pipe(
  Effect.map((bytes) => Redacted.make(Base64Url.encode(bytes))),
  Effect.provide(SecureRandom.layerWebCrypto)
)
