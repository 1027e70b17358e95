import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Path } from "effect"
import { audit, citations } from "./coverage.ts"
import type { Requirement } from "./requirements.ts"
import { requirements } from "./requirements.ts"
import { lookup, title } from "./verifies.ts"

const row = (id: string, more?: Partial<Requirement>): Requirement => ({
  id,
  section: "§5",
  level: "MUST",
  role: "R",
  text: "something holds",
  ...more
})

const cite = (...ids: ReadonlyArray<string>) => ids.map((id) => ({ id, file: "A.test.ts" }))

describe("conformance coverage", () => {
  it.effect("each requirement is cited by a test or deferred with a reason, never both", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const root = yield* path.fromFileUrl(new URL("..", import.meta.url))
      const files = (yield* fs.readDirectory(root, { recursive: true })).filter((file) => file.endsWith(".test.ts"))
      assert.include(files, path.join("conformance", "Coverage.test.ts"))

      const cited = yield* Effect.forEach(files, (file) =>
        Effect.map(fs.readFileString(path.join(root, file)), (source) => citations(file, source))
      )
      assert.deepStrictEqual(audit(requirements, cited.flat()), [])
    }).pipe(Effect.provide(NodeServices.layer))
  )

  it("reads the ids of both forms of a call, over lines, and those of live tests", () => {
    const source = [
      `verifies("C-001", "one", () => body)`,
      `verifies.live(["C-002", "C-003"], "two", () => body)`,
      `verifies(`,
      `  [`,
      `    "C-004",`,
      `    "C-104b"`,
      `  ],`,
      `  "three",`,
      `  () => body`,
      `)`
    ].join("\n")
    assert.deepStrictEqual(citations("A.test.ts", source), cite("C-001", "C-002", "C-003", "C-004", "C-104b"))
  })

  it("takes no id from a comment, a string, or another argument", () => {
    const source = [
      `// verifies("C-001", "spoken of", () => body)`,
      `/* verifies("C-002", "switched off", () => body) */`,
      'const text = `verifies("C-003", ...)`',
      `const other = 'verifies("C-004")'`,
      `verifies("C-005", "not C-006, nor \\"C-007\\"", () => ["C-008"])`,
      `const url = "ws://host"; verifies("C-009", "on the line of a URL", () => body)`
    ].join("\n")
    assert.deepStrictEqual(citations("A.test.ts", source), cite("C-005", "C-009"))
  })

  it("says so when an id is not written as a literal", () => {
    assert.deepStrictEqual(audit([], citations("A.test.ts", 'verifies(id, "computed", () => body)')), [
      "a citation in A.test.ts is not a literal id"
    ])
  })

  it("accepts books that are in order", () => {
    assert.deepStrictEqual(audit([row("C-001"), row("C-002", { deferred: "later" })], cite("C-001", "C-001")), [])
  })

  it("names what is uncovered, covered and deferred at once, unknown, repeated, or empty", () => {
    assert.deepStrictEqual(audit([row("C-001")], []), [
      "C-001 is neither cited by a test nor deferred: something holds"
    ])
    assert.deepStrictEqual(audit([row("C-001", { deferred: "later" })], cite("C-001")), [
      "C-001 is deferred and yet cited in A.test.ts"
    ])
    assert.deepStrictEqual(audit([], cite("C-001")), ["C-001, cited in A.test.ts, is no requirement"])
    assert.deepStrictEqual(audit([row("C-001"), row("C-001")], cite("C-001")), [
      "C-001 is listed more than once",
      "C-001 is listed more than once"
    ])
    assert.deepStrictEqual(audit([row("C-001", { text: " " })], cite("C-001")), ["C-001 has no text"])
    assert.deepStrictEqual(audit([row("C-001", { deferred: "" })], []), ["C-001 is deferred without a reason"])
    assert.deepStrictEqual(audit([row("c1")], cite("c1")), ["c1 is not an id such as C-001"])
  })

  it("an unknown id, or none, stops the collection of its test", () => {
    assert.throws(() => lookup("C-999"), 'no requirement has the id "C-999"')
    assert.throws(() => title(["C-001", "C-999"], "a test"), 'no requirement has the id "C-999"')
    assert.throws(() => title([], "a test"), 'the test "a test" cites no requirement')
    assert.strictEqual(title(["C-001", "C-003"], "a test"), "C-001 C-003 a test")
  })
})
