import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Queue, Stream } from "effect"
import { HttpBody } from "effect/http"
import { TestClock } from "effect/testing"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as LeasedHttpClient from "../../src/leased/LeasedHttpClient.ts"
import * as PinnedHttp from "../../src/leased/PinnedHttp.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import * as FakeHttp from "./FakeHttp.ts"

const { denial, leased, utf8 } = FakeHttp

const pub = ["https://good.com/pub/**"]

describe("the end of a lease", () => {
  const constraints = { expires_at: "1970-01-01T00:00:10Z" }

  it.effect("refuses each request from that instant on", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const client = yield* leased(fake.http, pub, { constraints })
      yield* TestClock.adjust(9999)
      yield* client.get("https://good.com/pub/x")
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* denial(client.get("https://good.com/pub/x")))._tag, "LeaseExpired")
      assert.lengthOf(fake.sent, 1)
    })
  )

  it.effect("is looked at again for a redirect", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({
        reply: () => Effect.as(TestClock.adjust("10 seconds"), { status: 302, headers: { location: "/pub/y" } })
      })
      const client = yield* leased(fake.http, pub, { constraints })
      assert.strictEqual((yield* denial(client.get("https://good.com/pub/x")))._tag, "LeaseExpired")
      assert.lengthOf(fake.sent, 1)
    })
  )

  it.effect("cuts off a request that waits for its response", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({ reply: () => Effect.never })
      const client = yield* leased(fake.http, pub, { constraints })
      const fiber = yield* Effect.forkChild(denial(client.get("https://good.com/pub/x")))
      yield* TestClock.adjust(9999)
      assert.isUndefined(fiber.pollUnsafe())
      assert.strictEqual(fake.open(), 1)
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "LeaseExpired")
      assert.strictEqual(fake.open(), 0)
    })
  )

  it.effect("cuts off a body between its parts, also in a silence", () =>
    Effect.gen(function* () {
      for (const silent of [false, true]) {
        const parts = yield* Queue.unbounded<Uint8Array>()
        const fake = FakeHttp.make({ reply: () => ({ body: Stream.fromQueue(parts) }) })
        const now = Number(yield* Effect.clockWith((clock) => clock.currentTimeMillis))
        const client = yield* leased(fake.http, pub, {
          constraints: { expires_at: new Date(now + 10_000).toISOString() }
        })
        const response = yield* client.get("https://good.com/pub/x")
        const got: Array<string> = []
        const reading = yield* Effect.forkChild(
          denial(Stream.runForEach(response.stream, (part) => Effect.sync(() => got.push(String(part)))))
        )
        yield* Queue.offer(parts, utf8("a"))
        yield* TestClock.adjust(9999)
        assert.deepStrictEqual(got, ["97"])
        if (!silent) yield* Queue.offer(parts, utf8("b"))
        yield* TestClock.adjust(1)
        if (!silent) yield* Queue.offer(parts, utf8("c"))
        assert.strictEqual((yield* Fiber.join(reading))._tag, "LeaseExpired")
        assert.deepStrictEqual(got, silent ? ["97"] : ["97", "98"])
        assert.strictEqual(fake.open(), 0)
      }
    })
  )

  it.effect("cuts off a body by the guard's clock, whatever clock the agent brings", () =>
    Effect.gen(function* () {
      const parts = yield* Queue.unbounded<Uint8Array>()
      const fake = FakeHttp.make({ reply: () => ({ body: Stream.fromQueue(parts) }) })
      const client = yield* leased(fake.http, pub, { constraints })
      const frozen = TestClock.layer()
      const reading = yield* Effect.gen(function* () {
        const response = yield* client.get("https://good.com/pub/x")
        return yield* response.text
      }).pipe(Effect.provide(frozen), denial, Effect.forkChild)
      yield* Queue.offer(parts, utf8("a"))
      yield* TestClock.adjust("10 seconds")
      yield* Queue.offer(parts, utf8("b"))
      assert.strictEqual((yield* Fiber.join(reading))._tag, "LeaseExpired")
    })
  )

  it.effect("cuts off what is gathered in memory, and a body that is sent", () =>
    Effect.gen(function* () {
      const late = Stream.fromEffect(Effect.as(Effect.sleep("20 seconds"), utf8("late")))
      const fake = FakeHttp.make({ reply: () => ({ body: late }) })
      const client = yield* leased(fake.http, pub, { constraints })
      const response = yield* client.get("https://good.com/pub/x")
      const gathering = yield* Effect.forkChild(denial(response.json))
      const sending = yield* Effect.forkChild(
        denial(client.post("https://good.com/pub/x", { body: HttpBody.stream(late) }))
      )
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Fiber.join(gathering))._tag, "LeaseExpired")
      assert.strictEqual((yield* Fiber.join(sending))._tag, "LeaseExpired")
      assert.lengthOf(fake.sent, 1)
      assert.strictEqual(fake.open(), 0)
    })
  )

  it.effect("sends no part of a body after it", () =>
    Effect.gen(function* () {
      const taken: Array<string> = []
      const http = PinnedHttp.PinnedHttp.of({
        ...FakeHttp.make().http,
        send: ({ body }) =>
          Effect.andThen(
            Stream.runForEach(body!.content, (part) => Effect.sync(() => taken.push(String(part)))),
            Effect.never
          )
      })
      // A guard that no timer of this side helps.
      const lease = yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, constraints, 0))
      const guard = yield* LeaseGuard.make(lease)
      const blind = { ...guard, lease: yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, {}, 0)) }
      const client = LeasedHttpClient.make(http, blind)
      const parts = Stream.fromIterable(["a", "b", "c"]).pipe(
        Stream.mapEffect((part) => Effect.as(Effect.sleep("4 seconds"), utf8(part)))
      )
      const sending = yield* Effect.forkChild(
        denial(client.post("https://good.com/pub/x", { body: HttpBody.stream(parts) }))
      )
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual((yield* Fiber.join(sending))._tag, "LeaseExpired")
      assert.deepStrictEqual(taken, ["97", "98"])
    })
  )

  it.effect("is looked at again for each address that is tried", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({
        names: { "good.com": [["93.184.215.14", "93.184.215.15"]] },
        reply: () =>
          Effect.andThen(
            TestClock.adjust("10 seconds"),
            Effect.fail(new PinnedHttp.PinnedHttpError({ reason: "connect", message: "no route" }))
          )
      })
      const guard = yield* LeaseGuard.make(yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, constraints, 0)))
      const blind = { ...guard, lease: yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, {}, 0)) }
      const client = LeasedHttpClient.make(fake.http, blind)
      assert.strictEqual((yield* denial(client.get("https://good.com/pub/x")))._tag, "LeaseExpired")
      assert.lengthOf(fake.sent, 1)
    })
  )

  it.effect("is no end of the budget: that refuses the next request, and lets what was begun come to its end", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make({ reply: () => ({ body: Stream.make(utf8("a"), utf8("b")) }) })
      const lease = yield* Effect.fromResult(Lease.make({ "net.fetch": pub }, {}, 0))
      const spent = new ArcpError.BudgetExhausted({ message: "nothing is left" })
      let left = true
      const guard: LeaseGuard.LeaseGuard["Service"] = {
        ...(yield* LeaseGuard.make(lease)),
        authorize: () => Effect.suspend(() => (left ? Effect.void : Effect.fail(spent)))
      }
      const client = LeasedHttpClient.make(fake.http, guard)
      const response = yield* client.get("https://good.com/pub/x")
      left = false
      assert.strictEqual(yield* response.text, "ab")
      assert.strictEqual((yield* denial(client.get("https://good.com/pub/x")))._tag, "BudgetExhausted")
      assert.lengthOf(fake.sent, 1)
    })
  )

  it.effect("60 days ahead cuts nothing off", () =>
    Effect.gen(function* () {
      const parts = yield* Queue.unbounded<Uint8Array>()
      const fake = FakeHttp.make({ reply: () => ({ body: Stream.fromQueue(parts) }) })
      const client = yield* leased(fake.http, pub, { constraints: { expires_at: "1970-03-02T00:00:00Z" } })
      const response = yield* client.get("https://good.com/pub/x")
      const reading = yield* Effect.forkChild(Effect.flip(response.text))
      yield* TestClock.adjust("59 days")
      assert.isUndefined(reading.pollUnsafe())
      yield* TestClock.adjust("1 day")
      assert.strictEqual((yield* Fiber.join(reading)).reason._tag, "DecodeError")
    })
  )
})
