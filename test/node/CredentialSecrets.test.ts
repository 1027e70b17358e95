/** No secret in any sink: not in a log, a span, a metric, an error, nor on the list of what is outstanding. */
import { assert, describe } from "@effect/vitest"
import { Effect, Fiber, Layer, Metric, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient } from "effect/http"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as LiteLlmProvisioner from "../../src/node/LiteLlmProvisioner.ts"
import * as OAuthProvisioner from "../../src/node/OAuthProvisioner.ts"
import * as FakeUpstream from "../authority/FakeUpstream.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Sinks from "../integration/Sinks.ts"
import * as HttpFake from "./HttpFake.ts"
import * as LiteLlmServer from "./LiteLlmServer.ts"
import * as OAuthServer from "./OAuthServer.ts"

const sealingKey = Buffer.from("CANARY of thirty-two bytes......").toString("base64")

describe("Secrets of credentials", () => {
  verifies("C-133", "are in no log, span, metric, error, nor on the list of what is outstanding", () => {
    const observed = Sinks.make()
    return Effect.gen(function* () {
      const litellm = yield* LiteLlmServer.make
      const oauth = yield* OAuthServer.make
      oauth.state.refreshes = true
      const fake = FakeUpstream.make()
      const backing = yield* Layer.build(KeyValueStore.layerMemory)
      const { layer: store } = FakeUpstream.durableOver(backing)
      const seen: Array<unknown> = []
      const kept: Array<string> = []

      const provisioners = CredentialProvisioner.layerAll([
        Effect.succeed(fake.provisioner),
        LiteLlmProvisioner.make({ url: litellm.url, masterKey: Redacted.make(LiteLlmServer.masterKey) }),
        OAuthProvisioner.make({
          tokenUrl: `${oauth.url}/token`,
          revocationUrl: `${oauth.url}/revoke`,
          clientId: OAuthServer.clientId,
          clientSecret: Redacted.make(OAuthServer.clientSecret),
          authentication: "post",
          sealingKey: Redacted.make(sealingKey),
          endpoint: "https://search.example.com",
          scopes: () => ["read"],
          subject: () =>
            Effect.succeed({
              token: Redacted.make(OAuthServer.subjectToken),
              type: "urn:ietf:params:oauth:token-type:jwt"
            })
        })
      ])

      const life = Credentials.layer({ revokeAttempts: 2 }).pipe(
        Layer.provide(store),
        Layer.provide(provisioners),
        Layer.provide(SecureRandom.layerWebCrypto),
        Layer.provide(FetchHttpClient.layer)
      )

      const keep = Effect.gen(function* () {
        const raw = yield* Effect.provideContext(KeyValueStore.KeyValueStore, backing)
        for (const key of yield* raw.keys) kept.push(key, String(yield* raw.get(key)))
      })

      yield* Effect.gen(function* () {
        const credentials = yield* Credentials.Credentials
        const submit = (name: string) =>
          credentials.issueFor(
            FakeUpstream.request(name, { grants: { "model.use": ["**"], "cost.budget": ["USD:1"] } }),
            { secure: true, onRotated: () => Effect.die(new Error("CANARY of the runtime")) },
            (issued) => Effect.succeed(issued)
          )
        const observe = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          Effect.map(Effect.exit(effect), (exit) => void seen.push(exit))
        /** Whose answers come over a real line, while retries wait on the clock of the test. */
        const elapse = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(Effect.exit(effect))
            while (fiber.pollUnsafe() === undefined) {
              yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
              yield* TestClock.adjust("100 millis")
            }
            return yield* Fiber.join(fiber)
          })

        const issued = yield* submit("job_1")
        assert.lengthOf(issued, 3)
        seen.push(issued, yield* credentials.current(FakeUpstream.job("job_1")))
        for (const { id } of issued) yield* observe(credentials.rotate(FakeUpstream.job("job_1"), id))
        yield* keep

        const canary = { error: { message: "CANARY", type: "CANARY", param: "CANARY" } }
        for (const [server, path] of [
          [litellm, "/models"],
          [litellm, "/key/generate"],
          [oauth, "/token"]
        ] as const) {
          for (const fault of [
            HttpFake.answer(400, canary),
            HttpFake.answer(200, canary),
            HttpFake.answer(200, `{"key":"sk-CANARY","access_token":"CANARY`),
            HttpFake.answer(302, canary, { location: "/CANARY" })
          ]) {
            server.spoil(path, fault)
            yield* observe(submit("job_2"))
          }
          for (let attempt = 0; attempt < 3; attempt++) server.spoil(path, { _tag: "Cut", bytes: 20 })
          seen.push(yield* elapse(submit("job_3")))
          for (let attempt = 0; attempt < 3; attempt++) server.spoil(path, { _tag: "Refuse" })
          seen.push(yield* elapse(submit("job_4")))
        }
        fake.is.afterIssue = Effect.die(new Error("CANARY of a defect"))
        yield* observe(submit("job_5"))
        fake.is.afterIssue = Effect.void

        fake.is.beforeRevoke = Effect.die("CANARY of a defect")
        litellm.spoil("/key/delete", HttpFake.answer(401, canary))
        oauth.spoil("/revoke", HttpFake.answer(400, { error: "CANARY" }))
        yield* credentials.revokeAll(FakeUpstream.job("job_1"))
        while ((yield* credentials.unrevocable).length < 3) {
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
        seen.push(yield* credentials.unrevocable)
        yield* keep
      }).pipe(Effect.provide(life))

      // The search would find something: the values were there, and so were the sinks.
      assert.isAbove(fake.calls.length, 5)
      assert.isAbove(litellm.state.made, 3)
      assert.isAbove(observed.logs.length, 20)
      assert.isAbove(observed.spans().length, 250)
      assert.isAbove(kept.length, 10)
      for (const [sink, text] of Object.entries({
        logs: observed.logs.join("\n"),
        spans: observed.spans().join("\n"),
        metrics: Sinks.written(yield* Metric.snapshot),
        errors: seen.map(Sinks.written).join("\n"),
        list: kept.join("\n")
      })) {
        const at = text.indexOf("CANARY")
        assert.strictEqual(at < 0 ? "" : text.slice(Math.max(0, at - 300), at + 100), "", sink)
        assert.notInclude(text, Buffer.from("CANARY").toString("base64"), sink)
        assert.notInclude(text, sealingKey, sink)
      }
    }).pipe(Effect.provide(observed.layer))
  })
})
