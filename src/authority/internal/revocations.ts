/**
 * Takes back what provisioners have minted, in fibers of its own: whoever asks for it does not wait.
 */
import { Clock, Deferred, Duration, Effect, FiberMap, Option, Schedule, Semaphore } from "effect"
import * as CredentialProvisioner from "../CredentialProvisioner.ts"
import * as CredentialStore from "../CredentialStore.ts"

export interface Limits {
  readonly revokeTimeout: Duration.Duration
  readonly revokeAttempts: number
  readonly maxRevoking: number
  readonly settle: Duration.Duration
  readonly sweepTimeout: Duration.Duration
  readonly shutdownTimeout: Duration.Duration
}

export interface Revocations {
  /** Stores that a handle is outstanding. It is from here on, also if that fails. */
  readonly remember: (
    outstanding: CredentialStore.Outstanding
  ) => Effect.Effect<void, CredentialProvisioner.ProvisionError>
  /** Takes note that an upstream has brought a handle into being; until then one revocation of it proves nothing. */
  readonly confirm: (outstanding: CredentialStore.Outstanding) => void
  /** Strikes out a handle whose value stands under another one. */
  readonly forget: (outstanding: CredentialStore.Outstanding) => Effect.Effect<void>
  /**
   * Begins to revoke. What an upstream may yet bring into being, since a request for it was given up, is revoked once more at `certain`
   * (milliseconds since the Unix epoch).
   */
  readonly revoke: (outstanding: CredentialStore.Outstanding, certain?: number) => void
  /** Begins to revoke everything stored that is not `kept`, and waits, within bounds, until each is revoked or given up. */
  readonly sweep: (
    kept: (outstanding: CredentialStore.Outstanding) => boolean
  ) => Effect.Effect<void, CredentialStore.CredentialStoreError>
}

/** The longest wait between two attempts that an upstream can ask for. */
const maxRetryAfter = Duration.minutes(5)

/** Exponential from `first` to `most`, jittered, and no sooner than the upstream asks for. */
export const backOff = (
  first: Duration.Input,
  most: Duration.Input
): Schedule.Schedule<unknown, CredentialProvisioner.ProvisionError> =>
  Schedule.min([Schedule.exponential(first), Schedule.spaced(most)]).pipe(
    Schedule.jittered,
    Schedule.setInputType<CredentialProvisioner.ProvisionError>(),
    Schedule.modifyDelay(({ duration, input }) => {
      const asked = Duration.min(Duration.millis(input.retryAfter ?? 0), maxRetryAfter)
      return Effect.succeed(Duration.max(duration, asked))
    })
  )

/** What a provisioner does, with its defects as failures. What it died of is not shown: it may hold a secret. */
export const guarded = <A>(
  provisioner: string,
  effect: Effect.Effect<A, CredentialProvisioner.ProvisionError>
): Effect.Effect<A, CredentialProvisioner.ProvisionError> =>
  Effect.catchDefect(effect, (defect) => {
    const name = defect instanceof Error ? defect.name : typeof defect
    const message = `the provisioner died of ${name}`
    return Effect.fail(new CredentialProvisioner.ProvisionError({ provisioner, reason: "Malformed", message }))
  })

export const within =
  (provisioner: string, duration: Duration.Duration) =>
  <A>(effect: Effect.Effect<A, CredentialProvisioner.ProvisionError>) =>
    Effect.timeoutOrElse(effect, {
      duration,
      orElse: () =>
        Effect.fail(
          new CredentialProvisioner.ProvisionError({
            provisioner,
            reason: "Unavailable",
            message: `no answer within ${Duration.format(duration)}`
          })
        )
    })

export const make = Effect.fnUntraced(function* (limits: Limits, issueTimeout: Duration.Duration) {
  const provisioners = new Map(
    (yield* CredentialProvisioner.Provisioners).map((provisioner) => [provisioner.name, provisioner])
  )
  const store = yield* CredentialStore.CredentialStore
  const permits = yield* Semaphore.make(limits.maxRevoking)
  /** As the store has it, by the id of the record, with the time from which on one revocation is enough. */
  const outstanding = new Map<string, { readonly record: CredentialStore.Outstanding; readonly certain: number }>()

  const attempt = (record: CredentialStore.Outstanding): Effect.Effect<void, CredentialProvisioner.ProvisionError> => {
    const provisioner = provisioners.get(record.provisioner)
    return provisioner === undefined
      ? Effect.fail(
          new CredentialProvisioner.ProvisionError({
            provisioner: record.provisioner,
            reason: "Unsupported",
            message: "this runtime has no provisioner of that name"
          })
        )
      : guarded(
          provisioner.name,
          Effect.suspend(() => provisioner.revoke(record.handle))
        ).pipe(within(provisioner.name, limits.revokeTimeout), permits.withPermits(1))
  }

  const facts = ({ credential, id, job, provisioner }: CredentialStore.Outstanding) => ({
    job,
    credential,
    provisioner,
    record: id
  })

  const forget = (record: CredentialStore.Outstanding) =>
    store.remove(record.id).pipe(
      Effect.matchEffect({
        onSuccess: () => Effect.sync(() => outstanding.delete(record.id)),
        // It will be revoked once more, which does no harm.
        onFailure: ({ message }) =>
          Effect.logWarning("A revoked credential could not be struck out", { ...facts(record), reason: message })
      }),
      Effect.asVoid
    )

  const giveUp = Effect.fnUntraced(function* (
    record: CredentialStore.Outstanding,
    error: CredentialProvisioner.ProvisionError
  ) {
    const reason = `${error.reason}: ${error.message}`
    yield* Effect.logError("A credential could not be revoked and may still be in force", { ...facts(record), reason })
    yield* Effect.catch(store.fail(record.id, { at: yield* Clock.currentTimeMillis, reason }), ({ message }) =>
      Effect.logError("That a credential could not be revoked could not be stored", { ...facts(record), message })
    )
  })

  // The first finaliser is the last to run: by then nothing mints any more.
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      const last = Effect.fnUntraced(function* ({
        certain,
        record
      }: {
        certain: number
        record: CredentialStore.Outstanding
      }) {
        yield* attempt(record)
        if ((yield* Clock.currentTimeMillis) >= certain) yield* forget(record)
      })
      return Effect.forEach(Array.from(outstanding.values()), (entry) => Effect.ignore(last(entry)), {
        concurrency: limits.maxRevoking,
        discard: true
      }).pipe(Effect.interruptible, Effect.timeoutOption(limits.shutdownTimeout))
    }).pipe(
      Effect.andThen(
        Effect.suspend(() =>
          outstanding.size === 0
            ? Effect.void
            : Effect.logWarning("Credentials are left for the next start to revoke", { count: outstanding.size })
        )
      )
    )
  )

  const running = yield* FiberMap.make<string>()
  const run = yield* FiberMap.runtime(running)<never>()
  const schedule = backOff("1 second", "1 minute")

  const revokeFully = (record: CredentialStore.Outstanding) =>
    Effect.retry(attempt(record), {
      schedule,
      while: (error) => error.retryable,
      times: limits.revokeAttempts - 1
    })

  /** Completes once the handle was revoked a first time, or given up. */
  const begin = (record: CredentialStore.Outstanding, certain: number): Deferred.Deferred<void> => {
    const tried = Deferred.makeUnsafe<void>()
    outstanding.set(record.id, { record, certain })
    const revocation = Effect.gen(function* () {
      yield* revokeFully(record)
      yield* Deferred.succeed(tried, undefined)
      const rest = certain - (yield* Clock.currentTimeMillis)
      if (rest > 0) {
        yield* Effect.sleep(rest)
        yield* revokeFully(record)
      }
      yield* forget(record)
    }).pipe(
      Effect.catch((error) => giveUp(record, error)),
      Effect.ensuring(Deferred.succeed(tried, undefined))
    )
    run(record.id, revocation)
    return tried
  }

  const revocations: Revocations = {
    remember: (record) =>
      Effect.suspend(() => {
        outstanding.set(record.id, { record, certain: Number.POSITIVE_INFINITY })
        return Effect.mapError(
          store.add(record),
          ({ message }) =>
            new CredentialProvisioner.ProvisionError({
              provisioner: record.provisioner,
              reason: "Unavailable",
              message
            })
        )
      }).pipe(Effect.uninterruptible),
    confirm: (record) => outstanding.set(record.id, { record, certain: 0 }),
    forget,
    revoke: (record, certain = 0) => {
      if (!FiberMap.hasUnsafe(running, record.id)) begin(record, certain)
    },
    sweep: Effect.fnUntraced(function* (kept) {
      const found = (yield* store.list).filter(
        (entry) => !kept(entry.outstanding) && !FiberMap.hasUnsafe(running, entry.outstanding.id)
      )
      if (found.length === 0) return
      const waits = found.map(({ outstanding: record }) => {
        const certain = record.issuedAt + Duration.toMillis(issueTimeout) + Duration.toMillis(limits.settle)
        return Deferred.await(begin(record, certain))
      })
      const inTime = yield* Effect.timeoutOption(Effect.all(waits, { discard: true }), limits.sweepTimeout)
      const facts = { count: found.length, tried: Option.isSome(inTime) ? "all" : "not yet all" }
      yield* Effect.logInfo("Credentials of an earlier life are being revoked", facts)
    })
  }
  return revocations
})
