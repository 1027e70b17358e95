/**
 * The voice of one running job, for the services that act on its behalf: what they do shows among the job's events (§8.2).
 *
 * @since 0.1.0
 */
import { Context, type Effect } from "effect"
import type * as JobEvent from "../protocol/JobEvent.ts"

/**
 * A port: the runner provides one for each job.
 *
 * @category services
 * @since 0.1.0
 */
export class JobEmitter extends Context.Service<
  JobEmitter,
  {
    /** Appends an event to the job. Waits while the job is paced, and does nothing once the job has ended. */
    readonly emit: <K extends JobEvent.Kind>(kind: K, body: JobEvent.Body<K>) => Effect.Effect<void>
  }
>()("arcp/authority/JobEmitter") {}
