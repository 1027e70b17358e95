/**
 * Many connections that are sent the same, and count it.
 */
import type { WebSocket } from "ws"
import * as Peer from "../Peer.ts"
import * as Raw from "../Raw.ts"
import * as Workload from "../Workload.ts"

let present: Array<WebSocket> = []
/** Done with the time of the last frame. */
let served: Promise<number> | undefined
let began = 0
/** Frames for each connection to the raw server. */
let ordered = 0

/** Waits until each of the present has so many frames. */
const serve = (frames: number) => {
  let missing = present.length
  began = 0
  served = new Promise((resolve) => {
    for (const ws of present) {
      let left = frames
      ws.on("message", () => {
        if (began === 0) began = performance.now()
        if (--left === 0 && --missing === 0) resolve(performance.now())
      })
    }
  })
}

const commands = {
  /** Subscribes to a held job in so many sessions; one more has submitted it. */
  subscribe: async ({
    count,
    subscribers,
    url
  }: {
    readonly url: string
    readonly subscribers: number
    readonly count: number
  }) => {
    const { session, ws: submitter } = await Raw.greet(url)
    const running = Raw.next(submitter, ({ type }) => type === "job.event")
    const input = { before: 0, after: count, message: Workload.message }
    Raw.send(submitter, Workload.submitFrame(session, Raw.nextId(), Workload.Held, input))
    const { job_id = "" } = await running
    present = await Raw.openMany(subscribers, async () => {
      const { session, ws } = await Raw.greet(url, ["subscribe"])
      const answer = Raw.next(ws, () => true)
      Raw.send(ws, Workload.subscribeFrame(session, Raw.nextId(), job_id))
      const { type } = await answer
      if (type !== "job.subscribed") throw new Error(`the runtime answered with ${type}`)
      return ws
    })
    // The events and the result.
    serve(count + 1)
    present.push(submitter)
  },

  /** Opens so many connections to the raw server. */
  connect: async ({
    count,
    subscribers,
    url
  }: {
    readonly url: string
    readonly subscribers: number
    readonly count: number
  }) => {
    present = await Raw.openMany(subscribers, () => Raw.connect(`${url}/fan`))
    serve(count)
    ordered = count
  },
  /** Asks the raw server to send to all of them. */
  order: () => Raw.send(present[0]!, { way: "gathered", count: ordered }),

  /** Seconds from the first frame to the last. */
  served: async () => {
    if (served === undefined) throw new Error("there is no audience")
    const ended = await served
    return (ended - began) / 1000
  },

  leave: async () => {
    await Promise.all(present.splice(0).map(Raw.close))
  }
}

export type Commands = typeof commands

Peer.serve(commands)
