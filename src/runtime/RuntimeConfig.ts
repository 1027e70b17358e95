/**
 * The bounds of a runtime: of its queues, its tables and its waits. What bounds a single agent is said where the agent is served.
 *
 * @since 0.1.0
 */
import { Context, Duration, Effect, Layer } from "effect"
import * as Feature from "../protocol/Feature.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"

/**
 * The features that this runtime has. One that it has not cannot be offered: a client would rely on it.
 *
 * @category models
 * @since 0.1.0
 */
export type Served = Exclude<Feature.Feature, "provisioned_credentials">

/**
 * What a host may set.
 *
 * @category models
 * @since 0.1.0
 */
export interface RuntimeConfig {
  /** What the welcome says of this runtime. */
  readonly runtime: SessionMessage.Peer
  /** What the runtime offers (§6.2): some of what it can serve. */
  readonly features: ReadonlyArray<Served>
  /** How long a connection may stay without a hello. */
  readonly helloTimeout: Duration.Duration
  /** How long a session outlives its connection (§6.3). */
  readonly resumeWindow: Duration.Duration
  /** How often a session with `heartbeat` gives a sign of life (§6.4); whole seconds. */
  readonly heartbeatInterval: Duration.Duration
  /** How long a connected session may have neither a running job nor a request before it is closed. No bound unless one is set. */
  readonly idleTimeout: Duration.Duration
  /** How long an agent may take to unwind after a cancellation or a time-out before its job ends without it (§7.4). */
  readonly cancelGrace: Duration.Duration
  /** How long a peer may leave a write waiting before its connection is dropped. */
  readonly stallTimeout: Duration.Duration
  /** How long an ended job can still be looked up. */
  readonly jobRetention: Duration.Duration
  /** How long an idempotency key binds (§7.2). */
  readonly idempotencyRetention: Duration.Duration
  /** Characters of the longest event payload or result. */
  readonly maxPayload: number
  /** Characters of a job's input, which is kept while the job runs. */
  readonly maxInput: number
  /** Running jobs that one session may have submitted. */
  readonly maxJobsPerSession: number
  /** Jobs, each delegated by the one before. */
  readonly maxDelegationDepth: number
  /** Running jobs that one job may have delegated. */
  readonly maxChildren: number
  /** Bytes of a streamed result. */
  readonly maxResult: number
  /** Running jobs of one principal. */
  readonly maxJobsPerPrincipal: number
  /** Submissions of one principal in a minute. No bound unless one is set. */
  readonly maxSubmissionsPerMinute: number
  /** Connections that have not yet said who they are. */
  readonly maxGreeting: number
  /**
   * Of these, those from one address, or one /64 network of IPv6, where the listener tells it. Behind a proxy all have the address of that:
   * there it is as well to be `maxGreeting`.
   */
  readonly maxGreetingPerAddress: number
  /** Sessions, attached or not, of one principal. */
  readonly maxSessionsPerPrincipal: number
  /** Ended jobs that can still be looked up. */
  readonly maxEndedJobs: number
  /** Characters that a job may be ahead of its attached submitter, and that of one job a client may have unacknowledged. */
  readonly pacingWindow: number
  /** Characters beyond that for what must not wait: costs, and what a job says while it is being ended. */
  readonly pacingReserve: number
  /** Characters that of all its jobs together a client may have unacknowledged. */
  readonly sessionWindow: number
  /** Events that a client which acknowledges may be behind before it is told. */
  readonly lagWarning: number
  /** Characters of history that one job keeps. */
  readonly maxJournalPerJob: number
  /** Characters of history that all jobs together keep. */
  readonly maxJournal: number
  /** Requests of one connection that may wait for the one before before the runtime stops reading from it. */
  readonly maxPendingRequests: number
  /** Characters of the outcomes of ended jobs, beyond which the oldest of these jobs are forgotten. */
  readonly maxOutcomes: number
  /** Characters of the parameters of submissions that idempotency keys stand for, beyond which the oldest keys bind no more. */
  readonly maxParameters: number
  /** Characters of answers that may wait for one connection before the runtime stops reading from it. */
  readonly maxPendingReplies: number
  /** Characters that go out in one write. */
  readonly maxBatch: number
  /** Entries of a session's stamp log, where a long frame counts for several; it may hold a quarter more before it forgets. */
  readonly maxStamps: number
  /** Malformed frames in a row after which a connection is closed. */
  readonly maxBadFrames: number
  /** Envelope ids that are remembered to drop repeats. */
  readonly maxSeenIds: number
}

/**
 * What holds where a host sets nothing.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaults: RuntimeConfig = {
  runtime: { name: "effect-arcp", version: "0.1.0" },
  features: [
    "heartbeat",
    "ack",
    "list_jobs",
    "subscribe",
    "lease_expires_at",
    "cost.budget",
    "model.use",
    "progress",
    "result_chunk",
    "agent_versions"
  ],
  helloTimeout: Duration.seconds(5),
  resumeWindow: Duration.minutes(10),
  heartbeatInterval: Duration.seconds(30),
  idleTimeout: Duration.infinity,
  cancelGrace: Duration.seconds(30),
  stallTimeout: Duration.minutes(1),
  jobRetention: Duration.hours(1),
  idempotencyRetention: Duration.hours(24),
  maxPayload: 1024 * 1024,
  maxInput: 1024 * 1024,
  maxJobsPerSession: 100,
  maxJobsPerPrincipal: 1000,
  maxDelegationDepth: 8,
  maxChildren: 64,
  maxResult: 256 * 1024 * 1024,
  maxSubmissionsPerMinute: Number.POSITIVE_INFINITY,
  maxGreeting: 256,
  maxGreetingPerAddress: 128,
  maxSessionsPerPrincipal: 1000,
  maxEndedJobs: 10_000,
  pacingWindow: 1024 * 1024,
  pacingReserve: 64 * 1024,
  sessionWindow: 8 * 1024 * 1024,
  lagWarning: 1000,
  maxJournalPerJob: 16 * 1024 * 1024,
  maxJournal: 256 * 1024 * 1024,
  maxPendingRequests: 64,
  maxOutcomes: 256 * 1024 * 1024,
  maxParameters: 64 * 1024 * 1024,
  maxPendingReplies: 1024 * 1024,
  maxBatch: 256 * 1024,
  maxStamps: 65_536,
  maxBadFrames: 16,
  maxSeenIds: 4096
}

/**
 * The configuration in force; the defaults if nobody says otherwise.
 *
 * @category services
 * @since 0.1.0
 */
export const RuntimeConfig = Context.Reference<RuntimeConfig>("arcp/runtime/RuntimeConfig", {
  defaultValue: () => defaults
})

/**
 * The defaults with some changes. A bound that is no number, negative, or that leaves no room at all dies with a `RangeError` that names it,
 * and so does an endless time that clients are to be told: that is a mistake in the program.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (changes: Partial<RuntimeConfig>): Layer.Layer<never> =>
  Layer.effect(
    RuntimeConfig,
    Effect.sync(() => {
      const config = { ...defaults, ...changes }
      for (const [setting, value] of Object.entries(config)) {
        const least = mayBeZero.has(setting) ? 0 : 1
        if (typeof value === "number" && !(value >= least)) {
          throw new RangeError(`RuntimeConfig.${setting}: ${value} is not a number of at least ${least}`)
        }
      }
      for (const setting of told) {
        if (!Duration.isFinite(config[setting]))
          throw new RangeError(`RuntimeConfig.${setting}: no welcome can say that it is endless`)
      }
      // What the welcome says in whole seconds is what holds.
      const seconds = Math.max(1, Math.round(Duration.toSeconds(config.heartbeatInterval)))
      return { ...config, heartbeatInterval: Duration.seconds(seconds) }
    })
  )

/** What the welcome says in seconds. */
const told = ["resumeWindow", "heartbeatInterval"] as const

const mayBeZero: ReadonlySet<string> = new Set(["pacingReserve", "lagWarning", "maxPendingReplies", "maxEndedJobs"])
