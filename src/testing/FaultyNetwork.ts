/**
 * A network in memory that does what networks do: it refuses, stalls, repeats, cuts off, and loses without a word. What goes wrong, and at
 * which frame, follows from a number, so a test that failed fails again.
 *
 * ```ts
 * import { FaultyNetwork } from "effect-arcp/testing"
 *
 * // One frame in twenty breaks its line; after ten faults of any kind nothing goes wrong any more.
 * const Unreliable = FaultyNetwork.layer({ plan: FaultyNetwork.seeded({ seed: 7, rates: { drop: 0.05 } }), maxFaults: 10 })
 *
 * // The line breaks in the place of the fourth frame that goes to the client, and the next line holds.
 * const Once = FaultyNetwork.layer({
 *   plan: {
 *     frame: ({ connection, direction, frame }) =>
 *       connection === 0 && direction === "toClient" && frame === 3 ? FaultyNetwork.drop : undefined
 *   }
 * })
 * ```
 *
 * Time passes by the `Clock` alone. Frames keep their order, as on every transport of the protocol; a repeated one comes again a little
 * later.
 *
 * @since 0.1.0
 */
import { Array, Duration, Effect, Exit, Layer, Scope } from "effect"
import * as Connection from "../session/Connection.ts"
import type * as Dialer from "../session/Dialer.ts"
import type * as Listener from "../session/Listener.ts"
import * as MemoryTransport from "../transport/MemoryTransport.ts"

/**
 * Which way a frame goes.
 *
 * @category models
 * @since 0.1.0
 */
export type Direction = "toRuntime" | "toClient"

/**
 * Where a fault can be: the frame of this number, counted from 0, in one direction of a connection, counted from 0 in the order of dialling.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  readonly connection: number
  readonly direction: Direction
  readonly frame: number
  readonly text: string
}

/**
 * What can happen to a frame.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault =
  /** The line ends in its place. Both sides see the end. */
  | { readonly _tag: "Drop" }
  /**
   * The line is half open from here on: this frame and all that follows in its direction is lost, the end of the line included, and neither
   * side is told. The other direction goes on.
   */
  | { readonly _tag: "Vanish" }
  /** It waits, and everything behind it. What came meanwhile arrives with it as one batch. */
  | { readonly _tag: "Delay"; readonly duration: Duration.Duration }
  /** It comes a second time, after so many further frames of its direction. */
  | { readonly _tag: "Duplicate"; readonly lag: number }
  /** It begins a batch of its own. */
  | { readonly _tag: "Split" }

/**
 * The line ends, and both sides see it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const drop: Fault = { _tag: "Drop" }

/**
 * The line is lost one way, and neither side is told.
 *
 * @category constructors
 * @since 0.1.0
 */
export const vanish: Fault = { _tag: "Vanish" }

/**
 * The frame comes so much later, and all behind it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const delay = (duration: Duration.Input): Fault => ({
  _tag: "Delay",
  duration: Duration.fromInputUnsafe(duration)
})

/**
 * The frame comes again, after so many others.
 *
 * @category constructors
 * @since 0.1.0
 */
export const duplicate = (lag = 0): Fault => ({ _tag: "Duplicate", lag })

/**
 * The frame begins a batch of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const split: Fault = { _tag: "Split" }

/**
 * Decides what goes wrong. It should be a function of the place alone: then a run can be repeated.
 *
 * @category models
 * @since 0.1.0
 */
export interface Plan {
  /** Whether dialling this connection fails. Never if left out. */
  readonly dial?: (connection: number) => boolean
  readonly frame: (place: Place) => Fault | undefined
}

/**
 * How often each thing happens: a probability for each dial, and for each frame.
 *
 * @category options
 * @since 0.1.0
 */
export interface Rates {
  readonly dial: number
  readonly drop: number
  readonly vanish: number
  readonly delay: number
  readonly duplicate: number
  readonly split: number
}

/**
 * A bad day.
 *
 * @category constants
 * @since 0.1.0
 */
export const rates: Rates = { dial: 0.1, drop: 0.02, vanish: 0.01, delay: 0.05, duplicate: 0.03, split: 0.1 }

/**
 * A plan that follows from a number. What happens to a frame depends on nothing but the number and the frame's place, not on what happened
 * elsewhere before.
 *
 * @category constructors
 * @since 0.1.0
 */
export const seeded = (options: {
  readonly seed: number
  /** Changes to {@link rates}. */
  readonly rates?: Partial<Rates>
  /** The longest delay. Default 2 seconds. */
  readonly maxDelay?: Duration.Input
}): Plan => {
  const chances = { ...rates, ...options.rates }
  const maxDelay = Duration.toMillis(Duration.fromInputUnsafe(options.maxDelay ?? "2 seconds"))
  const kinds = ["drop", "vanish", "delay", "duplicate", "split"] as const
  return {
    dial: (connection) => draw(options.seed, connection, 0) < chances.dial,
    frame: ({ connection, direction, frame }) => {
      const place = [options.seed, connection, direction === "toClient" ? 1 : 2, frame] as const
      let rest = draw(...place)
      const kind = kinds.find((kind) => (rest -= chances[kind]) < 0)
      const extent = draw(...place, 1)
      switch (kind) {
        case "drop":
          return drop
        case "vanish":
          return vanish
        case "delay":
          return delay(Math.ceil(extent * maxDelay))
        case "duplicate":
          return duplicate(Math.floor(extent * 4))
        case "split":
          return split
        case undefined:
          return undefined
      }
    }
  }
}

/** A number in [0, 1) that follows from these: each is mixed in as MurmurHash3 mixes words. */
const draw = (...words: ReadonlyArray<number>): number => {
  let hash = 0x9e3779b9
  for (const word of words) {
    hash = Math.imul(hash ^ Math.imul(word ^ (word >>> 15), 0xcc9e2d51), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    hash ^= hash >>> 16
  }
  return (hash >>> 0) / 0x1_0000_0000
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  readonly plan: Plan
  /** After so many faults nothing goes wrong any more, so that what is tested can come to its end. Default 1000. */
  readonly maxFaults?: number
  /** The bounds of each of the two halves of a line. */
  readonly line?: MemoryTransport.Options
}

/**
 * A fault that happened. One of a dial has no frame.
 *
 * @category models
 * @since 0.1.0
 */
export type Happened =
  | { readonly _tag: "Frame"; readonly place: Place; readonly fault: Fault }
  | { readonly _tag: "Dial"; readonly connection: number }

/**
 * A network in memory on which things go wrong, and what did.
 *
 * @category models
 * @since 0.1.0
 */
export interface FaultyNetwork extends MemoryTransport.Network {
  /** What went wrong so far. */
  readonly happened: Effect.Effect<ReadonlyArray<Happened>>
}

/** How a line that broke looks to both sides: a WebSocket that ended without a close frame. */
const reset: Connection.CloseReason = { code: 1006, reason: "connection reset" }

/** One side's half of a line, and whether what goes there is lost. */
interface Half {
  readonly line: Connection.Frames
  lost: boolean
}

/**
 * Puts faults between the ends of a network. The scope owns what is under way.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (
  network: MemoryTransport.Network,
  options: Options
) => Effect.Effect<FaultyNetwork, never, Scope.Scope> = Effect.fnUntraced(function* (network, options) {
  const owner = yield* Effect.scope
  const maxFaults = options.maxFaults ?? 1000
  const happened: Array<Happened> = []
  let connections = 0

  const judge = (place: Place): Fault | undefined => {
    const fault = happened.length < maxFaults ? options.plan.frame(place) : undefined
    if (fault !== undefined) happened.push({ _tag: "Frame", place, fault })
    return fault
  }

  /** Carries frames from one half to the other until the first ends, which the other then hears of. */
  const carry = (connection: number, direction: Direction, from: Half, to: Half): Effect.Effect<void> => {
    let count = 0
    let repeats: ReadonlyArray<{ readonly text: string; readonly lag: number }> = []

    const end = (half: Half, reason: Connection.CloseReason) => (half.lost ? Effect.void : half.line.close(reason))

    /** Who has gone cannot be written to; that it has gone is heard on the way back. */
    const deliver = (frames: Array<string>) =>
      Effect.suspend(() => {
        const batch = frames.splice(0)
        return Array.isArrayNonEmpty(batch) ? Effect.ignore(to.line.send(batch)) : Effect.void
      })

    const pass = Effect.fnUntraced(function* (texts: ReadonlyArray<string>) {
      const batch: Array<string> = []
      for (const text of texts) {
        if (to.lost) return
        const fault = judge({ connection, direction, frame: count++, text })
        switch (fault?._tag) {
          case "Drop":
            yield* deliver(batch)
            yield* end(to, reset)
            return yield* end(from, reset)
          case "Vanish":
            yield* deliver(batch)
            to.lost = true
            return
          case "Delay":
            yield* deliver(batch)
            yield* Effect.sleep(fault.duration)
            break
          case "Split":
            yield* deliver(batch)
            yield* Effect.yieldNow
            break
          case "Duplicate":
            repeats = [...repeats, { text, lag: fault.lag + 1 }]
            break
          case undefined:
            break
        }
        batch.push(text)
        for (const repeat of repeats) if (repeat.lag === 1) batch.push(repeat.text)
        repeats = repeats.flatMap((repeat) => (repeat.lag === 1 ? [] : [{ ...repeat, lag: repeat.lag - 1 }]))
      }
      yield* deliver(batch)
    })

    return Effect.forever(Effect.flatMap(from.line.pull, pass)).pipe(
      Effect.catch((error) => end(to, { code: error.code ?? reset.code, reason: error.message }))
    )
  }

  return {
    listen: network.listen,
    happened: Effect.sync(() => [...happened]),
    dial: Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const connection = connections++
        if (happened.length < maxFaults && options.plan.dial?.(connection) === true) {
          happened.push({ _tag: "Dial", connection })
          return yield* new Connection.ConnectionError({ reason: "open", message: "connection refused" })
        }
        const [near, middle] = yield* Effect.acquireRelease(MemoryTransport.pair(options.line), ([end]) =>
          end.close(Connection.close.normal)
        )
        // Not the caller's scope: when the caller goes and that is lost on the way, the other side's half stays.
        const scope = yield* Scope.fork(owner)
        const far = yield* Effect.onError(restore(Scope.provide(network.dial, scope)), () =>
          Scope.close(scope, Exit.void)
        )
        const client: Half = { line: middle, lost: false }
        const runtime: Half = { line: far, lost: false }
        const ways = [carry(connection, "toRuntime", client, runtime), carry(connection, "toClient", runtime, client)]
        yield* Effect.interruptible(Effect.all(ways, { concurrency: "unbounded", discard: true })).pipe(
          Effect.ensuring(Scope.close(scope, Exit.void)),
          Effect.forkIn(owner)
        )
        return near
      })
    )
  }
})

/**
 * Dialer and listener of one faulty network in memory.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Dialer.Dialer | Listener.Listener> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const network = yield* MemoryTransport.make(options.line)
      return MemoryTransport.layerNetwork(yield* make(network, options))
    })
  )
