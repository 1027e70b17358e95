/**
 * The jobs that a session is sent: where it is in each of them, and which have grown since it looked. A session has this from its first job
 * on.
 */
import { Clock, Effect, Option } from "effect"
import type * as Credentials from "../../authority/Credentials.ts"
import type * as Ids from "../../protocol/Ids.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import type * as JobEntry from "../JobEntry.ts"
import type * as JobJournal from "../JobJournal.ts"
import type * as RuntimeConfig from "../RuntimeConfig.ts"
import * as AckWindow from "./ackWindow.ts"
import * as Batch from "./batch.ts"
import type * as Introductions from "./introductions.ts"
import type * as Link from "./link.ts"
import * as View from "./view.ts"

export interface Delivery {
  readonly sources: Map<Ids.JobId, AckWindow.Source>
  /** Those with something to send, perhaps. */
  readonly marked: Set<AckWindow.Source>
  /** Jobs whose outcome is on its way, or has been sent. */
  readonly told: Array<AckWindow.Source>
  /** What is to be done once values that are on their way have been sent. */
  readonly revealed: Array<Effect.Effect<void>>
  readonly window: AckWindow.AckWindow
  readonly introduced: Introductions.Introductions
  /** Called when there may be something to send. */
  readonly wake: () => void
}

/** The session that is sent them. */
interface Recipient extends Batch.Numbering {
  readonly surroundings: {
    readonly config: RuntimeConfig.RuntimeConfig
    readonly journal: JobJournal.JobJournal["Service"]
    readonly credentials: Credentials.Credentials["Service"]
  }
  /** Whether it says how much it may be sent. */
  readonly declared: boolean
  /** Its connection, if it has one. */
  readonly link: Link.Link | undefined
  /** Whether secrets may pass over the latest connection. */
  readonly secure: boolean
}

/** What is asked for of a job. */
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

/** Turns that the outcome of a job waits for what its children said. */
const maxPatience = 64

export const make = (config: AckWindow.AckWindow["config"], wake: () => void): Delivery => ({
  sources: new Map(),
  marked: new Set(),
  told: [],
  revealed: [],
  window: AckWindow.make(config),
  introduced: new Map(),
  wake
})

export const mark = (self: Delivery, source: AckWindow.Source): void => {
  self.marked.add(source)
  self.wake()
}

/** Room in the session's window is room for every job that waits for it. */
export const markAll = (self: Delivery): void => {
  for (const source of self.sources.values()) mark(self, source)
}

export const follow = Effect.fnUntraced(function* (
  { link, session, surroundings: { journal } }: Recipient,
  self: Delivery,
  { after, job, paces, parent, traceId }: Following
) {
  const followed = self.sources.get(job)
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
  self.sources.set(job, source)
  source.unwatch = yield* journal.watch(job, () => mark(self, source))
  if (paces && link !== undefined) yield* journal.advance(job, session.id, Option.some(after))
  mark(self, source)
})

export const drop = (
  { session, surroundings: { journal } }: Recipient,
  self: Delivery,
  source: AckWindow.Source
): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (self.sources.get(source.job) === source) self.sources.delete(source.job)
    self.marked.delete(source)
    if (AckWindow.forgive(self.window, source)) markAll(self)
    const paceless = source.paces ? journal.advance(source.job, session.id, Option.none()) : Effect.void
    return Effect.andThen(paceless, source.unwatch)
  })

/** Lets go of the jobs whose outcome was sent. */
export const dropTold = (recipient: Recipient, self: Delivery): Effect.Effect<void> =>
  self.told.length === 0
    ? Effect.void
    : Effect.forEach(self.told.splice(0), (source) => drop(recipient, self, source), { discard: true })

/** Says of these jobs, as far as the session paces them, how far it has come, or that it has no connection. */
export const advance = (
  { link, session, surroundings: { journal } }: Recipient,
  sources: Iterable<AckWindow.Source>
): Effect.Effect<void> =>
  Effect.forEach(
    sources,
    ({ job, paces, taken }) =>
      paces ? journal.advance(job, session.id, link === undefined ? Option.none() : Option.some(taken)) : Effect.void,
    { discard: true }
  )

/** A status of the session's own about one of its jobs. */
export const status = (
  { job, traceId }: AckWindow.Source,
  now: number,
  body: { readonly phase: string; readonly message: string }
): string =>
  `,${JSON.stringify({
    job_id: job,
    trace_id: traceId,
    payload: { kind: "status", ts: Timestamp.format(now), body }
  }).slice(1)}`

/** Whether there is something to send of its children, which ended before it did. */
const isAwaited = ({ declared }: Recipient, { marked, window }: Delivery, { job }: AckWindow.Source): boolean => {
  for (const other of marked) if (other.parent === job && !(declared && AckWindow.isBlocked(window, other))) return true
  return false
}

/** Adds a page of each marked job, as far as there is room. */
export const collect = Effect.fnUntraced(function* (recipient: Recipient, self: Delivery, batch: Batch.Batch) {
  const { declared } = recipient
  const { config, journal } = recipient.surroundings
  for (const source of Array.from(self.marked)) {
    if (batch.characters >= config.maxBatch) break
    // Unmarked before it is read, so that what is appended meanwhile marks it again, at the end of the round.
    self.marked.delete(source)
    const blocked = declared && AckWindow.isBlocked(self.window, source)
    const page = yield* journal.read(source.job, source.cursor, blocked ? 1 : config.maxBatch / 4)
    if (page.entries.length === 0 && !page.ended) continue
    // An acknowledgement marks it again; only an outcome does not wait for one.
    if (blocked && !page.ended) continue
    if (page.ended && source.patience > 0 && isAwaited(recipient, self, source)) {
      source.patience--
      self.marked.add(source)
      continue
    }
    if (page.firstOffset > source.cursor + 1) {
      const skipped = page.firstOffset - source.cursor - 1
      const message = `${skipped} events are no longer kept`
      const phase = "subscription_lagged"
      const tail = status(source, yield* Clock.currentTimeMillis, { phase, message })
      Batch.addOwn(batch, "job.event", tail, recipient)
    }
    const { child, page: sent } = Batch.untilChild(source, page, self.introduced)
    if (!sent.ended) self.marked.add(source)
    Batch.addPage(batch, source, yield* reveal(recipient, self, source.job, sent), child, recipient)
  }
})

/** What the submitter of a job is told beyond what its journal holds: the value that a credential has now (§9.8.2). */
export const reveal = (
  { secure, surroundings: { credentials } }: Recipient,
  self: Delivery,
  job: Ids.JobId,
  page: JobEntry.Page
): Effect.Effect<JobEntry.Page> =>
  secure && self.sources.get(job)?.paces === true && page.entries.some(({ note }) => note?._tag === "Rotated")
    ? Effect.map(
        Effect.forEach(page.entries, (entry) => {
          const { note } = entry
          if (note?._tag !== "Rotated") return Effect.succeed(entry)
          return Effect.map(
            credentials.value(job, note.credential),
            Option.match({
              onNone: () => entry,
              onSome: (value) => {
                self.revealed.push(credentials.told(job, note.credential, value))
                return View.revealing(entry, value)
              }
            })
          )
        }),
        (entries) => ({ ...page, entries })
      )
    : Effect.succeed(page)

/** Moves to behind what a batch holds, whose numbers are taken now. */
export const passed = ({ declared }: Recipient, self: Delivery, { pages }: Batch.Batch): void => {
  for (const page of pages) {
    const { source } = page
    // A source that was sent back meanwhile stays where it was sent.
    if (source.cursor === page.cursor) source.cursor = page.lastOffset
    if (page.ended && source.cursor === page.lastOffset) {
      // Told to the end: who asks for its past from now on follows it anew.
      if (self.sources.get(source.job) === source) self.sources.delete(source.job)
      self.told.push(source)
    } else if (declared && self.sources.get(source.job) === source) AckWindow.owe(self.window, source, page)
  }
}

/** Does what is due once a batch has been sent. */
export const sent = Effect.fnUntraced(function* (recipient: Recipient, self: Delivery, { pages }: Batch.Batch) {
  for (const told of self.revealed.splice(0)) yield* told
  for (const { lastOffset, source } of pages) {
    if (!recipient.declared) source.taken = Math.max(source.taken, lastOffset)
    if (source.paces)
      yield* recipient.surroundings.journal.advance(source.job, recipient.session.id, Option.some(source.taken))
  }
  yield* dropTold(recipient, self)
})
