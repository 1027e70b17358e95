/**
 * Hosts on Node.
 *
 * @since 0.1.0
 */
export * as LiteLlmClient from "./LiteLlmClient.ts"
export * as LiteLlmProvisioner from "./LiteLlmProvisioner.ts"
export * as NodeAnchoredFiles from "./NodeAnchoredFiles.ts"
export * as NodeArcp from "./NodeArcp.ts"
export * as NodeCredentialStore from "./NodeCredentialStore.ts"
export * as NodeJwtAuthenticator from "./NodeJwtAuthenticator.ts"
export * as NodePinnedHttp from "./NodePinnedHttp.ts"
export * as NodeStdioListener from "./NodeStdioListener.ts"
export * as NodeWebSocketDialer from "./NodeWebSocketDialer.ts"
export * as NodeWebSocketListener from "./NodeWebSocketListener.ts"
export * as OAuthProvisioner from "./OAuthProvisioner.ts"
