/**
 * Checks the package as its users get it: builds and packs it, lets publint and attw read the tarball, then installs it
 * in two fresh projects. The first has only `effect` and no types of Node, and imports every entry but `./node`; the
 * second adds `@effect/platform-node`, imports `./node` and runs the command. Both are type-checked without skipping
 * our declaration files, and run.
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

const root = Path.join(import.meta.dirname, "../..")
const bin = (name: string): string => Path.join(root, "node_modules/.bin", name)

interface Manifest {
  readonly name: string
  readonly bin: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, unknown>>
  readonly devDependencies: Readonly<Record<string, string>>
}

const manifest: Manifest = JSON.parse(Fs.readFileSync(Path.join(root, "package.json"), "utf8"))

// An npm script hands its own configuration down as variables; a project of its own must not inherit it.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))

const run = (cwd: string, command: string, args: ReadonlyArray<string>): string => {
  console.log(`\n$ ${[Path.basename(command), ...args].join(" ")}`)
  const done = spawnSync(command, args, { cwd, env, encoding: "utf8", timeout: 300_000 })
  if (done.status !== 0) {
    console.error(done.stdout, done.stderr)
    throw new Error(
      `${Path.basename(command)} failed: ${done.error?.message ?? done.signal ?? `exit code ${done.status}`}`
    )
  }
  return done.stdout
}

const must = (holds: boolean, message: string): void => {
  if (!holds) throw new Error(message)
}

const devVersion = (name: string): string => `${name}@${manifest.devDependencies[name]}`

/** A project that imports the given entries, checks that each offers something, and says so. */
const writeConsumer = (folder: string, subpaths: ReadonlyArray<string>, types: ReadonlyArray<string>): void => {
  const specifiers = subpaths.map((subpath) => manifest.name + subpath.slice(1))
  Fs.mkdirSync(folder, { recursive: true })
  Fs.writeFileSync(Path.join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  Fs.writeFileSync(
    Path.join(folder, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        module: "NodeNext",
        target: "ES2024",
        lib: ["ES2024", "DOM", "DOM.Iterable", "DOM.AsyncIterable", "ESNext.Disposable"],
        types,
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true
      },
      include: ["main.ts"]
    })
  )
  Fs.writeFileSync(
    Path.join(folder, "main.ts"),
    [
      ...specifiers.map((specifier, index) => `import * as entry${index} from "${specifier}"`),
      `const entries: Record<string, object> = {`,
      ...specifiers.map((specifier, index) => `  "${specifier}": entry${index},`),
      `}`,
      `for (const [specifier, entry] of Object.entries(entries)) {`,
      `  if (Object.keys(entry).length === 0) throw new Error(specifier + " exports nothing")`,
      `  console.log(specifier, Object.keys(entry).join(" "))`,
      `}`
    ].join("\n")
  )
}

const temporary = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-arcp-pack-"))

try {
  run(root, "npm", ["run", "build"])
  const packed: unknown = JSON.parse(
    run(root, "npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", temporary])
  )
  const tarball = Path.join(temporary, Fs.readdirSync(temporary).find((file) => file.endsWith(".tgz")) ?? "")
  const listed = JSON.stringify(packed)
  for (const file of ["README.md", "LICENSE", "CHANGELOG.md", "dist/index.js", "dist/index.d.ts", "src/index.ts"]) {
    must(listed.includes(`"path":"${file}"`), `the tarball lacks ${file}`)
  }
  must(!/"path":"(?:test|examples|node_modules|\.)/.test(listed), "the tarball holds files that are not for users")

  console.log(run(root, bin("publint"), ["run", tarball, "--strict"]))
  run(root, bin("attw"), [tarball, "--profile", "esm-only", "--format", "ascii"])

  const subpaths = Object.keys(manifest.exports).filter((subpath) => !subpath.endsWith(".json"))
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]

  const browser = Path.join(temporary, "browser")
  writeConsumer(
    browser,
    subpaths.filter((subpath) => subpath !== "./node"),
    []
  )
  run(browser, "npm", [...install, tarball, devVersion("effect")])
  must(!Fs.existsSync(Path.join(browser, "node_modules/@effect")), "the package pulls in what only ./node needs")
  run(browser, bin("tsc"), [])
  console.log(run(browser, process.execPath, ["main.ts"]))

  const node = Path.join(temporary, "node")
  writeConsumer(node, subpaths, ["node"])
  run(node, "npm", [...install, tarball, ...["effect", "@effect/platform-node", "@types/node"].map(devVersion)])
  must(!Fs.existsSync(Path.join(node, "node_modules/jose")), "the package pulls in what only JSON Web Tokens need")
  run(node, bin("tsc"), [])
  console.log(run(node, process.execPath, ["main.ts"]))
  for (const command of Object.keys(manifest.bin)) {
    console.log(run(node, Path.join(node, "node_modules/.bin", command), ["--help"]))
  }

  console.log("\nthe package can be published")
} catch (error) {
  console.error(`\n${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
} finally {
  Fs.rmSync(temporary, { recursive: true, force: true })
}
