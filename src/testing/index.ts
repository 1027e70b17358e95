/**
 * For tests of agents and of peers: client and runtime in memory under a virtual clock, peers that speak raw frames, agents of every temper.
 *
 * @since 0.1.0
 */
export * as ArcpTest from "./ArcpTest.ts"
export * as TestAgent from "./TestAgent.ts"
export * as TestPeer from "./TestPeer.ts"
