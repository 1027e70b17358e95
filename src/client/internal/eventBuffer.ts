/**
 * The events of one job between the connection and those who read them: bounded, from the first event on, for any number of readers.
 *
 * Nothing that an active reader has not taken is ever evicted; while one is behind, {@link isFull} tells the connection to wait. When
 * nobody reads, the oldest events give way, and a stream that is opened later is told how many.
 */
import { Array as Arr, Cause, Effect, Latch, type Scope, Stream } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobEvent from "../../protocol/JobEvent.ts"
import type * as ClientError from "../ClientError.ts"
import * as Pace from "./pace.ts"

interface Reader {
  /** The offset of the event that it takes next. */
  position: number
  /** The offset up to which it is done with what it took: it has asked for more. */
  done: number
}

export interface EventBuffer {
  readonly maxEvents: number
  readonly maxBytes: number
  entries: Array<JobEvent.JobEvent>
  /** What each of them weighs. */
  weights: Array<number>
  bytes: number
  /** The offset of the oldest entry: how many there were before it. */
  first: number
  /** How it ended: with the job, or with the session. */
  end: "running" | "done" | ClientError.EventsError
  /** Nobody can read it. */
  discarded: boolean
  readonly readers: Set<Reader>
  readonly changed: Latch.Latch
  /** Opened whenever a reader moves on; shared by the buffers of a session, whose connection waits at it. */
  readonly space: Latch.Latch
  readonly pace: Pace.Pace
  readonly ledger: Pace.Ledger
  /** Where the consumer says itself how far it is, the offset of each event. */
  readonly offsets: WeakMap<JobEvent.JobEvent, number> | undefined
  /** The offset up to which it has said so. */
  processed: number
}

export interface Options {
  readonly job: Ids.JobId
  readonly maxEvents: number
  readonly maxBytes: number
  readonly space: Latch.Latch
  readonly pace: Pace.Pace
  /** Whether what a reader takes is consumed only when its consumer says so. */
  readonly manual: boolean
}

export const make = ({ job, manual, ...options }: Options): EventBuffer => ({
  ...options,
  ledger: { job, runs: [] },
  offsets: manual ? new WeakMap() : undefined,
  processed: 0,
  entries: [],
  weights: [],
  bytes: 0,
  first: 0,
  end: "running",
  discarded: false,
  readers: new Set(),
  changed: Latch.makeUnsafe(false)
})

const exceeds = (self: EventBuffer, factor: number) =>
  self.entries.length > self.maxEvents * factor || self.bytes > self.maxBytes * factor

const trim = (self: EventBuffer) => {
  if (!exceeds(self, 1)) return
  let behind = Infinity
  for (const reader of self.readers) behind = Math.min(behind, reader.position)
  let count = 0
  // An eighth at a time, so that a full buffer does not shift its entries at each event.
  const [maxEvents, maxBytes] = [self.maxEvents * 0.875, self.maxBytes * 0.875]
  while (
    self.first + count < behind &&
    (self.entries.length - count > maxEvents || self.bytes > maxBytes) &&
    count < self.entries.length
  ) {
    self.bytes -= self.weights[count++]!
  }
  if (count === 0) return
  self.entries.splice(0, count)
  self.weights.splice(0, count)
  self.first += count
}

/** Takes one more event; `seq` is its number in the session, if it has one. Whether somebody has yet to consume it. */
export const append = (
  self: EventBuffer,
  event: JobEvent.JobEvent,
  weight: number,
  seq: number | undefined
): boolean => {
  if (self.end !== "running") return false
  if (self.discarded) {
    self.first++
    return false
  }
  const offset = self.first + self.entries.length
  const isRead = self.readers.size > 0 && seq !== undefined
  if (isRead) Pace.enter(self.pace, self.ledger, offset, seq, weight)
  self.offsets?.set(event, offset)
  self.entries.push(event)
  self.weights.push(weight)
  self.bytes += weight
  trim(self)
  self.changed.openUnsafe()
  return isRead
}

/** What all readers are done with is consumed; without any, everything is. */
const settle = (self: EventBuffer) => {
  let done = self.offsets === undefined || self.readers.size === 0 ? Infinity : self.processed
  if (self.offsets === undefined) for (const reader of self.readers) done = Math.min(done, reader.done)
  Pace.settle(self.pace, self.ledger, done)
}

/** The consumer is done with this event and all before it. */
export const acknowledge = (self: EventBuffer, event: JobEvent.JobEvent): void => {
  const offset = self.offsets?.get(event)
  if (offset === undefined || offset < self.processed) return
  self.processed = offset + 1
  settle(self)
}

/** Counts events that were lost before they came here. */
export const skip = (self: EventBuffer, count: number): void => {
  self.first += count
}

/** Whether a reader is so far behind that the connection has to wait; `factor` stretches the bounds. */
export const isFull = (self: EventBuffer, factor: number): boolean => self.readers.size > 0 && exceeds(self, factor)

/** As {@link isFull}, where the runtime waits for acknowledgements: only one that does not keep to its window gets here. */
export const isFlooded = (self: EventBuffer): boolean => self.readers.size > 0 && self.bytes > self.maxBytes * 4

/** Whether the next event would push one out that nobody has read. */
export const isSpilling = (self: EventBuffer): boolean =>
  self.readers.size === 0 &&
  self.first === 0 &&
  !self.discarded &&
  (self.entries.length >= self.maxEvents || self.bytes >= self.maxBytes)

/** No more events: the job has ended, or the session with this error. */
export const end = (self: EventBuffer, how: "done" | ClientError.EventsError): void => {
  if (self.end !== "running") return
  self.end = how
  self.changed.openUnsafe()
}

/** Lets go of all events, those to come included: nobody has a handle to read them with. */
export const discard = (self: EventBuffer): void => {
  self.discarded = true
  self.first += self.entries.length
  self.entries = []
  self.weights = []
  self.bytes = 0
}

/** Takes events in again: somebody has a handle after all. */
export const keep = (self: EventBuffer): void => {
  self.discarded = false
}

const pageSize = 256

const pull = (
  self: EventBuffer,
  reader: Reader
): Effect.Effect<NonEmptyReadonlyArray<JobEvent.JobEvent>, ClientError.EventsError | Cause.Done> =>
  Effect.suspend(() => {
    reader.done = reader.position
    settle(self)
    const from = reader.position - self.first
    const page = self.entries.slice(from, from + pageSize)
    if (Arr.isArrayNonEmpty(page)) {
      reader.position += page.length
      trim(self)
      self.space.openUnsafe()
      return Effect.succeed(page)
    }
    if (self.end === "done") return Cause.done()
    if (self.end !== "running") return Effect.fail(self.end)
    self.changed.closeUnsafe()
    // Whoever opens the latch runs on first: what else has come in is in the same page.
    return self.changed.await.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(pull(self, reader)))
  })

/** Reads all events from the oldest that is kept; whatever comes from now on waits for this reader. */
export const open = (
  self: EventBuffer
): Effect.Effect<Stream.Stream<JobEvent.JobEvent, ClientError.EventsError>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const reader: Reader = { position: self.first, done: self.first }
        self.readers.add(reader)
        return reader
      }),
      (reader) =>
        Effect.sync(() => {
          self.readers.delete(reader)
          settle(self)
          trim(self)
          self.space.openUnsafe()
        })
    ),
    (reader) => Stream.fromPull(Effect.succeed(pull(self, reader)))
  )

/** That the beginning is no longer there. */
export const expired = (dropped: number, code?: string) =>
  new ArcpError.ResumeWindowExpired({
    message: `The first ${dropped} events of the job are no longer kept`,
    details: { dropped, ...(code === undefined ? undefined : { code }) }
  })

/** All events from the first on; if the first are gone, what `late` finds instead. */
export const stream = (
  self: EventBuffer,
  late: (dropped: number) => Stream.Stream<JobEvent.JobEvent, ClientError.EventsError>
): Stream.Stream<JobEvent.JobEvent, ClientError.EventsError> =>
  Stream.unwrap(Effect.suspend(() => (self.first > 0 ? Effect.succeed(late(self.first)) : open(self))))

/** What a value takes in memory, roughly, in bytes. The codec has seen to it that nothing is too deep to go through. */
export const weigh = (value: unknown): number => {
  if (typeof value === "string") return 16 + value.length * 2
  if (typeof value !== "object" || value === null) return 16
  let weight = 16
  if (Array.isArray(value)) for (const item of value) weight += weigh(item)
  else for (const key in value) weight += key.length * 2 + weigh(value[key as keyof typeof value])
  return weight
}
