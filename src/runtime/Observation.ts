/**
 * What a session asks about jobs that it did not submit, or not lately: listings and subscriptions (§6.6, §7.6).
 *
 * @since 0.1.0
 */
import { Effect, Option, Result } from "effect"
import { Base64Url } from "effect/encoding"
import type * as Authenticator from "../authority/Authenticator.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as JobJournal from "./JobJournal.ts"
import * as Jobs from "./Jobs.ts"
import type * as JobStore from "./JobStore.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as SessionStore from "./SessionStore.ts"

const defaultLimit = 100
const maxLimit = 1000

/** A place in the order of jobs, as text that a client hands back. */
const encodeCursor = ({ record }: JobStore.Stored): string =>
  Base64Url.encode(JSON.stringify([record.createdAt, record.id]))

const decodeCursor = (text: string): Option.Option<readonly [number, string]> => {
  const decoded = Base64Url.decodeString(text)
  if (Result.isFailure(decoded)) return Option.none()
  const [createdAt, job, ...rest] = parseArray(decoded.success)
  return Number.isFinite(createdAt) && typeof job === "string" && rest.length === 0
    ? Option.some([createdAt as number, job])
    : Option.none()
}

const parseArray = (text: string): ReadonlyArray<unknown> => {
  try {
    const parsed: unknown = JSON.parse(text)
    return Array.isArray(parsed) ? parsed : []
  } catch {
    return []
  }
}

const bound = (
  field: string,
  text: string | undefined,
  otherwise: number
): Effect.Effect<number, ArcpError.InvalidRequest> => {
  if (text === undefined) return Effect.succeed(otherwise)
  const millis = Timestamp.parse(text)
  return Option.isSome(millis) ? Effect.succeed(millis.value) : Effect.fail(ArcpError.invalidField(field, "not a date"))
}

/**
 * A page of the principal's jobs. `last_event_seq` counts in the sequence of the session that submitted the job.
 *
 * @category running
 * @since 0.1.0
 */
export const list = Effect.fn("Observation.list")(function* (
  principal: Authenticator.Principal,
  { cursor, filter = {}, limit = defaultLimit }: SessionMessage.ListJobs["payload"]
) {
  const config = yield* RuntimeConfig.RuntimeConfig
  const jobs = yield* Jobs.Jobs
  const sessions = yield* SessionStore.SessionStore
  const after = cursor === undefined ? Option.none() : decodeCursor(cursor)
  if (cursor !== undefined && Option.isNone(after))
    return yield* ArcpError.invalidField("payload.cursor", "not a cursor of this runtime")
  const size = Math.min(limit, maxLimit)
  const found = yield* jobs.list({
    principal: principal.id,
    statuses: filter.status === undefined ? Option.none() : Option.some(new Set(filter.status)),
    agent: Option.fromUndefinedOr(filter.agent),
    createdAfter: yield* bound("payload.filter.created_after", filter.created_after, Number.NEGATIVE_INFINITY),
    createdBefore: yield* bound("payload.filter.created_before", filter.created_before, Number.POSITIVE_INFINITY),
    after,
    // One more tells whether there is a next page.
    limit: size + 1
  })
  const candidates = yield* Effect.forEach(found.slice(0, size), ({ record, status }) =>
    Effect.map(sessions.lastSeq(record.session, record.id), (last_event_seq): SessionMessage.JobEntry => {
      const created_at = Timestamp.format(record.createdAt)
      return {
        job_id: record.id,
        agent: record.agent,
        status,
        lease: record.lease,
        parent_job_id: record.parent ?? null,
        created_at,
        // Where clients of one family look for it.
        submitted_at: created_at,
        trace_id: record.traceId,
        last_event_seq
      }
    })
  )
  const entries = fitting(candidates, config.maxPayload / 2)
  return { jobs: entries, next_cursor: found.length > entries.length ? encodeCursor(found[entries.length - 1]!) : null }
})

/** The first of these that one frame can hold, and at least one: leases can be long. */
const fitting = (entries: ReadonlyArray<SessionMessage.JobEntry>, limit: number) => {
  let characters = 0
  const end = entries.findIndex((entry) => (characters += JSON.stringify(entry).length) > limit)
  return end < 0 ? entries : entries.slice(0, Math.max(1, end))
}

/**
 * What an observer is told of a job, and from where it will be sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface View {
  readonly stored: JobStore.Stored
  /** The offset after which to begin. */
  readonly after: number
  /** Whether something that was said before will be sent. */
  readonly replayed: boolean
}

/**
 * Looks at a job for a subscription.
 *
 * **Details**
 *
 * `from_job_seq` is a place in the job's own sequence. `from_event_seq` counts in that of the submitter's session, and becomes a place in
 * the job by that session's stamp log; when the log can no longer tell, history begins with the oldest event that is kept.
 *
 * @category running
 * @since 0.1.0
 */
export const look = Effect.fn("Observation.look")(function* (
  principal: Authenticator.Principal,
  { from_event_seq, from_job_seq, history = false, job_id }: JobMessage.Subscribe["payload"]
) {
  const jobs = yield* Jobs.Jobs
  const journal = yield* JobJournal.JobJournal
  const sessions = yield* SessionStore.SessionStore
  // Before its state: an outcome that comes between the two is sent, also to whom the job is said to be running.
  const tip = yield* journal.tip(job_id)
  const stored = yield* jobs.observe(principal, job_id)
  if (!history && from_job_seq === undefined) return { stored, after: tip, replayed: false }
  const mapped =
    from_event_seq === undefined || from_event_seq === 0
      ? Option.none<number>()
      : yield* sessions.offsetAt(stored.record.session, job_id, from_event_seq)
  const after = from_job_seq === undefined ? Option.getOrElse(mapped, () => -1) : from_job_seq - 1
  return { stored, after: Math.min(after, tip), replayed: after < tip }
})
