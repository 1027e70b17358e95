/**
 * What a host offers that cannot hold files: names, and the hope that they still stand for the same when they are used.
 */
import { Effect, type FileSystem, PlatformError } from "effect"
import type * as AnchoredFiles from "../AnchoredFiles.ts"

export const join = (directory: string, name: string): string =>
  directory.endsWith("/") ? `${directory}${name}` : `${directory}/${name}`

export const make = (fileSystem: FileSystem.FileSystem): AnchoredFiles.AnchoredFiles => ({
  // Where paths are not those of POSIX the root is not "/", and nothing is found.
  root: Effect.flatMap(fileSystem.realPath("/"), (path) =>
    path === "/"
      ? Effect.succeed({ type: "Directory", path })
      : Effect.fail(PlatformError.badArgument({ module: "FileSystem", method: "realPath", description: "not POSIX" }))
  ),
  hold: (directory, name) => {
    const path = join(directory.path, name)
    return Effect.map(fileSystem.lstat(path), ({ type }) => ({ type, path }))
  },
  unlink: (directory, name) => fileSystem.remove(join(directory.path, name)),
  removeDirectory: (directory, name) => fileSystem.remove(join(directory.path, name), { recursive: true })
})
