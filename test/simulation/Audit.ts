/**
 * What crossed the runtime's lines, read in order, as an auditor between the two sides would read it.
 */
import { Duration } from "effect"
import * as Party from "./Party.ts"
import type * as Tape from "./Tape.ts"

interface Frame {
  readonly id?: string
  readonly type: string
  readonly session_id?: string
  readonly job_id?: string
  readonly trace_id?: string
  readonly event_seq?: number
  readonly job_seq?: number
  readonly payload: { readonly [member: string]: unknown }
}

interface SessionState {
  readonly principal: string
  /** Whether a lost welcome must not lose it: the token before stays good for a while. */
  readonly lenient: boolean
  /** Whether its acknowledgements pace what it is sent. */
  readonly paced: boolean
  /** What each number stood for when it was first sent. */
  readonly given: Array<string>
  /** The newest line. */
  line: number
  /** Resume tokens that are good. */
  tokens: ReadonlyArray<string>
  /** When the newest token was proved to have arrived. */
  confirmedAt: number | undefined
  readonly jobs: Map<string, Followed>
  /** Jobs that it was told are its own. */
  readonly submitted: Set<string>
  /** Submits that came in and were not answered with a job. */
  unanswered: number
  acknowledged: number
  /** When something last crossed one of its lines. */
  heardAt: number
}

/** A job as one session is sent it. */
interface Followed {
  /** The place of the last entry; nothing before the first. */
  at: number | undefined
  ended: boolean
  /** Where the next run through the job may begin, by what the client asked for. */
  readonly starts: Array<number | "anywhere">
  /** It was told that what comes next is no longer kept. */
  skips: boolean
  /** Asked for again while it was followed: it begins anew if it had just ended, and goes on if not. */
  repeats: number
  /** Characters sent and not acknowledged, by number. */
  readonly unread: Map<number, number>
}

interface LineState {
  principal: string | undefined
  session: SessionState | undefined
  resume:
    | { readonly session: string; readonly token: string; readonly last: number; readonly good: boolean }
    | undefined
  /** The number that must come next. */
  next: number
  readonly asked: Map<string, Frame>
}

/** A job as the lines tell of it. */
export interface JobState {
  readonly principal: string
  accepted: string | undefined
  /** What stands at each place. */
  readonly entries: Array<string | undefined>
  end: number | undefined
  status: string | undefined
  cancelAsked: boolean
  cancelTaken: boolean
}

const isTerminal = (type: string) => type === "job.result" || type === "job.error"

const parse = (text: string): Frame => JSON.parse(text)

const text = (value: unknown): string => (typeof value === "string" ? value : "")

/** Checks what the runtime's lines show, and gives what they tell of the jobs. */
export const audit = (tape: Tape.Tape, fail: (violation: string) => void): ReadonlyMap<string, JobState> => {
  const { parties } = tape.scenario
  const principals = new Set(parties.map(({ principal }) => principal))
  const owners = new Map(parties.map(({ principal }) => [Party.tokenOf(principal), principal]))
  const lines = new Map<number, LineState>()
  const sessions = new Map<string, SessionState>()
  const jobs = new Map<string, JobState>()
  const byKey = new Map<string, string>()
  const window = tape.scenario.config.pacingWindow ?? Number.POSITIVE_INFINITY
  const resumeWindow = Duration.toMillis(tape.scenario.config.resumeWindow ?? Duration.zero)
  const page = (tape.scenario.config.maxBatch ?? 0) / 4

  const lineOf = (number: number): LineState => {
    const found = lines.get(number)
    if (found !== undefined) return found
    const line: LineState = { principal: undefined, session: undefined, resume: undefined, next: 1, asked: new Map() }
    lines.set(number, line)
    return line
  }

  const jobOf = (id: string, principal: string): JobState => {
    const found = jobs.get(id)
    if (found !== undefined) return found
    const job: JobState = {
      principal,
      accepted: undefined,
      entries: [],
      end: undefined,
      status: undefined,
      cancelAsked: false,
      cancelTaken: false
    }
    jobs.set(id, job)
    return job
  }

  const followedOf = (session: SessionState, job: string): Followed => {
    const found = session.jobs.get(job)
    if (found !== undefined) return found
    const followed: Followed = { at: undefined, ended: false, starts: [], repeats: 0, skips: false, unread: new Map() }
    session.jobs.set(job, followed)
    return followed
  }

  /** A session.hello, perhaps with a wish to resume, or a session.resume, which is that wish alone. */
  const hello = (line: LineState, at: number, { payload, type }: Frame) => {
    const auth = payload["auth"] as { readonly token?: unknown } | undefined
    line.principal = owners.get(text(auth?.token))
    const resume = (type === "session.resume" ? payload : payload["resume"]) as
      | { readonly session_id?: unknown; readonly resume_token?: unknown; readonly last_event_seq?: unknown }
      | undefined
    if (resume === undefined) return
    const session = sessions.get(text(resume.session_id))
    const token = text(resume.resume_token)
    // A second passes between the first frame on a line and the death of the token before, for all that is under way.
    const confirmed = session?.confirmedAt !== undefined && at > session.confirmedAt + 1000
    const good = session !== undefined && (confirmed ? session.tokens.slice(0, 1) : session.tokens).includes(token)
    line.resume = { session: text(resume.session_id), token, last: Number(resume.last_event_seq), good }
  }

  /** A refusal of what should have been granted. */
  const refused = (line: LineState, at: number, { payload }: Frame) => {
    const session = sessions.get(line.resume?.session ?? "")
    if (tape.scenario.scarce) return
    if (payload["code"] !== "RESUME_WINDOW_EXPIRED" || session === undefined || line.resume === undefined) return
    const { good, last, token } = line.resume
    // Two lines that show one token race for it; only the newest is sure to be good.
    if (!good || session.tokens[0] !== token || session.principal !== line.principal) return
    if (last <= session.given.length && at < session.heardAt + resumeWindow) {
      fail(`${line.resume.session} could be resumed after ${last} and was not`)
    }
  }

  const welcome = (number: number, line: LineState, at: number, frame: Frame) => {
    const id = text(frame.session_id)
    const token = text(frame.payload["resume_token"])
    if (line.session !== undefined) return fail(`line ${number} is welcomed twice`)
    if (line.principal === undefined) return fail(`a stranger is welcomed on line ${number}`)
    const { resume } = line
    if (resume === undefined) {
      if (sessions.has(id)) fail(`session ${id} is given to two`)
      const capabilities = frame.payload["capabilities"] as { readonly features: ReadonlyArray<string> }
      const declared = "x-vendor.effect-arcp" in capabilities
      const session: SessionState = {
        principal: line.principal,
        lenient: declared,
        paced: declared && capabilities.features.includes("ack"),
        given: [],
        line: number,
        tokens: [token],
        confirmedAt: undefined,
        jobs: new Map(),
        submitted: new Set(),
        unanswered: 0,
        acknowledged: 0,
        heardAt: at
      }
      sessions.set(id, session)
      line.session = session
      return
    }
    const session = sessions.get(id)
    if (session === undefined || id !== resume.session) return fail(`a resume of ${resume.session} gave ${id}`)
    if (session.principal !== line.principal) fail(`${line.principal} resumed a session of ${session.principal}`)
    if (!resume.good || (!session.lenient && session.tokens[0] !== resume.token)) {
      fail(`session ${id} was resumed with a token that is dead`)
    }
    if (resume.last > session.given.length)
      fail(`session ${id} was resumed after ${resume.last}, which was never given`)
    if (session.tokens.includes(token)) fail(`the token of session ${id} was not changed`)
    session.tokens = session.lenient ? [token, resume.token] : [token]
    session.confirmedAt = undefined
    session.line = number
    line.session = session
    line.next = resume.last + 1
  }

  const acknowledge = (session: SessionState, { payload }: Frame) => {
    const last = Number(payload["last_processed_seq"])
    session.acknowledged = Math.max(session.acknowledged, last)
    const named = (payload["jobs"] ?? {}) as { readonly [job: string]: number }
    for (const [job, followed] of session.jobs) {
      const upTo = Math.max(session.acknowledged, named[job] ?? 0)
      for (const seq of followed.unread.keys()) if (seq <= upTo) followed.unread.delete(seq)
    }
  }

  const received = (number: number, at: number, frame: Frame) => {
    const line = lineOf(number)
    const isFirst = frame.type === "session.hello" || frame.type === "session.resume"
    if (isFirst && line.principal === undefined) return hello(line, at, frame)
    line.asked.set(text(frame.id), frame)
    const { session } = line
    if (session === undefined) return
    session.heardAt = at
    if (session.line === number) session.confirmedAt ??= at
    const job = text(frame.job_id ?? frame.payload["job_id"])
    if (frame.type === "session.ack") acknowledge(session, frame)
    if (frame.type === "job.submit") session.unanswered++
    if (frame.type === "job.cancel") {
      // A submit before it that is not answered yet may make the session a submitter of this job.
      const mayBe = session.unanswered > 0 && jobs.get(job)?.principal === session.principal
      if (session.submitted.has(job) || mayBe) jobs.get(job)!.cancelAsked = true
    }
    // Noted when it is asked: if the answer is lost with its line, the job comes all the same.
    if (frame.type === "job.subscribe" && jobs.get(job)?.principal === session.principal) {
      const from = frame.payload["from_job_seq"]
      followedOf(session, job).starts.push(typeof from === "number" ? from + 1 : "anywhere")
    }
  }

  /** What a session is sent of a job, in the order of its numbers. */
  const follow = (session: SessionState, frame: Frame, length: number) => {
    const job = text(frame.job_id)
    const place = frame.job_seq!
    const followed = session.jobs.get(job) ?? (session.unanswered > 0 ? followedOf(session, job) : undefined)
    if (followed === undefined) return fail(`${job} was sent to a session that did not ask for it`)
    // The answer to its submit was lost with a line.
    if (followed.at === undefined && followed.starts.length === 0) followed.starts.push(1)
    const goesOn = !followed.ended && followed.at !== undefined && place === followed.at + 1
    if (!goesOn) {
      const start = followed.starts.findIndex((start) => start === place || start === "anywhere")
      if (followed.skips) {
        followed.skips = false
        // It goes on behind what was lost, or begins anew as far back as there is something left.
        if (followed.ended || place <= (followed.at ?? 0)) {
          if (followed.starts.length > 0) followed.starts.shift()
          else if (followed.repeats > 0) followed.repeats--
          else if (session.unanswered > 0) session.unanswered--
          else fail(`${job} goes back to ${place} after ${followed.at ?? "nothing"}`)
        }
      } else if (start < 0 && place === 1 && followed.ended && followed.repeats > 0) followed.repeats--
      // The answer to a submit was lost with its line, and what it asked for was not.
      else if (start < 0 && place === 1 && session.unanswered > 0) session.unanswered--
      else if (start < 0)
        fail(`${job} goes on at ${place} after ${followed.at ?? "nothing"}${followed.ended ? ", its end" : ""}`)
      else followed.starts.splice(start, 1)
      // What was sent of an earlier run through the job no longer counts.
      followed.unread.clear()
    }
    followed.at = place
    followed.ended = isTerminal(frame.type)
    if (!session.paced) return
    let unread = 0
    for (const characters of followed.unread.values()) unread += characters
    // One page may go out when the window is all but full, and a page is as long as its last entry makes it.
    if (unread >= window + page + 4000 && !followed.ended) fail(`${job} runs ${unread} characters ahead of its reader`)
    followed.unread.set(frame.event_seq!, length)
  }

  const entry = (frame: Frame, session: SessionState) => {
    const id = text(frame.job_id)
    const job = jobOf(id, session.principal)
    if (job.principal !== session.principal) fail(`${session.principal} is sent ${id} of ${job.principal}`)
    const place = frame.job_seq!
    const { event_seq: _, id: __, session_id: ___, ...rest } = frame
    const content = JSON.stringify(rest)
    const before = job.entries[place]
    if (before === undefined) {
      job.entries[place] = content
      if (isTerminal(frame.type)) {
        if (job.end !== undefined) fail(`${id} ends at ${job.end} and at ${place}`)
        job.end = place
        job.status = text(frame.payload["final_status"])
      }
    } else if (before !== content) {
      fail(`${id} says at ${place} ${content} after ${before}`)
    }
    if (job.end !== undefined && place > job.end) fail(`${id} speaks after its end`)
  }

  /** The runtime says that something is no longer kept: the one way in which anything may be missing. */
  const lagged = (session: SessionState, frame: Frame, raw: string) => {
    const body = frame.payload["body"] as { readonly phase?: unknown } | undefined
    if (!tape.scenario.scarce || body?.phase !== "subscription_lagged") return fail(`nothing is lost here, yet: ${raw}`)
    followedOf(session, text(frame.job_id)).skips = true
  }

  const sequenced = (number: number, line: LineState, frame: Frame, raw: string) => {
    const seq = frame.event_seq!
    const { session } = line
    if (session === undefined) return fail(`number ${seq} on line ${number} before its welcome`)
    if (sessions.get(text(frame.session_id)) !== session) fail(`a frame of another session on line ${number}`)
    if (seq !== line.next) fail(`number ${seq} on line ${number} in the place of ${line.next}`)
    line.next = seq + 1
    const before = session.given[seq - 1]
    if (before !== undefined) {
      if (before !== raw) fail(`number ${seq} is ${raw} after ${before}`)
      return
    }
    if (seq !== session.given.length + 1) fail(`number ${seq} is given after ${session.given.length}`)
    session.given[seq - 1] = raw
    if (frame.job_seq === undefined) return lagged(session, frame, raw)
    entry(frame, session)
    follow(session, frame, raw.length)
  }

  const accepted = (line: LineState, request: Frame, frame: Frame) => {
    const id = text(frame.payload["job_id"])
    const key = text(request.payload["idempotency_key"])
    const { request_id: _, ...rest } = frame.payload
    const content = JSON.stringify([rest, frame.trace_id])
    const bound = byKey.get(`${line.principal} ${key}`)
    if (bound !== undefined && bound !== id) fail(`${key} is ${bound} and ${id}`)
    byKey.set(`${line.principal} ${key}`, id)
    const session = line.session!
    session.unanswered--
    session.submitted.add(id)
    const job = jobOf(id, session.principal)
    if (job.principal !== session.principal) fail(`${session.principal} is given ${id} of ${job.principal}`)
    job.accepted ??= content
    if (job.accepted !== content) fail(`${id} is accepted as ${content} after ${job.accepted}`)
    const followed = followedOf(session, id)
    if (followed.at === undefined || followed.ended) followed.starts.push(1)
    else followed.repeats++
  }

  const answered = (number: number, line: LineState, frame: Frame) => {
    const request = line.asked.get(text(frame.payload["request_id"]))
    if (request === undefined) return fail(`an answer on line ${number} to what was not asked there: ${frame.type}`)
    const id = text(frame.job_id ?? frame.payload["job_id"])
    switch (frame.type) {
      case "job.accepted":
        if (request.type !== "job.submit") fail(`job.accepted answers ${request.type}`)
        return accepted(line, request, frame)
      case "job.subscribed": {
        if (request.type !== "job.subscribe") fail(`job.subscribed answers ${request.type}`)
        const { job_id } = request.payload
        if (jobs.get(text(job_id))?.principal !== line.principal) fail(`${line.principal} may watch ${text(job_id)}`)
        const followed = followedOf(line.session!, id)
        // It goes on as it was.
        if (frame.payload["replayed"] !== true && followed.at !== undefined && !followed.ended) followed.starts.pop()
        // It begins with what comes next, behind the place that it names.
        else if (frame.payload["replayed"] !== true) {
          const anywhere = followed.starts.lastIndexOf("anywhere")
          followed.starts.splice(anywhere < 0 ? followed.starts.length : anywhere, 1, Number(frame.job_seq) + 1)
        }
        return
      }
      case "job.cancelled": {
        const job = jobs.get(id)
        if (request.type !== "job.cancel" || job === undefined) return fail(`job.cancelled answers ${request.type}`)
        if (job.principal !== line.principal) fail(`${line.principal} cancelled a job of ${job.principal}`)
        if (!line.session!.submitted.has(id)) fail(`${id} was cancelled by a session that did not submit it`)
        if (line.session!.jobs.get(id)?.ended === true && !job.cancelTaken)
          fail(`the end of ${id} came before the answer to its cancel`)
        job.cancelTaken = true
        return
      }
      case "session.jobs": {
        for (const listed of frame.payload["jobs"] as ReadonlyArray<{ readonly job_id: string }>) {
          const owner = jobs.get(listed.job_id)?.principal
          // A job whose acceptance has not gone out yet is not known here.
          if (owner !== undefined && owner !== line.principal) fail(`${line.principal} is told of ${listed.job_id}`)
        }
        return
      }
      default:
        return
    }
  }

  const sent = (number: number, at: number, frame: Frame, raw: string) => {
    const line = lineOf(number)
    for (const principal of principals) {
      if (principal !== line.principal && raw.includes(`<${principal}-`)) fail(`${line.principal} is sent ${raw}`)
    }
    if (line.session !== undefined) line.session.heardAt = at
    if (frame.type === "session.welcome") welcome(number, line, at, frame)
    else if (frame.type === "session.error" && line.session === undefined) refused(line, at, frame)
    else if (frame.event_seq !== undefined) sequenced(number, line, frame, raw)
    else if (frame.payload["request_id"] !== undefined && line.session !== undefined) answered(number, line, frame)
  }

  for (const { at, line, side, text: raw, way } of tape.crossings) {
    if (side !== "runtime") continue
    if (way === "received") received(line, at, parse(raw))
    else sent(line, at, parse(raw), raw)
  }
  return jobs
}
