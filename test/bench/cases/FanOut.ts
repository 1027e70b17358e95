import * as Case from "../Case.ts"
import type { Commands as Audience } from "../peers/rawAudience.ts"
import type { Commands as RawServer } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

const gathered = "ws, gathered by 64"

/** How fast one job reaches many. */
export const fanOut = Case.make({
  id: "fanout",
  title: "events of one job to many subscribers, two processes",
  notes: [
    "Delivered frames of all subscribers together, from the first that arrives to the last. Raw receivers on both sides: they count.",
    "Raw: the same frames to as many connections. A million of them in all; a tenth of that with --quick."
  ],
  metrics: [
    {
      id: "hundred",
      name: "to 100 subscribers",
      unit: "frames/s",
      demands: [{ to: { subject: gathered }, atLeast: 0.35 }]
    },
    { id: "thousand", name: "to 1,000 subscribers", unit: "frames/s" }
  ],
  open: async (stage) => {
    const total = stage.scale.quick ? 100_000 : 1_000_000
    const [server, rawServer, audience] = await Promise.all([
      stage.start<Server>("server", "server"),
      stage.start<RawServer>("rawServer", "rawServer"),
      stage.start<Audience>("rawAudience", "rawAudience")
    ])
    const [url, rawUrl] = await Promise.all([server.call("serve", {}), rawServer.call("serve", {})])

    const measure = async (subscribers: number, begin: (count: number) => Promise<unknown>) => {
      await begin(total / subscribers)
      const seconds = await audience.call("served", undefined)
      await audience.call("leave", undefined)
      return total / seconds
    }
    const fromRuntime = (subscribers: number) =>
      measure(subscribers, async (count) => {
        await audience.call("subscribe", { url, subscribers, count })
        await server.call("release", undefined)
      })
    const fromRaw = (subscribers: number) =>
      measure(subscribers, (count) => audience.call("connect", { url: rawUrl, subscribers, count }))

    return [
      {
        name: "runtime",
        kind: "system",
        run: async () => ({ hundred: await fromRuntime(100), thousand: await fromRuntime(1000) })
      },
      {
        name: gathered,
        kind: "raw",
        run: async () => ({ hundred: await fromRaw(100), thousand: await fromRaw(1000) })
      }
    ]
  }
})
