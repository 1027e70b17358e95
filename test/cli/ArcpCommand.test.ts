import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Queue } from "effect"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Arcp from "./Arcp.ts"

// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/

describe("the command line", () => {
  it.effect("tells the version of the package and of the protocol", () =>
    Effect.gen(function* () {
      const { version } = JSON.parse(Fs.readFileSync(Path.join(import.meta.dirname, "../../package.json"), "utf8"))
      const { exitCode, stdout } = yield* Arcp.run(["--version"])
      assert.strictEqual(exitCode, 0)
      assert.strictEqual(stdout, `arcp v${version} (ARCP 1.1)\n`)
    })
  )

  it.effect.each([[], ["serve"], ["submit"], ["agents"]])("explains %j", (path) =>
    Effect.gen(function* () {
      const { exitCode, stderr, stdout } = yield* Arcp.run([...path, "--help"])
      assert.strictEqual(exitCode, 0)
      assert.strictEqual(stderr, "")
      for (const part of ["DESCRIPTION", "USAGE", "\n\nEXAMPLES"]) assert.include(stdout, part)
      if (path[0] === "submit") assert.match(stdout, /EXIT CODES\n {2}0 .*\n.*\n.*\n {2}3 +the job was cancelled/)
    })
  )

  const token = ["--token", "t"]
  it.effect.each<readonly [ReadonlyArray<string>, string]>([
    [["submti"], "Did you mean this?"],
    [["submit"], "Missing required argument: agent"],
    [["submit", "a"], "there is no token"],
    [["submit", "a", ...token, "--nope"], "--nope"],
    [["submit", "a", ...token, "--url", "http://localhost"], "neither ws: nor wss:"],
    [["submit", "a", ...token, "--url", "127.0.0.1:7777"], "--url: not a URL\n  See ARCP_URL or --url"],
    [["submit", "a", ...token, "--url", "ws://example.com"], "for all to read"],
    [["submit", "a", ...token, "--input", "{nope"], "--input is not JSON"],
    [["submit", "a", ...token, "--input", "no/such/file"], "neither JSON nor a file"],
    [["submit", "a", ...token, "--lease", "fs.read"], "is not of the form capability=pattern"],
    [["submit", "a", ...token, "--lease", "fs.eat=/x"], `"fs.eat" is no capability`],
    [["submit", "a", ...token, "--expires", "soon"], "--expires"],
    [["submit", "a", ...token, "--max-runtime", "0"], "--max-runtime"],
    [["submit", "a", ...token, "--stdio", "'"], "a quote is not closed"],
    [["serve", Arcp.fixture("agents.ts"), "--port", "65536"], "a port from 0 to 65535"],
    [["serve", Arcp.fixture("agents.ts"), "--host", "0.0.0.0"], "there has to be a token"],
    [["serve", Arcp.fixture("agents.ts"), "--tls-cert", Arcp.fixture("agents.ts")], "belong together"],
    [["serve", Arcp.fixture("agents.ts"), "--port", "0", "--token", ""], "--token is empty"],
    [["serve", Arcp.fixture("missing.ts")], "missing.ts: there is no such file"],
    [["serve", Arcp.fixture("throwing.ts")], "throwing.ts: cannot be loaded: boom\n"],
    [["serve", Arcp.fixture("handlerless.ts")], "export what Greeter.toLayer(handler) returns"],
    [["serve", Arcp.fixture("agentless.ts"), "--port", "0"], "none of them registers an agent"],
    [["serve", Arcp.fixture("needy.ts"), "--port", "0"], "Service not found: fixtures/Database"],
    [["serve", Arcp.fixture("twice.ts"), "--port", "0"], "Agent greeter is registered twice"]
  ])("%j is refused", ([arguments_, problem]) =>
    Effect.gen(function* () {
      const { exitCode, stderr, stdout } = yield* Arcp.run(arguments_)
      assert.include(stderr, problem)
      assert.notInclude(stderr, "    at ")
      assert.strictEqual(stdout, "")
      assert.strictEqual(exitCode, 2)
    })
  )
})

/** `arcp serve` with the fixtures, on a free port, and how to talk to it. */
class Served extends Context.Service<Served, { readonly env: Record<string, string> }>()("test/Served") {
  static readonly layer = Layer.effect(
    Served,
    Effect.gen(function* () {
      const stop = yield* Queue.bounded<void>(1)
      const arguments_ = ["serve", Arcp.fixture("agents.ts"), "--port", "0", "--root", Arcp.fixture(".")]
      const { fiber, said } = yield* Arcp.start(arguments_, /url +(\S+)\ntoken +(\S+)/, { signal: Queue.take(stop) })
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          yield* Queue.offer(stop, undefined)
          const { exitCode, stderr, stdout } = yield* Fiber.join(fiber)
          assert.strictEqual(exitCode, 0)
          assert.strictEqual(stdout, "")
          assert.match(stderr, /agents {2}greeter@1\.0\.0, counter, .*\nurl[^]*shutting down\n$/)
        })
      )
      return { env: { ARCP_URL: said[1] ?? "", ARCP_TOKEN: said[2] ?? "" } }
    })
  )
}

layer(Served.layer)("against a runtime", (it) => {
  const arcp = (arguments_: ReadonlyArray<string>, surroundings?: Arcp.Surroundings) =>
    Effect.flatMap(Served, ({ env }) => Arcp.run(arguments_, { env, ...surroundings }))

  const start = (arguments_: ReadonlyArray<string>, until: RegExp, surroundings?: Arcp.Surroundings) =>
    Effect.flatMap(Served, ({ env }) => Arcp.start(arguments_, until, { env, ...surroundings }))

  const submit = (...arguments_: ReadonlyArray<string>) => arcp(["submit", ...arguments_])

  const frames = (stdout: string) =>
    stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))

  it.effect("prints the result on standard output and the events on standard error", () =>
    Effect.gen(function* () {
      const { exitCode, stderr, stdout } = yield* submit("greeter@1.0.0", "--input", `{"name":"Ada"}`)
      assert.strictEqual(stdout, `{\n  "greeting": "Hello, Ada!"\n}\n`)
      assert.match(stderr, /^accepted greeter@1\.0\.0 as job_\w+\nstatus {3}running\ninfo {5}greeting Ada\n$/)
      assert.strictEqual(exitCode, 0)
    })
  )

  it.effect("prints nothing but the result if that is wanted", () =>
    Effect.gen(function* () {
      const outcome = yield* submit("counter", "-i", "3", "--quiet", "--lease", "tool.call=adder")
      assert.deepStrictEqual(outcome, { exitCode: 0, stdout: "3\n", stderr: "" })
    })
  )

  it.effect("takes the input from standard input, and from a file", () =>
    Effect.gen(function* () {
      const piped = yield* arcp(["submit", "greeter", "-i", "-", "-q"], { stdin: `\uFEFF{"name":"a pipe"}\n` })
      assert.include(piped.stdout, "Hello, a pipe!")
      const file = yield* submit("greeter", "-q", "-i", `@${Arcp.fixture("input.json")}`)
      assert.include(file.stdout, "Hello, a file!")
      assert.deepStrictEqual(yield* submit("greeter", "-q", "-i", Arcp.fixture("input.json")), file)
    })
  )

  it.effect("tells a program everything, one object per line", () =>
    Effect.gen(function* () {
      const { exitCode, stderr, stdout } = yield* submit(
        "counter",
        "-i",
        "2",
        "--json",
        "-l",
        `{"tool.call":["adder"]}`
      )
      const [accepted, ...rest] = frames(stdout)
      assert.strictEqual(accepted.type, "job.accepted")
      assert.deepStrictEqual(accepted.lease, { "tool.call": ["adder"] })
      const outcome = rest.pop()
      assert.deepStrictEqual(outcome, { type: "job.result", final_status: "success", result: 2 })
      assert.deepStrictEqual(
        rest.map(({ body, kind, type }) => [type, kind, kind === "progress" ? body.current : undefined]),
        [
          ["job.event", "status", undefined],
          ["job.event", "progress", 0],
          ["job.event", "progress", 1],
          ["job.event", "progress", 2],
          ["job.event", "tool_call", undefined],
          ["job.event", "tool_result", undefined]
        ]
      )
      assert.strictEqual(stderr, "")
      assert.strictEqual(exitCode, 0)
    })
  )

  it.effect("exits with 1 when the job fails", () =>
    Effect.gen(function* () {
      const { exitCode, stderr, stdout } = yield* submit("failing")
      assert.include(stderr, "INTERNAL_ERROR: the wheel came off")
      assert.strictEqual(stdout, "")
      assert.strictEqual(exitCode, 1)
      const json = yield* submit("failing", "--json")
      const last = frames(json.stdout).pop()
      assert.deepInclude(last, { type: "job.error", final_status: "error", code: "INTERNAL_ERROR" })
      assert.deepStrictEqual(last.details, { agent_error: { _tag: "Broken", message: "the wheel came off" } })
      assert.strictEqual(json.exitCode, 1)
    })
  )

  it.effect("lets a job read what its lease covers, below the root, and nothing else", () =>
    Effect.gen(function* () {
      const denied = yield* submit("reader", "-i", `"greeting.txt"`)
      assert.include(denied.stderr, "PERMISSION_DENIED: fs.read")
      assert.strictEqual(denied.exitCode, 1)
      const lease = `fs.read=${Fs.realpathSync(Arcp.fixture("."))}/**`
      const read = yield* submit("reader", "-i", `"greeting.txt"`, "-l", lease, "--expires", "15m", "-q")
      assert.deepStrictEqual(read, { exitCode: 0, stdout: `"hello from a file"\n`, stderr: "" })
    })
  )

  it.effect.each<readonly [ReadonlyArray<string>, string]>([
    [["nobody"], "AGENT_NOT_AVAILABLE: No agent nobody"],
    [["greeter@9.9.9"], "AGENT_VERSION_NOT_AVAILABLE"],
    [["greeter", "--input", `{"name":1}`], "input.name"],
    [["greeter", "--input", `{"name":"x"}`, "--expires", "1970-01-01T00:00:00Z"], "expires_at"]
  ])("exits with 2 when the request is refused: %j", ([arguments_, problem]) =>
    Effect.gen(function* () {
      const { exitCode, stderr, stdout } = yield* submit(...arguments_, "--json")
      assert.include(stderr, problem)
      assert.deepInclude(frames(stdout)[0], { type: "session.error" })
      assert.strictEqual(exitCode, 2)
    })
  )

  it.effect("exits with 3 when the job is cancelled, which the first signal asks for", () =>
    Effect.gen(function* () {
      const signals = yield* Queue.bounded<void>(1)
      const { fiber } = yield* start(["submit", "waiting"], /for somebody/, { signal: Queue.take(signals) })
      yield* Queue.offer(signals, undefined)
      const { exitCode, stderr } = yield* Fiber.join(fiber)
      assert.match(stderr, /cancelling the job[^]*CANCELLED/)
      assert.strictEqual(exitCode, 3)
    })
  )

  it.effect("exits with 130 when the second signal comes before the job has ended", () =>
    Effect.gen(function* () {
      const signals = yield* Queue.bounded<void>(1)
      const { fiber } = yield* start(["submit", "stubborn"], /whatever/, { signal: Queue.take(signals) })
      yield* Queue.offer(signals, undefined)
      yield* Queue.offer(signals, undefined)
      const { exitCode, stderr } = yield* Fiber.join(fiber)
      assert.match(stderr, /left, while job_\w+ may still be running/)
      assert.strictEqual(exitCode, 130)
      yield* TestClock.adjust("1 minute")
    })
  )

  it.effect("exits with 4 when the job has run too long", () =>
    Effect.gen(function* () {
      const { fiber } = yield* start(["submit", "waiting", "--max-runtime", "2h", "--json"], /for somebody/)
      yield* TestClock.adjust("2 hours")
      const { exitCode, stdout } = yield* Fiber.join(fiber)
      assert.deepInclude(frames(stdout).pop(), { type: "job.error", final_status: "timed_out", code: "TIMEOUT" })
      assert.strictEqual(exitCode, 4)
    })
  )

  it.effect("exits with 5 when there is no session", () =>
    Effect.gen(function* () {
      const wrong = yield* submit("greeter", "--token", "wrong")
      assert.include(wrong.stderr, "The runtime does not know this token")
      assert.strictEqual(wrong.exitCode, 5)
      const nobody = yield* submit("greeter", "--url", "ws://127.0.0.1:9/agents?key=hidden")
      assert.include(nobody.stderr, "The runtime cannot be reached")
      assert.include(nobody.stderr, "It should be at ws://127.0.0.1:9/agents: see")
      assert.notInclude(nobody.stderr, "hidden")
      assert.strictEqual(nobody.exitCode, 5)
    })
  )

  it.effect("shows progress on a terminal in one line, which is gone at the end", () =>
    Effect.gen(function* () {
      const { fiber } = yield* start(["submit", "waiting", "--max-runtime", "1s"], /waiting/, { terminal: true })
      yield* Effect.repeat(TestClock.adjust("100 millis"), { times: 200 })
      const { stderr, stdout } = yield* Fiber.join(fiber)
      // oxlint-disable-next-line no-control-regex
      assert.match(stderr, /\r\u001b\[2K[^\n]*waiting[^\n]*\u001b\[2m\ds/)
      assert.include(stderr, "⠙")
      // oxlint-disable-next-line no-control-regex
      assert.match(stderr, /\r\u001b\[2K\n[^\r]*ERROR[^\r]*TIMEOUT[^\r]*$/)
      assert.strictEqual(stdout, "")
    })
  )

  it.effect("prints no control character that came over the wire", () =>
    Effect.gen(function* () {
      const { stderr, stdout } = yield* submit("rude")
      assert.include(stderr, "info     before after next\n")
      assert.notMatch(stderr, control)
      assert.notMatch(stdout, control)
      assert.strictEqual(JSON.parse(stdout), "\u001b[31mred\u009b\u007f")
      const json = yield* submit("rude", "--json")
      assert.notMatch(json.stdout, control)
    })
  )

  it.effect("lists the agents", () =>
    Effect.gen(function* () {
      const { exitCode, stdout } = yield* arcp(["agents"])
      assert.match(stdout, /^NAME {6}VERSIONS {2}DEFAULT\ncounter {3}- {9}-\n[^]*\ngreeter {3}1\.0\.0 {5}1\.0\.0\n/)
      assert.strictEqual(exitCode, 0)
      const json = yield* arcp(["agents", "--json"])
      assert.deepStrictEqual(
        JSON.parse(json.stdout).map(({ name }: { readonly name: string }) => name),
        ["counter", "failing", "greeter", "reader", "rude", "stubborn", "waiting"]
      )
    })
  )

  it.effect("says when the port is taken", () =>
    Effect.gen(function* () {
      const { env } = yield* Served
      const { exitCode, stderr } = yield* Arcp.run([
        "serve",
        Arcp.fixture("named.ts"),
        "--port",
        new URL(env["ARCP_URL"] ?? "").port
      ])
      assert.match(stderr, /cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/)
      assert.strictEqual(exitCode, 1)
    })
  )
})

describe("a module with named exports", () => {
  it.effect("serves all that are layers, which get nothing of this process", () =>
    Effect.gen(function* () {
      const arguments_ = ["serve", Arcp.fixture("named.ts"), "--port", "0"]
      const { said } = yield* Arcp.start(arguments_, /agents +(.+)\nurl +(\S+)\ntoken +(\S+)/)
      assert.sameMembers(said[1]?.split(", ") ?? [], ["one", "two", "three", "probe"])
      const env = { ARCP_URL: said[2] ?? "", ARCP_TOKEN: said[3] ?? "" }
      const { stdout } = yield* Arcp.run(["submit", "probe"], { env })
      assert.deepStrictEqual(JSON.parse(stdout), ["None", "None"])
    })
  )
})
