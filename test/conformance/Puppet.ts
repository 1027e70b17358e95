/** An agent that does what a test has it do, with what a job has, and ends as the test says. */
import { Deferred, Effect, Queue, Schema } from "effect"
import * as Agent from "../../src/runtime/Agent.ts"

const Puppet = Agent.make({ name: "puppet", version: "1.0.0", input: Schema.String, output: Schema.String })

/** The answer of the agent, if it is to end. */
type Act = Effect.Effect<string | void, Agent.HostError, Agent.Services>

export const make = () => {
  const roles = new Map<string, Queue.Queue<Act>>()
  const role = (name: string) => {
    const known = roles.get(name) ?? Effect.runSync(Queue.unbounded<Act>())
    roles.set(name, known)
    return known
  }
  return {
    /** Its input is its name. */
    layer: Puppet.toLayer(
      Effect.fnUntraced(function* (name) {
        const acts = role(name)
        while (true) {
          const answer = yield* Effect.flatten(Queue.take(acts))
          if (answer !== undefined) return answer
        }
      })
    ),
    /** Has a puppet do something, and gives what came of it. The job need not run yet. */
    act: <A, E>(name: string, effect: Effect.Effect<A, E, Agent.Services>): Effect.Effect<A, E> =>
      Effect.flatMap(Deferred.make<A, E>(), (done) =>
        Effect.andThen(
          Queue.offer(
            role(name),
            Effect.flatMap(Effect.exit(effect), (exit) => Effect.asVoid(Deferred.done(done, exit)))
          ),
          Deferred.await(done)
        )
      ),
    /** Has a puppet end so. */
    end: (
      name: string,
      how: Effect.Effect<string, Agent.HostError, Agent.Services> = Effect.succeed("done")
    ): Effect.Effect<void> => Effect.asVoid(Queue.offer(role(name), how))
  }
}

export type Puppets = ReturnType<typeof make>
