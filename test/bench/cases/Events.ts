import * as Case from "../Case.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as RawClient } from "../peers/rawClient.ts"
import type { Commands as RawServer, Order } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

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
    { id: "bytes", name: "frame", unit: "bytes" }
  ],
  open: async (stage) => {
    const count = stage.scale.quick ? 15_000 : 200_000
    const [server, client, rawServer, rawClient] = await Promise.all([
      stage.start<Server>("server", "server"),
      stage.start<Client>("client", "client"),
      stage.start<RawServer>("rawServer", "rawServer"),
      stage.start<RawClient>("rawClient", "rawClient")
    ])
    const [url, rawUrl] = await Promise.all([server.call("url", undefined), rawServer.call("url", undefined)])
    await client.call("open", { url })

    const flood = (name: string, way: Order["way"], parses: boolean): Case.Subject => ({
      name,
      kind: "raw",
      run: async () => ({ rate: await rawClient.call("flood", { url: rawUrl, order: { way, count }, parses }) })
    })
    return [
      {
        name: "runtime to ArcpClient",
        kind: "system",
        run: async () => ({ rate: await client.call("events", { count }) })
      },
      { name: "runtime to a raw receiver", kind: "system", run: () => rawClient.call("events", { url, count }) },
      flood("ws, one send per frame", "plain", false),
      flood("ws, gathered by 64", "gathered", false),
      flood("ws, gathered by 64, JSON.stringify and JSON.parse", "encoded", true)
    ]
  }
})
