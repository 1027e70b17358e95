/**
 * The Agent Runtime Control Protocol (ARCP v1.1) for Effect, both sides of the wire. Nothing here needs Node, so a browser can be a client;
 * what a host on Node adds is in `effect-arcp/node`, what tests need in `effect-arcp/testing`.
 *
 * @since 0.1.0
 */
export * from "./protocol/index.ts"
export * from "./session/index.ts"
export * from "./authority/index.ts"
export * from "./leased/index.ts"
export * from "./runtime/index.ts"
export * from "./client/index.ts"
export * from "./transport/index.ts"
