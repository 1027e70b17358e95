/**
 * Bytes to lines, for newline-delimited JSON: whatever the pieces that the bytes come in, and however long a line a peer tries to send.
 *
 * @since 0.1.0
 */
import * as Connection from "../session/Connection.ts"
import * as FrameSize from "./FrameSize.ts"

/**
 * The lines that a piece of input completed, without blank ones, and why no more can follow, if so.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decoded {
  readonly lines: ReadonlyArray<string>
  readonly failure?: Connection.CloseReason
}

const newline = 10

/**
 * A decoder for one stream of bytes. It holds the line that is not yet complete, and never more than `max` bytes of it. What follows
 * the last newline is no line: a peer that goes in the middle of one has not sent it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (max: number): ((chunk: Uint8Array) => Decoded) => {
  // A byte order mark means nothing inside the stream, so the decoder must not swallow one there.
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  // Room for one byte more: the carriage return that may stand before the newline.
  const room = max + 1
  let held = new Uint8Array(0)
  let length = 0
  let first = true

  const hold = (part: Uint8Array): boolean => {
    if (length + part.length > room) return false
    if (length + part.length > held.length) {
      const grown = new Uint8Array(Math.min(room, Math.max(1024, 2 * (length + part.length))))
      grown.set(held.subarray(0, length))
      held = grown
    }
    held.set(part, length)
    length += part.length
    return true
  }

  const release = (): Uint8Array => {
    const line = held.subarray(0, length)
    held = new Uint8Array(0)
    length = 0
    return line
  }

  // Decodes complete lines, together because that is several times faster than one by one.
  const decode = (bytes: Uint8Array, lines: Array<string>): Connection.CloseReason | undefined => {
    let decoded: string
    try {
      decoded = text.decode(bytes)
    } catch {
      return Connection.close.malformed
    }
    if (first && decoded.startsWith("\uFEFF")) decoded = decoded.slice(1)
    first = false
    for (const part of decoded.split("\n")) {
      const line = part.endsWith("\r") ? part.slice(0, -1) : part
      if (line.trim() === "") continue
      if (FrameSize.exceeds(line, max)) return Connection.close.tooBig
      lines.push(line)
    }
    return undefined
  }

  return (chunk) => {
    const lines: Array<string> = []
    const last = chunk.lastIndexOf(newline)
    let start = 0
    let failure: Connection.CloseReason | undefined
    if (last !== -1 && length > 0) {
      start = chunk.indexOf(newline) + 1
      failure = hold(chunk.subarray(0, start - 1)) ? decode(release(), lines) : Connection.close.tooBig
    }
    if (failure === undefined && start <= last) failure = decode(chunk.subarray(start, last), lines)
    if (failure === undefined && !hold(chunk.subarray(last + 1))) failure = Connection.close.tooBig
    return failure === undefined ? { lines } : { lines, failure }
  }
}
