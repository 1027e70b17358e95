/**
 * What two peers share.
 *
 * @since 0.1.0
 */
export * as Acceptor from "./Acceptor.ts"
export * as BufferedRandom from "./BufferedRandom.ts"
export * as Connection from "./Connection.ts"
export * as Dialer from "./Dialer.ts"
export * as Heartbeat from "./Heartbeat.ts"
export * as Listener from "./Listener.ts"
export * as StampLog from "./StampLog.ts"
