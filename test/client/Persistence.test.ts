import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Latch, Layer, Redacted, Schema, Scope, Stream } from "effect"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as Fake from "./FakeRuntime.ts"

const Worker = Agent.make({ name: "worker", input: Schema.Int, output: Schema.FiniteFromString })

const gate = Latch.makeUnsafe(false)

const WorkerLive = Worker.toLayer(
  Effect.fnUntraced(function* (n) {
    const context = yield* JobContext.JobContext
    yield* context.log("info", "before")
    yield* gate.await
    yield* context.log("info", "after")
    return n
  })
)

const options = { token: Redacted.make("secret") }

/** A life of a process: the client, and how it ends. */
const live = (store: KeyValueStore.KeyValueStore, key?: string) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const layer = ArcpClient.ArcpClient.layerPersisted({ ...options, ...(key === undefined ? undefined : { key }) })
    const services = yield* Layer.buildWithScope(
      Layer.provide(layer, Layer.succeed(KeyValueStore.KeyValueStore, store)),
      scope
    )
    return { client: Context.get(services, ArcpClient.ArcpClient), end: Scope.close(scope, Exit.void) }
  })

const memory = Effect.map(Layer.build(KeyValueStore.layerMemory), (services) =>
  Context.get(services, KeyValueStore.KeyValueStore)
)

describe("a client that keeps its session", () => {
  it.effect("goes on with it in its next life: jobs are followed by attach, and can be cancelled", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* live(store)
      const one = yield* first.client.submit(Worker, 1)
      const two = yield* first.client.submit(Worker, 2)
      yield* Stream.runDrain(Stream.take(one.events, 2))
      const session = yield* first.client.session
      yield* first.end
      assert.strictEqual((yield* Fake.failed(one.result))._tag, "HeartbeatLost")

      const second = yield* live(store)
      assert.strictEqual((yield* second.client.session).id, session.id)
      const job = yield* second.client.attach(Worker, one.id)
      const other = yield* second.client.attach(Worker, two.id)
      yield* other.cancel()
      assert.strictEqual((yield* Fake.failed(other.result))._tag, "Cancelled")
      yield* gate.open
      assert.strictEqual(yield* job.result, 1)
      const said = (yield* Stream.runCollect(job.events)).flatMap(({ body, kind }) =>
        kind === "log" ? [(body as { readonly message: string }).message] : []
      )
      assert.deepStrictEqual(said, ["before", "after"])
      yield* second.end
    }).pipe(Effect.provide(ArcpTest.layerRuntime({ agents: WorkerLive })), Effect.scoped)
  )

  it.effect("begins anew when the session is gone, or what was kept cannot be read", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const gone = { session_id: "sess_x", resume_token: "rt_x", last_event_seq: 5 }
      yield* store.set("arcp/session", JSON.stringify(gone))
      const first = yield* live(store)
      const { id } = yield* first.client.session
      yield* Fake.settled
      assert.notStrictEqual(id as string, "sess_x")
      const kept: { session_id: string } = JSON.parse((yield* store.get("arcp/session"))!)
      assert.strictEqual(kept.session_id, id as string)
      yield* first.end
      yield* store.set("mine", "{")
      const second = yield* live(store, "mine")
      assert.notStrictEqual((yield* second.client.session).id, id)
      yield* Fake.settled
      assert.strictEqual(JSON.parse((yield* store.get("mine"))!).last_event_seq, 0)
      yield* second.end
    }).pipe(Effect.provide(ArcpTest.layerRuntime({ agents: WorkerLive })), Effect.scoped)
  )

  it.effect("resumes after the last event that was processed, and says nothing before the new token is kept", () =>
    Effect.gen(function* () {
      const runtime = yield* Fake.make()
      const saved = yield* Latch.make(false)
      const kept: Array<string> = []
      const store = KeyValueStore.makeStringOnly({
        get: () => Effect.succeed(JSON.stringify({ session_id: "sess_1", resume_token: "old", last_event_seq: 5 })),
        set: (_, value) =>
          Effect.andThen(
            saved.await,
            Effect.sync(() => kept.push(value))
          ),
        remove: () => Effect.void,
        clear: Effect.void,
        size: Effect.succeed(1),
        keys: Effect.succeed([])
      })
      const layer = Layer.provide(ArcpClient.ArcpClient.layerPersisted(options), [
        runtime.dialer,
        Layer.succeed(KeyValueStore.KeyValueStore, store)
      ])
      const building = yield* Effect.forkChild(Layer.build(layer))
      const hello = yield* runtime.welcome({ ...Fake.declared, resume_token: "new" })
      assert.deepStrictEqual(hello.payload.resume, { session_id: "sess_1", resume_token: "old", last_event_seq: 5 })
      const client = Context.get(yield* Fiber.join(building), ArcpClient.ArcpClient)
      yield* Effect.addFinalizer(() => runtime.close())
      yield* runtime.say({ type: "session.ping", payload: { nonce: "n" } })
      yield* Fake.settled
      assert.deepStrictEqual(yield* runtime.unheard, [])
      yield* saved.open
      yield* runtime.hear("session.pong")
      assert.deepStrictEqual(JSON.parse(kept[0]!), { session_id: "sess_1", resume_token: "new", last_event_seq: 5 })
      yield* runtime.say(Fake.event("job_1", 6))
      yield* Effect.forkChild(client.submit("a", null))
      yield* runtime.hear("job.submit")
      assert.strictEqual(runtime.dials(), 1)
      yield* TestClock.adjust("250 millis")
      yield* Fake.settled
      assert.strictEqual(JSON.parse(kept.at(-1)!).last_event_seq, 6)
    }).pipe(Effect.scoped)
  )

  it.effect("does not depend on the store to work", () =>
    Effect.gen(function* () {
      const broken = new KeyValueStore.KeyValueStoreError({ message: "no disk", method: "any" })
      const fail = () => Effect.fail(broken)
      const store = KeyValueStore.makeStringOnly({
        get: fail,
        set: fail,
        remove: fail,
        clear: Effect.fail(broken),
        size: Effect.fail(broken),
        keys: Effect.fail(broken)
      })
      const { client, end } = yield* live(store)
      yield* gate.open
      assert.strictEqual(yield* client.run(Worker, 3), 3)
      yield* end
    }).pipe(Effect.provide(ArcpTest.layerRuntime({ agents: WorkerLive })), Effect.scoped)
  )
})
