/**
 * A connection at work for a session: one fiber reads, one writes what has gathered, one keeps the line from falling silent. Whichever
 * ends first ends the link, and its error says why.
 */
import { type Cause, Deferred, Effect, Queue } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import type * as ClientError from "../ClientError.ts"
import * as ClientSession from "./clientSession.ts"
import * as Handshake from "./handshake.ts"
import * as Inbound from "./inbound.ts"

export interface Link {
  /** Reads and writes until the connection, or the session, ends. */
  readonly run: Effect.Effect<never, ClientError.SessionLost>
  /** Lets what has gathered go out, and nothing after it. */
  readonly flush: Effect.Effect<void>
}

/** Frames that wait to be written. Requests bound their own number; this bounds what one turn gathers. */
const capacity = 64

/** Makes the connection the one that the session speaks over. */
export const make = Effect.fnUntraced(function* (session: ClientSession.ClientSession, opened: Handshake.Opened) {
  const { connection } = opened
  const outbound = yield* Queue.bounded<string, Cause.Done>(capacity)
  const flushed = Deferred.makeUnsafe<void>()
  let lastSent = session.clock.currentTimeMillisUnsafe()

  const write: Effect.Effect<never, ClientError.SessionLost> = Effect.gen(function* () {
    while (true) {
      const frames = yield* Queue.takeAll(outbound)
      yield* Effect.mapError(connection.send(frames), Handshake.lost)
      lastSent = session.clock.currentTimeMillisUnsafe()
    }
  }).pipe(
    Effect.ensuring(Effect.sync(() => Deferred.doneUnsafe(flushed, Effect.void))),
    // All is written; the line stays open for what the runtime has to say.
    Effect.catchTag("Done", () => Effect.never)
  )

  const read: Effect.Effect<never, ClientError.SessionLost> = Effect.gen(function* () {
    let frames: Handshake.Opened["rest"] = opened.rest
    while (true) {
      for (const frame of frames) {
        const next = Inbound.receive(session, frame)
        if (next !== undefined) yield* next
      }
      frames = yield* Effect.mapError(connection.pull, Handshake.lost)
    }
  })

  const { heartbeat_interval_sec } = session.welcome
  const keepAlive: Effect.Effect<never> =
    heartbeat_interval_sec === undefined || !session.features.has("heartbeat")
      ? Effect.never
      : Effect.gen(function* () {
          const patience = heartbeat_interval_sec * 800
          while (true) {
            const silence = session.clock.currentTimeMillisUnsafe() - lastSent
            if (silence < patience) {
              yield* Effect.sleep(patience - silence)
              continue
            }
            const id = yield* session.nextId
            const ping: SessionMessage.Ping = {
              ...ClientSession.head(session, id),
              type: "session.ping",
              payload: { nonce: id, sent_at: Timestamp.format(session.clock.currentTimeMillisUnsafe()) }
            }
            yield* Queue.offer(outbound, JSON.stringify(ping))
            yield* Effect.sleep(patience)
          }
        })

  session.send = (frame) => Effect.asVoid(Queue.offer(outbound, frame))

  return {
    run: Effect.raceAllFirst([write, read, keepAlive]).pipe(
      Effect.ensuring(Queue.shutdown(outbound)),
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("The client failed on a frame", defect),
          new ArcpError.HeartbeatLost({ message: "The client failed and has dropped the connection" })
        )
      )
    ),
    flush: Effect.andThen(Queue.end(outbound), Deferred.await(flushed))
  } satisfies Link
})
