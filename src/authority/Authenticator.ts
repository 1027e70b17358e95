/**
 * Turns the credentials of a `session.hello` into a principal (§6.1).
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Option, Redacted, Result, Schema } from "effect"
import { Digest, Mac } from "effect/crypto"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as LargestLease from "./LargestLease.ts"

/**
 * Whom a session speaks for. Two sessions with the same `id` are the same principal: they see each other's jobs.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Principal = Schema.Struct({
  id: Schema.String.check(Schema.isBetweenLength(1, 256)),
  /**
   * When the credentials end, in milliseconds since the Unix epoch. The connection ends then with `UNAUTHENTICATED`; jobs go on, and fresh
   * credentials resume the session.
   */
  expiresAt: Schema.optionalKey(Schema.Int),
  /** The largest lease that it may ask for, where the credentials say so. `LeasePolicy.layerPrincipal` goes by it. */
  largestLease: Schema.optionalKey(LargestLease.LargestLease)
})
export type Principal = typeof Principal.Type

/**
 * Says who it is that shows these credentials (§6.1).
 *
 * @category services
 * @since 0.1.0
 */
export class Authenticator extends Context.Service<
  Authenticator,
  {
    /** Fails in the same words whatever was wrong, so that a guess learns nothing. */
    readonly authenticate: (auth: SessionMessage.Auth) => Effect.Effect<Principal, ArcpError.Unauthenticated>
  }
>()("arcp/authority/Authenticator") {}

/**
 * The one refusal, for authenticators of any kind: what was wrong is not said.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusal = (): ArcpError.Unauthenticated =>
  new ArcpError.Unauthenticated({ message: "The credentials were not accepted" })

/**
 * A token, known by its SHA-256 alone, and whom it stands for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly digest: Uint8Array
  readonly principal: Principal
}

/**
 * The entry with this digest. All entries are compared, each to its last byte, so the time that it takes tells neither which token was
 * nearly right nor where in the list it stands.
 *
 * @category combinators
 * @since 0.1.0
 */
export const find = (entries: ReadonlyArray<Entry>, digest: Uint8Array): Option.Option<Principal> => {
  let found = Option.none<Principal>()
  for (const entry of entries) {
    if (Mac.timingSafeEqual(entry.digest, digest)) found = Option.some(entry.principal)
  }
  return found
}

/**
 * A list of tokens that cannot be used. `index` counts from 0.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidEntry extends Schema.TaggedError<InvalidEntry>("arcp/authority/InvalidEntry")("InvalidEntry", {
  index: Schema.Int,
  field: Schema.Literals(["token", "principal", "largestLease"]),
  reason: Schema.String
}) {
  override get message() {
    return `tokens[${this.index}].${this.field} ${this.reason}`
  }
}

const isPrincipal = Schema.is(Principal)

/**
 * A token that does not change, and whom it stands for.
 *
 * @category options
 * @since 0.1.0
 */
export interface StaticToken {
  readonly token: Redacted.Redacted
  /** Whom it stands for. */
  readonly principal: string
  /** The largest lease that it may ask for, see {@link Principal}. */
  readonly largestLease?: LargestLease.LargestLease
}

/**
 * Bearer tokens from a fixed list. The tokens themselves are not kept, only their SHA-256. A list with an empty token, an empty principal,
 * a largest lease that cannot be read, or the same token twice does not build.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStatic = (tokens: Iterable<StaticToken>): Layer.Layer<Authenticator, InvalidEntry> => {
  const listed = Array.from(tokens)
  return Layer.effect(
    Authenticator,
    Effect.gen(function* () {
      const { digest } = yield* Digest.Digest
      const digestOf = (token: string) => digest(Digest.sha256, new TextEncoder().encode(token))

      const entries: Array<Entry> = []
      for (const { largestLease, principal: id, token } of listed) {
        const index = entries.length
        const principal: Principal = { id, ...(largestLease === undefined ? undefined : { largestLease }) }
        const largest = LargestLease.compile(largestLease ?? LargestLease.none)
        if (Result.isFailure(largest)) {
          return yield* new InvalidEntry({ index, field: "largestLease", reason: largest.failure.message })
        }
        if (!isPrincipal(principal)) {
          return yield* new InvalidEntry({ index, field: "principal", reason: "must have 1 to 256 characters" })
        }
        if (Redacted.value(token) === "") return yield* new InvalidEntry({ index, field: "token", reason: "is empty" })
        const entry: Entry = { digest: yield* digestOf(Redacted.value(token)), principal }
        if (Option.isSome(find(entries, entry.digest))) {
          return yield* new InvalidEntry({ index, field: "token", reason: "is listed twice" })
        }
        entries.push(entry)
      }

      return Authenticator.of({
        authenticate: Effect.fn("Authenticator.authenticate")(function* ({ scheme, token }) {
          // An empty token is no special case: its digest is in no list.
          const found = find(entries, yield* digestOf(Redacted.value(token)))
          return scheme === "bearer" && Option.isSome(found) ? found.value : yield* refusal()
        })
      })
    })
  ).pipe(Layer.provide(Digest.layerWebCrypto))
}
