/**
 * What a host offers that cannot hold files: names, and the hope that they still stand for the same when they are used.
 */
import { Effect, Option, PlatformError } from "effect"
import type * as AnchoredFiles from "../AnchoredFiles.ts"
import type * as HostFiles from "./hostFiles.ts"

export const join = (directory: string, name: string): string =>
  directory.endsWith("/") ? `${directory}${name}` : `${directory}/${name}`

export const make = (fileSystem: HostFiles.HostFiles): AnchoredFiles.AnchoredFiles => ({
  // Where paths are not those of POSIX the root is not "/", and nothing is found.
  root: Effect.flatMap(fileSystem.realPath("/"), (path) =>
    path === "/"
      ? Effect.succeed({ type: "Directory", path })
      : Effect.fail(PlatformError.badArgument({ module: "FileSystem", method: "realPath", description: "not POSIX" }))
  ),
  walk: Effect.fnUntraced(function* (directory, names) {
    let way: AnchoredFiles.Way = { passed: 0, anchor: directory, parent: undefined }
    for (const name of names) {
      if (way.anchor.type !== "Directory") return way
      const path = join(way.anchor.path, name)
      const info = yield* fileSystem.lstat(path).pipe(
        Effect.asSome,
        Effect.catchReason("PlatformError", "NotFound", () => Effect.succeedNone)
      )
      if (Option.isNone(info)) return way
      way = { passed: way.passed + 1, anchor: { type: info.value.type, path }, parent: way.anchor }
    }
    return way
  }),
  unlink: (directory, name) => fileSystem.remove(join(directory.path, name)),
  removeDirectory: (directory, name) => fileSystem.remove(join(directory.path, name), { recursive: true })
})
