/**
 * The runtime and the client of this package, over a network that fails: see `World`.
 */
import * as ArcpParty from "./ArcpParty.ts"
import * as Sweep from "./Sweep.ts"

Sweep.sweep("ArcpClient.test.ts", 700, { client: ArcpParty.make })
