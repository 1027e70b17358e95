/**
 * A server made of `ws` alone. The path says what it does with a connection: `/echo` sends back each JSON message that it gets; `/flood`
 * sends as many events as a message asks for; `/fan` sends them to all connections of that path; `/document` sends a streamed result;
 * `/ping/30` asks for a sign of life each 30 seconds; anything else lets it be.
 */
import { once } from "node:events"
import * as Http from "node:http"
import type { Socket } from "node:net"
import { setImmediate as turn } from "node:timers/promises"
import { WebSocket, WebSocketServer } from "ws"
import * as Peer from "../Peer.ts"
import * as Workload from "../Workload.ts"

/** How to send a flood. */
export interface Order {
  /** One send for each frame, sends in batches that are one write, or batches of frames that are encoded one by one. */
  readonly way: "plain" | "gathered" | "encoded"
  readonly count: number
}

/** What streamed result to send. */
export interface Download {
  readonly parts: number
  readonly encoding: Workload.Encoding
}

interface Connection {
  readonly ws: WebSocket
  readonly socket: Socket
}

const batch = 64
/** Frames after which others have their turn. */
const burst = 8 * batch
const id = "msg_01JZBENCH000000000000000AA"

const encoded = Array.from({ length: 4096 }, (_, index) =>
  Buffer.from(Workload.encodeEvent(100_001 + index, Workload.eventBody()))
)

/** Lets others have their turn, and waits while more than so many bytes are on their way out of a connection that is there. */
const room = async ({ socket }: Connection, bytes: number): Promise<void> => {
  if (socket.writableLength <= bytes) return turn()
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off("drain", done).off("close", done)
      resolve()
    }
    socket.on("drain", done).on("close", done)
  })
}

const isOpen = ({ ws }: Connection) => ws.readyState === WebSocket.OPEN

const flood = async (connection: Connection, { count, way }: Order) => {
  const { socket, ws } = connection
  const text = { binary: false }
  const size = way === "plain" ? 1 : batch
  for (let sent = 0; sent < count && isOpen(connection); await room(connection, 256 * 1024)) {
    for (const end = Math.min(count, sent + burst); sent < end;) {
      const until = Math.min(end, sent + size)
      if (way !== "plain") socket.cork()
      for (; sent < until; sent++) {
        if (way === "encoded") ws.send(JSON.stringify(Workload.eventFrame(sent, id)))
        else ws.send(encoded[sent % encoded.length]!, text)
      }
      if (way !== "plain") socket.uncork()
    }
  }
}

const download = async (connection: Connection, { encoding, parts }: Download) => {
  for (let part = 0; part < parts && isOpen(connection); part++) {
    const data = encoding === "utf8" ? Workload.partOf.utf8 : Workload.partOf.base64.toString("base64")
    connection.ws.send(JSON.stringify(Workload.chunkFrame(part, id, data, encoding, part + 1 < parts)))
    await room(connection, 1024 * 1024)
  }
}

const fan = new Set<Connection>()

const server = Http.createServer()
const wss = new WebSocketServer({ server, perMessageDeflate: false })

wss.on("connection", (ws, { socket, url = "" }) => {
  const connection = { ws, socket }
  ws.on("error", () => ws.terminate())
  ws.on("message", (data) => {
    const said: unknown = JSON.parse(String(data))
    if (url === "/echo") ws.send(JSON.stringify(said))
    if (url === "/flood") void flood(connection, said as Order)
    if (url === "/fan") for (const each of fan) void flood(each, said as Order)
    if (url === "/document") void download(connection, said as Download)
  })
  if (url === "/fan") {
    fan.add(connection)
    ws.once("close", () => fan.delete(connection))
  }
  if (url.startsWith("/ping/")) {
    const ping = () => ws.send(JSON.stringify(Workload.pingFrame("sess_bench", id)))
    const pinging = setInterval(ping, Number(url.slice("/ping/".length)) * 1000)
    ws.once("close", () => clearInterval(pinging))
  }
})

const commands = {
  serve: async (_settings: object) => {
    if (!server.listening) await once(server.listen(0, "127.0.0.1", 1024), "listening")
    const address = server.address()
    if (typeof address !== "object" || address === null) throw new Error("no port")
    return `ws://127.0.0.1:${address.port}`
  },
  memory: Peer.memory
}

export type Commands = typeof commands

Peer.serve(commands)
