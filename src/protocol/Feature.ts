/**
 * Optional parts of the protocol and their negotiation: what both peers named may be used, nothing else (§6.2).
 *
 * @since 0.1.0
 */
import { Predicate, Schema } from "effect"

/**
 * The eleven feature flags of version 1.1.
 *
 * @category models
 * @since 0.1.0
 */
export const Feature = Schema.Literals([
  "heartbeat",
  "ack",
  "list_jobs",
  "subscribe",
  "lease_expires_at",
  "cost.budget",
  "model.use",
  "provisioned_credentials",
  "progress",
  "result_chunk",
  "agent_versions"
])
export type Feature = typeof Feature.Type

/**
 * Every feature, in the order in which we announce them.
 *
 * @category constants
 * @since 0.1.0
 */
export const all: ReadonlyArray<Feature> = Feature.literals

const isFeature = Schema.is(Feature)

/**
 * What may be used: the features named by both, in our own order. Flags of later versions or of vendors are no features of ours and
 * drop out.
 *
 * @category combinators
 * @since 0.1.0
 */
export const negotiate = (ours: Iterable<Feature>, theirs: Iterable<string>): ReadonlySet<Feature> => {
  const named = new Set(theirs)
  return new Set(Array.from(ours).filter((feature) => isFeature(feature) && named.has(feature)))
}

/**
 * The vendor capability by which peers built with this package recognise each other: `{ "flow": 1 }` says that acknowledgements pace
 * the sender. A runtime adds its `window`, the characters that of one job may be unacknowledged.
 *
 * @category constants
 * @since 0.1.0
 */
export const declaration = { key: "x-vendor.effect-arcp", value: { flow: 1 } } as const

/**
 * The window that a runtime declares, if it does.
 *
 * @category conversions
 * @since 0.1.0
 */
export const windowOf = (declared: unknown): number | undefined => {
  const window = Predicate.hasProperty(declared, "window") ? declared.window : undefined
  return typeof window === "number" && window > 0 ? window : undefined
}
