/**
 * A transport of your own: the runtime lives in a worker thread, and frames go over message ports.
 *
 * All that a transport supplies is a line of text frames (`Connection.Frames`): pull, send, close. `Dialer.layer` and `Listener.layer`
 * make the two ports out of it, and nothing else of the program changes. The line here is paced: a batch goes out once the other side has
 * pulled the one before, so a slow reader slows down its sender and nothing piles up between them.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/session` for `../src/session/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Array as Arr, Console, Effect, Layer, Queue, Redacted, Result, Schema, Stream } from "effect"
import * as Assert from "node:assert/strict"
import { isMainThread, MessageChannel, type MessagePort, parentPort, threadId, Worker } from "node:worker_threads"
import { Authenticator } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { Frame, JobEvent } from "../src/protocol/index.ts"
import { Agent, ArcpServer, JobContext } from "../src/runtime/index.ts"
import { Acceptor, Connection, Dialer, Listener } from "../src/session/index.ts"

// ------------------------------------------------------------------------------------------------------ the transport

type Batch = Effect.Success<Connection.Frames["pull"]>

/** The line over one port: a message is a batch of frames, or says that one was pulled. */
const line = Effect.fn(function* (port: MessagePort) {
  const inbox = yield* Queue.bounded<Batch, Connection.ConnectionError>(1)
  const credit = yield* Queue.bounded<"pulled", Connection.ConnectionError>(1)
  yield* Queue.offer(credit, "pulled")
  port.on("message", (message: Batch | "pulled") => {
    if (message === "pulled") Queue.offerUnsafe(credit, message)
    else Queue.offerUnsafe(inbox, message)
  })
  port.on("close", () => {
    const closed = new Connection.ConnectionError({ reason: "closed", message: "the port is closed" })
    Effect.runSync(Effect.andThen(Queue.fail(inbox, closed), Queue.fail(credit, closed)))
  })
  const close = Effect.sync(() => port.close())
  yield* Effect.addFinalizer(() => close)
  const post = (message: Batch | "pulled") => Effect.sync(() => port.postMessage(message))
  return {
    secure: true,
    peer: "thread",
    pull: Effect.tap(Queue.take(inbox), () => post("pulled")),
    send: (frames) => Effect.andThen(Queue.take(credit), post(Arr.map(frames, Frame.textOf))),
    close: () => close
  } satisfies Connection.Frames
})

/** Each connection is a channel of its own, whose far end the worker gets. */
const dialer = (worker: Worker) =>
  Dialer.layer(
    Effect.suspend(() => {
      const { port1, port2 } = new MessageChannel()
      worker.postMessage(port2, [port2])
      return line(port1)
    })
  )

const listener = (main: MessagePort) =>
  Listener.layer((accept) =>
    Effect.map(Acceptor.make(accept), (serve) => {
      main.on("message", (port: MessagePort) => serve(line(port)))
    })
  )

// -------------------------------------------------------------------------------------------------------- the program

const Thread = Agent.make({ name: "thread", input: Schema.Struct({ events: Schema.Int }), output: Schema.Int })

const ThreadLive = Thread.toLayer(
  Effect.fnUntraced(function* ({ events }) {
    const job = yield* JobContext.JobContext
    for (let n = 0; n < events; n++) yield* job.metric("n", n)
    return threadId
  })
)

const token = Redacted.make("a token for this example")

const serve = (main: MessagePort) =>
  ArcpServer.serve(ThreadLive).pipe(
    Layer.provide(Authenticator.layerStatic([{ token, principal: "main" }])),
    Layer.provide(listener(main)),
    Layer.launch
  )

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const job = yield* client.submit(Thread, { events: 1000 })
  const heard = yield* job.events.pipe(
    Stream.filterMap((event) => (JobEvent.is(event, "metric") ? Result.succeed(event.body.value) : Result.failVoid)),
    Stream.runCollect
  )
  const thread = yield* job.result
  yield* Console.log(`thread ${thread} said ${heard.length} things to thread ${threadId}`)
  Assert.notEqual(thread, threadId)
  Assert.deepEqual(
    heard,
    Array.from({ length: 1000 }, (_, n) => n)
  )
})

const Client = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new Worker(new URL(import.meta.url))),
      (worker) => Effect.promise(() => worker.terminate())
    ),
    (worker) => ArcpClient.ArcpClient.layer({ token }).pipe(Layer.provide(dialer(worker)))
  )
)

if (isMainThread) program.pipe(Effect.provide(Client), NodeRuntime.runMain)
else if (parentPort !== null) NodeRuntime.runMain(serve(parentPort))
