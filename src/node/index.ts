/**
 * Hosts on Node.
 *
 * @since 0.1.0
 */
export * as NodeAnchoredFiles from "./NodeAnchoredFiles.ts"
export * as NodeArcp from "./NodeArcp.ts"
export * as NodeStdioListener from "./NodeStdioListener.ts"
export * as NodeWebSocketDialer from "./NodeWebSocketDialer.ts"
export * as NodeWebSocketListener from "./NodeWebSocketListener.ts"
