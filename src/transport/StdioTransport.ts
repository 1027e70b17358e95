/**
 * ARCP over standard input and output: one frame per line (§4). A runtime listens on its own; a client starts the runtime as its child.
 *
 * @since 0.1.0
 */
import {
  Array,
  type Cause,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Latch,
  Layer,
  Logger,
  type PlatformError,
  Queue,
  type Redacted,
  type Scope,
  type Sink,
  Stdio,
  Stream
} from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import * as Frame from "../protocol/Frame.ts"
import * as Connection from "../session/Connection.ts"
import * as Dialer from "../session/Dialer.ts"
import * as Listener from "../session/Listener.ts"
import * as Acceptor from "../session/Acceptor.ts"
import * as FrameSize from "./FrameSize.ts"
import * as LineDecoder from "./LineDecoder.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** A longer line ends the connection. Default 4 MiB. */
  readonly maxFrameBytes?: number
}

/** Batches that wait to be pulled. Each holds what one read brought, so this many reads are ahead of whoever pulls. */
const inboxCapacity = 4

/** How long the end of a connection waits for the other side to take what was sent, and for a child to leave by itself. */
const grace = Duration.seconds(2)

/** What one `send` wrote, until the output has taken it. */
interface Parcel {
  readonly bytes: Uint8Array
  readonly taken: Deferred.Deferred<void, Connection.ConnectionError>
}

interface Pipes {
  readonly input: Stream.Stream<Uint8Array, PlatformError.PlatformError>
  readonly output: Sink.Sink<void, Uint8Array, unknown, PlatformError.PlatformError>
  readonly peer: string
}

/**
 * A line over two pipes. One fiber reads and one writes, so that an interrupted `pull` or `send` cuts no frame in two.
 *
 * @category constructors
 * @since 0.1.0
 */
const fromPipes = Effect.fnUntraced(function* (pipes: Pipes, options: Options) {
  const inbox = yield* Queue.bounded<NonEmptyReadonlyArray<string>, Connection.ConnectionError>(inboxCapacity)
  const outbox = yield* Queue.bounded<Parcel, Cause.Done>(1)
  const underway = new Set<Parcel>()
  const leaving = Latch.makeUnsafe(false)
  const encoder = new TextEncoder()
  let down: Connection.ConnectionError | undefined

  const settle = (parcel: Parcel, exit: Exit.Exit<void, Connection.ConnectionError>) => {
    underway.delete(parcel)
    Deferred.doneUnsafe(parcel.taken, exit)
  }
  // Nothing more is written, and what is underway has nobody to take it.
  const abandon = (error: Connection.ConnectionError) =>
    Effect.suspend(() => {
      down ??= error
      for (const parcel of underway) settle(parcel, Exit.fail(down))
      return Queue.end(outbox)
    })
  // This side leaves: what is underway still goes out, what still comes in is dropped.
  const leave = (reason: Connection.CloseReason) =>
    Effect.suspend(() => {
      down ??= closed(reason)
      leaving.openUnsafe()
      return Effect.andThen(Queue.fail(inbox, down), Queue.end(outbox))
    })

  const decode = LineDecoder.make(options.maxFrameBytes ?? FrameSize.defaultMax)
  yield* Stream.runForEach(pipes.input, (chunk) => {
    // Reading goes on past the end, so that the peer is not stuck in a write when it should leave.
    if (leaving.isOpen()) return Effect.void
    const { lines, failure } = decode(chunk)
    const delivered =
      !Array.isReadonlyArrayNonEmpty(lines) || Queue.offerUnsafe(inbox, lines)
        ? Effect.void
        : Effect.raceFirst(Queue.offer(inbox, lines), leaving.await)
    return failure === undefined
      ? delivered
      : Effect.andThen(
          delivered,
          Effect.fail(new Connection.ConnectionError({ reason: "read", message: failure.reason, code: failure.code }))
        )
  }).pipe(
    Effect.matchEffect({
      onFailure: (error) => Effect.succeed(error._tag === "ConnectionError" ? error : failed("read", error)),
      onSuccess: () => Effect.succeed(new Connection.ConnectionError({ reason: "closed", message: "end of input" }))
    }),
    Effect.flatMap((error) => Effect.andThen(Queue.fail(inbox, error), abandon(error))),
    Effect.forkScoped
  )

  // The output asks for more once it has taken what it was given: that is when a `send` is done.
  let last: Parcel | undefined
  const next = Effect.suspend(() => {
    if (last !== undefined) settle(last, Exit.void)
    return Effect.map(Queue.take(outbox), (parcel) => {
      last = parcel
      return Array.of(parcel.bytes)
    })
  })
  const writer = yield* Stream.run(Stream.fromPull(Effect.succeed(next)), pipes.output).pipe(
    Effect.matchEffect({
      // What the peer has sent is read all the same.
      onFailure: (error) => abandon(failed("write", error)),
      onSuccess: () => abandon(closed(Connection.close.normal))
    }),
    Effect.forkScoped
  )

  // What was sent before the end still goes out, unless nobody takes it.
  yield* Effect.addFinalizer(() =>
    leave(Connection.close.normal).pipe(Effect.andThen(Fiber.await(writer)), Effect.timeoutOption(grace))
  )

  return {
    secure: true,
    peer: pipes.peer,
    pull: Queue.take(inbox),
    send: (batch) =>
      Effect.suspend(() => {
        if (down !== undefined) return Effect.fail(down)
        const lines = batch.map(Frame.textOf)
        if (lines.some((line) => line.includes("\n"))) {
          return Effect.fail(
            new Connection.ConnectionError({ reason: "write", message: "a frame with a line break is two lines" })
          )
        }
        const parcel: Parcel = { bytes: encoder.encode(lines.join("\n") + "\n"), taken: Deferred.makeUnsafe() }
        underway.add(parcel)
        const taken = Deferred.await(parcel.taken)
        // Behind what an interrupted send has left there is a queue, which nobody may come to empty.
        return Queue.offerUnsafe(outbox, parcel)
          ? taken
          : Effect.raceFirst(Effect.andThen(Queue.offer(outbox, parcel), Effect.never), taken)
      }),
    close: leave
  } satisfies Connection.Frames
})

// The pipes carry no code; this side still knows which it closed with.
const closed = ({ code, reason }: Connection.CloseReason) =>
  new Connection.ConnectionError({ reason: "closed", message: reason, code })

const failed = (reason: "read" | "write", cause: PlatformError.PlatformError) =>
  new Connection.ConnectionError({ reason, message: cause.message, cause })

/**
 * Done when the one connection of this process is over, with all that its handler had to finish. A runtime on standard input and output
 * has nothing to live for after that.
 *
 * @category services
 * @since 0.1.0
 */
export class Finished extends Context.Service<Finished, { readonly await: Effect.Effect<void> }>()(
  "arcp/transport/StdioTransport/Finished"
) {}

/**
 * Serves this process's standard input and output as one connection, until the input ends.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeListener = (
  options: Options = {}
): Effect.Effect<
  {
    readonly listen: (accept: Acceptor.Accept) => Effect.Effect<void, Connection.ConnectionError, Scope.Scope>
    readonly finished: Effect.Effect<void>
  },
  never,
  Stdio.Stdio
> =>
  Effect.gen(function* () {
    const stdio = yield* Stdio.Stdio
    const finished = yield* Deferred.make<void>()
    let taken = false
    return {
      finished: Deferred.await(finished),
      listen: Effect.fnUntraced(function* (accept) {
        if (taken) {
          return yield* Effect.fail(
            new Connection.ConnectionError({ reason: "open", message: "standard input and output are taken" })
          )
        }
        taken = true
        const serve = yield* Acceptor.make(accept)
        const pipes = { input: stdio.stdin, output: stdio.stdout({ endOnDone: false }), peer: "stdio" }
        serve(
          Effect.andThen(
            Effect.addFinalizer(() => Deferred.succeed(finished, undefined)),
            fromPipes(pipes, options)
          )
        )
      })
    }
  })

/**
 * A listener on standard input and output. Logs go to standard error, for whatever this layer is provided to: standard output carries
 * frames and nothing else.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerListener = (options: Options = {}): Layer.Layer<Listener.Listener | Finished, never, Stdio.Stdio> =>
  Layer.unwrap(
    Effect.map(makeListener(options), ({ listen, finished }) =>
      Layer.mergeAll(
        Listener.layer(listen),
        Layer.succeed(Finished, Finished.of({ await: finished })),
        Layer.succeed(Logger.LogToStderr, true)
      )
    )
  )

/**
 * @category options
 * @since 0.1.0
 */
export interface ChildOptions extends Options {
  readonly command: string
  readonly args?: ReadonlyArray<string>
  /** Set for the child, on top of this process's own environment; `undefined` unsets. */
  readonly env?: { readonly [name: string]: string | Redacted.Redacted | undefined }
  readonly cwd?: string
  /** Where the child's standard error goes: to this process's own (the default), or nowhere. */
  readonly stderr?: "inherit" | "ignore"
}

/**
 * Starts a runtime as a child of this process and opens the line to it. The scope owns the child: at its end the child's input ends,
 * and a child that has not left by itself within two seconds is made to.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dial = (
  options: ChildOptions
): Effect.Effect<
  Connection.Frames,
  Connection.ConnectionError,
  ChildProcessSpawner.ChildProcessSpawner | Scope.Scope
> =>
  Effect.gen(function* () {
    const child = yield* ChildProcess.make(options.command, options.args ?? [], {
      env: { ...options.env },
      extendEnv: true,
      cwd: options.cwd,
      stderr: options.stderr ?? "inherit",
      forceKillAfter: grace
    }).pipe(
      Effect.mapError(
        (cause) =>
          new Connection.ConnectionError({ reason: "open", message: `${options.command}: ${cause.message}`, cause })
      )
    )
    const pipes = { input: child.stdout, output: child.stdin, peer: `${options.command} (${child.pid})` }
    const frames = yield* fromPipes(pipes, options)
    yield* Effect.addFinalizer(() =>
      frames
        .close(Connection.close.normal)
        .pipe(Effect.andThen(child.exitCode), Effect.ignore, Effect.timeoutOption(grace))
    )
    return frames
  })

/**
 * A dialer that starts the runtime as a child process, anew for each connection.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDialer = (
  options: ChildOptions
): Layer.Layer<Dialer.Dialer, never, ChildProcessSpawner.ChildProcessSpawner> => Dialer.layer(dial(options))
