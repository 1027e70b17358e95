/**
 * An agent that surveys a source tree. It knows nothing of leases: it asks for the ordinary `FileSystem`, and what it gets is the one of
 * its job, which reads where the job's lease says and nowhere else.
 */
import { Effect, FileSystem, Schema } from "effect"
import { Agent, JobContext } from "../../src/runtime/index.ts"

export const File = Schema.Struct({ path: Schema.String, lines: Schema.Int })

export const Report = Schema.Struct({
  files: Schema.Int,
  /** Lines of the files that are text. */
  lines: Schema.Int,
  bytes: Schema.Int,
  /** The longest first. */
  longest: Schema.Array(File),
  folders: Schema.Array(Schema.Struct({ folder: Schema.String, files: Schema.Int, lines: Schema.Int })),
  todos: Schema.Array(Schema.Struct({ path: Schema.String, line: Schema.Int, text: Schema.String })),
  /** Packages by the number of files that import them. */
  imports: Schema.Array(Schema.Struct({ module: Schema.String, files: Schema.Int })),
  /** Links, which are left alone. */
  links: Schema.Array(Schema.String)
})
export type Report = typeof Report.Type

/** A declared error: it arrives at the caller as this class, by tag. */
export class TreeTooLarge extends Schema.TaggedError<TreeTooLarge>("TreeTooLarge")("TreeTooLarge", {
  limit: Schema.Int
}) {
  override get message() {
    return `The tree has more than ${this.limit} files`
  }
}

export const Survey = Agent.make({
  name: "survey",
  version: "1.0.0",
  input: Schema.Struct({ root: Schema.String }),
  output: Report,
  error: TreeTooLarge,
  errorCode: "INVALID_REQUEST"
})

export const skipped: ReadonlySet<string> = new Set(["node_modules", ".git", "dist"])
const limit = 20_000

export const SurveyLive = Survey.toLayer(
  Effect.fnUntraced(function* ({ root }) {
    const job = yield* JobContext.JobContext
    const fs = yield* FileSystem.FileSystem

    yield* job.status("listing")
    const files: Array<string> = []
    const links: Array<string> = []
    const folders = [""]
    for (const folder of folders) {
      const list = fs.readDirectoryEntries(`${root}/${folder}`)
      const entries = yield* job.tool("list", { path: folder }, list, { show: (found) => ({ entries: found.length }) })
      for (const { name, type } of entries) {
        const path = folder === "" ? name : `${folder}/${name}`
        if (type === "File") files.push(path)
        else if (type === "SymbolicLink") links.push(path)
        else if (type === "Directory" && !skipped.has(name)) folders.push(path)
      }
      if (files.length > limit) return yield* new TreeTooLarge({ limit })
    }
    yield* job.log("info", `${files.length} files in ${folders.length} folders`)

    yield* job.status("reading")
    const findings: Array<Finding> = []
    for (const path of files.toSorted()) {
      const read = Effect.map(fs.readFile(`${root}/${path}`), (content) => examine(path, content))
      const show = ({ bytes, lines }: Finding) => ({ bytes, lines })
      findings.push(yield* job.tool("read", { path }, read, { show }))
      yield* job.progress({ current: findings.length, total: files.length, units: "files", message: path })
    }

    const report = summarise(findings, links)
    yield* job.metric("survey.bytes", report.bytes, { unit: "By" })
    yield* job.metric("survey.lines", report.lines)
    if (report.todos.length > 0) yield* job.log("warn", `${report.todos.length} things are marked as still to do`)
    return report
  })
)

/** Reads one file and answers with its text: the second agent, which is asked for what it may not have. */
export const Peek = Agent.make({
  name: "peek",
  version: "1.0.0",
  input: Schema.Struct({ path: Schema.String }),
  output: Schema.String
})

export const PeekLive = Peek.toLayer(({ path }) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString(path))
)

interface Finding {
  readonly path: string
  readonly bytes: number
  readonly lines: number
  readonly todos: Report["todos"]
  readonly modules: ReadonlySet<string>
}

const todo = /(?:\/\/|#|\*)\s*((?:TODO|FIXME)\b.*)/
const imported = /^\s*(?:import\s+|(?:import|export)\b[^"'`;=()]*?\bfrom\s+)["']((?:@[^/"']+\/)?[^/"'.][^/"']*)/gm

const examine = (path: string, content: Uint8Array): Finding => {
  const text = content.includes(0) ? "" : new TextDecoder().decode(content)
  const lines = text === "" ? [] : text.replace(/\n$/, "").split("\n")
  const isModule = /\.[cm]?[jt]sx?$/.test(path)
  return {
    path,
    bytes: content.length,
    lines: lines.length,
    todos: lines.flatMap((line, index) => {
      const found = todo.exec(line)?.[1]
      return found === undefined ? [] : [{ path, line: index + 1, text: found.slice(0, 80) }]
    }),
    modules: new Set(isModule ? Array.from(text.matchAll(imported), (match) => match[1]!) : [])
  }
}

const summarise = (findings: ReadonlyArray<Finding>, links: ReadonlyArray<string>): Report => {
  const folders = new Map<string, { files: number; lines: number }>()
  const modules = new Map<string, number>()
  for (const { lines, modules: used, path } of findings) {
    const folder = folderOf(path)
    const before = folders.get(folder) ?? { files: 0, lines: 0 }
    folders.set(folder, { files: before.files + 1, lines: before.lines + lines })
    for (const module of used) modules.set(module, (modules.get(module) ?? 0) + 1)
  }
  return {
    files: findings.length,
    lines: sum(findings, ({ lines }) => lines),
    bytes: sum(findings, ({ bytes }) => bytes),
    longest: findings
      .toSorted((a, b) => b.lines - a.lines)
      .slice(0, 3)
      .map(({ lines, path }) => ({ path, lines })),
    folders: Array.from(folders, ([folder, counts]) => ({ folder, ...counts })).toSorted((a, b) => b.lines - a.lines),
    todos: findings.flatMap(({ todos }) => todos),
    imports: Array.from(modules, ([module, files]) => ({ module, files })).toSorted((a, b) => b.files - a.files),
    links
  }
}

/** The first two folders of a path: enough to see where the lines are. */
const folderOf = (path: string) => path.split("/").slice(0, -1).slice(0, 2).join("/") || "."

const sum = <A>(items: ReadonlyArray<A>, of: (item: A) => number) => items.reduce((total, item) => total + of(item), 0)
