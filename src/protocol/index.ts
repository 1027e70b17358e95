/**
 * What is said: schemas and codecs of ARCP 1.1. No services, no clock, no fibers.
 *
 * @since 0.1.0
 */
export * as AgentContract from "./AgentContract.ts"
export * as AgentOutcome from "./AgentOutcome.ts"
export * as AgentRef from "./AgentRef.ts"
export * as Amount from "./Amount.ts"
export * as ArcpError from "./ArcpError.ts"
export * as Capability from "./Capability.ts"
export * as Codec from "./Codec.ts"
export * as Credential from "./Credential.ts"
export * as Dialect from "./Dialect.ts"
export * as Envelope from "./Envelope.ts"
export * as Feature from "./Feature.ts"
export * as Ids from "./Ids.ts"
export * as JobEvent from "./JobEvent.ts"
export * as JobMessage from "./JobMessage.ts"
export * as Json from "./Json.ts"
export * as Message from "./Message.ts"
export * as ResultAssembler from "./ResultAssembler.ts"
export * as ResultReader from "./ResultReader.ts"
export * as SequencedFrame from "./SequencedFrame.ts"
export * as SessionMessage from "./SessionMessage.ts"
export * as Timestamp from "./Timestamp.ts"
export * as TraceContext from "./TraceContext.ts"
export * as Utf8 from "./Utf8.ts"
export * as Version from "./Version.ts"
