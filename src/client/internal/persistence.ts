/**
 * What a client keeps of its session between two lives of its process. A store that fails costs the resume, never the session.
 */
import { Effect, Option, Schema } from "effect"
import { KeyValueStore } from "effect/persistence"
import * as Ids from "../../protocol/Ids.ts"
import type * as Handshake from "./handshake.ts"

/** The one place where the resume token is written down. */
const Kept = Schema.Struct({
  session_id: Ids.SessionId,
  resume_token: Schema.RedactedFromValue(Schema.String, { label: "resume token" }),
  last_event_seq: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
})

export interface Persistence {
  readonly load: Effect.Effect<Option.Option<Handshake.Resume>>
  readonly save: (resume: Handshake.Resume) => Effect.Effect<void>
}

export const none: Persistence = { load: Effect.succeedNone, save: () => Effect.void }

export const make = (store: KeyValueStore.KeyValueStore, key: string): Persistence => {
  const kept = KeyValueStore.toSchemaStore(store, Kept)
  return {
    load: Effect.catch(kept.get(key), (error) =>
      Effect.as(Effect.logWarning("The session could not be read back", error.message), Option.none())
    ),
    save: (resume) =>
      Effect.catch(kept.set(key, resume), (error) => Effect.logWarning("The session could not be kept", error.message))
  }
}
