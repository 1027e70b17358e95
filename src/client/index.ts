/**
 * The client's side: submit, follow, cancel. Nothing of Node behind it.
 *
 * @since 0.1.0
 */
export * as ArcpClient from "./ArcpClient.ts"
export * as ChildJob from "./ChildJob.ts"
export * as ClientError from "./ClientError.ts"
export * as ConnectionState from "./ConnectionState.ts"
export * as FollowedJob from "./FollowedJob.ts"
export * as JobHandle from "./JobHandle.ts"
export * as JobListing from "./JobListing.ts"
export * as JobObserver from "./JobObserver.ts"
