/**
 * The sessions of this runtime, and the owner of each (§6).
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { Digest, SecureRandom } from "effect/crypto"
import { Hex } from "effect/encoding"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobJournal from "./JobJournal.ts"
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
}

/**
 * @category services
 * @since 0.1.0
 */
export class Sessions extends Context.Service<Sessions, {
  /** Begins a session; refused while the principal has as many as it may. */
  readonly open: (agreement: Session.Agreement) => Effect.Effect<Opened, ArcpError.InternalError>
  /** Forgets a session whose conversation is over. Its jobs go on. */
  readonly close: (session: Ids.SessionId) => Effect.Effect<void>
  /** How many there are. */
  readonly size: Effect.Effect<number>
}>()("arcp/runtime/Sessions") {}

interface Live {
  readonly session: Session.Session
  readonly scope: Scope.Closeable
}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Sessions,
  never,
  Jobs.Jobs | JobJournal.JobJournal | SessionStore.SessionStore | SecureRandom.SecureRandom
> = Layer.effect(
  Sessions,
  Effect.gen(function*() {
    const config = yield* RuntimeConfig.RuntimeConfig
    const store = yield* SessionStore.SessionStore
    const random = yield* SecureRandom.SecureRandom
    const { digest } = yield* Digest.Digest
    const owner = yield* Effect.scope
    const services = yield* Effect.context<
      Jobs.Jobs | JobJournal.JobJournal | SessionStore.SessionStore | SecureRandom.SecureRandom
    >()
    const live = new Map<Ids.SessionId, Live>()
    const perPrincipal = new Map<string, number>()

    const count = (principal: string, change: number) => {
      const now = (perPrincipal.get(principal) ?? 0) + change
      if (now === 0) perPrincipal.delete(principal)
      else perPrincipal.set(principal, now)
    }

    /** 256 random bits, and the digest by which they will be known again. */
    const makeToken = Effect.gen(function*() {
      const token = `rt_${Hex.encode(yield* random.randomBytes(32))}`
      return { token: Redacted.make(token, { label: "resume token" }), digest: yield* digest(Digest.sha256, utf8.encode(token)) }
    })

    const close = (id: Ids.SessionId) =>
      Effect.suspend(() => {
        const found = live.get(id)
        if (found === undefined) return Effect.void
        live.delete(id)
        count(found.session.principal.id, -1)
        return Effect.andThen(store.remove(id), Scope.close(found.scope, Exit.void))
      })

    const open = Effect.fn("Sessions.open")(function*(agreement: Session.Agreement) {
      const { id, principal } = agreement
      if ((perPrincipal.get(principal.id) ?? 0) >= config.maxSessionsPerPrincipal) {
        return yield* new ArcpError.InternalError({
          message: `The principal has ${config.maxSessionsPerPrincipal} sessions`,
          details: { limit: "sessions_per_principal", retry_after_ms: 1000 }
        })
      }
      count(principal.id, 1)
      const { digest, token } = yield* makeToken
      return yield* Effect.uninterruptible(Effect.gen(function*() {
        const scope = yield* Scope.fork(owner)
        const session = yield* Scope.provide(Session.make(agreement), scope).pipe(Effect.provideContext(services))
        yield* store.create({ id, principal: principal.id, createdAt: yield* Clock.currentTimeMillis })
        const epoch = yield* Effect.orDie(store.rotate(id, digest))
        live.set(id, { session, scope })
        return { session, epoch, resumeToken: token }
      }))
    })

    return Sessions.of({ open, close, size: Effect.sync(() => live.size) })
  })
).pipe(Layer.provide(Digest.layerWebCrypto))

const utf8 = new TextEncoder()
