import { setTimeout as sleep } from "node:timers/promises"
import * as Case from "../Case.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as Returner } from "../peers/rawReturner.ts"
import type { Commands as RawServer } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

/** Characters: what a million events take is some 300 million. */
const retention = 512 * 2 ** 20

/** A connection that can be lost and found again. */
interface Traveller {
  readonly depart: (events: { readonly before: number; readonly after: number }) => Promise<unknown>
  /** Milliseconds. */
  readonly resume: () => Promise<number>
  readonly stop: () => Promise<void>
}

/** Milliseconds for what comes before. */
const patience = 120_000

/** How long it takes to catch up. */
export const resume = Case.make({
  id: "resume",
  title: "resume after missed events, two processes",
  notes: [
    "From the dial to the last event and the result. Raw: a new connection that is sent as many of the same frames, gathered by 64.",
    `Late: after a million events that were read; 100,000 with --quick. Retention: ${retention.toLocaleString("en-US")} characters.`,
    "New processes for each, which have resumed once before: after 100,000 events, 10,000 with --quick."
  ],
  metrics: [
    { id: "ten", name: "10,000 missed", unit: "ms" },
    { id: "hundred", name: "100,000 missed", unit: "ms", demands: [{ atMost: 1000 }] },
    {
      id: "late",
      name: "100,000 missed, late",
      unit: "ms",
      against: "hundred",
      demands: [{ to: { metric: "hundred" }, atMost: 1.2 }]
    }
  ],
  rounds: ({ quick }) => (quick ? 1 : 3),
  warmup: false,
  open: async (stage) => {
    const long = stage.scale.quick ? 100_000 : 1_000_000

    /** Starts a server and somebody who can leave it and come back; `missing` does that, and tells how long the way back took. */
    const travel = async <V>(
      start: (url: string) => Promise<Traveller>,
      use: (missing: (after: number, before?: number) => Promise<number>) => Promise<V>
    ) => {
      const server = await stage.start<Server>("server", "server")
      const traveller = await start(await server.call("serve", { retention }))
      const missing = async (after: number, before = 0) => {
        const said = (await server.call("said", undefined)) + before + after
        await traveller.depart({ before, after })
        while ((await server.call("said", undefined)) < said) {
          await server.call("release", undefined)
          await sleep(5)
        }
        return traveller.resume()
      }
      await missing(stage.scale.quick ? 10_000 : 100_000)
      const values = await use(missing)
      await traveller.stop()
      await stage.stop(server)
      return values
    }

    const returning = (name: string, start: (url: string) => Promise<Traveller>): Case.Subject => ({
      name,
      kind: "system",
      run: async () => ({
        ...(await travel(start, async (missing) => ({ ten: await missing(10_000), hundred: await missing(100_000) }))),
        late: await travel(start, (missing) => missing(100_000, long))
      })
    })

    const startReturner = () => stage.start<Returner>("rawReturner", "rawReturner")
    return [
      returning("runtime to ArcpClient", async (url) => {
        const client = await stage.start<Client>("client", "client")
        await client.call("open", { url })
        return {
          depart: (events) => client.call("depart", events, patience),
          resume: () => client.call("resume", undefined),
          stop: () => stage.stop(client)
        }
      }),
      returning("runtime to a raw receiver", async (url) => {
        const client = await startReturner()
        return {
          depart: (events) => client.call("depart", { url, ...events }, patience),
          resume: () => client.call("resume", { url }),
          stop: () => stage.stop(client)
        }
      }),
      {
        name: "ws, gathered by 64",
        kind: "raw",
        run: async () => {
          const server = await stage.start<RawServer>("rawServer", "rawServer")
          const client = await startReturner()
          const url = await server.call("serve", {})
          await client.call("receive", { url, count: stage.scale.quick ? 10_000 : 100_000 })
          const ten = await client.call("receive", { url, count: 10_000 })
          const hundred = await client.call("receive", { url, count: 100_000 })
          await stage.stop(client)
          await stage.stop(server)
          return { ten, hundred }
        }
      }
    ]
  }
})
