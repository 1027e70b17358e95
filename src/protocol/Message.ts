/**
 * Everything that can be said, by who says it.
 *
 * @since 0.1.0
 */
import * as JobMessage from "./JobMessage.ts"
import * as SessionMessage from "./SessionMessage.ts"

/**
 * The schemas of what a client says, by `type`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const fromClient = {
  "session.hello": SessionMessage.Hello,
  "session.resume": SessionMessage.Resume,
  "session.close": SessionMessage.Close,
  "session.bye": SessionMessage.Bye,
  "session.ping": SessionMessage.Ping,
  "session.pong": SessionMessage.Pong,
  "session.ack": SessionMessage.Ack,
  "session.list_jobs": SessionMessage.ListJobs,
  "job.submit": JobMessage.Submit,
  "job.cancel": JobMessage.Cancel,
  "job.subscribe": JobMessage.Subscribe,
  "job.unsubscribe": JobMessage.Unsubscribe
}

/**
 * The schemas of what a runtime says, by `type`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const fromRuntime = {
  "session.welcome": SessionMessage.Welcome,
  "session.error": SessionMessage.SessionError,
  "session.closed": SessionMessage.Closed,
  "session.bye": SessionMessage.Bye,
  "session.ping": SessionMessage.Ping,
  "session.pong": SessionMessage.Pong,
  "session.jobs": SessionMessage.Jobs,
  "job.accepted": JobMessage.Accepted,
  "job.cancelled": JobMessage.Cancelled,
  "job.subscribed": JobMessage.Subscribed,
  "job.event": JobMessage.Event,
  "job.result": JobMessage.JobResult,
  "job.error": JobMessage.JobError
}

/**
 * Anything a client says; narrow it on `type`.
 *
 * @category models
 * @since 0.1.0
 */
export type FromClient =
  | SessionMessage.Hello
  | SessionMessage.Resume
  | SessionMessage.Close
  | SessionMessage.Bye
  | SessionMessage.Ping
  | SessionMessage.Pong
  | SessionMessage.Ack
  | SessionMessage.ListJobs
  | JobMessage.Submit
  | JobMessage.Cancel
  | JobMessage.Subscribe
  | JobMessage.Unsubscribe

/**
 * Anything a runtime says; narrow it on `type`.
 *
 * @category models
 * @since 0.1.0
 */
export type FromRuntime =
  | SessionMessage.Welcome
  | SessionMessage.SessionError
  | SessionMessage.Closed
  | SessionMessage.Bye
  | SessionMessage.Ping
  | SessionMessage.Pong
  | SessionMessage.Jobs
  | JobMessage.Accepted
  | JobMessage.Cancelled
  | JobMessage.Subscribed
  | JobMessage.Event
  | JobMessage.JobResult
  | JobMessage.JobError

/**
 * The outcome of a job: its last frame, and the only one of its kind.
 *
 * @category models
 * @since 0.1.0
 */
export type Terminal = JobMessage.JobResult | JobMessage.JobError
