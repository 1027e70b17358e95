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

let read = 0
/** Why no more will be read. */
let failure: unknown

const commands = {
  open: async ({ url }: { readonly url: string }) => {
    opened = makeRuntime(url)
    await opened.context()
  },
  events: ({ count }: { readonly count: number }) =>
    runtime().runPromise(
      Drive.events(count, (events) => {
        read = events
      })
    ),
  latencies: ({ count }: { readonly count: number }) => runtime().runPromise(Drive.latencies(count)),
  inFlight: ({ count, width }: { readonly count: number; readonly width: number }) =>
    runtime().runPromise(Drive.inFlight(count, width)),
  /** Goes on until the process ends. */
  slowly: (rate: { readonly said: number; readonly read: number }) => {
    runtime()
      .runPromise(Drive.slowly(rate.said, rate.read, () => read++))
      .catch((cause: unknown) => {
        failure = cause
      })
  },
  /** How many events were read so far. */
  read: () => {
    if (failure !== undefined) throw failure
    return read
  },
  memory: Peer.memory
}

export type Commands = typeof commands

Peer.serve(commands)
