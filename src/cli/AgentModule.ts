/**
 * A module of agents, as `arcp serve` takes it: JavaScript, or TypeScript whose types can be stripped.
 *
 * An agent is exported as the `Layer` that registers it, which is what `toLayer` makes; an array of layers counts as its members. If the
 * default export holds layers, it is all that is served; else every named export that does. Other exports are left alone. A layer has to
 * bring the services that it needs: of this process it gets none, and the file system of a job comes from the job's lease.
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Agent } from "effect-arcp/runtime"
 *
 * const Greeter = Agent.make({ name: "greeter", input: Schema.String, output: Schema.String })
 *
 * export default Greeter.toLayer((name) => Effect.succeed(`Hello, ${name}!`))
 * ```
 *
 * @since 0.1.0
 */
import { Array, Cause, Effect, FileSystem, Layer, Path, Predicate, Schema } from "effect"
import * as LeasedServices from "../leased/LeasedServices.ts"
import * as AgentRegistry from "../runtime/AgentRegistry.ts"

/**
 * The module cannot be loaded, or what it exports cannot be served.
 *
 * @category errors
 * @since 0.1.0
 */
export class AgentModuleError extends Schema.TaggedError<AgentModuleError>("arcp/cli/AgentModuleError")(
  "AgentModuleError",
  {
    /** The file, as it was given. */
    file: Schema.String,
    problem: Schema.String,
    cause: Schema.optionalKey(Schema.Defect())
  }
) {
  override get message() {
    return `${this.file}: ${this.problem}`
  }
}

/** A layer from a module that nobody has type-checked against this program: what it needs shows when it is built. */
type AgentLayer = Layer.Layer<never, unknown, AgentRegistry.AgentRegistry>

/**
 * The agents that a module exports, as one layer. It fails, when it is built, if one of them does, and if they register no agent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const load = Effect.fn("AgentModule.load")(function* (file: string) {
  const path = yield* Path.Path
  const files = yield* FileSystem.FileSystem
  if (!(yield* Effect.orElseSucceed(files.exists(file), () => false))) {
    return yield* new AgentModuleError({ file, problem: "there is no such file" })
  }
  const url = yield* Effect.orDie(path.toFileUrl(path.resolve(file)))
  const exports = yield* Effect.tryPromise({
    try: (): Promise<object> => import(url.href),
    catch: (cause) => new AgentModuleError({ file, problem: `cannot be loaded: ${messageOf(cause)}`, cause })
  })
  const layers = select(exports)
  return Array.isReadonlyArrayNonEmpty(layers)
    ? build(file, Layer.mergeAll(...layers))
    : yield* new AgentModuleError({ file, problem: `exports no agents. ${adviceFor(exports)}` })
})

/** The layers among the exports of a module. */
const select = (exports: object): ReadonlyArray<AgentLayer> => {
  const byDefault = "default" in exports ? layersOf(exports.default) : []
  return byDefault.length > 0 ? byDefault : Object.values(exports).flatMap(layersOf)
}

const isAgentLayer = (value: unknown): value is AgentLayer => Layer.isLayer(value)

const layersOf = (value: unknown): ReadonlyArray<AgentLayer> =>
  globalThis.Array.isArray(value) ? value.filter(isAgentLayer) : isAgentLayer(value) ? [value] : []

const adviceFor = (exports: object): string => {
  const contract = Object.entries(exports).find(([, value]) => Predicate.hasProperty(value, "toLayer"))
  return contract === undefined
    ? "Export what an agent's toLayer(handler) returns, or an array of that."
    : `${contract[0]} has no handler yet: export what ${contract[0]}.toLayer(handler) returns.`
}

/** Names the file in whatever goes wrong in code that is not ours. */
const build = (file: string, agents: AgentLayer): Layer.Layer<never, AgentModuleError, AgentRegistry.AgentRegistry> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { inventory } = yield* AgentRegistry.AgentRegistry
      if ((yield* inventory).length === 0) {
        return yield* new AgentModuleError({ file, problem: "exports layers, but none of them registers an agent" })
      }
    })
  ).pipe(
    Layer.provide(confine(agents)),
    Layer.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Layer.effectDiscard(Effect.interrupt)
      const error = Cause.squash(cause)
      return Layer.effectDiscard(
        error instanceof AgentModuleError
          ? error
          : new AgentModuleError({ file, problem: `its agents cannot be built: ${messageOf(error)}`, cause: error })
      )
    })
  )

/** While they are built there is no job, and so no lease that would allow anything. */
const confine = (agents: AgentLayer) => Layer.provide(agents, Layer.succeedContext(LeasedServices.refusing))

const messageOf = (cause: unknown): string =>
  cause instanceof Error && cause.message !== "" ? cause.message : `it failed with ${String(cause)}`
