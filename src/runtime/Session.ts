/**
 * One conversation (§6): who it is with, what was agreed, and what to do with each thing the client says.
 *
 * A session outlives its connections and holds no job. It reads what came in, asks `Jobs`, and answers through its outbox.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Fiber, Option, Result, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import type * as Authenticator from "../authority/Authenticator.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Codec from "../protocol/Codec.ts"
import type * as Dialect from "../protocol/Dialect.ts"
import type * as Feature from "../protocol/Feature.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as Connection from "../session/Connection.ts"
import type * as JobJournal from "./JobJournal.ts"
import * as Jobs from "./Jobs.ts"
import * as Refusal from "./Refusal.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
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
  readonly profile: Dialect.Profile
}

/**
 * How a connection of a session ended.
 *
 * @category models
 * @since 0.1.0
 */
export type End =
  /** The client said that it is done. */
  | "closed"
  /** The line broke, or a later connection took over: the session waits to be resumed. */
  | "detached"

/**
 * @category models
 * @since 0.1.0
 */
export interface Session extends Agreement {
  /** Converses over a connection until it ends. */
  readonly converse: (
    connection: Connection.Connection<Message.FromClient>,
    epoch: number
  ) => Effect.Effect<End>
}

type Request = Exclude<Message.FromClient, SessionMessage.Hello | SessionMessage.Resume>

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: (agreement: Agreement) => Effect.Effect<
  Session,
  never,
  | Jobs.Jobs
  | JobJournal.JobJournal
  | SessionStore.SessionStore
  | SecureRandom.SecureRandom
  | Scope.Scope
> = Effect.fnUntraced(function*(agreement) {
  const { features, id: session_id, principal, profile } = agreement
  const config = yield* RuntimeConfig.RuntimeConfig
  const jobs = yield* Jobs.Jobs
  const random = yield* SecureRandom.SecureRandom
  const outbox = yield* SessionOutbox.make(agreement)

  const freshId = Effect.map(random.ulid, (ulid) => `msg_${ulid}` as Ids.MessageId)

  /** The id of an answer: some clients match it with that of the request. */
  const replyId = (request: Ids.MessageId): Effect.Effect<Ids.MessageId> =>
    Refusal.echoes(profile) ? Effect.succeed(request) : freshId

  const refuse = Effect.fnUntraced(function*(
    request: { readonly id?: string; readonly type?: string; readonly trace_id?: Ids.TraceId },
    error: ArcpError.ArcpError,
    job_id?: Ids.JobId
  ) {
    const ulid = yield* random.ulid
    const completedAt = Timestamp.format(yield* Clock.currentTimeMillis)
    const refusal = Refusal.make({ profile, session_id, request, error, job_id, ulid, completedAt })
    yield* refusal._tag === "Reply" ? outbox.reply(refusal.message) : outbox.own(refusal.type, refusal.tail)
  })

  const submit = (request: JobMessage.Submit) =>
    jobs.submit({
      principal,
      session: session_id,
      features,
      traceId: Option.fromUndefinedOr(request.trace_id),
      request: request.payload
    }).pipe(
      Effect.flatMap(Effect.fnUntraced(function*(record) {
        yield* outbox.reply({
          arcp: "1.1",
          id: yield* replyId(request.id),
          type: "job.accepted",
          session_id,
          job_id: record.id,
          trace_id: record.traceId,
          payload: { ...record.accepted, request_id: request.id }
        })
        // After the answer: the client knows its job before the job speaks.
        yield* outbox.follow(record.id, { after: -1, paces: true })
      })),
      Effect.catch((error) => refuse(request, error))
    )

  const cancel = Effect.fnUntraced(function*(request: JobMessage.Cancel) {
    const { payload } = request
    const job = request.job_id ?? payload.job_id
    if (job === undefined || (payload.job_id !== undefined && payload.job_id !== job)) {
      const message = job === undefined ? "job_id: missing" : "job_id: the envelope names one job, the payload another"
      return yield* refuse(request, new ArcpError.InvalidRequest({ message, details: { field: "job_id" } }))
    }
    const reason = payload.reason ?? "client.cancel"
    const acknowledge = Effect.flatMap(replyId(request.id), (id) =>
      outbox.reply({
        arcp: "1.1",
        id,
        type: "job.cancelled",
        session_id,
        job_id: job,
        payload: { job_id: job, reason, request_id: request.id }
      }))
    yield* Effect.catch(jobs.cancel({ principal, session: session_id, job, reason }, acknowledge), (error) =>
      // Only our own clients wait for an answer about a job whose outcome they were sent already.
      error.details?.["final_status"] !== undefined && profile !== "effect"
        ? Effect.logDebug("cancel of an ended job", { job })
        : refuse(request, error, job))
  })

  const ping = Effect.fnUntraced(function*(request: SessionMessage.Ping) {
    yield* outbox.reply({
      arcp: "1.1",
      id: yield* freshId,
      type: "session.pong",
      session_id,
      payload: { ping_nonce: request.payload.nonce, received_at: Timestamp.format(yield* Clock.currentTimeMillis) }
    })
  })

  const unNegotiated = (request: Request, feature: Feature.Feature) =>
    refuse(
      request,
      new ArcpError.InvalidRequest({
        message: `${request.type}: the session did not negotiate ${feature}`,
        details: { type: request.type, feature }
      })
    )

  const dispatch = (message: Message.FromClient): Effect.Effect<void> => {
    switch (message.type) {
      case "job.submit":
        return submit(message)
      case "job.cancel":
        return cancel(message)
      case "session.ping":
        return ping(message)
      // Signs of life, which reading them was enough for; an acknowledgement nobody asked for informs nobody.
      case "session.pong":
      case "session.ack":
        return Effect.void
      case "session.list_jobs":
        return unNegotiated(message, "list_jobs")
      case "job.subscribe":
      case "job.unsubscribe":
        return unNegotiated(message, "subscribe")
      case "session.hello":
      case "session.resume":
        return refuse(
          message,
          new ArcpError.InvalidRequest({ message: "The session is open already", details: { type: message.type } })
        )
      // The end of the conversation, see `read`.
      case "session.close":
      case "session.bye":
        return Effect.void
    }
  }

  /** Whether a frame of this id came before; a peer whose transport repeats frames must not run a job twice. */
  const repeated = (seen: Set<string>, message: Message.FromClient): boolean => {
    if (message.type === "session.ping" || message.type === "session.pong" || message.type === "session.ack") {
      return false
    }
    if (seen.has(message.id)) return true
    seen.add(message.id)
    if (seen.size > config.maxSeenIds) seen.delete(seen.values().next().value!)
    return false
  }

  const bad = (frame: Codec.BadFrame): Effect.Effect<void> =>
    frame.ignorable ? Effect.void : refuse(
      { ...(frame.id === undefined ? undefined : { id: frame.id }), ...(frame.type === undefined ? undefined : { type: frame.type }) },
      frame.error
    )

  const read = Effect.fnUntraced(function*(connection: Connection.Connection<Message.FromClient>) {
    const seen = new Set<string>()
    let malformed = 0
    while (true) {
      for (const frame of yield* connection.pull) {
        if (Result.isFailure(frame)) {
          yield* bad(frame.failure)
          if (++malformed >= config.maxBadFrames) return yield* Effect.as(connection.close(Connection.close.malformed), "detached" as const)
          continue
        }
        malformed = 0
        const message = frame.success
        if (repeated(seen, message)) continue
        if (message.session_id !== undefined && message.session_id !== session_id) {
          yield* refuse(
            message,
            new ArcpError.InvalidRequest({
              message: "session_id: not the session of this connection",
              details: { field: "session_id" }
            })
          )
          continue
        }
        if (message.type === "session.close" || message.type === "session.bye") return message
        yield* dispatch(message)
      }
    }
  })

  /** Says goodbye in the client's own words and lets what is still to be written go out first. */
  const farewell = Effect.fnUntraced(function*(
    connection: Connection.Line,
    said: SessionMessage.Close | SessionMessage.Bye
  ) {
    if (said.type === "session.close") {
      yield* outbox.reply({
        arcp: "1.1",
        id: yield* replyId(said.id),
        type: "session.closed",
        session_id,
        payload: { reason: said.payload.reason ?? "client.close" }
      })
    }
    yield* Effect.timeoutOption(outbox.flushed, "1 second")
    yield* connection.close(Connection.close.normal)
    return "closed" as const
  })

  const converse: Session["converse"] = Effect.fn("Session.converse")(
    function*(connection, epoch) {
      yield* Effect.annotateCurrentSpan({ "arcp.session_id": session_id, "arcp.peer": connection.peer })
      const writer = yield* Effect.forkScoped(outbox.run(connection, epoch), { startImmediately: true })
      const said = yield* Effect.raceFirst(read(connection), Fiber.join(writer))
      return said === "detached" ? said : yield* farewell(connection, said)
    },
    Effect.scoped,
    Effect.catch((error) => Effect.as(Effect.logDebug("connection ended", error.message), "detached" as const))
  )

  return { ...agreement, converse }
})
