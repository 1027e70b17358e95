/**
 * Submits work to a runtime and follows it (§6, §7).
 *
 * ```ts
 * import { Effect, Redacted, Schema, Stream } from "effect"
 * import { ArcpClient } from "effect-arcp/client"
 * import { AgentContract } from "effect-arcp/protocol"
 *
 * const Greeter = AgentContract.make({ name: "greeter", input: Schema.String, output: Schema.String })
 *
 * const program = Effect.gen(function*() {
 *   const client = yield* ArcpClient.ArcpClient
 *   const job = yield* client.submit(Greeter, "world")
 *   yield* Stream.runForEach(job.events, (event) => Effect.log(event.kind))
 *   return yield* job.result
 * })
 *
 * const ClientLive = ArcpClient.ArcpClient.layer({ token: Redacted.make("secret") })
 * ```
 *
 * @since 0.1.0
 */
import {
  Context,
  type DateTime,
  Duration,
  Effect,
  Layer,
  type Redacted,
  type Schedule,
  type Schema,
  type Scope,
  type Stream,
  SubscriptionRef
} from "effect"
import type { SecureRandom } from "effect/crypto"
import { KeyValueStore } from "effect/persistence"
import type * as AgentContract from "../protocol/AgentContract.ts"
import * as AgentOutcome from "../protocol/AgentOutcome.ts"
import type * as Capability from "../protocol/Capability.ts"
import * as Feature from "../protocol/Feature.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as Json from "../protocol/Json.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as BufferedRandom from "../session/BufferedRandom.ts"
import type * as Dialer from "../session/Dialer.ts"
import type * as ClientError from "./ClientError.ts"
import type * as ConnectionState from "./ConnectionState.ts"
import * as ClientSession from "./internal/clientSession.ts"
import * as Connect from "./internal/connect.ts"
import * as Exchange from "./internal/exchange.ts"
import * as Persistence from "./internal/persistence.ts"
import * as Resumption from "./internal/resumption.ts"
import * as Submitter from "./internal/submitter.ts"
import * as Target from "./internal/target.ts"
import * as Watcher from "./internal/watcher.ts"
import type * as JobHandle from "./JobHandle.ts"
import type * as JobListing from "./JobListing.ts"
import type * as JobObserver from "./JobObserver.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** What the client calls itself. Default `effect-arcp`. */
  readonly name?: string
  readonly version?: string
  /** The bearer token (§6.1), or how to get one, which is then done for each connection. */
  readonly token: Redacted.Redacted | Effect.Effect<Redacted.Redacted>
  /** What to offer the runtime. Default {@link features}. */
  readonly features?: ReadonlyArray<Feature.Feature>
  /** How long dialling and the runtime's welcome may take together. Default 10 seconds. */
  readonly handshakeTimeout?: Duration.Input
  /** How long the answer to a submit, a cancellation or a ping may take. Default 30 seconds. */
  readonly requestTimeout?: Duration.Input
  /**
   * How often to dial for a session whose connection is gone, after a first time at once; ends in any case with the resume window that the
   * runtime told of (§6.3). Default exponential from 100 milliseconds to 5 seconds, jittered. When it is used up, or with `false` right
   * away, the client is closed for good.
   */
  readonly reconnect?: Schedule.Schedule<unknown, ClientError.SessionLost> | false
  /**
   * When an event counts as processed (§6.5): with `auto`, once its reader asks for the next; with `manual`, once the reader says so with
   * the `ack` of its handle. Events that nobody reads are processed when they come. Default `auto`.
   */
  readonly ack?: "auto" | "manual"
  readonly limits?: Partial<Limits>
}

/**
 * What a client holds at most.
 *
 * @category options
 * @since 0.1.0
 */
export interface Limits {
  /** Events of one job that a handle keeps. Default 4096. */
  readonly events: number
  /** Their bytes in memory, roughly. Default 4 MiB. */
  readonly eventBytes: number
  /** Bytes of the streamed results of one job. Default 64 MiB. */
  readonly resultBytes: number
  /** Requests under way at once, to a runtime that says which one it answers; to others it is one. Default 256. */
  readonly requests: number
}

/**
 * The bounds of a client that is given none.
 *
 * @category constants
 * @since 0.1.0
 */
export const limits: Limits = {
  events: 4096,
  eventBytes: 4 * 1024 * 1024,
  resultBytes: 64 * 1024 * 1024,
  requests: 256
}

/**
 * The features that this client offers unless told otherwise: all of them.
 *
 * @category constants
 * @since 0.1.0
 */
export const features: ReadonlyArray<Feature.Feature> = Feature.all

/**
 * @category options
 * @since 0.1.0
 */
export interface SubmitOptions {
  /** The authority that the job needs (§9.1). Without it the job can do nothing that a lease governs. */
  readonly lease?: Capability.Grants
  /** When that authority ends (§9.5); text must be UTC. */
  readonly expiresAt?: DateTime.DateTime | string
  /** How long the job may run (§7.3); rounded up to whole seconds. */
  readonly maxRuntime?: Duration.Input
  /** Submitting again with the same key and parameters gives the same job (§7.2). Each submit gets one of its own if not given. */
  readonly idempotencyKey?: string
  /** 32 hexadecimal digits (§11). Taken from the current span if not given, and made up without one. */
  readonly traceId?: string
  /** Whether interrupting the submit, or {@link ArcpClient}'s `run`, cancels the job. It does not by default. */
  readonly cancelOnInterrupt?: boolean
}

/**
 * What was negotiated for the session (§6.2).
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionInfo {
  readonly id: Ids.SessionId
  /** What both sides offered: nothing else is used. */
  readonly features: ReadonlySet<Feature.Feature>
  readonly runtime: SessionMessage.Peer
  /** How long the session outlives its connection (§6.3). */
  readonly resumeWindow: Duration.Duration
}

/**
 * Says the input and the outcome of an agent in the types of its contract, or, by name alone, as JSON.
 *
 * @category models
 * @since 0.1.0
 */
export interface Submit {
  <Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top>(
    agent: AgentContract.AgentContract<Input, Output, Failure>,
    input: Input["Type"],
    options?: SubmitOptions
  ): Effect.Effect<
    JobHandle.JobHandle<Output["Type"], Failure["Type"]>,
    ClientError.SubmitError,
    Input["EncodingServices"] | Output["DecodingServices"] | Failure["DecodingServices"]
  >
  /** `agent` is `name` or `name@version` (§7.5). */
  (
    agent: string,
    input: Json.Json,
    options?: SubmitOptions
  ): Effect.Effect<JobHandle.JobHandle<Json.Json>, ClientError.SubmitError>
}

/**
 * As {@link Submit}, for those who want the result only.
 *
 * @category models
 * @since 0.1.0
 */
export interface Run {
  <Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top>(
    agent: AgentContract.AgentContract<Input, Output, Failure>,
    input: Input["Type"],
    options?: SubmitOptions
  ): Effect.Effect<
    Output["Type"],
    ClientError.SubmitError | ClientError.JobFailure<Failure["Type"]>,
    Input["EncodingServices"] | Output["DecodingServices"] | Failure["DecodingServices"]
  >
  (
    agent: string,
    input: Json.Json,
    options?: SubmitOptions
  ): Effect.Effect<Json.Json, ClientError.SubmitError | ClientError.JobFailure<never>>
}

/**
 * As `subscribe`, in the types of a contract.
 *
 * @category models
 * @since 0.1.0
 */
export interface Attach {
  <Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top>(
    agent: AgentContract.AgentContract<Input, Output, Failure>,
    jobId: string
  ): Effect.Effect<
    JobObserver.JobObserver<Output["Type"], Failure["Type"]>,
    ClientError.SubscribeError,
    Output["DecodingServices"] | Failure["DecodingServices"] | Scope.Scope
  >
}

/**
 * A session with a runtime, over as many connections as it takes.
 *
 * When a connection is lost the client dials again and resumes the session: what waits for an answer is said again, streams of events go on
 * where they were, and nothing that waits is told. When the session itself is over, by its resume window or by the runtime's word, whatever
 * waited fails once with the reason, and the next request opens a new session; jobs of the old one go on in the runtime, and
 * `attach` follows them. A client that was superseded (§6.3) is closed for good.
 *
 * @category services
 * @since 0.1.0
 */
export class ArcpClient extends Context.Service<
  ArcpClient,
  {
    /** Asks the runtime to run an agent, and waits until it has accepted the job or refused it (§7.1). */
    readonly submit: Submit
    /** Submits and awaits the result. Interrupting it does not cancel the job unless `cancelOnInterrupt` says so. */
    readonly run: Run
    /** The jobs of the principal, whichever session submitted them, oldest first (§6.6). Pages are asked for as the stream is read. */
    readonly jobs: (filter?: JobListing.Filter) => Stream.Stream<JobListing.JobListing, ClientError.ListError>
    /** Observes a job, of whatever session, until the scope closes (§7.6). */
    readonly subscribe: (
      jobId: string,
      options?: JobObserver.Options
    ) => Effect.Effect<JobObserver.JobObserver<Json.Json>, ClientError.SubscribeError, Scope.Scope>
    /** Observes a job from its first event, and reads its outcome as the contract of its agent says. */
    readonly attach: Attach
    /** The agents that the runtime told of when the session began (§6.2). */
    readonly agents: Effect.Effect<ReadonlyArray<SessionMessage.AgentEntry>>
    readonly session: Effect.Effect<SessionInfo>
    /** Whether the runtime can be talked to: how it is now, and each change. */
    readonly state: Stream.Stream<ConnectionState.ConnectionState>
    /** The time that a sign of life takes there and back (§6.4). `InvalidRequest` if `heartbeat` was not negotiated. */
    readonly ping: Effect.Effect<Duration.Duration, ClientError.PingError>
  }
>()("arcp/client/ArcpClient") {
  /**
   * Opens a session over whatever the dialer reaches. Closing the layer takes leave of the runtime (§6.7); jobs go on.
   */
  static readonly layer = (options: Options): Layer.Layer<ArcpClient, ClientError.ConnectError, Dialer.Dialer> =>
    Layer.provide(ArcpClient.layerWithRandom(options), BufferedRandom.layerWebCrypto)

  /** As `layer`, with the randomness of the surroundings: ids, keys and trace ids are drawn from it. */
  static readonly layerWithRandom = (
    options: Options
  ): Layer.Layer<ArcpClient, ClientError.ConnectError, Dialer.Dialer | SecureRandom.SecureRandom> =>
    Layer.effect(ArcpClient, make(options, Persistence.none))

  /**
   * As `layer`, for a process that may be restarted: what resumes the session is kept in a store, and the next process goes on with it,
   * from the last event that was processed. Jobs of the life before are followed by `attach`, and may be cancelled through it.
   *
   * The store holds the resume token, which is worth as much as the session: keep it from others. One key is for one process at a time,
   * since two would take the session from each other. A store that fails is logged, and costs the resume alone.
   */
  static readonly layerPersisted = (
    options: Options & {
      /** Under what to keep it. Default `arcp/session`. */
      readonly key?: string
    }
  ): Layer.Layer<ArcpClient, ClientError.ConnectError, Dialer.Dialer | KeyValueStore.KeyValueStore> =>
    Layer.effect(
      ArcpClient,
      Effect.flatMap(KeyValueStore.KeyValueStore, (store) =>
        make(options, Persistence.make(store, options.key ?? "arcp/session"))
      )
    ).pipe(Layer.provide(BufferedRandom.layerWebCrypto))
}

const make = Effect.fnUntraced(function* (options: Options, persistence: Persistence.Persistence) {
  const conversation = yield* Connect.connect({
    client: { name: options.name ?? "effect-arcp", version: options.version ?? "0.1.0" },
    token: options.token,
    features: options.features ?? features,
    handshakeTimeout: options.handshakeTimeout ?? Duration.seconds(10),
    requestTimeout: options.requestTimeout ?? Duration.seconds(30),
    limits: { ...limits, ...options.limits },
    manual: options.ack === "manual",
    persistence,
    reconnect: options.reconnect === false ? undefined : (options.reconnect ?? Resumption.defaultSchedule)
  })
  const context = yield* Effect.context<SecureRandom.SecureRandom>()
  const submitter = Submitter.make({ conversation, context })
  const watcher = Watcher.make({ conversation, context })

  const contracted = <Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top>(
    agent: AgentContract.AgentContract<Input, Output, Failure>,
    input: Input["Type"]
  ) =>
    Effect.map(
      Effect.context<Input["EncodingServices"] | Output["DecodingServices"] | Failure["DecodingServices"]>(),
      (services) => Target.contracted(agent, input, services)
    )

  return ArcpClient.of({
    submit: ((agent: AgentContract.Any | string, input: Json.Json, options?: SubmitOptions) =>
      typeof agent === "string"
        ? submitter.submit(Target.named(agent, input), options)
        : Effect.flatMap(contracted(agent, input), (target) => submitter.submit(target, options))) as Submit,
    run: ((agent: AgentContract.Any | string, input: Json.Json, options?: SubmitOptions) =>
      typeof agent === "string"
        ? submitter.run(Target.named(agent, input), options)
        : Effect.flatMap(contracted(agent, input), (target) => submitter.run(target, options))) as Run,
    jobs: watcher.jobs,
    subscribe: (jobId, options = {}) => watcher.observe(jobId, AgentOutcome.json, options),
    attach: (agent, jobId) =>
      Effect.flatMap(Effect.context(), (services) =>
        watcher.observe(jobId, AgentOutcome.read(agent, services), { history: true })
      ),
    agents: Effect.sync(() => conversation.latest().welcome.capabilities.agents ?? []),
    session: Effect.sync(() => {
      const { features, id, welcome } = conversation.latest()
      return { id, features, runtime: welcome.runtime, resumeWindow: Duration.seconds(welcome.resume_window_sec) }
    }),
    state: SubscriptionRef.changes(conversation.state),
    ping: Effect.flatMap(conversation.session, (session) =>
      Effect.andThen(
        ClientSession.needs(session, "heartbeat"),
        Effect.map(Effect.timed(Exchange.ping(session)), ([duration]) => duration)
      )
    )
  })
})
