/**
 * A call of a tool under a lease (§9.3): the call is told, the lease asked, the tool run, and what came of it told, in this order and in
 * every case.
 *
 * @since 0.1.0
 */
import { Cause, Effect, Exit, Result } from "effect"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"
import * as Operation from "../authority/Operation.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Json from "../protocol/Json.ts"
import type * as LeasedJob from "./LeasedJob.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<A> {
  /** How the result shows in the stream; by default as it is, where it is JSON. */
  readonly show?: ((value: A) => Json.Json) | undefined
}

/**
 * Runs `run` as the tool of this name. If the lease does not cover it nothing runs: the denial is told, and is the failure.
 *
 * @category running
 * @since 0.1.0
 */
export const call = <A, E, R>(
  job: LeasedJob.LeasedJob,
  name: string,
  args: Json.Json,
  run: Effect.Effect<A, E, R>,
  options: Options<A> = {}
): Effect.Effect<A, E | LeaseGuard.Denial, R> =>
  Effect.gen(function* () {
    const call_id = yield* job.nextCallId
    const tell = (outcome: { readonly result: Json.Json } | { readonly error: ArcpError.Payload }) =>
      job.emitter.emit("tool_result", { call_id, ...outcome })
    const fail = (error: ArcpError.ArcpError) => tell({ error: ArcpError.toPayload(error) })

    yield* job.emitter.emit("tool_call", { tool: name, args, call_id })
    yield* Effect.tapError(job.guard.authorize(Operation.toolCall(name)), fail)
    const exit = yield* Effect.exit(run)
    if (Exit.isSuccess(exit)) {
      const shown = options.show === undefined ? ((exit.value ?? null) as Json.Json) : options.show(exit.value)
      yield* tell({ result: shown })
    } else {
      const error = Exit.findError(exit)
      if (Result.isSuccess(error)) {
        yield* fail(
          ArcpError.isArcpError(error.success)
            ? error.success
            : new ArcpError.InternalError({ message: messageOf(error.success) })
        )
      } else if (!Cause.hasInterruptsOnly(exit.cause)) {
        yield* fail(new ArcpError.InternalError({ message: "The tool failed unexpectedly" }))
      }
    }
    return yield* exit
  })

const messageOf = (error: unknown): string =>
  typeof error === "object" &&
  error !== null &&
  "message" in error &&
  typeof error.message === "string" &&
  error.message !== ""
    ? error.message
    : "The tool failed"
