import { setTimeout as sleep } from "node:timers/promises"
import * as Case from "../Case.ts"
import * as Machine from "../Machine.ts"
import type * as Peer from "../Peer.ts"
import type { Commands as Holder, Kind } from "../peers/rawHolder.ts"
import type { Commands as RawServer } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

const silent = "sessions, heartbeat off"
const beating = "sessions, heartbeat on"
const pings = "ws, as many pings"

type Watched = Pick<Peer.Peer<Pick<Server & RawServer, "memory">>, "call" | "processorTime">

/** What sessions take of their server's time while nothing is said. */
export const idleProcessor = Case.make({
  id: "idle-time",
  title: "processor time of a server with sessions that do nothing",
  notes: [
    "Of 10,000 sessions over a minute, with a sign of life asked of each every 30 seconds. With --quick of 500 over 2, every second.",
    "Their client is a process of its own. Raw: JSON messages of the same kind over connections of bare ws."
  ],
  metrics: [
    {
      id: "share",
      name: "processor time",
      unit: "% of a core",
      demands: [
        { of: silent, atMost: 0.2 },
        { of: beating, to: { subject: pings }, atMost: 1.5 }
      ]
    },
    { id: "answers", name: "signs of life", unit: "answers/s" }
  ],
  rounds: () => 1,
  warmup: false,
  open: async (stage) => {
    const { heartbeat, count } = stage.scale.quick ? { heartbeat: 1, count: 500 } : { heartbeat: 30, count: 10_000 }
    const seconds = 2 * heartbeat
    Machine.requireOpenFiles(count + 200)

    const watch = async (server: Watched, kind: Kind, url: string) => {
      const holder = await stage.start<Holder>("rawHolder", "rawHolder")
      await holder.call("hold", { url, count, kind })
      // Whatever is left to collect, and to compile, is the work of opening them.
      await server.call("memory", undefined)
      await sleep(seconds * 50)
      const [time, answered] = [await server.processorTime(), await holder.call("answered", undefined)]
      await sleep(seconds * 1000)
      const share = ((await server.processorTime()) - time) / (seconds * 1e4)
      const answers = ((await holder.call("answered", undefined)) - answered) / seconds
      await stage.stop(holder)
      return { share, answers }
    }

    const ofRuntime = async (kind: Kind) => {
      const server = await stage.start<Server>("server", "server")
      const values = await watch(server, kind, await server.call("serve", { heartbeat }))
      await stage.stop(server)
      return values
    }

    return [
      { name: silent, kind: "system", run: () => ofRuntime("session") },
      { name: beating, kind: "system", run: () => ofRuntime("heartbeat") },
      {
        name: pings,
        kind: "raw",
        run: async () => {
          const server = await stage.start<RawServer>("rawServer", "rawServer")
          const url = await server.call("serve", {})
          const values = await watch(server, "connection", `${url}/ping/${heartbeat}`)
          await stage.stop(server)
          return values
        }
      }
    ]
  }
})
