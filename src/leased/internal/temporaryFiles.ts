/**
 * Temporary files and directories under a lease: in a directory that is given, under a name that nobody chose.
 */
import { Effect, type FileSystem, Option, type PlatformError, Random, Result } from "effect"
import * as CanonicalPath from "../../authority/CanonicalPath.ts"
import * as FileAccess from "./fileAccess.ts"
import * as FileTransfer from "./fileTransfer.ts"
import * as FileTree from "./fileTree.ts"
import * as FileUse from "./fileUse.ts"
import * as Place from "./place.ts"

type Failure = PlatformError.PlatformError

interface Options {
  readonly directory?: string | undefined
  readonly prefix?: string | undefined
  readonly suffix?: string | undefined
}

/** A directory that was made here, and is removed later only if it is still that one. */
interface Made {
  readonly path: string
  readonly identity: string
}

const isPath = (part: string): boolean => typeof part !== "string" || /[/\\\0]/.test(part)

const randomName = Effect.map(Random.nextIntBetween(0, 2 ** 48), (n) => n.toString(16).padStart(12, "0"))

export const make = (
  files: FileUse.FileUse
): Pick<
  FileSystem.FileSystem,
  "makeTempDirectory" | "makeTempDirectoryScoped" | "makeTempFile" | "makeTempFileScoped"
> => {
  const { access, act, host, request } = files

  const make = Effect.fnUntraced(function* (method: string, { directory, prefix = "" }: Options) {
    if (directory === undefined) {
      return yield* access.refuse(request(method, "", FileAccess.write), "under a lease, options.directory is required")
    }
    const asked = request(method, directory, FileAccess.write)
    if (isPath(prefix)) return yield* access.refuse(asked, "options.prefix is part of a name, not a path")
    const parent = yield* FileUse.present(asked, access.follow)
    const once = Effect.gen(function* () {
      const name = `${prefix}${yield* randomName}`
      const path = FileTree.join(Place.format(parent), name)
      yield* access.check(asked, path, FileTransfer.below)
      const anchor = yield* Place.make(host, parent.anchor, [name], { mode: 0o700 })
      const made: Made = { path, identity: yield* Place.identity(host, anchor) }
      return { anchor, made }
    })
    return yield* FileUse.anew(once)
  })

  const makeDirectory = (method: string, options: Options = {}): Effect.Effect<Made, Failure> =>
    act(
      request(method, options.directory ?? "", FileAccess.write),
      Effect.map(make(method, options), ({ made }) => made)
    )

  // In a directory of its own, as the ordinary service has it.
  const makeFile = (
    method: string,
    options: Options = {}
  ): Effect.Effect<Made & { readonly file: string }, Failure> => {
    const { directory = "", suffix = "" } = options
    const asked = request(method, directory, FileAccess.write)
    const body = Effect.gen(function* () {
      if (isPath(suffix)) return yield* access.refuse(asked, "options.suffix is part of a name, not a path")
      const { anchor, made } = yield* make(method, options)
      const name = `${yield* randomName}${suffix}`
      const file = FileTree.join(made.path, name)
      const entry = Place.entryOf(anchor, name)
      yield* access.check(asked, file, FileTransfer.below).pipe(
        Effect.andThen(host.fileSystem.writeFile(entry.path, new Uint8Array(0), { flag: "wx", mode: 0o600 })),
        Effect.onError(() => Effect.ignore(discard(made)))
      )
      return { ...made, file }
    })
    return act(asked, body)
  }

  // The host's own act: it happens also when the lease has expired by then.
  const discard = ({ identity, path }: Made): Effect.Effect<void, Failure> =>
    Effect.scoped(
      Effect.gen(function* () {
        const place = Option.getOrUndefined(
          yield* Place.find(host, Result.getOrThrow(CanonicalPath.parse(path)), false)
        )
        if (place === undefined || !Place.exists(place)) return
        const entry = Place.entry(place)
        if (Option.isNone(entry) || (yield* Place.identity(host, place.anchor)) !== identity) return
        yield* FileTree.remove(host, entry.value, place.anchor, () => Effect.void)
      })
    ).pipe(Effect.catchReason("PlatformError", "NotFound", () => Effect.void))

  const release = (made: Made) => Effect.orDie(discard(made))

  return {
    makeTempDirectory: (options) => Effect.map(makeDirectory("makeTempDirectory", options), ({ path }) => path),
    makeTempDirectoryScoped: (options) =>
      Effect.acquireRelease(makeDirectory("makeTempDirectoryScoped", options), release).pipe(
        Effect.map(({ path }) => path)
      ),
    makeTempFile: (options) => Effect.map(makeFile("makeTempFile", options), ({ file }) => file),
    makeTempFileScoped: (options) =>
      Effect.acquireRelease(makeFile("makeTempFileScoped", options), release).pipe(Effect.map(({ file }) => file))
  }
}
