import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { Base64 } from "effect/encoding"
import * as Ids from "../../src/protocol/Ids.ts"
import * as ResultAssembler from "../../src/protocol/ResultAssembler.ts"
import * as ResultReader from "../../src/protocol/ResultReader.ts"
import * as Utf8 from "../../src/protocol/Utf8.ts"

const id = Schema.decodeUnknownSync(Ids.ResultId)("res_1")
const other = Schema.decodeUnknownSync(Ids.ResultId)("res_2")

const chunk = (chunk_seq: number, data: string, options?: Partial<ResultAssembler.Chunk>): ResultAssembler.Chunk => ({
  result_id: id,
  chunk_seq,
  data,
  encoding: "utf8",
  more: true,
  ...options
})

/** What is read of these chunks, or the first thing that is wrong. */
const read = (chunks: ReadonlyArray<ResultAssembler.Chunk>, result_size?: number, result_id = id) => {
  const reader = ResultReader.make()
  const pieces: Array<ResultReader.Piece> = []
  for (const next of chunks) {
    const taken = ResultReader.take(reader, next)
    if (Result.isFailure(taken)) return taken.failure.message
    pieces.push(...taken.success)
  }
  const end = ResultReader.finish(reader, { result_id, ...(result_size === undefined ? undefined : { result_size }) })
  return Result.isFailure(end) ? end.failure.message : [...pieces, ...end.success]
}

const Part = Schema.Union([Schema.String, Schema.Uint8Array])

describe("reading a streamed result", () => {
  it.prop(
    "gives what the assembler puts together, of any text and bytes, wherever they are cut",
    { parts: Schema.Array(Part), size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 })) },
    ({ parts, size }) => {
      const cut = parts.flatMap((part) =>
        Array.from({ length: Math.ceil(part.length / size) }, (_, index) =>
          part.slice(index * size, (index + 1) * size)
        )
      )
      const chunks = cut.map((part, index) =>
        typeof part === "string"
          ? chunk(index, part)
          : chunk(index, Base64.encode(part), { encoding: "base64" as const })
      )
      const assembled = chunks.reduce(
        (state, next) => Result.flatMap(state, (self) => ResultAssembler.add(self, next)),
        Result.succeed(ResultAssembler.make(1_000_000)) as ReturnType<typeof ResultAssembler.add>
      )
      const whole = Result.getOrThrow(
        Result.flatMap(assembled, (self) => ResultAssembler.finish(self, { result_id: id }))
      )
      const expected = whole._tag === "Text" ? Buffer.from(whole.text) : Buffer.from(whole.bytes)
      const pieces = read(chunks, expected.length)
      assert(Array.isArray(pieces))
      assert.deepStrictEqual(Buffer.concat(pieces.map((piece) => Buffer.from(piece as string))), expected)
      // All that is ready is given at once, and no more than that.
      assert.isTrue(pieces.every((piece) => piece.length > 0))
    }
  )

  it("keeps a character whole that was cut, and gives half of one when nothing else can come of it", () => {
    assert.deepStrictEqual(read([chunk(0, "a\ud83c"), chunk(1, "\udf70b")]), ["a", "🍰b"])
    assert.deepStrictEqual(read([chunk(0, "\ud83c"), chunk(1, "AA==", { encoding: "base64" })], 4), [
      "\ud83c",
      Uint8Array.of(0)
    ])
    assert.deepStrictEqual(read([chunk(0, "a\ud83c", { more: false })], 4), ["a", "\ud83c"])
  })

  it("passes over what came before, and stops at what cannot be", () => {
    assert.deepStrictEqual(read([chunk(0, "a"), chunk(0, "a"), chunk(1, "b"), chunk(0, "a")], 2), ["a", "b"])
    assert.strictEqual(read([chunk(1, "a")]), "chunk_seq: expected 0, not 1")
    assert.strictEqual(read([chunk(0, "a"), chunk(2, "c")]), "chunk_seq: expected 1, not 2")
    assert.strictEqual(
      read([chunk(0, "a", { more: false }), chunk(1, "b")]),
      "chunk_seq: chunk 1 came after the last one"
    )
    assert.strictEqual(
      read([chunk(0, "a"), chunk(1, "b", { result_id: other })]),
      "result_id: the chunks before are of res_1"
    )
    assert.strictEqual(read([chunk(0, "a")], 1, other), "result_id: the chunks that came are of res_1")
    assert.strictEqual(read([chunk(0, "ü")], 1), "result_size: 1 bytes were announced, 2 came")
    assert.strictEqual(read([], 1), "result_size: 1 bytes were announced, 0 came")
    assert.deepStrictEqual(read([], 0), [])
  })

  it("knows a long chunk again by parts of it, the beginning and the end among them", () => {
    const long = "x".repeat(200_000)
    const repeated = (data: string) => read([chunk(0, long), chunk(1, "y"), chunk(0, data)])
    assert.isArray(repeated(long))
    for (const at of [0, 63, 199_936, 199_999]) {
      const other = `${long.slice(0, at)}z${long.slice(at + 1)}`
      assert.strictEqual(repeated(other), "chunk_seq: chunk 0 came twice, with different contents", `at ${at}`)
    }
    assert.isString(repeated("z".repeat(200_000)))
  })

  it.each([
    ["another text", { data: "b" }],
    ["a longer one", { data: "aa" }],
    ["an empty one", { data: "" }],
    ["another end", { more: false }],
    ["another encoding", { encoding: "base64" }]
  ] as const)("stops at a chunk that comes again with %s", (_, change) => {
    const again = (behind: number) =>
      read([
        ...Array.from({ length: behind + 1 }, (_, index) => chunk(index, index === 0 ? "a" : "x")),
        chunk(0, "a", change)
      ])
    const problem = "chunk_seq: chunk 0 came twice, with different contents"
    assert.strictEqual(again(0), problem)
    assert.strictEqual(again(1023), problem)
    // Of what came longer ago nothing is known.
    assert.isArray(again(1024))
  })

  it("keeps no more of a long result than of a short one", () => {
    const reader = ResultReader.make()
    for (let seq = 0; seq < 5000; seq++)
      assert.isTrue(Result.isSuccess(ResultReader.take(reader, chunk(seq, `${seq}`))))
    assert.isTrue(Result.isSuccess(ResultReader.take(reader, chunk(4000, "4000"))))
    assert.isTrue(Result.isFailure(ResultReader.take(reader, chunk(4000, "4001"))))
    assert.strictEqual(reader.seen.length, 1024)
  })

  it.each(["A", "AA", "AAA", "AB==", "AA==\n", "AA= =", "A-_=", "AA==AA==", "=AAA", "ÄÄÄÄ"])(
    "takes no base64 that has two spellings: %j",
    (data) => {
      assert.strictEqual(read([chunk(0, data, { encoding: "base64" })]), "data: chunk 0 is not base64")
    }
  )
})

describe("the size of text", () => {
  it.prop(
    "is that of its UTF-8",
    { text: Schema.String, times: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })) },
    ({ text, times }) => {
      assert.strictEqual(Utf8.byteLength(text), Buffer.byteLength(text))
      const long = `${text}🍰`.repeat(times * 2000)
      assert.strictEqual(Utf8.byteLength(long), Buffer.byteLength(long))
      assert.strictEqual(Utf8.byteLength(`x${long}`), Buffer.byteLength(`x${long}`))
    }
  )

  it("counts the bytes of a chunk as they will be", () => {
    for (const bytes of [0, 1, 2, 3, 4, 5, 6].map((length) => new Uint8Array(length))) {
      const encoded = chunk(0, Base64.encode(bytes), { encoding: "base64" })
      assert.strictEqual(ResultAssembler.sizeOf(encoded), bytes.length)
    }
    assert.strictEqual(ResultAssembler.sizeOf(chunk(0, "grün")), 5)
  })
})
