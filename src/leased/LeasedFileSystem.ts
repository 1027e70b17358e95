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
 * While it is used, what was judged is held, if the host can do that: see {@link AnchoredFiles.AnchoredFiles}. Then another process that
 * exchanges a directory for a link meanwhile changes nothing. Whatever the lease says, the insides of a process below `/proc` are refused,
 * and so is a mode by which a program would run with the rights of its owner.
 *
 * Of one job at most 256 files are open or watched, and 32 operations under way while others wait. A file is closed with its scope, and with
 * its job. An operation that the host has begun is awaited, also by who is interrupted.
 *
 * **Gotchas**
 *
 * On a host without `AnchoredFiles` a path is judged and then used, and another process can put a link in the way in between. Reads are
 * done nevertheless. Writes are refused there unless a pattern without `*` covers them, or `unanchoredWrites` says that they are to be done.
 *
 * No host moves what it holds: `rename` moves a name. What is found to be a link afterwards is moved back and refused, but what another
 * process puts into a directory at the very moment of its move is moved along unseen.
 *
 * @since 0.1.0
 */
import { Context, Effect, FileSystem, Layer, Option, type Scope, Semaphore } from "effect"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as AnchoredFiles from "./AnchoredFiles.ts"
import * as FileAccess from "./internal/fileAccess.ts"
import * as FileOperations from "./internal/fileOperations.ts"
import * as FileUse from "./internal/fileUse.ts"
import * as Place from "./internal/place.ts"
import type * as LeasedJob from "./LeasedJob.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where relative paths start: an absolute path. Without it they are refused. */
  readonly root?: string | undefined
  /**
   * On a host that cannot hold files: whether writes are done all the same where only a pattern with a `*` covers them. Default `false`.
   * Right where no other process can write to the directories that leases grant.
   */
  readonly unanchoredWrites?: boolean | undefined
}

/** How many operations of one job hold something at the same time. */
const maxOperations = 32

/** How many files of one job are open, or watched, at the same time. */
const maxHandles = 256

const assemble = (host: Place.Host, access: FileAccess.FileAccess, scope?: Scope.Scope): FileSystem.FileSystem => {
  const shares: FileUse.Shares = {
    turns: Semaphore.makeUnsafe(maxOperations),
    handles: Semaphore.makeUnsafe(maxHandles),
    scope
  }
  const derived = (as?: string) => FileSystem.make(FileOperations.make(FileUse.make(host, access, shares, as)))
  const { glob } = derived("glob")
  return {
    ...derived(),
    exists: derived("exists").exists,
    // A walk passes over what it may not read, so an expiry on the way would only shorten the answer.
    glob: (pattern, options) =>
      Effect.tap(glob(pattern, options), () =>
        access.alive({ method: "glob", path: pattern, rights: FileAccess.read })
      ),
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
  options: Options & {
    /** How files of `raw` are held. */
    readonly anchored?: AnchoredFiles.AnchoredFiles | undefined
    /** When it ends, all files that are still open are closed. */
    readonly scope?: Scope.Scope | undefined
  } = {}
): FileSystem.FileSystem => {
  const host = Place.host(raw, options.anchored)
  return assemble(host, FileAccess.make(host, guard, options), options.scope)
}

/**
 * The file system of a host that offers none: every method fails as one that a lease does not cover.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusing: FileSystem.FileSystem = assemble(
  Place.host(FileSystem.makeNoop({})),
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
 * Offers the host's file system to jobs, each within its lease; held by the `AnchoredFiles` that are there where the layer is built.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<never, never, FileSystem.FileSystem> =>
  Layer.effect(
    LeasedFileSystem,
    Effect.gen(function* () {
      const raw = yield* FileSystem.FileSystem
      const anchored = Option.getOrUndefined(yield* AnchoredFiles.AnchoredFiles)
      const factory: Factory = ({ guard, scope }) => make(raw, guard, { ...options, anchored, scope })
      return factory
    })
  )
