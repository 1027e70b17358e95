/**
 * Connections that say nothing, but for an answer when they are asked whether they are alive.
 */
import type { WebSocket } from "ws"
import * as Peer from "../Peer.ts"
import * as Raw from "../Raw.ts"
import * as Workload from "../Workload.ts"

const held: Array<WebSocket> = []
let answered = 0

const answer = (ws: WebSocket) => {
  ws.on("message", (data) => {
    const { payload, session_id, type } = Raw.parse(data)
    if (type !== "session.ping") throw new Error(`unexpected ${type}`)
    Raw.send(ws, Workload.pongFrame(session_id, Raw.nextId(), payload.nonce ?? ""))
    answered++
  })
}

/** What a connection is to its server: just that, a session, or one of which signs of life are asked. */
export type Kind = "connection" | "session" | "heartbeat"

const commands = {
  hold: async ({ count, kind, url }: { readonly url: string; readonly count: number; readonly kind: Kind }) => {
    const open = async () =>
      kind === "connection" ? Raw.connect(url) : (await Raw.greet(url, kind === "heartbeat" ? ["heartbeat"] : [])).ws
    const opened = await Raw.openMany(count, open)
    opened.forEach(answer)
    held.push(...opened)
  },
  release: async () => {
    await Promise.all(held.splice(0).map(Raw.close))
  },
  /** How many signs of life were given so far. */
  answered: () => answered
}

export type Commands = typeof commands

Peer.serve(commands)
