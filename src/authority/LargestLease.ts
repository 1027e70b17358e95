/**
 * A bound on the leases that somebody may ask for.
 *
 * @since 0.1.0
 */
import { Duration, Option, Result, Schema } from "effect"
import type * as ArcpError from "../protocol/ArcpError.ts"
import * as Capability from "../protocol/Capability.ts"
import * as Lease from "./Lease.ts"
import type * as VendorCapability from "./VendorCapability.ts"

/**
 * What a lease may be at most.
 *
 * @category schemas
 * @since 0.1.0
 */
export const LargestLease = Schema.Struct({
  /** What it may grant. Under `cost.budget` the most that it may allow to be spent in each currency (§9.6). */
  grants: Capability.Grants,
  /** When it must have ended, in milliseconds since the Unix epoch. */
  expiresAt: Schema.optionalKey(Schema.Int),
  /** How long it may last. */
  lifetime: Schema.optionalKey(Schema.Duration)
})
export type LargestLease = typeof LargestLease.Type

/**
 * Grants nothing.
 *
 * @category constants
 * @since 0.1.0
 */
export const none: LargestLease = { grants: {} }

/**
 * As a lease to compare others with, without its end. The failure says what is wrong with it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const compile = (
  self: LargestLease,
  vendors?: VendorCapability.VendorCapabilities
): Result.Result<Lease.Lease, ArcpError.InvalidRequest> => Lease.compile(self.grants, {}, vendors)

/** The last instant of the year 9999: later ones cannot be written as RFC 3339 text. */
const farthest = 253_402_300_799_999

/**
 * The latest end of a lease that begins at `now`, both in milliseconds since the Unix epoch.
 *
 * @category combinators
 * @since 0.1.0
 */
export const latest = ({ expiresAt, lifetime }: LargestLease, now: number): Option.Option<number> => {
  if (expiresAt === undefined && lifetime === undefined) return Option.none()
  const ends = [expiresAt ?? farthest, lifetime === undefined ? farthest : now + Duration.toMillis(lifetime)]
  return Option.some(Math.max(0, Math.floor(Math.min(farthest, ...ends))))
}
