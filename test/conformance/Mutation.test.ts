/**
 * Frames that were damaged on the way: whatever arrives, the codec answers with a value, and a runtime with a refusal at most.
 *
 * Every input follows from its number, which a failure names. `MUTATION_SEED=20000` begins with another one.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Logger, References, Result, Scope } from "effect"
import * as Codec from "../../src/protocol/Codec.ts"
import * as Feature from "../../src/protocol/Feature.ts"
import type { ConnectionError } from "../../src/session/Connection.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import dialects from "../protocol/fixtures/dialects.json" with { type: "json" }
import events from "../protocol/fixtures/events.json" with { type: "json" }
import jobs from "../protocol/fixtures/job.json" with { type: "json" }
import sessions from "../protocol/fixtures/session.json" with { type: "json" }
import { join, run, withRuntime } from "./Conversation.ts"

const first = Number(process.env["MUTATION_SEED"] ?? 0)
const count = 10_000

/** What an honest answer takes at most, in milliseconds. A machine can stall on its own: only what is slow three times is slow. */
const patience = 50

/** Numbers below a bound, from a seed (Mulberry32). */
const generator = (seed: number) => {
  let state = seed | 0
  return (bound: number) => {
    state = (state + 0x6d2b79f5) | 0
    let word = Math.imul(state ^ (state >>> 15), 1 | state)
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word
    return Math.floor((((word ^ (word >>> 14)) >>> 0) / 4_294_967_296) * bound)
  }
}

type Draw = ReturnType<typeof generator>

/** What parsers stumble over. */
const tokens = [
  "null", "true", "[]", "{}", "[", "{", "}", '"', ",", ":", "\\", "\\u0000", "\\ud800", "-1", "-0", "0", "1e999", "1.5",
  "9007199254740993", '"__proto__":{},', '"constructor":1,', '"type":"job.submit",', '"payload":[],', "\u0000", "\u{1f370}",
  "[".repeat(3000), '"x-vendor.a.b"', '"1970-01-01T00:00:00Z"', "job_", "@", "**", "..", "%2e"
].map((token) => new TextEncoder().encode(token)) // prettier-ignore

const changes: ReadonlyArray<(bytes: Array<number>, at: number, draw: Draw) => void> = [
  (bytes, at, draw) => (bytes[at] = (bytes[at] ?? 0) ^ (1 << draw(8))),
  (bytes, at, draw) => (bytes[at] = draw(256)),
  (bytes, at, draw) => bytes.splice(at, 0, draw(256)),
  (bytes, at, draw) => bytes.splice(at, 1 + draw(8)),
  (bytes, at, draw) => bytes.splice(at, 0, ...bytes.slice(at, at + draw(64))),
  (bytes, at) => bytes.splice(at),
  (bytes, at, draw) => bytes.splice(at, draw(2) * 4, ...tokens[draw(tokens.length)]!),
  (bytes, at, draw) => bytes.splice(at, 0, ...bytes.splice(draw(bytes.length), draw(32)))
]

/** A frame with one to four changes to its bytes. */
const mutate = (frame: string, draw: Draw): string => {
  const bytes = Array.from(new TextEncoder().encode(frame))
  for (let left = 1 + draw(4); left > 0; left--) {
    changes[draw(changes.length)]!(bytes, draw(bytes.length + 1), draw)
  }
  return new TextDecoder().decode(Uint8Array.from(bytes))
}

const shown = (seed: number, text: string) => `input ${seed}: ${JSON.stringify(text.slice(0, 500))}`

describe("Damaged frames", () => {
  it("are values to the codec", () => {
    const corpus = [...sessions, ...jobs, ...events, ...dialects].map(({ frame }) => JSON.stringify(frame))
    let refused = 0
    for (let seed = first; seed < first + count; seed++) {
      const draw = generator(seed)
      const text = mutate(corpus[draw(corpus.length)]!, draw)
      for (const decode of [Codec.decodeFromClient, Codec.decodeFromRuntime]) {
        const times: Array<number> = []
        do {
          const start = performance.now()
          let result: Result.Result<{ readonly type: string }, Codec.BadFrame>
          try {
            result = decode(text)
          } catch (error) {
            throw new Error(`The codec threw on ${shown(seed, text)}`, { cause: error })
          }
          times.push(performance.now() - start)
          if (Result.isSuccess(result)) {
            assert.isString(result.success.type)
          } else {
            refused++
            assert.strictEqual(result.failure.error._tag, "InvalidRequest", shown(seed, text))
            assert.isAbove(result.failure.error.message.length, 0, shown(seed, text))
            assert.isBelow(result.failure.error.message.length, 1000, shown(seed, text))
          }
        } while (times.at(-1)! > patience && times.length < 3)
        assert.isBelow(Math.min(...times), patience, shown(seed, text))
      }
    }
    // The changes are not so harsh that nothing else is tried.
    assert.isBelow(refused, count * 2)
    assert.isAbove(refused, count / 2)
  })

  const requests: ReadonlyArray<TestPeer.Draft> = [
    {
      type: "job.submit",
      trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
      payload: {
        agent: "tck-echo@1.0.0",
        input: { text: "café 🍰", list: [1, 2.5, null, true] },
        lease_request: { "fs.read": ["/workspace/**", "/etc/*.conf"], "net.fetch": ["https://example.com/**"] },
        lease_constraints: { expires_at: "2099-01-01T00:00:00Z" },
        idempotency_key: "key",
        max_runtime_sec: 60
      }
    },
    { type: "job.submit", payload: { agent: "tck-log-emitter", input: 2, lease_request: { "tool.call": ["a.*"] } } },
    { type: "job.submit", payload: { agent: "streamer", input: ["a", "b"] } },
    { type: "job.cancel", job_id: "job_x", payload: { job_id: "job_x", reason: "no more" } },
    { type: "session.ping", payload: { nonce: "n", sent_at: "2026-01-01T00:00:00.000Z" } },
    { type: "session.pong", payload: { ping_nonce: "n", received_at: "2026-01-01T00:00:00.000Z" } },
    { type: "session.ack", payload: { last_processed_seq: 7, jobs: { job_x: 3 } } },
    {
      type: "session.list_jobs",
      payload: { filter: { status: ["running"], agent: "tck-echo", created_after: "2026-01-01T00:00:00Z" }, limit: 5 }
    },
    { type: "job.subscribe", payload: { job_id: "job_x", from_event_seq: 0, history: true } },
    { type: "job.unsubscribe", payload: { job_id: "job_x" } },
    { type: "session.close", payload: { reason: "done" } },
    { type: "session.bye", payload: { reason: "done" } }
  ]

  it.live(
    "get a refusal from a runtime, and the next ping its pong",
    () => {
      const complaints: Array<string> = []
      const complaint = Logger.make(({ logLevel, message, cause }) => {
        if (logLevel === "Error" || logLevel === "Fatal") complaints.push(`${String(message)} ${String(cause)}`)
      })
      const rejected = (reason: unknown) => complaints.push(`unhandled: ${String(reason)}`)

      /** A session that can be thrown away. */
      const open = Effect.gen(function* () {
        const scope = yield* Scope.make()
        const peer = yield* Scope.provide(join({ features: Feature.all }), scope)
        return { peer, release: Scope.close(scope, Exit.void) }
      })

      /** Sends what was damaged and a ping. What comes must be the pong, or the end of a session that was told to end. */
      const probe = Effect.fnUntraced(function* (
        peer: TestPeer.TestPeer,
        text: string,
        nonce: string
      ): Effect.fn.Return<"alive" | "ended", TestPeer.PeerError> {
        yield* peer.send(text)
        yield* Effect.ignore(peer.send({ type: "session.ping", id: nonce, payload: { nonce } }))
        const isPong = (frame: TestPeer.Frame) => frame.payload["ping_nonce"] === nonce
        const heard = yield* Effect.exit(peer.until("session.pong", isPong))
        if (Exit.isSuccess(heard)) return "alive"
        const end = yield* peer.closed
        const decoded = Codec.decodeFromClient(text)
        const type = Result.isSuccess(decoded) ? decoded.success.type : undefined
        assert.include(["session.close", "session.bye"], type, "only a farewell ends a session")
        assert.strictEqual(end.code, 1000)
        return "ended"
      })

      /** A damaged hello is welcomed, and then the session is whole, or it is refused and the line closed. */
      const greet = Effect.fnUntraced(function* (
        text: string,
        nonce: string
      ): Effect.fn.Return<"alive" | "ended", TestPeer.PeerError | ConnectionError, TestPeer.TestPeers | Scope.Scope> {
        const peer = yield* TestPeer.connect
        yield* peer.send(text)
        const first = yield* peer.receive
        if (first.type === "session.welcome") {
          assert.strictEqual(yield* probe(peer, "{", nonce), "alive")
        } else {
          assert.include(["session.error", "job.error"], first.type)
          assert.isString(first.payload["code"])
          assert.include([1002, 1008, 1013], (yield* peer.closed).code)
        }
        return "ended"
      }, Effect.scoped)

      return Effect.gen(function* () {
        let { peer, release } = yield* open
        let ended = 0
        const identified = [TestPeer.helloOf(), ...requests].map((draft, index) =>
          JSON.stringify({ arcp: "1.1", id: `msg_${index}`, payload: {}, ...draft })
        )
        for (let seed = first; seed < first + count; seed++) {
          const draw = generator(seed)
          const which = draw(identified.length)
          const text = mutate(identified[which]!, draw)
          const times: Array<number> = []
          do {
            const start = performance.now()
            const nonce = `${seed}/${times.length}`
            const result = yield* Effect.mapError(
              which === 0 ? greet(text, nonce) : probe(peer, text, nonce),
              (error) => new Error(`${shown(seed, text)}\n${error.message}`)
            )
            times.push(performance.now() - start)
            if (which > 0 && (result === "ended" || times.at(-1)! > patience || seed % 500 === 0)) {
              ended += result === "ended" ? 1 : 0
              yield* release
              ;({ peer, release } = yield* open)
            }
          } while (times.at(-1)! > patience && times.length < 3)
          assert.isBelow(Math.min(...times), patience, shown(seed, text))
          assert.deepStrictEqual(complaints, [], shown(seed, text))
        }
        yield* release
        assert.isAbove(ended, 0)
        assert.strictEqual((yield* run(yield* join(), "tck-echo", "still here")).terminal.type, "job.result")
      }).pipe(
        withRuntime(),
        Effect.provide(Logger.layer([complaint])),
        Effect.provideService(References.MinimumLogLevel, "Error"),
        (test) =>
          Effect.acquireUseRelease(
            Effect.sync(() => process.on("unhandledRejection", rejected)),
            () => test,
            () => Effect.sync(() => process.off("unhandledRejection", rejected))
          )
      )
    },
    60_000
  )
})
