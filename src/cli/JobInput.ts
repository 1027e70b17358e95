/**
 * Where a job's input comes from:
 *
 * | written as | the input is |
 * | --- | --- |
 * | `-` | the JSON on standard input |
 * | `@path` | the JSON in that file |
 * | text that begins as JSON does: `{` `[` `"`, a digit, `true`, `false`, `null` | that JSON |
 * | any other text | the JSON in the file of that name |
 * | nothing | `null` |
 *
 * @since 0.1.0
 */
import { Effect, FileSystem, Stdio, Stream } from "effect"
import type * as Json from "../protocol/Json.ts"
import * as ExitCode from "./ExitCode.ts"

/** What a frame can hold is far less, so more than this is a mistake. */
const maxBytes = 4 * 1024 * 1024

const inline = /^\s*(?:[{["]|-?\d|(?:true|false|null)\s*$)/

/**
 * Reads the input of a job.
 *
 * @category constructors
 * @since 0.1.0
 */
export const read = (
  source: string
): Effect.Effect<Json.Json, ExitCode.Failed, FileSystem.FileSystem | Stdio.Stdio> => {
  if (source === "-") return Effect.flatMap(fromStdin, (text) => parse("standard input", text))
  if (inline.test(source)) return parse("--input", source)
  const path = source.startsWith("@") ? source.slice(1) : source
  return Effect.flatMap(fromFile(path), (text) => parse(path, text))
}

const refuse = (problem: string) => ExitCode.fail(ExitCode.usage, problem)

const tooLong = (name: string) => refuse(`${name} is longer than ${maxBytes} bytes`)

const fromStdin = Effect.gen(function* () {
  const stdio = yield* Stdio.Stdio
  let bytes = 0
  return yield* stdio.stdin.pipe(
    Stream.mapError((error) => refuse(`standard input: ${error.message}`)),
    Stream.mapEffect((chunk) => {
      bytes += chunk.length
      return bytes > maxBytes ? Effect.fail(tooLong("standard input")) : Effect.succeed(chunk)
    }),
    Stream.decodeText,
    Stream.mkString
  )
})

const fromFile = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem
  const unreadable = (error: { readonly reason: { readonly _tag: string } }) =>
    ExitCode.fail(
      ExitCode.usage,
      `--input: ${JSON.stringify(path)} is neither JSON nor a file that can be read (${error.reason._tag})`
    )
  const { size } = yield* Effect.mapError(files.stat(path), unreadable)
  if (Number(size) > maxBytes) return yield* tooLong(path)
  return yield* Effect.mapError(files.readFileString(path), unreadable)
})

const parse = (name: string, text: string): Effect.Effect<Json.Json, ExitCode.Failed> =>
  Effect.try({
    try: () => JSON.parse(text.replace(/^\uFEFF/, "")) as Json.Json,
    catch: (cause) => refuse(`${name} is not JSON: ${cause instanceof Error ? cause.message : "it does not parse"}`)
  })
