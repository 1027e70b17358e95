/**
 * What one session was sent, in order: the memory behind replay (§6.3, §8.3).
 *
 * It holds no event. Events stay in the journals of their jobs, once, however many sessions follow; here stands only which of them took
 * which numbers, so a million events cost a few entries. Replay reads it and decides nothing anew: the same numbers, the same frames.
 *
 * The log changes in place, synchronously, with its session as the only writer.
 *
 * @since 0.1.0
 */
import type * as Ids from "../protocol/Ids.ts"

/**
 * `count` consecutive entries of a job's journal, from `firstOffset`, that were sent under consecutive numbers from `firstSeq`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly _tag: "Range"
  readonly firstSeq: number
  readonly job: Ids.JobId
  readonly firstOffset: number
  readonly count: number
}

/**
 * A frame that has a number but stands in no journal, such as the refusal of a submit. `tail` is its text after the head.
 *
 * @category models
 * @since 0.1.0
 */
export interface Own {
  readonly _tag: "Own"
  readonly firstSeq: number
  readonly type: string
  readonly tail: string
}

/**
 * Numbers that were given, and to what.
 *
 * @category models
 * @since 0.1.0
 */
export type Stamp = Range | Own

/**
 * The numbers that a session has given, oldest first.
 *
 * @category models
 * @since 0.1.0
 */
export interface StampLog {
  readonly stamps: Array<Stamp>
  /** The highest number given; 0 before the first. */
  last: number
  /** Numbers up to here can no longer be replayed. */
  floor: number
  /** What the stamps count for, see {@link append}. */
  weight: number
}

/**
 * A session that has sent nothing yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): StampLog => ({ stamps: [], last: 0, floor: 0, weight: 0 })

/**
 * How many numbers a stamp takes.
 *
 * @category getters
 * @since 0.1.0
 */
export const width = (stamp: Stamp): number => (stamp._tag === "Own" ? 1 : stamp.count)

/** Characters of a frame that take about as much memory as a stamp. */
const charactersPerStamp = 256

/** A frame that is kept for its stamp counts for as many as it is long: who is refused often must not fill the memory with it. */
const weightOf = (stamp: Stamp): number =>
  stamp._tag === "Own" ? 1 + Math.floor(stamp.tail.length / charactersPerStamp) : 1

/**
 * Notes what the next numbers stand for. A stamp that does not begin right after the last one is a mistake of the caller and throws.
 * Beyond `limit` stamps the oldest are forgotten and the floor rises; a long frame counts for several.
 *
 * @category combinators
 * @since 0.1.0
 */
export const append = (log: StampLog, stamp: Stamp, limit: number): void => {
  if (stamp.firstSeq !== log.last + 1) throw new RangeError(`stamp ${stamp.firstSeq} does not follow ${log.last}`)
  log.last += width(stamp)
  const previous = log.stamps.at(-1)
  if (
    stamp._tag === "Range" &&
    previous?._tag === "Range" &&
    previous.job === stamp.job &&
    previous.firstOffset + previous.count === stamp.firstOffset
  ) {
    log.stamps[log.stamps.length - 1] = { ...previous, count: previous.count + stamp.count }
    return
  }
  log.stamps.push(stamp)
  log.weight += weightOf(stamp)
  // Forgetting in large steps keeps the cost of each append constant.
  if (log.weight <= limit * 1.25) return
  let kept = 0
  let weight = log.weight
  while (weight > limit && kept < log.stamps.length - 1) weight -= weightOf(log.stamps[kept++]!)
  release(log, log.stamps[kept]!.firstSeq - 1)
}

/**
 * Forgets what was sent up to and including `seq`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const release = (log: StampLog, seq: number): void => {
  if (seq <= log.floor) return
  log.floor = Math.min(seq, log.last)
  const keep = log.stamps.findIndex((stamp) => stamp.firstSeq + width(stamp) > log.floor + 1)
  for (const gone of log.stamps.splice(0, keep < 0 ? log.stamps.length : keep)) log.weight -= weightOf(gone)
}

/**
 * What was sent after `seq`, the first range clipped to begin there; nothing if the log does not reach back that far, or has not come that
 * far.
 *
 * @category getters
 * @since 0.1.0
 */
export const since = (log: StampLog, seq: number): ReadonlyArray<Stamp> | undefined => {
  if (seq < log.floor || seq > log.last) return undefined
  const start = log.stamps.findIndex((stamp) => stamp.firstSeq + width(stamp) > seq + 1)
  if (start < 0) return []
  const [first, ...rest] = log.stamps.slice(start) as [Stamp, ...Array<Stamp>]
  const skip = Math.max(0, seq + 1 - first.firstSeq)
  return first._tag === "Own" || skip === 0
    ? [first, ...rest]
    : [{ ...first, firstSeq: seq + 1, firstOffset: first.firstOffset + skip, count: first.count - skip }, ...rest]
}

/**
 * The journal offset up to which a session that had received `seq` knew this job: how a number of the submitter's sequence becomes a place
 * in the job's own. Nothing if the log does not reach back that far.
 *
 * @category getters
 * @since 0.1.0
 */
export const offsetAt = (log: StampLog, job: Ids.JobId, seq: number): number | undefined => {
  let offset: number | undefined
  for (const stamp of log.stamps) {
    if (stamp.firstSeq > seq) break
    if (stamp._tag === "Range" && stamp.job === job) {
      const known = stamp.firstOffset + Math.min(stamp.count, seq - stamp.firstSeq + 1) - 1
      // What is sent again is known already.
      offset = Math.max(offset ?? known, known)
    }
  }
  return offset
}
