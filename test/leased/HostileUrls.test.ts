import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Result } from "effect"
import { NetAddress } from "effect/net"
import * as CanonicalUrl from "../../src/authority/CanonicalUrl.ts"
import * as Lease from "../../src/authority/Lease.ts"
import * as NetworkAddress from "../../src/authority/NetworkAddress.ts"
import * as Operation from "../../src/authority/Operation.ts"
import { verifies } from "../conformance/verifies.ts"
import * as FakeHttp from "./FakeHttp.ts"
import { benign, hostile } from "./fixtures/hostileUrls.ts"

const leaseOf = (grants: ReadonlyArray<string>) => Result.getOrThrow(Lease.make({ "net.fetch": grants }, {}, 0))

const covers = (lease: Lease.Lease, operation: Operation.Operation) =>
  Result.isSuccess(Lease.authorize(lease, operation, 0))

/** Whether the request would be sent, by the parts that decide it, one after the other. */
const decide = (lease: Lease.Lease, url: string, names: FakeHttp.Options["names"] = {}) => {
  if (!covers(lease, Operation.netFetch(url))) return "lease"
  const { host } = Result.getOrThrow(CanonicalUrl.parse(url))
  const literal = NetworkAddress.literal(host)
  const addresses = (names[host]?.[0] ?? ["93.184.215.14"]).map(NetAddress.ipFromStringUnsafe)
  const demand = NetworkAddress.demandOf(host, literal._tag === "Some" ? [literal.value] : addresses)
  if (demand === "refused" || (demand === "named" && !covers(lease, Operation.netFetchInside(url)))) return "address"
  return "sent"
}

describe("hostile URLs", () => {
  it("are at least five hundred, no two alike in a class, each class with its origin", () => {
    const all = hostile.flatMap(({ urls }) => urls)
    assert.isAtLeast(new Set(all).size, 500)
    for (const { name, source, urls } of hostile) {
      assert.lengthOf(new Set(urls), urls.length, name)
      assert.isAbove(source.length, 10, name)
    }
  })

  describe("are refused and nothing is sent:", () => {
    for (const { by, grants, name, names = {}, urls } of hostile) {
      verifies("C-098", `${name} (${urls.length})`, () =>
        Effect.gen(function* () {
          const lease = leaseOf(grants)
          for (const url of urls) {
            assert.strictEqual(decide(lease, url, names), by === "name" ? "sent" : by, url)
            const fake = FakeHttp.make({ names })
            const client = yield* FakeHttp.leased(fake.http, grants)
            const exit = yield* Effect.exit(client.get(url))
            assert.isTrue(Exit.isFailure(exit), url)
            assert.deepStrictEqual(fake.sent, [], url)
            // A text that is no URL is not even asked about.
            if (URL.canParse(url)) yield* FakeHttp.refused(exit)
            if (by === "lease") assert.deepStrictEqual(fake.resolved, [], url)
          }
        })
      )
    }
  })

  it.effect("are refused where a redirect leads to them, too", () =>
    Effect.gen(function* () {
      for (const { grants, name, names = {}, urls } of hostile) {
        for (const url of urls) {
          // A relative one leads to where the redirect came from.
          if (!URL.canParse(url)) continue
          const start = grants.includes("https://h/pub/**") ? "https://h/pub/start" : "https://start.good.com/start"
          const fake = FakeHttp.make({
            names,
            reply: (sent) => (sent.url === start ? { status: 302, headers: { location: url } } : {})
          })
          const client = yield* FakeHttp.leased(fake.http, grants)
          const exit = yield* Effect.exit(client.get(start))
          const after = fake.sent.slice(1).map((sent) => sent.url)
          // In a header, what the parser strips is gone before it is judged: it leads to the place that is left, or nowhere.
          const lease = leaseOf(grants)
          for (const followed of after) assert.strictEqual(decide(lease, followed, names), "sent", `${name}: ${url}`)
          if (after.length === 0) assert.isTrue(Exit.isFailure(exit), `${name}: ${url}`)
        }
      }
    })
  )
})

describe("benign URLs", () => {
  for (const { grants, names = {}, urls } of benign) {
    it.effect(`are sent under ${grants.join(" ")}`, () =>
      Effect.gen(function* () {
        const fake = FakeHttp.make({ names })
        const client = yield* FakeHttp.leased(fake.http, grants)
        for (const url of urls) {
          yield* Effect.mapError(client.get(url), (error) => new Error(url, { cause: error }))
          assert.strictEqual(decide(leaseOf(grants), url, names), "sent", url)
        }
        assert.lengthOf(fake.sent, urls.length)
      })
    )
  }
})
