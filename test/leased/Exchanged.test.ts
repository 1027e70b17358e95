import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, FileSystem, Result, Stream } from "effect"
import type { PlatformError, Scope } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as Lease from "../../src/authority/Lease.ts"
import type * as AnchoredFiles from "../../src/leased/AnchoredFiles.ts"
import * as LeasedFileSystem from "../../src/leased/LeasedFileSystem.ts"
import * as Sandbox from "./Sandbox.ts"

/**
 * One exchange at every point in time: between any two things that a method asks of the host, what its path leads through is exchanged for
 * a link to the same names outside the lease. Whatever the method does then, it must neither tell nor change what is there.
 */

type Call = (fs: FileSystem.FileSystem, ws: string) => Effect.Effect<unknown, PlatformError.PlatformError, Scope.Scope>

const bytes = new TextEncoder().encode("of the agent")

const calls: { readonly [M in Exclude<keyof FileSystem.FileSystem, `~${string}`>]: Call } = {
  access: (fs, ws) => fs.access(`${ws}/d/only-outside`),
  chmod: (fs, ws) => fs.chmod(`${ws}/d/f`, 0o600),
  chown: (fs, ws) => fs.chown(`${ws}/d/f`, 1, 1),
  copy: (fs, ws) =>
    Effect.andThen(
      Effect.ignore(fs.copy(`${ws}/from`, `${ws}/d`, { overwrite: true, preserveTimestamps: true })),
      fs.copy(`${ws}/d`, `${ws}/kept/copy`, { overwrite: true })
    ),
  copyFile: (fs, ws) =>
    Effect.andThen(
      Effect.ignore(fs.copyFile(`${ws}/from/f`, `${ws}/d/f`)),
      Effect.andThen(
        Effect.ignore(fs.copyFile(`${ws}/from/f`, `${ws}/d/only-outside`)),
        fs.copyFile(`${ws}/d/f`, `${ws}/kept/f`)
      )
    ),
  exists: (fs, ws) => Effect.map(fs.exists(`${ws}/d/only-outside`), (found) => (found ? "OUTSIDE" : "")),
  glob: (fs, ws) => fs.glob("d/**", { root: ws }),
  link: (fs, ws) => fs.link(`${ws}/d/f`, `${ws}/hard`),
  lstat: (fs, ws) => Effect.map(fs.lstat(`${ws}/d/only-outside`), ({ type }) => (type === "File" ? "OUTSIDE" : "")),
  makeDirectory: (fs, ws) => fs.makeDirectory(`${ws}/d/x/y`, { recursive: true }),
  makeTempDirectory: (fs, ws) => fs.makeTempDirectory({ directory: `${ws}/d` }),
  makeTempDirectoryScoped: (fs, ws) => Effect.scoped(fs.makeTempDirectoryScoped({ directory: `${ws}/d/sub` })),
  makeTempFile: (fs, ws) => fs.makeTempFile({ directory: `${ws}/d` }),
  makeTempFileScoped: (fs, ws) => Effect.scoped(fs.makeTempFileScoped({ directory: `${ws}/d/sub` })),
  open: (fs, ws) =>
    Effect.gen(function* () {
      const file = yield* fs.open(`${ws}/d/f`, { flag: "r+" })
      const told = yield* file.readAlloc(64)
      yield* file.truncate(0)
      yield* file.writeAll(bytes)
      return told
    }),
  readDirectory: (fs, ws) => fs.readDirectory(`${ws}/d`, { recursive: true }),
  readDirectoryEntries: (fs, ws) => fs.readDirectoryEntries(`${ws}/d`),
  readFile: (fs, ws) => fs.readFile(`${ws}/d/f`),
  readFileString: (fs, ws) => fs.readFileString(`${ws}/d/f`),
  readLink: (fs, ws) => fs.readLink(`${ws}/d/l`),
  realPath: (fs, ws) => fs.realPath(`${ws}/d/only-outside`),
  remove: (fs, ws) => fs.remove(`${ws}/d`, { recursive: true }),
  rename: (fs, ws) =>
    Effect.andThen(
      Effect.ignore(fs.rename(`${ws}/from/f`, `${ws}/d/f`)),
      Effect.andThen(Effect.ignore(fs.rename(`${ws}/d/sub`, `${ws}/kept/sub`)), fs.rename(`${ws}/d/f`, `${ws}/kept/f`))
    ),
  sink: (fs, ws) => Stream.run(Stream.make(bytes), fs.sink(`${ws}/d/f`)),
  stat: (fs, ws) => Effect.map(fs.stat(`${ws}/d/f`), ({ size }) => (size === outsideSize ? "OUTSIDE" : "")),
  stream: (fs, ws) => Stream.runCollect(fs.stream(`${ws}/d/f`)),
  symlink: (fs, ws) => fs.symlink("f", `${ws}/d/soft`),
  truncate: (fs, ws) => fs.truncate(`${ws}/d/f`, 0),
  utimes: (fs, ws) => fs.utimes(`${ws}/d/f`, 1, 1),
  watch: (fs, ws) => {
    const ready = Deferred.makeUnsafe<void>()
    const onReady = () => Deferred.doneUnsafe(ready, Effect.void)
    return Stream.runCollect(Stream.interruptWhen(fs.watch(`${ws}/d`, { onReady }), Deferred.await(ready)))
  },
  writeFile: (fs, ws) =>
    Effect.andThen(Effect.ignore(fs.writeFile(`${ws}/d/new`, bytes)), fs.writeFile(`${ws}/d/f`, bytes)),
  writeFileString: (fs, ws) => fs.writeFileString(`${ws}/d/f`, "of the agent")
}

const outside = "OUTSIDE the lease"
const outsideSize = BigInt(outside.length) as never

/** Thousands of small trees need no disk. */
const inMemory = Fs.existsSync("/dev/shm") ? { directory: "/dev/shm" } : {}

const plant = (base: string) => {
  const ws = Path.join(base, "ws")
  const secret = Path.join(base, "secret")
  for (const [top, text] of [
    [Path.join(ws, "d"), "in"],
    [secret, outside]
  ] as const) {
    Fs.mkdirSync(Path.join(top, "sub"), { recursive: true })
    for (const name of ["f", "sub/g"]) Fs.writeFileSync(Path.join(top, name), text)
    Fs.symlinkSync(text, Path.join(top, "l"))
  }
  Fs.writeFileSync(Path.join(secret, "only-outside"), outside)
  Fs.writeFileSync(Path.join(secret, "sub/OUTSIDE"), outside)
  for (const name of ["from/sub", "kept"]) Fs.mkdirSync(Path.join(ws, name), { recursive: true })
  for (const name of ["from/f", "from/sub/g"]) Fs.writeFileSync(Path.join(ws, name), "from")
  return { ws, secret }
}

/** All that can be seen of a tree from outside, times included. */
const snapshot = (top: string): ReadonlyArray<string> =>
  [".", ...Fs.readdirSync(top, { recursive: true, encoding: "utf8" })].toSorted().map((name) => {
    const path = Path.join(top, name)
    const { ctimeNs, ino, mode, size } = Fs.lstatSync(path, { bigint: true })
    return [name, ino, mode, size, ctimeNs].join(" ")
  })

const exchanges = {
  "a directory": (ws: string, secret: string) => {
    if (!Fs.existsSync(Path.join(ws, "d"))) return
    Fs.renameSync(Path.join(ws, "d"), Path.join(ws, "away"))
    Fs.symlinkSync(secret, Path.join(ws, "d"))
  },
  "a directory below": (ws: string, secret: string) => {
    if (!Fs.existsSync(Path.join(ws, "d/sub"))) return
    Fs.renameSync(Path.join(ws, "d/sub"), Path.join(ws, "away"))
    Fs.symlinkSync(Path.join(secret, "sub"), Path.join(ws, "d/sub"))
  },
  "a file": (ws: string, secret: string) => {
    if (!Fs.existsSync(Path.join(ws, "d"))) return
    Fs.rmSync(Path.join(ws, "d/f"), { force: true })
    Fs.symlinkSync(Path.join(secret, "f"), Path.join(ws, "d/f"))
  },
  "what is not there": (ws: string, secret: string) => {
    if (!Fs.existsSync(Path.join(ws, "d"))) return
    for (const [name, target] of [
      ["new", "made-outside"],
      ["x", "sub"],
      ["only-outside", "made-outside"]
    ] as const) {
      if (!Fs.existsSync(Path.join(ws, "d", name))) Fs.symlinkSync(Path.join(secret, target), Path.join(ws, "d", name))
    }
  }
}

/** Calls `onCall` before each thing that is asked of the host. */
const interposed = <A extends object>(target: A, onCall: () => void): A =>
  new Proxy(target, {
    get: (target, key) => {
      const member: unknown = Reflect.get(target, key)
      if (Effect.isEffect(member)) return Effect.suspend(() => (onCall(), member as Effect.Effect<unknown>))
      if (typeof member !== "function" || key === "watch") return member
      return (...args: ReadonlyArray<unknown>) =>
        Effect.suspend(() => {
          onCall()
          return Reflect.apply(member, target, args) as Effect.Effect<unknown>
        })
    }
  })

/** What a value tells, with the bytes in it as text. */
const told = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    part instanceof Uint8Array ||
    (typeof part === "object" && part !== null && "type" in part && part.type === "Buffer")
      ? Buffer.from(part instanceof Uint8Array ? part : (part as unknown as { data: Array<number> }).data).toString()
      : typeof part === "bigint"
        ? String(part)
        : part
  ) ?? ""

/** Runs the call with the exchange before the n-th request; how it got out, if it did, and whether there was an n-th request. */
const attempt = (kind: Sandbox.Kind, call: Call, exchange: (ws: string, secret: string) => void, n: number) =>
  Effect.gen(function* () {
    const host = yield* FileSystem.FileSystem
    const base = yield* host.realPath(yield* host.makeTempDirectoryScoped({ ...inMemory, prefix: "arcp-" }))
    const { secret, ws } = plant(base)
    let requests = 0
    let before = snapshot(secret)
    const onCall = () => {
      if (++requests !== n) return
      exchange(ws, secret)
      before = snapshot(secret)
    }
    const lease = Result.getOrThrow(Lease.make({ "fs.read": [`${ws}/**`], "fs.write": [`${ws}/**`] }, {}, 0))
    const options =
      kind === "held"
        ? { anchored: interposed<AnchoredFiles.AnchoredFiles>(Sandbox.anchored, onCall) }
        : { unanchoredWrites: true }
    const fs = LeasedFileSystem.make(interposed(host, onCall), yield* LeaseGuard.make(lease), options)
    const outcome = yield* Effect.result(Effect.scoped(call(fs, ws)))
    const kept = ["f", "g", "copy/f", "copy/sub/g"].flatMap((name) => {
      const path = Path.join(ws, "kept", name)
      return Fs.existsSync(path) && Fs.lstatSync(path).isFile() ? [Fs.readFileSync(path, "utf8")] : []
    })
    const escapes: Array<string> = []
    if (/OUTSIDE/.test(told(Result.isSuccess(outcome) ? outcome.success : ""))) escapes.push("it told")
    const links = Fs.readdirSync(Path.join(ws, "kept"), { recursive: true, withFileTypes: true })
    if (links.some((entry) => entry.isSymbolicLink())) escapes.push("it brought a link")
    if (kept.some((text) => text.includes("OUTSIDE"))) escapes.push("it fetched")
    if (Result.isSuccess(outcome) && Fs.existsSync(`${secret}/only-outside`) && tells.has(call)) escapes.push("it knew")
    if (snapshot(secret).join("\n") !== before.join("\n")) escapes.push("it changed something")
    return { escapes, isOver: requests < n }
  }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))

/** Calls about something that is only outside: that they succeed tells that it is there. */
const tells: ReadonlySet<Call> = new Set([calls.access, calls.realPath])

const escapesOf = (kind: Sandbox.Kind, call: Call) =>
  Effect.gen(function* () {
    const found: Array<string> = []
    let points = 0
    for (const [what, exchange] of Object.entries(exchanges)) {
      for (let n = 1; n < 500; n++) {
        const { escapes, isOver } = yield* attempt(kind, call, exchange, n)
        found.push(...escapes.map((escape) => `${what} exchanged at request ${n}: ${escape}`))
        if (isOver) break
        points++
      }
    }
    return { found, points }
  })

describe("What a path leads through, exchanged at any point in time", () => {
  it.effect.each(Object.entries(calls))("leads %s nowhere else, if files are held", ([, call]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* escapesOf("held", call)).found, [])
    })
  )

  it.effect.each(["chmod", "copyFile", "exists", "open", "readFile", "remove", "stat", "writeFile"] as const)(
    "leads %s out where files are only named: the test can see it",
    (name) =>
      Effect.gen(function* () {
        assert.isNotEmpty((yield* escapesOf("named", calls[name])).found)
      })
  )
})
