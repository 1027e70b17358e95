import { setTimeout as sleep } from "node:timers/promises"
import * as Case from "../Case.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as Flooded } from "../peers/rawFlooded.ts"
import type { Commands as Quiet } from "../peers/rawQuiet.ts"
import type { Commands as RawServer } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

/** A job, or a connection, that never stops to send. */
interface Flood {
  readonly begin: () => Promise<unknown>
  /** How many events came so far. */
  readonly read: () => Promise<number>
  /** What is to be measured of its end. */
  readonly end: () => Promise<Case.Values>
}

/** What one session feels of another that floods. */
export const fairness = Case.make({
  id: "fairness",
  title: "a quiet session beside one that floods, three processes",
  notes: [
    "The quiet one asks for a sign of life, 5 ms after the answer before. Raw: a JSON message there and back beside a gathered flood.",
    "Cancel: from the request that ends the flooding job to its outcome, behind all that it has said."
  ],
  metrics: [
    { id: "pong50", name: "sign of life, p50", unit: "ms" },
    { id: "pong99", name: "sign of life, p99", unit: "ms", demands: [{ atMost: 20 }] },
    { id: "cancel", name: "cancel to outcome", unit: "ms", demands: [{ atMost: 100 }] },
    { id: "flood", name: "flood", unit: "events/s" }
  ],
  rounds: ({ quick, rounds }) => (quick ? 1 : rounds),
  open: async (stage) => {
    const millis = stage.scale.quick ? 1000 : 5000
    const [server, client, rawServer, flooded, quiet] = await Promise.all([
      stage.start<Server>("server", "server"),
      stage.start<Client>("client", "client"),
      stage.start<RawServer>("rawServer", "rawServer"),
      stage.start<Flooded>("rawFlooded", "rawFlooded"),
      stage.start<Quiet>("rawQuiet", "rawQuiet")
    ])
    const [url, rawUrl] = await Promise.all([server.call("serve", {}), rawServer.call("serve", {})])
    await client.call("open", { url })

    const beside = async (where: { readonly url: string; readonly greets: boolean }, { begin, end, read }: Flood) => {
      await begin()
      await sleep(millis / 10)
      const [began, before] = [performance.now(), await read()]
      const times = await quiet.call("pings", { ...where, millis })
      const flood = ((await read()) - before) / ((performance.now() - began) / 1000)
      return { pong50: Case.quantile(times, 0.5), pong99: Case.quantile(times, 0.99), flood, ...(await end()) }
    }

    const read = () => flooded.call("read", undefined)
    return [
      {
        name: "flood to ArcpClient",
        kind: "system",
        run: () =>
          beside(
            { url, greets: true },
            {
              begin: () => client.call("flood", undefined),
              read: () => client.call("read", undefined),
              end: async () => ({ cancel: await client.call("cancel", undefined) })
            }
          )
      },
      {
        name: "flood to a raw receiver",
        kind: "system",
        run: () =>
          beside(
            { url, greets: true },
            {
              begin: () => flooded.call("flood", { url }),
              read,
              end: async () => ({ cancel: await flooded.call("cancel", undefined) })
            }
          )
      },
      {
        name: "ws, gathered by 64",
        kind: "raw",
        run: () =>
          beside(
            { url: rawUrl, greets: false },
            {
              begin: () => flooded.call("connect", { url: rawUrl }),
              read,
              end: async () => {
                await flooded.call("disconnect", undefined)
                return {}
              }
            }
          )
      }
    ]
  }
})
