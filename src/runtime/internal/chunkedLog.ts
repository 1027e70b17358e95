/**
 * The entries of one job in memory: text in chunks, and beside it where each entry ends. An entry has no object of its own and no text that
 * hangs together from pieces, so a million of them cost their characters and little more, and the garbage collector has nothing to visit.
 *
 * An entry is written as pieces, which become one flat text when somebody reads. A chunk that is full becomes UTF-8, once: that is how it is
 * sent, to however many sessions, and so it lies outside of the collector's heap. What is larger than a chunk has one for itself.
 */
import type * as Frame from "../../protocol/Frame.ts"
import type * as Ids from "../../protocol/Ids.ts"
import * as SequencedFrame from "../../protocol/SequencedFrame.ts"
import * as Utf8 from "../../protocol/Utf8.ts"
import type * as JobEntry from "../JobEntry.ts"

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
  /** All of it, once it is full. */
  sealed: Sealed | undefined
}

interface Sealed {
  readonly bytes: Uint8Array
  /** Where each entry ends, in bytes. */
  readonly ends: ReadonlyArray<number>
}

export interface ChunkedLog {
  readonly tail: SequencedFrame.Tail
  readonly chunks: Array<Chunk>
  /** What the runtime has to know of single entries. */
  notes: Map<number, JobEntry.Note> | undefined
  /** The offset of the oldest entry that is kept. */
  first: number
  /** The offset that the next entry gets. */
  next: number
  /** What all entries weigh that were ever written. */
  written: number
  /** What those weigh that are kept no more. */
  dropped: number
  /** The type of the terminal, once that is there. */
  terminal: SequencedFrame.Type | undefined
}

/** Characters after which a chunk is full. */
const chunkSize = 16 * 1024

export const make = (job: { readonly id: Ids.JobId; readonly traceId: Ids.TraceId }): ChunkedLog => ({
  tail: SequencedFrame.tail(job.id, job.traceId),
  chunks: [],
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
  return last !== undefined && lengthOf(last) < chunkSize ? last : add(log)
}

const add = (log: ChunkedLog): Chunk => {
  const last = log.chunks.at(-1)
  if (last !== undefined) seal(last)
  const chunk: Chunk = {
    first: log.next,
    origin: log.written,
    kinds: [],
    ends: [],
    text: "",
    pieces: [],
    sealed: undefined
  }
  log.chunks.push(chunk)
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

/** Makes what is full UTF-8. What UTF-8 cannot hold stays as it is. */
const seal = (chunk: Chunk): void => {
  if (chunk.sealed !== undefined) return
  const text = flatten(chunk)
  const { ends } = chunk
  const bytes = new Uint8Array(text.length)
  const { read, written } = encoder.encodeInto(text, bytes)
  // As a rule a byte is a character.
  if (read === text.length && written === text.length) chunk.sealed = { bytes, ends }
  else if (text.isWellFormed()) {
    let end = 0
    const places = ends.map((to, index) => (end += Utf8.byteLength(text.slice(ends[index - 1] ?? 0, to))))
    chunk.sealed = { bytes: encoder.encode(text), ends: places }
  } else return
  chunk.text = ""
}

/** What is large never becomes one text. */
const sealedOf = (pieces: ReadonlyArray<string>, length: number): Sealed => {
  const bytes = encodedIn(length, pieces)
  if (bytes !== undefined) return { bytes, ends: [length] }
  const size = pieces.reduce((sum, piece) => sum + Utf8.byteLength(piece), 0)
  return { bytes: encodedIn(size, pieces)!, ends: [size] }
}

/** The pieces in so many bytes, if they fit. */
const encodedIn = (size: number, pieces: ReadonlyArray<string>): Uint8Array | undefined => {
  const bytes = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    const { read, written } = encoder.encodeInto(piece, bytes.subarray(at))
    if (read < piece.length) return undefined
    at += written
  }
  return bytes
}

export const push = (log: ChunkedLog, draft: JobEntry.Draft): void => {
  const { payload } = draft
  const { after, between, job } = log.tail
  const seq = String(log.next + 1)
  const length = job.length + seq.length + between.length + payload.length + after.length
  const isLarge = length >= chunkSize
  const chunk = isLarge ? add(log) : open(log)
  chunk.kinds.push(draft.kind)
  chunk.ends.push(lengthOf(chunk) + length)
  if (isLarge && payload.isWellFormed()) chunk.sealed = sealedOf([job, seq, between, payload, after], length)
  else chunk.pieces.push(job, seq, between, payload, after)
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
const dropBefore = (log: ChunkedLog, offset: number): void => {
  if (offset <= log.first) return
  log.dropped = weightUpTo(log, offset - 1)
  if (log.notes !== undefined) for (const noted of log.notes.keys()) if (noted < offset) log.notes.delete(noted)
  log.first = offset
  const gone = log.chunks.findIndex((chunk) => chunk.first + chunk.ends.length > offset)
  log.chunks.splice(0, gone < 0 ? log.chunks.length : gone)
}

const sliceOf = ({ bytes, ends }: Sealed, index: number): Frame.Slice => ({
  bytes,
  from: index === 0 ? 0 : ends[index - 1]!,
  to: ends[index]!
})

/** The entries after an offset, of about so many characters, at least one if there is one. */
export const read = (log: ChunkedLog, after: number, characters: number): JobEntry.Page => {
  const start = Math.min(log.next, Math.max(after + 1, log.first))
  const entries: Array<JobEntry.JobEntry> = []
  let taken = 0
  for (let at = start < log.next ? chunkAt(log, start) : log.chunks.length; at < log.chunks.length; at++) {
    const chunk = log.chunks[at]!
    const { sealed } = chunk
    const text = sealed === undefined ? flatten(chunk) : ""
    for (let index = Math.max(0, start - chunk.first); index < chunk.ends.length; index++) {
      if (taken >= characters && taken > 0) return { firstOffset: start, entries, ended: false }
      const from = index === 0 ? 0 : chunk.ends[index - 1]!
      const to = chunk.ends[index]!
      const kind = chunk.kinds[index]!
      taken += to - from
      entries.push({
        type: kind === "" ? log.terminal! : "job.event",
        kind,
        tail: sealed === undefined ? text.slice(from, to) : sliceOf(sealed, index),
        note: log.notes?.get(chunk.first + index)
      })
    }
  }
  return { firstOffset: start, entries, ended: log.terminal !== undefined }
}
