/**
 * Which module of `src` imports which, read from the text of the files.
 *
 * Imports of types count: the architecture binds them too, and a declaration file that mentions `node:net` asks every
 * consumer for Node's types. The house's format makes the text regular (one statement begins at the start of a line,
 * in double quotes), so no parser is needed.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"

/** What a module asks for: a file of `src` (relative to it) or a package (as written). */
export type Target =
  | { readonly _tag: "File"; readonly file: string }
  | { readonly _tag: "Package"; readonly specifier: string }

/** The imports of each file; keys are paths relative to `src`, with slashes. */
export type ImportGraph = ReadonlyMap<string, ReadonlyArray<Target>>

const fromClause =
  /^(?:import|export)\s(?:(?!^(?:import|export|const|class|interface|type)\s)[^"'`;=])*?\bfrom\s*["']([^"']+)["']/gm
const bareImport = /^import\s*["']([^"']+)["']/gm
const callImport = /^(?!\s*(?:\*|\/\/)).*?\b(?:import|require)\s*\(\s*["'`]([^"'`]+)["'`]/gm

/** The specifiers that a module's text names. */
export const specifiers = (source: string): ReadonlyArray<string> => [
  ...new Set(
    [fromClause, bareImport, callImport].flatMap((shape) => [...source.matchAll(shape)].map((found) => found[1]!))
  )
]

/** The graph of a set of sources, keyed by their path relative to `src`. */
export const make = (sources: Iterable<readonly [file: string, source: string]>): ImportGraph =>
  new Map(
    Array.from(sources, ([file, source]) => [
      file,
      specifiers(source).map((specifier): Target =>
        specifier.startsWith(".")
          ? { _tag: "File", file: Path.posix.join(Path.posix.dirname(file), specifier) }
          : { _tag: "Package", specifier }
      )
    ])
  )

/** The graph of a folder on disk. */
export const read = (root: string): ImportGraph =>
  make(
    Fs.readdirSync(root, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .toSorted()
      .map((file) => [file.split(Path.sep).join("/"), Fs.readFileSync(Path.join(root, file), "utf8")] as const)
  )

/**
 * The shortest way from a file to each package for which `isForbidden` holds, as `index.ts > a/B.ts > node:fs`.
 */
export const waysTo = (
  graph: ImportGraph,
  entry: string,
  isForbidden: (specifier: string) => boolean
): ReadonlyArray<string> => {
  const ways: Array<string> = []
  const seen = new Set([entry])
  const queue = [{ file: entry, way: entry }]
  for (const { file, way } of queue) {
    for (const target of graph.get(file) ?? []) {
      if (target._tag === "Package") {
        if (isForbidden(target.specifier)) ways.push(`${way} > ${target.specifier}`)
      } else if (!seen.has(target.file)) {
        seen.add(target.file)
        queue.push({ file: target.file, way: `${way} > ${target.file}` })
      }
    }
  }
  return ways
}

/** True for what only Node can load. */
export const isNode = (specifier: string): boolean =>
  specifier.startsWith("node:") || /^(?:ws|@effect\/platform-node(?:-shared)?)(?:\/|$)/.test(specifier)
