import * as Case from "../Case.ts"
import type * as Peer from "../Peer.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as RawClient } from "../peers/rawClient.ts"
import type { Commands as RawServer } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"
import * as Workload from "../Workload.ts"

const mebi = 2 ** 20

type Watched = Pick<Peer.Peer<Peer.Commands>, "watch" | "growth" | "stop">

const encodings = [
  { encoding: "utf8", system: "text to ArcpClient", raw: "ws, text" },
  { encoding: "base64", system: "bytes to ArcpClient", raw: "ws, bytes in base64" }
] as const

const grown = encodings.flatMap(({ raw, system }): ReadonlyArray<Case.Demand> => [
  { of: system, to: { subject: raw }, atMost: 1.5 },
  { of: system, atMost: 96 }
])

/** How fast a large result travels, and what it takes to hold on the way. */
export const documents = Case.make({
  id: "result",
  title: "a streamed result of 256 MiB, two processes",
  notes: [
    "In parts of 256 KiB; 32 MiB with --quick. Text is all ASCII, bytes are read from the base64 of their chunks.",
    "Raw: the same envelopes with JSON.stringify and JSON.parse, base64 by Buffer. Neither side keeps what it has read.",
    "Growth: the most that was resident on the way, less what was before. New processes for each round."
  ],
  metrics: [
    {
      id: "rate",
      name: "result",
      unit: "MiB/s",
      demands: encodings.map(({ raw, system }) => ({ of: system, to: { subject: raw }, atLeast: 0.5 }))
    },
    { id: "sender", name: "sender, growth", unit: "MiB", demands: grown },
    { id: "receiver", name: "receiver, growth", unit: "MiB", demands: grown }
  ],
  rounds: ({ quick }) => (quick ? 1 : 5),
  warmup: false,
  open: async (stage) => {
    const parts = ((stage.scale.quick ? 32 : 256) * mebi) / Workload.partSize

    const measure = async (sender: Watched, receiver: Watched, download: () => Promise<number>) => {
      await sender.watch()
      await receiver.watch()
      const rate = await download()
      const [sent, received] = [await sender.growth(), await receiver.growth()]
      await stage.stop(receiver)
      await stage.stop(sender)
      return { rate: (rate * Workload.partSize) / mebi, sender: sent / mebi, receiver: received / mebi }
    }

    return encodings.flatMap(({ encoding, raw, system }): ReadonlyArray<Case.Subject> => [
      {
        name: system,
        kind: "system",
        run: async () => {
          const server = await stage.start<Server>("server", "server")
          const client = await stage.start<Client>("client", "client")
          await client.call("open", { url: await server.call("serve", {}) })
          return measure(server, client, () => client.call("download", { parts, encoding }))
        }
      },
      {
        name: raw,
        kind: "raw",
        run: async () => {
          const server = await stage.start<RawServer>("rawServer", "rawServer")
          const client = await stage.start<RawClient>("rawClient", "rawClient")
          const url = await server.call("serve", {})
          return measure(server, client, () => client.call("download", { url, document: { parts, encoding } }))
        }
      }
    ])
  }
})
