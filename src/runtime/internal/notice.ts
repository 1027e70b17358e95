/**
 * What the runtime itself says in the stream of a job.
 */
import { Clock, Effect } from "effect"
import type * as Ids from "../../protocol/Ids.ts"
import * as SequencedFrame from "../../protocol/SequencedFrame.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import type * as JobEntry from "../JobEntry.ts"
import type * as JobJournal from "../JobJournal.ts"

/** Says it at once, however slow the reader: what it tells of has happened. `body` is JSON text. */
export const append = (
  journal: JobJournal.JobJournal["Service"],
  job: Ids.JobId,
  kind: string,
  body: string,
  note: JobEntry.Note
): Effect.Effect<void, JobJournal.JournalClosed> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const payload = `${SequencedFrame.payloadHead(kind, Timestamp.format(now))}${body}}`
    return journal.append(job, 1, [{ type: "job.event", kind, payload, note }], { forced: true })
  })
