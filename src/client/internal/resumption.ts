/**
 * From one connection of a session to the next: when to dial, how often, and when to give up.
 */
import { Clock, Duration, Effect, Pull, Schedule } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import * as ClientError from "../ClientError.ts"
import * as Ended from "./ended.ts"

/** From 100 milliseconds, doubling to 5 seconds, each a little off so that not all clients come at once. */
export const defaultSchedule: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("100 millis"),
  Schedule.spaced("5 seconds")
]).pipe(Schedule.jittered)

/** A token that is refused so often in a row is no good, however fresh. */
const maxRefusals = 3
/** Connections that bring nothing new are no use, however often they can be had. */
const maxUseless = 16

const expired = (cause: ClientError.SessionLost) =>
  new ArcpError.ResumeWindowExpired({
    message: `The session could not be resumed in time: ${cause.message}`,
    details: { code: ArcpError.code(cause), ...cause.details }
  })

/**
 * Gives back what to do when a connection has ended: it dials until the session goes on, or fails with what becomes of it then. Dials at
 * once after a connection that was of use, and by the schedule otherwise.
 */
export const make = Effect.fnUntraced(function* <Line>(options: {
  readonly schedule: Schedule.Schedule<unknown, ClientError.SessionLost> | undefined
  /** How long the session outlives its connection. */
  readonly window: () => Duration.Duration
  readonly onAttempt: (attempt: number, cause: ClientError.SessionLost) => Effect.Effect<void>
  readonly dial: Effect.Effect<Line, ClientError.ConnectError | ArcpError.ResumeWindowExpired>
}) {
  const { schedule } = options
  const begin = schedule === undefined ? undefined : Schedule.toStepWithSleep(schedule)
  let step = begin === undefined ? undefined : yield* begin
  let useless = 0

  return Effect.fnUntraced(function* (ended: Ended.Ended, useful: boolean): Effect.fn.Return<Line, Ended.Ended> {
    if (ended.next === "stop" || ended.next === "renew") return yield* Effect.fail(ended)
    if (begin === undefined) return yield* Effect.fail(Ended.make("stop", ended.error))
    if (useful) {
      useless = 0
      step = yield* begin
    } else if (++useless > maxUseless) return yield* Effect.fail(Ended.make("renew", ended.error))
    const deadline = (yield* Clock.currentTimeMillis) + Duration.toMillis(options.window())
    let cause = ended.error
    let refusals = 0
    for (let attempt = 1; ; attempt++) {
      yield* options.onAttempt(attempt, cause)
      if (attempt > 1 || useless > 1 || ended.next === "resumeLater") {
        const left = Math.max(0, Math.floor(deadline - (yield* Clock.currentTimeMillis)))
        const waited = yield* step!(cause).pipe(
          Effect.as(true),
          Pull.catchDone(() => Effect.succeed(false)),
          Effect.timeoutOption(left)
        )
        if (waited._tag === "None") return yield* Effect.fail(Ended.make("renew", expired(cause)))
        if (!waited.value) return yield* Effect.fail(Ended.make("stop", cause))
      }
      const dialled = yield* Effect.result(options.dial)
      if (dialled._tag === "Success") return dialled.success
      const error = dialled.failure
      if (error._tag === "ResumeWindowExpired") return yield* Effect.fail(Ended.make("renew", error))
      if (error._tag === "Unauthenticated" && ++refusals >= maxRefusals) {
        return yield* Effect.fail(Ended.make("renew", error))
      }
      cause = ClientError.fromRenewal(error)
      if ((yield* Clock.currentTimeMillis) >= deadline) return yield* Effect.fail(Ended.make("renew", expired(cause)))
    }
  })
})
