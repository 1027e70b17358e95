/** What no peer would say that means well: each is answered in few words or passed over, and nothing of it ends the session. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import type * as Profile from "../../src/protocol/Profile.ts"
import type * as Json from "../../src/protocol/Json.ts"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { answers, join, outcome, received, run, submit, withRuntime } from "./Conversation.ts"
import { configured, enter, onStage, returnOf, seqs, settled, ticketOf, upTo } from "./Stage.ts"

type Said = string | TestPeer.Draft

const openSessions = Sessions.Sessions.use((sessions) => sessions.size)

const say = (peer: TestPeer.TestPeer, said: Said) => (typeof said === "string" ? peer.send(said) : peer.send(said))

const hello = (payload: { readonly [member: string]: Json.Json | undefined }, more: object = {}): TestPeer.Draft => {
  const draft = TestPeer.helloOf()
  return { ...draft, ...more, payload: { ...(draft["payload"] as object), ...payload } as Json.JsonObject }
}

const bearer = (token: string): Json.Json => ({ scheme: "bearer", token })
const resuming = (resume: Json.JsonObject) => hello({ resume: { session_id: "s", resume_token: "t", ...resume } })

const hellos: ReadonlyArray<readonly [name: string, said: Said, code: string]> = [
  ["nothing", "", "INVALID_REQUEST"],
  ["an array", "[]", "INVALID_REQUEST"],
  ["null", "null", "INVALID_REQUEST"],
  ["a number beyond all", "1e999", "INVALID_REQUEST"],
  ["an abyss", "[".repeat(100_000), "INVALID_REQUEST"],
  ["a nest", `{"a":`.repeat(300) + "1" + "}".repeat(300), "INVALID_REQUEST"],
  ["a prototype", `{"__proto__":{"type":"session.hello"},"arcp":"1.1","id":"x","payload":{}}`, "INVALID_REQUEST"],
  ["a list for credentials", hello({ auth: [] }), "INVALID_REQUEST"],
  ["no credentials", hello({ auth: undefined }), "UNAUTHENTICATED"],
  ["an empty token", hello({ auth: bearer("") }), "UNAUTHENTICATED"],
  ["a token of the language", hello({ auth: bearer("__proto__") }), "UNAUTHENTICATED"],
  ["a token of a megabyte", hello({ auth: bearer("x".repeat(1_000_000)) }), "UNAUTHENTICATED"],
  ["another scheme", hello({ auth: { scheme: "constructor", token: "secret" } }), "UNAUTHENTICATED"],
  ["another version", hello({}, { arcp: "2.0" }), "INVALID_REQUEST"],
  ["an id that is a number", hello({}, { id: 5 }), "INVALID_REQUEST"],
  ["an id without end", hello({}, { id: "x".repeat(100_000) }), "INVALID_REQUEST"],
  ["features that look like a list", hello({ capabilities: { features: { length: 1 } } }), "INVALID_REQUEST"],
  ["a resume that is a text", hello({ resume: "x" }), "INVALID_REQUEST"],
  ["a resume without a token", hello({ resume: { session_id: "s", last_event_seq: 0 } }), "INVALID_REQUEST"],
  ["a resume from before the first", resuming({ last_event_seq: -1 }), "INVALID_REQUEST"],
  ["a resume from between two", resuming({ last_event_seq: 0.5 }), "INVALID_REQUEST"],
  ["a resume from beyond all", resuming({ last_event_seq: 1e300 }), "INVALID_REQUEST"],
  ["a resume of no session", resuming({ last_event_seq: 0 }), "RESUME_WINDOW_EXPIRED"],
  ["a resume of an object", resuming({ session_id: "__proto__", last_event_seq: 0 }), "RESUME_WINDOW_EXPIRED"],
  ["a submit", { type: "job.submit", payload: { agent: "tck-echo", input: 1 } }, "INVALID_REQUEST"],
  ["what may be passed over", { type: "x-vendor.foo", extensions: { optional: true } }, "INVALID_REQUEST"],
  ["a type of a megabyte", { type: "x".repeat(1_000_000) }, "INVALID_REQUEST"]
]

const ack = (payload: Json.JsonObject): Said => ({ type: "session.ack", payload })
const list = (payload: Json.JsonObject): Said => ({ type: "session.list_jobs", payload })
const cursor = (text: string): Said => list({ cursor: Buffer.from(text).toString("base64url") })
const ask = (payload: Json.JsonObject, more: object = {}): Said => ({
  type: "job.submit",
  ...more,
  payload: { agent: "tck-echo", input: 1, ...payload }
})
const spend = (...amounts: ReadonlyArray<string>): Said => ask({ lease_request: { "cost.budget": amounts } })
const until = (expires_at: string): Said => ask({ lease_request: {}, lease_constraints: { expires_at } })
const raw = (id: string, rest: string) => `{"arcp":"1.1","id":"${id}",${rest}}`

const frames: ReadonlyArray<readonly [name: string, said: Said]> = [
  ["ack before the first", ack({ last_processed_seq: -1 })],
  ["ack between two", ack({ last_processed_seq: 1.5 })],
  ["ack as text", ack({ last_processed_seq: "5" })],
  ["ack beyond the newest", ack({ last_processed_seq: Number.MAX_SAFE_INTEGER })],
  ["ack of nothing", { type: "session.ack", payload: null }],
  ["ack of a list of jobs", ack({ last_processed_seq: 0, jobs: [] })],
  ["ack of a job below zero", ack({ last_processed_seq: 0, jobs: { job_x: -5 } })],
  ["ack of a prototype", raw("a1", `"type":"session.ack","payload":{"last_processed_seq":0,"jobs":{"__proto__":1e9}}`)],
  [
    "ack of many jobs",
    ack({ last_processed_seq: 0, jobs: Object.fromEntries(upTo(20_000).map((n) => [`job_${n}`, n])) })
  ],
  ["list of less than none", list({ limit: -1 })],
  ["list of none", list({ limit: 0 })],
  ["list of all that could be", list({ limit: 1e15 })],
  ["list from nowhere", list({ cursor: "!!!" })],
  ["list from an empty place", cursor("[]")],
  ["list from beyond all", cursor(`[1e999,"x"]`)],
  ["list from the far future", cursor(`[1e300,"x"]`)],
  ["list from before all", cursor(`[-1e300,""]`)],
  ["list from an object", cursor("[1,{}]")],
  ["list from a place of a megabyte", list({ cursor: "A".repeat(1_000_000) })],
  ["list of a status of the language", list({ filter: { status: ["__proto__"] } })],
  ["list since yesterday", list({ filter: { created_after: "yesterday" } })],
  ["list of a pattern that backtracks", list({ filter: { agent: "(a+)+$" } })],
  ["subscribe to an object", { type: "job.subscribe", payload: { job_id: "__proto__" } }],
  ["subscribe to nothing", { type: "job.subscribe", payload: { job_id: "" } }],
  ["subscribe from before", { type: "job.subscribe", payload: { job_id: "x", from_event_seq: -1, history: true } }],
  ["unsubscribe from nothing", { type: "job.unsubscribe", payload: { job_id: "nope" } }],
  ["cancel a long name", { type: "job.cancel", job_id: "x".repeat(256) }],
  ["cancel nothing", { type: "job.cancel" }],
  ["cancel two", { type: "job.cancel", job_id: "a", payload: { job_id: "b" } }],
  ["submit to a megabyte", ask({ agent: "a".repeat(1_000_000) })],
  ["submit to a bell", ask({ agent: "tck\u0000echo\u0007\n" })],
  ["submit to a version without end", ask({ agent: `tck-echo@${"9".repeat(100_000)}` })],
  ["submit for less than no time", ask({ max_runtime_sec: -1 })],
  ["submit for ever", ask({ max_runtime_sec: 1e300 })],
  ["submit with no key", ask({ idempotency_key: "" })],
  ["submit with a key of a megabyte", ask({ idempotency_key: "k".repeat(1_000_000) })],
  ["submit with an odd trace", ask({}, { trace_id: "zz" })],
  ["submit below nothing", ask({ parent_job_id: "job_x" })],
  ["submit with a list for a lease", ask({ lease_request: [] })],
  [
    "submit with a prototype for a lease",
    raw("a2", `"type":"job.submit","payload":{"agent":"tck-echo","input":1,"lease_request":{"__proto__":["x"]}}`)
  ],
  ["submit with a lease without end", ask({ lease_request: { "fs.read": upTo(10_000).map((n) => `/a/${n}/**`) } })],
  ["spend with an exponent", spend("USD:1e3")],
  ["spend less than nothing", spend("USD:-1")],
  ["spend no number", spend("USD:NaN")],
  ["spend of the language", spend("__proto__:1", "constructor:1")],
  ["spend what is too long", spend(`USD:${"9".repeat(65)}`)],
  ["spend of many kinds", spend(...upTo(256).map((n) => `C${n}:1`))],
  ["until the past", until("1969-01-01T00:00:00Z")],
  ["until somewhere else", until("2090-01-01T00:00:00+01:00")],
  ["until a month that is none", until("2090-13-01T00:00:00Z")],
  ["until a day that is none", until("2090-02-30T00:00:00Z")],
  ["hello again", TestPeer.helloOf()],
  ["resume again", { type: "session.resume", payload: { session_id: "s", resume_token: "t", last_event_seq: 0 } }],
  ["a welcome", { type: "session.welcome" }],
  ["an event", { type: "job.event", job_id: "x", event_seq: 1, payload: { kind: "log", ts: "x", body: {} } }],
  ["a type that is none", { type: "job.frobnicate" }],
  ["a type of the language", { type: "constructor" }],
  ["another session", { type: "session.list_jobs", session_id: "sess_other" }],
  ["a ping without a nonce", { type: "session.ping" }],
  ["a ping of a megabyte", { type: "session.ping", payload: { nonce: "n".repeat(1_000_000) } }],
  ["a pong that nobody asked for", { type: "session.pong", payload: { ping_nonce: "x", received_at: "x" } }],
  ["half a character", raw("a3", `"type":"session.ping","payload":{"nonce":"\\ud800"}`)],
  ["no character", "\u0000"],
  ["a mark of byte order", "\ufeff{}"],
  ["one member twice", raw("a4", `"type":"session.ping","type":"job.cancel","payload":{"nonce":"a"}`)]
]

describe("Hostile frames", () => {
  it.effect.each(hellos)("refuses %s for a hello", ([, said, code]) =>
    Effect.gen(function* () {
      const peer = yield* TestPeer.connect
      yield* say(peer, said)
      const refusal = yield* peer.expect("session.error")
      assert.strictEqual(refusal.payload["code"], code, JSON.stringify(refusal))
      assert.isBelow(JSON.stringify(refusal).length, 1500)
      yield* peer.closed
      assert.strictEqual(yield* openSessions, 0)
    }).pipe(withRuntime())
  )

  it.effect.each<Profile.Profile>(["standard", "effect", "ts", "java", "go"])(
    "answers each in few words in the dialect %s, and the session goes on",
    (profile) =>
      Effect.gen(function* () {
        const peer = yield* TestPeer.connect
        const features = ["ack", "subscribe", "list_jobs", "cost.budget", "lease_expires_at", "model.use"]
        yield* peer.hello({ profile, features })
        for (const [name, said] of frames) {
          yield* say(peer, said)
          for (const { payload, type } of yield* answers(peer)) {
            assert.notStrictEqual(payload["code"], "INTERNAL_ERROR", name)
            if (type.endsWith(".error")) assert.isBelow(JSON.stringify(payload).length, 1500, name)
          }
        }
        assert.strictEqual((yield* run(peer, "tck-echo", 1)).terminal.type, "job.result")
      }).pipe(withRuntime())
  )

  it.effect.each<Profile.Profile>(["standard", "effect", "ts"])(
    "of many who come at once with one token, in the dialect %s, one has the session in the end",
    (profile) =>
      Effect.gen(function* () {
        const first = yield* TestPeer.connect
        const ticket = ticketOf(yield* first.hello({ profile }))
        const rivals = yield* Effect.forEach(
          upTo(6),
          () =>
            Effect.gen(function* () {
              const peer = yield* TestPeer.connect
              yield* peer.send(returnOf(ticket, { last: 0, hello: { profile } }))
              return { peer, heard: yield* peer.receive }
            }),
          { concurrency: "unbounded" }
        )
        yield* settled
        // To others than our own clients a token is dead once it was shown.
        const welcomed = rivals.filter(({ heard }) => heard.type === "session.welcome")
        if (profile !== "effect") assert.lengthOf(welcomed, 1)
        const holders = yield* Effect.filter(rivals, ({ heard, peer }) =>
          heard.type === "session.welcome"
            ? Effect.map(Effect.exit(answers(peer)), (exit) => Exit.isSuccess(exit) && exit.value.length === 0)
            : Effect.succeed(false)
        )
        assert.lengthOf(holders, 1)
        assert.strictEqual(yield* openSessions, 1)
      }).pipe(withRuntime())
  )

  it.effect("one who watches and looks away again and again hears the whole in the end, under one sequence", () =>
    onStage(
      (stage) =>
        Effect.gen(function* () {
          const owner = yield* join()
          const job = yield* enter(owner, "a")
          yield* stage.say("a", ...upTo(50).map((line) => `${line}`.padEnd(200, ".")))
          for (let line = 0; line < 50; line++) yield* owner.receive
          const peer = yield* join()
          for (let round = 0; round < 20; round++) {
            yield* peer.send({ type: "job.subscribe", payload: { job_id: job, history: true } })
            yield* peer.send({ type: "job.unsubscribe", payload: { job_id: job } })
          }
          yield* peer.send({ type: "job.subscribe", payload: { job_id: job, history: true } })
          yield* stage.exit("a")
          const heard = yield* peer.until("job.result")
          assert.deepStrictEqual(seqs(heard), upTo(seqs(heard).length))
          const last = heard.slice(heard.findLastIndex(({ type }) => type === "job.subscribed"))
          assert.deepStrictEqual(
            last.flatMap(({ event_seq, job_seq }) => (event_seq === undefined ? [] : [job_seq])),
            upTo(52)
          )
          assert.deepStrictEqual(seqs(yield* answers(peer)), [])
        }),
      configured({ maxBatch: 1000 })
    )
  )

  it.effect("a job of somebody else is as unknown as one that never was, whatever is asked of it", () =>
    Effect.gen(function* () {
      const { job_id } = yield* submit(yield* join(), "sleeper", 100)
      const peer = yield* join({ token: "other", profile: "effect" })
      for (const job of [job_id, "job_none"]) {
        yield* peer.send({ type: "job.cancel", job_id: job })
        yield* peer.send({ type: "job.subscribe", payload: { job_id: job, history: true } })
        yield* peer.send({ type: "job.submit", payload: { agent: "tck-echo", input: 1, parent_job_id: job } })
      }
      const told = (yield* answers(peer)).map(({ payload }) =>
        JSON.stringify({ ...payload, request_id: "" }).replaceAll(job_id, "job_none")
      )
      assert.lengthOf(told, 6)
      assert.deepStrictEqual(told.slice(0, 3), told.slice(3))
    }).pipe(withRuntime({ tokens: { secret: "tester", other: "another" } }))
  )

  it.effect("a flood of cancellations is answered each, and ends the job once", () =>
    Effect.gen(function* () {
      const peer = yield* join({ profile: "effect" })
      const { job_id } = yield* submit(peer, "sleeper", 100)
      for (let request = 0; request < 300; request++) {
        yield* peer.send({ type: "job.cancel", job_id, payload: { reason: "r".repeat(5000) } })
      }
      assert.strictEqual((yield* outcome(peer, job_id)).terminal.payload["code"], "CANCELLED")
      yield* answers(peer)
      const heard = yield* received(peer)
      const isAnswer = ({ type }: TestPeer.Frame) => type === "job.cancelled" || type === "session.error"
      assert.strictEqual(heard.filter(isAnswer).length, 300)
      assert.strictEqual(heard.filter(({ type }) => type === "job.error").length, 1)
    }).pipe(withRuntime())
  )
})
