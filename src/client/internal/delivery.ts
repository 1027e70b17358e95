/**
 * An event on its way to those who follow its job: to whom it is new, whom it has to wait for.
 */
import { Effect } from "effect"
import * as JobEvent from "../../protocol/JobEvent.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as Message from "../../protocol/Message.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import * as ClientSession from "./clientSession.ts"
import * as EventBuffer from "./eventBuffer.ts"
import * as Family from "./family.ts"
import * as Job from "./job.ts"
import * as Pace from "./pace.ts"
import * as Requests from "./requests.ts"
import * as Unclaimed from "./unclaimed.ts"

type ClientSession = ClientSession.ClientSession

/** What an event weighs beside its own contents. */
const envelopeWeight = 256

/** The codec has checked that the body is one of its kind. */
const eventOf = (self: ClientSession, { payload }: JobMessage.Event): JobEvent.JobEvent =>
  (payload.ts === undefined
    ? { ...payload, ts: Timestamp.format(self.clock.currentTimeMillisUnsafe()) }
    : payload) as JobEvent.JobEvent

const noObservers: ReadonlySet<Job.Followed> = new Set()

/** Gives an event to all who follow the job, and have not had it. What it gives back, if anything, is to be waited for. */
export const tell = (
  self: ClientSession,
  job: Job.Job | undefined,
  observers: ReadonlySet<Job.Followed> | undefined,
  message: JobMessage.Event
): Effect.Effect<void> | undefined =>
  job !== undefined && EventBuffer.isSpilling(job.events)
    ? Effect.andThen(
        patience(job),
        Effect.suspend(() => give(self, job, observers, message) ?? Effect.void)
      )
    : give(self, job, observers, message)

/** Gives an event to a job that was accepted after it. Its number was acknowledged when it came. */
const tellHeld = (self: ClientSession, job: Job.Job, message: JobMessage.Event): void => {
  const { job_seq } = message
  const event = eventOf(self, message)
  Job.tell(job, event, weigh(event), job_seq === undefined ? {} : { job_seq })
  heardOf(self, job, event)
}

/** What an event of one of our own jobs means beyond itself. */
const heardOf = (self: ClientSession, job: Job.Job, event: JobEvent.JobEvent): void => {
  Family.told(self, job)
  Unclaimed.told(self.unclaimed, job.id)
  if (!JobEvent.is(event, "delegate")) return
  const child = Family.delegated(self, job, event.body)
  if (child !== undefined) unhold(self, child)
}

/** Gives a job what came for it before it was known; the end of it, if that is there, is for `end`. */
export const unhold = (self: ClientSession, job: Job.Job): void => {
  const held = self.held.get(job.id)
  if (held === undefined) return
  self.held.delete(job.id)
  for (const frame of held.frames) {
    // A job that ended before its submit was answered is told twice: on resuming, and on submitting it again.
    if (job.finalStatus !== undefined || !Job.isNext(job, frame.job_seq)) continue
    if (frame.type === "job.event") tellHeld(self, job, frame)
    else finish(self, job, frame)
  }
  if (held.dropped > 0) EventBuffer.skip(job.events, held.dropped)
  if (held.unread) finishUnread(self, job, "The job's outcome came before its acceptance and could not be kept")
}

/** The job has ended, and nothing more is to be heard of it. */
export const finish = (self: ClientSession, job: Job.Job, terminal: Message.Terminal): void => {
  forget(self, job)
  Job.finish(job, terminal)
  Family.ended(self, job, terminal)
}

/** As {@link finish}, but nobody can say how. */
export const finishUnread = (self: ClientSession, job: Job.Job, message: string): void => {
  forget(self, job)
  Job.finishUnread(job, message)
  Family.ended(self, job, undefined)
}

const forget = (self: ClientSession, job: Job.Job) => {
  ClientSession.forget(self, job.id)
  Unclaimed.remove(self.unclaimed, job.id)
  // Some peers acknowledge a cancellation by the job's end alone (§7.4).
  for (let cancel = Requests.cancelOf(self.requests, job.id); cancel !== undefined;) {
    Requests.cancelled(self.requests, cancel)
    cancel = Requests.cancelOf(self.requests, job.id)
  }
}

const weigh = (event: JobEvent.JobEvent) => EventBuffer.weigh(event) + envelopeWeight

const give = (
  self: ClientSession,
  job: Job.Job | undefined,
  observers: ReadonlySet<Job.Followed> = noObservers,
  message: JobMessage.Event
): Effect.Effect<void> | undefined => {
  const event = eventOf(self, message)
  const weight = weigh(event)
  let isRead = false
  let blocked: Job.Followed | undefined
  const offer = (followed: Job.Followed): boolean => {
    if (Job.passOver(followed, message.job_seq) || !Job.isNext(followed, message.job_seq)) return false
    isRead = Job.tell(followed, event, weight, message) || isRead
    if (isBlocked(self, followed)) blocked = followed
    return true
  }
  if (job !== undefined && offer(job)) heardOf(self, job, event)
  for (const observer of observers) if (offer(observer)) Family.observed(observer, event)
  if (!isRead) Pace.consumed(self.pace, 1, weight)
  return blocked === undefined ? undefined : untilRead(self, blocked)
}

/** A job may say more than is kept before the fiber that submitted it had a turn to open the stream: it gets a few. */
const patience = Effect.fnUntraced(function* (job: Job.Job) {
  for (let turn = 0; turn < 16 && EventBuffer.isSpilling(job.events); turn++) yield* Effect.yieldNow
})

/**
 * A slow reader holds up the connection, so that it loses nothing. But the reader may be slow because it waits for an answer that is to
 * come over this very connection, so while requests are under way the bounds are stretched; and a runtime that waits for acknowledgements
 * is not held up at all, since a reader of one job may wait for another.
 */
const isBlocked = (self: ClientSession, { events }: Job.Followed) =>
  self.lost === undefined &&
  (self.paced
    ? EventBuffer.isFlooded(events)
    : EventBuffer.isFull(events, self.requests.all.size === 0 && self.pings.size === 0 ? 1 : 4))

const untilRead = (self: ClientSession, followed: Job.Followed): Effect.Effect<void> =>
  Effect.suspend(() => {
    self.waiting = isBlocked(self, followed)
    if (!self.waiting) return Effect.void
    self.space.closeUnsafe()
    return Effect.andThen(self.space.await, untilRead(self, followed))
  })
