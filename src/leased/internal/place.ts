/**
 * Where a path leads once its symbolic links are followed, and hold of it: a lease speaks of real places, and a link can name any of them.
 */
import { Effect, Exit, type FileSystem, Option, PlatformError, Result, Scope } from "effect"
import * as CanonicalPath from "../../authority/CanonicalPath.ts"
import type * as AnchoredFiles from "../AnchoredFiles.ts"
import * as NamedFiles from "./namedFiles.ts"

/** How the host's files are reached. */
export interface Host {
  readonly fileSystem: FileSystem.FileSystem
  readonly files: AnchoredFiles.AnchoredFiles
  /** Whether `files` holds what it gives, or only names it. */
  readonly isAnchored: boolean
}

/** A path without links on the way: the names of what exists, and the names below. */
export interface Place {
  readonly existing: ReadonlyArray<string>
  readonly missing: ReadonlyArray<string>
  /** The last of what exists. */
  readonly anchor: AnchoredFiles.Anchor
  /** The directory that it is in; nothing for the root. */
  readonly parent: AnchoredFiles.Anchor | undefined
}

/** The entry of a directory that is held, whether or not there is one. */
export interface Entry {
  readonly directory: AnchoredFiles.Anchor
  readonly name: string
  /** For the host's `FileSystem`. What is done here concerns the entry alone if the operation follows no link at the end. */
  readonly path: string
}

export const entryOf = (directory: AnchoredFiles.Anchor, name: string): Entry => ({
  directory,
  name,
  path: NamedFiles.join(directory.path, name)
})

export const format = ({ existing, missing }: Pick<Place, "existing" | "missing">): string =>
  CanonicalPath.format({ segments: [...existing, ...missing] })

/** What does not exist yet, the outermost first: all that making it with its parents makes. */
export const created = ({ existing, missing }: Place): ReadonlyArray<string> =>
  missing.map((_, index) => format({ existing, missing: missing.slice(0, index + 1) }))

export const exists = ({ missing }: Place): boolean => missing.length === 0

/** The entry that the place is, or would be. `None` for the root, and if the directory that it would be in is not there. */
export const entry = ({ anchor, existing, missing, parent }: Place): Option.Option<Entry> => {
  const name = missing[0] ?? existing.at(-1)
  const directory = missing.length === 0 ? parent : anchor
  return name === undefined || directory === undefined || missing.length > 1 || directory.type !== "Directory"
    ? Option.none()
    : Option.some(entryOf(directory, name))
}

interface Held {
  readonly anchor: AnchoredFiles.Anchor
  readonly release: Effect.Effect<void>
}

/** So that a long way takes no more descriptors than a short one. */
const releasable = Effect.fnUntraced(function* (
  acquire: Effect.Effect<AnchoredFiles.Anchor, PlatformError.PlatformError, Scope.Scope>
): Effect.fn.Return<Held, PlatformError.PlatformError, Scope.Scope> {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const release = Scope.close(scope, Exit.void)
  const anchor = yield* Effect.onError(Scope.provide(acquire, scope), () => release)
  return { anchor, release }
})

/** As many links as Linux follows. */
const maxLinks = 40

/**
 * Follows the links on the way and, if `follow`, at the end. `None` if it cannot be told where the path leads: a link on the way leads
 * nowhere or in a circle, or the host does not let us look.
 */
export const find = Effect.fnUntraced(
  function* (
    { fileSystem, files }: Host,
    { segments }: CanonicalPath.CanonicalPath,
    follow: boolean
  ): Effect.fn.Return<Option.Option<Place>, PlatformError.PlatformError, Scope.Scope> {
    const passed: Array<string> = []
    let ahead = segments
    /** How many of the names ahead come from a link. */
    let ofLink = 0
    let links = 0
    let parent: Held | undefined
    let here = yield* releasable(files.root)
    while (ahead.length > 0) {
      const name = ahead[0]!
      const next =
        here.anchor.type === "Directory"
          ? yield* Effect.result(releasable(files.hold(here.anchor, name)))
          : Result.fail(undefined)
      if (Result.isFailure(next)) {
        // A file in the place of a directory: nothing exists below it either.
        const isAbsent = next.failure === undefined || next.failure.reason._tag === "NotFound"
        return isAbsent && ofLink === 0
          ? Option.some({ existing: passed, missing: ahead, anchor: here.anchor, parent: parent?.anchor })
          : Option.none()
      }
      if (next.success.anchor.type === "SymbolicLink" && (follow || ahead.length > 1)) {
        yield* next.success.release
        if (++links > maxLinks) return Option.none()
        const target = yield* Effect.result(fileSystem.readLink(entryOf(here.anchor, name).path))
        // It was exchanged in between: the next look sees what is there now.
        if (Result.isFailure(target)) continue
        const led = CanonicalPath.resolve({ segments: passed }, target.success)
        if (Result.isFailure(led)) return Option.none()
        // From the root again: what stands before the link may have been exchanged as well.
        ofLink = led.success.segments.length
        ahead = [...led.success.segments, ...ahead.slice(1)]
        passed.length = 0
        if (parent !== undefined) yield* parent.release
        yield* here.release
        parent = undefined
        here = yield* releasable(files.root)
        continue
      }
      if (parent !== undefined) yield* parent.release
      parent = here
      here = next.success
      passed.push(name)
      ahead = ahead.slice(1)
      ofLink = Math.max(0, ofLink - 1)
    }
    return Option.some({ existing: passed, missing: [], anchor: here.anchor, parent: parent?.anchor })
  },
  // What the host refuses to look at leads nowhere.
  Effect.catch(() => Effect.succeed(Option.none<Place>()))
)

/** The directory at `relative` below `top`, no link followed. `None` if there is none, or no longer. */
export const reach = Effect.fnUntraced(function* (
  { files }: Host,
  top: AnchoredFiles.Anchor,
  relative: string
): Effect.fn.Return<Option.Option<AnchoredFiles.Anchor>, never, Scope.Scope> {
  let here: Held = { anchor: top, release: Effect.void }
  for (const name of relative === "" ? [] : relative.split("/")) {
    const next = yield* Effect.option(releasable(files.hold(here.anchor, name)))
    if (Option.isNone(next)) return Option.none()
    yield* here.release
    here = next.value
  }
  return here.anchor.type === "Directory" ? Option.some(here.anchor) : Option.none()
})

/** Makes the directories of these names, each in the one before, and holds the last. */
export const make = Effect.fnUntraced(function* (
  { fileSystem, files }: Host,
  top: AnchoredFiles.Anchor,
  names: ReadonlyArray<string>,
  options: { readonly mode?: number | undefined; readonly recursive?: boolean | undefined }
): Effect.fn.Return<AnchoredFiles.Anchor, PlatformError.PlatformError, Scope.Scope> {
  let here: Held = { anchor: top, release: Effect.void }
  for (const name of names) {
    const { path } = entryOf(here.anchor, name)
    yield* fileSystem.makeDirectory(path, { mode: options.mode }).pipe(
      Effect.catchReason("PlatformError", "AlreadyExists", (_, error) =>
        // Somebody was faster; that is fine if it is a directory.
        options.recursive === true ? Effect.void : Effect.fail(error)
      )
    )
    const next = yield* releasable(files.hold(here.anchor, name))
    if (next.anchor.type !== "Directory") return yield* inTheWay(path)
    yield* here.release
    here = next
  }
  return here.anchor
})

const inTheWay = (path: string) =>
  Effect.fail(
    PlatformError.systemError({
      _tag: "BadResource",
      module: "FileSystem",
      method: "makeDirectory",
      pathOrDescriptor: path,
      description: "something that is not a directory is in the way"
    })
  )

/** What tells two things in the file system apart, whatever their names. */
export const identity = (
  { fileSystem }: Host,
  anchor: AnchoredFiles.Anchor
): Effect.Effect<string, PlatformError.PlatformError> =>
  Effect.map(fileSystem.stat(anchor.path), ({ dev, ino }) => `${dev}:${Option.getOrElse(ino, () => anchor.path)}`)
