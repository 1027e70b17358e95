/**
 * The Agent Runtime Control Protocol (ARCP v1.1) for Effect: the client's side and what both sides share. The runtime's side is in
 * `effect-arcp/runtime`. Nothing here needs Node, so a browser can be a client.
 *
 * @since 0.1.0
 */
export * as protocol from "./protocol/index.ts"
