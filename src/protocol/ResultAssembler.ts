/**
 * Puts a streamed result together from its chunks (§8.4): a fold without effects, bounded in bytes and in chunks.
 *
 * Chunks count from 0 without a hole, per `result_id`. One that came before is dropped if it is the same, and an error if it is not.
 * A result may mix text and bytes: it is text if all of its chunks are.
 *
 * @since 0.1.0
 */
import { Bytes, HashMap, Option, Result } from "effect"
import { Base64 } from "effect/encoding"
import * as ArcpError from "./ArcpError.ts"
import type * as Ids from "./Ids.ts"
import type * as JobEvent from "./JobEvent.ts"
import * as Utf8 from "./Utf8.ts"

/**
 * One chunk, as the event that carries it.
 *
 * @category models
 * @since 0.1.0
 */
export type Chunk = JobEvent.Body<"result_chunk">

/**
 * What the last frame of a job says of the result that was streamed before.
 *
 * @category models
 * @since 0.1.0
 */
export interface Announced {
  readonly result_id: Ids.ResultId
  readonly result_size?: number
}

/**
 * What was streamed.
 *
 * @category models
 * @since 0.1.0
 */
export type Assembled =
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "Bytes"; readonly bytes: Uint8Array<ArrayBuffer> }

/** The newest chunk first, so that one more costs nothing. */
interface Link {
  readonly chunk: Chunk
  readonly bytes: Uint8Array | undefined
  readonly before: Link | undefined
}

interface Partial {
  readonly last: Link
  readonly binary: boolean
}

/**
 * The results of one job, as far as they have come in.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResultAssembler {
  readonly partials: HashMap.HashMap<Ids.ResultId, Partial>
  readonly bytes: number
  readonly chunks: number
  /** The largest sum of decoded bytes. */
  readonly maxBytes: number
}

/**
 * `InvalidRequest` for a stream that breaks the rules, `InternalError` for one that is too big (§14).
 *
 * @category errors
 * @since 0.1.0
 */
export type AssemblyError = ArcpError.InvalidRequest | ArcpError.InternalError

/** Chunks have a cost of their own: a result of empty ones must end somewhere too. */
const maxChunks = 1_048_576

const utf8 = new TextEncoder()

/**
 * A result of which nothing has come yet; it may have so many bytes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (maxBytes: number): ResultAssembler => ({
  partials: HashMap.empty(),
  bytes: 0,
  chunks: 0,
  maxBytes
})

const invalid = (result_id: string, field: string, problem: string) =>
  ArcpError.invalidField(field, problem, { result_id })

const isSame = (a: Chunk, b: Chunk) => a.data === b.data && a.encoding === b.encoding && a.more === b.more

/**
 * The text of a chunk, or its bytes. Base64 is strict, with neither line breaks nor stray bits in the last character: what has two spellings is
 * no identity for a duplicate.
 *
 * @category conversions
 * @since 0.1.0
 */
export const contentOf = (chunk: Chunk): Result.Result<string | Uint8Array, ArcpError.InvalidRequest> => {
  const { chunk_seq, data, encoding, result_id } = chunk
  if (encoding === "utf8") return Result.succeed(data)
  const bytes = Result.getOrUndefined(Base64.decode(data))
  // Where line breaks were left out there are fewer bytes than so many characters make, or a number of these that makes none.
  const isStrict =
    data.length % 4 === 0 &&
    bytes?.length === sizeOf(chunk) &&
    (bytes.length === 0 || data.endsWith(Base64.encode(bytes.subarray(bytes.length - (bytes.length % 3 || 3)))))
  return isStrict ? Result.succeed(bytes) : Result.fail(invalid(result_id, "data", `chunk ${chunk_seq} is not base64`))
}

/**
 * The bytes in a chunk, without a look at whether they are right.
 *
 * @category conversions
 * @since 0.1.0
 */
export const sizeOf = ({ data, encoding }: Chunk): number => {
  if (encoding === "utf8") return Utf8.byteLength(data)
  const padding = data.endsWith("==") ? 2 : data.endsWith("=") ? 1 : 0
  return Math.max(0, Math.floor((data.length * 3) / 4) - padding)
}

/**
 * Takes one more chunk.
 *
 * @category combinators
 * @since 0.1.0
 */
export const add = (self: ResultAssembler, chunk: Chunk): Result.Result<ResultAssembler, AssemblyError> => {
  const { chunk_seq, data, result_id } = chunk
  const partial = Option.getOrUndefined(HashMap.get(self.partials, result_id))
  const next = partial === undefined ? 0 : partial.last.chunk.chunk_seq + 1
  if (chunk_seq < next) {
    let link = partial?.last
    while (link !== undefined && link.chunk.chunk_seq > chunk_seq) link = link.before
    return link !== undefined && isSame(link.chunk, chunk)
      ? Result.succeed(self)
      : Result.fail(invalid(result_id, "chunk_seq", `chunk ${chunk_seq} came twice, with different contents`))
  }
  if (chunk_seq > next) {
    return Result.fail(invalid(result_id, "chunk_seq", `expected ${next}, not ${chunk_seq}`))
  }
  if (partial?.last.chunk.more === false) {
    return Result.fail(invalid(result_id, "chunk_seq", `chunk ${chunk_seq} came after the last one`))
  }
  const content = contentOf(chunk)
  if (Result.isFailure(content)) return Result.fail(content.failure)
  const bytes = typeof content.success === "string" ? undefined : content.success
  const total = self.bytes + (bytes === undefined ? Utf8.byteLength(data) : bytes.length)
  if (total > self.maxBytes || self.chunks >= maxChunks) {
    return Result.fail(
      new ArcpError.InternalError({
        message: `The streamed result is larger than the ${self.maxBytes} bytes that this client takes`,
        details: { limit: self.maxBytes, result_id }
      })
    )
  }
  const last: Link = { chunk, bytes, before: partial?.last }
  return Result.succeed({
    partials: HashMap.set(self.partials, result_id, {
      last,
      binary: (partial?.binary ?? false) || bytes !== undefined
    }),
    bytes: total,
    chunks: self.chunks + 1,
    maxBytes: self.maxBytes
  })
}

/** Text beside text is joined before it is encoded: a character may be cut in two where chunks meet. */
const join = (links: ReadonlyArray<Link>): Uint8Array<ArrayBuffer> => {
  const parts: Array<Uint8Array> = []
  let text = ""
  for (const link of links) {
    if (link.bytes === undefined) {
      text += link.chunk.data
      continue
    }
    if (text !== "") parts.push(utf8.encode(text))
    text = ""
    parts.push(link.bytes)
  }
  if (text !== "") parts.push(utf8.encode(text))
  return Bytes.concat(parts)
}

/**
 * The result that the terminal frame names. A missing last chunk is no error, since not every peer marks it; a wrong size is.
 *
 * @category combinators
 * @since 0.1.0
 */
export const finish = (self: ResultAssembler, terminal: Announced): Result.Result<Assembled, AssemblyError> => {
  const partial = Option.getOrUndefined(HashMap.get(self.partials, terminal.result_id))
  const links: Array<Link> = []
  for (let link = partial?.last; link !== undefined; link = link.before) links.push(link)
  links.reverse()
  const assembled: Assembled =
    partial?.binary === true
      ? { _tag: "Bytes", bytes: join(links) }
      : { _tag: "Text", text: links.map((link) => link.chunk.data).join("") }
  const size = assembled._tag === "Bytes" ? assembled.bytes.length : Utf8.byteLength(assembled.text)
  return terminal.result_size === undefined || terminal.result_size === size
    ? Result.succeed(assembled)
    : Result.fail(
        invalid(terminal.result_id, "result_size", `${terminal.result_size} bytes were announced, ${size} came`)
      )
}

/**
 * The JSON that an output schema decodes: text is a string, bytes are a string of base64 (as `Schema.Uint8ArrayFromBase64` reads it).
 *
 * @category conversions
 * @since 0.1.0
 */
export const toJson = (assembled: Assembled): string =>
  assembled._tag === "Text" ? assembled.text : Base64.encode(assembled.bytes)
