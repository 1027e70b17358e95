import * as Case from "../Case.ts"
import * as Machine from "../Machine.ts"
import type { Commands as Holder, Kind } from "../peers/rawHolder.ts"
import type { Commands as RawServer } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

const bare = "bare ws"

/** What a session takes of its server's memory while nothing is said. */
export const idleSessions = Case.make({
  id: "idle",
  title: "memory of the server per open session that does nothing",
  notes: [
    "Of 10,000 sessions, 1,000 with --quick; their client is a process of its own, and a new server is started for each round.",
    "After garbage collection, less what the server had after 100 connections came and went."
  ],
  metrics: [
    {
      id: "rss",
      name: "resident",
      unit: "bytes",
      demands: [{ to: { subject: bare, by: "excess" }, atMost: 24 * 1024 }]
    },
    { id: "heap", name: "heap", unit: "bytes" }
  ],
  rounds: ({ quick }) => (quick ? 1 : 3),
  warmup: false,
  open: async (stage) => {
    const count = stage.scale.quick ? 1000 : 10_000
    Machine.requireOpenFiles(count + 200)

    const perConnection = async (server: "server" | "rawServer", kind: Kind) => {
      const holder = await stage.start<Holder>("rawHolder", "rawHolder")
      const subject = await stage.start<Server & RawServer>(server, server)
      const url = await subject.call("serve", {})
      await holder.call("hold", { url, count: 100, kind })
      await holder.call("release", undefined)
      const before = await subject.call("memory", undefined)
      await holder.call("hold", { url, count, kind })
      const after = await subject.call("memory", undefined)
      // The server ends first, with its sessions open, so that a heap profile shows them.
      await stage.stop(subject)
      await stage.stop(holder)
      return { rss: (after.rss - before.rss) / count, heap: (after.heap - before.heap) / count }
    }

    return [
      { name: "sessions", kind: "system", run: () => perConnection("server", "session") },
      { name: bare, kind: "raw", run: () => perConnection("rawServer", "connection") }
    ]
  }
})
