/**
 * Bugs that implementations of the protocol really had, or that this one could have, each ready to be put into the runtime. What catches
 * them must not know them.
 */
import * as JobPlants from "./JobPlants.ts"
import type * as Plant from "./Plant.ts"
import * as SessionPlants from "./SessionPlants.ts"

export const all: ReadonlyArray<Plant.Known> = [...SessionPlants.all, ...JobPlants.all]
