/**
 * The requests of one connection. They are done in their order, but apart from the reader: a decision that takes long - that of a policy, of
 * a vault - must not be taken for the silence of the client, nor leave its pings without answer.
 */
import { Effect, Fiber, Latch } from "effect"

export interface Lane {
  /** How many are not done. */
  waiting: number
  /** The one that came last of those that are done in order. */
  latest: Fiber.Fiber<void> | undefined
  readonly fewer: Latch.Latch
}

export const make = (): Lane => ({ waiting: 0, latest: undefined, fewer: Latch.makeUnsafe(true) })

/** Done when no more than so many are not done. */
export const atMost = (self: Lane, count: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (self.waiting <= count) return Effect.void
    self.fewer.closeUnsafe()
    return Effect.andThen(self.fewer.await, atMost(self, count))
  })

/** Begins a request: behind all others, or apart from them, so that it holds up nothing. */
export const enter = (self: Lane, request: Effect.Effect<void>, isApart: boolean): Effect.Effect<void> =>
  Effect.suspend(() => {
    const turn = isApart || self.latest === undefined ? request : Effect.andThen(Fiber.await(self.latest), request)
    self.waiting++
    // What can be done at once is done before the next frame is looked at.
    return Effect.map(Effect.forkChild(Effect.ensuring(turn, leave(self)), { startImmediately: true }), (fiber) => {
      if (!isApart && self.waiting > 0) self.latest = fiber
    })
  })

const leave = (self: Lane): Effect.Effect<void> =>
  Effect.sync(() => {
    self.waiting--
    if (self.waiting === 0) self.latest = undefined
    self.fewer.openUnsafe()
  })
