/**
 * Somebody who has got hold of what belongs to a session, or makes it up.
 */
import { Effect, Exit, Option } from "effect"
import * as Party from "./Party.ts"
import { parse } from "./ReferenceSession.ts"

/** Shows what is not its own, as {@link Scenario.Attempt} says; gives the answer. */
export const tryToResume = Effect.fnUntraced(
  function* (
    dial: Party.Surroundings["dial"],
    principal: string,
    resume: { readonly session_id: string; readonly resume_token: string; readonly last_event_seq: number }
  ) {
    const frames = yield* dial
    const hello = {
      arcp: "1.1",
      id: "thief_1",
      type: "session.hello",
      payload: {
        client: { name: "thief", version: "1.0.0" },
        auth: { scheme: "bearer", token: Party.tokenOf(principal) },
        capabilities: { encodings: ["json"], features: [] },
        resume
      }
    }
    yield* frames.send([JSON.stringify(hello)])
    const answer = yield* Effect.timeoutOption(frames.pull, "5 seconds")
    return Option.map(answer, ([text]) => parse(text))
  },
  Effect.scoped,
  Effect.exit,
  Effect.map(Exit.getSuccess),
  Effect.map(Option.flatten)
)
