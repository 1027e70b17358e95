/**
 * Text messages as the frames of RFC 6455 (section 5.2) in which a server sends them: whole and unmasked. `ws` writes one message at a time,
 * as two pieces; a batch here is one piece, which a socket takes several times as fast.
 */
import * as Frame from "../../protocol/Frame.ts"

/** The first byte of a text message that is one frame. */
const wholeText = 0x81

/** Bytes before so many bytes of text. */
const headerSize = (size: number): number => (size < 126 ? 2 : size < 65_536 ? 4 : 10)

const writeHeader = (out: Buffer, at: number, size: number): number => {
  out[at] = wholeText
  if (size < 126) out[at + 1] = size
  else if (size < 65_536) {
    out[at + 1] = 126
    out.writeUInt16BE(size, at + 2)
  } else {
    out[at + 1] = 127
    out.writeBigUInt64BE(BigInt(size), at + 2)
  }
  return at + headerSize(size)
}

const sizeOf = (frame: Frame.Frame): number =>
  typeof frame === "string" ? Buffer.byteLength(frame) : Frame.sizeOfHead(frame) + frame.tail.to - frame.tail.from

const write = (out: Buffer, at: number, frame: Frame.Frame): number => {
  if (typeof frame === "string") return at + out.write(frame, at, "utf8")
  const { bytes, from, to } = frame.tail
  const end = Frame.writeHead(frame, out, at)
  return end + Buffer.prototype.copy.call(bytes, out, end, from, to)
}

/** Puts the frames into what `allocate` gives for so many bytes, from its beginning on. */
export const encode = (frames: ReadonlyArray<Frame.Frame>, allocate: (size: number) => Buffer): Buffer => {
  const sizes = frames.map(sizeOf)
  const total = sizes.reduce((sum, size) => sum + headerSize(size) + size, 0)
  const out = allocate(total)
  let at = 0
  for (let index = 0; index < frames.length; index++) {
    at = write(out, writeHeader(out, at, sizes[index]!), frames[index]!)
  }
  return out.length === total ? out : out.subarray(0, total)
}
