/** Runs `arcp` inside this process: its arguments and surroundings in, its exit code and output out. */
import { NodeServices } from "@effect/platform-node"
import { ConfigProvider, Console, Deferred, Effect, Exit, Runtime, Sink, Stdio, Stream } from "effect"
import * as Path from "node:path"
import * as ArcpCommand from "../../src/cli/ArcpCommand.ts"
import * as Signals from "../../src/cli/Signals.ts"

export interface Surroundings {
  readonly env?: Record<string, string>
  readonly stdin?: string
  /** Whether standard error is a terminal. */
  readonly terminal?: boolean
  readonly signal?: Effect.Effect<void>
  /** Told of all output as it comes. */
  readonly onOutput?: (stream: "stdout" | "stderr", text: string) => void
}

export interface Outcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

export const fixture = (name: string) => Path.join(import.meta.dirname, "fixtures", name)

const exitCodeOf = (exit: Exit.Exit<void, unknown>) => {
  let exitCode = -1
  Runtime.defaultTeardown(exit, (code) => {
    exitCode = code
  })
  return exitCode
}

export const run = Effect.fnUntraced(function* (arguments_: ReadonlyArray<string>, surroundings: Surroundings = {}) {
  const output = { stdout: "", stderr: "" }
  const write = (stream: "stdout" | "stderr", text: string) => {
    output[stream] += text
    surroundings.onOutput?.(stream, text)
  }
  const sink = (stream: "stdout" | "stderr") => () =>
    Sink.forEach((chunk: string | Uint8Array) =>
      Effect.sync(() => write(stream, typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk)))
    )
  const exit = yield* ArcpCommand.run(arguments_).pipe(
    Effect.provideService(
      Console.Console,
      Object.assign(Object.create(console), {
        log: (text: string) => write("stdout", `${text}\n`),
        error: (text: string) => write("stderr", `${text}\n`)
      })
    ),
    Effect.provideService(
      Stdio.Stdio,
      Stdio.make({
        args: Effect.succeed(arguments_),
        stdin: Stream.make(new TextEncoder().encode(surroundings.stdin ?? "")),
        stdout: sink("stdout"),
        stderr: sink("stderr"),
        stderrIsTerminal: Effect.succeed(surroundings.terminal ?? false)
      })
    ),
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: surroundings.env ?? {} })),
    Effect.provideService(Signals.Signals, Signals.Signals.of({ next: surroundings.signal ?? Effect.never })),
    Effect.provide(NodeServices.layer),
    Effect.exit
  )
  return { ...output, exitCode: exitCodeOf(exit) } satisfies Outcome
})

/** Runs it until it has said something, and gives what it said so far and the rest of the run. */
export const start = Effect.fnUntraced(function* (
  arguments_: ReadonlyArray<string>,
  until: RegExp,
  surroundings: Surroundings = {}
) {
  const said = yield* Deferred.make<RegExpExecArray>()
  let all = ""
  const fiber = yield* Effect.forkScoped(
    run(arguments_, {
      ...surroundings,
      onOutput: (_, text) => {
        all += text
        const match = until.exec(all)
        if (match !== null) Deferred.doneUnsafe(said, Exit.succeed(match))
      }
    })
  )
  return { said: yield* Deferred.await(said), fiber }
})
