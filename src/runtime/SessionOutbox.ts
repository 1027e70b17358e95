/**
 * Everything that leaves a session, in one place and one order.
 *
 * Jobs do not push. Each followed journal leaves a mark when it has grown, and one fiber per connection goes round: answers first, then a
 * page from each marked journal in turn, stamped with the session's next numbers, stored, and written together. So an answer never waits
 * behind a flood, no job starves another, and a session that is slow is behind, not full: what it has not taken stays where it is, in the
 * journal.
 *
 * **Stamp, store, send.** A number is given once. The stamp is in the store before the frame leaves, and only the current epoch can store
 * one, so a connection that was superseded falls silent. What a connection did not deliver the next one replays from the stamps: the same
 * numbers, the same frames.
 *
 * **Windows.** A client that declares it (see `Feature.declaration`) paces what it is sent by its acknowledgements: a job of which it has
 * a window's worth unread waits, and only that job, within a larger window of the session. For any other client the line itself is the
 * pace, and a lag is only told. An outcome never waits.
 *
 * @since 0.1.0
 */
import { Array as Arr, Clock, Effect, Exit, Latch, Option, Scope } from "effect"
import * as Codec from "../protocol/Codec.ts"
import type * as Dialect from "../protocol/Dialect.ts"
import type * as Feature from "../protocol/Feature.ts"
import * as Ids from "../protocol/Ids.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as Connection from "../session/Connection.ts"
import * as StampLog from "../session/StampLog.ts"
import * as JobJournal from "./JobJournal.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as SessionStore from "./SessionStore.ts"

/**
 * A job that a session is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Following {
  readonly job: Ids.JobId
  readonly traceId: Ids.TraceId
  /** The offset after which to begin; -1 for all that is kept. */
  readonly after: number
  /** Whether this session sets the pace of the job: its submitter does. */
  readonly paces: boolean
}

/**
 * @category models
 * @since 0.1.0
 */
export interface SessionOutbox {
  /** Sends a frame without a number, before all events. Suspends while too many wait. */
  readonly reply: (message: Message.FromRuntime) => Effect.Effect<void>
  /** As `reply`, but never suspends: for a frame that must not be parted from what it tells of. Await `room` before. */
  readonly tell: (message: Message.FromRuntime) => Effect.Effect<void>
  /** Done once not too many answers wait. */
  readonly room: Effect.Effect<void>
  /** Sends a frame with a number that stands in no journal; `tail` is its text after the head. */
  readonly own: (type: string, tail: string) => Effect.Effect<void>
  /** Delivers a job until its outcome. A job that is followed already goes on as it was. */
  readonly follow: (following: Following) => Effect.Effect<void>
  /** Ends the delivery of a job that this session only observes. */
  readonly unfollow: (job: Ids.JobId) => Effect.Effect<void>
  readonly isFollowing: (job: Ids.JobId) => boolean
  /** Whether there is a job of which more is to come. */
  readonly isBusy: () => boolean
  /** Goes back to after an offset in a job that is followed: from there all comes again, under new numbers. */
  readonly rewind: (job: Ids.JobId, after: number) => Effect.Effect<void>
  /** Takes an acknowledgement (§6.5). */
  readonly acknowledge: (ack: SessionMessage.Ack["payload"]) => Effect.Effect<void>
  /** Whether all that was sent after a number can still be replayed. */
  readonly covers: (seq: number) => Effect.Effect<boolean>
  /**
   * Writes to a connection until it fails or a later one takes over; first what was sent after `replay`, if the connection resumes the
   * session from there. Only one may run.
   */
  readonly run: (
    connection: Connection.Line,
    epoch: number,
    replay: Option.Option<number>
  ) => Effect.Effect<never, Connection.ConnectionError | SessionStore.StaleEpoch | Uncovered>
  /** Done once all answers queued before have been written. */
  readonly flushed: Effect.Effect<void>
  /** The highest number given so far. */
  readonly last: Effect.Effect<number>
}

/**
 * What was to be replayed is no longer kept.
 *
 * @category errors
 * @since 0.1.0
 */
export interface Uncovered {
  readonly _tag: "Uncovered"
}

/** Frames for one write, with what becomes true when they leave. */
interface Batch {
  readonly frames: Array<string>
  readonly stamps: Array<StampLog.Stamp>
  readonly pages: Array<Taken>
  characters: number
  /** How many of the frames that stand in no journal are in it. */
  answers: number
  /** The last number given. */
  seq: number
}

/** A frame that stands in no journal: the text of one without a number, or what is to have one. */
type Answer = string | { readonly type: string; readonly tail: string }

/** A page that was read for a batch. */
interface Taken extends Readonly<Sent> {
  readonly source: Source
  /** Where the source was when it was read. */
  readonly cursor: number
  readonly ended: boolean
}

/** A page on its way, or not yet acknowledged. */
interface Sent {
  readonly lastSeq: number
  lastOffset: number
  readonly characters: number
}

interface Source {
  readonly job: Ids.JobId
  readonly traceId: Ids.TraceId
  paces: boolean
  readonly scope: Scope.Closeable
  /** The offset of the last entry that was stamped or passed over. */
  cursor: number
  /** The offset up to which the client has read. */
  taken: number
  /** Sent and not acknowledged, oldest first; only for a client that declares its pace. */
  readonly unread: Array<Sent>
  unreadCharacters: number
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
}) => Effect.Effect<
  SessionOutbox,
  never,
  JobJournal.JobJournal | SessionStore.SessionStore | Scope.Scope
> = Effect.fnUntraced(function*({ features, id, profile }) {
  const config = yield* RuntimeConfig.RuntimeConfig
  const journal = yield* JobJournal.JobJournal
  const store = yield* SessionStore.SessionStore
  const owner = yield* Effect.scope
  const head = Codec.encodeHead(id)
  const messageId = Ids.sequencedMessageId(id)
  /** Whether acknowledgements pace this client; `ack` alone does not say that any will come. */
  const declared = profile === "effect" && features.has("ack")

  const work = yield* Latch.make(false)
  const room = yield* Latch.make(true)
  const sources = new Map<Ids.JobId, Source>()
  const marked = new Set<Source>()
  /** In the order in which they were queued. */
  const answers: Array<Answer> = []
  /** Called when the write that takes what is queued now is done. */
  const afterWrite: Array<() => void> = []
  /** Characters of answers that wait. */
  let waiting = 0
  /** Characters that the client was sent and has not acknowledged, over all jobs. */
  let unread = 0
  let last = 0
  let attached = false
  let acknowledged = 0
  /** Whether the client was told that it lags, and has not caught up since. */
  let warned = false
  /** Grows with each acknowledgement that frees something. */
  let progress = 0

  const frame = (type: string, seq: number, tail: string) => head(type, messageId(seq), seq) + tail

  const roomy: Effect.Effect<void> = Effect.suspend(() => {
    if (waiting <= config.maxPendingReplies) return Effect.void
    room.closeUnsafe()
    return Effect.andThen(room.await, roomy)
  })

  const queue = (answer: Answer): Effect.Effect<void> => Effect.andThen(roomy, Effect.sync(() => put(answer)))

  const put = (answer: Answer) => {
    answers.push(answer)
    waiting += widthOf(answer)
    work.openUnsafe()
  }

  const mark = (source: Source) => {
    marked.add(source)
    work.openUnsafe()
  }

  /** Room in the session's window is room for every job that waits for it. */
  const markAll = () => {
    for (const source of sources.values()) mark(source)
  }

  const drop = (source: Source) =>
    Effect.suspend(() => {
      if (sources.get(source.job) === source) sources.delete(source.job)
      marked.delete(source)
      if (source.unreadCharacters > 0) {
        unread -= source.unreadCharacters
        source.unreadCharacters = 0
        markAll()
      }
      return Scope.close(source.scope, Exit.void)
    })

  const isBlocked = (source: Source) =>
    declared && (source.unreadCharacters >= config.pacingWindow || unread >= config.sessionWindow)

  const takeAnswers = (batch: Batch) => {
    for (const answer of answers) {
      if (typeof answer === "string") batch.frames.push(answer)
      else takeOwn(batch, answer.type, answer.tail)
    }
    batch.answers = answers.length
  }

  const removeAnswers = (count: number) => {
    for (const answer of answers.splice(0, count)) waiting -= widthOf(answer)
    room.openUnsafe()
  }

  const takeOwn = (batch: Batch, type: string, tail: string) => {
    batch.stamps.push({ _tag: "Own", firstSeq: ++batch.seq, type, tail })
    batch.frames.push(frame(type, batch.seq, tail))
  }

  const takePage = (batch: Batch, source: Source, page: JobJournal.Page) => {
    let from = 0
    let count = 0
    let characters = 0
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
      characters += text.length
      batch.frames.push(text)
    }
    flush()
    batch.characters += characters
    const lastOffset = page.firstOffset + page.entries.length - 1
    batch.pages.push({ source, cursor: source.cursor, ended: page.ended, lastSeq: batch.seq, lastOffset, characters })
  }

  /** A status of the session's own about one of its jobs. */
  const status = (source: Source, now: number, body: { readonly phase: string; readonly message: string }) =>
    `,${
      JSON.stringify({
        job_id: source.job,
        trace_id: source.traceId,
        payload: { kind: "status", ts: Timestamp.format(now), body }
      }).slice(1)
    }`

  const collect = Effect.fnUntraced(function*() {
    const batch: Batch = { frames: [], stamps: [], pages: [], characters: 0, answers: 0, seq: last }
    takeAnswers(batch)
    for (const source of [...marked]) {
      if (batch.characters >= config.maxBatch) break
      // Unmarked before it is read, so that what is appended meanwhile marks it again, at the end of the round.
      marked.delete(source)
      const blocked = isBlocked(source)
      const page = yield* journal.read(source.job, source.cursor, blocked ? 1 : config.maxBatch / 4)
      if (page.entries.length === 0 && !page.ended) continue
      // An acknowledgement marks it again; only an outcome does not wait for one.
      if (blocked && !page.ended) continue
      if (page.firstOffset > source.cursor + 1) {
        const skipped = page.firstOffset - source.cursor - 1
        const message = `${skipped} events are no longer kept`
        const phase = "subscription_lagged"
        takeOwn(batch, "job.event", status(source, yield* Clock.currentTimeMillis, { phase, message }))
      }
      if (!page.ended) marked.add(source)
      takePage(batch, source, page)
    }
    return batch
  })

  /** Waits for the acknowledgement of a page. What the client is not shown it cannot acknowledge: that goes with what came before. */
  const owe = ({ characters, lastOffset, lastSeq, source }: Taken) => {
    const before = source.unread.at(-1)
    if (characters > 0) source.unread.push({ characters, lastOffset, lastSeq })
    else if (before !== undefined) before.lastOffset = lastOffset
    else source.taken = lastOffset
    source.unreadCharacters += characters
    unread += characters
  }

  /** From here on the numbers are taken, whether or not the frames arrive: a resume replays what did not. */
  const commit = (batch: Batch, epoch: number) =>
    Effect.uninterruptible(
      Effect.andThen(
        Arr.isArrayNonEmpty(batch.stamps) ? store.stamp(id, epoch, batch.stamps) : Effect.void,
        Effect.sync(() => {
          last = batch.seq
          removeAnswers(batch.answers)
          for (const page of batch.pages) {
            // A source that was sent back meanwhile stays where it was sent.
            if (page.source.cursor === page.cursor) page.source.cursor = page.lastOffset
            if (declared && sources.get(page.source.job) === page.source) owe(page)
          }
        })
      )
    )

  const stalled = (message: string) => new Connection.ConnectionError({ reason: "write", message })

  const send = (connection: Connection.Line, frames: ReadonlyArray<string>) =>
    Arr.isReadonlyArrayNonEmpty(frames)
      ? Effect.timeoutOrElse(connection.send(frames), {
        duration: config.stallTimeout,
        orElse: () => Effect.fail(stalled("The peer does not read"))
      })
      : Effect.void

  const turn = Effect.fnUntraced(function*(connection: Connection.Line, epoch: number) {
    const written = afterWrite.splice(0)
    const batch = yield* collect()
    yield* commit(batch, epoch)
    yield* send(connection, batch.frames)
    for (const done of written) done()
    for (const { ended, lastOffset, source } of batch.pages) {
      if (!declared) source.taken = Math.max(source.taken, lastOffset)
      if (source.paces) yield* journal.advance(source.job, id, Option.some(source.taken))
      // Unless its past was asked for while its end was on the way.
      if (ended && source.cursor === lastOffset) yield* drop(source)
    }
    yield* warn
  })

  /** Tells a client that acknowledges, but does not declare its pace, that it lags: once, until it has caught up by half. */
  const warn = Effect.suspend(() => {
    const lag = last - acknowledged
    if (declared || !features.has("ack")) return Effect.void
    if (warned) {
      warned = lag > config.lagWarning / 2
      return Effect.void
    }
    const source = lag > config.lagWarning ? [...sources.values()].at(-1) : undefined
    if (source === undefined) return Effect.void
    warned = true
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.sync(() => {
        const message = `consumer lag ${lag} events`
        // Never waits to say that there is too much to wait for.
        put({ type: "job.event", tail: status(source, now, { phase: "back_pressure", message }) })
      }))
  })

  const replay = Effect.fnUntraced(function*(connection: Connection.Line, seq: number) {
    const stamps = yield* store.since(id, seq)
    if (Option.isNone(stamps)) return yield* Effect.fail<Uncovered>({ _tag: "Uncovered" })
    let frames: Array<string> = []
    let characters = 0
    for (const stamp of stamps.value) {
      for (let done = 0; done < StampLog.width(stamp);) {
        if (stamp._tag === "Own") {
          frames.push(frame(stamp.type, stamp.firstSeq, stamp.tail))
          done++
        } else {
          const offset = stamp.firstOffset + done
          const page = yield* journal.read(stamp.job, offset - 1, config.maxBatch / 4)
          const entries = page.entries.slice(0, stamp.count - done)
          if (entries.length === 0 || page.firstOffset !== offset) return yield* Effect.fail<Uncovered>({ _tag: "Uncovered" })
          for (const entry of entries) {
            const text = frame(entry.type, stamp.firstSeq + done++, projected(entry, profile))
            characters += text.length
            frames.push(text)
          }
        }
        if (characters < config.maxBatch) continue
        yield* send(connection, frames)
        frames = []
        characters = 0
      }
    }
    yield* send(connection, frames)
    // What the line before lost, this one took.
    if (!declared) for (const source of sources.values()) source.taken = Math.max(source.taken, source.cursor)
    yield* pace
  })

  const covers = Effect.fnUntraced(function*(seq: number) {
    const stamps = yield* store.since(id, seq)
    if (Option.isNone(stamps)) return false
    for (const stamp of stamps.value) {
      if (stamp._tag === "Own") continue
      const page = yield* journal.read(stamp.job, stamp.firstOffset - 1, 1)
      if (page.entries.length === 0 || page.firstOffset !== stamp.firstOffset) return false
    }
    return true
  })

  const pace = Effect.suspend(() =>
    Effect.forEach(
      sources.values(),
      ({ job, paces, taken }) =>
        paces ? journal.advance(job, id, attached ? Option.some(taken) : Option.none()) : Effect.void,
      { discard: true }
    )
  )

  const attach = Effect.suspend(() => {
    attached = true
    // Answers belong to the connection that asked; what is to have a number belongs to the session.
    const kept = answers.filter((answer) => typeof answer !== "string")
    removeAnswers(answers.length)
    for (const answer of kept) put(answer)
    markAll()
    return pace
  })

  const detach = Effect.suspend(() => {
    attached = false
    return pace
  })

  /** Drops a client that declared its pace and then takes nothing more. Runs only while something waits for it. */
  const watchdog = Effect.gen(function*() {
    while (true) {
      const before = progress
      const owed = unread > 0
      yield* Effect.sleep(config.stallTimeout)
      const full = unread >= config.sessionWindow || [...sources.values()].some(isBlocked)
      if (owed && full && progress === before) return yield* Effect.fail(stalled("The peer acknowledges nothing"))
    }
  })

  const acknowledge = (ack: SessionMessage.Ack["payload"]) =>
    Effect.suspend(() => {
      acknowledged = Math.max(acknowledged, Math.min(ack.last_processed_seq, last))
      if (!declared) return Effect.void
      const advanced: Array<Source> = []
      for (const source of sources.values()) {
        const named = ack.jobs !== undefined && Object.hasOwn(ack.jobs, source.job) ? ack.jobs[source.job]! : 0
        const upTo = Math.max(acknowledged, Math.min(named, last))
        let read = 0
        while (read < source.unread.length && source.unread[read]!.lastSeq <= upTo) read++
        if (read === 0) continue
        for (const page of source.unread.splice(0, read)) {
          source.taken = Math.max(source.taken, page.lastOffset)
          source.unreadCharacters -= page.characters
          unread -= page.characters
        }
        progress++
        advanced.push(source)
      }
      if (advanced.length > 0) markAll()
      return Effect.forEach(
        advanced,
        ({ job, paces, taken }) => (paces ? journal.advance(job, id, Option.some(taken)) : Effect.void),
        { discard: true }
      )
    })

  return {
    last: Effect.sync(() => last),
    flushed: Effect.callback<void>((resume) => {
      afterWrite.push(() => resume(Effect.void))
      work.openUnsafe()
    }),
    reply: (message) => queue(Codec.encode(message)),
    tell: (message) => Effect.sync(() => put(Codec.encode(message))),
    room: roomy,
    own: (type, tail) => queue({ type, tail }),
    isFollowing: (job) => sources.has(job),
    isBusy: () => sources.size > 0,
    follow: Effect.fnUntraced(function*({ after, job, paces, traceId }) {
      const followed = sources.get(job)
      if (followed !== undefined) {
        followed.paces ||= paces
        return
      }
      const source: Source = {
        job,
        traceId,
        paces,
        scope: yield* Scope.fork(owner),
        cursor: after,
        taken: after,
        unread: [],
        unreadCharacters: 0
      }
      sources.set(job, source)
      yield* Scope.provide(journal.watch(job, () => mark(source)), source.scope)
      if (paces && attached) yield* journal.advance(job, id, Option.some(after))
      mark(source)
    }),
    rewind: (job, after) =>
      Effect.sync(() => {
        const source = sources.get(job)
        if (source === undefined) return
        source.cursor = Math.min(source.cursor, after)
        mark(source)
      }),
    unfollow: (job) =>
      Effect.suspend(() => {
        const source = sources.get(job)
        return source === undefined || source.paces ? Effect.void : drop(source)
      }),
    acknowledge,
    covers,
    run: (connection, epoch, from) =>
      Effect.gen(function*() {
        yield* attach
        if (Option.isSome(from)) yield* replay(connection, from.value)
        const deliver = Effect.gen(function*() {
          while (true) {
            yield* work.await
            work.closeUnsafe()
            // Whoever opened the latch runs on first: what it still has to say goes out in the same write.
            yield* Effect.yieldNow
            yield* turn(connection, epoch)
            if (marked.size > 0 || answers.length > 0) work.openUnsafe()
          }
        })
        return yield* declared ? Effect.raceFirst(deliver, watchdog) : deliver
      }).pipe(Effect.ensuring(detach))
  }
})

const widthOf = (answer: Answer) => (typeof answer === "string" ? answer : answer.tail).length

/** Clients of one family read an inline result from `output`; for all others an entry leaves as it stands. */
const projected = (entry: JobJournal.Entry, profile: Dialect.Profile): string => {
  if (profile !== "go" || entry.type !== "job.result") return entry.tail
  const frame = JSON.parse(`{${entry.tail.slice(1)}`) as { payload: { result?: unknown; output?: unknown } }
  if (frame.payload.result !== undefined) frame.payload.output = frame.payload.result
  return `,${JSON.stringify(frame).slice(1)}`
}
