import { assert, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import { maxFrameBytes, ports, suite } from "./TransportSuite.ts"

suite("MemoryTransport", MemoryTransport.make({ maxFrameBytes }), { many: true, codes: true, pacedDialer: true })

ports("MemoryTransport", MemoryTransport.layer)

it.effect("holds as many frames as it may, and no more", () =>
  Effect.gen(function* () {
    const [near, far] = yield* MemoryTransport.pair({ capacity: 3 })
    yield* near.send(["1", "2"])
    yield* near.send(["3"])
    const fourth = yield* Effect.forkScoped(near.send(["4"]), { startImmediately: true })
    yield* Effect.yieldNow
    assert.isUndefined(fourth.pollUnsafe())
    assert.deepStrictEqual(yield* far.pull, ["1", "2", "3"])
    yield* Fiber.join(fourth)
    assert.deepStrictEqual(yield* far.pull, ["4"])
  })
)

it.effect("holds as many bytes as it may, and a batch that is larger alone", () =>
  Effect.gen(function* () {
    const [near, far] = yield* MemoryTransport.pair({ capacityBytes: 4 })
    yield* near.send(["ééé"])
    const next = yield* Effect.forkScoped(near.send(["a"]), { startImmediately: true })
    yield* Effect.yieldNow
    assert.isUndefined(next.pollUnsafe())
    assert.deepStrictEqual(yield* far.pull, ["ééé"])
    yield* Fiber.join(next)
  })
)

it.effect("waits with a dial for the first listener", () =>
  Effect.gen(function* () {
    const { dial, listen } = yield* MemoryTransport.make()
    const dialing = yield* Effect.forkScoped(dial, { startImmediately: true })
    yield* Effect.yieldNow
    assert.isUndefined(dialing.pollUnsafe())
    yield* listen((line) => Effect.ignore(line.send(["hello"])))
    assert.deepStrictEqual(yield* (yield* Fiber.join(dialing)).pull, ["hello"])
  })
)
