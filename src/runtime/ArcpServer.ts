/**
 * The runtime as one layer: what comes in over a `Listener` is greeted and becomes a session.
 *
 * ```ts
 * import { Effect, Layer, Redacted, Schema } from "effect"
 * import { Authenticator } from "effect-arcp/authority"
 * import { Agent, ArcpServer } from "effect-arcp/runtime"
 * import { MemoryTransport } from "effect-arcp/transport"
 *
 * const Echo = Agent.make({ name: "echo", input: Schema.String, output: Schema.String })
 *
 * const Runtime = ArcpServer.serve(Echo.toLayer(Effect.succeed)).pipe(
 *   Layer.provide(Authenticator.layerStatic([{ token: Redacted.make("secret"), principal: "me" }])),
 *   Layer.provide(MemoryTransport.layer)
 * )
 * ```
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import type * as Authenticator from "../authority/Authenticator.ts"
import * as Budgets from "../authority/Budgets.ts"
import * as Credentials from "../authority/Credentials.ts"
import * as CredentialStore from "../authority/CredentialStore.ts"
import * as Leases from "../authority/Leases.ts"
import * as LeasedServices from "../leased/LeasedServices.ts"
import * as LeasedToolkit from "../leased/LeasedToolkit.ts"
import type * as Message from "../protocol/Message.ts"
import * as BufferedRandom from "../session/BufferedRandom.ts"
import * as Connection from "../session/Connection.ts"
import * as Listener from "../session/Listener.ts"
import * as AgentRegistry from "./AgentRegistry.ts"
import * as Handshake from "./Handshake.ts"
import * as Strangers from "./internal/strangers.ts"
import * as JobJournal from "./JobJournal.ts"
import * as Jobs from "./Jobs.ts"
import * as JobStore from "./JobStore.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as Sessions from "./Sessions.ts"
import * as SessionStore from "./SessionStore.ts"

/**
 * Listens, and gives each connection its conversation. All the services of the runtime are to be provided.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  never,
  Connection.ConnectionError,
  | Listener.Listener
  | Authenticator.Authenticator
  | AgentRegistry.AgentRegistry
  | Sessions.Sessions
  | Credentials.Credentials
  | SecureRandom.SecureRandom
> = Layer.effectDiscard(
  Effect.gen(function* () {
    const config = yield* RuntimeConfig.RuntimeConfig
    const listener = yield* Listener.Listener
    const sessions = yield* Sessions.Sessions
    const handshake = yield* Handshake.make
    const strangers = Strangers.make(config.maxGreeting, config.maxGreetingPerAddress)

    /** Who does not say who they are takes one of a bounded number of places, for a bounded time. */
    const greet = (connection: Connection.Connection<Message.FromClient>) =>
      Effect.acquireUseRelease(
        Effect.sync(() => Strangers.enter(strangers, connection.peer)),
        (leave) =>
          leave === undefined
            ? Effect.as(connection.close(Connection.close.overloaded), Option.none<Handshake.Greeted>())
            : handshake(connection),
        (leave) => Effect.sync(() => leave?.())
      )

    yield* listener.listen((connection) =>
      Effect.flatMap(greet(connection), (greeted) =>
        Option.isSome(greeted) ? sessions.converse(greeted.value.opened, greeted.value.connection) : Effect.void
      ).pipe(
        Effect.catch((error) => Effect.logDebug("A connection ended before the session began", error.message)),
        Effect.annotateLogs({ peer: connection.peer })
      )
    )
    // Added last, so that it runs first: the lines are still open for a word of farewell.
    yield* Effect.addFinalizer(() => sessions.shutdown)
  })
)

/**
 * What a host decides about the authority of jobs: the layers of the options, and the defaults for those that are left out.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPolicies = ({
  budgets = Budgets.layer,
  credentialStore = CredentialStore.layerMemory,
  leases = Leases.layer
}: ServeOptions = {}): Layer.Layer<Leases.Leases | Budgets.Budgets | CredentialStore.CredentialStore> =>
  Layer.mergeAll(leases, budgets, credentialStore)

/**
 * The services of a runtime that keeps everything in memory, without the policies of its host, see {@link layerPolicies}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<
  | Sessions.Sessions
  | Jobs.Jobs
  | AgentRegistry.AgentRegistry
  | Credentials.Credentials
  | JobJournal.JobJournal
  | JobStore.JobStore,
  never,
  Leases.Leases | Budgets.Budgets | CredentialStore.CredentialStore | SecureRandom.SecureRandom
> = Sessions.layer.pipe(
  Layer.provideMerge(Jobs.layer),
  Layer.provideMerge(AgentRegistry.layer),
  Layer.provideMerge(Credentials.layer()),
  Layer.provideMerge(JobJournal.layerMemory),
  Layer.provideMerge(JobStore.layerMemory),
  Layer.provide(SessionStore.layerMemory)
)

/**
 * A runtime in memory that serves these agents: the whole of it for most applications. It listens once the agents are registered.
 *
 * @category layers
 * @since 0.1.0
 */
export const serve = <E, R>(
  agents: Layer.Layer<never, E, R>,
  options: ServeOptions = {}
): Layer.Layer<
  never,
  E | Connection.ConnectionError,
  | Exclude<R, AgentRegistry.AgentRegistry | LeasedServices.LeasedServices>
  | Listener.Listener
  | Authenticator.Authenticator
> =>
  layer.pipe(
    Layer.provide(confined(agents)),
    Layer.provide(layerMemory),
    Layer.provide(layerPolicies(options)),
    Layer.provide(BufferedRandom.layerWebCrypto)
  ) as Layer.Layer<
    never,
    E | Connection.ConnectionError,
    | Exclude<R, AgentRegistry.AgentRegistry | LeasedServices.LeasedServices>
    | Listener.Listener
    | Authenticator.Authenticator
  >

/**
 * Agents whose layers cannot keep what no lease gave them: while they are built the leased services refuse, and so do tools.
 *
 * @category combinators
 * @since 0.1.0
 */
export const confined = <E, R>(
  agents: Layer.Layer<never, E, R>
): Layer.Layer<never, E, Exclude<R, LeasedServices.LeasedServices>> =>
  Layer.provide(
    agents,
    Layer.effectContext(
      Effect.map(Effect.context<never>(), (surroundings) =>
        Context.merge(LeasedToolkit.refusing(LeasedToolkit.handlersIn(surroundings)), LeasedServices.refusing)
      )
    )
  )

/**
 * @category options
 * @since 0.1.0
 */
export interface ServeOptions {
  /** What becomes of the leases that clients ask for. Default `Leases.layer`: they are granted as asked for. */
  readonly leases?: Layer.Layer<Leases.Leases>
  /** Who keeps account of what jobs spend. Default `Budgets.layer`. */
  readonly budgets?: Layer.Layer<Budgets.Budgets>
  /**
   * Where it is written down which credentials are outstanding. Default `CredentialStore.layerMemory`; `provisioned_credentials` is offered
   * only with one that is durable, and with a provisioner (§14).
   */
  readonly credentialStore?: Layer.Layer<CredentialStore.CredentialStore>
}
