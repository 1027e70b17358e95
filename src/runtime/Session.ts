/**
 * A session (§6): who it is with, what was agreed, and what it has to send.
 *
 * It outlives its connections, which are conversations one after the other (see `Conversation`), and holds no job.
 *
 * @since 0.1.0
 */
import { type Context, type Deferred, Effect, Option, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import type * as Authenticator from "../authority/Authenticator.ts"
import type * as Credentials from "../authority/Credentials.ts"
import type * as Feature from "../protocol/Feature.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as Profile from "../protocol/Profile.ts"
import type * as Link from "./internal/link.ts"
import type * as Job from "./Job.ts"
import type * as JobJournal from "./JobJournal.ts"
import * as Jobs from "./Jobs.ts"
import * as Refusal from "./Refusal.ts"
import * as SessionOutbox from "./SessionOutbox.ts"
import type * as SessionStore from "./SessionStore.ts"

/**
 * What was settled at the handshake and never changes after.
 *
 * @category models
 * @since 0.1.0
 */
export interface Agreement {
  readonly id: Ids.SessionId
  readonly principal: Authenticator.Principal
  readonly features: ReadonlySet<Feature.Feature>
  /** The habits of the client at the other end. */
  readonly profile: Profile.Profile
}

/**
 * What all sessions of a runtime have in common.
 *
 * @category models
 * @since 0.1.0
 */
export interface Surroundings extends SessionOutbox.Surroundings {
  readonly jobs: Jobs.Jobs["Service"]
  readonly random: SecureRandom.SecureRandom["Service"]
  readonly services: Context.Context<Jobs.Jobs | JobJournal.JobJournal | SessionStore.SessionStore>
}

/**
 * A session: what was agreed, what it has to send, and the connection of the moment.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session extends Omit<Agreement, "principal"> {
  readonly surroundings: Surroundings
  readonly outbox: SessionOutbox.SessionOutbox
  /** As the latest credentials describe it: they may say other things of the same principal than those before. */
  principal: Authenticator.Principal
  /** The connection of the moment, until the last of it is done. */
  current: Current | undefined
}

/** A conversation that goes on, or is being ended. */
interface Current {
  readonly link: Link.Link
  readonly done: Deferred.Deferred<void>
}

/**
 * What the sessions of this runtime share.
 *
 * @category constructors
 * @since 0.1.0
 */
export const surroundings: Effect.Effect<
  Surroundings,
  never,
  | Jobs.Jobs
  | JobJournal.JobJournal
  | SessionStore.SessionStore
  | Credentials.Credentials
  | SecureRandom.SecureRandom
  | Scope.Scope
> = Effect.gen(function* () {
  return {
    ...(yield* SessionOutbox.surroundings),
    jobs: yield* Jobs.Jobs,
    random: yield* SecureRandom.SecureRandom,
    services: yield* Effect.context<Jobs.Jobs | JobJournal.JobJournal | SessionStore.SessionStore>()
  }
})

/**
 * A session that no connection has begun yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (surroundings: Surroundings, agreement: Agreement): Session => {
  const { features, id, principal, profile } = agreement
  const session: Session = {
    id,
    principal,
    features,
    profile,
    surroundings,
    outbox: SessionOutbox.make(surroundings, agreement, (job) => acceptanceOfChild(session, job)),
    current: undefined
  }
  return session
}

/** The acceptance of a job that one of the session's own has delegated (§10); nothing if it is no longer known. */
const acceptanceOfChild = Effect.fnUntraced(function* (
  session: Session,
  job: Ids.JobId
): Effect.fn.Return<Option.Option<JobMessage.Accepted>> {
  const found = yield* session.surroundings.jobs.child(job)
  return Option.isNone(found)
    ? Option.none()
    : Option.some(yield* acceptance(session, found.value, yield* freshId(session)))
})

/**
 * A fresh id for a frame.
 *
 * @category getters
 * @since 0.1.0
 */
export const freshId = ({ surroundings }: Session): Effect.Effect<Ids.MessageId> =>
  Effect.map(surroundings.random.ulid, (ulid) => `msg_${ulid}` as Ids.MessageId)

/**
 * The id of an answer: some clients match it with that of the request.
 *
 * @category getters
 * @since 0.1.0
 */
export const replyId = (session: Session, request: Ids.MessageId): Effect.Effect<Ids.MessageId> =>
  Refusal.echoes(session.profile) ? Effect.succeed(request) : freshId(session)

/**
 * The acceptance of a job, as this session may hear of it over the connection of the moment (§7.1, §14).
 *
 * @category getters
 * @since 0.1.0
 */
export const acceptance = Effect.fnUntraced(function* (
  { id: session_id, outbox, surroundings: { jobs } }: Session,
  record: Job.JobRecord,
  id: Ids.MessageId,
  request_id?: Ids.MessageId
): Effect.fn.Return<JobMessage.Accepted> {
  const payload = yield* jobs.acceptance(record, SessionOutbox.isSecure(outbox))
  return {
    arcp: "1.1",
    id,
    type: "job.accepted",
    session_id,
    job_id: record.id,
    trace_id: record.traceId,
    payload: request_id === undefined ? payload : { ...payload, request_id }
  }
})

/**
 * Whether all that was sent after a number can still be replayed.
 *
 * @category getters
 * @since 0.1.0
 */
export const covers = ({ outbox }: Session, seq: number): Effect.Effect<boolean> => SessionOutbox.covers(outbox, seq)
