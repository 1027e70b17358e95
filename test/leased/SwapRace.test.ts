import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Result } from "effect"
import type { PlatformError } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Readline from "node:readline"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeasedFileSystem from "../../src/leased/LeasedFileSystem.ts"
import * as Sandbox from "./Sandbox.ts"

/** What is done again and again under a lease for `ws`, while another process exchanges `ws/d` and `ws/f`; each tells what it saw. */
const operations: ReadonlyArray<
  (fs: FileSystem.FileSystem, ws: string, n: number) => Effect.Effect<unknown, PlatformError.PlatformError>
> = [
  (fs, ws) => fs.readFileString(`${ws}/d/f`),
  (fs, ws) => fs.readFileString(`${ws}/f`),
  (fs, ws) => fs.writeFileString(`${ws}/d/f`, "in"),
  (fs, ws) => fs.readDirectory(`${ws}/d`),
  (fs, ws) => fs.writeFileString(`${ws}/f`, "in"),
  (fs, ws) => fs.makeDirectory(`${ws}/d/made`),
  (fs, ws) => Effect.map(fs.exists(`${ws}/d/outside`), (found) => (found ? "OUTSIDE" : "")),
  (fs, ws) => fs.remove(`${ws}/d/made`, { recursive: true }),
  (fs, ws) => fs.truncate(`${ws}/d/f`, 2),
  (fs, ws, n) => fs.copyFile(`${ws}/f`, `${ws}/d/copy${n % 4}`),
  (fs, ws, n) => fs.rename(`${ws}/d/copy${n % 4}`, `${ws}/d/moved`),
  (fs, ws) => fs.chmod(`${ws}/d/f`, 0o600),
  (fs, ws) => fs.writeFileString(`${ws}/d/new`, "in", { flag: "a" }),
  (fs, ws) => fs.remove(`${ws}/d/new`),
  (fs, ws) => Effect.scoped(Effect.flatMap(fs.open(`${ws}/f`), (file) => file.readAlloc(64))),
  (fs, ws) => Effect.map(fs.stat(`${ws}/d/f`), ({ size }) => (Number(size) === "OUTSIDE".length ? "OUTSIDE" : "")),
  (fs, ws) => Effect.map(fs.exists(`${ws}/d/made/0`), (found) => (found ? "OUTSIDE" : "")),
  (fs, ws) => fs.truncate(`${ws}/f`, 2),
  (fs, ws) => fs.realPath(`${ws}/f`),
  (fs, ws) => fs.utimes(`${ws}/d/f`, 1, 1),
  (fs, ws) => fs.access(`${ws}/d/f`, { writable: true })
]

const plant = (base: string) => {
  const ws = Path.join(base, "ws")
  const secret = Path.join(base, "secret")
  Fs.mkdirSync(Path.join(ws, "d"), { recursive: true })
  Fs.mkdirSync(Path.join(secret, "made/0"), { recursive: true })
  for (const name of ["d/f", "f"]) Fs.writeFileSync(Path.join(ws, name), "in")
  return { ws, secret }
}

/** Puts back what is outside; whether it was changed. */
const mend = (secret: string): boolean => {
  const expected = { f: "OUTSIDE", outside: "OUTSIDE" }
  const isWhole =
    Fs.readdirSync(secret).toSorted().join() === "f,made,outside" &&
    Fs.readdirSync(Path.join(secret, "made")).join() === "0" &&
    Object.entries(expected).every(
      ([name, text]) =>
        Fs.readFileSync(Path.join(secret, name), "utf8") === text &&
        (Fs.statSync(Path.join(secret, name)).mode & 0o777) === 0o644 &&
        Fs.statSync(Path.join(secret, name)).mtimeMs > 1000
    )
  if (isWhole) return false
  Fs.rmSync(secret, { recursive: true })
  Fs.mkdirSync(Path.join(secret, "made/0"), { recursive: true })
  for (const [name, text] of Object.entries(expected)) {
    Fs.writeFileSync(Path.join(secret, name), text)
    Fs.chmodSync(Path.join(secret, name), 0o644)
  }
  return true
}

const swapping = (base: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn(process.execPath, [Path.join(import.meta.dirname, "swapper.ts"), base], {
        stdio: ["pipe", "pipe", "inherit"]
      })
      const lines = Readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      assert.strictEqual((await lines.next()).value, "ready")
      const stop = async () => {
        child.stdin.end()
        return Number((await lines.next()).value)
      }
      return { child, stop }
    }),
    ({ child }) =>
      Effect.promise(async () => {
        if (child.exitCode !== null) return
        child.kill("SIGKILL")
        await once(child, "exit")
      })
  )

const saysOutside = (seen: unknown): boolean => {
  if (typeof seen === "string") return seen.includes("OUTSIDE")
  if (Array.isArray(seen)) return seen.includes("outside")
  if (typeof seen === "object" && seen !== null && "value" in seen && seen.value instanceof Uint8Array) {
    return Buffer.from(seen.value).includes("OUTSIDE")
  }
  return false
}

const race = (kind: Sandbox.Kind, rounds: number, until: (escapes: number) => boolean) =>
  Effect.gen(function* () {
    const host = yield* FileSystem.FileSystem
    const directory = Fs.existsSync("/dev/shm") ? { directory: "/dev/shm" } : {}
    const base = yield* host.makeTempDirectoryScoped({ ...directory, prefix: "arcp-" })
    const { secret, ws } = plant(base)
    mend(secret)
    const lease = Result.getOrThrow(Lease.make({ "fs.read": [`${ws}/**`], "fs.write": [`${ws}/**`] }, {}, 0))
    const options = kind === "held" ? { anchored: Sandbox.anchored } : { unanchoredWrites: true }
    const fs = LeasedFileSystem.make(host, yield* LeaseGuard.make(lease), options)
    const swapper = yield* swapping(base)
    const count = { done: 0, succeeded: 0, told: 0, changed: 0 }
    const worker = Effect.gen(function* () {
      while (count.done < rounds && !until(count.told + count.changed)) {
        const n = count.done++
        const outcome = yield* Effect.result(operations[n % operations.length]!(fs, ws, n))
        if (Result.isFailure(outcome)) continue
        count.succeeded++
        if (saysOutside(outcome.success)) count.told++
        if (n % 64 === 0 && mend(secret)) count.changed++
      }
    })
    yield* Effect.all(
      Array.from({ length: 4 }, () => worker),
      { concurrency: "unbounded" }
    )
    const swaps = yield* Effect.promise(swapper.stop)
    if (mend(secret)) count.changed++
    return { ...count, swaps }
  }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))

describe("A race with a process that exchanges directories and files for links", () => {
  it.live(
    "of 100,000 rounds leads out of the lease not once",
    () =>
      Effect.gen(function* () {
        const { changed, done, succeeded, swaps, told } = yield* race("held", 100_000, () => false)
        assert.deepStrictEqual({ told, changed }, { told: 0, changed: 0 })
        assert.isAtLeast(done, 100_000)
        // It was a race: each side got its turns.
        assert.isAbove(succeeded, 10_000)
        assert.isAbove(swaps, 10_000)
      }),
    120_000
  )

  it.live(
    "leads out where files are only named: the race can be lost",
    () =>
      Effect.gen(function* () {
        const { changed, told } = yield* race("named", 100_000, (escapes) => escapes >= 20)
        assert.isAbove(told + changed, 0)
      }),
    120_000
  )
})
