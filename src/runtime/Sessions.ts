/**
 * The sessions of this runtime, and the owner of each (§6). One outlives its connection by the resume window, counted from the moment the
 * connection ended.
 *
 * @since 0.1.0
 */
import { Clock, Context, Duration, Effect, Exit, FiberSet, Layer, Option, Redacted } from "effect"
import { Digest, SecureRandom } from "effect/crypto"
import { Hex } from "effect/encoding"
import type * as Authenticator from "../authority/Authenticator.ts"
import type * as Credentials from "../authority/Credentials.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import type * as Connection from "../session/Connection.ts"
import * as Conversation from "./Conversation.ts"
import * as AlarmClock from "./internal/alarmClock.ts"
import type * as JobJournal from "./JobJournal.ts"
import * as JobLimits from "./JobLimits.ts"
import type * as Jobs from "./Jobs.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as Session from "./Session.ts"
import * as SessionOutbox from "./SessionOutbox.ts"
import * as SessionStore from "./SessionStore.ts"

/**
 * A session with what its next connection needs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Opened {
  readonly session: Session.Session
  /** Names the connection to the store, see `SessionStore`. */
  readonly epoch: number
  /** For the welcome; of this only a digest is kept. */
  readonly resumeToken: Redacted.Redacted
  /** The last number that the client has, if it resumed. */
  readonly replay: Option.Option<number>
  /** Whose session it is, as the credentials of this connection describe it. */
  readonly principal: Authenticator.Principal
}

/**
 * Begins sessions, continues them, and ends them.
 *
 * @category services
 * @since 0.1.0
 */
export class Sessions extends Context.Service<
  Sessions,
  {
    /** Begins a session; refused while the principal has as many connected as it may. */
    readonly open: (agreement: Session.Agreement) => Effect.Effect<Opened, ArcpError.InternalError>
    /** Continues a session (§6.3). Whatever the reason is that it cannot, the answer is the same. */
    readonly resume: (
      principal: Authenticator.Principal,
      request: SessionMessage.ResumeRequest
    ) => Effect.Effect<Opened, ArcpError.ResumeWindowExpired>
    /** Converses over a connection until that ends. The session then waits for the next. */
    readonly converse: (opened: Opened, connection: Connection.Connection<Message.FromClient>) => Effect.Effect<void>
    /** Ends the conversation that is going on, if one is, and forgets the session. Its jobs go on. */
    readonly close: (session: Ids.SessionId) => Effect.Effect<void>
    /** Ends every conversation with a word to the client. */
    readonly shutdown: Effect.Effect<void>
    /** How many there are. */
    readonly size: Effect.Effect<number>
  }
>()("arcp/runtime/Sessions") {}

interface Live {
  readonly session: Session.Session
  /** That of the newest connection, so that the end of an old one does not look like its end. */
  epoch: number
  /** The digest of its token, in hexadecimal. */
  token: string
  /** When it is forgotten, if it waits for a connection. */
  expiresAt: number
  /** Rings by then. */
  readonly alarm: AlarmClock.Alarm
}

/**
 * The sessions of this process.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Sessions,
  never,
  Jobs.Jobs | JobJournal.JobJournal | SessionStore.SessionStore | Credentials.Credentials | SecureRandom.SecureRandom
> = Layer.effect(
  Sessions,
  Effect.gen(function* () {
    const config = yield* RuntimeConfig.RuntimeConfig
    const store = yield* SessionStore.SessionStore
    const random = yield* SecureRandom.SecureRandom
    const { digest } = yield* Digest.Digest
    const surroundings = yield* Session.surroundings
    const { alarms } = surroundings
    const closings = yield* FiberSet.make<void>()
    const fork = yield* FiberSet.runtime(closings)()
    const live = new Map<Ids.SessionId, Live>()
    const perPrincipal = new Map<string, number>()
    /** Waits for a connection, the longest first. */
    const detached = new Set<Live>()
    /** By the digest of the token in hexadecimal, for clients that resume without saying which session. */
    const byToken = new Map<string, Live>()

    const count = (principal: string, change: number) => {
      const now = (perPrincipal.get(principal) ?? 0) + change
      if (now === 0) perPrincipal.delete(principal)
      else perPrincipal.set(principal, now)
    }

    const digestOf = (token: Redacted.Redacted) => digest(Digest.sha256, utf8.encode(Redacted.value(token)))

    /** 256 random bits. */
    const makeToken = Effect.map(random.randomBytes(32), (bytes) =>
      Redacted.make(`rt_${Hex.encode(bytes)}`, { label: "resume token" })
    )

    /** Waits for a connection no more. */
    const attach = (found: Live) => {
      detached.delete(found)
      AlarmClock.clear(alarms, found.alarm)
    }

    /** Begins the wait for the next connection. */
    const detach = (found: Live) => {
      detached.delete(found)
      detached.add(found)
      found.expiresAt = AlarmClock.now(alarms) + Duration.toMillis(config.resumeWindow)
      AlarmClock.set(alarms, found.alarm, found.expiresAt)
    }

    const forget = (found: Live) =>
      Effect.suspend(() => {
        const { id, outbox, principal } = found.session
        if (live.get(id) !== found) return Effect.void
        live.delete(id)
        byToken.delete(found.token)
        attach(found)
        count(principal.id, -1)
        return Effect.andThen(store.remove(id), SessionOutbox.close(outbox))
      })

    /** Looks whether it has waited too long. */
    const look = (found: Live, now: number) => {
      if (now >= found.expiresAt) fork(forget(found))
      else AlarmClock.set(alarms, found.alarm, found.expiresAt)
    }

    yield* Effect.addFinalizer(() =>
      Effect.forEach(live.values(), ({ session }) => SessionOutbox.close(session.outbox), { discard: true })
    )

    /** A principal at its limit loses the session that has been waiting for it longest; with none that waits it is refused. */
    const makeRoom = (principal: string) =>
      Effect.suspend((): Effect.Effect<void, ArcpError.InternalError> => {
        if ((perPrincipal.get(principal) ?? 0) < config.maxSessionsPerPrincipal) return Effect.void
        for (const found of detached) if (found.session.principal.id === principal) return forget(found)
        return Effect.fail(JobLimits.exceeded("sessions_per_principal", config.maxSessionsPerPrincipal, 1000))
      })

    const open: Sessions["Service"]["open"] = Effect.fn("Sessions.open")(function* (agreement) {
      const { id, principal } = agreement
      yield* makeRoom(principal.id)
      return yield* Effect.uninterruptible(
        Effect.gen(function* () {
          count(principal.id, 1)
          const resumeToken = yield* makeToken
          const next = yield* digestOf(resumeToken)
          yield* store.create({ id, principal: principal.id, createdAt: yield* Clock.currentTimeMillis })
          const epoch = Option.getOrThrow(yield* store.rotate(id, { presented: Option.none(), next, lenient: false }))
          const session = Session.make(surroundings, agreement)
          const opened: Live = {
            session,
            epoch,
            token: Hex.encode(next),
            expiresAt: Number.POSITIVE_INFINITY,
            alarm: AlarmClock.alarm((now) => look(opened, now))
          }
          live.set(id, opened)
          byToken.set(opened.token, opened)
          // Until it converses it waits, so that it goes if that never comes to pass.
          detach(opened)
          return { session, epoch, resumeToken, replay: Option.none(), principal }
        })
      )
    })

    const expired = new ArcpError.ResumeWindowExpired({ message: "The session cannot be resumed" })

    const resume: Sessions["Service"]["resume"] = Effect.fn("Sessions.resume")(function* (principal, request) {
      const { last_event_seq, resume_token, session_id } = request
      const presented = yield* digestOf(resume_token)
      const found = session_id === undefined ? byToken.get(Hex.encode(presented)) : live.get(session_id)
      // Nothing changes before all is checked: a wrong guess must not cost the owner its session.
      if (found === undefined || found.session.principal.id !== principal.id) return yield* expired
      const { id, profile } = found.session
      if (!(yield* Session.covers(found.session, last_event_seq))) return yield* expired
      return yield* Effect.uninterruptible(
        Effect.gen(function* () {
          const resumeToken = yield* makeToken
          const next = yield* digestOf(resumeToken)
          const lenient = profile === "effect"
          const epoch = yield* store.rotate(id, { presented: Option.some(presented), next, lenient })
          if (Option.isNone(epoch) || live.get(id) !== found) return yield* expired
          found.epoch = epoch.value
          // From here on the old connection can send nothing of the session: it must hear of it, also if the new one never begins.
          yield* Conversation.dismiss(found.session, "superseded")
          if (live.get(id) !== found) return yield* expired
          byToken.delete(found.token)
          found.token = Hex.encode(next)
          byToken.set(found.token, found)
          detach(found)
          return {
            session: found.session,
            epoch: epoch.value,
            resumeToken,
            replay: Option.some(last_event_seq),
            principal
          }
        })
      )
    })

    const converse: Sessions["Service"]["converse"] = ({ epoch, principal, replay, session }, connection) =>
      Effect.suspend(() => {
        const found = live.get(session.id)
        if (found === undefined) return Effect.void
        if (found.epoch !== epoch) return Effect.asVoid(Conversation.supersede(session, connection))
        attach(found)
        return Effect.onExit(Conversation.converse(session, connection, { epoch, replay, principal }), (exit) =>
          Effect.suspend(() => {
            if (found.epoch !== epoch || live.get(session.id) !== found) return Effect.void
            if (Exit.isSuccess(exit) && exit.value === "over") return forget(found)
            return Effect.sync(() => detach(found))
          })
        )
      })

    return Sessions.of({
      open,
      resume,
      converse,
      close: (id) =>
        Effect.suspend(() => {
          const found = live.get(id)
          return found === undefined
            ? Effect.void
            : Effect.andThen(Conversation.dismiss(found.session, "closed"), forget(found))
        }),
      shutdown: Effect.suspend(() =>
        Effect.forEach([...live.values()], ({ session }) => Conversation.dismiss(session, "shutting_down"), {
          concurrency: "unbounded",
          discard: true
        })
      ),
      size: Effect.sync(() => live.size)
    })
  })
).pipe(Layer.provide(Digest.layerWebCrypto))

const utf8 = new TextEncoder()
