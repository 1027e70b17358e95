import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as StampLog from "../../src/session/StampLog.ts"

const job = (name: string) => name as Ids.JobId
const limit = 1000

/** What a log should remember, told frame by frame. */
interface Sent {
  readonly seq: number
  readonly what: string
}

const Step = Schema.Struct({
  job: Schema.Literals(["a", "b", "own"]),
  count: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 })),
  /** Entries that were hidden from the session, so that its ranges have holes. */
  hidden: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
})

const replayed = (stamps: ReadonlyArray<StampLog.Stamp>): ReadonlyArray<Sent> =>
  stamps.flatMap((stamp) =>
    stamp._tag === "Own"
      ? [{ seq: stamp.firstSeq, what: stamp.tail }]
      : Array.from({ length: stamp.count }, (_, index) => ({
          seq: stamp.firstSeq + index,
          what: `${stamp.job}${stamp.firstOffset + index}`
        }))
  )

const build = (steps: ReadonlyArray<typeof Step.Type>, cap = limit) => {
  const log = StampLog.make()
  const sent: Array<Sent> = []
  const offsets = { a: 0, b: 0 }
  for (const { count, hidden, job: name } of steps) {
    const firstSeq = log.last + 1
    if (name === "own") {
      StampLog.append(log, { _tag: "Own", firstSeq, type: "job.error", tail: `own${firstSeq}` }, cap)
      sent.push({ seq: firstSeq, what: `own${firstSeq}` })
      continue
    }
    offsets[name] += hidden
    const firstOffset = offsets[name]
    StampLog.append(log, { _tag: "Range", firstSeq, job: job(name), firstOffset, count }, cap)
    for (let index = 0; index < count; index++)
      sent.push({ seq: firstSeq + index, what: `${name}${firstOffset + index}` })
    offsets[name] += count
  }
  return { log, sent }
}

describe("StampLog", () => {
  it.prop(
    "since(n) is exactly what was sent after n, in order",
    { steps: Schema.Array(Step), from: Schema.Int },
    ({ from, steps }) => {
      const { log, sent } = build(steps)
      const seq = Math.abs(from) % (sent.length + 1)
      assert.deepStrictEqual(replayed(StampLog.since(log, seq)!), sent.slice(seq))
    }
  )

  it.prop(
    "what was released is not told, what was not is unchanged",
    { steps: Schema.Array(Step), at: Schema.Int },
    ({ at, steps }) => {
      const { log, sent } = build(steps)
      const floor = Math.abs(at) % (sent.length + 1)
      StampLog.release(log, floor)
      assert.strictEqual(log.floor, floor)
      if (floor > 0) assert.isUndefined(StampLog.since(log, floor - 1))
      assert.deepStrictEqual(replayed(StampLog.since(log, floor)!), sent.slice(floor))
    }
  )

  it("merges ranges that continue each other, and only those", () => {
    const { log } = build([
      { job: "a", count: 2, hidden: 0 },
      { job: "a", count: 3, hidden: 0 },
      { job: "a", count: 1, hidden: 1 },
      { job: "b", count: 1, hidden: 0 }
    ])
    assert.deepStrictEqual(log.stamps.map(StampLog.width), [5, 1, 1])
  })

  it("refuses a stamp that leaves a gap or repeats a number", () => {
    const { log } = build([{ job: "a", count: 2, hidden: 0 }])
    for (const firstSeq of [2, 4]) {
      assert.throws(
        () => StampLog.append(log, { _tag: "Own", firstSeq, type: "job.error", tail: "" }, limit),
        RangeError
      )
    }
  })

  it("knows nothing beyond the newest number", () => {
    const { log } = build([{ job: "a", count: 2, hidden: 0 }])
    assert.deepStrictEqual(StampLog.since(log, 2), [])
    assert.isUndefined(StampLog.since(log, 3))
  })

  it("counts a long frame for several, and always keeps the last", () => {
    const log = StampLog.make()
    const tail = "x".repeat(1024)
    for (let firstSeq = 1; firstSeq <= 1000; firstSeq++) {
      StampLog.append(log, { _tag: "Own", firstSeq, type: "job.error", tail }, 100)
      assert.isAtMost(log.stamps.length, 25)
    }
    assert.strictEqual(log.weight, log.stamps.length * 5)
    assert.lengthOf(StampLog.since(log, log.floor)!, 1000 - log.floor)
    StampLog.append(log, { _tag: "Own", firstSeq: 1001, type: "job.error", tail: tail.repeat(1000) }, 100)
    assert.strictEqual(log.floor, 1000)
    assert.lengthOf(StampLog.since(log, 1000)!, 1)
    StampLog.release(log, 1001)
    assert.strictEqual(log.weight, 0)
  })

  it("stays within its limit and raises the floor", () => {
    const steps = Array.from({ length: 500 }, (_, index) => ({
      job: index % 2 === 0 ? ("a" as const) : ("b" as const),
      count: 1,
      hidden: 0
    }))
    const { log, sent } = build(steps, 40)
    assert.isAtMost(log.stamps.length, 50)
    assert.isAbove(log.floor, 400)
    assert.deepStrictEqual(replayed(StampLog.since(log, log.floor)!), sent.slice(log.floor))
  })

  it("turns a number of the session into a place in the job", () => {
    const { log } = build([
      { job: "a", count: 2, hidden: 0 },
      { job: "b", count: 2, hidden: 0 },
      { job: "a", count: 2, hidden: 1 }
    ])
    assert.deepStrictEqual(
      [1, 2, 3, 4, 5, 6].map((seq) => StampLog.offsetAt(log, job("a"), seq)),
      [0, 1, 1, 1, 3, 4]
    )
    assert.isUndefined(StampLog.offsetAt(log, job("b"), 2))
  })
})
