/**
 * Errors are values with types, on both sides of the wire.
 *
 * An agent declares an error of its own; the caller catches it by tag, as the class that it was thrown as. Beside it come the fifteen of
 * the protocol, each with a tag and with the advice whether to try again, so a retry is one line.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/runtime` for `../src/runtime/index.ts`, and so on.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Redacted, Ref, Schedule, Schema } from "effect"
import * as Assert from "node:assert/strict"
import { Authenticator } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { ArcpError } from "../src/protocol/index.ts"
import { Agent, ArcpServer } from "../src/runtime/index.ts"
import { MemoryTransport } from "../src/transport/index.ts"

class OutOfStock extends Schema.TaggedError<OutOfStock>("shop/OutOfStock")("OutOfStock", {
  item: Schema.String,
  left: Schema.Int
}) {}

/** Fails with what it declares. Other clients see the code; ours gets the class. */
const Order = Agent.make({
  name: "order",
  version: "1.0.0",
  input: Schema.Struct({ item: Schema.String, count: Schema.Int }),
  output: Schema.Struct({ ordered: Schema.Int }),
  error: OutOfStock,
  errorCode: "INVALID_REQUEST"
})

const OrderLive = Order.toLayer(
  Effect.fnUntraced(function* ({ count, item }) {
    if (item === "engine") return yield* new ArcpError.PermissionDenied({ message: "Engines are not for sale" })
    if (count > 3) return yield* new OutOfStock({ item, left: 3 })
    return { ordered: count }
  })
)

/** Fails twice, with an error of the protocol that says that trying again may help. */
const Delivery = Agent.make({ name: "delivery", input: Schema.String, output: Schema.Int })

const DeliveryLive = Layer.unwrap(
  Effect.map(Ref.make(0), (attempts) =>
    Delivery.toLayer(
      Effect.fnUntraced(function* (_address) {
        const attempt = yield* Ref.updateAndGet(attempts, (n) => n + 1)
        if (attempt < 3) return yield* new ArcpError.InternalError({ message: `Nobody at home, attempt ${attempt}` })
        return attempt
      })
    )
  )
)

/** Every failure is in the type, and each `catchTag` takes its own out of it. */
const order = Effect.fn(function* (item: string, count: number) {
  const client = yield* ArcpClient.ArcpClient
  return yield* client.run(Order, { item, count }).pipe(
    Effect.map(({ ordered }) => `${ordered} x ${item} ordered`),
    Effect.catchTag("OutOfStock", ({ item, left }) => Effect.succeed(`only ${left} x ${item} left`)),
    Effect.catchTag("PermissionDenied", ({ message }) => Effect.succeed(`refused: ${message}`)),
    Effect.catchTag(["HeartbeatLost", "Timeout"], () => Effect.succeed("no answer; the job may still run"))
  )
})

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient

  const answers = yield* Effect.forEach(
    [
      ["wheel", 2],
      ["wheel", 9],
      ["engine", 1]
    ] as const,
    ([item, count]) => order(item, count)
  )
  yield* Console.log(answers.join("\n"))
  Assert.deepEqual(answers, ["2 x wheel ordered", "only 3 x wheel left", "refused: Engines are not for sale"])

  const attempts = yield* client.run(Delivery, "Main Street 1").pipe(
    Effect.tapError(({ message }) => Console.log(message)),
    Effect.retry({ while: (error) => error.retryable, schedule: Schedule.exponential("10 millis"), times: 5 })
  )
  yield* Console.log(`delivered at attempt ${attempts}`)
  Assert.equal(attempts, 3)

  // Input that does not fit the contract, and an agent that does not exist, fail at once: trying again would change nothing.
  const tooMany = yield* Effect.flip(client.run("order", { item: "wheel", count: 1.5 }))
  const unknown = yield* Effect.flip(client.run("orders", null))
  for (const error of [tooMany, unknown]) {
    yield* Console.log(`${ArcpError.code(error)}${error.retryable ? ", try again" : ""}: ${error.message}`)
  }
  Assert.deepEqual([tooMany._tag, unknown._tag], ["InvalidRequest", "AgentNotAvailable"])
  Assert.equal(tooMany.retryable || unknown.retryable, false)
})

const token = Redacted.make("a token for this example")

const Live = ArcpClient.ArcpClient.layer({ token }).pipe(
  Layer.provide(ArcpServer.serve(Layer.merge(OrderLive, DeliveryLive))),
  Layer.provide(Authenticator.layerStatic([{ token, principal: "shop" }])),
  Layer.provide(MemoryTransport.layer)
)

program.pipe(Effect.provide(Live), NodeRuntime.runMain)
