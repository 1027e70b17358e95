/**
 * Vendor capabilities, `x-vendor.<vendor>.<capability>`, that a host checks in its own way (§9.2). Those that no host speaks for are matched as
 * names are, see `Pattern`.
 *
 * ```ts
 * import { Result } from "effect"
 * import { VendorCapability } from "effect-arcp/authority"
 *
 * // "x-vendor.acme.rows": ["100"] lets an agent read at most so many rows.
 * const Rows = VendorCapability.make<number>({
 *   parse: (source) => (/^\d{1,9}$/.test(source) ? Result.succeed(Number(source)) : Result.fail("this is no number of rows")),
 *   covers: (limits, target) => limits.some((limit) => Number(target) <= limit),
 *   includes: (limits, child) => limits.some((limit) => child <= limit)
 * })
 *
 * export const RowsLive = VendorCapability.layer({ "x-vendor.acme.rows": Rows })
 * ```
 *
 * @since 0.1.0
 */
import { Context, Layer, Result } from "effect"

/**
 * How patterns of a capability are read and compared. All of it is pure and quick: it runs before every operation. What throws denies.
 *
 * @category models
 * @since 0.1.0
 */
export interface Matcher<A> {
  /** Reads a pattern of 1 to 1024 characters. The failure says what is wrong with it, and makes the lease an `INVALID_REQUEST`. */
  readonly parse: (source: string) => Result.Result<A, string>
  /** Whether the patterns, taken together, cover the target of an operation, of 1 to 1024 characters. */
  readonly covers: (patterns: ReadonlyArray<A>, target: string) => boolean
  /** Whether it is certain that the patterns cover whatever `child` covers (§9.4). When in doubt, not. */
  readonly includes: (patterns: ReadonlyArray<A>, child: A) => boolean
}

/**
 * A capability with its matcher, whatever the matcher makes of a pattern.
 *
 * @category models
 * @since 0.1.0
 */
export interface VendorCapability {
  /** Reads a pattern; the failure says what is wrong with it. */
  readonly check: (source: string) => Result.Result<void, string>
  /** What patterns that were checked grant. */
  readonly grant: (sources: ReadonlyArray<string>) => Grant
}

/**
 * What a lease grants under a vendor's capability.
 *
 * @category models
 * @since 0.1.0
 */
export interface Grant {
  readonly capability: VendorCapability
  readonly sources: ReadonlyArray<string>
  /** The failure says why the target is not covered. */
  readonly covers: (target: string) => Result.Result<void, string>
  readonly includes: (source: string) => boolean
}

/**
 * By the names of the capabilities.
 *
 * @category models
 * @since 0.1.0
 */
export type VendorCapabilities = ReadonlyMap<string, VendorCapability>

const failed = () => "its matcher failed"

/**
 * A capability by the rules of its vendor. A matcher that throws refuses.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(matcher: Matcher<A>): VendorCapability => {
  const parse = (source: string): Result.Result<A, string> =>
    Result.flatMap(Result.try({ try: () => matcher.parse(source), catch: failed }), (parsed) => parsed)

  const capability: VendorCapability = {
    check: (source) => Result.map(parse(source), () => undefined),
    grant: (sources) => {
      const patterns = Result.all(sources.map(parse))
      return {
        capability,
        sources,
        covers: (target) =>
          Result.flatMap(patterns, (patterns) =>
            Result.filterOrFail(
              Result.try({ try: () => matcher.covers(patterns, target), catch: failed }),
              (covers) => covers === true,
              () => "no pattern of the lease covers it"
            )
          ).pipe(Result.map(() => undefined)),
        includes: (source) =>
          Result.all([patterns, parse(source)]).pipe(
            Result.flatMap(([patterns, child]) =>
              Result.try({ try: () => matcher.includes(patterns, child), catch: failed })
            ),
            Result.getOrElse(() => false)
          ) === true
      }
    }
  }
  return capability
}

/**
 * The vendor capabilities that this host speaks for. None, if it says nothing.
 *
 * @category services
 * @since 0.1.0
 */
export const Registry = Context.Reference<VendorCapabilities>("arcp/authority/VendorCapability", {
  defaultValue: () => new Map()
})

/**
 * Speaks for these capabilities, by their names.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (capabilities: { readonly [name: `x-vendor.${string}`]: VendorCapability }): Layer.Layer<never> =>
  Layer.succeed(Registry, new Map(Object.entries(capabilities)))
