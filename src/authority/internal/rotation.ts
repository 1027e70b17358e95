/**
 * Replaces credentials of running jobs: on demand, and before they run out.
 */
import { Clock, Deferred, type Duration, Effect, Fiber, FiberSet, Option, Redacted, type Semaphore } from "effect"
import type * as CredentialProvisioner from "../CredentialProvisioner.ts"
import * as Holdings from "./holdings.ts"
import * as Revocations from "./revocations.ts"

export interface Limits {
  readonly issueTimeout: Duration.Duration
  readonly rotateAttempts: number
  /** Milliseconds. */
  readonly minRenewal: number
  readonly announceTimeout: Duration.Duration
}

type Rotate = NonNullable<CredentialProvisioner.Provisioner["rotate"]>

export const make = Effect.fnUntraced(function* (
  limits: Limits,
  holdings: Holdings.Holdings,
  revocations: Revocations.Revocations,
  permits: Semaphore.Semaphore
) {
  const clock = yield* Clock.Clock
  const rotating = yield* FiberSet.runtime(yield* FiberSet.make<unknown, unknown>())<never>()
  const announcing = yield* FiberSet.runtime(yield* FiberSet.make<unknown, unknown>())<never>()
  const renewing = yield* FiberSet.runtime(yield* FiberSet.make<unknown, unknown>())<never>()

  const factsOf = (held: Holdings.Held, { id, provisioner }: Holdings.Live) => ({
    job: held.request.job,
    credential: id,
    provisioner: provisioner.name
  })

  /** Tells the submitter, and is not held up for longer than it may be. */
  const announce = Effect.fnUntraced(function* (held: Holdings.Held, live: Holdings.Live) {
    const told = Deferred.makeUnsafe<void>()
    live.told = told
    const telling = announcing(
      Effect.catchDefect(held.onRotated(live.id, Deferred.await(told)), () =>
        Effect.logError("A submitter could not be told of a rotated credential", factsOf(held, live))
      )
    )
    yield* Effect.timeoutOption(Fiber.await(telling), limits.announceTimeout)
    Deferred.doneUnsafe(told, Effect.void)
  })

  const replace = Effect.fnUntraced(function* (held: Holdings.Held, live: Holdings.Live, rotate: Rotate) {
    const { provisioner, record: former } = live
    const formerKey = Holdings.keyOf(provisioner, former.handle)
    const records: Holdings.Records = new Map([[formerKey, former]])
    const certain = new Set<string>()
    const remember = (handle: string) =>
      holdings.remember(
        records,
        provisioner,
        held.request.job,
        handle,
        Effect.sync(() => [live.id, ++live.generation] as const)
      )

    /** Decides what the call has brought; fails before anything is changed. */
    const take = Effect.fnUntraced(function* (given: CredentialProvisioner.Issued) {
      const key = Holdings.keyOf(provisioner, given.handle)
      const record = yield* remember(given.handle)
      certain.add(key)
      const next = yield* Holdings.check(provisioner, given)
      if (held.ended) return yield* Holdings.gone(held)
      const { value } = next.credential
      const isSame = Redacted.value(value) === Redacted.value(live.issued.credential.value)
      if (!isSame && holdings.isTaken(value)) {
        records.delete(key)
        yield* revocations.forget(record)
        return yield* Holdings.malformed(provisioner, "the upstream gave the value of another credential")
      }
      held.records.delete(formerKey)
      held.records.set(key, record)
      held.certain.add(key)
      holdings.setValue(live, next)
      live.record = record
      revocations.confirm(record)
      holdings.discard(records, certain, new Set([former, record]))
      // Both handles stand for the one value now, and to revoke by the former would take it away.
      if (isSame && record !== former) yield* revocations.forget(former)
      return { isSame, record }
    }, Effect.uninterruptible)

    const { isSame, record } = yield* Revocations.guarded(
      provisioner.name,
      Effect.suspend(() => rotate(held.request, live.issued, (handle) => Effect.asVoid(remember(handle))))
    ).pipe(
      Revocations.within(provisioner.name, limits.issueTimeout),
      permits.withPermits(1),
      Effect.flatMap(take),
      Effect.onError(() => Effect.sync(() => holdings.discard(records, certain, new Set([former]))))
    )
    if (isSame) return false
    yield* announce(held, live)
    if (record !== former) revocations.revoke(former)
    return true
  })

  /** One at a time for a credential, and not interrupted with who asks for it. */
  const rotateNow = (
    held: Holdings.Held,
    live: Holdings.Live,
    rotate: Rotate
  ): Effect.Effect<boolean, CredentialProvisioner.ProvisionError> =>
    Effect.suspend(() => {
      if (live.rotation === undefined || live.rotation.pollUnsafe() !== undefined) {
        live.rotation = rotating(replace(held, live, rotate))
      }
      return Fiber.join(live.rotation)
    })

  /** Sees to it that a credential is replaced whenever its time has come, while its job runs. */
  const keepAlive = (held: Holdings.Held, live: Holdings.Live) => {
    const { rotate } = live.provisioner
    if (held.ended || rotate === undefined || Option.isNone(live.issued.renewAt)) return
    const renewal = Effect.gen(function* () {
      let earliest = clock.currentTimeMillisUnsafe() + limits.minRenewal
      while (!held.ended && Option.isSome(live.issued.renewAt)) {
        const rest = Math.max(live.issued.renewAt.value, earliest) - clock.currentTimeMillisUnsafe()
        if (rest > 0) {
          // It may have been replaced meanwhile, and then has another time to live.
          yield* Effect.sleep(rest)
          continue
        }
        yield* Effect.retry(rotateNow(held, live, rotate), {
          schedule: Revocations.backOff("1 second", "1 minute"),
          while: (error) => error.retryable && !held.ended,
          times: limits.rotateAttempts - 1
        })
        earliest = clock.currentTimeMillisUnsafe() + limits.minRenewal
      }
    }).pipe(
      Effect.catch(({ message, reason }) =>
        held.ended
          ? Effect.void
          : Effect.logError("A credential could not be renewed and will run out", {
              ...factsOf(held, live),
              reason: `${reason}: ${message}`
            })
      )
    )
    live.renewal = renewing(renewal)
  }

  return { rotateNow, keepAlive }
})
