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
const listen = Effect.fnUntraced(function* (
  isOpen: () => boolean,
  config: Partial<RuntimeConfig.RuntimeConfig> = { maxGreeting: 2 },
  peerOf: (line: number) => string = () => "memory"
) {
  let lines = 0
  const network = yield* MemoryTransport.make()
  const way = Layer.mergeAll(
    Listener.layer((accept) =>
      network.listen((line) =>
        accept({
          ...line,
          peer: peerOf(lines++),
          send: (frames) => Effect.suspend(() => (isOpen() ? line.send(frames) : Effect.never))
        })
      )
    ),
    Layer.orDie(Authenticator.layerStatic([{ token: Redacted.make("secret"), principal: "tester" }])),
    RuntimeConfig.layer(config)
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

  it.effect.each<readonly [string, (line: number) => string, string]>([
    ["one address", (line) => `203.0.113.7:${40_000 + line}`, "203.0.113.8:40000"],
    [
      "one address, in either of its forms",
      (line) => `${line % 2 ? "[::ffff:203.0.113.7]" : "203.0.113.7"}:1`,
      "[::ffff:203.0.113.8]:1"
    ],
    ["one network of IPv6", (line) => `[2001:db8:1:2::${line.toString(16)}]:443`, "[2001:db8:1:3::1]:443"]
  ])("who comes from %s with all that it has keeps nobody else out", ([, peerOf, other]) =>
    Effect.gen(function* () {
      const config = { maxGreeting: 8, maxGreetingPerAddress: 4 }
      const connect = yield* listen(
        () => true,
        config,
        (line) => (line === 8 ? other : peerOf(line))
      )
      const silent = yield* Effect.replicateEffect(connect, 8)
      yield* settled
      for (const peer of silent.slice(4)) assert.strictEqual((yield* peer.closed).code, 1013)
      const peer = yield* connect
      yield* peer.hello()
      assert.deepStrictEqual(yield* answers(peer), [])
      // Who says who they are, or is sent away, makes room.
      yield* TestClock.adjust("5 seconds")
      for (const one of silent.slice(0, 4)) yield* one.expect("session.error")
      yield* (yield* connect).hello()
    }).pipe(withRuntime())
  )

  it.effect("of whom no address is known is one of many", () =>
    Effect.gen(function* () {
      const connect = yield* listen(() => true, { maxGreeting: 8, maxGreetingPerAddress: 1 })
      yield* Effect.replicateEffect(connect, 7)
      yield* settled
      yield* (yield* connect).hello()
    }).pipe(withRuntime())
  )
})
