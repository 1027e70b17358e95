/**
 * Copies of files and trees that never write through a link: what is copied is held, and so is the directory that it goes to.
 */
import { Effect, Option, PlatformError, type Scope } from "effect"
import type * as AnchoredFiles from "../AnchoredFiles.ts"
import * as FileTree from "./fileTree.ts"
import * as FileUse from "./fileUse.ts"
import * as Place from "./place.ts"

type Failure = PlatformError.PlatformError

export interface Options {
  /** Otherwise what is there already stays as it is. */
  readonly overwrite?: boolean | undefined
  readonly preserveTimestamps?: boolean | undefined
}

/** What the lease says to each thing that is copied, by its place below the top. */
export interface Judge {
  readonly check: (relative: string) => Effect.Effect<void, Failure>
  /** For what no lease covers. */
  readonly refuse: (reason: string) => Effect.Effect<never, Failure>
}

const inTheWay = (description: string) =>
  Effect.fail(PlatformError.systemError({ _tag: "BadResource", module: "FileSystem", method: "copy", description }))

/** Whether a file may be copied: a copy would be a program that runs with the rights of the host. */
export const checkSource = Effect.fnUntraced(function* (
  { fileSystem }: Place.Host,
  from: AnchoredFiles.Anchor,
  refuse: Judge["refuse"]
) {
  const info = yield* fileSystem.stat(from.path)
  if ((info.mode & FileUse.setId) !== 0)
    yield* refuse("programs that run with the rights of their owner are not copied")
  return info
})

/** Copies a file that is held to where nothing is. */
export const create = Effect.fnUntraced(function* (
  host: Place.Host,
  from: AnchoredFiles.Anchor,
  to: Place.Entry
): Effect.fn.Return<AnchoredFiles.Anchor, Failure, Scope.Scope> {
  const { fileSystem, files } = host
  yield* fileSystem.writeFile(to.path, new Uint8Array(0), { flag: "wx", mode: 0o600 })
  return yield* Place.hold(host, to.directory, to.name).pipe(
    Effect.tap((copy) => fileSystem.copyFile(from.path, copy.path)),
    Effect.onError(() => Effect.ignore(files.unlink(to.directory, to.name)))
  )
})

/** Copies a file that is held into a directory that is held. */
export const file = Effect.fnUntraced(function* (
  host: Place.Host,
  from: AnchoredFiles.Anchor,
  to: Place.Entry,
  { refuse }: Judge,
  { overwrite = false, preserveTimestamps = false }: Options
): Effect.fn.Return<void, Failure, Scope.Scope> {
  const { fileSystem, files } = host
  const occupant = yield* FileTree.typeIn(host, to.directory, to.name)
  if (Option.contains(occupant, "SymbolicLink")) return yield* refuse("there is a link in the way")
  if (Option.contains(occupant, "Directory")) return yield* inTheWay("a file is not copied over a directory")
  if (Option.isSome(occupant)) {
    if (!overwrite) return
    yield* files.unlink(to.directory, to.name)
  }
  const info = yield* checkSource(host, from, refuse)
  const copy = yield* create(host, from, to)
  if (!preserveTimestamps) return
  yield* fileSystem.utimes(
    copy.path,
    Option.getOrElse(info.atime, () => new Date(0)),
    Option.getOrElse(info.mtime, () => new Date(0))
  )
})

/**
 * Copies the directories that a walk through `from` has found, and the files in them, to a directory that is there. What is neither is
 * refused where it is met: it came after the walk.
 */
export const tree = Effect.fnUntraced(function* (
  host: Place.Host,
  from: AnchoredFiles.Anchor,
  directories: ReadonlyArray<string>,
  to: AnchoredFiles.Anchor,
  judge: Judge,
  options: Options & {
    /** Whether the directory itself was made for the copy. */
    readonly isNew: boolean
  }
): Effect.fn.Return<void, Failure> {
  const { fileSystem } = host
  const known = new Set(directories)
  const made: Array<string> = options.isNew ? [""] : []

  const copyEntry = Effect.fnUntraced(function* (
    source: AnchoredFiles.Anchor,
    target: AnchoredFiles.Anchor,
    name: string,
    relative: string
  ) {
    yield* judge.check(relative)
    const found = yield* Place.hold(host, source, name)
    const into = Place.entryOf(target, name)
    if (found.type === "File") return yield* file(host, found, into, judge, options)
    if (found.type !== "Directory") return yield* judge.refuse(notCopied)
    if (!known.has(relative)) return
    const occupant = yield* FileTree.typeIn(host, target, name)
    if (Option.contains(occupant, "Directory")) return
    if (Option.isSome(occupant)) return yield* inTheWay("a directory is not copied over something else")
    yield* fileSystem.makeDirectory(into.path)
    made.push(relative)
  })

  for (const above of directories) {
    yield* FileTree.within(host, from, above, (source) =>
      FileTree.within(host, to, above, (target) =>
        FileTree.entriesOf(host, source, (name) =>
          Effect.scoped(copyEntry(source, target, name, FileTree.below(above, name)))
        )
      )
    )
  }
  // Last, since a mode can keep out the one who set it.
  for (const relative of made.toReversed()) {
    yield* FileTree.within(host, from, relative, (source) =>
      Effect.flatMap(fileSystem.stat(source.path), ({ mode }) =>
        FileTree.within(host, to, relative, (target) => fileSystem.chmod(target.path, mode & 0o777))
      )
    )
  }
})

export const notCopied = "links and special files are neither copied nor moved"
