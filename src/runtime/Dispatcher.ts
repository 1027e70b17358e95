/**
 * What to do with each thing a client asks of its session: one exhaustive match, and one answer each.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Option } from "effect"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Codec from "../protocol/Codec.ts"
import type * as Feature from "../protocol/Feature.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as TraceContext from "../protocol/TraceContext.ts"
import type * as Jobs from "./Jobs.ts"
import * as Observation from "./Observation.ts"
import * as Refusal from "./Refusal.ts"
import * as Session from "./Session.ts"
import * as SessionOutbox from "./SessionOutbox.ts"

/** Characters of the reason for a cancellation. */
const maxReason = 1024

const timestamp = Effect.map(Clock.currentTimeMillis, Timestamp.format)

/**
 * Answers that a request will not be done.
 *
 * @category running
 * @since 0.1.0
 */
export const refuse = Effect.fnUntraced(function* (
  { id: session_id, outbox, profile, surroundings: { random } }: Session.Session,
  request: { readonly id?: string; readonly type?: string; readonly trace_id?: Ids.TraceId },
  error: ArcpError.ArcpError,
  job_id?: Ids.JobId
): Effect.fn.Return<void> {
  const ulid = yield* random.ulid
  const completedAt = yield* timestamp
  const refusal = Refusal.make({ profile, session_id, request, error, job_id, ulid, completedAt })
  if (refusal._tag === "Reply") yield* SessionOutbox.reply(outbox, refusal.message)
  else yield* SessionOutbox.own(outbox, refusal.type, refusal.tail)
})

/**
 * Answers a frame that means nothing.
 *
 * @category running
 * @since 0.1.0
 */
export const bad = (session: Session.Session, frame: Codec.BadFrame): Effect.Effect<void> =>
  frame.ignorable ? Effect.void : refuse(session, frame, frame.error)

/** Does it if the session negotiated the feature; to pass over the request would leave its sender waiting. */
const ifNegotiated = (
  session: Session.Session,
  message: Message.FromClient,
  feature: Feature.Feature,
  then: Effect.Effect<void>
) =>
  session.features.has(feature)
    ? then
    : refuse(
        session,
        message,
        new ArcpError.InvalidRequest({
          message: `${message.type}: the session did not negotiate ${feature}`,
          details: { type: message.type, feature }
        })
      )

const submit = Effect.fnUntraced(function* (session: Session.Session, request: JobMessage.Submit) {
  const { outbox, surroundings } = session
  const span = TraceContext.read(request.extensions)
  const submission: Jobs.Submission = {
    principal: session.principal,
    session: session.id,
    features: session.features,
    secure: SessionOutbox.isSecure(outbox),
    traceId: Option.orElse(Option.fromUndefinedOr(request.trace_id), () =>
      Option.map(span, ({ traceId }) => traceId as Ids.TraceId)
    ),
    span: Option.getOrUndefined(span),
    request: request.payload
  }
  // First the answer, then the job; and the job also if the connection that waits for the answer is about to end.
  const taken: Jobs.Submitted = Effect.fnUntraced(function* (record) {
    const accepted = yield* Session.acceptance(session, record, yield* Session.replyId(session, request.id), request.id)
    yield* record.parent === undefined
      ? SessionOutbox.tell(outbox, accepted)
      : SessionOutbox.introduce(outbox, accepted)
    yield* SessionOutbox.follow(outbox, { job: record.id, traceId: record.traceId, after: -1, paces: true })
  })
  yield* SessionOutbox.room(outbox)
  yield* Effect.catch(surroundings.jobs.submit(submission, taken), (error) => refuse(session, request, error))
})

const cancel = Effect.fnUntraced(function* (session: Session.Session, request: JobMessage.Cancel) {
  const { id: session_id, outbox, principal, profile, surroundings } = session
  const { payload } = request
  const job = request.job_id ?? payload.job_id
  if (job === undefined || (payload.job_id !== undefined && payload.job_id !== job)) {
    const problem = job === undefined ? "missing" : "the envelope names one job, the payload another"
    return yield* refuse(session, request, ArcpError.invalidField("job_id", problem))
  }
  // It is kept as long as the job is.
  const reason = (payload.reason ?? "client.cancel").slice(0, maxReason).toWellFormed()
  const acknowledge = SessionOutbox.tell(outbox, {
    arcp: "1.1",
    id: yield* Session.replyId(session, request.id),
    type: "job.cancelled",
    session_id,
    job_id: job,
    payload: { job_id: job, reason, request_id: request.id }
  })
  yield* SessionOutbox.room(outbox)
  yield* Effect.catch(surroundings.jobs.cancel({ principal, session: session_id, job, reason }, acknowledge), (error) =>
    // Only our own clients wait for an answer about a job whose outcome they were sent already.
    error.details?.["final_status"] !== undefined && profile !== "effect"
      ? Effect.logDebug("A client cancels a job that has ended", { job })
      : refuse(session, request, error, job)
  )
})

const list = (session: Session.Session, request: SessionMessage.ListJobs) =>
  Observation.list(session.principal, request.payload).pipe(
    Effect.provideContext(session.surroundings.services),
    Effect.flatMap(
      Effect.fnUntraced(function* (page) {
        yield* SessionOutbox.reply(session.outbox, {
          arcp: "1.1",
          id: yield* Session.replyId(session, request.id),
          type: "session.jobs",
          session_id: session.id,
          payload: { request_id: request.id, ...page }
        })
      })
    ),
    Effect.catch((error) => refuse(session, request, error))
  )

const subscribe = (session: Session.Session, request: JobMessage.Subscribe) =>
  Effect.andThen(SessionOutbox.room(session.outbox), Observation.look(session.principal, request.payload)).pipe(
    Effect.provideContext(session.surroundings.services),
    Effect.flatMap((view) => subscribed(session, request, view)),
    Effect.catch((error) => refuse(session, request, error, request.payload.job_id))
  )

const subscribed = Effect.fnUntraced(function* (
  session: Session.Session,
  request: JobMessage.Subscribe,
  { after, replayed, stored: { record, status } }: Observation.View
) {
  const { id: session_id, outbox, principal } = session
  const { jobs } = session.surroundings
  const id = yield* Session.replyId(session, request.id)
  const budget = yield* jobs.budget(record)
  // Secrets are for the principal that submitted the job alone (§14).
  const isOwn = record.principal === principal.id
  const { credentials } = yield* jobs.acceptance(record, isOwn && SessionOutbox.isSecure(outbox))
  yield* SessionOutbox.tell(outbox, {
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
      subscribed_from: outbox.last,
      replayed
    }
  })
  // A job that is followed already goes on as it was, unless its past was asked for: that comes again, under new numbers.
  if (replayed && SessionOutbox.isFollowing(outbox, record.id)) {
    yield* SessionOutbox.rewind(outbox, record.id, after)
  } else {
    yield* SessionOutbox.follow(outbox, { job: record.id, traceId: record.traceId, after, paces: false })
  }
}, Effect.uninterruptible)

const pong = Effect.fnUntraced(function* (session: Session.Session, request: SessionMessage.Ping) {
  yield* SessionOutbox.reply(session.outbox, {
    arcp: "1.1",
    id: yield* Session.freshId(session),
    type: "session.pong",
    session_id: session.id,
    payload: { ping_nonce: request.payload.nonce, received_at: yield* timestamp }
  })
})

/**
 * Asks the client for a sign of life. Never waits.
 *
 * @category running
 * @since 0.1.0
 */
export const ping = Effect.fnUntraced(function* (session: Session.Session): Effect.fn.Return<void> {
  const id = yield* Session.freshId(session)
  yield* SessionOutbox.tell(session.outbox, {
    arcp: "1.1",
    id,
    type: "session.ping",
    session_id: session.id,
    payload: { nonce: id, sent_at: yield* timestamp }
  })
})

const does = (session: Session.Session, message: Message.FromClient): Effect.Effect<void> => {
  const { features, outbox } = session
  switch (message.type) {
    case "job.submit":
      return submit(session, message)
    case "job.cancel":
      return cancel(session, message)
    case "job.subscribe":
      return ifNegotiated(session, message, "subscribe", subscribe(session, message))
    case "job.unsubscribe":
      return ifNegotiated(session, message, "subscribe", SessionOutbox.unfollow(outbox, message.payload.job_id))
    case "session.list_jobs":
      return ifNegotiated(session, message, "list_jobs", list(session, message))
    case "session.ping":
      return pong(session, message)
    // Advisory: from a client that did not offer them it informs nobody.
    case "session.ack":
      return features.has("ack") ? SessionOutbox.acknowledge(outbox, message.payload) : Effect.void
    // A sign of life, which reading it was.
    case "session.pong":
      return Effect.void
    case "session.hello":
    case "session.resume":
      return refuse(
        session,
        message,
        new ArcpError.InvalidRequest({ message: "The session is open already", details: { type: message.type } })
      )
    // The end of the conversation, which the session itself sees to.
    case "session.close":
    case "session.bye":
      return Effect.void
  }
}

/**
 * Does what a message asks and answers it. A defect in what a request sets off, such as in an agent's own schema, is the end of the request
 * and not of the session.
 *
 * @category running
 * @since 0.1.0
 */
export const dispatch = (session: Session.Session, message: Message.FromClient): Effect.Effect<void> =>
  Effect.catchDefect(
    Effect.suspend(() => does(session, message)),
    (defect) =>
      Effect.andThen(
        Effect.logError(`A ${message.type} died`, defect),
        refuse(session, message, new ArcpError.InternalError({ message: "The request failed unexpectedly" }))
      )
  )
