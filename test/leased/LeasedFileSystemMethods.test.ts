import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, FileSystem, type PlatformError, type Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as LeasedFileSystem from "../../src/leased/LeasedFileSystem.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Sandbox from "./Sandbox.ts"

type Method = Exclude<keyof FileSystem.FileSystem, `~${string}`>

interface Row {
  /** What a lease has to grant; none is enough for a method that is always refused. */
  readonly needs: ReadonlyArray<"fs.read" | "fs.write"> | "refused"
  readonly call: (
    fs: FileSystem.FileSystem,
    ws: string
  ) => Effect.Effect<unknown, PlatformError.PlatformError, Scope.Scope>
}

const read = ["fs.read"] as const
const write = ["fs.write"] as const
const both = ["fs.read", "fs.write"] as const
const bytes = new Uint8Array([1])

/** Every method of the service, with a call that succeeds on the host. A method without a row does not compile. */
const methods: { readonly [M in Method]: Row } = {
  access: { needs: read, call: (fs, ws) => fs.access(`${ws}/a.txt`) },
  chmod: { needs: write, call: (fs, ws) => fs.chmod(`${ws}/a.txt`, 0o600) },
  chown: { needs: "refused", call: (fs, ws) => fs.chown(`${ws}/a.txt`, 0, 0) },
  copy: { needs: both, call: (fs, ws) => fs.copy(`${ws}/sub`, `${ws}/sub2`) },
  copyFile: { needs: both, call: (fs, ws) => fs.copyFile(`${ws}/a.txt`, `${ws}/a2.txt`) },
  exists: { needs: read, call: (fs, ws) => fs.exists(`${ws}/a.txt`) },
  glob: { needs: read, call: (fs, ws) => fs.glob("*.txt", { root: ws }) },
  link: { needs: "refused", call: (fs, ws) => fs.link(`${ws}/a.txt`, `${ws}/hard.txt`) },
  lstat: { needs: read, call: (fs, ws) => fs.lstat(`${ws}/a.txt`) },
  makeDirectory: { needs: write, call: (fs, ws) => fs.makeDirectory(`${ws}/x/y`, { recursive: true }) },
  makeTempDirectory: { needs: write, call: (fs, ws) => fs.makeTempDirectory({ directory: ws }) },
  makeTempDirectoryScoped: { needs: write, call: (fs, ws) => fs.makeTempDirectoryScoped({ directory: ws }) },
  makeTempFile: { needs: write, call: (fs, ws) => fs.makeTempFile({ directory: ws }) },
  makeTempFileScoped: { needs: write, call: (fs, ws) => fs.makeTempFileScoped({ directory: ws }) },
  open: { needs: both, call: (fs, ws) => fs.open(`${ws}/a.txt`, { flag: "r+" }) },
  readDirectory: { needs: read, call: (fs, ws) => fs.readDirectory(ws) },
  readDirectoryEntries: { needs: read, call: (fs, ws) => fs.readDirectoryEntries(ws) },
  readFile: { needs: read, call: (fs, ws) => fs.readFile(`${ws}/a.txt`) },
  readFileString: { needs: read, call: (fs, ws) => fs.readFileString(`${ws}/a.txt`) },
  readLink: { needs: read, call: (fs, ws) => fs.readLink(`${ws}/leak.txt`) },
  realPath: { needs: read, call: (fs, ws) => fs.realPath(`${ws}/a.txt`) },
  remove: { needs: write, call: (fs, ws) => fs.remove(`${ws}/sub`, { recursive: true }) },
  rename: { needs: both, call: (fs, ws) => fs.rename(`${ws}/a.txt`, `${ws}/a2.txt`) },
  sink: { needs: write, call: (fs, ws) => Stream.run(Stream.make(bytes), fs.sink(`${ws}/new.txt`)) },
  stat: { needs: read, call: (fs, ws) => fs.stat(`${ws}/a.txt`) },
  stream: { needs: read, call: (fs, ws) => Stream.runCollect(fs.stream(`${ws}/a.txt`)) },
  symlink: { needs: "refused", call: (fs, ws) => fs.symlink(`${ws}/a.txt`, `${ws}/soft.txt`) },
  truncate: { needs: write, call: (fs, ws) => fs.truncate(`${ws}/a.txt`, 0) },
  utimes: { needs: write, call: (fs, ws) => fs.utimes(`${ws}/a.txt`, 1, 1) },
  watch: {
    needs: read,
    call: (fs, ws) => {
      const ready = Deferred.makeUnsafe<void>()
      const onReady = () => Deferred.doneUnsafe(ready, Effect.void)
      return Stream.runDrain(Stream.interruptWhen(fs.watch(ws, { onReady }), Deferred.await(ready)))
    }
  },
  writeFile: { needs: write, call: (fs, ws) => fs.writeFile(`${ws}/new.txt`, bytes) },
  writeFileString: { needs: write, call: (fs, ws) => fs.writeFileString(`${ws}/new.txt`, "n") }
}

const rows = Object.entries(methods)

/** The host's file system, noting which of its methods are called. */
const watched = (host: FileSystem.FileSystem) => {
  const calls: Array<string> = []
  const raw = new Proxy(host, {
    get: (target, key) => {
      const member: unknown = Reflect.get(target, key)
      if (typeof member !== "function") return member
      return (...args: ReadonlyArray<unknown>): unknown => {
        calls.push(String(key))
        return Reflect.apply(member, target, args)
      }
    }
  })
  return { raw, calls }
}

const namesOf = (fs: FileSystem.FileSystem) =>
  Object.keys(fs)
    .filter((key) => !key.startsWith("~"))
    .toSorted()

/** What resolving links takes; everything else acts. */
const resolving = ["realPath", "lstat", "readLink"]

describe.each(Sandbox.kinds)("each method of the leased file system on %s files", (kind) => {
  const leased = Sandbox.leasedOn(kind)

  it.effect(
    "is listed here, so that one which a later Effect adds is not overlooked",
    Sandbox.inside(({ host }) =>
      Effect.gen(function* () {
        const listed = rows.map(([name]) => name).toSorted()
        assert.deepStrictEqual(namesOf(host), listed)
        assert.deepStrictEqual(namesOf(yield* leased({})), listed)
        assert.deepStrictEqual(namesOf(LeasedFileSystem.refusing), listed)
      })
    )
  )

  it.effect.each(rows)("%s succeeds on the host itself", ([, { call }]) =>
    Sandbox.inside(({ host, ws }) => call(host, ws))()
  )

  verifies(
    "C-096",
    "each is refused by a lease that grants nothing, in its own name, before anything is done",
    Sandbox.inside(({ host, ws }) =>
      Effect.forEach(rows, ([name, { call }]) =>
        Effect.gen(function* () {
          const { raw, calls } = watched(host)
          const { cause, method } = yield* Sandbox.refusal(call(yield* leased({}, { raw }), ws))
          assert.strictEqual(method, name)
          assert.strictEqual(cause._tag, "PermissionDenied")
          assert.deepStrictEqual([name, ...calls.filter((call) => !resolving.includes(call))], [name])
        })
      )
    )
  )

  it.effect.each(rows)("%s is refused when the lease is over", ([name, { call, needs }]) =>
    Sandbox.inside(({ all, host, ws }) =>
      Effect.gen(function* () {
        const { raw, calls } = watched(host)
        const constraints = { expires_at: "1970-01-01T00:00:01Z" }
        const fs = yield* leased(all, { raw, constraints })
        yield* TestClock.adjust("1 second")
        const { cause, method } = yield* Sandbox.refusal(call(fs, ws))
        assert.strictEqual(method, name)
        assert.strictEqual(cause._tag, needs === "refused" ? "PermissionDenied" : "LeaseExpired")
        assert.deepStrictEqual(
          calls.filter((call) => !resolving.includes(call)),
          []
        )
      })
    )()
  )

  it.effect.each(rows)("%s needs exactly the grants that are listed", ([name, { call, needs }]) =>
    Sandbox.inside(({ all, ws }) =>
      Effect.gen(function* () {
        if (needs === "refused") {
          yield* Sandbox.refused(call(yield* leased(all), ws))
          return
        }
        const granted = (capabilities: ReadonlyArray<string>) =>
          leased(Object.fromEntries(capabilities.map((capability) => [capability, [`${ws}/**`]])))
        for (const missing of both) {
          const fs = yield* granted(both.filter((capability) => capability !== missing))
          if (needs.includes(missing)) yield* Sandbox.refused(call(fs, ws))
        }
        yield* call(yield* granted(needs), ws).pipe(
          Effect.mapError((error) => new Error(`${name} failed under ${needs}`, { cause: error }))
        )
      })
    )()
  )

  it.effect(
    "each says so when the host offers no file system",
    Sandbox.inside(({ ws }) =>
      Effect.forEach(rows, ([name, { call }]) =>
        Effect.gen(function* () {
          const { cause, method } = yield* Sandbox.refusal(call(LeasedFileSystem.refusing, ws))
          assert.strictEqual(method, name)
          assert.strictEqual(cause._tag, "PermissionDenied")
          assert.include(cause.message, "the host offers no file system")
        })
      )
    )
  )
})
