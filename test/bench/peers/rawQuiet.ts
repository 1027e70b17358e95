/**
 * A client made of `ws` alone that asks for nothing but signs of life.
 */
import { setTimeout as sleep } from "node:timers/promises"
import * as Peer from "../Peer.ts"
import * as Raw from "../Raw.ts"
import * as Workload from "../Workload.ts"

/** Milliseconds between an answer and the next question. */
const pause = 5

const commands = {
  /** How long each answer took, in milliseconds. The raw server echoes what it is asked. */
  pings: async ({
    greets,
    millis,
    url
  }: {
    readonly url: string
    readonly greets: boolean
    readonly millis: number
  }) => {
    const { session, ws } = greets
      ? await Raw.greet(url)
      : { ws: await Raw.connect(`${url}/echo`), session: "sess_bench" }
    const times: Array<number> = []
    const until = performance.now() + millis
    while (performance.now() < until) {
      const answer = Raw.next(ws, () => true)
      const began = performance.now()
      Raw.send(ws, Workload.pingFrame(session, Raw.nextId()))
      const { type } = await answer
      times.push(performance.now() - began)
      if (greets && type !== "session.pong") throw new Error(`unexpected ${type}`)
      await sleep(pause)
    }
    await Raw.close(ws)
    return times
  }
}

export type Commands = typeof commands

Peer.serve(commands)
