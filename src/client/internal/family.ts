/**
 * What a session knows of the jobs that its own have delegated (§10): they are told of by their parents, and by their acceptance, and then
 * they speak for themselves.
 *
 * Of a child that nobody has taken from the stream of children little is kept, so that a client which does not care for children does not
 * pay for them. Whoever takes one later reads it from the runtime.
 */
import { Deferred, Effect, Stream } from "effect"
import * as AgentOutcome from "../../protocol/AgentOutcome.ts"
import * as JobEvent from "../../protocol/JobEvent.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import type * as Message from "../../protocol/Message.ts"
import type * as ChildJob from "../ChildJob.ts"
import type * as ClientError from "../ClientError.ts"
import * as Cancellation from "./cancellation.ts"
import * as Children from "./children.ts"
import * as ClientSession from "./clientSession.ts"
import * as Content from "./content.ts"
import * as EventBuffer from "./eventBuffer.ts"
import * as Job from "./job.ts"
import * as Observation from "./observation.ts"
import * as Target from "./target.ts"
import * as Unclaimed from "./unclaimed.ts"

type ClientSession = ClientSession.ClientSession

/** Jobs that are heard of at once. */
const maxJobs = 1024
/** What is kept of the events of a child that nobody has taken. */
const maxBytes = 64 * 1024

/** A child is known from now on. What it has said before was held. Gives what follows it, if anything does. */
const add = (self: ClientSession, parent: Job.Job, facts: Children.Facts): Job.Job | undefined => {
  const known = self.jobs.get(facts.id)
  const isHeard =
    known !== undefined || (!parent.events.discarded && !self.settled.has(facts.id) && self.jobs.size < maxJobs)
  const job = isHeard ? (known ?? follow(self, parent, facts)) : undefined
  const child: Children.Child = { facts, job }
  if (job === undefined) ClientSession.settle(self, facts.id)
  else if (job.handles === 0) self.untaken.set(facts.id, { child, weight: 0 })
  Children.add(parent.children, child)
  // One that is known may be waited for by a submit of our own.
  if (job !== undefined && (known === undefined || self.unclaimed.entries.has(job.id))) {
    Unclaimed.add(self.unclaimed, job, () => release(self, child, job))
  }
  Unclaimed.told(self.unclaimed, parent.id, EventBuffer.weigh(facts))
  return job
}

/** A child that nobody has taken is kept no longer: whoever takes it reads it from the runtime. */
const release = (self: ClientSession, child: Children.Child, { id }: Job.Job): void => {
  child.job = undefined
  self.untaken.delete(id)
  ClientSession.forget(self, id)
}

const follow = (self: ClientSession, parent: Job.Job, { agent, id, lease }: Children.Facts): Job.Job => {
  const now = self.clock.currentTimeMillisUnsafe()
  const job = Job.make({
    accepted: { job_id: id, agent, lease },
    agent,
    traceId: parent.traceId,
    acceptedAt: () => now,
    events: ClientSession.makeBuffer(self, id),
    maxResultBytes: self.limits.resultBytes,
    numbered: self.declared
  })
  self.jobs.set(id, job)
  return job
}

/** What a job says of another to which it delegated; nothing if that is known, or not named: some runtimes do so only in its acceptance. */
const news = (
  parent: Job.Followed,
  {
    agent,
    child_job_id: id,
    delegate_id: delegateId,
    lease,
    lease_constraints: leaseConstraints,
    lease_request
  }: JobEvent.Body<"delegate">
): Children.Facts | undefined =>
  id === undefined || Children.find(parent.children, id) !== undefined
    ? undefined
    : { id, agent, delegateId, lease: lease ?? lease_request ?? {}, leaseConstraints }

/** A job has said that it delegated to another. Gives what follows that one from now on, if it is new. */
export const delegated = (
  self: ClientSession,
  parent: Job.Job,
  body: JobEvent.Body<"delegate">
): Job.Job | undefined => {
  const facts = news(parent, body)
  return facts === undefined ? undefined : add(self, parent, facts)
}

/** The same of a job that is only observed: its children do not speak here. */
export const observed = (parent: Job.Followed, event: JobEvent.JobEvent): void => {
  const facts = JobEvent.is(event, "delegate") ? news(parent, event.body) : undefined
  if (facts !== undefined) Children.add(parent.children, { facts, job: undefined })
}

/** The acceptance of a job of whose parent it says which it is. Gives what follows it from now on, if it is new. */
export const accepted = (
  self: ClientSession,
  parent: Job.Job,
  payload: JobMessage.Accepted["payload"]
): Job.Job | undefined => {
  const known = Children.find(parent.children, payload.job_id)
  const facts: Children.Facts = {
    id: payload.job_id,
    agent: payload.agent ?? known?.facts.agent ?? "",
    delegateId: payload.delegate_id ?? known?.facts.delegateId,
    lease: payload.lease,
    leaseConstraints: payload.lease_constraints
  }
  if (known === undefined) return add(self, parent, facts)
  known.facts = facts
  return undefined
}

/** A job has said something: of one that nobody has taken no more is kept than that. */
export const told = (self: ClientSession, job: Job.Job): void => {
  if (job.events.bytes > maxBytes && self.untaken.has(job.id)) EventBuffer.discard(job.events)
}

/** A job has ended. Of those that nobody has taken the oldest make room. */
export const ended = (self: ClientSession, job: Job.Job, terminal: Message.Terminal | undefined): void => {
  const untaken = self.untaken.get(job.id)
  if (untaken === undefined) return
  const streamed = terminal?.type === "job.result" ? (terminal.payload.result_size ?? 0) * 2 : 0
  untaken.weight = job.events.bytes + EventBuffer.weigh(terminal?.payload) + streamed
  self.untakenWeight += untaken.weight
  for (const [id, { child, weight }] of self.untaken) {
    if (self.untakenWeight <= self.limits.eventBytes) return
    if (weight === 0) continue
    child.job = undefined
    self.untaken.delete(id)
    self.untakenWeight -= weight
  }
}

const take = (self: ClientSession, child: Children.Child): Job.Job | undefined => {
  const { job } = child
  if (job === undefined) return undefined
  const untaken = self.untaken.get(job.id)
  if (untaken !== undefined) {
    self.untaken.delete(job.id)
    self.untakenWeight -= untaken.weight
  }
  Unclaimed.remove(self.unclaimed, job.id)
  job.handles++
  EventBuffer.keep(job.events)
  return job
}

/** The jobs that a job has delegated, each taken by whoever gets it. */
export const stream = (
  self: ClientSession,
  job: Job.Followed
): Stream.Stream<ChildJob.ChildJob, ClientError.EventsError> =>
  Stream.map(Children.stream(job.children), (child) => {
    const job = take(self, child)
    return job === undefined ? late(self, child.facts) : { ...child.facts, ...face(self, job, AgentOutcome.json) }
  })

/** What whoever follows a job of this session has of it. */
export const face = <A, E>(self: ClientSession, job: Job.Job, read: AgentOutcome.Read<A, E>) => {
  const reading = Observation.read(job, (dropped, readings) => Observation.history(self, job.id, dropped, readings))
  return {
    ...reading,
    result: Target.outcome(job, read),
    ...Content.make({ ...reading, job, read }),
    children: stream(self, job),
    cancel: (reason = "client.cancel") => Cancellation.cancel(self, job, reason)
  }
}

/** A child of which nothing is kept here: whatever is asked about it is asked of the runtime. */
const late = (self: ClientSession, facts: Children.Facts): ChildJob.ChildJob => {
  const { id } = facts
  const readings = new Set<EventBuffer.EventBuffer>()
  const ack = Observation.ack(readings)
  const reread = Observation.reread(self, id, 0, readings)
  const heard = Observation.listen(self, id)
  const content = Effect.map(reread, ({ events, followed }) =>
    Content.make({ job: followed, events, ack, read: AgentOutcome.json })
  )
  return {
    ...facts,
    events: Observation.replay(self, id, 0, readings),
    ack,
    result: Effect.scoped(
      Effect.flatMap(heard, ({ outcome }) => Effect.flatMap(Deferred.await(outcome), AgentOutcome.json))
    ),
    content: Stream.unwrap(Effect.map(content, ({ content }) => content)),
    text: Stream.unwrap(Effect.map(content, ({ text }) => text)),
    // Why nothing is to be had is for the result to say.
    received: Stream.unwrap(Effect.orElseSucceed(Effect.map(heard, Content.received), () => Stream.make(0))),
    cancel: (reason = "client.cancel") => Cancellation.cancel(self, { id, finalStatus: undefined }, reason),
    children: Stream.unwrap(
      Effect.mapBoth(heard, { onSuccess: (followed) => stream(self, followed), onFailure: Observation.unavailable(0) })
    )
  }
}
