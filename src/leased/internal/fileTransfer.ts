/**
 * The methods that take something away, or to another place: `copy`, `copyFile`, `rename`, `remove`. All that they reach is judged before
 * any of it is touched, and again when it is its turn.
 */
import { Effect, type FileSystem, Option, type PlatformError } from "effect"
import * as FileAccess from "./fileAccess.ts"
import * as FileCopy from "./fileCopy.ts"
import * as FileTree from "./fileTree.ts"
import * as FileUse from "./fileUse.ts"
import * as HostError from "./hostError.ts"
import * as Place from "./place.ts"

type Failure = PlatformError.PlatformError

export const below = "the lease does not cover all that is below"

const inTheWay = "there is a link in the way"

export const make = (
  files: FileUse.FileUse
): Pick<FileSystem.FileSystem, "copy" | "copyFile" | "rename" | "remove"> => {
  const { access, act, host, request } = files
  const { fileSystem } = host

  /** Everything that would go from one tree to the other; what is neither a file nor a directory goes nowhere. */
  const checkTransfer = (
    source: FileAccess.Request,
    from: Place.Place,
    target: FileAccess.Request,
    goal: string,
    visit: (relative: string) => Effect.Effect<void, Failure> = () => Effect.void
  ) => {
    const origin = Place.format(from)
    return FileTree.walk(
      host,
      from.anchor,
      Effect.fnUntraced(function* (relative, type) {
        yield* access.check(source, FileTree.join(origin, relative), below)
        yield* access.check(target, FileTree.join(goal, relative), below)
        if (type !== "File" && type !== "Directory") return yield* access.refuse(source, FileCopy.notCopied)
        yield* visit(relative)
      })
    )
  }

  const copy: FileSystem.FileSystem["copy"] = (fromPath, toPath, options = {}) => {
    const source = request("copy", fromPath, FileAccess.read)
    const target = request("copy", toPath, FileAccess.write)
    const body = Effect.gen(function* () {
      const from = yield* FileUse.present(source, access.follow)
      const to = yield* access.follow(target)
      const origin = Place.format(from)
      const goal = Place.format(to)
      yield* FileUse.checkCreated(files, target, to)
      const directories = yield* checkTransfer(source, from, target, goal, (relative) =>
        Effect.flatMap(Place.exists(to) ? FileTree.typeAt(host, to.anchor, relative) : Effect.succeedNone, (occupant) =>
          Option.contains(occupant, "SymbolicLink") ? access.refuse(target, inTheWay) : Effect.void
        )
      )
      if (FileTree.contains(origin, goal)) {
        return yield* Effect.fail(HostError.make("Unknown", target, "nothing is copied to itself or below itself"))
      }
      const judge: FileCopy.Judge = {
        check: (relative) =>
          Effect.andThen(
            access.check(source, FileTree.join(origin, relative), below),
            access.check(target, FileTree.join(goal, relative), below)
          ),
        refuse: (reason) => access.refuse(source, reason)
      }
      if (!Place.exists(to) && to.anchor.type !== "Directory") return yield* FileUse.absent(target, to)
      if (from.anchor.type === "Directory") {
        const into = yield* Place.make(host, to.anchor, to.missing, { recursive: true })
        if (into.type !== "Directory") {
          return yield* Effect.fail(HostError.make("BadResource", target, "a directory is not copied over a file"))
        }
        const isNew = !Place.exists(to)
        return yield* FileCopy.tree(host, from.anchor, directories, into, judge, { ...options, isNew })
      }
      const name = to.missing.at(-1)
      const entry =
        name === undefined
          ? yield* FileUse.entryOf(target, to)
          : Place.entryOf(yield* Place.make(host, to.anchor, to.missing.slice(0, -1), { recursive: true }), name)
      yield* FileCopy.file(host, from.anchor, entry, judge, options)
    })
    return act(source, body)
  }

  const copyFile: FileSystem.FileSystem["copyFile"] = (fromPath, toPath) => {
    const source = request("copyFile", fromPath, FileAccess.read)
    const target = request("copyFile", toPath, FileAccess.write)
    const body = Effect.gen(function* () {
      const from = yield* FileUse.present(source, access.follow)
      yield* FileUse.checkOpenable(files, source, from)
      const to = yield* access.follow(target)
      yield* FileUse.checkOpenable(files, target, to)
      if (from.anchor.type === "Directory") {
        return yield* Effect.fail(HostError.make("BadResource", source, "a directory is not a file"))
      }
      yield* FileCopy.checkSource(host, from.anchor, (reason) => access.refuse(source, reason))
      if (Place.exists(to)) return yield* fileSystem.copyFile(from.anchor.path, to.anchor.path)
      yield* FileCopy.create(host, from.anchor, yield* FileUse.entryOf(target, to))
    })
    return act(source, FileUse.anew(body))
  }

  const rename: FileSystem.FileSystem["rename"] = (oldPath, newPath) => {
    const source = request("rename", oldPath, FileAccess.readWrite)
    const target = request("rename", newPath, FileAccess.write)
    const body = Effect.gen(function* () {
      const from = yield* access.entry(source)
      const to = yield* access.entry(target)
      if (!Place.exists(from)) return yield* FileUse.absent(source, from)
      const origin = yield* FileUse.entryOf(source, from)
      const goal = yield* FileUse.entryOf(target, to)
      yield* checkTransfer(source, from, target, Place.format(to))
      yield* fileSystem.rename(origin.path, goal.path)
      // What moves is the name, and what it stands for may have been exchanged since it was judged.
      const moved = yield* FileTree.typeIn(host, goal.directory, goal.name)
      if (Option.isSome(moved) && moved.value !== "File" && moved.value !== "Directory") {
        yield* Effect.ignore(fileSystem.rename(goal.path, origin.path))
        yield* access.refuse(source, FileCopy.notCopied)
      }
    })
    return act(source, body)
  }

  const remove: FileSystem.FileSystem["remove"] = (path, options = {}) => {
    const asked = request("remove", path, FileAccess.write)
    const body = Effect.gen(function* () {
      const place = yield* access.entry(asked)
      if (!Place.exists(place)) {
        if (options.force === true && place.anchor.type === "Directory") return
        return yield* FileUse.absent(asked, place)
      }
      const entry = yield* FileUse.entryOf(asked, place)
      if (place.anchor.type !== "Directory") return yield* host.files.unlink(entry.directory, entry.name)
      if (options.recursive !== true) {
        return yield* Effect.fail(HostError.make("Unknown", asked, "options.recursive removes a directory"))
      }
      const real = Place.format(place)
      yield* FileTree.remove(host, entry, place.anchor, (relative) =>
        access.check(asked, FileTree.join(real, relative), below)
      )
    })
    return act(asked, body)
  }

  return { copy, copyFile, rename, remove }
}
