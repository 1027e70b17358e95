import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Redacted, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, type HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import * as OAuthProvisioner from "../../src/node/OAuthProvisioner.ts"
import * as FakeUpstream from "../authority/FakeUpstream.ts"
import * as HttpFake from "./HttpFake.ts"
import * as OAuthServer from "./OAuthServer.ts"

const { job, request } = FakeUpstream

const sealingKey = Redacted.make(Buffer.alloc(32, 7).toString("base64"))

const options = (server: OAuthServer.OAuthServer): OAuthProvisioner.Options => ({
  tokenUrl: `${server.url}/token`,
  revocationUrl: `${server.url}/revoke`,
  clientId: OAuthServer.clientId,
  clientSecret: Redacted.make(OAuthServer.clientSecret),
  sealingKey,
  endpoint: "https://search.example.com/v2",
  scopes: ({ lease }) => lease.grants["tool.call"] ?? []
})

const asked = request("job_1", { grants: { "tool.call": ["read", "write"] } })

interface Stage {
  readonly server: OAuthServer.OAuthServer
  readonly provisioner: CredentialProvisioner.Provisioner
  readonly issue: (
    asked: CredentialProvisioner.Request
  ) => Effect.Effect<ReadonlyArray<CredentialProvisioner.Issued>, CredentialProvisioner.ProvisionError>
  readonly remembered: Array<string>
}

const stage = Effect.fnUntraced(function* (changes: Partial<OAuthProvisioner.Options> = {}) {
  const server = yield* OAuthServer.make
  const provisioner = yield* OAuthProvisioner.make({ ...options(server), ...changes })
  const remembered: Array<string> = []
  const built: Stage = {
    server,
    provisioner,
    remembered,
    issue: (asked) => provisioner.issue(asked, (handle) => Effect.sync(() => void remembered.push(handle)))
  }
  return built
})

const test = (
  title: string,
  body: (stage: Stage) => Effect.Effect<void, unknown, Scope.Scope | HttpClient.HttpClient>,
  changes: Partial<OAuthProvisioner.Options> = {}
) => it.effect(title, () => Effect.flatMap(stage(changes), body).pipe(Effect.provide(FetchHttpClient.layer)))

const valueOf = (issued: CredentialProvisioner.Issued | undefined) => Redacted.value(issued!.credential.value)

const isDiscreet = (error: unknown) =>
  assert.notMatch(`${String(error)} ${JSON.stringify(error)} ${error instanceof Error ? error.stack : ""}`, /CANARY/)

const bend = (change: object): HttpFake.Fault => ({
  _tag: "Bend",
  bend: (answer) => ({ ...answer, body: { ...(answer.body as object), ...change } })
})

const subject = () =>
  Effect.succeed({ token: Redacted.make(OAuthServer.subjectToken), type: "urn:ietf:params:oauth:token-type:jwt" })

describe("OAuthProvisioner", () => {
  for (const authentication of ["basic", "post"] as const) {
    test(
      `asks with client credentials for the scopes of the lease, as a client that authenticates by ${authentication}`,
      ({ issue, server }) =>
        Effect.gen(function* () {
          const [issued] = yield* issue(asked)
          assert.isTrue(server.isGood(valueOf(issued), "read"))
          assert.isTrue(server.isGood(valueOf(issued), "write"))
          assert.deepStrictEqual(server.state.authentications, [authentication])
          const { form, subject } = server.tokens.get(valueOf(issued))!
          assert.strictEqual(subject, OAuthServer.clientId)
          assert.deepStrictEqual(
            { ...form },
            {
              grant_type: "client_credentials",
              scope: "read write",
              audience: "search",
              ...(authentication === "post"
                ? { client_id: OAuthServer.clientId, client_secret: OAuthServer.clientSecret }
                : {})
            }
          )
          assert.deepStrictEqual(
            { ...issued!.credential, value: undefined },
            {
              scheme: "bearer",
              value: undefined,
              endpoint: "https://search.example.com/v2",
              profile: "generic",
              constraints: { expires_at: "1970-01-01T01:00:00.000Z" }
            }
          )
        }),
      { authentication, parameters: { audience: "search" }, profile: "generic" }
    )
  }

  test(
    "exchanges the token of whoever the job belongs to",
    ({ issue, server }) =>
      Effect.gen(function* () {
        const [issued] = yield* issue(asked)
        const { form, subject } = server.tokens.get(valueOf(issued))!
        assert.strictEqual(subject, "ada")
        assert.deepStrictEqual(
          { ...form },
          {
            grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token: OAuthServer.subjectToken,
            subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
            requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
            scope: "read write"
          }
        )
      }),
    {
      subject: ({ principal }) => {
        assert.strictEqual(principal, "ada")
        return subject()
      }
    }
  )

  test("gives no token for no scope, and does not ask for one", ({ issue, server }) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* issue(request("job_1")), [])
      assert.deepStrictEqual(server.calls, [])
    }))

  test("asks for no scope that would be two", ({ issue, server }) =>
    Effect.gen(function* () {
      for (const scope of ["read write", 'read"', "read\\", "réad", "read\u0000"]) {
        const error = yield* Effect.flip(issue(request("job_1", { grants: { "tool.call": [scope] } })))
        assert.strictEqual(error.reason, "Rejected")
      }
      assert.deepStrictEqual(server.calls, [])
    }))

  describe("time", () => {
    test("is over for a token when the server says, and then it is to be replaced, unless the lease ends before", ({
      issue,
      server
    }) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("10 seconds")
        const [open] = yield* issue(asked)
        assert.deepStrictEqual(open!.renewAt, Option.some(10_000 + 2_700_000))
        assert.strictEqual(open!.credential.constraints?.expires_at, "1970-01-01T01:00:10.000Z")
        const grants = { "tool.call": ["read"] }
        const [later] = yield* issue(request("job_1", { grants, expiresAt: "1970-01-01T02:00:00Z" }))
        assert.isTrue(Option.isSome(later!.renewAt))
        const [before] = yield* issue(request("job_1", { grants, expiresAt: "1970-01-01T01:00:10Z" }))
        assert.deepStrictEqual(before!.renewAt, Option.none())
        server.spoil("/token", bend({ expires_in: "60" }))
        const [text] = yield* issue(asked)
        assert.deepStrictEqual(text!.renewAt, Option.some(10_000 + 45_000))
        server.spoil("/token", bend({ expires_in: undefined }))
        const [unknown] = yield* issue(asked)
        assert.notProperty(unknown!.credential, "constraints")
        assert.deepStrictEqual(unknown!.renewAt, Option.none())
      }))
  })

  test("gives a new token for a former one, which works until it is revoked", ({
    issue,
    provisioner,
    remembered,
    server
  }) =>
    Effect.gen(function* () {
      const [first] = yield* issue(asked)
      const second = yield* provisioner.rotate!(asked, first!, (handle) =>
        Effect.sync(() => void remembered.push(handle))
      )
      assert.deepStrictEqual(remembered, [first!.handle, second.handle])
      assert.isTrue(server.isGood(valueOf(first), "read"))
      yield* provisioner.revoke(first!.handle)
      assert.isFalse(server.isGood(valueOf(first), "read"))
      assert.isTrue(server.isGood(valueOf(second), "read"))
      const none = yield* Effect.flip(provisioner.rotate!(request("job_1"), second, () => Effect.void))
      assert.strictEqual(none.reason, "Rejected")
    }))

  describe("revoking", () => {
    test("is asked for with the token itself, and done also a second time", ({ issue, provisioner, server }) =>
      Effect.gen(function* () {
        const [issued] = yield* issue(asked)
        yield* provisioner.revoke(issued!.handle)
        assert.strictEqual(server.tokens.size, 0)
        yield* provisioner.revoke(issued!.handle)
        assert.deepStrictEqual(
          server.to("/revoke").map(({ text }) => Object.fromEntries(new URLSearchParams(text))),
          [1, 2].map(() => ({ token: valueOf(issued), token_type_hint: "access_token" }))
        )
      }))

    test("takes back what could bring forth more tokens first, and the token in any case", ({
      issue,
      provisioner,
      server
    }) =>
      Effect.gen(function* () {
        server.state.refreshes = true
        const [issued] = yield* issue(asked)
        assert.strictEqual(server.tokens.size, 2)
        server.spoil("/revoke", HttpFake.answer(400, { error: "unsupported_token_type" }))
        assert.strictEqual((yield* Effect.flip(provisioner.revoke(issued!.handle))).reason, "Rejected")
        assert.isFalse(server.isGood(valueOf(issued), "read"))
        yield* provisioner.revoke(issued!.handle)
        assert.strictEqual(server.tokens.size, 0)
        const hints = server.to("/revoke").map(({ text }) => new URLSearchParams(text).get("token_type_hint"))
        assert.deepStrictEqual(hints, ["refresh_token", "access_token", "refresh_token", "access_token"])
      }))

    test("is by a handle that shows nothing to who has not the key", ({ issue, provisioner, server }) =>
      Effect.gen(function* () {
        const [issued] = yield* issue(asked)
        const { handle } = issued!
        const bytes = Buffer.from(handle, "base64url")
        for (const encoding of ["latin1", "utf8", "base64", "hex"] as const) {
          assert.notInclude(bytes.toString(encoding), Buffer.from("CANARY").toString(encoding).replace(/=+$/, ""))
        }
        // The same token twice does not look the same.
        server.spoil("/token", bend({ access_token: valueOf(issued) }))
        const [again] = yield* issue(asked)
        assert.strictEqual(valueOf(again), valueOf(issued))
        assert.notStrictEqual(again!.handle.slice(0, 16), handle.slice(0, 16))
        const other = yield* OAuthProvisioner.make({
          ...options(server),
          sealingKey: Redacted.make(Buffer.alloc(32, 8).toString("base64"))
        })
        const namesake = yield* OAuthProvisioner.make({ ...options(server), name: "another" })
        for (const [revoker, shown] of [
          [other, handle],
          [namesake, handle],
          [provisioner, handle.slice(0, -2)],
          [provisioner, `${handle.startsWith("A") ? "B" : "A"}${handle.slice(1)}`],
          [provisioner, "!"],
          [provisioner, ""]
        ] as const) {
          const error = yield* Effect.flip(revoker.revoke(shown))
          assert.strictEqual(error.reason, "Rejected")
          assert.match(error.message, /another key/)
        }
        assert.lengthOf(server.to("/revoke"), 0)
        // What was sealed in an earlier life can be opened in the next.
        const reborn = yield* OAuthProvisioner.make(options(server))
        yield* reborn.revoke(handle)
        assert.isFalse(server.isGood(valueOf(issued), "read"))
      }))
  })

  it.effect("refuses options that cannot be meant, by name", () =>
    Effect.gen(function* () {
      const server = yield* OAuthServer.make
      const field = (changes: Partial<OAuthProvisioner.Options>) =>
        OAuthProvisioner.make({ ...options(server), ...changes }).pipe(
          Effect.match({ onFailure: (error) => error.field, onSuccess: () => "none" })
        )
      assert.strictEqual(yield* field({}), "none")
      assert.strictEqual(yield* field({ tokenUrl: "http://login.example.com/token" }), "tokenUrl")
      assert.strictEqual(yield* field({ revocationUrl: "" }), "revocationUrl")
      assert.strictEqual(yield* field({ endpoint: "search" }), "endpoint")
      assert.strictEqual(yield* field({ clientId: "" }), "clientId")
      assert.strictEqual(yield* field({ clientSecret: Redacted.make("") }), "clientSecret")
      assert.strictEqual(yield* field({ parameters: { scope: "admin" } }), "parameters.scope")
      for (const key of ["", "short", Buffer.alloc(31).toString("base64"), "!".repeat(44)]) {
        assert.strictEqual(yield* field({ sealingKey: Redacted.make(key) }), "sealingKey")
      }
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  describe("a server that fails", () => {
    const failing = (
      title: string,
      fault: HttpFake.Fault,
      expected: { readonly reason: CredentialProvisioner.Reason; readonly retryAfter?: number }
    ) =>
      test(title, ({ issue, provisioner, server }) =>
        Effect.gen(function* () {
          const [issued] = yield* issue(asked)
          for (const [path, operation] of [
            ["/token", Effect.asVoid(issue(asked))],
            ["/token", Effect.asVoid(provisioner.rotate!(asked, issued!, () => Effect.void))],
            ["/revoke", provisioner.revoke(issued!.handle)]
          ] as const) {
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

    const error = (status: number, code: string, headers?: Record<string, string>) =>
      HttpFake.answer(status, { error: code, error_description: "CANARY" }, headers)

    failing("does not know the client", error(401, "invalid_client"), { reason: "Rejected" })
    failing("does not let the client do this", error(400, "unauthorized_client"), { reason: "Rejected" })
    failing("has a code of its own", error(400, "CANARY"), { reason: "Rejected" })
    failing("cannot just now", error(400, "temporarily_unavailable", { "retry-after": "3" }), {
      reason: "Unavailable",
      retryAfter: 3000
    })
    failing("asks for patience", error(429, "invalid_request", { "retry-after": "7" }), {
      reason: "Unavailable",
      retryAfter: 7000
    })
    failing("asks for patience with a revocation", error(503, "unsupported_token_type", { "retry-after": "9" }), {
      reason: "Unavailable",
      retryAfter: 9000
    })
    failing("breaks", HttpFake.answer(500, "<h1>CANARY</h1>"), { reason: "Unavailable" })
    failing("leads elsewhere", HttpFake.answer(302, "", { location: "https://evil.example/CANARY" }), {
      reason: "Rejected"
    })
    failing("hangs up", { _tag: "Refuse" }, { reason: "Unavailable" })

    test("refuses the scope, the target or the subject", ({ issue, server }) =>
      Effect.gen(function* () {
        server.state.scopes.delete("write")
        assert.match((yield* Effect.flip(issue(asked))).message, /invalid_scope/)
        const reason = (changes: Partial<OAuthProvisioner.Options>) =>
          Effect.gen(function* () {
            const { issue } = yield* OAuthProvisioner.make({ ...options(server), ...changes })
            const error = yield* Effect.flip(
              issue(request("job_1", { grants: { "tool.call": ["read"] } }), () => Effect.void)
            )
            isDiscreet(error)
            return error.message
          })
        assert.match(yield* reason({ subject, parameters: { audience: "elsewhere" } }), /invalid_target/)
        const forged = () => Effect.map(subject(), ({ type }) => ({ type, token: Redacted.make("CANARY") }))
        assert.match(yield* reason({ subject: forged }), /invalid_grant/)
      }))

    test("gives what is no such token: once there is one it is remembered, and never given out", ({
      issue,
      provisioner,
      remembered,
      server
    }) =>
      Effect.gen(function* () {
        const unusable: ReadonlyArray<object> = [
          { token_type: "mac" },
          { token_type: "N_A" },
          { issued_token_type: "urn:ietf:params:oauth:token-type:refresh_token" },
          { scope: "read write admin" },
          { expires_in: 0 },
          { expires_in: -1 },
          { expires_in: 1e300 }
        ]
        for (const change of unusable) {
          server.spoil("/token", bend(change))
          const error = yield* Effect.flip(issue(asked))
          assert.strictEqual(error.reason, "Malformed", JSON.stringify(change))
          isDiscreet(error)
        }
        assert.lengthOf(remembered, unusable.length)
        yield* Effect.forEach(remembered, provisioner.revoke)
        assert.strictEqual(server.tokens.size, 0)
        for (const change of [
          { access_token: "" },
          { access_token: null },
          { token_type: undefined },
          { expires_in: "soon" }
        ]) {
          server.spoil("/token", bend(change))
          assert.strictEqual((yield* Effect.flip(issue(asked))).reason, "Malformed", JSON.stringify(change))
        }
        server.spoil("/token", HttpFake.answer(200, `{"access_token":"CANARY"`))
        assert.strictEqual((yield* Effect.flip(issue(asked))).reason, "Malformed")
        server.spoil("/token", { _tag: "Cut", bytes: 30 })
        assert.strictEqual((yield* Effect.flip(issue(asked))).reason, "Unavailable")
        assert.lengthOf(remembered, unusable.length)
      }))

    test("gives a token that is too long to be kept: it is taken back at once", ({ issue, remembered, server }) =>
      Effect.gen(function* () {
        const access_token = "CANARY".repeat(3000)
        server.spoil("/token", bend({ access_token }))
        assert.strictEqual((yield* Effect.flip(issue(asked))).reason, "Malformed")
        assert.deepStrictEqual(remembered, [])
        assert.strictEqual(new URLSearchParams(server.to("/revoke")[0]!.text).get("token"), access_token)
      }))

    test("gives a token to refresh with that is too long: it is taken back as well", ({ issue, remembered, server }) =>
      Effect.gen(function* () {
        const refresh_token = "CANARY".repeat(3000)
        server.spoil("/token", bend({ access_token: "CANARY", refresh_token }))
        assert.strictEqual((yield* Effect.flip(issue(asked))).reason, "Malformed")
        assert.deepStrictEqual(remembered, [])
        assert.deepStrictEqual(
          server.to("/revoke").map(({ text }) => new URLSearchParams(text).get("token")),
          [refresh_token, "CANARY"]
        )
      }))

    test("takes less than was asked for as it is", ({ issue, server }) =>
      Effect.gen(function* () {
        server.spoil("/token", bend({ scope: "read" }))
        assert.lengthOf(yield* issue(asked), 1)
        server.spoil("/token", bend({ scope: undefined }))
        assert.lengthOf(yield* issue(asked), 1)
      }))

    test("does not answer", ({ issue, provisioner, server }) =>
      Effect.gen(function* () {
        const [issued] = yield* issue(asked)
        for (const [path, operation] of [
          ["/token", Effect.asVoid(issue(asked))],
          ["/revoke", provisioner.revoke(issued!.handle)]
        ] as const) {
          server.spoil(path, { _tag: "Hang" })
          const reached = yield* Effect.forkChild(server.reached(path), { startImmediately: true })
          const waiting = yield* Effect.forkChild(Effect.flip(operation))
          yield* Fiber.join(reached)
          yield* TestClock.adjust("10 seconds")
          assert.strictEqual((yield* Fiber.join(waiting)).reason, "Unavailable", path)
        }
      }))
  })

  describe("in a runtime", () => {
    const life = (server: OAuthServer.OAuthServer, store: Layer.Layer<CredentialStore.CredentialStore>) =>
      Layer.fresh(Credentials.layer()).pipe(
        Layer.provideMerge(Layer.fresh(store)),
        Layer.provide(OAuthProvisioner.layer(options(server))),
        Layer.provide(SecureRandom.layerWebCrypto),
        Layer.provide(FetchHttpClient.layer)
      )

    const submit = (onRotated: Credentials.Terms["onRotated"] = () => Effect.void) =>
      Credentials.Credentials.use(({ issueFor }) =>
        issueFor(asked, { secure: true, onRotated }, (credentials) => Effect.succeed(credentials))
      )

    const eventually = (condition: () => boolean) =>
      Effect.gen(function* () {
        while (!condition()) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      })

    it.effect("a token is renewed before it expires, and the job's last one revoked with its end", () =>
      Effect.gen(function* () {
        const server = yield* OAuthServer.make
        const { layer } = yield* FakeUpstream.durable
        yield* Effect.gen(function* () {
          const { current, revokeAll } = yield* Credentials.Credentials
          let rotations = 0
          const [first] = yield* submit(() => Effect.sync(() => void rotations++))
          for (let round = 1; round <= 3; round++) {
            yield* TestClock.adjust("45 minutes")
            server.state.now = round * 2_700_000
            yield* eventually(() => rotations === round && server.tokens.size === 1)
            const [now] = yield* current(job("job_1"))
            assert.strictEqual(now!.id, first!.id)
            assert.isTrue(server.isGood(Redacted.value(now!.value), "read"))
          }
          assert.isFalse(server.isGood(Redacted.value(first!.value), "read"))
          yield* revokeAll(job("job_1"))
          yield* eventually(() => server.tokens.size === 0)
        }).pipe(Effect.provide(life(server, layer)))
      })
    )

    it.effect("a token that comes when the submitter has left is revoked", () =>
      Effect.gen(function* () {
        const server = yield* OAuthServer.make
        const { layer } = yield* FakeUpstream.durable
        yield* Effect.gen(function* () {
          const reached = yield* Effect.forkChild(server.reached("/token"), { startImmediately: true })
          const submitting = yield* Effect.forkChild(submit())
          yield* Fiber.join(reached)
          assert.strictEqual(server.tokens.size, 1)
          yield* Fiber.interrupt(submitting)
          yield* eventually(() => server.tokens.size === 0)
        }).pipe(Effect.provide(life(server, layer)))
      })
    )

    it.effect("tokens that a dead runtime has left are revoked before the next one serves", () =>
      Effect.gen(function* () {
        const server = yield* OAuthServer.make
        const { layer } = yield* FakeUpstream.durable
        // Its end is never reported.
        yield* Effect.provideContext(submit(), yield* Layer.build(life(server, layer)))
        assert.strictEqual(server.tokens.size, 1)
        const list = yield* Effect.provide(
          CredentialStore.CredentialStore.use(({ list }) => list),
          layer
        )
        assert.notMatch(JSON.stringify(list), /CANARY/)
        yield* Effect.provide(
          Effect.sync(() => assert.strictEqual(server.tokens.size, 0)),
          life(server, layer)
        )
      })
    )
  })
})
