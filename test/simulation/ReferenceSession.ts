/**
 * What the reference client remembers: its session, what it asked, and the jobs that it follows.
 */
import type { Deferred, Latch } from "effect"

export interface Frame {
  readonly id: string
  readonly type: string
  readonly session_id?: string
  readonly job_id?: string
  readonly event_seq?: number
  readonly job_seq?: number
  readonly payload: { readonly [member: string]: unknown }
}

export interface Session {
  readonly id: string
  token: string
  /** The last number received. */
  last: number
  /** The highest number acknowledged. */
  acknowledged: number
  /** Numbers received whose frames are not yet processed, lowest first. */
  readonly unprocessed: Set<number>
  /** The last number processed, by job. */
  readonly processed: Map<string, number>
}

/** Something asked and not yet answered. */
export interface Call {
  readonly frame: (id: string) => object
  readonly reply: Deferred.Deferred<Frame>
}

export interface View {
  readonly job: string
  /** The place in the job up to which all was received. */
  last: number | undefined
  /** What waits for the consumer. */
  readonly queue: Array<{ readonly session: Session; readonly frame: Frame }>
  readonly filled: Latch.Latch
  ended: boolean
  /** The runtime said that what comes next is no longer kept. */
  lagged: boolean
  /** Asked for from now on, when nothing more was to come. */
  missed: boolean
  /** How to ask for the job again in another session. */
  again: ((id: string) => object) | undefined
}

export const parse = (text: string): Frame => JSON.parse(text)
