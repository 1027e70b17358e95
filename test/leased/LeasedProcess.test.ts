import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, Layer, PlatformError, Result, Scope, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { TestClock } from "effect/testing"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as LeasedChildProcess from "../../src/leased/LeasedChildProcess.ts"
import * as LeasedServices from "../../src/leased/LeasedServices.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import * as FakeJob from "./FakeJob.ts"
import { all, bodyOf, commands, here, isRunning, leased, refusal, refused, type Spawner } from "./Commands.ts"

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
