/**
 * The text of a frame that has a place in a session's sequence: what a job says, and its outcome (§8.1, §8.3). By far the most of all
 * frames are of this form, so it is written and read with as little work as it takes.
 *
 * A frame is a head, which is the session's, and a tail, which is the job's:
 *
 * ```text
 * {"arcp":"1.1","id":"msg_...","session_id":"sess_...","type":"job.event","event_seq":7
 * ,"job_id":"job_...","trace_id":"...","job_seq":5,"payload":
 * {"kind":"log","ts":"...","body":{"level":"info","message":"..."}}
 * }
 * ```
 *
 * The tail is written once, when the job says it, and is shared by all sessions that follow the job; a session's copy costs a head. Whoever
 * reads knows what the next head must be, since it counts up by one, and has seen the job before: it compares, and only the payload is left
 * to parse. What is not in this form, whatever the reason, is parsed as a whole.
 *
 * @since 0.1.0
 */
import * as Ids from "./Ids.ts"
import * as Version from "./Version.ts"

/**
 * The types of frame that have a place in the sequence.
 *
 * @category models
 * @since 0.1.0
 */
export type Type = "job.event" | "job.result" | "job.error"

/**
 * Writes the heads of a session's frames. The envelope id is a function of session and number, see `Ids.sequencedMessageId`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Head {
  readonly textOf: (type: Type | (string & {}), event_seq: number) => string
  /** The bytes of one in UTF-8. */
  readonly sizeOf: (type: Type | (string & {}), event_seq: number) => number
  /** Writes one in UTF-8 from a place on, and gives the place behind it. */
  readonly write: (type: Type | (string & {}), event_seq: number, into: Uint8Array, at: number) => number
}

/**
 * The heads of one session's frames.
 *
 * @category encoding
 * @since 0.1.0
 */
export const head = (session: Ids.SessionId): Head => {
  const before = `{"arcp":"${Version.version}","id":"`
  const idOf = Ids.sequencedMessageId(session)
  const ofEvent = flat(middleOf(session, "job.event"))
  const textOf: Head["textOf"] = (type, event_seq) =>
    before + idOf(event_seq) + (type === "job.event" ? ofEvent : middleOf(session, type)) + String(event_seq)
  // The head of an event is the one before with other last digits, all but once in a thousand.
  const idEnd = before.length + idOf(0).length
  let bytes = new Uint8Array()
  let latest = Number.NaN
  const turnTo = (event_seq: number): Uint8Array => {
    if (event_seq < 1000 || !isNear(event_seq, latest)) bytes = encoder.encode(textOf("job.event", event_seq))
    else {
      const pair = Ids.lastOfSequenced(event_seq)
      bytes[idEnd - 2] = pair.charCodeAt(0)
      bytes[idEnd - 1] = pair.charCodeAt(1)
      writeThree(event_seq % 1000, bytes, bytes.length - 3)
    }
    latest = event_seq
    return bytes
  }
  const bytesOf: (...of: Parameters<Head["textOf"]>) => Uint8Array = (type, event_seq) =>
    type === "job.event" ? turnTo(event_seq) : encoder.encode(textOf(type, event_seq))
  const fixed = encoder.encode(textOf("job.event", 0)).length - 1
  return {
    textOf,
    sizeOf: (type, event_seq) =>
      type === "job.event" ? fixed + widthOf(event_seq) : encoder.encode(textOf(type, event_seq)).length,
    write: (type, event_seq, into, at) => {
      const written = bytesOf(type, event_seq)
      into.set(written, at)
      return at + written.length
    }
  }
}

const encoder = new TextEncoder()

/** Whether they differ in the last three digits at most, and the ids that belong to them in the last two characters. */
const isNear = (one: number, other: number): boolean =>
  Math.floor(one / 1000) === Math.floor(other / 1000) && Math.floor(one / 1024) === Math.floor(other / 1024)

const writeThree = (value: number, into: Uint8Array, at: number) => {
  into[at] = 48 + Math.floor(value / 100)
  into[at + 1] = 48 + (Math.floor(value / 10) % 10)
  into[at + 2] = 48 + (value % 10)
}

const middleOf = (session: Ids.SessionId, type: string) =>
  `","session_id":${JSON.stringify(session)},"type":"${type}","event_seq":`

/**
 * What stands around the payload of what a job says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tail {
  /** What comes before the place of an entry in the job, the same for all of them. */
  readonly job: string
  /** What comes between that place and the payload. */
  readonly between: string
  /** What comes after the payload. */
  readonly after: string
}

/**
 * The tails of what one job says.
 *
 * @category encoding
 * @since 0.1.0
 */
export const tail = (job: Ids.JobId, trace_id: Ids.TraceId): Tail => ({
  job: `,"job_id":${JSON.stringify(job)},"trace_id":"${trace_id}","job_seq":`,
  between: payloadFollows,
  after: "}"
})

const payloadFollows = `,"payload":`

/**
 * How the payload of an event begins: what comes before its body, which is followed by one more brace.
 *
 * @category encoding
 * @since 0.1.0
 */
export const payloadHead = (kind: string, ts: string): string => `{"kind":${JSON.stringify(kind)},"ts":"${ts}","body":`

/**
 * An event that is in the form above: all of it but the body, which is still text.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recognized {
  readonly session_id: Ids.SessionId
  readonly id: Ids.MessageId
  readonly event_seq: number
  readonly job_id: Ids.JobId
  readonly trace_id: Ids.TraceId
  readonly job_seq: number
  readonly kind: string
  readonly ts: string
  readonly body: string
}

/**
 * What is known of a frame that was parsed as a whole, as far as it has it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Parsed {
  readonly session_id?: Ids.SessionId
  readonly event_seq?: number
  readonly job_id?: Ids.JobId
  readonly trace_id?: Ids.TraceId
}

/**
 * What one connection has come to know of the frames on it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recognizer {
  /** The frame, if it is in this very form, and the next event of the session, and of a job that was seen before. */
  readonly recognize: (text: string) => Recognized | undefined
  /** Takes note of a frame that had to be parsed as a whole. */
  readonly learn: (event: Parsed) => void
}

/**
 * For a connection on which nothing has come yet.
 *
 * @category decoding
 * @since 0.1.0
 */
export const recognizer = (): Recognizer => {
  let session: Session | undefined
  let next = 1
  const jobs = makeJobs()
  const beginnings = makeBeginnings()
  return {
    recognize: (text) => {
      if (session === undefined || !text.endsWith("}}")) return undefined
      const job = jobs.at(text, session.endOfHead(text, next))
      if (job === undefined) return undefined
      const job_seq = wholeNumber(text, job.end)
      if (job_seq < 0) return undefined
      const at = job.end + widthOf(job_seq)
      const payload = beginnings.at(text, at)
      if (payload === undefined) return undefined
      const { kind, ts } = payload
      const event_seq = next++
      return {
        session_id: session.id,
        id: session.idOf(event_seq),
        event_seq,
        job_id: job.job_id,
        trace_id: job.trace_id,
        job_seq,
        kind,
        ts,
        body: text.slice(at + payload.text.length, -2)
      }
    },
    learn: ({ event_seq, job_id, session_id, trace_id }) => {
      if (session_id === undefined) return
      if (session?.id !== session_id) session = makeSession(session_id)
      if (event_seq !== undefined) next = event_seq + 1
      if (job_id !== undefined && trace_id !== undefined) jobs.add(job_id, trace_id)
    }
  }
}

interface Session {
  readonly id: Ids.SessionId
  readonly idOf: (event_seq: number) => Ids.MessageId
  /** Where the head of the event with this number ends, if the text begins with it; else less than 0. */
  readonly endOfHead: (text: string, event_seq: number) => number
}

const makeSession = (id: Ids.SessionId): Session => {
  const before = `{"arcp":"${Version.version}","id":"`
  const idOf = Ids.sequencedMessageId(id)
  const middle = flat(middleOf(id, "job.event"))
  return {
    id,
    idOf,
    endOfHead: (text, event_seq) => {
      const messageId = idOf(event_seq)
      const at = before.length + messageId.length
      return has(text, 0, before) &&
        has(text, before.length, messageId) &&
        has(text, at, middle) &&
        wholeNumber(text, at + middle.length) === event_seq
        ? at + middle.length + widthOf(event_seq)
        : -1
    }
  }
}

interface Job {
  readonly text: string
  readonly job_id: Ids.JobId
  readonly trace_id: Ids.TraceId
}

/** Jobs that are known at a time. */
const maxJobs = 256

/** The jobs of a session. Ids of one form are of one length, so a job is looked up by the text that names it. */
const makeJobs = () => {
  const known = new Map<string, Job>()
  let width = 0
  let last: Job | undefined
  return {
    /** The job that is named from here on, and where its name ends. */
    at: (text: string, start: number): (Job & { readonly end: number }) | undefined => {
      if (start < 0 || last === undefined) return undefined
      if (!has(text, start, last.text)) {
        const found = known.get(text.slice(start, start + width))
        if (found === undefined) return undefined
        last = found
      }
      return { text: last.text, job_id: last.job_id, trace_id: last.trace_id, end: start + width }
    },
    add: (job_id: Ids.JobId, trace_id: Ids.TraceId) => {
      const text = flat(tail(job_id, trace_id).job)
      if (width !== text.length || known.size >= maxJobs) known.clear()
      width = text.length
      last = { text, job_id, trace_id }
      known.set(text, last)
    }
  }
}

interface Beginning {
  readonly text: string
  readonly kind: string
  readonly ts: string
}

const kindFollows = `${payloadFollows}{"kind":"`
const tsFollows = `","ts":"`
const bodyFollows = `","body":`

/** A timestamp as we write it. */
const tsWidth = 24

/** What comes before a body. What is said at one time and of one kind begins alike. */
const makeBeginnings = () => {
  let last: Beginning | undefined
  return {
    at: (text: string, start: number): Beginning | undefined => {
      if (last === undefined || !has(text, start, last.text)) last = beginning(text, start)
      return last
    }
  }
}

/** Reads the payload from before its name up to its body, if it is as {@link payloadHead} writes it for a kind without odd characters. */
const beginning = (text: string, start: number): Beginning | undefined => {
  if (!has(text, start, kindFollows)) return undefined
  const kindAt = start + kindFollows.length
  let kindEnd = kindAt
  while (isPlain(text.charCodeAt(kindEnd))) kindEnd++
  if (kindEnd === kindAt || !has(text, kindEnd, tsFollows)) return undefined
  const tsAt = kindEnd + tsFollows.length
  const tsEnd = tsAt + tsWidth
  for (let at = tsAt; at < tsEnd; at++) if (!isPlain(text.charCodeAt(at))) return undefined
  if (!has(text, tsEnd, bodyFollows)) return undefined
  return {
    text: text.slice(start, tsEnd + bodyFollows.length),
    kind: text.slice(kindAt, kindEnd),
    ts: text.slice(tsAt, tsEnd)
  }
}

/** Whether `part` stands there. Comparing a slice is a good deal faster than `startsWith`. */
const has = (text: string, at: number, part: string): boolean => text.slice(at, at + part.length) === part

/** Letters, digits and `-.:_`: what stands for itself in JSON. */
const isPlain = (code: number): boolean =>
  (code >= 97 && code <= 122) ||
  (code >= 48 && code <= 58) ||
  (code >= 65 && code <= 90) ||
  code === 95 ||
  code === 45 ||
  code === 46

/** One piece of text: what is put together stays in pieces, which would be put together anew each time that somebody looks. */
const flat = (text: string): string => [text].join("")

/** The whole number that begins here, as we write one; less than 0 if none does. */
const wholeNumber = (text: string, start: number): number => {
  let value = 0
  let end = start
  for (let code = text.charCodeAt(end); code >= 48 && code <= 57; code = text.charCodeAt(++end)) {
    value = value * 10 + (code - 48)
  }
  const width = end - start
  return width === 0 || width > 15 || (width > 1 && text.charCodeAt(start) === 48) ? -1 : value
}

const widthOf = (value: number): number => {
  let width = 1
  for (let bound = 10; value >= bound; bound *= 10) width++
  return width
}
