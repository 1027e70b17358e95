/**
 * A real directory with two halves, one that leases in these tests grant and one that they do not, and links between them.
 */
import { NodeFileSystem } from "@effect/platform-node"
import { assert } from "@effect/vitest"
import { Effect, FileSystem, Option, PlatformError, Result } from "effect"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as LeasedFileSystem from "../../src/leased/LeasedFileSystem.ts"
import * as NodeAnchoredFiles from "../../src/node/NodeAnchoredFiles.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"

export interface Sandbox {
  /** The host's own file system. */
  readonly host: FileSystem.FileSystem
  /** The directory that leases grant, with its links resolved. */
  readonly ws: string
  /** The one beside it that they do not. */
  readonly secret: string
  /** Both are in here. */
  readonly base: string
  readonly read: Capability.Grants
  readonly all: Capability.Grants
}

export const make = Effect.gen(function* () {
  const host = yield* FileSystem.FileSystem
  const base = yield* host.realPath(yield* host.makeTempDirectoryScoped({ prefix: "arcp-" }))
  const ws = `${base}/ws`
  const secret = `${base}/secret`
  yield* host.makeDirectory(`${ws}/sub`, { recursive: true })
  yield* host.makeDirectory(`${secret}/deep`, { recursive: true })
  yield* host.writeFileString(`${ws}/a.txt`, "a")
  yield* host.writeFileString(`${ws}/sub/b.txt`, "b")
  yield* host.writeFileString(`${secret}/s.txt`, "s")
  yield* host.symlink(ws, `${base}/alias`)
  yield* host.symlink("sub", `${ws}/inner`)
  yield* host.symlink("../secret", `${ws}/out`)
  yield* host.symlink("../secret/s.txt", `${ws}/leak.txt`)
  yield* host.symlink("chain2", `${ws}/chain1`)
  yield* host.symlink("leak.txt", `${ws}/chain2`)
  yield* host.symlink("../secret/new.txt", `${ws}/dangling`)
  yield* host.symlink("loop", `${ws}/loop`)
  const read = { "fs.read": [`${ws}/**`] }
  const all = { ...read, "fs.write": [`${ws}/**`] }
  const sandbox: Sandbox = { host, base, ws, secret, read, all }
  return sandbox
})

/** The two kinds of hosts: one that holds what it uses, and one that has names only. */
export const kinds = ["held", "named"] as const

export type Kind = (typeof kinds)[number]

export const anchored = Effect.runSync(NodeAnchoredFiles.make).pipe(
  Option.getOrThrowWith(() => new Error("these tests need Linux with /proc"))
)

/** The file system of a job with these grants on a host of this kind; by default on the host's own files. */
export const leasedOn =
  (kind: Kind) =>
  (
    grants: Capability.Grants,
    options?: LeasedFileSystem.Options & {
      readonly raw?: FileSystem.FileSystem
      readonly constraints?: Capability.Constraints
    }
  ) =>
    Effect.gen(function* () {
      const raw = options?.raw ?? (yield* FileSystem.FileSystem)
      const lease = Result.getOrThrow(Lease.make(grants, options?.constraints ?? {}, 0))
      const host = kind === "held" ? { anchored } : { unanchoredWrites: true }
      return LeasedFileSystem.make(raw, yield* LeaseGuard.make(lease), { ...host, ...options })
    })

export const leased = leasedOn("held")

/** What a refusal by the lease consists of; any other outcome fails the test. */
export const refusal = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
  Effect.flip(effect).pipe(
    Effect.mapError(() => new Error("the lease let it pass")),
    Effect.map((error) => {
      assert.instanceOf(error, PlatformError.PlatformError)
      const { reason } = error
      assert(reason._tag === "PermissionDenied", `not a refusal: ${error.message}`)
      assert.strictEqual(reason.module, "FileSystem")
      assert(ArcpError.isArcpError(reason.cause), `a refusal of the host: ${error.message}`)
      assert.strictEqual(error.cause, reason.cause)
      assert.strictEqual(reason.description, reason.cause.message)
      return { method: reason.method, path: reason.pathOrDescriptor, cause: reason.cause }
    })
  )

/** Fails the test unless the lease refused. */
export const refused = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
  Effect.map(refusal(effect), ({ cause }) => {
    assert.strictEqual(cause._tag, "PermissionDenied")
    return cause
  })

/** The body of a test in a new sandbox. */
export const inside =
  <A, E, R>(body: (sandbox: Sandbox) => Effect.Effect<A, E, R>) =>
  () =>
    Effect.flatMap(make, body).pipe(Effect.provide(NodeFileSystem.layer))
