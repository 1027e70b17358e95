import * as SessionStore from "../../src/runtime/SessionStore.ts"
import { suite } from "./SessionStoreSuite.ts"

suite("SessionStore in memory", SessionStore.layerMemory)
