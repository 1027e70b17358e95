import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Redacted, Schema, Stream } from "effect"
import { AiError, Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import * as LeasedToolkit from "../../src/leased/LeasedToolkit.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import * as Scripted from "./ScriptedModel.ts"

class Lost extends Schema.TaggedError<Lost>("test/Lost")("Lost", { what: Schema.String }) {}

const parameters = Schema.Struct({ q: Schema.FiniteFromString })

/** One of each kind of tool that has a handler, each in both modes. */
const kinds = {
  plain: Tool.make("plain", { parameters, success: Schema.Int, failure: Lost }),
  plainReturn: Tool.make("plainReturn", { parameters, success: Schema.Int, failure: Lost, failureMode: "return" }),
  dynamic: Tool.dynamic("dynamic", { parameters, success: Schema.Int, failure: Lost }),
  jsonReturn: Tool.dynamic("jsonReturn", {
    parameters: { type: "object" },
    success: Schema.Int,
    failureMode: "return"
  }),
  provider: Tool.providerDefined({
    id: "acme.shell",
    customName: "provider",
    providerName: "shell",
    requiresHandler: true,
    parameters,
    success: Schema.Int,
    failure: Lost
  })({})
}

const Kinds = Toolkit.make(...Object.values(kinds))

const modeOf = (name: string) => (name.endsWith("Return") ? "return" : "error")

interface Counted {
  readonly ran: Array<string>
  readonly handlers: Context.Context<Tool.HandlersFor<Toolkit.Tools<typeof Kinds>>>
}

/** Handlers that say what ran, and answer twice the number that they are given. */
const counted: Effect.Effect<Counted> = Effect.gen(function* () {
  const ran: Array<string> = []
  const twice = (name: string) => (params: unknown) =>
    Effect.sync(() => {
      ran.push(name)
      return 2 * Number((params as { readonly q: unknown }).q)
    })
  const handlers = yield* Kinds.toHandlers({
    plain: twice("plain"),
    plainReturn: twice("plainReturn"),
    dynamic: twice("dynamic"),
    jsonReturn: twice("jsonReturn"),
    provider: twice("provider")
  })
  return { ran, handlers }
})

interface AnyToolkit {
  readonly handle: (
    name: string,
    params: unknown,
    id: string
  ) => Effect.Effect<Stream.Stream<Tool.HandlerResult<Tool.Any>, unknown>, unknown>
}

/** What a call gives, the results in order. */
const use = (
  toolkit: unknown,
  name: string,
  params: unknown = { q: "21" }
): Effect.Effect<ReadonlyArray<Tool.HandlerResult<Tool.Any>>, unknown> =>
  Effect.flatMap((toolkit as AnyToolkit).handle(name, params, "c1"), Stream.runCollect)

/** The two ways by which an agent comes to a leased toolkit. */
const ways: ReadonlyArray<{
  readonly way: string
  readonly lease: (
    job: Parameters<typeof LeasedToolkit.forJob>[0],
    handlers: Counted["handlers"]
  ) => Effect.Effect<unknown>
}> = [
  {
    way: "from its surroundings",
    lease: (job, handlers) =>
      Effect.provideContext(Kinds, LeasedToolkit.forJob(job)(LeasedToolkit.handlersIn(handlers)) as typeof handlers)
  },
  {
    way: "by hand",
    lease: (job, handlers) =>
      Effect.map(Effect.provideContext(Kinds, handlers), (toolkit) => LeasedToolkit.make(job, toolkit))
  },
  {
    way: "both ways at once",
    lease: (job, handlers) =>
      Effect.provideContext(
        Kinds,
        LeasedToolkit.forJob(job)(LeasedToolkit.handlersIn(handlers)) as typeof handlers
      ).pipe(Effect.map((toolkit) => LeasedToolkit.make(job, LeasedToolkit.make(job, toolkit))))
  }
]

const cases = ways.flatMap(({ lease, way }) => Object.keys(kinds).map((name) => ({ way, lease, name })))

describe("a tool of a toolkit", () => {
  it.effect("is found in a context whatever its kind, by what Effect keeps of it", () =>
    Effect.gen(function* () {
      const { handlers } = yield* counted
      const around = Context.add(handlers, Context.Service<unknown>("test/other"), { name: "x", handler: 1 })
      const found = LeasedToolkit.handlersIn(around)
      assert.sameMembers(
        [...found.mapUnsafe.keys()],
        Object.values(kinds).map(({ id }) => id)
      )
      for (const handler of found.mapUnsafe.values()) {
        assert.sameMembers(Object.keys(handler), ["name", "handler", "context"])
      }
    })
  )

  it.effect("has no other way to it than those that are leased", () =>
    Effect.gen(function* () {
      const members: { readonly [M in keyof Toolkit.WithHandler<{}>]: "leased" | "data" } = {
        handle: "leased",
        tools: "data"
      }
      const { handlers } = yield* counted
      const toolkit = yield* Effect.provideContext(Kinds, handlers)
      const listed = Object.keys(members)
      assert.sameMembers(Object.keys(toolkit), listed)
      assert.sameMembers(Object.keys(LeasedToolkit.make(yield* Scripted.job({}), toolkit)), listed)
    })
  )

  it.effect.each(cases)("$name, $way, runs if the lease covers it, and shows in the stream once", ({ lease, name }) =>
    Effect.gen(function* () {
      const { handlers, ran } = yield* counted
      const job = yield* Scripted.job({ "tool.call": [name] })
      const results = yield* use(yield* lease(job, handlers), name)
      assert.containSubset(results, [{ result: 42, encodedResult: 42, isFailure: false, preliminary: false }])
      assert.deepStrictEqual(ran, [name])
      assert.deepStrictEqual(job.said, [
        { kind: "tool_call", body: { tool: name, args: { q: name === "jsonReturn" ? "21" : 21 }, call_id: "call_1" } },
        { kind: "tool_result", body: { call_id: "call_1", result: 42 } }
      ])
    })
  )

  it.effect.each(cases)(
    "$name, $way, does not run if the lease does not, and whoever called it is told",
    ({ lease, name }) =>
      Effect.gen(function* () {
        const { handlers, ran } = yield* counted
        const job = yield* Scripted.job({ "tool.call": ["other"] })
        const exit = yield* Effect.exit(use(yield* lease(job, handlers), name))
        assert.deepStrictEqual(ran, [])
        assert.containSubset(job.said, [
          { kind: "tool_call", body: { tool: name, call_id: "call_1" } },
          { kind: "tool_result", body: { call_id: "call_1", error: { code: "PERMISSION_DENIED" } } }
        ])
        assert.lengthOf(job.said, 2)
        if (modeOf(name) === "return") {
          assert.isTrue(Exit.isSuccess(exit), "the failure is the result")
          if (Exit.isFailure(exit)) return
          const [result] = exit.value
          assert.containSubset(result, { isFailure: true, preliminary: false, failureOrigin: "handler" })
          const { cause, error } = yield* Scripted.denial(Effect.fail(result!.result))
          assert.strictEqual(cause._tag, "PermissionDenied")
          assert.deepStrictEqual([error.module, error.method], ["Toolkit", `${name}.handle`])
          // What a model reads, and what a history keeps.
          assert.include(JSON.stringify(result!.encodedResult), "PERMISSION_DENIED")
          assert.include(JSON.stringify(result!.encodedResult), "no pattern of the lease covers it")
        } else {
          const { cause } = yield* Scripted.denial(exit)
          assert.strictEqual(cause._tag, "PermissionDenied")
          assert.deepStrictEqual(cause.details, { capability: "tool.call", target: name })
          const annotations = Exit.isFailure(exit) ? Cause.annotations(exit.cause) : Context.empty()
          assert.strictEqual(Context.get(annotations, Toolkit.FailureOrigin), "handler")
        }
      })
  )

  it.effect.each(ways)("is refused when the lease is over or the budget spent, $way", ({ lease }) =>
    Effect.gen(function* () {
      const { handlers, ran } = yield* counted
      const grants = { "tool.call": ["**"] }
      const poor = Scripted.withDollars(yield* Scripted.job(grants), "0").job
      assert.strictEqual(
        (yield* Scripted.denial(use(yield* lease(poor, handlers), "plain"))).reason._tag,
        "QuotaExhaustedError"
      )
      const job = yield* Scripted.job(grants, { expires_at: "1970-01-01T00:00:01Z" })
      const toolkit = yield* lease(job, handlers)
      yield* TestClock.adjust(999)
      yield* use(toolkit, "plain")
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* Scripted.denial(use(toolkit, "plain"))).cause._tag, "LeaseExpired")
      assert.deepStrictEqual(ran, ["plain"])
    })
  )

  it.effect.each(ways)("fails as it would without a lease for what is not the lease's business, $way", ({ lease }) =>
    Effect.gen(function* () {
      const { handlers, ran } = yield* counted
      const toolkit = yield* lease(yield* Scripted.job({ "tool.call": ["**"] }), handlers)
      const reasonOf = (error: unknown) => (error instanceof AiError.AiError ? error.reason._tag : error)
      assert.strictEqual(reasonOf(yield* Effect.flip(use(toolkit, "missing"))), "ToolNotFoundError")
      assert.strictEqual(
        reasonOf(yield* Effect.flip(use(toolkit, "plain", { q: "x" }))),
        "ToolParameterValidationError"
      )
      const [returned] = yield* use(toolkit, "plainReturn", { q: "x" })
      assert.containSubset(returned, { isFailure: true, failureOrigin: "parameters" })
      assert.deepStrictEqual(ran, [])
    })
  )
})

describe("a tool that fails by itself", () => {
  /** Its failure is one that the lease could have given, too. */
  const Failing = Toolkit.make(
    Tool.make("failing", { failure: ArcpError.PermissionDenied }),
    Tool.make("returning", { failure: Lost, failureMode: "return" }),
    Tool.make("dying")
  )
  const own = new ArcpError.PermissionDenied({ message: "the tool's own" })
  const handlers = Failing.toHandlers({
    failing: () => Effect.fail(own),
    returning: () => Effect.fail(new Lost({ what: "key" })),
    dying: () => Effect.die(new Error("private words"))
  })

  const both = (["surroundings", "hand"] as const).map((way) => ({ way }))

  it.effect.each(both)("keeps its failure, which shows in the stream ($way)", ({ way }) =>
    Effect.gen(function* () {
      const job = yield* Scripted.job({ "tool.call": ["**"] })
      const raw = yield* handlers
      const toolkit =
        way === "hand"
          ? LeasedToolkit.make(job, yield* Effect.provideContext(Failing, raw))
          : yield* Effect.provideContext(
              Failing,
              LeasedToolkit.forJob(job)(LeasedToolkit.handlersIn(raw)) as typeof raw
            )
      assert.strictEqual(yield* Effect.flip(use(toolkit, "failing", {})), own)
      const [returned] = yield* use(toolkit, "returning", {})
      assert.deepStrictEqual(returned!.encodedResult, { _tag: "Lost", what: "key" })
      assert.isTrue(Exit.hasDies(yield* Effect.exit(use(toolkit, "dying", {}))))
      const results = job.said.flatMap(({ body, kind }) =>
        kind === "tool_result" ? [(body as { readonly error?: ArcpError.Payload }).error] : []
      )
      assert.deepStrictEqual(
        results.map((error) => error?.code),
        ["PERMISSION_DENIED", "INTERNAL_ERROR", "INTERNAL_ERROR"]
      )
      assert.notInclude(JSON.stringify(job.said), "private words")
    })
  )
})

describe("a call of a tool", () => {
  it.effect("shows no secret that a schema keeps", () =>
    Effect.gen(function* () {
      const Login = Toolkit.make(
        Tool.make("login", {
          parameters: Schema.Struct({ token: Schema.RedactedFromValue(Schema.String) }),
          success: Schema.RedactedFromValue(Schema.String)
        })
      )
      const job = yield* Scripted.job({ "tool.call": ["login"] })
      const raw = yield* Login.toHandlers({ login: ({ token }) => Effect.succeed(token) })
      const toolkits = [
        LeasedToolkit.make(job, yield* Effect.provideContext(Login, raw)),
        yield* Effect.provideContext(Login, LeasedToolkit.forJob(job)(LeasedToolkit.handlersIn(raw)) as typeof raw)
      ]
      for (const toolkit of toolkits) {
        const [result] = yield* use(toolkit, "login", { token: "canary" })
        assert.strictEqual(Redacted.value(result!.result as Redacted.Redacted), "canary")
      }
      assert.lengthOf(job.said, 4)
      assert.notInclude(JSON.stringify(job.said), "canary")
    })
  )

  it.effect("is asked about each time, also from within another and from within itself", () =>
    Effect.gen(function* () {
      const job = yield* Scripted.job({ "tool.call": ["outer", "again"] })
      const Inner = Toolkit.make(Tool.make("inner"))
      const Again = Toolkit.make(Tool.make("again", { parameters: Schema.Struct({ left: Schema.Int }) }))
      const Outer = Toolkit.make(Tool.make("outer"))
      const leasing = <R>(handlers: Context.Context<R>) =>
        LeasedToolkit.forJob(job)(LeasedToolkit.handlersIn(handlers)) as Context.Context<R>
      const inner = leasing(yield* Inner.toHandlers({ inner: () => Effect.void }))
      const outer = leasing(
        yield* Outer.toHandlers({
          outer: () =>
            Effect.flatMap(Effect.provideContext(Inner, inner), (toolkit) =>
              Effect.orDie(Effect.flip(use(toolkit, "inner", {})))
            ).pipe(Effect.asVoid)
        })
      )
      const again: Context.Context<Tool.HandlersFor<Toolkit.Tools<typeof Again>>> = leasing(
        yield* Again.toHandlers({
          again: ({ left }) =>
            left === 0
              ? Effect.void
              : Effect.flatMap(
                  Effect.suspend(() => Effect.provideContext(Again, again)),
                  (toolkit) => Effect.asVoid(Effect.orDie(use(toolkit, "again", { left: left - 1 })))
                )
        })
      )
      yield* use(LeasedToolkit.make(job, yield* Effect.provideContext(Outer, outer)), "outer", {})
      yield* use(LeasedToolkit.make(job, yield* Effect.provideContext(Again, again)), "again", { left: 2 })
      const called = job.said.flatMap(({ body, kind }) =>
        kind === "tool_call" ? [(body as { readonly tool: string }).tool] : []
      )
      assert.deepStrictEqual(called, ["outer", "inner", "again", "again", "again"])
      const denied = job.said.filter(({ body }) => JSON.stringify(body).includes("PERMISSION_DENIED"))
      assert.lengthOf(denied, 1)
    })
  )

  it.effect("is asked about also when a tool of the agent's own makes it that was asked about already", () =>
    Effect.gen(function* () {
      const { handlers, ran } = yield* counted
      const job = yield* Scripted.job({ "tool.call": ["own"] })
      const inner = yield* Effect.provideContext(
        Kinds,
        LeasedToolkit.forJob(job)(LeasedToolkit.handlersIn(handlers)) as typeof handlers
      )
      const Own = Toolkit.make(Tool.make("own"))
      const own = yield* Own.toHandlers({
        own: () => Effect.asVoid(Effect.orDie(Effect.flip(use(inner, "plain"))))
      })
      yield* use(LeasedToolkit.make(job, yield* Effect.provideContext(Own, own)), "own", {})
      assert.deepStrictEqual(ran, [])
      const tools = job.said.flatMap(({ body, kind }) =>
        kind === "tool_call" ? [(body as { readonly tool: string }).tool] : []
      )
      assert.deepStrictEqual(tools, ["own", "plain"])
    })
  )

  it.effect("is asked about whoever says that it was", () =>
    Effect.gen(function* () {
      const { handlers, ran } = yield* counted
      const job = yield* Scripted.job({})
      const Forged = Context.Reference<unknown>("arcp/leased/internal/ToolPermit", { defaultValue: () => undefined })
      const toolkit = yield* Effect.provideContext(
        Kinds,
        LeasedToolkit.forJob(job)(LeasedToolkit.handlersIn(handlers)) as typeof handlers
      )
      const permit = { job, tool: "plain", taken: false }
      yield* Scripted.denial(Effect.provideService(use(toolkit, "plain"), Forged, permit))
      assert.deepStrictEqual(ran, [])
    })
  )

  it.effect("of one job is none of another, which asks for itself", () =>
    Effect.gen(function* () {
      const rich = yield* Scripted.job({ "tool.call": ["**"] })
      const poor = yield* Scripted.job({})
      const { handlers, ran } = yield* counted
      const toolkit = yield* Effect.provideContext(
        Kinds,
        LeasedToolkit.forJob(poor)(LeasedToolkit.handlersIn(handlers)) as typeof handlers
      )
      yield* Scripted.denial(use(LeasedToolkit.make(rich, toolkit), "plain"))
      assert.deepStrictEqual(ran, [])
    })
  )

  it.effect("hands on what comes before the result, and waits for a reader that is behind", () =>
    Effect.gen(function* () {
      const Steps = Toolkit.make(Tool.make("steps", { success: Schema.Int }))
      let sent = 0
      const raw = yield* Steps.toHandlers({
        steps: (_, { preliminary }) =>
          Effect.gen(function* () {
            for (let step = 0; step < 100; step++) {
              yield* preliminary(step)
              sent++
            }
            return 100
          })
      })
      const job = yield* Scripted.job({ "tool.call": ["steps"] })
      const toolkit = LeasedToolkit.make(job, yield* Effect.provideContext(Steps, raw))
      const results = yield* toolkit.handle("steps", {}).pipe(
        Effect.provideService(Toolkit.PreliminaryBuffer, 1),
        Stream.unwrap,
        Stream.rechunk(1),
        Stream.tap(({ preliminary, result }) =>
          Effect.sync(() => {
            if (preliminary) assert.isAtMost(sent, Number(result) + 40)
          })
        ),
        Stream.runCollect
      )
      assert.deepStrictEqual(
        results.map(({ result }) => result),
        Array.from({ length: 101 }, (_, index) => index)
      )
      assert.lengthOf(job.said, 2)
    })
  )

  it.effect("ends with its reader, also where that one goes on with other things", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      let interrupted = 0
      const Waits = Toolkit.make(Tool.make("waits", { success: Schema.String }))
      const raw = yield* Waits.toHandlers({
        waits: (_, { preliminary }) =>
          preliminary("waiting").pipe(
            Effect.andThen(Deferred.succeed(started, undefined)),
            Effect.andThen(Effect.never),
            Effect.onInterrupt(() =>
              Effect.sync(() => {
                interrupted++
              })
            )
          )
      })
      const job = yield* Scripted.job({ "tool.call": ["waits"] })
      const toolkit = LeasedToolkit.make(job, yield* Effect.provideContext(Waits, raw))
      yield* Stream.runDrain(Stream.take(Stream.unwrap(toolkit.handle("waits", {})), 1))
      assert.strictEqual(interrupted, 1)
      const reading = yield* Effect.forkChild(use(toolkit, "waits", {}))
      yield* Deferred.await(started)
      for (let turn = 0; turn < 50; turn++) yield* Effect.yieldNow
      yield* Fiber.interrupt(reading)
      assert.strictEqual(interrupted, 2)
    })
  )
})

describe("handlers where there is no job", () => {
  it.effect("refuse, and are the host's own again in a job", () =>
    Effect.gen(function* () {
      const { handlers, ran } = yield* counted
      const dormant = LeasedToolkit.refusing(LeasedToolkit.handlersIn(handlers))
      const toolkit = yield* Effect.provideContext(Kinds, dormant as typeof handlers)
      const { cause } = yield* Scripted.denial(use(toolkit, "plain"))
      assert.include(cause.message, "there is no job")
      assert.deepStrictEqual(ran, [])
      const job = yield* Scripted.job({ "tool.call": ["plain"] })
      const awake = LeasedToolkit.forJob(job)(LeasedToolkit.handlersIn(dormant))
      yield* use(yield* Effect.provideContext(Kinds, awake as typeof handlers), "plain")
      assert.deepStrictEqual(ran, ["plain"])
      assert.lengthOf(job.said, 2)
    })
  )
})
