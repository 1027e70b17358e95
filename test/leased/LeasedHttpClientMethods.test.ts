import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { HttpClient, type HttpClientError, HttpClientRequest, type HttpClientResponse, HttpMethod } from "effect/http"
import { TestClock } from "effect/testing"
import * as LeasedHttpClient from "../../src/leased/LeasedHttpClient.ts"
import { verifies } from "../conformance/verifies.ts"
import * as FakeHttp from "./FakeHttp.ts"

type Member = Exclude<keyof HttpClient.HttpClient, `~${string}` | symbol>

type Call = (
  client: HttpClient.HttpClient,
  url: string
) => Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>

/** Every member of the service: how it sends a request, and by which method; or that it sends none. One without a row does not compile. */
const members: { readonly [M in Member]: readonly [method: string, call: Call] | "sends nothing" } = {
  execute: ["GET", (client, url) => client.execute(HttpClientRequest.get(url))],
  postprocess: ["GET", (client, url) => client.postprocess(Effect.succeed(HttpClientRequest.get(url)))],
  get: ["GET", (client, url) => client.get(url)],
  query: ["QUERY", (client, url) => client.query(url)],
  head: ["HEAD", (client, url) => client.head(url)],
  post: ["POST", (client, url) => client.post(url)],
  patch: ["PATCH", (client, url) => client.patch(url)],
  put: ["PUT", (client, url) => client.put(url)],
  del: ["DELETE", (client, url) => client.del(url)],
  options: ["OPTIONS", (client, url) => client.options(url)],
  // It only changes the request.
  preprocess: "sends nothing",
  pipe: "sends nothing",
  toString: "sends nothing",
  toJSON: "sends nothing"
}

/** The service has a method of this name that its type does not tell. */
const hidden: { readonly [name: string]: (typeof members)[Member] } = {
  trace: [
    "TRACE",
    (client, url) => {
      const { trace } = client as HttpClient.HttpClient & { readonly trace: HttpClient.HttpClient["get"] }
      return trace.call(client, url)
    }
  ]
}

const rows = Object.entries({ ...members, ...hidden })
const sending = rows.flatMap(([name, row]) => (row === "sends nothing" ? [] : [[name, ...row] as const]))

/** All that can be reached on the client, also through its prototypes. */
const namesOf = (client: HttpClient.HttpClient): ReadonlyArray<string> => {
  const names = new Set<string>()
  for (let at: object | null = client; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const key of Object.getOwnPropertyNames(at)) names.add(key)
  }
  return [...names].filter((name) => !name.startsWith("~")).toSorted()
}

const url = "https://good.com/pub/x"
const pub = ["https://good.com/pub/**"]

describe("each member of the leased HTTP client", () => {
  it.effect("is listed here, so that one which a later Effect adds is not overlooked", () =>
    Effect.gen(function* () {
      const listed = rows.map(([name]) => name).toSorted()
      assert.deepStrictEqual(namesOf(yield* FakeHttp.leased(FakeHttp.make().http, pub)), listed)
      assert.deepStrictEqual(namesOf(LeasedHttpClient.refusing), listed)
      const methods = sending.map(([, method]) => method)
      assert.sameMembers([...new Set(methods)], [...HttpMethod.all])
    })
  )

  it.effect.each(sending)("%s sends what is granted", ([name, method, call]) =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const client = yield* FakeHttp.leased(fake.http, pub)
      if (name === "trace") {
        yield* FakeHttp.failing(call(client, url))
        assert.deepStrictEqual(fake.sent, [])
        return
      }
      yield* call(client, url)
      assert.deepStrictEqual(
        fake.sent.map((sent) => [sent.method, sent.url]),
        [[method, url]]
      )
    })
  )

  verifies("C-096", "is refused by a lease that does not cover the URL, and sends nothing", () =>
    Effect.forEach(sending, ([name, , call]) =>
      Effect.gen(function* () {
        const fake = FakeHttp.make()
        for (const patterns of [[], ["https://good.com/*"], ["https://*.good.com/**"], ["http://good.com/**"]]) {
          yield* FakeHttp.refused(call(yield* FakeHttp.leased(fake.http, patterns), url))
        }
        assert.deepStrictEqual([name, ...fake.resolved, ...fake.sent], [name])
      })
    )
  )

  it.effect("is refused when the lease is over", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const constraints = { expires_at: "1970-01-01T00:00:01Z" }
      const client = yield* FakeHttp.leased(fake.http, pub, { constraints })
      yield* TestClock.adjust("1 second")
      for (const [, , call] of sending) {
        assert.strictEqual((yield* FakeHttp.denial(call(client, url)))._tag, "LeaseExpired")
      }
      assert.deepStrictEqual(fake.sent, [])
    })
  )

  it.effect("says so when the host offers no HTTP", () =>
    Effect.forEach(sending, ([, , call]) =>
      Effect.gen(function* () {
        const cause = yield* FakeHttp.refused(call(LeasedHttpClient.refusing, url))
        assert.include(cause.message, "the host offers no HTTP client")
      })
    )
  )

  it.effect("the accessors of the module go the same way", () =>
    Effect.gen(function* () {
      const fake = FakeHttp.make()
      const client = yield* FakeHttp.leased(fake.http, pub)
      const accessors = {
        del: HttpClient.del,
        execute: (text: string) => HttpClient.execute(HttpClientRequest.get(text))
      }
      for (const call of [HttpClient.get, HttpClient.post, ...Object.values(accessors)]) {
        yield* FakeHttp.refused(Effect.provideService(call("https://evil.com/"), HttpClient.HttpClient, client))
        yield* Effect.provideService(call(url), HttpClient.HttpClient, client)
      }
      assert.lengthOf(fake.sent, 4)
    })
  )
})
