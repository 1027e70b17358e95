/**
 * Our client over WebSocket, as a program would use it.
 */
import { Effect, Latch, Layer, ManagedRuntime, Redacted, Schedule } from "effect"
import * as ArcpClient from "../../../src/client/ArcpClient.ts"
import * as NodeWebSocketDialer from "../../../src/node/NodeWebSocketDialer.ts"
import * as Connection from "../../../src/session/Connection.ts"
import * as Dialer from "../../../src/session/Dialer.ts"
import * as Drive from "../Drive.ts"
import * as Peer from "../Peer.ts"
import * as Timing from "../Timing.ts"
import * as Workload from "../Workload.ts"

/** Whether the runtime can be reached, and the newest line to it. */
const network = Latch.makeUnsafe(true)
let line: Connection.Frames | undefined

const makeRuntime = (url: string) => {
  const dial = Effect.tap(Effect.andThen(network.await, NodeWebSocketDialer.dial({ url })), (frames) =>
    Effect.sync(() => {
      line = frames
    })
  )
  const client = ArcpClient.ArcpClient.layer({
    token: Redacted.make(Workload.token),
    reconnect: Schedule.spaced("10 millis")
  })
  return ManagedRuntime.make(Layer.provide(client, Dialer.layer(dial)))
}

type Runtime = ReturnType<typeof makeRuntime>

let opened: ReadonlyArray<Runtime> = []

const runtime = (): Runtime => {
  const [first] = opened
  if (first === undefined) throw new Error("the client has not been opened")
  return first
}

let read = 0
/** Why no more will be read. */
let failure: unknown

const onRead = (more: number) => {
  read += more
}

/** What the next command goes on with. */
let rest: Effect.Effect<unknown, unknown> = Effect.die(new Error("nothing has begun"))

const commands = {
  /** Opens so many sessions, each over a connection of its own. */
  open: async ({ sessions = 1, url }: { readonly url: string; readonly sessions?: number }) => {
    opened = Array.from({ length: sessions }, () => makeRuntime(url))
    await Promise.all(opened.map((each) => each.context()))
  },
  /** Events per second of so many jobs at once in each session; `count` is that of one job. */
  events: ({ count, jobs = 1 }: { readonly count: number; readonly jobs?: number }) => {
    read = 0
    const one = Drive.events(count, onRead)
    const all = jobs === 1 ? one : Effect.replicateEffect(one, jobs, { concurrency: "unbounded", discard: true })
    return Timing.throughput(count * jobs * opened.length, () =>
      Promise.all(opened.map((each) => each.runPromise(all)))
    )
  },
  latencies: ({ count }: { readonly count: number }) => runtime().runPromise(Drive.latencies(count)),
  inFlight: ({ count, width }: { readonly count: number; readonly width: number }) =>
    Timing.throughput(count, () => runtime().runPromise(Drive.inFlight(count, width))),
  /** Goes on until the process ends. */
  slowly: (rate: { readonly said: number; readonly read: number }) => {
    runtime()
      .runPromise(Drive.slowly(rate.said, rate.read, () => onRead(1)))
      .catch((cause: unknown) => {
        failure = cause
      })
  },
  /** How many events were read so far. */
  read: () => {
    if (failure !== undefined) throw failure
    return read
  },
  /** Reads what a job says that never stops, until `cancel`. */
  flood: async () => {
    rest = await runtime().runPromise(Drive.floodUntilCancelled(onRead))
  },
  /** Milliseconds until the flood had its outcome. */
  cancel: () => runtime().runPromise(rest) as Promise<number>,
  /** Reads what a held job says before it waits; then the connection is lost, and there is no other until `resume`. */
  depart: async ({ after, before }: { readonly before: number; readonly after: number }) => {
    rest = await runtime().runPromise(Drive.held(before, after))
    network.closeUnsafe()
    await Effect.runPromise(line!.close(Connection.close.goingAway))
  },
  /** Milliseconds from when the runtime can be reached again to the end of the job. */
  resume: async () => {
    const began = performance.now()
    network.openUnsafe()
    await runtime().runPromise(rest)
    return performance.now() - began
  },
  /** Reads a streamed result; parts per second. */
  download: ({ encoding, parts }: { readonly parts: number; readonly encoding: Workload.Encoding }) =>
    Timing.throughput(parts, () => runtime().runPromise(Drive.download(parts, encoding))),
  memory: Peer.memory
}

export type Commands = typeof commands

Peer.serve(commands)
