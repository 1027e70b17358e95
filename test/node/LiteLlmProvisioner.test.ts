import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Duration, Effect, Fiber, Layer, Option, Redacted, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, type HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import type * as CredentialStore from "../../src/authority/CredentialStore.ts"
import * as LiteLlmProvisioner from "../../src/node/LiteLlmProvisioner.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import * as FakeUpstream from "../authority/FakeUpstream.ts"
import { verifies } from "../conformance/verifies.ts"
import * as HttpFake from "./HttpFake.ts"
import * as LiteLlmServer from "./LiteLlmServer.ts"

const { job, request } = FakeUpstream

const everything: Capability.Grants = { "model.use": ["**"], "cost.budget": ["USD:5.00"] }

const options = (server: LiteLlmServer.LiteLlmServer): LiteLlmProvisioner.Options => ({
  url: server.url,
  masterKey: Redacted.make(LiteLlmServer.masterKey)
})

interface Stage {
  readonly server: LiteLlmServer.LiteLlmServer
  readonly provisioner: CredentialProvisioner.Provisioner
  readonly issue: (
    asked: CredentialProvisioner.Request | Capability.Grants
  ) => Effect.Effect<ReadonlyArray<CredentialProvisioner.Issued>, CredentialProvisioner.ProvisionError>
  /** Handles in the order in which they were remembered. */
  readonly remembered: Array<string>
  /** What the proxy was asked to make, the last time. */
  readonly asked: () => { readonly [parameter: string]: unknown }
}

const isRequest = (asked: CredentialProvisioner.Request | Capability.Grants): asked is CredentialProvisioner.Request =>
  "job" in asked

const stage = Effect.fnUntraced(function* (changes: Partial<LiteLlmProvisioner.Options> = {}) {
  const server = yield* LiteLlmServer.make
  const provisioner = yield* LiteLlmProvisioner.make({ ...options(server), ...changes })
  const remembered: Array<string> = []
  const built: Stage = {
    server,
    provisioner,
    remembered,
    issue: (asked) =>
      provisioner.issue(isRequest(asked) ? asked : request("job_1", { grants: asked }), (handle) =>
        Effect.sync(() => {
          remembered.push(handle)
        })
      ),
    asked: () => JSON.parse(server.to("/key/generate").at(-1)?.text ?? "{}")
  }
  return built
})

const test = (
  title: string,
  body: (stage: Stage) => Effect.Effect<void, unknown, Scope.Scope | HttpClient.HttpClient>,
  changes: Partial<LiteLlmProvisioner.Options> = {}
) => it.effect(title, () => Effect.flatMap(stage(changes), body).pipe(Effect.provide(FetchHttpClient.layer)))

/** Nothing that an upstream said, and nothing that was sent to it. */
const isDiscreet = (error: unknown) =>
  assert.notMatch(`${String(error)} ${JSON.stringify(error)} ${error instanceof Error ? error.stack : ""}`, /CANARY/)

describe("LiteLlmProvisioner", () => {
  verifies("C-122", "bakes models, budget and expiry into the key, and echoes what the proxy has confirmed", () =>
    Effect.gen(function* () {
      const { asked, issue, provisioner, remembered, server } = yield* stage()
      const grants = {
        "model.use": ["claude/*", "gpt-4o"],
        "cost.budget": ["USD:0.15", "USD:0.10", "EUR:7"],
        "net.fetch": ["https://example.com/**"]
      }
      const issued = yield* issue(request("job_1", { grants, expiresAt: "1970-01-01T01:00:00.900Z", parent: "job_0" }))
      assert.deepStrictEqual(asked(), {
        key_alias: remembered[0],
        key_type: "llm_api",
        models: ["gpt-4o", "claude/haiku", "claude/opus"],
        max_budget: 0.25,
        duration: "3600s",
        metadata: {
          arcp_job_id: "job_1",
          arcp_agent: "writer@1.0.0",
          arcp_principal: "ada",
          arcp_parent_job_id: "job_0"
        }
      })
      const [{ credential, handle, renewAt }] = issued as readonly [CredentialProvisioner.Issued]
      const [key] = [...server.keys.values()]
      assert.strictEqual(Redacted.value(credential.value), key!.value)
      assert.deepStrictEqual(
        { ...credential, value: undefined },
        {
          scheme: "bearer",
          value: undefined,
          endpoint: `${server.url}/v1`,
          profile: "openai",
          constraints: {
            "model.use": ["gpt-4o", "claude/haiku", "claude/opus"],
            "cost.budget": ["USD:0.25"],
            expires_at: "1970-01-01T01:00:00.000Z"
          }
        }
      )
      assert.deepStrictEqual([handle, renewAt], [key!.alias, Option.none()])
      assert.strictEqual(provisioner.name, "litellm")

      // The proxy is the one who enforces it.
      const complete = (model: string) => server.complete(key!.value, model).status
      assert.deepStrictEqual(["gpt-4o", "claude/opus", "gpt-4o-mini", "claude"].map(complete), [200, 200, 401, 401])
      assert.strictEqual(complete("gpt-4o"), 200)
      const spent = server.complete(key!.value, "gpt-4o")
      assert.isTrue(LiteLlmProvisioner.isBudgetExceeded(spent.status, spent.body))
      server.state.now = 3_600_000
      assert.strictEqual(complete("gpt-4o"), 401)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  describe("models", () => {
    test("are those of the proxy that a pattern of the lease covers, by name and never by pattern", ({
      asked,
      issue,
      server
    }) =>
      Effect.gen(function* () {
        // The proxy would take a star for any characters, and a dot for any one.
        server.state.models = ["a/b", "a/b/c", "ab", "a.b", "axb", "openai/*", "a/*"]
        const models = (...patterns: ReadonlyArray<string>) =>
          Effect.map(issue({ "model.use": patterns }), (issued) => (issued.length === 0 ? [] : asked()["models"]))
        assert.deepStrictEqual(yield* models("a/*"), ["a/b"])
        assert.deepStrictEqual(yield* models("a/**"), ["a/b", "a/b/c"])
        assert.deepStrictEqual(yield* models("a.b"), ["a.b"])
        assert.deepStrictEqual(yield* models("a*"), ["ab", "a.b", "axb"])
        assert.deepStrictEqual(yield* models("**"), ["a/b", "a/b/c", "ab", "a.b", "axb"])
      }))

    test("that the lease does not speak of, or that the proxy does not have, give no key: an empty list would be all of them", ({
      issue,
      server
    }) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* issue({}), [])
        assert.deepStrictEqual(yield* issue({ "cost.budget": ["USD:1"] }), [])
        assert.deepStrictEqual(yield* issue({ "model.use": [] }), [])
        assert.deepStrictEqual(yield* issue({ "model.use": ["gpt-5"] }), [])
        assert.lengthOf(server.to("/key/generate"), 0)
      }))

    test("cannot be asked for in words that mean all of them to the proxy", ({ issue, server }) =>
      Effect.gen(function* () {
        const words = ["all-proxy-models", "all-team-models", "no-default-models"]
        assert.deepStrictEqual(yield* issue({ "model.use": words }), [])
        server.state.models = ["gpt-4o", ...words]
        assert.deepStrictEqual(yield* issue({ "model.use": words }), [])
        assert.lengthOf(server.to("/key/generate"), 0)
      }))

    test(
      "can be listed, and then the proxy is not asked",
      ({ asked, issue, server }) =>
        Effect.gen(function* () {
          yield* issue({ "model.use": ["**"] })
          assert.deepStrictEqual(asked()["models"], ["gpt-4o"])
          assert.lengthOf(server.to("/models"), 0)
        }),
      { models: ["gpt-4o"] }
    )

    test(
      "can be given to a lease that does not speak of them",
      ({ asked, issue }) =>
        Effect.gen(function* () {
          yield* issue({})
          assert.deepStrictEqual(asked()["models"], ["gpt-4o-mini"])
          assert.deepStrictEqual(yield* issue({ "model.use": [] }), [])
        }),
      { modelsByDefault: ["gpt-4o-mini"] }
    )

    test("are none once the lease has expired", ({ issue, server }) =>
      Effect.gen(function* () {
        const late = request("job_1", { grants: everything, expiresAt: "1970-01-01T00:01:00Z" })
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* issue(late), [])
        assert.lengthOf(server.to("/key/generate"), 0)
      }))
  })

  describe("money", () => {
    test("of other currencies is nothing to the proxy, and not echoed", ({ asked, issue }) =>
      Effect.gen(function* () {
        const [issued] = yield* issue({ "model.use": ["**"], "cost.budget": ["EUR:5", "usd:1"] })
        assert.notProperty(asked(), "max_budget")
        assert.notProperty(issued!.credential.constraints, "cost.budget")
      }))

    test(
      "has a most, also if the lease bounds nothing",
      ({ asked, issue }) =>
        Effect.gen(function* () {
          const [issued] = yield* issue({ "model.use": ["**"] })
          assert.strictEqual(asked()["max_budget"], 2.5)
          assert.deepStrictEqual(issued!.credential.constraints?.["cost.budget"], ["USD:2.5"])
          yield* issue(everything)
          assert.strictEqual(asked()["max_budget"], 2.5)
          yield* issue({ ...everything, "cost.budget": ["USD:1"] })
          assert.strictEqual(asked()["max_budget"], 1)
        }),
      { maxBudget: "2.50" }
    )

    test("is what the job has left, to a billionth, and with nothing left there is no key", ({
      asked,
      issue,
      server
    }) =>
      Effect.gen(function* () {
        const left = (text: string) =>
          request("job_1", {
            grants: everything,
            budget: Effect.succeed(new Map([["USD", BigDecimal.fromStringUnsafe(text)]]))
          })
        const [issued] = yield* issue(left("1.23456789099"))
        assert.strictEqual(asked()["max_budget"], 1.23456789)
        assert.deepStrictEqual(issued!.credential.constraints?.["cost.budget"], ["USD:1.23456789"])
        for (const nothing of ["0", "-1", "0.0000000001"]) assert.deepStrictEqual(yield* issue(left(nothing)), [])
        assert.lengthOf(server.to("/key/generate"), 1)
      }))
  })

  describe("time", () => {
    test("has a most, and what lasts no longer is to be replaced", ({ asked, issue }) =>
      Effect.gen(function* () {
        const [day] = yield* issue(everything)
        assert.strictEqual(asked()["duration"], "86400s")
        assert.strictEqual(day!.credential.constraints?.expires_at, "1970-01-02T00:00:00.000Z")
        assert.deepStrictEqual(day!.renewAt, Option.some(0.75 * 86_400_000))
        const [short] = yield* issue(request("job_1", { grants: everything, expiresAt: "1970-01-02T00:00:00Z" }))
        assert.deepStrictEqual(short!.renewAt, Option.none())
        yield* issue(request("job_1", { grants: everything, expiresAt: "1970-01-01T00:00:00.100Z" }))
        assert.strictEqual(asked()["duration"], "1s")
      }))

    test(
      "can be unbounded",
      ({ asked, issue }) =>
        Effect.gen(function* () {
          const [issued] = yield* issue(everything)
          assert.notProperty(asked(), "duration")
          assert.notProperty(issued!.credential.constraints, "expires_at")
          assert.deepStrictEqual(issued!.renewAt, Option.none())
          yield* issue(request("job_1", { grants: everything, expiresAt: "1970-01-01T00:01:00Z" }))
          assert.strictEqual(asked()["duration"], "60s")
        }),
      { lifetime: Duration.infinity }
    )

    test("without a zone is UTC", ({ issue, server }) =>
      Effect.gen(function* () {
        server.spoil("/key/generate", {
          _tag: "Bend",
          bend: (answer) => ({ ...answer, body: { ...(answer.body as object), expires: "1970-01-02T00:00:00.250000" } })
        })
        const [issued] = yield* issue(everything)
        assert.strictEqual(issued!.credential.constraints?.expires_at, "1970-01-02T00:00:00.250Z")
      }))
  })

  test(
    "hands on further parameters, and says where agents find the proxy",
    ({ asked, issue, provisioner }) =>
      Effect.gen(function* () {
        const [issued] = yield* issue(everything)
        assert.strictEqual(asked()["team_id"], "team-7")
        assert.deepStrictEqual(asked()["metadata"], {
          team: "core",
          arcp_job_id: "job_1",
          arcp_agent: "writer@1.0.0",
          arcp_principal: "ada"
        })
        assert.strictEqual(issued!.credential.endpoint, "https://llm.example.com/v1")
        assert.strictEqual(provisioner.name, "gateway")
      }),
    {
      name: "gateway",
      endpoint: "https://llm.example.com/v1/",
      parameters: { team_id: "team-7", metadata: { team: "core", arcp_job_id: "forged" } }
    }
  )

  it.effect("refuses options that cannot be meant, by name", () =>
    Effect.gen(function* () {
      const field = (changes: Partial<LiteLlmProvisioner.Options>) =>
        LiteLlmProvisioner.make({ url: "https://llm.example.com", masterKey: Redacted.make("sk-1"), ...changes }).pipe(
          Effect.match({ onFailure: (error) => error.field, onSuccess: () => "none" })
        )
      assert.strictEqual(yield* field({}), "none")
      assert.strictEqual(yield* field({ url: "http://[::1]:4000" }), "none")
      for (const url of [
        "llm.example.com",
        "ftp://llm.example.com",
        "http://llm.example.com",
        "https://a:b@llm.example.com",
        "https://llm.example.com?key=1"
      ]) {
        assert.strictEqual(yield* field({ url }), "url", url)
        assert.strictEqual(yield* field({ endpoint: url }), "endpoint", url)
      }
      assert.strictEqual(yield* field({ masterKey: Redacted.make("") }), "masterKey")
      assert.strictEqual(yield* field({ models: ["gpt-4o", "gpt-*"] }), "models[1]")
      assert.strictEqual(yield* field({ modelsByDefault: ["all-proxy-models"] }), "modelsByDefault[0]")
      assert.strictEqual(yield* field({ parameters: { budget_duration: "1d" } }), "parameters.budget_duration")
      assert.strictEqual(yield* field({ maxBudget: "ten" }), "maxBudget")
      assert.strictEqual(yield* field({ lifetime: "59 seconds" }), "lifetime")
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  describe("a proxy that fails", () => {
    const failing = (
      title: string,
      fault: HttpFake.Fault,
      expected: { readonly reason: CredentialProvisioner.Reason; readonly retryAfter?: number }
    ) =>
      test(title, ({ issue, provisioner, server }) =>
        Effect.gen(function* () {
          const [issued] = yield* issue(everything)
          const operations = {
            "/models": Effect.asVoid(issue(everything)),
            "/key/generate": Effect.asVoid(issue(everything)),
            "/key/info": Effect.asVoid(
              provisioner.rotate!(request("job_1", { grants: everything }), issued!, () => Effect.void)
            ),
            "/key/delete": provisioner.revoke(issued!.handle)
          }
          for (const [path, operation] of Object.entries(operations)) {
            server.spoil(path, fault)
            const error = yield* Effect.flip(operation)
            assert.deepStrictEqual(
              { reason: error.reason, ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }) },
              expected,
              path
            )
            isDiscreet(error)
            isDiscreet(CredentialProvisioner.toArcpError(error))
          }
        })
      )

    const error = (status: number, type: string, message: string, headers?: Record<string, string>) =>
      HttpFake.answer(
        status,
        { error: { message: `${message} CANARY`, type, param: "None", code: String(status) } },
        headers
      )

    failing("does not know our key", error(401, "auth_error", "Authentication Error"), { reason: "Rejected" })
    failing("does not let our key do this", error(403, "auth_error", "Only proxy admins"), { reason: "Rejected" })
    failing("asks for patience", error(429, "throttling_error", "Slow down", { "retry-after": "7" }), {
      reason: "Unavailable",
      retryAfter: 7000
    })
    failing(
      "asks for patience until a date",
      error(429, "throttling_error", "Slow down", { "retry-after": "Thu, 01 Jan 1970 00:00:12 GMT" }),
      { reason: "Unavailable", retryAfter: 12_000 }
    )
    failing("asks for patience in no way we know", error(429, "x", "Slow down", { "retry-after": "soon" }), {
      reason: "Unavailable"
    })
    failing("has an error of its own", error(500, "internal_server_error", "DB not connected"), {
      reason: "Unavailable"
    })
    failing("is down for maintenance", error(503, "x", "x", { "retry-after": "120" }), {
      reason: "Unavailable",
      retryAfter: 120_000
    })
    failing("does not understand", HttpFake.answer(422, { detail: [{ msg: "CANARY" }] }), { reason: "Rejected" })
    failing("has spent its budget", error(400, "budget_exceeded", "Budget has been exceeded!"), {
      reason: "BudgetExceeded"
    })
    failing("has spent its budget, in newer words", error(429, "budget_exceeded", "over"), { reason: "BudgetExceeded" })
    failing("has spent its budget, in older words", error(400, "auth_error", "ExceededBudget: User=a over budget."), {
      reason: "BudgetExceeded"
    })
    failing("leads elsewhere", HttpFake.answer(307, "", { location: "https://evil.example/CANARY" }), {
      reason: "Rejected"
    })
    failing("hangs up", { _tag: "Refuse" }, { reason: "Unavailable" })
    failing("hangs up in the middle", { _tag: "Cut", bytes: 9 }, { reason: "Unavailable" })
    failing("talks without end", HttpFake.answer(200, `"${"CANARY".repeat(200_000)}"`), { reason: "Malformed" })

    test("answers in no JSON", ({ issue, provisioner, server }) =>
      Effect.gen(function* () {
        server.spoil("/models", HttpFake.answer(200, "<html>CANARY</html>"))
        const models = yield* Effect.flip(issue(everything))
        server.spoil("/key/generate", HttpFake.answer(200, `{"key":"sk-CANARY","models":["gpt-4o"]`))
        const generate = yield* Effect.flip(issue(everything))
        server.spoil("/key/delete", HttpFake.answer(200, "CANARY"))
        const revoke = yield* Effect.flip(provisioner.revoke("arcp-1"))
        assert.deepStrictEqual(
          [models.reason, generate.reason, revoke.reason],
          ["Malformed", "Malformed", "Unavailable"]
        )
        for (const error of [models, generate, revoke]) isDiscreet(error)
      }))

    test("does not answer", ({ issue, provisioner, server }) =>
      Effect.gen(function* () {
        for (const [path, operation] of [
          ["/models", issue(everything)],
          ["/key/generate", issue(everything)],
          ["/key/delete", provisioner.revoke("arcp-1")]
        ] as const) {
          server.spoil(path, { _tag: "Hang" })
          const reached = yield* Effect.forkChild(server.reached(path), { startImmediately: true })
          const waiting = yield* Effect.forkChild(Effect.flip(Effect.asVoid(operation)))
          yield* Fiber.join(reached)
          yield* TestClock.adjust("10 seconds")
          const error = yield* Fiber.join(waiting)
          assert.strictEqual(error.reason, "Unavailable", path)
          assert.match(error.message, /^no answer within 10s$/)
        }
      }))

    test("gives a key that is not what was asked for: it is remembered, so that it can be revoked, and not given out", ({
      issue,
      remembered,
      server
    }) =>
      Effect.gen(function* () {
        const bent: ReadonlyArray<object> = [
          { models: [] },
          { models: ["gpt-4o", "gpt-5"] },
          { models: ["all-proxy-models"] },
          { max_budget: null },
          { max_budget: 5.01 },
          { max_budget: "5" },
          { budget_duration: "1d" },
          { expires: null },
          { expires: "never" },
          { key: "" },
          { key: null }
        ]
        for (const change of bent) {
          server.spoil("/key/generate", {
            _tag: "Bend",
            bend: (answer) => ({ ...answer, body: { ...(answer.body as object), ...change } })
          })
          const error = yield* Effect.flip(issue(everything))
          assert.strictEqual(error.reason, "Malformed", JSON.stringify(change))
          isDiscreet(error)
        }
        assert.deepStrictEqual(remembered, [...server.keys.keys()])
      }))

    test("knows the name of the key already: the next attempt has another", ({ issue, remembered, server }) =>
      Effect.gen(function* () {
        server.spoil("/key/generate", {
          _tag: "Answer",
          status: 400,
          text: JSON.stringify({
            error: {
              message: "Key with alias 'arcp-1' already exists. Unique key aliases across all keys are required.",
              type: "bad_request_error",
              param: "key_alias",
              code: "400"
            }
          })
        })
        assert.strictEqual((yield* Effect.flip(issue(everything))).reason, "Unavailable")
        assert.lengthOf(yield* issue(everything), 1)
        assert.lengthOf(new Set(remembered), 2)
      }))
  })

  describe("revoking", () => {
    test("ends the key, and is done also if there is none", ({ issue, provisioner, server }) =>
      Effect.gen(function* () {
        const [issued] = yield* issue(everything)
        const { value } = [...server.keys.values()][0]!
        assert.strictEqual(server.complete(value, "gpt-4o").status, 200)
        yield* provisioner.revoke(issued!.handle)
        assert.strictEqual(server.complete(value, "gpt-4o").status, 401)
        yield* provisioner.revoke(issued!.handle)
        yield* provisioner.revoke("arcp-never")
        assert.deepStrictEqual(
          server.to("/key/delete").map(({ text }) => JSON.parse(text)),
          [issued!.handle, issued!.handle, "arcp-never"].map((handle) => ({ key_aliases: [handle] }))
        )
      }))

    test("is not done because something in between knows no such page", ({ provisioner, server }) =>
      Effect.gen(function* () {
        for (const page of [{ detail: "Not Found" }, "<h1>404</h1>", ""]) {
          server.spoil("/key/delete", HttpFake.answer(404, page))
          assert.strictEqual((yield* Effect.flip(provisioner.revoke("arcp-1"))).reason, "Rejected")
        }
      }))
  })

  describe("replacing", () => {
    const replace = (
      { provisioner, remembered }: Stage,
      issued: CredentialProvisioner.Issued,
      asked = request("job_1", { grants: everything })
    ) => provisioner.rotate!(asked, issued, (handle) => Effect.sync(() => void remembered.push(handle)))

    test("makes a key of its own with what the former has left", (stage) =>
      Effect.gen(function* () {
        const { asked, issue, remembered, server } = stage
        const [first] = yield* issue(everything)
        const former = server.keys.get(first!.handle)!
        server.complete(former.value, "gpt-4o")
        server.complete(former.value, "gpt-4o")
        server.complete(former.value, "gpt-4o")
        const second = yield* replace(stage, first!)
        // 5 - (0.1 + 0.1 + 0.1), as the proxy counts.
        assert.strictEqual(asked()["max_budget"], 4.699999999)
        assert.deepStrictEqual(second.credential.constraints?.["cost.budget"], ["USD:4.699999999"])
        assert.notStrictEqual(second.handle, first!.handle)
        assert.deepStrictEqual(remembered, [first!.handle, second.handle])
        assert.notStrictEqual(Redacted.value(second.credential.value), former.value)
        // The former one works until it is revoked.
        assert.strictEqual(server.complete(former.value, "gpt-4o").status, 200)
        // The value itself is in no address.
        assert.notMatch(String(server.to("/key/info")[0]!.url), /CANARY/)
      }))

    test("gives no more than the job itself has left", (stage) =>
      Effect.gen(function* () {
        const [first] = yield* stage.issue(everything)
        const budget = Effect.succeed(new Map([["USD", BigDecimal.fromStringUnsafe("1.5")]]))
        yield* replace(stage, first!, request("job_1", { grants: everything, budget }))
        assert.strictEqual(stage.asked()["max_budget"], 1.5)
      }))

    test("gives none when the money is spent, here or there", (stage) =>
      Effect.gen(function* () {
        const [first] = yield* stage.issue(everything)
        const budget = Effect.succeed(new Map([["USD", BigDecimal.fromStringUnsafe("0")]]))
        const here = yield* Effect.flip(replace(stage, first!, request("job_1", { grants: everything, budget })))
        stage.server.keys.get(first!.handle)!.spend = 5
        const there = yield* Effect.flip(replace(stage, first!))
        assert.deepStrictEqual([here.reason, there.reason], ["BudgetExceeded", "BudgetExceeded"])
        assert.strictEqual(stage.server.keys.size, 1)
      }))

    test("gives none for a key that somebody has deleted", (stage) =>
      Effect.gen(function* () {
        const [first] = yield* stage.issue(everything)
        stage.server.keys.clear()
        assert.strictEqual((yield* Effect.flip(replace(stage, first!))).reason, "Rejected")
        assert.strictEqual(stage.server.keys.size, 0)
      }))
  })

  describe("in a runtime", () => {
    const silent: Credentials.Terms = { secure: true, onRotated: () => Effect.void }
    const asked = request("job_1", { grants: everything })
    const submit = Credentials.Credentials.use(({ issueFor }) =>
      issueFor(asked, silent, (credentials) => Effect.succeed(credentials))
    )
    const end = Credentials.Credentials.use(({ revokeAll }) => revokeAll(job("job_1")))

    const life = (server: LiteLlmServer.LiteLlmServer, store: Layer.Layer<CredentialStore.CredentialStore>) =>
      Layer.fresh(Credentials.layer()).pipe(
        Layer.provideMerge(Layer.fresh(store)),
        Layer.provide(LiteLlmProvisioner.layer(options(server))),
        Layer.provide(SecureRandom.layerWebCrypto),
        Layer.provide(FetchHttpClient.layer)
      )

    /** Waits for what happens on a real line, without any time passing. */
    const eventually = (condition: () => boolean) =>
      Effect.gen(function* () {
        while (!condition()) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      })

    it.effect("a key lives from before the acceptance to after the end, replaced in between", () =>
      Effect.gen(function* () {
        const server = yield* LiteLlmServer.make
        const { layer } = yield* FakeUpstream.durable
        yield* Effect.gen(function* () {
          const credentials = yield* Credentials.Credentials
          const [first] = yield* submit
          const works = (value: Redacted.Redacted) => server.complete(Redacted.value(value), "gpt-4o").status === 200
          assert.isTrue(works(first!.value))
          assert.isTrue(yield* credentials.rotate(job("job_1"), first!.id))
          const [second] = yield* credentials.current(job("job_1"))
          assert.strictEqual(second!.id, first!.id)
          assert.isTrue(works(second!.value))
          yield* eventually(() => server.to("/key/delete").length === 1)
          assert.isFalse(works(first!.value))
          assert.isTrue(works(second!.value))
          yield* end
          yield* eventually(() => server.keys.size === 0)
          assert.isFalse(works(second!.value))
        }).pipe(Effect.provide(life(server, layer)))
      })
    )

    it.effect("a key that was made although the submitter had left is deleted", () =>
      Effect.gen(function* () {
        const server = yield* LiteLlmServer.make
        const { layer } = yield* FakeUpstream.durable
        yield* Effect.gen(function* () {
          const reached = yield* Effect.forkChild(server.reached("/key/generate"), { startImmediately: true })
          const submitting = yield* Effect.forkChild(submit)
          yield* Fiber.join(reached)
          yield* Fiber.interrupt(submitting)
          yield* eventually(() => server.state.made === 1 && server.keys.size === 0)
        }).pipe(Effect.provide(life(server, layer)))
      })
    )

    it.effect("a key whose answer never came is deleted by its name", () =>
      Effect.gen(function* () {
        const server = yield* LiteLlmServer.make
        const { layer } = yield* FakeUpstream.durable
        yield* Effect.gen(function* () {
          server.spoil("/key/generate", { _tag: "Hang" })
          const reached = yield* Effect.forkChild(server.reached("/key/generate"), { startImmediately: true })
          const submitting = yield* Effect.forkChild(submit)
          yield* Fiber.join(reached)
          assert.strictEqual(server.keys.size, 1)
          yield* TestClock.adjust("10 seconds")
          const again = yield* Effect.forkChild(server.reached("/key/generate"), { startImmediately: true })
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(again)
          const [credential] = yield* Fiber.join(submitting)
          yield* eventually(() => server.keys.size === 1)
          assert.strictEqual(Redacted.value(credential!.value), [...server.keys.values()][0]!.value)
          assert.strictEqual(server.state.made, 2)
          yield* end
          yield* eventually(() => server.keys.size === 0)
        }).pipe(Effect.provide(life(server, layer)))
      })
    )

    it.effect("a key that is weaker than its lease is deleted and the job refused", () =>
      Effect.gen(function* () {
        const server = yield* LiteLlmServer.make
        const { layer } = yield* FakeUpstream.durable
        yield* Effect.gen(function* () {
          server.spoil("/key/generate", {
            _tag: "Bend",
            bend: (answer) => ({ ...answer, body: { ...(answer.body as object), max_budget: null } })
          })
          assert.strictEqual((yield* Effect.flip(submit))._tag, "InternalError")
          yield* eventually(() => server.state.made === 1 && server.keys.size === 0)
        }).pipe(Effect.provide(life(server, layer)))
      })
    )

    it.effect("a budget that is spent at the proxy refuses the job with BUDGET_EXHAUSTED", () =>
      Effect.gen(function* () {
        const server = yield* LiteLlmServer.make
        const { layer } = yield* FakeUpstream.durable
        yield* Effect.gen(function* () {
          server.spoil("/key/generate", HttpFake.answer(429, { error: { type: "budget_exceeded", message: "CANARY" } }))
          const error = yield* Effect.flip(submit)
          assert.strictEqual(error._tag, "BudgetExhausted")
          isDiscreet(error)
        }).pipe(Effect.provide(life(server, layer)))
      })
    )

    it.effect("keys that a dead runtime has left are deleted before the next one serves", () =>
      Effect.gen(function* () {
        const server = yield* LiteLlmServer.make
        const { layer } = yield* FakeUpstream.durable
        // Its end is never reported.
        yield* Effect.provideContext(submit, yield* Layer.build(life(server, layer)))
        assert.strictEqual(server.keys.size, 1)
        yield* Effect.provide(
          Effect.sync(() => assert.strictEqual(server.keys.size, 0)),
          life(server, layer)
        )
      })
    )
  })
})
