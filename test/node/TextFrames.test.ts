import { assert, describe, it } from "@effect/vitest"
import { once } from "node:events"
import * as Net from "node:net"
import { createHash } from "node:crypto"
import { WebSocket } from "ws"
import * as Frame from "../../src/protocol/Frame.ts"
import * as Ids from "../../src/protocol/Ids.ts"
import * as SequencedFrame from "../../src/protocol/SequencedFrame.ts"
import * as TextFrames from "../../src/node/internal/textFrames.ts"

/** A server that does the opening handshake by hand, and then writes these bytes. */
const serve = async (bytes: Buffer) => {
  const server = Net.createServer((socket) => {
    socket.once("data", (request) => {
      const key = /Sec-WebSocket-Key: (.*)\r\n/i.exec(request.toString())![1]!
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
      )
      socket.write(bytes)
    })
  })
  await once(server.listen(0, "127.0.0.1"), "listening")
  return { server, port: (server.address() as Net.AddressInfo).port }
}

describe("TextFrames", () => {
  it("are what a WebSocket reads as the texts, at each size at which the header changes", async () => {
    const sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]
    const texts = sizes.flatMap((size) => [
      "a".repeat(size),
      "é".repeat(Math.ceil(size / 2)),
      "🍰".repeat((size >> 3) * 2)
    ])
    // Each whole, and once more as the end of a frame, within other bytes.
    const head = SequencedFrame.head(Ids.SessionId.make("sess_01JZAAAAAAAAAAAAAAAAAAAAAA"))
    const half = (text: string, index: number) => {
      const bytes = Buffer.from(`before${text}after`)
      return Frame.make(head, "job.event", index, { bytes, from: 6, to: bytes.length - 5 })
    }
    const frames = texts.flatMap((text, index) => [text, half(text, index)])
    const { port, server } = await serve(TextFrames.encode(frames, (size) => Buffer.alloc(size + 10)))
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
    const received: Array<string> = []
    ws.on("message", (data, isBinary) => {
      assert.isFalse(isBinary)
      received.push(data.toString())
      if (received.length === frames.length) ws.terminate()
    })
    await once(ws, "close")
    server.close()
    assert.deepStrictEqual(
      received,
      texts.flatMap((text, index) => [text, head.textOf("job.event", index) + text])
    )
  })
})
