/**
 * Text messages as the frames of RFC 6455 (section 5.2) in which a server sends them: whole and unmasked. `ws` writes one message at a time,
 * as two pieces; a batch here is one piece, which a socket takes several times as fast.
 */

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

export const encode = (texts: ReadonlyArray<string>): Buffer => {
  const sizes = texts.map((text) => Buffer.byteLength(text))
  const out = Buffer.allocUnsafe(sizes.reduce((total, size) => total + headerSize(size) + size, 0))
  let at = 0
  texts.forEach((text, index) => {
    at = writeHeader(out, at, sizes[index]!)
    at += out.write(text, at, "utf8")
  })
  return out
}
