import { defaults } from "../../../src/runtime/RuntimeConfig.ts"
import * as Case from "../Case.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as Server } from "../peers/server.ts"

const mebi = 2 ** 20
/** What may come on top of a window. */
const slack = 16

/** In each hundredth of a second. */
const rate = { said: 200, read: 2 }

/** The time is cut into so many parts; what happens in the first is not growth but start. */
const parts = 6

const resident = (role: "server" | "client"): ReadonlyArray<Case.Metric> =>
  Array.from({ length: parts }, (_, part) => ({
    id: `${role}${part + 1}`,
    name: `${role}, resident after ${part + 1}/${parts}`,
    unit: "MiB"
  }))

const sleep = (millis: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, millis)))

/** What a reader that cannot keep up costs, while it reads and when it is gone. */
export const slowReader = Case.make({
  id: "slow",
  title: "memory with a reader 100 times slower than its agent, two processes",
  notes: [
    "The agent emits 20,000 events a second if it may, the reader takes 200. For a minute; for 5 seconds with --quick.",
    "Attached: the reader paces the agent. Detached: its process has ended, the job runs on, and its history is cut.",
    "Resident memory after garbage collection. Growth is the highest after the first sixth, less what there was then."
  ],
  metrics: [
    ...resident("server"),
    ...resident("client"),
    {
      id: "serverGrowth",
      name: "server, growth",
      unit: "MiB",
      demands: [{ atMost: defaults.pacingWindow / mebi + slack }]
    },
    {
      id: "clientGrowth",
      name: "client, growth",
      unit: "MiB",
      demands: [{ atMost: defaults.pacingWindow / mebi + slack }]
    },
    {
      id: "detachedGrowth",
      name: "server, growth",
      unit: "MiB",
      demands: [{ atMost: defaults.maxJournalPerJob / mebi + slack }]
    },
    { id: "said", name: "said", unit: "events" },
    { id: "read", name: "read", unit: "events" }
  ],
  rounds: () => 1,
  warmup: false,
  open: async (stage) => {
    const part = (stage.scale.quick ? 5_000 : 60_000) / parts

    const start = async () => {
      const server = await stage.start<Server>("server", "server")
      const client = await stage.start<Client>("client", "client")
      await client.call("open", { url: await server.call("serve", {}) })
      await client.call("slowly", rate)
      return { server, client }
    }

    const watch = async (
      peers: Readonly<Record<string, { readonly memory: () => Promise<{ readonly rss: number }> }>>
    ) => {
      const values: Record<string, number> = {}
      const highest: Record<string, number> = {}
      const began = performance.now()
      // Twice in each part.
      for (let half = 1; half <= 2 * parts; half++) {
        await sleep(began + (half * part) / 2 - performance.now())
        for (const [role, { memory }] of Object.entries(peers)) {
          const rss = (await memory()).rss / mebi
          if (half % 2 === 0) values[`${role}${half / 2}`] = rss
          if (half >= 2) highest[role] = Math.max(highest[role] ?? 0, rss)
        }
      }
      const growth = (role: string) => (highest[role] ?? NaN) - (values[`${role}1`] ?? NaN)
      return { values, growth }
    }

    const attached = async () => {
      const { client, server } = await start()
      const { growth, values } = await watch({
        server: { memory: () => server.call("memory", undefined) },
        client: { memory: () => client.call("memory", undefined) }
      })
      const said = await server.call("said", undefined)
      const read = await client.call("read", undefined)
      await stage.stop(client)
      await stage.stop(server)
      return { ...values, serverGrowth: growth("server"), clientGrowth: growth("client"), said, read }
    }

    const detached = async () => {
      const { client, server } = await start()
      await sleep(part / 10)
      const read = await client.call("read", undefined)
      await stage.stop(client)
      const { growth, values } = await watch({ server: { memory: () => server.call("memory", undefined) } })
      const said = await server.call("said", undefined)
      await stage.stop(server)
      return { ...values, detachedGrowth: growth("server"), said, read }
    }

    return [
      { name: "attached", kind: "system", run: attached },
      { name: "detached", kind: "system", run: detached }
    ]
  }
})
