/**
 * Adapters of `Dialer` and `Listener`.
 *
 * @since 0.1.0
 */
export * as Admission from "./Admission.ts"
export * as FrameSize from "./FrameSize.ts"
export * as LineDecoder from "./LineDecoder.ts"
export * as Loopback from "./Loopback.ts"
export * as MemoryTransport from "./MemoryTransport.ts"
export * as StdioTransport from "./StdioTransport.ts"
export * as WebSocketTransport from "./WebSocketTransport.ts"
