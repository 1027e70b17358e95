/** Providers of models that answer what a test tells them to, and jobs that use them. */
import { assert } from "@effect/vitest"
import { BigDecimal, Context, Effect, Result, Stream } from "effect"
import { AiError, EmbeddingModel, LanguageModel, type Response } from "effect/ai"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import type * as Operation from "../../src/authority/Operation.ts"
import type * as PriceTable from "../../src/authority/PriceTable.ts"
import type * as LeasedJob from "../../src/leased/LeasedJob.ts"
import * as ModelPolicy from "../../src/leased/ModelPolicy.ts"
import type * as Amount from "../../src/protocol/Amount.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import * as FakeJob from "./FakeJob.ts"

type Parts = ReadonlyArray<Response.PartEncoded>
type StreamParts = ReadonlyArray<Response.StreamPartEncoded>

export const usage = (input: number, output: number) => ({
  inputTokens: { uncached: input, total: input, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: output, text: output, reasoning: 0 }
})

export const finish = (input: number, output: number, reason: Response.FinishReason = "stop") => ({
  type: "finish" as const,
  reason,
  usage: usage(input, output),
  response: undefined
})

export const text = (text: string) => ({ type: "text" as const, text })

export const delta = (delta: string) => ({ type: "text-delta" as const, id: "t", delta })

export const call = (name: string, params: unknown, id = `c-${name}`) => ({
  type: "tool-call" as const,
  id,
  name,
  params,
  providerExecuted: false
})

export interface Scripted {
  readonly model: LanguageModel.LanguageModel
  /** What the provider was asked. */
  readonly requests: ReadonlyArray<LanguageModel.ProviderOptions>
}

/** A language model whose provider gives these answers, each to one request, and the last to all that follow. */
export const language = (
  ...answers: ReadonlyArray<
    | Parts
    | Effect.Effect<Parts, AiError.AiError>
    | { readonly stream: Stream.Stream<Response.StreamPartEncoded, AiError.AiError> }
  >
): Scripted => {
  const requests: Array<LanguageModel.ProviderOptions> = []
  const next = (request: LanguageModel.ProviderOptions) => {
    requests.push(request)
    return answers[Math.min(requests.length, answers.length) - 1] ?? []
  }
  const model = Effect.runSync(
    LanguageModel.make({
      generateText: (request) =>
        Effect.suspend(() => {
          const answer = next(request)
          if (Effect.isEffect(answer)) return Effect.map(answer, (parts) => [...parts])
          return "stream" in answer ? Effect.die(new Error("this answer is a stream")) : Effect.succeed([...answer])
        }),
      streamText: (request) =>
        Stream.suspend(() => {
          const answer = next(request)
          return "stream" in answer ? answer.stream : Stream.die(new Error("this answer is none"))
        })
    })
  )
  return { model, requests }
}

/** One part at a time, as a provider sends them. */
export const parts = (...parts: StreamParts) => ({ stream: Stream.rechunk(Stream.fromIterable(parts), 1) })

/** An embedding model whose vectors are the lengths of the inputs, and that counts a token for each character. */
export const embedding = (failure?: AiError.AiError) => {
  const requests: Array<ReadonlyArray<string>> = []
  const model = Effect.runSync(
    EmbeddingModel.make({
      embedMany: ({ inputs }) =>
        Effect.suspend(() => {
          requests.push(inputs)
          return failure === undefined
            ? Effect.succeed({
                results: inputs.map((input) => [input.length]),
                usage: { inputTokens: inputs.join("").length }
              })
            : Effect.fail(failure)
        })
    })
  )
  return { model, requests }
}

export const policy = <Request>(options?: ModelPolicy.Options<Request>): ModelPolicy.ModelPolicy<Request> =>
  Result.getOrThrow(ModelPolicy.make(options))

/** A dollar for a million tokens of each kind. */
export const dollar: PriceTable.Entry = {
  model: "**",
  currency: "USD",
  input: "1",
  output: "1",
  embedding: "1"
}

/** A job with this lease. */
export const job = (grants: Capability.Grants, constraints: Capability.Constraints = {}) =>
  Effect.map(LeaseGuard.make(Result.getOrThrow(Lease.make(grants, constraints, 0))), FakeJob.make)

type Job = ReturnType<typeof FakeJob.make>

/**
 * A job with so many dollars. What `reserve` sets aside is gone for all others, and costs that are told within come out of it.
 */
export const withDollars = (job: Job, dollars: string) => {
  const Held = Context.Reference<{ left: BigDecimal.BigDecimal } | undefined>("test/Held", {
    defaultValue: () => undefined
  })
  const zero = BigDecimal.make(0n, 0)
  const purse = { available: BigDecimal.fromStringUnsafe(dollars), reserved: [] as Array<string> }
  const exhausted = new ArcpError.BudgetExhausted({ message: "nothing is left" })
  const guard = LeaseGuard.LeaseGuard.of({
    ...job.guard,
    authorize: (operation: Operation.Operation) =>
      BigDecimal.isPositive(purse.available) ? job.guard.authorize(operation) : Effect.fail(exhausted),
    reserve: <A, E, R>(amounts: ReadonlyArray<Amount.Amount>, use: Effect.Effect<A, E, R>) =>
      Effect.suspend((): Effect.Effect<A, E | ArcpError.BudgetExhausted, R> => {
        const wanted = amounts.reduce((sum, { value }) => BigDecimal.sum(sum, value), zero)
        purse.reserved.push(BigDecimal.format(wanted))
        if (BigDecimal.isGreaterThan(wanted, purse.available)) return Effect.fail(exhausted)
        const held = { left: wanted }
        purse.available = BigDecimal.subtract(purse.available, wanted)
        return Effect.provideService(use, Held, held).pipe(
          Effect.ensuring(
            Effect.sync(() => {
              purse.available = BigDecimal.sum(purse.available, held.left)
            })
          )
        )
      })
  })
  const emitter: LeasedJob.LeasedJob["emitter"] = {
    emit: (kind, body) =>
      Effect.flatMap(Held, (held) => {
        if (kind === "metric") {
          const cost = BigDecimal.fromNumberUnsafe((body as { readonly value: number }).value)
          const covered = held === undefined ? zero : BigDecimal.min(cost, held.left)
          if (held !== undefined) held.left = BigDecimal.subtract(held.left, covered)
          purse.available = BigDecimal.subtract(purse.available, BigDecimal.subtract(cost, covered))
        }
        return job.emitter.emit(kind, body)
      })
  }
  return {
    job: { ...job, guard, emitter },
    purse,
    left: () => BigDecimal.format(BigDecimal.normalize(purse.available))
  }
}

/** The costs that a job told. */
export const costs = (job: Job) => job.said.flatMap(({ body, kind }) => (kind === "metric" ? [body] : []))

/** What a denial consists of; any other outcome fails the test. */
export const denial = <A, R>(effect: Effect.Effect<A, unknown, R>) =>
  Effect.flip(effect).pipe(
    Effect.mapError(() => new Error("the lease let it pass")),
    Effect.map((error) => {
      assert.instanceOf(error, AiError.AiError)
      const cause: unknown = "cause" in error.reason ? error.reason.cause : undefined
      assert.isTrue(ArcpError.isArcpError(cause), `a denial, not ${error.message}`)
      return { error, reason: error.reason, cause: cause as ArcpError.ArcpError }
    })
  )
