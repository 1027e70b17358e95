/**
 * How many jobs of one agent run at once, and how many may wait for their turn. A job that waits is `pending` (§7.3).
 *
 * @since 0.1.0
 */
import { Effect, Exit, Scope, Semaphore } from "effect"

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
 * A place for one job, or its place in the queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  /** Waits for the turn of the job. */
  readonly take: Effect.Effect<void>
  /** Gives back what the job has, which it must do once. */
  readonly leave: Effect.Effect<void>
}

/**
 * The places of one agent.
 *
 * @category models
 * @since 0.1.0
 */
export interface AgentPlaces {
  readonly queue: number
  /** Whether a job that came now would run at once. */
  readonly hasFree: () => boolean
  /** Reserves a place, free or in the queue, for a job that is about to be accepted; nothing if there is none. */
  readonly reserve: () => Place | undefined
}

/**
 * Places, all of them free.
 *
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
        if (reserved >= concurrency + queue) return undefined
        reserved++
        // Who is interrupted at the moment of his turn must not keep the place.
        const turn = Scope.makeUnsafe()
        return {
          take: Scope.provide(semaphore.takeScoped(1), turn),
          leave: Effect.suspend(() => {
            reserved--
            return Scope.close(turn, Exit.void)
          })
        }
      }
    }
  })
