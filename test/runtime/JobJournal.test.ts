import * as JobJournal from "../../src/runtime/JobJournal.ts"
import { suite } from "./JobJournalSuite.ts"

suite("JobJournal in memory", JobJournal.layerMemory)
