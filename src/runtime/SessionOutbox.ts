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
import { Array as Arr, Clock, Effect, Latch, Option, type Scope } from "effect"
import * as Credentials from "../authority/Credentials.ts"
import * as Codec from "../protocol/Codec.ts"
import type * as Dialect from "../protocol/Dialect.ts"
import type * as Feature from "../protocol/Feature.ts"
import * as Frame from "../protocol/Frame.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as SequencedFrame from "../protocol/SequencedFrame.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as Connection from "../session/Connection.ts"
import * as AckWindow from "./internal/ackWindow.ts"
import * as Batch from "./internal/batch.ts"
import * as Introductions from "./internal/introductions.ts"
import * as Replay from "./internal/replay.ts"
import * as View from "./internal/view.ts"
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
  /** The job for whose sake it is sent, since that delegated it. */
  readonly parent?: Ids.JobId
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
  /** As `tell`, for the acceptance of a job that one of the session's own has delegated. */
  readonly introduce: (acceptance: JobMessage.Accepted) => Effect.Effect<void>
  /** Sends a frame with a number that stands in no journal; `tail` is its text after the head. */
  readonly own: (type: string, tail: string) => Effect.Effect<void>
  /** Delivers a job until its outcome. A job that is followed already goes on as it was. */
  readonly follow: (following: Following) => Effect.Effect<void>
  /** Ends the delivery of a job that this session only observes. */
  readonly unfollow: (job: Ids.JobId) => Effect.Effect<void>
  readonly isFollowing: (job: Ids.JobId) => boolean
  /** Whether provisioned credentials may pass over the connection of the moment: they were negotiated, and it is secure (§14). */
  readonly isSecure: () => boolean
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
  ) => Effect.Effect<never, Connection.ConnectionError | SessionStore.StaleEpoch | Replay.Uncovered>
  /** Done once all answers queued before have been written. */
  readonly flushed: Effect.Effect<void>
  /** The highest number given so far. */
  readonly last: Effect.Effect<number>
}

/** Turns that the outcome of a job waits for what its children said. */
const maxPatience = 64

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: (
  session: {
    readonly id: Ids.SessionId
    readonly features: ReadonlySet<Feature.Feature>
    readonly profile: Dialect.Profile
  },
  /** The acceptance of a job that one of the session's own has delegated. Must not wait. */
  acceptanceOf: Introductions.AcceptanceOf
) => Effect.Effect<
  SessionOutbox,
  never,
  JobJournal.JobJournal | SessionStore.SessionStore | Credentials.Credentials | Scope.Scope
> = Effect.fnUntraced(function* (session, acceptanceOf) {
  const { features, id, profile } = session
  const config = yield* RuntimeConfig.RuntimeConfig
  const journal = yield* JobJournal.JobJournal
  const store = yield* SessionStore.SessionStore
  const credentials = yield* Credentials.Credentials
  const services = yield* Effect.context<JobJournal.JobJournal | SessionStore.SessionStore>()
  const head = SequencedFrame.head(id)
  /** Whether acknowledgements pace this client; `ack` alone does not say that any will come. */
  const declared = profile === "effect" && features.has("ack")

  const work = yield* Latch.make(false)
  const room = yield* Latch.make(true)
  const window = AckWindow.make(config)
  const sources = new Map<Ids.JobId, AckWindow.Source>()
  const marked = new Set<AckWindow.Source>()
  /** Jobs whose outcome is on its way, or has been sent. */
  const told: Array<AckWindow.Source> = []
  const introductions = Introductions.make(acceptanceOf)
  /** In the order in which they were queued. */
  const answers: Array<Batch.Answer> = []
  /** Called when the write that takes what is queued now is done. */
  const afterWrite: Array<() => void> = []
  /** Characters of answers that wait. */
  let waiting = 0
  let last = 0
  let attached = false
  let secure = false
  let acknowledged = 0
  /** Whether the client was told that it lags, and has not caught up since. */
  let warned = false

  const frame: Batch.WriteFrame = (type, seq, tail) => Frame.make(head(type, seq), tail)

  const roomy: Effect.Effect<void> = Effect.suspend(() => {
    if (waiting <= config.maxPendingReplies) return Effect.void
    room.closeUnsafe()
    return Effect.andThen(room.await, roomy)
  })

  const queue = (answer: Batch.Answer): Effect.Effect<void> =>
    Effect.andThen(
      roomy,
      Effect.sync(() => put(answer))
    )

  const put = (answer: Batch.Answer) => {
    answers.push(answer)
    waiting += Batch.widthOf(answer)
    work.openUnsafe()
  }

  const mark = (source: AckWindow.Source) => {
    marked.add(source)
    work.openUnsafe()
  }

  /** Room in the session's window is room for every job that waits for it. */
  const markAll = () => {
    for (const source of sources.values()) mark(source)
  }

  const drop = (source: AckWindow.Source) =>
    Effect.suspend(() => {
      if (sources.get(source.job) === source) sources.delete(source.job)
      marked.delete(source)
      if (window.forgive(source)) markAll()
      const paceless = source.paces ? journal.advance(source.job, id, Option.none()) : Effect.void
      return Effect.andThen(paceless, source.unwatch)
    })

  const removeAnswers = (count: number) => {
    for (const answer of answers.splice(0, count)) waiting -= Batch.widthOf(answer)
    room.openUnsafe()
  }

  /** A status of the session's own about one of its jobs. */
  const status = (source: AckWindow.Source, now: number, body: { readonly phase: string; readonly message: string }) =>
    `,${JSON.stringify({
      job_id: source.job,
      trace_id: source.traceId,
      payload: { kind: "status", ts: Timestamp.format(now), body }
    }).slice(1)}`

  /** What is to be done once values that are on their way have been sent. */
  const revealed: Array<Effect.Effect<void>> = []

  /** What the submitter of a job is told beyond what its journal holds: the value that a credential has now (§9.8.2). */
  const reveal = (job: Ids.JobId, page: JobJournal.Page): Effect.Effect<JobJournal.Page> =>
    secure && sources.get(job)?.paces === true && page.entries.some(({ note }) => note?._tag === "Rotated")
      ? Effect.map(
          Effect.forEach(page.entries, (entry) => {
            const { note } = entry
            if (note?._tag !== "Rotated") return Effect.succeed(entry)
            return Effect.map(
              credentials.value(job, note.credential),
              Option.match({
                onNone: () => entry,
                onSome: (value) => {
                  revealed.push(credentials.told(job, note.credential, value))
                  return View.revealing(entry, value)
                }
              })
            )
          }),
          (entries) => ({ ...page, entries })
        )
      : Effect.succeed(page)

  /** Whether there is something to send of its children, which ended before it did. */
  const isAwaited = ({ job }: AckWindow.Source): boolean => {
    for (const other of marked) if (other.parent === job && !(declared && window.isBlocked(other))) return true
    return false
  }

  const collect = Effect.fnUntraced(function* () {
    const batch = Batch.make(last)
    Batch.addAnswers(batch, answers, frame)
    for (const source of Array.from(marked)) {
      if (batch.characters >= config.maxBatch) break
      // Unmarked before it is read, so that what is appended meanwhile marks it again, at the end of the round.
      marked.delete(source)
      const blocked = declared && window.isBlocked(source)
      const page = yield* journal.read(source.job, source.cursor, blocked ? 1 : config.maxBatch / 4)
      if (page.entries.length === 0 && !page.ended) continue
      // An acknowledgement marks it again; only an outcome does not wait for one.
      if (blocked && !page.ended) continue
      if (page.ended && source.patience > 0 && isAwaited(source)) {
        source.patience--
        marked.add(source)
        continue
      }
      if (page.firstOffset > source.cursor + 1) {
        const skipped = page.firstOffset - source.cursor - 1
        const message = `${skipped} events are no longer kept`
        const phase = "subscription_lagged"
        const tail = status(source, yield* Clock.currentTimeMillis, { phase, message })
        Batch.addOwn(batch, "job.event", tail, frame)
      }
      const { child, page: sent } = Batch.untilChild(source, page, introductions.isNew)
      if (!sent.ended) marked.add(source)
      Batch.addPage(batch, source, yield* reveal(source.job, sent), child, session, frame)
    }
    return batch
  })

  const follow: SessionOutbox["follow"] = Effect.fnUntraced(function* ({ after, job, paces, parent, traceId }) {
    const followed = sources.get(job)
    if (followed !== undefined) {
      followed.paces ||= paces
      return
    }
    const source: AckWindow.Source = {
      job,
      traceId,
      parent,
      patience: maxPatience,
      paces,
      unwatch: Effect.void,
      cursor: after,
      taken: after,
      unread: [],
      unreadCharacters: 0
    }
    sources.set(job, source)
    source.unwatch = yield* journal.watch(job, () => mark(source))
    if (paces && attached) yield* journal.advance(job, id, Option.some(after))
    mark(source)
  })

  const introduce = (acceptance: JobMessage.Accepted) =>
    Effect.sync(() => {
      introductions.note(acceptance.payload.job_id, last)
      put(Codec.encode(acceptance))
    })

  /** Tells the client of a child, and sends it from its first event, before its parent goes on (§10). */
  const adopt = ({ child, source }: Batch.Taken): Effect.Effect<void> =>
    Effect.flatMap(
      acceptanceOf(child!),
      Option.match({
        onNone: () => Effect.void,
        onSome: (acceptance) =>
          Effect.andThen(
            introduce(acceptance),
            follow({ job: child!, traceId: acceptance.trace_id!, after: -1, paces: true, parent: source.job })
          )
      })
    ).pipe(
      Effect.andThen(
        Effect.sync(() => {
          marked.delete(source)
          mark(source)
        })
      )
    )

  /** From here on the numbers are taken, whether or not the frames arrive: a resume replays what did not. */
  const commit = (batch: Batch.Batch, epoch: number) =>
    Effect.uninterruptible(
      Effect.andThen(
        Arr.isArrayNonEmpty(batch.stamps) ? store.stamp(id, epoch, batch.stamps) : Effect.void,
        Effect.suspend(() => {
          last = batch.seq
          removeAnswers(batch.answers)
          for (const page of batch.pages) {
            // A source that was sent back meanwhile stays where it was sent.
            if (page.source.cursor === page.cursor) page.source.cursor = page.lastOffset
            if (page.ended && page.source.cursor === page.lastOffset) {
              // Told to the end: who asks for its past from now on follows it anew.
              if (sources.get(page.source.job) === page.source) sources.delete(page.source.job)
              told.push(page.source)
            } else if (declared && sources.get(page.source.job) === page.source) window.owe(page)
          }
          const delegating = batch.pages.filter(({ child }) => child !== undefined)
          return delegating.length === 0 ? Effect.void : Effect.forEach(delegating, adopt, { discard: true })
        })
      )
    )

  const stalled = (message: string) => new Connection.ConnectionError({ reason: "write", message })

  const send = (connection: Connection.Line, frames: ReadonlyArray<Frame.Frame>) =>
    Arr.isReadonlyArrayNonEmpty(frames)
      ? Effect.timeoutOrElse(connection.send(frames), {
          duration: config.stallTimeout,
          orElse: () => Effect.fail(stalled("The peer does not read"))
        })
      : Effect.void

  const turn = Effect.fnUntraced(function* (connection: Connection.Line, epoch: number) {
    const written = afterWrite.splice(0)
    const batch = yield* collect()
    yield* commit(batch, epoch)
    yield* send(connection, batch.frames)
    for (const done of written) done()
    for (const told of revealed.splice(0)) yield* told
    for (const { lastOffset, source } of batch.pages) {
      if (!declared) source.taken = Math.max(source.taken, lastOffset)
      if (source.paces) yield* journal.advance(source.job, id, Option.some(source.taken))
    }
    yield* dropTold
    yield* warn
  })

  const dropTold = Effect.suspend(() => Effect.forEach(told.splice(0), drop, { discard: true }))

  /** Tells a client that acknowledges, but does not declare its pace, that it lags: once, until it has caught up by half. */
  const warn = Effect.suspend(() => {
    const lag = last - acknowledged
    if (declared || !features.has("ack")) return Effect.void
    if (warned) {
      warned = lag > config.lagWarning / 2
      return Effect.void
    }
    const source = lag > config.lagWarning ? Array.from(sources.values()).at(-1) : undefined
    if (source === undefined) return Effect.void
    warned = true
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.sync(() => {
        const message = `consumer lag ${lag} events`
        // Never waits to say that there is too much to wait for.
        put({ type: "job.event", tail: status(source, now, { phase: "back_pressure", message }) })
      })
    )
  })

  const replay = Effect.fnUntraced(function* (connection: Connection.Line, seq: number) {
    const between = yield* introductions.lackingAfter(seq)
    yield* Replay.replay(session, seq, config.maxBatch, frame, between, reveal, (frames) =>
      send(connection, frames)
    ).pipe(Effect.provideContext(services))
    // What the line before lost, this one took.
    if (!declared) for (const source of sources.values()) source.taken = Math.max(source.taken, source.cursor)
    yield* pace
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
    return Effect.andThen(dropTold, pace)
  })

  /** Drops a client that declared its pace and, with a full window, takes nothing more. */
  const watchdog = Effect.gen(function* () {
    while (true) {
      const before = window.progress()
      const owed = window.unread() > 0
      yield* Effect.sleep(config.stallTimeout)
      const full = window.isFull() || Array.from(sources.values()).some(window.isBlocked)
      if (owed && full && window.progress() === before) return yield* stalled("The peer acknowledges nothing")
    }
  })

  const acknowledge = (ack: SessionMessage.Ack["payload"]) =>
    Effect.suspend(() => {
      acknowledged = Math.max(acknowledged, Math.min(ack.last_processed_seq, last))
      if (!declared) return Effect.void
      const advanced = window.acknowledge(sources.values(), acknowledged, ack.jobs, last)
      if (advanced.length > 0) markAll()
      return Effect.forEach(
        advanced,
        ({ job, paces, taken }) => (paces ? journal.advance(job, id, Option.some(taken)) : Effect.void),
        { discard: true }
      )
    })

  yield* Effect.addFinalizer(() => Effect.forEach(sources.values(), ({ unwatch }) => unwatch, { discard: true }))

  return {
    last: Effect.sync(() => last),
    flushed: Effect.callback<void>((resume) => {
      const done = () => resume(Effect.void)
      afterWrite.push(done)
      work.openUnsafe()
      return Effect.sync(() => {
        const at = afterWrite.indexOf(done)
        if (at >= 0) afterWrite.splice(at, 1)
      })
    }),
    reply: (message) => queue(Codec.encode(message)),
    tell: (message) => Effect.sync(() => put(Codec.encode(message))),
    room: roomy,
    introduce,
    own: (type, tail) => queue({ type, tail }),
    isFollowing: (job) => sources.has(job),
    isSecure: () => attached && secure,
    isBusy: () => sources.size > 0,
    follow,
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
    covers: (seq) => Effect.provideContext(Replay.covers(session, seq), services),
    run: (connection, epoch, from) =>
      Effect.gen(function* () {
        secure = connection.secure && features.has("provisioned_credentials")
        // What the line before was to be told it was perhaps not.
        revealed.length = 0
        yield* attach
        if (Option.isSome(from)) yield* replay(connection, from.value)
        const deliver = Effect.gen(function* () {
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
