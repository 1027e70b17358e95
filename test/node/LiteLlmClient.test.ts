import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import * as LeasedHttpClient from "../../src/leased/LeasedHttpClient.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as LiteLlmClient from "../../src/node/LiteLlmClient.ts"
import * as LiteLlmProvisioner from "../../src/node/LiteLlmProvisioner.ts"
import * as NodePinnedHttp from "../../src/node/NodePinnedHttp.ts"
import type * as ArcpError from "../../src/protocol/ArcpError.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as FakeUpstream from "../authority/FakeUpstream.ts"
import { verifies } from "../conformance/verifies.ts"
import * as Sinks from "../integration/Sinks.ts"
import * as HttpFake from "./HttpFake.ts"
import * as LiteLlmServer from "./LiteLlmServer.ts"

const Writer = Agent.make({
  name: "writer",
  input: Schema.Struct({ model: Schema.String, calls: Schema.Int }),
  output: Schema.Array(Schema.String)
})

/** Calls the proxy with the key of its job, and answers what that said each time; reports no cost. */
const WriterLive = Writer.toLayer(
  Effect.fnUntraced(function* ({ calls, model }) {
    const job = yield* JobContext.JobContext
    const client = LiteLlmClient.make(yield* HttpClient.HttpClient)
    const [key] = yield* job.credentials
    const call = HttpClientRequest.post(`${key!.endpoint}/chat/completions`).pipe(
      HttpClientRequest.bearerToken(key!.value),
      HttpClientRequest.bodyJsonUnsafe({ model })
    )
    const said = Effect.forEach(Array.from({ length: calls }), () =>
      Effect.flatMap(client.execute(call), ({ status, text }) => Effect.map(text, (text) => `${status} ${text}`))
    )
    return yield* model === "and die" ? Effect.orDie(said) : said
  })
)

const test = (
  body: (stage: {
    readonly server: LiteLlmServer.LiteLlmServer
    readonly write: (model: string, calls: number) => Effect.Effect<ReadonlyArray<string>, ArcpError.ArcpError>
  }) => Effect.Effect<void, unknown>
) =>
  Effect.gen(function* () {
    const server = yield* LiteLlmServer.make
    const { layer: credentialStore } = yield* FakeUpstream.durable
    const provisioner = LiteLlmProvisioner.layer({
      url: server.url,
      masterKey: Redacted.make(LiteLlmServer.masterKey),
      modelsByDefault: ["gpt-4o"]
    })
    const http = Layer.provide(LeasedHttpClient.layer(), NodePinnedHttp.layer())
    yield* Effect.gen(function* () {
      const client = yield* ArcpClient.ArcpClient
      const lease = { "net.fetch": [`${server.url}/v1/**`], "cost.budget": ["USD:0.25"] }
      yield* body({
        server,
        write: (model, calls) => client.run(Writer, { model, calls }, { lease })
      })
    }).pipe(
      Effect.provide(
        ArcpTest.layer({ agents: WriterLive, credentialStore }).pipe(
          Layer.provide(Layer.mergeAll(provisioner, http)),
          Layer.provide(FetchHttpClient.layer)
        )
      )
    )
  })

describe("LiteLlmClient", () => {
  verifies.live(
    "C-113",
    "an agent whose key has no money left ends as BUDGET_EXHAUSTED, whatever it reports itself",
    () =>
      test(({ server, write }) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(
            (yield* write("gpt-4o", 3)).map((said) => said.slice(0, 3)),
            ["200", "200", "200"]
          )
          const error = yield* Effect.flip(write("gpt-4o", 4))
          assert.strictEqual(error._tag, "BudgetExhausted")
          assert.isFalse(error.retryable)
          assert.lengthOf(server.to("/v1/chat/completions"), 7)
        })
      )
  )

  it.live("an agent that asks for a model that its key is not for ends as PERMISSION_DENIED", () =>
    test(({ write }) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(write("claude/opus", 1)))._tag, "PermissionDenied")
      })
    )
  )

  it.live("what the proxy said, and with which key it was asked, is in no log", () => {
    const observed = Sinks.make()
    return test(({ server, write }) =>
      Effect.gen(function* () {
        server.spoil("/v1/chat/completions", {
          _tag: "Bend",
          bend: () => {
            const [key] = server.keys.values()
            const message = `Budget has been exceeded! Received API Key = ${key!.value}`
            return { status: 400, body: { error: { type: "budget_exceeded", message } } }
          }
        })
        assert.strictEqual((yield* Effect.flip(write("and die", 1)))._tag, "InternalError")
        assert.include(observed.logs.join("\n"), "The agent died")
        assert.notInclude(observed.logs.join("\n"), "CANARY")
        assert.notInclude(observed.spans().join("\n"), "CANARY")
      })
    ).pipe(Effect.provide(observed.layer))
  })

  it.live("gives every other answer as it came", () =>
    test(({ server, write }) =>
      Effect.gen(function* () {
        for (const [status, body] of [
          [401, { error: { type: "auth_error", message: "Budget of patience" } }],
          [429, { error: { type: "throttling_error", message: "Rate limit" } }],
          [404, "no json"],
          [500, { error: { type: "budget_exceeded", message: "Budget has been exceeded" } }],
          [200, { error: { type: "budget_exceeded" } }]
        ] as const) {
          server.spoil("/v1/chat/completions", HttpFake.answer(status, body))
          const text = typeof body === "string" ? body : JSON.stringify(body)
          assert.deepStrictEqual(yield* write("gpt-4o", 1), [`${status} ${text}`])
        }
      })
    )
  )
})
