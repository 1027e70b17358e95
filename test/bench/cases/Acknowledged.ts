import * as Case from "../Case.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as Server } from "../peers/server.ts"

const mebi = 2 ** 20

/** Events of the job before what counts: until then the history that is kept of it has reached its bound. */
const before = 100_000

const kinds = [
  { id: "Rss", name: "resident" },
  { id: "Heap", name: "heap" }
]
const growths = (["server", "client"] as const).flatMap((role) =>
  kinds.flatMap(({ id, name }): ReadonlyArray<Case.Metric> => [
    { id: `${role}First${id}`, name: `${role}, ${name}, growth by the first 100,000`, unit: "MiB" },
    {
      id: `${role}${id}`,
      name: `${role}, ${name}, growth by those after`,
      unit: "MiB",
      ...(id === "Rss" ? { demand: 32 } : undefined)
    }
  ])
)

/** What is left of events that were read. */
export const acknowledged = Case.make({
  id: "acked",
  title: "memory after a million acknowledged events of one session, two processes",
  notes: [
    "One job of 1,100,000 events; 200,000 with --quick. After garbage collection, less what there was after a job of 10,000.",
    "With the first 100,000 the server fills what it keeps of a job's history, `maxJournalPerJob`, for who subscribes later."
  ],
  metrics: [...growths, { id: "rate", name: "events, interrupted to measure", unit: "events/s" }],
  rounds: ({ quick }) => (quick ? 1 : 3),
  warmup: false,
  open: async (stage) => {
    const count = stage.scale.quick ? 100_000 : 1_000_000

    const run = async () => {
      const server = await stage.start<Server>("server", "server")
      const client = await stage.start<Client>("client", "client")
      await client.call("open", { url: await server.call("url", undefined) })
      const memory = async () => ({
        server: await server.call("memory", undefined),
        client: await client.call("memory", undefined)
      })
      await client.call("events", { count: 10_000 })
      const start = await memory()
      const running = client.call("events", { count: before + count }, 300_000)
      while ((await client.call("read", undefined)) < before) await new Promise((resolve) => setTimeout(resolve, 5))
      const middle = await memory()
      const rate = await running
      const end = await memory()
      await stage.stop(client)
      await stage.stop(server)
      const grown = (role: "server" | "client") => ({
        [`${role}FirstRss`]: (middle[role].rss - start[role].rss) / mebi,
        [`${role}FirstHeap`]: (middle[role].heap - start[role].heap) / mebi,
        [`${role}Rss`]: (end[role].rss - middle[role].rss) / mebi,
        [`${role}Heap`]: (end[role].heap - middle[role].heap) / mebi
      })
      return { ...grown("server"), ...grown("client"), rate }
    }

    return [{ name: `${count.toLocaleString("en-US")} events`, kind: "system", run }]
  }
})
