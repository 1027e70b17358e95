/**
 * What each job said: the meeting place of the two halves of the runtime.
 *
 * Jobs append and sessions read; neither knows the other. History and live are one cursor, so there is no moment between them in which an
 * event could be lost or repeated. The terminal entry is a job's last, by compare-and-set, so nothing overtakes it or follows it.
 *
 * An entry is encoded here, once, and shared by all who read it (see `SequencedFrame`).
 *
 * **Pacing.** While a job has a pacer - its submitter, attached and reading - an append that would run more than the window ahead of it
 * suspends. Of several submitters the one that has been attached longest is the pacer. Without one an append never suspends: the job runs
 * on, and the oldest entries make room. What a pacer has yet to read does not make room: its window bounds it.
 *
 * @since 0.1.0
 */
import { Context, Effect, Latch, Layer, Option, Schema, Stream } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Budget from "../authority/Budget.ts"
import type * as Ids from "../protocol/Ids.ts"
import * as ChunkedLog from "./internal/chunkedLog.ts"
import * as MemoryJournal from "./internal/memoryJournal.ts"
import type * as JobEntry from "./JobEntry.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * How an append is done.
 *
 * @category options
 * @since 0.1.0
 */
export interface AppendOptions {
  readonly urgent?: boolean
  readonly forced?: boolean
  /** Goes into the job's ledger in the same step. */
  readonly ledger?: ReadonlyArray<Budget.Entry>
}

/**
 * The journal did not take the entry: the job has ended, is unknown, or has passed to another owner.
 *
 * @category errors
 * @since 0.1.0
 */
export class JournalClosed extends Schema.TaggedError<JournalClosed>("arcp/JournalClosed")("JournalClosed", {
  job_id: Schema.String,
  reason: Schema.Literals(["ended", "stale", "unknown"])
}) {}

/**
 * What each job has said, and what its ledger holds: jobs append, whoever follows them reads.
 *
 * @category ports
 * @since 0.1.0
 */
export class JobJournal extends Context.Service<
  JobJournal,
  {
    /** Begins a job's journal; its first writer has epoch 1. */
    readonly open: (job: { readonly id: Ids.JobId; readonly traceId: Ids.TraceId }) => Effect.Effect<void>
    /**
     * Adds entries in order; suspends while the job is too far ahead of its pacer. What is urgent - a cost, the last words of an agent that is
     * to stop - may use a small reserve beyond the window; what is forced does not wait.
     */
    readonly append: (
      job: Ids.JobId,
      epoch: number,
      drafts: NonEmptyReadonlyArray<JobEntry.Draft>,
      options?: AppendOptions
    ) => Effect.Effect<void, JournalClosed>
    /** Done once such an append would not wait; its interruption is that of the wait alone. */
    readonly room: (job: Ids.JobId, options?: AppendOptions) => Effect.Effect<void>
    /** Adds to the job's ledger what no event tells of, also after its outcome: a child may outlive it. Never waits. */
    readonly record: (job: Ids.JobId, epoch: number, entry: Budget.Entry) => Effect.Effect<void>
    /** What the job has spent and set aside, in few entries or many: their fold is its budget (§9.6). Kept as long as the job. */
    readonly ledger: (job: Ids.JobId) => Effect.Effect<ReadonlyArray<Budget.Entry>>
    /** Adds the terminal entry if none is there: `false` says that there was one, or that the writer is no longer the owner. */
    readonly end: (job: Ids.JobId, epoch: number, terminal: JobEntry.Draft) => Effect.Effect<boolean>
    /** Entries after an offset (-1 for all), about as many characters as asked for, at least one entry if there is one. Never waits. */
    readonly read: (job: Ids.JobId, after: number, characters: number) => Effect.Effect<JobEntry.Page>
    /** The offset of the last entry; -1 if there is none. */
    readonly tip: (job: Ids.JobId) => Effect.Effect<number>
    /**
     * Calls `wake` whenever there may be more to read, until what this gives back is done. A hint: it may come too often, and must be cheap.
     */
    readonly watch: (job: Ids.JobId, wake: () => void) => Effect.Effect<Effect.Effect<void>>
    /** Says how far a submitter has come; nothing says that it is not attached any more. */
    readonly advance: (job: Ids.JobId, session: Ids.SessionId, offset: Option.Option<number>) => Effect.Effect<void>
    /** Forgets a job altogether. */
    readonly remove: (job: Ids.JobId) => Effect.Effect<void>
  }
>()("arcp/runtime/JobJournal") {}

/** Opens the latch whenever there may be more to read, as long as the scope is open. */
const watching = (journal: JobJournal["Service"], job: Ids.JobId, more: Latch.Latch) =>
  Effect.acquireRelease(
    journal.watch(job, () => more.openUnsafe()),
    (unwatch) => unwatch
  )

/**
 * Every entry after `offset` exactly once, those that are there and those to come, in pages; ends with the job.
 *
 * @category streams
 * @since 0.1.0
 */
export const follow = (
  job: Ids.JobId,
  offset: number,
  characters = 64 * 1024
): Stream.Stream<JobEntry.Page, never, JobJournal> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const journal = yield* JobJournal
      const more = yield* Latch.make(true)
      yield* watching(journal, job, more)
      return Stream.paginate(
        offset,
        Effect.fnUntraced(function* (after: number) {
          while (true) {
            yield* more.close
            const page = yield* journal.read(job, after, characters)
            const next = page.firstOffset + page.entries.length - 1
            if (page.entries.length > 0) return [[page], page.ended ? Option.none() : Option.some(next)] as const
            if (page.ended) return [[], Option.none<number>()] as const
            yield* more.await
          }
        })
      )
    })
  )

/**
 * The terminal entry of a job, once it is there; nothing if the job is no longer known.
 *
 * @category getters
 * @since 0.1.0
 */
export const outcome = (job: Ids.JobId): Effect.Effect<Option.Option<JobEntry.JobEntry>, never, JobJournal> =>
  Effect.scoped(
    Effect.gen(function* () {
      const journal = yield* JobJournal
      const more = yield* Latch.make(true)
      yield* watching(journal, job, more)
      while (true) {
        yield* more.close
        const page = yield* journal.read(job, (yield* journal.tip(job)) - 1, 1)
        if (page.ended) return Option.fromUndefinedOr(page.entries.at(-1))
        yield* more.await
      }
    })
  )

/**
 * Journals in memory, within the bounds of the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<JobJournal> = Layer.effect(
  JobJournal,
  Effect.gen(function* () {
    const config = yield* RuntimeConfig.RuntimeConfig
    const journals = new Map<Ids.JobId, MemoryJournal.MemoryJournal>()
    /** What all of them together weigh. */
    let total = 0

    /** Changes a log, and keeps count. */
    const changing = (log: ChunkedLog.ChunkedLog, change: () => void) => {
      const before = ChunkedLog.weight(log)
      change()
      total += ChunkedLog.weight(log) - before
    }

    const evict = (log: ChunkedLog.ChunkedLog, target: number, most: number) =>
      changing(log, () => ChunkedLog.evict(log, target, most))

    /** Room is made an eighth at a time, so that what is full does not go through all logs at each append. */
    const spared = (limit: number) => limit - limit / 8

    /** What a pacer has read goes first, then what none waits for, of ended jobs before running ones; in each case the oldest jobs'. */
    const evictAll = () => {
      const target = spared(config.maxJournal)
      const turns: ReadonlyArray<(journal: MemoryJournal.MemoryJournal) => boolean> = [
        ({ readers }) => readers !== undefined,
        ({ log }) => log.terminal !== undefined,
        ({ log }) => log.terminal === undefined
      ]
      for (const isDue of turns) {
        for (const journal of journals.values()) {
          if (total <= target) return
          if (!isDue(journal)) continue
          evict(journal.log, ChunkedLog.weight(journal.log) - (total - target), MemoryJournal.unawaited(journal))
        }
      }
    }

    const push = (journal: MemoryJournal.MemoryJournal, drafts: NonEmptyReadonlyArray<JobEntry.Draft>) => {
      const { log, watchers } = journal
      changing(log, () => {
        for (const draft of drafts) ChunkedLog.push(log, draft)
      })
      if (ChunkedLog.weight(log) > config.maxJournalPerJob) {
        evict(log, spared(config.maxJournalPerJob), MemoryJournal.unawaited(journal))
      }
      if (total > config.maxJournal) evictAll()
      if (watchers !== undefined) for (const wake of watchers) wake()
    }

    const closed = (job: Ids.JobId, reason: JournalClosed["reason"]) =>
      Effect.fail(new JournalClosed({ job_id: job, reason }))

    const isAhead = (journal: MemoryJournal.MemoryJournal, options: AppendOptions | undefined): boolean =>
      options?.forced !== true &&
      MemoryJournal.lead(journal) > config.pacingWindow + (options?.urgent === true ? config.pacingReserve : 0)

    const room = (job: Ids.JobId, options: AppendOptions | undefined): Effect.Effect<void> =>
      Effect.suspend(() => {
        const journal = journals.get(job)
        if (journal === undefined || journal.log.terminal !== undefined || !isAhead(journal, options))
          return Effect.void
        journal.room ??= Latch.makeUnsafe(false)
        journal.room.closeUnsafe()
        return Effect.andThen(journal.room.await, room(job, options))
      })

    const append = (
      job: Ids.JobId,
      epoch: number,
      drafts: NonEmptyReadonlyArray<JobEntry.Draft>,
      options?: AppendOptions
    ): Effect.Effect<void, JournalClosed> =>
      Effect.suspend(() => {
        const journal = journals.get(job)
        if (journal === undefined) return closed(job, "unknown")
        if (journal.epoch !== epoch) return closed(job, "stale")
        if (journal.log.terminal !== undefined) return closed(job, "ended")
        if (isAhead(journal, options)) return Effect.andThen(room(job, options), append(job, epoch, drafts, options))
        if (options?.ledger !== undefined) MemoryJournal.note(journal, options.ledger)
        push(journal, drafts)
        return Effect.void
      })

    return JobJournal.of({
      open: (job) =>
        Effect.sync(() => {
          journals.set(job.id, MemoryJournal.make(job))
        }),
      append,
      room,
      record: (job, epoch, entry) =>
        Effect.sync(() => {
          const journal = journals.get(job)
          if (journal !== undefined && journal.epoch === epoch) MemoryJournal.note(journal, [entry])
        }),
      ledger: (job) => Effect.sync(() => journals.get(job)?.ledger ?? []),
      end: (job, epoch, terminal) =>
        Effect.sync(() => {
          const journal = journals.get(job)
          if (journal === undefined || journal.log.terminal !== undefined || journal.epoch !== epoch) return false
          push(journal, [terminal])
          journal.room?.openUnsafe()
          return true
        }),
      read: (job, after, characters) =>
        Effect.sync(() => {
          const journal = journals.get(job)
          return journal === undefined
            ? { firstOffset: after + 1, entries: [], ended: true }
            : ChunkedLog.read(journal.log, after, characters)
        }),
      tip: (job) => Effect.sync(() => (journals.get(job)?.log.next ?? 0) - 1),
      watch: (job, wake) =>
        Effect.sync(() => {
          const journal = journals.get(job)
          if (journal === undefined) return Effect.void
          journal.watchers = (journal.watchers ?? new Set()).add(wake)
          return Effect.sync(() => {
            journal.watchers?.delete(wake)
            if (journal.watchers?.size === 0) journal.watchers = undefined
          })
        }),
      advance: (job, session, offset) =>
        Effect.sync(() => {
          const journal = journals.get(job)
          if (journal === undefined) return
          MemoryJournal.advance(journal, session, offset)
          if (MemoryJournal.lead(journal) <= config.pacingWindow) journal.room?.openUnsafe()
        }),
      remove: (job) =>
        Effect.sync(() => {
          const journal = journals.get(job)
          if (journal === undefined) return
          total -= ChunkedLog.weight(journal.log)
          journals.delete(job)
          journal.room?.openUnsafe()
          for (const wake of journal.watchers ?? []) wake()
        })
    })
  })
)
