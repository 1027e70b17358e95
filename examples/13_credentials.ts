/**
 * A credential for each job, which ends with the job.
 *
 * An agent that calls something outside needs a secret for it. Here the runtime has one minted for each job, by a provisioner; it comes to
 * the client with the acceptance and to the agent as `job.credentials`, `Redacted` at both ends. It is replaced while the job runs, which the
 * client hears of, and taken back when the job has ended, however that was. What is outstanding stands in a directory, so that a runtime that
 * is killed takes it back at its next start.
 *
 * The upstream is a small HTTP server in this process that stands for the real thing. For a LiteLLM proxy and for OAuth 2.0 there are
 * provisioners ready: `LiteLlmProvisioner` and `OAuthProvisioner`. This one is written out, to show how little it is.
 *
 * Here modules come from `../src`. In a program of your own, write `effect-arcp/node` for `../src/node/index.ts`, and so on.
 */
import { NodeHttpServer, NodeRuntime, NodeServices } from "@effect/platform-node"
import { Clock, Console, Context, Effect, FileSystem, Layer, Option, Redacted, Schema, Stream } from "effect"
import {
  HttpClient,
  HttpClientRequest,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "effect/http"
import * as Assert from "node:assert/strict"
import { randomBytes, randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { CredentialProvisioner } from "../src/authority/index.ts"
import { ArcpClient } from "../src/client/index.ts"
import { NodeArcp, NodeWebSocketListener } from "../src/node/index.ts"
import { JobEvent } from "../src/protocol/index.ts"
import { Agent, JobContext } from "../src/runtime/index.ts"

// ------------------------------------------------------------------------------- an upstream, and who may ask it for keys

/** Keys in force, by their ids; and every key that there ever was. */
class Keys extends Context.Service<Keys, { readonly inForce: Map<string, string>; readonly all: Array<string> }>()(
  "Keys"
) {
  static readonly layer = Layer.sync(Keys, () => ({ inForce: new Map<string, string>(), all: [] as Array<string> }))
}

const admin = Redacted.make(randomBytes(16).toString("hex"))

const bearer = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ headers }) => headers["authorization"]?.slice(7) ?? ""
)

const denied = HttpServerResponse.empty({ status: 401 })

const keyRoute = (then: (keys: Keys["Service"], id: string) => HttpServerResponse.HttpServerResponse) =>
  Effect.gen(function* () {
    if ((yield* bearer) !== Redacted.value(admin)) return denied
    return then(yield* Keys, String((yield* HttpRouter.params)["id"]))
  })

const Upstream = HttpRouter.serve(
  Layer.mergeAll(
    HttpRouter.add(
      "PUT",
      "/keys/:id",
      keyRoute(({ all, inForce }, id) => {
        const key = randomBytes(16).toString("hex")
        inForce.set(id, key)
        all.push(key)
        return HttpServerResponse.jsonUnsafe({ key })
      })
    ),
    HttpRouter.add(
      "DELETE",
      "/keys/:id",
      keyRoute(({ inForce }, id) => (inForce.delete(id), HttpServerResponse.empty({ status: 204 })))
    ),
    HttpRouter.add(
      "GET",
      "/v1/fact",
      Effect.gen(function* () {
        const { inForce } = yield* Keys
        return Array.from(inForce.values()).includes(yield* bearer) ? HttpServerResponse.text("water is wet") : denied
      })
    )
  ),
  { disableLogger: true, disableListenLog: true }
).pipe(
  Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
  Layer.provideMerge(Keys.layer)
)

const upstreamUrl = Effect.map(HttpServer.HttpServer, ({ address }) => HttpServer.formatAddress(address))

// ------------------------------------------------------------------------------------------------- what mints, and revokes

const Minted = Schema.Struct({ key: Schema.String })

const gateway = (url: string) =>
  Effect.gen(function* () {
    const client = (yield* HttpClient.HttpClient).pipe(
      HttpClient.filterStatusOk,
      HttpClient.mapRequest((request) =>
        request.pipe(HttpClientRequest.prependUrl(url), HttpClientRequest.bearerToken(admin))
      )
    )
    const unavailable = () =>
      new CredentialProvisioner.ProvisionError({
        provisioner: "gateway",
        reason: "Unavailable",
        message: "the gateway does not answer"
      })

    const mint = Effect.fnUntraced(function* (remember: CredentialProvisioner.Remember) {
      // The name is ours, so it is written down before there is anything to revoke.
      const handle = randomUUID()
      yield* remember(handle)
      const { key } = yield* client.put(`/keys/${handle}`).pipe(
        Effect.flatMap((response) => response.json),
        Effect.flatMap(Schema.decodeUnknownEffect(Minted)),
        Effect.mapError(unavailable)
      )
      return {
        credential: { scheme: "bearer", value: Redacted.make(key), endpoint: `${url}/v1` },
        handle,
        renewAt: Option.some((yield* Clock.currentTimeMillis) + 300)
      }
    })

    const provisioner: CredentialProvisioner.Provisioner = {
      name: "gateway",
      issue: (_, remember) => Effect.map(mint(remember), (issued) => [issued]),
      rotate: (_, __, remember) => mint(remember),
      revoke: (handle) => Effect.mapError(Effect.asVoid(client.del(`/keys/${handle}`)), unavailable)
    }
    return provisioner
  })

// -------------------------------------------------------------------------------------------------------------- the agent

const Researcher = Agent.make({ name: "researcher", input: Schema.Int, output: Schema.Array(Schema.String) })

const ResearcherLive = Researcher.toLayer(
  Effect.fnUntraced(function* (count) {
    const job = yield* JobContext.JobContext
    const client = yield* HttpClient.HttpClient // behind the lease

    const ask = Effect.gen(function* () {
      const [credential] = yield* job.credentials // as it is now
      Assert.ok(credential)
      const request = HttpClientRequest.get(`${credential.endpoint}/fact`)
      const response = yield* client.execute(HttpClientRequest.bearerToken(request, credential.value))
      yield* job.log("info", `${response.status} with ${String(credential.value)}`)
      return response
    })

    return yield* Effect.forEach(Array.from({ length: count }), () =>
      // It may be replaced between the look and the use; the next look shows the new one.
      Effect.repeat(ask, { until: ({ status }) => status === 200, times: 3 }).pipe(
        Effect.flatMap(({ text }) => text),
        Effect.tap(Effect.sleep("400 millis"))
      )
    )
  })
)

// ------------------------------------------------------------------------------------------------------------ both sides

const token = Redacted.make(randomBytes(16).toString("hex"))

const Server = Layer.unwrap(
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    return NodeArcp.layerServer(ResearcherLive, {
      tokens: [{ token, principal: "me" }],
      credentials: {
        provisioners: [gateway(yield* upstreamUrl)],
        directory: yield* fs.makeTempDirectoryScoped(),
        minRenewal: "100 millis"
      }
    })
  })
).pipe(Layer.provide(NodeServices.layer))

const Client = Layer.unwrap(
  Effect.map(NodeWebSocketListener.Address, ({ url }) => NodeArcp.layerClient({ url, token }))
)

const program = Effect.gen(function* () {
  const client = yield* ArcpClient.ArcpClient
  const keys = yield* Keys
  const url = yield* upstreamUrl
  const job = yield* client.submit(Researcher, 4, { lease: { "net.fetch": [`${url}/v1/**`] } })
  const [first] = job.credentials
  yield* Console.log(`accepted with ${String(first?.value)} for ${first?.endpoint}`)

  const events = yield* Stream.runCollect(job.events)
  const rotated = events.filter(JobEvent.is("status")).flatMap(({ body }) => (body.value === undefined ? [] : [body]))
  yield* Console.log(`replaced ${rotated.length} times; the last one is ${String(rotated.at(-1)?.value)}`)
  Assert.ok(rotated.length >= 2)
  Assert.ok(rotated.every(({ id }) => id === first?.id))
  Assert.ok(rotated.every(({ value }) => keys.all.includes(Redacted.value(value!))))

  const facts = yield* job.result
  yield* Console.log(`the agent had ${facts.length} answers, each with the key of the moment`)
  Assert.deepEqual(facts, Array(4).fill("water is wet"))
  for (const key of keys.all) Assert.ok(!JSON.stringify([job, events]).includes(key))

  yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => keys.inForce.size === 0 })
  yield* Console.log(`${keys.all.length} keys were made, ${keys.inForce.size} are in force now that the job has ended`)
})

program.pipe(Effect.provide(Client.pipe(Layer.provideMerge(Server), Layer.provideMerge(Upstream))), NodeRuntime.runMain)
