/**
 * Whether the other side of a connection is alive (§6.4), for either peer.
 *
 * Silence is what counts: of our side, so that the peer hears from us within each interval; of theirs, so that two intervals of it mean
 * that nobody is there. Any frame is a sign of life.
 *
 * What is to be done when follows from the {@link Signs} alone, see {@link lostAt} and {@link pingAt}. {@link untilLost} does it for one
 * connection; a runtime, which has many, looks after all of them at once.
 *
 * @since 0.1.0
 */
import { Clock, Duration, Effect } from "effect"
import type * as Connection from "./Connection.ts"

/**
 * When there were signs of life, in milliseconds of the monotonic clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface Signs {
  readonly sentAt: number
  readonly receivedAt: number
  /** When we last asked for one; before all times if we never did. */
  readonly pingedAt: number
}

/**
 * What a peer has promised.
 *
 * @category models
 * @since 0.1.0
 */
export interface Duty {
  /** The negotiated interval, in milliseconds. */
  readonly interval: number
  /**
   * Which of the two we are. A runtime pings after an interval without a frame in either direction, which makes clients speak that never
   * ping by themselves. A client pings a little before the interval is over, since some runtimes count only what they receive.
   */
  readonly role: "runtime" | "client"
}

/**
 * When the other side is given up, if it stays silent.
 *
 * @category getters
 * @since 0.1.0
 */
export const lostAt = ({ receivedAt }: Signs, { interval }: Duty): number => receivedAt + 2 * interval

/**
 * When a ping is due, if nothing is sent, or for a runtime received, before.
 *
 * @category getters
 * @since 0.1.0
 */
export const pingAt = ({ pingedAt, receivedAt, sentAt }: Signs, { interval, role }: Duty): number =>
  role === "client"
    ? Math.max(sentAt, pingedAt) + interval * 0.8
    : Math.max(Math.min(sentAt, receivedAt), pingedAt) + interval

/**
 * A connection whose silences are measured. Times are milliseconds of the monotonic clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface Observed<out In> extends Connection.Connection<In> {
  readonly sentAt: () => number
  readonly receivedAt: () => number
}

/**
 * Measures a connection from now on.
 *
 * @category combinators
 * @since 0.1.0
 */
export const observe = <In>(connection: Connection.Connection<In>): Effect.Effect<Observed<In>> =>
  Effect.map(monotonic, (began) => {
    let sentAt = began
    let receivedAt = began
    const heard = Effect.map(monotonic, (now) => {
      receivedAt = now
    })
    return {
      ...connection,
      sentAt: () => sentAt,
      receivedAt: () => receivedAt,
      send: (frames) =>
        Effect.tap(
          connection.send(frames),
          Effect.map(monotonic, (now) => {
            sentAt = now
          })
        ),
      // While nobody listens the peer is not silent.
      pull: Effect.andThen(heard, Effect.tap(connection.pull, heard))
    }
  })

/** Milliseconds by a clock that nobody sets: a step of the wall clock is no silence. */
const monotonic: Effect.Effect<number> = Clock.clockWith((clock) =>
  Effect.sync(() => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000)
)

/** Whole milliseconds, at least one: what is less than a tick of the clock would be waited for without end. */
const pause = (millis: number) => Effect.sleep(Math.max(1, Math.ceil(millis)))

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The negotiated interval. */
  readonly interval: Duration.Duration
  /** Sends a ping. */
  readonly ping: Effect.Effect<void>
  readonly role: Duty["role"]
}

/**
 * Keeps a connection alive; done when it is dead: silent for two intervals.
 *
 * @category running
 * @since 0.1.0
 */
export const untilLost = (connection: Observed<unknown>, { interval, ping, role }: Options): Effect.Effect<void> =>
  Effect.gen(function* () {
    const duty: Duty = { interval: Duration.toMillis(interval), role }
    let pingedAt = Number.NEGATIVE_INFINITY
    while (true) {
      const signs: Signs = { sentAt: connection.sentAt(), receivedAt: connection.receivedAt(), pingedAt }
      const now = yield* monotonic
      const end = lostAt(signs, duty)
      const next = pingAt(signs, duty)
      if (now >= end) return
      if (now >= next) {
        pingedAt = now
        // The write may have to wait, but not beyond the time at which the line is lost.
        yield* Effect.timeoutOption(ping, end - now)
      } else {
        yield* pause(Math.min(end, next) - now)
      }
    }
  })
