/**
 * Text to message and back. A bad frame is a value, not an exception: it says which field was wrong and what was expected, and keeps
 * what could be read, so that the sender can be answered and its sequence counted.
 *
 * A frame goes `JSON.parse` -> {@link Dialect.normalize} -> the schema of its `type`, looked up once. The schemas' parsers are compiled
 * where the platform lets us generate code, and interpreted elsewhere.
 *
 * @since 0.1.0
 */
import { Result, Schema, SchemaIssue, SchemaParser } from "effect"
import { SchemaJITCompiler } from "effect/schema"
import * as ArcpError from "./ArcpError.ts"
import * as Dialect from "./Dialect.ts"
import type * as Ids from "./Ids.ts"
import * as JobEvent from "./JobEvent.ts"
import type * as JobMessage from "./JobMessage.ts"
import * as Message from "./Message.ts"
import * as SequencedFrame from "./SequencedFrame.ts"
import * as Version from "./Version.ts"

/**
 * A frame that could not be understood, with whatever of it could.
 *
 * @category models
 * @since 0.1.0
 */
export interface BadFrame {
  readonly error: ArcpError.InvalidRequest
  readonly id?: string
  readonly type?: string
  readonly job_id?: string
  readonly trace_id?: Ids.TraceId
  /** Its place in the sequence, which it takes all the same. */
  readonly event_seq?: number
  /** The sender marked it as one that may be passed over. */
  readonly ignorable: boolean
}

/**
 * Reads one frame.
 *
 * @category models
 * @since 0.1.0
 */
export type Decode<A> = (text: string) => Result.Result<A, BadFrame>

const issues = SchemaIssue.makeFormatterStandardSchemaV1()

/**
 * The first thing that a schema found wrong: where, as `payload.lease_request`, and what it had expected. Never quotes the value. `within`
 * is the name of the value itself.
 *
 * @category conversions
 * @since 0.1.0
 */
export const describe = (
  issue: SchemaIssue.Issue,
  within = ""
): { readonly field: string; readonly problem: string } => {
  const first = issues(issue).issues[0]
  const path = (first?.path ?? []).map((key) => String(typeof key === "object" ? key.key : key))
  const field = path.reduce(
    (text, key) => text + (/^\d+$/.test(key) ? `[${key}]` : text === "" ? key : `.${key}`),
    within
  )
  return { field: field.slice(0, 200), problem: (first?.message ?? "Invalid").slice(0, 300) }
}

type Parser = (input: unknown) => Result.Result<unknown, SchemaIssue.Issue>

const parser = (schema: Schema.Codec<unknown, unknown>): Parser => {
  SchemaJITCompiler.enable(schema.ast)
  return SchemaParser.decodeUnknownResult(schema)
}

const bodyParsers: ReadonlyMap<string, Parser> = new Map(
  Object.entries(JobEvent.bodies).map(([kind, schema]) => [kind, parser(schema)])
)

const invalid = (message: string, details?: { readonly [key: string]: string }) =>
  new ArcpError.InvalidRequest(details === undefined ? { message } : { message, details })

const string = (value: unknown) => (typeof value === "string" ? value.slice(0, 256) : undefined)

const bad = (frame: { readonly [member: string]: unknown }, error: ArcpError.InvalidRequest): BadFrame => {
  const id = string(frame["id"])
  const type = string(frame["type"])
  const job_id = string(frame["job_id"])
  // Normalized: what was no trace id is gone.
  const trace_id = string(frame["trace_id"]) as Ids.TraceId | undefined
  const event_seq = frame["event_seq"]
  return {
    error,
    ignorable: Dialect.isIgnorable(frame),
    ...(id === undefined ? undefined : { id }),
    ...(type === undefined ? undefined : { type }),
    ...(job_id === undefined ? undefined : { job_id }),
    ...(trace_id === undefined ? undefined : { trace_id }),
    ...(typeof event_seq === "number" && Number.isSafeInteger(event_seq) ? { event_seq } : undefined)
  }
}

const make = <A>(schemas: { readonly [type: string]: Schema.Codec<unknown, unknown> }): Decode<A> => {
  const parsers: ReadonlyMap<string, Parser> = new Map(
    Object.entries(schemas).map(([type, schema]) => [type, parser(schema)])
  )
  const decode = (frame: { [member: string]: unknown }): Result.Result<A, BadFrame> => {
    Dialect.normalize(frame)
    const type = frame["type"]
    if (typeof type !== "string") return Result.fail(bad(frame, invalid("type: expected a string", { field: "type" })))
    if (frame["arcp"] !== Version.version) {
      return Result.fail(bad(frame, invalid(`arcp: expected version ${Version.version}`, { field: "arcp" })))
    }
    const parse = parsers.get(type)
    if (parse === undefined) {
      const shown = type.slice(0, 128)
      return Result.fail(bad(frame, invalid(`type: ${JSON.stringify(shown)} is not a message`, { type: shown })))
    }
    const parsed = parse(frame)
    if (Result.isFailure(parsed)) {
      const { field, problem } = describe(parsed.failure)
      return Result.fail(bad(frame, invalid(`${field}: ${problem}`, { field, type })))
    }
    if (type !== "job.event") return Result.succeed(parsed.success as A)
    return body(frame, parsed.success as Message.FromRuntime & { readonly type: "job.event" }) as Result.Result<
      A,
      BadFrame
    >
  }
  return (text) => {
    if (isTooDeep(text)) return Result.fail(bad({}, invalid("frame: nested too deeply")))
    let frame: unknown
    try {
      frame = JSON.parse(text)
      if (typeof frame === "object" && frame !== null && !Array.isArray(frame)) {
        return decode(frame as { [member: string]: unknown })
      }
    } catch (cause) {
      // A frame nested so deeply that a parser runs out of stack is as bad as one that is no JSON.
      return Result.fail(bad({}, invalid(cause instanceof RangeError ? "frame: nested too deeply" : "frame: not JSON")))
    }
    return Result.fail(bad({}, invalid("frame: expected a JSON object")))
  }
}

/** Arrays and objects within each other that a frame may have. Beyond that, code that walks a value runs out of stack. */
const maxDepth = 256

const isTooDeep = (text: string): boolean => {
  // What opens has to close.
  if (text.length <= 2 * maxDepth) return false
  // A frame with few brackets is not deep; counting them natively is all that most frames cost.
  if (text.split(opening, maxDepth + 2).length <= maxDepth) return false
  let depth = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (quoted) {
      if (code === 92) at++
      else if (code === 34) quoted = false
    } else if (code === 34) quoted = true
    else if (code === 123 || code === 91) {
      if (++depth > maxDepth) return true
    } else if (code === 125 || code === 93) depth--
  }
  return false
}

const opening = /[[{]/

/** `body` belongs to `kind`, which the envelope's schema cannot say; bodies of unknown kinds stay as they are. */
const body = (
  frame: { readonly [member: string]: unknown },
  event: Message.FromRuntime & { readonly type: "job.event" }
): Result.Result<Message.FromRuntime, BadFrame> => {
  const parse = bodyParsers.get(event.payload.kind)
  if (parse === undefined) return Result.succeed(event)
  const parsed = parse(event.payload.body)
  if (Result.isSuccess(parsed)) {
    return Result.succeed({
      ...event,
      payload: { ...event.payload, body: parsed.success as JobEvent.JobEvent["body"] }
    })
  }
  const { field, problem } = describe(parsed.failure)
  const path = field === "" ? "payload.body" : `payload.body.${field}`
  return Result.fail(bad(frame, invalid(`${path}: ${problem}`, { field: path, kind: event.payload.kind })))
}

/**
 * Reads what a client says.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeFromClient: Decode<Message.FromClient> = make(Message.fromClient)

/**
 * Reads what a runtime says.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeFromRuntime: Decode<Message.FromRuntime> = make(Message.fromRuntime)

/**
 * As {@link decodeFromRuntime}, for the frames of one connection in their order: an event that only goes on with what came before is read by
 * what is new in it, see `SequencedFrame`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decoderFromRuntime = (): Decode<Message.FromRuntime> => {
  const { learn, recognize } = SequencedFrame.recognizer()
  return (text) => {
    const recognized = recognize(text)
    const event = recognized === undefined ? undefined : eventOf(recognized)
    if (event !== undefined) return Result.succeed(event)
    const decoded = decodeFromRuntime(text)
    if (Result.isSuccess(decoded)) learn(decoded.success)
    return decoded
  }
}

/** Nothing for one whose body cannot be read: why, the frame as a whole tells. */
const eventOf = ({ body: text, kind, ts, ...members }: SequencedFrame.Recognized): JobMessage.Event | undefined => {
  if (isTooDeep(text)) return undefined
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    return undefined
  }
  Dialect.normalizeBody(kind, raw)
  const parse = bodyParsers.get(kind)
  const body = parse === undefined ? Result.succeed(raw) : parse(raw)
  return Result.isFailure(body)
    ? undefined
    : {
        arcp: Version.version,
        type: "job.event",
        ...members,
        payload: { kind, ts, body: body.success as JobEvent.JobEvent["body"] }
      }
}

/** The messages that can hold secrets and then have something to encode; all others are what they look like. */
const encoders: { readonly [type: string]: (message: never) => unknown } = Object.fromEntries(
  Object.entries({ ...Message.fromClient, ...Message.fromRuntime })
    .filter(([type]) =>
      ["session.hello", "session.resume", "session.welcome", "job.accepted", "job.subscribed"].includes(type)
    )
    .map(([type, schema]) => [type, Schema.encodeUnknownSync(schema as Schema.Codec<unknown, unknown>)])
)

const holdsSecret = (message: Message.FromClient | Message.FromRuntime): boolean =>
  message.type === "job.accepted" || message.type === "job.subscribed"
    ? message.payload.credentials !== undefined
    : message.type in encoders

/** A rotated credential is the one secret that an event can hold (§9.8.2). */
const encodeStatus = Schema.encodeUnknownSync(JobEvent.bodies.status)

/**
 * Writes one frame. Secrets leave their `Redacted` here and nowhere else.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (message: Message.FromClient | Message.FromRuntime): string => {
  if (message.type === "job.event" && message.payload.kind === "status") {
    return JSON.stringify({ ...message, payload: { ...message.payload, body: encodeStatus(message.payload.body) } })
  }
  return JSON.stringify(holdsSecret(message) ? encoders[message.type]!(message as never) : message)
}
