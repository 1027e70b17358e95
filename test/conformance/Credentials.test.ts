import { assert, describe } from "@effect/vitest"
import { Effect, Fiber, Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as ObserverPolicy from "../../src/authority/ObserverPolicy.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as JobStore from "../../src/runtime/JobStore.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import * as FakeUpstream from "../authority/FakeUpstream.ts"
import { answer, assertRefused, eventually, join, outcome, run, sendSubmit, submit } from "./Conversation.ts"
import { durable, held, isRotation, listenInsecurely, onStage, provisioned, shown, valuesOf } from "./Provisioned.ts"
import { returnOf, ticketOf } from "./Stage.ts"
import { verifies } from "./verifies.ts"

/** Lets what was begun go on, without time passing. */
const turn = TestClock.adjust(0)

const rotate = (job: string, credential: string) =>
  Credentials.Credentials.use(({ rotate }) => rotate(job as Ids.JobId, credential as Ids.CredentialId))

const subscribe = (peer: TestPeer.TestPeer, job_id: string, more?: object) =>
  Effect.andThen(
    peer.send({ type: "job.subscribe", payload: { job_id, ...more } }),
    Effect.map(peer.until("job.subscribed"), (frames) => frames.at(-1)!)
  )

/** The next word that a peer gets of a rotation. */
const told = (peer: TestPeer.TestPeer) =>
  Effect.map(peer.until("job.event", isRotation), (frames): unknown => frames.at(-1)!.payload["body"])

/** Everything that a peer has received, as text. */
const heard = (peer: TestPeer.TestPeer) =>
  Effect.map(peer.record, (record) =>
    record.flatMap(({ direction, text }) => (direction === "received" ? [text] : [])).join("\n")
  )

const delegate = (input: string, options?: { readonly detached?: boolean }) =>
  JobContext.JobContext.use((job) =>
    Effect.map(job.delegate("puppet", input, { ...options, lease: { "agent.delegate": ["**"] } }), ({ id }) => id)
  )

const delegating = { payload: { lease_request: { "agent.delegate": ["**"] } } }

describe("Credentials", () => {
  verifies(
    "C-116",
    "come with the acceptance and never again, other ones for each job, and are revoked once when it has ended, however it ends",
    () => {
      const upstream = FakeUpstream.make()
      upstream.is.count = 2
      return onStage(
        ({ end }) =>
          Effect.gen(function* () {
            const journal = yield* JobJournal.JobJournal
            const peer = yield* join()
            const expiring = { lease_constraints: { expires_at: "1970-01-01T00:00:12Z" } }
            const endings: ReadonlyArray<
              readonly [
                status: string,
                agent: string,
                input: string | number,
                ending: Effect.Effect<void>,
                more?: object
              ]
            > = [
              ["success", "puppet", "a", end("a")],
              ["error", "failing", "declared", Effect.void],
              ["error", "failing", "defect", Effect.void],
              ["error", "failing", "budget", Effect.void],
              ["cancelled", "sleeper", 60, Effect.void],
              ["timed_out", "sleeper", 60, TestClock.adjust("5 seconds"), { max_runtime_sec: 5 }],
              ["error", "sleeper", 60, TestClock.adjust("7 seconds"), expiring]
            ]
            const seen = new Set<string>()
            for (const [status, agent, input, ending, more] of endings) {
              const before = upstream.revoked().length
              const endedBefore: Array<boolean> = []
              const accepted = yield* submit(peer, agent, input, { payload: { ...more } })
              upstream.is.beforeRevoke = Effect.map(
                journal.read(accepted.job_id as Ids.JobId, -1, 1_000_000),
                ({ ended }) => void endedBefore.push(ended)
              )
              const credentials = shown(accepted)
              assert.lengthOf(credentials, 2)
              for (const { value, ...rest } of credentials) {
                assert.hasAllKeys(rest, ["id", "scheme", "endpoint"])
                assert.strictEqual(rest.scheme, "bearer")
                assert.isFalse(seen.has(value))
                seen.add(value)
              }
              if (status === "cancelled") {
                yield* peer.send({ type: "job.cancel", job_id: accepted.job_id })
              }
              yield* ending
              const { frames, terminal } = yield* outcome(peer, accepted.job_id)
              yield* turn
              assert.strictEqual(terminal.payload["final_status"], status)
              assert.notInclude(JSON.stringify(frames), FakeUpstream.canary)
              // The outcome was stored by then (those that fail at once were done before the test could look).
              if (agent !== "failing") assert.deepStrictEqual(endedBefore, [true, true])
              assert.lengthOf(new Set(upstream.revoked().slice(before)), 2)
              assert.lengthOf(upstream.revoked(), before + 2)
              assert.strictEqual(upstream.keys.size, 0)
            }
            yield* TestClock.adjust("1 hour")
            assert.lengthOf(upstream.revoked(), 2 * endings.length)
          }),
        { upstream }
      )
    }
  )

  verifies(
    "C-118",
    "that are replaced are told with id and new value, and the old value is revoked once that was sent",
    () =>
      onStage(
        ({ act, end, upstream }) =>
          Effect.gen(function* () {
            const peer = yield* join()
            const accepted = yield* submit(peer, "puppet", "a")
            yield* peer.until("job.event")
            const { id, value: former } = shown(accepted)[0]!
            // A frame that nobody reads fills the line.
            yield* act(
              "a",
              Effect.flatMap(JobContext.JobContext, (job) => Effect.orDie(job.log("info", "first")))
            )
            const rotation = yield* Effect.forkChild(rotate(accepted.job_id, id))
            yield* TestClock.adjust("9 seconds")
            assert.deepStrictEqual([...upstream.keys.values()], [former, "CANARY-gateway-2"])
            assert.deepStrictEqual(yield* act("a", held), ["CANARY-gateway-2"])
            assert.deepStrictEqual(yield* told(peer), {
              phase: "credential_rotated",
              id,
              value: "CANARY-gateway-2",
              credential_id: id,
              credential_value: "CANARY-gateway-2"
            })
            yield* eventually(Effect.sync(upstream.revoked), (revoked) => revoked.length === 1)
            assert.isTrue(yield* Fiber.join(rotation))
            assert.deepStrictEqual([...upstream.keys.values()], ["CANARY-gateway-2"])
            yield* end("a")
            yield* outcome(peer, accepted.job_id)
            yield* turn
            assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1", "gateway-key-2"])
          }),
        { transport: { capacity: 1 } }
      )
  )

  verifies(
    "C-080",
    "are for the submitter's principal alone, and a new value for the session that submitted the job; no journal, store or listing has one",
    () =>
      onStage(
        ({ end, stored }) =>
          Effect.gen(function* () {
            const owner = yield* join()
            const same = yield* join()
            const other = yield* join({ token: "other" })
            const accepted = yield* submit(owner, "puppet", "a")
            const { job_id } = accepted
            const { id } = shown(accepted)[0]!
            assert.deepStrictEqual(valuesOf(yield* subscribe(same, job_id)), ["CANARY-gateway-1"])
            assert.notProperty((yield* subscribe(other, job_id)).payload, "credentials")
            yield* rotate(job_id, id)
            const withheld = { phase: "credential_rotated", id, credential_id: id }
            assert.deepStrictEqual(yield* told(same), withheld)
            assert.deepStrictEqual(yield* told(other), withheld)
            assert.deepStrictEqual(yield* told(owner), {
              ...withheld,
              value: "CANARY-gateway-2",
              credential_value: "CANARY-gateway-2"
            })
            // Who comes later, of the same principal, gets what it is worth now; history brings no value.
            const later = yield* join()
            assert.deepStrictEqual(valuesOf(yield* subscribe(later, job_id, { history: true })), ["CANARY-gateway-2"])
            assert.deepStrictEqual(yield* told(later), withheld)
            const stranger = yield* join({ token: "other" })
            yield* subscribe(stranger, job_id, { history: true })
            assert.deepStrictEqual(yield* told(stranger), withheld)

            yield* owner.send({ type: "session.list_jobs" })
            const listed = yield* owner.until("session.jobs")
            assert.include(JSON.stringify(listed), job_id)
            assert.notInclude(JSON.stringify(listed), FakeUpstream.canary)
            const journal = yield* JobJournal.JobJournal
            const { entries } = yield* journal.read(job_id as Ids.JobId, -1, 1_000_000)
            assert.isTrue(entries.some(({ tail }) => tail.includes("credential_rotated")))
            assert.notInclude(JSON.stringify(entries), FakeUpstream.canary)
            const record = yield* JobStore.JobStore.use((store) => store.get(job_id as Ids.JobId))
            assert.isTrue(Option.isSome(record))
            assert.notInclude(JSON.stringify(record), FakeUpstream.canary)
            assert.lengthOf(yield* stored, 1)
            assert.notInclude((yield* stored).join(), FakeUpstream.canary)

            yield* end("a")
            yield* outcome(owner, job_id)
            assert.notInclude(yield* heard(other), FakeUpstream.canary)
            assert.notInclude(yield* heard(stranger), FakeUpstream.canary)
            // Of a job that has ended nobody gets any.
            assert.notProperty((yield* subscribe(owner, job_id, { history: true })).payload, "credentials")
            assert.deepStrictEqual(yield* told(owner), withheld)
          }),
        {
          tokens: { secret: "tester", other: "eve" },
          policies: ObserverPolicy.layer(() => Effect.succeed(true))
        }
      )
  )

  verifies("C-119", "of a child end with it, and those of all that a job has delegated end with the job", () =>
    onStage(({ act, end, upstream }) =>
      Effect.gen(function* () {
        const peer = yield* join()
        const parent = yield* submit(peer, "puppet", "parent", delegating)
        const child = yield* act("parent", delegate("child"))
        const accepted = (yield* peer.until("job.accepted", ({ job_id }) => job_id === child)).at(-1)!
        assert.strictEqual(accepted.payload["parent_job_id"], parent.job_id)
        assert.deepStrictEqual(valuesOf(accepted), ["CANARY-gateway-2"])
        assert.deepStrictEqual(yield* act("child", held), ["CANARY-gateway-2"])
        yield* end("child")
        yield* outcome(peer, child)
        yield* turn
        assert.deepStrictEqual([...upstream.keys.values()], valuesOf(parent))

        yield* act("parent", delegate("attached"))
        const detached = yield* act("parent", delegate("detached", { detached: true }))
        yield* act("detached", delegate("grandchild"))
        assert.strictEqual(upstream.keys.size, 4)
        yield* end("parent")
        yield* outcome(peer, parent.job_id)
        yield* turn
        assert.strictEqual(upstream.keys.size, 0)
        assert.deepStrictEqual(yield* act("detached", held), [])
        assert.deepStrictEqual(yield* act("grandchild", held), [])
        // What is left behind gets none for those that it delegates, either.
        const asked = upstream.calls.length
        yield* act("detached", delegate("late"))
        assert.deepStrictEqual(yield* act("late", held), [])
        assert.lengthOf(upstream.calls, asked)
        yield* end("detached")
        assert.strictEqual((yield* outcome(peer, detached)).terminal.type, "job.result")
        assert.lengthOf(new Set(upstream.revoked()), upstream.revoked().length)
      })
    )
  )

  verifies(
    "C-121",
    "are offered only by a runtime that has a provisioner and remembers over its death what it has to revoke",
    () =>
      Effect.gen(function* () {
        const upstream = FakeUpstream.make()
        const offers = Effect.gen(function* () {
          const peer = yield* join()
          const welcome = yield* heard(peer)
          const { terminal } = yield* run(peer, "tck-echo", 1)
          assert.strictEqual(terminal.type, "job.result")
          return welcome.includes("provisioned_credentials")
        })
        const offered = (
          provisioners: Layer.Layer<never>,
          credentialStore?: Layer.Layer<CredentialStore.CredentialStore>
        ) =>
          Effect.provide(
            offers,
            Layer.provide(
              ArcpTest.layerRuntime({
                agents: TestAgent.layer,
                ...(credentialStore === undefined ? undefined : { credentialStore })
              }),
              provisioners
            )
          )
        assert.isFalse(yield* offered(Layer.empty))
        assert.isFalse(yield* offered(Layer.empty, yield* durable))
        assert.isFalse(yield* offered(provisioned(upstream)))
        assert.isFalse(yield* offered(provisioned(upstream), CredentialStore.layerMemory))
        assert.lengthOf(upstream.calls, 0)
        assert.isTrue(yield* offered(provisioned(upstream), yield* durable))
        assert.isAbove(upstream.calls.length, 0)
      })
  )

  verifies("C-134", "are neither offered nor issued over a line that is not secure", () =>
    onStage(({ act, end, upstream }) =>
      Effect.gen(function* () {
        const connect = yield* listenInsecurely
        const peer = yield* connect
        const welcome = yield* peer.hello()
        assert.notInclude(JSON.stringify(welcome), "provisioned_credentials")
        const accepted = yield* submit(peer, "puppet", "plain")
        assert.notProperty(accepted.payload, "credentials")
        assert.deepStrictEqual(yield* act("plain", held), [])
        assert.deepStrictEqual(upstream.calls, [])
        yield* end("plain")

        const safe = yield* join()
        assert.lengthOf(shown(yield* submit(safe, "puppet", "safe")), 1)
        assert.deepStrictEqual(yield* act("safe", held), ["CANARY-gateway-1"])
      })
    )
  )

  verifies(
    "C-134",
    "of a session that comes back over a line that is not secure pass no more, and its new jobs get none",
    () =>
      onStage(({ act, upstream }) =>
        Effect.gen(function* () {
          const connect = yield* listenInsecurely
          const safe = yield* TestPeer.connect
          const ticket = ticketOf(yield* safe.hello())
          const request = { payload: { idempotency_key: "k" } }
          const accepted = yield* submit(safe, "puppet", "a", request)
          const { id } = shown(accepted)[0]!
          yield* rotate(accepted.job_id, id)
          yield* safe.close()
          yield* turn

          const plain = yield* connect
          yield* plain.send(returnOf(ticket, { last: 0 }))
          yield* plain.expect("session.welcome")
          const withheld = { phase: "credential_rotated", id, credential_id: id }
          assert.deepStrictEqual(yield* told(plain), withheld)
          yield* Effect.forkChild(rotate(accepted.job_id, id))
          assert.deepStrictEqual(yield* told(plain), withheld)
          assert.notProperty((yield* submit(plain, "puppet", "a", request)).payload, "credentials")
          assert.notProperty((yield* subscribe(plain, accepted.job_id)).payload, "credentials")
          const asked = upstream.calls.length
          yield* submit(plain, "puppet", "b", delegating)
          assert.deepStrictEqual(yield* act("b", held), [])
          yield* act("b", delegate("c"))
          assert.deepStrictEqual(yield* act("c", held), [])
          assert.lengthOf(upstream.calls, asked)
          assert.notInclude(yield* heard(plain), FakeUpstream.canary)
          // The agent itself speaks to nobody over that line.
          assert.deepStrictEqual(yield* act("a", held), ["CANARY-gateway-3"])
        })
      )
  )

  verifies(
    "C-113",
    "that an upstream does not issue because the money is spent refuse the submit as BUDGET_EXHAUSTED",
    () => {
      const upstream = FakeUpstream.make()
      upstream.is.beforeIssue = Effect.fail(upstream.error("BudgetExceeded"))
      return onStage(
        ({ stored }) =>
          Effect.gen(function* () {
            const peer = yield* join()
            const request = yield* sendSubmit(peer, "tck-echo", 1)
            const refusal = yield* answer(peer)
            assertRefused(refusal, "BUDGET_EXHAUSTED", request)
            assert.strictEqual(refusal.payload["retryable"], false)
            yield* TestClock.adjust("1 minute")
            assert.strictEqual(upstream.keys.size, 0)
            assert.deepStrictEqual(yield* stored, [])
          }),
        { upstream }
      )
    }
  )
})
