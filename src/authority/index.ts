/**
 * Who may do what, until when: pure decisions, and the services around them.
 *
 * @since 0.1.0
 */
export * as Authenticator from "./Authenticator.ts"
export * as Automaton from "./Automaton.ts"
export * as CanonicalPath from "./CanonicalPath.ts"
export * as CanonicalUrl from "./CanonicalUrl.ts"
export * as JobEmitter from "./JobEmitter.ts"
export * as Lease from "./Lease.ts"
export * as LeaseGuard from "./LeaseGuard.ts"
export * as Leases from "./Leases.ts"
export * as ObserverPolicy from "./ObserverPolicy.ts"
export * as Operation from "./Operation.ts"
export * as Pattern from "./Pattern.ts"
export * as PriceTable from "./PriceTable.ts"
export * as Segment from "./Segment.ts"
