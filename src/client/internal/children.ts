/**
 * The jobs that one job has delegated, between the connection and those who read them: bounded, for any number of readers.
 */
import { Cause, Effect, Latch, Stream } from "effect"
import type * as Capability from "../../protocol/Capability.ts"
import type * as Ids from "../../protocol/Ids.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as ClientError from "../ClientError.ts"
import type * as Job from "./job.ts"

/** What is known of a child from its first mention on. */
export interface Facts {
  readonly id: Ids.JobId
  readonly agent: string
  readonly delegateId: string | undefined
  readonly lease: Capability.Grants
  readonly leaseConstraints: Capability.Constraints | undefined
}

export interface Child {
  facts: Facts
  /** What is heard of it; nothing if that is not kept. */
  job: Job.Job | undefined
}

export interface Children {
  readonly list: Array<Child>
  /** How many there were before the first in the list. */
  first: number
  end: "running" | "done" | ClientError.EventsError
  readonly changed: Latch.Latch
}

/** Children of one job that are remembered. */
const maxChildren = 4096

export const make = (): Children => ({ list: [], first: 0, end: "running", changed: Latch.makeUnsafe(false) })

export const find = (self: Children, id: Ids.JobId): Child | undefined => self.list.find(({ facts }) => facts.id === id)

export const add = (self: Children, child: Child): void => {
  self.list.push(child)
  if (self.list.length > maxChildren) {
    // An eighth at a time, so that a full list is not shifted at each child.
    self.first += self.list.splice(0, maxChildren / 8).length
  }
  self.changed.openUnsafe()
}

/** No more of them: the job has ended, or the session with this error. */
export const end = (self: Children, how: "done" | ClientError.EventsError): void => {
  if (self.end !== "running") return
  self.end = how
  self.changed.openUnsafe()
}

const pull = (
  self: Children,
  reader: { position: number }
): Effect.Effect<readonly [Child], ClientError.EventsError | Cause.Done> =>
  Effect.suspend(() => {
    const index = reader.position - self.first
    if (index < 0) return Effect.fail(expired(-index))
    const child = self.list[index]
    if (child !== undefined) {
      reader.position++
      return Effect.succeed([child] as const)
    }
    if (self.end === "done") return Cause.done()
    if (self.end !== "running") return Effect.fail(self.end)
    self.changed.closeUnsafe()
    return Effect.andThen(self.changed.await, pull(self, reader))
  })

const expired = (dropped: number) =>
  new ArcpError.ResumeWindowExpired({
    message: `${dropped} children of the job are no longer known here`,
    details: { dropped }
  })

/** All of them from the first on. */
export const stream = (self: Children): Stream.Stream<Child, ClientError.EventsError> =>
  Stream.suspend(() => {
    const reader = { position: 0 }
    return Stream.fromPull(Effect.succeed(pull(self, reader)))
  })
