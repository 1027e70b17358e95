/**
 * An application that you already have gains a runtime.
 *
 * The first half is the application as it was: a service, an HTTP API over it, one `Layer`. The second half adds an agent that uses the
 * same service, and merges the runtime into the same graph. The service is built once, so what the agent does the API shows.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/runtime` for `../src/runtime/index.ts`, and so on.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Console, Context, Effect, Layer, Redacted, Ref, Schema } from "effect"
import { FetchHttpClient, HttpClient, HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import * as Assert from "node:assert/strict"
import { createServer } from "node:http"
import { Authenticator } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { NodeWebSocketDialer, NodeWebSocketListener } from "../src/node/index.ts"
import { Agent, ArcpServer, JobContext } from "../src/runtime/index.ts"

// ---------------------------------------------------------------------------------------------------- the application

class Stock extends Context.Service<
  Stock,
  { readonly left: Effect.Effect<number>; readonly take: (count: number) => Effect.Effect<number> }
>()("app/Stock") {
  static readonly layer = Layer.effect(
    Stock,
    Effect.map(Ref.make(10), (left) =>
      Stock.of({ left: Ref.get(left), take: (count) => Ref.updateAndGet(left, (now) => Math.max(0, now - count)) })
    )
  )
}

const Api = HttpRouter.add(
  "GET",
  "/stock",
  Effect.gen(function* () {
    const { left } = yield* Stock
    return HttpServerResponse.jsonUnsafe({ left: yield* left })
  })
)

const App = HttpRouter.serve(Api, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
)

// ------------------------------------------------------------------------------------------------------- what is new

const Reserve = Agent.make({ name: "reserve", input: Schema.Struct({ count: Schema.Int }), output: Schema.Int })

/** Asks for the application's service like any other part of the application; the compiler wants it provided below. */
const ReserveLive = Reserve.toLayer(
  Effect.fnUntraced(function* ({ count }) {
    const job = yield* JobContext.JobContext
    const stock = yield* Stock
    yield* job.log("info", `${job.principal} takes ${count}`)
    return yield* stock.take(count)
  })
)

const token = Redacted.make("a token for this example")

const Agents = ArcpServer.serve(ReserveLive).pipe(
  Layer.provide(Authenticator.layerStatic([{ token, principal: "warehouse" }])),
  Layer.provideMerge(NodeWebSocketListener.layer())
)

/** One graph, one `Stock`. A service as this would end with `Layer.launch(AppWithAgents).pipe(NodeRuntime.runMain)`. */
const AppWithAgents = Layer.merge(App, Agents).pipe(Layer.provide(Stock.layer))

// ---------------------------------------------------------------------------------------------------------- the check

const Client = Layer.unwrap(
  Effect.map(NodeWebSocketListener.Address, ({ url }) =>
    ArcpClient.ArcpClient.layer({ token }).pipe(Layer.provide(NodeWebSocketDialer.layer({ url })))
  )
)

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const http = yield* HttpClient.HttpClient
  const api = HttpServer.formatAddress((yield* HttpServer.HttpServer).address)
  const left = Effect.flatMap(http.get(`${api}/stock`), (response) => response.json)

  yield* Console.log("before ", yield* left)
  const reserved = yield* client.run(Reserve, { count: 4 })
  const after = yield* left
  yield* Console.log("after  ", after)
  Assert.equal(reserved, 6)
  Assert.deepEqual(after, { left: 6 })
})

program.pipe(
  Effect.provide(Client),
  Effect.provide(AppWithAgents),
  Effect.provide(FetchHttpClient.layer),
  NodeRuntime.runMain
)
