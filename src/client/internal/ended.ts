/**
 * How a connection of a session ended, and what that means for the session.
 */
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as ClientError from "../ClientError.ts"

export interface Ended {
  readonly _tag: "Ended"
  readonly error: ClientError.SessionLost
  readonly next: Next
}

/** What is to be done next. */
export type Next =
  /** The session goes on over the next connection. */
  | "resume"
  /** As well, but not at once: everybody else was sent away too. */
  | "resumeLater"
  /** The session is over; whoever asks for something next opens another. */
  | "renew"
  /** The client is done for good. */
  | "stop"

export const make = (next: Next, error: ClientError.SessionLost): Ended => ({ _tag: "Ended", error, next })

/** What the runtime's farewell means (§6.7). */
export const farewell = (reason: string | undefined): Ended =>
  make(
    reason === "superseded" ? "stop" : reason === "idle" ? "renew" : "resumeLater",
    new ArcpError.HeartbeatLost({
      message: reason === undefined ? "The runtime closed the session" : `The runtime closed the session: ${reason}`,
      ...(reason === undefined ? undefined : { details: { reason } })
    })
  )

/** What an error that no request asked for means (§12). */
export const sessionError = (error: ClientError.SessionLost): Ended =>
  make(error._tag === "ResumeWindowExpired" ? "renew" : "resume", error)

/** The line broke, or what came over it cannot be gone on from. */
export const dropped = (error: ClientError.SessionLost): Ended => make("resume", error)
