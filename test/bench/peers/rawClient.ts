/**
 * A client made of `ws` alone, for events and for jobs that do nothing.
 */
import * as Peer from "../Peer.ts"
import * as Raw from "../Raw.ts"
import * as Timing from "../Timing.ts"
import * as Workload from "../Workload.ts"
import type { Download, Order } from "./rawServer.ts"

/** Whether a job goes on after a frame of this type. */
const isOnTheWay = (type: string) => type === "job.accepted" || type === "job.event"

const echoSubmit = (session: string) => Workload.submitFrame(session, Raw.nextId(), Workload.Echo, Workload.echoInput)

const closeAll = (connections: ReadonlyArray<{ readonly ws: Parameters<typeof Raw.close>[0] }>) =>
  Promise.all(connections.map(({ ws }) => Raw.close(ws)))

const commands = {
  /** Receives floods of the raw server, `order.count` events over each of so many connections. */
  flood: async ({
    connections,
    order,
    parses,
    url
  }: {
    readonly url: string
    readonly order: Order
    readonly parses: boolean
    readonly connections: number
  }) => {
    const opened = await Raw.openMany(connections, async () => ({ ws: await Raw.connect(`${url}/flood`) }))
    let bytes = 0
    const rate = await Timing.throughput(order.count * connections, async () => {
      const received = opened.map(({ ws }) => Raw.count(ws, order.count, parses))
      for (const { ws } of opened) Raw.send(ws, order)
      for (const each of await Promise.all(received)) bytes += each.bytes
    })
    await closeAll(opened)
    return { rate, bytes: bytes / (order.count * connections) }
  },

  /** Receives floods of the runtime, from the submits to the results: so many jobs of `count` events in each of so many sessions. */
  events: async ({
    count,
    jobs,
    sessions,
    url
  }: {
    readonly url: string
    readonly count: number
    readonly jobs: number
    readonly sessions: number
  }) => {
    const opened = await Raw.openMany(sessions, () => Raw.greet(url))
    const submit = ({ session, ws }: Raw.Greeted, count: number) =>
      Raw.send(ws, Workload.submitFrame(session, Raw.nextId(), Workload.Flood, { count, message: Workload.message }))

    // A job that says nothing shows how many frames there are beside its events, so that the receiver has only to count.
    const [first] = opened
    let around = 0
    const probed = Raw.next(first!.ws, ({ type }) => {
      around++
      return type === "job.result"
    })
    submit(first!, 0)
    await probed

    const frames = jobs * (count + around)
    let bytes = 0
    const rate = await Timing.throughput(count * jobs * sessions, async () => {
      const received = opened.map(({ ws }) => Raw.count(ws, frames))
      for (const each of opened) for (let job = 0; job < jobs; job++) submit(each, count)
      for (const each of await Promise.all(received)) {
        const { payload, type } = Raw.parse(each.last)
        if (type !== "job.result" || payload.result !== count) throw new Error(`the last frame was a ${type}`)
        bytes += each.bytes
      }
    })
    await closeAll(opened)
    return { rate, bytes: bytes / (frames * sessions) }
  },

  /** One round trip after the other, in milliseconds. */
  echo: async ({ count, url }: { readonly url: string; readonly count: number }) => {
    const ws = await Raw.connect(`${url}/echo`)
    const times: Array<number> = []
    for (let run = 0; run < count; run++) {
      const began = performance.now()
      const answer = Raw.next(ws, () => true)
      Raw.send(ws, echoSubmit("sess_bench"))
      await answer
      times.push(performance.now() - began)
    }
    await Raw.close(ws)
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
    const ws = await Raw.connect(`${url}/echo`)
    const rate = await Timing.throughput(
      count,
      () =>
        new Promise<void>((resolve) => {
          let sent = 0
          let answered = 0
          const send = () => {
            sent++
            Raw.send(ws, echoSubmit("sess_bench"))
          }
          ws.on("message", (data) => {
            Raw.parse(data)
            if (++answered === count) resolve()
            else if (sent < count) send()
          })
          while (sent < Math.min(width, count)) send()
        })
    )
    await Raw.close(ws)
    return rate
  },

  /** Jobs of the runtime one after the other: milliseconds to the acceptance and to the result. */
  latencies: async ({ count, url }: { readonly url: string; readonly count: number }) => {
    const { session, ws } = await Raw.greet(url)
    const accepted: Array<number> = []
    const results: Array<number> = []
    for (let run = 0; run < count; run++) {
      const began = performance.now()
      const ended = Raw.next(ws, ({ type }) => {
        if (type === "job.accepted") accepted.push(performance.now() - began)
        return !isOnTheWay(type)
      })
      Raw.send(ws, echoSubmit(session))
      const { type } = await ended
      if (type !== "job.result") throw new Error(`unexpected ${type}`)
      results.push(performance.now() - began)
    }
    await Raw.close(ws)
    return { accepted, results }
  },

  /** Jobs of the runtime per second with `width` of them under way at any time. */
  inFlight: async ({ count, url, width }: { readonly url: string; readonly count: number; readonly width: number }) => {
    const { session, ws } = await Raw.greet(url)
    const rate = await Timing.throughput(
      count,
      () =>
        new Promise<void>((resolve, reject) => {
          let sent = 0
          let done = 0
          const send = () => {
            sent++
            Raw.send(ws, echoSubmit(session))
          }
          ws.on("message", (data) => {
            const { type } = Raw.parse(data)
            if (isOnTheWay(type)) return
            if (type !== "job.result") return reject(new Error(`unexpected ${type}`))
            if (++done === count) resolve()
            else if (sent < count) send()
          })
          while (sent < Math.min(width, count)) send()
        })
    )
    await Raw.close(ws)
    return rate
  },

  /** Receives a streamed result of the raw server; parts per second. */
  download: async ({ document, url }: { readonly url: string; readonly document: Download }) => {
    const ws = await Raw.connect(`${url}/document`)
    const rate = await Timing.throughput(
      document.parts,
      () =>
        new Promise<void>((resolve, reject) => {
          let bytes = 0
          ws.on("message", (data) => {
            const { body } = Raw.parse(data).payload
            if (body === undefined) return reject(new Error("a frame without a body"))
            bytes += Workload.sizeOf(body.data, body.encoding)
            if (body.more) return
            if (bytes === document.parts * Workload.partSize) resolve()
            else reject(new Error(`${bytes} bytes of ${document.parts} parts arrived`))
          })
          Raw.send(ws, document)
        })
    )
    await Raw.close(ws)
    return rate
  }
}

export type Commands = typeof commands

Peer.serve(commands)
