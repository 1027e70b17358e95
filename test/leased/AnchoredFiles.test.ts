import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, FileSystem, Option, type PlatformError, Scope, Stream } from "effect"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Sandbox from "./Sandbox.ts"

const { anchored, inside, leased, refused } = Sandbox

/** The directory at this path, held. */
const at = (path: string) =>
  Effect.flatMap(anchored.root, (root) =>
    Effect.map(anchored.walk(root, path.split("/").slice(1)), (way) => {
      assert.strictEqual(way.passed, path.split("/").length - 1)
      return way.anchor
    })
  )

/** What this process holds of what is below `base`. Other tests of the same process hold other things. */
const heldIn = (base: string): ReadonlyArray<string> =>
  Fs.readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const path = Fs.readlinkSync(`/proc/self/fd/${name}`)
      return path.startsWith(base) ? [path] : []
    } catch {
      return []
    }
  })

describe("Anchored files of Node", () => {
  it.effect(
    "lead as far as there are directories, and no link is followed",
    inside(({ host, ws }) =>
      Effect.gen(function* () {
        const directory = yield* at(ws)
        const way = (...names: ReadonlyArray<string>) =>
          Effect.map(anchored.walk(directory, names), ({ anchor, parent, passed }) => [
            passed,
            anchor.type,
            parent?.type
          ])
        assert.deepStrictEqual(yield* way("sub", "b.txt"), [2, "File", "Directory"])
        assert.deepStrictEqual(yield* way("sub", "b.txt", "below"), [2, "File", "Directory"])
        assert.deepStrictEqual(yield* way("sub", "nothing", "below"), [1, "Directory", "Directory"])
        assert.deepStrictEqual(yield* way("nothing"), [0, "Directory", undefined])
        assert.deepStrictEqual(yield* way("out", "s.txt"), [1, "SymbolicLink", "Directory"])
        assert.deepStrictEqual(yield* way(), [0, "Directory", undefined])
        execFileSync("mkfifo", [`${ws}/pipe`])
        assert.deepStrictEqual(yield* way("pipe"), [1, "FIFO", "Directory"])
        // Below a link that is held there is nothing, wherever it leads.
        const link = (yield* anchored.walk(directory, ["out"])).anchor
        yield* Effect.flip(host.stat(`${link.path}/s.txt`))
        yield* Effect.flip(host.makeDirectory(`${link.path}/made`))
      })
    )
  )

  it.effect(
    "stay what they are when their name goes to something else",
    inside(({ host, secret, ws }) =>
      Effect.gen(function* () {
        const file = yield* at(`${ws}/a.txt`)
        const directory = yield* at(`${ws}/sub`)
        yield* host.rename(`${ws}/a.txt`, `${ws}/moved`)
        yield* host.rename(`${ws}/sub`, `${ws}/sub-moved`)
        yield* host.symlink(`${secret}/s.txt`, `${ws}/a.txt`)
        yield* host.symlink(secret, `${ws}/sub`)
        assert.strictEqual(yield* host.readFileString(file.path), "a")
        assert.deepStrictEqual(yield* host.readDirectory(directory.path), ["b.txt"])
        yield* host.remove(`${ws}/moved`)
        assert.strictEqual(yield* host.readFileString(file.path), "a")
      })
    )
  )

  it.effect(
    "take no name that leads elsewhere, and remove entries and not what they lead to",
    inside(({ host, secret, ws }) =>
      Effect.gen(function* () {
        const directory = yield* at(ws)
        for (const name of ["..", ".", "", "sub/b.txt", "../secret/s.txt", "/etc", "a\0b"]) {
          assert.strictEqual((yield* Effect.flip(anchored.walk(directory, [name]))).reason._tag, "BadArgument")
          assert.strictEqual((yield* Effect.flip(anchored.unlink(directory, name))).reason._tag, "BadArgument")
          assert.strictEqual((yield* Effect.flip(anchored.removeDirectory(directory, name))).reason._tag, "BadArgument")
        }
        yield* anchored.unlink(directory, "out")
        yield* anchored.unlink(directory, "leak.txt")
        assert.strictEqual(yield* host.readFileString(`${secret}/s.txt`), "s")
        assert.strictEqual((yield* Effect.flip(anchored.unlink(directory, "out"))).reason._tag, "NotFound")
        assert.strictEqual(
          (yield* Effect.flip(anchored.removeDirectory(directory, "a.txt"))).reason._tag,
          "BadResource"
        )
        yield* Effect.flip(anchored.removeDirectory(directory, "sub"))
        yield* anchored.unlink(yield* at(`${ws}/sub`), "b.txt")
        yield* anchored.removeDirectory(directory, "sub")
      })
    )
  )
})

describe("What a leased operation holds", () => {
  it.effect(
    "is let go when it is done, has failed or was refused",
    inside(({ all, base, host, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        yield* host.makeDirectory(`${ws}/deep${"/x".repeat(60)}`, { recursive: true })
        yield* host.symlink(`deep${"/x".repeat(40)}`, `${ws}/far`)
        const operations = [
          fs.stat(`${ws}/deep${"/x".repeat(60)}`),
          fs.stat(`${ws}/far${"/x".repeat(20)}`),
          fs.stat(`${ws}/nothing`),
          fs.stat(`${ws}/sub/${"x".repeat(300)}`),
          fs.stat(`${ws}/a.txt/below`),
          fs.readFile(`${ws}/out/s.txt`),
          fs.readFile(`${ws}/loop`),
          fs.readFile(`${ws}/sub`),
          fs.readFileString(`${ws}/inner/b.txt`),
          fs.readDirectory(`${ws}/deep`, { recursive: true }),
          fs.copy(`${ws}/deep`, `${ws}/copy`),
          fs.copy(`${ws}/sub`, `${ws}/out/sub`),
          fs.remove(`${ws}/copy`, { recursive: true }),
          fs.makeDirectory(`${ws}/a.txt/x`, { recursive: true }),
          fs.writeFileString(`${ws}/sub/new`, "new", { flag: "wx" }),
          fs.writeFileString(`${ws}/sub/new`, "new", { flag: "wx" }),
          fs.copyFile(`${ws}/a.txt`, `${ws}/nothing/x`),
          fs.rename(`${ws}/sub`, `${ws}/renamed`),
          fs.rename(`${ws}/a.txt`, `${ws}/renamed`),
          Effect.scoped(fs.makeTempFileScoped({ directory: ws })),
          Effect.scoped(fs.open(`${ws}/a.txt`, { flag: "r+" })),
          Stream.runDrain(fs.stream(`${ws}/a.txt`)),
          fs.glob("**", { root: ws })
        ]
        for (const [index, operation] of operations.entries()) {
          yield* Effect.result(operation)
          assert.deepStrictEqual(heldIn(base), [], `operation ${index}`)
        }
      })
    )
  )

  it.effect(
    "is an open file and nothing more until its scope ends, and of a watch what is watched",
    inside(({ all, base, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        const scope = yield* Scope.make()
        yield* Scope.provide(fs.open(`${ws}/sub/b.txt`), scope)
        assert.deepStrictEqual(heldIn(base), [`${ws}/sub/b.txt`])
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(heldIn(base), [])

        const ready = Deferred.makeUnsafe<void>()
        const onReady = () => Deferred.doneUnsafe(ready, Effect.void)
        const watching = yield* Effect.forkChild(Stream.runDrain(fs.watch(`${ws}/sub`, { onReady })))
        yield* Deferred.await(ready)
        assert.sameMembers([...heldIn(base)], [ws, `${ws}/sub`])
        yield* Fiber.interrupt(watching)
        assert.deepStrictEqual(heldIn(base), [])
      })
    )
  )

  it.live(
    "is let go when it is interrupted, wherever it is",
    inside(({ all, base, host, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        const operations = [
          fs.readFile(`${ws}/sub/b.txt`),
          fs.writeFileString(`${ws}/sub/new`, "new"),
          fs.copy(`${ws}/sub`, `${ws}/copy`, { overwrite: true }),
          fs.remove(`${ws}/copy`, { recursive: true, force: true }),
          fs.readDirectory(ws, { recursive: true }),
          Effect.scoped(Effect.andThen(fs.open(`${ws}/a.txt`), Effect.never)),
          Effect.scoped(Effect.andThen(fs.makeTempDirectoryScoped({ directory: ws }), Effect.never)),
          Stream.runDrain(fs.watch(ws))
        ]
        for (const operation of operations) {
          for (let turns = 0; turns < 40; turns++) {
            const fiber = yield* Effect.forkChild(Effect.ignore(operation))
            for (let turn = 0; turn < turns; turn++) {
              yield* Effect.promise(() => new Promise((resume) => setImmediate(resume)))
            }
            yield* Fiber.interrupt(fiber)
          }
        }
        assert.deepStrictEqual(heldIn(base), [])
        assert.strictEqual(yield* host.readFileString(`${ws}/sub/b.txt`), "b")
      })
    )
  )

  it.live(
    "is not let go while the host is still at work on it: its number would stand for something else",
    inside(({ all, base, host, ws }) =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        const slowly = <A, E>(effect: Effect.Effect<A, E>) =>
          Deferred.succeed(begun, undefined).pipe(Effect.andThen(Deferred.await(gate)), Effect.andThen(effect))
        const raw: FileSystem.FileSystem = {
          ...host,
          writeFile: (path, data, options) => slowly(host.writeFile(path, data, options))
        }
        const fs = yield* leased(all, { raw })
        const writing = yield* Effect.forkChild(fs.writeFileString(`${ws}/sub/b.txt`, "written"))
        yield* Deferred.await(begun)
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(writing))
        yield* Effect.repeat(Effect.yieldNow, { times: 20 })
        assert.include(heldIn(base), `${ws}/sub/b.txt`)
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(interrupting)
        assert.deepStrictEqual(heldIn(base), [])
        assert.strictEqual(yield* host.readFileString(`${ws}/sub/b.txt`), "written")
      })
    )
  )

  it.effect(
    "is bounded, however much is asked for at once",
    inside(({ all, base, host, ws }) =>
      Effect.gen(function* () {
        let most = 0
        const raw: FileSystem.FileSystem = {
          ...host,
          stat: (path) =>
            Effect.suspend(() => {
              most = Math.max(most, heldIn(base).length)
              return host.stat(path)
            })
        }
        const fs = yield* leased(all, { raw })
        const asked = Array.from({ length: 500 }, () => fs.stat(`${ws}/sub/b.txt`))
        yield* Effect.all(asked, { concurrency: "unbounded", discard: true })
        assert.isAtMost(most, 32 * 3)
      })
    )
  )
})

describe("A file that is open under a lease", () => {
  it.effect(
    "is one of some hundred, and of what is watched",
    inside(({ all, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        const open = fs.open(`${ws}/a.txt`)
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* Effect.forEach(Array.from({ length: 256 }), () => open)
            assert.include((yield* refused(open)).message, "too many files are open")
            yield* refused(Stream.runDrain(fs.watch(ws)))
            assert.strictEqual(yield* fs.readFileString(`${ws}/a.txt`), "a")
          })
        )
        for (let n = 0; n < 300; n++) yield* Effect.ignore(Effect.scoped(fs.open(`${ws}/nothing`)))
        yield* open
      })
    )
  )

  it.effect(
    "is of no use once its scope has ended: its number may stand for another file",
    inside(({ all, host, secret, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        const file = yield* Effect.scoped(fs.open(`${ws}/a.txt`, { flag: "r+" }))
        // The host opens something else, which gets the lowest number that is free.
        const others = yield* Effect.forEach(Array.from({ length: 8 }), () =>
          host.open(`${secret}/s.txt`, { flag: "r+" })
        )
        const uses: ReadonlyArray<Effect.Effect<unknown, PlatformError.PlatformError>> = [
          file.stat,
          file.sync,
          file.seek(0n, "start"),
          file.read(new Uint8Array(1)),
          file.readAlloc(1),
          file.truncate(0),
          file.write(new Uint8Array(1)),
          file.writeAll(new Uint8Array(1))
        ]
        for (const use of uses) {
          assert.include((yield* Effect.flip(use)).message, "the file is closed")
        }
        assert.strictEqual(Option.getOrThrow(yield* others[0]!.readAlloc(8)).length, 1)
        assert.strictEqual(yield* host.readFileString(`${secret}/s.txt`), "s")
      })
    )
  )

  it.live(
    "is not closed while it is used",
    inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        let isOpen = false
        const raw: FileSystem.FileSystem = {
          ...host,
          open: (path, options) =>
            Effect.gen(function* () {
              const file = yield* host.open(path, options)
              isOpen = true
              yield* Effect.addFinalizer(() => Effect.sync(() => (isOpen = false)))
              const readAlloc: FileSystem.File["readAlloc"] = () =>
                Deferred.succeed(begun, undefined).pipe(
                  Effect.andThen(Deferred.await(gate)),
                  Effect.as(isOpen ? Option.some(new Uint8Array(1)) : Option.none())
                )
              return Object.assign(Object.create(file) as FileSystem.File, { readAlloc })
            })
        }
        const fs = yield* leased(all, { raw })
        const scope = yield* Scope.make()
        const file = yield* Scope.provide(fs.open(`${ws}/a.txt`), scope)
        const reading = yield* Effect.forkChild(file.readAlloc(1))
        yield* Deferred.await(begun)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* Effect.repeat(Effect.yieldNow, { times: 20 })
        assert.isTrue(isOpen)
        yield* Effect.flip(file.stat)
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(closing)
        assert.isFalse(isOpen)
        assert.isTrue(Option.isSome(yield* Fiber.join(reading)))
      })
    )
  )
})

describe("A host that has names only", () => {
  const named = (grants: Parameters<typeof leased>[0], unanchoredWrites?: boolean) =>
    Sandbox.leasedOn("named")(grants, { unanchoredWrites })

  it.effect(
    "reads under any grant, and writes where a pattern names the very place",
    inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        const fs = yield* named({ ...all, "fs.write": [`${ws}/**`, `${ws}/a.txt`, `${ws}/new`] })
        assert.strictEqual(yield* fs.readFileString(`${ws}/sub/b.txt`), "b")
        yield* fs.writeFileString(`${ws}/a.txt`, "changed")
        yield* fs.makeDirectory(`${ws}/new`)
        const writes = {
          writeFile: fs.writeFileString(`${ws}/sub/b.txt`, "changed"),
          remove: fs.remove(`${ws}/sub/b.txt`),
          below: fs.writeFileString(`${ws}/new/below`, "new"),
          access: fs.access(`${ws}/sub/b.txt`, { writable: true }),
          open: Effect.scoped(fs.open(`${ws}/sub/b.txt`, { flag: "a" })),
          rename: fs.rename(`${ws}/a.txt`, `${ws}/sub/a.txt`),
          temporary: fs.makeTempFile({ directory: `${ws}/new` })
        }
        for (const [name, write] of Object.entries(writes)) {
          const { message } = yield* refused<unknown, Scope.Scope>(write)
          assert.include(message, "this host cannot hold files", name)
        }
        assert.strictEqual(yield* host.readFileString(`${ws}/sub/b.txt`), "b")
        assert.deepStrictEqual(yield* host.readDirectory(`${ws}/new`), [])
      })
    )
  )

  it.effect(
    "does not take a file whose name has a star for what a pattern names",
    inside(({ ws }) =>
      Effect.gen(function* () {
        const fs = yield* named({ "fs.write": [`${ws}/*`] })
        yield* refused(fs.writeFileString(`${ws}/*`, "new"))
        yield* refused(fs.writeFileString(`${ws}/a.txt`, "changed"))
      })
    )
  )

  it.effect(
    "writes under all grants where the host says so",
    inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        yield* (yield* named(all, true)).writeFileString(`${ws}/sub/b.txt`, "changed")
        assert.strictEqual(yield* host.readFileString(`${ws}/sub/b.txt`), "changed")
      })
    )
  )

  it.effect("finds nothing where paths are not those of POSIX", () =>
    Effect.gen(function* () {
      const host = yield* FileSystem.FileSystem
      const raw: FileSystem.FileSystem = { ...host, realPath: () => Effect.succeed("C:\\") }
      const fs = yield* Sandbox.leasedOn("named")({ "fs.read": ["/**"] }, { raw })
      yield* refused(fs.stat("/"))
      yield* refused(fs.readFileString(import.meta.filename))
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )
})

describe.each(Sandbox.kinds)("No lease covers, on %s files,", (kind) => {
  const leased = Sandbox.leasedOn(kind)
  const everything = { "fs.read": ["/**"], "fs.write": ["/**"] }

  it.effect(
    "the insides of a process, however they are reached",
    inside(({ host, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(everything)
        yield* host.symlink("/proc/self", `${ws}/self`)
        const paths = [
          "/proc/self/environ",
          "/proc/self/mem",
          "/proc/thread-self/environ",
          `/proc/${process.pid}/environ`,
          `/proc/${process.ppid}/environ`,
          "/proc/self/fd",
          "/dev/fd",
          `${ws}/self/environ`,
          "/proc/self/root/../environ",
          "/proc/1"
        ]
        for (const path of paths) {
          yield* refused(fs.readFile(path))
          yield* refused(fs.stat(path))
          yield* refused(fs.readDirectory(path))
          yield* refused(fs.writeFileString(path, "x"))
        }
        // What is not about a process is a matter of the lease, and a link in there is read as text.
        assert.isAbove((yield* fs.readFileString("/proc/uptime")).length, 0)
        assert.isTrue(yield* fs.exists("/proc/self/root/proc/uptime"))
      })
    )
  )

  it.effect(
    "what is not a text, however it behaves",
    inside(({ all, secret, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        let reads = 0
        const changing = {
          toString: () => (++reads > 2 ? `${secret}/s.txt` : `${ws}/a.txt`),
          startsWith: () => true,
          includes: () => false,
          isWellFormed: () => true,
          split: () => ["", ws.slice(1), "a.txt"],
          length: 8
        }
        const paths = [
          changing,
          new TextEncoder().encode(`${ws}/a.txt`),
          new URL(`file://${ws}/a.txt`),
          [`${ws}/a.txt`],
          0
        ]
        for (const value of paths) {
          const path = value as never
          yield* refused(fs.readFile(path))
          yield* refused(fs.writeFile(path, new Uint8Array(1)))
          yield* refused(fs.makeTempDirectory({ directory: path }))
          yield* refused(fs.makeTempDirectory({ directory: ws, prefix: path }))
          yield* refused(fs.copy(`${ws}/a.txt`, path))
        }
      })
    )
  )

  it.effect(
    "that something is made to run with the rights of its owner",
    inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        yield* host.chmod(`${ws}/sub/b.txt`, 0o4755)
        for (const mode of [0o4755, 0o2755, 0o6000]) {
          yield* refused(fs.chmod(`${ws}/a.txt`, mode))
          yield* refused(fs.writeFileString(`${ws}/new`, "", { mode }))
          yield* refused(fs.makeDirectory(`${ws}/made`, { mode }))
          yield* refused(Effect.scoped(fs.open(`${ws}/new`, { flag: "w", mode })))
          yield* refused(Stream.run(Stream.empty, fs.sink(`${ws}/new`, { mode })))
        }
        yield* refused(fs.copyFile(`${ws}/sub/b.txt`, `${ws}/new`))
        yield* refused(fs.copy(`${ws}/sub/b.txt`, `${ws}/new`))
        yield* refused(fs.copy(`${ws}/sub`, `${ws}/made`))
        assert.isFalse(yield* host.exists(`${ws}/new`))
        // Node would read these as octal numbers.
        for (const mode of ["4755", "0o4755", { valueOf: () => 0o755 }]) {
          yield* refused(fs.chmod(`${ws}/a.txt`, mode as never))
          yield* refused(fs.writeFileString(`${ws}/new`, "", { mode: mode as never }))
        }
        yield* fs.chmod(`${ws}/a.txt`, 0o755)
      })
    )
  )
})

describe.each(Sandbox.kinds)("Copies on %s files", (kind) => {
  const leased = Sandbox.leasedOn(kind)

  it.effect(
    "are as those of the ordinary service",
    inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        yield* host.makeDirectory(`${ws}/from/empty`, { recursive: true })
        yield* host.makeDirectory(`${ws}/from/private`, { mode: 0o700 })
        yield* host.writeFileString(`${ws}/from/private/p`, "p", { mode: 0o640 })
        yield* host.utimes(`${ws}/from/private/p`, 1000, 1000)
        const facts = (top: string) =>
          Effect.forEach(["", "/empty", "/private", "/private/p"], (name) =>
            Effect.map(host.stat(`${top}${name}`), ({ mode, size, type }) => [name, type, mode, String(size)])
          )
        for (const [name, options] of Object.entries({ plain: {}, timed: { preserveTimestamps: true } })) {
          yield* host.copy(`${ws}/from`, `${ws}/host-${name}`, options)
          yield* fs.copy(`${ws}/from`, `${ws}/leased-${name}`, options)
          const [expected, actual] = [yield* facts(`${ws}/host-${name}`), yield* facts(`${ws}/leased-${name}`)]
          assert.deepStrictEqual(
            actual.filter(([, type]) => type === "File"),
            expected.filter(([, type]) => type === "File")
          )
          assert.deepStrictEqual(actual, expected)
        }
        const { mtime } = yield* host.stat(`${ws}/leased-timed/private/p`)
        assert.deepStrictEqual(mtime, Option.some(new Date(1_000_000)))

        // What is there stays, unless it is to be overwritten.
        for (const [service, target] of [
          [host, "host-plain"],
          [fs, "leased-plain"]
        ] as const) {
          yield* host.writeFileString(`${ws}/${target}/private/p`, "other")
          yield* host.writeFileString(`${ws}/${target}/extra`, "extra")
          yield* service.copy(`${ws}/from`, `${ws}/${target}`)
          assert.strictEqual(yield* host.readFileString(`${ws}/${target}/private/p`), "other")
          yield* service.copy(`${ws}/from`, `${ws}/${target}`, { overwrite: true })
          assert.strictEqual(yield* host.readFileString(`${ws}/${target}/private/p`), "p")
          assert.isTrue(yield* host.exists(`${ws}/${target}/extra`))
          yield* Effect.flip(service.copy(`${ws}/from`, `${ws}/from/empty/below`))
          yield* Effect.flip(service.copy(`${ws}/from`, `${ws}/from`))
          yield* Effect.flip(service.copy(`${ws}/from`, `${ws}/${target}/extra`))
          yield* Effect.flip(service.copy(`${ws}/from/private/p`, `${ws}/${target}/empty`))
          yield* Effect.flip(service.copy(`${ws}/nothing`, `${ws}/${target}/nothing`))
          yield* service.copy(`${ws}/from/private/p`, `${ws}/${target}/x/y/p`)
          assert.strictEqual(yield* host.readFileString(`${ws}/${target}/x/y/p`), "p")
        }
      })
    )
  )
})

describe("Errors of the host", () => {
  it.effect(
    "name what the agent named, and keep the host's code",
    inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        yield* host.makeDirectory(`${ws}/full/x`, { recursive: true })
        const fs = yield* leased(all)
        const operations: ReadonlyArray<
          readonly [Effect.Effect<unknown, PlatformError.PlatformError, Scope.Scope>, string]
        > = [
          [fs.readFile(`${ws}/sub`), "EISDIR"],
          [fs.rename(`${ws}/sub`, `${ws}/full`), "ENOTEMPTY"],
          [fs.open(`${ws}/inner/../sub/b.txt`, { flag: "wx" }), "EEXIST"],
          [fs.readDirectory(`${ws}/a.txt`), "ENOTDIR"]
        ]
        for (const [operation, code] of operations) {
          const { reason } = yield* Effect.flip(operation)
          assert(reason._tag !== "BadArgument" && reason.cause instanceof Error)
          assert.include(reason.pathOrDescriptor, ws)
          assert.strictEqual(Reflect.get(reason.cause, "code"), code)
          assert.notInclude(`${reason.message} ${reason.cause.message} ${JSON.stringify(reason.cause)}`, "/proc/")
        }
      })
    )
  )
})

describe("A watch of a held file", () => {
  it.live(
    "tells its name, and whether it is still there",
    inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        const ready = Deferred.makeUnsafe<void>()
        const onReady = () => Deferred.doneUnsafe(ready, Effect.void)
        const watching = yield* Effect.forkChild(
          fs.watch(`${ws}/a.txt`, { onReady }).pipe(
            Stream.takeUntil(({ _tag }) => _tag === "Remove"),
            Stream.runCollect
          )
        )
        yield* Deferred.await(ready)
        yield* host.writeFileString(`${ws}/a.txt`, "changed")
        yield* host.remove(`${ws}/a.txt`)
        const events = yield* Fiber.join(watching).pipe(Effect.timeout("10 seconds"))
        assert.deepStrictEqual([...new Set(events.map(({ path }) => path))], ["a.txt"])
        assert.strictEqual(events[0]?._tag, "Update")
      })
    )
  )
})
