import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { verifies } from "../conformance/verifies.ts"
import { classes, links } from "./fixtures/hostilePaths.ts"
import * as Sandbox from "./Sandbox.ts"

const all = (places: Parameters<(typeof classes)[number]["paths"]>[0]) =>
  classes.flatMap(({ paths }) => paths(places).filter((path) => path !== ""))

/** The sandbox, and in it what the paths of the corpus are about. */
const planted = <A, E, R>(body: (sandbox: Sandbox.Sandbox) => Effect.Effect<A, E, R>) =>
  Sandbox.inside((sandbox) =>
    Effect.gen(function* () {
      const { host, ws } = sandbox
      for (const name of ["docs/sub", "public/sub", "private", "docs-private"]) {
        yield* host.makeDirectory(`${ws}/${name}`, { recursive: true })
      }
      for (const name of ["docs/ok.txt", "docs/sub/ok.txt", "public/x.txt", "private/p.txt", ".env"]) {
        yield* host.writeFileString(`${ws}/${name}`, "planted")
      }
      yield* host.makeDirectory(`${ws}-private`)
      for (const [name, target] of Object.entries(links(sandbox))) yield* host.symlink(target, `${ws}/docs/${name}`)
      return yield* body(sandbox)
    })
  )

/** Everything below, no link followed. */
const listing = (top: string): ReadonlyArray<string> =>
  Fs.readdirSync(top, { withFileTypes: true }).flatMap((entry) => {
    const path = Path.join(top, entry.name)
    return entry.isDirectory() ? [path, ...listing(path)] : [path]
  })

const lease = (ws: string) => {
  const patterns = [`${ws}/docs/**`, `${ws}/public/*.txt`]
  return { "fs.read": patterns, "fs.write": patterns }
}

describe("The corpus of hostile paths", () => {
  it("has at least 200 of them, all different, each class with its origin", () => {
    const paths = all({ base: "/b", secret: "/b/secret", ws: "/b/ws" })
    assert.isAtLeast(paths.length, 200)
    assert.strictEqual(new Set(paths).size, paths.length)
    assert.strictEqual(new Set(classes.map(({ name }) => name)).size, classes.length)
    for (const { origin } of classes) assert.match(origin, /[A-Z]/)
  })

  it.effect.each(Sandbox.kinds)("leaves what is granted to be used, on %s files", (kind) =>
    planted(({ ws }) =>
      Effect.gen(function* () {
        const fs = yield* Sandbox.leasedOn(kind)(lease(ws))
        assert.strictEqual(yield* fs.readFileString(`${ws}/docs/ok.txt`), "planted")
        yield* fs.writeFileString(`${ws}/public/y.txt`, "new")
        yield* fs.remove(`${ws}/docs/sub/ok.txt`)
      })
    )()
  )
})

describe.each(Sandbox.kinds)("No hostile path is covered, on %s files:", (kind) => {
  for (const { name, paths } of classes) {
    verifies(
      "C-098",
      name,
      planted((sandbox) =>
        Effect.gen(function* () {
          const { host, secret, ws } = sandbox
          const fs = yield* Sandbox.leasedOn(kind)(lease(ws))
          const before = [...listing(secret), ...listing(ws)]
          for (const path of paths(sandbox)) {
            const shown = JSON.stringify(path.slice(0, 100))
            const refused = <A, R>(operation: Parameters<typeof Sandbox.refused<A, R>>[0]) =>
              Sandbox.refused(operation).pipe(Effect.mapError((cause) => new Error(shown, { cause })))
            yield* refused(fs.readFileString(path))
            yield* refused(fs.stat(path))
            yield* refused(fs.exists(path))
            yield* refused(fs.realPath(path))
            yield* refused(fs.readDirectory(path, { recursive: true }))
            yield* refused(fs.writeFileString(path, "escaped"))
            yield* refused(fs.makeDirectory(path, { recursive: true }))
            yield* refused(fs.truncate(path))
            yield* refused(fs.copy(path, `${ws}/docs/copy`))
            yield* refused(fs.copyFile(`${ws}/docs/ok.txt`, path))
            yield* refused(Effect.scoped(fs.open(path, { flag: "a+" })))
            yield* refused(fs.makeTempFile({ directory: path }))
            yield* refused(fs.glob("*", { root: path }).pipe(Effect.tap(() => fs.stat(path))))
          }
          assert.deepStrictEqual([...listing(secret), ...listing(ws)], before)
          assert.strictEqual(yield* host.readFileString(`${secret}/s.txt`), "s")
        })
      )
    )
  }
})
