/**
 * What is read by what is new in it reads as what is parsed as a whole.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Codec from "../../src/protocol/Codec.ts"
import * as Ids from "../../src/protocol/Ids.ts"
import * as SequencedFrame from "../../src/protocol/SequencedFrame.ts"
import * as Seeded from "../simulation/Seeded.ts"

const session = Ids.SessionId.make("sess_01JZAAAAAAAAAAAAAAAAAAAAAA")
const jobs = [
  [Ids.JobId.make("job_01JZBBBBBBBBBBBBBBBBBBBBBB"), Ids.TraceId.make("4bf92f3577b34da6a3ce929d0e0e4736")],
  [Ids.JobId.make("job_01JZCCCCCCCCCCCCCCCCCCCCCC"), Ids.TraceId.make("0af7651916cd43dd8448eb211c80319c")],
  [Ids.JobId.make(`job_"odd" ones`), Ids.TraceId.make("0af7651916cd43dd8448eb211c80319d")]
] as const

const head = SequencedFrame.head(session)

const bodies = [
  ["log", { level: "info", message: 'a "quoted" \\ one, 🍰, \u2028 and }}' }],
  ["log", { level: "WARNING", message: "" }],
  ["log", { level: "loud", message: "no level" }],
  ["progress", { current: 1, total: 3 }],
  ["progress", { current: -1 }],
  ["status", { phase: "credential_rotated", id: "c1", value: "secret" }],
  ["tool_result", { call_id: "c1", output: null }],
  ["x-vendor.acme.note", { anything: [1, { deep: [] }] }],
  ["x-vendor.acme.note", "no object"],
  ["kind with spaces", {}]
] as const

const frame = (seq: number, job: number, job_seq: number, payload: string) => {
  const [id, trace] = jobs[job]!
  const { after, between, job: named } = SequencedFrame.tail(id, trace)
  return head.textOf("job.event", seq) + named + String(job_seq) + between + payload + after
}

const payload = (kind: string, ts: string, body: unknown) =>
  `${SequencedFrame.payloadHead(kind, ts)}${JSON.stringify(body)}}`

const readable = (decoded: Result.Result<object, Codec.BadFrame>) =>
  Result.match(decoded, {
    onSuccess: (message) => ({ ok: true, message }),
    onFailure: ({ error, ...rest }) => ({ ok: false, message: error.message, ...rest })
  })

describe("SequencedFrame", () => {
  it("is the JSON that it seems to be", () => {
    const text = frame(7, 0, 5, payload("log", "2026-01-01T00:00:00.000Z", bodies[0][1]))
    assert.deepStrictEqual(JSON.parse(text), {
      arcp: "1.1",
      id: Ids.sequencedMessageId(session)(7),
      session_id: session,
      type: "job.event",
      event_seq: 7,
      job_id: jobs[0][0],
      trace_id: jobs[0][1],
      job_seq: 5,
      payload: { kind: "log", ts: "2026-01-01T00:00:00.000Z", body: bodies[0][1] }
    })
  })

  it("has a head in UTF-8 that is its text, whichever number comes next", () => {
    const next = Seeded.chance(1)
    const into = new Uint8Array(1000)
    const decoder = new TextDecoder()
    let seq = 0
    for (let turn = 0; turn < 20_000; turn++) {
      seq = next() < 0.99 ? seq + 1 : Math.floor(10 ** (next() * 9))
      const type = next() < 0.99 ? "job.event" : "job.result"
      const at = turn % 500
      const end = head.write(type, seq, into, at)
      assert.strictEqual(decoder.decode(into.subarray(at, end)), head.textOf(type, seq))
      assert.strictEqual(head.sizeOf(type, seq), end - at)
    }
  })

  it("recognizes the next event of a job that it knows, and nothing before it knows one", () => {
    const { learn, recognize } = SequencedFrame.recognizer()
    const text = (seq: number) => frame(seq, 0, seq, payload("log", "2026-01-01T00:00:00.000Z", bodies[0][1]))
    assert.isUndefined(recognize(text(1)))
    learn({ session_id: session, event_seq: 1, job_id: jobs[0][0], trace_id: jobs[0][1] })
    assert.isUndefined(recognize(text(3)))
    assert.deepInclude(recognize(text(2)), { event_seq: 2, job_seq: 2, kind: "log", job_id: jobs[0][0] })
    assert.isDefined(recognize(text(3)))
    assert.isUndefined(recognize(frame(4, 1, 1, payload("log", "2026-01-01T00:00:00.000Z", {}))))
  })

  it("reads each frame of a connection as if it were the only one", () => {
    let known = 0
    for (let seed = 1; seed <= 300; seed++) {
      const next = Seeded.chance(seed)
      const decode = Codec.decoderFromRuntime()
      const { learn, recognize } = SequencedFrame.recognizer()
      let seq = 0
      for (let turn = 0; turn < 60; turn++) {
        if (next() < 0.95) seq++
        const [kind, body] = Seeded.pick(next, bodies)
        const ts = Seeded.pick(next, [
          "2026-01-01T00:00:00.000Z",
          "2026-01-01T00:00:00.001Z",
          '2026-01-01T00:00:00.00"Z'
        ])
        let text = frame(seq, Seeded.between(next, 0, 2), Seeded.between(next, 0, 12), payload(kind, ts, body))
        // Damaged in one place, or said in another way.
        if (next() < 0.1) {
          const at = Seeded.between(next, 0, text.length - 1)
          text = text.slice(0, at) + Seeded.pick(next, ["", " ", "}", '"', "0", "x", "\n", ","]) + text.slice(at + 1)
        } else if (next() < 0.05 && !ts.includes('"')) text = JSON.stringify(JSON.parse(text), null, 1)
        const alone = Codec.decodeFromRuntime(text)
        assert.deepStrictEqual(readable(decode(text)), readable(alone), `seed ${seed}, ${text}`)
        if (recognize(text) !== undefined) known++
        else if (Result.isSuccess(alone)) learn(alone.success)
      }
    }
    assert.isAbove(known, 1500)
  })
})
