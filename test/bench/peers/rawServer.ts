/**
 * A server made of `ws` alone. The path says what it does with a connection: `/echo` sends back each JSON message that it gets, `/flood`
 * sends as many events as a message asks for, anything else lets it be.
 */
import { once } from "node:events"
import * as Http from "node:http"
import type { Socket } from "node:net"
import { type WebSocket, WebSocketServer } from "ws"
import * as Peer from "../Peer.ts"
import * as Workload from "../Workload.ts"

/** How to send a flood. */
export interface Order {
  /** One send for each frame, sends in batches that are one write, or batches of frames that are encoded one by one. */
  readonly way: "plain" | "gathered" | "encoded"
  readonly count: number
}

const batch = 64
const highWaterMark = 256 * 1024

const encoded = Array.from({ length: 4096 }, (_, index) =>
  Buffer.from(Workload.encodeEvent(100_001 + index, Workload.eventBody()))
)

const flood = async (ws: WebSocket, socket: Socket, { count, way }: Order) => {
  const text = { binary: false }
  const size = way === "plain" ? 1 : batch
  const id = "msg_01JZBENCH000000000000000AA"
  for (let sent = 0; sent < count;) {
    const until = Math.min(count, sent + size)
    if (way !== "plain") socket.cork()
    for (; sent < until; sent++) {
      if (way === "encoded") ws.send(JSON.stringify(Workload.eventFrame(sent, id)))
      else ws.send(encoded[sent % encoded.length]!, text)
    }
    if (way !== "plain") socket.uncork()
    if (socket.writableLength > highWaterMark) await once(socket, "drain")
  }
}

const server = Http.createServer()
const wss = new WebSocketServer({ server, perMessageDeflate: false })

wss.on("connection", (ws, request) => {
  ws.on("error", () => ws.terminate())
  ws.on("message", (data) => {
    const said: unknown = JSON.parse(String(data))
    if (request.url === "/echo") ws.send(JSON.stringify(said))
    if (request.url === "/flood") void flood(ws, request.socket, said as Order)
  })
})

const commands = {
  url: async () => {
    if (!server.listening) await once(server.listen(0, "127.0.0.1"), "listening")
    const address = server.address()
    if (typeof address !== "object" || address === null) throw new Error("no port")
    return `ws://127.0.0.1:${address.port}`
  },
  memory: Peer.memory
}

export type Commands = typeof commands

Peer.serve(commands)
