/** Agents that do what a test tells them, when it tells them, within reservations and in their children as well. */
import { Deferred, Effect, Exit, type Layer, Queue, Schema } from "effect"
import * as Agent from "../../src/runtime/Agent.ts"
import type * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import type { Job } from "../conformance/Script.ts"

/** Something that a puppet does; `true` ends what it is within. */
export type Command = Effect.Effect<boolean, unknown>

/** A fiber of a puppet that takes commands: that of its job, or of a part of its work. */
export interface Place {
  readonly job: Job
  readonly inbox: Queue.Queue<Command>
}

export interface Puppets {
  readonly agent: Layer.Layer<never, never, AgentRegistry.AgentRegistry>
  /** Where the puppet of this name takes commands, once it is there. */
  readonly entered: (name: string) => Effect.Effect<Place>
}

const Puppet = Agent.make({ name: "puppet", version: "1.0.0", input: Schema.String, output: Schema.String })

/** Does what comes, until that says that it is enough. */
export const obey = (inbox: Place["inbox"]): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    while (!(yield* yield* Queue.take(inbox))) continue
  })

/** Has a place do something, and waits for what comes of it. */
export const at = <A, E>({ inbox }: Place, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const answer = yield* Deferred.make<A, E>()
    // If the puppet is ended meanwhile there is no answer but this.
    const command = Effect.onExit(effect, (exit) => Deferred.done(answer, exit))
    yield* Queue.offer(
      inbox,
      Effect.flatMap(Effect.exit(command), (exit) =>
        Exit.hasInterrupts(exit) ? Effect.interrupt : Effect.succeed(false)
      )
    )
    return yield* Deferred.await(answer)
  })

export const make = (): Puppets => {
  const entries = new Map<string, Deferred.Deferred<Place>>()
  const entryOf = (name: string) => {
    const known = entries.get(name)
    if (known !== undefined) return known
    const made = Deferred.makeUnsafe<Place>()
    entries.set(name, made)
    return made
  }
  return {
    agent: Puppet.toLayer(
      Effect.fnUntraced(function* (name) {
        const job = yield* JobContext.JobContext
        const inbox = yield* Queue.unbounded<Command>()
        yield* Deferred.succeed(entryOf(name), { job, inbox })
        yield* Effect.mapError(obey(inbox), (cause) => new Error(String(cause))).pipe(Effect.orDie)
        return name
      })
    ),
    entered: (name) => Deferred.await(entryOf(name))
  }
}
