/**
 * A client made of `ws` alone that is sent events without end, and counts them.
 */
import type { WebSocket } from "ws"
import * as Peer from "../Peer.ts"
import * as Raw from "../Raw.ts"
import * as Workload from "../Workload.ts"

let flooded: { readonly ws: WebSocket; readonly session: string; readonly job: string } | undefined
let received = 0

const begun = () => {
  if (flooded === undefined) throw new Error("there is no flood")
  return flooded
}

const count = Number.MAX_SAFE_INTEGER

const commands = {
  /** From a job of the runtime. */
  flood: async ({ url }: { readonly url: string }) => {
    const { session, ws } = await Raw.greet(url)
    const accepted = Raw.next(ws, ({ type }) => type === "job.accepted")
    ws.on("message", () => received++)
    Raw.send(ws, Workload.submitFrame(session, Raw.nextId(), Workload.Flood, { count, message: Workload.message }))
    const { job_id = "" } = await accepted
    flooded = { ws, session, job: job_id }
  },
  /** Milliseconds from the cancel to the outcome. */
  cancel: async () => {
    const { job, session, ws } = begun()
    const began = performance.now()
    const ended = Raw.next(ws, ({ type }) => type === "job.error" || type === "job.result")
    Raw.send(ws, Workload.cancelFrame(session, Raw.nextId(), job))
    const { payload } = await ended
    const millis = performance.now() - began
    if (payload.code !== "CANCELLED") throw new Error(`the job ended with ${payload.code}`)
    await Raw.close(ws)
    return millis
  },
  /** From the raw server. */
  connect: async ({ url }: { readonly url: string }) => {
    const ws = await Raw.connect(`${url}/flood`)
    ws.on("message", () => received++)
    Raw.send(ws, { way: "gathered", count })
    flooded = { ws, session: "", job: "" }
  },
  disconnect: () => begun().ws.terminate(),
  /** How many frames came so far. */
  read: () => received
}

export type Commands = typeof commands

Peer.serve(commands)
