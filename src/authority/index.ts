/**
 * Who may do what, until when, at what cost: pure decisions, and the services around them.
 *
 * @since 0.1.0
 */
export * as Authenticator from "./Authenticator.ts"
export * as Automaton from "./Automaton.ts"
export * as Budget from "./Budget.ts"
export * as Budgets from "./Budgets.ts"
export * as CanonicalPath from "./CanonicalPath.ts"
export * as CanonicalUrl from "./CanonicalUrl.ts"
export * as CredentialProvisioner from "./CredentialProvisioner.ts"
export * as CredentialStore from "./CredentialStore.ts"
export * as Credentials from "./Credentials.ts"
export * as Inclusion from "./Inclusion.ts"
export * as JobEmitter from "./JobEmitter.ts"
export * as LargestLease from "./LargestLease.ts"
export * as Lease from "./Lease.ts"
export * as LeaseGuard from "./LeaseGuard.ts"
export * as LeasePolicy from "./LeasePolicy.ts"
export * as Leases from "./Leases.ts"
export * as NetworkAddress from "./NetworkAddress.ts"
export * as ObserverPolicy from "./ObserverPolicy.ts"
export * as Operation from "./Operation.ts"
export * as Pattern from "./Pattern.ts"
export * as PriceTable from "./PriceTable.ts"
export * as RemainingBudget from "./RemainingBudget.ts"
export * as Segment from "./Segment.ts"
export * as VendorCapability from "./VendorCapability.ts"
