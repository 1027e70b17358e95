/**
 * The runtime against clients that are written from the specification alone, over a network that fails: see `World`.
 */
import * as Sweep from "./Sweep.ts"

Sweep.sweep("Simulation.test.ts", 1300)
