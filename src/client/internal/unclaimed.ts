/**
 * Jobs that run and that nobody here has a handle of: those whose acceptance nobody waits for, those whose submits were interrupted, and
 * children that nobody has taken. What they hold together is bounded, whatever the runtime says; for more the oldest are forgotten.
 *
 * What is forgotten is as if it had never been heard of: whoever asks for it after all is told what was missed, and reads it from the runtime.
 */
import type * as Ids from "../../protocol/Ids.ts"
import * as EventBuffer from "./eventBuffer.ts"
import * as Job from "./job.ts"

interface Entry {
  readonly job: Job.Job
  /** What it holds beside events and chunks. */
  facts: number
  weight: number
  readonly forget: () => void
}

export interface Unclaimed {
  /** Oldest first. */
  readonly entries: Map<Ids.JobId, Entry>
  /** Bytes in memory, roughly, that all of them may hold. */
  readonly maxWeight: number
  weight: number
}

const maxJobs = 1024
/** What a job takes of which nothing has been heard but that it is there. */
const jobWeight = 2048

export const make = (maxWeight: number): Unclaimed => ({ entries: new Map(), maxWeight, weight: 0 })

/** Somebody has it, or it has ended: it counts no more. */
export const remove = (self: Unclaimed, id: Ids.JobId): void => {
  const entry = self.entries.get(id)
  if (entry === undefined) return
  self.entries.delete(id)
  self.weight -= entry.weight
}

const trim = (self: Unclaimed): void => {
  for (const [id, { forget, job }] of self.entries) {
    if (self.weight <= self.maxWeight && self.entries.size <= maxJobs) return
    remove(self, id)
    Job.giveUp(job)
    forget()
  }
}

const weigh = (self: Unclaimed, entry: Entry): void => {
  const { events, assembled } = entry.job
  const weight = entry.facts + events.bytes + assembled
  self.weight += weight - entry.weight
  entry.weight = weight
  trim(self)
}

/** Nobody has it so far; `forget` is to let go of it. */
export const add = (self: Unclaimed, job: Job.Job, forget: () => void): void => {
  remove(self, job.id)
  const entry: Entry = { job, facts: jobWeight + EventBuffer.weigh(job.accepted), weight: 0, forget }
  self.entries.set(job.id, entry)
  weigh(self, entry)
}

/** A job has said something, and with it of so many bytes of facts that are kept beside its events. */
export const told = (self: Unclaimed, id: Ids.JobId, facts = 0): void => {
  const entry = self.entries.get(id)
  if (entry === undefined) return
  entry.facts += facts
  weigh(self, entry)
}

/** None is followed any more. */
export const clear = (self: Unclaimed): void => {
  self.entries.clear()
  self.weight = 0
}
