/** What the tests of credentials do with them, and how they see what came of it. */
import { Effect, Logger, Redacted, type Scope } from "effect"
import { TestClock } from "effect/testing"
import type * as CredentialProvisioner from "../../src/authority/CredentialProvisioner.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import type * as Credential from "../../src/protocol/Credential.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as FakeUpstream from "./FakeUpstream.ts"

/** Over a secure line, told of nothing. */
export const silent: Credentials.Terms = { secure: true, onRotated: () => Effect.void }

const credentialsOf = Effect.succeed<ReadonlyArray<Credential.Credential>>

export const issue = (asked: CredentialProvisioner.Request | string, terms: Credentials.Terms = silent) =>
  Credentials.Credentials.use((credentials) =>
    credentials.issueFor(typeof asked === "string" ? FakeUpstream.request(asked) : asked, terms, credentialsOf)
  )

export const revokeAll = (name: string) =>
  Credentials.Credentials.use((credentials) => credentials.revokeAll(FakeUpstream.job(name)))
export const current = (name: string) =>
  Credentials.Credentials.use((credentials) => credentials.current(FakeUpstream.job(name)))
export const rotate = (name: string, id: Ids.CredentialId) =>
  Credentials.Credentials.use((credentials) => credentials.rotate(FakeUpstream.job(name), id))
export const stored = CredentialStore.CredentialStore.use((store) => store.list)
export const handles = Effect.map(stored, (entries) => entries.map(({ outstanding }) => outstanding.handle))

export const valueOf = (credential: Credential.Credential | undefined) =>
  credential === undefined ? undefined : Redacted.value(credential.value)

/** Lets what was begun go on, without time passing. */
export const turn = TestClock.adjust(0)

/** The test's own life of a runtime, over a store that counts as durable. */
export const over =
  (upstream: FakeUpstream.FakeUpstream | ReadonlyArray<FakeUpstream.FakeUpstream>, options?: Credentials.Options) =>
  <A, E>(
    body: Effect.Effect<A, E, Credentials.Credentials | CredentialStore.CredentialStore | Scope.Scope>
  ): Effect.Effect<A, E, Scope.Scope> =>
    Effect.gen(function* () {
      const { layer } = yield* FakeUpstream.durable
      const upstreams = "provisioner" in upstream ? [upstream] : upstream
      return yield* Effect.provide(body, FakeUpstream.life(upstreams, layer, options))
    })

/** Keeps what is logged. */
export const capture = () => {
  const lines: Array<{ readonly level: string; readonly text: string }> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push({ level: logLevel, text: JSON.stringify(message) })
  })
  return { lines, layer: Logger.layer([logger]) }
}
