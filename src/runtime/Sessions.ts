/**
 * The sessions of this runtime, and the owner of each (§6). One outlives its connection by the resume window, counted from the moment the
 * connection ended.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Exit, FiberMap, Layer, Option, Redacted, Scope } from "effect"
import { Digest, SecureRandom } from "effect/crypto"
import { Hex } from "effect/encoding"
import type * as Authenticator from "../authority/Authenticator.ts"
import type * as Credentials from "../authority/Credentials.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import type * as Connection from "../session/Connection.ts"
import type * as JobJournal from "./JobJournal.ts"
import * as JobLimits from "./JobLimits.ts"
import type * as Jobs from "./Jobs.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as Session from "./Session.ts"
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
    /** Forgets a session. Its jobs go on. */
    readonly close: (session: Ids.SessionId) => Effect.Effect<void>
    /** Ends every conversation with a word to the client. */
    readonly shutdown: Effect.Effect<void>
    /** How many there are. */
    readonly size: Effect.Effect<number>
  }
>()("arcp/runtime/Sessions") {}

interface Live {
  readonly session: Session.Session
  readonly scope: Scope.Closeable
  /** That of the newest connection, so that the end of an old one does not look like its end. */
  epoch: number
}

/**
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
    const owner = yield* Effect.scope
    const services = yield* Effect.context<
      | Jobs.Jobs
      | JobJournal.JobJournal
      | SessionStore.SessionStore
      | Credentials.Credentials
      | SecureRandom.SecureRandom
    >()
    const live = new Map<Ids.SessionId, Live>()
    const perPrincipal = new Map<string, number>()
    /** Waits for a connection, the longest first; each with the fiber that ends the wait. */
    const detached = new Map<Ids.SessionId, string>()
    const expiries = yield* FiberMap.make<Ids.SessionId>()
    /** By the digest of the token in hexadecimal, for clients that resume without saying which session. */
    const byToken = new Map<string, Ids.SessionId>()
    const tokenOf = new Map<Ids.SessionId, string>()

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

    const index = (id: Ids.SessionId, token: string | undefined) => {
      byToken.delete(tokenOf.get(id) ?? "")
      if (token === undefined) {
        tokenOf.delete(id)
      } else {
        tokenOf.set(id, token)
        byToken.set(token, id)
      }
    }

    const close = (id: Ids.SessionId) =>
      Effect.suspend(() => {
        const found = live.get(id)
        if (found === undefined) return Effect.void
        live.delete(id)
        detached.delete(id)
        index(id, undefined)
        count(found.session.principal.id, -1)
        return Effect.andThen(store.remove(id), Scope.close(found.scope, Exit.void))
      })

    /** A principal at its limit loses the session that has been waiting for it longest; with none that waits it is refused. */
    const makeRoom = (principal: string) =>
      Effect.suspend((): Effect.Effect<void, ArcpError.InternalError> => {
        if ((perPrincipal.get(principal) ?? 0) < config.maxSessionsPerPrincipal) return Effect.void
        for (const [id, of] of detached)
          if (of === principal) return Effect.andThen(FiberMap.remove(expiries, id), close(id))
        return Effect.fail(JobLimits.exceeded("sessions_per_principal", config.maxSessionsPerPrincipal, 1000))
      })

    /** Begins the wait for the next connection. */
    const detach = (id: Ids.SessionId, principal: string) =>
      Effect.suspend(() => {
        detached.delete(id)
        detached.set(id, principal)
        return Effect.asVoid(FiberMap.run(expiries, id, Effect.andThen(Effect.sleep(config.resumeWindow), close(id))))
      })

    const open: Sessions["Service"]["open"] = Effect.fn("Sessions.open")(function* (agreement) {
      const { id, principal } = agreement
      yield* makeRoom(principal.id)
      return yield* Effect.uninterruptible(
        Effect.gen(function* () {
          count(principal.id, 1)
          const resumeToken = yield* makeToken
          const next = yield* digestOf(resumeToken)
          const scope = yield* Scope.fork(owner)
          const session = yield* Scope.provide(Session.make(agreement), scope).pipe(Effect.provideContext(services))
          yield* store.create({ id, principal: principal.id, createdAt: yield* Clock.currentTimeMillis })
          const epoch = Option.getOrThrow(yield* store.rotate(id, { presented: Option.none(), next, lenient: false }))
          live.set(id, { session, scope, epoch })
          index(id, Hex.encode(next))
          // Until it converses it waits, so that it goes if that never comes to pass.
          yield* detach(id, principal.id)
          return { session, epoch, resumeToken, replay: Option.none(), principal }
        })
      )
    })

    const expired = new ArcpError.ResumeWindowExpired({ message: "The session cannot be resumed" })

    const resume: Sessions["Service"]["resume"] = Effect.fn("Sessions.resume")(function* (principal, request) {
      const { last_event_seq, resume_token, session_id } = request
      const presented = yield* digestOf(resume_token)
      const id = session_id ?? byToken.get(Hex.encode(presented))
      const found = id === undefined ? undefined : live.get(id)
      // Nothing changes before all is checked: a wrong guess must not cost the owner its session.
      if (id === undefined || found === undefined || found.session.principal.id !== principal.id) return yield* expired
      if (!(yield* found.session.covers(last_event_seq))) return yield* expired
      return yield* Effect.uninterruptible(
        Effect.gen(function* () {
          const resumeToken = yield* makeToken
          const next = yield* digestOf(resumeToken)
          const lenient = found.session.profile === "effect"
          const epoch = yield* store.rotate(id, { presented: Option.some(presented), next, lenient })
          if (Option.isNone(epoch) || live.get(id) !== found) return yield* expired
          found.epoch = epoch.value
          // From here on the old connection can send nothing of the session: it must hear of it, also if the new one never begins.
          yield* found.session.dismiss("superseded")
          index(id, Hex.encode(next))
          yield* detach(id, principal.id)
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
        const { id } = session
        const found = live.get(id)
        if (found === undefined) return Effect.void
        if (found.epoch !== epoch) return session.supersede(connection)
        detached.delete(id)
        return Effect.andThen(
          FiberMap.remove(expiries, id),
          session.converse(connection, { epoch, replay, principal })
        ).pipe(
          Effect.onExit((exit) => {
            if (found.epoch !== epoch || live.get(id) !== found) return Effect.void
            return Exit.isSuccess(exit) && exit.value === "over" ? close(id) : detach(id, principal.id)
          }),
          Effect.asVoid
        )
      })

    return Sessions.of({
      open,
      resume,
      converse,
      close,
      shutdown: Effect.suspend(() =>
        Effect.forEach([...live.values()], ({ session }) => session.dismiss("shutting_down"), {
          concurrency: "unbounded",
          discard: true
        })
      ),
      size: Effect.sync(() => live.size)
    })
  })
).pipe(Layer.provide(Digest.layerWebCrypto))

const utf8 = new TextEncoder()
