/**
 * One call of a model under a lease: the lease is asked, what the call may cost is set aside, the model is called, and what it did cost is
 * told, whatever came of it.
 *
 * What is told: the cost of the usage that the provider reported. Where it reported none although it was at work (an interruption, a
 * connection that broke in the middle, an answer that could not be read) what the call costs at most, if that is known: less than was
 * spent must not be counted. Nothing if the provider turned the call down.
 */
import { BigDecimal, Clock, Deferred, Effect, Exit, Fiber, Option, Result, type Scope } from "effect"
import * as AiError from "effect/ai/AiError"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import * as Lease from "../../authority/Lease.ts"
import * as Operation from "../../authority/Operation.ts"
import * as PriceTable from "../../authority/PriceTable.ts"
import type * as Amount from "../../protocol/Amount.ts"
import type * as ArcpError from "../../protocol/ArcpError.ts"
import type * as LeasedJob from "../LeasedJob.ts"
import type * as ModelPolicy from "../ModelPolicy.ts"
import * as AiDenial from "./aiDenial.ts"

/** A model on behalf of a job. */
export interface Model {
  readonly job: LeasedJob.LeasedJob
  /** The service that is called, such as `LanguageModel`. */
  readonly module: string
  readonly id: string
  readonly policy: Pick<ModelPolicy.ModelPolicy<never>, "prices" | "whenUngranted">
}

/** A call that was admitted. */
export interface ModelCall {
  /** To be said right before the model is called. */
  readonly sent: () => void
  /** It was not called after all. */
  readonly withdrawn: () => void
  /** What the call used, once that is known. */
  readonly used: (usage: PriceTable.Usage) => void
  /** Part of an answer has come, so the provider is at work. */
  readonly answering: () => void
  /** Why the model did not answer. */
  readonly failed: (error: unknown) => void
  /** Fails once the lease is over. */
  readonly alive: Effect.Effect<void, AiError.AiError>
  /** Fails when the lease ends, and else never ends. */
  readonly expiry: Effect.Effect<never, AiError.AiError>
  /** Tells what the call cost and gives back what was set aside beyond. Happens by itself when the scope closes. */
  readonly settle: Effect.Effect<void>
}

/** Fails unless the lease allows the model. Expiry and budget hold also where a lease does not name models. */
const ask = ({ id, job: { guard }, policy }: Model): Effect.Effect<void, LeaseGuard.Denial> => {
  const operation = Operation.modelUse(id)
  const allows = ({ lease }: LeaseGuard.Tenure) =>
    !lease.granted.has("model.use") || Result.isSuccess(Lease.covers(lease, operation))
  return Effect.catchTag(guard.authorize(operation), "PermissionDenied", (denied) =>
    policy.whenUngranted === "allow" && guard.tenures.every(allows) ? Effect.void : Effect.fail(denied)
  )
}

/**
 * Sets so much aside. What this gives runs `last` while it still is, and then returns what is left; that happens when the scope closes at
 * the latest.
 */
const setAside = Effect.fnUntraced(function* (
  guard: LeaseGuard.LeaseGuard["Service"],
  amounts: ReadonlyArray<Amount.Amount>,
  last: Effect.Effect<void>
): Effect.fn.Return<Effect.Effect<void>, ArcpError.BudgetExhausted, Scope.Scope> {
  const scope = yield* Effect.scope
  const opened = yield* Deferred.make<void, ArcpError.BudgetExhausted>()
  const closing = yield* Deferred.make<void>()
  const use = Deferred.succeed(opened, undefined).pipe(Effect.andThen(Deferred.await(closing)), Effect.andThen(last))
  // A fiber of its own, so that a stream can be read while it holds the money. The release, which is last to come and first to go, ends it.
  const close = yield* Effect.acquireRelease(
    guard.reserve(amounts, use).pipe(
      // Prices are not negative, and so is no amount.
      Effect.catchTag("InvalidRequest", Effect.die),
      Effect.onExit((exit) => Deferred.done(opened, Exit.asVoid(exit))),
      Effect.forkIn(scope, { uninterruptible: true, startImmediately: true }),
      Effect.map((fiber) => Effect.andThen(Deferred.succeed(closing, undefined), Effect.asVoid(Fiber.await(fiber))))
    ),
    (close) => close
  )
  yield* Deferred.await(opened)
  return close
})

/** Reasons for which a provider that has answered was not understood: it was at work, and will want its money. */
const unreadable: ReadonlySet<string> = new Set(["InvalidResponseError", "InvalidOutputError", "StructuredOutputError"])

/** Admits a call, or fails without one. `bound` is what it uses at most, as far as that is known. */
export const open = Effect.fnUntraced(function* (
  model: Model,
  method: string,
  bound: PriceTable.Bound
): Effect.fn.Return<ModelCall, AiError.AiError, Scope.Scope> {
  const { id, job, module } = model
  const { prices } = model.policy
  const deny = (denial: LeaseGuard.Denial) => AiDenial.make(module, method, denial)
  const atMost = PriceTable.costAtMost(prices, id, bound)
  let used: PriceTable.Usage | undefined
  let sent = false
  let answering = false
  let refused = false
  let told = false

  const cost = (): { readonly amount: Amount.Amount; readonly estimated: boolean } | undefined => {
    if (!sent || (refused && !answering && used === undefined)) return undefined
    const estimated = used === undefined && Option.isSome(atMost)
    const amount = estimated ? atMost : PriceTable.cost(prices, id, used ?? {})
    return Option.isSome(amount) && BigDecimal.isPositive(amount.value.value)
      ? { amount: amount.value, estimated }
      : undefined
  }

  const tell = Effect.suspend(() => {
    const due = told ? undefined : cost()
    told = true
    if (due === undefined) return Effect.void
    const dimensions = { model: id.slice(0, 256).toWellFormed(), ...(due.estimated ? { estimated: "at_most" } : {}) }
    return job.emitter.emit("metric", {
      name: "cost.model",
      value: BigDecimal.toNumberUnsafe(due.amount.value),
      unit: due.amount.currency,
      dimensions
    })
  })

  yield* Effect.mapError(ask(model), deny)
  let settle = tell
  if (Option.isSome(atMost) && BigDecimal.isPositive(atMost.value.value)) {
    settle = yield* Effect.mapError(setAside(job.guard, [atMost.value], tell), deny)
  } else {
    yield* Effect.addFinalizer(() => tell)
  }

  // What a call has begun it may finish on what is left; only the end of the lease ends it.
  const alive = ask(model).pipe(
    Effect.catchTag(["PermissionDenied", "BudgetExhausted"], () => Effect.void),
    Effect.mapError(deny)
  )

  return {
    sent: () => {
      sent = true
    },
    withdrawn: () => {
      sent = false
    },
    used: (usage) => {
      used = usage
    },
    answering: () => {
      answering = true
    },
    failed: (error) => {
      if (!AiError.isAiError(error)) return
      const { reason } = error
      const usage = "usage" in reason ? reason.usage : undefined
      if (usage !== undefined) used ??= { input: usage.promptTokens, output: usage.completionTokens }
      refused = !unreadable.has(reason._tag)
    },
    alive,
    expiry: Option.match(job.guard.lease.expiresAt, {
      onNone: () => Effect.never,
      onSome: (at) =>
        Clock.currentTimeMillis.pipe(
          // No timer counts further than some 24 days.
          Effect.flatMap((now) => Effect.sleep(Math.min(Math.max(at - now, 1), 86_400_000))),
          Effect.andThen(alive),
          Effect.forever
        )
    }),
    settle
  }
})
