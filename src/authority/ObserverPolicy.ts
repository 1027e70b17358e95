/**
 * Who may watch whose jobs (§7.6).
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"
import type * as Ids from "../protocol/Ids.ts"
import type * as Authenticator from "./Authenticator.ts"

/**
 * What is asked of the policy.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ask {
  readonly observer: Authenticator.Principal
  /** The principal that submitted the job; it may always watch, and the policy is not asked. */
  readonly owner: string
  readonly job: Ids.JobId
  readonly agent: string
}

/**
 * Decides whether a principal may watch a job of another. Nobody may, if nobody says otherwise, or the policy dies, which is logged. What
 * may not be watched does not exist for who asks.
 *
 * @category services
 * @since 0.1.0
 */
export const ObserverPolicy = Context.Reference<(ask: Ask) => Effect.Effect<boolean>>("arcp/authority/ObserverPolicy", {
  defaultValue: () => () => Effect.succeed(false)
})

/**
 * A policy that is one function.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (policy: (ask: Ask) => Effect.Effect<boolean>): Layer.Layer<never> =>
  Layer.succeed(ObserverPolicy, policy)
