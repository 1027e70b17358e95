/**
 * Where a path leads once its symbolic links are followed, and hold of it: a lease speaks of real places, and a link can name any of them.
 */
import { Effect, Exit, type FileSystem, Option, PlatformError, Result, Scope } from "effect"
import * as CanonicalPath from "../../authority/CanonicalPath.ts"
import type * as AnchoredFiles from "../AnchoredFiles.ts"
import * as HostFiles from "./hostFiles.ts"
import * as NamedFiles from "./namedFiles.ts"

/** How the host's files are reached. */
export interface Host {
  readonly fileSystem: HostFiles.HostFiles
  readonly files: AnchoredFiles.AnchoredFiles
  /** Whether `files` holds what it gives, or only names it. */
  readonly isAnchored: boolean
}

/** The host that holds its files by `anchored`, or that cannot. */
export const host = (raw: FileSystem.FileSystem, anchored?: AnchoredFiles.AnchoredFiles): Host => {
  const fileSystem = HostFiles.make(raw)
  return { fileSystem, files: anchored ?? NamedFiles.make(fileSystem), isAnchored: anchored !== undefined }
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

/** With a way to let go before the scope ends: a long way takes no more than a short one. */
const releasable = Effect.fnUntraced(function* <A>(
  acquire: Effect.Effect<A, PlatformError.PlatformError, Scope.Scope>
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  return { held: yield* Scope.provide(acquire, scope), release: Scope.close(scope, Exit.void) }
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
    const root = yield* files.root
    let names = segments
    /** How many of the names were put there by a link. */
    let ofLink = 0
    for (let links = 0; links <= maxLinks; links++) {
      const { held, release } = yield* releasable(files.walk(root, names))
      const { anchor, parent, passed } = held
      const existing = names.slice(0, passed)
      const missing = names.slice(passed)
      const isLink = anchor.type === "SymbolicLink" && (follow || missing.length > 0)
      if (!isLink || parent === undefined) {
        // A file in the place of a directory: nothing exists below it either.
        return missing.length > 0 && passed < ofLink
          ? Option.none()
          : Option.some({ existing, missing, anchor, parent })
      }
      const target = yield* Effect.result(fileSystem.readLink(entryOf(parent, existing.at(-1) ?? "").path))
      yield* release
      // It was exchanged in between: the next look sees what is there now.
      if (Result.isFailure(target)) continue
      const led = CanonicalPath.resolve({ segments: existing.slice(0, -1) }, target.success)
      if (Result.isFailure(led)) return Option.none()
      // From the root again: what stands before the link may have been exchanged as well.
      ofLink = led.success.segments.length
      names = [...led.success.segments, ...missing]
    }
    return Option.none()
  },
  // What the host refuses to look at leads nowhere.
  Effect.catch(() => Effect.succeed(Option.none<Place>()))
)

/** The entry of this name, if there is one. */
export const lookAt = (
  { files }: Host,
  directory: AnchoredFiles.Anchor,
  name: string
): Effect.Effect<Option.Option<AnchoredFiles.Anchor>, PlatformError.PlatformError, Scope.Scope> =>
  Effect.map(files.walk(directory, [name]), ({ anchor, passed }) =>
    passed === 1 ? Option.some(anchor) : Option.none()
  )

/** Holds the entry of this name, which has to be there. */
export const hold = (
  host: Host,
  directory: AnchoredFiles.Anchor,
  name: string
): Effect.Effect<AnchoredFiles.Anchor, PlatformError.PlatformError, Scope.Scope> =>
  Effect.flatMap(
    lookAt(host, directory, name),
    Option.match({
      onSome: Effect.succeed,
      onNone: () => unsuited("NotFound", entryOf(directory, name), "it is gone")
    })
  )

/** The directory at `relative` below `top`, no link followed. `None` if there is none, or no longer. */
export const reach = (
  { files }: Host,
  top: AnchoredFiles.Anchor,
  relative: string
): Effect.Effect<Option.Option<AnchoredFiles.Anchor>, PlatformError.PlatformError, Scope.Scope> => {
  const names = relative === "" ? [] : relative.split("/")
  return Effect.map(files.walk(top, names), ({ anchor, passed }) =>
    passed === names.length && anchor.type === "Directory" ? Option.some(anchor) : Option.none()
  )
}

/** Makes the directories of these names, each in the one before, and holds the last. */
export const make = Effect.fnUntraced(function* (
  host: Host,
  top: AnchoredFiles.Anchor,
  names: ReadonlyArray<string>,
  options: { readonly mode?: number | undefined; readonly recursive?: boolean | undefined }
): Effect.fn.Return<AnchoredFiles.Anchor, PlatformError.PlatformError, Scope.Scope> {
  let here = top
  let letGo: Effect.Effect<void> = Effect.void
  for (const name of names) {
    const entry = entryOf(here, name)
    yield* host.fileSystem.makeDirectory(entry.path, { mode: options.mode }).pipe(
      Effect.catchReason("PlatformError", "AlreadyExists", (_, error) =>
        // Somebody was faster; that is fine if it is a directory.
        options.recursive === true ? Effect.void : Effect.fail(error)
      )
    )
    const { held, release } = yield* releasable(hold(host, here, name))
    if (held.type !== "Directory") return yield* unsuited("BadResource", entry, "this is not a directory")
    yield* letGo
    here = held
    letGo = release
  }
  return here
})

const unsuited = (tag: "NotFound" | "BadResource", { path }: Entry, description: string) =>
  Effect.fail(
    PlatformError.systemError({ _tag: tag, module: "FileSystem", method: "hold", pathOrDescriptor: path, description })
  )

/** What tells two things in the file system apart, whatever their names. */
export const identity = (
  { fileSystem }: Host,
  anchor: AnchoredFiles.Anchor
): Effect.Effect<string, PlatformError.PlatformError> =>
  Effect.map(fileSystem.stat(anchor.path), ({ dev, ino }) => `${dev}:${Option.getOrElse(ino, () => anchor.path)}`)
