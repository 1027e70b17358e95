/**
 * How work passes from a job that runs to one of its own: the child is accepted, and the parent's stream tells of it (§10).
 */
import { Context, Effect, Option, Result, Tracer } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Budgets from "../../authority/Budgets.ts"
import type * as LeasedJob from "../../leased/LeasedJob.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobEvent from "../../protocol/JobEvent.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import * as Json from "../../protocol/Json.ts"
import type * as Acceptance from "../Acceptance.ts"
import type * as Delegation from "../Delegation.ts"
import type * as Job from "../Job.ts"
import * as JobJournal from "../JobJournal.ts"
import type * as JobRequest from "../JobRequest.ts"
import type * as JobRunner from "../JobRunner.ts"
import type * as RunningJob from "../RunningJob.ts"
import * as RuntimeConfig from "../RuntimeConfig.ts"
import * as Notice from "./notice.ts"

export interface Handover {
  readonly freshDelegateId: Effect.Effect<string>
  /**
   * The parent's stream tells of the child before the child says anything. It does not wait for a slow reader: a job that was started must be
   * known of.
   */
  readonly announce: (
    parent: JobRequest.Parent,
    child: Job.JobRecord,
    request: JobMessage.Submit["payload"]
  ) => Effect.Effect<void>
  /** What agents delegate with. */
  readonly delegate: JobRunner.Run["delegate"]
}

/** `stop` has a job end as cancelled. */
export const make = Effect.fnUntraced(function* (options: {
  readonly accept: Acceptance.Acceptance["accept"]
  readonly stop: (job: Ids.JobId, reason: string) => Effect.Effect<void>
}): Effect.fn.Return<Handover, never, JobJournal.JobJournal | SecureRandom.SecureRandom> {
  const config = yield* RuntimeConfig.RuntimeConfig
  const journal = yield* JobJournal.JobJournal
  const random = yield* SecureRandom.SecureRandom
  const surroundings = yield* Effect.context<never>()

  const freshDelegateId = Effect.map(random.ulid, (ulid) => `del_${ulid}`)

  const announce: Handover["announce"] = ({ delegateId, job }, child, { input, lease_request = {} }) => {
    const body: JobEvent.Body<"delegate"> = {
      delegate_id: delegateId,
      child_job_id: child.id,
      agent: child.agent,
      lease_request,
      lease: child.lease,
      ...(child.constraints === undefined ? undefined : { lease_constraints: child.constraints })
    }
    // An input that is as long as an event may be has no room in one.
    const whole = Json.stringify({ ...body, input }, config.maxPayload)
    const text = Result.getOrElse(whole, () => JSON.stringify(body))
    return Effect.ignore(Notice.append(journal, job.record.id, "delegate", text, { _tag: "Child", job: child.id }))
  }

  /** What the runtime does it does in its own surroundings: an agent can bring a clock of its own, and its child must not live by it. */
  const delegate: Handover["delegate"] = (parent, leased, request) =>
    Effect.contextWith((given: Context.Context<never>) => {
      const reservation = Context.get(given, Budgets.CurrentReservation)
      const span = Option.getOrUndefined(Context.getOption(given, Tracer.ParentSpan))
      const own = span === undefined ? surroundings : Context.add(surroundings, Tracer.ParentSpan, span)
      return Effect.updateContext(handOn(parent, leased, request, reservation, span), () => own)
    })

  const handOn = Effect.fn("Jobs.delegate")(function* (
    parent: RunningJob.RunningJob,
    leased: LeasedJob.LeasedJob,
    { agent, constraints, detached, input, lease, maxRuntime }: Delegation.Request,
    reservation: Budgets.Reservation | undefined,
    span: Tracer.AnySpan | undefined
  ) {
    const { features, session, traceId } = parent.record
    const by: JobRequest.Parent = { job: parent, delegateId: yield* freshDelegateId, detached, reservation }
    const submit: JobMessage.Submit["payload"] = {
      agent,
      input,
      ...(lease === undefined ? undefined : { lease_request: lease }),
      ...(constraints === undefined ? undefined : { lease_constraints: constraints }),
      ...(maxRuntime === undefined ? undefined : { max_runtime_sec: maxRuntime })
    }
    const asked = options.accept(
      {
        principal: parent.principal,
        session,
        features,
        // What the child gets it gets for its parent, if that could get any; to the session it passes over a secure line only.
        secure: true,
        traceId: Option.some(traceId),
        span,
        request: submit,
        claim: Option.none(),
        parent: by
      },
      (record) => announce(by, record, submit)
    )
    // A refusal is told as the result of a tool that failed.
    const { record } = yield* Effect.tapError(asked, (error) =>
      leased.emitter.emit("tool_result", { call_id: by.delegateId, error: ArcpError.toPayload(error) })
    )
    return { record, cancel: (reason: string) => options.stop(record.id, reason) }
  })

  return { freshDelegateId, announce, delegate }
})
