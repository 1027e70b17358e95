/**
 * A WebSocket of `ws` as the transport wants it, with the socket underneath.
 */
import type * as NodeWS from "@effect/platform-node/NodeWS"
import type * as Net from "node:net"
import type { Socket } from "effect/socket"
import * as Frame from "../../protocol/Frame.ts"
import type * as WebSocketTransport from "../../transport/WebSocketTransport.ts"
import * as TextFrames from "./textFrames.ts"
import * as WriteBuffers from "./writeBuffers.ts"

/** Hands on each message as it comes, without the event that a browser would make of it. */
export const make = (ws: NodeWS.WebSocket): Socket.WebSocketLike & WebSocketTransport.Pausable => new NodeSocket(ws)

type EventType = "open" | "message" | "error" | "close"
type Handler = (data: NodeWS.WebSocket.RawData, isBinary: boolean) => void
type Listener = Parameters<Socket.WebSocketLike["addEventListener"]>[1]

// A server has one for each connection: what it does stands in its prototype.
class NodeSocket implements Socket.WebSocketLike, WebSocketTransport.Pausable {
  readonly ws: NodeWS.WebSocket
  /** Who is handed messages, and what hands them on. */
  message: { readonly listener: Listener; readonly handler: Handler } | undefined

  constructor(ws: NodeWS.WebSocket) {
    this.ws = ws
    this.message = undefined
  }

  get readyState() {
    return this.ws.readyState
  }
  get isPaused() {
    return this.ws.isPaused
  }
  pause() {
    this.ws.pause()
  }
  resume() {
    this.ws.resume()
  }
  send(data: string | Uint8Array<ArrayBuffer>) {
    this.ws.send(data)
  }
  close(code?: number, reason?: string) {
    this.ws.close(code, reason)
  }
  addEventListener(type: EventType, listener: Listener, options?: { readonly once?: boolean }) {
    if (type !== "message") return this.ws.addEventListener(type, listener, options)
    const handler: Handler = (data, isBinary) => listener({ data: isBinary ? data : data.toString() })
    this.message = { listener, handler }
    this.ws.on("message", handler)
  }
  removeEventListener(type: EventType, listener: Listener) {
    if (type !== "message") return this.ws.removeEventListener(type, listener)
    if (this.message?.listener !== listener) return
    this.ws.off("message", this.message.handler)
    this.message = undefined
  }
}

/** Writes what a server says: a batch in one piece. */
export const serverWire = (socket: Net.Socket): WebSocketTransport.Wire => new ServerWire(socket)

class ServerWire implements WebSocketTransport.Wire {
  readonly socket: Net.Socket

  constructor(socket: Net.Socket) {
    this.socket = socket
  }

  writableLength() {
    return this.socket.writableLength
  }
  needsDrain() {
    return this.socket.writableNeedDrain
  }
  writeAll(frames: ReadonlyArray<Frame.Frame>) {
    WriteBuffers.write(this.socket, (allocate) => TextFrames.encode(frames, allocate))
  }
  onDrain(listener: () => void) {
    return drains(this.socket, listener)
  }
}

/** Writes what a client says: its frames are masked, which is for `ws` to do, and gathered into one write. */
export const clientWire = (ws: NodeWS.WebSocket, socket: Net.Socket): WebSocketTransport.Wire => ({
  writableLength: () => socket.writableLength,
  needsDrain: () => socket.writableNeedDrain,
  writeAll: (frames) => {
    socket.cork()
    try {
      for (const frame of frames) ws.send(Frame.textOf(frame))
    } finally {
      socket.uncork()
    }
  },
  onDrain: (listener) => drains(socket, listener)
})

const drains = (socket: Net.Socket, listener: () => void) => {
  socket.on("drain", listener)
  return () => void socket.off("drain", listener)
}
