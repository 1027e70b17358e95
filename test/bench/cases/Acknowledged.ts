import * as Case from "../Case.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as Server } from "../peers/server.ts"

const mebi = 2 ** 20

/** What is left of events that were read. */
export const acknowledged = Case.make({
  id: "acked",
  title: "memory after a million acknowledged events of one session, two processes",
  notes: [
    "One job after a job of 10,000; 100,000 events with --quick. Resident memory after garbage collection, less that before.",
    "The server keeps the end of the job's history, `maxJournalPerJob`, for whoever subscribes later."
  ],
  metrics: [
    { id: "server", name: "server, growth", unit: "MiB", demand: 32 },
    { id: "client", name: "client, growth", unit: "MiB", demand: 32 },
    { id: "serverHeap", name: "server, growth of the heap", unit: "MiB" },
    { id: "clientHeap", name: "client, growth of the heap", unit: "MiB" },
    { id: "rate", name: "events", unit: "events/s" }
  ],
  rounds: ({ quick }) => (quick ? 1 : 3),
  warmup: false,
  open: async (stage) => {
    const count = stage.scale.quick ? 100_000 : 1_000_000

    const run = async () => {
      const server = await stage.start<Server>("server", "server")
      const client = await stage.start<Client>("client", "client")
      await client.call("open", { url: await server.call("url", undefined) })
      const memory = () => Promise.all([server.call("memory", undefined), client.call("memory", undefined)])
      await client.call("events", { count: 10_000 })
      const before = await memory()
      const rate = await client.call("events", { count }, 300_000)
      const after = await memory()
      await stage.stop(client)
      await stage.stop(server)
      return {
        server: (after[0].rss - before[0].rss) / mebi,
        client: (after[1].rss - before[1].rss) / mebi,
        serverHeap: (after[0].heap - before[0].heap) / mebi,
        clientHeap: (after[1].heap - before[1].heap) / mebi,
        rate
      }
    }

    return [{ name: `${count.toLocaleString("en-US")} events`, kind: "system", run }]
  }
})
