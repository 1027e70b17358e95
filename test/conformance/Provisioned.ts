/** A runtime that mints credentials at an upstream in memory, and how its peers look at them. */
import { Effect, Layer, Redacted, type Scope } from "effect"
import { KeyValueStore } from "effect/persistence"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import type * as CredentialStore from "../../src/authority/CredentialStore.ts"
import type * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import * as ArcpServer from "../../src/runtime/ArcpServer.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as Listener from "../../src/session/Listener.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import * as FakeUpstream from "../authority/FakeUpstream.ts"
import * as Puppet from "./Puppet.ts"

export interface Stage extends Puppet.Puppets {
  readonly upstream: FakeUpstream.FakeUpstream
  /** What the list of outstanding credentials holds, as text. */
  readonly stored: Effect.Effect<ReadonlyArray<string>>
}

export interface Options extends Omit<ArcpTest.RuntimeOptions<never, never>, "agents"> {
  readonly upstream?: FakeUpstream.FakeUpstream
  /** More agents than the puppet. */
  readonly agents?: Layer.Layer<never, never, AgentRegistry.AgentRegistry>
  /** What else the host has decided. */
  readonly policies?: Layer.Layer<never>
}

/** A provisioner as what a runtime is given. */
export const provisioned = (...upstreams: ReadonlyArray<FakeUpstream.FakeUpstream>) =>
  Layer.orDie(CredentialProvisioner.layerAll(upstreams.map(({ provisioner }) => Effect.succeed(provisioner))))

/** Runs a test with a runtime that mints credentials for its jobs, and serves the puppet beside the ready agents. */
export const onStage = <A, E, R>(
  play: (stage: Stage) => Effect.Effect<A, E, R>,
  { agents = TestAgent.layer, policies = Layer.empty, upstream = FakeUpstream.make(), ...options }: Options = {}
): Effect.Effect<A, E, Exclude<R, ArcpTest.Runtime> | Scope.Scope> =>
  Effect.gen(function* () {
    const backing = yield* Layer.build(KeyValueStore.layerMemory)
    const store = yield* Effect.provideContext(KeyValueStore.KeyValueStore, backing)
    const { layer: credentialStore } = FakeUpstream.durableOver(backing)
    const puppets = Puppet.make()
    const stored = Effect.orDie(
      Effect.flatMap(
        store.keys,
        Effect.forEach((key) => Effect.map(store.get(key), (value) => `${key} ${value}`))
      )
    )
    const runtime = ArcpTest.layerRuntime({
      credentialStore,
      ...options,
      agents: Layer.merge(agents, puppets.layer)
    })
    return yield* Effect.provide(
      play({ ...puppets, upstream, stored }),
      Layer.provide(runtime, Layer.merge(provisioned(upstream), policies))
    )
  }) as Effect.Effect<A, E, Exclude<R, ArcpTest.Runtime> | Scope.Scope>

/** A list that counts as durable, for one test. */
export const durable: Effect.Effect<Layer.Layer<CredentialStore.CredentialStore>, never, Scope.Scope> = Effect.map(
  FakeUpstream.durable,
  ({ layer }) => layer
)

/** A second way to the runtime of the test, over lines that are not secure. */
export const listenInsecurely = Effect.gen(function* () {
  const network = yield* MemoryTransport.make()
  const listener = Listener.layer((accept) => network.listen((line) => accept({ ...line, secure: false })))
  const authenticator = Authenticator.layerStatic([{ token: Redacted.make("secret"), principal: "tester" }])
  const scope = yield* Effect.scope
  yield* Layer.buildWithScope(Layer.provide(Layer.fresh(ArcpServer.layer), Layer.merge(listener, authenticator)), scope)
  return Effect.map(network.dial, (line) => TestPeer.make(line))
})

export interface Shown {
  readonly id: string
  readonly scheme: string
  readonly value: string
  readonly endpoint: string
}

/** The credentials that a frame shows. */
export const shown = (frame: TestPeer.Frame): ReadonlyArray<Shown> =>
  (frame.payload["credentials"] ?? []) as unknown as ReadonlyArray<Shown>

export const valuesOf = (frame: TestPeer.Frame) => shown(frame).map(({ value }) => value)

/** The values that an agent has for its job. */
export const held = Effect.flatMap(JobContext.JobContext, ({ credentials }) =>
  Effect.map(credentials, (all) => all.map(({ value }) => Redacted.value(value)))
)

/** The body of the one event by which a job told of a new value. */
export const isRotation = (frame: TestPeer.Frame) =>
  frame.payload["kind"] === "status" && (frame.payload["body"] as { phase?: string }).phase === "credential_rotated"
