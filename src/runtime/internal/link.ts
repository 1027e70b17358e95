/**
 * One connection at work for a session: what they share who read from it, write to it, and look after it. Whichever of them first finds that
 * it is over says so.
 */
import { Deferred, type Effect, type Fiber } from "effect"
import type * as Frame from "../../protocol/Frame.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import type * as Connection from "../../session/Connection.ts"
import type * as SessionStore from "../SessionStore.ts"
import * as AlarmClock from "./alarmClock.ts"
import type * as Replay from "./replay.ts"

/** Why the runtime ends a conversation. */
export type Dismissal = "superseded" | "shutting_down" | "idle" | "closed"

/** What ended a conversation. */
export type Outcome =
  | { readonly _tag: "Said"; readonly message: SessionMessage.Close | SessionMessage.Bye }
  | { readonly _tag: "Dismissed"; readonly reason: Dismissal }
  | { readonly _tag: "Malformed" }
  | { readonly _tag: "Lost" }
  | { readonly _tag: "Expired" }

/** What made it impossible to go on. */
export type Failure = Connection.ConnectionError | SessionStore.StaleEpoch | Replay.Uncovered

/** Times are milliseconds of the monotonic clock; what is not to be expected has none that comes. */
export interface Link {
  readonly line: Connection.Line
  readonly epoch: number
  readonly ended: Deferred.Deferred<Outcome, Failure>
  /** Rings when there may be something that time has done to it. */
  readonly alarm: AlarmClock.Alarm
  /** When the credentials of its client expire. */
  readonly expiresAt: number
  sentAt: number
  receivedAt: number
  pingedAt: number
  /** When the client last asked for something. */
  askedAt: number
  /** When it is to be looked whether the session is of use. */
  idleAt: number
  /** Whether a job was delivered when that was looked at last. */
  wasBusy: boolean
  reader: Fiber.Fiber<Outcome, Connection.ConnectionError> | undefined
  /** Whether somebody writes - there is never more than one - or nobody is to any more, as that failed or was stopped. */
  isWriting: boolean
  /** Who writes, as long as there is something to write. */
  writer: Fiber.Fiber<void> | undefined
  /** What to say last, once that is settled: answers that wait go before it, and what jobs say stays where it is. */
  parting: ReadonlyArray<Frame.Frame> | undefined
  /** Whether that was said: nothing follows it. */
  hasParted: boolean
  /** When a write that has begun must be done. */
  writtenAt: number
  /** When a client that owes acknowledgements must have acknowledged something. */
  takenAt: number
  /** How often it had by the time from which that is counted. */
  progress: number
}

/** A connection that begins now. */
export const make = (
  begins: Pick<Link, "line" | "epoch"> & {
    readonly expiresAt?: number | undefined
    readonly idleAt?: number
    readonly wasBusy?: boolean
  },
  now: number,
  ring: AlarmClock.Alarm["ring"]
): Link => ({
  line: begins.line,
  epoch: begins.epoch,
  ended: Deferred.makeUnsafe(),
  alarm: AlarmClock.alarm(ring),
  expiresAt: begins.expiresAt ?? never,
  sentAt: now,
  receivedAt: now,
  pingedAt: Number.NEGATIVE_INFINITY,
  askedAt: now,
  idleAt: begins.idleAt ?? never,
  wasBusy: begins.wasBusy ?? false,
  reader: undefined,
  isWriting: false,
  writer: undefined,
  parting: undefined,
  hasParted: false,
  writtenAt: never,
  takenAt: never,
  progress: 0
})

const never = Number.POSITIVE_INFINITY

/** Says that it is over, unless somebody has said so already. */
export const end = (self: Link, how: Effect.Effect<Outcome, Failure>): void => {
  Deferred.doneUnsafe(self.ended, how)
}

export const isOver = (self: Link): boolean => Deferred.isDoneUnsafe(self.ended)
