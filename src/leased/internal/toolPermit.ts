/**
 * Says within one call of a tool that it was asked about and told already, so that a call which passes two guards on its way, the one of a
 * model and the one of the tool itself, is asked about and told once.
 *
 * A permit is good for one call, of this tool, by this job. Nobody makes one but the guard that asked.
 */
import { Context, Effect } from "effect"
import type * as LeasedJob from "../LeasedJob.ts"

interface Permit {
  readonly job: LeasedJob.LeasedJob
  readonly tool: string
  taken: boolean
}

const Current = Context.Reference<Permit | undefined>("arcp/leased/internal/ToolPermit", {
  defaultValue: () => undefined
})

const issued = new WeakSet<Permit>()

/** Runs an effect that may call this tool once. */
export const give = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  job: LeasedJob.LeasedJob,
  tool: string
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const permit: Permit = { job, tool, taken: false }
    issued.add(permit)
    return Effect.provideService(effect, Current, permit)
  })

/** Whether there is a permit for this call. There is none for the next. */
export const take = (job: LeasedJob.LeasedJob, tool: string): Effect.Effect<boolean> =>
  Effect.map(Current, (permit) => {
    if (permit === undefined || permit.taken || permit.job !== job || permit.tool !== tool || !issued.has(permit)) {
      return false
    }
    permit.taken = true
    return true
  })
