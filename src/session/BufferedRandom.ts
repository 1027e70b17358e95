/**
 * Secure randomness that is drawn from the platform in larger pieces: asking it for a few bytes costs as much as asking for many, and a
 * client needs some for each of its jobs.
 *
 * @since 0.1.0
 */
import { Effect, Layer } from "effect"
import { SecureRandom, WebCrypto } from "effect/crypto"

/** Bytes of one piece. */
const pieceSize = 4096

/**
 * `SecureRandom` of the platform's Web Crypto. Each byte is given out once, and is not kept beyond that.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWebCrypto: Layer.Layer<SecureRandom.SecureRandom> = Layer.effect(
  SecureRandom.SecureRandom,
  Effect.map(WebCrypto.WebCrypto, (platform) => {
    const piece = new Uint8Array(pieceSize)
    let used = pieceSize
    return SecureRandom.make((size) => {
      const bytes = new Uint8Array(size)
      for (let given = 0; given < size;) {
        if (used === pieceSize) {
          platform.getRandomValues(piece)
          used = 0
        }
        const taken = piece.subarray(used, used + Math.min(size - given, pieceSize - used))
        bytes.set(taken, given)
        taken.fill(0)
        given += taken.length
        used += taken.length
      }
      return bytes
    })
  })
)
