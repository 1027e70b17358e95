/**
 * File paths as authority sees them: absolute, one spelling per place (§9.2).
 *
 * The rules are those of POSIX. Runs of `/` are one, `.` and `..` are resolved, a trailing `/` is dropped. Refused, rather than mended,
 * is whatever different readers take for different places: a relative path, `..` above the root, a NUL character, unpaired surrogates,
 * and a backslash, since it is a plain character here but a separator to a host that runs Windows.
 *
 * Percent sequences are plain characters: no file system decodes them, so `/ws/%2e%2e/etc` is an odd name below `/ws` and nothing else.
 * Names are compared unit by unit, without regard to how a file system folds case or composes accents, and links are not followed:
 * whoever opens the file must open the canonical path and must not leave it through a link.
 *
 * @since 0.1.0
 */
import { Result } from "effect"

/**
 * The names from the root down; none for the root itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface CanonicalPath {
  readonly segments: ReadonlyArray<string>
}

/**
 * The longest path that is looked at, in UTF-16 code units.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxLength = 4096

const root: CanonicalPath = { segments: [] }

const never = () => false

const walk = (
  base: CanonicalPath,
  text: string,
  isFixed: (segment: string) => boolean
): Result.Result<CanonicalPath, string> => {
  if (text.length > maxLength) return Result.fail(`a path has at most ${maxLength} characters`)
  if (text.includes("\0")) return Result.fail("a path has no NUL character")
  if (text.includes("\\")) return Result.fail("a path has no backslash")
  if (!text.isWellFormed()) return Result.fail("a path has no unpaired surrogate")
  const segments = [...base.segments]
  for (const segment of text.split("/")) {
    if (segment === "" || segment === ".") continue
    if (segment !== "..") {
      segments.push(segment)
      continue
    }
    const left = segments.pop()
    if (left === undefined) return Result.fail("'..' leads above the root")
    if (isFixed(left)) return Result.fail("'..' must not follow a wildcard")
  }
  return Result.succeed({ segments })
}

const absolute = (text: string, isFixed: (segment: string) => boolean) =>
  text.startsWith("/") ? walk(root, text, isFixed) : Result.fail("a path is absolute: it starts with '/'")

/**
 * Reads an absolute path. The failure says why it is refused.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<CanonicalPath, string> => absolute(text, never)

/**
 * As {@link parse}, but a relative path starts at `base`. It may lead out of `base`: whether that is allowed is for a lease to say.
 *
 * @category conversions
 * @since 0.1.0
 */
export const resolve = (base: CanonicalPath, text: string): Result.Result<CanonicalPath, string> =>
  walk(text.startsWith("/") ? root : base, text, never)

/**
 * Reads the text of a pattern by the same rules. A `..` behind a segment with a `*` is refused: it could stand for many places.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parsePattern = (text: string): Result.Result<CanonicalPath, string> =>
  absolute(text, (segment) => segment.includes("*"))

/**
 * The one way to write it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const format = (self: CanonicalPath): string => `/${self.segments.join("/")}`
