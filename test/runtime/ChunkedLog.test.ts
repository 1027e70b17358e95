import { assert, describe, it } from "@effect/vitest"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as Frame from "../../src/protocol/Frame.ts"
import * as ChunkedLog from "../../src/runtime/internal/chunkedLog.ts"
import type * as JobEntry from "../../src/runtime/JobEntry.ts"
import * as Seeded from "../simulation/Seeded.ts"

const job = { id: "job_1" as Ids.JobId, traceId: "4bf92f3577b34da6a3ce929d0e0e4736" as Ids.TraceId }

const tailOf = (offset: number, payload: string) =>
  `,"job_id":"job_1","trace_id":"${job.traceId}","job_seq":${offset + 1},"payload":${payload}}`

/** What the log is: an array of entries, each whole. */
interface Model {
  readonly entries: Array<{ readonly kind: string; readonly tail: string; readonly note: JobEntry.Note | undefined }>
  first: number
  ended: boolean
}

const weigh = ({ kind, tail }: { readonly kind: string; readonly tail: string }) => (kind === "" ? 0 : tail.length)

const kept = ({ entries, first }: Model) => entries.slice(first)

const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((total, number) => total + number, 0)

/** As JSON, but for what JSON writes as an escape. */
const quoted = (text: string) => `"${text}"`

/** Bytes and characters. */
const heldBy = ({ chunks }: ChunkedLog.ChunkedLog) =>
  sum(
    chunks.map(
      ({ pieces, sealed, text }) => (sealed?.bytes.length ?? 0) + text.length + sum(pieces.map((piece) => piece.length))
    )
  )

describe("ChunkedLog", () => {
  it("keeps, drops, weighs and reads like an array of entries", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const next = Seeded.chance(seed)
      const log = ChunkedLog.make(job)
      const model: Model = { entries: [], first: 0, ended: false }
      const at = (label: string) => `${label}, seed ${seed}`
      for (let turn = 0; turn < 400; turn++) {
        const what = next()
        if (what < 0.6 && !model.ended) {
          const isEnd = next() < 0.01
          const payload = quoted(
            Seeded.pick(next, ["x", "ü", "\ud800"]).repeat(Seeded.pick(next, [0, 5, 900, 15_000, 20_000]))
          )
          const note: JobEntry.Note | undefined =
            next() < 0.1 ? { _tag: "Child", job: `job_${turn}` as Ids.JobId } : undefined
          const kind = isEnd ? "" : Seeded.pick(next, ["log", "status"])
          const type = isEnd ? "job.result" : "job.event"
          model.entries.push({ kind, tail: tailOf(model.entries.length, payload), note })
          model.ended = isEnd
          ChunkedLog.push(log, { type, kind, payload, ...(note === undefined ? undefined : { note }) })
        } else if (what < 0.7) {
          const target = Seeded.between(next, 0, 60_000)
          const most = Seeded.between(next, 0, 40)
          ChunkedLog.evict(log, target, most)
          const end = Math.min(model.first + most, model.entries.length - (model.ended ? 1 : 0))
          while (model.first < end && sum(kept(model).map(weigh)) > target) model.first++
        } else {
          const after = Seeded.between(next, -1, model.entries.length + 2)
          const characters = Seeded.pick(next, [0, 1, 2000, 50_000, next() < 0.05 ? Number.MAX_SAFE_INTEGER : 5000])
          const page = ChunkedLog.read(log, after, characters)
          const start = Math.min(model.entries.length, Math.max(after + 1, model.first))
          let count = 0
          for (let taken = 0; start + count < model.entries.length && (count === 0 || taken < characters); count++) {
            taken += model.entries[start + count]!.tail.length
          }
          assert.deepStrictEqual(
            page.entries.map(({ kind, note, tail }) => ({ kind, tail: Frame.textOfPiece(tail), note })),
            model.entries.slice(start, start + count),
            at("entries")
          )
          assert.strictEqual(page.firstOffset, start, at("first"))
          assert.strictEqual(page.ended, model.ended && start + count === model.entries.length, at("ended"))
          const weight = sum(model.entries.slice(0, Math.max(model.first, after + 1)).map(weigh))
          assert.strictEqual(ChunkedLog.weightUpTo(log, after), weight, at("weight up to"))
        }
        assert.strictEqual(log.first, model.first, at("first kept"))
        assert.strictEqual(ChunkedLog.weight(log), sum(kept(model).map(weigh)), at("weight"))
      }
    }
  })

  it("holds in memory about what it keeps", () => {
    const log = ChunkedLog.make(job)
    for (let turn = 0; turn < 2000; turn++) {
      ChunkedLog.push(log, {
        type: "job.event",
        kind: "log",
        payload: JSON.stringify("x".repeat(100))
      })
      ChunkedLog.evict(log, 50_000, Number.MAX_SAFE_INTEGER)
    }
    assert.isBelow(heldBy(log), 50_000 + 2 * 17_000)
  })

  it("gives out what is full, and what is large at once, as it lies there", () => {
    const log = ChunkedLog.make(job)
    const payload = JSON.stringify("x".repeat(1000))
    while (log.written < 300_000) ChunkedLog.push(log, { type: "job.event", kind: "log", payload })
    const texts = log.chunks.filter(({ sealed }) => sealed === undefined)
    assert.isAtMost(texts.length, 1)
    assert.isBelow(heldBy(log), 300_000 + 2000)
    const [first, second] = ChunkedLog.read(log, 0, 2000).entries
    assert.strictEqual((first!.tail as Frame.Slice).bytes, (second!.tail as Frame.Slice).bytes)
    ChunkedLog.push(log, { type: "job.event", kind: "log", payload: JSON.stringify("y".repeat(20_000)) })
    assert.strictEqual(log.chunks.at(-1)!.text + log.chunks.at(-1)!.pieces.join(""), "")
    const [last] = ChunkedLog.read(log, log.next - 2, 1).entries
    assert.isNotString(last!.tail)
  })
})
