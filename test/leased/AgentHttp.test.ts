import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema, Stream } from "effect"
import { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as LeasedHttpClient from "../../src/leased/LeasedHttpClient.ts"
import * as PinnedHttp from "../../src/leased/PinnedHttp.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import { verifies } from "../conformance/verifies.ts"
import * as FakeHttp from "./FakeHttp.ts"

/** Knows nothing of leases, and catches nothing. */
const Reader = Agent.make({ name: "reader", input: Schema.String, output: Schema.String })
const ReaderLive = Reader.toLayer(
  Effect.fnUntraced(function* (url) {
    const response = yield* HttpClient.get(url)
    return yield* response.text
  })
)

/** A host with this HTTP, and a client of it. */
const over = (fake: FakeHttp.FakeHttp) =>
  ArcpTest.layer({ agents: ReaderLive }).pipe(
    Layer.provide(LeasedHttpClient.layer()),
    Layer.provide(Layer.succeed(PinnedHttp.PinnedHttp, fake.http))
  )

const read = (url: string, options?: ArcpClient.SubmitOptions) =>
  Effect.flatMap(ArcpClient.ArcpClient, (client) => client.submit(Reader, url, options))

const lease = { "net.fetch": ["https://good.com/pub/**"] }

describe("an agent that asks for HttpClient", () => {
  it.effect("gets what its lease covers", () =>
    Effect.gen(function* () {
      const job = yield* read("https://good.com/pub/x", { lease })
      assert.strictEqual(yield* job.result, "content")
    }).pipe(Effect.provide(over(FakeHttp.make({ reply: () => ({ body: "content" }) }))))
  )

  verifies("C-096", "ends with the protocol's code where it does not, if it lets the failure through", () => {
    const fake = FakeHttp.make({
      names: { "inside.good.com": [["10.0.0.1"]] },
      reply: () => ({ status: 302, headers: { location: "/admin" } })
    })
    return Effect.gen(function* () {
      const wide = { "net.fetch": ["https://*.good.com/**"] }
      for (const [url, options] of [
        ["https://evil.com/", { lease }],
        ["https://good.com/pub/x", {}],
        ["https://good.com/pub/redirected", { lease }],
        ["https://inside.good.com/", { lease: wide }]
      ] as const) {
        const job = yield* read(url, options)
        const error = yield* Effect.flip(job.result)
        assert.strictEqual(error._tag, "PermissionDenied", url)
      }
      assert.lengthOf(fake.sent, 1)
    }).pipe(Effect.provide(over(fake)))
  })

  it.effect("ends with LEASE_EXPIRED when its lease ends in the middle of a response", () =>
    Effect.gen(function* () {
      const job = yield* read("https://good.com/pub/x", { lease, expiresAt: "1970-01-01T00:00:10Z" })
      const ended = yield* Effect.forkChild(Effect.flip(job.result))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Fiber.join(ended))._tag, "LeaseExpired")
    }).pipe(Effect.provide(over(FakeHttp.make({ reply: () => ({ body: Stream.never }) }))))
  )

  it.effect("ends with an internal error when the line fails, and the error holds no secret", () =>
    Effect.gen(function* () {
      const job = yield* read("https://good.com/pub/x?token=hunter2", { lease })
      const error = yield* Effect.flip(job.result)
      assert.strictEqual(error._tag, "InternalError")
      assert.include(error.message, "broke off")
      assert.notInclude(JSON.stringify(error), "hunter2")
    }).pipe(
      Effect.provide(
        over(
          FakeHttp.make({
            reply: () => Effect.fail(new PinnedHttp.PinnedHttpError({ reason: "receive", message: "it broke off" }))
          })
        )
      )
    )
  )

  it.effect("is refused where the host offers none", () =>
    Effect.gen(function* () {
      const job = yield* read("https://good.com/pub/x", { lease })
      const error = yield* Effect.flip(job.result)
      assert.strictEqual(error._tag, "PermissionDenied")
      assert.include(error.message, "the host offers no HTTP client")
    }).pipe(Effect.provide(ArcpTest.layer({ agents: ReaderLive })))
  )

  it.effect("finds refusing services while its layer is built, whatever the host has", () => {
    const fake = FakeHttp.make()
    const Early = Agent.make({ name: "early", input: Schema.Null, output: Schema.String })
    const EarlyLive = Layer.unwrap(
      Effect.gen(function* () {
        const client = yield* HttpClient.HttpClient
        const exit = yield* Effect.exit(client.get("https://good.com/pub/x"))
        return Early.toLayer(() => Effect.succeed(exit._tag))
      })
    )
    return Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      assert.strictEqual(yield* (yield* client.submit(Early, null, { lease })).result, "Failure")
      assert.deepStrictEqual(fake.sent, [])
    }).pipe(
      Effect.provide(
        ArcpTest.layer({ agents: EarlyLive }).pipe(
          Layer.provide(LeasedHttpClient.layer()),
          Layer.provide(Layer.succeed(PinnedHttp.PinnedHttp, fake.http)),
          Layer.provide(
            Layer.succeed(
              HttpClient.HttpClient,
              HttpClient.make(() => Effect.die("the host's own"))
            )
          )
        )
      )
    )
  })
})
