/**
 * Frames for one write, and what becomes true when they leave. Pure but for the batch itself, which grows: numbers are given here, strictly
 * one after the other.
 */
import type * as Feature from "../../protocol/Feature.ts"
import * as Frame from "../../protocol/Frame.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as Profile from "../../protocol/Profile.ts"
import * as SequencedFrame from "../../protocol/SequencedFrame.ts"
import type * as StampLog from "../../session/StampLog.ts"
import type * as JobEntry from "../JobEntry.ts"
import type * as AckWindow from "./ackWindow.ts"
import type * as Answers from "./answers.ts"
import * as View from "./view.ts"

/** Whose numbers are given. */
export interface Numbering {
  readonly session: {
    readonly id: Ids.SessionId
    readonly features: ReadonlySet<Feature.Feature>
    readonly profile: Profile.Profile
  }
  /** Writes the heads of its frames; there from the first on. */
  head: SequencedFrame.Head | undefined
}

/** The frame that has a number. */
export const frame = (self: Numbering, type: string, seq: number, tail: Frame.Piece): Frame.Frame => {
  self.head ??= SequencedFrame.head(self.session.id)
  return Frame.make(self.head, type, seq, tail)
}

/** A page that was read for a batch. */
export interface Taken {
  readonly source: AckWindow.Source
  /** Where the source was when it was read. */
  readonly cursor: number
  readonly ended: boolean
  readonly lastSeq: number
  readonly lastOffset: number
  readonly characters: number
  /** The job that it ends with the word of, as delegated. */
  readonly child: Ids.JobId | undefined
}

export interface Batch {
  readonly frames: Array<Frame.Frame>
  readonly stamps: Array<StampLog.Stamp>
  readonly pages: Array<Taken>
  characters: number
  /** How many of the frames that stand in no journal are in it. */
  answers: number
  /** The last number given. */
  seq: number
}

export const make = (last: number): Batch => ({
  frames: [],
  stamps: [],
  pages: [],
  characters: 0,
  answers: 0,
  seq: last
})

export const addAnswers = (batch: Batch, answers: ReadonlyArray<Answers.Answer>, numbering: Numbering): void => {
  for (const answer of answers) {
    if (typeof answer === "string") batch.frames.push(answer)
    else addOwn(batch, answer.type, answer.tail, numbering)
  }
  batch.answers = answers.length
}

/** Adds a numbered frame that stands in no journal. */
export const addOwn = (batch: Batch, type: string, tail: string, numbering: Numbering): void => {
  batch.stamps.push({ _tag: "Own", firstSeq: ++batch.seq, type, tail })
  batch.frames.push(frame(numbering, type, batch.seq, tail))
}

/**
 * What of a page can be sent at once, and the child that it ends with the word of. Of a job whose children the session is sent, what comes
 * behind the word of a new one waits: that child is to be introduced first.
 */
export const untilChild = (
  source: AckWindow.Source,
  page: JobEntry.Page,
  introduced: ReadonlyMap<Ids.JobId, unknown>
): { readonly page: JobEntry.Page; readonly child: Ids.JobId | undefined } => {
  if (!source.paces) return { page, child: undefined }
  const isNew = ({ note }: JobEntry.JobEntry) => note?._tag === "Child" && !introduced.has(note.job)
  const index = page.entries.findIndex(isNew)
  const note = page.entries[index]?.note
  return note?._tag === "Child"
    ? { page: { ...page, entries: page.entries.slice(0, index + 1), ended: false }, child: note.job }
    : { page, child: undefined }
}

/** Adds a page of a journal. What the session does not see takes no number, and ends a range. */
export const addPage = (
  batch: Batch,
  source: AckWindow.Source,
  page: JobEntry.Page,
  child: Ids.JobId | undefined,
  numbering: Numbering
): void => {
  const { features, profile } = numbering.session
  let from = 0
  let count = 0
  let characters = 0
  const lastOffset = page.firstOffset + page.entries.length - 1
  const flush = () => {
    if (count === 0) return
    const firstSeq = batch.seq - count + 1
    batch.stamps.push({ _tag: "Range", firstSeq, job: source.job, firstOffset: page.firstOffset + from, count })
    count = 0
  }
  for (let index = 0; index < page.entries.length; index++) {
    const entry = page.entries[index]!
    if (!View.isVisible(entry.kind, features)) {
      flush()
      continue
    }
    if (count === 0) from = index
    count++
    const framed = frame(numbering, entry.type, ++batch.seq, View.projected(entry, profile))
    characters += Frame.lengthOf(framed)
    batch.frames.push(framed)
  }
  flush()
  batch.characters += characters
  batch.pages.push({
    source,
    cursor: source.cursor,
    ended: page.ended,
    lastSeq: batch.seq,
    lastOffset,
    characters,
    child
  })
}
