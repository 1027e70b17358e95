/**
 * What each job said: the meeting place of the two halves of the runtime.
 *
 * Jobs append and sessions read; neither knows the other. History and live are one cursor, so there is no moment between them in which an
 * event could be lost or repeated. The terminal entry is a job's last, by compare-and-set, so nothing overtakes it or follows it.
 *
 * An entry is encoded here, once, and shared by all who read it (see `Codec.encodeTail`).
 *
 * **Pacing.** While a job has a pacer - its submitter, attached and reading - an append that would run more than the window ahead of it
 * suspends. Of several submitters the one that has been attached longest is the pacer. Without one an append never suspends: the job runs
 * on, and the oldest entries make room. What a pacer has yet to read does not make room: its window bounds it.
 *
 * @since 0.1.0
 */
import { Context, Effect, Latch, Layer, Option, Schema, type Scope, Stream } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Codec from "../protocol/Codec.ts"
import type * as Ids from "../protocol/Ids.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * Something a job said, its payload already JSON text.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draft {
  readonly type: "job.event" | "job.result" | "job.error"
  /** The event's kind; empty for a terminal. */
  readonly kind: string
  readonly payload: string
}

/**
 * A draft in its place. `tail` is the text of its frame but for the head, which differs from session to session.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly type: Draft["type"]
  readonly kind: string
  readonly tail: string
}

/**
 * Consecutive entries. `firstOffset` lies beyond what was asked for if the entries between are no longer kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  readonly firstOffset: number
  readonly entries: ReadonlyArray<Entry>
  /** Whether the last entry of the page is the job's last: its outcome. */
  readonly ended: boolean
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
     * to stop - may use a small reserve beyond the window.
     */
    readonly append: (
      job: Ids.JobId,
      epoch: number,
      drafts: NonEmptyReadonlyArray<Draft>,
      options?: { readonly urgent?: boolean }
    ) => Effect.Effect<void, JournalClosed>
    /** Adds the terminal entry if none is there: `false` says that there was one, or that the writer is no longer the owner. */
    readonly end: (job: Ids.JobId, epoch: number, terminal: Draft) => Effect.Effect<boolean>
    /** Entries after an offset (-1 for all), about as many characters as asked for, at least one entry if there is one. Never waits. */
    readonly read: (job: Ids.JobId, after: number, characters: number) => Effect.Effect<Page>
    /** The offset of the last entry; -1 if there is none. */
    readonly tip: (job: Ids.JobId) => Effect.Effect<number>
    /** Calls `wake` whenever there may be more to read, until the scope closes. A hint: it may come too often, and must be cheap. */
    readonly watch: (job: Ids.JobId, wake: () => void) => Effect.Effect<void, never, Scope.Scope>
    /** Says how far a submitter has come; nothing says that it is not attached any more. */
    readonly advance: (job: Ids.JobId, session: Ids.SessionId, offset: Option.Option<number>) => Effect.Effect<void>
    /** Forgets a job altogether. */
    readonly remove: (job: Ids.JobId) => Effect.Effect<void>
  }
>()("arcp/runtime/JobJournal") {}

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
): Stream.Stream<Page, never, JobJournal> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const journal = yield* JobJournal
      const more = yield* Latch.make(true)
      yield* journal.watch(job, () => more.openUnsafe())
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

interface Log {
  readonly id: Ids.JobId
  readonly traceId: Ids.TraceId
  readonly entries: Array<Entry>
  /** The offset of `entries[0]`. */
  first: number
  characters: number
  ended: boolean
  epoch: number
  /** The attached submitters, the first of which is the pacer. */
  readonly readers: Map<Ids.SessionId, Reader>
  readonly room: Latch.Latch
  readonly watchers: Set<() => void>
}

/** How far a submitter has come, and how many characters lie beyond that. */
interface Reader {
  offset: number
  ahead: number
}

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
    const logs = new Map<Ids.JobId, Log>()
    let total = 0

    const tip = (log: Log) => log.first + log.entries.length - 1

    /** Of several submitters the one that has been attached longest. */
    const pacerOf = (log: Log): Reader | undefined => log.readers.values().next().value

    /** What counts against the bounds. Outcomes have one of their own, `maxOutcomes`: they must not push out what running jobs say. */
    const weigh = (entry: Entry) => (entry.type === "job.event" ? entry.tail.length : 0)

    const drop = (log: Log, count: number) => {
      for (const entry of log.entries.splice(0, count)) {
        const weight = weigh(entry)
        for (const reader of log.readers.values()) if (log.first > reader.offset) reader.ahead -= weight
        log.characters -= weight
        total -= weight
        log.first++
      }
    }

    /** Drops the oldest entries of a log, of the first `most`, until no more than `target` characters are left. Never a terminal. */
    const evict = (log: Log, target: number, most: number) => {
      const droppable = Math.min(most, log.entries.length - (log.ended ? 1 : 0))
      let count = 0
      for (let left = log.characters; count < droppable && left > target; count++) left -= weigh(log.entries[count]!)
      if (count > 0) drop(log, count)
    }

    /** Room is made an eighth at a time, so that what is full does not shift its entries, or go through all logs, at each append. */
    const spared = (limit: number) => limit - limit / 8

    /** How many of a log's entries nobody waits for: all that its pacer has read, or all there are. */
    const unawaited = (log: Log): number => {
      const pacer = pacerOf(log)
      return pacer === undefined ? log.entries.length : pacer.offset + 1 - log.first
    }

    /** What a pacer has read goes first, then what none waits for, of ended jobs before running ones; in each case the oldest jobs'. */
    const evictAll = () => {
      const target = spared(config.maxJournal)
      const turns: ReadonlyArray<(log: Log) => boolean> = [
        (log) => log.readers.size > 0,
        (log) => log.ended,
        (log) => !log.ended
      ]
      for (const isDue of turns) {
        for (const log of logs.values()) {
          if (total <= target) return
          if (isDue(log)) evict(log, log.characters - (total - target), unawaited(log))
        }
      }
    }

    const push = (log: Log, draft: Draft) => {
      const tail = Codec.encodeTail({
        job_id: log.id,
        trace_id: log.traceId,
        job_seq: tip(log) + 2,
        payload: draft.payload
      })
      const entry: Entry = { type: draft.type, kind: draft.kind, tail }
      const weight = weigh(entry)
      log.entries.push(entry)
      log.characters += weight
      total += weight
      for (const reader of log.readers.values()) reader.ahead += weight
    }

    const settle = (log: Log) => {
      if (log.characters > config.maxJournalPerJob) evict(log, spared(config.maxJournalPerJob), unawaited(log))
      if (total > config.maxJournal) evictAll()
      for (const wake of log.watchers) wake()
    }

    const closed = (job: Ids.JobId, reason: JournalClosed["reason"]) => new JournalClosed({ job_id: job, reason })

    const append = (
      job: Ids.JobId,
      epoch: number,
      drafts: NonEmptyReadonlyArray<Draft>,
      options?: { readonly urgent?: boolean }
    ): Effect.Effect<void, JournalClosed> =>
      Effect.suspend(() => {
        const log = logs.get(job)
        if (log === undefined) return Effect.fail(closed(job, "unknown"))
        if (log.epoch !== epoch) return Effect.fail(closed(job, "stale"))
        if (log.ended) return Effect.fail(closed(job, "ended"))
        const window = config.pacingWindow + (options?.urgent === true ? config.pacingReserve : 0)
        const pacer = pacerOf(log)
        if (pacer !== undefined && pacer.ahead > window) {
          log.room.closeUnsafe()
          return Effect.andThen(log.room.await, append(job, epoch, drafts, options))
        }
        for (const draft of drafts) push(log, draft)
        settle(log)
        return Effect.void
      })

    return JobJournal.of({
      open: ({ id, traceId }) =>
        Effect.sync(() => {
          logs.set(id, {
            id,
            traceId,
            entries: [],
            first: 0,
            characters: 0,
            ended: false,
            epoch: 1,
            readers: new Map(),
            room: Latch.makeUnsafe(true),
            watchers: new Set()
          })
        }),
      append,
      end: (job, epoch, terminal) =>
        Effect.sync(() => {
          const log = logs.get(job)
          if (log === undefined || log.ended || log.epoch !== epoch) return false
          push(log, terminal)
          log.ended = true
          log.room.openUnsafe()
          settle(log)
          return true
        }),
      read: (job, after, characters) =>
        Effect.sync(() => {
          const log = logs.get(job)
          if (log === undefined) return { firstOffset: after + 1, entries: [], ended: true }
          const start = Math.min(log.entries.length, Math.max(0, after + 1 - log.first))
          let end = start
          for (let taken = 0; end < log.entries.length && (end === start || taken < characters); end++) {
            taken += log.entries[end]!.tail.length
          }
          return {
            firstOffset: log.first + start,
            entries: log.entries.slice(start, end),
            ended: log.ended && end === log.entries.length
          }
        }),
      tip: (job) =>
        Effect.sync(() => {
          const log = logs.get(job)
          return log === undefined ? -1 : tip(log)
        }),
      watch: (job, wake) =>
        Effect.acquireRelease(
          Effect.sync(() => logs.get(job)?.watchers.add(wake)),
          () => Effect.sync(() => logs.get(job)?.watchers.delete(wake))
        ),
      advance: (job, session, offset) =>
        Effect.sync(() => {
          const log = logs.get(job)
          if (log === undefined) return
          if (Option.isNone(offset)) {
            log.readers.delete(session)
          } else {
            const reader = log.readers.get(session) ?? { offset: log.first - 1, ahead: log.characters }
            log.readers.set(session, reader)
            for (let at = Math.max(reader.offset + 1, log.first); at <= Math.min(offset.value, tip(log)); at++) {
              reader.ahead -= weigh(log.entries[at - log.first]!)
            }
            reader.offset = Math.max(reader.offset, offset.value)
          }
          const pacer = pacerOf(log)
          if (pacer === undefined || pacer.ahead <= config.pacingWindow) log.room.openUnsafe()
        }),
      remove: (job) =>
        Effect.sync(() => {
          const log = logs.get(job)
          if (log === undefined) return
          drop(log, log.entries.length)
          logs.delete(job)
          log.room.openUnsafe()
          for (const wake of log.watchers) wake()
        })
    })
  })
)
