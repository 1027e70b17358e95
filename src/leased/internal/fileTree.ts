/**
 * A directory and all below it, links seen and never followed: what an operation on a whole tree reaches.
 */
import { Effect, type FileSystem, Option, type PlatformError } from "effect"

/** The path of something below `top`; `relative` is empty for `top` itself. */
export const join = (top: string, relative: string): string =>
  relative === "" ? top : top === "/" ? `/${relative}` : `${top}/${relative}`

/** The type of what is at `path` itself, if anything is. */
export const typeAt = (
  fileSystem: FileSystem.FileSystem,
  path: string
): Effect.Effect<Option.Option<FileSystem.File.Type>, PlatformError.PlatformError> =>
  fileSystem.lstat(path).pipe(
    Effect.map((info) => Option.some(info.type)),
    Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed(Option.none()))
  )

/**
 * Visits `top` and everything below, a directory before what it holds and before it is listed. Visits nothing if nothing is there.
 */
export const walk = Effect.fnUntraced(function* <E>(
  fileSystem: FileSystem.FileSystem,
  top: string,
  visit: (relative: string, type: FileSystem.File.Type) => Effect.Effect<void, E>
): Effect.fn.Return<void, E | PlatformError.PlatformError> {
  const type = yield* typeAt(fileSystem, top)
  if (Option.isNone(type)) return
  yield* visit("", type.value)
  const directories = type.value === "Directory" ? [""] : []
  for (let directory = directories.pop(); directory !== undefined; directory = directories.pop()) {
    for (const listed of yield* fileSystem.readDirectoryEntries(join(top, directory))) {
      const relative = directory === "" ? listed.name : `${directory}/${listed.name}`
      const found =
        listed.type === "Unknown" ? yield* typeAt(fileSystem, join(top, relative)) : Option.some(listed.type)
      if (Option.isNone(found)) continue
      yield* visit(relative, found.value)
      if (found.value === "Directory") directories.push(relative)
    }
  }
})
