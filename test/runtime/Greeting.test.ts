import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as ArcpServer from "../../src/runtime/ArcpServer.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import * as Listener from "../../src/session/Listener.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import { answers, withRuntime } from "../conformance/Conversation.ts"
import { settled } from "../conformance/Stage.ts"

/** Opens a way to the runtime of the test for two strangers at a time, whose lines take nothing until `isOpen` says that they do. */
const listen = Effect.fnUntraced(function* (isOpen: () => boolean) {
  const network = yield* MemoryTransport.make()
  const way = Layer.mergeAll(
    Listener.layer((accept) =>
      network.listen((line) =>
        accept({ ...line, send: (frames) => Effect.suspend(() => (isOpen() ? line.send(frames) : Effect.never)) })
      )
    ),
    Layer.orDie(Authenticator.layerStatic([{ token: Redacted.make("secret"), principal: "tester" }])),
    RuntimeConfig.layer({ maxGreeting: 2 })
  )
  yield* Layer.buildWithScope(Layer.provide(Layer.fresh(ArcpServer.layer), way), yield* Effect.scope)
  return Effect.map(network.dial, (line) => TestPeer.make(line))
})

describe("a stranger", () => {
  it.effect.each(["secret", "wrong"])("who does not take the answer to %s gives the place to others", (token) =>
    Effect.gen(function* () {
      let isOpen = false
      const connect = yield* listen(() => isOpen)
      const silent = [yield* connect, yield* connect]
      for (const peer of silent) yield* peer.send(TestPeer.helloOf({ token }))
      yield* settled
      const refused = yield* connect
      assert.strictEqual((yield* refused.closed).code, 1013)
      yield* TestClock.adjust("5 seconds")
      for (const peer of silent) assert.strictEqual((yield* peer.closed).code, token === "secret" ? 1013 : 1008)
      isOpen = true
      const peer = yield* connect
      yield* peer.hello()
      assert.deepStrictEqual(yield* answers(peer), [])
    }).pipe(withRuntime())
  )
})
