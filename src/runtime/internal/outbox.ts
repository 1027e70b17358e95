/**
 * What one session has to send: a record, as what is done with it is done in several places (see `SessionOutbox`).
 */
import type { Effect, Fiber } from "effect"
import type * as Credentials from "../../authority/Credentials.ts"
import type * as JobJournal from "../JobJournal.ts"
import type * as RuntimeConfig from "../RuntimeConfig.ts"
import type * as SessionStore from "../SessionStore.ts"
import type * as AlarmClock from "./alarmClock.ts"
import type * as Answers from "./answers.ts"
import type * as Batch from "./batch.ts"
import type * as Delivery from "./delivery.ts"
import type * as Introductions from "./introductions.ts"
import type * as Link from "./link.ts"

/** What all of them have in common. */
export interface Surroundings {
  readonly config: RuntimeConfig.RuntimeConfig
  readonly journal: JobJournal.JobJournal["Service"]
  readonly store: SessionStore.SessionStore["Service"]
  readonly credentials: Credentials.Credentials["Service"]
  readonly alarms: AlarmClock.AlarmClock
  /** Runs what somebody asks for who is no fiber, or not to be held up. Whoever starts it sees to its end. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

export interface Outbox extends Batch.Numbering {
  readonly surroundings: Surroundings
  readonly acceptanceOf: Introductions.AcceptanceOf
  /** Whether acknowledgements pace this client; `ack` alone does not say that any will come. */
  readonly declared: boolean
  readonly answers: Answers.Answers
  /** Called when the write that takes what is queued now is done. */
  readonly afterWrite: Array<() => void>
  /** There from the first job on. */
  delivery: Delivery.Delivery | undefined
  /** The connection of the moment. */
  link: Link.Link | undefined
  /** Whether secrets may pass over the latest connection. */
  secure: boolean
  /** The highest number given so far. */
  last: number
  /** The highest number that the client has acknowledged. */
  acknowledged: number
  /** Whether the client was told that it lags, and has not caught up since. */
  warned: boolean
}
