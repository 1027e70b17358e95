/**
 * How much a principal and a session may run at once, and how fast they may ask.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as RuntimeConfig from "./RuntimeConfig.ts"

/**
 * Lets submissions in, or refuses them.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobLimits {
  /**
   * Takes a place for a submission made at this time (milliseconds), and gives the way to leave it: once, however often it is called. Else
   * the refusal that it deserves.
   */
  readonly admit: (
    principal: string,
    session: Ids.SessionId,
    now: number
  ) => Result.Result<() => void, ArcpError.InternalError>
}

/**
 * The refusal of what would pass a limit. It says which, and when to try again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const exceeded = (limit: string, bound: number, retryAfter: number): ArcpError.InternalError =>
  new ArcpError.InternalError({
    message: `The limit of ${bound} ${limit.replaceAll("_", " ")} is reached`,
    details: { limit, bound, retry_after_ms: Math.max(1, Math.ceil(retryAfter)) }
  })

/** A count for each key that has one. */
const counter = <Key>() => {
  const counts = new Map<Key, number>()
  return {
    get: (key: Key) => counts.get(key) ?? 0,
    add: (key: Key, change: number) => {
      const now = (counts.get(key) ?? 0) + change
      if (now === 0) counts.delete(key)
      else counts.set(key, now)
    }
  }
}

const minute = 60_000
const retryAfter = 1000

/**
 * The limits of this configuration, with nobody counted yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (config: RuntimeConfig.RuntimeConfig): JobLimits => {
  const sessions = counter<Ids.SessionId>()
  const principals = counter<string>()
  /** Submissions that each principal has to spare, and when that was so. A principal with all of them to spare has no entry. */
  const spare = new Map<string, { readonly left: number; readonly at: number }>()
  const rate = config.maxSubmissionsPerMinute

  const spend = (principal: string, now: number): number | undefined => {
    if (!Number.isFinite(rate)) return undefined
    for (const [key, { at, left }] of spare) {
      if (left + ((now - at) * rate) / minute < rate) break
      spare.delete(key)
    }
    const { at, left } = spare.get(principal) ?? { at: now, left: rate }
    const refilled = Math.min(rate, left + ((now - at) * rate) / minute)
    if (refilled < 1) return ((1 - refilled) * minute) / rate
    spare.delete(principal)
    spare.set(principal, { left: refilled - 1, at: now })
    return undefined
  }

  return {
    admit: (principal, session, now) => {
      if (sessions.get(session) >= config.maxJobsPerSession) {
        return Result.fail(exceeded("jobs_per_session", config.maxJobsPerSession, retryAfter))
      }
      if (principals.get(principal) >= config.maxJobsPerPrincipal) {
        return Result.fail(exceeded("jobs_per_principal", config.maxJobsPerPrincipal, retryAfter))
      }
      const wait = spend(principal, now)
      if (wait !== undefined) return Result.fail(exceeded("submissions_per_minute", rate, wait))
      sessions.add(session, 1)
      principals.add(principal, 1)
      let left = false
      return Result.succeed(() => {
        if (left) return
        left = true
        sessions.add(session, -1)
        principals.add(principal, -1)
      })
    }
  }
}
