import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import { verifies } from "../conformance/verifies.ts"
import { capture, handles, issue, rotate, stored, turn } from "./CredentialActs.ts"
import * as FakeUpstream from "./FakeUpstream.ts"

describe("Credentials over the lives of a runtime", () => {
  /** A life that ends without a word, as a process that is killed does. */
  const crash = (
    upstream: FakeUpstream.FakeUpstream,
    layer: Layer.Layer<CredentialStore.CredentialStore>,
    body: Effect.Effect<unknown, unknown, Credentials.Credentials | CredentialStore.CredentialStore>
  ) =>
    Effect.gen(function* () {
      const context = yield* Layer.buildWithScope(FakeUpstream.life([upstream], layer), yield* Scope.make())
      yield* Effect.provideContext(body, context)
    })

  verifies("C-120", "what was outstanding at a crash is revoked before the next life serves", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const { layer } = yield* FakeUpstream.durable
      yield* crash(upstream, layer, Effect.all([issue("job_1"), issue("job_2")]))
      assert.strictEqual(upstream.keys.size, 2)
      yield* Effect.gen(function* () {
        assert.isTrue(yield* Credentials.Credentials.useSync(({ available }) => available))
        assert.strictEqual(upstream.keys.size, 0)
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(Effect.provide(FakeUpstream.life([upstream], layer)))
    })
  })

  it.effect("a key that was being made at the crash is revoked when it is there", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const { layer } = yield* FakeUpstream.durable
      const waiting = yield* FakeUpstream.gate
      upstream.is.beforeIssue = waiting.pass
      yield* crash(upstream, layer, Effect.andThen(Effect.forkDetach(issue("job_1")), waiting.reached))
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
        assert.lengthOf(yield* stored, 1)
        yield* waiting.open
        yield* turn
        assert.strictEqual(upstream.keys.size, 1)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(upstream.keys.size, 0)
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(Effect.provide(FakeUpstream.life([upstream], layer)))
    })
  })

  it.effect("a start waits so long for an upstream that is down, and goes on trying behind that", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const { layer } = yield* FakeUpstream.durable
      yield* crash(upstream, layer, issue("job_1"))
      upstream.is.beforeRevoke = Effect.fail(upstream.error("Unavailable"))
      const scope = yield* Effect.scope
      const building = yield* Effect.forkChild(Layer.buildWithScope(FakeUpstream.life([upstream], layer), scope))
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(building.pollUnsafe())
      yield* TestClock.adjust("1 second")
      const context = yield* Fiber.join(building)
      yield* Effect.gen(function* () {
        assert.lengthOf(yield* issue("job_2"), 1)
        upstream.is.beforeRevoke = Effect.void
        yield* TestClock.adjust("3 minutes")
        assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-2"])
        assert.deepStrictEqual(yield* handles, ["gateway-key-2"])
      }).pipe(Effect.provideContext(context))
    })
  })

  it.effect("what no provisioner of this life can revoke is surfaced, and kept", () => {
    const [former, upstream] = [FakeUpstream.make("former"), FakeUpstream.make()]
    const log = capture()
    return Effect.gen(function* () {
      const { layer } = yield* FakeUpstream.durable
      yield* crash(former, layer, issue("job_1"))
      for (const upstreams of [[upstream], []]) {
        log.lines.length = 0
        yield* Effect.gen(function* () {
          const [entry] = yield* Credentials.Credentials.use(({ unrevocable }) => unrevocable)
          assert.strictEqual(entry!.outstanding.handle, "former-key-1")
          assert.match(log.lines[0]!.text, /no provisioner of that name/)
        }).pipe(Effect.provide(FakeUpstream.life(upstreams, layer)))
      }
      yield* Effect.provide(Effect.void, FakeUpstream.life([former], layer))
      assert.strictEqual(former.keys.size, 0)
    }).pipe(Effect.provide(log.layer))
  })

  it.effect("a life that cannot read what is outstanding issues nothing, and says so", () => {
    const upstream = FakeUpstream.make()
    const log = capture()
    const unreadable = Layer.succeed(CredentialStore.CredentialStore, {
      durable: true,
      add: () => Effect.void,
      fail: () => Effect.void,
      remove: () => Effect.void,
      list: Effect.fail(new CredentialStore.CredentialStoreError({ reason: "Unavailable", message: "torn" }))
    })
    return Effect.gen(function* () {
      assert.isFalse(yield* Credentials.Credentials.useSync(({ available }) => available))
      assert.deepStrictEqual(yield* issue("job_1"), [])
      assert.match(log.lines[0]!.text, /unknown, so no credentials are issued/)
    }).pipe(Effect.provide(FakeUpstream.life([upstream], unreadable)), Effect.provide(log.layer))
  })

  it.effect("a life that ends revokes what is outstanding, also what is being made or replaced", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const { layer } = yield* FakeUpstream.durable
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(FakeUpstream.life([upstream], layer), scope)
      yield* Effect.gen(function* () {
        const [credential] = yield* issue("job_1")
        upstream.is.beforeIssue = Effect.never
        upstream.is.beforeRotate = Effect.never
        const issuing = yield* Effect.forkChild(issue("job_2"))
        yield* Effect.forkChild(rotate("job_1", credential!.id))
        yield* turn
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Effect.flip(Fiber.join(issuing)))._tag, "InternalError")
      }).pipe(Effect.provideContext(context))
      assert.sameMembers([...new Set(upstream.revoked())], ["gateway-key-1", "gateway-key-2", "gateway-key-3"])
      assert.strictEqual(upstream.keys.size, 0)
      // Of these two nobody knows whether they come yet.
      assert.sameMembers(yield* Effect.provide(handles, layer), ["gateway-key-2", "gateway-key-3"])
    })
  })

  it.effect("an upstream that hangs delays the end of a life so long and no more, and the next one sees to it", () => {
    const upstream = FakeUpstream.make()
    return Effect.gen(function* () {
      const { layer } = yield* FakeUpstream.durable
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(FakeUpstream.life([upstream], layer), scope)
      yield* Effect.provideContext(issue("job_1"), context)
      upstream.is.beforeRevoke = Effect.never
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.lengthOf(yield* Effect.provide(stored, layer), 1)
      upstream.is.beforeRevoke = Effect.void
      yield* Effect.provide(Effect.void, FakeUpstream.life([upstream], layer))
      assert.strictEqual(upstream.keys.size, 0)
    })
  })
})
