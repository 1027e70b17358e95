/** Provisioned credentials in the running runtime, beyond the sentences of the protocol. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Logger, Option, Redacted, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as JobStore from "../../src/runtime/JobStore.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import * as FakeUpstream from "../authority/FakeUpstream.ts"
import { answer, assertRefused, bodies, join, outcome, run, sendSubmit, submit } from "../conformance/Conversation.ts"
import * as Puppet from "../conformance/Puppet.ts"
import { held, isRotation, onStage, provisioned, shown, valuesOf } from "../conformance/Provisioned.ts"
import { rejoin, settled, ticketOf } from "../conformance/Stage.ts"

const turn = TestClock.adjust(0)

const rotate = (job: string, credential: string) =>
  Credentials.Credentials.use(({ rotate }) => rotate(job as Ids.JobId, credential as Ids.CredentialId))

const acceptedFor = (peer: TestPeer.TestPeer, { id }: { readonly id: string }) =>
  Effect.map(
    peer.until("job.accepted", ({ payload }) => payload["request_id"] === id),
    (frames) => frames.at(-1)!
  )

const rotations = (frames: ReadonlyArray<TestPeer.Frame>) =>
  bodies(frames.filter(isRotation), "status") as unknown as ReadonlyArray<{ readonly value?: string }>

const delegating = { payload: { lease_request: { "agent.delegate": ["**"] } } }

const delegateTo = (name: string, lease: Capability.Grants) =>
  JobContext.JobContext.use((job) => Effect.map(job.delegate("puppet", name, { lease }), ({ id }) => id))

const log = JobContext.JobContext.use((job) => Effect.orDie(job.log("info", "unread")))

const keyed = (idempotency_key: string) => ({ payload: { idempotency_key } })

const capture = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push(`${logLevel} ${JSON.stringify(message)}`)
  })
  return { lines, layer: Logger.layer([logger]) }
}

describe("Provisioned credentials", () => {
  describe("while they are minted", () => {
    it.effect("a client that tells answers apart waits for nothing else", () =>
      onStage(({ end, upstream }) =>
        Effect.gen(function* () {
          const peer = yield* join({ profile: "effect" })
          const waiting = yield* FakeUpstream.gate
          upstream.is.beforeIssue = waiting.pass
          const slow = yield* sendSubmit(peer, "puppet", "slow")
          yield* waiting.reached
          upstream.is.beforeIssue = Effect.void
          yield* peer.send({ type: "session.ping", payload: { nonce: "n" } })
          yield* peer.expect("session.pong")
          const list = yield* peer.send({ type: "session.list_jobs" })
          assert.strictEqual((yield* peer.expect("session.jobs")).payload["request_id"], list.id)
          const { terminal } = yield* run(peer, "tck-echo", 1)
          assert.strictEqual(terminal.payload["result"], 1)
          yield* peer.send({ type: "job.cancel", job_id: "job_none" })
          yield* peer.expect("session.error")
          yield* waiting.open
          assert.lengthOf(shown(yield* acceptedFor(peer, slow)), 1)
          yield* end("slow")
        })
      )
    )

    it.effect("any other client has its pings answered, and its answers in order", () =>
      onStage(({ upstream }) =>
        Effect.gen(function* () {
          const peer = yield* join()
          const waiting = yield* FakeUpstream.gate
          upstream.is.beforeIssue = waiting.pass
          const slow = yield* sendSubmit(peer, "puppet", "slow")
          yield* waiting.reached
          upstream.is.beforeIssue = Effect.void
          yield* peer.send({ type: "session.list_jobs" })
          yield* sendSubmit(peer, "puppet", "fast")
          yield* peer.send({ type: "session.ping", payload: { nonce: "n" } })
          yield* peer.expect("session.pong")
          assert.deepStrictEqual(yield* peer.drain, [])
          yield* waiting.open
          const first = yield* peer.expect("job.accepted")
          assert.strictEqual(first.payload["request_id"], slow.id)
          const rest = yield* peer.until("job.accepted")
          assert.deepStrictEqual(
            rest.filter(({ event_seq }) => event_seq === undefined).map(({ type }) => type),
            ["session.jobs", "job.accepted"]
          )
        })
      )
    )

    it.effect("a session outlives any number of its heartbeats", () => {
      const upstream = FakeUpstream.make()
      upstream.is.beforeIssue = Effect.sleep("25 seconds")
      return onStage(
        () =>
          Effect.gen(function* () {
            const client = yield* ArcpClient.ArcpClient
            const before = yield* client.session
            const running = yield* Effect.forkChild(client.run(TestAgent.Echo, "hello"))
            yield* TestClock.adjust("24 seconds")
            assert.isUndefined(running.pollUnsafe())
            yield* TestClock.adjust("1 second")
            assert.strictEqual(yield* Fiber.join(running), "hello")
            assert.strictEqual((yield* client.session).id, before.id)
          }).pipe(Effect.provide(ArcpClient.ArcpClient.layer({ token: Redacted.make("secret"), reconnect: false }))),
        { upstream, config: { heartbeatInterval: Duration.seconds(2) } }
      )
    })

    it.effect("two submits with one key leave one job, and one set of credentials in force", () =>
      onStage(({ act, end, upstream }) =>
        Effect.gen(function* () {
          const one = yield* join({ profile: "effect" })
          const other = yield* join()
          const waiting = yield* FakeUpstream.gate
          upstream.is.beforeIssue = waiting.pass
          const requests = [
            [one, yield* sendSubmit(one, "puppet", "a", keyed("k"))],
            [one, yield* sendSubmit(one, "puppet", "a", keyed("k"))],
            [other, yield* sendSubmit(other, "puppet", "a", keyed("k"))]
          ] as const
          yield* settled
          assert.lengthOf(upstream.calls, 3)
          yield* waiting.open
          const answers = new Map<string, TestPeer.Frame>()
          for (const peer of [one, one, other]) {
            const frames = yield* peer.until("job.accepted")
            answers.set(String(frames.at(-1)!.payload["request_id"]), frames.at(-1)!)
          }
          assert.lengthOf(new Set(Array.from(answers.values(), ({ job_id }) => job_id)), 1)
          const values = requests.map(([, { id }]) => valuesOf(answers.get(id)!))
          assert.deepStrictEqual(values, [values[0]!, values[0]!, values[0]!])
          yield* turn
          assert.deepStrictEqual([...upstream.keys.values()], values[0])
          assert.deepStrictEqual(yield* act("a", held), values[0])
          yield* end("a")
          yield* outcome(other, answers.get(requests[0][1].id)!.job_id!)
          yield* turn
          assert.strictEqual(upstream.keys.size, 0)
        })
      )
    )

    it.effect("a connection that breaks leaves nothing in force, and the submit can be said again", () =>
      onStage(({ end, stored, upstream }) =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          const ticket = ticketOf(yield* peer.hello({ profile: "effect" }))
          const waiting = yield* FakeUpstream.gate
          upstream.is.beforeIssue = waiting.pass
          yield* sendSubmit(peer, "puppet", "a", keyed("k"))
          yield* waiting.reached
          upstream.is.beforeIssue = Effect.void
          yield* peer.close()
          const { peer: back } = yield* rejoin(ticket, { last: 0, hello: { profile: "effect" } })
          const accepted = yield* submit(back, "puppet", "a", keyed("k"))
          yield* waiting.open
          yield* turn
          assert.deepStrictEqual([...upstream.keys.values()], valuesOf(accepted))
          assert.lengthOf(yield* stored, 1)
          yield* end("a")
        })
      )
    )

    it.effect(
      "a connection that breaks while the job is being accepted takes neither them nor its place from the job",
      () =>
        onStage(
          ({ act, end, upstream }) =>
            Effect.gen(function* () {
              const store = yield* JobStore.JobStore
              const accept = store.accept.bind(store)
              const slow = yield* FakeUpstream.gate
              Object.assign(store, {
                accept: (...of: Parameters<typeof accept>) => Effect.andThen(slow.pass, accept(...of))
              })
              const peer = yield* TestPeer.connect
              const ticket = ticketOf(yield* peer.hello())
              yield* sendSubmit(peer, "puppet", "a", keyed("k"))
              yield* slow.reached
              yield* peer.close()
              yield* turn
              yield* slow.open
              yield* turn
              Object.assign(store, { accept })
              assert.deepStrictEqual(yield* act("a", held), ["CANARY-gateway-1"])
              const { peer: back } = yield* rejoin(ticket, { last: 0 })
              assert.deepStrictEqual(valuesOf(yield* submit(back, "puppet", "a", keyed("k"))), ["CANARY-gateway-1"])
              assert.lengthOf(upstream.keys, 1)
              yield* sendSubmit(back, "puppet", "b")
              const [refusal] = (yield* back.until("session.error")).slice(-1)
              assert.containSubset(refusal!.payload["details"], { limit: "jobs_per_session" })
              yield* end("a")
            }),
          { config: { maxJobsPerSession: 1 } }
        )
    )

    it.effect("a failure refuses the submit, leaves nothing behind, and takes no place", () => {
      const upstream = FakeUpstream.make()
      upstream.is.count = 2
      return onStage(
        ({ end, stored }) =>
          Effect.gen(function* () {
            const peer = yield* join()
            let minted = 0
            upstream.is.beforeIssue = Effect.suspend(() =>
              ++minted === 2 ? Effect.fail(upstream.error("Rejected")) : Effect.void
            )
            const request = yield* sendSubmit(peer, "puppet", "a", keyed("k"))
            const refusal = yield* answer(peer)
            assertRefused(refusal, "INTERNAL_ERROR", request)
            assert.deepStrictEqual(refusal.payload["details"], { provisioner: "gateway", reason: "Rejected" })
            yield* TestClock.adjust("1 minute")
            assert.strictEqual(upstream.keys.size, 0)
            assert.deepStrictEqual(yield* stored, [])
            yield* peer.send({ type: "session.list_jobs" })
            assert.deepStrictEqual((yield* peer.expect("session.jobs")).payload["jobs"], [])
            // Neither the key nor the only place is taken.
            assert.lengthOf(shown(yield* submit(peer, "puppet", "a", keyed("k"))), 2)
            yield* end("a")
          }),
        { upstream, config: { maxJobsPerSession: 1 } }
      )
    })
  })

  describe("in a session", () => {
    it.effect("a submit that is repeated shows what they are now, while the job runs, and nothing later", () =>
      onStage(({ end }) =>
        Effect.gen(function* () {
          const peer = yield* join()
          const accepted = yield* submit(peer, "puppet", "a", keyed("k"))
          const { id } = shown(accepted)[0]!
          yield* rotate(accepted.job_id, id)
          const again = yield* submit(peer, "puppet", "a", keyed("k"))
          assert.deepStrictEqual(shown(again), [{ ...shown(accepted)[0]!, value: "CANARY-gateway-2" }])
          const elsewhere = yield* join()
          assert.deepStrictEqual(valuesOf(yield* submit(elsewhere, "puppet", "a", keyed("k"))), ["CANARY-gateway-2"])
          // A session that did not negotiate them is not shown any.
          const plain = yield* join({ features: [] })
          const unshown = yield* submit(plain, "puppet", "a", keyed("k"))
          assert.strictEqual(unshown.job_id, accepted.job_id)
          assert.notProperty(unshown.payload, "credentials")
          yield* Effect.forkChild(rotate(accepted.job_id, id))
          assert.notProperty((yield* plain.until("job.event", isRotation)).at(-1)!.payload["body"], "value")
          yield* end("a")
          yield* outcome(peer, accepted.job_id)
          const late = yield* submit(peer, "puppet", "a", keyed("k"))
          assert.strictEqual(late.job_id, accepted.job_id)
          assert.notProperty(late.payload, "credentials")
        })
      )
    )

    it.effect("a job of a session that did not negotiate them has none, and none is minted", () =>
      onStage(({ act, end, upstream }) =>
        Effect.gen(function* () {
          const peer = yield* join({ features: [] })
          assert.notProperty((yield* submit(peer, "puppet", "a", keyed("k"))).payload, "credentials")
          assert.deepStrictEqual(yield* act("a", held), [])
          assert.deepStrictEqual(upstream.calls, [])
          const other = yield* join()
          assert.notProperty((yield* submit(other, "puppet", "a", keyed("k"))).payload, "credentials")
          yield* end("a")
        })
      )
    )

    it.effect("what is replayed has the value of now, while the job runs, and none later", () =>
      onStage(({ end }) =>
        Effect.gen(function* () {
          const peer = yield* TestPeer.connect
          const ticket = ticketOf(yield* peer.hello())
          const accepted = yield* submit(peer, "puppet", "a")
          const { id } = shown(accepted)[0]!
          for (const made of [2, 3]) {
            yield* rotate(accepted.job_id, id)
            const told = yield* peer.until("job.event", isRotation)
            assert.deepStrictEqual(rotations(told)[0]!.value, `CANARY-gateway-${made}`)
          }
          yield* peer.close()
          yield* rotate(accepted.job_id, id).pipe(Effect.forkChild)
          yield* turn
          const second = yield* rejoin(ticket, { last: 0 })
          const replayed = yield* second.peer.drain
          assert.deepStrictEqual(
            rotations(replayed).map(({ value }) => value),
            ["CANARY-gateway-4", "CANARY-gateway-4", "CANARY-gateway-4"]
          )
          yield* second.peer.close()
          yield* end("a")
          yield* turn
          const third = yield* rejoin(second.ticket, { last: 0 })
          const { frames } = yield* outcome(third.peer, accepted.job_id)
          assert.lengthOf(rotations(frames), 3)
          assert.notInclude(JSON.stringify(frames), FakeUpstream.canary)
        })
      )
    )

    it.effect("a value that was lost on its way is sent again, and the former one revoked then", () =>
      onStage(
        ({ act, end, upstream }) =>
          Effect.gen(function* () {
            const peer = yield* TestPeer.connect
            const ticket = ticketOf(yield* peer.hello())
            const accepted = yield* submit(peer, "puppet", "a")
            yield* peer.until("job.event")
            // What nobody reads fills the line, so the next frame never leaves.
            yield* act(
              "a",
              Effect.flatMap(JobContext.JobContext, (job) => Effect.orDie(job.log("info", "unread")))
            )
            yield* Effect.forkChild(rotate(accepted.job_id, shown(accepted)[0]!.id))
            yield* turn
            yield* peer.close()
            yield* turn
            assert.strictEqual(upstream.keys.size, 2)
            const { peer: back } = yield* rejoin(ticket, { last: 1 })
            const told = yield* back.until("job.event", isRotation)
            assert.deepStrictEqual(rotations(told)[0]!.value, "CANARY-gateway-2")
            yield* turn
            assert.deepStrictEqual([...upstream.keys.values()], ["CANARY-gateway-2"])
            yield* end("a")
          }),
        { transport: { capacity: 1 } }
      )
    )

    it.effect("a value that waits behind the word of a new child is not told before it is sent", () =>
      onStage(
        ({ act, end, upstream }) =>
          Effect.gen(function* () {
            const peer = yield* join()
            const accepted = yield* submit(peer, "puppet", "a", delegating)
            yield* peer.until("job.event")
            // One fills the line, the other holds the session up, so that what comes then is read as one page.
            yield* act("a", log)
            yield* turn
            yield* act("a", log)
            yield* turn
            yield* act("a", delegateTo("b", {}))
            yield* Effect.forkChild(rotate(accepted.job_id, shown(accepted)[0]!.id))
            yield* turn
            const keys = () => Array.from(upstream.keys.values())
            assert.deepStrictEqual(keys(), ["CANARY-gateway-1", "CANARY-gateway-2", "CANARY-gateway-3"])
            // With the second of them read the word of the child is on the line, and what stands behind it is not.
            yield* peer.until("job.event")
            yield* peer.until("job.event")
            yield* turn
            assert.deepStrictEqual(keys(), ["CANARY-gateway-1", "CANARY-gateway-2", "CANARY-gateway-3"])
            const told = yield* peer.until("job.event", isRotation)
            assert.strictEqual(rotations(told)[0]!.value, "CANARY-gateway-3")
            yield* turn
            assert.deepStrictEqual(keys(), ["CANARY-gateway-2", "CANARY-gateway-3"])
            yield* end("b")
            yield* end("a")
          }),
        { transport: { capacity: 1 } }
      )
    )

    it.effect("a rotation that nobody can be told of revokes the former value all the same", () =>
      onStage(({ end, upstream }) =>
        Effect.gen(function* () {
          const peer = yield* join()
          const accepted = yield* submit(peer, "puppet", "a")
          yield* peer.close()
          yield* turn
          yield* Effect.forkChild(rotate(accepted.job_id, shown(accepted)[0]!.id))
          yield* TestClock.adjust("9 seconds")
          assert.strictEqual(upstream.keys.size, 2)
          yield* TestClock.adjust("1 second")
          assert.deepStrictEqual([...upstream.keys.values()], ["CANARY-gateway-2"])
          yield* end("a")
        })
      )
    )

    it.effect("a credential of another scheme than bearer is for the agent alone", () => {
      const upstream = FakeUpstream.make()
      upstream.is.count = 2
      const { provisioner } = upstream
      const second = (issued: CredentialProvisioner.Issued): CredentialProvisioner.Issued =>
        Number(issued.handle.at(-1)) % 2 === 0
          ? { ...issued, credential: { ...issued.credential, scheme: "basic" } }
          : issued
      const mixed = {
        ...upstream,
        provisioner: {
          ...provisioner,
          issue: (...asked) => Effect.map(provisioner.issue(...asked), (all) => all.map(second)),
          rotate: (...asked) =>
            Effect.map(provisioner.rotate!(...asked), (issued) => ({
              ...issued,
              credential: { ...issued.credential, scheme: asked[1].credential.scheme }
            }))
        } satisfies CredentialProvisioner.Provisioner
      }
      return onStage(
        ({ act, end }) =>
          Effect.gen(function* () {
            for (const [profile, input] of [
              ["ts", "a"],
              ["standard", "b"]
            ] as const) {
              const peer = yield* join({ profile })
              const accepted = yield* submit(peer, "puppet", input)
              assert.deepStrictEqual(
                shown(accepted).map(({ scheme }) => scheme),
                ["bearer"]
              )
              assert.lengthOf(yield* act(input, held), 2)
              const all = yield* Credentials.Credentials.use(({ current }) => current(accepted.job_id as Ids.JobId))
              const [bearer, basic] = all
              assert.deepStrictEqual([bearer!.scheme, basic!.scheme], ["bearer", "basic"])
              // Of what a client was never shown it hears nothing.
              assert.isTrue(yield* rotate(accepted.job_id, basic!.id))
              assert.isTrue(yield* rotate(accepted.job_id, bearer!.id))
              yield* end(input)
              const { frames } = yield* outcome(peer, accepted.job_id)
              const told = bodies(frames.filter(isRotation), "status") as unknown as ReadonlyArray<{ id: string }>
              assert.deepStrictEqual(
                told.map(({ id }) => id),
                [bearer!.id]
              )
            }
          }),
        { upstream: mixed }
      )
    })

    it.effect("it is of no account how a provisioner labels its values", () => {
      const upstream = FakeUpstream.make()
      upstream.is.shaped = (issued) => ({
        ...issued,
        credential: { ...issued.credential, value: Redacted.make(Redacted.value(issued.credential.value)) }
      })
      return onStage(
        ({ act, end }) =>
          Effect.gen(function* () {
            const peer = yield* join()
            const accepted = yield* submit(peer, "puppet", "a")
            assert.deepStrictEqual(valuesOf(accepted), ["CANARY-gateway-1"])
            assert.isTrue(yield* rotate(accepted.job_id, shown(accepted)[0]!.id))
            assert.deepStrictEqual(yield* act("a", held), ["CANARY-gateway-2"])
            yield* end("a")
            const { frames } = yield* outcome(peer, accepted.job_id)
            assert.strictEqual(rotations(frames)[0]!.value, "CANARY-gateway-2")
          }),
        { upstream }
      )
    })

    it.effect("a client has them in its handle and in its events, redacted", () =>
      onStage(({ end }) =>
        Effect.gen(function* () {
          const client = yield* ArcpClient.ArcpClient
          const job = yield* client.submit("puppet@1.0.0", "a")
          const [credential] = job.credentials
          assert.strictEqual(Redacted.value(credential!.value), "CANARY-gateway-1")
          assert.strictEqual(credential!.endpoint, "https://gateway.example/v1")
          assert.notInclude(JSON.stringify(job), FakeUpstream.canary)
          yield* rotate(job.id, credential!.id)
          yield* end("a")
          const events = yield* Stream.runCollect(job.events)
          const told = events.flatMap(({ body, kind }) =>
            kind === "status" && "value" in (body as object)
              ? [body as { readonly id: string; readonly value: Redacted.Redacted }]
              : []
          )
          assert.deepStrictEqual(
            told.map(({ id, value }) => [id, Redacted.value(value)]),
            [[credential!.id, "CANARY-gateway-2"]]
          )
          assert.notInclude(JSON.stringify(events), FakeUpstream.canary)
        }).pipe(Effect.provide(ArcpClient.ArcpClient.layer({ token: Redacted.make("secret") })))
      )
    )
  })

  describe("are revoked", () => {
    it.effect("of a job that ends without its agent", () =>
      onStage(
        ({ upstream }) =>
          Effect.gen(function* () {
            const peer = yield* join()
            const accepted = yield* submit(peer, "stubborn", null)
            yield* peer.send({ type: "job.cancel", job_id: accepted.job_id })
            yield* TestClock.adjust("29 seconds")
            assert.strictEqual(upstream.keys.size, 1)
            yield* TestClock.adjust("1 second")
            assert.strictEqual((yield* outcome(peer, accepted.job_id)).terminal.payload["code"], "CANCELLED")
            assert.strictEqual(upstream.keys.size, 0)
          }),
        { agents: TestAgent.layerStubborn }
      )
    )

    it.effect("of a child that asks for more than its parent has left", () =>
      onStage(({ act, end, upstream }) =>
        Effect.gen(function* () {
          const peer = yield* join()
          const lease_request = { ...delegating.payload.lease_request, "cost.budget": ["USD:1.00"] }
          yield* submit(peer, "puppet", "a", { payload: { lease_request } })
          const refused = yield* act("a", Effect.flip(delegateTo("b", { "cost.budget": ["USD:1.01"] })))
          assert.strictEqual(refused._tag, "LeaseSubsetViolation")
          yield* turn
          assert.deepStrictEqual([...upstream.keys.values()], ["CANARY-gateway-1"])
          yield* end("a")
        })
      )
    )

    it.effect("of a job whose outcome cannot be written", () =>
      onStage(({ end, upstream }) =>
        Effect.gen(function* () {
          const peer = yield* join()
          const store = yield* JobStore.JobStore
          yield* submit(peer, "puppet", "a")
          Object.assign(store, { conclude: () => Effect.die(new Error("the disk is full")) })
          assert.strictEqual(upstream.keys.size, 1)
          yield* end("a")
          yield* turn
          assert.strictEqual(upstream.keys.size, 0)
        })
      )
    )

    it.effect("when the runtime ends, after the last word of each job", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { layer: credentialStore } = yield* FakeUpstream.durable
        const scope = yield* Scope.make()
        const runtime = ArcpTest.layerRuntime({ agents: TestAgent.layer, credentialStore })
        const context = yield* Layer.buildWithScope(Layer.provide(runtime, provisioned(upstream)), scope)
        yield* Effect.gen(function* () {
          const peer = yield* join()
          const store = yield* JobStore.JobStore
          const { job_id } = yield* submit(peer, "sleeper", 60)
          const statuses: Array<string> = []
          upstream.is.beforeRevoke = Effect.map(store.get(job_id as Ids.JobId), (stored) => {
            statuses.push(Option.getOrThrow(stored).status)
          })
          assert.strictEqual(upstream.keys.size, 1)
          // One that is being minted at that moment is no other case.
          upstream.is.beforeIssue = Effect.sleep("1 second")
          yield* sendSubmit(peer, "sleeper", 60)
          yield* settled
          yield* Scope.close(scope, Exit.void)
          assert.strictEqual(upstream.keys.size, 0)
          assert.deepStrictEqual(new Set(statuses), new Set(["error"]))
        }).pipe(Effect.provideContext(context))
      })
    })

    it.effect("when the runtime ends, of a whole family, each member of which ends by the same name", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { layer: credentialStore } = yield* FakeUpstream.durable
        const scope = yield* Scope.make()
        const { act, layer: agents } = Puppet.make()
        const runtime = ArcpTest.layerRuntime({ agents, credentialStore })
        const context = yield* Layer.buildWithScope(Layer.provide(runtime, provisioned(upstream)), scope)
        yield* Effect.gen(function* () {
          const peer = yield* join()
          const { job_id } = yield* submit(peer, "puppet", "a", delegating)
          const child = yield* act("a", delegateTo("b", delegating.payload.lease_request))
          const grandchild = yield* act("b", delegateTo("c", {}))
          assert.strictEqual(upstream.keys.size, 3)
          yield* Scope.close(scope, Exit.void)
          assert.strictEqual(upstream.keys.size, 0)
          for (const job of [job_id as Ids.JobId, child, grandchild]) {
            const stored = yield* JobStore.JobStore.use((store) => store.get(job))
            assert.strictEqual(Option.getOrThrow(stored).status, "error")
            const terminal = yield* JobJournal.outcome(job)
            assert.include(Option.getOrThrow(terminal).tail, "The runtime has ended")
          }
        }).pipe(Effect.provideContext(context))
      })
    })

    it.effect("when the runtime ends, also of a job whose agent does not", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { layer: credentialStore } = yield* FakeUpstream.durable
        const scope = yield* Scope.make()
        const { act, layer: agents } = Puppet.make()
        const runtime = ArcpTest.layerRuntime({ agents, credentialStore })
        const context = yield* Layer.buildWithScope(Layer.provide(runtime, provisioned(upstream)), scope)
        yield* Effect.gen(function* () {
          const peer = yield* join()
          const { job_id } = yield* submit(peer, "puppet", "a")
          const stubborn = yield* FakeUpstream.gate
          yield* Effect.forkChild(act("a", Effect.uninterruptible(stubborn.pass)))
          yield* stubborn.reached
          const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
          yield* settled
          yield* TestClock.adjust("29 seconds")
          assert.strictEqual(upstream.keys.size, 1)
          yield* TestClock.adjust("1 second")
          assert.strictEqual(upstream.keys.size, 0)
          const stored = yield* JobStore.JobStore.use((store) => store.get(job_id as Ids.JobId))
          assert.strictEqual(Option.getOrThrow(stored).status, "error")
          assert.isUndefined(closing.pollUnsafe())
          yield* stubborn.open
          yield* Fiber.join(closing)
        }).pipe(Effect.provideContext(context))
      })
    })

    it.effect("with patience, and what cannot be is told to who runs the runtime", () => {
      const log = capture()
      return onStage(({ end, upstream }) =>
        Effect.gen(function* () {
          const { unrevocable } = yield* Credentials.Credentials
          const peer = yield* join()
          for (const [input, failures] of [
            ["a", 3],
            ["b", Number.POSITIVE_INFINITY]
          ] as const) {
            let left = failures
            upstream.is.beforeRevoke = Effect.suspend(() =>
              left-- > 0 ? Effect.fail(upstream.error("Unavailable")) : Effect.void
            )
            const accepted = yield* submit(peer, "puppet", input)
            yield* end(input)
            // The outcome does not wait for it.
            assert.strictEqual((yield* outcome(peer, accepted.job_id)).terminal.type, "job.result")
            yield* TestClock.adjust("1 hour")
            assert.strictEqual(upstream.keys.size, failures === 3 ? 0 : 1)
          }
          assert.deepStrictEqual(
            (yield* unrevocable).map(({ outstanding }) => outstanding.handle),
            ["gateway-key-2"]
          )
          const errors = log.lines.filter((line) => line.startsWith("Error"))
          assert.lengthOf(errors, 1)
          assert.include(errors[0]!, "may still be in force")
          assert.notInclude(errors[0]!, FakeUpstream.canary)
        })
      ).pipe(Effect.provide(log.layer))
    })

    it.effect("after a crash, before anybody is served", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { layer: credentialStore } = yield* FakeUpstream.durable
        const life = Layer.fresh(
          Layer.provide(ArcpTest.layerRuntime({ agents: TestAgent.layer, credentialStore }), provisioned(upstream))
        )
        const submitted = Effect.flatMap(join(), (peer) => submit(peer, "sleeper", 60))
        // A process that is killed closes nothing.
        const killed = yield* Layer.buildWithScope(life, yield* Scope.make())
        yield* Effect.provideContext(submitted, killed)
        assert.strictEqual(upstream.keys.size, 1)

        const waiting = yield* FakeUpstream.gate
        upstream.is.beforeRevoke = waiting.pass
        const building = yield* Effect.forkChild(Layer.buildWithScope(life, yield* Effect.scope))
        yield* waiting.reached
        yield* settled
        assert.isUndefined(building.pollUnsafe())
        yield* waiting.open
        const context = yield* Fiber.join(building)
        assert.strictEqual(upstream.keys.size, 0)
        assert.lengthOf(shown(yield* Effect.provideContext(submitted, context)), 1)
      })
    })
  })
})
