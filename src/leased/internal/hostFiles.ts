/**
 * The operations of the host's file system that are done on what is held. Once begun they are awaited, also when the one who wanted them was
 * interrupted: a path that is held means something else as soon as it is let go.
 */
import { Effect, type FileSystem } from "effect"

export type HostFiles = Pick<
  FileSystem.FileSystem,
  | "access"
  | "chmod"
  | "copyFile"
  | "lstat"
  | "makeDirectory"
  | "open"
  | "readDirectory"
  | "readDirectoryEntries"
  | "readFile"
  | "readLink"
  | "realPath"
  | "remove"
  | "rename"
  | "stat"
  | "truncate"
  | "utimes"
  | "watch"
  | "writeFile"
>

const awaited =
  <Arguments extends ReadonlyArray<unknown>, A, E, R>(
    operation: (...arguments_: Arguments) => Effect.Effect<A, E, R>
  ) =>
  (...arguments_: Arguments): Effect.Effect<A, E, R> =>
    Effect.uninterruptible(operation(...arguments_))

export const make = (fileSystem: FileSystem.FileSystem): HostFiles => ({
  access: awaited(fileSystem.access),
  chmod: awaited(fileSystem.chmod),
  copyFile: awaited(fileSystem.copyFile),
  lstat: awaited(fileSystem.lstat),
  makeDirectory: awaited(fileSystem.makeDirectory),
  open: awaited(fileSystem.open),
  readDirectory: awaited(fileSystem.readDirectory),
  readDirectoryEntries: awaited(fileSystem.readDirectoryEntries),
  readFile: awaited(fileSystem.readFile),
  readLink: awaited(fileSystem.readLink),
  realPath: awaited(fileSystem.realPath),
  remove: awaited(fileSystem.remove),
  rename: awaited(fileSystem.rename),
  stat: awaited(fileSystem.stat),
  truncate: awaited(fileSystem.truncate),
  utimes: awaited(fileSystem.utimes),
  // The watcher itself ends before what it watches is let go.
  watch: fileSystem.watch,
  writeFile: awaited(fileSystem.writeFile)
})
