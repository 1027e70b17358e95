/**
 * What a client can know of jobs that it did not submit, or not in this session: listings and subscriptions (§6.6, §7.6).
 */
import { DateTime, Effect, Option, type Scope, Stream } from "effect"
import type * as AgentOutcome from "../../protocol/AgentOutcome.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import * as Ids from "../../protocol/Ids.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import * as ClientError from "../ClientError.ts"
import type * as JobListing from "../JobListing.ts"
import type * as JobObserver from "../JobObserver.ts"
import * as Cancellation from "./cancellation.ts"
import * as ClientSession from "./clientSession.ts"
import * as Content from "./content.ts"
import * as EventBuffer from "./eventBuffer.ts"
import * as Exchange from "./exchange.ts"
import * as Family from "./family.ts"
import * as Job from "./job.ts"
import * as Observation from "./observation.ts"
import * as Requests from "./requests.ts"
import type * as Submitter from "./submitter.ts"
import * as Target from "./target.ts"

type ClientSession = ClientSession.ClientSession

const hasEnded = (status: SessionMessage.JobStatus) => status !== "pending" && status !== "running"

const parse = (text: string | undefined): DateTime.Utc | undefined =>
  Option.getOrUndefined(Option.map(Timestamp.parse(text ?? ""), DateTime.makeUnsafe))

const entry = (entry: SessionMessage.JobEntry): JobListing.JobListing => ({
  id: entry.job_id,
  agent: entry.agent,
  status: entry.status,
  lease: entry.lease,
  parentJobId: entry.parent_job_id ?? undefined,
  createdAt: parse(entry.created_at),
  traceId: entry.trace_id,
  lastEventSeq: entry.last_event_seq
})

const bound = (given: DateTime.DateTime | undefined) =>
  given === undefined ? undefined : Timestamp.format(DateTime.toEpochMillis(given))

const payloadOf = (filter: JobListing.Filter): SessionMessage.ListJobs["payload"] => {
  const created_after = bound(filter.createdAfter)
  const created_before = bound(filter.createdBefore)
  return {
    filter: {
      ...(filter.status === undefined ? undefined : { status: filter.status }),
      ...(filter.agent === undefined ? undefined : { agent: filter.agent }),
      ...(created_after === undefined ? undefined : { created_after }),
      ...(created_before === undefined ? undefined : { created_before })
    },
    ...(filter.pageSize === undefined ? undefined : { limit: filter.pageSize })
  }
}

export const make = ({ conversation }: Submitter.Surroundings) => {
  const page = Effect.fn("ArcpClient.jobs")(function* (filter: JobListing.Filter, cursor: string | undefined) {
    const session = yield* conversation.session
    yield* ClientSession.needs(session, "list_jobs")
    const frame: Omit<SessionMessage.ListJobs, "id"> = {
      ...ClientSession.base(session),
      type: "session.list_jobs",
      payload: { ...payloadOf(filter), ...(cursor === undefined ? undefined : { cursor }) }
    }
    const pending = Requests.list(yield* session.nextId, Requests.framed(frame))
    const { jobs, next_cursor } = yield* Effect.mapError(Exchange.request(session, pending), ClientError.fromList)
    // A runtime that gives the same cursor for ever would have us ask for ever.
    const next = next_cursor === null || next_cursor === cursor ? Option.none() : Option.some(next_cursor)
    return [jobs.map(entry), next] as const
  })

  const observe = Effect.fn("ArcpClient.subscribe")(function* <A, E>(
    jobId: string,
    read: AgentOutcome.Read<A, E>,
    options: JobObserver.Options
  ): Effect.fn.Return<JobObserver.JobObserver<A, E>, ClientError.SubscribeError, Scope.Scope> {
    const session = yield* conversation.session
    const id = jobId as Ids.JobId
    const { fromJobSeq } = options
    const history = options.history ?? fromJobSeq !== undefined
    if (fromJobSeq !== undefined && !session.declared) {
      return yield* ArcpError.invalidField("from_job_seq", "this runtime does not number the events of a job")
    }
    const start = history && session.declared ? (fromJobSeq ?? 0) : undefined
    const followed = Observation.make(session, id, start, false)
    const payload = yield* Observation.follow(session, followed, { history })
    const ended = !history && hasEnded(payload.current_status)
    if (ended) Job.close(followed, "done")
    // One that ended before anybody asked has nothing more to say than its outcome, which is asked for apart.
    const outcome = ended ? yield* Observation.listen(session, id) : followed
    const reading = Observation.read(followed, (dropped, readings) =>
      start === 0 ? Observation.history(session, id, dropped, readings) : Stream.fail(EventBuffer.expired(dropped))
    )
    return {
      id,
      agent: payload.agent,
      status: payload.current_status,
      lease: payload.lease,
      leaseConstraints: payload.lease_constraints,
      budget: payload.budget,
      credentials: payload.credentials ?? [],
      parentJobId: payload.parent_job_id ?? undefined,
      traceId: payload.trace_id,
      ...reading,
      result: Target.outcome(outcome, read),
      ...Content.make({ ...reading, job: outcome, read }),
      children: Family.stream(session, followed),
      cancel: (reason = "client.cancel") => Cancellation.cancel(session, outcome, reason)
    }
  })

  return {
    jobs: (filter: JobListing.Filter = {}) =>
      Stream.paginate(undefined as string | undefined, (cursor) => page(filter, cursor)),
    observe
  }
}
