/**
 * Leases and their constraints as they are sent (§9.1, §9.2): capability names with patterns. What they mean is the business of
 * `authority`.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as Timestamp from "./Timestamp.ts"

/**
 * The reserved capability namespaces (§9.2).
 *
 * @category models
 * @since 0.1.0
 */
export const Reserved = Schema.Literals([
  "fs.read",
  "fs.write",
  "net.fetch",
  "tool.call",
  "agent.delegate",
  "cost.budget",
  "model.use"
])
export type Reserved = typeof Reserved.Type

const isReserved = Schema.is(Reserved)
const vendor = /^x-vendor(\.[a-z0-9_-]+){2,}$/

/**
 * Whether a lease may name this capability: a reserved one, or `x-vendor.<vendor>.<capability>`.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isKnown = (capability: string): boolean =>
  isReserved(capability) || (capability.length <= 256 && vendor.test(capability))

/**
 * Capability name to patterns. An absent capability grants nothing.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Grants = Schema.Record(Schema.String, Schema.Array(Schema.NonEmptyString))
export type Grants = typeof Grants.Type

/**
 * Bounds on a lease as a whole; `expires_at` is UTC (§9.5).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Constraints = Schema.Struct({ expires_at: Schema.optionalKey(Timestamp.Timestamp) })
export type Constraints = typeof Constraints.Type
