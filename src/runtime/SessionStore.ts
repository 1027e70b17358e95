/**
 * What must outlast the connections of a session: who it is, what it was sent, and what resumes it (§6.3).
 *
 * A session's epoch counts its connections. Whoever writes for it names the epoch it was given, so an old connection, or an old node, that
 * does not yet know that it was superseded can no longer stamp, and hence no longer send.
 *
 * Of a resume token only the digest is kept.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Option, Schema } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import { Mac } from "effect/crypto"
import type * as Ids from "../protocol/Ids.ts"
import * as StampLog from "../session/StampLog.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * Who a session is.
 *
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
 * The change of token that goes with a new connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rotation {
  /** The digest of the token that the client showed; nothing on the session's first connection. */
  readonly presented: Option.Option<Uint8Array>
  readonly next: Uint8Array
  /** Whether the token shown stays good until the client proves that it has the next, see `confirm`: a lost welcome must not lose a session. */
  readonly lenient: boolean
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
 * The records of sessions, what each was sent, and the tokens that resume them.
 *
 * @category ports
 * @since 0.1.0
 */
export class SessionStore extends Context.Service<
  SessionStore,
  {
    readonly create: (record: SessionRecord) => Effect.Effect<void>
    readonly get: (session: Ids.SessionId) => Effect.Effect<Option.Option<SessionRecord>>
    /** Begins the next epoch with the next token, if the token shown is good: one step, so that a token works once. */
    readonly rotate: (session: Ids.SessionId, rotation: Rotation) => Effect.Effect<Option.Option<number>>
    /** The client has used its new connection, so it has the new token: the one before is good no more. */
    readonly confirm: (session: Ids.SessionId, epoch: number) => Effect.Effect<void>
    /** Notes what the next numbers of the session stand for. Frames leave only after this. */
    readonly stamp: (
      session: Ids.SessionId,
      epoch: number,
      stamps: NonEmptyReadonlyArray<StampLog.Stamp>
    ) => Effect.Effect<void, StaleEpoch>
    /** What was sent after a number, see `StampLog.since`; nothing if it cannot be told any more. */
    readonly since: (session: Ids.SessionId, seq: number) => Effect.Effect<Option.Option<ReadonlyArray<StampLog.Stamp>>>
    /** The place in a job that a number of the session stands for, see `StampLog.offsetAt`. */
    readonly offsetAt: (session: Ids.SessionId, job: Ids.JobId, seq: number) => Effect.Effect<Option.Option<number>>
    /** The last number under which the session was sent something of a job; 0 if it never was, or cannot be told any more. */
    readonly lastSeq: (session: Ids.SessionId, job: Ids.JobId) => Effect.Effect<number>
    readonly remove: (session: Ids.SessionId) => Effect.Effect<void>
  }
>()("arcp/runtime/SessionStore") {}

interface Row {
  readonly record: SessionRecord
  readonly log: StampLog.StampLog
  /** By job, in the order of last use. */
  readonly lastSeqs: Map<Ids.JobId, number>
  epoch: number
  tokens: ReadonlyArray<Uint8Array>
}

/**
 * Sessions in memory. Their number is bounded by `Sessions`, the log of each by the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<SessionStore> = Layer.effect(
  SessionStore,
  Effect.gen(function* () {
    const config = yield* RuntimeConfig.RuntimeConfig
    const rows = new Map<Ids.SessionId, Row>()

    const note = (row: Row, stamp: StampLog.Stamp) => {
      StampLog.append(row.log, stamp, config.maxStamps)
      if (stamp._tag === "Own") return
      row.lastSeqs.delete(stamp.job)
      row.lastSeqs.set(stamp.job, stamp.firstSeq + stamp.count - 1)
      if (row.lastSeqs.size > config.maxStamps) row.lastSeqs.delete(row.lastSeqs.keys().next().value!)
    }

    return SessionStore.of({
      create: (record) =>
        Effect.sync(() => {
          rows.set(record.id, { record, log: StampLog.make(), lastSeqs: new Map(), epoch: 0, tokens: [] })
        }),
      get: (session) => Effect.sync(() => Option.map(Option.fromUndefinedOr(rows.get(session)), (row) => row.record)),
      rotate: (session, { lenient, next, presented }) =>
        Effect.sync(() => {
          const row = rows.get(session)
          if (row === undefined) return Option.none()
          const good = Option.isNone(presented)
            ? row.tokens.length === 0
            : row.tokens.map((token) => Mac.timingSafeEqual(token, presented.value)).includes(true)
          if (!good) return Option.none()
          row.tokens = lenient && Option.isSome(presented) ? [next, presented.value] : [next]
          return Option.some(++row.epoch)
        }),
      confirm: (session, epoch) =>
        Effect.sync(() => {
          const row = rows.get(session)
          if (row !== undefined && row.epoch === epoch) row.tokens = row.tokens.slice(0, 1)
        }),
      stamp: (session, epoch, stamps) =>
        Effect.suspend(() => {
          const row = rows.get(session)
          if (row === undefined || row.epoch !== epoch) {
            return Effect.fail(new StaleEpoch({ session_id: session, epoch }))
          }
          for (const stamp of stamps) note(row, stamp)
          return Effect.void
        }),
      since: (session, seq) =>
        Effect.sync(() => {
          const row = rows.get(session)
          return Option.fromUndefinedOr(row === undefined ? undefined : StampLog.since(row.log, seq))
        }),
      offsetAt: (session, job, seq) =>
        Effect.sync(() => {
          const row = rows.get(session)
          return Option.fromUndefinedOr(row === undefined ? undefined : StampLog.offsetAt(row.log, job, seq))
        }),
      lastSeq: (session, job) => Effect.sync(() => rows.get(session)?.lastSeqs.get(job) ?? 0),
      remove: (session) => Effect.sync(() => void rows.delete(session))
    })
  })
)
