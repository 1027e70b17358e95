/**
 * A connection that breaks in the middle of a job, twice.
 *
 * A session outlives its connections. When a line goes, the client dials again by itself and says which event it had last; the runtime
 * sends what came after. Whoever reads the events or awaits the result notices nothing: each event comes once, in order. Who wants to know
 * watches `client.state`. Meanwhile the job runs on, so how long an outage may last is a matter of the runtime's `resumeWindow`, and of how
 * much of a job's history it keeps, `maxJournalPerJob`.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/node` for `../src/node/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Context, Effect, Layer, Redacted, Schema, Stream } from "effect"
import * as Assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import * as Net from "node:net"
import { ArcpClient, type ConnectionState } from "../src/client/index.ts"
import { NodeArcp, NodeWebSocketListener } from "../src/node/index.ts"
import { JobEvent } from "../src/protocol/index.ts"
import { Agent, JobContext } from "../src/runtime/index.ts"

const token = Redacted.make(randomBytes(16).toString("hex"))

const Counter = Agent.make({ name: "counter", input: Schema.Struct({ to: Schema.Int }), output: Schema.String })

const CounterLive = Counter.toLayer(
  Effect.fnUntraced(function* ({ to }) {
    const job = yield* JobContext.JobContext
    for (let current = 1; current <= to; current++) {
      yield* job.progress({ current, total: to })
      yield* Effect.sleep("1 millis")
    }
    return `counted to ${to}`
  })
)

/** The way to the runtime: passes on what it is given, until it is cut. */
class Line extends Context.Service<Line, { readonly url: string; readonly cut: Effect.Effect<void> }>()("Line") {
  static readonly layer = Layer.effect(
    Line,
    Effect.gen(function* () {
      const { port } = yield* NodeWebSocketListener.Address
      const open = new Set<Net.Socket>()
      const cut = Effect.sync(() => open.forEach((socket) => socket.destroy()))
      const join = (from: Net.Socket, to: Net.Socket) => {
        open.add(from)
        from.on("error", () => {})
        from.once("close", () => {
          open.delete(from)
          to.destroy()
        })
        from.pipe(to)
      }
      const server = Net.createServer((near) => {
        const far = Net.connect(port, "127.0.0.1")
        join(near, far)
        join(far, near)
      })
      yield* Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      })
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          cut,
          Effect.sync(() => server.close())
        )
      )
      const address = server.address()
      Assert.ok(typeof address === "object" && address !== null)
      return { url: `ws://127.0.0.1:${address.port}/arcp`, cut }
    })
  )
}

const describe = (state: ConnectionState.ConnectionState) =>
  state._tag === "Connected"
    ? `connected, session ${state.sessionId.slice(-6)}`
    : `${state._tag}: ${state.cause.message}`

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const line = yield* Line
  const states: Array<string> = []
  yield* client.state.pipe(
    Stream.tap((state) => Console.log(describe(state))),
    Stream.runForEach((state) => Effect.sync(() => states.push(state._tag))),
    Effect.forkScoped
  )

  const to = 300
  const job = yield* client.submit(Counter, { to })
  const numbers = yield* job.events.pipe(
    Stream.filter(JobEvent.is("progress")),
    Stream.map(({ body }) => body.current),
    Stream.tap((number) =>
      number % 100 === 50 && number < 200
        ? Effect.andThen(Console.log(`read ${number}, and cut`), line.cut)
        : Effect.void
    ),
    Stream.runCollect
  )
  yield* Console.log(yield* job.result)

  Assert.deepEqual(
    numbers,
    Array.from({ length: to }, (_, index) => index + 1)
  )
  Assert.deepEqual(states, ["Connected", "Reconnecting", "Connected", "Reconnecting", "Connected"])
  yield* Console.log(`${numbers.length} events over 3 connections, each once and in order`)
}).pipe(Effect.scoped)

/** The client asks for the port of the line; a runtime answers to its own alone unless told otherwise. */
const Server = NodeArcp.layerServer(CounterLive, { tokens: [{ token, principal: "me" }], hosts: ["127.0.0.1"] })

const Client = Layer.unwrap(Effect.map(Line, ({ url }) => NodeArcp.layerClient({ url, token })))

program.pipe(Effect.provide(Client.pipe(Layer.provideMerge(Line.layer), Layer.provide(Server))), NodeRuntime.runMain)
