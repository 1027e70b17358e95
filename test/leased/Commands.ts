/** Commands of a host, a job that may run them, and what it is refused. */
import { NodeServices } from "@effect/platform-node"
import { assert } from "@effect/vitest"
import { Clock, Effect, Exit, FileSystem, PlatformError, Result, Scope } from "effect"
import { ChildProcessSpawner } from "effect/process"
import * as Fs from "node:fs"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as LeasedChildProcess from "../../src/leased/LeasedChildProcess.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import * as FakeJob from "./FakeJob.ts"
import * as Sandbox from "./Sandbox.ts"

export type Spawner = ChildProcessSpawner.ChildProcessSpawner["Service"]

/** Commands as hosts should not declare them: these run whatever they are told. */
export const commands: Record<string, LeasedChildProcess.Command> = {
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

export const all = { "tool.call": ["*"] }

interface Setup {
  readonly options?: Partial<LeasedChildProcess.Options>
  readonly constraints?: Capability.Constraints
  readonly spawner?: (spawner: Spawner) => Spawner
}

/** The spawner of a job with these grants, and what the job says. */
export const leased = (grants: Capability.Grants, { constraints = {}, options, spawner = (raw) => raw }: Setup = {}) =>
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
export const bodyOf = (said: ReadonlyArray<FakeJob.Said>, index = -1) =>
  said.at(index)?.body as {
    readonly result: Readonly<Record<string, unknown>>
    readonly error: ArcpError.Payload
  }

/** The protocol's error behind a refusal; any other outcome fails the test. */
export const refusal = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
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

export const refused = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>, reason = "") =>
  Effect.map(refusal(effect), (cause) => {
    assert.strictEqual(cause._tag, "PermissionDenied")
    assert.include(cause.message, reason)
    return cause
  })

export const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    // One that is only waited for is not.
    return !/^State:\s+Z/m.test(Fs.readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

export const inside =
  <A, E, R>(body: (sandbox: Sandbox.Sandbox) => Effect.Effect<A, E, R>) =>
  () =>
    Effect.flatMap(Sandbox.make, body).pipe(Effect.provide(NodeServices.layer))

export const here =
  <A, E, R>(body: () => Effect.Effect<A, E, R>) =>
  () =>
    Effect.provide(Effect.suspend(body), NodeServices.layer)
