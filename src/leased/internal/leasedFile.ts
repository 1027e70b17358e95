/**
 * An open file behind a lease. What was allowed at the opening is asked again at every use, so a handle does not outlive the lease (§9.5).
 *
 * Nor does it outlive its scope. The host knows the file by a number that stands for another one as soon as this is closed: a use after that
 * is refused, and one that is under way is awaited before.
 */
import { Effect, FileSystem, type PlatformError, type Scope, Semaphore } from "effect"
import * as FileAccess from "./fileAccess.ts"
import * as HostError from "./hostError.ts"

/** How many uses of one file can be under way. */
const maxUses = 64

/**
 * `rights` are those that the file was opened with. Facts about a file are read, so `stat` needs `fs.read` also on a handle for writing.
 */
export const make = (
  file: FileSystem.File,
  path: string,
  rights: FileAccess.Rights,
  check: (method: string, rights: FileAccess.Rights) => Effect.Effect<void, PlatformError.PlatformError>
): Effect.Effect<FileSystem.File, never, Scope.Scope> => {
  const uses = Semaphore.makeUnsafe(maxUses)
  let isClosed = false

  const use = <A>(
    method: string,
    needed: FileAccess.Rights,
    run: () => Effect.Effect<A, PlatformError.PlatformError>
  ): Effect.Effect<A, PlatformError.PlatformError> =>
    Effect.suspend(() =>
      isClosed
        ? Effect.fail(HostError.make("BadResource", { method, path }, "the file is closed"))
        : Effect.andThen(check(method, needed), Effect.uninterruptible(Effect.suspend(run)))
    ).pipe(uses.withPermits(1))

  const closed = Effect.suspend(() => {
    isClosed = true
    return Effect.andThen(uses.take(maxUses), uses.release(maxUses))
  })

  const leased: FileSystem.File = {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    stat: use("stat", FileAccess.read, () => file.stat),
    sync: use("sync", rights, () => file.sync),
    seek: (offset, from) => use("seek", rights, () => file.seek(offset, from)),
    read: (buffer, options) => use("read", FileAccess.read, () => file.read(buffer, options)),
    readAlloc: (size, options) => use("readAlloc", FileAccess.read, () => file.readAlloc(size, options)),
    truncate: (length) => use("truncate", FileAccess.write, () => file.truncate(length)),
    write: (buffer) => use("write", FileAccess.write, () => file.write(buffer)),
    writeAll: (buffer) => use("writeAll", FileAccess.write, () => file.writeAll(buffer))
  }
  return Effect.as(
    Effect.addFinalizer(() => closed),
    leased
  )
}
