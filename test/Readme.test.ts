import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { execFile } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll } from "vitest"
import * as ExitCode from "../src/cli/ExitCode.ts"
import { ArcpClient } from "../src/client/index.ts"
import { ArcpError, Capability } from "../src/protocol/index.ts"
import { RuntimeConfig } from "../src/runtime/index.ts"
import * as ImportGraph from "./package/ImportGraph.ts"

/** For what starts other processes, on a machine that is busy. */
const timeout = 90_000

const root = Path.join(import.meta.dirname, "..")
const readme = Fs.readFileSync(Path.join(root, "README.md"), "utf8")
/** What else a user reads, by its folder and text. */
const documents: ReadonlyArray<{ readonly folder: string; readonly text: string }> = [
  { folder: root, text: readme },
  ...Fs.readdirSync(Path.join(root, "docs")).map((file) => ({
    folder: Path.join(root, "docs"),
    text: Fs.readFileSync(Path.join(root, "docs", file), "utf8")
  }))
]
const manifest: {
  readonly scripts: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, unknown>>
} = JSON.parse(Fs.readFileSync(Path.join(root, "package.json"), "utf8"))

const fences = Array.from(
  documents
    .map(({ text }) => text)
    .join("\n")
    .matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm),
  ([, language, code]) => ({
    language: language!,
    code: code!
  })
)
const fencesOf = (language: string) => fences.filter((fence) => fence.language === language).map(({ code }) => code)
const programs = fencesOf("ts")

const cellsOf = (line: string): ReadonlyArray<string> =>
  line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim())

/** The body of the table whose header begins like this, cell by cell. */
const table = (...header: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const lines = documents.flatMap(({ text }) => text.split("\n"))
  const start = lines.findIndex((line) => cellsOf(line).slice(0, header.length).join() === header.join())
  assert.isAtLeast(start, 0, `there is no table ${header.join(", ")}`)
  const body = lines.slice(start + 2)
  return body
    .slice(
      0,
      body.findIndex((line) => !line.startsWith("|"))
    )
    .map(cellsOf)
}

const codeOf = (cell: string) => cell.replaceAll("`", "")

/** A package beside the repository, in which `effect-arcp` is these sources and everything else what is installed here. */
const makePackage = (): string => {
  const folder = Fs.realpathSync(Fs.mkdtempSync(Path.join(Os.tmpdir(), "readme-")))
  const modules = Path.join(folder, "node_modules")
  const self = Path.join(modules, "effect-arcp")
  Fs.mkdirSync(self, { recursive: true })
  for (const name of ["effect", "@effect", "@types"]) {
    Fs.symlinkSync(Path.join(root, "node_modules", name), Path.join(modules, name), "junction")
  }
  Fs.symlinkSync(Path.join(root, "src"), Path.join(self, "src"), "junction")
  const subpaths = Object.keys(manifest.exports).filter((subpath) => !subpath.endsWith(".json"))
  const exports = Object.fromEntries(subpaths.map((subpath) => [subpath, `./src${subpath.slice(1)}/index.ts`]))
  Fs.writeFileSync(Path.join(self, "package.json"), JSON.stringify({ name: "effect-arcp", type: "module", exports }))
  Fs.writeFileSync(Path.join(folder, "package.json"), JSON.stringify({ type: "module" }))
  const { compilerOptions } = JSON.parse(Fs.readFileSync(Path.join(root, "tsconfig.json"), "utf8"))
  // What a reader copies may be called from elsewhere: only here nothing calls it.
  Fs.writeFileSync(Path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }))
  return folder
}

const run = promisify(execFile)

/** What the compiler has against a project, line by line. */
const typeCheck = async (folder: string): Promise<ReadonlyArray<string>> => {
  const compiler = Path.join(root, "node_modules/typescript/bin/tsc")
  const { stdout } = await run(process.execPath, [compiler, "--project", folder], { cwd: folder }).catch(
    (failed) => failed
  )
  return stdout.split("\n").filter((line: string) => line !== "")
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = Net.createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

describe("the programs of the README", () => {
  let folder = ""
  beforeAll(() => {
    folder = makePackage()
  })
  afterAll(() => Fs.rmSync(folder, { recursive: true, force: true }))

  it("compile as they stand, and one with a mistake would not", { timeout }, async () => {
    assert.isAtLeast(programs.length, 5)
    for (const [index, program] of programs.entries()) Fs.writeFileSync(Path.join(folder, `${index}.ts`), program)
    const mistaken = `import { Agent } from "effect-arcp"\nexport const wrong = Agent.make({ name: "a" })\n`
    Fs.writeFileSync(Path.join(folder, "mistaken.ts"), mistaken)
    const problems = await typeCheck(folder)
    assert.isTrue(problems.some((line) => line.startsWith("mistaken.ts(2,")))
    assert.deepStrictEqual(
      problems.filter((line) => /^\d/.test(line)),
      []
    )
  })

  it("print, the first of them, what it says", { timeout }, async () => {
    const program = programs[0]!
    assert.include(program, "7777")
    const file = Path.join(folder, "first.ts")
    Fs.writeFileSync(file, program.replaceAll("7777", String(await freePort())))
    const { stdout } = await run(process.execPath, [file])
    assert.strictEqual(stdout, fencesOf("text")[0])
  })
})

describe("the README", () => {
  it("opens with two commands that a fresh clone has", () => {
    assert.strictEqual(fences[0]?.code, "npm ci && npm start\nnpm ci && npm test\n")
    assert.containsAllKeys(manifest.scripts, ["start", "test"])
  })

  it("names npm scripts that exist, and every one that a developer calls", () => {
    const named = Array.from(readme.matchAll(/(?:^|`|&& )npm (?:run )?([a-z:]+)/gm), ([, name]) => name!)
    const builtIn = ["ci", "install"]
    assert.deepStrictEqual(
      named.filter((name) => !builtIn.includes(name) && manifest.scripts[name] === undefined),
      []
    )
    const called = Object.keys(manifest.scripts).filter((name) => !["clean", "prepack"].includes(name))
    assert.includeMembers(named, called)
  })

  it("links to files that exist", () => {
    const linksOf = (text: string) => Array.from(text.matchAll(/\]\((?!https:)([^)]+)\)/g), ([, target]) => target!)
    const headingsOf = (text: string) =>
      Array.from(text.matchAll(/^#+ (.+)$/gm), ([, heading]) =>
        heading!
          .toLowerCase()
          .replace(/[^a-z0-9 -]/g, "")
          .replaceAll(" ", "-")
      )
    const leads = (folder: string, text: string, link: string): boolean => {
      const [file = "", heading] = link.split("#")
      const path = Path.join(folder, file)
      if (file !== "" && !Fs.existsSync(path)) return false
      return heading === undefined || headingsOf(file === "" ? text : Fs.readFileSync(path, "utf8")).includes(heading)
    }
    assert.isAtLeast(linksOf(readme).length, 15)
    assert.deepStrictEqual(
      documents.flatMap(({ folder, text }) => linksOf(text).filter((link) => !leads(folder, text, link))),
      []
    )
  })

  it.each(documents)("names no place of one machine, in $folder", ({ text }) => {
    assert.notMatch(text, /\/(?:home|work|Users|root)\/|registry\.|localhost:\d/)
  })

  it("lists every example", () => {
    const files = Fs.readdirSync(Path.join(root, "examples")).filter((file) => file.endsWith(".ts"))
    assert.deepStrictEqual(
      table("file").map(([link]) => /^\[(.+)\]\(examples\/\1\)$/.exec(link!)?.[1]),
      files.toSorted()
    )
  })

  it("has the fifteen errors, with their tags and their advice", () => {
    assert.deepStrictEqual(
      table("code", "tag").map(([code, tag, retry]) => [codeOf(code!), codeOf(tag!), retry]),
      Object.entries(ArcpError.table).map(([tag, { code, retryable }]) => [code, tag, retryable ? "yes" : "no"])
    )
  })

  it("names every capability", () => {
    const named = table("capability").flatMap(([names]) => codeOf(names!).split(", "))
    assert.sameMembers(
      named.filter((name) => name !== "x-vendor.*"),
      Capability.Reserved.literals.filter((name) => name !== "cost.budget")
    )
  })

  it("has every setting of the runtime with its default", () => {
    const rows = table("setting").map(([setting, value]) => [codeOf(setting!), codeOf(value!)])
    const { runtime } = RuntimeConfig.defaults
    const show = (value: unknown): string => {
      if (Duration.isDuration(value)) return Duration.isFinite(value) ? short(value) : "none"
      return typeof value === "number" && Number.isFinite(value) ? value.toLocaleString("en") : "none"
    }
    assert.deepStrictEqual(
      rows.filter(([setting]) => setting !== "features"),
      Object.entries(RuntimeConfig.defaults)
        .filter(([setting]) => setting !== "features")
        .map(([setting, value]) => [
          setting,
          setting === "runtime" ? `${runtime.name} ${runtime.version}` : show(value)
        ])
    )
    assert.isTrue(rows.some(([setting]) => setting === "features"))
  })

  it("has every limit of the client with its default", () => {
    assert.deepStrictEqual(
      table("client limit").map(([limit, value]) => [codeOf(limit!), value]),
      Object.entries(ArcpClient.limits).map(([limit, value]) => [limit, value.toLocaleString("en")])
    )
  })

  it("says which features are offered, and which of them the client leaves out", () => {
    const offered = /A runtime offers (.+?)\. Of the rest/.exec(readme)?.[1] ?? ""
    assert.deepStrictEqual(
      Array.from(offered.matchAll(/`([^`]+)`/g), ([, name]) => name),
      [...RuntimeConfig.defaults.features]
    )
    const missing = RuntimeConfig.defaults.features.filter((feature) => !ArcpClient.features.includes(feature))
    const names: Readonly<Record<string, string>> = { ack: "acknowledge", list_jobs: "list", subscribe: "subscribe" }
    const sentence = /The client does not (.+?)\./.exec(readme)?.[1] ?? ""
    assert.deepStrictEqual(
      Object.keys(names).filter((feature) => sentence.includes(names[feature]!)),
      missing
    )
  })

  it("has the exit codes of the command", () => {
    assert.deepStrictEqual(
      table("exit code").map(([code, meaning]) => [Number(code), meaning]),
      ExitCode.table.map(([code, meaning]) => [code, meaning])
    )
  })

  it("names the flags of each command as its help does", { timeout }, async () => {
    const flagsIn = (text: string, shape: RegExp) => Array.from(text.matchAll(shape), ([, flag]) => flag!)
    const rows = table("command")
    const names = rows.map(([usage]) => codeOf(usage!).split(" ")[1]!)
    assert.deepStrictEqual(names, ["serve", "submit", "agents"])
    const main = Path.join(root, "src/cli/main.ts")
    const helps = await Promise.all(names.map((name) => run(process.execPath, [main, name, "--help"])))
    for (const [index, { stdout }] of helps.entries()) {
      const described = flagsIn(rows[index]![1]!, /`(--[a-z-]+)`/g)
      assert.sameMembers(described, flagsIn(stdout, /^ {2}(--[a-z-]+)/gm), names[index])
    }
  })

  it("has every folder of the sources, and each imports only what it may", () => {
    const graph = ImportGraph.read(Path.join(root, "src"))
    const folders = new Map<string, Set<string>>()
    for (const [file, targets] of graph) {
      const [folder, rest] = file.split("/")
      if (rest === undefined) continue
      const imported = folders.get(folder!) ?? new Set()
      folders.set(folder!, imported)
      for (const target of targets) {
        if (target._tag === "File" && !target.file.startsWith(`${folder}/`)) imported.add(target.file.split("/")[0]!)
      }
    }
    const rows = table("folder", "rank").map(([link, rank, , imports]) => ({
      folder: /^\[(.+)\]\(src\/\1\)$/.exec(link!)?.[1] ?? link!,
      rank: Number(rank),
      imports: imports!
    }))
    assert.sameMembers(
      rows.map(({ folder }) => folder),
      [...folders.keys()]
    )
    const rankOf = new Map(rows.map(({ folder, rank }) => [folder, rank]))
    for (const { folder, imports, rank } of rows) {
      const actual = [...folders.get(folder)!]
      assert.deepStrictEqual(
        actual.filter((other) => rankOf.get(other)! >= rank),
        [],
        folder
      )
      if (imports !== "all of lower rank") assert.includeMembers(imports.split(", "), actual, folder)
    }
  })
})

/** `5 s`, `10 min`, `1 h`, `1 d`: the largest unit that the duration is a whole number of. */
const short = (duration: Duration.Duration): string => {
  const seconds = Duration.toSeconds(duration)
  const [size, unit] = (
    [
      [86_400, "d"],
      [3600, "h"],
      [60, "min"]
    ] as const
  ).find(([size]) => seconds % size === 0) ?? [1, "s"]
  return `${seconds / size} ${unit}`
}
