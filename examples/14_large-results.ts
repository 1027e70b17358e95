/**
 * A result that is too large to hold: written as a stream, read as a stream, never faster than it is put away.
 *
 * An agent answers with a file that nobody has in memory: it gives a `Stream`, and the runtime cuts it into chunks. The client runs it
 * into a `Sink`, here a disk that is slow. A chunk counts as read when the sink asks for the next one, and an agent that is a window
 * ahead of its reader waits, over the wire and all. So neither side holds more than the window, however large the file is. Meanwhile
 * `job.received` tells how much is here.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/node` for `../src/node/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Redacted, Ref, Schema, Sink, Stream } from "effect"
import * as Assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { ArcpClient } from "../src/client/index.ts"
import { NodeArcp, NodeWebSocketListener } from "../src/node/index.ts"
import { Agent, JobContext, RuntimeConfig } from "../src/runtime/index.ts"

const mebi = 1024 * 1024
/** What the agent may be ahead of its reader, in characters on the wire. By default it is 1 MiB. */
const window = mebi / 2
/** The most bytes of a result. By default it is 256 MiB. */
const largest = 8 * mebi

// -------------------------------------------------------------------------------------------------------------- the agent

/** Answers with so many bytes. The bytes of a result are in base64 where it is read as one value. */
const Archive = Agent.make({
  name: "archive",
  input: Schema.Struct({ bytes: Schema.Int }),
  output: Schema.Uint8ArrayFromBase64
})

const partLength = 65_536

/** The byte at this place of every archive. */
const byteAt = (offset: number) => Math.floor(offset / partLength) % 251

/** How much of it the agent has written, which a client could not know; here both are in one process. */
const written = Ref.makeUnsafe(0)

const ArchiveLive = Archive.toLayer(
  Effect.fnUntraced(function* ({ bytes }) {
    const job = yield* JobContext.JobContext
    const parts = Stream.range(1, bytes / partLength).pipe(
      Stream.mapEffect((number) =>
        Effect.as(
          Ref.set(written, number * partLength),
          new Uint8Array(partLength).fill(byteAt((number - 1) * partLength))
        )
      ),
      Stream.rechunk(1)
    )
    return yield* job.streamResult(parts)
  })
)

// ------------------------------------------------------------------------------------------------------------- the client

/** A disk that takes some 4 MiB a second. */
const slowDisk = (put: (part: Uint8Array) => Effect.Effect<void>) =>
  Sink.forEach((part: Uint8Array) => Effect.andThen(Effect.sleep(part.length / 4096), put(part)))

const inMebi = (bytes: number) => (bytes / mebi).toFixed(1).padStart(4)

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const size = 6 * mebi
  const job = yield* client.submit(Archive, { bytes: size })

  let received = 0
  yield* Effect.forkScoped(Stream.runForEach(job.received, (bytes) => Effect.sync(() => (received = bytes))))

  let saved = 0
  let shown = 0
  let furthest = 0
  const put = Effect.fnUntraced(function* (part: Uint8Array) {
    Assert.ok(part.every((byte, index) => byte === byteAt(saved + index)))
    saved += part.length
    const ahead = (yield* Ref.get(written)) - saved
    furthest = Math.max(furthest, ahead)
    if (saved - shown < mebi && saved < size) return
    shown = saved
    yield* Console.log(
      `saved ${inMebi(saved)} of ${inMebi(size)} MiB, received ${inMebi(received)}, the agent is ${inMebi(ahead)} ahead`
    )
  })
  yield* Stream.run(job.content, slowDisk(put))

  Assert.deepEqual([saved, received, yield* Ref.get(written)], [size, size, size])
  yield* Console.log(`the agent was never more than ${inMebi(furthest).trim()} MiB ahead: it waited for the disk`)
  Assert.ok(furthest > 0 && furthest < 2 * mebi, `${furthest} bytes ahead`)

  // What is small enough can be had as one value, in the type of the contract.
  const small = yield* client.run(Archive, { bytes: mebi })
  Assert.equal(small.length, mebi)
  yield* Console.log(`${inMebi(small.length).trim()} MiB as one value`)

  // What is larger than the runtime allows ends as a typed error, before any of what is too much is sent.
  const error = yield* Effect.flip(client.run(Archive, { bytes: 2 * largest }))
  Assert.equal(error._tag, "InternalError")
  yield* Console.log(`${inMebi(2 * largest).trim()} MiB: ${error.message}`)
}).pipe(Effect.scoped)

const token = Redacted.make(randomBytes(16).toString("hex"))

const Server = NodeArcp.layerServer(ArchiveLive, { tokens: [{ token, principal: "me" }] }).pipe(
  Layer.provide(RuntimeConfig.layer({ pacingWindow: window, maxResult: largest }))
)

const Client = Layer.unwrap(
  Effect.map(NodeWebSocketListener.Address, ({ url }) => NodeArcp.layerClient({ url, token }))
)

program.pipe(Effect.provide(Client.pipe(Layer.provide(Server))), NodeRuntime.runMain)
