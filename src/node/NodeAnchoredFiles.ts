/**
 * Files that are held by descriptors, on Linux with `/proc`. Each step of a path is opened with `O_PATH | O_NOFOLLOW` below the descriptor of
 * the directory before it; what is held is then used by way of `/proc/self/fd`, where the kernel leads to the open file itself and looks at
 * no name.
 *
 * @since 0.1.0
 */
import { Effect, type FileSystem, Layer, Option, PlatformError, Result } from "effect"
import * as Fs from "node:fs"
import * as AnchoredFiles from "../leased/AnchoredFiles.ts"

// Node does not list it. It is the same on every architecture that Node is built for; `make` looks whether it does what it should.
const O_PATH = 0x20_0000

const flags = O_PATH | Fs.constants.O_NOFOLLOW

const tags: Readonly<Record<string, PlatformError.SystemErrorTag>> = {
  ENOENT: "NotFound",
  ENOTDIR: "BadResource",
  ELOOP: "BadResource",
  EISDIR: "BadResource",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  EEXIST: "AlreadyExists",
  EBUSY: "Busy"
}

const failure = (method: string, path: string, cause: NodeJS.ErrnoException) =>
  PlatformError.systemError({
    _tag: tags[cause.code ?? ""] ?? "Unknown",
    module: "AnchoredFiles",
    method,
    pathOrDescriptor: path,
    syscall: cause.syscall,
    cause
  })

// Awaited in any case: it must not be under way any more when the directory that it is in is let go.
const call = <A>(method: string, path: string, run: (done: (error: Error | null, value?: A) => void) => void) =>
  Effect.uninterruptible(
    Effect.callback<A, PlatformError.PlatformError>((resume) =>
      run((error, value) =>
        resume(error === null ? Effect.succeed(value as A) : Effect.fail(failure(method, path, error)))
      )
    )
  )

const typeOf = (stats: Fs.Stats): FileSystem.File.Type => {
  if (stats.isDirectory()) return "Directory"
  if (stats.isFile()) return "File"
  if (stats.isSymbolicLink()) return "SymbolicLink"
  if (stats.isFIFO()) return "FIFO"
  if (stats.isSocket()) return "Socket"
  if (stats.isCharacterDevice()) return "CharacterDevice"
  return stats.isBlockDevice() ? "BlockDevice" : "Unknown"
}

const anchorOf = (descriptor: number): Result.Result<AnchoredFiles.Anchor, Error> =>
  Result.try({
    try: () => ({ type: typeOf(Fs.fstatSync(descriptor)), path: `/proc/self/fd/${descriptor}` }),
    // Such as that the server of a network file system no longer knows it.
    catch: (cause) => cause as Error
  })

// A descriptor of this kind has read nothing and written nothing: to close it waits for nobody.
const close = (descriptors: ReadonlyArray<number>) => {
  for (const descriptor of descriptors) Fs.closeSync(descriptor)
}

interface Held {
  readonly way: AnchoredFiles.Way
  readonly descriptors: ReadonlyArray<number>
}

const below = ({ path }: AnchoredFiles.Anchor, name: string): string => (path === "/" ? `/${name}` : `${path}/${name}`)

/** One turn after the other, so that at most three descriptors are open at any time. */
const step = (
  way: AnchoredFiles.Way,
  descriptors: ReadonlyArray<number>,
  names: ReadonlyArray<string>,
  done: (error: Error | null, held?: Held) => void
): void => {
  const name = names[way.passed]
  if (name === undefined || way.anchor.type !== "Directory") return done(null, { way, descriptors })
  Fs.open(below(way.anchor, name), flags, (error, descriptor) => {
    if (error?.code === "ENOENT") return done(null, { way, descriptors })
    if (error !== null) {
      close(descriptors)
      return done(error)
    }
    const anchor = anchorOf(descriptor)
    if (Result.isFailure(anchor)) {
      close([...descriptors, descriptor])
      return done(anchor.failure)
    }
    close(descriptors.slice(0, -1))
    const further = { passed: way.passed + 1, anchor: anchor.success, parent: way.anchor }
    step(further, [...descriptors.slice(-1), descriptor], names, done)
  })
}

// A name that leads elsewhere is none. The callers know; the door is locked all the same.
const isName = (name: string): boolean =>
  name !== "" && name !== "." && name !== ".." && !name.includes("/") && !name.includes("\0")

const notNames = (method: string) =>
  Effect.fail(PlatformError.badArgument({ module: "AnchoredFiles", method, description: "not a name" }))

const onEntry = (
  method: string,
  directory: AnchoredFiles.Anchor,
  name: string,
  use: (path: string, done: (error: Error | null) => void) => void
) => (isName(name) ? call<void>(method, name, (done) => use(below(directory, name), done)) : notNames(method))

const descriptors: AnchoredFiles.AnchoredFiles = {
  // Nothing can take its place.
  root: Effect.succeed({ type: "Directory", path: "/" }),
  walk: (directory, names) =>
    names.every(isName)
      ? Effect.acquireRelease(
          call<Held>("walk", directory.path, (done) =>
            step({ passed: 0, anchor: directory, parent: undefined }, [], names, done)
          ),
          ({ descriptors }) => Effect.sync(() => close(descriptors))
        ).pipe(Effect.map(({ way }) => way))
      : notNames("walk"),
  unlink: (directory, name) => onEntry("unlink", directory, name, Fs.unlink),
  removeDirectory: (directory, name) => onEntry("removeDirectory", directory, name, Fs.rmdir)
}

const withDescriptor = <A>(path: string, use: (descriptor: number) => A): A => {
  const descriptor = Fs.openSync(path, flags)
  try {
    return use(descriptor)
  } finally {
    Fs.closeSync(descriptor)
  }
}

const isAvailable = (): boolean => {
  if (process.platform !== "linux") return false
  try {
    return (
      // Always a link, which can be held only if the flag is what it should be.
      withDescriptor("/proc/self", (descriptor) => Fs.fstatSync(descriptor).isSymbolicLink()) &&
      withDescriptor("/", (descriptor) => Fs.readlinkSync(`/proc/self/fd/${descriptor}`) === "/")
    )
  } catch {
    return false
  }
}

/**
 * `None` where files cannot be held.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Option.Option<AnchoredFiles.AnchoredFiles>> = Effect.sync(() =>
  isAvailable() ? Option.some(descriptors) : Option.none()
)

/**
 * Lets leased files be held. Where that is not possible it says so in the log, and what depends on it is refused.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.effect(
  AnchoredFiles.AnchoredFiles,
  Effect.tap(make, (files) =>
    Option.isSome(files)
      ? Effect.void
      : Effect.logWarning("Files cannot be held here (no Linux with /proc): leases with a wildcard do not cover writes")
  )
)
