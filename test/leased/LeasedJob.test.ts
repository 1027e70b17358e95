import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, FileSystem, Layer, type PlatformError, Result, Schema, Scope, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as Operation from "../../src/authority/Operation.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as LeasedChildProcess from "../../src/leased/LeasedChildProcess.ts"
import * as LeasedFileSystem from "../../src/leased/LeasedFileSystem.ts"
import * as LeasedJob from "../../src/leased/LeasedJob.ts"
import * as NodeAnchoredFiles from "../../src/node/NodeAnchoredFiles.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as FakeJob from "./FakeJob.ts"
import * as Sandbox from "./Sandbox.ts"

describe("A job that has ended", () => {
  it.effect("has no lease any more", () =>
    Effect.gen(function* () {
      const guard = yield* LeaseGuard.make(Result.getOrThrow(Lease.make({ "fs.read": ["/ws/**"] }, {}, 0)))
      const fake = FakeJob.make(guard)
      const job = LeasedJob.make(fake)
      yield* job.guard.authorize(Operation.fsRead("/ws/a"))
      yield* Effect.flip(job.guard.authorize(Operation.fsRead("/a")))
      yield* Scope.close(fake.scope, Exit.void)
      const error = yield* Effect.flip(job.guard.authorize(Operation.fsRead("/ws/a")))
      assert.strictEqual(error._tag, "PermissionDenied")
      assert.include(error.message, "the job has ended")
    })
  )

  const Stubborn = Agent.make({ name: "stubborn", input: Schema.String, output: Schema.String })

  it.effect("has no files and no processes, also if its agent goes on", () =>
    Effect.gen(function* () {
      const { ws } = yield* Sandbox.make
      const isCancelled = yield* Deferred.make<void>()
      const seen = yield* Deferred.make<ReadonlyArray<string>>()
      let pid = 0
      const answer = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
        Effect.match(effect, { onSuccess: () => "done", onFailure: (error) => error.message })
      const agents = Stubborn.toLayer((path) =>
        Effect.gen(function* () {
          const fs = yield* FileSystem.FileSystem
          const context = yield* JobContext.JobContext
          // A scope of its own that nobody closes.
          const scope = yield* Scope.make()
          const file = yield* Scope.provide(fs.open(`${path}/a.txt`, { flag: "r+" }), scope)
          pid = (yield* Scope.provide(ChildProcess.make("sleep", ["1000"]), scope)).pid
          yield* context.log("info", "ready")
          yield* Deferred.await(isCancelled)
          yield* Deferred.succeed(seen, [
            yield* answer(file.writeAll(new Uint8Array(1))),
            yield* answer(fs.writeFileString(`${path}/late`, "late")),
            yield* answer(fs.readFileString(`${path}/a.txt`)),
            yield* answer(Effect.scoped(ChildProcess.make("sleep", ["0"])))
          ])
          return ""
        }).pipe(Effect.uninterruptible)
      )
      yield* Effect.gen(function* () {
        const client = yield* ArcpClient.ArcpClient
        const lease = { "fs.read": [`${ws}/**`], "fs.write": [`${ws}/**`], "tool.call": ["sleep"] }
        const job = yield* client.submit(Stubborn, ws, { lease })
        yield* Stream.runDrain(Stream.takeUntil(job.events, ({ kind }) => kind === "log"))
        assert.isTrue(Fs.existsSync(`/proc/${pid}`))
        yield* job.cancel("enough")
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual((yield* Effect.flip(job.result))._tag, "Cancelled")
        assert.isFalse(Fs.existsSync(`/proc/${pid}`))
        const open = Fs.readdirSync("/proc/self/fd").flatMap((name) => {
          const path = Result.try(() => Fs.readlinkSync(`/proc/self/fd/${name}`))
          return Result.isSuccess(path) && path.success.startsWith(ws) ? [path.success] : []
        })
        assert.deepStrictEqual(open, [])
        yield* Deferred.succeed(isCancelled, undefined)
        const [used, written, read, spawned] = yield* Deferred.await(seen)
        assert.include(used, "the file is closed")
        assert.include(written, "the job has ended")
        assert.include(read, "the job has ended")
        assert.include(spawned, "the job has ended")
        assert.isFalse(Fs.existsSync(`${ws}/late`))
      }).pipe(
        Effect.provide(
          ArcpTest.layer({ agents }).pipe(
            Layer.provide(
              Layer.merge(
                LeasedFileSystem.layer(),
                LeasedChildProcess.layer({ commands: { sleep: { executable: "/bin/sleep" } } })
              )
            ),
            Layer.provide(NodeAnchoredFiles.layer),
            Layer.provide(NodeServices.layer)
          )
        )
      )
    }).pipe(Effect.provide(NodeServices.layer))
  )
})
