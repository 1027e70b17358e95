/**
 * Known bugs of jobs: their journals and ends, keys, cancels, watchers, listings.
 */
import { Clock, Effect, Option } from "effect"
import type * as Jobs from "../../src/runtime/Jobs.ts"
import type * as JobStore from "../../src/runtime/JobStore.ts"
import * as Plant from "./Plant.ts"

const known = (acceptance: Option.Option<Exclude<JobStore.Acceptance, { readonly _tag: "Accepted" }>>) =>
  Option.map(acceptance, ({ record }) => ({ _tag: "Known" as const, record }))

export const all: ReadonlyArray<Plant.Known> = [
  {
    bug: "the last event of a page is dropped",
    shows: /goes on at|the run does not end/,
    plant: Plant.reading((page) =>
      page.entries.length > 2 && !page.ended ? { ...page, entries: page.entries.toSpliced(1, 1) } : page
    )
  },
  {
    bug: "a job ends twice",
    shows: /goes on at|ends at/,
    plant: Plant.reading((page) =>
      page.ended ? { ...page, entries: [...page.entries, ...page.entries.slice(-1)] } : page
    )
  },
  {
    bug: "a job speaks after its end",
    shows: /after its end|, its end|ends at/,
    plant: Plant.reading((page) =>
      page.ended && page.entries.length > 1 ? { ...page, entries: [...page.entries, page.entries[0]!] } : page
    )
  },
  {
    bug: "the end of a job overtakes its last event",
    shows: /goes on at|speaks after/,
    plant: Plant.reading((page) =>
      page.ended && page.entries.length > 1
        ? { ...page, entries: [...page.entries.slice(0, -2), ...page.entries.slice(-2).toReversed()] }
        : page
    )
  },
  {
    bug: "who asks late for a job that has ended gets no end",
    shows: /does not end/,
    plant: Plant.reading((page, after) => (page.ended && after === -1 ? { ...page, entries: [] } : page))
  },
  {
    bug: "journals forget what was not acknowledged",
    shows: /nothing is lost here|could be resumed|goes on at/,
    plant: () => ({ config: { maxJournalPerJob: 900 } })
  },
  {
    bug: "a reader that fell behind is not told what it lost",
    shows: /goes on at/,
    plant: Plant.sending(() => (frame) => {
      const payload = frame["payload"] as Plant.Frame
      const body = payload["body"] as Plant.Frame | undefined
      const told = body?.["phase"] === "subscription_lagged"
      return [told ? { ...frame, job_seq: 1, payload: { ...payload, body: { phase: "running" } } } : frame]
    })
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
    plant: Plant.receiving((frame) => {
      const payload = frame["payload"] as Plant.Frame
      const from = payload["from_job_seq"]
      return [
        typeof from === "number" && from > 0 ? { ...frame, payload: { ...payload, from_job_seq: from - 1 } } : frame
      ]
    })
  },
  {
    bug: "a subscription says that it begins elsewhere than it does",
    shows: /goes on at/,
    plant: Plant.sending(() => (frame) => {
      const isLive = frame["type"] === "job.subscribed" && (frame["payload"] as Plant.Frame)["replayed"] === false
      return [isLive ? { ...frame, job_seq: Number(frame["job_seq"]) + 1 } : frame]
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
  }
]
