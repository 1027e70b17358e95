/** The command as a process: what only a process has, which are real signals, pipes and exit codes. */
import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { ChildProcess } from "effect/process"
import * as Path from "node:path"

const main = Path.join(import.meta.dirname, "../../src/cli/main.ts")
const agents = Path.join(import.meta.dirname, "fixtures/agents.ts")

const noisy = Path.join(import.meta.dirname, "fixtures/noisy.ts")

/** Starts `arcp`. It is ended with the scope, whatever it is doing. */
const start = Effect.fnUntraced(function* (
  arguments_: ReadonlyArray<string>,
  options: { readonly env?: Record<string, string>; readonly stdin?: string; readonly stdinStaysOpen?: boolean } = {}
) {
  const eof = yield* Deferred.make<void>()
  if (options.stdinStaysOpen !== true) Deferred.doneUnsafe(eof, Exit.void)
  const child = yield* ChildProcess.make(process.execPath, [main, ...arguments_], {
    env: { ARCP_TOKEN: undefined, ARCP_URL: undefined, NODE_OPTIONS: undefined, ...options.env },
    extendEnv: true,
    stdin:
      options.stdin === undefined
        ? "ignore"
        : Stream.concat(
            Stream.make(new TextEncoder().encode(options.stdin)),
            Stream.fromEffectDrain(Deferred.await(eof))
          ),
    forceKillAfter: "1 second"
  })
  const output = { stdout: "", stderr: "" }
  const waiting = new Set<() => void>()
  const collect = (stream: "stdout" | "stderr") =>
    Stream.runForEach(Stream.decodeText(child[stream]), (text) =>
      Effect.sync(() => {
        output[stream] += text
        for (const look of waiting) look()
      })
    )
  const collecting = yield* Effect.forkScoped(
    Effect.all([collect("stdout"), collect("stderr")], { concurrency: 2, discard: true })
  )
  return {
    closeStdin: Deferred.succeed(eof, undefined),
    /** Waits until its output matches. */
    says: Effect.fnUntraced(function* (pattern: RegExp, stream: "stdout" | "stderr" = "stderr") {
      const said = yield* Deferred.make<RegExpExecArray>()
      const look = () => {
        const match = pattern.exec(output[stream])
        if (match !== null) Deferred.doneUnsafe(said, Exit.succeed(match))
      }
      waiting.add(look)
      look()
      return yield* Deferred.await(said)
    }),
    signal: (name: NodeJS.Signals) => Effect.sync(() => process.kill(child.pid, name)),
    end: Effect.gen(function* () {
      const exitCode = yield* child.exitCode
      yield* Fiber.join(collecting)
      return { ...output, exitCode: Number(exitCode) }
    })
  }
})

const arcp = (arguments_: ReadonlyArray<string>, options?: Parameters<typeof start>[1]) =>
  Effect.scoped(Effect.flatMap(start(arguments_, options), ({ end }) => end))

const Frame = Schema.fromJsonString(Schema.Struct({ type: Schema.String }))
const frames = (stdout: string) =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => Schema.decodeUnknownSync(Frame)(line).type)

const hello = JSON.stringify({
  arcp: "1.1",
  id: "m1",
  type: "session.hello",
  payload: { client: { name: "t", version: "0" }, auth: { scheme: "bearer", token: "any" }, capabilities: {} }
})

class Served extends Context.Service<Served, { readonly env: Record<string, string> }>()("test/Served") {
  static readonly layer = Layer.effect(
    Served,
    Effect.gen(function* () {
      const runtime = yield* start(["serve", agents, "--port", "0"])
      const [, url = "", token = ""] = yield* runtime.says(/url +(\S+)\ntoken +(\S+)/)
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          yield* runtime.signal("SIGTERM")
          // A job that does not let itself be interrupted is left to itself at the second signal.
          yield* runtime.says(/shutting down/)
          yield* runtime.signal("SIGTERM")
          const { exitCode, stdout } = yield* runtime.end
          assert.strictEqual(exitCode, 130)
          assert.strictEqual(stdout, "")
        }).pipe(Effect.orDie)
      )
      return { env: { ARCP_URL: url, ARCP_TOKEN: token } }
    })
  )
}

const Live = Layer.provideMerge(Served.layer, NodeServices.layer)

layer(Live, { excludeTestServices: true, timeout: "20 seconds" })("the process", (it) => {
  it.effect("exits as the job does", () =>
    Effect.gen(function* () {
      const { env } = yield* Served
      const outcomes = yield* Effect.all(
        {
          succeeded: arcp(["submit", "greeter", "-i", "-", "--json"], { env, stdin: `{"name":"Ada"}` }),
          failed: arcp(["submit", "failing"], { env }),
          refused: arcp(["submit", "nobody"], { env }),
          timedOut: arcp(["submit", "waiting", "--max-runtime", "1"], { env }),
          unauthenticated: arcp(["submit", "greeter"], { env: { ...env, ARCP_TOKEN: "wrong" } })
        },
        { concurrency: 2 }
      )
      assert.deepStrictEqual(
        Object.values(outcomes).map(({ exitCode }) => exitCode),
        [0, 1, 2, 4, 5]
      )
      const { refused, succeeded, timedOut } = outcomes
      assert.deepStrictEqual(frames(succeeded.stdout), ["job.accepted", "job.event", "job.event", "job.result"])
      assert.strictEqual(succeeded.stderr, "")
      assert.strictEqual(refused.stderr.trim().split("\n").length, 3)
      assert.include(timedOut.stderr, "TIMEOUT")
    })
  )

  it.effect("cancels the job at the first SIGINT, and leaves at the second", () =>
    Effect.gen(function* () {
      const { env } = yield* Served
      const interrupt = Effect.fnUntraced(function* (agent: string, signals: ReadonlyArray<NodeJS.Signals>) {
        const child = yield* start(["submit", agent], { env })
        yield* child.says(/status +waiting/)
        for (const signal of signals) {
          yield* child.signal(signal)
          yield* child.says(/cancelling/)
        }
        return yield* child.end
      }, Effect.scoped)
      const [cancelled, left] = yield* Effect.all(
        [interrupt("waiting", ["SIGINT"]), interrupt("stubborn", ["SIGINT", "SIGINT"])],
        { concurrency: 2 }
      )
      assert.include(cancelled.stderr, "CANCELLED")
      assert.strictEqual(cancelled.exitCode, 3)
      assert.include(left.stderr, "may still be running")
      assert.strictEqual(left.exitCode, 130)
    })
  )

  it.effect("serves its standard input and output, and nothing else goes there", () =>
    Effect.gen(function* () {
      const runtime = [process.execPath, main, "serve", agents, "--stdio", "--log-level", "all"]
      const command = runtime.map((word) => `'${word}'`).join(" ")
      const greet = Effect.fnUntraced(function* (env: Record<string, string>) {
        const child = yield* start(["serve", noisy, "--stdio", "--log-level", "all"], {
          env,
          stdin: `${hello}\n`,
          stdinStaysOpen: true
        })
        yield* child.says(/\n$/, "stdout")
        yield* child.closeStdin
        return yield* child.end
      }, Effect.scoped)
      const [submitted, anyToken, wrongToken] = yield* Effect.all(
        [
          arcp(["submit", "greeter", "-q", "-i", `{"name":"Ada"}`, "--stdio", command]),
          greet({}),
          greet({ ARCP_TOKEN: "another" })
        ],
        { concurrency: 2 }
      )
      assert.deepStrictEqual(frames(anyToken.stdout), ["session.welcome"])
      assert.strictEqual(anyToken.exitCode, 0)
      assert.match(anyToken.stderr, /^loaded\nbuilt\n/)
      assert.deepStrictEqual(frames(wrongToken.stdout), ["session.error"])
      assert.strictEqual(wrongToken.exitCode, 0)
      assert.include(submitted.stdout, "Hello, Ada!")
      assert.strictEqual(submitted.exitCode, 0)
    })
  )
})
