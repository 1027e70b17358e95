import * as Case from "../Case.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as Server } from "../peers/server.ts"

const mebi = 2 ** 20

const kinds = [
  { id: "Rss", name: "resident" },
  { id: "Heap", name: "heap" }
]
const growths = (["server", "client"] as const).flatMap((role) =>
  kinds.flatMap(({ id, name }) =>
    ["first", "second"].map((half): Case.Metric => ({
      id: `${role}${id}${half}`,
      name: `${role}, ${name}, growth by the ${half} half`,
      unit: "MiB",
      ...(id === "Rss" ? { demands: [{ atMost: 32 }] } : undefined)
    }))
  )
)

/** What is left of events that were read. */
export const acknowledged = Case.make({
  id: "acked",
  title: "memory after a million acknowledged events of one session, two processes",
  notes: [
    "One job of two million events, 200,000 with --quick, measured after garbage collection: before it, half way, at its end.",
    "In the first half V8 sizes its heap, and the server fills what it keeps of a job's history; a leak shows in both halves."
  ],
  metrics: [...growths, { id: "rate", name: "events, interrupted to measure", unit: "events/s" }],
  rounds: () => 1,
  warmup: false,
  open: async (stage) => {
    const count = stage.scale.quick ? 100_000 : 1_000_000

    const run = async () => {
      const server = await stage.start<Server>("server", "server")
      const client = await stage.start<Client>("client", "client")
      await client.call("open", { url: await server.call("serve", {}) })
      const memory = async () => ({
        server: await server.call("memory", undefined),
        client: await client.call("memory", undefined)
      })
      await client.call("events", { count: 10_000 })
      const start = await memory()
      const running = client.call("events", { count: 2 * count }, 300_000)
      while ((await client.call("read", undefined)) < count) await new Promise((resolve) => setTimeout(resolve, 5))
      const middle = await memory()
      const rate = await running
      const end = await memory()
      await stage.stop(client)
      await stage.stop(server)
      const grown = (role: "server" | "client") => ({
        [`${role}Rssfirst`]: (middle[role].rss - start[role].rss) / mebi,
        [`${role}Rsssecond`]: (end[role].rss - middle[role].rss) / mebi,
        [`${role}Heapfirst`]: (middle[role].heap - start[role].heap) / mebi,
        [`${role}Heapsecond`]: (end[role].heap - middle[role].heap) / mebi
      })
      return { ...grown("server"), ...grown("client"), rate }
    }

    return [{ name: `${count.toLocaleString("en-US")} events, twice`, kind: "system", run }]
  }
})
