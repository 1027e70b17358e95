import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, FileSystem, Layer, type PlatformError, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeasedFileSystem from "../../src/leased/LeasedFileSystem.ts"
import * as LeasedServices from "../../src/leased/LeasedServices.ts"
import { verifies } from "../conformance/verifies.ts"
import * as FakeJob from "./FakeJob.ts"
import * as Sandbox from "./Sandbox.ts"

const { inside, refusal, refused } = Sandbox

describe.each(Sandbox.kinds)("LeasedFileSystem on %s files", (kind) => {
  const leased = Sandbox.leasedOn(kind)

  it.effect(
    "reads and writes what is granted, like the ordinary service",
    inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(all)
        assert.strictEqual(yield* fs.readFileString(`${ws}/a.txt`), "a")
        yield* fs.makeDirectory(`${ws}/x/y`, { recursive: true })
        yield* fs.writeFileString(`${ws}/x/y/n.txt`, "new")
        assert.strictEqual(yield* host.readFileString(`${ws}/x/y/n.txt`), "new")
        assert.isTrue(yield* fs.exists(`${ws}/x/y/n.txt`))
        assert.isFalse(yield* fs.exists(`${ws}/x/z`))
        const missing = yield* Effect.flip(fs.readFile(`${ws}/x/z`))
        assert.strictEqual(missing.reason._tag, "NotFound")
        const misplaced = yield* Effect.flip(fs.stat(`${ws}/a.txt/below`))
        assert.strictEqual(misplaced.reason._tag, "BadResource")
        assert.sameMembers(yield* fs.glob("**/*.txt", { root: ws }), ["a.txt", "leak.txt", "sub/b.txt", "x/y/n.txt"])
      })
    )
  )

  verifies(
    "C-096",
    "what is not granted is refused with the error of the protocol, and stays as it is",
    inside(({ host, read, secret, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(read)
        const { cause, method, path } = yield* refusal(fs.readFile(`${secret}/s.txt`))
        assert.deepStrictEqual([method, path], ["readFile", `${secret}/s.txt`])
        assert.deepStrictEqual(cause.details, { capability: "fs.read", target: `${secret}/s.txt` })
        yield* refused(fs.writeFileString(`${ws}/a.txt`, "changed"))
        yield* refused(fs.remove(`${ws}/a.txt`))
        yield* refused(fs.access(`${ws}/a.txt`, { writable: true }))
        assert.strictEqual(yield* host.readFileString(`${ws}/a.txt`), "a")
      })
    )
  )

  it.effect(
    "answers alike whether or not something is there, and never says where a path leads",
    inside(({ read, secret, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(read)
        const answer = (path: string) =>
          Effect.map(refusal(fs.exists(path)), ({ cause }) => cause.message.replaceAll(path, "PATH"))
        assert.strictEqual(yield* answer(`${secret}/s.txt`), yield* answer(`${secret}/nothing`))
        const behind = yield* answer(`${ws}/out/s.txt`)
        for (const path of ["out/nothing", "out/s.txt/below", "out", "leak.txt", "dangling", "loop", "loop/x"]) {
          assert.strictEqual(yield* answer(`${ws}/${path}`), behind)
        }
        assert.notInclude(behind, "secret")
      })
    )
  )

  verifies(
    "C-098",
    "no spelling of a path reaches beyond the lease",
    inside(({ base, read, secret, ws }) =>
      Effect.gen(function* () {
        const fs = yield* leased(read)
        const spellings = [
          `${ws}/../secret/s.txt`,
          `${ws}/sub/../../secret/s.txt`,
          `${ws}//..//secret/./s.txt`,
          `${ws}/./../secret/s.txt/`,
          `${ws}/nothing/../../secret/s.txt`,
          `${ws}/inner/../../secret/s.txt`,
          `/../../${secret}/s.txt`,
          `${ws}/a.txt\0/../../secret/s.txt`,
          `${ws}\\..\\secret\\s.txt`,
          `${ws}/${"x/".repeat(2000)}${"../".repeat(2001)}secret/s.txt`,
          `${ws}/${"x".repeat(300)}`,
          `${ws}/\ud800`,
          `${base}/WS/a.txt`,
          `file://${ws}/a.txt`,
          "~/a.txt",
          "a.txt",
          "",
          "."
        ]
        for (const path of spellings) {
          yield* refused(fs.readFileString(path))
          yield* refused(fs.exists(path))
        }
        for (const path of [`${ws}//a.txt`, `//${ws}/./a.txt/`, `${ws}/sub/../a.txt`, `${secret}/../ws/a.txt`]) {
          assert.strictEqual(yield* fs.readFileString(path), "a")
        }
      })
    )
  )

  it.effect(
    "resolves '..' in the text, so that it cannot climb out through a link",
    inside(({ host, read, secret, ws }) =>
      Effect.gen(function* () {
        // To the host this is secret/../x.txt; to the lease it is ws/x.txt, and that is what is read.
        yield* host.writeFileString(`${secret}/../x.txt`, "beside")
        yield* host.writeFileString(`${ws}/x.txt`, "within")
        assert.strictEqual(yield* host.readFileString(`${ws}/out/../x.txt`), "beside")
        assert.strictEqual(yield* (yield* leased(read)).readFileString(`${ws}/out/../x.txt`), "within")
      })
    )
  )

  describe("links", () => {
    verifies(
      "C-098",
      "that lead out of the lease are followed by no method",
      inside(({ all, host, secret, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          for (const path of ["leak.txt", "chain1", "chain2", "out/s.txt", "out", "dangling", "loop", "loop/x"]) {
            const at = `${ws}/${path}`
            yield* refused(fs.readFile(at))
            yield* refused(fs.stat(at))
            yield* refused(fs.realPath(at))
            yield* refused(fs.readDirectory(at))
            yield* refused(fs.writeFileString(at, "changed"))
            yield* refused(fs.truncate(at))
            yield* refused(fs.chmod(at, 0o777))
            yield* refused(fs.open(at, { flag: "a" }))
            yield* refused(fs.copyFile(`${ws}/a.txt`, at))
            yield* refused(fs.copyFile(at, `${ws}/copy.txt`))
          }
          yield* refused(fs.writeFileString(`${ws}/out/new.txt`, "new"))
          yield* refused(fs.makeDirectory(`${ws}/out/x/y`, { recursive: true }))
          yield* refused(fs.remove(`${ws}/out/s.txt`))
          yield* refused(fs.rename(`${ws}/a.txt`, `${ws}/out/a.txt`))
          yield* refused(fs.rename(`${ws}/out/s.txt`, `${ws}/s.txt`))
          yield* refused(fs.glob("*", { root: `${ws}/out` }))
          assert.sameMembers(yield* host.readDirectory(secret), ["s.txt", "deep"])
          assert.strictEqual(yield* host.readFileString(`${secret}/s.txt`), "s")
        })
      )
    )

    it.effect(
      "that stay within the lease are followed",
      inside(({ all, base, host, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          assert.strictEqual(yield* fs.readFileString(`${ws}/inner/b.txt`), "b")
          yield* fs.writeFileString(`${ws}/inner/n.txt`, "n")
          yield* fs.writeFileString(`${base}/alias/inner/m.txt`, "m")
          assert.sameMembers(yield* host.readDirectory(`${ws}/sub`), ["b.txt", "m.txt", "n.txt"])
          assert.strictEqual(yield* fs.realPath(`${base}/alias/inner`), `${ws}/sub`)
        })
      )
    )

    it.effect(
      "that lead nowhere are followed by no method, also if it is a place that is granted",
      inside(({ all, host, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          yield* host.symlink("sub/new", `${ws}/lost`)
          yield* host.symlink("lost", `${ws}/lost-too`)
          for (const path of ["lost", "lost-too", "lost/x"]) {
            yield* refused(fs.writeFileString(`${ws}/${path}`, "new"))
            yield* refused(fs.makeDirectory(`${ws}/${path}`, { recursive: true }))
            yield* refused(fs.exists(`${ws}/${path}`))
          }
          assert.deepStrictEqual(yield* host.readDirectory(`${ws}/sub`), ["b.txt"])
          yield* fs.remove(`${ws}/lost`)
        })
      )
    )

    it.effect(
      "that appear after the grant are seen",
      inside(({ all, host, secret, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          assert.strictEqual(yield* fs.readFileString(`${ws}/sub/b.txt`), "b")
          yield* host.writeFileString(`${secret}/b.txt`, "not b")
          yield* host.remove(`${ws}/sub`, { recursive: true })
          yield* host.symlink(secret, `${ws}/sub`)
          yield* refused(fs.readFileString(`${ws}/sub/b.txt`))
          yield* refused(fs.writeFileString(`${ws}/sub/c.txt`, "c"))
        })
      )
    )

    it.effect(
      "are themselves what is looked at, removed and never followed by the methods that are about entries",
      inside(({ all, host, read, secret, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          assert.strictEqual((yield* fs.lstat(`${ws}/out`)).type, "SymbolicLink")
          assert.strictEqual(yield* fs.readLink(`${ws}/dangling`), "../secret/new.txt")
          yield* refused((yield* leased(read)).remove(`${ws}/out`))
          yield* fs.remove(`${ws}/dangling`)
          yield* fs.remove(`${ws}/out`, { recursive: true })
          assert.isFalse(yield* host.exists(`${ws}/out`))
          assert.isTrue(yield* host.exists(`${secret}/s.txt`))
        })
      )
    )

    it.effect(
      "are neither made, nor moved, nor written over by a move through them",
      inside(({ all, host, secret, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          yield* refused(fs.symlink(`${ws}/a.txt`, `${ws}/s`))
          yield* refused(fs.symlink(secret, `${ws}/s`))
          yield* refused(fs.link(`${ws}/a.txt`, `${ws}/h`))
          yield* refused(fs.link(`${secret}/s.txt`, `${ws}/h`))
          yield* refused(fs.rename(`${ws}/out`, `${ws}/sub/out`))
          // A move replaces the link itself.
          yield* fs.rename(`${ws}/a.txt`, `${ws}/leak.txt`)
          assert.strictEqual(yield* host.readLink(`${ws}/chain2`), "leak.txt")
          assert.strictEqual((yield* host.lstat(`${ws}/leak.txt`)).type, "File")
          assert.strictEqual(yield* host.readFileString(`${secret}/s.txt`), "s")
        })
      )
    )

    it.effect(
      "that are hard are the file itself: the lease covers what is under its names",
      inside(({ host, read, secret, ws }) =>
        Effect.gen(function* () {
          yield* host.link(`${secret}/s.txt`, `${ws}/hard.txt`)
          assert.strictEqual(yield* (yield* leased(read)).readFileString(`${ws}/hard.txt`), "s")
        })
      )
    )
  })

  describe("relative paths", () => {
    it.effect(
      "start at the root that the host gives, and leave it only by grant",
      inside(({ read, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(read, { root: `${ws}/sub` })
          assert.strictEqual(yield* fs.readFileString("b.txt"), "b")
          assert.strictEqual(yield* fs.readFileString("./../a.txt"), "a")
          assert.strictEqual(yield* fs.readFileString(`${ws}/a.txt`), "a")
          assert.deepStrictEqual(yield* fs.glob("*.txt"), ["b.txt"])
          yield* refused(fs.readFileString("../../secret/s.txt"))
          yield* refused(fs.readFileString("../out/s.txt"))
          yield* refused(fs.readFileString("b.txt\0"))
          yield* refused(fs.readFileString(""))
        })
      )
    )

    it.effect(
      "are refused without one, or with one that is relative itself",
      inside(({ read }) =>
        Effect.gen(function* () {
          for (const root of [undefined, "ws"]) {
            const fs = yield* leased(read, { root })
            const cause = yield* refused(fs.readFileString("a.txt"))
            assert.include(cause.message, "a path is absolute")
            yield* refused(fs.glob("*.txt"))
          }
        })
      )
    )
  })

  describe("whole trees", () => {
    it.effect(
      "are listed without following a link, and only as far as all of it is granted",
      inside(({ read, ws }) =>
        Effect.gen(function* () {
          const names = yield* (yield* leased(read)).readDirectory(ws, { recursive: true })
          assert.sameMembers(names, [
            "a.txt",
            "chain1",
            "chain2",
            "dangling",
            "inner",
            "leak.txt",
            "loop",
            "out",
            "sub",
            "sub/b.txt"
          ])
          const shallow = yield* leased({ "fs.read": [ws] })
          assert.include(yield* shallow.readDirectory(ws), "sub")
          yield* refused(shallow.readDirectory(ws, { recursive: true }))
          const file = yield* Effect.flip((yield* leased(read)).readDirectory(`${ws}/a.txt`, { recursive: true }))
          assert.strictEqual(file.reason._tag, "BadResource")
        })
      )
    )

    it.effect(
      "are removed whole or not at all",
      inside(({ all, host, secret, ws }) =>
        Effect.gen(function* () {
          const shallow = yield* leased({ "fs.write": [ws, `${ws}/*`] })
          yield* refused(shallow.remove(`${ws}/sub`, { recursive: true }))
          assert.isTrue(yield* host.exists(`${ws}/sub/b.txt`))
          yield* host.symlink("../../secret", `${ws}/sub/out`)
          const fs = yield* leased(all)
          yield* fs.remove(`${ws}/sub`, { recursive: true })
          assert.isFalse(yield* host.exists(`${ws}/sub`))
          assert.isTrue(yield* host.exists(`${secret}/s.txt`))
          yield* fs.remove(`${ws}/nothing`, { recursive: true, force: true })
        })
      )
    )

    it.effect(
      "are copied and moved if they hold files and directories only, and each place is granted",
      inside(({ all, host, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          yield* fs.copy(`${ws}/sub`, `${ws}/x/y`)
          assert.strictEqual(yield* host.readFileString(`${ws}/x/y/b.txt`), "b")
          yield* fs.rename(`${ws}/x`, `${ws}/z`)
          assert.deepStrictEqual(yield* host.readDirectory(`${ws}/z`, { recursive: true }), ["y", "y/b.txt"])

          yield* host.symlink("b.txt", `${ws}/sub/soft`)
          yield* refused(fs.copy(`${ws}/sub`, `${ws}/copy`))
          yield* refused(fs.rename(`${ws}/sub`, `${ws}/moved`))
          yield* refused(fs.copy(ws, `${ws}/copy`))
          assert.isFalse(yield* host.exists(`${ws}/copy`))

          const top = yield* leased({ ...all, "fs.read": [`${ws}/*`] })
          yield* refused(top.copy(`${ws}/z`, `${ws}/copy`))
          assert.isFalse(yield* host.exists(`${ws}/copy`))
          const shallow = yield* leased({ ...all, "fs.write": [`${ws}/*`] })
          yield* refused(shallow.copy(`${ws}/z`, `${ws}/copy`))
          yield* refused(shallow.rename(`${ws}/z`, `${ws}/moved`))
          yield* refused(shallow.makeDirectory(`${ws}/p/q`, { recursive: true }))
          const deep = yield* leased({ ...all, "fs.write": [`${ws}/p/q/**`] })
          yield* refused(deep.makeDirectory(`${ws}/p/q`, { recursive: true }))
          yield* refused(deep.copy(`${ws}/z`, `${ws}/p/q`))
          assert.isFalse(yield* host.exists(`${ws}/p`))
        })
      )
    )

    it.effect(
      "are not copied over a link that leads elsewhere",
      inside(({ all, host, secret, ws }) =>
        Effect.gen(function* () {
          yield* host.makeDirectory(`${ws}/target`)
          yield* host.symlink("../../secret/s.txt", `${ws}/target/b.txt`)
          const fs = yield* leased(all)
          yield* refused(fs.copy(`${ws}/sub`, `${ws}/target`, { overwrite: true }))
          assert.strictEqual(yield* host.readFileString(`${secret}/s.txt`), "s")
        })
      )
    )

    it.effect(
      "are not read by moving them from where only writing is granted",
      inside(({ all, host, secret, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased({ ...all, "fs.write": [`${ws}/**`, `${secret}/**`] })
          yield* refused(fs.rename(`${secret}/s.txt`, `${ws}/s.txt`))
          assert.isTrue(yield* host.exists(`${secret}/s.txt`))
        })
      )
    )

    it.effect(
      "are searched only where reading is granted",
      inside(({ host, ws }) =>
        Effect.gen(function* () {
          yield* host.makeDirectory(`${ws}/private`)
          yield* host.writeFileString(`${ws}/private/p.txt`, "p")
          const fs = yield* leased({ "fs.read": [ws, `${ws}/sub`] })
          assert.deepStrictEqual(yield* fs.glob("*/*.txt", { root: ws }), ["inner/b.txt", "sub/b.txt"])
          yield* refused(fs.glob("private/*", { root: ws }))
          yield* refused(fs.glob("../secret/*", { root: ws }))
          yield* refused(fs.glob(`${ws}/../secret/*`))
        })
      )
    )

    it.effect(
      "are not watched",
      inside(({ read, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(read)
          yield* refused(Stream.runDrain(fs.watch(ws, { recursive: true })))
          yield* refused(Stream.runDrain(fs.watch(`${ws}/out`)))
        })
      )
    )
  })

  describe("open", () => {
    const flags = {
      r: ["fs.read"],
      "r+": ["fs.read", "fs.write"],
      w: ["fs.write"],
      wx: ["fs.write"],
      "w+": ["fs.read", "fs.write"],
      "wx+": ["fs.read", "fs.write"],
      a: ["fs.write"],
      ax: ["fs.write"],
      "a+": ["fs.read", "fs.write"],
      "ax+": ["fs.read", "fs.write"]
    } satisfies Record<FileSystem.OpenFlag, ReadonlyArray<string>>
    const isFlag = (flag: string): flag is FileSystem.OpenFlag => flag in flags

    it.effect.each(Object.keys(flags).filter(isFlag))("with %s needs what the flag allows", (flag) =>
      inside(({ host, ws }) =>
        Effect.gen(function* () {
          const path = flag.includes("x") ? `${ws}/new.txt` : `${ws}/a.txt`
          const needs: ReadonlyArray<string> = flags[flag]
          for (const granted of [["fs.read"], ["fs.write"], ["fs.read", "fs.write"]]) {
            const fs = yield* leased(Object.fromEntries(granted.map((capability) => [capability, [`${ws}/**`]])))
            const opened = Effect.scoped(fs.open(path, { flag }))
            if (needs.every((capability) => granted.includes(capability))) yield* opened
            else yield* refused(opened)
            yield* host.remove(`${ws}/new.txt`, { force: true })
          }
        })
      )()
    )

    it.effect(
      "does not take a link for the file when it is told not to follow",
      inside(({ all, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          const error = yield* Effect.flip(fs.open(`${ws}/inner`, { noFollow: true }))
          assert.strictEqual(error.reason._tag, "BadResource")
          yield* fs.open(`${ws}/inner/b.txt`, { noFollow: true })
          yield* refused(fs.open(`${ws}/out/s.txt`, { noFollow: true }))
        })
      )
    )

    it.effect(
      "gives a file that tells nothing which only a reader may know",
      inside(({ ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased({ "fs.write": [`${ws}/**`] })
          const file = yield* fs.open(`${ws}/a.txt`, { flag: "a" })
          yield* refused(file.stat)
          yield* file.writeAll(new Uint8Array([1]))
          yield* file.sync
        })
      )
    )
  })

  describe("expiry", () => {
    const constraints = { expires_at: "1970-01-01T00:00:10Z" }

    it.effect(
      "ends every use of an open file",
      inside(({ all, host, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all, { constraints })
          const file = yield* fs.open(`${ws}/a.txt`, { flag: "r+" })
          const uses: {
            readonly [M in Exclude<keyof FileSystem.File, `~${string}`>]: Effect.Effect<
              unknown,
              PlatformError.PlatformError
            >
          } = {
            stat: file.stat,
            seek: file.seek(0n, "start"),
            read: file.read(new Uint8Array(1)),
            readAlloc: file.readAlloc(1),
            write: file.write(new Uint8Array([98])),
            writeAll: file.writeAll(new Uint8Array([99])),
            truncate: file.truncate(1),
            sync: file.sync
          }
          assert.sameMembers(
            Object.keys(file).filter((key) => !key.startsWith("~")),
            Object.keys(uses)
          )
          assert.sameMembers(membersOf(yield* host.open(`${ws}/a.txt`)), Object.keys(uses))
          yield* TestClock.adjust(9_999)
          for (const use of Object.values(uses)) yield* use
          const before = yield* host.readFileString(`${ws}/a.txt`)
          yield* TestClock.adjust(1)
          for (const [name, use] of Object.entries(uses)) {
            const { cause, method } = yield* refusal(use)
            assert.deepStrictEqual([cause._tag, method], ["LeaseExpired", name])
          }
          assert.strictEqual(yield* host.readFileString(`${ws}/a.txt`), before)
        })
      )
    )

    it.effect(
      "stops a stream between two chunks",
      inside(({ read, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(read, { constraints })
          const seen: Array<number> = []
          const { cause, method } = yield* fs.stream(`${ws}/../ws/a.txt`).pipe(
            Stream.concat(fs.stream(`${ws}/sub/b.txt`, { chunkSize: 1 })),
            Stream.tap((chunk) => Effect.sync(() => seen.push(...chunk))),
            Stream.tap(() => TestClock.adjust("10 seconds")),
            Stream.runDrain,
            refusal
          )
          assert.deepStrictEqual([cause._tag, method], ["LeaseExpired", "stream"])
          assert.deepStrictEqual(seen, ["a".charCodeAt(0)])
        })
      )
    )

    it.effect(
      "stops a sink between two writes",
      inside(({ all, host, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all, { constraints })
          const { cause } = yield* Stream.make("1", "2").pipe(
            Stream.rechunk(1),
            Stream.tap((text) => (text === "2" ? TestClock.adjust("10 seconds") : Effect.void)),
            Stream.encodeText,
            Stream.run(fs.sink(`${ws}/new.txt`)),
            refusal
          )
          assert.strictEqual(cause._tag, "LeaseExpired")
          assert.strictEqual(yield* host.readFileString(`${ws}/new.txt`), "1")
        })
      )
    )

    it.effect(
      "ends a search instead of shortening what it finds",
      inside(({ host, read, ws }) =>
        Effect.gen(function* () {
          const raw: FileSystem.FileSystem = {
            ...host,
            readDirectoryEntries: (path) =>
              Effect.tap(host.readDirectoryEntries(path), () => TestClock.adjust("10 seconds"))
          }
          const { cause } = yield* refusal((yield* leased(read, { raw, constraints })).glob("**", { root: ws }))
          assert.strictEqual(cause._tag, "LeaseExpired")
        })
      )
    )

    it.effect(
      "ends a watch at its next event",
      inside(({ host, read, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(read, { constraints })
          const ready = Deferred.makeUnsafe<void>()
          const onReady = () => Deferred.doneUnsafe(ready, Effect.void)
          const watching = yield* Effect.forkChild(refusal(Stream.runDrain(fs.watch(ws, { onReady }))))
          yield* Deferred.await(ready)
          yield* TestClock.adjust("10 seconds")
          yield* host.writeFileString(`${ws}/a.txt`, "changed")
          assert.strictEqual((yield* Fiber.join(watching)).cause._tag, "LeaseExpired")
        })
      )
    )
  })

  describe("temporary files", () => {
    it.effect(
      "are made only in a directory that is given and granted, under a name in it",
      inside(({ all, secret, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          for (const make of [fs.makeTempDirectory, fs.makeTempFile]) {
            assert.match(yield* make({ directory: `${ws}/inner` }), new RegExp(`^${ws}/sub/`))
            yield* refused(make())
            yield* refused(make({ prefix: "p" }))
            yield* refused(make({ directory: secret }))
            yield* refused(make({ directory: `${ws}/out` }))
            yield* refused(make({ directory: ws, prefix: "../../secret/" }))
            yield* refused(make({ directory: ws, prefix: "out/" }))
          }
          for (const suffix of ["/../../../secret/t", "/../../t", "/t"]) {
            yield* refused(fs.makeTempFile({ directory: ws, suffix }))
          }
          assert.match(yield* fs.makeTempFile({ directory: ws, prefix: "p", suffix: ".txt" }), /\/p[^/]+\/[^/]+\.txt$/)
          const shallow = yield* leased({ "fs.write": [ws] })
          yield* refused(shallow.makeTempDirectory({ directory: ws }))
        })
      )
    )

    it.effect(
      "that are scoped are gone with their scope, also when the lease is over by then",
      inside(({ all, host, ws }) =>
        Effect.gen(function* () {
          const before = yield* host.readDirectory(ws)
          const fs = yield* leased(all, { constraints: { expires_at: "1970-01-01T00:00:10Z" } })
          const scope = yield* Scope.make()
          const made = [
            yield* Scope.provide(fs.makeTempDirectoryScoped({ directory: ws }), scope),
            yield* Scope.provide(fs.makeTempFileScoped({ directory: ws }), scope)
          ]
          for (const path of made) assert.isTrue(yield* host.exists(path))
          yield* TestClock.adjust("10 seconds")
          yield* Scope.close(scope, Exit.void)
          assert.sameMembers(yield* host.readDirectory(ws), before)
        })
      )
    )

    it.effect(
      "that are scoped are what was made, and not what has their name by then",
      inside(({ all, host, secret, ws }) =>
        Effect.gen(function* () {
          const fs = yield* leased(all)
          const scope = yield* Scope.make()
          const [other, link] = [
            yield* Scope.provide(fs.makeTempDirectoryScoped({ directory: ws }), scope),
            yield* Scope.provide(fs.makeTempDirectoryScoped({ directory: ws }), scope)
          ]
          // Moved and not removed: what is new could get the number of what is gone.
          for (const path of [other, link]) yield* host.rename(path, `${path}-away`)
          yield* host.makeDirectory(other)
          yield* host.writeFileString(`${other}/kept`, "kept")
          yield* host.symlink(secret, link)
          yield* Scope.close(scope, Exit.void)
          assert.strictEqual(yield* host.readFileString(`${other}/kept`), "kept")
          assert.strictEqual(yield* host.readFileString(`${secret}/s.txt`), "s")
        })
      )
    )

    it.effect(
      "leave nothing behind when they cannot be made",
      inside(({ host, ws }) =>
        Effect.gen(function* () {
          const before = yield* host.readDirectory(ws)
          const shallow = yield* leased({ "fs.write": [ws, `${ws}/*`] })
          yield* refused(shallow.makeTempFile({ directory: ws }))
          assert.sameMembers(yield* host.readDirectory(ws), before)
        })
      )
    )
  })
})

/** What callers find in a file of the host, so that a member which a later Effect adds is not overlooked. */
const membersOf = (file: FileSystem.File): Array<string> => {
  const own = ["constructor", "writeAllChunk"]
  return Object.getOwnPropertyNames(Object.getPrototypeOf(file)).filter((name) => !own.includes(name))
}

describe("LeasedServices", () => {
  const guardOf = (grants: Lease.Lease["grants"]) =>
    Effect.flatMap(Effect.fromResult(Lease.make(grants, {}, 0)), LeaseGuard.make)

  it.effect(
    "give each job the host's file system under its own lease",
    inside(({ host, read, ws }) =>
      Effect.gen(function* () {
        const forJob = yield* LeasedServices.forJob
        const granted = Context.get(forJob(FakeJob.make(yield* guardOf(read))), FileSystem.FileSystem)
        const other = Context.get(forJob(FakeJob.make(yield* guardOf({}))), FileSystem.FileSystem)
        assert.strictEqual(yield* granted.readFileString("a.txt"), "a")
        yield* refused(other.readFileString("a.txt"))
      }).pipe(
        Effect.provide(
          LeasedFileSystem.layer({ root: ws }).pipe(Layer.provide(Layer.succeed(FileSystem.FileSystem, host)))
        )
      )
    )
  )

  it.effect(
    "refuse where the host offers nothing, whatever the application around has",
    inside(({ read, ws }) =>
      Effect.gen(function* () {
        const forJob = yield* LeasedServices.forJob
        for (const services of [forJob(FakeJob.make(yield* guardOf(read))), LeasedServices.refusing]) {
          const cause = yield* FileSystem.FileSystem.use((fs) => fs.readFileString(`${ws}/a.txt`)).pipe(
            Effect.provideContext(services),
            refused
          )
          assert.include(cause.message, "the host offers no file system")
        }
      })
    )
  )
})
