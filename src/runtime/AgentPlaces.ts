/**
 * How many jobs of one agent run at once, and how many may wait for their turn. A job that waits is `pending` (§7.3).
 *
 * @since 0.1.0
 */
import { Effect, Semaphore } from "effect"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Jobs that run at once. */
  readonly concurrency: number
  /** Jobs that may wait; one more is refused. Default 100. */
  readonly queue?: number
}

/**
 * @category models
 * @since 0.1.0
 */
export interface AgentPlaces {
  readonly queue: number
  /** Whether a job that came now would run at once. */
  readonly hasFree: () => boolean
  /** Reserves a place, free or in the queue, for a job that is about to be accepted; `false` if there is none. */
  readonly reserve: () => boolean
  /** Waits for the turn of a job that has a reservation. */
  readonly take: Effect.Effect<void>
  /** Gives back what a job has: its place if it `ran`, else its reservation. */
  readonly leave: (ran: boolean) => Effect.Effect<void>
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ concurrency, queue = 100 }: Options): Effect.Effect<AgentPlaces> =>
  Effect.map(Semaphore.make(concurrency), (semaphore) => {
    /** Running and waiting. */
    let reserved = 0
    return {
      queue,
      hasFree: () => reserved < concurrency,
      reserve: () => {
        if (reserved >= concurrency + queue) return false
        reserved++
        return true
      },
      take: semaphore.take(1).pipe(Effect.asVoid),
      leave: (ran) =>
        Effect.suspend(() => {
          reserved--
          return ran ? Effect.asVoid(semaphore.release(1)) : Effect.void
        })
    }
  })
