/**
 * Our client over WebSocket, as a program would use it.
 */
import { Layer, ManagedRuntime, Redacted } from "effect"
import * as ArcpClient from "../../../src/client/ArcpClient.ts"
import * as NodeWebSocketDialer from "../../../src/node/NodeWebSocketDialer.ts"
import * as Drive from "../Drive.ts"
import * as Peer from "../Peer.ts"
import * as Workload from "../Workload.ts"

const makeRuntime = (url: string) =>
  ManagedRuntime.make(
    ArcpClient.ArcpClient.layer({ token: Redacted.make(Workload.token) }).pipe(
      Layer.provide(NodeWebSocketDialer.layer({ url }))
    )
  )

let opened: ReturnType<typeof makeRuntime> | undefined

const runtime = () => {
  if (opened === undefined) throw new Error("the client has not been opened")
  return opened
}

let reading: Promise<void> = Promise.resolve()
let read = 0

const commands = {
  open: async ({ url }: { readonly url: string }) => {
    opened = makeRuntime(url)
    await opened.context()
  },
  events: ({ count }: { readonly count: number }) => runtime().runPromise(Drive.events(count)),
  latencies: ({ count }: { readonly count: number }) => runtime().runPromise(Drive.latencies(count)),
  inFlight: ({ count, width }: { readonly count: number; readonly width: number }) =>
    runtime().runPromise(Drive.inFlight(count, width)),
  /** Goes on until the process ends. */
  slowly: (rate: { readonly said: number; readonly read: number }) => {
    reading = runtime().runPromise(Drive.slowly(rate.said, rate.read, () => read++))
    // Told by the next `read`.
    reading.catch(() => {})
  },
  /** How many events were read so far, or why no more will be. */
  read: () => Promise.race([reading, Promise.resolve(read)]),
  memory: Peer.memory
}

export type Commands = typeof commands

Peer.serve(commands)
