import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Feature from "../../src/protocol/Feature.ts"
import * as Connection from "../../src/session/Connection.ts"
import * as Dialer from "../../src/session/Dialer.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Fake from "./FakeRuntime.ts"

const layer = (options?: Partial<ArcpClient.Options>) =>
  ArcpClient.ArcpClient.layer({ token: Redacted.make("secret"), ...options })

/** Starts a client whose handshake the test plays. */
const start = (runtime: Fake.FakeRuntime, options?: Partial<ArcpClient.Options>) =>
  Effect.forkScoped(Fake.failed(Layer.build(Layer.provide(layer(options), runtime.dialer))))

describe("the handshake", () => {
  it.effect("offers what the client can do, and takes what both can", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const client = yield* Fake.connect(
        runtime,
        { name: "me", version: "2", features: ["progress", "heartbeat"] },
        { capabilities: { features: ["heartbeat", "ack", "x"], agents: ["old", { name: "new", default: null }] } }
      )
      const [hello] = runtime.heard
      assert.strictEqual(hello?.arcp, "1.1")
      assert.deepStrictEqual(hello?.payload, {
        client: { name: "me", version: "2" },
        auth: { scheme: "bearer", token: "secret" },
        capabilities: {
          encodings: ["json"],
          features: ["progress", "heartbeat"],
          "x-vendor.effect-arcp": { flow: 1 }
        }
      })
      const session = yield* client.session
      assert.strictEqual(session.id, Fake.sessionId)
      assert.deepStrictEqual([...session.features], ["heartbeat"])
      assert.deepStrictEqual(session.runtime, { name: "fake", version: "1" })
      assert.deepStrictEqual(session.resumeWindow, Duration.minutes(10))
      assert.deepStrictEqual(yield* client.agents, [
        { name: "old", versions: [] },
        { name: "new", versions: [] }
      ])
    })
  )

  it.effect("offers all features by default", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      yield* Fake.connect(runtime)
      assert.deepStrictEqual(runtime.heard[0]?.payload.capabilities.features, Feature.all)
    })
  )

  it.effect("gets its token when it dials", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      yield* Fake.connect(runtime, { token: Effect.sync(() => Redacted.make("fresh", { label: "mine" })) })
      assert.strictEqual(runtime.heard[0]?.payload.auth.token, "fresh")
    })
  )

  verifies(["C-006", "C-007"], "passes over frames and members that it does not know", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const building = yield* Effect.forkChild(Layer.build(Layer.provide(layer(), runtime.dialer)))
      yield* runtime.hear("session.hello")
      yield* runtime.sayRaw("{", "[]", `{"type":"zzz"}`)
      yield* runtime.say({ type: "session.ping", payload: { nonce: "n" } })
      yield* runtime.say({
        type: "session.welcome",
        zzz: 1,
        payload: { zzz: { a: 1 }, runtime: { name: "r", version: "1", zzz: 1 }, resume_token: "t", capabilities: {} }
      })
      yield* Effect.addFinalizer(() => runtime.close())
      yield* Fiber.join(building)
    })
  )

  it.effect("keeps what came in one batch with the welcome", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      yield* Effect.forkScoped(Layer.build(Layer.provide(layer(), runtime.dialer)))
      yield* runtime.hear("session.hello")
      const payload = { runtime: { name: "r", version: "1" }, resume_token: "t", capabilities: {} }
      yield* runtime.say({ type: "session.welcome", payload }, { type: "session.ping", payload: { nonce: "n" } })
      assert.strictEqual((yield* runtime.hear("session.pong")).payload.ping_nonce, "n")
      yield* Effect.addFinalizer(() => runtime.close())
    })
  )
})

describe("the handshake fails with", () => {
  it.effect("what the runtime refuses it with", () =>
    Effect.gen(function* () {
      const refusal = (code: string) =>
        Effect.gen(function* () {
          const runtime = yield* Fake.make()
          const failing = yield* start(runtime)
          yield* runtime.hear("session.hello")
          yield* runtime.say({ type: "session.error", payload: { code, message: "no", retryable: false } })
          return yield* Fiber.join(failing)
        })
      const unauthenticated = yield* refusal("UNAUTHENTICATED")
      assert.strictEqual(unauthenticated._tag, "Unauthenticated")
      assert.strictEqual(unauthenticated.message, "no")
      assert.strictEqual((yield* refusal("INVALID_REQUEST"))._tag, "InvalidRequest")
      const other = yield* refusal("PERMISSION_DENIED")
      assert.strictEqual(other._tag, "InternalError")
      assert.deepStrictEqual(other.details, { code: "PERMISSION_DENIED" })
    })
  )

  it.effect("Unauthenticated when the line is closed for policy, HeartbeatLost when otherwise", () =>
    Effect.gen(function* () {
      const closing = (code: number) =>
        Effect.gen(function* () {
          const runtime = yield* Fake.make()
          const failing = yield* start(runtime)
          yield* runtime.hear("session.hello")
          yield* runtime.close(code)
          return yield* Fiber.join(failing)
        })
      assert.strictEqual((yield* closing(1008))._tag, "Unauthenticated")
      const gone = yield* closing(1006)
      assert.strictEqual(gone._tag, "HeartbeatLost")
      assert.deepStrictEqual(gone.details, { reason: "closed", code: 1006 })
    })
  )

  it.effect("HeartbeatLost when nothing can be dialled, or nobody answers in time", () =>
    Effect.gen(function* () {
      const refused = new Connection.ConnectionError({ reason: "open", message: "nobody there" })
      const dead = Dialer.layer(Effect.fail(refused))
      const error = yield* Fake.failed(Layer.build(Layer.provide(layer(), dead)))
      assert.strictEqual(error._tag, "HeartbeatLost")
      assert.include(error.message, "nobody there")

      const runtime = yield* Fake.make()
      const failing = yield* start(runtime, { handshakeTimeout: "3 seconds" })
      yield* runtime.hear("session.hello")
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(failing.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(failing))._tag, "HeartbeatLost")
      assert.strictEqual((yield* runtime.closed).code, 1000)
    })
  )

  it.effect("InternalError for a welcome that cannot be read, or names no session", () =>
    Effect.gen(function* () {
      const welcomed = (frame: object) =>
        Effect.gen(function* () {
          const runtime = yield* Fake.make()
          const failing = yield* start(runtime)
          yield* runtime.hear("session.hello")
          yield* runtime.say({ type: "session.welcome", ...frame })
          return yield* Fiber.join(failing)
        })
      const unreadable = yield* welcomed({ payload: { runtime: { name: "r", version: "1" }, capabilities: {} } })
      assert.strictEqual(unreadable._tag, "InternalError")
      assert.include(unreadable.message, "resume_token")
      const payload = { runtime: { name: "r", version: "1" }, resume_token: "t", capabilities: {} }
      assert.include((yield* welcomed({ session_id: undefined, payload })).message, "session_id")
    })
  )
})

describe("closing the layer", () => {
  const open = Effect.fnUntraced(function* () {
    const runtime = yield* Fake.make()
    const scope = yield* Scope.make()
    yield* Effect.forkScoped(runtime.welcome())
    yield* Layer.buildWithScope(Layer.provide(layer(), runtime.dialer), scope)
    const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void))
    return { runtime, closing }
  })

  verifies("C-048", "says session.close, waits for session.closed and ends the line", () =>
    Effect.gen(function* () {
      const { closing, runtime } = yield* open()
      const close = yield* runtime.hear("session.close")
      assert.strictEqual(close.session_id, Fake.sessionId)
      assert.isUndefined(closing.pollUnsafe())
      yield* runtime.say({ type: "session.closed" })
      yield* Fiber.join(closing)
      assert.strictEqual((yield* runtime.closed).code, 1000)
    })
  )

  it.effect("says session.bye to a runtime that does not know session.close", () =>
    Effect.gen(function* () {
      const { closing, runtime } = yield* open()
      yield* runtime.hear("session.close")
      yield* runtime.say({
        type: "session.error",
        payload: { code: "INVALID_REQUEST", message: "what?", retryable: false }
      })
      yield* runtime.hear("session.bye")
      yield* Fiber.join(closing)
    })
  )

  it.effect("says session.bye when no answer comes within a second", () =>
    Effect.gen(function* () {
      const { closing, runtime } = yield* open()
      yield* runtime.hear("session.close")
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(yield* runtime.unheard, [])
      yield* TestClock.adjust("1 millis")
      yield* runtime.hear("session.bye")
      yield* Fiber.join(closing)
    })
  )

  it.effect("does not wait on a line that is gone", () =>
    Effect.gen(function* () {
      const { closing, runtime } = yield* open()
      yield* runtime.close()
      yield* Fiber.join(closing)
    })
  )
})
