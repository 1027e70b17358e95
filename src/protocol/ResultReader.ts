/**
 * Reads a streamed result as it comes (§8.4), and keeps none of it: each chunk is checked and given on. What is to be had in one piece is put
 * together by `ResultAssembler`.
 *
 * Chunks count from 0 without a hole, and all are of one result. One that came before is passed over if it is the same, and an error if it is
 * not, as far as that can be told. Of the last 1,024 chunks it is known how long they were, how they were encoded, and a digest of 32 bits: of
 * short ones of all their characters, of those beyond 1,024 of as many in 16 places from beginning to end. What differs in between alone, or
 * was made to look the same, is passed over; so is what is older.
 *
 * @since 0.1.0
 */
import { Hash, Result } from "effect"
import * as ArcpError from "./ArcpError.ts"
import type * as Ids from "./Ids.ts"
import * as ResultAssembler from "./ResultAssembler.ts"
import * as Utf8 from "./Utf8.ts"

/**
 * Text, or bytes: whichever the agent wrote. Text has only whole characters.
 *
 * @category models
 * @since 0.1.0
 */
export type Piece = string | Uint8Array

/**
 * How far a result has been read.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResultReader {
  resultId: Ids.ResultId | undefined
  /** The number of the next chunk. */
  next: number
  /** Bytes that were given on; of text, those of its UTF-8. */
  bytes: number
  /** The first half of a character, if the last chunk was cut there. */
  half: string
  isLast: boolean
  /** The latest chunks, each in the place that its number has among so many. */
  readonly seen: Array<Print>
}

/** By what a chunk is known again. */
interface Print {
  readonly length: number
  readonly digest: number
  readonly encoding: ResultAssembler.Chunk["encoding"]
  readonly more: boolean
}

const maxSeen = 1024

const printOf = ({ data, encoding, more }: ResultAssembler.Chunk): Print => ({
  length: data.length,
  digest: Hash.string(sampleOf(data)),
  encoding,
  more
})

const samples = 16
const sampleSize = 64

/** The text, or of one that is long parts from its beginning to its end: to look at all of it would take as long as all else. */
const sampleOf = (data: string): string => {
  if (data.length <= samples * sampleSize) return data
  const step = (data.length - sampleSize) / (samples - 1)
  return Array.from({ length: samples }, (_, index) => {
    const from = Math.floor(index * step)
    return data.slice(from, from + sampleSize)
  }).join("")
}

const isSame = (a: Print, b: Print) =>
  a.length === b.length && a.digest === b.digest && a.encoding === b.encoding && a.more === b.more

/**
 * A result of which nothing has come yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): ResultReader => ({
  resultId: undefined,
  next: 0,
  bytes: 0,
  half: "",
  isLast: false,
  seen: []
})

const invalid = (result_id: string, field: string, problem: string) =>
  ArcpError.invalidField(field, problem, { result_id })

const nothing: ReadonlyArray<Piece> = []

/**
 * Takes one more chunk, and gives what can be read of it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const take = (
  self: ResultReader,
  chunk: ResultAssembler.Chunk
): Result.Result<ReadonlyArray<Piece>, ArcpError.InvalidRequest> => {
  const { chunk_seq, more, result_id } = chunk
  self.resultId ??= result_id
  if (result_id !== self.resultId) {
    return Result.fail(invalid(result_id, "result_id", `the chunks before are of ${self.resultId}`))
  }
  if (chunk_seq < self.next) {
    const isOld = chunk_seq < self.next - maxSeen
    return isOld || isSame(self.seen[chunk_seq % maxSeen]!, printOf(chunk))
      ? Result.succeed(nothing)
      : Result.fail(invalid(result_id, "chunk_seq", `chunk ${chunk_seq} came twice, with different contents`))
  }
  if (chunk_seq > self.next) {
    return Result.fail(invalid(result_id, "chunk_seq", `expected ${self.next}, not ${chunk_seq}`))
  }
  if (self.isLast) return Result.fail(invalid(result_id, "chunk_seq", `chunk ${chunk_seq} came after the last one`))
  const content = ResultAssembler.contentOf(chunk)
  if (Result.isFailure(content)) return Result.fail(content.failure)
  self.seen[chunk_seq % maxSeen] = printOf(chunk)
  self.next++
  self.isLast = !more
  return Result.succeed(
    typeof content.success === "string" ? text(self, content.success) : bytes(self, content.success)
  )
}

const text = (self: ResultReader, part: string): ReadonlyArray<Piece> => {
  const joined = self.half + part
  self.half = Utf8.endsInHalf(joined) ? joined.slice(-1) : ""
  const whole = self.half === "" ? joined : joined.slice(0, -1)
  if (whole === "") return nothing
  self.bytes += Utf8.byteLength(whole)
  return [whole]
}

const bytes = (self: ResultReader, part: Uint8Array): ReadonlyArray<Piece> => {
  const before = rest(self)
  self.bytes += part.length
  return part.length === 0 ? before : [...before, part]
}

/** Half a character that stays one. */
const rest = (self: ResultReader): ReadonlyArray<Piece> => {
  const { half } = self
  if (half === "") return nothing
  self.half = ""
  self.bytes += Utf8.byteLength(half)
  return [half]
}

/**
 * Gives what is left, if what came is the result that the last frame of the job names. A missing last chunk is no error, since not every peer
 * marks it; a wrong size is.
 *
 * @category combinators
 * @since 0.1.0
 */
export const finish = (
  self: ResultReader,
  { result_id, result_size }: ResultAssembler.Announced
): Result.Result<ReadonlyArray<Piece>, ArcpError.InvalidRequest> => {
  if (self.resultId !== undefined && self.resultId !== result_id) {
    return Result.fail(invalid(result_id, "result_id", `the chunks that came are of ${self.resultId}`))
  }
  const last = rest(self)
  return result_size === undefined || result_size === self.bytes
    ? Result.succeed(last)
    : Result.fail(invalid(result_id, "result_size", `${result_size} bytes were announced, ${self.bytes} came`))
}
