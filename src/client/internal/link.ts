/**
 * A connection at work for a session: one fiber reads, one writes what has gathered, one watches for silence, one
 * acknowledges. Whichever ends first ends the link, and says what that means for the session.
 */
import { type Cause, Deferred, Duration, Effect, Queue } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Connection from "../../session/Connection.ts"
import * as Heartbeat from "../../session/Heartbeat.ts"
import * as ClientSession from "./clientSession.ts"
import * as Ended from "./ended.ts"
import * as Exchange from "./exchange.ts"
import * as Handshake from "./handshake.ts"
import * as Inbound from "./inbound.ts"
import * as Pace from "./pace.ts"

export interface Link {
  /** Reads and writes until the connection, or the session, ends. */
  readonly run: Effect.Effect<never, Ended.Ended>
  /** Lets what has gathered go out, and nothing after it. */
  readonly flush: Effect.Effect<void>
  readonly close: Effect.Effect<void>
  /** Whether something came that the session had not heard before: resuming has been of use. */
  readonly isUseful: () => boolean
}

/** Frames that wait to be written. Requests bound their own number; this bounds what one turn gathers. */
const capacity = 64

const broken = (error: Connection.ConnectionError) => Ended.dropped(Handshake.lost(error))

/** Makes the connection the one that the session speaks over. */
export const make = Effect.fnUntraced(function* (session: ClientSession.ClientSession, opened: Handshake.Opened) {
  const line = yield* Heartbeat.observe(opened.connection)
  const outbound = yield* Queue.bounded<string, Cause.Done>(capacity)
  const flushed = Deferred.makeUnsafe<void>()
  const unanswered = [...session.requests.all.values()]
  let useful = false

  const send = (frame: string) => Effect.asVoid(Queue.offer(outbound, frame))
  session.send = send
  session.waiting = false

  const write: Effect.Effect<never, Ended.Ended> = Effect.gen(function* () {
    while (true) {
      const frames = yield* Queue.takeAll(outbound)
      yield* Effect.mapError(line.send(frames), broken)
    }
  }).pipe(
    Effect.ensuring(Effect.sync(() => Deferred.doneUnsafe(flushed, Effect.void))),
    // All is written; the line stays open for what the runtime has to say.
    Effect.catchTag("Done", () => Effect.never)
  )

  const read: Effect.Effect<never, Ended.Ended> = Effect.gen(function* () {
    let frames: Handshake.Opened["rest"] = opened.rest
    while (true) {
      for (const frame of frames) {
        const before = session.lastSeq
        const next = Inbound.receive(session, frame)
        useful ||= session.lastSeq > before
        if (next !== undefined) yield* next
      }
      frames = yield* Effect.mapError(line.pull, broken)
    }
  })

  const { heartbeat_interval_sec } = session.welcome
  const watch: Effect.Effect<never, Ended.Ended> =
    heartbeat_interval_sec === undefined || !session.features.has("heartbeat")
      ? Effect.never
      : Effect.andThen(
          Heartbeat.untilLost(
            {
              ...line,
              // A reader that waits for its own consumer hears nothing, whatever the runtime says.
              receivedAt: () => (session.waiting ? session.clock.currentTimeMillisUnsafe() : line.receivedAt())
            },
            {
              role: "client",
              interval: Duration.seconds(heartbeat_interval_sec),
              // A queue that is full has signs of life enough.
              ping: Effect.map(Exchange.signOfLife(session), (frame) => void Queue.offerUnsafe(outbound, frame))
            }
          ),
          Effect.fail(
            Ended.dropped(
              new ArcpError.HeartbeatLost({ message: "Nothing was heard from the runtime for two heartbeat intervals" })
            )
          )
        )

  const acknowledge: Effect.Effect<never> = Effect.gen(function* () {
    const isNegotiated = session.features.has("ack")
    Pace.forget(session.pace)
    while (true) {
      yield* session.pace.pending.await
      yield* Effect.timeoutOption(session.pace.due.await, Pace.interval)
      const payload = Pace.take(session.pace, session.lastSeq)
      if (payload === undefined) continue
      yield* session.onProgress
      const isEmpty = payload.last_processed_seq === 0 && payload.jobs === undefined
      if (!isNegotiated || isEmpty) continue
      const ack: SessionMessage.Ack = {
        ...ClientSession.head(session, yield* session.nextId),
        type: "session.ack",
        payload: session.paced ? payload : { last_processed_seq: payload.last_processed_seq }
      }
      yield* send(JSON.stringify(ack))
    }
  })

  return {
    run: Effect.raceAllFirst([
      write,
      read,
      watch,
      acknowledge,
      Effect.andThen(Exchange.repeat(session, unanswered, send), Effect.never)
    ]).pipe(
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("The client failed on a frame", defect),
          Effect.fail(
            Ended.dropped(new ArcpError.HeartbeatLost({ message: "The client failed and has dropped the connection" }))
          )
        )
      ),
      Effect.ensuring(
        Effect.suspend(() => {
          session.send = () => Effect.void
          session.waiting = false
          return Queue.shutdown(outbound)
        })
      )
    ),
    flush: Effect.andThen(Queue.end(outbound), Deferred.await(flushed)),
    close: line.close(Connection.close.normal),
    isUseful: () => useful
  } satisfies Link
})
