/**
 * Whatever happens to jobs, to the upstream and to the runtime itself: no credential is revoked while its job has it, and none is left once
 * no job is.
 */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Duration, Effect, Exit, Fiber, Layer, Random, Redacted, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import * as FakeUpstream from "./FakeUpstream.ts"

const Step = Schema.Union([
  Schema.Struct({
    _tag: Schema.tag("Submit"),
    /** Whether the job is then accepted, is refused, or its submitter leaves in the middle of it. */
    outcome: Schema.Literals(["accepted", "refused", "left"]),
    count: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })),
    isChild: Schema.Boolean
  }),
  Schema.Struct({ _tag: Schema.tag("End"), which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })) }),
  Schema.Struct({ _tag: Schema.tag("Rotate"), which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })) }),
  Schema.Struct({ _tag: Schema.tag("Wait"), seconds: Schema.Literals([0, 1, 7, 35, 90]) }),
  Schema.Struct({ _tag: Schema.tag("Upstream"), mood: Schema.Literals(["fine", "slow", "down", "lossy", "late"]) }),
  Schema.Struct({ _tag: Schema.tag("Restart"), how: Schema.Literals(["crash", "close"]) })
])
type Step = typeof Step.Type

const moods: {
  readonly [Mood in Extract<Step, { _tag: "Upstream" }>["mood"]]: (upstream: FakeUpstream.FakeUpstream) => void
} = {
  fine: ({ is }) => {
    is.beforeIssue = is.afterIssue = is.beforeRotate = is.beforeRevoke = Effect.void
    is.late = undefined
  },
  slow: ({ is }) => {
    is.beforeIssue = is.beforeRotate = is.beforeRevoke = Effect.sleep("3 seconds")
  },
  down: ({ error, is }) => {
    is.beforeIssue = is.beforeRotate = is.beforeRevoke = Effect.fail(error("Unavailable"))
  },
  lossy: ({ error, is }) => {
    is.afterIssue = Effect.fail(error("Unavailable"))
  },
  late: ({ is }) => {
    is.late = Duration.toMillis("45 seconds")
  }
}

const play = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>) {
  const upstream = FakeUpstream.make()
  upstream.is.lifetime = Duration.toMillis("50 seconds")
  const { layer: store } = yield* FakeUpstream.durable
  const running = new Set<string>()
  let jobs = 0
  const start = Effect.gen(function* () {
    const scope = yield* Scope.make()
    const { kill, layer } = FakeUpstream.mortal(upstream, store)
    const building = yield* Effect.forkChild(Layer.buildWithScope(layer, scope))
    // As long as a start waits for what is left of before.
    yield* TestClock.adjust("30 seconds")
    return { scope, kill, context: yield* Fiber.join(building) }
  })
  let life = yield* start

  const using = <A, E>(body: (credentials: Credentials.Credentials["Service"]) => Effect.Effect<A, E>) =>
    Effect.provideContext(Credentials.Credentials.use(body), life.context)

  const intact = Effect.gen(function* () {
    const inForce = new Set(upstream.keys.values())
    for (const name of running) {
      for (const { value } of yield* using(({ current }) => current(FakeUpstream.job(name)))) {
        assert.isTrue(inForce.has(Redacted.value(value)), `the value of ${name} is not in force`)
      }
    }
  })

  for (const step of steps) {
    switch (step._tag) {
      case "Submit": {
        const name = `job_${++jobs}`
        const parent = step.isChild ? [...running].at(-1) : undefined
        upstream.is.count = step.count
        const asked = FakeUpstream.request(name, parent === undefined ? {} : { parent })
        const submitting = yield* Effect.forkChild(
          using(({ issueFor }) =>
            issueFor(asked, { secure: true, onRotated: () => Effect.void }, () =>
              step.outcome === "refused" ? Effect.fail("refused") : Effect.sync(() => running.add(name))
            )
          ),
          { startImmediately: true }
        )
        if (step.outcome === "left") yield* Fiber.interrupt(submitting)
        break
      }
      case "End": {
        const name = [...running][step.which]
        if (name === undefined) break
        running.delete(name)
        yield* using(({ revokeAll }) => revokeAll(FakeUpstream.job(name)))
        break
      }
      case "Rotate": {
        const name = [...running][step.which]
        if (name === undefined) break
        const [credential] = yield* using(({ current }) => current(FakeUpstream.job(name)))
        if (credential === undefined) break
        yield* Effect.forkChild(Effect.ignore(using(({ rotate }) => rotate(FakeUpstream.job(name), credential.id))))
        break
      }
      case "Wait":
        yield* TestClock.adjust(Duration.seconds(step.seconds))
        break
      case "Upstream":
        moods.fine(upstream)
        moods[step.mood](upstream)
        break
      case "Restart":
        running.clear()
        if (step.how === "close") {
          const closing = yield* Effect.forkChild(Scope.close(life.scope, Exit.void))
          yield* TestClock.adjust("10 seconds")
          yield* Fiber.join(closing)
        }
        life.kill()
        life = yield* start
        break
    }
    yield* intact
  }

  moods.fine(upstream)
  // Submissions that are under way yet come to their end.
  yield* TestClock.adjust("2 minutes")
  yield* intact
  for (const name of running) yield* using(({ revokeAll }) => revokeAll(FakeUpstream.job(name)))
  yield* TestClock.adjust("10 minutes")
  // What was given up while the upstream was down is for an operator, who asks for it to be tried again.
  yield* using(({ sweep }) => sweep)
  yield* TestClock.adjust("10 minutes")
  assert.deepStrictEqual([...upstream.keys.keys()], [])
  const left = yield* Effect.provide(
    CredentialStore.CredentialStore.use(({ list }) => list),
    store
  )
  assert.deepStrictEqual(left, [])
  yield* Scope.close(life.scope, Exit.void)
  return upstream.calls.length
})

describe("Credentials", () => {
  it.effect.prop(
    "leave nothing in force when all jobs have ended, and nothing revoked before",
    { steps: Arbitrary.schema(Schema.Array(Step).check(Schema.isMaxLength(30))), seed: Schema.Int },
    ({ seed, steps }) => Effect.asVoid(Random.withSeed(play(steps), seed)),
    { arbitrary: { runs: 300 } }
  )
})
