/**
 * What a client that declares its pace was sent and has not acknowledged: per job, and over all (§6.5).
 */
import type { Effect } from "effect"
import type * as Ids from "../../protocol/Ids.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import type * as RuntimeConfig from "../RuntimeConfig.ts"

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
  readonly config: Pick<RuntimeConfig.RuntimeConfig, "pacingWindow" | "sessionWindow">
  /** Characters that wait for an acknowledgement. */
  unread: number
  /** Grows with each acknowledgement that frees something. */
  progress: number
}

export const make = (config: AckWindow["config"]): AckWindow => ({ config, unread: 0, progress: 0 })

/** Whether the window of the session as a whole is full. */
const isFull = (self: AckWindow): boolean => self.unread >= self.config.sessionWindow

/** Whether a job may be sent no more for now. */
export const isBlocked = (self: AckWindow, source: Source): boolean =>
  source.unreadCharacters >= self.config.pacingWindow || isFull(self)

/** Whether something waits for an acknowledgement that could go out otherwise. */
export const holdsUp = (self: AckWindow, sources: Iterable<Source>): boolean => {
  if (isFull(self)) return true
  for (const source of sources) if (isBlocked(self, source)) return true
  return false
}

/** Waits for the acknowledgement of a page. */
export const owe = (self: AckWindow, source: Source, { characters, lastOffset, lastSeq }: Readonly<Unread>): void => {
  const before = source.unread.at(-1)
  // What the client is not shown it cannot acknowledge: that goes with what came before.
  if (characters > 0) source.unread.push({ characters, lastOffset, lastSeq })
  else if (before !== undefined) before.lastOffset = lastOffset
  else source.taken = lastOffset
  source.unreadCharacters += characters
  self.unread += characters
}

/** Forgets what a job owes; `true` if that makes room. */
export const forgive = (self: AckWindow, source: Source): boolean => {
  self.unread -= source.unreadCharacters
  const freed = source.unreadCharacters > 0
  source.unreadCharacters = 0
  return freed
}

/** Takes an acknowledgement of numbers up to `upTo`, or further where it says so of a job. Gives the jobs that advanced. */
export const acknowledge = (
  self: AckWindow,
  sources: Iterable<Source>,
  upTo: number,
  jobs: SessionMessage.Ack["payload"]["jobs"],
  last: number
): ReadonlyArray<Source> => {
  const advanced: Array<Source> = []
  for (const source of sources) {
    const named = jobs !== undefined && Object.hasOwn(jobs, source.job) ? Math.min(jobs[source.job]!, last) : 0
    const read = source.unread.findIndex(({ lastSeq }) => lastSeq > Math.max(upTo, named))
    const pages = source.unread.splice(0, read < 0 ? source.unread.length : read)
    for (const { characters, lastOffset } of pages) {
      source.taken = Math.max(source.taken, lastOffset)
      source.unreadCharacters -= characters
      self.unread -= characters
    }
    if (pages.length === 0) continue
    self.progress++
    advanced.push(source)
  }
  return advanced
}
