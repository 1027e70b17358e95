/**
 * How far a session's consumers are, and what is to be acknowledged of it (§6.5).
 *
 * An event needs a consumer only if somebody reads its job when it comes; then it stands in the ledger of that reading until it has been
 * consumed. All else is done with on receipt. Coalesced: an acknowledgement is due after so many events, or so much text, or so much time.
 */
import { Latch } from "effect"
import type * as Ids from "../../protocol/Ids.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"

/** Events after which an acknowledgement is due, where it informs and nothing waits for it. */
const maxEvents = 32
/**
 * As much of what they weigh in memory, in bytes: within half of the window that a runtime gives a job, whatever the events look like. A
 * character weighs two bytes, so as many bytes as there are characters in the window are half of it.
 */
const maxWeight = 512 * 1024
/** Milliseconds after which an acknowledgement is due in any case. */
export const interval = 250

export interface Pace {
  /** Whether acknowledgements open a window. Then it is the window that says when one is due. */
  readonly paces: boolean
  /** What is weighed together before it is told. */
  readonly maxWeight: number
  /** The ledgers with something in them. */
  readonly open: Set<Ledger>
  /** The last number of each job, as far as it is not acknowledged. */
  readonly last: Map<Ids.JobId, number>
  /** What was said of single jobs beyond `acknowledged`. */
  readonly acknowledgedJobs: Map<Ids.JobId, number>
  acknowledged: number
  events: number
  weight: number
  /** Open while there is something to acknowledge. */
  readonly pending: Latch.Latch
  /** Open when it should not wait. */
  readonly due: Latch.Latch
}

/** What one reading of a job has yet to consume, oldest first. */
export interface Ledger {
  readonly job: Ids.JobId
  readonly runs: Array<Run>
}

/** Events that follow one another both in the reading and in the session. */
interface Run {
  offset: number
  seq: number
  count: number
  /** All of them together. */
  weight: number
}

export const make = (acknowledged: number, paces: boolean, window = maxWeight): Pace => ({
  paces,
  maxWeight: Math.min(maxWeight, window),
  open: new Set(),
  last: new Map(),
  acknowledgedJobs: new Map(),
  acknowledged,
  events: 0,
  weight: 0,
  pending: Latch.makeUnsafe(false),
  due: Latch.makeUnsafe(false)
})

/** An event of the job came under this number. */
export const received = (self: Pace, job: Ids.JobId, seq: number): void => void self.last.set(job, seq)

/** So much was consumed. */
export const consumed = (self: Pace, events: number, weight: number): void => {
  self.events += events
  self.weight += weight
  self.pending.openUnsafe()
  const isMany = self.events >= maxEvents && !self.paces
  if (isMany || self.weight >= self.maxWeight) self.due.openUnsafe()
}

export const enter = (self: Pace, ledger: Ledger, offset: number, seq: number, weight: number): void => {
  const last = ledger.runs.at(-1)
  if (last !== undefined && last.offset + last.count === offset && last.seq + last.count === seq) {
    last.count++
    last.weight += weight
    return
  }
  ledger.runs.push({ offset, seq, count: 1, weight })
  self.open.add(ledger)
}

/** All before this offset has been consumed. */
export const settle = (self: Pace, ledger: Ledger, offset: number): void => {
  const { runs } = ledger
  let whole = 0
  let count = 0
  let weight = 0
  for (; whole < runs.length && runs[whole]!.offset + runs[whole]!.count <= offset; whole++) {
    count += runs[whole]!.count
    weight += runs[whole]!.weight
  }
  runs.splice(0, whole)
  const first = runs[0]
  if (first !== undefined && first.offset < offset) {
    const done = offset - first.offset
    // As if all of a run weighed the same.
    const share = Math.round((first.weight * done) / first.count)
    first.offset += done
    first.seq += done
    first.count -= done
    first.weight -= share
    count += done
    weight += share
  }
  if (count === 0) return
  if (runs.length === 0) self.open.delete(ledger)
  consumed(self, count, weight)
}

/** The highest number up to which nothing waits for a consumer. */
export const cumulative = (self: Pace, lastSeq: number): number => {
  let seq = lastSeq
  for (const { runs } of self.open) seq = Math.min(seq, runs[0]!.seq - 1)
  return seq
}

const ofJob = (self: Pace, job: Ids.JobId, last: number): number => {
  let seq = last
  for (const ledger of self.open) if (ledger.job === job) seq = Math.min(seq, ledger.runs[0]!.seq - 1)
  return seq
}

/** What to say now, if there is anything new. */
export const take = (self: Pace, lastSeq: number): SessionMessage.Ack["payload"] | undefined => {
  self.events = 0
  self.weight = 0
  self.pending.closeUnsafe()
  self.due.closeUnsafe()
  const seq = cumulative(self, lastSeq)
  const jobs: { [job: string]: number } = {}
  for (const [job, last] of self.last) {
    if (last <= seq) {
      self.last.delete(job)
      self.acknowledgedJobs.delete(job)
      continue
    }
    const own = ofJob(self, job, last)
    if (own <= seq || own <= (self.acknowledgedJobs.get(job) ?? 0)) continue
    self.acknowledgedJobs.set(job, own)
    jobs[job] = own
  }
  const some = Object.keys(jobs).length > 0
  if (seq <= self.acknowledged && !some) return undefined
  self.acknowledged = Math.max(seq, self.acknowledged)
  return { last_processed_seq: self.acknowledged, ...(some ? { jobs } : undefined) }
}

/** The next connection is told anew. */
export const forget = (self: Pace): void => {
  self.acknowledged = -1
  self.acknowledgedJobs.clear()
  self.pending.openUnsafe()
  self.due.openUnsafe()
}
