import * as Case from "../Case.ts"
import type * as Peer from "../Peer.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as RawClient } from "../peers/rawClient.ts"
import type { Commands as RawServer, Order } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

type Processor = Pick<Peer.Peer<Peer.Commands>, "processorTime">

/** How fast the events of one job travel. */
export const events = Case.make({
  id: "events",
  title: "events of one job over WebSocket, two processes",
  notes: [
    "From the submit to the result. The raw server sends the same frames: encoded beforehand, or each with JSON.stringify.",
    "The raw receiver counts frames; a program reads the `events` of the ArcpClient's handle and counts those of its kind."
  ],
  metrics: [
    { id: "rate", name: "events", unit: "events/s" },
    { id: "sender", name: "processor time of the sender", unit: "us/event" },
    { id: "receiver", name: "processor time of the receiver", unit: "us/event" },
    { id: "bytes", name: "frame", unit: "bytes" }
  ],
  open: async (stage) => {
    const count = stage.scale.quick ? 10_000 : 200_000
    const [server, client, rawServer, rawClient] = await Promise.all([
      stage.start<Server>("server", "server"),
      stage.start<Client>("client", "client"),
      stage.start<RawServer>("rawServer", "rawServer"),
      stage.start<RawClient>("rawClient", "rawClient")
    ])
    const [url, rawUrl] = await Promise.all([server.call("url", undefined), rawServer.call("url", undefined)])
    await client.call("open", { url })

    const timed = async <V extends Case.Values>(sender: Processor, receiver: Processor, run: () => Promise<V>) => {
      const before = await Promise.all([sender.processorTime(), receiver.processorTime()])
      const values = await run()
      const after = await Promise.all([sender.processorTime(), receiver.processorTime()])
      return { ...values, sender: (after[0] - before[0]) / count, receiver: (after[1] - before[1]) / count }
    }
    const flood = (name: string, way: Order["way"], parses: boolean): Case.Subject => ({
      name,
      kind: "raw",
      run: () =>
        timed(rawServer, rawClient, async () => ({
          rate: await rawClient.call("flood", { url: rawUrl, order: { way, count }, parses })
        }))
    })
    return [
      {
        name: "runtime to ArcpClient",
        kind: "system",
        run: () => timed(server, client, async () => ({ rate: await client.call("events", { count }) }))
      },
      {
        name: "runtime to a raw receiver",
        kind: "system",
        run: () => timed(server, rawClient, () => rawClient.call("events", { url, count }))
      },
      flood("ws, one send per frame", "plain", false),
      flood("ws, gathered by 64", "gathered", false),
      flood("ws, gathered by 64, JSON.stringify and JSON.parse", "encoded", true)
    ]
  }
})
