/**
 * The server of jobs.
 *
 * @since 0.1.0
 */
export * as Acceptance from "./Acceptance.ts"
export * as Agent from "./Agent.ts"
export * as AgentPlaces from "./AgentPlaces.ts"
export * as AgentRegistry from "./AgentRegistry.ts"
export * as ArcpServer from "./ArcpServer.ts"
export * as Delegation from "./Delegation.ts"
export * as Dispatcher from "./Dispatcher.ts"
export * as Handshake from "./Handshake.ts"
export * as Job from "./Job.ts"
export * as JobContext from "./JobContext.ts"
export * as JobJournal from "./JobJournal.ts"
export * as JobLimits from "./JobLimits.ts"
export * as JobRequest from "./JobRequest.ts"
export * as JobRunner from "./JobRunner.ts"
export * as Jobs from "./Jobs.ts"
export * as JobStore from "./JobStore.ts"
export * as Observation from "./Observation.ts"
export * as Refusal from "./Refusal.ts"
export * as RuntimeConfig from "./RuntimeConfig.ts"
export * as RunningJob from "./RunningJob.ts"
export * as Session from "./Session.ts"
export * as SessionOutbox from "./SessionOutbox.ts"
export * as Sessions from "./Sessions.ts"
export * as SessionStore from "./SessionStore.ts"
