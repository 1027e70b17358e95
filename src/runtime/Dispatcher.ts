/**
 * What to do with each thing a client asks of its session: one exhaustive match, and one answer each.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import type * as Authenticator from "../authority/Authenticator.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Codec from "../protocol/Codec.ts"
import type * as Feature from "../protocol/Feature.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as TraceContext from "../protocol/TraceContext.ts"
import type * as Job from "./Job.ts"
import * as JobJournal from "./JobJournal.ts"
import * as Jobs from "./Jobs.ts"
import * as Observation from "./Observation.ts"
import * as Refusal from "./Refusal.ts"
import type * as Session from "./Session.ts"
import type * as SessionOutbox from "./SessionOutbox.ts"
import * as SessionStore from "./SessionStore.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Dispatcher {
  /** Does what the message asks and answers it. */
  readonly dispatch: (message: Message.FromClient) => Effect.Effect<void>
  /** Answers that it will not be done. */
  readonly refuse: (
    request: { readonly id?: string; readonly type?: string; readonly trace_id?: Ids.TraceId },
    error: ArcpError.ArcpError,
    job?: Ids.JobId
  ) => Effect.Effect<void>
  /** Answers a frame that means nothing. */
  readonly bad: (frame: Codec.BadFrame) => Effect.Effect<void>
  /** The id of an answer: some clients match it with that of the request. */
  readonly replyId: (request: Ids.MessageId) => Effect.Effect<Ids.MessageId>
  /** The acceptance of a job that one of the session's own has delegated (§10); nothing if it is no longer known. */
  readonly child: (job: Ids.JobId) => Effect.Effect<Option.Option<JobMessage.Accepted>>
  /** Asks the client for a sign of life. */
  readonly ping: Effect.Effect<void>
  /** Speaks for the principal as the latest credentials describe it: they may say other things of it than those before. */
  readonly speakFor: (principal: Authenticator.Principal) => void
}

/** Characters of the reason for a cancellation. */
const maxReason = 1024

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: (
  agreement: Session.Agreement,
  outbox: SessionOutbox.SessionOutbox
) => Effect.Effect<
  Dispatcher,
  never,
  Jobs.Jobs | JobJournal.JobJournal | SessionStore.SessionStore | SecureRandom.SecureRandom
> = Effect.fnUntraced(function* ({ features, id: session_id, principal: first, profile }, outbox) {
  let principal = first
  const jobs = yield* Jobs.Jobs
  const random = yield* SecureRandom.SecureRandom
  const services = yield* Effect.context<Jobs.Jobs | JobJournal.JobJournal | SessionStore.SessionStore>()

  const freshId = Effect.map(random.ulid, (ulid) => `msg_${ulid}` as Ids.MessageId)
  const replyId: Dispatcher["replyId"] = (request) => (Refusal.echoes(profile) ? Effect.succeed(request) : freshId)
  const timestamp = Effect.map(Clock.currentTimeMillis, Timestamp.format)

  const refuse: Dispatcher["refuse"] = Effect.fnUntraced(function* (request, error, job_id) {
    const ulid = yield* random.ulid
    const completedAt = yield* timestamp
    const refusal = Refusal.make({ profile, session_id, request, error, job_id, ulid, completedAt })
    yield* refusal._tag === "Reply" ? outbox.reply(refusal.message) : outbox.own(refusal.type, refusal.tail)
  })

  /** Does it if the session negotiated the feature; to pass over the request would leave its sender waiting. */
  const ifNegotiated = (message: Message.FromClient, feature: Feature.Feature, then: Effect.Effect<void>) =>
    features.has(feature)
      ? then
      : refuse(
          message,
          new ArcpError.InvalidRequest({
            message: `${message.type}: the session did not negotiate ${feature}`,
            details: { type: message.type, feature }
          })
        )

  const acceptance = Effect.fnUntraced(function* (
    record: Job.JobRecord,
    id: Ids.MessageId,
    request_id?: Ids.MessageId
  ) {
    const payload = yield* jobs.acceptance(record, outbox.isSecure())
    return {
      arcp: "1.1",
      id,
      type: "job.accepted",
      session_id,
      job_id: record.id,
      trace_id: record.traceId,
      payload: request_id === undefined ? payload : { ...payload, request_id }
    } satisfies JobMessage.Accepted
  })

  const submit = Effect.fnUntraced(function* (request: JobMessage.Submit) {
    const span = TraceContext.read(request.extensions)
    const submission: Jobs.Submission = {
      principal,
      session: session_id,
      features,
      secure: outbox.isSecure(),
      traceId: Option.orElse(Option.fromUndefinedOr(request.trace_id), () =>
        Option.map(span, ({ traceId }) => traceId as Ids.TraceId)
      ),
      span: Option.getOrUndefined(span),
      request: request.payload
    }
    // First the answer, then the job; and the job also if the connection that waits for the answer is about to end.
    const taken: Jobs.Submitted = Effect.fnUntraced(function* (record) {
      const accepted = yield* acceptance(record, yield* replyId(request.id), request.id)
      yield* record.parent === undefined ? outbox.tell(accepted) : outbox.introduce(accepted)
      yield* outbox.follow({ job: record.id, traceId: record.traceId, after: -1, paces: true })
    })
    yield* outbox.room
    yield* Effect.catch(jobs.submit(submission, taken), (error) => refuse(request, error))
  })

  const child: Dispatcher["child"] = Effect.fnUntraced(function* (job) {
    const found = yield* jobs.child(job)
    return Option.isNone(found) ? Option.none() : Option.some(yield* acceptance(found.value, yield* freshId))
  })

  const cancel = Effect.fnUntraced(function* (request: JobMessage.Cancel) {
    const { payload } = request
    const job = request.job_id ?? payload.job_id
    if (job === undefined || (payload.job_id !== undefined && payload.job_id !== job)) {
      const message = job === undefined ? "job_id: missing" : "job_id: the envelope names one job, the payload another"
      return yield* refuse(request, new ArcpError.InvalidRequest({ message, details: { field: "job_id" } }))
    }
    // It is kept as long as the job is.
    const reason = (payload.reason ?? "client.cancel").slice(0, maxReason).toWellFormed()
    const acknowledge = outbox.tell({
      arcp: "1.1",
      id: yield* replyId(request.id),
      type: "job.cancelled",
      session_id,
      job_id: job,
      payload: { job_id: job, reason, request_id: request.id }
    })
    yield* outbox.room
    yield* Effect.catch(jobs.cancel({ principal, session: session_id, job, reason }, acknowledge), (error) =>
      // Only our own clients wait for an answer about a job whose outcome they were sent already.
      error.details?.["final_status"] !== undefined && profile !== "effect"
        ? Effect.logDebug("cancel of an ended job", { job })
        : refuse(request, error, job)
    )
  })

  const list = (request: SessionMessage.ListJobs) =>
    Observation.list(principal, request.payload).pipe(
      Effect.provideContext(services),
      Effect.flatMap(
        Effect.fnUntraced(function* (page) {
          yield* outbox.reply({
            arcp: "1.1",
            id: yield* replyId(request.id),
            type: "session.jobs",
            session_id,
            payload: { request_id: request.id, ...page }
          })
        })
      ),
      Effect.catch((error) => refuse(request, error))
    )

  const subscribe = (request: JobMessage.Subscribe) =>
    Effect.andThen(outbox.room, Observation.look(principal, request.payload)).pipe(
      Effect.provideContext(services),
      Effect.flatMap(
        Effect.fnUntraced(function* ({ after, replayed, stored: { record, status } }) {
          const id = yield* replyId(request.id)
          const budget = yield* jobs.budget(record)
          // Secrets are for the principal that submitted the job alone (§14).
          const isOwn = record.principal === principal.id
          const { credentials } = yield* jobs.acceptance(record, isOwn && outbox.isSecure())
          yield* outbox.tell({
            arcp: "1.1",
            id,
            type: "job.subscribed",
            session_id,
            job_id: record.id,
            trace_id: record.traceId,
            job_seq: after + 1,
            payload: {
              request_id: request.id,
              job_id: record.id,
              current_status: status,
              agent: record.agent,
              lease: record.lease,
              ...(record.constraints === undefined ? undefined : { lease_constraints: record.constraints }),
              ...(Option.isNone(budget) ? undefined : { budget: budget.value }),
              ...(credentials === undefined ? undefined : { credentials }),
              parent_job_id: record.parent ?? null,
              trace_id: record.traceId,
              subscribed_from: yield* outbox.last,
              replayed
            }
          })
          // A job that is followed already goes on as it was, unless its past was asked for: that comes again, under new numbers.
          if (replayed && outbox.isFollowing(record.id)) yield* outbox.rewind(record.id, after)
          else yield* outbox.follow({ job: record.id, traceId: record.traceId, after, paces: false })
        }, Effect.uninterruptible)
      ),
      Effect.catch((error) => refuse(request, error, request.payload.job_id))
    )

  const pong = Effect.fnUntraced(function* (request: SessionMessage.Ping) {
    yield* outbox.reply({
      arcp: "1.1",
      id: yield* freshId,
      type: "session.pong",
      session_id,
      payload: { ping_nonce: request.payload.nonce, received_at: yield* timestamp }
    })
  })

  const ping = Effect.gen(function* () {
    const id = yield* freshId
    yield* outbox.reply({
      arcp: "1.1",
      id,
      type: "session.ping",
      session_id,
      payload: { nonce: id, sent_at: yield* timestamp }
    })
  })

  const dispatch = (message: Message.FromClient): Effect.Effect<void> => {
    switch (message.type) {
      case "job.submit":
        return submit(message)
      case "job.cancel":
        return cancel(message)
      case "job.subscribe":
        return ifNegotiated(message, "subscribe", subscribe(message))
      case "job.unsubscribe":
        return ifNegotiated(message, "subscribe", outbox.unfollow(message.payload.job_id))
      case "session.list_jobs":
        return ifNegotiated(message, "list_jobs", list(message))
      case "session.ping":
        return pong(message)
      // Advisory: from a client that did not offer them it informs nobody.
      case "session.ack":
        return features.has("ack") ? outbox.acknowledge(message.payload) : Effect.void
      // A sign of life, which reading it was.
      case "session.pong":
        return Effect.void
      case "session.hello":
      case "session.resume":
        return refuse(
          message,
          new ArcpError.InvalidRequest({ message: "The session is open already", details: { type: message.type } })
        )
      // The end of the conversation, which the session itself sees to.
      case "session.close":
      case "session.bye":
        return Effect.void
    }
  }

  /** A defect in what a request sets off, such as in an agent's own schema, is the end of the request and not of the session. */
  const dispatchSafely: Dispatcher["dispatch"] = (message) =>
    Effect.catchDefect(
      Effect.suspend(() => dispatch(message)),
      (defect) =>
        Effect.andThen(
          Effect.logError(`A ${message.type} died`, defect),
          refuse(message, new ArcpError.InternalError({ message: "The request failed unexpectedly" }))
        )
    )

  return {
    dispatch: dispatchSafely,
    refuse,
    replyId,
    ping,
    child,
    speakFor: (latest) => {
      principal = latest
    },
    bad: (frame) => (frame.ignorable ? Effect.void : refuse(frame, frame.error))
  }
})
