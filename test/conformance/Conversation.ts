/** How a raw peer talks to a runtime in the tests of this folder. */
import { assert } from "@effect/vitest"
import { Effect, type Layer } from "effect"
import type * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as TestAgent from "../../src/testing/TestAgent.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"

type Options = ArcpTest.RuntimeOptions<never, AgentRegistry.AgentRegistry>

/** Provides a runtime that serves these agents. */
export const withAgents = <A = never>(
  agents: Layer.Layer<A, never, AgentRegistry.AgentRegistry>,
  options: Omit<Options, "agents"> = {}
) => Effect.provide(ArcpTest.layerRuntime({ ...options, agents }))

/** Provides a runtime, with the ready agents if no others are named. */
export const withRuntime = ({ agents = TestAgent.layer, ...options }: Partial<Options> = {}) =>
  withAgents(agents, options)

/** A connected peer that has been welcomed. */
export const join = Effect.fnUntraced(function* (options?: TestPeer.HelloOptions) {
  const peer = yield* TestPeer.connect
  yield* peer.hello(options)
  return peer
})

interface SubmitOptions {
  readonly trace_id?: string
  readonly payload?: { readonly [member: string]: TestPeer.Draft[string] }
}

/** Sends a submit without waiting for what comes of it. */
export const sendSubmit = (
  peer: TestPeer.TestPeer,
  agent: string,
  input: TestPeer.Draft[string],
  more?: SubmitOptions
) =>
  peer.send({
    type: "job.submit",
    trace_id: more?.trace_id,
    payload: { agent, input: input ?? null, ...(more?.payload as object) }
  })

/** Submits, and gives the acceptance; what other jobs say meanwhile is passed over. */
export const submit = Effect.fnUntraced(function* (
  peer: TestPeer.TestPeer,
  agent: string,
  input: TestPeer.Draft[string],
  more?: SubmitOptions
) {
  const { id } = yield* sendSubmit(peer, agent, input, more)
  const accepted = (yield* peer.until("job.accepted", (frame) => frame.payload["request_id"] === id)).at(-1)!
  return { ...accepted, job_id: accepted.job_id! }
})

const terminals = ["job.result", "job.error"]

/** What the peer is told of a job, up to its outcome, which is the last. */
export const outcome = Effect.fnUntraced(function* (peer: TestPeer.TestPeer, job: string) {
  const frames: Array<TestPeer.Frame> = []
  while (true) {
    const frame = yield* peer.receive
    if (frame.job_id !== job) continue
    frames.push(frame)
    if (terminals.includes(frame.type)) return { frames, terminal: frame }
  }
})

/** Submits and gives all that came of it. */
export const run = Effect.fnUntraced(function* (
  peer: TestPeer.TestPeer,
  agent: string,
  input: TestPeer.Draft[string],
  more?: SubmitOptions
) {
  const accepted = yield* submit(peer, agent, input, more)
  return { accepted, ...(yield* outcome(peer, accepted.job_id)) }
})

/**
 * Whatever the runtime has to say to what was sent so far: what comes before the answer to a ping, and what is on its way then, since
 * frames that take a number may come after those that do not.
 */
export const answers = Effect.fnUntraced(function* (peer: TestPeer.TestPeer) {
  const nonce = `fence ${yield* Effect.map(peer.record, (record) => record.length)}`
  yield* peer.send({ type: "session.ping", payload: { nonce } })
  const frames = yield* peer.until("session.pong", (pong) => pong.payload["ping_nonce"] === nonce)
  return [...frames.slice(0, -1), ...(yield* peer.drain)]
})

/** The one answer to what was sent last. */
export const answer = Effect.fnUntraced(function* (peer: TestPeer.TestPeer) {
  const frames = yield* answers(peer)
  assert.lengthOf(frames, 1, `one answer, not ${JSON.stringify(frames)}`)
  return frames[0]!
})

/** Asserts that a frame refuses a request with a code, in the ordinary form. */
export const assertRefused = (frame: TestPeer.Frame, code: string, request?: { readonly id: string }) => {
  assert.strictEqual(frame.type, "session.error", JSON.stringify(frame))
  assert.strictEqual(frame.payload["code"], code, JSON.stringify(frame.payload))
  if (request !== undefined) assert.strictEqual(frame.payload["request_id"], request.id)
}

/** The frames that a peer received, parsed. */
export const received = (peer: TestPeer.TestPeer) =>
  Effect.map(peer.record, (record): ReadonlyArray<TestPeer.Frame> =>
    record.filter(({ direction }) => direction === "received").map(({ text }) => JSON.parse(text))
  )

export const kinds = (frames: ReadonlyArray<TestPeer.Frame>) =>
  frames.flatMap((frame) => (frame.type === "job.event" ? [frame.payload["kind"]] : []))

export const bodies = (frames: ReadonlyArray<TestPeer.Frame>, kind: string) =>
  frames.flatMap((frame) => (frame.payload["kind"] === kind ? [frame.payload["body"]] : []))

/** Waits, without the clock, until something holds of what an effect gives. */
export const eventually = Effect.fnUntraced(function* <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  predicate: (value: A) => boolean
) {
  for (let turn = 0; turn < 10_000; turn++) {
    const value = yield* effect
    if (predicate(value)) return value
    yield* Effect.yieldNow
  }
  return assert.fail("what was waited for did not happen")
})
