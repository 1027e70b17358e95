/**
 * The tools of `effect/ai` behind a job's lease (§9.3): each call of one is a `tool.call` of its name. The call is told, the lease asked, the
 * tool run, and what came of it told, as `LeasedTool` has it.
 *
 * An agent does nothing for it. It asks for a toolkit as usual, and finds leased handlers wherever they came from the surroundings of its
 * layer: those of the host, and those that were provided along with the agent. Tools that a language model calls are leased in any case,
 * also those whose handlers the agent made itself, see `LeasedLanguageModel`.
 *
 * | tool | its call is judged |
 * | --- | --- |
 * | `Tool.make`, `Tool.dynamic`, `Tool.providerDefined` with a handler | before the handler runs |
 * | `Tool.providerDefined` that the provider runs | before the model is asked, for afterwards would be too late: such a request is refused as a whole |
 *
 * A denial is an `AiError` of the tool, with the error of the protocol as cause. A tool with `failureMode: "return"` returns it as a failure,
 * which every such tool may, so that a model hears of it and goes on; any other fails with it.
 *
 * What shows of arguments and results is their decoded value as JSON, so what a schema makes `Redacted` stays so.
 *
 * **Gotchas**
 *
 * A handler that an agent gives to itself, and calls without a model, is a function of its own, and nobody is asked about it.
 *
 * @since 0.1.0
 */
import { Cause, Context, Effect, Fiber, Predicate, Queue, Schema, type SchemaAST, Stream } from "effect"
import * as AiError from "effect/ai/AiError"
import type * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as Operation from "../authority/Operation.ts"
import type * as Json from "../protocol/Json.ts"
import * as AiDenial from "./internal/aiDenial.ts"
import * as Denial from "./internal/denial.ts"
import * as ToolPermit from "./internal/toolPermit.ts"
import type * as LeasedJob from "./LeasedJob.ts"
import * as LeasedTool from "./LeasedTool.ts"

/** Calls a tool as the job may. What the lease denies becomes of `refuse`, and is told apart from failures of the tool, of whatever kind. */
const call = <A, E, R, A2, E2>(
  job: LeasedJob.LeasedJob,
  name: string,
  args: unknown,
  run: Effect.Effect<A, E, R>,
  refuse: (error: AiError.AiError) => Effect.Effect<A2, E2>
): Effect.Effect<A | A2, E | E2, R> =>
  Effect.suspend(() => {
    let ran = false
    const tool = Effect.suspend(() => {
      ran = true
      return run
    })
    return Effect.catchCause(
      LeasedTool.call(job, name, args as Json.Json, tool),
      (cause): Effect.Effect<A2, E | E2> => {
        const denial = ran ? undefined : cause.reasons.find(Cause.isFailReason)
        return denial === undefined
          ? Effect.failCause(cause as Cause.Cause<E>)
          : refuse(AiDenial.make("Toolkit", `${name}.handle`, denial.error as LeaseGuard.Denial))
      }
    )
  })

// ------------------------------------------------------------------------------------------------------------- handlers

type Handler = Tool.Handler<string>

/** What Effect keeps of a tool's handler. It has no mark of its own, and the key under which it is kept may be any text. */
const isHandler = (service: unknown): service is Handler =>
  Predicate.hasProperty(service, "handler") &&
  typeof service.handler === "function" &&
  Predicate.hasProperty(service, "name") &&
  typeof service.name === "string" &&
  Predicate.hasProperty(service, "context") &&
  Context.isContext(service.context)

/** The handler that another one stands in front of. */
const guarded = new WeakMap<Handler, Handler>()

const inFrontOf = (raw: Handler, handler: Handler["handler"]): Handler => {
  const guard = { ...raw, handler }
  guarded.set(guard, raw)
  return guard
}

const mapHandlers = (handlers: Context.Context<never>, f: (raw: Handler) => Handler): Context.Context<never> =>
  handlers.mapUnsafe.size === 0
    ? handlers
    : Context.makeUnsafe(new Map(Array.from(handlers.mapUnsafe, ([key, raw]) => [key, f(raw)])))

/**
 * The handlers of tools in a context, as whoever made them made them, and nothing else that is in there.
 *
 * @category combinators
 * @since 0.1.0
 */
export const handlersIn = <R>(context: Context.Context<R>): Context.Context<never> => {
  const found = new Map<string, Handler>()
  for (const [key, service] of context.mapUnsafe) {
    if (isHandler(service)) found.set(key, guarded.get(service) ?? service)
  }
  return Context.makeUnsafe(found)
}

/**
 * Puts handlers of tools, as {@link handlersIn} finds them, behind the lease of a job.
 *
 * @category models
 * @since 0.1.0
 */
export type Lease = (handlers: Context.Context<never>) => Context.Context<never>

/**
 * How the tools around an agent become those of its job. The runtime uses it for every job; an agent has no need to.
 *
 * @category services
 * @since 0.1.0
 */
export class LeasedToolkit extends Context.Service<LeasedToolkit, Lease>()("arcp/leased/LeasedToolkit") {}

/**
 * The handlers of a toolkit, each call of which asks the lease of this job.
 *
 * @category constructors
 * @since 0.1.0
 */
export const forJob =
  (job: LeasedJob.LeasedJob): Lease =>
  (handlers) =>
    mapHandlers(handlers, (raw) =>
      inFrontOf(raw, (params, context) => {
        const run = Effect.suspend(() => raw.handler(params, context))
        return Effect.flatMap(ToolPermit.take(job, raw.name), (asked) =>
          asked ? run : call(job, raw.name, params, run, Effect.fail)
        )
      })
    )

/**
 * Handlers for where there is no job: each refuses.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusing: Lease = (handlers) =>
  mapHandlers(handlers, (raw) =>
    inFrontOf(raw, () =>
      Effect.fail(
        AiDenial.make(
          "Toolkit",
          `${raw.name}.handle`,
          Denial.because(Operation.toolCall(raw.name), "there is no job here that calls it")
        )
      )
    )
  )

// ------------------------------------------------------------------------------------------------------------- toolkits

/** A result that counts as a failure, for what is told of the call. */
class Returned {
  readonly message: string
  constructor(result: unknown) {
    this.message = Predicate.hasProperty(result, "message") && typeof result.message === "string" ? result.message : ""
  }
}

const denied = <T extends Tool.Any>(
  tool: T,
  error: AiError.AiError
): Effect.Effect<Tool.HandlerResult<T>, AiError.AiError> =>
  tool.failureMode === "return"
    ? Effect.map(Effect.orDie(Schema.encodeEffect(AiError.AiError)(error)), (encodedResult) => ({
        result: error as Tool.Result<T>,
        encodedResult,
        isFailure: true,
        failureOrigin: "handler",
        preliminary: false
      }))
    : Effect.failCause(Cause.annotate(Cause.fail(error), Context.make(Toolkit.FailureOrigin, "handler")))

/** Results that wait for their reader, before the tool waits too. */
const maxWaiting = 16

/**
 * A toolkit whose handlers are found already, behind the lease of a job, for one that came from elsewhere than the surroundings of an
 * agent, such as from an MCP client. It costs nothing to do it twice: a call is asked about and told once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Tools extends Record<string, Tool.Any>>(
  job: LeasedJob.LeasedJob,
  toolkit: Toolkit.WithHandler<Tools>
): Toolkit.WithHandler<Tools> => {
  const handle: Toolkit.WithHandler<Tools>["handle"] = Effect.fnUntraced(function* <Name extends keyof Tools>(
    name: Name,
    params: Tool.ParametersEncoded<Tools[Name]>,
    id?: string,
    options?: SchemaAST.ParseOptions
  ) {
    type Result = Tool.HandlerResult<Tools[Name]>
    type Failure = Tool.HandlerError<Tools[Name]> | AiError.AiError
    const tool = Object.hasOwn(toolkit.tools, name) ? toolkit.tools[name] : undefined
    // There is nothing to run, and the toolkit says so itself.
    if (tool === undefined) return yield* toolkit.handle(name, params, id, options)
    if (yield* ToolPermit.take(job, String(name))) {
      return yield* ToolPermit.give(toolkit.handle(name, params, id, options), job, String(name))
    }

    const decoded = Schema.decodeUnknownEffect(tool.parametersSchema)(params, options) as Effect.Effect<
      unknown,
      Schema.SchemaError,
      Tool.HandlerServices<Tools[Name]>
    >
    const args = yield* Effect.orElseSucceed(decoded, () => params)
    const results = yield* Queue.bounded<Result, Failure | Cause.Done>(maxWaiting)
    const run = Effect.suspend(() => {
      let last: Result | undefined
      const handled = toolkit.handle(name, params, id, options).pipe(
        Stream.unwrap,
        Stream.runForEach((result) => {
          last = result
          return Queue.offer(results, result)
        })
      )
      return Effect.flatMap(handled, () =>
        last?.isFailure === true ? Effect.fail(new Returned(last.result)) : Effect.succeed(last?.result)
      )
    })
    const refuse = (error: AiError.AiError) =>
      Effect.flatMap(denied(tool, error), (result) => Queue.offer(results, result))
    const fiber = yield* call(job, String(name), args, ToolPermit.give(run, job, String(name)), refuse).pipe(
      Effect.catchIf(
        (error) => error instanceof Returned,
        () => Effect.void
      ),
      Effect.matchCauseEffect({
        onFailure: (cause) => Queue.failCause(results, cause as Cause.Cause<Failure>),
        onSuccess: () => Queue.end(results)
      }),
      Effect.forkChild
    )
    return Stream.fromQueue(results).pipe(Stream.ensuring(Fiber.interrupt(fiber)))
  })
  return { tools: toolkit.tools, handle }
}
