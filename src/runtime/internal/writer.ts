/**
 * Writes what a session has to say to the connection that it has, in turns: what has gathered is stamped, stored, and sent as one.
 *
 * There is a fiber for it only while there is something to write. Whatever is queued, or grows, {@link wake}s a connection; the fiber that
 * then begins goes on until nothing is left, and ends. A session that says nothing costs nothing.
 */
import { Array as Arr, Clock, Duration, Effect, Fiber, Option } from "effect"
import type * as Frame from "../../protocol/Frame.ts"
import * as Codec from "../../protocol/Codec.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import * as Connection from "../../session/Connection.ts"
import type * as JobEntry from "../JobEntry.ts"
import * as AckWindow from "./ackWindow.ts"
import * as AlarmClock from "./alarmClock.ts"
import * as Answers from "./answers.ts"
import * as Batch from "./batch.ts"
import * as Delivery from "./delivery.ts"
import * as Introductions from "./introductions.ts"
import * as Link from "./link.ts"
import type * as Outbox from "./outbox.ts"
import * as Replay from "./replay.ts"

/** There may be something to write. */
export const wake = (self: Outbox.Outbox): void => {
  const { link } = self
  if (link !== undefined && !link.isWriting) start(self, link, Effect.void)
}

/** Writes to a connection from now on, once this has been done. */
export const start = (self: Outbox.Outbox, link: Link.Link, first: Effect.Effect<void, Link.Failure>): void => {
  link.isWriting = true
  const writer = self.surroundings.fork(write(self, link, first))
  if (link.isWriting) link.writer = writer
}

/** Does what has something to say, as the one who then writes it if nobody writes. It must not wait. */
export const attend = (self: Outbox.Outbox, link: Link.Link, saying: Effect.Effect<void>): void => {
  if (link.isWriting) self.surroundings.fork(saying)
  else start(self, link, saying)
}

/** Writes no more; what was begun is broken off. */
export const stop = (link: Link.Link): Effect.Effect<void> =>
  Effect.suspend(() => {
    link.isWriting = true
    return link.writer === undefined ? Effect.void : Fiber.interrupt(link.writer)
  })

const hasWork = ({ afterWrite, answers, delivery }: Outbox.Outbox, { hasParted }: Link.Link): boolean =>
  !hasParted &&
  (answers.queue.length > 0 || afterWrite.length > 0 || (delivery !== undefined && delivery.marked.size > 0))

const write = Effect.fnUntraced(
  function* (self: Outbox.Outbox, link: Link.Link, first: Effect.Effect<void, Link.Failure>) {
    yield* first
    while (hasWork(self, link)) {
      // Whoever woke us runs on first: what it still has to say goes out in the same write.
      yield* Effect.yieldNow
      yield* turn(self, link)
    }
    link.isWriting = false
    link.writer = undefined
  },
  (writing, _self, link) =>
    Effect.catchCause(writing, (cause) => Effect.sync(() => Link.end(link, Effect.failCause(cause))))
)

const turn = Effect.fnUntraced(function* (self: Outbox.Outbox, link: Link.Link) {
  const written = self.afterWrite.splice(0)
  const batch = Batch.make(self.last)
  const { delivery } = self
  const { parting } = link
  Batch.addAnswers(batch, self.answers.queue, self)
  if (parting !== undefined) batch.frames.push(...parting)
  else if (delivery !== undefined) yield* Delivery.collect(self, delivery, batch)
  yield* commit(self, link, batch)
  yield* send(self, link, batch.frames)
  link.hasParted = parting !== undefined
  for (const done of written) done()
  if (delivery === undefined || link.hasParted) return
  yield* Delivery.sent(self, delivery, batch)
  yield* warn(self, delivery)
})

/** From here on the numbers are taken, whether or not the frames arrive: a resume replays what did not. */
const commit = (self: Outbox.Outbox, link: Link.Link, batch: Batch.Batch): Effect.Effect<void, Link.Failure> => {
  const { session, surroundings } = self
  const { pages, stamps } = batch
  const take = () => {
    self.last = batch.seq
    Answers.remove(self.answers, batch.answers)
  }
  if (pages.length === 0 && stamps.length === 0) return Effect.sync(take)
  return Effect.uninterruptible(
    Effect.andThen(
      Arr.isArrayNonEmpty(stamps) ? surroundings.store.stamp(session.id, link.epoch, stamps) : Effect.void,
      Effect.suspend(() => {
        take()
        const { delivery } = self
        if (delivery === undefined) return Effect.void
        Delivery.passed(self, delivery, batch)
        if (!Number.isFinite(link.takenAt)) count(self, link, delivery)
        const delegating = pages.filter(({ child }) => child !== undefined)
        return Effect.forEach(delegating, (page) => adopt(self, delivery, page), { discard: true })
      })
    )
  )
}

/** Tells the client of a child, and sends it from its first event, before its parent goes on (§10). */
const adopt = (self: Outbox.Outbox, delivery: Delivery.Delivery, { child, source }: Batch.Taken): Effect.Effect<void> =>
  Effect.flatMap(
    self.acceptanceOf(child!),
    Option.match({
      onNone: () => Effect.void,
      onSome: (acceptance) => {
        introduce(self, delivery, acceptance)
        const following = { job: child!, traceId: acceptance.trace_id!, after: -1, paces: true, parent: source.job }
        return Delivery.follow(self, delivery, following)
      }
    })
  ).pipe(
    Effect.andThen(
      Effect.sync(() => {
        delivery.marked.delete(source)
        Delivery.mark(delivery, source)
      })
    )
  )

/** Tells the client of a child, behind all that has a number by now. */
export const introduce = (self: Outbox.Outbox, delivery: Delivery.Delivery, acceptance: JobMessage.Accepted): void => {
  Introductions.note(delivery.introduced, acceptance.payload.job_id, self.last)
  Answers.add(self.answers, Codec.encode(acceptance))
}

const send = (
  { surroundings: { alarms, config } }: Outbox.Outbox,
  link: Link.Link,
  frames: ReadonlyArray<Frame.Frame>
): Effect.Effect<void, Connection.ConnectionError> =>
  Arr.isReadonlyArrayNonEmpty(frames)
    ? Effect.suspend(() => {
        link.writtenAt = AlarmClock.now(alarms) + Duration.toMillis(config.stallTimeout)
        AlarmClock.set(alarms, link.alarm, link.writtenAt)
        return Effect.map(link.line.send(frames), () => {
          link.writtenAt = Number.POSITIVE_INFINITY
          link.sentAt = AlarmClock.now(alarms)
        })
      })
    : Effect.void

/** Takes up a session that was sent something before: to a connection that resumes it, what came after a number is sent again. */
export const resume = Effect.fnUntraced(function* (self: Outbox.Outbox, link: Link.Link, from: Option.Option<number>) {
  const { delivery } = self
  if (delivery !== undefined) {
    // What the line before was to be told it was perhaps not.
    delivery.revealed.length = 0
    Delivery.markAll(delivery)
    count(self, link, delivery)
    yield* Delivery.advance(self, delivery.sources.values())
  }
  if (Option.isNone(from)) return
  yield* replay(self, link, delivery, from.value)
  if (delivery === undefined) return
  // What the line before lost, this one took.
  if (!self.declared) {
    for (const source of delivery.sources.values()) source.taken = Math.max(source.taken, source.cursor)
  }
  yield* Delivery.advance(self, delivery.sources.values())
})

const replay = Effect.fnUntraced(function* (
  self: Outbox.Outbox,
  link: Link.Link,
  delivery: Delivery.Delivery | undefined,
  seq: number
) {
  const { surroundings } = self
  const between =
    delivery === undefined
      ? new Map<number, ReadonlyArray<string>>()
      : yield* Introductions.lackingAfter(delivery.introduced, seq, self.acceptanceOf)
  const reveal = (job: Ids.JobId, page: JobEntry.Page) =>
    delivery === undefined ? Effect.succeed(page) : Delivery.reveal(self, delivery, job, page)
  yield* Replay.replay(surroundings, self, seq, surroundings.config.maxBatch, between, reveal, (frames) =>
    send(self, link, frames)
  )
})

/** Counts from now on the time in which the client has to acknowledge something, if it owes that. */
const count = ({ surroundings: { alarms, config } }: Outbox.Outbox, link: Link.Link, { window }: Delivery.Delivery) => {
  link.progress = window.progress
  link.takenAt =
    window.unread > 0 ? AlarmClock.now(alarms) + Duration.toMillis(config.stallTimeout) : Number.POSITIVE_INFINITY
  AlarmClock.set(alarms, link.alarm, link.takenAt)
}

const stalled = (message: string) => Effect.fail(new Connection.ConnectionError({ reason: "write", message }))

/**
 * Gives up a client that leaves a write waiting, or one that declared its pace and, with a full window, takes nothing more. Gives when to
 * look again.
 */
export const look = (self: Outbox.Outbox, link: Link.Link, now: number): number => {
  const { delivery } = self
  if (now >= link.writtenAt) Link.end(link, stalled("The peer does not read"))
  if (now >= link.takenAt && delivery !== undefined) {
    const { sources, window } = delivery
    const isIdle = window.unread > 0 && window.progress === link.progress
    if (isIdle && AckWindow.holdsUp(window, sources.values())) Link.end(link, stalled("The peer acknowledges nothing"))
    count(self, link, delivery)
  }
  return Math.min(link.writtenAt, link.takenAt)
}

/** Tells a client that acknowledges, but does not declare its pace, that it lags: once, until it has caught up by half. */
const warn = (self: Outbox.Outbox, delivery: Delivery.Delivery): Effect.Effect<void> => {
  const { acknowledged, declared, last, session, surroundings } = self
  const { lagWarning } = surroundings.config
  const lag = last - acknowledged
  if (declared || !session.features.has("ack")) return Effect.void
  if (self.warned) {
    self.warned = lag > lagWarning / 2
    return Effect.void
  }
  const source = lag > lagWarning ? Array.from(delivery.sources.values()).at(-1) : undefined
  if (source === undefined) return Effect.void
  self.warned = true
  return Effect.map(Clock.currentTimeMillis, (now) => {
    const tail = Delivery.status(source, now, { phase: "back_pressure", message: `consumer lag ${lag} events` })
    // Never waits to say that there is too much to wait for.
    Answers.add(self.answers, { type: "job.event", tail })
  })
}
