/**
 * Runs what a listener does with its connections: a fiber and a scope for each, owned by whoever listens.
 *
 * @since 0.1.0
 */
import { Cause, Effect, Exit, FiberSet, Result, type Scope } from "effect"
import * as Connection from "./Connection.ts"

/**
 * What is done with a line that came in. When it is done the line is closed.
 *
 * @category models
 * @since 0.1.0
 */
export type Accept = (frames: Connection.Frames) => Effect.Effect<void, never, Scope.Scope>

/**
 * Makes the function that a listener calls, from wherever its connections come, with each line that can be opened. What it starts is
 * interrupted, and its line closed, with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  accept: Accept
): Effect.Effect<
  (open: Effect.Effect<Connection.Frames, Connection.ConnectionError, Scope.Scope>) => void,
  never,
  Scope.Scope
> =>
  Effect.map(FiberSet.makeRuntime<never, void, never>(), (run) => {
    const use = (frames: Connection.Frames) =>
      Effect.onExit(Effect.scoped(accept(frames)), (exit) => frames.close(reasonOf(exit)))
    return (open) => {
      run(Effect.catchCause(Effect.scoped(Effect.flatMap(open, use)), died))
    }
  })

const died = (cause: Cause.Cause<Connection.ConnectionError>) => {
  // The peer left during the handshake: there is nobody to tell.
  if (Result.isSuccess(Cause.findError(cause))) return Effect.void
  return Cause.hasInterruptsOnly(cause)
    ? Effect.failCause(cause as Cause.Cause<never>)
    : Effect.logError("A connection's handler died", cause)
}

const reasonOf = (exit: Exit.Exit<void>): Connection.CloseReason =>
  Exit.isSuccess(exit)
    ? Connection.close.normal
    : Cause.hasInterruptsOnly(exit.cause)
      ? Connection.close.goingAway
      : { code: 1011, reason: "internal error" }
