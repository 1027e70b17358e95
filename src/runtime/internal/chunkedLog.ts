/**
 * The entries of one job in memory: text in chunks, and beside it where each entry ends. An entry has no object of its own and no text that
 * hangs together from pieces, so a million of them cost their characters and little more, and the garbage collector has nothing to visit.
 *
 * An entry is written as pieces, which become one flat text when somebody reads or the chunk is full. What lies far enough back that its
 * readers have probably been there is put away in UTF-8, outside of the collector's heap, and is made text again for whoever does come late:
 * a text that lives for long is copied from one generation to the next, and makes the collector let its heap grow. What is larger than a chunk
 * has one for itself, in UTF-8 from the start, and is given out as such.
 */
import type * as Ids from "../../protocol/Ids.ts"
import * as SequencedFrame from "../../protocol/SequencedFrame.ts"
import * as Utf8 from "../../protocol/Utf8.ts"
import type * as JobJournal from "../JobJournal.ts"

interface Chunk {
  /** The offset of its first entry. */
  readonly first: number
  /** What all entries before it weigh. */
  readonly origin: number
  kinds: Array<string>
  /** Where each entry ends, in characters. */
  ends: Array<number>
  text: string
  /** What is to come after the text. */
  pieces: Array<string>
  /** The text, once it has been put away. */
  stored: Uint8Array | undefined
}

export interface ChunkedLog {
  readonly tail: SequencedFrame.Tail
  readonly chunks: Array<Chunk>
  /** How many of them have been put away. */
  stored: number
  /** The one of these that was last read, as text. */
  recalled: { readonly chunk: Chunk; readonly text: string } | undefined
  /** What the runtime has to know of single entries. */
  notes: Map<number, JobJournal.Note> | undefined
  /** The offset of the oldest entry that is kept. */
  first: number
  /** The offset that the next entry gets. */
  next: number
  /** What all entries weigh that were ever written. */
  written: number
  /** What those weigh that are kept no more. */
  dropped: number
  /** The type of the terminal, once that is there. */
  terminal: JobJournal.Draft["type"] | undefined
}

/** Characters after which a chunk is full. */
const chunkSize = 16 * 1024

/** Characters behind the newest ones that stay text: about as far as a reader is behind that sets the pace. */
const fresh = 1024 * 1024

export const make = (job: { readonly id: Ids.JobId; readonly traceId: Ids.TraceId }): ChunkedLog => ({
  tail: SequencedFrame.tail(job.id, job.traceId),
  chunks: [],
  stored: 0,
  recalled: undefined,
  notes: undefined,
  first: 0,
  next: 0,
  written: 0,
  dropped: 0,
  terminal: undefined
})

/** What is kept weighs: its characters, but for those of an outcome. Outcomes have a bound of their own. */
export const weight = (log: ChunkedLog): number => log.written - log.dropped

const lengthOf = (chunk: Chunk): number => chunk.ends.at(-1) ?? 0

/** A chunk with room. */
const open = (log: ChunkedLog): Chunk => {
  const last = log.chunks.at(-1)
  return last !== undefined && lengthOf(last) < chunkSize ? last : add(log, undefined)
}

const add = (log: ChunkedLog, stored: Uint8Array | undefined): Chunk => {
  const last = log.chunks.at(-1)
  if (last !== undefined) flatten(last)
  const chunk: Chunk = { first: log.next, origin: log.written, kinds: [], ends: [], text: "", pieces: [], stored }
  log.chunks.push(chunk)
  for (let at = log.stored; log.written - log.chunks[at]!.origin - lengthOf(log.chunks[at]!) >= fresh; at++) {
    store(log.chunks[at]!)
    log.stored = at + 1
  }
  return chunk
}

const flatten = (chunk: Chunk): string => {
  if (chunk.pieces.length > 0) {
    chunk.text = chunk.text === "" ? chunk.pieces.join("") : [chunk.text, ...chunk.pieces].join("")
    chunk.pieces = []
  }
  return chunk.text
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const encode = (pieces: ReadonlyArray<string>): Uint8Array => {
  const sizes = pieces.map(Utf8.byteLength)
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0))
  let at = 0
  for (const piece of pieces) at += encoder.encodeInto(piece, bytes.subarray(at)).written
  return bytes
}

const store = (chunk: Chunk): void => {
  // What is large is there already; what UTF-8 cannot hold stays as it is.
  if (chunk.stored !== undefined || !flatten(chunk).isWellFormed()) return
  chunk.stored = encode([chunk.text])
  chunk.text = ""
}

/** An entry that has a chunk for itself is given out as it lies there. */
const largeOf = ({ ends, stored }: Chunk): Uint8Array | undefined => (ends.length === 1 ? stored : undefined)

const textOf = (log: ChunkedLog, chunk: Chunk): string => {
  if (chunk.stored === undefined) return flatten(chunk)
  if (log.recalled?.chunk !== chunk) log.recalled = { chunk, text: decoder.decode(chunk.stored) }
  return log.recalled.text
}

export const push = (log: ChunkedLog, draft: JobJournal.Draft): void => {
  const { payload } = draft
  const { after, between, job } = log.tail
  const seq = String(log.next + 1)
  const length = job.length + seq.length + between.length + payload.length + after.length
  const pieces = [job, seq, between, payload, after]
  const isLarge = length >= chunkSize && payload.isWellFormed()
  const chunk = isLarge ? add(log, encode(pieces)) : open(log)
  if (!isLarge) chunk.pieces.push(...pieces)
  chunk.kinds.push(draft.kind)
  chunk.ends.push(lengthOf(chunk) + length)
  if (draft.note !== undefined) log.notes = (log.notes ?? new Map()).set(log.next, draft.note)
  if (draft.type === "job.event") log.written += length
  else {
    log.terminal = draft.type
    // Most logs are short, and lie there for long: they take no more than they need.
    chunk.kinds = chunk.kinds.slice()
    chunk.ends = chunk.ends.slice()
  }
  log.next++
}

/** The chunk that holds an offset which is kept. */
const chunkAt = (log: ChunkedLog, offset: number): number => {
  let low = 0
  for (let high = log.chunks.length - 1; low < high;) {
    const middle = (low + high + 1) >>> 1
    if (log.chunks[middle]!.first <= offset) low = middle
    else high = middle - 1
  }
  return low
}

/** What all entries up to and including this offset weigh, those included that are kept no more. */
export const weightUpTo = (log: ChunkedLog, offset: number): number => {
  if (offset < log.first) return log.dropped
  if (offset >= log.next - 1) return log.written
  const chunk = log.chunks[chunkAt(log, offset)]!
  return chunk.origin + chunk.ends[offset - chunk.first]!
}

/** Drops the oldest entries, of the first `most`, until what is kept weighs no more than `target`. Never an outcome. */
export const evict = (log: ChunkedLog, target: number, most: number): void => {
  const limit = Math.min(log.first + most, log.terminal === undefined ? log.next : log.next - 1)
  let offset = log.first
  while (offset < limit && log.written - weightUpTo(log, offset - 1) > target) {
    const chunk = log.chunks[chunkAt(log, offset)]!
    const end = chunk.first + chunk.ends.length
    // A whole chunk at a time, as long as what is left is still too much.
    offset = end <= limit && log.written - chunk.origin - lengthOf(chunk) >= target ? end : offset + 1
  }
  dropBefore(log, offset)
}

/** Forgets all entries before this offset. */
export const dropBefore = (log: ChunkedLog, offset: number): void => {
  if (offset <= log.first) return
  log.dropped = weightUpTo(log, offset - 1)
  if (log.notes !== undefined) for (const noted of log.notes.keys()) if (noted < offset) log.notes.delete(noted)
  log.first = offset
  const gone = log.chunks.findIndex((chunk) => chunk.first + chunk.ends.length > offset)
  const count = log.chunks.splice(0, gone < 0 ? log.chunks.length : gone).length
  log.stored = Math.max(0, log.stored - count)
}

/** The entries after an offset, of about so many characters, at least one if there is one. */
export const read = (log: ChunkedLog, after: number, characters: number): JobJournal.Page => {
  const start = Math.min(log.next, Math.max(after + 1, log.first))
  const entries: Array<JobJournal.Entry> = []
  let taken = 0
  for (let at = start < log.next ? chunkAt(log, start) : log.chunks.length; at < log.chunks.length; at++) {
    const chunk = log.chunks[at]!
    const large = largeOf(chunk)
    const text = large === undefined ? textOf(log, chunk) : ""
    for (let index = Math.max(0, start - chunk.first); index < chunk.ends.length; index++) {
      if (taken >= characters && taken > 0) return { firstOffset: start, entries, ended: false }
      const from = index === 0 ? 0 : chunk.ends[index - 1]!
      const to = chunk.ends[index]!
      const kind = chunk.kinds[index]!
      taken += to - from
      entries.push({
        type: kind === "" ? log.terminal! : "job.event",
        kind,
        tail: large ?? text.slice(from, to),
        note: log.notes?.get(chunk.first + index)
      })
    }
  }
  // Whoever is here needs what is behind no more.
  log.recalled = undefined
  return { firstOffset: start, entries, ended: log.terminal !== undefined }
}
