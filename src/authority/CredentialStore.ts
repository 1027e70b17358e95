/**
 * What is outstanding at upstreams: which credentials must be revoked yet (§14). Written before a credential exists or at the latest before
 * it is given out, and removed when it has been revoked, so that no crash in between leaves spending authority behind. No value is in here.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Option, Schema } from "effect"
import { KeyValueStore } from "effect/persistence"
import * as Ids from "../protocol/Ids.ts"
import * as CredentialProvisioner from "./CredentialProvisioner.ts"

/**
 * One handle that has to be revoked.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Outstanding = Schema.Struct({
  /** Names the record: no two handles share one. */
  id: Schema.String.check(Schema.isPattern(/^[\w.-]{1,300}$/)),
  /** The name of the provisioner that can revoke it. */
  provisioner: Schema.String.check(Schema.isBetweenLength(1, 64)),
  handle: Schema.String.check(Schema.isBetweenLength(1, CredentialProvisioner.maxHandleLength)),
  job: Ids.JobId,
  credential: Ids.CredentialId,
  /** Milliseconds since the Unix epoch. */
  issuedAt: Schema.Finite
})
export type Outstanding = typeof Outstanding.Type

/**
 * Why a handle could not be revoked: somebody has to look at the upstream.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Failure = Schema.Struct({
  /** Milliseconds since the Unix epoch. */
  at: Schema.Finite,
  reason: Schema.String
})
export type Failure = typeof Failure.Type

/**
 * What is known of a credential that is not known to be revoked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly outstanding: Outstanding
  /** Why it was given up, if it was. */
  readonly failure: Option.Option<Failure>
}

/**
 * The list could not be read or written, or is full.
 *
 * @category errors
 * @since 0.1.0
 */
export class CredentialStoreError extends Schema.TaggedError<CredentialStoreError>(
  "arcp/authority/CredentialStoreError"
)("CredentialStoreError", { reason: Schema.Literals(["Full", "Unavailable"]), message: Schema.String }) {}

/**
 * A port. One store belongs to one runtime: what one finds at its start, it revokes.
 *
 * @category ports
 * @since 0.1.0
 */
export class CredentialStore extends Context.Service<
  CredentialStore,
  {
    /** Whether what was added is still there after the process has died. Without that, no credentials are issued. */
    readonly durable: boolean
    /** Returns once the record is stored. */
    readonly add: (outstanding: Outstanding) => Effect.Effect<void, CredentialStoreError>
    /** Notes why a record was given up; of one that is unknown, nothing. */
    readonly fail: (id: string, failure: Failure) => Effect.Effect<void, CredentialStoreError>
    /** Idempotent. */
    readonly remove: (id: string) => Effect.Effect<void, CredentialStoreError>
    /** In no order. A record that cannot be read any more is left out, and logged as an error. */
    readonly list: Effect.Effect<ReadonlyArray<Entry>, CredentialStoreError>
  }
>()("arcp/authority/CredentialStore") {}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Whether the store that this writes to survives the process, and has written when it says so. */
  readonly durable: boolean
  /** In front of each key. Default `arcp-credential-`. */
  readonly prefix?: string
  /** Records; no credential is issued beyond them. Default 10,000. */
  readonly maxOutstanding?: number
}

const isRecord = (key: string) => key.startsWith("r.")
const recordKey = (id: string) => `r.${id}`
/** Beside the record, which is never written again: a crash while it is would lose the handle. */
const failureKey = (id: string) => `f.${id}`

/**
 * Over a `KeyValueStore`, such as files or SQL.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerKeyValueStore = (
  options: Options
): Layer.Layer<CredentialStore, CredentialStoreError, KeyValueStore.KeyValueStore> =>
  Layer.effect(
    CredentialStore,
    Effect.gen(function* () {
      const maxOutstanding = options.maxOutstanding ?? 10_000
      const store = KeyValueStore.prefix(yield* KeyValueStore.KeyValueStore, options.prefix ?? "arcp-credential-")
      const records = KeyValueStore.toSchemaStore(store, Outstanding)
      const failures = KeyValueStore.toSchemaStore(store, Failure)

      const reaching = <A>(effect: Effect.Effect<A, KeyValueStore.KeyValueStoreError | Schema.SchemaError>) =>
        Effect.mapError(effect, (error) => {
          // The text of a SchemaError shows what was to be written.
          const cause = error._tag === "SchemaError" ? "a record is malformed" : error.message
          return new CredentialStoreError({ reason: "Unavailable", message: `the list of credentials: ${cause}` })
        })

      const keys = reaching(store.keys)
      /** The records that there are, those being written included. */
      const known = new Set((yield* keys).filter(isRecord))

      const read = Effect.fnUntraced(function* (key: string) {
        const id = key.slice(recordKey("").length)
        const outstanding = yield* records.get(key).pipe(
          Effect.catchTag("SchemaError", () =>
            Effect.as(
              Effect.logError("A record of an outstanding credential cannot be read", { record: id }),
              Option.none()
            )
          ),
          reaching
        )
        if (Option.isNone(outstanding)) return []
        // What went wrong is good to know, but no reason to overlook what is outstanding.
        const failure = yield* failures.get(failureKey(id)).pipe(
          Effect.catchTag("SchemaError", () => Effect.succeedNone),
          reaching
        )
        return [{ outstanding: outstanding.value, failure }]
      })

      return CredentialStore.of({
        durable: options.durable,
        add: (outstanding) =>
          Effect.suspend(() => {
            const key = recordKey(outstanding.id)
            if (known.has(key)) return reaching(records.set(key, outstanding))
            if (known.size >= maxOutstanding) {
              const message = `there are ${maxOutstanding} outstanding credentials, which is the most`
              return Effect.fail(new CredentialStoreError({ reason: "Full", message }))
            }
            known.add(key)
            return reaching(records.set(key, outstanding)).pipe(
              Effect.onError(() => Effect.sync(() => known.delete(key)))
            )
          }),
        fail: (id, failure) =>
          Effect.suspend(() =>
            known.has(recordKey(id)) ? reaching(failures.set(failureKey(id), failure)) : Effect.void
          ),
        remove: (id) =>
          reaching(store.remove(recordKey(id))).pipe(
            Effect.andThen(Effect.sync(() => known.delete(recordKey(id)))),
            Effect.andThen(reaching(store.remove(failureKey(id))))
          ),
        list: Effect.gen(function* () {
          const found = yield* Effect.forEach((yield* keys).filter(isRecord), read, { concurrency: 16 })
          return found.flat()
        })
      })
    })
  )

/**
 * Gone with the process, so it is for tests and for a runtime that issues none.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<CredentialStore> = layerKeyValueStore({ durable: false }).pipe(
  Layer.provide(KeyValueStore.layerMemory),
  // Memory can be read.
  Layer.orDie
)
