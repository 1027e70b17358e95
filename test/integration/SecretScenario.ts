/**
 * A life of a runtime that mints credentials, with clients of every kind, all that can go wrong, and every sink recorded. Each secret is one
 * of a kind, so that it can be searched for.
 */
import { Context, Effect, Exit, Layer, Metric, Option, Redacted, Schema, Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { KeyValueStore } from "effect/persistence"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as ObserverPolicy from "../../src/authority/ObserverPolicy.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import type * as JobHandle from "../../src/client/JobHandle.ts"
import * as NodeWebSocketDialer from "../../src/node/NodeWebSocketDialer.ts"
import * as NodeWebSocketListener from "../../src/node/NodeWebSocketListener.ts"
import * as AgentContract from "../../src/protocol/AgentContract.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Json from "../../src/protocol/Json.ts"
import type * as Agent from "../../src/runtime/Agent.ts"
import * as ArcpServer from "../../src/runtime/ArcpServer.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as JobStore from "../../src/runtime/JobStore.ts"
import type * as Connection from "../../src/session/Connection.ts"
import * as Dialer from "../../src/session/Dialer.ts"
import * as Listener from "../../src/session/Listener.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import * as FakeUpstream from "../authority/FakeUpstream.ts"
import * as Puppet from "../conformance/Puppet.ts"
import { provisioned } from "../conformance/Provisioned.ts"
import type * as SecretSearch from "./SecretSearch.ts"
import * as Sinks from "./Sinks.ts"

/** With characters that look different in each form. */
const secret = (name: string) => `sk-${name}-ö/+"\\?=>${name}`

const jwt = [{ alg: "ES256", typ: "JWT" }, { sub: "eve", jti: "c0ffee" }, "a signature, or what looks like one"]
  .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
  .join(".")

const tokens = { ada: secret("bearer-ada"), board: secret("bearer-board"), eve: jwt, stranger: secret("bearer-wrong") }

const principals = [
  { token: Redacted.make(tokens.ada), principal: "ada" },
  { token: Redacted.make(tokens.board), principal: "ada" },
  { token: Redacted.make(tokens.eve), principal: "eve" }
]

export type Transport = "memory" | "websocket"

type Open = Effect.Effect<Connection.Frames, Connection.ConnectionError, Scope.Scope>

/** What listens, and how it is reached. */
const lines: {
  readonly [transport in Transport]: Effect.Effect<
    readonly [Layer.Layer<Listener.Listener>, Open],
    unknown,
    Scope.Scope
  >
} = {
  memory: Effect.map(MemoryTransport.make(), (network) => [Listener.layer(network.listen), network.dial]),
  websocket: Effect.map(Layer.build(NodeWebSocketListener.layer({ port: 0 })), (context) => [
    Layer.succeedContext(context),
    NodeWebSocketDialer.dial({ url: Context.get(context, NodeWebSocketListener.Address).url })
  ])
}

const wire = (wires: Map<string, Array<string>>, name: string) => {
  const texts = wires.get(name) ?? []
  wires.set(name, texts)
  return texts
}

/** A store in memory that remembers all that was ever written to it. */
const recordedStore = (texts: Array<string>) =>
  Layer.effect(
    KeyValueStore.KeyValueStore,
    Effect.map(KeyValueStore.KeyValueStore, (store) =>
      KeyValueStore.make({
        ...store,
        set: (key, value) => Effect.suspend(() => (texts.push(`${key} ${String(value)}`), store.set(key, value)))
      })
    )
  ).pipe(Layer.provide(Layer.fresh(KeyValueStore.layerMemory)))

const noteResumeToken = (tokens: Map<string, Array<string>>, name: string, text: string) => {
  const { payload, type } = JSON.parse(text) as { readonly type: string; readonly payload: { resume_token?: string } }
  if (type === "session.welcome") wire(tokens, name).push(payload.resume_token!)
}

/** Says something over a line of its own, and listens until the other side ends it. */
const speak = (open: Open, texts: readonly [string, ...ReadonlyArray<string>]) =>
  Effect.gen(function* () {
    const line = yield* open
    yield* line.send(texts)
    return yield* Effect.forever(line.pull)
  }).pipe(Effect.scoped, Effect.ignore)

const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.andThen(Effect.sleep("2 millis"), until(condition))))

const credential = Effect.flatMap(JobContext.JobContext, (job) => Effect.map(job.credentials, (all) => all[0]!))
const held = Effect.map(credential, ({ value }) => Redacted.value(value))

/** A request with the credential, to where nobody is. */
const request = (value: Redacted.Redacted) =>
  HttpClientRequest.get("http://127.0.0.1:1/v1").pipe(HttpClientRequest.bearerToken(value))
const call = (value: Redacted.Redacted) =>
  HttpClient.HttpClient.use((client) => client.execute(request(value))).pipe(Effect.provide(FetchHttpClient.layer))

/** What an agent does with its credential, and may well tell of it. */
const use = Effect.gen(function* () {
  const job = yield* JobContext.JobContext
  const { value, ...rest } = yield* credential
  yield* Effect.logTrace("the job has", value, { value, ...rest }).pipe(Effect.annotateLogs({ value }))
  yield* Effect.annotateCurrentSpan({ credential: value })
  yield* Metric.update(Metric.counter("uses of a credential", { attributes: { credential: String(value) } }), 1)
  yield* job.log("info", `with ${String(value)}`, { credential: String(value), rest: JSON.stringify(rest) })
  yield* Effect.logWarning("the upstream cannot be reached", yield* Effect.exit(call(value)))
}).pipe(Effect.withSpan("use"))

const failures: ReadonlyArray<
  readonly [name: string, ending: Effect.Effect<string, Agent.HostError, JobContext.JobContext>]
> = [
  ["dies", Effect.flatMap(credential, ({ value }) => Effect.die(Object.assign(new Error("no use"), { value })))],
  [
    "dies of a request",
    Effect.flatMap(credential, ({ value }) => Effect.die(new Error("no use", { cause: request(value) })))
  ],
  ["dies of a call", Effect.flatMap(credential, ({ value }) => Effect.orDie(Effect.as(call(value), "done")))],
  ["fails in a call", Effect.flatMap(credential, ({ value }) => Effect.as(call(value), "done"))],
  [
    "fails",
    Effect.flatMap(credential, ({ value }) =>
      Effect.fail(
        new ArcpError.InternalError({ message: `no use for ${String(value)}`, details: { value: String(value) } })
      )
    )
  ],
  ["answers", Effect.map(credential, (all) => JSON.stringify(all))]
]

const anything = AgentContract.make({ name: "puppet", input: Schema.String, output: Schema.String })

/** What the runtime keeps of jobs. */
const kept = Effect.gen(function* () {
  const journal = yield* JobJournal.JobJournal
  const store = yield* JobStore.JobStore
  const stored = yield* store.list({
    principal: "ada",
    statuses: Option.none(),
    agent: Option.none(),
    createdAfter: 0,
    createdBefore: Number.POSITIVE_INFINITY,
    after: Option.none(),
    limit: 100
  })
  const pages = yield* Effect.forEach(stored, ({ record }) => journal.read(record.id, -1, 10_000_000))
  return { records: stored.map(Sinks.written), journals: pages.map(Sinks.written) }
})

export interface Outcome {
  readonly secrets: SecretSearch.Texts
  readonly sinks: SecretSearch.Texts
}

/** What an agent could do by mistake with a secret that it has. */
export type Mistake = (value: string) => Effect.Effect<void, ArcpError.InvalidRequest, JobContext.JobContext>

/** Runs it, with what an agent does by mistake, if it does. */
export const play = Effect.fnUntraced(function* (transport: Transport, mistake: Mistake = () => Effect.void) {
  const observed = Sinks.make()
  const errors: Array<string> = []
  const seen: Array<string> = []
  const listed: Array<string> = []
  const sessions: Array<string> = []
  const outstanding: Array<string> = []
  const wires = new Map<string, Array<string>>()
  const resumeTokens = new Map<string, Array<string>>()

  const scenario = Effect.gen(function* () {
    const upstream = FakeUpstream.make()
    const puppets = Puppet.make()
    const minting = (name: string) =>
      Effect.sync(() => {
        upstream.is.nextValue = () => secret(name)
      })

    const [listener, open] = yield* lines[transport]
    const backing = yield* Layer.build(recordedStore(outstanding))
    const { layer: credentialStore } = FakeUpstream.durableOver(backing)
    const life = yield* Scope.make()
    const runtime = yield* Layer.buildWithScope(
      Layer.fresh(ArcpServer.layer).pipe(
        Layer.provideMerge(puppets.layer),
        Layer.provideMerge(Layer.fresh(ArcpServer.layerMemory)),
        Layer.provide(Layer.fresh(ArcpServer.layerPolicies({ credentialStore }))),
        Layer.provide(Authenticator.layerStatic(principals)),
        Layer.provide(provisioned(upstream)),
        Layer.provide(ObserverPolicy.layer(() => Effect.succeed(true))),
        Layer.provideMerge(Layer.merge(listener, SecureRandom.layerWebCrypto))
      ),
      life
    )

    const lastLine = new Map<string, Connection.Frames>()
    const dial = (name: string): Open =>
      Effect.map(open, (line) => {
        const sent = wire(wires, `what ${name} sends`)
        const received = wire(wires, `what ${name} is sent`)
        const recorded: Connection.Frames = {
          ...line,
          send: (frames) => Effect.suspend(() => (sent.push(...frames), line.send(frames))),
          pull: Effect.tap(line.pull, (frames) =>
            Effect.sync(() => {
              received.push(...frames)
              for (const text of frames) noteResumeToken(resumeTokens, name, text)
            })
          )
        }
        lastLine.set(name, recorded)
        return recorded
      })
    /** Breaks the line of a client, which comes back by itself. */
    const cut = (name: string) => lastLine.get(name)!.close({ code: 1006, reason: "cut" })

    const client = Effect.fnUntraced(function* (name: string, token: string) {
      const layer = ArcpClient.ArcpClient.layerPersisted({ token: Redacted.make(token) }).pipe(
        Layer.provide(Dialer.layer(dial(name))),
        Layer.provide(recordedStore(sessions))
      )
      return Context.get(yield* Layer.build(Layer.fresh(layer)), ArcpClient.ArcpClient)
    })

    const observe = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.map(Effect.exit(effect), (exit) => void errors.push(Sinks.written(exit)))
    const see = (...things: ReadonlyArray<unknown>) => void seen.push(...things.map(Sinks.written))
    const submit = (from: ArcpClient.ArcpClient["Service"], name: string, options?: ArcpClient.SubmitOptions) =>
      Effect.tap(from.submit("puppet", name, options), (job) => Effect.sync(() => see(job, job.credentials)))
    const reading = (job: JobHandle.JobHandle<Json.Json>) =>
      Effect.forkChild(Stream.runForEach(job.events, (event) => Effect.sync(() => see(event))))

    yield* Effect.gen(function* () {
      const credentials = yield* Credentials.Credentials

      // Whom the runtime does not know, and what it does not understand.
      yield* observe(Effect.scoped(client("stranger", tokens.stranger)))
      for (const hello of [
        { token: { value: tokens.stranger } },
        { scheme: tokens.stranger, token: tokens.stranger, session_id: 7 },
        { scheme: 7, token: tokens.stranger }
      ]) {
        const payload = { client: 7, auth: hello, capabilities: tokens.stranger }
        yield* speak(dial("stranger"), [JSON.stringify({ arcp: "1.1", id: "1", type: "session.hello", payload })])
      }
      yield* speak(dial("stranger"), [`{"arcp":"1.1","id":"1","type":"session.hello","payload":"${tokens.stranger}`])
      const resume = { session_id: "sess_1", resume_token: tokens.stranger, last_event_seq: 0 }
      const auth = { scheme: "bearer", token: tokens.stranger }
      const back = { arcp: "1.1", id: "1", type: "session.resume", payload: { ...resume, auth } }
      yield* speak(dial("stranger"), [JSON.stringify(back)])

      const ada = yield* client("ada", tokens.ada)
      const board = yield* client("board", tokens.board)
      const eve = yield* client("eve", tokens.eve)

      yield* minting("first")
      const options = { idempotencyKey: "k", lease: { "agent.delegate": ["**"] } }
      const job = yield* submit(ada, "a", options)
      yield* reading(job)
      for (const watcher of [board, eve]) {
        const observer = yield* watcher.subscribe(job.id, { history: true })
        see(observer, observer.credentials)
        yield* Effect.forkChild(
          Effect.exit(Stream.runForEach(observer.events, (event) => Effect.sync(() => see(event))))
        )
      }
      yield* puppets.act("a", use)

      yield* minting("rotated")
      yield* credentials.rotate(job.id, job.credentials[0]!.id)
      yield* cut("ada")
      yield* ada.ping
      see(yield* submit(ada, "a", options))
      yield* observe(ada.submit("puppet", "b", options))
      for (const from of [ada, board, eve]) {
        listed.push(Sinks.written(yield* Stream.runCollect(from.jobs())))
      }

      yield* minting("child")
      const child = yield* puppets.act(
        "a",
        JobContext.JobContext.use((context) => Effect.map(context.delegate("puppet", "c"), ({ id }) => id))
      )
      yield* puppets.act("c", use)
      yield* until(() =>
        wire(wires, "what ada is sent").some((text) => text.includes("job.accepted") && text.includes(child))
      )
      yield* puppets.end("c")
      see(yield* Effect.flatMap(eve.attach(anything, child), ({ result }) => Effect.exit(result)).pipe(Effect.scoped))

      yield* puppets.act("a", Effect.flatMap(held, mistake))
      yield* puppets.end("a")
      yield* observe(job.result)

      // Agents that fail with what they have in their hands.
      yield* minting("failing")
      for (const [name, ending] of failures) {
        const failing = yield* submit(ada, name)
        yield* reading(failing)
        yield* puppets.end(name, ending)
        yield* observe(failing.result)
        yield* until(() => upstream.keys.size === 0)
      }

      // Provisioners that do.
      yield* minting("minted for nobody")
      const defect = new Error(secret("minted for nobody"), { cause: secret("minted for nobody") })
      upstream.is.afterIssue = Effect.die(defect)
      yield* observe(ada.submit("puppet", "d"))
      upstream.is.afterIssue = Effect.void
      yield* until(() => upstream.keys.size === 0)
      yield* minting("not rotated")
      const last = yield* submit(ada, "e")
      upstream.is.beforeRotate = Effect.die(defect)
      yield* observe(credentials.rotate(last.id, last.credentials[0]!.id))
      upstream.is.beforeRevoke = Effect.die(new Error(secret("not rotated")))
      yield* puppets.end("e")
      yield* observe(last.result)
      yield* until(() => outstanding.some((text) => text.includes("the provisioner died")))
      see(yield* credentials.unrevocable)

      for (const from of [ada, board, eve]) see(yield* from.session, yield* from.agents)
    }).pipe(Effect.scoped, Effect.provideContext(runtime))

    const journal = yield* Effect.provideContext(kept, runtime)
    yield* Scope.close(life, Exit.void)
    return journal
  })

  const sinks = yield* Effect.gen(function* () {
    const { journals, records } = yield* Effect.scoped(scenario)
    return {
      logs: observed.logs,
      metrics: [Sinks.written(yield* Metric.snapshot)],
      journals,
      records
    }
  }).pipe(Effect.provide(observed.layer), Effect.provideService(Metric.MetricRegistry, new Map()))

  const outcome: Outcome = {
    secrets: {
      ...Object.fromEntries(Object.entries(tokens).map(([name, token]) => [`token of ${name}`, [token]])),
      ...Object.fromEntries(Array.from(resumeTokens, ([name, values]) => [`resume token of ${name}`, values])),
      ...Object.fromEntries(
        ["first", "rotated", "child", "failing", "minted for nobody", "not rotated"].map((name) => [
          name,
          [secret(name)]
        ])
      )
    },
    sinks: {
      ...sinks,
      spans: observed.spans(),
      errors,
      listings: listed,
      "what programs see": seen,
      "kept sessions": sessions,
      "outstanding credentials": outstanding,
      ...Object.fromEntries(wires)
    }
  }
  return outcome
})
