/**
 * Runtime and client in one process, with a network in memory between them; and the network alone.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import * as Authenticator from "../../../src/authority/Authenticator.ts"
import * as ArcpClient from "../../../src/client/ArcpClient.ts"
import * as ArcpServer from "../../../src/runtime/ArcpServer.ts"
import * as MemoryTransport from "../../../src/transport/MemoryTransport.ts"
import * as Agents from "../Agents.ts"
import * as Drive from "../Drive.ts"
import * as Peer from "../Peer.ts"
import * as Timing from "../Timing.ts"
import * as Workload from "../Workload.ts"

const token = Redacted.make(Workload.token)

const runtime = ManagedRuntime.make(
  Layer.merge(
    ArcpServer.serve(Agents.layer).pipe(Layer.provide(Authenticator.layerStatic([{ token, principal: "bench" }]))),
    ArcpClient.ArcpClient.layer({ token })
  ).pipe(Layer.provide(MemoryTransport.layer))
)

const batchSize = 64
const sequence = Array.from({ length: batchSize }, (_, index) => index)
const [first, ...rest] = sequence.map((index) => Workload.encodeEvent(index, Workload.eventBody()))
const batch: NonEmptyReadonlyArray<string> = [first!, ...rest]

const network = (count: number) =>
  Effect.gen(function* () {
    const [near, far] = yield* MemoryTransport.pair()
    const send = Effect.gen(function* () {
      for (let sent = 0; sent < count; sent += batchSize) yield* near.send(batch)
    })
    const receive = Effect.gen(function* () {
      for (let received = 0; received < count;) received += (yield* far.pull).length
    })
    yield* Effect.all([send, receive], { concurrency: 2, discard: true })
  })

/** Text and back, with one turn of the event loop's microtasks for each batch. */
const json = async (count: number) => {
  const id = "msg_01JZBENCH000000000000000AA"
  for (let done = 0; done < count; done += batchSize) {
    const texts = sequence.map((index) => JSON.stringify(Workload.eventFrame(done + index, id)))
    const frames = (await Promise.resolve(texts)).map((text): unknown => JSON.parse(text))
    if (frames.length !== batchSize) throw new Error("a frame was lost")
  }
}

const commands = {
  events: ({ count }: { readonly count: number }) =>
    Timing.throughput(count, () => runtime.runPromise(Drive.events(count))),
  network: ({ count }: { readonly count: number }) => Timing.throughput(count, () => Effect.runPromise(network(count))),
  json: ({ count }: { readonly count: number }) => Timing.throughput(count, () => json(count))
}

export type Commands = typeof commands

Peer.serve(commands)
