/**
 * The work that all sides do alike: the agents, and the frames that raw peers send in their place.
 */
import { Schema } from "effect"
import * as AgentContract from "../../src/protocol/AgentContract.ts"
import * as Ids from "../../src/protocol/Ids.ts"
import * as SequencedFrame from "../../src/protocol/SequencedFrame.ts"

export const token = "bench-token"

/** Emits as many log events as it is asked for, as fast as it can. */
export const Flood = AgentContract.make({
  name: "flood",
  version: "1.0.0",
  input: Schema.Struct({ count: Schema.Int, message: Schema.String }),
  output: Schema.Int
})

/** Emits so many log events in each hundredth of a second, for ever. */
export const Steady = AgentContract.make({
  name: "steady",
  version: "1.0.0",
  input: Schema.Struct({ each: Schema.Int, message: Schema.String }),
  output: Schema.Never
})

/** Answers with what it was given. */
export const Echo = AgentContract.make({
  name: "echo",
  version: "1.0.0",
  input: Schema.Struct({ text: Schema.String }),
  output: Schema.Struct({ text: Schema.String })
})

export const echoInput = { text: "The quick brown fox jumps over the lazy dog" }

/** Of the length of an ordinary line in a log; the whole frame then has about 400 bytes, 300 of them the same for every session. */
export const message = "fetched page 17 of 240, 12 links found, 3 of them new"

const session = Ids.SessionId.make("sess_01JZBENCH0000000000000000A")
const job_id = Ids.JobId.make("job_01JZBENCH0000000000000000B")
const trace_id = Ids.TraceId.make("4bf92f3577b34da6a3ce929d0e0e4736")
const ts = "2026-01-01T00:00:00.000Z"

const headOf = SequencedFrame.head(session)

/** The body of one event. */
export const eventBody = () => ({ level: "info", message })

const tail = SequencedFrame.tail(job_id, trace_id)

/** What the runtime does for one event: the body, its place in the job, its place in the session. */
export const encodeEvent = (seq: number, body: unknown): string => {
  const payload = `{"kind":"log","ts":"${ts}","body":${JSON.stringify(body)}}`
  return headOf("job.event", seq) + tail.job + String(seq) + tail.between + payload + tail.after
}

/** The same frame as an object. */
export const eventFrame = (seq: number, id: string) => ({
  arcp: "1.1",
  id,
  session_id: session,
  type: "job.event",
  event_seq: seq,
  job_id,
  trace_id,
  job_seq: seq,
  payload: { kind: "log", ts, body: eventBody() }
})

export const helloFrame = (id: string) => ({
  arcp: "1.1",
  id,
  type: "session.hello",
  payload: {
    client: { name: "bench", version: "0.1.0" },
    auth: { scheme: "bearer", token },
    capabilities: { encodings: ["json"], features: ["progress", "result_chunk", "agent_versions"] }
  }
})

export const submitFrame = (session_id: string, id: string, agent: AgentContract.Any, input: unknown) => ({
  arcp: "1.1",
  id,
  session_id,
  type: "job.submit",
  trace_id,
  payload: { agent: AgentContract.reference(agent), input }
})
