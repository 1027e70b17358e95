/**
 * The runtime's port to a transport.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, type Scope } from "effect"
import * as Codec from "../protocol/Codec.ts"
import type * as Message from "../protocol/Message.ts"
import * as Connection from "./Connection.ts"

/**
 * What to do with each connection that comes in. When it is done the connection is closed; it is interrupted when the connection's
 * owner goes.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler = (connection: Connection.Connection<Message.FromClient>) => Effect.Effect<void, never, Scope.Scope>

/**
 * Accepts connections. `listen` gives each to the handler, in a fiber and a scope of its own, and returns once connections can come in;
 * the scope that it runs in ends the listening and closes what is open.
 *
 * @category ports
 * @since 0.1.0
 */
export class Listener extends Context.Service<
  Listener,
  {
    readonly listen: (handler: Handler) => Effect.Effect<void, Connection.ConnectionError, Scope.Scope>
  }
>()("arcp/session/Listener") {}

/**
 * A listener over anything that accepts lines of text frames. This is all that a transport of your own has to supply on the runtime's
 * side; `Acceptor.make` gives it a function to call with each line, which sees to fibers, scopes and closing.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>(
  listen: (
    accept: (frames: Connection.Frames) => Effect.Effect<void, never, Scope.Scope>
  ) => Effect.Effect<void, Connection.ConnectionError, Scope.Scope | R>
): Layer.Layer<Listener, never, Exclude<R, Scope.Scope>> =>
  Layer.effect(
    Listener,
    Effect.map(Effect.context<Exclude<R, Scope.Scope>>(), (context) =>
      Listener.of({
        listen: (handler) =>
          listen((frames) => handler(Connection.make(frames, Codec.decodeFromClient))).pipe(
            // The caller's context wins: the listening belongs to its scope, not to the layer's.
            Effect.updateContext(
              (input: Context.Context<Scope.Scope>) => Context.merge(context, input) as Context.Context<Scope.Scope | R>
            )
          )
      })
    )
  )
