/**
 * The messages about the session itself (§6): handshake, resume, heartbeat, acknowledgement, listing, close.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as ArcpError from "./ArcpError.ts"
import * as Capability from "./Capability.ts"
import * as Envelope from "./Envelope.ts"
import * as Ids from "./Ids.ts"
import * as Json from "./Json.ts"
import * as Timestamp from "./Timestamp.ts"

const count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))
const Secret = (label: string) => Schema.RedactedFromValue(Schema.String, { label })

/**
 * How the client says who it is (§6.1).
 *
 * @category models
 * @since 0.1.0
 */
export const Auth = Schema.Struct({ scheme: Schema.NonEmptyString, token: Secret("token") })
export type Auth = typeof Auth.Type

/**
 * A peer's name and version, for logs and for people.
 *
 * @category models
 * @since 0.1.0
 */
export const Peer = Schema.Struct({ name: Schema.String, version: Schema.String })
export type Peer = typeof Peer.Type

/**
 * What a client resumes with (§6.3).
 *
 * @category models
 * @since 0.1.0
 */
export const ResumeRequest = Schema.Struct({
  /** Absent in the form of peers that find the session by its token alone. */
  session_id: Schema.optionalKey(Ids.SessionId),
  resume_token: Secret("resume token"),
  last_event_seq: count
})
export type ResumeRequest = typeof ResumeRequest.Type

/**
 * An agent of the runtime's inventory (§6.2, §7.5).
 *
 * @category models
 * @since 0.1.0
 */
export const AgentEntry = Schema.Struct({
  name: Schema.NonEmptyString,
  versions: Schema.Array(Schema.String),
  default: Schema.optionalKey(Schema.String)
})
export type AgentEntry = typeof AgentEntry.Type

/**
 * What a peer can do. Vendor members stay where they are, hence the open record.
 *
 * @category models
 * @since 0.1.0
 */
export const ClientCapabilities = Schema.StructWithRest(
  Schema.Struct({
    encodings: Schema.optionalKey(Schema.Array(Schema.String)),
    features: Schema.optionalKey(Schema.Array(Schema.String))
  }),
  [Schema.Record(Schema.String, Json.Json)]
)
export type ClientCapabilities = typeof ClientCapabilities.Type

/**
 * As {@link ClientCapabilities}, with the inventory of agents.
 *
 * @category models
 * @since 0.1.0
 */
export const RuntimeCapabilities = Schema.StructWithRest(
  Schema.Struct({
    encodings: Schema.optionalKey(Schema.Array(Schema.String)),
    features: Schema.optionalKey(Schema.Array(Schema.String)),
    agents: Schema.optionalKey(Schema.Array(AgentEntry))
  }),
  [Schema.Record(Schema.String, Json.Json)]
)
export type RuntimeCapabilities = typeof RuntimeCapabilities.Type

/**
 * Opens a session (§6.2).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Hello = Schema.Struct({
  ...Envelope.message(
    "session.hello",
    Schema.Struct({
      client: Peer,
      auth: Auth,
      capabilities: ClientCapabilities,
      resume: Schema.optionalKey(ResumeRequest),
      /** With `last_event_seq` the same once more, where one family of runtimes looks for it. */
      resume_token: Schema.optionalKey(Secret("resume token")),
      last_event_seq: Schema.optionalKey(count)
    })
  ).fields,
  /** Members of one family of clients, which is how it is recognised. */
  timestamp: Schema.optionalKey(Schema.Unknown),
  span_id: Schema.optionalKey(Schema.Unknown)
})
export type Hello = typeof Hello.Type

/**
 * Resumes a session as the first frame of a connection (§6.3); one of three forms that peers use.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Resume = Envelope.message(
  "session.resume",
  Schema.Struct({ ...ResumeRequest.fields, auth: Schema.optionalKey(Auth) })
)
export type Resume = typeof Resume.Type

/**
 * The runtime's answer to a hello or a resume (§6.2).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Welcome = Envelope.message(
  "session.welcome",
  Schema.Struct({
    runtime: Peer,
    /** A copy of the envelope's, for peers that look for it here. */
    session_id: Schema.optionalKey(Ids.SessionId),
    resume_token: Secret("resume token"),
    /** Seconds. */
    resume_window_sec: count,
    /** Seconds; there if and only if `heartbeat` was negotiated. */
    heartbeat_interval_sec: Schema.optionalKey(positive),
    accepted_at: Schema.optionalKey(Schema.String),
    capabilities: RuntimeCapabilities
  })
)
export type Welcome = typeof Welcome.Type

/**
 * Refuses a request, or tells of the end of the session (§12).
 *
 * @category schemas
 * @since 0.1.0
 */
export const SessionError = Envelope.message(
  "session.error",
  Schema.Struct({
    ...ArcpError.Payload.fields,
    /** The envelope id of the refused request. */
    request_id: Schema.optionalKey(Ids.MessageId),
    job_id: Schema.optionalKey(Ids.JobId)
  })
)
export type SessionError = typeof SessionError.Type

const Reason = Schema.Struct({ reason: Schema.optionalKey(Schema.String) })

/**
 * The client is done; its jobs go on (§6.7).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Close = Envelope.message("session.close", Reason)
export type Close = typeof Close.Type

/**
 * The runtime's answer to a close, or its own farewell (§6.7).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Closed = Envelope.message("session.closed", Reason)
export type Closed = typeof Closed.Type

/**
 * The farewell of protocol 1.0, still in use by several peers.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Bye = Envelope.message("session.bye", Reason)
export type Bye = typeof Bye.Type

/**
 * Asks for a sign of life (§6.4).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Ping = Envelope.message(
  "session.ping",
  Schema.Struct({ nonce: Schema.String, sent_at: Schema.optionalKey(Schema.String) })
)
export type Ping = typeof Ping.Type

/**
 * Gives one (§6.4).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Pong = Envelope.message(
  "session.pong",
  Schema.Struct({ ping_nonce: Schema.String, received_at: Schema.optionalKey(Schema.String) })
)
export type Pong = typeof Pong.Type

/**
 * Tells how far the client has processed (§6.5). `jobs` says it per job, between peers of this package.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Ack = Envelope.message(
  "session.ack",
  Schema.Struct({ last_processed_seq: count, jobs: Schema.optionalKey(Schema.Record(Schema.String, count)) })
)
export type Ack = typeof Ack.Type

/**
 * Asks for the inventory of jobs (§6.6).
 *
 * @category schemas
 * @since 0.1.0
 */
export const ListJobs = Envelope.message(
  "session.list_jobs",
  Schema.Struct({
    filter: Schema.optionalKey(
      Schema.Struct({
        status: Schema.optionalKey(Schema.Array(Schema.String)),
        agent: Schema.optionalKey(Schema.String),
        created_after: Schema.optionalKey(Timestamp.Timestamp),
        created_before: Schema.optionalKey(Timestamp.Timestamp)
      })
    ),
    limit: Schema.optionalKey(positive),
    cursor: Schema.optionalKey(Schema.String)
  })
)
export type ListJobs = typeof ListJobs.Type

/**
 * The states of a job (§7.3).
 *
 * @category models
 * @since 0.1.0
 */
export const JobStatus = Schema.Literals(["pending", "running", "success", "error", "cancelled", "timed_out"])
export type JobStatus = typeof JobStatus.Type

/**
 * One job of a listing (§6.6).
 *
 * @category models
 * @since 0.1.0
 */
export const JobEntry = Schema.Struct({
  job_id: Ids.JobId,
  agent: Schema.String,
  status: JobStatus,
  lease: Capability.Grants,
  parent_job_id: Schema.NullOr(Ids.JobId),
  created_at: Schema.String,
  submitted_at: Schema.optionalKey(Schema.String),
  trace_id: Schema.optionalKey(Schema.String),
  last_event_seq: count
})
export type JobEntry = typeof JobEntry.Type

/**
 * A page of the inventory (§6.6).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Jobs = Envelope.message(
  "session.jobs",
  Schema.Struct({
    request_id: Schema.optionalKey(Ids.MessageId),
    jobs: Schema.Array(JobEntry),
    next_cursor: Schema.NullOr(Schema.String)
  })
)
export type Jobs = typeof Jobs.Type
