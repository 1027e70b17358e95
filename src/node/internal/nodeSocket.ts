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
export const make = (ws: NodeWS.WebSocket): Socket.WebSocketLike & WebSocketTransport.Pausable => {
  const handlers = new Map<unknown, (data: NodeWS.WebSocket.RawData, isBinary: boolean) => void>()
  return {
    get readyState() {
      return ws.readyState
    },
    get isPaused() {
      return ws.isPaused
    },
    pause: () => ws.pause(),
    resume: () => ws.resume(),
    send: (data) => ws.send(data),
    close: (code, reason) => ws.close(code, reason),
    addEventListener: (type, listener, options) => {
      if (type !== "message") return ws.addEventListener(type, listener, options)
      const handler = (data: NodeWS.WebSocket.RawData, isBinary: boolean) =>
        listener({ data: isBinary ? data : data.toString() })
      handlers.set(listener, handler)
      ws.on("message", handler)
    },
    removeEventListener: (type, listener) => {
      if (type !== "message") return ws.removeEventListener(type, listener)
      const handler = handlers.get(listener)
      handlers.delete(listener)
      if (handler !== undefined) ws.off("message", handler)
    }
  }
}

/** Writes what a server says: a batch in one piece. */
export const serverWire = (socket: Net.Socket): WebSocketTransport.Wire => ({
  writableLength: () => socket.writableLength,
  needsDrain: () => socket.writableNeedDrain,
  writeAll: (frames) => WriteBuffers.write(socket, (allocate) => TextFrames.encode(frames, allocate)),
  onDrain: (listener) => drains(socket, listener)
})

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
