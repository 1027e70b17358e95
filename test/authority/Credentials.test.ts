import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, Option, Redacted, Scope } from "effect"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Credential from "../../src/protocol/Credential.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import { verifies } from "../conformance/verifies.ts"
import * as FakeUpstream from "./FakeUpstream.ts"

const { job, request } = FakeUpstream

const silent: Credentials.Terms = { secure: true, onRotated: () => Effect.void }

const credentialsOf = Effect.succeed<ReadonlyArray<Credential.Credential>>

const issue = (asked: CredentialProvisioner.Request | string, terms: Credentials.Terms = silent) =>
  Credentials.Credentials.use((credentials) =>
    credentials.issueFor(typeof asked === "string" ? request(asked) : asked, terms, credentialsOf)
  )

const revokeAll = (name: string) => Credentials.Credentials.use((credentials) => credentials.revokeAll(job(name)))
const current = (name: string) => Credentials.Credentials.use((credentials) => credentials.current(job(name)))
const rotate = (name: string, id: Ids.CredentialId) =>
  Credentials.Credentials.use((credentials) => credentials.rotate(job(name), id))
const stored = CredentialStore.CredentialStore.use((store) => store.list)
const handles = Effect.map(stored, (entries) => entries.map(({ outstanding }) => outstanding.handle))

const valueOf = (credential: Credential.Credential | undefined) =>
  credential === undefined ? undefined : Redacted.value(credential.value)

/** Lets what was begun go on, without time passing. */
const turn = TestClock.adjust(0)

/** The test's own life of a runtime, over a store that counts as durable. */
const over =
  (upstream: FakeUpstream.FakeUpstream | ReadonlyArray<FakeUpstream.FakeUpstream>, options?: Credentials.Options) =>
  <A, E>(
    body: Effect.Effect<A, E, Credentials.Credentials | CredentialStore.CredentialStore | Scope.Scope>
  ): Effect.Effect<A, E, Scope.Scope> =>
    Effect.gen(function* () {
      const { layer } = yield* FakeUpstream.durable
      const upstreams = "provisioner" in upstream ? [upstream] : upstream
      return yield* Effect.provide(body, FakeUpstream.life(upstreams, layer, options))
    })

const capture = () => {
  const lines: Array<{ readonly level: string; readonly text: string }> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push({ level: logLevel, text: JSON.stringify(message) })
  })
  return { lines, layer: Logger.layer([logger]) }
}

describe("Credentials", () => {
  describe("issuing", () => {
    it.effect("writes a handle down before the upstream hears of it, and gives out values no earlier", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const waiting = yield* FakeUpstream.gate
        upstream.is.beforeIssue = waiting.pass
        const issuing = yield* Effect.forkChild(issue("job_1"))
        yield* waiting.reached
        assert.deepStrictEqual(yield* handles, ["gateway-key-1"])
        assert.deepStrictEqual(yield* current("job_1"), [])
        assert.strictEqual(upstream.keys.size, 0)
        yield* waiting.open
        const issued = yield* Fiber.join(issuing)
        assert.lengthOf(issued, 1)
        assert.match(issued[0]!.id, /^cred_[0-9A-Z]{26}$/)
        assert.strictEqual(issued[0]!.scheme, "bearer")
        assert.strictEqual(valueOf(issued[0]), "CANARY-gateway-1")
        assert.deepStrictEqual(yield* current("job_1"), issued)
        const value = yield* Credentials.Credentials.use(({ value }) => value(job("job_1"), issued[0]!.id))
        assert.deepStrictEqual(Option.map(value, Redacted.value), Option.some("CANARY-gateway-1"))
        const [entry] = yield* stored
        assert.deepStrictEqual(entry, {
          outstanding: {
            id: `${issued[0]!.id}.1`,
            provisioner: "gateway",
            handle: "gateway-key-1",
            job: job("job_1"),
            credential: issued[0]!.id,
            issuedAt: 0
          },
          failure: Option.none()
        })
      }).pipe(over(upstream))
    })

    it.effect("asks every provisioner, and for each job anew", () => {
      const [a, b] = [FakeUpstream.make("a"), FakeUpstream.make("b")]
      a.is.count = 2
      return Effect.gen(function* () {
        const first = yield* issue("job_1")
        const second = yield* issue("job_2")
        assert.lengthOf(new Set([...first, ...second].map(valueOf)), 6)
        assert.lengthOf(new Set([...first, ...second].map(({ id }) => id)), 6)
        yield* revokeAll("job_1")
        yield* turn
        assert.deepStrictEqual(yield* current("job_1"), [])
        assert.deepStrictEqual(yield* current("job_2"), second)
        assert.sameMembers([...a.keys.values(), ...b.keys.values()], second.map(valueOf))
      }).pipe(over([a, b]))
    })

    it.effect("gives none over a line that is not secure, and asks for none", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* issue("job_1", { ...silent, secure: false }), [])
        assert.deepStrictEqual(upstream.calls, [])
      }).pipe(over(upstream))
    })

    it.effect("is not available without a provisioner, nor without a list that survives", () => {
      const upstream = FakeUpstream.make()
      const log = capture()
      const state = Effect.gen(function* () {
        const issued = yield* issue("job_1")
        return [yield* Credentials.Credentials.useSync(({ available }) => available), issued.length]
      })
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* state.pipe(over([])), [false, 0])
        assert.lengthOf(log.lines, 0)
        const forgetful = FakeUpstream.life([upstream], CredentialStore.layerMemory)
        assert.deepStrictEqual(yield* Effect.provide(state, forgetful), [false, 0])
        assert.match(log.lines[0]!.text, /would not survive a crash/)
        assert.deepStrictEqual(upstream.calls, [])
        assert.deepStrictEqual(yield* state.pipe(over(upstream)), [true, 1])
      }).pipe(Effect.provide(log.layer))
    })

    it.effect("has its bounds from who put the runtime together, but for those that it is given itself", () => {
      const upstream = FakeUpstream.make()
      upstream.is.beforeIssue = Effect.fail(upstream.error("Unavailable"))
      const attempts = (options?: Credentials.Options) =>
        Effect.gen(function* () {
          upstream.calls.length = 0
          const issuing = yield* Effect.forkChild(issue("job_1"))
          yield* TestClock.adjust("1 minute")
          assert.isDefined(issuing.pollUnsafe())
          return upstream.calls.filter((call) => call.startsWith("issue")).length
        }).pipe(over(upstream, options), Effect.provide(Credentials.layerDefaults({ issueAttempts: 2 })))
      return Effect.gen(function* () {
        assert.strictEqual(yield* attempts(), 2)
        assert.strictEqual(yield* attempts({ issueAttempts: 5 }), 5)
      })
    })

    it.effect("holds up nobody else while one upstream is slow", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const waiting = yield* FakeUpstream.gate
        upstream.is.beforeIssue = waiting.pass
        const slow = yield* Effect.forkChild(issue("job_1"))
        yield* waiting.reached
        upstream.is.beforeIssue = Effect.void
        assert.lengthOf(yield* issue("job_2"), 1)
        yield* waiting.open
        assert.lengthOf(yield* Fiber.join(slow), 1)
      }).pipe(over(upstream))
    })

    it.effect("gives all or nothing: what was minted before a failure is revoked", () => {
      const [a, b] = [FakeUpstream.make("a"), FakeUpstream.make("b")]
      return Effect.gen(function* () {
        let calls = 0
        a.is.count = 3
        a.is.beforeIssue = Effect.suspend(() => (++calls === 3 ? Effect.fail(a.error("Rejected")) : Effect.void))
        const error = yield* Effect.flip(issue("job_1"))
        assert.strictEqual(error._tag, "InternalError")
        assert.deepStrictEqual(error.details, { provisioner: "a", reason: "Rejected" })
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(a.keys.size + b.keys.size, 0)
        assert.deepStrictEqual(yield* stored, [])
        assert.deepStrictEqual(yield* current("job_1"), [])
      }).pipe(over([a, b]))
    })

    it.effect("a budget that is spent upstream is BUDGET_EXHAUSTED", () => {
      const upstream = FakeUpstream.make()
      upstream.is.beforeIssue = Effect.fail(upstream.error("BudgetExceeded"))
      return Effect.gen(function* () {
        const error = yield* Effect.flip(issue("job_1"))
        assert.strictEqual(ArcpError.code(error), "BUDGET_EXHAUSTED")
        assert.strictEqual(upstream.calls.filter((call) => call.startsWith("issue")).length, 1)
      }).pipe(over(upstream))
    })

    it.effect(
      "asks again while the upstream is not available, and clears away what failed attempts may have left",
      () => {
        const upstream = FakeUpstream.make()
        let failures = 2
        upstream.is.afterIssue = Effect.suspend(() =>
          failures-- > 0 ? Effect.fail(upstream.error("Unavailable", 2000)) : Effect.void
        )
        return Effect.gen(function* () {
          const issuing = yield* Effect.forkChild(issue("job_1"))
          yield* TestClock.adjust("1999 millis")
          assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-1"])
          yield* TestClock.adjust("2001 millis")
          const issued = yield* Fiber.join(issuing)
          assert.deepStrictEqual(issued.map(valueOf), ["CANARY-gateway-3"])
          yield* TestClock.adjust("1 minute")
          assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-3"])
          assert.deepStrictEqual(yield* handles, ["gateway-key-3"])
        }).pipe(over(upstream))
      }
    )

    it.effect("asks so often and no more", () => {
      const upstream = FakeUpstream.make()
      upstream.is.beforeIssue = Effect.fail(upstream.error("Unavailable"))
      return Effect.gen(function* () {
        const issuing = yield* Effect.forkChild(issue("job_1"))
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual((yield* Effect.flip(Fiber.join(issuing)))._tag, "InternalError")
        assert.strictEqual(upstream.calls.filter((call) => call.startsWith("issue")).length, 4)
      }).pipe(over(upstream, { issueAttempts: 4 }))
    })

    it.effect("what an upstream makes of a request that was given up is revoked when it comes", () => {
      const upstream = FakeUpstream.make()
      // Its answer never comes, and the key only after we have stopped waiting.
      upstream.is.late = Duration.toMillis("40 seconds")
      return Effect.gen(function* () {
        const issuing = yield* Effect.forkChild(issue("job_1"))
        yield* TestClock.adjust("30 seconds")
        const error = yield* Effect.flip(Fiber.join(issuing))
        assert.deepStrictEqual(error.details, { provisioner: "gateway", reason: "Unavailable" })
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
        // One revocation that found nothing proves nothing yet.
        assert.deepStrictEqual(yield* handles, ["gateway-key-1"])
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(upstream.keys.size, 1)
        yield* TestClock.adjust("20 seconds")
        assert.strictEqual(upstream.keys.size, 0)
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1", "gateway-key-1"])
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(over(upstream))
    })

    it.effect("goes on when the submitter goes, and revokes what comes of it", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const waiting = yield* FakeUpstream.gate
        upstream.is.beforeIssue = waiting.pass
        const issuing = yield* Effect.forkChild(issue("job_1"))
        yield* waiting.reached
        yield* Fiber.interrupt(issuing)
        assert.deepStrictEqual(upstream.revoked(), [])
        yield* waiting.open
        yield* turn
        assert.deepStrictEqual(upstream.calls, ["issue job_1", "made gateway-key-1", "revoke gateway-key-1"])
        assert.strictEqual(upstream.keys.size, 0)
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(over(upstream))
    })

    it.effect("revokes what a job was to have that was not accepted, however that went", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { issueFor } = yield* Credentials.Credentials
        const waiting = yield* FakeUpstream.gate
        const refused = new ArcpError.DuplicateKey({ message: "taken" })
        assert.strictEqual(yield* Effect.flip(issueFor(request("job_1"), silent, () => Effect.fail(refused))), refused)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(issueFor(request("job_2"), silent, () => Effect.die("oh")))))
        const accepting = yield* Effect.forkChild(
          issueFor(request("job_3"), silent, () => Effect.interruptible(waiting.pass))
        )
        yield* waiting.reached
        assert.lengthOf(yield* current("job_3"), 1)
        yield* Fiber.interrupt(accepting)
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1", "gateway-key-2", "gateway-key-3"])
        assert.deepStrictEqual(yield* stored, [])
        assert.deepStrictEqual(yield* current("job_3"), [])
      }).pipe(over(upstream))
    })

    it.effect("a job that was accepted keeps them, also if who asked for it goes at that moment", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { issueFor } = yield* Credentials.Credentials
        const waiting = yield* FakeUpstream.gate
        const accepting = yield* Effect.forkChild(issueFor(request("job_1"), silent, () => waiting.pass))
        yield* waiting.reached
        const going = yield* Effect.forkChild(Fiber.interrupt(accepting))
        yield* turn
        yield* waiting.open
        yield* Fiber.join(going)
        yield* turn
        assert.lengthOf(yield* current("job_1"), 1)
        assert.strictEqual(upstream.keys.size, 1)
        assert.deepStrictEqual(upstream.revoked(), [])
      }).pipe(over(upstream))
    })

    it.effect("issues nothing when the list cannot be written, and does not ask for it", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const backing = yield* KeyValueStore.KeyValueStore
        const full = Layer.succeed(
          KeyValueStore.KeyValueStore,
          KeyValueStore.make({
            ...backing,
            set: () => Effect.fail(new KeyValueStore.KeyValueStoreError({ method: "set", message: "disk full" }))
          })
        )
        const store = CredentialStore.layerKeyValueStore({ durable: true }).pipe(Layer.provide(full), Layer.orDie)
        yield* Effect.gen(function* () {
          const issuing = yield* Effect.forkChild(issue("job_1"))
          yield* TestClock.adjust("1 minute")
          const error = yield* Effect.flip(Fiber.join(issuing))
          assert.deepStrictEqual(error.details, { provisioner: "gateway", reason: "Unavailable" })
          assert.strictEqual(upstream.keys.size, 0)
          assert.isFalse(upstream.calls.some((call) => call.startsWith("made")))
        }).pipe(Effect.provide(FakeUpstream.life([upstream], store)))
      }).pipe(Effect.provide(KeyValueStore.layerMemory))
    })

    describe("holds a provisioner to its word:", () => {
      const broken = (title: string, change: (upstream: FakeUpstream.FakeUpstream) => void, left: number) =>
        it.effect(title, () => {
          const upstream = FakeUpstream.make()
          return Effect.gen(function* () {
            yield* issue("job_0")
            change(upstream)
            const error = yield* Effect.flip(issue("job_1"))
            assert.deepStrictEqual(error.details, { provisioner: "gateway", reason: "Malformed" })
            yield* TestClock.adjust("1 minute")
            assert.deepStrictEqual([...upstream.keys.keys()].slice(0, 1), ["gateway-key-1"])
            assert.strictEqual(upstream.keys.size, left)
            assert.lengthOf(yield* stored, 1)
            assert.lengthOf(yield* current("job_0"), 1)
          }).pipe(over(upstream, { maxPerJob: 3 }))
        })

      broken("more credentials than a job may have are all revoked", ({ is }) => (is.count = 4), 1)
      broken(
        "no two credentials have one handle",
        ({ is }) => {
          is.count = 2
          is.nextHandle = () => "same"
        },
        1
      )
      broken(
        "no two credentials have one value",
        ({ is }) => {
          is.count = 2
          is.nextValue = () => "same"
        },
        1
      )
      broken("a value is not empty", ({ is }) => (is.nextValue = () => ""), 1)
      broken(
        "it is of a shape that can be told",
        ({ is }) => {
          is.shaped = (issued) => ({
            ...issued,
            // As one could come to be that no compiler has seen.
            credential: { ...issued.credential, constraints: { expires_at: 7 as unknown as string } }
          })
        },
        1
      )
      broken("a handle is not empty", ({ is }) => (is.nextHandle = () => ""), 1)
      broken("a handle is not endless", ({ is }) => (is.nextHandle = () => "x".repeat(16_385)), 1)
      broken(
        "it does not remember without end",
        ({ is }) => {
          is.count = 1000
        },
        1
      )
      // Its own key is not ours to revoke by this handle: that would take away the value of the other job.
      broken(
        "what another job has is not given out again, and stays there",
        ({ is }) => {
          is.nextValue = () => "CANARY-gateway-1"
        },
        2
      )
    })

    it.effect("what it dies of is not said", () => {
      const upstream = FakeUpstream.make()
      const log = capture()
      upstream.is.afterIssue = Effect.die(new TypeError("CANARY"))
      return Effect.gen(function* () {
        const error = yield* Effect.flip(issue("job_1"))
        assert.deepStrictEqual(error.details, { provisioner: "gateway", reason: "Malformed" })
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(upstream.keys.size, 0)
        assert.match(JSON.stringify(log.lines), /died of TypeError/)
        assert.notMatch(JSON.stringify(log.lines), /CANARY/)
      }).pipe(over(upstream), Effect.provide(log.layer))
    })

    it.effect("a handle that it did not remember is written down before its value is given out", () => {
      const upstream = FakeUpstream.make()
      const { issue: mint } = upstream.provisioner
      const provisioner = {
        ...upstream.provisioner,
        issue: (asked: CredentialProvisioner.Request) => mint(asked, () => Effect.void)
      }
      return Effect.gen(function* () {
        const { issueFor, revokeAll } = yield* Credentials.Credentials
        assert.deepStrictEqual(yield* issueFor(request("job_1"), silent, () => handles), ["gateway-key-1"])
        yield* revokeAll(job("job_1"))
        yield* turn
        assert.strictEqual(upstream.keys.size, 0)
      }).pipe(over({ ...upstream, provisioner }))
    })

    it.effect("what it remembered and did not return is revoked", () => {
      const upstream = FakeUpstream.make()
      const { issue: mint } = upstream.provisioner
      upstream.is.count = 3
      const provisioner: CredentialProvisioner.Provisioner = {
        ...upstream.provisioner,
        issue: (asked, remember) => Effect.map(mint(asked, remember), (issued) => issued.slice(1, 2))
      }
      return Effect.gen(function* () {
        assert.lengthOf(yield* issue("job_1"), 1)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-2"])
        assert.deepStrictEqual(yield* handles, ["gateway-key-2"])
      }).pipe(over({ ...upstream, provisioner }))
    })
  })

  describe("revoking", () => {
    it.effect("does not make who ends a job wait, and voids the values at once", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const waiting = yield* FakeUpstream.gate
        const [issued] = yield* issue("job_1")
        upstream.is.beforeRevoke = waiting.pass
        yield* revokeAll("job_1")
        assert.deepStrictEqual(yield* current("job_1"), [])
        const value = yield* Credentials.Credentials.use(({ value }) => value(job("job_1"), issued!.id))
        assert.deepStrictEqual(value, Option.none())
        yield* waiting.reached
        assert.strictEqual(upstream.keys.size, 1)
        assert.lengthOf(yield* stored, 1)
        yield* waiting.open
        yield* turn
        assert.strictEqual(upstream.keys.size, 0)
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(over(upstream))
    })

    it.effect("is done once for each credential, however often the end is reported", () => {
      const upstream = FakeUpstream.make()
      upstream.is.count = 3
      return Effect.gen(function* () {
        yield* issue("job_1")
        yield* Effect.all([revokeAll("job_1"), revokeAll("job_1"), revokeAll("job_none")], { concurrency: 3 })
        yield* TestClock.adjust("1 hour")
        yield* revokeAll("job_1")
        yield* TestClock.adjust("1 hour")
        assert.sameMembers([...upstream.revoked()], ["gateway-key-1", "gateway-key-2", "gateway-key-3"])
      }).pipe(over(upstream))
    })

    it.effect("runs so many at once and no more, and one that waits to try again holds up no other", () => {
      const upstream = FakeUpstream.make()
      let running = 0
      let most = 0
      upstream.is.count = 12
      upstream.is.beforeRevoke = Effect.acquireUseRelease(
        Effect.sync(() => (most = Math.max(most, ++running))),
        () => Effect.sleep("1 second"),
        () => Effect.sync(() => running--)
      )
      return Effect.gen(function* () {
        yield* issue("job_1")
        yield* revokeAll("job_1")
        yield* TestClock.adjust("4 seconds")
        assert.strictEqual(upstream.keys.size, 0)
        assert.strictEqual(most, 3)
        upstream.is.beforeRevoke = Effect.suspend(() =>
          upstream.revoked().at(-1) === "gateway-key-24" ? Effect.void : Effect.fail(upstream.error("Unavailable"))
        )
        yield* issue("job_2")
        yield* revokeAll("job_2")
        yield* turn
        assert.isFalse(upstream.keys.has("gateway-key-24"))
      }).pipe(over(upstream, { maxRevoking: 3, maxPerJob: 20 }))
    })

    verifies("C-120", "is tried again with growing pauses while the upstream is not available", () => {
      const upstream = FakeUpstream.make()
      const at: Array<number> = []
      upstream.is.beforeRevoke = Effect.clockWith((clock) =>
        Effect.suspend(() => {
          at.push(clock.currentTimeMillisUnsafe())
          return at.length < 7 ? Effect.fail(upstream.error("Unavailable")) : Effect.void
        })
      )
      return Effect.gen(function* () {
        yield* issue("job_1")
        yield* revokeAll("job_1")
        yield* TestClock.adjust("10 minutes")
        assert.lengthOf(at, 7)
        for (let index = 1; index < at.length; index++) {
          const pause = at[index]! - at[index - 1]!
          const expected = 1000 * 2 ** (index - 1)
          assert.isAtLeast(pause, 0.79 * expected)
          assert.isAtMost(pause, 1.21 * expected)
        }
        assert.strictEqual(upstream.keys.size, 0)
        assert.deepStrictEqual(yield* stored, [])
        assert.deepStrictEqual(yield* Credentials.Credentials.use(({ unrevocable }) => unrevocable), [])
      }).pipe(over(upstream))
    })

    it.effect("does not try again for all jobs in the same moment", () => {
      const upstream = FakeUpstream.make()
      const at = new Set<number>()
      upstream.is.count = 10
      return Effect.gen(function* () {
        yield* issue("job_1")
        upstream.is.beforeRevoke = Effect.clockWith((clock) =>
          Effect.suspend(() => {
            at.add(clock.currentTimeMillisUnsafe())
            return Effect.fail(upstream.error("Unavailable"))
          })
        )
        yield* revokeAll("job_1")
        yield* TestClock.adjust("1500 millis")
        assert.strictEqual(at.size, 1 + 10)
      }).pipe(over(upstream))
    })

    it.effect("waits as long as the upstream asks, within reason", () => {
      const upstream = FakeUpstream.make()
      upstream.is.beforeRevoke = Effect.fail(upstream.error("Unavailable", 60_000))
      return Effect.gen(function* () {
        yield* issue("job_1")
        yield* revokeAll("job_1")
        yield* TestClock.adjust("59 seconds")
        assert.lengthOf(upstream.revoked(), 1)
        upstream.is.beforeRevoke = Effect.fail(upstream.error("Unavailable", 1e12))
        yield* TestClock.adjust("1 second")
        assert.lengthOf(upstream.revoked(), 2)
        upstream.is.beforeRevoke = Effect.void
        yield* TestClock.adjust("299 seconds")
        assert.lengthOf(upstream.revoked(), 2)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(upstream.keys.size, 0)
      }).pipe(over(upstream))
    })

    it.effect("takes one attempt that hangs for a failed one", () => {
      const upstream = FakeUpstream.make()
      upstream.is.beforeRevoke = Effect.never
      return Effect.gen(function* () {
        yield* issue("job_1")
        yield* revokeAll("job_1")
        yield* turn
        upstream.is.beforeRevoke = Effect.void
        yield* TestClock.adjust("32 seconds")
        assert.strictEqual(upstream.keys.size, 0)
      }).pipe(over(upstream))
    })

    verifies("C-120", "what cannot be revoked is logged as an error, kept, listed, and tried again on demand", () => {
      const upstream = FakeUpstream.make()
      const log = capture()
      const errors = () => log.lines.filter(({ level }) => level === "Error")
      return Effect.gen(function* () {
        const credentials = yield* Credentials.Credentials
        const [down] = yield* issue("job_1")
        upstream.is.beforeRevoke = Effect.fail(upstream.error("Unavailable"))
        yield* revokeAll("job_1")
        yield* TestClock.adjust("1 hour")
        assert.lengthOf(upstream.revoked(), 10)
        const [refused] = yield* issue("job_2")
        upstream.is.beforeRevoke = Effect.fail(upstream.error("Rejected"))
        yield* revokeAll("job_2")
        yield* turn
        // No patience helps against a refusal.
        assert.lengthOf(upstream.revoked(), 11)
        assert.lengthOf(errors(), 2)
        assert.include(errors()[0]!.text, down!.id)
        assert.include(errors()[1]!.text, refused!.id)
        const listed = yield* credentials.unrevocable
        assert.sameDeepMembers(
          listed.map(({ failure, outstanding: { credential, job } }) => ({ failure, credential, job })),
          [
            {
              credential: down!.id,
              job: job("job_1"),
              failure: Option.map(listed[0]!.failure, ({ at }) => ({ at, reason: "Unavailable: as the test says" }))
            },
            {
              credential: refused!.id,
              job: job("job_2"),
              failure: Option.some({ at: 3_600_000, reason: "Rejected: as the test says" })
            }
          ]
        )
        upstream.is.beforeRevoke = Effect.void
        yield* issue("job_3")
        yield* credentials.sweep
        assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-3"])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* credentials.unrevocable, [])
        assert.deepStrictEqual(yield* handles, ["gateway-key-3"])
      }).pipe(over(upstream), Effect.provide(log.layer))
    })

    it.effect("ends what the job has delegated, at any depth, and what is just being issued there", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const waiting = yield* FakeUpstream.gate
        yield* issue("child", silent).pipe(Effect.asVoid)
        yield* issue(request("grandchild", { parent: "child" }))
        yield* issue(request("great-grandchild", { parent: "grandchild" }))
        yield* issue("other")
        upstream.is.beforeIssue = waiting.pass
        const late = yield* Effect.forkChild(issue(request("late", { parent: "child" })))
        yield* waiting.reached
        yield* revokeAll("child")
        yield* waiting.open
        assert.strictEqual((yield* Effect.flip(Fiber.join(late)))._tag, "InternalError")
        yield* turn
        assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-4"])
        for (const name of ["child", "grandchild", "great-grandchild", "late"]) {
          assert.deepStrictEqual(yield* current(name), [])
        }
        assert.deepStrictEqual(yield* handles, ["gateway-key-4"])
      }).pipe(over(upstream))
    })

    it.effect("ends the children of a job that has no credentials of its own", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        yield* issue(request("child", { parent: "bare" }))
        yield* revokeAll("bare")
        yield* turn
        assert.strictEqual(upstream.keys.size, 0)
      }).pipe(over(upstream))
    })
  })

  describe("rotating", () => {
    it.effect(
      "keeps the id, tells of it when the new value is there, and revokes the former one, never the new one",
      () => {
        const upstream = FakeUpstream.make()
        return Effect.gen(function* () {
          const seen: Array<unknown> = []
          const onRotated = (id: Ids.CredentialId) =>
            Effect.gen(function* () {
              const now = yield* Credentials.Credentials.use(({ value }) => value(job("job_1"), id))
              seen.push([id, Option.map(now, Redacted.value), [...upstream.keys.keys()]])
            })
          const context = yield* Effect.context<Credentials.Credentials>()
          const [first] = yield* issue("job_1", {
            secure: true,
            onRotated: (id) => Effect.provideContext(onRotated(id), context)
          })
          assert.isTrue(yield* rotate("job_1", first!.id))
          assert.deepStrictEqual(seen, [
            [first!.id, Option.some("CANARY-gateway-2"), ["gateway-key-1", "gateway-key-2"]]
          ])
          yield* turn
          assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-2"])
          assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
          const now = yield* current("job_1")
          assert.deepStrictEqual(
            now.map((credential) => [credential.id, valueOf(credential)]),
            [[first!.id, "CANARY-gateway-2"]]
          )
          assert.deepStrictEqual(yield* handles, ["gateway-key-2"])
          yield* revokeAll("job_1")
          yield* turn
          assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1", "gateway-key-2"])
          assert.deepStrictEqual(yield* stored, [])
        }).pipe(over(upstream))
      }
    )

    it.effect("writes the new handle down before the upstream hears of it", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const waiting = yield* FakeUpstream.gate
        const [credential] = yield* issue("job_1")
        upstream.is.beforeRotate = waiting.pass
        const rotation = yield* Effect.forkChild(rotate("job_1", credential!.id))
        yield* waiting.reached
        assert.sameMembers(yield* handles, ["gateway-key-1", "gateway-key-2"])
        assert.deepStrictEqual((yield* current("job_1")).map(valueOf), ["CANARY-gateway-1"])
        yield* waiting.open
        assert.isTrue(yield* Fiber.join(rotation))
      }).pipe(over(upstream))
    })

    it.effect("is one rotation for all who ask at once, and goes on if they go", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const waiting = yield* FakeUpstream.gate
        const [credential] = yield* issue("job_1")
        upstream.is.beforeRotate = waiting.pass
        const all = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(rotate("job_1", credential!.id)))
        yield* waiting.reached
        yield* turn
        yield* Fiber.interrupt(all[0]!)
        yield* waiting.open
        assert.isTrue(yield* Fiber.join(all[1]!))
        assert.isTrue(yield* Fiber.join(all[2]!))
        yield* turn
        assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-2"])
        upstream.is.beforeRotate = Effect.void
        assert.isTrue(yield* rotate("job_1", credential!.id))
        yield* turn
        assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-3"])
      }).pipe(over(upstream))
    })

    it.effect("that fails leaves the value that there is, and clears away its attempt", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const issued = yield* issue("job_1")
        upstream.is.beforeRotate = Effect.fail(upstream.error("Unavailable"))
        assert.strictEqual((yield* Effect.flip(rotate("job_1", issued[0]!.id))).reason, "Unavailable")
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-1"])
        assert.deepStrictEqual(yield* handles, ["gateway-key-1"])
        assert.deepStrictEqual(yield* current("job_1"), issued)
      }).pipe(over(upstream))
    })

    it.effect("of a job that ends meanwhile leaves neither the former value nor the new one", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const waiting = yield* FakeUpstream.gate
        const [credential] = yield* issue("job_1")
        upstream.is.beforeRotate = waiting.pass
        const rotation = yield* Effect.forkChild(rotate("job_1", credential!.id))
        yield* waiting.reached
        yield* revokeAll("job_1")
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
        yield* waiting.open
        assert.strictEqual((yield* Effect.flip(Fiber.join(rotation))).reason, "Rejected")
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1", "gateway-key-2"])
        assert.strictEqual(upstream.keys.size, 0)
        assert.deepStrictEqual(yield* stored, [])
        assert.isFalse(yield* rotate("job_1", credential!.id))
      }).pipe(over(upstream))
    })

    it.effect("of a job that ends while its submitter is being told leaves nothing", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const waiting = yield* FakeUpstream.gate
        const [credential] = yield* issue("job_1", { secure: true, onRotated: () => waiting.pass })
        const rotation = yield* Effect.forkChild(rotate("job_1", credential!.id))
        yield* waiting.reached
        yield* revokeAll("job_1")
        yield* waiting.open
        yield* Fiber.join(rotation)
        yield* turn
        assert.strictEqual(upstream.keys.size, 0)
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(over(upstream))
    })

    it.effect("is not held up for ever by a submitter who cannot be told", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const told = yield* Deferred.make<void>()
        const [credential] = yield* issue("job_1", {
          secure: true,
          onRotated: () => Effect.andThen(Effect.sleep("1 minute"), Deferred.succeed(told, undefined))
        })
        yield* Effect.forkChild(rotate("job_1", credential!.id))
        yield* TestClock.adjust("9 seconds")
        assert.deepStrictEqual(upstream.revoked(), [])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
        // It is told all the same, once it can be.
        yield* TestClock.adjust("50 seconds")
        assert.isTrue(yield* Deferred.isDone(told))
      }).pipe(over(upstream))
    })

    it.effect("revokes the former value once it was said that the new one, and no other, was sent", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { told } = yield* Credentials.Credentials
        const [credential] = yield* issue("job_1", { secure: true, onRotated: (_, told) => told })
        const rotation = yield* Effect.forkChild(rotate("job_1", credential!.id))
        yield* TestClock.adjust("9 seconds")
        yield* told(job("job_1"), credential!.id, credential!.value)
        yield* told(job("job_2"), credential!.id, Redacted.make("CANARY-gateway-2"))
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), [])
        yield* told(job("job_1"), credential!.id, Redacted.make("CANARY-gateway-2"))
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
        assert.isTrue(yield* Fiber.join(rotation))
      }).pipe(over(upstream))
    })

    it.effect("waits for nobody to be told once the job has ended", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const [credential] = yield* issue("job_1", { secure: true, onRotated: (_, told) => told })
        yield* Effect.forkChild(rotate("job_1", credential!.id))
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), [])
        yield* revokeAll("job_1")
        yield* turn
        assert.strictEqual(upstream.keys.size, 0)
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(over(upstream))
    })

    it.effect("in place, by the former handle, revokes nothing", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const told: Array<string> = []
        const [credential] = yield* issue("job_1", {
          secure: true,
          onRotated: (id) => Effect.sync(() => told.push(id))
        })
        upstream.is.nextHandle = () => "gateway-key-1"
        assert.isTrue(yield* rotate("job_1", credential!.id))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(told, [credential!.id])
        assert.deepStrictEqual(upstream.revoked(), [])
        assert.deepStrictEqual((yield* current("job_1")).map(valueOf), ["CANARY-gateway-2"])
        yield* revokeAll("job_1")
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
        assert.deepStrictEqual(yield* stored, [])
      }).pipe(over(upstream))
    })

    it.effect("to the same value is none: nobody is told and nothing is revoked before the job ends", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const told: Array<string> = []
        const [credential] = yield* issue("job_1", {
          secure: true,
          onRotated: (id) => Effect.sync(() => told.push(id))
        })
        upstream.is.nextValue = () => "CANARY-gateway-1"
        assert.isFalse(yield* rotate("job_1", credential!.id))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(told, [])
        assert.deepStrictEqual(upstream.revoked(), [])
        assert.deepStrictEqual(yield* handles, ["gateway-key-2"])
        yield* revokeAll("job_1")
        yield* turn
        assert.deepStrictEqual(upstream.revoked(), ["gateway-key-2"])
      }).pipe(over(upstream))
    })

    it.effect("never gives one job the value of another", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const [credential] = yield* issue("job_1")
        yield* issue("job_2")
        upstream.is.nextValue = () => "CANARY-gateway-2"
        assert.strictEqual((yield* Effect.flip(rotate("job_1", credential!.id))).reason, "Malformed")
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(upstream.revoked(), [])
        assert.deepStrictEqual((yield* current("job_1")).map(valueOf), ["CANARY-gateway-1"])
      }).pipe(over(upstream))
    })

    it.effect("is not there for a provisioner that cannot, for an unknown credential, nor for an unknown job", () => {
      const upstream = FakeUpstream.make("gateway", { rotates: false })
      upstream.is.lifetime = 1000
      return Effect.gen(function* () {
        const [credential] = yield* issue("job_1")
        assert.strictEqual((yield* Effect.flip(rotate("job_1", credential!.id))).reason, "Unsupported")
        assert.isFalse(yield* rotate("job_1", "cred_other" as Ids.CredentialId))
        assert.isFalse(yield* rotate("job_2", credential!.id))
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(upstream.calls, ["issue job_1", "made gateway-key-1"])
      }).pipe(over(upstream))
    })

    it.effect("comes by itself whenever the time has come, until the job ends", () => {
      const upstream = FakeUpstream.make()
      upstream.is.lifetime = Duration.toMillis("1 hour")
      return Effect.gen(function* () {
        const told: Array<string> = []
        const [credential] = yield* issue("job_1", {
          secure: true,
          onRotated: (id) => Effect.sync(() => told.push(id))
        })
        yield* TestClock.adjust("59 minutes")
        assert.lengthOf(told, 0)
        yield* TestClock.adjust("1 minute")
        assert.lengthOf(told, 1)
        yield* TestClock.adjust("30 minutes")
        // By hand: its successor has its hour from now on.
        assert.isTrue(yield* rotate("job_1", credential!.id))
        yield* TestClock.adjust("59 minutes")
        assert.lengthOf(told, 2)
        yield* TestClock.adjust("1 minute")
        assert.lengthOf(told, 3)
        yield* TestClock.adjust("10 hours")
        assert.lengthOf(told, 13)
        assert.strictEqual(upstream.keys.size, 1)
        yield* revokeAll("job_1")
        yield* TestClock.adjust("10 hours")
        assert.lengthOf(told, 13)
        assert.strictEqual(upstream.keys.size, 0)
      }).pipe(over(upstream))
    })

    it.effect(
      "comes no sooner than the least time, whatever the provisioner says, and not before the job is accepted",
      () => {
        const upstream = FakeUpstream.make()
        upstream.is.lifetime = -5000
        return Effect.gen(function* () {
          const { issueFor } = yield* Credentials.Credentials
          const waiting = yield* FakeUpstream.gate
          yield* Effect.forkChild(issueFor(request("job_1"), silent, () => waiting.pass))
          yield* waiting.reached
          yield* TestClock.adjust("1 minute")
          assert.lengthOf(upstream.revoked(), 0)
          yield* waiting.open
          yield* TestClock.adjust("100 seconds")
          assert.lengthOf(upstream.revoked(), 10)
        }).pipe(over(upstream))
      }
    )

    it.effect("is tried again while the upstream is not available, and given up with an error", () => {
      const upstream = FakeUpstream.make()
      const log = capture()
      upstream.is.lifetime = Duration.toMillis("1 hour")
      return Effect.gen(function* () {
        yield* issue("job_1")
        upstream.is.beforeRotate = Effect.fail(upstream.error("Unavailable"))
        yield* TestClock.adjust("61 minutes")
        assert.isAbove(upstream.calls.filter((call) => call.startsWith("rotate")).length, 3)
        upstream.is.beforeRotate = Effect.void
        yield* TestClock.adjust("2 minutes")
        assert.strictEqual(upstream.keys.size, 1)
        assert.lengthOf(log.lines, 0)
        upstream.is.beforeRotate = Effect.fail(upstream.error("BudgetExceeded"))
        yield* TestClock.adjust("1 hour")
        assert.lengthOf(log.lines, 1)
        assert.match(log.lines[0]!.text, /will run out.*BudgetExceeded/)
        assert.lengthOf(yield* current("job_1"), 1)
      }).pipe(over(upstream), Effect.provide(log.layer))
    })
  })

  it.effect("dies of options that leave no room, by name", () =>
    Effect.gen(function* () {
      for (const options of [{ maxPerJob: 0 }, { revokeAttempts: Number.NaN }, { settle: -1 }]) {
        const exit = yield* Effect.exit(Effect.void.pipe(over(FakeUpstream.make(), options)))
        assert.match(String(exit), new RegExp(`Credentials.${Object.keys(options)[0]}: `))
      }
    })
  )

  describe("over the lives of a runtime", () => {
    /** A life that ends without a word, as a process that is killed does. */
    const crash = (
      upstream: FakeUpstream.FakeUpstream,
      layer: Layer.Layer<CredentialStore.CredentialStore>,
      body: Effect.Effect<unknown, unknown, Credentials.Credentials | CredentialStore.CredentialStore>
    ) =>
      Effect.gen(function* () {
        const context = yield* Layer.buildWithScope(FakeUpstream.life([upstream], layer), yield* Scope.make())
        yield* Effect.provideContext(body, context)
      })

    verifies("C-120", "what was outstanding at a crash is revoked before the next life serves", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { layer } = yield* FakeUpstream.durable
        yield* crash(upstream, layer, Effect.all([issue("job_1"), issue("job_2")]))
        assert.strictEqual(upstream.keys.size, 2)
        yield* Effect.gen(function* () {
          assert.isTrue(yield* Credentials.Credentials.useSync(({ available }) => available))
          assert.strictEqual(upstream.keys.size, 0)
          yield* TestClock.adjust("2 minutes")
          assert.deepStrictEqual(yield* stored, [])
        }).pipe(Effect.provide(FakeUpstream.life([upstream], layer)))
      })
    })

    it.effect("a key that was being made at the crash is revoked when it is there", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { layer } = yield* FakeUpstream.durable
        const waiting = yield* FakeUpstream.gate
        upstream.is.beforeIssue = waiting.pass
        yield* crash(upstream, layer, Effect.andThen(Effect.forkDetach(issue("job_1")), waiting.reached))
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(upstream.revoked(), ["gateway-key-1"])
          assert.lengthOf(yield* stored, 1)
          yield* waiting.open
          yield* turn
          assert.strictEqual(upstream.keys.size, 1)
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(upstream.keys.size, 0)
          assert.deepStrictEqual(yield* stored, [])
        }).pipe(Effect.provide(FakeUpstream.life([upstream], layer)))
      })
    })

    it.effect("a start waits so long for an upstream that is down, and goes on trying behind that", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { layer } = yield* FakeUpstream.durable
        yield* crash(upstream, layer, issue("job_1"))
        upstream.is.beforeRevoke = Effect.fail(upstream.error("Unavailable"))
        const scope = yield* Effect.scope
        const building = yield* Effect.forkChild(Layer.buildWithScope(FakeUpstream.life([upstream], layer), scope))
        yield* TestClock.adjust("29 seconds")
        assert.isUndefined(building.pollUnsafe())
        yield* TestClock.adjust("1 second")
        const context = yield* Fiber.join(building)
        yield* Effect.gen(function* () {
          assert.lengthOf(yield* issue("job_2"), 1)
          upstream.is.beforeRevoke = Effect.void
          yield* TestClock.adjust("3 minutes")
          assert.deepStrictEqual([...upstream.keys.keys()], ["gateway-key-2"])
          assert.deepStrictEqual(yield* handles, ["gateway-key-2"])
        }).pipe(Effect.provideContext(context))
      })
    })

    it.effect("what no provisioner of this life can revoke is surfaced, and kept", () => {
      const [former, upstream] = [FakeUpstream.make("former"), FakeUpstream.make()]
      const log = capture()
      return Effect.gen(function* () {
        const { layer } = yield* FakeUpstream.durable
        yield* crash(former, layer, issue("job_1"))
        for (const upstreams of [[upstream], []]) {
          log.lines.length = 0
          yield* Effect.gen(function* () {
            const [entry] = yield* Credentials.Credentials.use(({ unrevocable }) => unrevocable)
            assert.strictEqual(entry!.outstanding.handle, "former-key-1")
            assert.match(log.lines[0]!.text, /no provisioner of that name/)
          }).pipe(Effect.provide(FakeUpstream.life(upstreams, layer)))
        }
        yield* Effect.provide(Effect.void, FakeUpstream.life([former], layer))
        assert.strictEqual(former.keys.size, 0)
      }).pipe(Effect.provide(log.layer))
    })

    it.effect("a life that cannot read what is outstanding issues nothing, and says so", () => {
      const upstream = FakeUpstream.make()
      const log = capture()
      const unreadable = Layer.succeed(CredentialStore.CredentialStore, {
        durable: true,
        add: () => Effect.void,
        fail: () => Effect.void,
        remove: () => Effect.void,
        list: Effect.fail(new CredentialStore.CredentialStoreError({ reason: "Unavailable", message: "torn" }))
      })
      return Effect.gen(function* () {
        assert.isFalse(yield* Credentials.Credentials.useSync(({ available }) => available))
        assert.deepStrictEqual(yield* issue("job_1"), [])
        assert.match(log.lines[0]!.text, /unknown, so no credentials are issued/)
      }).pipe(Effect.provide(FakeUpstream.life([upstream], unreadable)), Effect.provide(log.layer))
    })

    it.effect("a life that ends revokes what is outstanding, also what is being made or replaced", () => {
      const upstream = FakeUpstream.make()
      return Effect.gen(function* () {
        const { layer } = yield* FakeUpstream.durable
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(FakeUpstream.life([upstream], layer), scope)
        yield* Effect.gen(function* () {
          const [credential] = yield* issue("job_1")
          upstream.is.beforeIssue = Effect.never
          upstream.is.beforeRotate = Effect.never
          const issuing = yield* Effect.forkChild(issue("job_2"))
          yield* Effect.forkChild(rotate("job_1", credential!.id))
          yield* turn
          yield* Scope.close(scope, Exit.void)
          assert.strictEqual((yield* Effect.flip(Fiber.join(issuing)))._tag, "InternalError")
        }).pipe(Effect.provideContext(context))
        assert.sameMembers([...new Set(upstream.revoked())], ["gateway-key-1", "gateway-key-2", "gateway-key-3"])
        assert.strictEqual(upstream.keys.size, 0)
        // Of these two nobody knows whether they come yet.
        assert.sameMembers(yield* Effect.provide(handles, layer), ["gateway-key-2", "gateway-key-3"])
      })
    })

    it.effect(
      "an upstream that hangs delays the end of a life so long and no more, and the next one sees to it",
      () => {
        const upstream = FakeUpstream.make()
        return Effect.gen(function* () {
          const { layer } = yield* FakeUpstream.durable
          const scope = yield* Scope.make()
          const context = yield* Layer.buildWithScope(FakeUpstream.life([upstream], layer), scope)
          yield* Effect.provideContext(issue("job_1"), context)
          upstream.is.beforeRevoke = Effect.never
          const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
          yield* TestClock.adjust("9 seconds")
          assert.isUndefined(closing.pollUnsafe())
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(closing)
          assert.lengthOf(yield* Effect.provide(stored, layer), 1)
          upstream.is.beforeRevoke = Effect.void
          yield* Effect.provide(Effect.void, FakeUpstream.life([upstream], layer))
          assert.strictEqual(upstream.keys.size, 0)
        })
      }
    )
  })
})
