/**
 * Listens on the standard input and output of a Node process.
 *
 * @since 0.1.0
 */
import * as NodeStdio from "@effect/platform-node/NodeStdio"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { Effect, Layer, PlatformError, Stdio } from "effect"
import type * as Listener from "../session/Listener.ts"
import * as StdioTransport from "../transport/StdioTransport.ts"

/**
 * Standard input and output for a process that lives for one connection. Input that was once read and is still open keeps a Node process
 * alive for good; here it is closed when its reader is done.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStdio: Layer.Layer<Stdio.Stdio> = Layer.effect(
  Stdio.Stdio,
  Effect.map(Stdio.Stdio, (stdio) =>
    Stdio.make({
      ...stdio,
      stdin: NodeStream.fromReadable({
        evaluate: () => process.stdin,
        onError: (cause) => PlatformError.systemError({ module: "Stdio", method: "stdin", _tag: "Unknown", cause })
      })
    })
  )
).pipe(Layer.provide(NodeStdio.layer))

/**
 * A listener whose one connection is this process's standard input and output. Logs go to standard error.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: StdioTransport.Options = {}): Layer.Layer<Listener.Listener | StdioTransport.Finished> =>
  Layer.provide(StdioTransport.layerListener(options), layerStdio)

/**
 * Serves over this process's standard input and output until that connection has ended: all that the main file of a child process needs.
 *
 * @category running
 * @since 0.1.0
 */
export const launch = <E, R>(
  server: Layer.Layer<never, E, R | Listener.Listener>,
  options: StdioTransport.Options = {}
): Effect.Effect<void, E, Exclude<R, Listener.Listener>> =>
  Effect.flatMap(StdioTransport.Finished, (finished) => finished.await).pipe(
    Effect.provide(server.pipe(Layer.provideMerge(layer(options))))
  ) as Effect.Effect<void, E, Exclude<R, Listener.Listener>>
