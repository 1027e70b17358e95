/**
 * Files that are held by descriptors, on Linux with `/proc`. Each step of a path is opened with `O_PATH | O_NOFOLLOW` below the descriptor of
 * the directory before it; what is held is then used by way of `/proc/self/fd`, where the kernel leads to the open file itself and looks at
 * no name.
 *
 * @since 0.1.0
 */
import { Effect, type FileSystem, Layer, Option, PlatformError, type Scope } from "effect"
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

const call = <A>(method: string, path: string, run: (done: (error: Error | null, value: A) => void) => void) =>
  Effect.callback<A, PlatformError.PlatformError>((resume) =>
    run((error, value) => resume(error === null ? Effect.succeed(value) : Effect.fail(failure(method, path, error))))
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

const open = (
  method: string,
  path: string
): Effect.Effect<AnchoredFiles.Anchor, PlatformError.PlatformError, Scope.Scope> =>
  Effect.acquireRelease(
    // A descriptor of this kind has read nothing and written nothing: to open and to close it waits for nobody.
    call<number>(method, path, (done) => Fs.open(path, flags, done)),
    (descriptor) => Effect.sync(() => Fs.closeSync(descriptor))
  ).pipe(
    Effect.map((descriptor) => ({
      type: typeOf(Fs.fstatSync(descriptor)),
      path: `/proc/self/fd/${descriptor}`
    }))
  )

// A name that leads elsewhere is none. The callers know; the door is locked all the same.
const below = <A, R>(
  method: string,
  directory: AnchoredFiles.Anchor,
  name: string,
  use: (path: string) => Effect.Effect<A, PlatformError.PlatformError, R>
): Effect.Effect<A, PlatformError.PlatformError, R> =>
  name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0")
    ? Effect.fail(PlatformError.badArgument({ module: "AnchoredFiles", method, description: "not a name" }))
    : use(`${directory.path}/${name}`)

const descriptors: AnchoredFiles.AnchoredFiles = {
  root: open("root", "/"),
  hold: (directory, name) => below("hold", directory, name, (path) => open("hold", path)),
  unlink: (directory, name) =>
    below("unlink", directory, name, (path) => call<void>("unlink", path, (done) => Fs.unlink(path, done))),
  removeDirectory: (directory, name) =>
    below("removeDirectory", directory, name, (path) =>
      call<void>("removeDirectory", path, (done) => Fs.rmdir(path, done))
    )
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
