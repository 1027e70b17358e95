/**
 * Both ends of a network that is no network: frames pass from fiber to fiber of one process, in order, whole, and within bounds. For
 * runtimes inside the program that uses them, and for tests under a virtual clock.
 *
 * @since 0.1.0
 */
import { Array, Effect, Latch, Layer, type Scope } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Utf8 from "../protocol/Utf8.ts"
import * as Connection from "../session/Connection.ts"
import * as Dialer from "../session/Dialer.ts"
import * as Listener from "../session/Listener.ts"
import * as Acceptor from "../session/Acceptor.ts"
import * as FrameSize from "./FrameSize.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Frames that one direction holds before its sender suspends. Default 1024. */
  readonly capacity?: number
  /** Bytes that one direction holds before its sender suspends. Default 4 MiB. */
  readonly capacityBytes?: number
  /** A larger frame ends the line with 1009. Default 4 MiB. */
  readonly maxFrameBytes?: number
}

/**
 * A network in memory. One may listen at a time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Network {
  /** Waits for the first listener, as layers that are built side by side start in any order; fails once the last has gone. */
  readonly dial: Effect.Effect<Connection.Frames, Connection.ConnectionError, Scope.Scope>
  readonly listen: (accept: Acceptor.Accept) => Effect.Effect<void, Connection.ConnectionError, Scope.Scope>
}

/** One direction. Held until taken, also past the end of the line. */
interface Pipe {
  frames: string[]
  bytes: number
  end: Connection.CloseReason | undefined
  readonly filled: Latch.Latch
  readonly drained: Latch.Latch
}

const pipe = (): Pipe => ({
  frames: [],
  bytes: 0,
  end: undefined,
  filled: Latch.makeUnsafe(false),
  drained: Latch.makeUnsafe(false)
})

const ended = (reason: "closed" | "write", end: Connection.CloseReason) =>
  new Connection.ConnectionError({ reason, message: end.reason, code: end.code })

const line = (inbound: Pipe, outbound: Pipe, options: Required<Options>): Connection.Frames => {
  const shut = (reason: Connection.CloseReason) => {
    for (const direction of [inbound, outbound]) {
      direction.end ??= reason
      direction.filled.openUnsafe()
      direction.drained.openUnsafe()
    }
  }

  const pull: Connection.Frames["pull"] = Effect.suspend(() => {
    const { frames } = inbound
    if (!Array.isArrayNonEmpty(frames)) {
      if (inbound.end !== undefined) return Effect.fail(ended("closed", inbound.end))
      inbound.filled.closeUnsafe()
      return Effect.andThen(inbound.filled.await, pull)
    }
    inbound.frames = []
    inbound.bytes = 0
    inbound.drained.openUnsafe()
    return Effect.succeed(frames)
  })

  // A batch enters whole or not at all, so that an interrupted send has sent nothing. One that is larger than the pipe enters alone.
  const enter = (
    frames: NonEmptyReadonlyArray<string>,
    bytes: number
  ): Effect.Effect<void, Connection.ConnectionError> =>
    Effect.suspend(() => {
      if (outbound.end !== undefined) return Effect.fail(ended("write", outbound.end))
      const fits =
        outbound.frames.length + frames.length <= options.capacity && outbound.bytes + bytes <= options.capacityBytes
      if (!fits && outbound.frames.length > 0) {
        outbound.drained.closeUnsafe()
        return Effect.andThen(outbound.drained.await, enter(frames, bytes))
      }
      for (const frame of frames) outbound.frames.push(frame)
      outbound.bytes += bytes
      outbound.filled.openUnsafe()
      return Effect.void
    })

  return {
    secure: true,
    peer: "memory",
    pull,
    send: (frames) =>
      Effect.suspend(() => {
        let bytes = 0
        for (const frame of frames) {
          if (FrameSize.exceeds(frame, options.maxFrameBytes)) {
            shut(Connection.close.tooBig)
            return Effect.fail(ended("write", Connection.close.tooBig))
          }
          bytes += Utf8.byteLength(frame)
        }
        return enter(frames, bytes)
      }),
    close: (reason) => Effect.sync(() => shut(reason))
  }
}

/**
 * Two ends of one line. What is sent before the line is closed still arrives.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pair = (
  options: Options = {}
): Effect.Effect<readonly [near: Connection.Frames, far: Connection.Frames]> =>
  Effect.sync(() => {
    const bounds = {
      capacity: options.capacity ?? 1024,
      capacityBytes: options.capacityBytes ?? FrameSize.defaultMax,
      maxFrameBytes: options.maxFrameBytes ?? FrameSize.defaultMax
    }
    const there = pipe()
    const back = pipe()
    return [line(back, there, bounds), line(there, back, bounds)] as const
  })

/**
 * A network whose ends are raw frames, for those who play a peer themselves or put faults between two of them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Network> =>
  Effect.sync(() => {
    type Serve = Effect.Success<ReturnType<typeof Acceptor.make>>
    let serve: Serve | undefined
    const opened = Latch.makeUnsafe(false)

    const refused = (message: string) => new Connection.ConnectionError({ reason: "open", message })

    return {
      dial: Effect.gen(function* () {
        yield* opened.await
        if (serve === undefined) return yield* Effect.fail(refused("nobody listens"))
        const [near, far] = yield* Effect.acquireRelease(pair(options), ([end]) => end.close(Connection.close.normal))
        serve(Effect.succeed(far))
        return near
      }),
      listen: Effect.fnUntraced(function* (accept) {
        if (serve !== undefined) return yield* Effect.fail(refused("somebody listens already"))
        const run = yield* Acceptor.make(accept)
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            serve = run
            opened.openUnsafe()
          }),
          () =>
            Effect.sync(() => {
              serve = undefined
            })
        )
      })
    }
  })

/**
 * Puts dialer and listener on a network.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerNetwork = (network: Network): Layer.Layer<Dialer.Dialer | Listener.Listener> =>
  Layer.merge(Dialer.layer(network.dial), Listener.layer(network.listen))

/**
 * A network of its own for each time that it is built.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOptions = (options: Options): Layer.Layer<Dialer.Dialer | Listener.Listener> =>
  Layer.unwrap(Effect.map(make(options), layerNetwork))

/**
 * Dialer and listener of one network in memory, with the default bounds.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Dialer.Dialer | Listener.Listener> = layerOptions({})
