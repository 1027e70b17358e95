/**
 * Cuts what an agent streams into the chunks of a result (§8.4): text as it is and never in the middle of a character, bytes in base64. A chunk
 * is sent when the next one is there, or the end, since it says which of the two follows.
 */
import { Bytes, Effect } from "effect"
import { Base64 } from "effect/encoding"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobEvent from "../../protocol/JobEvent.ts"
import * as Utf8 from "../../protocol/Utf8.ts"

export interface ResultWriter {
  readonly write: (part: string | Uint8Array) => Effect.Effect<void, ArcpError.InvalidRequest | ArcpError.InternalError>
  /** Sends what is left. Gives the size in bytes, and for a session that takes no chunks the whole as text. */
  readonly end: Effect.Effect<
    { readonly size: number; readonly inline: string | undefined },
    ArcpError.InvalidRequest | ArcpError.InternalError
  >
}

export interface Options {
  readonly resultId: Ids.ResultId
  /** Emits one chunk, as JSON text; nothing for a session that takes none, where everything is collected and sent as one. */
  readonly emit: ((chunk: string) => Effect.Effect<void, ArcpError.InvalidRequest>) | undefined
  /** Bytes of the whole. */
  readonly limit: number
}

interface Chunk {
  readonly data: string
  readonly encoding: "utf8" | "base64"
}

/** Characters of text, or bytes, in one chunk; in base64 a multiple of three needs no padding before the end. */
const chunkLength = 192 * 1024

export const make = ({ emit, limit, resultId }: Options): ResultWriter => {
  let seq = 0
  let size = 0
  let pending: Chunk | undefined
  /** A character of which the agent has given the first half. */
  let half = ""
  /** What is sent as one: text, or bytes of which the base64 is made when all are there. */
  let text = ""
  const parts: Array<Uint8Array> = []

  const send = ({ data, encoding }: Chunk, more: boolean): Effect.Effect<void, ArcpError.InvalidRequest> =>
    Effect.suspend(() =>
      emit === undefined ? Effect.void : emit(textOf({ result_id: resultId, chunk_seq: seq++, data, encoding, more }))
    )

  /** Nothing is sent of what would be too much. */
  const count = (bytes: number): Effect.Effect<void, ArcpError.InternalError> => {
    size += bytes
    return size <= limit
      ? Effect.void
      : Effect.fail(
          new ArcpError.InternalError({ message: `The result is longer than ${limit} bytes`, details: { limit } })
        )
  }

  const put = (part: string | Uint8Array): Effect.Effect<void, ArcpError.InvalidRequest | ArcpError.InternalError> =>
    Effect.gen(function* () {
      yield* count(typeof part === "string" ? Utf8.byteLength(part) : part.length)
      if (emit === undefined) {
        if (typeof part === "string") text += part
        else parts.push(part.slice())
        return
      }
      for (const chunk of cut(part)) {
        if (pending !== undefined) yield* send(pending, true)
        pending = chunk
      }
    })

  return {
    write: (part) =>
      Effect.suspend(() => {
        if (typeof part !== "string") return put(part)
        const whole = half + part
        half = Utf8.endsInHalf(whole) ? whole.slice(-1) : ""
        return put(half === "" ? whole : whole.slice(0, -1))
      }),
    end: Effect.gen(function* () {
      if (half !== "") yield* put(half)
      if (emit === undefined) return { size, inline: parts.length > 0 ? Base64.encode(Bytes.concat(parts)) : text }
      yield* send(pending ?? { data: "", encoding: "utf8" }, false)
      return { size, inline: undefined }
    })
  }
}

/** As `JSON.stringify`, which looks at each character; of base64 there is none that needs it. */
const textOf = ({ chunk_seq, data, encoding, more, result_id }: JobEvent.Body<"result_chunk">): string => {
  const quoted = encoding === "base64" ? `"${data}"` : JSON.stringify(data)
  return `{"result_id":"${result_id}","chunk_seq":${chunk_seq},"data":${quoted},"encoding":"${encoding}","more":${more}}`
}

function* cut(part: string | Uint8Array): Generator<Chunk> {
  for (let start = 0; start < part.length;) {
    let end = Math.min(part.length, start + chunkLength)
    if (typeof part === "string") {
      if (end < part.length && Utf8.endsInHalf(part.slice(end - 1, end))) end--
      yield { data: part.slice(start, end), encoding: "utf8" }
    } else {
      yield { data: Base64.encode(part.subarray(start, end)), encoding: "base64" }
    }
    start = end
  }
}
