import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import * as ArcpServer from "../../src/runtime/ArcpServer.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as Jobs from "../../src/runtime/Jobs.ts"
import * as JobStore from "../../src/runtime/JobStore.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as SessionStore from "../../src/runtime/SessionStore.ts"
import * as Listener from "../../src/session/Listener.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import { answer, assertRefused, outcome, run, sendSubmit, submit } from "../conformance/Conversation.ts"

/** A way to a runtime whose journal dies of the first job, before or after it has taken it. */
const runtime = Effect.fnUntraced(function* (dies: "before" | "after", config: Partial<RuntimeConfig.RuntimeConfig>) {
  const network = yield* MemoryTransport.make()
  let opened = 0
  const death = Effect.suspend(() => (opened++ === 0 ? Effect.die(new Error("no disk")) : Effect.void))
  const journal = Layer.effect(
    JobJournal.JobJournal,
    Effect.map(JobJournal.JobJournal, (real) =>
      JobJournal.JobJournal.of({
        ...real,
        open: (job) =>
          dies === "before" ? Effect.andThen(death, real.open(job)) : Effect.andThen(real.open(job), death)
      })
    )
  ).pipe(Layer.provide(JobJournal.layerMemory))
  const layer = ArcpServer.layer.pipe(
    Layer.provideMerge(TestAgent.layer),
    Layer.provideMerge(Sessions.layer),
    Layer.provideMerge(Jobs.layer),
    Layer.provideMerge(AgentRegistry.layer),
    Layer.provideMerge(Credentials.layer()),
    Layer.provideMerge(journal),
    Layer.provideMerge(JobStore.layerMemory),
    Layer.provide(SessionStore.layerMemory),
    Layer.provide([
      ArcpServer.layerPolicies(),
      Listener.layer(network.listen),
      Layer.orDie(Authenticator.layerStatic([{ token: Redacted.make("secret"), principal: "tester" }])),
      SecureRandom.layerWebCrypto
    ]),
    Layer.provide(RuntimeConfig.layer(config))
  )
  yield* Layer.buildWithScope(Layer.fresh(layer), yield* Effect.scope)
  const peer = TestPeer.make(yield* network.dial)
  yield* peer.hello({ token: "secret" })
  return peer
})

describe("a job that was accepted, and then cannot be started", () => {
  it.effect.each(["before", "after"] as const)(
    "has ended, and takes no place: the journal dies %s it is open",
    (dies) =>
      Effect.gen(function* () {
        const peer = yield* runtime(dies, { maxJobsPerSession: 1 })
        const payload = { idempotency_key: "k", lease_request: { "cost.budget": ["USD:1"] } }
        const sent = yield* sendSubmit(peer, "tck-echo", 1, { payload })
        assertRefused(yield* answer(peer), "INTERNAL_ERROR", sent)
        yield* peer.send({ type: "session.list_jobs" })
        const { payload: listing } = yield* peer.expect("session.jobs")
        assert.deepStrictEqual(
          (listing["jobs"] as ReadonlyArray<{ readonly status: string }>).map(({ status }) => status),
          ["error"]
        )
        if (dies === "after") {
          // The key stands for a job that has ended.
          const { job_id } = yield* submit(peer, "tck-echo", 1, { payload })
          const { terminal } = yield* outcome(peer, job_id)
          assert.strictEqual(terminal.payload["code"], "INTERNAL_ERROR")
          assert.notInclude(JSON.stringify(terminal), "disk")
        }
        assert.strictEqual((yield* run(peer, "tck-echo", 2)).terminal.payload["result"], 2)
      })
  )
})
