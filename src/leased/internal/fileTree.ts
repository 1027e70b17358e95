/**
 * A directory and all below it, links seen and never followed: what an operation on a whole tree reaches. Each directory is held while it is
 * worked on, and reached anew from the top, so a tree of any depth takes a few descriptors.
 */
import { Effect, type FileSystem, Option, type PlatformError, type Scope } from "effect"
import type * as AnchoredFiles from "../AnchoredFiles.ts"
import * as Place from "./place.ts"

type Failure = PlatformError.PlatformError

/** The path of something below `top`; `relative` is empty for `top` itself. */
export const join = (top: string, relative: string): string =>
  relative === "" ? top : top === "/" ? `/${relative}` : `${top}/${relative}`

/** Whether `path` is `top` or below it. */
export const contains = (top: string, path: string): boolean =>
  path === top || path.startsWith(top === "/" ? top : `${top}/`)

/** The place below the top of what has this name in the directory at `relative`. */
export const below = (relative: string, name: string): string => (relative === "" ? name : `${relative}/${name}`)

const split = (relative: string): { readonly parent: string; readonly name: string } => {
  const at = relative.lastIndexOf("/")
  return { parent: relative.slice(0, Math.max(0, at)), name: relative.slice(at + 1) }
}

/** What is in the directory at `relative` below `top`, if it is one. */
export const within = (
  host: Place.Host,
  top: AnchoredFiles.Anchor,
  relative: string,
  use: (directory: AnchoredFiles.Anchor) => Effect.Effect<void, Failure, Scope.Scope>
): Effect.Effect<boolean, Failure> =>
  Effect.scoped(
    Effect.flatMap(
      Place.reach(host, top, relative),
      Option.match({
        onNone: () => Effect.succeed(false),
        onSome: (directory) => Effect.as(use(directory), true)
      })
    )
  )

/** The type of the entry of this name, if there is one. */
export const typeIn = (
  host: Place.Host,
  directory: AnchoredFiles.Anchor,
  name: string
): Effect.Effect<Option.Option<FileSystem.File.Type>, Failure> =>
  Effect.map(
    Effect.scoped(Place.lookAt(host, directory, name)),
    Option.map(({ type }) => type)
  )

/** The type of what is at `relative` below `top` itself, if anything is. */
export const typeAt = (
  host: Place.Host,
  top: AnchoredFiles.Anchor,
  relative: string
): Effect.Effect<Option.Option<FileSystem.File.Type>, Failure> => {
  if (relative === "") return Effect.succeed(Option.some(top.type))
  const { name, parent } = split(relative)
  return Effect.scoped(
    Effect.flatMap(
      Place.reach(host, top, parent),
      Option.match({
        onNone: () => Effect.succeed(Option.none()),
        onSome: (directory) => typeIn(host, directory, name)
      })
    )
  )
}

/** Each entry of a directory that is held. */
export const entriesOf = (
  host: Place.Host,
  directory: AnchoredFiles.Anchor,
  visit: (name: string, type: FileSystem.File.Type) => Effect.Effect<void, Failure, Scope.Scope>
) =>
  Effect.flatMap(
    host.fileSystem.readDirectoryEntries(directory.path),
    Effect.forEach(
      ({ name, type }) =>
        Effect.flatMap(
          type === "Unknown" ? typeIn(host, directory, name) : Effect.succeed(Option.some(type)),
          Option.match({ onNone: () => Effect.void, onSome: (found) => visit(name, found) })
        ),
      { discard: true }
    )
  )

/**
 * Visits `top` and everything below, a directory before what it holds and before it is listed. Gives the directories, those further up
 * first.
 */
export const walk = Effect.fnUntraced(function* (
  host: Place.Host,
  top: AnchoredFiles.Anchor,
  visit: (relative: string, type: FileSystem.File.Type) => Effect.Effect<void, Failure>
): Effect.fn.Return<ReadonlyArray<string>, Failure> {
  yield* visit("", top.type)
  const listed: Array<string> = []
  const directories = top.type === "Directory" ? [""] : []
  for (let relative = directories.pop(); relative !== undefined; relative = directories.pop()) {
    const above = relative
    const isThere = yield* within(host, top, above, (directory) =>
      entriesOf(host, directory, (name, type) => {
        const found = below(above, name)
        if (type === "Directory") directories.push(found)
        return visit(found, type)
      })
    )
    if (isThere) listed.push(above)
  }
  return listed
})

/** Removes what `entry` names, a directory that is held as `top`, and all below. `check` is asked about everything before any of it goes. */
export const remove = Effect.fnUntraced(function* (
  host: Place.Host,
  entry: Place.Entry,
  top: AnchoredFiles.Anchor,
  check: (relative: string) => Effect.Effect<void, Failure>
): Effect.fn.Return<void, Failure> {
  const { files } = host
  // Gone already is as good.
  const gone = (effect: Effect.Effect<void, Failure>) =>
    Effect.catchReason(effect, "PlatformError", "NotFound", () => Effect.void)
  const directories = yield* walk(host, top, check)
  for (const relative of directories.toReversed()) {
    yield* within(host, top, relative, (directory) =>
      entriesOf(host, directory, (name, type) =>
        type === "Directory"
          ? Effect.void
          : Effect.andThen(check(below(relative, name)), gone(files.unlink(directory, name)))
      )
    )
    yield* check(relative)
    if (relative === "") {
      yield* gone(files.removeDirectory(entry.directory, entry.name))
    } else {
      const { name, parent } = split(relative)
      yield* within(host, top, parent, (directory) => gone(files.removeDirectory(directory, name)))
    }
  }
})
