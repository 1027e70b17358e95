/**
 * What a client that declares its pace was sent and has not acknowledged: per job, and over all (§6.5).
 */
import type { Effect } from "effect"
import type * as Ids from "../../protocol/Ids.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import type * as RuntimeConfig from "../RuntimeConfig.ts"
import type * as Batch from "./batch.ts"

/** A page that is not yet acknowledged. */
interface Unread {
  readonly lastSeq: number
  lastOffset: number
  readonly characters: number
}

/** A job that a session is sent. */
export interface Source {
  readonly job: Ids.JobId
  readonly traceId: Ids.TraceId
  /** The job that delegated it, if the session is sent it for that. */
  readonly parent: Ids.JobId | undefined
  /** How often its outcome may yet wait for what is to be sent of its children. */
  patience: number
  paces: boolean
  /** Lets go of the job's journal. */
  unwatch: Effect.Effect<void>
  /** The offset of the last entry that was stamped or passed over. */
  cursor: number
  /** The offset up to which the client has read. */
  taken: number
  /** Oldest first; only for a client that declares its pace. */
  readonly unread: Array<Unread>
  unreadCharacters: number
}

export interface AckWindow {
  /** Whether a job may be sent no more for now. */
  readonly isBlocked: (source: Source) => boolean
  /** Whether the window of the session as a whole is full. */
  readonly isFull: () => boolean
  /** Characters that wait for an acknowledgement. */
  readonly unread: () => number
  /** Grows with each acknowledgement that frees something. */
  readonly progress: () => number
  /** Waits for the acknowledgement of a page. */
  readonly owe: (page: Batch.Taken) => void
  /** Forgets what a job owes; `true` if that makes room. */
  readonly forgive: (source: Source) => boolean
  /** Takes an acknowledgement of numbers up to `upTo`, or further where it says so of a job. Gives the jobs that advanced. */
  readonly acknowledge: (
    sources: Iterable<Source>,
    upTo: number,
    jobs: SessionMessage.Ack["payload"]["jobs"],
    last: number
  ) => ReadonlyArray<Source>
}

export const make = (config: RuntimeConfig.RuntimeConfig): AckWindow => {
  let unread = 0
  let progress = 0
  const isFull = () => unread >= config.sessionWindow
  return {
    isFull,
    isBlocked: (source) => source.unreadCharacters >= config.pacingWindow || isFull(),
    unread: () => unread,
    progress: () => progress,
    owe: ({ characters, lastOffset, lastSeq, source }) => {
      const before = source.unread.at(-1)
      // What the client is not shown it cannot acknowledge: that goes with what came before.
      if (characters > 0) source.unread.push({ characters, lastOffset, lastSeq })
      else if (before !== undefined) before.lastOffset = lastOffset
      else source.taken = lastOffset
      source.unreadCharacters += characters
      unread += characters
    },
    forgive: (source) => {
      unread -= source.unreadCharacters
      const freed = source.unreadCharacters > 0
      source.unreadCharacters = 0
      return freed
    },
    acknowledge: (sources, upTo, jobs, last) => {
      const advanced: Array<Source> = []
      for (const source of sources) {
        const named = jobs !== undefined && Object.hasOwn(jobs, source.job) ? Math.min(jobs[source.job]!, last) : 0
        const read = source.unread.findIndex(({ lastSeq }) => lastSeq > Math.max(upTo, named))
        const pages = source.unread.splice(0, read < 0 ? source.unread.length : read)
        for (const { characters, lastOffset } of pages) {
          source.taken = Math.max(source.taken, lastOffset)
          source.unreadCharacters -= characters
          unread -= characters
        }
        if (pages.length === 0) continue
        progress++
        advanced.push(source)
      }
      return advanced
    }
  }
}
