import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SecureRandom, WebCrypto } from "effect/crypto"
import * as BufferedRandom from "../../src/session/BufferedRandom.ts"

/** A platform whose random bytes count up, so that each can be told from all others. */
const counting = () => {
  const drawn: Array<Uint8Array> = []
  let next = 0
  const crypto = {
    getRandomValues: (bytes: Uint8Array) => {
      for (let at = 0; at < bytes.length; at += 2) {
        bytes[at] = next >> 8
        bytes[at + 1] = next & 0xff
        next++
      }
      drawn.push(bytes)
      return bytes
    }
  }
  return { drawn, layer: Layer.succeed(WebCrypto.WebCrypto, crypto as never) }
}

describe("BufferedRandom", () => {
  it.effect("gives each byte of the platform once, in order, whatever the sizes", () =>
    Effect.gen(function* () {
      const { drawn, layer } = counting()
      yield* Effect.gen(function* () {
        const { randomBytes } = yield* SecureRandom.SecureRandom
        const sizes = [16, 0, 10, 4096, 7, 1, 10_000, 32, 2]
        const given = yield* Effect.forEach(sizes, (size) => randomBytes(size))
        assert.deepStrictEqual(
          given.map(({ length }) => length),
          sizes
        )
        const all = Buffer.concat(given)
        assert.deepStrictEqual(
          Array.from({ length: all.length >> 1 }, (_, index) => all.readUInt16BE(index * 2)),
          Array.from({ length: all.length >> 1 }, (_, index) => index)
        )
        // What was given out is not kept.
        const piece = drawn.at(-1)!
        assert.isTrue(piece.subarray(0, all.length % piece.length).every((byte) => byte === 0))
        assert.strictEqual(drawn.length, Math.ceil(all.length / piece.length))
      }).pipe(Effect.provide(Layer.fresh(BufferedRandom.layerWebCrypto).pipe(Layer.provide(layer))))
    })
  )

  it.effect("is random", () =>
    Effect.gen(function* () {
      const { randomBytes } = yield* SecureRandom.SecureRandom
      const some = yield* Effect.forEach(Array.from({ length: 500 }), () => randomBytes(16))
      assert.strictEqual(new Set(some.map((bytes) => bytes.join())).size, 500)
    }).pipe(Effect.provide(BufferedRandom.layerWebCrypto))
  )
})
