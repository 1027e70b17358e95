/**
 * Client and runtime in one process, in memory, as one layer: what an agent does is seen as a client of it sees it, and time passes when
 * the test says so.
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { TestClock } from "effect/testing"
 * import { ArcpClient } from "effect-arcp/client"
 * import { Agent } from "effect-arcp/runtime"
 * import { ArcpTest } from "effect-arcp/testing"
 *
 * const Nap = Agent.make({ name: "nap", input: Schema.Int, output: Schema.String })
 * const NapLive = Nap.toLayer((seconds) => Effect.as(Effect.sleep(`${seconds} seconds`), "rested"))
 *
 * const test = Effect.gen(function*() {
 *   const client = yield* ArcpClient.ArcpClient
 *   const job = yield* client.submit(Nap, 3600)
 *   yield* TestClock.adjust("1 hour")
 *   return yield* job.result
 * }).pipe(Effect.provide(ArcpTest.layer({ agents: NapLive })))
 * ```
 *
 * @since 0.1.0
 */
import { Effect, Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Authenticator from "../authority/Authenticator.ts"
import * as ArcpClient from "../client/ArcpClient.ts"
import type * as AgentRegistry from "../runtime/AgentRegistry.ts"
import * as ArcpServer from "../runtime/ArcpServer.ts"
import * as RuntimeConfig from "../runtime/RuntimeConfig.ts"
import type * as Dialer from "../session/Dialer.ts"
import * as MemoryTransport from "../transport/MemoryTransport.ts"
import * as FaultyNetwork from "./FaultyNetwork.ts"
import * as TestPeer from "./TestPeer.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface RuntimeOptions<E, R, A = never> extends ArcpServer.ServeOptions {
  /** The agents to serve. Services that their layer provides are there for the test too. */
  readonly agents: Layer.Layer<A, E, R>
  /** Principals by their tokens, if need be with the largest lease of each. Default one, `tester`, with the token `secret`. */
  readonly tokens?: { readonly [token: string]: string | Omit<Authenticator.StaticToken, "token"> }
  /** Changes to the defaults of the runtime. */
  readonly config?: Partial<RuntimeConfig.RuntimeConfig>
  /** The bounds of the line. */
  readonly transport?: MemoryTransport.Options
  /** What goes wrong on the lines of clients; nothing if left out. The lines of raw peers stay whole. */
  readonly faults?: FaultyNetwork.Options
  /** Draws all ids from this number, so that two runs give the same. Random if left out. */
  readonly seed?: number
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<E, R, A = never> extends RuntimeOptions<E, R, A> {
  /** How the client differs from the default. Its token is the first of `tokens`. */
  readonly client?: Partial<ArcpClient.Options>
}

/**
 * What a test may ask for: more clients, raw peers, and the services of the runtime itself.
 *
 * @category models
 * @since 0.1.0
 */
export type Runtime =
  | Layer.Success<typeof ArcpServer.layerMemory>
  | TestPeer.TestPeers
  | Dialer.Dialer
  | SecureRandom.SecureRandom

const defaultTokens = { secret: "tester" }

/**
 * A runtime, and a network in memory that leads to it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRuntime = <E, R, A = never>(
  options: RuntimeOptions<E, R, A>
): Layer.Layer<A | Runtime, E, Exclude<R, AgentRegistry.AgentRegistry>> => {
  const tokens = Object.entries(options.tokens ?? defaultTokens).map(([token, holder]) => ({
    token: Redacted.make(token),
    ...(typeof holder === "string" ? { principal: holder } : holder)
  }))
  const random = options.seed === undefined ? SecureRandom.layerWebCrypto : layerSeeded(options.seed)
  const network = Layer.unwrap(
    Effect.gen(function* () {
      const network = yield* MemoryTransport.make(options.transport)
      const lines = options.faults === undefined ? network : yield* FaultyNetwork.make(network, options.faults)
      return Layer.merge(MemoryTransport.layerNetwork(lines), TestPeer.layer(network))
    })
  )
  // Nobody else can listen on this network, and the tokens are the test's own: either failing is a mistake in the test.
  const authenticator = Layer.orDie(Authenticator.layerStatic(tokens))
  return Layer.orDie(ArcpServer.layer).pipe(
    Layer.provideMerge(ArcpServer.confined(options.agents)),
    Layer.provideMerge(ArcpServer.layerMemory),
    Layer.provide(ArcpServer.layerPolicies(options)),
    Layer.provide(authenticator),
    Layer.provideMerge(Layer.merge(network, random)),
    Layer.provide(RuntimeConfig.layer(options.config ?? {}))
  ) as Layer.Layer<A | Runtime, E, Exclude<R, AgentRegistry.AgentRegistry>>
}

/**
 * A runtime and a client with an open session. A session that cannot be opened dies.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R, A = never>(
  options: Options<E, R, A>
): Layer.Layer<ArcpClient.ArcpClient | A | Runtime, E, Exclude<R, AgentRegistry.AgentRegistry>> => {
  const token = Redacted.make(Object.keys(options.tokens ?? defaultTokens)[0] ?? "")
  const client = Layer.orDie(ArcpClient.ArcpClient.layerWithRandom({ token, ...options.client }))
  return Layer.provideMerge(client, layerRuntime(options))
}

/**
 * Bytes that look random and follow from a number. For tests alone: whoever knows the number knows all tokens.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSeeded = (seed: number): Layer.Layer<SecureRandom.SecureRandom> =>
  Layer.sync(SecureRandom.SecureRandom, () => {
    let state = seed | 0
    // SplitMix32.
    const next = () => {
      state = (state + 0x9e3779b9) | 0
      let word = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97)
      return (word ^ (word >>> 15)) & 0xff
    }
    return SecureRandom.make((size) => Uint8Array.from({ length: size }, next))
  })
