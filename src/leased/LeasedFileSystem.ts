/**
 * The ordinary `FileSystem` service behind a job's lease (§9.2, §9.3): an agent uses it as it would use the host's, and cannot forget to
 * ask, since every method asks first, right before it acts.
 *
 * What is judged is the real path: `.` and `..` are resolved in the text, then links are followed, also those on the way to what does not
 * exist yet; and what was judged is what is used. So a lease names real places: behind a link `/ws` to `/data/ws`, grant `/data/ws/**`.
 * A path through a link that leads nowhere is refused. Paths are those of POSIX; elsewhere everything is refused.
 *
 * | method | the lease covers |
 * | --- | --- |
 * | `access` `exists` `glob` `readDirectory` `readDirectoryEntries` `readFile` `readFileString` `realPath` `stat` `stream` `watch` | `fs.read` of what the path leads to; `access` with `writable` also `fs.write` |
 * | `lstat` `readLink` | `fs.read` of the entry itself |
 * | `chmod` `makeDirectory` `sink` `truncate` `utimes` `writeFile` `writeFileString` | `fs.write` of what the path leads to, and of each parent that is made |
 * | `open` | by its flag, and again at each use of the file |
 * | `copy` `copyFile` | `fs.read` of each source, `fs.write` of each target |
 * | `remove` | `fs.write` of the entry and of each one below |
 * | `rename` | `fs.read` and `fs.write` of each entry that moves, `fs.write` of where it goes: to move a file is one way to read it |
 * | `makeTempDirectory` `makeTempFile` and their scoped twins | `fs.write` of `directory`, which has to be given, and of what is made in it |
 * | `chown` `link` `symlink`, `watch` with `recursive` | refused |
 *
 * Owners are no matter of a lease. A link would let a name that one lease covers stand for a place that another does not, so none is
 * made, copied or moved. A hard link that is already there is the file itself: whoever puts one under a granted directory puts the file
 * there. A listing of a granted directory shows all its names; what they name is judged when it is used. An operation on a whole tree
 * judges all of it before it begins, and never follows a link below; `glob` alone passes over what it may not read.
 *
 * **Gotchas**
 *
 * Between the judging and the use, another process of the host can put a link in the way, and this service would follow it. Paths are all
 * that the ordinary service has; only a host that opens files relative to open directories can close that gap.
 *
 * @since 0.1.0
 */
import { Context, Effect, FileSystem, Layer, Option, type PlatformError, Random, Stream } from "effect"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as FileAccess from "./internal/fileAccess.ts"
import * as FileTree from "./internal/fileTree.ts"
import * as LeasedFile from "./internal/leasedFile.ts"
import * as RealPath from "./internal/realPath.ts"
import type * as LeasedJob from "./LeasedJob.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where relative paths start: an absolute path. Without it they are refused. */
  readonly root?: string | undefined
}

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

type Core = Parameters<typeof FileSystem.make>[0]

/** The methods from which Effect derives the others. `as` is the name of the derived method that they work for. */
const operations = (raw: FileSystem.FileSystem, access: FileAccess.FileAccess, as?: string): Core => {
  const request = (method: string, path: string, rights: FileAccess.Rights): FileAccess.Request => ({
    method: as ?? method,
    path,
    rights
  })

  const at = (method: string, path: string, rights: FileAccess.Rights) =>
    Effect.map(access.follow(request(method, path, rights)), RealPath.format)

  const entryAt = (method: string, path: string, rights: FileAccess.Rights) =>
    Effect.map(access.entry(request(method, path, rights)), RealPath.format)

  /**
   * As `at`, for what opens the file. A pipe or a device is refused: to open one can wait for ever in a thread that the whole host needs, and
   * to read one need never end.
   */
  const fileAt = (method: string, path: string, rights: FileAccess.Rights) =>
    Effect.tap(at(method, path, rights), (real) => checkOpenable(request(method, path, rights), real))

  const checkOpenable = (asked: FileAccess.Request, real: string) =>
    // What cannot be looked at is for the operation itself to report.
    Effect.flatMap(Effect.option(raw.lstat(real)), (info) =>
      Option.isNone(info) || openable.has(info.value.type)
        ? Effect.void
        : access.refuse(asked, "pipes, devices and other special files are not opened under a lease")
    )

  const checkCreated = (asked: FileAccess.Request, real: RealPath.RealPath) =>
    Effect.forEach(
      RealPath.created(real),
      (path) => access.check(asked, path, "the lease does not cover each directory that would be made"),
      { discard: true }
    )

  const below = "the lease does not cover all that is below"

  // Everything that would go from one tree to the other; an entry that is neither a file nor a directory goes nowhere.
  const checkTransfer = (
    source: FileAccess.Request,
    from: string,
    target: FileAccess.Request,
    to: string,
    visit: (relative: string) => Effect.Effect<void, PlatformError.PlatformError> = () => Effect.void
  ) =>
    FileTree.walk(
      raw,
      from,
      Effect.fnUntraced(function* (relative, type) {
        yield* access.check(source, FileTree.join(from, relative), below)
        yield* access.check(target, FileTree.join(to, relative), below)
        if (type !== "File" && type !== "Directory") {
          return yield* access.refuse(source, "links and special files are neither copied nor moved")
        }
        yield* visit(relative)
      })
    )

  const makeTempDirectory = (method: string): FileSystem.FileSystem["makeTempDirectory"] =>
    Effect.fnUntraced(function* (options) {
      const { directory, prefix = "" } = options ?? {}
      if (directory === undefined) {
        return yield* access.refuse(request(method, "", write), "under a lease, options.directory is required")
      }
      const asked = request(method, directory, write)
      if (isPath(prefix)) return yield* access.refuse(asked, "options.prefix is part of a name, not a path")
      const parent = RealPath.format(yield* access.follow(asked))
      const make = Effect.gen(function* () {
        const path = FileTree.join(parent, `${prefix}${yield* randomName}`)
        yield* access.check(asked, path, below)
        yield* raw.makeDirectory(path, { mode: 0o700 })
        return path
      })
      return yield* Effect.retry(make, { times: 8, while: ({ reason }) => reason._tag === "AlreadyExists" })
    })

  // In a directory of its own, as the ordinary service has it.
  const makeTempFile = (method: string): FileSystem.FileSystem["makeTempFile"] => {
    const makeDirectory = makeTempDirectory(method)
    return Effect.fnUntraced(function* (options) {
      const { directory = "", suffix = "" } = options ?? {}
      const asked = request(method, directory, write)
      if (isPath(suffix)) return yield* access.refuse(asked, "options.suffix is part of a name, not a path")
      const parent = yield* makeDirectory(options)
      const path = FileTree.join(parent, `${yield* randomName}${suffix}`)
      yield* access.check(asked, path, below).pipe(
        Effect.andThen(raw.writeFile(path, new Uint8Array(0), { flag: "wx", mode: 0o600 })),
        Effect.onError(() => Effect.ignore(raw.remove(parent, { recursive: true, force: true })))
      )
      return path
    })
  }

  // The clean-up is the host's own act: it happens also when the lease has expired by then.
  const discard = (directory: string) => Effect.orDie(raw.remove(directory, { recursive: true, force: true }))

  return {
    access: (path, options) =>
      Effect.flatMap(at("access", path, options?.writable === true ? readWrite : read), (real) =>
        raw.access(real, options)
      ),
    chmod: (path, mode) => Effect.flatMap(at("chmod", path, write), (real) => raw.chmod(real, mode)),
    chown: (path) => access.refuse(request("chown", path, write), "owners are not changed under a lease"),
    copy: Effect.fnUntraced(function* (fromPath, toPath, options) {
      const source = request("copy", fromPath, read)
      const target = request("copy", toPath, write)
      const from = RealPath.format(yield* access.follow(source))
      const place = yield* access.follow(target)
      const to = RealPath.format(place)
      yield* checkCreated(target, place)
      yield* checkTransfer(
        source,
        from,
        target,
        to,
        Effect.fnUntraced(function* (relative) {
          const occupant = yield* FileTree.typeAt(raw, FileTree.join(to, relative))
          if (Option.contains(occupant, "SymbolicLink")) yield* access.refuse(target, "there is a link in the way")
        })
      )
      yield* raw.copy(from, to, options)
    }),
    copyFile: Effect.fnUntraced(function* (fromPath, toPath) {
      const from = yield* fileAt("copyFile", fromPath, read)
      const to = yield* fileAt("copyFile", toPath, write)
      yield* raw.copyFile(from, to)
    }),
    link: (_, path) => access.refuse(request("link", path, write), "no links are made under a lease"),
    lstat: (path) => Effect.flatMap(entryAt("lstat", path, read), (real) => raw.lstat(real)),
    makeDirectory: Effect.fnUntraced(function* (path, options) {
      const asked = request("makeDirectory", path, write)
      const place = yield* access.follow(asked)
      if (options?.recursive === true) yield* checkCreated(asked, place)
      yield* raw.makeDirectory(RealPath.format(place), options)
    }),
    makeTempDirectory: makeTempDirectory("makeTempDirectory"),
    makeTempDirectoryScoped: (options) =>
      Effect.acquireRelease(makeTempDirectory("makeTempDirectoryScoped")(options), discard),
    makeTempFile: makeTempFile("makeTempFile"),
    makeTempFileScoped: (options) =>
      Effect.acquireRelease(makeTempFile("makeTempFileScoped")(options), (file) =>
        discard(file.slice(0, file.lastIndexOf("/")))
      ),
    open: Effect.fnUntraced(function* (path, options) {
      const { flag = "r", mode, noFollow } = options ?? {}
      const rights = rightsOf(flag)
      const real = yield* (noFollow === true ? entryAt : at)("open", path, rights)
      yield* checkOpenable(request("open", path, rights), real)
      const file = yield* raw.open(real, { flag, mode, noFollow })
      return LeasedFile.make(file, rights, (method, needed) => access.check(request(method, path, needed), real))
    }),
    readDirectory: Effect.fnUntraced(function* (path, options) {
      const asked = request("readDirectory", path, read)
      const real = RealPath.format(yield* access.follow(asked))
      if (options?.recursive !== true || !Option.contains(yield* FileTree.typeAt(raw, real), "Directory")) {
        return yield* raw.readDirectory(real)
      }
      const names: Array<string> = []
      yield* FileTree.walk(raw, real, (relative, type) => {
        if (relative !== "") names.push(relative)
        return type === "Directory" ? access.check(asked, FileTree.join(real, relative), below) : Effect.void
      })
      return names
    }),
    readDirectoryEntries: (path) =>
      Effect.flatMap(at("readDirectoryEntries", path, read), (real) => raw.readDirectoryEntries(real)),
    readFile: (path) => Effect.flatMap(fileAt("readFile", path, read), (real) => raw.readFile(real)),
    readLink: (path) => Effect.flatMap(entryAt("readLink", path, read), (real) => raw.readLink(real)),
    realPath: (path) => Effect.flatMap(at("realPath", path, read), (real) => raw.realPath(real)),
    remove: Effect.fnUntraced(function* (path, options) {
      const asked = request("remove", path, write)
      const real = RealPath.format(yield* access.entry(asked))
      if (options?.recursive === true) {
        yield* FileTree.walk(raw, real, (relative) => access.check(asked, FileTree.join(real, relative), below))
      }
      yield* raw.remove(real, options)
    }),
    rename: Effect.fnUntraced(function* (oldPath, newPath) {
      const source = request("rename", oldPath, readWrite)
      const target = request("rename", newPath, write)
      const from = RealPath.format(yield* access.entry(source))
      const to = RealPath.format(yield* access.entry(target))
      yield* checkTransfer(source, from, target, to)
      yield* raw.rename(from, to)
    }),
    stat: (path) => Effect.flatMap(at("stat", path, read), (real) => raw.stat(real)),
    symlink: (_, path) => access.refuse(request("symlink", path, write), "no links are made under a lease"),
    truncate: (path, length) => Effect.flatMap(fileAt("truncate", path, write), (real) => raw.truncate(real, length)),
    utimes: (path, atime, mtime) => Effect.flatMap(at("utimes", path, write), (real) => raw.utimes(real, atime, mtime)),
    watch: (path, options) => {
      const asked = request("watch", path, read)
      return Stream.unwrap(
        Effect.gen(function* () {
          if (options?.recursive === true) {
            return yield* access.refuse(asked, "directories below cannot be judged one by one while they are watched")
          }
          const real = RealPath.format(yield* access.follow(asked))
          return Stream.tap(raw.watch(real, options), () => access.check(asked, real))
        })
      )
    },
    writeFile: (path, data, options) =>
      Effect.flatMap(fileAt("writeFile", path, write), (real) => raw.writeFile(real, data, options))
  }
}

/** A link is one only where links are not followed, and there the host refuses it. */
const openable: ReadonlySet<FileSystem.File.Type> = new Set(["File", "Directory", "SymbolicLink"])

const isPath = (part: string): boolean => /[/\\\0]/.test(part)

const randomName = Effect.map(Random.nextIntBetween(0, 2 ** 48), (n) => n.toString(16).padStart(12, "0"))

const assemble = (raw: FileSystem.FileSystem, access: FileAccess.FileAccess): FileSystem.FileSystem => {
  const derived = (method: string) => FileSystem.make(operations(raw, access, method))
  const { glob } = derived("glob")
  return {
    ...FileSystem.make(operations(raw, access)),
    exists: derived("exists").exists,
    // A walk passes over what it may not read, so an expiry on the way would only shorten the answer.
    glob: (pattern, options) =>
      Effect.tap(glob(pattern, options), () => access.alive({ method: "glob", path: pattern, rights: read })),
    readFileString: derived("readFileString").readFileString,
    sink: derived("sink").sink,
    stream: derived("stream").stream,
    writeFileString: derived("writeFileString").writeFileString
  }
}

/**
 * The file system `raw` as far as the lease goes. A refusal is a `PlatformError` with the reason `PermissionDenied`; its `cause` is the
 * `PermissionDenied` or the `LeaseExpired` of the protocol. `exists` fails with it as well, instead of answering.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  raw: FileSystem.FileSystem,
  guard: LeaseGuard.LeaseGuard["Service"],
  options?: Options
): FileSystem.FileSystem => assemble(raw, FileAccess.make(raw, guard, options?.root))

/**
 * The file system of a host that offers none: every method fails as one that a lease does not cover.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusing: FileSystem.FileSystem = assemble(
  FileSystem.makeNoop({}),
  FileAccess.refusing("the host offers no file system")
)

/**
 * Makes the file system of one job.
 *
 * @category models
 * @since 0.1.0
 */
export type Factory = (job: LeasedJob.LeasedJob) => FileSystem.FileSystem

/**
 * What a runtime makes the file systems of its jobs with; {@link refusing} for all of them unless the host says otherwise.
 *
 * @category services
 * @since 0.1.0
 */
export const LeasedFileSystem = Context.Reference<Factory>("arcp/leased/LeasedFileSystem", {
  defaultValue: () => () => refusing
})

/**
 * Offers the host's file system to jobs, each within its lease.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never, never, FileSystem.FileSystem> =>
  Layer.effect(
    LeasedFileSystem,
    Effect.map(
      FileSystem.FileSystem,
      (raw): Factory =>
        ({ guard }) =>
          make(raw, guard, options)
    )
  )
