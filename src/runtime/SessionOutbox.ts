/**
 * Everything that leaves a session, in one place and one order.
 *
 * Jobs do not push. Each followed journal leaves a mark when it has grown, and one fiber per connection goes round: answers first, then a
 * page from each marked journal in turn, stamped with the session's next numbers, stored, and written together. So an answer never waits
 * behind a flood, no job starves another, and a session that is slow is behind, not full: what it has not taken stays where it is, in the
 * journal.
 *
 * **Stamp, store, send.** A number is given once. The stamp is in the store before the frame leaves, and only the current epoch can store
 * one, so a connection that was superseded falls silent.
 *
 * @since 0.1.0
 */
import { Array as Arr, Effect, Exit, Latch, Option, Scope } from "effect"
import * as Codec from "../protocol/Codec.ts"
import type * as Dialect from "../protocol/Dialect.ts"
import type * as Feature from "../protocol/Feature.ts"
import * as Ids from "../protocol/Ids.ts"
import type * as Message from "../protocol/Message.ts"
import * as Connection from "../session/Connection.ts"
import type * as StampLog from "../session/StampLog.ts"
import * as JobJournal from "./JobJournal.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as SessionStore from "./SessionStore.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface SessionOutbox {
  /** Sends a frame without a number, before all events. Suspends while too many wait. */
  readonly reply: (message: Message.FromRuntime) => Effect.Effect<void>
  /** Sends a frame with a number that stands in no journal; `tail` is its text after the head. */
  readonly own: (type: string, tail: string) => Effect.Effect<void>
  /** Delivers a job from after an offset on, until its outcome. A job that is followed already goes on as it was. */
  readonly follow: (job: Ids.JobId, options: {
    readonly after: number
    /** Whether this session sets the pace of the job: its submitter does. */
    readonly paces: boolean
  }) => Effect.Effect<void>
  /** Writes to a connection until it fails or a later one takes over. Only one may run. */
  readonly run: (
    connection: Connection.Line,
    epoch: number
  ) => Effect.Effect<never, Connection.ConnectionError | SessionStore.StaleEpoch>
  /** Done once all answers queued before have been written. */
  readonly flushed: Effect.Effect<void>
}

/** Frames for one write, with what becomes true when they leave. */
interface Batch {
  readonly frames: Array<string>
  readonly stamps: Array<StampLog.Stamp>
  readonly pages: Array<{ readonly source: Followed; readonly cursor: number; readonly ended: boolean }>
  characters: number
  /** The last number given. */
  seq: number
}

interface Followed {
  readonly job: Ids.JobId
  readonly paces: boolean
  readonly scope: Scope.Closeable
  /** The offset of the last entry that was stamped or passed over. */
  cursor: number
}

/** Whether a session that negotiated these features sees this kind; what is hidden takes no number. */
const isVisible = (kind: string, features: ReadonlySet<Feature.Feature>): boolean =>
  !((kind === "progress" && !features.has("progress")) || (kind === "result_chunk" && !features.has("result_chunk")))

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: (session: {
  readonly id: Ids.SessionId
  readonly features: ReadonlySet<Feature.Feature>
  readonly profile: Dialect.Profile
}) => Effect.Effect<SessionOutbox, never, JobJournal.JobJournal | SessionStore.SessionStore | Scope.Scope> = Effect.fnUntraced(
  function*({ features, id, profile }) {
    const config = yield* RuntimeConfig.RuntimeConfig
    const journal = yield* JobJournal.JobJournal
    const store = yield* SessionStore.SessionStore
    const owner = yield* Effect.scope
    const head = Codec.encodeHead(id)
    const messageId = Ids.sequencedMessageId(id)

    const work = yield* Latch.make(false)
    const room = yield* Latch.make(true)
    const followed = new Map<Ids.JobId, Followed>()
    const marked = new Set<Followed>()
    const replies: Array<string> = []
    const owns: Array<{ readonly type: string; readonly tail: string }> = []
    /** Characters of both. */
    let waiting = 0
    let last = 0
    let attached = false
    /** Called when the write that takes what is queued now is done. */
    const afterWrite: Array<() => void> = []

    const frame = (type: string, seq: number, tail: string) => head(type, messageId(seq), seq) + tail

    const queue = (characters: number, put: () => void): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (waiting > config.maxPendingReplies) {
          room.closeUnsafe()
          return Effect.andThen(room.await, queue(characters, put))
        }
        put()
        waiting += characters
        work.openUnsafe()
        return Effect.void
      })

    const unfollow = (source: Followed) =>
      Effect.suspend(() => {
        followed.delete(source.job)
        marked.delete(source)
        return Scope.close(source.scope, Exit.void)
      })

    const mark = (source: Followed) => {
      marked.add(source)
      work.openUnsafe()
    }

    const takeReplies = (batch: Batch) => {
      for (const text of replies.splice(0)) batch.frames.push(text)
      for (const { tail, type } of owns.splice(0)) {
        batch.stamps.push({ _tag: "Own", firstSeq: ++batch.seq, type, tail })
        batch.frames.push(frame(type, batch.seq, tail))
      }
      waiting = 0
      room.openUnsafe()
    }

    const takePage = (batch: Batch, source: Followed, page: JobJournal.Page) => {
      let from = 0
      let count = 0
      const flush = () => {
        if (count === 0) return
        const firstSeq = batch.seq - count + 1
        batch.stamps.push({ _tag: "Range", firstSeq, job: source.job, firstOffset: page.firstOffset + from, count })
        count = 0
      }
      for (const [index, entry] of page.entries.entries()) {
        if (!isVisible(entry.kind, features)) {
          flush()
          continue
        }
        if (count === 0) from = index
        count++
        const text = frame(entry.type, ++batch.seq, projected(entry, profile))
        batch.characters += text.length
        batch.frames.push(text)
      }
      flush()
      batch.pages.push({ source, cursor: page.firstOffset + page.entries.length - 1, ended: page.ended })
    }

    const collect = Effect.fnUntraced(function*() {
      const batch: Batch = { frames: [], stamps: [], pages: [], characters: 0, seq: last }
      takeReplies(batch)
      for (const source of [...marked]) {
        if (batch.characters >= config.maxBatch) break
        // Unmarked before it is read, so that what is appended meanwhile marks it again, at the end of the round.
        marked.delete(source)
        const page = yield* journal.read(source.job, source.cursor, config.maxBatch / 4)
        if (page.entries.length === 0 && !page.ended) continue
        if (!page.ended) marked.add(source)
        takePage(batch, source, page)
      }
      return batch
    })

    /** From here on the numbers are taken, whether or not the frames arrive: a resume replays what did not. */
    const commit = (batch: Batch, epoch: number) =>
      Effect.uninterruptible(
        Effect.andThen(
          Arr.isArrayNonEmpty(batch.stamps) ? store.stamp(id, epoch, batch.stamps) : Effect.void,
          Effect.sync(() => {
            last = batch.seq
            for (const { cursor, source } of batch.pages) source.cursor = cursor
          })
        )
      )

    const stalled = new Connection.ConnectionError({ reason: "write", message: "The peer does not read" })

    const turn = Effect.fnUntraced(function*(connection: Connection.Line, epoch: number) {
      const written = afterWrite.splice(0)
      const batch = yield* collect()
      yield* commit(batch, epoch)
      if (Arr.isArrayNonEmpty(batch.frames)) {
        yield* Effect.timeoutOrElse(connection.send(batch.frames), {
          duration: config.stallTimeout,
          orElse: () => Effect.fail(stalled)
        })
      }
      for (const done of written) done()
      for (const { cursor, ended, source } of batch.pages) {
        if (source.paces) yield* journal.advance(source.job, Option.some(cursor))
        if (ended) yield* unfollow(source)
      }
    })

    const pace = Effect.suspend(() =>
      Effect.forEach(followed.values(), ({ cursor, job, paces }) =>
        paces ? journal.advance(job, attached ? Option.some(cursor) : Option.none()) : Effect.void, { discard: true })
    )

    const attach = Effect.suspend(() => {
      attached = true
      // Answers belong to the connection that asked.
      replies.length = 0
      waiting = 0
      for (const source of followed.values()) mark(source)
      return pace
    })

    const detach = Effect.suspend(() => {
      attached = false
      return pace
    })

    return {
      flushed: Effect.callback<void>((resume) => {
        afterWrite.push(() => resume(Effect.void))
        work.openUnsafe()
      }),
      reply: (message) => {
        const text = Codec.encode(message)
        return queue(text.length, () => replies.push(text))
      },
      own: (type, tail) => queue(tail.length, () => owns.push({ type, tail })),
      follow: Effect.fnUntraced(function*(job, { after, paces }) {
        if (followed.has(job)) return
        const source: Followed = { job, paces, cursor: after, scope: yield* Scope.fork(owner) }
        followed.set(job, source)
        yield* Scope.provide(journal.watch(job, () => mark(source)), source.scope)
        if (paces && attached) yield* journal.advance(job, Option.some(after))
        mark(source)
      }),
      run: (connection, epoch) =>
        Effect.andThen(
          attach,
          Effect.gen(function*() {
            while (true) {
              yield* work.await
              work.closeUnsafe()
              yield* turn(connection, epoch)
              if (marked.size > 0 || replies.length > 0 || owns.length > 0) work.openUnsafe()
            }
          })
        ).pipe(Effect.ensuring(detach))
    }
  }
)

/** Clients of one family read an inline result from `output`; for all others an entry leaves as it stands. */
const projected = (entry: JobJournal.Entry, profile: Dialect.Profile): string => {
  if (profile !== "go" || entry.type !== "job.result") return entry.tail
  const frame = JSON.parse(`{${entry.tail.slice(1)}`) as { payload: { result?: unknown; output?: unknown } }
  if (frame.payload.result !== undefined) frame.payload.output = frame.payload.result
  return `,${JSON.stringify(frame).slice(1)}`
}
