import * as Case from "../Case.ts"
import * as Machine from "../Machine.ts"
import type * as Peer from "../Peer.ts"
import type { Commands as Audience } from "../peers/rawAudience.ts"
import type { Commands as RawServer } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

/** How frames get to an audience. */
interface Delivery {
  readonly gather: (options: { readonly subscribers: number; readonly count: number }) => Promise<unknown>
  readonly go: () => Promise<unknown>
}

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
    { id: "thousand", name: "to 1,000 subscribers", unit: "frames/s" },
    { id: "hundredSender", name: "processor time of the sender, 100", unit: "us/frame" },
    { id: "thousandSender", name: "processor time of the sender, 1,000", unit: "us/frame" }
  ],
  rounds: ({ quick, rounds }) => (quick ? 1 : rounds),
  open: async (stage) => {
    Machine.requireOpenFiles(1200)
    const total = stage.scale.quick ? 100_000 : 1_000_000
    const [server, rawServer, audience] = await Promise.all([
      stage.start<Server>("server", "server"),
      stage.start<RawServer>("rawServer", "rawServer"),
      stage.start<Audience>("rawAudience", "rawAudience")
    ])
    const [url, rawUrl] = await Promise.all([server.call("serve", {}), rawServer.call("serve", {})])

    /** `gather` has everybody there, `go` has it sent. */
    const measure = async (
      sender: Pick<Peer.Peer<Peer.Commands>, "processorTime">,
      subscribers: number,
      { gather, go }: Delivery
    ) => {
      await gather({ subscribers, count: total / subscribers })
      const before = await sender.processorTime()
      await go()
      const seconds = await audience.call("served", undefined)
      const after = await sender.processorTime()
      await audience.call("leave", undefined)
      return { rate: total / seconds, sender: (after - before) / total }
    }

    const deliver = (
      name: string,
      kind: Case.Subject["kind"],
      sender: Pick<Peer.Peer<Peer.Commands>, "processorTime">,
      delivery: Delivery
    ): Case.Subject => ({
      name,
      kind,
      run: async () => {
        const hundred = await measure(sender, 100, delivery)
        const thousand = await measure(sender, 1000, delivery)
        return {
          hundred: hundred.rate,
          thousand: thousand.rate,
          hundredSender: hundred.sender,
          thousandSender: thousand.sender
        }
      }
    })

    return [
      deliver("runtime", "system", server, {
        gather: (options) => audience.call("subscribe", { url, ...options }),
        go: () => server.call("release", undefined)
      }),
      deliver(gathered, "raw", rawServer, {
        gather: (options) => audience.call("connect", { url: rawUrl, ...options }),
        go: () => audience.call("order", undefined)
      })
    ]
  }
})
