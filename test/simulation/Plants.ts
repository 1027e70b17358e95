/**
 * Bugs that implementations of the protocol really had, or that this one could have, each ready to be put into the runtime. What catches
 * them must not know them.
 */
import { Clock, Duration, Effect, Option } from "effect"
import type * as JobJournal from "../../src/runtime/JobJournal.ts"
import type * as Jobs from "../../src/runtime/Jobs.ts"
import type * as JobStore from "../../src/runtime/JobStore.ts"
import type * as Connection from "../../src/session/Connection.ts"
import type * as StampLog from "../../src/session/StampLog.ts"
import type * as Plant from "./Plant.ts"

export interface Known {
  /** What the runtime does wrong. */
  readonly bug: string
  /** The broken promise that gives it away; any of several. */
  readonly shows: RegExp
  readonly plant: () => Plant.Plant
}

type Frame = { readonly [member: string]: unknown }

/** Changes what the runtime sends on each line; `line` counts them from 0. */
const sending =
  (change: (line: number) => (frame: Frame) => ReadonlyArray<Frame>): (() => Plant.Plant) =>
  () => {
    let lines = 0
    return {
      line: (real) => {
        const each = change(lines++)
        return {
          ...real,
          send: (texts) => {
            const changed = texts.flatMap((text) => each(JSON.parse(text)).map((frame) => JSON.stringify(frame)))
            return sendAll(real, changed)
          }
        }
      }
    }
  }

/** Changes what the runtime receives on each line. */
const receiving =
  (change: (frame: Frame) => ReadonlyArray<Frame>): (() => Plant.Plant) =>
  () => ({
    line: (real) => {
      const pull: Connection.Frames["pull"] = Effect.flatMap(real.pull, (texts) => {
        const [first, ...rest] = texts.flatMap((text) => change(JSON.parse(text)).map((frame) => JSON.stringify(frame)))
        return first === undefined ? pull : Effect.succeed([first, ...rest])
      })
      return { ...real, pull }
    }
  })

const sendAll = (line: Connection.Frames, [first, ...rest]: ReadonlyArray<string>) =>
  first === undefined ? Effect.void : line.send([first, ...rest])

const isSequenced = (frame: Frame) => frame["event_seq"] !== undefined

/** Changes the pages that readers of the journal get. */
const reading =
  (change: (page: JobJournal.Page, after: number) => JobJournal.Page): (() => Plant.Plant) =>
  () => ({
    journal: (real) => ({
      ...real,
      read: (job, after, characters) => Effect.map(real.read(job, after, characters), (page) => change(page, after))
    })
  })

/** Changes what is replayed. */
const replaying =
  (
    since: (
      real: (seq: number) => Effect.Effect<Option.Option<ReadonlyArray<StampLog.Stamp>>>,
      seq: number
    ) => Effect.Effect<Option.Option<ReadonlyArray<StampLog.Stamp>>>
  ): (() => Plant.Plant) =>
  () => ({
    sessionStore: (real) => ({ ...real, since: (session, seq) => since((after) => real.since(session, after), seq) })
  })

const known = (acceptance: Option.Option<Exclude<JobStore.Acceptance, { readonly _tag: "Accepted" }>>) =>
  Option.map(acceptance, ({ record }) => ({ _tag: "Known" as const, record }))

export const all: ReadonlyArray<Known> = [
  {
    bug: "a resume is welcomed and nothing is replayed",
    shows: /in the place of/,
    plant: () => ({
      sessions: (real) => ({
        ...real,
        converse: (opened, connection) => real.converse({ ...opened, replay: Option.none() }, connection)
      })
    })
  },
  {
    bug: "the replay begins one event too late",
    shows: /in the place of/,
    plant: replaying((real, seq) =>
      Effect.flatMap(real(seq + 1), (later) => (Option.isSome(later) ? Effect.succeed(later) : real(seq)))
    )
  },
  {
    bug: "the replay begins one event too early",
    shows: /in the place of/,
    plant: replaying((real, seq) => real(Math.max(0, seq - 1)))
  },
  {
    bug: "the replay stops after its first page",
    shows: /in the place of/,
    plant: replaying((real, seq) =>
      Effect.map(
        real(seq),
        Option.map((stamps) => stamps.slice(0, 1))
      )
    )
  },
  {
    bug: "the numbers begin anew on each connection",
    shows: /in the place of/,
    plant: sending(() => {
      let last = 0
      return (frame) => [isSequenced(frame) ? { ...frame, event_seq: ++last } : frame]
    })
  },
  {
    bug: "what is replayed gets new envelope ids",
    shows: /number \d+ is/,
    plant: sending((line) => (frame) => [
      isSequenced(frame) ? { ...frame, id: `${String(frame["id"])}_${line}` } : frame
    ])
  },
  {
    bug: "what is replayed is stamped with the time of the replay",
    shows: /number \d+ is/,
    plant: sending((line) => (frame) => [
      isSequenced(frame) ? { ...frame, payload: { ...(frame["payload"] as Frame), line } } : frame
    ])
  },
  {
    bug: "frames leave before their numbers are stored",
    shows: /in the place of|could be resumed|goes on at/,
    plant: () => ({
      sessionStore: (real) => ({
        ...real,
        stamp: (session, epoch, stamps) =>
          Effect.asVoid(
            Effect.forkDetach(Effect.ignore(Effect.delay(real.stamp(session, epoch, stamps), "300 millis")))
          )
      })
    })
  },
  {
    bug: "events go to the connection that the session began with",
    shows: /does not end|in the place of|before its welcome/,
    plant: () => {
      const first = new Map<string, Connection.Line>()
      return {
        sessions: (real) => ({
          ...real,
          converse: (opened, connection) => {
            const { id } = opened.session
            const began = first.get(id) ?? connection
            first.set(id, began)
            return real.converse(opened, {
              ...connection,
              send: (frames) => (frames.some((text) => text.includes('"event_seq"')) ? began : connection).send(frames)
            })
          }
        })
      }
    }
  },
  {
    bug: "a full queue drops an event",
    shows: /goes on at|in the place of/,
    plant: sending(() => {
      let count = 0
      return (frame) => (isSequenced(frame) && ++count % 20 === 0 ? [] : [frame])
    })
  },
  {
    bug: "the last event of a page is dropped",
    shows: /goes on at|the run does not end/,
    plant: reading((page) =>
      page.entries.length > 2 && !page.ended ? { ...page, entries: page.entries.toSpliced(1, 1) } : page
    )
  },
  {
    bug: "numbers are taken before the queue, so that two events change places",
    shows: /goes on at/,
    plant: reading((page) => {
      const [first, second, ...rest] = page.entries
      return first === undefined || second === undefined || second.type !== "job.event"
        ? page
        : { ...page, entries: [second, first, ...rest] }
    })
  },
  {
    bug: "two writers send the same frame",
    shows: /in the place of/,
    plant: sending(() => {
      let count = 0
      return (frame) => (isSequenced(frame) && ++count % 15 === 0 ? [frame, frame] : [frame])
    })
  },
  {
    bug: "numbers count for each job",
    shows: /in the place of/,
    plant: sending(() => (frame) => [isSequenced(frame) ? { ...frame, event_seq: frame["job_seq"] } : frame])
  },
  {
    bug: "a job ends twice",
    shows: /goes on at|ends at/,
    plant: reading((page) => (page.ended ? { ...page, entries: [...page.entries, ...page.entries.slice(-1)] } : page))
  },
  {
    bug: "a job speaks after its end",
    shows: /after its end|, its end|ends at/,
    plant: reading((page) =>
      page.ended && page.entries.length > 1 ? { ...page, entries: [...page.entries, page.entries[0]!] } : page
    )
  },
  {
    bug: "the end of a job overtakes its last event",
    shows: /goes on at|speaks after/,
    plant: reading((page) =>
      page.ended && page.entries.length > 1
        ? { ...page, entries: [...page.entries.slice(0, -2), ...page.entries.slice(-2).toReversed()] }
        : page
    )
  },
  {
    bug: "who asks late for a job that has ended gets no end",
    shows: /does not end/,
    plant: reading((page, after) => (page.ended && after === -1 ? { ...page, entries: [] } : page))
  },
  {
    bug: "journals forget what was not acknowledged",
    shows: /nothing is lost here|could be resumed|goes on at/,
    plant: () => ({ config: { maxJournalPerJob: 900 } })
  },
  {
    bug: "sessions are never forgotten",
    shows: /never forgotten/,
    plant: () => ({ config: { resumeWindow: Duration.hours(2) } })
  },
  {
    bug: "the hint that there is more to read gets lost",
    shows: /does not end/,
    plant: () => {
      let hints = 0
      return {
        journal: (real) => ({ ...real, watch: (job, wake) => real.watch(job, () => ++hints % 3 === 0 && wake()) })
      }
    }
  },
  {
    bug: "a wrong guess costs the victim its session",
    shows: /could be resumed/,
    plant: () => ({
      sessions: (real) => ({
        ...real,
        resume: (principal, request) =>
          Effect.tapError(real.resume(principal, request), () =>
            request.session_id === undefined ? Effect.void : real.close(request.session_id)
          )
      })
    })
  },
  {
    bug: "a token is enough to resume the session of another principal",
    shows: /resumed a session of|another principal/,
    plant: () => {
      const owners = new Map<string, string>()
      return {
        sessions: (real) => ({
          ...real,
          open: (agreement) => {
            owners.set(agreement.id, agreement.principal.id)
            return real.open(agreement)
          },
          resume: (principal, request) =>
            real.resume({ ...principal, id: owners.get(request.session_id ?? "") ?? principal.id }, request)
        })
      }
    }
  },
  {
    bug: "replaced tokens stay good",
    shows: /token that is dead|an old token/,
    plant: () => {
      const shown = new Map<string, Array<Uint8Array>>()
      return {
        sessionStore: (real) => ({
          ...real,
          rotate: (session, rotation) =>
            Effect.gen(function* () {
              const tokens = shown.get(session) ?? []
              const epoch = yield* real.rotate(session, rotation)
              const presented = Option.getOrUndefined(rotation.presented)?.join()
              const current = tokens.at(-1)
              shown.set(session, [...tokens, rotation.next])
              return Option.isSome(epoch) ||
                current === undefined ||
                !tokens.some((token) => token.join() === presented)
                ? epoch
                : yield* real.rotate(session, { ...rotation, presented: Option.some(current) })
            })
        })
      }
    }
  },
  {
    bug: "the token is not changed by a resume",
    shows: /was not changed/,
    plant: () => ({
      sessions: (real) => ({
        ...real,
        resume: (principal, request) =>
          Effect.map(real.resume(principal, request), (opened) => ({ ...opened, resumeToken: request.resume_token }))
      })
    })
  },
  {
    bug: "a number that was never given is resumed from",
    shows: /never given/,
    plant: replaying((real, seq) => Effect.map(real(seq), (stamps) => Option.orElseSome(stamps, () => [])))
  },
  {
    bug: "a key is looked up and claimed in two steps",
    shows: /ran twice|is job_\w+ and/,
    plant: () => {
      const bound = new Map<string, JobStore.Acceptance & { readonly _tag: "Known" }>()
      return {
        jobStore: (real) => ({
          ...real,
          claimed: ({ key }) => Effect.sync(() => Option.fromUndefinedOr(bound.get(key))),
          accept: (record, claim) =>
            Effect.gen(function* () {
              const key = Option.match(claim, { onNone: () => record.id, onSome: ({ key }) => key })
              const found = bound.get(key)
              if (found !== undefined) return found
              yield* Effect.sleep("5 millis")
              bound.set(key, { _tag: "Known", record })
              return yield* real.accept(record, Option.none())
            })
        })
      }
    }
  },
  {
    bug: "asking again runs the agent again",
    shows: /ran twice|is job_\w+ and/,
    plant: () => ({
      jobStore: (real) => ({
        ...real,
        claimed: () => Effect.succeed(Option.none()),
        accept: (record) => real.accept(record, Option.none())
      })
    })
  },
  {
    bug: "a key stands for whatever is asked under it",
    shows: /a key of another job/,
    plant: () => ({
      jobStore: (real) => ({ ...real, claimed: (claim) => Effect.map(real.claimed(claim), known) })
    })
  },
  {
    bug: "a repeated acceptance shows how the job stands now",
    shows: /is accepted as/,
    plant: () => ({
      jobs: (real) => ({
        ...real,
        submit: (submission, taken) =>
          real.submit(submission, (record) =>
            Effect.flatMap(Clock.currentTimeMillis, (now) =>
              taken({ ...record, accepted: { ...record.accepted, accepted_at: new Date(now).toISOString() } })
            )
          )
      })
    })
  },
  {
    bug: "the end of a job comes before the answer to its cancel",
    shows: /before the answer/,
    plant: () => ({
      jobs: (real) => ({
        ...real,
        cancel: (request, taken) => Effect.andThen(real.cancel(request, Effect.void), Effect.delay(taken, "1 second"))
      })
    })
  },
  {
    bug: "any session may cancel a job",
    shows: /did not submit it|cancelled a job of|nobody asked/,
    plant: () => {
      const sessions = new Map<string, Parameters<Jobs.Jobs["Service"]["cancel"]>[0]>()
      return {
        jobs: (real) => ({
          ...real,
          submit: (submission, taken) =>
            real.submit(submission, (record) => {
              const { id, session } = record
              if (!sessions.has(id))
                sessions.set(id, { principal: submission.principal, session, job: id, reason: "any" })
              return taken(record)
            }),
          cancel: (request, taken) => real.cancel(sessions.get(request.job) ?? request, taken)
        })
      }
    }
  },
  {
    bug: "a cancel is answered and forgotten",
    shows: /cancelled, and yet|does not end/,
    plant: () => ({ jobs: (real) => ({ ...real, cancel: (_, taken) => taken }) })
  },
  {
    bug: "anybody may watch any job",
    shows: /may watch|is sent/,
    plant: () => ({
      jobs: (real) => ({
        ...real,
        observe: (principal, job) =>
          Effect.catch(real.observe({ ...principal, id: "alice" }, job), () =>
            real.observe({ ...principal, id: "bob" }, job)
          )
      })
    })
  },
  {
    bug: "a subscription begins at the place that was named, not after it",
    shows: /goes on at/,
    plant: receiving((frame) => {
      const payload = frame["payload"] as Frame
      const from = payload["from_job_seq"]
      return [
        typeof from === "number" && from > 0 ? { ...frame, payload: { ...payload, from_job_seq: from - 1 } } : frame
      ]
    })
  },
  {
    bug: "listings show everybody's jobs",
    shows: /is told of/,
    plant: () => ({
      jobs: (real) => ({
        ...real,
        list: (query) =>
          Effect.map(
            Effect.all([real.list({ ...query, principal: "alice" }), real.list({ ...query, principal: "bob" })]),
            (lists) => lists.flat().slice(0, query.limit)
          )
      })
    })
  },
  {
    bug: "the second page of a listing begins anew",
    shows: /listed twice/,
    plant: () => ({ jobs: (real) => ({ ...real, list: (query) => real.list({ ...query, after: Option.none() }) }) })
  },
  {
    bug: "a listing leaves out the last job of a page",
    shows: /is not listed/,
    plant: () => ({
      jobs: (real) => ({ ...real, list: (query) => Effect.map(real.list(query), (jobs) => jobs.slice(0, 1)) })
    })
  },
  {
    bug: "the time that a job may take is not watched",
    shows: /does not end/,
    plant: () => ({
      jobs: (real) => ({
        ...real,
        submit: (submission, taken) => {
          const { max_runtime_sec: _, ...request } = submission.request
          return real.submit({ ...submission, request }, taken)
        }
      })
    })
  },
  {
    bug: "jobs end with the connection that submitted them",
    shows: /nobody asked/,
    plant: () => {
      const own = new Map<string, Effect.Effect<void>>()
      return {
        jobs: (real) => ({
          ...real,
          submit: (submission, taken) =>
            real.submit(submission, (record) => {
              const { id, session } = record
              const { principal } = submission
              const end = Effect.ignore(real.cancel({ principal, session, job: id, reason: "gone" }, Effect.void))
              own.set(session, Effect.andThen(own.get(session) ?? Effect.void, end))
              return taken(record)
            })
        }),
        sessions: (real) => ({
          ...real,
          converse: (opened, connection) =>
            Effect.andThen(
              real.converse(opened, connection),
              Effect.suspend(() => own.get(opened.session.id) ?? Effect.void)
            )
        })
      }
    }
  },
  {
    bug: "an answer goes to the oldest request that waits",
    shows: /answers|was not asked/,
    plant: sending(() => {
      let first: unknown
      return (frame) => {
        const payload = frame["payload"] as Frame
        if (payload["request_id"] === undefined) return [frame]
        first ??= payload["request_id"]
        return [{ ...frame, payload: { ...payload, request_id: first } }]
      }
    })
  },
  {
    bug: "acknowledgements free nothing",
    shows: /does not end/,
    plant: receiving((frame) => (frame["type"] === "session.ack" ? [] : [frame]))
  },
  {
    bug: "the pace of the client is not kept",
    shows: /ahead of its reader/,
    plant: () => ({ config: { pacingWindow: 1024 * 1024, sessionWindow: 1024 * 1024 } })
  },
  {
    bug: "events of one session are sent to another",
    shows: /is sent|another session|before its welcome/,
    plant: () => {
      let latest: Connection.Frames | undefined
      let count = 0
      return {
        line: (real) => {
          const line = latest ?? real
          latest = real
          return {
            ...real,
            send: (frames) => (++count % 12 === 0 ? Effect.ignore(line.send(frames)) : real.send(frames))
          }
        }
      }
    }
  }
]
