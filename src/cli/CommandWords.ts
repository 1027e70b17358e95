/**
 * A command as it is typed, cut into words.
 *
 * @since 0.1.0
 */
import { Array, Result } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"

const piece = /\s+|'([^']*)'|"((?:[^"\\]|\\[^])*)"|\\([^])|([^\s'"\\]+)/gy

/**
 * Splits as a shell does: at blanks, but for those in quotes or behind a backslash. Nothing is expanded.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<NonEmptyReadonlyArray<string>, string> => {
  const words: string[] = []
  let word: string | undefined
  let end = 0
  for (const [whole, single, double, escaped, plain] of text.matchAll(piece)) {
    end += whole.length
    const part = single ?? double?.replace(/\\(["\\$`])/g, "$1") ?? escaped ?? plain
    if (part !== undefined) {
      word = (word ?? "") + part
    } else if (word !== undefined) {
      words.push(word)
      word = undefined
    }
  }
  if (word !== undefined) words.push(word)
  if (end < text.length) return Result.fail("a quote is not closed")
  return Array.isArrayNonEmpty(words) ? Result.succeed(words) : Result.fail("it is empty")
}
