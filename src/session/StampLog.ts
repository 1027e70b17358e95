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
}

/**
 * A session that has sent nothing yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): StampLog => ({ stamps: [], last: 0, floor: 0 })

/**
 * How many numbers a stamp takes.
 *
 * @category getters
 * @since 0.1.0
 */
export const width = (stamp: Stamp): number => (stamp._tag === "Own" ? 1 : stamp.count)

/**
 * Notes what the next numbers stand for. A stamp that does not begin right after the last one is a mistake of the caller and throws.
 * Beyond `limit` stamps the oldest are forgotten and the floor rises.
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
  // Forgetting in large steps keeps the cost of each append constant.
  if (log.stamps.length > limit * 1.25) release(log, log.stamps[log.stamps.length - limit]!.firstSeq - 1)
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
  log.stamps.splice(0, keep < 0 ? log.stamps.length : keep)
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
