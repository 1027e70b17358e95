/**
 * What running jobs hold: their credentials, the values that these have now, and every handle that is to be revoked with the job.
 */
import { Clock, Deferred, Duration, Effect, type Fiber, MutableHashMap, Option, Redacted, Schema } from "effect"
import * as Credential from "../../protocol/Credential.ts"
import type * as Ids from "../../protocol/Ids.ts"
import * as CredentialProvisioner from "../CredentialProvisioner.ts"
import type * as CredentialStore from "../CredentialStore.ts"
import type * as Revocations from "./revocations.ts"

/** One credential of a running job. */
export interface Live {
  readonly id: Ids.CredentialId
  readonly provisioner: CredentialProvisioner.Provisioner
  issued: CredentialProvisioner.Issued
  record: CredentialStore.Outstanding
  /** Counts its handles. */
  generation: number
  rotation: Fiber.Fiber<boolean, CredentialProvisioner.ProvisionError> | undefined
  /** Replaces it in time, as long as the job runs. */
  renewal: Fiber.Fiber<void> | undefined
  /** Done once the submitter has been sent the value that it has now; nothing if nobody waits for that. */
  told: Deferred.Deferred<void> | undefined
}

/** Handles by their provisioner and themselves. */
export type Records = Map<string, CredentialStore.Outstanding>

/** What one job holds. */
export interface Held {
  readonly request: CredentialProvisioner.Request
  readonly onRotated: (credential: Ids.CredentialId, told: Effect.Effect<void>) => Effect.Effect<void>
  readonly credentials: Map<Ids.CredentialId, Live>
  /** All that is to be revoked with the job. */
  readonly records: Records
  /** The handles of calls that came to their end: these do exist. */
  readonly certain: Set<string>
  /** Whether provisioners are still at work; what comes of it is then not for others to revoke. */
  issuing: boolean
  ended: boolean
}

/** Handles that may be remembered for one job or one rotation, those of attempts that failed included. */
const maxRemembered = 64

export const keyOf = (provisioner: CredentialProvisioner.Provisioner, handle: string) => `${provisioner.name} ${handle}`

export const wireOf = ({ id, issued }: Live): Credential.Credential => ({ id, ...issued.credential })

export const malformed = (provisioner: CredentialProvisioner.Provisioner, message: string) =>
  new CredentialProvisioner.ProvisionError({ provisioner: provisioner.name, reason: "Malformed", message })

const encode = Schema.encodeUnknownOption(Credential.Credential)

/** What was issued, as it can be told. Fails for what nobody could use. */
export const check = (
  provisioner: CredentialProvisioner.Provisioner,
  issued: CredentialProvisioner.Issued
): Effect.Effect<CredentialProvisioner.Issued, CredentialProvisioner.ProvisionError> => {
  const { endpoint, scheme, value: given, ...rest } = issued.credential
  const secret = Redacted.value(given)
  if (scheme === "" || secret === "" || endpoint === "") {
    return Effect.fail(malformed(provisioner, "a credential without scheme, value or endpoint"))
  }
  // However the provisioner has labelled it.
  const value = Redacted.make(secret, { label: "credential" })
  const credential = { ...rest, scheme, value, endpoint }
  return Option.isNone(encode({ id: "cred_", ...credential }))
    ? Effect.fail(malformed(provisioner, "a credential that is not as the protocol has it"))
    : Effect.succeed({ ...issued, credential })
}

export const gone = (held: Held) =>
  new CredentialProvisioner.ProvisionError({
    provisioner: "credentials",
    reason: "Rejected",
    message: `the job ${held.request.job} has ended`
  })

export const make = Effect.fnUntraced(function* (revocations: Revocations.Revocations, settle: Duration.Duration) {
  const clock = yield* Clock.Clock
  const jobs = new Map<Ids.JobId, Held>()
  const children = new Map<Ids.JobId, Set<Ids.JobId>>()
  /** Which credential has a value: no value is given to two (§9.8.2). */
  const values = MutableHashMap.empty<Redacted.Redacted, Ids.CredentialId>()

  /** Since one revocation proves nothing while an upstream may still be at work. */
  const settled = () => clock.currentTimeMillisUnsafe() + Duration.toMillis(settle)

  const remember = Effect.fnUntraced(function* (
    records: Records,
    provisioner: CredentialProvisioner.Provisioner,
    job: Ids.JobId,
    handle: string,
    name: Effect.Effect<readonly [credential: Ids.CredentialId, generation: number]>
  ): Effect.fn.Return<CredentialStore.Outstanding, CredentialProvisioner.ProvisionError> {
    const key = keyOf(provisioner, handle)
    const known = records.get(key)
    if (known !== undefined) return known
    if (handle.length < 1 || handle.length > CredentialProvisioner.maxHandleLength) {
      return yield* malformed(provisioner, "a handle has an impossible length")
    }
    if (records.size >= maxRemembered) return yield* malformed(provisioner, "it remembers too many handles")
    const [credential, generation] = yield* name
    const issuedAt = clock.currentTimeMillisUnsafe()
    const id = `${credential}.${generation}`
    const record = { id, provisioner: provisioner.name, handle, job, credential, issuedAt }
    records.set(key, record)
    yield* revocations.remember(record)
    return record
  }, Effect.uninterruptible)

  const register = (held: Held) => {
    const { job, parent } = held.request
    jobs.set(job, held)
    if (Option.isNone(parent)) return
    const siblings = children.get(parent.value)
    if (siblings === undefined) children.set(parent.value, new Set([job]))
    else siblings.add(job)
  }

  /** From here on nobody gets a value of the job any more. */
  const unregister = (held: Held) => {
    const { job, parent } = held.request
    held.ended = true
    jobs.delete(job)
    if (Option.isSome(parent)) {
      const siblings = children.get(parent.value)
      siblings?.delete(job)
      if (siblings?.size === 0) children.delete(parent.value)
    }
    for (const { issued, renewal, told } of held.credentials.values()) {
      MutableHashMap.remove(values, issued.credential.value)
      renewal?.interruptUnsafe()
      // There is nobody to be told any more.
      if (told !== undefined) Deferred.doneUnsafe(told, Effect.void)
    }
  }

  const discard = (records: Records, certain: ReadonlySet<string>, kept: ReadonlySet<CredentialStore.Outstanding>) => {
    for (const [key, record] of records) {
      if (kept.has(record)) continue
      records.delete(key)
      revocations.revoke(record, certain.has(key) ? 0 : settled())
    }
  }

  const end = (held: Held) => {
    if (!held.ended) unregister(held)
    if (!held.issuing) discard(held.records, held.certain, new Set())
  }

  const endJob = (job: Ids.JobId): void => {
    const held = jobs.get(job)
    if (held !== undefined) end(held)
    // However they were delegated: what a parent leaves behind must not spend (§9.8.2).
    for (const child of Array.from(children.get(job) ?? [])) endJob(child)
  }

  return {
    get: (job: Ids.JobId): Held | undefined => jobs.get(job),
    register,
    /** Makes what a job holds void, and revokes it as far as it exists. */
    end,
    /** As {@link end} for a job and those that it has delegated. */
    endJob,
    /** Writes a handle down under the name of its credential, if it is new. */
    remember,
    /** Revokes what is not kept: attempts that came to nothing. */
    discard,
    /** Whether a credential of any job has this value. */
    isTaken: (value: Redacted.Redacted): boolean => MutableHashMap.has(values, value),
    /** Gives a credential its value, instead of the one that it had. */
    setValue: (live: Live, issued: CredentialProvisioner.Issued) => {
      MutableHashMap.remove(values, live.issued.credential.value)
      MutableHashMap.set(values, issued.credential.value, live.id)
      live.issued = issued
    }
  }
})

export type Holdings = Effect.Success<ReturnType<typeof make>>
