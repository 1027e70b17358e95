/**
 * A client made of `ws` alone that is away for a while.
 */
import * as Peer from "../Peer.ts"
import * as Raw from "../Raw.ts"
import * as Workload from "../Workload.ts"

let left: (Raw.Greeted & { readonly seq: number; readonly after: number }) | undefined

const commands = {
  /** Receives what a held job says before it waits, and drops the connection. */
  depart: async ({ after, before, url }: { readonly url: string; readonly before: number; readonly after: number }) => {
    const greeted = await Raw.greet(url)
    // The acceptance, and that the job runs.
    const received = Raw.count(greeted.ws, before + 2)
    const input = { before, after, message: Workload.message }
    Raw.send(greeted.ws, Workload.submitFrame(greeted.session, Raw.nextId(), Workload.Held, input))
    const { event_seq = -1 } = Raw.parse((await received).last)
    if (event_seq !== before + 1) throw new Error(`the last number was ${event_seq}`)
    greeted.ws.terminate()
    left = { ...greeted, seq: event_seq, after }
  },

  /** Milliseconds from the dial to the end of the job. */
  resume: async ({ url }: { readonly url: string }) => {
    if (left === undefined) throw new Error("nobody has left")
    const { after, seq, session, token } = left
    const began = performance.now()
    const ws = await Raw.connect(url)
    // The welcome, what was missed, and the result.
    const received = Raw.count(ws, after + 2)
    Raw.send(ws, Workload.resumeFrame(session, Raw.nextId(), token, seq))
    const { event_seq, type } = Raw.parse((await received).last)
    const millis = performance.now() - began
    if (type !== "job.result" || event_seq !== seq + after + 1) throw new Error(`the last was ${type} ${event_seq}`)
    await Raw.close(ws)
    return millis
  },

  /** The same, for so many events that the raw server has at hand. */
  receive: async ({ count, url }: { readonly url: string; readonly count: number }) => {
    const began = performance.now()
    const ws = await Raw.connect(`${url}/flood`)
    const received = Raw.count(ws, count)
    Raw.send(ws, { way: "gathered", count })
    await received
    const millis = performance.now() - began
    await Raw.close(ws)
    return millis
  }
}

export type Commands = typeof commands

Peer.serve(commands)
