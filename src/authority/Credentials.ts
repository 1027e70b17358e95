/**
 * The life of the credentials of all jobs of a runtime (§9.8.2): minted before a job is accepted, replaced before they run out, revoked when
 * it has ended, however it ends, and also if this process does not live to see it.
 *
 * What is outstanding at an upstream is in the `CredentialStore` before the upstream knows of it, or at the latest before its value is given
 * out. Values are here alone, `Redacted`, and only as long as their job runs.
 *
 * @since 0.1.0
 */
import {
  Context,
  Deferred,
  Duration,
  Effect,
  Equal,
  Exit,
  Fiber,
  FiberSet,
  Layer,
  Option,
  type Redacted,
  Semaphore
} from "effect"
import { SecureRandom } from "effect/crypto"
import type * as ArcpError from "../protocol/ArcpError.ts"
import type * as Credential from "../protocol/Credential.ts"
import * as Ids from "../protocol/Ids.ts"
import * as CredentialProvisioner from "./CredentialProvisioner.ts"
import * as CredentialStore from "./CredentialStore.ts"
import * as Holdings from "./internal/holdings.ts"
import * as Revocations from "./internal/revocations.ts"
import * as Rotation from "./internal/rotation.ts"

/**
 * How a job's credentials are to be handled.
 *
 * @category models
 * @since 0.1.0
 */
export interface Terms {
  /** Whether the connection of the submitter is encrypted or local; over another, none are issued (§14). */
  readonly secure: boolean
  /**
   * Tells the submitter that a credential has a new value, which {@link Credentials} already has as the current one. The former value is
   * revoked when this is done. `told` is done once it was said that this value was sent, or the job has ended.
   */
  readonly onRotated: (credential: Ids.CredentialId, told: Effect.Effect<void>) => Effect.Effect<void>
}

/**
 * The credentials of jobs, from their issue to their revocation (§9.8).
 *
 * @category services
 * @since 0.1.0
 */
export class Credentials extends Context.Service<
  Credentials,
  {
    /** Whether `provisioned_credentials` may be offered (§14): there is a provisioner, and a durable list of what it has issued. */
    readonly available: boolean
    /**
     * Issues what a job is to have and runs `accept` with it, which accepts the job, and is not interrupted unless it says so itself. If
     * that does not succeed, everything is revoked. From then on the credentials live until {@link revokeAll}. Where they are not
     * available, or not over this connection, there are none.
     */
    readonly issueFor: <A, E, R>(
      request: CredentialProvisioner.Request,
      terms: Terms,
      accept: (credentials: ReadonlyArray<Credential.Credential>) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | ArcpError.BudgetExhausted | ArcpError.InternalError, R>
    /** The credentials of a job with the values that they have now; none once it has ended. */
    readonly current: (job: Ids.JobId) => Effect.Effect<ReadonlyArray<Credential.Credential>>
    /** The value that a credential has now; nothing once its job has ended. */
    readonly value: (job: Ids.JobId, credential: Ids.CredentialId) => Effect.Effect<Option.Option<Redacted.Redacted>>
    /** The submitter was sent this value of a credential (§9.8.2). */
    readonly told: (job: Ids.JobId, credential: Ids.CredentialId, value: Redacted.Redacted) => Effect.Effect<void>
    /** Replaces a credential now. `false` if the job holds no such credential any more, or the upstream gave the same value again. */
    readonly rotate: (
      job: Ids.JobId,
      credential: Ids.CredentialId
    ) => Effect.Effect<boolean, CredentialProvisioner.ProvisionError>
    /**
     * The job has ended, and its terminal is stored: its credentials are void from now on, and those of the jobs that it has delegated.
     * Revoking them at the upstream goes on behind this, with as many attempts as it takes within bounds. Idempotent.
     */
    readonly revokeAll: (job: Ids.JobId) => Effect.Effect<void>
    /**
     * Revokes everything outstanding that belongs to no running job: what an earlier life of the runtime left, and what was given up. Done
     * once by the layer, before it is there. Waits, within bounds, until each is revoked or given up; the rest is tried on behind this.
     */
    readonly sweep: Effect.Effect<void, CredentialStore.CredentialStoreError>
    /** What could not be revoked and may still be in force: somebody has to look at the upstream. Each was logged as an error, too. */
    readonly unrevocable: Effect.Effect<ReadonlyArray<CredentialStore.Entry>, CredentialStore.CredentialStoreError>
  }
>()("arcp/authority/Credentials") {}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Credentials of one job; more are refused. Default 16. */
  readonly maxPerJob?: number
  /** Jobs for which credentials are being issued at once; others wait. Default 64. */
  readonly maxIssuing?: number
  /** How long all credentials of one job may take, attempts included. Default 30 seconds. */
  readonly issueTimeout?: Duration.Input
  /** How often a provisioner is asked while its upstream is not available. Default 3. */
  readonly issueAttempts?: number
  /** How often a credential that is about to run out is tried to be replaced. Default 10. */
  readonly rotateAttempts?: number
  /** The least time between two replacements of a credential, whatever the provisioner says. Default 10 seconds. */
  readonly minRenewal?: Duration.Input
  /** How long telling the submitter may hold up the revocation of the former value. Default 10 seconds. */
  readonly announceTimeout?: Duration.Input
  /** How long one attempt to revoke may take. Default 30 seconds. */
  readonly revokeTimeout?: Duration.Input
  /** Attempts to revoke while the upstream is not available, before it is left to an operator. Default 10, over about five minutes. */
  readonly revokeAttempts?: number
  /** Attempts to revoke at the same time. Default 8. */
  readonly maxRevoking?: number
  /** How long an upstream may yet work on a request that was given up, before what it mints is revoked for good. Default 30 seconds. */
  readonly settle?: Duration.Input
  /** How long the start waits for what an earlier life left to be revoked. Default 30 seconds. */
  readonly sweepTimeout?: Duration.Input
  /** How long the end of the runtime waits for that. Default 10 seconds. */
  readonly shutdownTimeout?: Duration.Input
}

/**
 * The options where {@link layer} is given no others: of a runtime that is put together by somebody else. None, unless somebody provides some.
 *
 * @category services
 * @since 0.1.0
 */
export const Defaults = Context.Reference<Options>("arcp/authority/Credentials/Defaults", { defaultValue: () => ({}) })

/**
 * The bounds for a runtime whose host names none of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDefaults = (options: Options): Layer.Layer<never> => Layer.succeed(Defaults, options)

/** A bound that leaves no room at all is a mistake in the program. */
const limitsOf = (options: Options) => {
  for (const [option, value] of Object.entries(options)) {
    if (typeof value === "number" && !(value >= 1)) {
      throw new RangeError(`Credentials.${option}: ${value} is not a number of at least 1`)
    }
  }
  return {
    maxPerJob: options.maxPerJob ?? 16,
    maxIssuing: options.maxIssuing ?? 64,
    issueTimeout: Duration.fromInputUnsafe(options.issueTimeout ?? "30 seconds"),
    issueAttempts: options.issueAttempts ?? 3,
    rotateAttempts: options.rotateAttempts ?? 10,
    minRenewal: Duration.toMillis(options.minRenewal ?? "10 seconds"),
    announceTimeout: Duration.fromInputUnsafe(options.announceTimeout ?? "10 seconds"),
    revokeTimeout: Duration.fromInputUnsafe(options.revokeTimeout ?? "30 seconds"),
    revokeAttempts: options.revokeAttempts ?? 10,
    maxRevoking: options.maxRevoking ?? 8,
    settle: Duration.fromInputUnsafe(options.settle ?? "30 seconds"),
    sweepTimeout: Duration.fromInputUnsafe(options.sweepTimeout ?? "30 seconds"),
    shutdownTimeout: Duration.fromInputUnsafe(options.shutdownTimeout ?? "10 seconds")
  }
}

const make = Effect.fnUntraced(function* (options: Options) {
  const limits = limitsOf({ ...(yield* Defaults), ...options })
  const provisioners = yield* CredentialProvisioner.Provisioners
  const store = yield* CredentialStore.CredentialStore
  const services = yield* Effect.context<SecureRandom.SecureRandom>()
  // In this order, for they end in the other: what mints first, what revokes last.
  const revocations = yield* Revocations.make(limits, limits.issueTimeout)
  const holdings = yield* Holdings.make(revocations, limits.settle)
  const permits = yield* Semaphore.make(limits.maxIssuing)
  const rotation = yield* Rotation.make(limits, holdings, revocations, permits)
  const issuing = yield* FiberSet.runtime(yield* FiberSet.make<unknown, unknown>())<never>()

  const freshName = Ids.makeCredentialId.pipe(
    Effect.map((id) => [id, 1] as const),
    Effect.provideContext(services)
  )

  const remember = (held: Holdings.Held, provisioner: CredentialProvisioner.Provisioner, handle: string) =>
    holdings.remember(held.records, provisioner, held.request.job, handle, freshName)

  const ask = Effect.fnUntraced(function* (held: Holdings.Held, provisioner: CredentialProvisioner.Provisioner) {
    const once = Effect.suspend(() =>
      provisioner.issue(held.request, (handle) => Effect.asVoid(remember(held, provisioner, handle)))
    )
    const issued = yield* Revocations.guarded(provisioner.name, once).pipe(
      Effect.retry({
        schedule: Revocations.backOff("250 millis", "5 seconds"),
        while: (error) => error.retryable,
        times: limits.issueAttempts - 1
      }),
      Revocations.within(provisioner.name, limits.issueTimeout)
    )
    for (const { handle } of issued) held.certain.add(Holdings.keyOf(provisioner, handle))
    return issued.map((one) => ({ provisioner, one }))
  })

  /** Takes over what was issued: each is written down, matched with its handle and given to nobody else. */
  const adopt = Effect.fnUntraced(function* (
    held: Holdings.Held,
    issued: ReadonlyArray<{
      readonly provisioner: CredentialProvisioner.Provisioner
      readonly one: CredentialProvisioner.Issued
    }>
  ) {
    const taken: Array<Holdings.Live> = []
    for (const { one: given, provisioner } of issued) {
      const record = yield* remember(held, provisioner, given.handle)
      const one = yield* Holdings.check(provisioner, given)
      const { value } = one.credential
      if (holdings.isTaken(value)) {
        // Another job is using it: to revoke it here would take it away there.
        held.records.delete(Holdings.keyOf(provisioner, one.handle))
        yield* revocations.forget(record)
        return yield* Holdings.malformed(provisioner, "the upstream gave the value of another credential")
      }
      if (taken.some((other) => other.record === record || Equal.equals(other.issued.credential.value, value))) {
        return yield* Holdings.malformed(provisioner, "two credentials have the same handle or the same value")
      }
      if (taken.length >= limits.maxPerJob) {
        return yield* Holdings.malformed(provisioner, `a job has at most ${limits.maxPerJob} credentials`)
      }
      const { credential: id } = record
      taken.push({
        id,
        provisioner,
        issued: one,
        record,
        generation: 1,
        rotation: undefined,
        renewal: undefined,
        told: undefined
      })
    }
    if (held.ended) return yield* Holdings.gone(held)
    for (const live of taken) {
      held.credentials.set(live.id, live)
      holdings.setValue(live, live.issued)
      revocations.confirm(live.record)
    }
    // What is left are attempts that failed before one succeeded.
    holdings.discard(held.records, held.certain, new Set(taken.map(({ record }) => record)))
  }, Effect.uninterruptible)

  /** Goes on if its submitter goes: only a call that has come to its end says for sure what there is to revoke. */
  const issue = (held: Holdings.Held) =>
    Effect.forEach(provisioners, (provisioner) => ask(held, provisioner), { concurrency: "unbounded" }).pipe(
      permits.withPermits(1),
      Effect.flatMap((issued) => adopt(held, issued.flat())),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          held.issuing = false
          if (Exit.isFailure(exit)) holdings.end(held)
        })
      )
    )

  const issueFor: Credentials["Service"]["issueFor"] = (request, terms, accept) => {
    if (!available || !terms.secure) return accept([])
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        if (holdings.get(request.job) !== undefined) {
          return yield* Effect.die(new Error(`${request.job} has its credentials already`))
        }
        const held: Holdings.Held = {
          request,
          onRotated: terms.onRotated,
          credentials: new Map(),
          records: new Map(),
          certain: new Set(),
          issuing: true,
          ended: false
        }
        holdings.register(held)
        const exit = yield* restore(Fiber.await(issuing(issue(held)))).pipe(
          Effect.onInterrupt(() => Effect.sync(() => holdings.end(held)))
        )
        if (Exit.isFailure(exit)) {
          // There is no failure if this service itself is coming to its end.
          const error = Option.getOrElse(Exit.findErrorOption(exit), () => Holdings.gone(held))
          const { message, provisioner, reason } = error
          const facts = { job: request.job, provisioner, reason: `${reason}: ${message}` }
          yield* Effect.logWarning("The credentials of a job could not be issued", facts)
          return yield* CredentialProvisioner.toArcpError(error)
        }
        // Nothing comes between the acceptance of a job and its being known here: a job that runs must not lose its credentials.
        const accepted = yield* Effect.suspend(() =>
          accept(Array.from(held.credentials.values(), Holdings.wireOf))
        ).pipe(Effect.onError(() => Effect.sync(() => holdings.end(held))))
        for (const live of held.credentials.values()) rotation.keepAlive(held, live)
        return accepted
      })
    ).pipe(Effect.withSpan("Credentials.issueFor", { attributes: { "arcp.job.id": request.job } }))
  }

  const heldBy = (job: Ids.JobId): ReadonlyMap<Ids.CredentialId, Holdings.Live> =>
    holdings.get(job)?.credentials ?? new Map()

  const rotate = Effect.fn("Credentials.rotate")(function* (job: Ids.JobId, credential: Ids.CredentialId) {
    const held = holdings.get(job)
    const live = heldBy(job).get(credential)
    if (held === undefined || live === undefined) return false
    const { name: provisioner, rotate } = live.provisioner
    if (rotate === undefined) {
      const message = "it replaces no credentials"
      return yield* new CredentialProvisioner.ProvisionError({ provisioner, reason: "Unsupported", message })
    }
    return yield* rotation.rotateNow(held, live, rotate)
  })

  const swept = yield* Effect.exit(revocations.sweep(() => false))
  if (Exit.isFailure(swept)) {
    yield* Effect.logError("What an earlier life has issued is unknown, so no credentials are issued", swept.cause)
  }
  if (provisioners.length > 0 && !store.durable) {
    yield* Effect.logWarning("No credentials are issued: what is outstanding would not survive a crash")
  }
  const available = provisioners.length > 0 && store.durable && Exit.isSuccess(swept)

  return Credentials.of({
    available,
    issueFor,
    current: (job) => Effect.sync(() => Array.from(heldBy(job).values(), Holdings.wireOf)),
    value: (job, credential) =>
      Effect.sync(() =>
        Option.map(Option.fromUndefinedOr(heldBy(job).get(credential)), ({ issued }) => issued.credential.value)
      ),
    told: (job, credential, value) =>
      Effect.sync(() => {
        const live = heldBy(job).get(credential)
        // Of a value that was replaced meanwhile it is of no use to know.
        if (live?.told !== undefined && Equal.equals(live.issued.credential.value, value)) {
          Deferred.doneUnsafe(live.told, Effect.void)
        }
      }),
    rotate,
    revokeAll: (job) => Effect.sync(() => holdings.endJob(job)),
    sweep: revocations.sweep((record) => holdings.get(record.job) !== undefined),
    unrevocable: Effect.map(store.list, (entries) => entries.filter(({ failure }) => Option.isSome(failure)))
  })
})

/**
 * Built once it has revoked what an earlier life of the runtime left behind, or has tried to. Ended, it revokes what is outstanding. An option
 * that leaves no room dies with a `RangeError` that names it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Credentials, never, CredentialStore.CredentialStore | SecureRandom.SecureRandom> =>
  Layer.effect(Credentials, make(options))
