/**
 * Everything that leaves a session, in one place and one order.
 *
 * Jobs do not push. Each followed journal leaves a mark when it has grown, and one fiber goes round: answers first, then a page from each
 * marked journal in turn, stamped with the session's next numbers, stored, and written together. So an answer never waits behind a flood, no
 * job starves another, and a session that is slow is behind, not full: what it has not taken stays where it is, in the journal.
 *
 * **Stamp, store, send.** A number is given once. The stamp is in the store before the frame leaves, and only the current epoch can store
 * one, so a connection that was superseded falls silent. What a connection did not deliver the next one replays from the stamps: the same
 * numbers, the same frames.
 *
 * **Windows.** A client that declares it (see `Feature.declaration`) paces what it is sent by its acknowledgements: a job of which it has
 * a window's worth unread waits, and only that job, within a larger window of the session. For any other client the line itself is the
 * pace, and a lag is only told. An outcome never waits.
 *
 * **Silence costs nothing.** Most sessions say nothing most of the time. So an outbox is a record of what differs from one session to the
 * next, and all that it does are functions over that record; what has to do with jobs is there from the first job on; and the fiber that
 * writes is there while there is something to write.
 *
 * @since 0.1.0
 */
import { Context, Effect, Option, type Scope, Tracer } from "effect"
import * as Credentials from "../authority/Credentials.ts"
import * as Codec from "../protocol/Codec.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as JobMessage from "../protocol/JobMessage.ts"
import type * as Message from "../protocol/Message.ts"
import type * as SessionMessage from "../protocol/SessionMessage.ts"
import * as AckWindow from "./internal/ackWindow.ts"
import * as AlarmClock from "./internal/alarmClock.ts"
import * as Answers from "./internal/answers.ts"
import type * as Batch from "./internal/batch.ts"
import * as Delivery from "./internal/delivery.ts"
import type * as Introductions from "./internal/introductions.ts"
import type * as Link from "./internal/link.ts"
import type * as Outbox from "./internal/outbox.ts"
import * as Replay from "./internal/replay.ts"
import * as Writer from "./internal/writer.ts"
import * as JobJournal from "./JobJournal.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"
import * as SessionStore from "./SessionStore.ts"

/**
 * What all outboxes of a runtime have in common.
 *
 * @category models
 * @since 0.1.0
 */
export type Surroundings = Outbox.Surroundings

/**
 * A job that a session is sent.
 *
 * @category models
 * @since 0.1.0
 */
export type Following = Delivery.Following

/**
 * What one session has to send.
 *
 * @category models
 * @since 0.1.0
 */
export type SessionOutbox = Outbox.Outbox

/**
 * What the outboxes of this runtime share.
 *
 * @category constructors
 * @since 0.1.0
 */
export const surroundings: Effect.Effect<
  Surroundings,
  never,
  JobJournal.JobJournal | SessionStore.SessionStore | Credentials.Credentials | Scope.Scope
> = Effect.gen(function* () {
  return {
    config: yield* RuntimeConfig.RuntimeConfig,
    journal: yield* JobJournal.JobJournal,
    store: yield* SessionStore.SessionStore,
    credentials: yield* Credentials.Credentials,
    alarms: yield* AlarmClock.make,
    // What sessions do is no part of what made the runtime.
    fork: Effect.runForkWith(Context.omit(Tracer.ParentSpan)(yield* Effect.context<never>()))
  }
})

/**
 * An outbox with nothing in it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  surroundings: Surroundings,
  session: Batch.Numbering["session"],
  /** The acceptance of a job that one of the session's own has delegated. Must not wait. */
  acceptanceOf: Introductions.AcceptanceOf
): SessionOutbox => ({
  surroundings,
  session,
  acceptanceOf,
  head: undefined,
  declared: session.profile === "effect" && session.features.has("ack"),
  answers: Answers.make(),
  afterWrite: [],
  delivery: undefined,
  link: undefined,
  secure: false,
  last: 0,
  acknowledged: 0,
  warned: false
})

const put = (self: SessionOutbox, answer: Answers.Answer): void => {
  Answers.add(self.answers, answer)
  Writer.wake(self)
}

/**
 * Done once not too many answers wait.
 *
 * @category combinators
 * @since 0.1.0
 */
export const room = ({ answers, surroundings }: SessionOutbox): Effect.Effect<void> =>
  Answers.room(answers, surroundings.config.maxPendingReplies)

const queue = (self: SessionOutbox, answer: Answers.Answer): Effect.Effect<void> =>
  Effect.map(room(self), () => put(self, answer))

/**
 * Sends a frame without a number, before all events. Suspends while too many wait.
 *
 * @category combinators
 * @since 0.1.0
 */
export const reply = (self: SessionOutbox, message: Message.FromRuntime): Effect.Effect<void> =>
  queue(self, Codec.encode(message))

/**
 * As {@link reply}, but never suspends: for a frame that must not be parted from what it tells of. Await {@link room} before.
 *
 * @category combinators
 * @since 0.1.0
 */
export const tell = (self: SessionOutbox, message: Message.FromRuntime): Effect.Effect<void> =>
  Effect.sync(() => put(self, Codec.encode(message)))

/**
 * As {@link tell}, for the acceptance of a job that one of the session's own has delegated.
 *
 * @category combinators
 * @since 0.1.0
 */
export const introduce = (self: SessionOutbox, acceptance: JobMessage.Accepted): Effect.Effect<void> =>
  Effect.sync(() => {
    Writer.introduce(self, deliveryOf(self), acceptance)
    Writer.wake(self)
  })

/**
 * Sends a frame with a number that stands in no journal; `tail` is its text after the head.
 *
 * @category combinators
 * @since 0.1.0
 */
export const own = (self: SessionOutbox, type: string, tail: string): Effect.Effect<void> => queue(self, { type, tail })

const deliveryOf = (self: SessionOutbox): Delivery.Delivery =>
  (self.delivery ??= Delivery.make(self.surroundings.config, () => Writer.wake(self)))

/**
 * Delivers a job until its outcome. A job that is followed already goes on as it was.
 *
 * @category combinators
 * @since 0.1.0
 */
export const follow = (self: SessionOutbox, following: Following): Effect.Effect<void> =>
  Effect.suspend(() => Delivery.follow(self, deliveryOf(self), following))

/**
 * Goes back to after an offset in a job that is followed: from there all comes again, under new numbers.
 *
 * @category combinators
 * @since 0.1.0
 */
export const rewind = (self: SessionOutbox, job: Ids.JobId, after: number): Effect.Effect<void> =>
  Effect.sync(() => {
    const source = self.delivery?.sources.get(job)
    if (self.delivery === undefined || source === undefined) return
    source.cursor = Math.min(source.cursor, after)
    Delivery.mark(self.delivery, source)
  })

/**
 * Ends the delivery of a job that this session only observes.
 *
 * @category combinators
 * @since 0.1.0
 */
export const unfollow = (self: SessionOutbox, job: Ids.JobId): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { delivery } = self
    const source = delivery?.sources.get(job)
    return delivery === undefined || source === undefined || source.paces
      ? Effect.void
      : Delivery.drop(self, delivery, source)
  })

/**
 * Whether the session is sent what this job says.
 *
 * @category getters
 * @since 0.1.0
 */
export const isFollowing = ({ delivery }: SessionOutbox, job: Ids.JobId): boolean =>
  delivery !== undefined && delivery.sources.has(job)

/**
 * Whether there is a job of which more is to come.
 *
 * @category getters
 * @since 0.1.0
 */
export const isBusy = ({ delivery }: SessionOutbox): boolean => delivery !== undefined && delivery.sources.size > 0

/**
 * Whether provisioned credentials may pass over the connection of the moment: they were negotiated, and it is secure (§14).
 *
 * @category getters
 * @since 0.1.0
 */
export const isSecure = ({ link, secure }: SessionOutbox): boolean => link !== undefined && secure

/**
 * Whether more may be queued at once.
 *
 * @category getters
 * @since 0.1.0
 */
export const hasRoom = ({ answers, surroundings }: SessionOutbox): boolean =>
  answers.characters <= surroundings.config.maxPendingReplies

/**
 * Takes an acknowledgement (§6.5).
 *
 * @category combinators
 * @since 0.1.0
 */
export const acknowledge = (
  self: SessionOutbox,
  { jobs, last_processed_seq }: SessionMessage.Ack["payload"]
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { delivery, last } = self
    self.acknowledged = Math.max(self.acknowledged, Math.min(last_processed_seq, last))
    if (!self.declared || delivery === undefined) return Effect.void
    const { sources, window } = delivery
    const advanced = AckWindow.acknowledge(window, sources.values(), self.acknowledged, jobs, last)
    if (advanced.length === 0) return Effect.void
    Delivery.markAll(delivery)
    return Delivery.advance(self, advanced)
  })

/**
 * Whether all that was sent after a number can still be replayed.
 *
 * @category getters
 * @since 0.1.0
 */
export const covers = ({ session, surroundings }: SessionOutbox, seq: number): Effect.Effect<boolean> =>
  Replay.covers(surroundings, session.id, seq)

/**
 * Writes to a connection from now on, until it fails, which ends it, or {@link detach}; first what was sent after a number, if the connection
 * resumes the session from there. There may be no other.
 *
 * @category combinators
 * @since 0.1.0
 */
export const attach = (self: SessionOutbox, link: Link.Link, from: Option.Option<number>): void => {
  const { delivery, session } = self
  self.link = link
  self.secure = link.line.secure && session.features.has("provisioned_credentials")
  Answers.forget(self.answers)
  if (delivery === undefined && Option.isNone(from)) return Writer.wake(self)
  Writer.start(self, link, Writer.resume(self, link, from))
}

/**
 * Writes no more to a connection.
 *
 * @category combinators
 * @since 0.1.0
 */
export const detach = (self: SessionOutbox, link: Link.Link): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (self.link !== link) return Effect.void
    return Effect.andThen(
      Writer.stop(link),
      Effect.suspend(() => {
        const { delivery } = self
        self.link = undefined
        if (delivery === undefined) return Effect.void
        return Effect.andThen(Delivery.dropTold(self, delivery), Delivery.advance(self, delivery.sources.values()))
      })
    )
  })

/**
 * Says the last of a connection: after all answers that are queued, and with nothing behind it. What jobs say from now on is for the next
 * connection. Done once it is written.
 *
 * @category combinators
 * @since 0.1.0
 */
export const part = (
  self: SessionOutbox,
  link: Link.Link,
  words: ReadonlyArray<Message.FromRuntime>
): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const done = () => resume(Effect.void)
    link.parting = words.map(Codec.encode)
    self.afterWrite.push(done)
    Writer.wake(self)
    return Effect.sync(() => {
      const at = self.afterWrite.indexOf(done)
      if (at >= 0) self.afterWrite.splice(at, 1)
    })
  })

/**
 * Lets go of all jobs: the session is over.
 *
 * @category combinators
 * @since 0.1.0
 */
export const close = ({ delivery }: SessionOutbox): Effect.Effect<void> =>
  delivery === undefined
    ? Effect.void
    : Effect.forEach(delivery.sources.values(), ({ unwatch }) => unwatch, { discard: true })
