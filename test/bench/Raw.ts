/**
 * What clients made of `ws` alone have in common. Against the raw server they show what the machine can do, against ours what is the
 * server's part.
 */
import { once } from "node:events"
import { WebSocket } from "ws"
import type * as Feature from "../../src/protocol/Feature.ts"
import * as Workload from "./Workload.ts"

let lastId = 0
export const nextId = () => `msg_bench_${++lastId}`

export const connect = async (url: string): Promise<WebSocket> => {
  const ws = new WebSocket(url, { perMessageDeflate: false })
  await once(ws, "open")
  return ws
}

export const close = async (ws: WebSocket): Promise<void> => {
  const closed = once(ws, "close")
  ws.close(1000)
  await closed
}

/** What a raw client looks at in a frame. */
export interface Frame {
  readonly type: string
  readonly session_id: string
  readonly job_id?: string
  readonly event_seq?: number
  readonly payload: {
    readonly request_id?: string
    readonly resume_token?: string
    readonly nonce?: string
    readonly result?: unknown
    readonly code?: string
    readonly body?: { readonly data: string; readonly encoding: Workload.Encoding; readonly more: boolean }
  }
}

export const parse = (data: unknown): Frame => JSON.parse(String(data))

export const send = (ws: WebSocket, frame: unknown): void => ws.send(JSON.stringify(frame))

/** The first frame that will be as asked for. */
export const next = (ws: WebSocket, matches: (frame: Frame) => boolean): Promise<Frame> =>
  new Promise((resolve) => {
    const onMessage = (data: Buffer) => {
      const frame = parse(data)
      if (!matches(frame)) return
      ws.off("message", onMessage)
      resolve(frame)
    }
    ws.on("message", onMessage)
  })

export interface Greeted {
  readonly ws: WebSocket
  readonly session: string
  readonly token: string
}

/** Says hello and waits for the welcome. */
export const greet = async (url: string, features: ReadonlyArray<Feature.Feature> = []): Promise<Greeted> => {
  const ws = await connect(url)
  const answer = next(ws, () => true)
  send(ws, Workload.helloFrame(nextId(), features))
  const { payload, session_id, type } = await answer
  if (type !== "session.welcome") throw new Error(`the runtime answered with ${type}`)
  return { ws, session: session_id, token: payload.resume_token ?? "" }
}

/** Opens many connections, some at a time. */
export const openMany = async <A>(count: number, open: () => Promise<A>): Promise<Array<A>> => {
  const opened: Array<A> = []
  while (opened.length < count) {
    opened.push(...(await Promise.all(Array.from({ length: Math.min(32, count - opened.length) }, open))))
  }
  return opened
}

/** Counts frames, and parses them if asked to; done with the last of `count`. */
export const count = (
  ws: WebSocket,
  count: number,
  parses = false
): Promise<{ readonly last: Buffer; readonly bytes: number }> =>
  new Promise((resolve) => {
    let frames = 0
    let bytes = 0
    const onMessage = (data: Buffer) => {
      bytes += data.length
      if (parses) parse(data)
      if (++frames < count) return
      ws.off("message", onMessage)
      resolve({ last: data, bytes })
    }
    ws.on("message", onMessage)
  })
