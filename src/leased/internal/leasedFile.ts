/**
 * An open file behind a lease. What was allowed at the opening is asked again at every use, so a handle does not outlive the lease (§9.5).
 */
import { Effect, FileSystem, type PlatformError } from "effect"
import * as FileAccess from "./fileAccess.ts"

/**
 * `rights` are those that the file was opened with. Facts about a file are read, so `stat` needs `fs.read` also on a handle for writing.
 */
export const make = (
  file: FileSystem.File,
  rights: FileAccess.Rights,
  check: (method: string, rights: FileAccess.Rights) => Effect.Effect<void, PlatformError.PlatformError>
): FileSystem.File => ({
  [FileSystem.FileTypeId]: FileSystem.FileTypeId,
  stat: Effect.flatMap(check("stat", FileAccess.read), () => file.stat),
  sync: Effect.flatMap(check("sync", rights), () => file.sync),
  seek: (offset, from) => Effect.flatMap(check("seek", rights), () => file.seek(offset, from)),
  read: (buffer, options) => Effect.flatMap(check("read", FileAccess.read), () => file.read(buffer, options)),
  readAlloc: (size, options) =>
    Effect.flatMap(check("readAlloc", FileAccess.read), () => file.readAlloc(size, options)),
  truncate: (length) => Effect.flatMap(check("truncate", FileAccess.write), () => file.truncate(length)),
  write: (buffer) => Effect.flatMap(check("write", FileAccess.write), () => file.write(buffer)),
  writeAll: (buffer) => Effect.flatMap(check("writeAll", FileAccess.write), () => file.writeAll(buffer))
})
