import * as Case from "../Case.ts"
import type { Commands as RawClient } from "../peers/rawClient.ts"
import type { Commands as RawServer } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

/** What a session costs its server while nothing is said. */
export const idleSessions = Case.make({
  id: "idle",
  title: "memory of the server per open session that does nothing",
  notes: [
    "After garbage collection, less what the server had after 100 connections came and went. A new server for each round."
  ],
  metrics: [
    { id: "rss", name: "resident", unit: "bytes" },
    { id: "heap", name: "heap", unit: "bytes" }
  ],
  rounds: ({ quick }) => (quick ? 1 : 3),
  warmup: false,
  open: async (stage) => {
    const count = stage.scale.quick ? 1000 : 5000

    const perConnection = async (server: "server" | "rawServer", greets: boolean) => {
      const holder = await stage.start<RawClient>("rawClient", "rawClient")
      const subject = await stage.start<Server & RawServer>(server, server)
      const url = await subject.call("url", undefined)
      await holder.call("hold", { url, count: 100, greets })
      await holder.call("release", undefined)
      const before = await subject.call("memory", undefined)
      await holder.call("hold", { url, count, greets })
      const after = await subject.call("memory", undefined)
      // The server ends first, with its sessions open, so that a heap profile shows them.
      await stage.stop(subject)
      await stage.stop(holder)
      return { rss: (after.rss - before.rss) / count, heap: (after.heap - before.heap) / count }
    }

    return [
      { name: `${count} sessions`, kind: "system", run: () => perConnection("server", true) },
      { name: `${count} connections of bare ws`, kind: "raw", run: () => perConnection("rawServer", false) }
    ]
  }
})
