/**
 * The journal of one job in memory: what it has said, what it has spent, and how far its submitters have come.
 */
import { type Latch, Option } from "effect"
import * as Budget from "../../authority/Budget.ts"
import type * as Ids from "../../protocol/Ids.ts"
import * as ChunkedLog from "./chunkedLog.ts"

export interface MemoryJournal {
  readonly log: ChunkedLog.ChunkedLog
  ledger: Array<Budget.Entry>
  /** How many of them it may have before they are made fewer. */
  maxLedger: number
  readonly epoch: number
  /** The attached submitters, the first of which is the pacer. */
  readers: Map<Ids.SessionId, Reader> | undefined
  /** Where an append waits for one. */
  room: Latch.Latch | undefined
  watchers: Set<() => void> | undefined
}

/** How far a submitter has come, and what all up to there weighs. */
interface Reader {
  readonly offset: number
  readonly weight: number
}

/** Entries that a ledger may have in any case; holds that are open stay, and may be more. */
const minLedger = 1024

export const make = (job: { readonly id: Ids.JobId; readonly traceId: Ids.TraceId }): MemoryJournal => ({
  log: ChunkedLog.make(job),
  ledger: [],
  maxLedger: minLedger,
  epoch: 1,
  readers: undefined,
  room: undefined,
  watchers: undefined
})

/** Of several submitters the one that has been attached longest. */
const pacerOf = (self: MemoryJournal): Reader | undefined => self.readers?.values().next().value

/** How far the job is ahead of its pacer. */
export const lead = (self: MemoryJournal): number => {
  const pacer = pacerOf(self)
  return pacer === undefined ? 0 : self.log.written - Math.max(pacer.weight, self.log.dropped)
}

/** How many of the entries nobody waits for: all that the pacer has read, or all there are. */
export const unawaited = (self: MemoryJournal): number =>
  (pacerOf(self)?.offset ?? self.log.next - 1) + 1 - self.log.first

/** A submitter has come this far; nothing says that it is not attached any more. */
export const advance = (self: MemoryJournal, session: Ids.SessionId, offset: Option.Option<number>): void => {
  const { log } = self
  const readers = self.readers ?? new Map<Ids.SessionId, Reader>()
  if (Option.isNone(offset)) readers.delete(session)
  else {
    const reached = Math.max(readers.get(session)?.offset ?? log.first - 1, offset.value)
    readers.set(session, { offset: reached, weight: ChunkedLog.weightUpTo(log, reached) })
  }
  self.readers = readers.size === 0 ? undefined : readers
}

/** Adds to what the job has spent and set aside. */
export const note = (self: MemoryJournal, entries: ReadonlyArray<Budget.Entry>): void => {
  self.ledger.push(...entries)
  if (self.ledger.length <= self.maxLedger) return
  self.ledger = [...Budget.compact(self.ledger)]
  // Twice what is left, so that many open holds are not gone through at each entry.
  self.maxLedger = Math.max(minLedger, self.ledger.length * 2)
}
