/**
 * What a client does with jobs of its own: submit, follow, cancel (§7.1, §7.4).
 */
import { Context, DateTime, Deferred, Effect, Option, Tracer } from "effect"
import type { SecureRandom } from "effect/crypto"
import * as Ids from "../../protocol/Ids.ts"
import * as TraceContext from "../../protocol/TraceContext.ts"
import * as ClientError from "../ClientError.ts"
import type * as JobHandle from "../JobHandle.ts"
import * as Cancellation from "./cancellation.ts"
import * as ClientSession from "./clientSession.ts"
import type * as Connect from "./connect.ts"
import * as EventBuffer from "./eventBuffer.ts"
import * as Exchange from "./exchange.ts"
import * as Family from "./family.ts"
import type * as Job from "./job.ts"
import * as Requests from "./requests.ts"
import * as Submission from "./submission.ts"
import * as Target from "./target.ts"
import * as Unclaimed from "./unclaimed.ts"

type ClientSession = ClientSession.ClientSession

export interface Options extends Submission.Options {
  readonly cancelOnInterrupt?: boolean
}

export interface Surroundings {
  readonly conversation: Connect.Conversation
  readonly context: Context.Context<SecureRandom.SecureRandom>
}

export const make = ({ context, conversation }: Surroundings) => {
  /** That of the span; distinct among the submits under way where the peer matches acceptances by it (§11). */
  const traceIdOf = (session: ClientSession, given: string | undefined, span: Option.Option<Tracer.AnySpan>) => {
    if (given !== undefined) return Effect.fromResult(Submission.traceId(given))
    const fresh = Effect.provideContext(Ids.makeTraceId, context)
    if (Option.isNone(span)) return fresh
    const traced = Submission.traceId(span.value.traceId)
    if (traced._tag === "Failure") return fresh
    return session.declared || !session.traceIds.has(traced.success) ? Effect.succeed(traced.success) : fresh
  }

  /** This caller will never hold the job. */
  const abandon = (session: ClientSession, job: Job.Job, cancelOnInterrupt: boolean) => {
    job.claims--
    if (job.handles === 0) EventBuffer.discard(job.events)
    if (job.handles === 0 && job.claims === 0 && session.jobs.get(job.id) === job) {
      Unclaimed.add(session.unclaimed, job, () => ClientSession.forget(session, job.id))
    }
    return cancelOnInterrupt ? Effect.ignore(Cancellation.cancel(session, job, "client.interrupt")) : Effect.void
  }

  const accept = Effect.fnUntraced(function* (
    target: Target.Target<unknown, unknown>,
    options: Options,
    span: Option.Option<Tracer.AnySpan>
  ) {
    const input = yield* target.input
    const key = options.idempotencyKey ?? (yield* Effect.provideContext(Submission.makeIdempotencyKey, context))
    const session = yield* conversation.session
    const payload = yield* Effect.fromResult(Submission.make(session.features, target.reference, input, key, options))
    const trace_id = yield* traceIdOf(session, options.traceId, span)
    const extensions = Option.getOrUndefined(Option.flatMap(span, TraceContext.write))
    const encode = yield* Effect.fromResult(
      Submission.encode({
        ...ClientSession.base(session),
        type: "job.submit",
        trace_id,
        ...(extensions === undefined ? undefined : { extensions }),
        payload
      })
    )
    const pending = Requests.submit(yield* session.nextId, trace_id, target.reference, encode)
    session.traceIds.add(trace_id)
    const job = yield* Exchange.request(session, pending).pipe(
      Effect.mapError(ClientError.fromSubmit),
      Effect.ensuring(Effect.sync(() => session.traceIds.delete(trace_id))),
      Effect.onInterrupt(() => {
        const isSent = session.requests.all.has(pending.id) || Deferred.isDoneUnsafe(pending.reply)
        const abandoned = Effect.flatMap(Deferred.await(pending.reply), (job) =>
          abandon(session, job, options.cancelOnInterrupt ?? false)
        )
        return isSent ? Effect.forkIn(Effect.ignore(abandoned), session.scope) : Effect.void
      })
    )
    return { session, job }
  })

  const handle = <A, E>(
    session: ClientSession,
    job: Job.Job,
    target: Target.Target<A, E>
  ): JobHandle.JobHandle<A, E> => {
    job.handles++
    EventBuffer.keep(job.events)
    return {
      id: job.id,
      agent: job.agent,
      lease: job.accepted.lease,
      leaseConstraints: job.accepted.lease_constraints,
      budget: job.accepted.budget,
      credentials: job.accepted.credentials ?? [],
      traceId: job.traceId,
      get acceptedAt() {
        return DateTime.makeUnsafe(job.acceptedAt())
      },
      ...Family.face(session, job, target.read)
    }
  }

  const accepted = (target: Target.Target<unknown, unknown>, options: Options) =>
    Effect.contextWith((surroundings: Context.Context<never>) =>
      accept(target, options, Context.getOption(surroundings, Tracer.ParentSpan))
    )

  return {
    submit: <A, E>(target: Target.Target<A, E>, options: Options = {}) =>
      Effect.map(accepted(target, options), ({ job, session }) => handle(session, job, target)),
    run: <A, E>(target: Target.Target<A, E>, options: Options = {}) =>
      Effect.flatMap(accepted(target, options), ({ job, session }) => {
        if (job.handles === 0) EventBuffer.discard(job.events)
        return Effect.onInterrupt(Target.outcome(job, target.read), () =>
          abandon(session, job, options.cancelOnInterrupt ?? false)
        )
      })
  }
}
