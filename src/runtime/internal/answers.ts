/**
 * What goes out beside what jobs say, in the order in which it was queued: answers, and what has a number but stands in no journal.
 */
import { Effect, Latch } from "effect"

/** The text of a frame without a number, or what is to have one. */
export type Answer = string | { readonly type: string; readonly tail: string }

export interface Answers {
  queue: Array<Answer>
  /** Characters that wait. */
  characters: number
  /** Where they wait who have more to say than may wait; there from the first of them on. */
  room: Latch.Latch | undefined
}

export const make = (): Answers => ({ queue: [], characters: 0, room: undefined })

const widthOf = (answer: Answer): number => (typeof answer === "string" ? answer : answer.tail).length

export const add = (self: Answers, answer: Answer): void => {
  self.queue.push(answer)
  self.characters += widthOf(answer)
}

/** Takes out the first so many. */
export const remove = (self: Answers, count: number): void => {
  for (const answer of self.queue.splice(0, count)) self.characters -= widthOf(answer)
  self.room?.openUnsafe()
}

/** Forgets those without a number, as they belong to the connection that asked; what is to have one belongs to the session. */
export const forget = (self: Answers): void => {
  self.queue = self.queue.filter((answer) => typeof answer !== "string")
  self.characters = self.queue.reduce((sum, answer) => sum + widthOf(answer), 0)
  self.room?.openUnsafe()
}

/** Done once no more characters wait than may. */
export const room = (self: Answers, most: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (self.characters <= most) return Effect.void
    self.room ??= Latch.makeUnsafe(false)
    self.room.closeUnsafe()
    return Effect.andThen(self.room.await, room(self, most))
  })
