/**
 * Where a path leads once its symbolic links are followed. A lease speaks of real places, and a link can name any of them.
 */
import { Effect, type FileSystem, Option, type PlatformError, Result } from "effect"
import * as CanonicalPath from "../../authority/CanonicalPath.ts"

/** A path without links on the way: the part that is known to exist, and the names below. */
export interface RealPath {
  readonly existing: ReadonlyArray<string>
  readonly missing: ReadonlyArray<string>
}

const make = (real: string, missing: ReadonlyArray<string>): Option.Option<RealPath> =>
  Option.map(Result.getSuccess(CanonicalPath.parse(real)), ({ segments }) => ({ existing: segments, missing }))

export const format = ({ existing, missing }: RealPath): string =>
  CanonicalPath.format({ segments: [...existing, ...missing] })

/**
 * Of a path that {@link follow} found, what does not exist yet, the outermost first: all that making it with its parents makes.
 */
export const created = ({ existing, missing }: RealPath): ReadonlyArray<string> =>
  missing.map((_, index) => format({ existing, missing: missing.slice(0, index + 1) }))

// A file in the place of a directory is reported as a bad resource: nothing exists below it either.
const isAbsent = ({ reason }: PlatformError.PlatformError): boolean =>
  reason._tag === "NotFound" || reason._tag === "BadResource"

/**
 * Follows all links. `None` if it cannot be told where the path leads: a link on the way leads nowhere or in a circle, or the host does
 * not let us look.
 */
export const follow = Effect.fnUntraced(function* (
  fileSystem: FileSystem.FileSystem,
  { segments }: CanonicalPath.CanonicalPath
): Effect.fn.Return<Option.Option<RealPath>> {
  for (let kept = segments.length; kept >= 0; kept--) {
    const path = CanonicalPath.format({ segments: segments.slice(0, kept) })
    const real = yield* Effect.option(fileSystem.realPath(path))
    if (Option.isSome(real)) return make(real.value, segments.slice(kept))
    const entry = yield* Effect.result(fileSystem.lstat(path))
    if (Result.isSuccess(entry) || !isAbsent(entry.failure)) return Option.none()
  }
  return Option.none()
})

/**
 * Follows the links on the way to the last name and leaves that one as it is, for what is done to a link and not through it.
 */
export const entry = (
  fileSystem: FileSystem.FileSystem,
  { segments }: CanonicalPath.CanonicalPath
): Effect.Effect<Option.Option<RealPath>> =>
  Effect.map(
    follow(fileSystem, { segments: segments.slice(0, -1) }),
    Option.map(({ existing, missing }) => ({ existing, missing: [...missing, ...segments.slice(-1)] }))
  )
