/**
 * How a job comes to the credentials that are provisioned for it, and how its stream tells of a new value (§9.8.2).
 */
import { Effect, Option } from "effect"
import type * as Budgets from "../../authority/Budgets.ts"
import type * as Credentials from "../../authority/Credentials.ts"
import type * as Lease from "../../authority/Lease.ts"
import type * as ArcpError from "../../protocol/ArcpError.ts"
import * as Credential from "../../protocol/Credential.ts"
import type * as Feature from "../../protocol/Feature.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as Job from "../Job.ts"
import type * as JobJournal from "../JobJournal.ts"
import * as RunningJob from "../RunningJob.ts"
import * as Notice from "./notice.ts"

/**
 * Has credentials minted before a job is started, for they come with the acceptance; if it does not come to be they are void again.
 */
export type Provisioning = <A extends { readonly _tag: string }, E>(
  job: {
    readonly record: Job.JobRecord
    readonly lease: Lease.Lease
    readonly parent: RunningJob.RunningJob | undefined
  },
  started: Effect.Effect<A, E>
) => Effect.Effect<A, E | ArcpError.BudgetExhausted | ArcpError.InternalError>

/** What is asked for over a line that is not safe gets none, nor does what comes of it (§14). */
export const without = (features: ReadonlySet<Feature.Feature>): ReadonlySet<Feature.Feature> =>
  features.has("provisioned_credentials")
    ? new Set(Array.from(features).filter((feature) => feature !== "provisioned_credentials"))
    : features

/** `accountOf` is what a job spends from while it runs. */
export const make = (
  credentials: Credentials.Credentials["Service"],
  journal: JobJournal.JobJournal["Service"],
  accountOf: (job: Ids.JobId) => Budgets.Account | undefined
): Provisioning => {
  /** The new value stands in no journal: the outbox of the submitter adds it, and says when it was sent. */
  const rotated = Effect.fnUntraced(function* (
    job: Ids.JobId,
    credential: Ids.CredentialId,
    told: Effect.Effect<void>
  ) {
    const isTold = (yield* credentials.current(job)).some((one) => one.id === credential && Credential.isDefined(one))
    if (!isTold) return
    const body = JSON.stringify({ phase: "credential_rotated", id: credential, credential_id: credential })
    const noticed = Notice.append(journal, job, "status", body, { _tag: "Rotated", credential })
    yield* Effect.ignore(Effect.andThen(noticed, told))
  })

  return ({ lease, parent, record }, started) => {
    const revoked = credentials.revokeAll(record.id)
    /** Whether a job has ended from which this one has its authority: what it leaves behind must not get any of its own. */
    const isLeft = () => parent !== undefined && RunningJob.lineage(parent).some((job) => job.isOver())
    const issued = () =>
      credentials.issueFor(
        {
          job: record.id,
          agent: record.agent,
          principal: record.principal,
          parent: Option.fromUndefinedOr(record.parent),
          lease,
          // What is to be spent of a parent's budget bounds a child that has none.
          budget: Effect.suspend(() => {
            const account = accountOf(record.id)
            if (account !== undefined && lease.budget.size > 0) return account.available
            const shared = parent?.account
            return lease.budget.size === 0 && shared !== undefined ? shared.available : Effect.succeed(lease.budget)
          })
        },
        { secure: true, onRotated: (credential, told) => rotated(record.id, credential, told) },
        () =>
          // Looked at again, for that may have been while they were minted.
          isLeft()
            ? Effect.andThen(revoked, started)
            : Effect.tap(started, ({ _tag }) => (_tag === "Started" ? Effect.void : revoked))
      )
    return Effect.suspend(() => (isLeft() ? started : issued()))
  }
}
