/**
 * A lease: what a job may do, and until when (§9). Here it is decided; services only add the clock.
 *
 * @since 0.1.0
 */
import { BigDecimal, Option, Result } from "effect"
import * as Amount from "../protocol/Amount.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import * as Capability from "../protocol/Capability.ts"
import * as Timestamp from "../protocol/Timestamp.ts"
import * as Automaton from "./Automaton.ts"
import * as Inclusion from "./Inclusion.ts"
import * as Operation from "./Operation.ts"
import * as Pattern from "./Pattern.ts"
import type * as VendorCapability from "./VendorCapability.ts"

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
  /** By capability. One that is absent, here and from `vendors`, grants nothing. */
  readonly granted: ReadonlyMap<string, Grant>
  /** The vendors' capabilities that the host checks in its own way. */
  readonly vendors: ReadonlyMap<string, VendorCapability.Grant>
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
export const maxTotalLength = 8192

/**
 * The lease that a request asks for, at the time `now` (milliseconds since the Unix epoch). Whatever is malformed, and an `expires_at` that
 * is not in the future, is an {@link ArcpError.InvalidRequest} with the field in its details (§9.5). `vendors` are those that the host checks
 * in its own way.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  grants: Capability.Grants,
  constraints: Capability.Constraints,
  now: number,
  vendors?: VendorCapability.VendorCapabilities
): Result.Result<Lease, ArcpError.InvalidRequest> =>
  Result.filterOrFail(
    compile(grants, constraints, vendors),
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
  constraints: Capability.Constraints,
  vendors?: VendorCapability.VendorCapabilities
): Result.Result<Lease, ArcpError.InvalidRequest> =>
  Result.gen(function* () {
    const entries = Object.entries(grants)
    if (entries.length > maxCapabilities) {
      return yield* Result.fail(invalid("lease_request", `a lease names at most ${maxCapabilities} capabilities`))
    }
    const granted = new Map<string, Grant>()
    const matched = new Map<string, VendorCapability.Grant>()
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
      const vendor = capability.startsWith("x-vendor.") ? vendors?.get(capability) : undefined
      if (vendor !== undefined) {
        yield* each(field, sources, vendor.check)
        matched.set(capability, vendor.grant(sources))
        continue
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
    return { grants, constraints, granted, vendors: matched, budget: Amount.total(amounts), expiresAt }
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
 * Fails for an operation at `now` (milliseconds since the Unix epoch) if the lease is over then (§9.5).
 *
 * @category predicates
 * @since 0.1.0
 */
export const inTime = (
  self: Lease,
  operation: Operation.Operation,
  now: number
): Result.Result<void, ArcpError.LeaseExpired> => {
  if (Option.isNone(self.expiresAt) || now < self.expiresAt.value) return Result.void
  const expires_at = Timestamp.format(self.expiresAt.value)
  const details = { ...facts(operation), expires_at }
  return Result.fail(new ArcpError.LeaseExpired({ message: `The lease expired at ${expires_at}`, details }))
}

/**
 * Whether the lease grants the operation, whatever the time (§9.3). A target without a canonical form is denied.
 *
 * @category predicates
 * @since 0.1.0
 */
export const covers = (
  self: Lease,
  operation: Operation.Operation
): Result.Result<void, ArcpError.PermissionDenied> => {
  const grant = self.granted.get(operation.capability)
  if (grant === undefined) return authorizeVendor(self, operation)
  const parts = Operation.parts(operation)
  if (Result.isFailure(parts)) return deny(operation, parts.failure)
  if (!Automaton.accepts(grant.automaton, parts.success)) return deny(operation, "no pattern of the lease covers it")
  return operation.named === true && !isNamed(grant, parts.success)
    ? deny(operation, "it leads into a network that is not public, and no pattern that covers it spells its host out")
    : Result.void
}

const isNamed = ({ patterns }: Grant, parts: ReadonlyArray<string>): boolean =>
  Automaton.accepts(Automaton.make(patterns.filter(Pattern.namesHost).map((pattern) => pattern.segments)), parts)

/**
 * Whether the lease allows the operation at `now` (milliseconds since the Unix epoch): {@link inTime} first, then {@link covers}.
 *
 * @category predicates
 * @since 0.1.0
 */
export const authorize = (
  self: Lease,
  operation: Operation.Operation,
  now: number
): Result.Result<void, ArcpError.PermissionDenied | ArcpError.LeaseExpired> => {
  const time = inTime(self, operation, now)
  return Result.isFailure(time) ? time : covers(self, operation)
}

const authorizeVendor = (self: Lease, operation: Operation.Operation) => {
  const vendor = self.vendors.get(operation.capability)
  if (vendor === undefined) return deny(operation, "the lease does not grant this capability")
  const covered = Result.flatMap(Operation.parts(operation), () => vendor.covers(operation.target))
  return Result.isFailure(covered) ? deny(operation, covered.failure) : Result.void
}

/**
 * Where one lease goes beyond another.
 *
 * @category models
 * @since 0.1.0
 */
export interface Excess {
  /** Such as `lease_request.fs.read[1]` or `lease_constraints.expires_at`. */
  readonly field: string
  /** The pattern or the amount. */
  readonly pattern?: string
  /** In words for a person, such as "which does not cover all of it": to be read behind what the bounds are. */
  readonly reason: string
}

/**
 * The first place where a lease goes beyond `bounds`, in its capabilities, its budget or its end (§9.4). What is not proved to be within is
 * beyond. A budget that the lease does not name, and an end that it does not have, are not looked at.
 *
 * @category predicates
 * @since 0.1.0
 */
export const excess = (self: Lease, bounds: Lease, available = bounds.budget): Option.Option<Excess> => {
  if (
    Option.isSome(self.expiresAt) &&
    Option.isSome(bounds.expiresAt) &&
    self.expiresAt.value > bounds.expiresAt.value
  ) {
    return Option.some({
      field: "lease_constraints.expires_at",
      reason: `which ends at ${Timestamp.format(bounds.expiresAt.value)}`
    })
  }
  const allowance = Inclusion.allowance()
  for (const [capability, { patterns }] of self.granted) {
    const beyond = firstBeyond(patterns, bounds.granted.get(capability)?.patterns ?? [], allowance)
    if (beyond !== undefined) return Option.some(beyond)
  }
  for (const [capability, { sources }] of self.vendors) {
    const within = bounds.vendors.get(capability)
    const index = sources.findIndex((source) => within?.includes(source) !== true)
    if (index >= 0) return Option.some(beyondPattern(capability, index, sources[index]!, notCovered))
  }
  for (const [currency, value] of self.budget) {
    const most = available.get(currency)
    if (most === undefined || !BigDecimal.isGreaterThan(value, most)) continue
    return Option.some({
      field: "lease_request.cost.budget",
      pattern: Amount.format({ currency, value }),
      reason: `which has ${Amount.format({ currency, value: most })}`
    })
  }
  return Option.none()
}

const notCovered = "which does not cover all of it"

const beyondPattern = (capability: string, index: number, pattern: string, reason: string): Excess => ({
  field: `lease_request.${capability}[${index}]`,
  pattern: pattern.slice(0, 256).toWellFormed(),
  reason
})

const firstBeyond = (
  patterns: ReadonlyArray<Pattern.Pattern>,
  bounds: ReadonlyArray<Pattern.Pattern>,
  allowance: Inclusion.Allowance
): Excess | undefined => {
  const same = new Set(bounds.map(({ canonical }) => canonical))
  const union = Inclusion.union(bounds.map(({ segments }) => segments))
  for (const [index, { canonical, capability, segments, source }] of patterns.entries()) {
    if (same.has(canonical)) continue
    const verdict = Inclusion.decide(union, segments, Pattern.targets(capability), allowance)
    if (verdict._tag === "Beyond") return beyondPattern(capability, index, source, notCovered)
    if (verdict._tag === "Unproved") {
      return beyondPattern(capability, index, source, "which could not be proved to cover it")
    }
  }
  return undefined
}

/**
 * What bounds the lease of a child beside that of its parent.
 *
 * @category options
 * @since 0.1.0
 */
export interface RestrictOptions {
  /** Milliseconds since the Unix epoch. */
  readonly now: number
  /**
   * What the parent may still spend and hand on, by currency; one that is absent is not bounded (§9.6). Default: the whole budget of its
   * lease.
   */
  readonly available?: ReadonlyMap<string, BigDecimal.BigDecimal>
  /** Whether a lease that does not name `model.use` lets any model be used (§9.7). Default `false`. */
  readonly anyModelUnlessNamed?: boolean
}

/**
 * The lease of a child to which a job delegates (§9.4): what is asked for, if all of it is proved to be within the lease of the parent. A
 * child that names no end ends with its parent. One that names no budget has none of its own: it spends its parent's.
 *
 * @category constructors
 * @since 0.1.0
 */
export const restrict = (
  parent: Lease,
  request: Pick<Lease, "grants" | "constraints">,
  { anyModelUnlessNamed = false, available, now }: RestrictOptions
): Result.Result<Lease, ArcpError.LeaseSubsetViolation | ArcpError.InvalidRequest> =>
  Result.gen(function* () {
    const vendors = new Map(Array.from(parent.vendors, ([name, grant]) => [name, grant.capability]))
    // To say nothing of models would give the child those that its parent has not.
    const isSilent = anyModelUnlessNamed && !Object.hasOwn(request.grants, "model.use")
    const namesNone = isSilent && Object.hasOwn(parent.grants, "model.use")
    const grants = namesNone ? { ...request.grants, "model.use": [] } : request.grants
    const asked = yield* make(grants, request.constraints, now, vendors)
    const isOpen = anyModelUnlessNamed && !Object.hasOwn(parent.grants, "model.use")
    const beyond = excess(isOpen ? withoutModels(asked) : asked, parent, available)
    if (Option.isSome(beyond)) {
      const { field, pattern, reason } = beyond.value
      return yield* Result.fail(
        new ArcpError.LeaseSubsetViolation({
          message: `${field}: beyond the lease of the parent, ${reason}`,
          details: pattern === undefined ? { field } : { field, pattern }
        })
      )
    }
    return Option.isNone(asked.expiresAt) && Option.isSome(parent.expiresAt)
      ? { ...asked, constraints: parent.constraints, expiresAt: parent.expiresAt }
      : asked
  })

const withoutModels = (self: Lease): Lease => ({
  ...self,
  granted: new Map(Array.from(self.granted).filter(([capability]) => capability !== "model.use"))
})

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
  ArcpError.invalidField(
    field,
    reason,
    pattern === undefined ? undefined : { pattern: pattern.slice(0, 256).toWellFormed() }
  )

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
