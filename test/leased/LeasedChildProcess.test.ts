import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import {
  Clock,
  Deferred,
  Effect,
  Exit,
  Fiber,
  FileSystem,
  Layer,
  PlatformError,
  Redacted,
  Result,
  Scope,
  Sink,
  Stream
} from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as LeasedChildProcess from "../../src/leased/LeasedChildProcess.ts"
import * as LeasedServices from "../../src/leased/LeasedServices.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import { verifies } from "../conformance/verifies.ts"
import * as FakeJob from "./FakeJob.ts"
import * as Sandbox from "./Sandbox.ts"

type Spawner = ChildProcessSpawner.ChildProcessSpawner["Service"]

/** Commands as hosts should not declare them: these run whatever they are told. */
const commands: Record<string, LeasedChildProcess.Command> = {
  cat: { executable: "/bin/cat" },
  echo: { executable: "/bin/echo" },
  env: { executable: "/usr/bin/env", env: { OWN: "own", GONE: undefined }, acceptsEnv: ["GREETING", "OWN", "SECRET"] },
  nothing: { executable: "/no/such/program", args: ["fixed"] },
  polite: {
    executable: "/bin/echo",
    args: ["dear"],
    refuses: (args) => (args.includes("rude") ? "be kind" : undefined)
  },
  relative: { executable: "bin/echo" },
  sh: { executable: "/bin/sh", args: ["-c"], env: { PATH: "/bin:/usr/bin" } },
  sleep: { executable: "/bin/sleep" }
}

const all = { "tool.call": ["*"] }

interface Setup {
  readonly options?: Partial<LeasedChildProcess.Options>
  readonly constraints?: Capability.Constraints
  readonly spawner?: (spawner: Spawner) => Spawner
}

/** The spawner of a job with these grants, and what the job says. */
const leased = (grants: Capability.Grants, { constraints = {}, options, spawner = (raw) => raw }: Setup = {}) =>
  Effect.gen(function* () {
    const guard = yield* LeaseGuard.make(Result.getOrThrow(Lease.make(grants, constraints, 0)))
    const job = FakeJob.make(guard)
    yield* Effect.addFinalizer(() => Scope.close(job.scope, Exit.void))
    const service = LeasedChildProcess.make(
      {
        spawner: spawner(yield* ChildProcessSpawner.ChildProcessSpawner),
        fileSystem: yield* FileSystem.FileSystem,
        anchored: Sandbox.anchored,
        clock: yield* Clock.Clock
      },
      job,
      { commands, ...options }
    )
    return { job, service, said: job.said }
  })

/** What a job said last, or n-th. */
const bodyOf = (said: ReadonlyArray<FakeJob.Said>, index = -1) =>
  said.at(index)?.body as {
    readonly result: Readonly<Record<string, unknown>>
    readonly error: ArcpError.Payload
  }

/** The protocol's error behind a refusal; any other outcome fails the test. */
const refusal = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
  Effect.flip(effect).pipe(
    Effect.mapError(() => new Error("the lease let it pass")),
    Effect.map((error) => {
      assert.instanceOf(error, PlatformError.PlatformError)
      assert(ArcpError.isArcpError(error.cause), `a refusal of the host: ${error.message}`)
      assert.strictEqual(error.reason._tag, "PermissionDenied")
      assert.strictEqual(error.reason.module, "ChildProcess")
      return error.cause
    })
  )

const refused = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>, reason = "") =>
  Effect.map(refusal(effect), (cause) => {
    assert.strictEqual(cause._tag, "PermissionDenied")
    assert.include(cause.message, reason)
    return cause
  })

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    // One that is only waited for is not.
    return !/^State:\s+Z/m.test(Fs.readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

const inside =
  <A, E, R>(body: (sandbox: Sandbox.Sandbox) => Effect.Effect<A, E, R>) =>
  () =>
    Effect.flatMap(Sandbox.make, body).pipe(Effect.provide(NodeServices.layer))

const here =
  <A, E, R>(body: () => Effect.Effect<A, E, R>) =>
  () =>
    Effect.provide(Effect.suspend(body), NodeServices.layer)

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

describe("A process", () => {
  it.live(
    "ends with its scope, and all that it started with it, and is told before that is over",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all)
        const pids = yield* Effect.scoped(
          Effect.gen(function* () {
            const handle = yield* service.spawn(ChildProcess.make("sh", ["sleep 1000 & echo $!; wait"]))
            const [child] = yield* Stream.runCollect(
              Stream.take(Stream.splitLines(Stream.decodeText(handle.stdout)), 1)
            )
            assert.isTrue(isRunning(Number(child)) && isRunning(handle.pid))
            assert.isTrue(yield* handle.isRunning)
            return [handle.pid, Number(child)]
          })
        )
        assert.deepStrictEqual(pids.filter(isRunning), [])
        assert.isNull(bodyOf(said).result["exit_code"])
      })
    )
  )

  it.live(
    "that does not listen is killed after the grace, whatever its agent asked for",
    here(() =>
      Effect.gen(function* () {
        const { service } = yield* leased(all, { options: { grace: "100 millis" } })
        const script = "trap '' TERM INT HUP; echo up; while :; do sleep 0.05; done"
        for (const given of [
          {},
          { killSignal: "SIGCONT" },
          { killSignal: "SIGURG", forceKillAfter: "1 hour" }
        ] as const) {
          const pid = yield* Effect.scoped(
            Effect.gen(function* () {
              const handle = yield* service.spawn(ChildProcess.make("sh", [script], given))
              yield* Stream.runHead(handle.stdout)
              return handle.pid
            })
          )
          assert.isFalse(isRunning(pid))
        }
      })
    )
  )

  it.live(
    "ends with its job, also in a scope that its agent never closes",
    here(() =>
      Effect.gen(function* () {
        const { job, service } = yield* leased(all, { options: { grace: "100 millis" } })
        const stubborn = ChildProcess.make("sh", ["trap '' TERM; echo up; while :; do sleep 0.05; done"])
        const handle = yield* Scope.provide(service.spawn(stubborn), yield* Scope.make())
        yield* Stream.runHead(handle.stdout)
        yield* Scope.close(job.scope, Exit.void)
        assert.isFalse(isRunning(handle.pid))
        // And after that nothing starts any more.
        yield* refused(service.spawn(ChildProcess.make("sleep", ["1000"])), "the job has ended")
      })
    )
  )

  it.live(
    "is not left behind by who is interrupted while it starts",
    here(() =>
      Effect.gen(function* () {
        const pids: Array<number> = []
        const { service } = yield* leased(all, {
          spawner: (raw) =>
            ChildProcessSpawner.make((command) =>
              Effect.tap(raw.spawn(command), ({ pid }) => Effect.sync(() => pids.push(pid)))
            )
        })
        for (let turns = 0; turns < 30; turns++) {
          const fiber = yield* Effect.forkChild(service.exitCode(ChildProcess.make("sleep", ["1000"])))
          for (let turn = 0; turn < turns; turn++) {
            yield* Effect.promise(() => new Promise((resume) => setImmediate(resume)))
          }
          yield* Fiber.interrupt(fiber)
        }
        assert.isNotEmpty(pids)
        assert.deepStrictEqual(pids.filter(isRunning), [])
      })
    )
  )

  it.live(
    "is ended by its agent, once, and never let go",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all)
        const handle = yield* service.spawn(ChildProcess.make("sleep", ["1000"]))
        assert.strictEqual((yield* refused(handle.unref, "does not outlive")).details?.["target"], "sleep")
        yield* handle.kill({ killSignal: "SIGINT" })
        assert.isFalse(isRunning(handle.pid))
        yield* Effect.flip(handle.exitCode)
        assert.isFalse(yield* handle.isRunning)
        const kept = yield* Effect.scoped(service.spawn(ChildProcess.make("sleep", ["1000"])))
        // Its number may be that of another process by now.
        yield* kept.kill()
        assert.strictEqual(said.length, 4)
      })
    )
  )

  it.live(
    "is one of a few at a time",
    here(() =>
      Effect.gen(function* () {
        const { service } = yield* leased(all, { options: { maxProcesses: 2 } })
        const sleeping = ChildProcess.make("sleep", ["1000"])
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* service.spawn(sleeping)
            yield* service.spawn(sleeping)
            yield* refused(service.spawn(sleeping), "too many")
          })
        )
        for (let n = 0; n < 4; n++) yield* service.exitCode(ChildProcess.make("echo"))
        yield* Effect.scoped(service.spawn(sleeping))
      })
    )
  )

  it.live(
    "says no more than it may",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all, { options: { maxOutput: 100_000 } })
        let pid = 0
        const flood = Effect.scoped(
          Effect.gen(function* () {
            const handle = yield* service.spawn(
              ChildProcess.make("sh", ["while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyy; done"])
            )
            pid = handle.pid
            yield* Stream.runDrain(handle.all)
          })
        )
        yield* refused(flood, "at most 100000 bytes")
        assert.isFalse(isRunning(pid))
        assert.strictEqual(bodyOf(said).error.code, "PERMISSION_DENIED")
      })
    )
  )
})

describe("When the lease expires", () => {
  const constraints = { expires_at: "1970-01-01T00:00:10Z" }

  it.effect(
    "a process that runs is ended, its streams fail, and it is told why",
    here(() =>
      Effect.gen(function* () {
        const { said, service } = yield* leased(all, { constraints })
        const handle = yield* service.spawn(ChildProcess.make("sh", ["echo up; sleep 1000 & sleep 1000"]))
        const first = yield* Deferred.make<void>()
        const reading = yield* Effect.forkChild(
          Stream.runForEach(handle.stdout, () => Deferred.succeed(first, undefined))
        )
        const quiet = yield* Effect.forkChild(Stream.runDrain(handle.stderr))
        const waiting = yield* Effect.forkChild(handle.exitCode)
        yield* Deferred.await(first)
        yield* TestClock.adjust(9_999)
        assert.isTrue(isRunning(handle.pid))
        yield* TestClock.adjust(1)
        for (const fiber of [reading, quiet, waiting]) {
          assert.strictEqual(
            (yield* refusal<unknown, never>(Fiber.join<unknown, PlatformError.PlatformError>(fiber)))._tag,
            "LeaseExpired"
          )
        }
        for (const use of [
          Stream.runDrain(handle.all),
          handle.exitCode,
          Stream.run(Stream.make(new Uint8Array(1)), handle.stdin)
        ]) {
          assert.strictEqual((yield* refusal<unknown, never>(use))._tag, "LeaseExpired")
        }
        while (said.length < 2) yield* Effect.promise(() => new Promise((resume) => setImmediate(resume)))
        assert.isFalse(isRunning(handle.pid))
        assert.strictEqual(bodyOf(said, 1).error.code, "LEASE_EXPIRED")
        assert.strictEqual((yield* refusal(service.string(ChildProcess.make("echo"))))._tag, "LeaseExpired")
      })
    )
  )

  it.effect(
    "the agent's own clock does not count",
    here(() =>
      Effect.gen(function* () {
        const { service } = yield* leased(all, { constraints })
        const stopped: Clock.Clock = {
          ...(yield* Clock.Clock),
          currentTimeMillisUnsafe: () => 0,
          sleep: () => Effect.never
        }
        const running = yield* Effect.forkChild(
          Effect.provideService(service.exitCode(ChildProcess.make("sleep", ["1000"])), Clock.Clock, stopped)
        )
        yield* Effect.promise(() => new Promise((resume) => setTimeout(resume, 100)))
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* refusal(Fiber.join(running)))._tag, "LeaseExpired")
      })
    )
  )

  it.effect(
    "what a command left running is ended as well",
    here(() =>
      Effect.gen(function* () {
        const { service } = yield* leased(all, { constraints })
        const handle = yield* service.spawn(ChildProcess.make("sh", ["sleep 1000 >/dev/null 2>&1 & echo $!"]))
        const pid = Number(yield* Stream.mkString(Stream.decodeText(handle.stdout)))
        assert.strictEqual(yield* handle.exitCode, 0)
        assert.isTrue(isRunning(pid))
        yield* TestClock.adjust("10 seconds")
        while (isRunning(pid)) yield* Effect.promise(() => new Promise((resume) => setImmediate(resume)))
      })
    )
  )
})

describe("Each method of the leased spawner", () => {
  const echo = ChildProcess.make("echo", ["x"])
  type Method = Exclude<keyof Spawner, `~${string}`>
  const methods: {
    readonly [M in Method]: (service: Spawner) => Effect.Effect<unknown, PlatformError.PlatformError, Scope.Scope>
  } = {
    exitCode: (service) => service.exitCode(echo),
    lines: (service) => service.lines(echo),
    spawn: (service) => service.spawn(echo),
    streamLines: (service) => Stream.runCollect(service.streamLines(echo)),
    streamString: (service) => Stream.runCollect(service.streamString(echo)),
    string: (service) => service.string(echo)
  }

  it.effect(
    "asks the lease, and one that a later Effect adds is not overlooked",
    here(() =>
      Effect.gen(function* () {
        const host = yield* ChildProcessSpawner.ChildProcessSpawner
        const granted = yield* leased(all)
        const denied = yield* leased({})
        const expired = yield* leased(all, { constraints: { expires_at: "1970-01-01T00:00:01Z" } })
        yield* TestClock.adjust("1 second")
        for (const service of [host, granted.service, LeasedChildProcess.refusing]) {
          assert.sameMembers(Object.keys(service), Object.keys(methods))
        }
        for (const call of Object.values(methods)) {
          yield* Effect.scoped(call(granted.service))
          yield* refused(Effect.scoped(call(denied.service)))
          yield* refused(Effect.scoped(call(LeasedChildProcess.refusing)), "the host declares no commands")
          assert.strictEqual((yield* refusal(Effect.scoped(call(expired.service))))._tag, "LeaseExpired")
        }
      })
    )
  )

  it.effect(
    "and each member of a handle is that of the ordinary one",
    here(() =>
      Effect.gen(function* () {
        const host = yield* ChildProcessSpawner.ChildProcessSpawner
        const { service } = yield* leased(all)
        const raw = yield* host.spawn(ChildProcess.make("/bin/echo"))
        const members: { readonly [M in Exclude<keyof ChildProcessSpawner.ChildProcessHandle, `~${string}`>]: true } = {
          all: true,
          exitCode: true,
          getInputFd: true,
          getOutputFd: true,
          isRunning: true,
          kill: true,
          pid: true,
          stderr: true,
          stdin: true,
          stdout: true,
          unref: true
        }
        for (const handle of [
          raw,
          yield* service.spawn(echo),
          yield* service.spawn(ChildProcess.pipeTo(echo, ChildProcess.make("cat")))
        ]) {
          assert.sameMembers(Object.keys(handle), Object.keys(members))
        }
        const handle = yield* service.spawn(echo)
        assert.deepStrictEqual([...(yield* Stream.runCollect(handle.getOutputFd(3)))], [])
        yield* Stream.run(Stream.make(new Uint8Array(1)), handle.getInputFd(3))
      })
    )
  )
})

describe("LeasedServices", () => {
  const string = ChildProcessSpawner.ChildProcessSpawner.use((service) =>
    service.string(ChildProcess.make("echo", ["x"]))
  )

  it.effect(
    "give each job the commands of the host under its own lease",
    here(() =>
      Effect.gen(function* () {
        const forJob = yield* LeasedServices.forJob
        const of = (grants: Capability.Grants) =>
          Effect.map(LeaseGuard.make(Result.getOrThrow(Lease.make(grants, {}, 0))), (guard) =>
            forJob(FakeJob.make(guard))
          )
        assert.strictEqual(yield* Effect.provideContext(string, yield* of(all)), "x\n")
        yield* refused(Effect.provideContext(string, yield* of({})))
      }).pipe(Effect.provide(LeasedChildProcess.layer({ commands }).pipe(Layer.provide(NodeServices.layer))))
    )
  )

  it.effect(
    "refuse where the host declares nothing, whatever the application around has",
    here(() =>
      Effect.gen(function* () {
        const forJob = yield* LeasedServices.forJob
        const guard = yield* LeaseGuard.make(Result.getOrThrow(Lease.make(all, {}, 0)))
        for (const services of [forJob(FakeJob.make(guard)), LeasedServices.refusing]) {
          yield* refused(Effect.provideContext(string, services), "the host declares no commands")
        }
      })
    )
  )
})
