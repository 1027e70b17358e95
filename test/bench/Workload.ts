/**
 * The work that all sides do alike: the agents, and the frames that raw peers send in their place.
 */
import { Schema } from "effect"
import * as AgentContract from "../../src/protocol/AgentContract.ts"
import type * as Feature from "../../src/protocol/Feature.ts"
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

/** Emits some log events, waits until it is told to go on, and emits some more. */
export const Held = AgentContract.make({
  name: "held",
  version: "1.0.0",
  input: Schema.Struct({ before: Schema.Int, after: Schema.Int, message: Schema.String }),
  output: Schema.Int
})

const Encoding = Schema.Literals(["utf8", "base64"])

/** What a streamed result is made of. */
export type Encoding = typeof Encoding.Type

/** Streams a result that consists of so many parts, see `partOf`. */
export const Document = AgentContract.make({
  name: "document",
  version: "1.0.0",
  input: Schema.Struct({ parts: Schema.Int, encoding: Encoding }),
  output: Schema.String
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

/** Bytes of one part of a document. */
export const partSize = 256 * 1024

/** A part of a document: lines of text, which are all ASCII, or bytes that look random. */
export const partOf = {
  // From a buffer, since a repeated text is a tree of halves until somebody reads it.
  utf8: Buffer.alloc(partSize, `${message}\n`).toString("latin1"),
  base64: Buffer.from(
    Uint32Array.from({ length: partSize / 4 }, (_, index) => Math.imul(index + 1, 2_654_435_761)).buffer
  )
} as const

/** Bytes of what is in a chunk, once they are there to be used. */
export const sizeOf = (data: string, encoding: Encoding): number =>
  encoding === "utf8" ? Buffer.byteLength(data) : Buffer.from(data, encoding).length

const session = Ids.SessionId.make("sess_01JZBENCH0000000000000000A")
const job_id = Ids.JobId.make("job_01JZBENCH0000000000000000B")
const trace_id = Ids.TraceId.make("4bf92f3577b34da6a3ce929d0e0e4736")
const ts = "2026-01-01T00:00:00.000Z"

const head = SequencedFrame.head(session)

/** The body of one event. */
export const eventBody = () => ({ level: "info", message })

const tail = SequencedFrame.tail(job_id, trace_id)

/** What the runtime does for one event: the body, its place in the job, its place in the session. */
export const encodeEvent = (seq: number, body: unknown): string => {
  const payload = `{"kind":"log","ts":"${ts}","body":${JSON.stringify(body)}}`
  return head.textOf("job.event", seq) + tail.job + String(seq) + tail.between + payload + tail.after
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

/** One chunk of a streamed result. */
export const chunkFrame = (seq: number, id: string, data: string, encoding: Encoding, more: boolean) => ({
  ...eventFrame(seq, id),
  payload: {
    kind: "result_chunk",
    ts,
    body: { result_id: "res_01JZBENCH0000000000000000C", chunk_seq: seq, data, encoding, more }
  }
})

const auth = { scheme: "bearer", token }

/** A client that says neither who it is nor that it acknowledges is paced by its connection alone. */
export const helloFrame = (id: string, features: ReadonlyArray<Feature.Feature>) => ({
  arcp: "1.1",
  id,
  type: "session.hello",
  payload: {
    client: { name: "bench", version: "0.1.0" },
    auth,
    capabilities: { encodings: ["json"], features: ["progress", "result_chunk", "agent_versions", ...features] }
  }
})

export const resumeFrame = (session_id: string, id: string, resume_token: string, last_event_seq: number) => ({
  arcp: "1.1",
  id,
  session_id,
  type: "session.resume",
  payload: { session_id, resume_token, last_event_seq, auth }
})

export const pingFrame = (session_id: string, id: string) => ({
  arcp: "1.1",
  id,
  session_id,
  type: "session.ping",
  payload: { nonce: id, sent_at: ts }
})

export const pongFrame = (session_id: string, id: string, ping_nonce: string) => ({
  arcp: "1.1",
  id,
  session_id,
  type: "session.pong",
  payload: { ping_nonce, received_at: ts }
})

export const subscribeFrame = (session_id: string, id: string, job_id: string) => ({
  arcp: "1.1",
  id,
  session_id,
  type: "job.subscribe",
  payload: { job_id }
})

export const cancelFrame = (session_id: string, id: string, job_id: string) => ({
  arcp: "1.1",
  id,
  session_id,
  type: "job.cancel",
  job_id,
  payload: { job_id }
})

export const submitFrame = (session_id: string, id: string, agent: AgentContract.Any, input: unknown) => ({
  arcp: "1.1",
  id,
  session_id,
  type: "job.submit",
  trace_id,
  payload: { agent: AgentContract.reference(agent), input }
})
