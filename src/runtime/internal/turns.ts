/**
 * Who holds the places of the agents that have a bound, and who waits for one: so that no job comes to wait for what only its own end, or
 * that of a job which waits for it in turn, could give it.
 */
import * as RunningJob from "../RunningJob.ts"

/** A job that has a place at an agent, or waits for one. */
export interface Turn {
  readonly agent: string
  /** The job that delegated it: so long as this one waits, that one may wait for it, and so may those above. */
  readonly parent: RunningJob.RunningJob | undefined
  waits: boolean
  /** Once it runs, or is about to. */
  job: RunningJob.RunningJob | undefined
}

export interface Turns {
  readonly add: (turn: Turn) => void
  readonly remove: (turn: Turn) => void
  /**
   * Whether a job that would have to wait for this agent comes to its turn if those do that run. Whatever a job has delegated it is taken
   * to wait for.
   */
  readonly comes: (agent: string, parent: RunningJob.RunningJob) => boolean
}

export const make = (): Turns => {
  const turns = new Set<Turn>()
  return {
    add: (turn) => void turns.add(turn),
    remove: (turn) => void turns.delete(turn),
    comes: (agent, parent) => {
      const candidate: Turn = { agent, parent, waits: true, job: undefined }
      const stuck = new Set<Turn>([candidate])
      for (const turn of turns) if (turn.waits) stuck.add(turn)
      // Who holds a place gives it back unless it waits for one that is stuck; whoever waits for such a place is not.
      for (let before = Number.POSITIVE_INFINITY; stuck.size < before && stuck.has(candidate);) {
        before = stuck.size
        const blocked = new Set<RunningJob.RunningJob>()
        for (const { parent } of stuck) {
          if (parent !== undefined) for (const job of RunningJob.lineage(parent)) blocked.add(job)
        }
        const freed = new Set<string>()
        for (const { agent, job, waits } of turns) {
          if (!waits && (job === undefined || !blocked.has(job))) freed.add(agent)
        }
        for (const turn of stuck) if (freed.has(turn.agent)) stuck.delete(turn)
      }
      return !stuck.has(candidate)
    }
  }
}
