/** An agent that says what a test tells it to, when the test tells it to, and peers that come back. */
import { assert } from "@effect/vitest"
import { Effect, Layer, Queue, Schema } from "effect"
import * as Agent from "../../src/runtime/Agent.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import type * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import type * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import { submit, withAgents } from "./Conversation.ts"

const Actor = Agent.make({ name: "actor", version: "1.0.0", input: Schema.String, output: Schema.Int })

/** What is said next: a line of the log, a step of progress, or nothing more. */
type Cue = { readonly line: string } | { readonly step: number } | "exit"

export interface Stage {
  /** Has an actor say lines. It need not be on the stage yet. */
  readonly say: (actor: string, ...lines: ReadonlyArray<string>) => Effect.Effect<void>
  /** Has it make steps of progress, which a session that did not negotiate `progress` is not shown. */
  readonly step: (actor: string, ...steps: ReadonlyArray<number>) => Effect.Effect<void>
  /** Has it answer how much it has said. */
  readonly exit: (actor: string) => Effect.Effect<void>
  /** How much of it the runtime has taken, over all runs of this actor. */
  readonly said: (actor: string) => number
  /** How often it was run. */
  readonly entered: (actor: string) => number
}

type Config = Partial<RuntimeConfig.RuntimeConfig>
type Options = Omit<ArcpTest.RuntimeOptions<never, never, never>, "agents">

/** Runs a test with a runtime that serves, beside the ready agents, an `actor` whose input is its name. */
export const onStage = <A, E, R>(play: (stage: Stage) => Effect.Effect<A, E, R>, options: Options = {}) =>
  Effect.suspend(() => {
    const roles = new Map<string, { readonly cues: Queue.Queue<Cue>; said: number; entered: number }>()
    const role = (name: string) => {
      const known = roles.get(name)
      if (known !== undefined) return known
      const made = { cues: Effect.runSync(Queue.unbounded<Cue>()), said: 0, entered: 0 }
      roles.set(name, made)
      return made
    }
    const actor = Actor.toLayer(
      Effect.fnUntraced(function* (name) {
        const job = yield* JobContext.JobContext
        const mine = role(name)
        mine.entered++
        while (true) {
          const cue = yield* Queue.take(mine.cues)
          if (cue === "exit") return mine.said
          yield* Effect.orDie("line" in cue ? job.log("info", cue.line) : job.progress({ current: cue.step }))
          mine.said++
        }
      })
    )
    const stage: Stage = {
      say: (name, ...lines) =>
        Effect.asVoid(
          Queue.offerAll(
            role(name).cues,
            lines.map((line) => ({ line }))
          )
        ),
      step: (name, ...steps) =>
        Effect.asVoid(
          Queue.offerAll(
            role(name).cues,
            steps.map((step) => ({ step }))
          )
        ),
      exit: (name) => Effect.asVoid(Queue.offer(role(name).cues, "exit")),
      said: (name) => role(name).said,
      entered: (name) => role(name).entered
    }
    return play(stage).pipe(withAgents(Layer.merge(TestAgent.layer, actor), options))
  })

/** The same with nothing changed but the configuration. */
export const configured = (config: Config): Options => ({ config })

/** Submits an actor, and passes over the word that it runs. */
export const enter = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, actor: string) {
  const { job_id } = yield* submit(peer, "actor", actor)
  yield* peer.expect("job.event", (frame) => frame.payload["kind"] === "status")
  return job_id
})

/** The message of a log, and nothing for other frames. */
export const lineOf = (frame: TestPeer.Frame): string | undefined => {
  const body = frame.payload["body"] as { readonly message?: string } | undefined
  return frame.payload["kind"] === "log" ? body?.message : undefined
}

/** The next frames, as many as asked for. */
export const take = (peer: TestPeer.TestPeer, count: number) =>
  Effect.forEach(Array.from({ length: count }), () => peer.receive)

/** What a peer needs to come back. */
export interface Ticket {
  readonly session_id: string
  readonly resume_token: string
}

export const ticketOf = (welcome: TestPeer.Frame): Ticket => ({
  session_id: welcome.session_id!,
  resume_token: welcome.payload["resume_token"] as string
})

export interface Return {
  readonly last: number
  readonly form?: "hello" | "top-level" | "first frame"
  readonly hello?: TestPeer.HelloOptions
}

/** What a peer says to come back, in each of the forms that peers use. */
export const returnOf = (
  { resume_token, session_id }: Ticket,
  { form = "hello", hello, last }: Return
): TestPeer.Draft => {
  const draft = TestPeer.helloOf(hello)
  const payload = draft["payload"] as { readonly auth: { readonly scheme: string; readonly token: string } }
  switch (form) {
    case "hello":
      return { ...draft, payload: { ...payload, resume: { session_id, resume_token, last_event_seq: last } } }
    case "top-level":
      return { ...draft, payload: { ...payload, resume_token, last_event_seq: last } }
    case "first frame":
      return {
        type: "session.resume",
        payload: { session_id, resume_token, last_event_seq: last, auth: payload.auth }
      }
  }
}

/** A peer that came back, and its welcome. */
export const rejoin = Effect.fnUntraced(function* (ticket: Ticket, back: Return) {
  const peer = yield* TestPeer.connect
  yield* peer.send(returnOf(ticket, back))
  const welcome = yield* peer.expect("session.welcome")
  assert.strictEqual(welcome.session_id, ticket.session_id)
  return { peer, welcome, ticket: ticketOf(welcome) }
})

/** The refusal of a peer that may not come back, whose line must be closed. */
export const turnedAway = Effect.fnUntraced(function* (ticket: Ticket, back: Return) {
  const peer = yield* TestPeer.connect
  yield* peer.send(returnOf(ticket, back))
  const refusal = yield* peer.expect("session.error")
  assert.strictEqual((yield* peer.closed).code, 1008)
  return refusal
})

/** The texts of the numbered frames that a peer has read. */
export const numbered = (peer: TestPeer.TestPeer) =>
  Effect.map(peer.record, (record) =>
    record.flatMap(({ direction, text }) =>
      direction === "received" && (JSON.parse(text) as TestPeer.Frame).event_seq !== undefined ? [text] : []
    )
  )

export const seqs = (frames: ReadonlyArray<TestPeer.Frame>) =>
  frames.flatMap(({ event_seq }) => (event_seq === undefined ? [] : [event_seq]))

/** `from`, `from + 1`, ..., `to`. */
export const upTo = (to: number, from = 1) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/**
 * Lets everybody go on as far as they can without the clock. A digest of our own comes back after those that the runtime waits for, since
 * the platform makes them in the order in which they were asked for.
 */
export const settled = Effect.repeat(
  Effect.andThen(
    Effect.repeat(Effect.yieldNow, { times: 50 }),
    Effect.promise(() => crypto.subtle.digest("SHA-256", new Uint8Array(32)))
  ),
  { times: 6 }
)
