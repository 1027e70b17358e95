import * as Case from "../Case.ts"
import type { Commands as Client } from "../peers/client.ts"
import type { Commands as RawClient } from "../peers/rawClient.ts"
import type { Commands as RawServer } from "../peers/rawServer.ts"
import type { Commands as Server } from "../peers/server.ts"

const micros = (millis: ReadonlyArray<number>, share: number) => Case.quantile(millis, share) * 1000

const timed = ({
  accepted,
  results
}: {
  readonly accepted: ReadonlyArray<number>
  readonly results: ReadonlyArray<number>
}) => ({
  accepted50: micros(accepted, 0.5),
  accepted99: micros(accepted, 0.99),
  result50: micros(results, 0.5),
  result99: micros(results, 0.99)
})

const system = "runtime and ArcpClient"
const raw = "ws, JSON echo"

/** How long a job takes that does nothing. */
export const submits = Case.make({
  id: "submits",
  title: "jobs that do nothing over WebSocket, two processes",
  notes: ["Times are of one job after the other; the rate is with 64 under way. Raw: a JSON message there and back."],
  metrics: [
    { id: "accepted50", name: "to accepted, p50", unit: "us", against: "result50" },
    { id: "accepted99", name: "to accepted, p99", unit: "us", against: "result99" },
    { id: "result50", name: "to result, p50", unit: "us", demands: [{ of: system, to: { subject: raw }, atMost: 3 }] },
    { id: "result99", name: "to result, p99", unit: "us" },
    {
      id: "rate",
      name: "64 in flight",
      unit: "jobs/s",
      demands: [{ of: system, to: { subject: raw }, atLeast: 0.4 }]
    }
  ],
  open: async (stage) => {
    const [count, many] = stage.scale.quick ? [100, 600] : [2000, 10_000]
    const width = 64
    const [server, client, rawServer, rawClient] = await Promise.all([
      stage.start<Server>("server", "server"),
      stage.start<Client>("client", "client"),
      stage.start<RawServer>("rawServer", "rawServer"),
      stage.start<RawClient>("rawClient", "rawClient")
    ])
    const [url, rawUrl] = await Promise.all([server.call("serve", {}), rawServer.call("serve", {})])
    await client.call("open", { url })

    return [
      {
        name: system,
        kind: "system",
        run: async () => ({
          ...timed(await client.call("latencies", { count })),
          rate: await client.call("inFlight", { count: many, width })
        })
      },
      {
        name: "runtime and a raw client",
        kind: "system",
        run: async () => ({
          ...timed(await rawClient.call("latencies", { url, count })),
          rate: await rawClient.call("inFlight", { url, count: many, width })
        })
      },
      {
        name: raw,
        kind: "raw",
        run: async () => {
          const times = await rawClient.call("echo", { url: rawUrl, count })
          return {
            result50: micros(times, 0.5),
            result99: micros(times, 0.99),
            rate: await rawClient.call("echoInFlight", { url: rawUrl, count: many, width })
          }
        }
      }
    ]
  }
})
