/**
 * Following a job by subscription (§7.6): one of another session, or once more one of our own.
 */
import { Effect, type Scope, Stream } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobEvent from "../../protocol/JobEvent.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import * as ClientError from "../ClientError.ts"
import * as ClientSession from "./clientSession.ts"
import * as EventBuffer from "./eventBuffer.ts"
import * as Exchange from "./exchange.ts"
import * as Job from "./job.ts"
import * as Requests from "./requests.ts"

type ClientSession = ClientSession.ClientSession

export interface Options {
  readonly history: boolean
}

/** What asks for it, from where the reading has come to: said again, it goes on from there. */
const frame =
  (self: ClientSession, followed: Job.Followed, { history }: Options) =>
  (id: Ids.MessageId): string => {
    const { cursor, id: job_id } = followed
    return JSON.stringify({
      ...ClientSession.head(self, id),
      type: "job.subscribe",
      job_id,
      payload: {
        job_id,
        ...(history || cursor !== undefined ? { history: true } : undefined),
        ...(self.declared && cursor !== undefined ? { from_job_seq: cursor } : undefined)
      }
    } satisfies JobMessage.Subscribe)
  }

/** A reading from this place of the job's own sequence on, or from whatever comes next. */
export const make = (self: ClientSession, id: Ids.JobId, cursor: number | undefined, whole: boolean): Job.Followed =>
  Job.follow({
    id,
    events: ClientSession.makeBuffer(self, id),
    maxResultBytes: self.limits.resultBytes,
    cursor,
    // Kinds that were not negotiated are passed over in silence, and leave holes in the sequence.
    strict: self.declared && self.features.has("progress") && self.features.has("result_chunk"),
    whole,
    isTold: self.declared
  })

const register = (self: ClientSession, followed: Job.Followed) => {
  const observers = self.observers.get(followed.id) ?? new Set()
  self.observers.set(followed.id, observers.add(followed))
}

const over = new ArcpError.HeartbeatLost({ message: "The subscription has been ended" })

/** The last to leave tells the runtime. Our own jobs come in any case. */
const unregister = Effect.fnUntraced(function* (self: ClientSession, followed: Job.Followed) {
  Job.lose(followed, over)
  const observers = self.observers.get(followed.id)
  observers?.delete(followed)
  if (observers === undefined || observers.size > 0) return
  self.observers.delete(followed.id)
  if (self.jobs.has(followed.id) || followed.finalStatus !== undefined) return
  ClientSession.settle(self, followed.id)
  const unsubscribe: JobMessage.Unsubscribe = {
    ...ClientSession.head(self, yield* self.nextId),
    type: "job.unsubscribe",
    job_id: followed.id,
    payload: { job_id: followed.id }
  }
  yield* Effect.forkIn(self.send(JSON.stringify(unsubscribe)), self.scope)
})

/** Subscribes for as long as the scope is open. What comes before the answer is taken in as well. */
export const follow = Effect.fnUntraced(function* (
  self: ClientSession,
  followed: Job.Followed,
  options: Options
): Effect.fn.Return<JobMessage.Subscribed["payload"], ClientError.SubscribeError, Scope.Scope> {
  yield* ClientSession.needs(self, "subscribe")
  if (self.lost !== undefined) return yield* Effect.fail(self.lost)
  yield* Effect.acquireRelease(
    Effect.sync(() => register(self, followed)),
    () => unregister(self, followed)
  )
  const pending = Requests.subscribe(yield* self.nextId, followed, frame(self, followed, options))
  return yield* Exchange.request(self, pending).pipe(Effect.mapError(ClientError.fromSubscribe))
})

/** Asks once more for what a reading lacks, so that it comes over whatever connection; without an answer, nothing more is to be heard of it. */
export const again = (self: ClientSession, followed: Job.Followed): Effect.Effect<void> =>
  Effect.gen(function* () {
    const pending = Requests.subscribe(yield* self.nextId, followed, frame(self, followed, { history: true }))
    yield* Exchange.request(self, pending)
  }).pipe(
    Effect.mapError((error) => unavailable(followed.cursor ?? 0)(ClientError.fromSubscribe(error))),
    Effect.catch((error) => Effect.sync(() => Job.lose(followed, error))),
    Effect.forkIn(self.scope),
    Effect.asVoid
  )

/** One more reading of a job, from its first event on, as the runtime still has it. `dropped` events are no longer here. */
export const reread = Effect.fnUntraced(function* (
  self: ClientSession,
  id: Ids.JobId,
  dropped: number,
  readings: Set<EventBuffer.EventBuffer>
) {
  const followed = make(self, id, self.declared ? 0 : undefined, true)
  yield* Effect.acquireRelease(
    Effect.sync(() => readings.add(followed.events)),
    () => Effect.sync(() => readings.delete(followed.events))
  )
  // Opened first, so that nothing of it is passed over.
  const events = yield* EventBuffer.open(followed.events)
  yield* Effect.mapError(follow(self, followed, { history: true }), unavailable(dropped))
  return { followed, events }
})

/** What a refused subscription is to those who want to read. */
export const unavailable =
  (dropped: number) =>
  (error: ClientError.SubscribeError): ClientError.EventsError =>
    ClientError.isSessionLost(error) ? error : EventBuffer.expired(dropped, ArcpError.code(error))

/** One more reading of a job, for the sake of its outcome and of its children: what it says is not kept. */
export const listen = Effect.fnUntraced(function* (self: ClientSession, id: Ids.JobId) {
  const followed = make(self, id, self.declared ? 0 : undefined, true)
  EventBuffer.discard(followed.events)
  yield* follow(self, followed, { history: true })
  return followed
})

/** All events of a job, as {@link reread} has them. */
export const replay = (
  self: ClientSession,
  id: Ids.JobId,
  dropped: number,
  readings: Set<EventBuffer.EventBuffer>
): Stream.Stream<JobEvent.JobEvent, ClientError.EventsError> =>
  Stream.unwrap(Effect.map(reread(self, id, dropped, readings), ({ events }) => events))

/** What a handle reads of a job; `late` is read instead where the beginning is no longer here. */
export const read = (
  followed: Job.Followed,
  late: (
    dropped: number,
    readings: Set<EventBuffer.EventBuffer>
  ) => Stream.Stream<JobEvent.JobEvent, ClientError.EventsError>
) => {
  const readings = new Set([followed.events])
  return {
    events: EventBuffer.stream(followed.events, (dropped) => late(dropped, readings)),
    ack: ack(readings)
  }
}

/** Acknowledges an event in each of the readings of a job that have it. */
export const ack = (readings: ReadonlySet<EventBuffer.EventBuffer>) => (event: JobEvent.JobEvent) =>
  Effect.sync(() => {
    for (const reading of readings) EventBuffer.acknowledge(reading, event)
  })

/**
 * All events of a job whose beginning is no longer here, and then those that come: read from the runtime, which keeps more. Only our own
 * runtimes number the events of a job, so only from them can be told what comes twice.
 */
export const history = (
  self: ClientSession,
  id: Ids.JobId,
  dropped: number,
  readings: Set<EventBuffer.EventBuffer>
): Stream.Stream<JobEvent.JobEvent, ClientError.EventsError> =>
  !self.declared || !self.features.has("subscribe") || self.lost !== undefined
    ? Stream.fail(EventBuffer.expired(dropped))
    : replay(self, id, dropped, readings)
