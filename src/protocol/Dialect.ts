/**
 * What other peers send that differs from our reading of the draft, brought to one form before a schema looks at it. All tolerance lives
 * here: the schemas stay strict, and whoever wants to know what we put up with reads this one page.
 *
 * Frames come straight from `JSON.parse`, belong to the codec alone, and are changed in place.
 *
 * @since 0.1.0
 */
import * as ArcpError from "./ArcpError.ts"
import * as Credential from "./Credential.ts"
import * as TraceContext from "./TraceContext.ts"
import * as Version from "./Version.ts"

type Raw = { [member: string]: unknown }

const isRaw = (value: unknown): value is Raw => typeof value === "object" && value !== null && !Array.isArray(value)

/** Absent and `null` say the same, but where `null` is a value of its own. */
const dropNulls = (raw: Raw, ...meaningful: ReadonlyArray<string>) => {
  for (const member in raw) {
    if (raw[member] === null && !meaningful.includes(member)) delete raw[member]
  }
}

/** Gives `raw[member]` the first of its other names that is there. */
const alias = (raw: Raw, member: string, ...others: ReadonlyArray<string>) => {
  for (const other of others) {
    if (raw[member] !== undefined) return
    if (raw[other] !== undefined) raw[member] = raw[other]
  }
}

/** Some peers say it in the payload, some in the envelope. */
const move = (from: Raw, to: Raw, member: string) => {
  if (to[member] === undefined && from[member] !== undefined) to[member] = from[member]
}

const orElse = (raw: Raw, member: string, value: () => unknown) => {
  if (raw[member] === undefined) raw[member] = value()
}

const hexTrace = /^(?!0{32})[0-9a-f]{32}$/
const traceparent = /^[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/

/** A bare trace id stays, a `traceparent` gives its trace id, anything else is no reason to refuse a frame. */
const traceId = (raw: Raw): string | undefined => {
  const id = raw["trace_id"]
  if (id === undefined || (typeof id === "string" && hexTrace.test(id))) return undefined
  const inside = typeof id === "string" ? traceparent.exec(id) : null
  if (inside === null) delete raw["trace_id"]
  else raw["trace_id"] = inside[1]
  return inside?.input
}

/** What a `traceparent` says beyond its trace id is kept where others say it. */
const traceContext = (raw: Raw, traceparent: string | undefined) => {
  if (traceparent === undefined) return
  const extensions = isRaw(raw["extensions"]) ? raw["extensions"] : {}
  orElse(extensions, TraceContext.extension, () => ({ traceparent }))
  raw["extensions"] = extensions
}

const envelope = (raw: Raw): Raw => {
  for (const member of ["session_id", "trace_id", "job_id", "event_seq", "job_seq", "extensions"]) {
    if (raw[member] === null) delete raw[member]
  }
  traceContext(raw, traceId(raw))
  if (Version.isSupported(raw["arcp"])) raw["arcp"] = Version.version
  if (raw["extensions"] !== undefined && !isRaw(raw["extensions"])) delete raw["extensions"]
  if (raw["payload"] === undefined || raw["payload"] === null) raw["payload"] = {}
  return isRaw(raw["payload"]) ? raw["payload"] : {}
}

const peerName = (payload: Raw, member: string) => {
  const name = payload[`${member}_name`]
  const version = payload[`${member}_version`]
  if (payload[member] === undefined && typeof name === "string") payload[member] = { name, version: version ?? "" }
  const peer = payload[member]
  if (isRaw(peer)) orElse(peer, "version", () => "")
}

const encodings = (payload: Raw) => {
  orElse(payload, "capabilities", () => ({}))
  const capabilities = payload["capabilities"]
  if (isRaw(capabilities)) dropNulls(capabilities)
}

/** A missing token must meet the authenticator and fail there, like a wrong one. */
const auth = (payload: Raw) => {
  const given = payload["auth"]
  if (given === undefined) payload["auth"] = { scheme: "none", token: "" }
  if (!isRaw(given)) return
  orElse(given, "scheme", () => "bearer")
  if (typeof given["token"] !== "string") given["token"] = ""
}

const resume = (payload: Raw) => {
  if (payload["resume"] === undefined && typeof payload["resume_token"] === "string") {
    payload["resume"] = {
      resume_token: payload["resume_token"],
      last_event_seq: payload["last_event_seq"] ?? 0
    }
  }
  // Said once is enough, and a token that stands in two places is twice as easy to lose.
  delete payload["resume_token"]
  delete payload["last_event_seq"]
  const given = payload["resume"]
  if (!isRaw(given)) return
  dropNulls(given)
  alias(given, "resume_token", "token")
  orElse(given, "last_event_seq", () => 0)
}

const errorFields = (payload: Raw) => {
  dropNulls(payload)
  alias(payload, "request_id", "reply_to")
  orElse(payload, "code", () => "INTERNAL_ERROR")
  const code = String(payload["code"])
  orElse(payload, "message", () => code)
  orElse(payload, "retryable", () => ArcpError.retryableByDefault(code))
  const detail = payload["details"] ?? payload["detail"]
  if (typeof detail === "string") payload["details"] = { detail }
  else if (payload["details"] !== undefined && !isRaw(payload["details"])) delete payload["details"]
}

const statuses: { readonly [other: string]: string } = {
  timedout: "timed_out",
  canceled: "cancelled",
  succeeded: "success",
  failed: "error"
}

const status = (raw: Raw, member: string) => {
  const given = raw[member]
  if (typeof given !== "string") return
  const lower = given.toLowerCase()
  raw[member] = Object.hasOwn(statuses, lower) ? statuses[lower] : lower
}

const finalStatusOf = (code: unknown) =>
  code === "CANCELLED" ? "cancelled" : code === "TIMEOUT" ? "timed_out" : "error"

/** `5`, `"5.00"` and `"USD:5.00"` are one number. */
const budget = (payload: Raw) => {
  const given = payload["budget"]
  if (!isRaw(given)) return
  for (const currency in given) {
    const amount = given[currency]
    if (typeof amount !== "string") continue
    const number = Number(amount.slice(amount.indexOf(":") + 1))
    if (Number.isFinite(number)) given[currency] = number
  }
}

/** An unknown scheme is no reason to lose the job: the credential is left out (§9.8.1). */
const credentials = (payload: Raw) => {
  const given = payload["credentials"]
  if (!Array.isArray(given)) return
  payload["credentials"] = given.filter((entry) => isRaw(entry) && entry["scheme"] === Credential.scheme)
}

const agents = (payload: Raw) => {
  const capabilities = payload["capabilities"]
  if (!isRaw(capabilities) || !Array.isArray(capabilities["agents"])) return
  capabilities["agents"] = capabilities["agents"].map((agent: unknown) => {
    if (typeof agent === "string") return { name: agent, versions: [] }
    if (!isRaw(agent)) return agent
    dropNulls(agent)
    orElse(agent, "versions", () => [])
    return agent
  })
}

const logLevels: { readonly [other: string]: string } = {
  trace: "debug",
  warning: "warn",
  critical: "error",
  fatal: "error"
}

/** The value of a rotated credential has travelled in five shapes (§9.8.2). */
const rotation = (body: Raw) => {
  if (body["phase"] !== "credential_rotated") return
  alias(body, "id", "credential_id")
  alias(body, "value", "credential_value")
  const details = isRaw(body["details"]) ? body["details"] : rotationMessage(body["message"])
  if (details === undefined) return
  orElse(body, "id", () => details["id"])
  if (body["value"] === undefined && details["value"] !== undefined) body["value"] = details["value"]
  // The secret has one place, where it is redacted.
  delete details["value"]
  if (!isRaw(body["details"])) delete body["message"]
}

const rotationMessage = (message: unknown): Raw | undefined => {
  if (typeof message !== "string" || !message.startsWith("{")) return undefined
  try {
    const parsed: unknown = JSON.parse(message)
    return isRaw(parsed) ? parsed : undefined
  } catch {
    return undefined
  }
}

const bodies: { readonly [kind: string]: (body: Raw) => void } = {
  log: (body) => {
    const level = typeof body["level"] === "string" ? body["level"].toLowerCase() : body["level"]
    body["level"] = typeof level === "string" && Object.hasOwn(logLevels, level) ? logLevels[level] : level
    alias(body, "attributes", "fields")
  },
  tool_call: (body) => {
    alias(body, "tool", "name")
    alias(body, "args", "arguments")
    alias(body, "call_id", "tool_call_id")
    orElse(body, "args", () => ({}))
  },
  tool_result: (body) => {
    alias(body, "call_id", "tool_call_id")
    alias(body, "result", "output")
    if (body["error"] === null) delete body["error"]
    const error = body["error"]
    if (isRaw(error)) errorFields(error)
    else if (typeof error === "string") {
      body["error"] = { code: "INTERNAL_ERROR", message: error, retryable: true }
    }
    if (body["error"] === undefined) orElse(body, "result", () => null)
    else if (body["result"] === null) delete body["result"]
  },
  status: (body) => rotation(body),
  metric: (body) => {
    alias(body, "dimensions", "dims", "attributes")
    const dimensions = body["dimensions"]
    if (!isRaw(dimensions)) return
    for (const label in dimensions) {
      if (typeof dimensions[label] !== "string") dimensions[label] = String(dimensions[label])
    }
  },
  artifact_ref: (body) => {
    alias(body, "content_type", "media_type")
    alias(body, "byte_size", "size_bytes")
    orElse(body, "content_type", () => "application/octet-stream")
  },
  result_chunk: (body) => orElse(body, "encoding", () => "utf8")
}

const event = (payload: Raw) => {
  if (payload["ts"] === null) delete payload["ts"]
  orElse(payload, "body", () => ({}))
  const { body, kind } = payload
  if (typeof kind === "string") normalizeBody(kind, body)
}

/**
 * As {@link normalize}, for the body of an event of this kind alone.
 *
 * @category conversions
 * @since 0.1.0
 */
export const normalizeBody = (kind: string, body: unknown): void => {
  if (!isRaw(body)) return
  if (kind === "tool_result" || kind === "tool_call" || kind === "delegate") dropNulls(body, "result", "args", "input")
  else if (!kind.startsWith("x-vendor.")) dropNulls(body)
  if (Object.hasOwn(bodies, kind)) bodies[kind]!(body)
}

const payloads: { readonly [type: string]: (payload: Raw, frame: Raw) => void } = {
  "session.hello": (payload) => {
    dropNulls(payload)
    peerName(payload, "client")
    encodings(payload)
    auth(payload)
    resume(payload)
  },
  "session.resume": (payload) => {
    dropNulls(payload)
    alias(payload, "resume_token", "token")
    orElse(payload, "last_event_seq", () => 0)
    if (payload["auth"] !== undefined) auth(payload)
  },
  "session.list_jobs": (payload) => {
    dropNulls(payload)
    if (isRaw(payload["filter"])) dropNulls(payload["filter"])
  },
  "job.submit": (payload) => {
    dropNulls(payload, "input")
    orElse(payload, "input", () => null)
    if (isRaw(payload["lease_constraints"])) dropNulls(payload["lease_constraints"])
  },
  "session.welcome": (payload, frame) => {
    dropNulls(payload)
    peerName(payload, "runtime")
    encodings(payload)
    agents(payload)
    orElse(payload, "resume_window_sec", () => 0)
    if (payload["heartbeat_interval_sec"] === 0) delete payload["heartbeat_interval_sec"]
    move(payload, frame, "session_id")
  },
  "session.error": (payload) => errorFields(payload),
  "session.jobs": (payload) => {
    dropNulls(payload, "next_cursor")
    alias(payload, "request_id", "reply_to")
    orElse(payload, "next_cursor", () => null)
    const jobs = payload["jobs"]
    if (!Array.isArray(jobs)) return
    for (const job of jobs) {
      if (!isRaw(job)) continue
      dropNulls(job, "parent_job_id")
      alias(job, "created_at", "submitted_at")
      orElse(job, "created_at", () => "")
      orElse(job, "agent", () => "")
      orElse(job, "lease", () => ({}))
      orElse(job, "parent_job_id", () => null)
      orElse(job, "last_event_seq", () => 0)
      status(job, "status")
    }
  },
  "job.accepted": (payload, frame) => {
    dropNulls(payload)
    alias(payload, "request_id", "reply_to")
    move(frame, payload, "job_id")
    orElse(payload, "lease", () => ({}))
    traceId(payload)
    budget(payload)
    credentials(payload)
  },
  "job.cancelled": (payload) => {
    dropNulls(payload)
    alias(payload, "request_id", "reply_to")
  },
  "job.subscribed": (payload) => {
    dropNulls(payload, "parent_job_id")
    alias(payload, "request_id", "reply_to")
    orElse(payload, "agent", () => "")
    orElse(payload, "lease", () => ({}))
    orElse(payload, "parent_job_id", () => null)
    orElse(payload, "subscribed_from", () => 0)
    orElse(payload, "current_status", () => "running")
    payload["replayed"] = Boolean(payload["replayed"])
    status(payload, "current_status")
    budget(payload)
    credentials(payload)
  },
  "job.event": (payload) => event(payload),
  "job.result": (payload, frame) => {
    dropNulls(payload, "result", "output")
    move(payload, frame, "job_id")
    status(payload, "final_status")
    orElse(payload, "final_status", () => "success")
    if (payload["final_status"] !== "success") return otherwise(payload, frame)
    if (payload["result_id"] !== undefined) {
      if (payload["result"] === null) delete payload["result"]
      return
    }
    alias(payload, "result", "output")
    orElse(payload, "result", () => null)
  },
  "job.error": (payload, frame) => {
    errorFields(payload)
    move(payload, frame, "job_id")
    status(payload, "final_status")
    orElse(payload, "final_status", () => finalStatusOf(payload["code"]))
  }
}

/** Some peers report a time-out or a cancellation as a result. */
const otherwise = (payload: Raw, frame: Raw) => {
  frame["type"] = "job.error"
  if (payload["code"] === undefined) {
    payload["code"] =
      payload["final_status"] === "timed_out"
        ? "TIMEOUT"
        : payload["final_status"] === "cancelled"
          ? "CANCELLED"
          : "INTERNAL_ERROR"
  }
  errorFields(payload)
}

/**
 * Brings a parsed frame to the form that the schemas describe. What is beyond tolerance is left for them to refuse.
 *
 * @category conversions
 * @since 0.1.0
 */
export const normalize = (frame: Raw): Raw => {
  const payload = envelope(frame)
  const type = frame["type"]
  if (typeof type === "string" && Object.hasOwn(payloads, type)) payloads[type]!(payload, frame)
  return frame
}

/**
 * Whether the sender says that a receiver who does not know this type may pass over it.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isIgnorable = (frame: Raw): boolean =>
  isRaw(frame["extensions"]) && frame["extensions"]["optional"] === true
