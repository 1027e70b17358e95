/**
 * Makes of a secret what may be stored: only who has the key can open it (AES-256-GCM).
 */
import { Effect, Layer, Option, Redacted } from "effect"
import { Aead, SecureRandom } from "effect/crypto"
import { Base64, Base64Url } from "effect/encoding"
import * as CredentialProvisioner from "../../authority/CredentialProvisioner.ts"

export interface Sealing {
  readonly seal: (secret: string) => Effect.Effect<string>
  /** Nothing for what was not sealed with this key, or for another provisioner. */
  readonly open: (sealed: string) => Effect.Effect<Option.Option<string>>
}

export const make = Effect.fnUntraced(
  function* (provisioner: string, field: string, key: Redacted.Redacted) {
    const bytes = Base64.decode(Redacted.value(key))
    if (bytes._tag === "Failure" || bytes.success.length !== 32) {
      return yield* new CredentialProvisioner.InvalidProvisioner({
        provisioner,
        field,
        reason: "is not 32 bytes in base64"
      })
    }
    const { decrypt, encrypt } = yield* Aead.Aead
    const { randomBytes } = yield* SecureRandom.SecureRandom
    const secret = yield* Effect.orDie(Aead.key(Aead.aes256Gcm, bytes.success))
    const { nonceLength } = Aead.aes256Gcm
    const aad = new TextEncoder().encode(`arcp/${provisioner}`)
    const sealing: Sealing = {
      seal: Effect.fnUntraced(function* (text) {
        const nonce = yield* randomBytes(nonceLength)
        const sealed = yield* Effect.orDie(encrypt(secret, new TextEncoder().encode(text), { nonce, aad }))
        return Base64Url.encode(Uint8Array.of(...nonce, ...sealed))
      }),
      open: Effect.fnUntraced(function* (sealed) {
        const bytes = Base64Url.decode(sealed)
        if (bytes._tag === "Failure") return Option.none()
        const nonce = bytes.success.subarray(0, nonceLength)
        const opened = yield* Effect.option(decrypt(secret, bytes.success.subarray(nonceLength), { nonce, aad }))
        return Option.map(opened, (bytes) => new TextDecoder().decode(bytes))
      })
    }
    return sealing
  },
  Effect.provide(Layer.provideMerge(Aead.layerWebCrypto, SecureRandom.layerWebCrypto))
)
