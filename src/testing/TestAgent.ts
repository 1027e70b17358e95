/**
 * Agents of every temper, to try a runtime or a client on.
 *
 * @since 0.1.0
 */
import { Context, Effect, Latch, Layer, Schema, Stream } from "effect"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Json from "../protocol/Json.ts"
import * as Agent from "../runtime/Agent.ts"
import type * as AgentRegistry from "../runtime/AgentRegistry.ts"
import * as JobContext from "../runtime/JobContext.ts"

/**
 * Answers its input.
 *
 * @category agents
 * @since 0.1.0
 */
export const Echo = Agent.make({ name: "tck-echo", version: "1.0.0", input: Json.Json, output: Json.Json })

/**
 * Says `line 1` and so on, as often as its input says, three times without one, and answers how often.
 *
 * @category agents
 * @since 0.1.0
 */
export const LogEmitter = Agent.make({
  name: "tck-log-emitter",
  version: "1.0.0",
  input: Schema.NullOr(Schema.Int),
  output: Schema.Int
})

/**
 * Sleeps as many seconds as its input says. If it is interrupted it says `woken` first.
 *
 * @category agents
 * @since 0.1.0
 */
export const Sleeper = Agent.make({
  name: "sleeper",
  version: "1.0.0",
  input: Schema.Finite,
  output: Schema.Literal("slept")
})

/**
 * Says `holding` and does not react to anything until {@link Stubbornness} is released; then it says `released`.
 *
 * @category agents
 * @since 0.1.0
 */
export const Stubborn = Agent.make({
  name: "stubborn",
  version: "1.0.0",
  input: Json.Json,
  output: Schema.Literal("released")
})

/**
 * Emits every kind of event that an agent can, and one of a vendor, and streams its result.
 *
 * @category agents
 * @since 0.1.0
 */
export const KitchenSink = Agent.make({
  name: "kitchen-sink",
  version: "1.0.0",
  input: Json.Json,
  output: Schema.String
})

/**
 * The error that {@link Failing} declares.
 *
 * @category errors
 * @since 0.1.0
 */
export class Spilled extends Schema.TaggedError<Spilled>("arcp/testing/Spilled")("Spilled", {
  litres: Schema.Finite
}) {}

/**
 * Fails as its input says: `defect` and `thrown` are bugs, `declared` the error of its contract, `lease` and `budget` errors of the
 * protocol, `interrupted` an agent that ends itself.
 *
 * @category agents
 * @since 0.1.0
 */
export const Failing = Agent.make({
  name: "failing",
  version: "1.0.0",
  input: Schema.Literals(["defect", "thrown", "declared", "lease", "budget", "interrupted"]),
  output: Schema.Never,
  error: Spilled,
  errorCode: "PERMISSION_DENIED"
})

/**
 * Streams the parts of its input as its result.
 *
 * @category agents
 * @since 0.1.0
 */
export const Streamer = Agent.make({
  name: "streamer",
  version: "1.0.0",
  input: Schema.Array(Schema.String),
  output: Schema.String
})

/**
 * Answers what JSON cannot hold.
 *
 * @category agents
 * @since 0.1.0
 */
export const Unencodable = Agent.make({
  name: "unencodable",
  version: "1.0.0",
  input: Schema.Literals(["bigint", "cycle"]),
  output: Schema.Unknown
})

/**
 * What holds {@link Stubborn}.
 *
 * @category services
 * @since 0.1.0
 */
export class Stubbornness extends Context.Service<
  Stubbornness,
  {
    /** Lets go of all that hold now and from now on. */
    readonly release: Effect.Effect<void>
  }
>()("arcp/testing/Stubbornness") {}

/**
 * {@link Stubborn} with its release, which also happens when the layer closes.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStubborn: Layer.Layer<Stubbornness, never, AgentRegistry.AgentRegistry> = Layer.unwrap(
  Effect.gen(function* () {
    const latch = yield* Effect.acquireRelease(Latch.make(), (latch) => latch.open)
    const agent = Stubborn.toLayer(
      Effect.fnUntraced(function* () {
        const job = yield* JobContext.JobContext
        yield* job.log("info", "holding")
        yield* latch.await
        yield* job.log("info", "released")
        return "released" as const
      }, Effect.uninterruptible)
    )
    return Layer.merge(agent, Layer.succeed(Stubbornness, { release: Effect.asVoid(latch.open) }))
  })
)

const echo = Echo.toLayer(Effect.succeed)

const logEmitter = LogEmitter.toLayer(
  Effect.fnUntraced(function* (input) {
    const times = input ?? 3
    const job = yield* JobContext.JobContext
    for (let line = 1; line <= times; line++) yield* job.log("info", `line ${line}`)
    return times
  })
)

const sleeper = Sleeper.toLayer(
  Effect.fnUntraced(function* (seconds) {
    const job = yield* JobContext.JobContext
    yield* Effect.onInterrupt(Effect.sleep(`${seconds} seconds`), () => Effect.ignore(job.log("warn", "woken")))
    return "slept" as const
  })
)

const kitchenSink = KitchenSink.toLayer(
  Effect.fnUntraced(function* () {
    const job = yield* JobContext.JobContext
    yield* job.log("info", "preheating", { degrees: 180 })
    yield* job.thought("the oven is warm")
    yield* job.status("baking", "in the oven")
    yield* job.metric("oven.temperature", 180, { unit: "celsius", dimensions: { shelf: "middle" } })
    yield* job.progress({ current: 1, total: 2, units: "trays", message: "first tray" })
    yield* job.artifact({ uri: "file:///cake.png", content_type: "image/png", byte_size: 3, sha256: "00" })
    yield* job.toolCall({ tool: "timer", args: { minutes: 30 }, call_id: "call_1" })
    yield* job.toolResult({ call_id: "call_1", result: "ding" })
    yield* job.toolResult({
      call_id: "call_2",
      error: ArcpError.toPayload(new ArcpError.PermissionDenied({ message: "no second timer" }))
    })
    yield* job.emit("x-vendor.test.crumb", { crumbs: 7 })
    return yield* job.streamResult(Stream.make("ca", "ke"))
  })
)

const failing = Failing.toLayer(
  Effect.fnUntraced(function* (how) {
    switch (how) {
      case "defect":
        return yield* Effect.die(new Error("the oven exploded at /secret/oven.ts"))
      case "thrown":
        throw new TypeError("undefined is no oven")
      case "declared":
        return yield* new Spilled({ litres: 2 })
      case "lease":
        return yield* new ArcpError.LeaseExpired({ message: "too late", retryable: true })
      case "budget":
        return yield* new ArcpError.BudgetExhausted({ message: "too dear", retryable: true })
      case "interrupted":
        return yield* Effect.interrupt
    }
  })
)

const streamer = Streamer.toLayer(
  Effect.fnUntraced(function* (parts) {
    const job = yield* JobContext.JobContext
    return yield* job.streamResult(Stream.fromIterable(parts))
  })
)

const unencodable = Unencodable.toLayer((what) =>
  Effect.sync(() => {
    if (what === "bigint") return 10n
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    return cycle
  })
)

/**
 * All of these agents but {@link Stubborn}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never, never, AgentRegistry.AgentRegistry> = Layer.mergeAll(
  echo,
  logEmitter,
  sleeper,
  kitchenSink,
  failing,
  streamer,
  unencodable
)
