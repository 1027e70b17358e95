/**
 * For tests of agents and of peers: client and runtime in memory under a virtual clock, peers that speak raw frames, agents of every temper,
 * and a network that fails as it is told.
 *
 * @since 0.1.0
 */
export * as ArcpTest from "./ArcpTest.ts"
export * as FaultyNetwork from "./FaultyNetwork.ts"
export * as TestAgent from "./TestAgent.ts"
export * as TestPeer from "./TestPeer.ts"
