import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { Base64 } from "effect/encoding"
import * as ResultAssembler from "../../src/protocol/ResultAssembler.ts"
import * as Ids from "../../src/protocol/Ids.ts"

const id = Schema.decodeUnknownSync(Ids.ResultId)("res_1")

const chunk = (chunk_seq: number, data: string, options?: Partial<ResultAssembler.Chunk>): ResultAssembler.Chunk => ({
  result_id: id,
  chunk_seq,
  data,
  encoding: "utf8",
  more: true,
  ...options
})

const add = (chunks: ReadonlyArray<ResultAssembler.Chunk>, maxBytes = 1000) =>
  chunks.reduce(
    (state, next) => Result.flatMap(state, (self) => ResultAssembler.add(self, next)),
    Result.succeed(ResultAssembler.make(maxBytes)) as ReturnType<typeof ResultAssembler.add>
  )

const finish = (chunks: ReadonlyArray<ResultAssembler.Chunk>, result_size?: number) =>
  Result.flatMap(add(chunks), (self) =>
    ResultAssembler.finish(self, { result_id: id, ...(result_size === undefined ? undefined : { result_size }) })
  )

const problem = (result: Result.Result<unknown, ResultAssembler.AssemblyError>) =>
  Result.isFailure(result) ? `${result.failure._tag} ${result.failure.message}` : "none"

describe("assembling", () => {
  it.prop(
    "gives back any text and any bytes, wherever they are cut",
    {
      text: Schema.String,
      bytes: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))),
      size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))
    },
    ({ bytes, size, text }) => {
      const cut = (length: number) =>
        Array.from({ length: Math.max(1, Math.ceil(length / size)) }, (_, index) => [index, index * size] as const)
      const last = (length: number, index: number) => index < Math.max(1, Math.ceil(length / size)) - 1
      const texts = cut(text.length).map(([index, at]) =>
        chunk(index, text.slice(at, at + size), { more: last(text.length, index) })
      )
      const utf8 = new TextEncoder().encode(text).length
      assert.deepStrictEqual(finish(texts, utf8), Result.succeed({ _tag: "Text" as const, text }))
      const raw = Uint8Array.from(bytes)
      const parts = cut(raw.length).map(([index, at]) =>
        chunk(index, Base64.encode(raw.subarray(at, at + size)), { encoding: "base64", more: last(raw.length, index) })
      )
      assert.deepStrictEqual(finish(parts, raw.length), Result.succeed({ _tag: "Bytes" as const, bytes: raw }))
    }
  )

  it("joins text that is cut in a character, also between bytes", () => {
    const chunks = [
      chunk(0, "AP8=", { encoding: "base64" }),
      chunk(1, "\ud83d"),
      chunk(2, "\ude00"),
      chunk(3, "AQ==", { encoding: "base64", more: false })
    ]
    assert.deepStrictEqual(
      finish(chunks, 7),
      Result.succeed({ _tag: "Bytes" as const, bytes: new Uint8Array([0, 255, 0xf0, 0x9f, 0x98, 0x80, 1]) })
    )
  })

  it("is empty without a chunk, and does not insist on a last one", () => {
    assert.deepStrictEqual(finish([], 0), Result.succeed({ _tag: "Text" as const, text: "" }))
    assert.deepStrictEqual(finish([chunk(0, "a")]), Result.succeed({ _tag: "Text" as const, text: "a" }))
  })

  it("keeps results apart by their id", () => {
    const other = Schema.decodeUnknownSync(Ids.ResultId)("res_2")
    const chunks = [chunk(0, "a"), chunk(0, "x", { result_id: other }), chunk(1, "b")]
    assert.deepStrictEqual(finish(chunks), Result.succeed({ _tag: "Text" as const, text: "ab" }))
  })

  it("drops a chunk that comes again, and refuses one that comes again changed", () => {
    const chunks = [chunk(0, "a"), chunk(1, "b"), chunk(0, "a"), chunk(1, "b"), chunk(2, "c", { more: false })]
    assert.deepStrictEqual(finish(chunks), Result.succeed({ _tag: "Text" as const, text: "abc" }))
    assert.match(problem(add([chunk(0, "a"), chunk(1, "b"), chunk(0, "x")])), /^InvalidRequest chunk_seq: /)
    assert.match(problem(add([chunk(0, "a"), chunk(0, "a", { more: false })])), /^InvalidRequest chunk_seq: /)
  })

  it("refuses a gap, a wrong start and what follows the last", () => {
    assert.match(problem(add([chunk(1, "a")])), /expected 0, not 1/)
    assert.match(problem(add([chunk(0, "a"), chunk(2, "b")])), /expected 1, not 2/)
    assert.match(problem(add([chunk(0, "a", { more: false }), chunk(1, "b")])), /after the last/)
  })

  it.each(["A", "AAA", "AA=A", "AA\n==", "\n", "AAA\nA", "1\rA+A9AA9", "A-A=", "AAF=", "Zh==", "===="])(
    "refuses %j as base64",
    (data) => {
      assert.match(problem(add([chunk(0, data, { encoding: "base64" })])), /^InvalidRequest data: /)
    }
  )

  it("bounds the bytes of all results together, at the bound and not before", () => {
    const other = Schema.decodeUnknownSync(Ids.ResultId)("res_2")
    assert.strictEqual(problem(add([chunk(0, "aü"), chunk(0, "b", { result_id: other })], 4)), "none")
    assert.match(problem(add([chunk(0, "aü"), chunk(0, "bc", { result_id: other })], 4)), /^InternalError /)
  })

  it("checks the announced size in bytes", () => {
    assert.strictEqual(problem(finish([chunk(0, "ü")], 2)), "none")
    assert.match(problem(finish([chunk(0, "ü")], 1)), /^InvalidRequest result_size: /)
  })
})
