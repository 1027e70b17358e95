/**
 * What was sent before, sent again: the stamps say which entries took which numbers, the journals still have them (§6.3).
 */
import { Effect, Option, Schema } from "effect"
import * as Frame from "../../protocol/Frame.ts"
import type * as Ids from "../../protocol/Ids.ts"
import * as StampLog from "../../session/StampLog.ts"
import type * as JobEntry from "../JobEntry.ts"
import type * as JobJournal from "../JobJournal.ts"
import type * as SessionStore from "../SessionStore.ts"
import * as Batch from "./batch.ts"
import * as View from "./view.ts"

/** What was to be replayed is no longer kept. */
export class Uncovered extends Schema.TaggedError<Uncovered>("arcp/Uncovered")("Uncovered", {}) {}

/** What is asked when something is to be replayed. */
interface Memory {
  readonly journal: JobJournal.JobJournal["Service"]
  readonly store: SessionStore.SessionStore["Service"]
}

/**
 * Gives what was sent after a number to `send`, in order, in pieces of about so many characters. `between` is what else goes out behind a
 * number; `reveal` adds to a page what stands in no journal.
 */
export const replay = Effect.fnUntraced(function* <E>(
  { journal, store }: Memory,
  numbering: Batch.Numbering,
  seq: number,
  characters: number,
  between: ReadonlyMap<number, ReadonlyArray<string>>,
  reveal: (job: Ids.JobId, page: JobEntry.Page) => Effect.Effect<JobEntry.Page>,
  send: (frames: ReadonlyArray<Frame.Frame>) => Effect.Effect<void, E>
): Effect.fn.Return<void, E | Uncovered> {
  const { id, profile } = numbering.session
  const stamps = yield* store.since(id, seq)
  if (Option.isNone(stamps)) return yield* new Uncovered()
  const behind = (place: number) => between.get(place) ?? []
  let frames: Array<Frame.Frame> = [...behind(seq)]
  let gathered = 0
  for (const stamp of stamps.value) {
    for (let done = 0; done < StampLog.width(stamp);) {
      if (stamp._tag === "Own") {
        frames.push(Batch.frame(numbering, stamp.type, stamp.firstSeq, stamp.tail), ...behind(stamp.firstSeq))
        done++
      } else {
        const offset = stamp.firstOffset + done
        const page = yield* journal.read(stamp.job, offset - 1, characters)
        const sent = { ...page, entries: page.entries.slice(0, stamp.count - done) }
        const { entries } = yield* reveal(stamp.job, sent)
        if (entries.length === 0 || page.firstOffset !== offset) return yield* new Uncovered()
        for (const entry of entries) {
          const place = stamp.firstSeq + done++
          const framed = Batch.frame(numbering, entry.type, place, View.projected(entry, profile))
          gathered += Frame.lengthOf(framed)
          frames.push(framed, ...behind(place))
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
  { journal, store }: Memory,
  session: Ids.SessionId,
  seq: number
): Effect.fn.Return<boolean> {
  const stamps = yield* store.since(session, seq)
  if (Option.isNone(stamps)) return false
  for (const stamp of stamps.value) {
    if (stamp._tag === "Own") continue
    const page = yield* journal.read(stamp.job, stamp.firstOffset - 1, 1)
    if (page.entries.length === 0 || page.firstOffset !== stamp.firstOffset) return false
  }
  return true
})
