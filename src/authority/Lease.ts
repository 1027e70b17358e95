/**
 * A lease: what a job may do, and until when (§9). Here it is decided; services only add the clock.
 *
 * @since 0.1.0
 */
import { type BigDecimal, Option, Result } from "effect"
import * as Amount from "../protocol/Amount.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Capability from "../protocol/Capability.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as Automaton from "./Automaton.ts"
import * as Operation from "./Operation.ts"
import * as Pattern from "./Pattern.ts"

/**
 * What a lease grants under one capability.
 *
 * @category models
 * @since 0.1.0
 */
export interface Grant {
  readonly patterns: ReadonlyArray<Pattern.Pattern>
  /** All the patterns in one. */
  readonly automaton: Automaton.Automaton
}

/**
 * An effective lease, ready to be asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lease {
  /** As it travels in `job.accepted`. */
  readonly grants: Capability.Grants
  /** As it travels in `job.accepted`. */
  readonly constraints: Capability.Constraints
  /** By capability. One that is absent grants nothing. */
  readonly granted: ReadonlyMap<string, Grant>
  /** What may be spent, by currency; a currency that is absent is not bounded (§9.6). */
  readonly budget: ReadonlyMap<string, BigDecimal.BigDecimal>
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: Option.Option<number>
}

/**
 * The most capabilities in one lease.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxCapabilities = 64

/**
 * The most patterns under one capability.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxPatterns = 256

/**
 * The most characters in all patterns of one capability together, canonical or as sent, whichever is longer.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxTotalLength = 6144

/**
 * The lease that a request asks for, at the time `now` (milliseconds since the Unix epoch). Whatever is malformed, and an `expires_at` that
 * is not in the future, is an {@link ArcpError.InvalidRequest} with the field in its details (§9.5).
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  grants: Capability.Grants,
  constraints: Capability.Constraints,
  now: number
): Result.Result<Lease, ArcpError.InvalidRequest> =>
  Result.filterOrFail(
    compile(grants, constraints),
    (lease) => !isExpired(lease, now),
    () => invalid("lease_constraints.expires_at", `${quote(constraints.expires_at ?? "")} is not in the future`)
  )

/**
 * As {@link make} for a lease that was accepted before, such as one read back from a store: it may have expired since.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = (
  grants: Capability.Grants,
  constraints: Capability.Constraints
): Result.Result<Lease, ArcpError.InvalidRequest> =>
  Result.gen(function* () {
    const entries = Object.entries(grants)
    if (entries.length > maxCapabilities) {
      return yield* Result.fail(invalid("lease_request", `a lease names at most ${maxCapabilities} capabilities`))
    }
    const granted = new Map<string, Grant>()
    const amounts: Array<Amount.Amount> = []
    for (const [capability, sources] of entries) {
      const field = `lease_request.${capability.slice(0, 256).toWellFormed()}`
      if (!Capability.isKnown(capability)) {
        return yield* Result.fail(invalid(field, "this is neither a reserved capability nor x-vendor.<vendor>.<name>"))
      }
      if (sources.length > maxPatterns) {
        return yield* Result.fail(invalid(field, `a capability has at most ${maxPatterns} patterns`))
      }
      if (capability === "cost.budget") {
        amounts.push(...(yield* each(field, sources, Amount.parse)))
        continue
      }
      const patterns = yield* each(field, sources, (source) => Pattern.compile(capability, source))
      const total = patterns.reduce((sum, { canonical, source }) => sum + Math.max(canonical.length, source.length), 0)
      if (total > maxTotalLength) {
        return yield* Result.fail(invalid(field, `its patterns have at most ${maxTotalLength} characters together`))
      }
      granted.set(capability, { patterns, automaton: Automaton.make(patterns.map((pattern) => pattern.segments)) })
    }
    const expiresAt =
      constraints.expires_at === undefined
        ? Option.none()
        : Option.some(
            yield* Result.mapError(Timestamp.parseUtc(constraints.expires_at), (reason) =>
              invalid("lease_constraints.expires_at", reason)
            )
          )
    return { grants, constraints, granted, budget: Amount.total(amounts), expiresAt }
  })

/**
 * Whether the lease is over at `now`: from the very instant `expires_at` on.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isExpired = (self: Lease, now: number): boolean =>
  Option.isSome(self.expiresAt) && now >= self.expiresAt.value

/**
 * Whether the lease covers the operation at `now` (milliseconds since the Unix epoch). Expiry is looked at first (§9.5), then the
 * capability (§9.3). A target without a canonical form is denied.
 *
 * @category predicates
 * @since 0.1.0
 */
export const authorize = (
  self: Lease,
  operation: Operation.Operation,
  now: number
): Result.Result<void, ArcpError.PermissionDenied | ArcpError.LeaseExpired> => {
  if (Option.isSome(self.expiresAt) && now >= self.expiresAt.value) {
    const expires_at = Timestamp.format(self.expiresAt.value)
    const details = { ...facts(operation), expires_at }
    return Result.fail(new ArcpError.LeaseExpired({ message: `the lease expired at ${expires_at}`, details }))
  }
  const grant = self.granted.get(operation.capability)
  if (grant === undefined) return deny(operation, "the lease does not grant this capability")
  const parts = Operation.parts(operation)
  if (Result.isFailure(parts)) return deny(operation, parts.failure)
  if (!Automaton.accepts(grant.automaton, parts.success)) return deny(operation, "no pattern of the lease covers it")
  return operation.named === true && !isNamed(grant, parts.success)
    ? deny(operation, "it leads into a network that is not public, and no pattern that covers it spells its host out")
    : Result.void
}

const isNamed = ({ patterns }: Grant, parts: ReadonlyArray<string>): boolean =>
  Automaton.accepts(Automaton.make(patterns.filter(Pattern.namesHost).map((pattern) => pattern.segments)), parts)

const facts = (operation: Operation.Operation) => ({
  capability: operation.capability.slice(0, 256).toWellFormed(),
  target: Operation.describe(operation)
})

const deny = (operation: Operation.Operation, reason: string) => {
  const details = facts(operation)
  const message = `${details.capability} on ${JSON.stringify(details.target)} is denied: ${reason}`
  return Result.fail(new ArcpError.PermissionDenied({ message, details }))
}

const invalid = (field: string, reason: string, pattern?: string) =>
  new ArcpError.InvalidRequest({
    message: `${field}: ${reason}`,
    details: pattern === undefined ? { field } : { field, pattern: pattern.slice(0, 256).toWellFormed() }
  })

const quote = (text: string) => JSON.stringify(text.slice(0, 64))

const each = <A>(
  field: string,
  sources: ReadonlyArray<string>,
  parse: (source: string) => Result.Result<A, string>
): Result.Result<ReadonlyArray<A>, ArcpError.InvalidRequest> =>
  Result.all(
    sources.map((source, index) =>
      Result.mapError(parse(source), (reason) => invalid(`${field}[${index}]`, reason, source))
    )
  )
