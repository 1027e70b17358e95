/**
 * What was sent before, sent again: the stamps say which entries took which numbers, the journals still have them (§6.3).
 */
import { Effect, Option, Schema } from "effect"
import type * as Dialect from "../../protocol/Dialect.ts"
import * as Frame from "../../protocol/Frame.ts"
import type * as Ids from "../../protocol/Ids.ts"
import * as StampLog from "../../session/StampLog.ts"
import * as JobJournal from "../JobJournal.ts"
import * as SessionStore from "../SessionStore.ts"
import type * as Batch from "./batch.ts"
import * as View from "./view.ts"

/** What was to be replayed is no longer kept. */
export class Uncovered extends Schema.TaggedError<Uncovered>("arcp/Uncovered")("Uncovered", {}) {}

interface Session {
  readonly id: Ids.SessionId
  readonly profile: Dialect.Profile
}

/** Gives what was sent after a number to `send`, in pieces of about so many characters, in order; `between` is what else goes out behind a number. */
export const replay = Effect.fnUntraced(function* <E>(
  session: Session,
  seq: number,
  characters: number,
  frame: Batch.WriteFrame,
  between: (seq: number) => ReadonlyArray<string>,
  reveal: (job: Ids.JobId, page: JobJournal.Page) => Effect.Effect<JobJournal.Page>,
  send: (frames: ReadonlyArray<Frame.Frame>) => Effect.Effect<void, E>
): Effect.fn.Return<void, E | Uncovered, JobJournal.JobJournal | SessionStore.SessionStore> {
  const journal = yield* JobJournal.JobJournal
  const store = yield* SessionStore.SessionStore
  const stamps = yield* store.since(session.id, seq)
  if (Option.isNone(stamps)) return yield* new Uncovered()
  let frames: Array<Frame.Frame> = [...between(seq)]
  let gathered = 0
  for (const stamp of stamps.value) {
    for (let done = 0; done < StampLog.width(stamp);) {
      if (stamp._tag === "Own") {
        frames.push(frame(stamp.type, stamp.firstSeq, stamp.tail), ...between(stamp.firstSeq))
        done++
      } else {
        const offset = stamp.firstOffset + done
        const page = yield* journal.read(stamp.job, offset - 1, characters)
        const sent = { ...page, entries: page.entries.slice(0, stamp.count - done) }
        const { entries } = yield* reveal(stamp.job, sent)
        if (entries.length === 0 || page.firstOffset !== offset) return yield* new Uncovered()
        for (const entry of entries) {
          const place = stamp.firstSeq + done++
          const text = frame(entry.type, place, View.projected(entry, session.profile))
          gathered += Frame.lengthOf(text)
          frames.push(text, ...between(place))
        }
      }
      if (gathered < characters) continue
      yield* send(frames)
      frames = []
      gathered = 0
    }
  }
  yield* send(frames)
})

/** Whether all that was sent after a number can still be replayed. */
export const covers = Effect.fnUntraced(function* (
  session: Session,
  seq: number
): Effect.fn.Return<boolean, never, JobJournal.JobJournal | SessionStore.SessionStore> {
  const journal = yield* JobJournal.JobJournal
  const store = yield* SessionStore.SessionStore
  const stamps = yield* store.since(session.id, seq)
  if (Option.isNone(stamps)) return false
  for (const stamp of stamps.value) {
    if (stamp._tag === "Own") continue
    const page = yield* journal.read(stamp.job, stamp.firstOffset - 1, 1)
    if (page.entries.length === 0 || page.firstOffset !== stamp.firstOffset) return false
  }
  return true
})
