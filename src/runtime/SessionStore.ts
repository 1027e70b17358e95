/**
 * What must outlast the connections of a session: who it is, what it was sent, and what resumes it (§6.3).
 *
 * A session's epoch counts its connections. Whoever writes for it names the epoch it was given, so an old connection, or an old node, that
 * does not yet know that it was superseded can no longer stamp, and hence no longer send.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Option, Schema } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Ids from "../protocol/Ids.ts"
import * as StampLog from "../session/StampLog.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface SessionRecord {
  readonly id: Ids.SessionId
  readonly principal: string
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number
}

/**
 * The writer was superseded by a later connection of the session, or the session is gone.
 *
 * @category errors
 * @since 0.1.0
 */
export class StaleEpoch extends Schema.TaggedError<StaleEpoch>("arcp/StaleEpoch")("StaleEpoch", {
  session_id: Schema.String,
  epoch: Schema.Int
}) {}

/**
 * @category ports
 * @since 0.1.0
 */
export class SessionStore extends Context.Service<SessionStore, {
  readonly create: (record: SessionRecord) => Effect.Effect<void>
  readonly get: (session: Ids.SessionId) => Effect.Effect<Option.Option<SessionRecord>>
  /** Begins the next epoch with a new resume token, of which only the digest is kept. */
  readonly rotate: (session: Ids.SessionId, digest: Uint8Array) => Effect.Effect<number, StaleEpoch>
  /** Notes what the next numbers of the session stand for. Frames leave only after this. */
  readonly stamp: (
    session: Ids.SessionId,
    epoch: number,
    stamps: NonEmptyReadonlyArray<StampLog.Stamp>
  ) => Effect.Effect<void, StaleEpoch>
  /** What was sent after a number, see `StampLog.since`; nothing if it cannot be told any more. */
  readonly since: (session: Ids.SessionId, seq: number) => Effect.Effect<Option.Option<ReadonlyArray<StampLog.Stamp>>>
  readonly remove: (session: Ids.SessionId) => Effect.Effect<void>
}>()("arcp/runtime/SessionStore") {}

interface Row {
  readonly record: SessionRecord
  readonly log: StampLog.StampLog
  epoch: number
  digest: Uint8Array
}

/**
 * Sessions in memory. Their number is bounded by `Sessions`, the log of each by the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<SessionStore> = Layer.effect(
  SessionStore,
  Effect.gen(function*() {
    const config = yield* RuntimeConfig.RuntimeConfig
    const rows = new Map<Ids.SessionId, Row>()
    const stale = (session: Ids.SessionId, epoch: number) => new StaleEpoch({ session_id: session, epoch })

    return SessionStore.of({
      create: (record) =>
        Effect.sync(() => {
          rows.set(record.id, { record, log: StampLog.make(), epoch: 0, digest: new Uint8Array(0) })
        }),
      get: (session) =>
        Effect.sync(() => Option.map(Option.fromUndefinedOr(rows.get(session)), (row) => row.record)),
      rotate: (session, digest) =>
        Effect.suspend(() => {
          const row = rows.get(session)
          if (row === undefined) return Effect.fail(stale(session, 0))
          row.digest = digest
          return Effect.succeed(++row.epoch)
        }),
      stamp: (session, epoch, stamps) =>
        Effect.suspend(() => {
          const row = rows.get(session)
          if (row === undefined || row.epoch !== epoch) return Effect.fail(stale(session, epoch))
          for (const stamp of stamps) StampLog.append(row.log, stamp, config.maxStamps)
          return Effect.void
        }),
      since: (session, seq) =>
        Effect.sync(() => {
          const row = rows.get(session)
          return Option.fromUndefinedOr(row === undefined ? undefined : StampLog.since(row.log, seq))
        }),
      remove: (session) => Effect.sync(() => void rows.delete(session))
    })
  })
)
