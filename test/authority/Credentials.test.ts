import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Option, Redacted } from "effect"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import { capture, current, handles, issue, over, revokeAll, silent, stored, turn, valueOf } from "./CredentialActs.ts"
import * as FakeUpstream from "./FakeUpstream.ts"

const { job, request } = FakeUpstream

describe("Credentials", () => {
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

  it.effect("dies of options that leave no room, by name", () =>
    Effect.gen(function* () {
      for (const options of [{ maxPerJob: 0 }, { revokeAttempts: Number.NaN }, { settle: -1 }]) {
        const exit = yield* Effect.exit(Effect.void.pipe(over(FakeUpstream.make(), options)))
        assert.match(String(exit), new RegExp(`Credentials.${Object.keys(options)[0]}: `))
      }
    })
  )
})
