import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { AiError, LanguageModel, Prompt, type Response, Tool, Toolkit } from "effect/ai"
import * as LeasedLanguageModel from "../../src/leased/LeasedLanguageModel.ts"
import * as LeasedToolkit from "../../src/leased/LeasedToolkit.ts"
import type * as ModelPolicy from "../../src/leased/ModelPolicy.ts"
import * as Scripted from "./ScriptedModel.ts"

const id = "acme/small"
const all = { "model.use": ["**"], "tool.call": ["**"] }

const Search = Tool.make("search", { parameters: Schema.Struct({ q: Schema.String }), success: Schema.String })
const Erase = Tool.make("erase", {
  parameters: Schema.Struct({ q: Schema.String }),
  success: Schema.String,
  failureMode: "return"
})
const Careful = Tool.make("careful", { success: Schema.String, needsApproval: true })
const Web = Tool.providerDefined({
  id: "acme.web",
  customName: "web",
  providerName: "web_search",
  parameters: Schema.Struct({ q: Schema.String }),
  success: Schema.String,
  failure: Schema.String
})()

const Tools = Toolkit.make(Search, Erase, Careful)

type Job = Parameters<typeof LeasedLanguageModel.make>[1]

const leased = (
  raw: LanguageModel.LanguageModel,
  job: Job,
  options?: ModelPolicy.Options<LeasedLanguageModel.Request>
) => LeasedLanguageModel.make(raw, job, id, Scripted.policy({ prices: [Scripted.dollar], ...options }))

/** Tools as an agent makes them for itself; `ran` is what ran. */
const own = Effect.gen(function* () {
  const ran: Array<string> = []
  const found = ({ q }: { readonly q: string }) =>
    Effect.suspend(() => {
      ran.push(q)
      return q === "broken"
        ? Effect.fail(new AiError.UnknownError({ description: "broken" }))
        : Effect.succeed(`found ${q}`)
    })
  const handlers = yield* Tools.toHandlers({
    search: found,
    erase: found,
    careful: () => found({ q: "careful" })
  })
  return { ran, handlers, toolkit: yield* Effect.provideContext(Tools, handlers) }
})

const finish = Scripted.finish(100, 20, "tool-calls")

const told = (job: { readonly said: ReadonlyArray<{ readonly kind: string; readonly body: unknown }> }) =>
  job.said.map(({ body, kind }) => {
    const { error, result, tool } = body as { tool?: string; error?: { code: string }; result?: unknown }
    return kind === "metric" ? "cost" : `${kind} ${tool ?? error?.code ?? result}`
  })

/** Without what is drawn by chance. */
const shown = (parts: ReadonlyArray<Response.AnyPart>) =>
  parts.map((part) => (part.type === "tool-approval-request" ? { ...part, approvalId: "" } : { ...part }))

describe("tools that a language model calls", () => {
  const search = Scripted.call("search", { q: "a" })
  const erase = Scripted.call("erase", { q: "b" })
  const provided = { ...Scripted.call("web", { q: "w" }), providerExecuted: true }
  const providedResult = {
    type: "tool-result" as const,
    id: provided.id,
    name: "web",
    isFailure: false,
    result: "w",
    providerExecuted: true
  }

  const scripts: ReadonlyArray<{ readonly script: string; readonly parts: ReadonlyArray<Response.PartEncoded> }> = [
    { script: "no call", parts: [Scripted.finish(1, 1)] },
    { script: "calls", parts: [search, erase, finish] },
    { script: "wrong arguments, returned", parts: [Scripted.call("erase", { q: 1 }), finish] },
    { script: "wrong arguments", parts: [Scripted.call("search", { q: 1 }), finish] },
    { script: "a call that nobody knows", parts: [Scripted.call("nobody", {}), finish] },
    { script: "a call that fails, returned", parts: [Scripted.call("erase", { q: "broken" }), search, finish] },
    { script: "a call that fails", parts: [Scripted.call("search", { q: "broken" }), finish] },
    { script: "a call that needs approval", parts: [search, Scripted.call("careful", {}), finish] },
    { script: "an answer that was cut off", parts: [search, Scripted.finish(1, 1, "length")] },
    { script: "a call that the provider runs", parts: [provided, providedResult, search, finish] }
  ]

  it.effect.each(scripts)("give the answer that they give without a lease: $script", ({ parts }) =>
    Effect.gen(function* () {
      const { handlers } = yield* own
      const WithWeb = Toolkit.merge(Tools, Toolkit.make(Web))
      const toolkit = yield* Effect.provideContext(WithWeb, handlers)
      const job = yield* Scripted.job(all)
      type Outcome = Effect.Effect<Exit.Exit<ReadonlyArray<Response.AnyPart>, unknown>>
      const text = (model: LanguageModel.LanguageModel): Outcome =>
        Effect.exit(Effect.map(model.generateText({ prompt: "hi", toolkit, concurrency: 1 }), ({ content }) => content))
      const { model } = Scripted.language(parts)
      const stream = (model: LanguageModel.LanguageModel): Outcome =>
        Effect.exit(Stream.runCollect(model.streamText({ prompt: "hi", toolkit, concurrency: 1 })))
      const streaming = Scripted.language(Scripted.parts(...(parts as ReadonlyArray<Response.StreamPartEncoded>)))
      for (const [without, within] of [
        [yield* text(model), yield* text(leased(model, job))],
        [yield* stream(streaming.model), yield* stream(leased(streaming.model, job))]
      ] as const) {
        if (Exit.isSuccess(without) && Exit.isSuccess(within)) {
          const sorted = (parts: ReadonlyArray<Response.AnyPart>) =>
            shown(parts).toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))
          assert.deepStrictEqual(sorted(within.value), sorted(without.value))
          assert.strictEqual(within.value.at(-1)?.type === "finish", without.value.at(-1)?.type === "finish")
        } else {
          assert.deepStrictEqual(JSON.stringify(within), JSON.stringify(without))
        }
      }
    })
  )

  it.effect("are asked about, also those that the agent made itself, and the model hears of a denial", () =>
    Effect.gen(function* () {
      const { handlers, ran, toolkit } = yield* own
      const job = yield* Scripted.job({ "model.use": ["**"], "tool.call": ["search"] })
      const { model } = Scripted.language([search, erase, finish])
      for (const given of [toolkit, Tools]) {
        const { toolResults } = yield* leased(model, job)
          .generateText({ prompt: "hi", toolkit: given, concurrency: 1 })
          .pipe(Effect.provideContext(handlers))
        assert.containSubset(toolResults, [
          { name: "search", isFailure: false, result: "found a" },
          { name: "erase", isFailure: true }
        ])
        const { cause } = yield* Scripted.denial(Effect.fail(toolResults[1]!.result))
        assert.deepStrictEqual(cause.details, { capability: "tool.call", target: "erase" })
      }
      assert.deepStrictEqual(ran, ["a", "a"])
      const once = [
        "cost",
        "tool_call search",
        "tool_result found a",
        "tool_call erase",
        "tool_result PERMISSION_DENIED"
      ]
      assert.deepStrictEqual(told(job), [...once, ...once])
    })
  )

  it.effect("are asked about once where their handlers are leased already", () =>
    Effect.gen(function* () {
      const { handlers, ran } = yield* own
      const job = yield* Scripted.job(all)
      const around = LeasedToolkit.forJob(job)(LeasedToolkit.handlersIn(handlers)) as typeof handlers
      const { model } = Scripted.language([search, finish])
      const toolkit = yield* Effect.provideContext(Tools, around)
      yield* leased(model, job).generateText({ prompt: "hi", toolkit })
      const streaming = Scripted.language(Scripted.parts(search, finish)).model
      yield* Stream.runDrain(leased(streaming, job).streamText({ prompt: "hi", toolkit }))
      assert.deepStrictEqual(ran, ["a", "a"])
      const once = ["cost", "tool_call search", "tool_result found a"]
      assert.deepStrictEqual(told(job), [...once, ...once])
    })
  )

  it.effect("fail the request if they do not return their failures, and what the model cost is told all the same", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = yield* own
      const job = yield* Scripted.job({ "model.use": ["**"] })
      const { model } = Scripted.language([search, finish])
      const subject = leased(model, job)
      const streaming = leased(Scripted.language(Scripted.parts(search, finish)).model, job)
      for (const request of [
        subject.generateText({ prompt: "hi", toolkit }),
        Stream.runDrain(streaming.streamText({ prompt: "hi", toolkit }))
      ]) {
        const { cause, error } = yield* Scripted.denial(request)
        assert.strictEqual(cause._tag, "PermissionDenied")
        assert.strictEqual(error.method, "search.handle")
      }
      assert.deepStrictEqual(ran, [])
      const once = ["cost", "tool_call search", "tool_result PERMISSION_DENIED"]
      assert.deepStrictEqual(told(job), [...once, ...once])
    })
  )

  it.effect("run when the answer is paid, so that they can spend what was set aside for it", () =>
    Effect.gen(function* () {
      const Ask = Toolkit.make(Tool.make("ask", { success: Schema.String }))
      const { job, left, purse } = Scripted.withDollars(yield* Scripted.job(all), "0.002")
      const outer = Scripted.language([Scripted.call("ask", {}), Scripted.finish(10, 10, "tool-calls")])
      const streaming = Scripted.language(
        Scripted.parts(Scripted.call("ask", {}), Scripted.delta("a"), Scripted.finish(10, 10, "tool-calls"))
      )
      const inner = Scripted.language([Scripted.text("yes"), Scripted.finish(10, 10)])
      const atMost = { input: 900, output: 900 }
      const handlers = yield* Ask.toHandlers({
        ask: () =>
          Effect.map(leased(inner.model, job, { atMost }).generateText({ prompt: "really?" }), ({ text }) => text)
      })
      const toolkit = yield* Effect.provideContext(Ask, handlers)
      const { toolResults } = yield* leased(outer.model, job, { atMost }).generateText({ prompt: "hi", toolkit })
      assert.strictEqual(toolResults[0]?.result, "yes")
      const parts = yield* Stream.runCollect(
        leased(streaming.model, job, { atMost }).streamText({ prompt: "hi", toolkit })
      )
      assert.deepStrictEqual(
        parts.map(({ type }) => type),
        ["tool-call", "text-delta", "tool-result", "finish"]
      )
      assert.deepStrictEqual(purse.reserved, ["0.0018", "0.0018", "0.0018", "0.0018"])
      assert.strictEqual(left(), "0.00192")
    })
  )

  it.effect("run side by side, as many as the request says", () =>
    Effect.gen(function* () {
      let running = 0
      let most = 0
      const gate = yield* Deferred.make<void>()
      const Wait = Toolkit.make(Tool.make("wait"))
      const handlers = yield* Wait.toHandlers({
        wait: () =>
          Effect.suspend(() => {
            running++
            most = Math.max(most, running)
            return Deferred.await(gate)
          }).pipe(
            Effect.ensuring(
              Effect.sync(() => {
                running--
              })
            )
          )
      })
      const toolkit = yield* Effect.provideContext(Wait, handlers)
      const job = yield* Scripted.job(all)
      const calls = Array.from({ length: 5 }, (_, index) => Scripted.call("wait", {}, `c${index}`))
      const { model } = Scripted.language([...calls, finish])
      const request = yield* Effect.forkChild(
        leased(model, job).generateText({ prompt: "hi", toolkit, concurrency: 2 })
      )
      for (let turn = 0; turn < 200; turn++) yield* Effect.yieldNow
      yield* Deferred.succeed(gate, undefined)
      assert.lengthOf((yield* Fiber.join(request)).toolResults, 5)
      assert.strictEqual(most, 2)
    })
  )

  it.effect("that somebody has approved run before the model is asked, if the lease covers them", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = yield* own
      const careful = Scripted.call("careful", {})
      const prompt = Prompt.make([
        { role: "user", content: [{ type: "text", text: "do it" }] },
        {
          role: "assistant",
          content: [careful, { type: "tool-approval-request", approvalId: "a1", toolCallId: careful.id }]
        },
        { role: "tool", content: [{ type: "tool-approval-response", approvalId: "a1", approved: true }] }
      ])
      const ask = (job: Job, scripted: Scripted.Scripted) =>
        leased(scripted.model, job, { atMost: { input: 1000, output: 1000 } }).generateText({ prompt, toolkit })
      const scripted = Scripted.language([Scripted.text("done"), Scripted.finish(100, 20)])
      const job = yield* Scripted.job(all)
      yield* ask(job, scripted)
      assert.deepStrictEqual(ran, ["careful"])
      assert.deepStrictEqual(told(job), ["tool_call careful", "tool_result found careful", "cost"])
      assert.include(JSON.stringify(scripted.requests[0]!.prompt.content), "found careful")

      const { job: poor, left } = Scripted.withDollars(yield* Scripted.job({ "model.use": ["**"] }), "1")
      const unasked = Scripted.language([])
      const { cause } = yield* Scripted.denial(ask(poor, unasked))
      assert.strictEqual(cause._tag, "PermissionDenied")
      assert.deepStrictEqual([unasked.requests.length, ran.length, left()], [0, 1, "1"])
    })
  )

  it.effect("that the provider runs are asked about before, and told afterwards", () =>
    Effect.gen(function* () {
      const toolkit = yield* Toolkit.make(Web)
      const answer = [provided, providedResult, Scripted.text("w"), Scripted.finish(1, 1)]
      const { model, requests } = Scripted.language(answer)
      const denied = yield* Scripted.job({ "model.use": ["**"], "tool.call": ["search"] })
      const atMost = { input: 1000, output: 1000 }
      const { cause, error } = yield* Scripted.denial(
        leased(model, denied, { atMost }).generateText({ prompt: "hi", toolkit })
      )
      assert.deepStrictEqual(cause.details, { capability: "tool.call", target: "web" })
      assert.deepStrictEqual([error.module, error.method], ["LanguageModel", "generateText"])
      assert.deepStrictEqual([requests, denied.said], [[], []])
      // It cannot be called in these.
      yield* leased(model, denied).generateText({ prompt: "hi", toolkit, toolChoice: "none" })
      yield* leased(model, denied).generateText({ prompt: "hi", toolkit, toolChoice: { oneOf: [] } })

      const job = yield* Scripted.job(all)
      const failed = { ...providedResult, isFailure: true }
      const streaming = Scripted.language(Scripted.parts(provided, failed, Scripted.finish(1, 1)))
      yield* leased(model, job).generateText({ prompt: "hi", toolkit })
      yield* Stream.runDrain(leased(streaming.model, job).streamText({ prompt: "hi", toolkit }))
      assert.deepStrictEqual(told(job).slice(0, 3), ["cost", "tool_call web", "tool_result w"])
      assert.deepStrictEqual(told(job).slice(3), ["tool_call web", "tool_result INTERNAL_ERROR", "cost"])
      assert.deepStrictEqual(job.said[1]!.body, { tool: "web", args: { q: "w" }, call_id: "call_1" })
    })
  )

  it.effect("that the provider names and somebody else runs are asked about when they are called", () =>
    Effect.gen(function* () {
      const Shell = Tool.providerDefined({
        id: "acme.shell",
        customName: "shell",
        providerName: "shell_1",
        requiresHandler: true,
        success: Schema.String
      })
      const Shells = Toolkit.make(Shell({ failureMode: "return" }))
      const toolkit = yield* Effect.provideContext(
        Shells,
        yield* Shells.toHandlers({ shell: () => Effect.succeed("$") })
      )
      const job = yield* Scripted.job({ "model.use": ["**"] })
      const idle = Scripted.language([Scripted.text("no need"), Scripted.finish(1, 1)])
      yield* leased(idle.model, job).generateText({ prompt: "hi", toolkit })
      const busy = Scripted.language([Scripted.call("shell", null), finish])
      const { toolResults } = yield* leased(busy.model, job).generateText({ prompt: "hi", toolkit })
      assert.isTrue(toolResults[0]?.isFailure)
      assert.deepStrictEqual(told(job), ["cost", "cost", "tool_call shell", "tool_result PERMISSION_DENIED"])
    })
  )

  it.effect("that somebody has approved and that fail leave the model unasked and unpaid", () =>
    Effect.gen(function* () {
      const Broken = Toolkit.make(Tool.make("broken", { failure: Schema.String, needsApproval: true }))
      const toolkit = yield* Effect.provideContext(
        Broken,
        yield* Broken.toHandlers({ broken: () => Effect.fail("pieces") })
      )
      const broken = Scripted.call("broken", {})
      const prompt = Prompt.make([
        {
          role: "assistant",
          content: [broken, { type: "tool-approval-request", approvalId: "a1", toolCallId: broken.id }]
        },
        { role: "tool", content: [{ type: "tool-approval-response", approvalId: "a1", approved: true }] }
      ])
      const { job, left } = Scripted.withDollars(yield* Scripted.job(all), "1")
      const unasked = Scripted.language([])
      const subject = leased(unasked.model, job, { atMost: { input: 1000, output: 1000 } })
      assert.strictEqual(yield* Effect.flip(subject.generateText({ prompt, toolkit })), "pieces")
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(subject.streamText({ prompt, toolkit }))), "pieces")
      assert.deepStrictEqual([unasked.requests.length, left()], [0, "1"])
    })
  )

  it.effect("do not run when the answer breaks off after it called them", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = yield* own
      const job = yield* Scripted.job(all)
      const cut = Scripted.parts(search, Scripted.delta("and"), Scripted.finish(1, 1, "length"))
      const parts = yield* Stream.runCollect(
        leased(Scripted.language(cut).model, job).streamText({ prompt: "hi", toolkit })
      )
      assert.deepStrictEqual(
        parts.map(({ type }) => type),
        ["tool-call", "text-delta", "tool-result", "finish"]
      )
      assert.containSubset(parts[2], { isFailure: true, result: { type: "execution-interrupted" } })
      assert.deepStrictEqual([ran, told(job)], [[], ["cost"]])
    })
  )

  it.effect("do not run if the caller wants to run them", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = yield* own
      const job = yield* Scripted.job(all)
      const { model } = Scripted.language([search, finish])
      const { toolCalls, toolResults } = yield* leased(model, job).generateText({
        prompt: "hi",
        toolkit,
        disableToolCallResolution: true
      })
      assert.deepStrictEqual([toolCalls.length, toolResults.length, ran.length], [1, 0, 0])
      assert.deepStrictEqual(told(job), ["cost"])
    })
  )
})
