import * as Case from "../Case.ts"
import type { Commands } from "../peers/inMemory.ts"

/** What an event costs both sides together, without a network. */
export const inMemory = Case.make({
  id: "memory",
  title: "events of one job in memory, one process",
  notes: [
    "Runtime and client share one thread. Raw: JSON.stringify and JSON.parse of the same frames, in batches of 64."
  ],
  metrics: [{ id: "rate", name: "events", unit: "events/s" }],
  open: async (stage) => {
    const count = stage.scale.quick ? 10_000 : 200_000
    const peer = await stage.start<Commands>("inMemory", "process")
    return [
      {
        name: "runtime to ArcpClient",
        kind: "system",
        run: async () => ({ rate: await peer.call("events", { count }) })
      },
      {
        name: "MemoryTransport alone, batches of 64",
        kind: "system",
        run: async () => ({ rate: await peer.call("network", { count }) })
      },
      { name: "JSON there and back", kind: "raw", run: async () => ({ rate: await peer.call("json", { count }) }) }
    ]
  }
})
