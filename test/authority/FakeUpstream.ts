/**
 * An upstream in memory with a provisioner in front of it: keeps keys by their names as a real one does, and fails, hangs or dies when the
 * test says so.
 */
import { type BigDecimal, Clock, type Context, Deferred, Effect, Layer, Option, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { KeyValueStore } from "effect/persistence"
import * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import * as Lease from "../../src/authority/Lease.ts"
import type * as Capability from "../../src/protocol/Capability.ts"
import type * as Ids from "../../src/protocol/Ids.ts"

/** What the values contain, to be searched for where none may be. */
export const canary = "CANARY"

export const job = (name: string) => name as Ids.JobId

export const request = (
  name: string,
  options: {
    readonly grants?: Capability.Grants
    readonly expiresAt?: string
    readonly parent?: string
    readonly budget?: Effect.Effect<ReadonlyMap<string, BigDecimal.BigDecimal>>
  } = {}
): CredentialProvisioner.Request => {
  const constraints = options.expiresAt === undefined ? {} : { expires_at: options.expiresAt }
  const compiled = Lease.compile(options.grants ?? {}, constraints)
  if (compiled._tag === "Failure") throw compiled.failure
  const lease = compiled.success
  return {
    job: job(name),
    agent: "writer@1.0.0",
    principal: "ada",
    parent: Option.map(Option.fromUndefinedOr(options.parent), job),
    lease,
    budget: options.budget ?? Effect.succeed(lease.budget)
  }
}

/** How a call is to go: an error, a hang, or something to do first. */
export type Fault = Effect.Effect<void, CredentialProvisioner.ProvisionError>

export interface FakeUpstream {
  /** Keys in force: from their handle to their value. */
  readonly keys: Map<string, string>
  /** Every call, in order. */
  readonly calls: Array<string>
  readonly error: (reason: CredentialProvisioner.Reason, retryAfter?: number) => CredentialProvisioner.ProvisionError
  /** The handles of which revocation was asked, each time that it was. */
  readonly revoked: () => ReadonlyArray<string>
  readonly provisioner: CredentialProvisioner.Provisioner
  /** How it behaves; to be changed by tests. */
  readonly is: {
    /** How many credentials a job gets. */
    count: number
    /** Milliseconds that a key lasts before it has to be replaced. */
    lifetime: number | undefined
    /** Run while a call is under way: before its key is made, ... */
    beforeIssue: Fault
    /** ... or after that, and before it is returned. */
    afterIssue: Fault
    beforeRotate: Fault
    /** After how many milliseconds a key is made for a call that is never answered. */
    late: number | undefined
    beforeRevoke: Fault
    /** What it makes of what it would give. */
    shaped: (issued: CredentialProvisioner.Issued) => CredentialProvisioner.Issued
    nextHandle: () => string
    nextValue: () => string
  }
}

export const make = (name = "gateway", options: { readonly rotates?: boolean } = {}): FakeUpstream => {
  const keys = new Map<string, string>()
  const calls: Array<string> = []
  let made = 0
  const is: FakeUpstream["is"] = {
    count: 1,
    lifetime: undefined,
    beforeIssue: Effect.void,
    afterIssue: Effect.void,
    beforeRotate: Effect.void,
    late: undefined,
    beforeRevoke: Effect.void,
    shaped: (issued) => issued,
    nextHandle: () => `${name}-key-${made}`,
    nextValue: () => `${canary}-${name}-${made}`
  }

  const mint = Effect.fnUntraced(function* (remember: CredentialProvisioner.Remember, between: () => Fault) {
    made++
    const handle = is.nextHandle()
    const value = is.nextValue()
    yield* remember(handle)
    if (is.late !== undefined) {
      yield* Effect.forkDetach(
        Effect.delay(
          Effect.sync(() => keys.set(handle, value)),
          is.late
        )
      )
      return yield* Effect.never
    }
    yield* between()
    keys.set(handle, value)
    calls.push(`made ${handle}`)
    const issued: CredentialProvisioner.Issued = {
      credential: {
        scheme: "bearer",
        value: Redacted.make(value, { label: "credential" }),
        endpoint: "https://gateway.example/v1"
      },
      handle,
      renewAt: is.lifetime === undefined ? Option.none() : Option.some((yield* Clock.currentTimeMillis) + is.lifetime)
    }
    return is.shaped(issued)
  })

  const rotate: NonNullable<CredentialProvisioner.Provisioner["rotate"]> = (_, current, remember) =>
    Effect.suspend(() => {
      calls.push(`rotate ${current.handle}`)
      return mint(remember, () => is.beforeRotate)
    })

  return {
    keys,
    calls,
    is,
    error: (reason, retryAfter) =>
      new CredentialProvisioner.ProvisionError({
        provisioner: name,
        reason,
        message: "as the test says",
        ...(retryAfter === undefined ? undefined : { retryAfter })
      }),
    revoked: () => calls.flatMap((call) => (call.startsWith("revoke ") ? [call.slice("revoke ".length)] : [])),
    provisioner: {
      name,
      issue: Effect.fnUntraced(function* (asked, remember) {
        calls.push(`issue ${asked.job}`)
        const all: Array<CredentialProvisioner.Issued> = []
        for (let index = 0; index < is.count; index++) all.push(yield* mint(remember, () => is.beforeIssue))
        yield* is.afterIssue
        return all
      }),
      ...(options.rotates === false ? undefined : { rotate }),
      revoke: Effect.fnUntraced(function* (handle) {
        calls.push(`revoke ${handle}`)
        yield* is.beforeRevoke
        keys.delete(handle)
      })
    }
  }
}

/** Waits for the test to let it go on, and tells that it waits. */
export const gate = Effect.gen(function* () {
  const reached = yield* Deferred.make<void>()
  const opened = yield* Deferred.make<void>()
  return {
    pass: Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(opened)),
    reached: Deferred.await(reached),
    open: Deferred.succeed(opened, undefined)
  }
})

/** A list of what is outstanding over this store. */
export const durableOver = (context: Context.Context<KeyValueStore.KeyValueStore>) => ({
  layer: CredentialStore.layerKeyValueStore({ durable: true }).pipe(
    Layer.provide(Layer.succeedContext(context)),
    Layer.orDie
  )
})

/** A list that survives what is built over it. */
export const durable = Effect.map(Layer.build(KeyValueStore.layerMemory), durableOver)

/** One life of a runtime's credentials. */
export const life = (
  upstreams: ReadonlyArray<FakeUpstream>,
  store: Layer.Layer<CredentialStore.CredentialStore>,
  options?: Credentials.Options
) =>
  Layer.fresh(Credentials.layer(options)).pipe(
    Layer.provideMerge(Layer.fresh(store)),
    Layer.provide(
      CredentialProvisioner.layerAll(upstreams.map((upstream) => Effect.succeed(upstream.provisioner))).pipe(
        Layer.orDie
      )
    ),
    Layer.provide(SecureRandom.layerWebCrypto)
  )

/** A life that can be killed: whatever it still begins then has no effect, while calls that have reached the upstream come to their end. */
export const mortal = (
  upstream: FakeUpstream,
  store: Layer.Layer<CredentialStore.CredentialStore>,
  options?: Credentials.Options
) => {
  let isAlive = true
  const living = <A, E>(effect: Effect.Effect<A, E>) => Effect.suspend(() => (isAlive ? effect : Effect.never))
  const { provisioner } = upstream
  const { rotate } = provisioner
  const mortals = {
    ...upstream,
    provisioner: {
      ...provisioner,
      issue: (asked: CredentialProvisioner.Request, remember: CredentialProvisioner.Remember) =>
        living(provisioner.issue(asked, remember)),
      ...(rotate === undefined
        ? undefined
        : {
            rotate: ((asked, current, remember) => living(rotate(asked, current, remember))) satisfies typeof rotate
          }),
      revoke: (handle: string) => living(provisioner.revoke(handle))
    }
  }
  const mortalStore = Layer.effect(
    CredentialStore.CredentialStore,
    CredentialStore.CredentialStore.useSync(({ add, durable, fail, list, remove }) => ({
      durable,
      add: (record) => living(add(record)),
      fail: (id, failure) => living(fail(id, failure)),
      remove: (id) => living(remove(id)),
      list: living(list)
    }))
  ).pipe(Layer.provide(Layer.fresh(store)))
  return {
    layer: life([mortals], mortalStore, options),
    kill: () => {
      isAlive = false
    }
  }
}
