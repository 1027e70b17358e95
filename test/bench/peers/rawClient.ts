/**
 * A client made of `ws` alone: against the raw server it shows what the machine can do, against ours what is the server's part.
 */
import { once } from "node:events"
import { WebSocket } from "ws"
import * as Peer from "../Peer.ts"
import * as Workload from "../Workload.ts"
import type { Order } from "./rawServer.ts"

let lastId = 0
const nextId = () => `msg_bench_${++lastId}`

const connect = async (url: string): Promise<WebSocket> => {
  const ws = new WebSocket(url, { perMessageDeflate: false })
  await once(ws, "open")
  return ws
}

interface Frame {
  readonly type: string
  readonly session_id: string
  readonly payload: { readonly request_id?: string; readonly result?: unknown }
}

const parse = (data: unknown): Frame => JSON.parse(String(data))

/** Says hello and waits for the welcome. */
const greet = async (url: string): Promise<{ readonly ws: WebSocket; readonly session: string }> => {
  const ws = await connect(url)
  const answer = once(ws, "message")
  ws.send(JSON.stringify(Workload.helloFrame(nextId())))
  const welcome = parse((await answer)[0])
  if (welcome.type !== "session.welcome") throw new Error(`the runtime answered with ${welcome.type}`)
  return { ws, session: welcome.session_id }
}

const close = async (ws: WebSocket) => {
  const closed = once(ws, "close")
  ws.close(1000)
  await closed
}

/** Frames per second from what is said until `count` frames have come, and after them one that `isLast`. */
const receive = (
  ws: WebSocket,
  said: unknown,
  count: number,
  options: { readonly parses: boolean; readonly isLast?: (frame: Frame) => boolean }
) =>
  new Promise<{ readonly rate: number; readonly bytes: number }>((resolve) => {
    let frames = 0
    let bytes = 0
    const began = performance.now()
    const onMessage = (data: Buffer) => {
      bytes += data.length
      if (options.parses) parse(data)
      if (++frames < count || options.isLast?.(parse(data)) === false) return
      ws.off("message", onMessage)
      resolve({ rate: count / ((performance.now() - began) / 1000), bytes: bytes / frames })
    }
    ws.on("message", onMessage)
    ws.send(JSON.stringify(said))
  })

/** Whether a job goes on after a frame of this type. */
const isOnTheWay = (type: string) => type === "job.accepted" || type === "job.event"

const held: Array<WebSocket> = []

const commands = {
  /** Receives a flood of the raw server. */
  flood: async ({ order, parses, url }: { readonly url: string; readonly order: Order; readonly parses: boolean }) => {
    const ws = await connect(`${url}/flood`)
    const received = await receive(ws, order, order.count, { parses })
    await close(ws)
    return received.rate
  },

  /** Receives a flood of the runtime: the acceptance, the events, and the result in the end. */
  events: async ({ count, url }: { readonly url: string; readonly count: number }) => {
    const { session, ws } = await greet(url)
    const submit = Workload.submitFrame(session, nextId(), Workload.Flood, { count, message: Workload.message })
    const received = await receive(ws, submit, count + 2, {
      parses: false,
      isLast: ({ payload, type }) => type === "job.result" && payload.result === count
    })
    await close(ws)
    return received
  },

  /** One round trip after the other, in milliseconds. */
  echo: async ({ count, url }: { readonly url: string; readonly count: number }) => {
    const ws = await connect(`${url}/echo`)
    const times: Array<number> = []
    for (let run = 0; run < count; run++) {
      const began = performance.now()
      const answer = new Promise<Frame>((resolve) => ws.once("message", (data) => resolve(parse(data))))
      ws.send(JSON.stringify(Workload.submitFrame("sess_bench", nextId(), Workload.Echo, Workload.echoInput)))
      await answer
      times.push(performance.now() - began)
    }
    await close(ws)
    return times
  },

  /** Round trips per second with `width` of them under way at any time. */
  echoInFlight: async ({
    count,
    url,
    width
  }: {
    readonly url: string
    readonly count: number
    readonly width: number
  }) => {
    const ws = await connect(`${url}/echo`)
    const rate = await new Promise<number>((resolve) => {
      let sent = 0
      let answered = 0
      const began = performance.now()
      const send = () => {
        sent++
        ws.send(JSON.stringify(Workload.submitFrame("sess_bench", nextId(), Workload.Echo, Workload.echoInput)))
      }
      ws.on("message", (data) => {
        parse(data)
        if (++answered === count) resolve(count / ((performance.now() - began) / 1000))
        else if (sent < count) send()
      })
      while (sent < Math.min(width, count)) send()
    })
    await close(ws)
    return rate
  },

  /** Jobs of the runtime one after the other: milliseconds to the acceptance and to the result. */
  latencies: async ({ count, url }: { readonly url: string; readonly count: number }) => {
    const { session, ws } = await greet(url)
    const accepted: Array<number> = []
    const results: Array<number> = []
    for (let run = 0; run < count; run++) {
      const began = performance.now()
      await new Promise<void>((resolve, reject) => {
        const onMessage = (data: unknown) => {
          const { type } = parse(data)
          if (type === "job.accepted") accepted.push(performance.now() - began)
          if (isOnTheWay(type)) return
          ws.off("message", onMessage)
          if (type !== "job.result") return reject(new Error(`unexpected ${type}`))
          results.push(performance.now() - began)
          resolve()
        }
        ws.on("message", onMessage)
        ws.send(JSON.stringify(Workload.submitFrame(session, nextId(), Workload.Echo, Workload.echoInput)))
      })
    }
    await close(ws)
    return { accepted, results }
  },

  /** Jobs of the runtime per second with `width` of them under way at any time. */
  inFlight: async ({ count, url, width }: { readonly url: string; readonly count: number; readonly width: number }) => {
    const { session, ws } = await greet(url)
    const rate = await new Promise<number>((resolve, reject) => {
      let sent = 0
      let done = 0
      const began = performance.now()
      const send = () => {
        sent++
        ws.send(JSON.stringify(Workload.submitFrame(session, nextId(), Workload.Echo, Workload.echoInput)))
      }
      ws.on("message", (data) => {
        const { type } = parse(data)
        if (isOnTheWay(type)) return
        if (type !== "job.result") return reject(new Error(`unexpected ${type}`))
        if (++done === count) resolve(count / ((performance.now() - began) / 1000))
        else if (sent < count) send()
      })
      while (sent < Math.min(width, count)) send()
    })
    await close(ws)
    return rate
  },

  /** Opens connections that say nothing more; `greets` makes each of them a session. */
  hold: async ({ count, greets, url }: { readonly url: string; readonly count: number; readonly greets: boolean }) => {
    const open = async () => {
      const ws = greets ? (await greet(url)).ws : await connect(url)
      held.push(ws)
    }
    for (let opened = 0; opened < count; opened += 32) {
      await Promise.all(Array.from({ length: Math.min(32, count - opened) }, open))
    }
    return held.length
  },

  release: async () => {
    await Promise.all(held.splice(0).map(close))
  }
}

export type Commands = typeof commands

Peer.serve(commands)
