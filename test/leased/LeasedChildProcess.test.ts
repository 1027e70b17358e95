import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Sink, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import * as Fs from "node:fs"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import { verifies } from "../conformance/verifies.ts"
import { all, commands, here, inside, leased, refused, type Spawner } from "./Commands.ts"

describe("A command under a lease", () => {
  verifies(
    "C-096",
    "runs what the host declares under its name, and is told as a call of that tool",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased({ "tool.call": ["polite"] })
        assert.strictEqual(yield* service.string(ChildProcess.make("polite", ["Ada"])), "dear Ada\n")
        assert.deepStrictEqual(said, [
          { kind: "tool_call", body: { tool: "polite", args: { args: ["Ada"] }, call_id: "call_1" } },
          {
            kind: "tool_result",
            body: { call_id: "call_1", result: { exit_code: 0, stdout_bytes: 9, stderr_bytes: 0 } }
          }
        ])
        yield* refused(service.string(ChildProcess.make("polite", ["rude"])), "be kind")
      })
    )
  )

  verifies(
    "C-096",
    "that the lease does not cover is refused and told, and nothing runs",
    inside(({ ws }) =>
      Effect.gen(function* () {
        const { said, service } = yield* leased({ "tool.call": ["echo"] })
        const cause = yield* refused(service.exitCode(ChildProcess.make("sh", [`touch ${ws}/touched`])))
        assert.deepStrictEqual(cause.details, { capability: "tool.call", target: "sh" })
        assert.deepStrictEqual(
          said.map(({ kind }) => kind),
          ["tool_call", "tool_result"]
        )
        assert.deepStrictEqual(said[1]?.body, { call_id: "call_1", error: ArcpError.toPayload(cause) })
        assert.isFalse(Fs.existsSync(`${ws}/touched`))
      })
    )
  )

  it.effect(
    "is one that the host declares by this very name",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased({ "tool.call": ["**"] })
        const names = [
          "/bin/echo",
          "./echo",
          "../bin/echo",
          "bin/echo",
          "echo ",
          " echo",
          "ECHO",
          "echo\0",
          "echo;id",
          "constructor",
          "__proto__",
          "toString",
          "rm"
        ]
        for (const name of names) {
          yield* refused(service.string(ChildProcess.make(name, ["x"])), "the host declares no command of this name")
        }
        assert.strictEqual(said.length, 2 * names.length)
        for (const name of ["", "x".repeat(257), "\ud800"]) {
          yield* refused(service.string(ChildProcess.make(name, [])), "this names no command")
        }
        assert.strictEqual(said.length, 2 * names.length)
        yield* refused(service.string(ChildProcess.make("relative", [])), "an executable is an absolute path")
      })
    )
  )

  it.effect(
    "reports how it ended",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all)
        const handle = yield* service.spawn(ChildProcess.make("sh", ["echo out; echo err >&2; exit 3"]))
        yield* Stream.runDrain(handle.all)
        assert.strictEqual(yield* handle.exitCode, 3)
        while (said.length < 2) yield* Effect.yieldNow
        assert.deepStrictEqual(said.at(-1)?.body, {
          call_id: "call_1",
          result: { exit_code: 3, stdout_bytes: 4, stderr_bytes: 4 }
        })
        const error = yield* Effect.flip(service.exitCode(ChildProcess.make("sh", ["kill -KILL $$"])))
        assert.include(error.message, "SIGKILL")
        assert.deepStrictEqual(said.at(-1)?.body, {
          call_id: "call_2",
          result: { exit_code: null, stdout_bytes: 0, stderr_bytes: 0 }
        })
      })
    )
  )

  it.effect(
    "that cannot start says so, and not where the host has it",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all)
        const error = yield* Effect.flip(service.string(ChildProcess.make("nothing", ["x", Redacted.make("hidden")])))
        assert.strictEqual(error.reason._tag, "NotFound")
        const told = [error.message, String(error.cause), JSON.stringify(error.reason), JSON.stringify(said)].join()
        assert.include(told, "nothing x")
        for (const secret of ["no/such", "fixed", "hidden"]) assert.notInclude(told, secret)
        assert.strictEqual(said.length, 2)
      })
    )
  )

  it.effect(
    "takes no text with a NUL in it",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all)
        for (const command of [
          ChildProcess.make("echo", ["a\0b"]),
          ChildProcess.make("env", [], { env: { GREETING: "a\0LD_PRELOAD=x" } })
        ]) {
          assert.strictEqual((yield* Effect.flip(service.string(command))).reason._tag, "BadArgument")
        }
        assert.strictEqual(said.length, 4)
      })
    )
  )

  it.effect(
    "takes its input from a stream, and gives its output to a sink",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all)
        const stdin = Stream.encodeText(Stream.make("one\n", "two\n"))
        assert.deepStrictEqual(yield* service.lines(ChildProcess.make("cat", [], { stdin })), ["one", "two"])
        const joined = Sink.map(
          Sink.collect<Uint8Array>(),
          (parts) => new Uint8Array([...parts.flatMap((part) => [...part]), 33])
        )
        for (const stdout of [joined, { stream: joined }]) {
          assert.strictEqual(yield* service.string(ChildProcess.make("echo", ["x"], { stdout })), "x\n!")
        }
        assert.strictEqual(
          yield* service.string(ChildProcess.make("cat", [], { stdin: { stream: stdin, endOnDone: true } })),
          "one\ntwo\n"
        )
        assert.strictEqual(
          yield* service
            .string(ChildProcess.make("sh", ["echo out; echo err >&2"]), { includeStderr: true })
            .pipe(Effect.map((text) => text.split("\n").toSorted().join())),
          ",err,out"
        )
        assert.strictEqual(yield* service.string(ChildProcess.make("echo", ["x"], { stdout: "ignore" })), "")
        const handle = yield* service.spawn(ChildProcess.make("cat"))
        yield* Stream.run(Stream.encodeText(Stream.make("by hand")), handle.stdin)
        assert.strictEqual(yield* Stream.mkString(Stream.decodeText(handle.stdout)), "by hand")
        assert.strictEqual(yield* handle.exitCode, 0)
        assert.isTrue(said.length > 0)
      })
    )
  )

  it.effect(
    "shows neither what is redacted nor what does not end",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all)
        const secret = Redacted.make("canary")
        const env = { SECRET: secret, GREETING: "canary" }
        yield* Effect.ignore(service.string(ChildProcess.make("env", [secret], { env })))
        assert.strictEqual(yield* service.string(ChildProcess.make("echo", [secret])), "canary\n")
        yield* service.exitCode(
          ChildProcess.make("echo", ["x".repeat(100_000), ...Array.from({ length: 500 }, String)])
        )
        const told = JSON.stringify(said)
        assert.notInclude(told, "canary")
        assert.include(told, "<redacted>")
        assert.include(told, "SECRET")
        assert.isBelow(told.length, 10_000)
      })
    )
  )
})

describe("Each option of a command", () => {
  const options: {
    readonly [O in keyof Required<ChildProcess.CommandOptions>]: {
      readonly takes: ReadonlyArray<ChildProcess.CommandOptions[O]>
      readonly refuses: ReadonlyArray<unknown>
    }
  } = {
    additionalFds: { takes: [undefined], refuses: [{ fd3: { type: "input" } }, {}] },
    cwd: { takes: [undefined], refuses: ["/", "/tmp", "tmp", "", 1] },
    detached: { takes: [undefined], refuses: [true, false] },
    env: { takes: [undefined, {}], refuses: [{ PATH: "/bin" }, "x", { "A=B": "c" }] },
    extendEnv: { takes: [undefined, false], refuses: [true, 1, "yes"] },
    forceKillAfter: { takes: [undefined, 1, "1 second"], refuses: ["soon"] },
    killSignal: { takes: [undefined, "SIGINT"], refuses: [0, 9, "", "sigterm", "SIGTERM; id", {}] },
    shell: { takes: [undefined, false], refuses: [true, "/bin/sh", "", 1] },
    stderr: {
      takes: [undefined, "pipe", "ignore", "overlapped", { stream: "pipe" }],
      refuses: [
        "inherit",
        2,
        {
          stream: "inherit"
        },
        { stream: { stream: "pipe" } },
        process.stderr
      ]
    },
    stdin: {
      takes: [undefined, "pipe", "ignore", "overlapped", { stream: "ignore" }],
      refuses: [
        "inherit",
        0,
        null,
        {
          stream: "inherit"
        },
        { stream: "pipe", encoding: 1 },
        { stream: "pipe", endOnDone: "no" }
      ]
    },
    stdout: {
      takes: [undefined, "pipe", "ignore", "overlapped", { stream: "pipe" }],
      refuses: [
        "inherit",
        1,
        "fd1",
        {
          stream: 1
        },
        process.stdout
      ]
    },
    windowsHide: { takes: [undefined, true, false], refuses: [1] }
  }

  it.effect(
    "is covered or refused, and one that a later Effect adds is not overlooked",
    here(() =>
      Effect.gen(function* () {
        const { service } = yield* leased(all)
        const run = (given: object) => service.string(ChildProcess.make("echo", ["x"], given))
        for (const [option, { refuses, takes }] of Object.entries(options)) {
          for (const value of takes) yield* run({ [option]: value })
          for (const value of refuses) {
            yield* refused(run({ [option]: value })).pipe(
              Effect.mapError((cause) => new Error(`${option}: ${String(value)}`, { cause }))
            )
          }
        }
        for (const option of ["uid", "gid", "argv0", "signal", "stdio", "timeout", "serialization"]) {
          yield* refused(run({ [option]: 0 }), "is not known")
        }
        const read = yield* Effect.flip(Effect.scoped(service.spawn(ChildProcess.make("echo", [1 as never]))))
        assert.include(read.message, "an argument is a text")
      })
    )
  )

  it.effect(
    "is read once: one that changes is what it was when it was judged",
    here(() =>
      Effect.gen(function* () {
        const { service } = yield* leased(all, {
          options: {
            commands: {
              ...commands,
              echo: { ...commands["echo"]!, refuses: (args) => (args.includes("evil") ? "no" : undefined) }
            }
          }
        })
        let reads = 0
        const command = ChildProcess.make("echo", ["good"])
        const changing: ChildProcess.StandardCommand = Object.create(command, {
          args: { get: () => (++reads > 1 ? ["evil"] : ["good"]) },
          options: { get: () => (reads > 1 ? { shell: true } : {}) },
          command: { get: () => (reads > 1 ? "sh" : "echo") },
          _tag: { value: "StandardCommand" }
        })
        assert.strictEqual(yield* service.string(changing), "good\n")
      })
    )
  )
})

describe("The environment of a command", () => {
  it.effect(
    "is what the host declares, and of an agent what the command accepts",
    here(() =>
      Effect.gen(function* () {
        const { service } = yield* leased(all)
        const environment = (env?: Record<string, string | Redacted.Redacted | undefined>) =>
          service.lines(ChildProcess.make("env", [], env === undefined ? {} : { env })).pipe(
            // Of Node itself, while coverage is measured.
            Effect.map((lines) => lines.filter((line) => !line.startsWith("NODE_V8_COVERAGE=")))
          )
        assert.deepStrictEqual(yield* environment(), ["OWN=own"])
        assert.sameMembers(yield* environment({ GREETING: "hi", SECRET: Redacted.make("s") }), [
          "OWN=own",
          "GREETING=hi",
          "SECRET=s"
        ])
        assert.deepStrictEqual(yield* environment({ OWN: "other" }), ["OWN=other"])
        assert.deepStrictEqual(yield* environment({ OWN: undefined }), [])
        assert.deepStrictEqual(yield* service.lines(ChildProcess.make("sh", ["echo ${HOME:-none}"])), ["none"])
      })
    )
  )

  it.effect(
    "takes no variable from an agent by which a program is made to run another",
    here(() =>
      Effect.gen(function* () {
        const { service } = yield* leased(all)
        const names = [
          ..."LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES DYLD_LIBRARY_PATH GCONV_PATH LOCPATH".split(
            " "
          ),
          ..."PATH SHELL BASH_ENV ENV IFS PS4 SHELLOPTS BASHOPTS PROMPT_COMMAND BASH_FUNC_echo%% CDPATH".split(" "),
          ..."NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NODE_V8_COVERAGE npm_config_script_shell".split(" "),
          ..."PYTHONPATH PYTHONSTARTUP PYTHONHOME PERL5LIB PERL5OPT RUBYLIB RUBYOPT JAVA_TOOL_OPTIONS".split(" "),
          ..."GIT_SSH GIT_SSH_COMMAND GIT_EXTERNAL_DIFF GIT_EXEC_PATH GIT_CONFIG_COUNT GIT_ASKPASS GIT_PAGER".split(
            " "
          ),
          ..."GIT_DIR GIT_TEMPLATE_DIR EDITOR VISUAL PAGER LESSOPEN BROWSER SSH_ASKPASS SUDO_ASKPASS".split(" "),
          ..."HOME XDG_CONFIG_HOME TMPDIR http_proxy SSL_CERT_FILE MALLOC_CHECK_ TERMINFO HOSTALIASES".split(" "),
          "greeting",
          "GREETING ",
          "GREETING=x",
          "GREETING\0",
          "",
          "constructor",
          "toString"
        ]
        for (const name of names) {
          yield* refused(
            service.string(ChildProcess.make("env", [], { env: { [name]: "x" } })),
            "not for agents to set"
          )
        }
      })
    )
  )
})

describe("The directory of a command", () => {
  const grants = (ws: string) => ({ ...all, "fs.read": [`${ws}/**`] })
  const pwd = (service: Spawner, cwd?: string) =>
    service
      .string(ChildProcess.make("sh", ["pwd -P"], cwd === undefined ? {} : { cwd }))
      .pipe(Effect.map((text) => text.trim()))

  it.effect(
    "is one that the lease covers by fs.read, links followed",
    inside(({ secret, ws }) =>
      Effect.gen(function* () {
        const { service } = yield* leased(grants(ws), { options: { root: ws } })
        assert.strictEqual(yield* pwd(service), "/")
        assert.strictEqual(yield* pwd(service, `${ws}/sub`), `${ws}/sub`)
        assert.strictEqual(yield* pwd(service, `${ws}/inner`), `${ws}/sub`)
        assert.strictEqual(yield* pwd(service, "sub"), `${ws}/sub`)
        for (const cwd of [
          secret,
          `${ws}/out`,
          `${ws}/../secret`,
          "/",
          "/etc",
          "../secret",
          `${ws}/dangling`,
          "/proc/self/cwd"
        ]) {
          yield* refused(pwd(service, cwd))
        }
        for (const cwd of [`${ws}/a.txt`, `${ws}/nothing`, `${ws}/a.txt/x`]) {
          const { reason } = yield* Effect.flip(pwd(service, cwd))
          assert.include(["BadResource", "NotFound"], reason._tag)
        }
        yield* refused(pwd((yield* leased(grants(ws))).service, "sub"), "absolute")
      })
    )
  )

  it.effect(
    "is within that of the command, if it declares one",
    inside(({ ws }) =>
      Effect.gen(function* () {
        const sh = { ...commands["sh"]!, cwd: `${ws}/inner` }
        const { service } = yield* leased(grants(ws), { options: { commands: { sh } } })
        assert.strictEqual(yield* pwd(service), `${ws}/sub`)
        assert.strictEqual(yield* pwd(service, `${ws}/sub`), `${ws}/sub`)
        yield* refused(pwd(service, ws), "outside the directory of the command")
        const lost = { ...commands["sh"]!, cwd: `${ws}/nothing` }
        yield* refused(
          pwd((yield* leased(grants(ws), { options: { commands: { sh: lost } } })).service),
          "is not there"
        )
      })
    )
  )

  it.effect(
    "is the one that was judged, when another takes its name before the process starts, and is not handed on",
    inside(({ host, secret, ws }) =>
      Effect.gen(function* () {
        yield* host.makeDirectory(`${ws}/d`)
        const exchange = Effect.andThen(host.rename(`${ws}/d`, `${ws}/away`), host.symlink(secret, `${ws}/d`))
        const { service } = yield* leased(grants(ws), {
          spawner: (raw) =>
            ChildProcessSpawner.make((command) => Effect.andThen(Effect.orDie(exchange), raw.spawn(command)))
        })
        const script = "pwd -P; ls; for fd in /proc/self/fd/*; do readlink $fd; done"
        const command = ChildProcess.make("sh", [script], { cwd: `${ws}/d` })
        const lines = yield* service.lines(command)
        assert.strictEqual(lines[0], `${ws}/away`)
        assert.deepStrictEqual(
          lines.filter((line) => line.includes("secret") || line === "s.txt"),
          []
        )
        assert.deepStrictEqual(
          lines.slice(1).filter((line) => line.startsWith("/") && !line.startsWith("/dev")),
          []
        )
      })
    )
  )
})

describe("A pipeline", () => {
  it.effect(
    "is a call for each of its commands",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all)
        const pipeline = ChildProcess.make("echo", ["one"]).pipe(
          ChildProcess.pipeTo(ChildProcess.make("cat")),
          ChildProcess.pipeTo(ChildProcess.make("sh", ["cat; echo two; echo err >&2"])),
          ChildProcess.pipeTo(ChildProcess.make("cat"), { from: "all" })
        )
        assert.deepStrictEqual((yield* service.lines(pipeline)).toSorted(), ["err", "one", "two"])
        const calls = said.filter(({ kind }) => kind === "tool_call").map(({ body }) => (body as { tool: string }).tool)
        assert.deepStrictEqual(calls, ["echo", "cat", "sh", "cat"])
        assert.strictEqual(said.filter(({ kind }) => kind === "tool_result").length, 4)
        const handle = yield* service.spawn(
          ChildProcess.make("cat").pipe(ChildProcess.pipeTo(ChildProcess.make("cat")))
        )
        yield* Stream.run(Stream.encodeText(Stream.make("through")), handle.stdin)
        assert.strictEqual(yield* Stream.mkString(Stream.decodeText(handle.stdout)), "through")
      })
    )
  )

  it.effect(
    "of which one command is refused does not start",
    inside(({ ws }) =>
      Effect.gen(function* () {
        const touch = ChildProcess.make("sh", [`touch ${ws}/touched`])
        const { said, service } = yield* leased({ "tool.call": ["sh", "rm"] })
        for (const second of [
          ChildProcess.make("cat"),
          ChildProcess.make("rm"),
          ChildProcess.make("sh", ["x"], { shell: true }),
          ChildProcess.make("/bin/cat")
        ]) {
          yield* refused(service.string(ChildProcess.pipeTo(touch, second)))
          yield* refused(service.string(ChildProcess.pipeTo(second, touch)))
        }
        yield* refused(service.string(ChildProcess.pipeTo(touch, touch, { to: "fd3" })), "standard streams")
        yield* refused(service.string(ChildProcess.pipeTo(touch, touch, { from: "fd3" })), "standard streams")
        let long: ChildProcess.Command = touch
        for (let n = 0; n < 16; n++) long = ChildProcess.pipeTo(long, touch)
        yield* refused(service.string(long), "at most 16")
        assert.isFalse(Fs.existsSync(`${ws}/touched`))
        assert.strictEqual(said.length, 16)
      })
    )
  )
})
