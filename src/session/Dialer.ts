/**
 * The client's port to a transport.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, type Scope } from "effect"
import * as Codec from "../protocol/Codec.ts"
import type * as Message from "../protocol/Message.ts"
import * as Connection from "./Connection.ts"

/**
 * Opens one more connection to the runtime. The scope owns it: closing the scope closes the connection.
 *
 * @category ports
 * @since 0.1.0
 */
export class Dialer extends Context.Service<
  Dialer,
  {
    readonly dial: Effect.Effect<Connection.Connection<Message.FromRuntime>, Connection.ConnectionError, Scope.Scope>
  }
>()("arcp/session/Dialer") {}

/**
 * A dialer over anything that can open a line of text frames. This is all that a transport of your own has to supply on the client's
 * side.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>(
  open: Effect.Effect<Connection.Frames, Connection.ConnectionError, Scope.Scope | R>
): Layer.Layer<Dialer, never, Exclude<R, Scope.Scope>> =>
  Layer.effect(
    Dialer,
    Effect.map(Effect.context<Exclude<R, Scope.Scope>>(), (context) =>
      Dialer.of({
        dial: Effect.map(open, (frames) => Connection.make(frames, Codec.decoderFromRuntime())).pipe(
          // The caller's context wins: the connection belongs to its scope, not to the layer's.
          Effect.updateContext(
            (input: Context.Context<Scope.Scope>) => Context.merge(context, input) as Context.Context<Scope.Scope | R>
          )
        )
      })
    )
  )
