/**
 * Who holds the places of the agents that have a bound, and who waits for one: so that no job comes to wait for what only its own end, or
 * that of a job which waits for it in turn, could give it.
 */
import { Effect } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as AgentPlaces from "../AgentPlaces.ts"
import * as JobLimits from "../JobLimits.ts"
import * as RunningJob from "../RunningJob.ts"

/** A job that has a place at an agent, or waits for one. */
export interface Turn extends AgentPlaces.Place {
  /** This is the job. */
  readonly begin: (job: RunningJob.RunningJob) => void
}

export interface Turns {
  /** A turn at an agent, for a job that this parent delegates, if one does. */
  readonly reserve: (
    agent: string,
    places: AgentPlaces.AgentPlaces,
    parent: RunningJob.RunningJob | undefined
  ) => Effect.Effect<Turn, ArcpError.InternalError>
}

interface State {
  readonly agent: string
  /** The job that delegated it: so long as this one waits, that one may wait for it, and so may those above. */
  readonly parent: RunningJob.RunningJob | undefined
  waits: boolean
  job: RunningJob.RunningJob | undefined
}

const deadlocked = (agent: string) =>
  new ArcpError.InternalError({
    message: `All places of ${agent} are taken by jobs that would wait for this one`,
    details: { limit: "jobs_waiting_for_this_agent", agent, retry_after_ms: 1000 }
  })

export const make = (): Turns => {
  const turns = new Set<State>()

  /** Whether one that has to wait comes to its turn, if those do that run. Whatever a job has delegated it is taken to wait for. */
  const comes = (candidate: State): boolean => {
    const stuck = new Set<State>([candidate])
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

  return {
    reserve: (agent, places, parent) =>
      Effect.suspend(() => {
        const turn: State = { agent, parent, waits: !places.hasFree(), job: undefined }
        // Who delegated nothing, and was not delegated, is waited for by nobody.
        if (turn.waits && parent !== undefined && !comes(turn)) return Effect.fail(deadlocked(agent))
        const place = places.reserve()
        if (place === undefined) {
          return Effect.fail(JobLimits.exceeded("jobs_waiting_for_this_agent", places.queue, 1000))
        }
        turns.add(turn)
        return Effect.succeed({
          begin: (job) => {
            turn.job = job
          },
          take: Effect.andThen(
            place.take,
            Effect.sync(() => {
              turn.waits = false
            })
          ),
          leave: Effect.suspend(() => {
            turns.delete(turn)
            return place.leave
          })
        })
      })
  }
}
