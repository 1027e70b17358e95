import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as ImportGraph from "./package/ImportGraph.ts"

const root = Path.join(import.meta.dirname, "..")

interface Entry {
  readonly types: string
  readonly default: string
}

const manifest: {
  readonly bin: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, Entry | string>>
} = JSON.parse(Fs.readFileSync(Path.join(root, "package.json"), "utf8"))

const isEntry = (item: readonly [string, Entry | string]): item is [string, Entry] => typeof item[1] !== "string"

/** The public entries of package.json, from their subpath to what they point at. */
const entries: ReadonlyMap<string, Entry> = new Map(Object.entries(manifest.exports).filter(isEntry))

const graph = ImportGraph.read(Path.join(root, "src"))

/** The file of `src` behind an emitted one. */
const sourceOf = (emitted: string): string =>
  emitted.replace(/^(?:\.\/)?dist\//, "").replace(/(?:\.d\.ts|\.js)$/, ".ts")

const folders = [...graph.keys()].flatMap((file) => (/^[^/]+\/index\.ts$/.test(file) ? [Path.posix.dirname(file)] : []))

/** What an index leaves out, or exports in another way than as the namespace of a file beside it. */
const deviations = (index: string, files: ReadonlyArray<string>): ReadonlyArray<string> => {
  const nouns = files.filter((file) => /^[A-Z]\w*\.ts$/.test(file)).map((file) => file.slice(0, -".ts".length))
  const exported: ReadonlyArray<string> = index.match(/^export\b.*$/gm) ?? []
  const expected = nouns.map((noun) => `export * as ${noun} from "./${noun}.ts"`)
  return [
    ...expected.filter((line) => !exported.includes(line)).map((line) => `is missing: ${line}`),
    ...exported.filter((line) => !expected.includes(line)).map((line) => `is not one namespace per file: ${line}`)
  ]
}

describe("package.json", () => {
  it("exports the root and each folder that has an index, and nothing else", () => {
    const expected = [".", ...folders.map((folder) => `./${folder}`)]
    assert.sameMembers([...entries.keys()], expected)
  })

  it("names only files that have a source", () => {
    const emitted = [
      ...[...entries.values()].flatMap((entry) => [entry.types, entry.default]),
      ...Object.values(manifest.bin)
    ]
    assert.deepStrictEqual(
      emitted.filter((file) => !graph.has(sourceOf(file))),
      []
    )
  })

  it("gives each subpath the types and the code of its own folder", () => {
    for (const [subpath, entry] of entries) {
      const folder = `./dist${subpath.slice(1)}`
      assert.deepStrictEqual(entry, { types: `${folder}/index.d.ts`, default: `${folder}/index.js` })
    }
  })

  it("points its command at a script that Node can start", () => {
    for (const file of Object.values(manifest.bin)) {
      const source = Fs.readFileSync(Path.join(root, "src", sourceOf(file)), "utf8")
      assert.match(source, /^#!\/usr\/bin\/env node\n/)
    }
  })
})

describe("the index of", () => {
  it.each(folders)("%s/ exports each of its nouns as a namespace", (folder) => {
    const path = Path.join(root, "src", folder)
    assert.deepStrictEqual(deviations(Fs.readFileSync(Path.join(path, "index.ts"), "utf8"), Fs.readdirSync(path)), [])
  })

  it("a folder is refused when it forgets a noun or exports something else", () => {
    assert.deepStrictEqual(deviations(`export * as A from "./A.ts"\n`, ["A.ts", "index.ts"]), [])
    assert.deepStrictEqual(deviations(`export * from "./A.ts"\n`, ["A.ts"]), [
      `is missing: export * as A from "./A.ts"`,
      `is not one namespace per file: export * from "./A.ts"`
    ])
  })
})

describe("Node is not behind", () => {
  const isomorphic = [...entries].filter(([subpath]) => subpath !== "./node")

  it.each(isomorphic)("%s", (_subpath, entry) => {
    const file = sourceOf(entry.default)
    assert.isTrue(graph.has(file), `src/${file} does not exist`)
    assert.deepStrictEqual(ImportGraph.waysTo(graph, file, ImportGraph.isNode), [])
  })

  it("an entry that reaches it through others is refused, and the way is shown", () => {
    const planted = ImportGraph.make([
      ["index.ts", `export * as Client from "./client/index.ts"`],
      ["client/index.ts", `export * as Dial from "./Dial.ts"`],
      ["client/Dial.ts", `import { type Socket } from "node:net"`]
    ])
    assert.deepStrictEqual(ImportGraph.waysTo(planted, "index.ts", ImportGraph.isNode), [
      "index.ts > client/index.ts > client/Dial.ts > node:net"
    ])
  })
})
