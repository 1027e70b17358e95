/**
 * The methods of `FileSystem` from which Effect derives the others, each behind a lease.
 */
import { Effect, type FileSystem, Option, type PlatformError, Scope, Stream } from "effect"
import * as FileAccess from "./fileAccess.ts"
import * as FileTransfer from "./fileTransfer.ts"
import * as FileTree from "./fileTree.ts"
import * as FileUse from "./fileUse.ts"
import * as HostError from "./hostError.ts"
import * as LeasedFile from "./leasedFile.ts"
import * as Place from "./place.ts"
import * as TemporaryFiles from "./temporaryFiles.ts"

type Core = Parameters<typeof FileSystem.make>[0]

const { read, readWrite, write } = FileAccess

const rightsOf = (flag: FileSystem.OpenFlag): FileAccess.Rights => {
  switch (flag) {
    case "r":
      return read
    case "w":
    case "wx":
    case "a":
    case "ax":
      return write
    default:
      return readWrite
  }
}

export const make = (files: FileUse.FileUse): Core => {
  const { access, act, host, on, onFile, request } = files
  const { fileSystem } = host

  /** An operation on the entry of a directory, which is not followed if it is a link. */
  const onEntry = <A>(
    asked: FileAccess.Request,
    use: (entry: Place.Entry | undefined, place: Place.Place) => Effect.Effect<A, PlatformError.PlatformError>
  ) =>
    act(
      asked,
      Effect.flatMap(FileUse.present(asked, access.entry), (place) =>
        use(Option.getOrUndefined(Place.entry(place)), place)
      )
    )

  const makeDirectory: Core["makeDirectory"] = (path, options = {}) => {
    const asked = request("makeDirectory", path, write)
    const { recursive = false } = options
    const body = Effect.gen(function* () {
      const place = yield* access.follow(asked)
      yield* FileUse.checkMode(files, asked, options.mode)
      if (recursive) yield* FileUse.checkCreated(files, asked, place)
      if (Place.exists(place)) {
        if (recursive && place.anchor.type === "Directory") return
        return yield* Effect.fail(HostError.make("AlreadyExists", asked, "there is something already"))
      }
      if (!recursive) yield* FileUse.entryOf(asked, place)
      if (place.anchor.type !== "Directory") return yield* FileUse.absent(asked, place)
      yield* Place.make(host, place.anchor, place.missing, options)
    })
    return act(asked, body)
  }

  const open: Core["open"] = (path, { flag = "r", mode, noFollow = false } = {}) => {
    const rights = rightsOf(flag)
    const asked = request("open", path, rights)
    return files.owned((scope) =>
      FileUse.checkMode(files, asked, mode).pipe(
        Effect.andThen(Scope.provide(files.handle(asked), scope)),
        Effect.andThen(
          onFile(
            asked,
            flag,
            (held, flag, place) =>
              fileSystem.open(held, { flag, mode }).pipe(
                Effect.flatMap((file) =>
                  LeasedFile.make(file, path, rights, (method, needed) =>
                    access.check(request(method, path, needed), Place.format(place))
                  )
                ),
                Scope.provide(scope)
              ),
            noFollow ? access.entry : access.follow
          )
        )
      )
    )
  }

  const readDirectory: Core["readDirectory"] = (path, options) => {
    const asked = request("readDirectory", path, read)
    return on(
      asked,
      Effect.fnUntraced(function* (held, place) {
        if (options?.recursive !== true || place.anchor.type !== "Directory") {
          return yield* fileSystem.readDirectory(held)
        }
        const real = Place.format(place)
        const names: Array<string> = []
        yield* FileTree.walk(host, place.anchor, (relative, type) => {
          if (relative !== "") names.push(relative)
          return type === "Directory"
            ? access.check(asked, FileTree.join(real, relative), FileTransfer.below)
            : Effect.void
        })
        return names
      })
    )
  }

  const watch: Core["watch"] = (path, options) => {
    const asked = request("watch", path, read)
    const events = Effect.gen(function* () {
      if (options?.recursive === true) {
        return yield* access.refuse(asked, "directories below cannot be judged one by one while they are watched")
      }
      const place = yield* FileUse.present(asked, access.follow)
      yield* files.handle(asked)
      const { anchor } = place
      const entry = Option.getOrUndefined(Place.entry(place))
      // A file that is held stays when its name goes: whether it has is looked up.
      const ofFile = (event: FileSystem.WatchEvent) =>
        entry === undefined
          ? Effect.succeed(event)
          : Effect.map(Effect.option(fileSystem.lstat(entry.path)), (found): FileSystem.WatchEvent => ({
              _tag: Option.isSome(found) ? event._tag : "Remove",
              path: entry.name
            }))
      return fileSystem.watch(anchor.path, options).pipe(
        Stream.tap(() => access.check(asked, Place.format(place))),
        Stream.mapEffect((event) => (anchor.type === "Directory" ? Effect.succeed(event) : ofFile(event)))
      )
    })
    return Stream.mapError(Stream.unwrap(events), HostError.translate("FileSystem", asked))
  }

  const writeFile: Core["writeFile"] = (path, data, options = {}) => {
    const asked = request("writeFile", path, write)
    return Effect.andThen(
      FileUse.checkMode(files, asked, options.mode),
      onFile(asked, options.flag ?? "w", (held, flag) => fileSystem.writeFile(held, data, { ...options, flag }))
    )
  }

  return {
    ...FileTransfer.make(files),
    ...TemporaryFiles.make(files),
    access: (path, options) =>
      on(request("access", path, options?.writable === true ? readWrite : read), (held) =>
        fileSystem.access(held, options)
      ),
    chmod: (path, mode) => {
      const asked = request("chmod", path, write)
      return on(asked, (held) => Effect.andThen(FileUse.checkMode(files, asked, mode), fileSystem.chmod(held, mode)))
    },
    chown: (path) => access.refuse(request("chown", path, write), "owners are not changed under a lease"),
    link: (_, path) => access.refuse(request("link", path, write), "no links are made under a lease"),
    lstat: (path) =>
      onEntry(request("lstat", path, read), (entry, { anchor }) =>
        entry === undefined ? fileSystem.stat(anchor.path) : fileSystem.lstat(entry.path)
      ),
    makeDirectory,
    open,
    readDirectory,
    readDirectoryEntries: (path) =>
      on(request("readDirectoryEntries", path, read), (held) => fileSystem.readDirectoryEntries(held)),
    readFile: (path) => onFile(request("readFile", path, read), "r", (held) => fileSystem.readFile(held)),
    readLink: (path) => {
      const asked = request("readLink", path, read)
      return onEntry(asked, (entry) =>
        entry === undefined
          ? Effect.fail(HostError.make("Unknown", asked, "not a link"))
          : fileSystem.readLink(entry.path)
      )
    },
    realPath: (path) => on(request("realPath", path, read), (_, place) => Effect.succeed(Place.format(place))),
    stat: (path) => on(request("stat", path, read), (held) => fileSystem.stat(held)),
    symlink: (_, path) => access.refuse(request("symlink", path, write), "no links are made under a lease"),
    truncate: (path, length) =>
      onFile(request("truncate", path, write), "r+", (held) => fileSystem.truncate(held, length)),
    utimes: (path, atime, mtime) => on(request("utimes", path, write), (held) => fileSystem.utimes(held, atime, mtime)),
    watch,
    writeFile
  }
}
