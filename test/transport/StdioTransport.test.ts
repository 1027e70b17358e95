import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { type Cause, Deferred, Effect, Exit, Layer, Queue, type Scope, Sink, Stdio, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { fileURLToPath } from "node:url"
import * as Connection from "../../src/session/Connection.ts"
import * as LineDecoder from "../../src/transport/LineDecoder.ts"
import * as StdioTransport from "../../src/transport/StdioTransport.ts"
import { verifies } from "../conformance/verifies.ts"
import { maxFrameBytes, ports, suite } from "./TransportSuite.ts"

/** A pipe as an operating system has them: bytes in whatever pieces, and only so many of them. */
const pipe = Effect.map(Queue.bounded<Uint8Array, Cause.Done>(4), (queue) => ({
  write: Sink.forEach((bytes: Uint8Array) => {
    const pieces = Array.from({ length: Math.ceil(bytes.length / 9973) }, (_, i) =>
      bytes.subarray(i * 9973, (i + 1) * 9973)
    )
    return Effect.asVoid(Queue.offerAll(queue, pieces))
  }).pipe(Sink.ensuring(Queue.end(queue))),
  read: Stream.fromQueue(queue)
}))

const handleOf = (
  parts: Pick<ChildProcessSpawner.ChildProcessHandle, "exitCode" | "stdin" | "stdout">
): ChildProcessSpawner.ChildProcessHandle =>
  ChildProcessSpawner.makeHandle({
    ...parts,
    pid: ChildProcessSpawner.ProcessId(1),
    isRunning: Effect.succeed(true),
    kill: () => Effect.void,
    stderr: Stream.empty,
    all: parts.stdout,
    getInputFd: () => Sink.drain,
    getOutputFd: () => Stream.empty,
    unref: Effect.succeed(Effect.void)
  })

/** A child process that is no process: its standard streams lead to a `Stdio` of this one. */
const inProcess = Effect.gen(function* () {
  const input = yield* pipe
  const output = yield* pipe
  const exited = yield* Deferred.make<ChildProcessSpawner.ExitCode>()
  const encoder = new TextEncoder()
  const stdio = Stdio.make({
    args: Effect.succeed([]),
    stdin: input.read,
    stdout: () =>
      Sink.ensuring(output.write, Deferred.succeed(exited, ChildProcessSpawner.ExitCode(0))).pipe(
        Sink.mapInput((chunk: string | Uint8Array) => (typeof chunk === "string" ? encoder.encode(chunk) : chunk))
      ),
    stderr: () => Sink.drain
  })
  const spawner = ChildProcessSpawner.make(() =>
    Effect.succeed(handleOf({ exitCode: Deferred.await(exited), stdin: input.write, stdout: output.read }))
  )
  return { stdio, spawner }
})

suite(
  "StdioTransport",
  Effect.gen(function* () {
    const { stdio, spawner } = yield* inProcess
    const { listen } = yield* Effect.provideService(StdioTransport.makeListener({ maxFrameBytes }), Stdio.Stdio, stdio)
    const dial = StdioTransport.dial({ command: "arcp", maxFrameBytes })
    return { listen, dial: Effect.provideService(dial, ChildProcessSpawner.ChildProcessSpawner, spawner) }
  }),
  { many: false, codes: false, pacedDialer: true }
)

ports(
  "StdioTransport",
  Layer.unwrap(
    Effect.map(inProcess, ({ stdio, spawner }) =>
      Layer.merge(
        Layer.provide(StdioTransport.layerListener(), Layer.succeed(Stdio.Stdio, stdio)),
        Layer.provide(
          StdioTransport.layerDialer({ command: "arcp" }),
          Layer.succeed(ChildProcessSpawner.ChildProcessSpawner, spawner)
        )
      )
    )
  )
)

it.effect("reads on for a peer that is stuck in a write when this side has left", () =>
  Effect.gen(function* () {
    let written = 0
    const flood = Stream.fromEffectRepeat(
      Effect.sync(() => {
        written++
        return new TextEncoder().encode("flood\n")
      })
    ).pipe(Stream.rechunk(1))
    const handle = handleOf({
      stdin: Sink.drain,
      stdout: flood,
      exitCode: Effect.succeed(ChildProcessSpawner.ExitCode(0))
    })
    const line = yield* Effect.provideService(
      StdioTransport.dial({ command: "arcp" }),
      ChildProcessSpawner.ChildProcessSpawner,
      ChildProcessSpawner.make(() => Effect.succeed(handle))
    )
    const until = (enough: number) =>
      Effect.repeat(
        Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => written)
        ),
        { until: (count) => count >= enough }
      )
    // Some wait to be pulled, one waits for its place.
    const stuck = yield* until(5)
    for (let i = 0; i < 100; i++) yield* Effect.yieldNow
    assert.strictEqual(written, stuck)
    yield* line.close(Connection.close.normal)
    yield* until(1000)
  })
)

const echo = fileURLToPath(new URL("./fixtures/echo.ts", import.meta.url))
const child: StdioTransport.ChildOptions = {
  command: process.execPath,
  args: [echo],
  stderr: "ignore",
  maxFrameBytes: 256 * 1024
}

/** Dials a child, and says after the scope of the dial how the child left. */
const witnessed = Effect.fnUntraced(function* <E>(
  options: StdioTransport.ChildOptions,
  use: (line: Connection.Frames) => Effect.Effect<void, E, Scope.Scope>
) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const spawned = yield* Deferred.make<ChildProcessSpawner.ChildProcessHandle>()
  const witness = ChildProcessSpawner.make((command) =>
    Effect.tap(spawner.spawn(command), (handle) => Deferred.succeed(spawned, handle))
  )
  yield* StdioTransport.dial(options).pipe(
    Effect.provideService(ChildProcessSpawner.ChildProcessSpawner, witness),
    Effect.flatMap(use),
    Effect.scoped
  )
  return yield* Effect.exit((yield* Deferred.await(spawned)).exitCode)
})

describe("a child process", () => {
  it.live("echoes lines, and leaves when its input ends", () =>
    Effect.gen(function* () {
      const exit = yield* witnessed(child, (line) =>
        Effect.gen(function* () {
          assert.isTrue(line.secure)
          const batch = ['{"a":1}', '{"text":"ä😀\\n"}', "x".repeat(200_000)] as const
          yield* line.send(batch)
          const back: Array<string> = []
          while (back.length < batch.length) back.push(...(yield* line.pull))
          assert.deepStrictEqual(back, [...batch])
          yield* line.close(Connection.close.normal)
          assert.strictEqual((yield* Effect.flip(line.pull)).reason, "closed")
        })
      )
      assert.deepStrictEqual(exit, Exit.succeed(ChildProcessSpawner.ExitCode(0)))
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("that does not leave is made to", () =>
    Effect.gen(function* () {
      const exit = yield* witnessed({ ...child, args: [echo, "stay"] }, (line) =>
        Effect.gen(function* () {
          yield* line.send(["hello"])
          assert.deepStrictEqual(yield* line.pull, ["hello"])
        })
      )
      assert.notDeepEqual(exit, Exit.succeed(ChildProcessSpawner.ExitCode(0)))
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("that dies ends the line", () =>
    Effect.gen(function* () {
      const line = yield* StdioTransport.dial(child)
      yield* line.send(["exit"])
      assert.deepInclude(yield* Effect.flip(line.pull), { reason: "closed", message: "end of input" })
      // The pipe may take something more before it is known to be broken.
      assert.strictEqual((yield* Effect.flip(Effect.forever(line.send(["into the void"]))))._tag, "ConnectionError")
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("that is done ends by itself, though its input is open", () =>
    Effect.gen(function* () {
      const handle = yield* ChildProcess.make(process.execPath, [echo], {
        stdin: Stream.concat(Stream.encodeText(Stream.make("bye\n")), Stream.never),
        stderr: "ignore"
      })
      assert.strictEqual(yield* Stream.mkString(Stream.decodeText(handle.stdout)), "bye\n")
      assert.strictEqual(yield* handle.exitCode, 0)
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("that cannot be started fails the dial", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(StdioTransport.dial({ command: "/no/such/runtime" }))
      assert.strictEqual(error.reason, "open")
      assert.include(error.message, "/no/such/runtime")
    }).pipe(Effect.provide(NodeServices.layer))
  )

  verifies.live("C-002", "has nothing on standard output but lines of JSON, and its logs on standard error", () =>
    Effect.gen(function* () {
      const hello = { arcp: "1.1", id: "msg_1", type: "session.hello", payload: {} }
      const handle = yield* ChildProcess.make(process.execPath, [echo], {
        stdin: Stream.encodeText(Stream.make(`${JSON.stringify(hello)}\r\n\r\n`, `\n${JSON.stringify(hello)}\n{"cut`))
      })
      const [out, err] = yield* Effect.all(
        [Stream.mkString(Stream.decodeText(handle.stdout)), Stream.mkString(Stream.decodeText(handle.stderr))],
        { concurrency: 2 }
      )
      assert.isTrue(out.endsWith("\n"))
      assert.deepStrictEqual(
        out
          .slice(0, -1)
          .split("\n")
          .map((line) => JSON.parse(line)),
        [hello, hello]
      )
      assert.include(err, "listening")
      assert.strictEqual(yield* handle.exitCode, 0)
    }).pipe(Effect.provide(NodeServices.layer))
  )
})

describe("LineDecoder", () => {
  const bytes = (text: string) => new TextEncoder().encode(text)

  it("finds the same lines however the bytes are cut", () => {
    const whole = bytes('\uFEFF{"a":"ä😀"}\r\n\n  \n\r\n{"b":2}\n{"c":3}\r\nnever finished')
    for (let size = 1; size <= whole.length; size++) {
      const decode = LineDecoder.make(20)
      const lines: Array<string> = []
      for (let i = 0; i < whole.length; i += size) {
        const decoded = decode(whole.subarray(i, i + size))
        assert.isUndefined(decoded.failure)
        lines.push(...decoded.lines)
      }
      assert.deepStrictEqual(lines, ['{"a":"ä😀"}', '{"b":2}', '{"c":3}'])
    }
  })

  it("bounds a line in bytes, with or without an end to it", () => {
    for (const ending of ["\n", "\r\n"]) {
      assert.deepStrictEqual(LineDecoder.make(4)(bytes(`éé${ending}`)), { lines: ["éé"] })
      assert.deepStrictEqual(LineDecoder.make(4)(bytes(`ok${ending}ééx${ending}`)), {
        lines: ["ok"],
        failure: Connection.close.tooBig
      })
    }
    const decode = LineDecoder.make(1000)
    const piece = bytes("x")
    let fed = 0
    while (decode(piece).failure === undefined) fed++
    assert.strictEqual(fed, 1001)
  })

  it("takes nothing that is not UTF-8", () => {
    const bad = new Uint8Array([0x7b, 0xc3, 0x28, 0x7d, 0x0a])
    assert.deepStrictEqual(LineDecoder.make(100)(bad), { lines: [], failure: Connection.close.malformed })
  })
})
