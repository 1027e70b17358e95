import * as Case from "../Case.ts"
import type * as Peer from "../Peer.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as RawClient } from "../peers/rawClient.ts"
import type { Commands as RawServer, Order } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

type Processor = Pick<Peer.Peer<Peer.Commands>, "processorTime">

const gathered = "ws, gathered by 64"

/** How fast events travel: those of so many jobs in each of so many sessions, with a connection for each session. */
const make = (shape: { readonly jobs: number; readonly sessions: number }, options: Pick<Case.Case, "id" | "title">) =>
  Case.make({
    ...options,
    notes: [
      "From the submit to the result. The raw server sends the same frames: encoded beforehand, or each with JSON.stringify.",
      "The raw receiver counts frames; a program reads the `events` of the ArcpClient's handle and counts those of its kind."
    ],
    metrics: [
      {
        id: "rate",
        name: "events",
        unit: "events/s",
        demands: [{ to: { subject: gathered }, atLeast: 0.3, stretch: 0.5 }]
      },
      { id: "sender", name: "processor time of the sender", unit: "us/event" },
      { id: "receiver", name: "processor time of the receiver", unit: "us/event" },
      { id: "bytes", name: "frame", unit: "bytes" }
    ],
    open: async (stage) => {
      const { jobs, sessions } = shape
      const total = stage.scale.quick ? 32_000 : 192_000
      const count = total / jobs / sessions
      const [server, client, rawServer, rawClient] = await Promise.all([
        stage.start<Server>("server", "server"),
        stage.start<Client>("client", "client"),
        stage.start<RawServer>("rawServer", "rawServer"),
        stage.start<RawClient>("rawClient", "rawClient")
      ])
      const [url, rawUrl] = await Promise.all([server.call("serve", {}), rawServer.call("serve", {})])
      await client.call("open", { url, sessions })

      const timed = async <V extends Case.Values>(sender: Processor, receiver: Processor, run: () => Promise<V>) => {
        const before = await Promise.all([sender.processorTime(), receiver.processorTime()])
        const values = await run()
        const after = await Promise.all([sender.processorTime(), receiver.processorTime()])
        return { ...values, sender: (after[0] - before[0]) / total, receiver: (after[1] - before[1]) / total }
      }
      const flood = (name: string, way: Order["way"], parses: boolean): Case.Subject => ({
        name,
        kind: "raw",
        run: () =>
          timed(rawServer, rawClient, () =>
            rawClient.call("flood", {
              url: rawUrl,
              order: { way, count: total / sessions },
              parses,
              connections: sessions
            })
          )
      })
      return [
        {
          name: "runtime to ArcpClient",
          kind: "system",
          run: () => timed(server, client, async () => ({ rate: await client.call("events", { count, jobs }) }))
        },
        {
          name: "runtime to a raw receiver",
          kind: "system",
          run: () => timed(server, rawClient, () => rawClient.call("events", { url, count, jobs, sessions }))
        },
        flood("ws, one send per frame", "plain", false),
        flood(gathered, "gathered", false),
        flood("ws, gathered by 64, JSON.stringify and JSON.parse", "encoded", true)
      ]
    }
  })

export const events = make(
  { jobs: 1, sessions: 1 },
  { id: "events", title: "events of one job over WebSocket, two processes" }
)

export const eventsOfManyJobs = make(
  { jobs: 64, sessions: 1 },
  { id: "jobs", title: "events of 64 jobs in one session, two processes" }
)

export const eventsOfManySessions = make(
  { jobs: 1, sessions: 64 },
  { id: "sessions", title: "events of 64 sessions with a job each, two processes" }
)
