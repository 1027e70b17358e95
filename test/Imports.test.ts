import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as ImportGraph from "./package/ImportGraph.ts"

// prettier-ignore
const beneathHosts = [
  "protocol", "authority", "leased", "session", "runtime", "client",
  "transport", "store", "cluster", "http", "ai"
]

/** What each folder of `src` may import, beside itself and `effect`. `""` is the root entry. */
const mayImport: Readonly<Record<string, ReadonlyArray<string>>> = {
  protocol: [],
  authority: ["protocol"],
  leased: ["protocol", "authority"],
  session: ["protocol"],
  runtime: ["protocol", "authority", "leased", "session"],
  client: ["protocol", "session"],
  transport: ["protocol", "session"],
  store: ["protocol", "authority", "runtime"],
  cluster: ["protocol", "authority", "runtime"],
  http: ["protocol", "authority", "runtime"],
  ai: ["protocol", "authority", "leased", "session", "runtime", "client"],
  testing: beneathHosts,
  node: beneathHosts,
  cli: beneathHosts.concat("testing", "node"),
  "": beneathHosts.concat("testing")
}

/** The modules of Effect that are marked unstable, and the only folders that a change in them may reach. */
const unstable: Readonly<Record<string, ReadonlyArray<string>>> = {
  "effect/socket": ["transport", "node"],
  "effect/rpc": ["transport", "cluster"],
  "effect/cluster": ["cluster"],
  "effect/sql": ["store", "node"]
}

/** Packages that a user need not have, and the only files that may ask for them: for types, and when they are used. */
const optional: Readonly<Record<string, ReadonlyArray<string>>> = { jose: ["node/NodeJwtAuthenticator.ts"] }

const nodeFolders = ["node", "cli"]

const folderOf = (file: string): string => (file.includes("/") ? file.slice(0, file.indexOf("/")) : "")

const named = (folder: string): string => (folder === "" ? "the root entry" : `${folder}/`)

const violationOf = (file: string, target: ImportGraph.Target, graph: ImportGraph.ImportGraph): string | undefined => {
  const folder = folderOf(file)
  const allowed = mayImport[folder]
  if (allowed === undefined) return `${file}: the folder ${folder}/ has no rank; give it one in this test`
  if (target._tag === "File") {
    const other = folderOf(target.file)
    if (target.file.startsWith("../")) return `${file} imports ${target.file}, which is outside src`
    if (!graph.has(target.file)) return `${file} imports ${target.file}, which does not exist`
    if (other === folder || allowed.includes(other)) return undefined
    return `${file} imports ${target.file}, but ${named(folder)} may import only ${allowed.join(", ") || "effect"}`
  }
  const { specifier } = target
  if (ImportGraph.isNode(specifier)) {
    return nodeFolders.includes(folder) && !specifier.startsWith("ws")
      ? undefined
      : `${file} imports ${specifier}, but only ${nodeFolders.map(named).join(" and ")} may know Node`
  }
  if (optional[specifier]?.includes(file) === true) return undefined
  if (!/^effect(?:\/|$)/.test(specifier)) return `${file} imports ${specifier}, which the package does not depend on`
  for (const [module, folders] of Object.entries(unstable)) {
    if ((specifier === module || specifier.startsWith(`${module}/`)) && !folders.includes(folder)) {
      return `${file} imports ${specifier}, which is unstable and belongs only in ${folders.map(named).join(" and ")}`
    }
  }
  return undefined
}

const violations = (graph: ImportGraph.ImportGraph): ReadonlyArray<string> =>
  [...graph].flatMap(([file, targets]) =>
    targets.flatMap((target) => {
      const violation = violationOf(file, target, graph)
      return violation === undefined ? [] : [violation]
    })
  )

describe("imports", () => {
  it("go only to folders of a lower rank, and to the packages a folder may know", () => {
    const graph = ImportGraph.read(Path.join(import.meta.dirname, "../src"))
    assert.isAbove(graph.size, 0, "no sources were found")
    assert.deepStrictEqual(violations(graph), [])
  })

  it.each(Object.entries(optional))("ask for %s only when it is used", (specifier, files) => {
    for (const file of files) {
      const source = Fs.readFileSync(Path.join(import.meta.dirname, "../src", file), "utf8")
      const statically = source
        .split("\n")
        .filter((line) => /^(?:import|export)\b/.test(line) && line.includes(`"${specifier}"`))
      assert.deepStrictEqual(
        statically.filter((line) => !line.startsWith("import type ")),
        []
      )
      assert.include(source, `import("${specifier}")`)
    }
  })

  it("never join client and runtime", () => {
    assert.notInclude(mayImport["client"]!, "runtime")
    assert.notInclude(mayImport["runtime"]!, "client")
  })

  it("have ranks without a cycle", () => {
    const rankOf = (folder: string, path: ReadonlyArray<string>): number => {
      assert.notInclude(path, folder, `${[...path, folder].join(" > ")} is a cycle`)
      return 1 + Math.max(0, ...mayImport[folder]!.map((lower) => rankOf(lower, [...path, folder])))
    }
    assert.isAbove(rankOf("cli", []), rankOf("protocol", []))
    assert.isAbove(rankOf("", []), rankOf("protocol", []))
  })

  describe("that break a rule are named", () => {
    const planted = (file: string, source: string) =>
      violations(
        ImportGraph.make([
          [file, source],
          ["protocol/Message.ts", ""],
          ["runtime/Jobs.ts", ""]
        ])
      )

    it.each([
      ["client/A.ts", `import * as Jobs from "../runtime/Jobs.ts"`, "client/ may import only protocol, session"],
      ["protocol/A.ts", `export type { Jobs } from "../runtime/Jobs.ts"`, "protocol/ may import only effect"],
      ["session/A.ts", `import {\n  a,\n  type B\n} from "node:fs"`, "only node/ and cli/ may know Node"],
      ["session/A.ts", `const fs = await import("node:fs")`, "only node/ and cli/ may know Node"],
      ["session/A.ts", `export const a = (x: import("ws").WebSocket) => x`, "only node/ and cli/ may know Node"],
      ["testing/A.ts", `import { NodeRuntime } from "@effect/platform-node"`, "only node/ and cli/ may know Node"],
      ["runtime/A.ts", `import { Socket } from "effect/socket"`, "unstable and belongs only in transport/ and node/"],
      ["client/A.ts", `import "effect/rpc/RpcClient"`, "unstable and belongs only in transport/ and cluster/"],
      ["client/A.ts", `import * as Jose from "jose"`, "which the package does not depend on"],
      ["client/A.ts", `import lodash from "lodash"`, "the package does not depend on"],
      ["client/A.ts", `import * as B from "./B.ts"`, "does not exist"],
      ["client/A.ts", `import * as B from "../../test/B.ts"`, "outside src"],
      ["misc/A.ts", `import { Effect } from "effect"`, "has no rank"]
    ])("%s: %s", (file, source, message) => {
      const found = planted(file, source)
      assert.strictEqual(found.length, 1)
      assert.include(found[0], message)
    })

    it("and those that keep them are not", () => {
      assert.deepStrictEqual(planted("client/A.ts", `import * as Message from "../protocol/Message.ts"`), [])
      assert.deepStrictEqual(planted("node/A.ts", `import * as Fs from "node:fs"`), [])
      assert.deepStrictEqual(planted("transport/A.ts", `import { Socket } from "effect/socket"`), [])
      assert.deepStrictEqual(planted("client/A.ts", `/**\n * import { x } from "node:fs"\n * import("ws")\n */`), [])
    })
  })
})
