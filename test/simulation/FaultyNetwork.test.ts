import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Queue } from "effect"
import { TestClock } from "effect/testing"
import * as Connection from "../../src/session/Connection.ts"
import * as Dialer from "../../src/session/Dialer.ts"
import * as Listener from "../../src/session/Listener.ts"
import * as FaultyNetwork from "../../src/testing/FaultyNetwork.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"

/** A faulty network with somebody who listens; `meet` gives both ends of a new line. */
const network = Effect.fnUntraced(function* (plan: FaultyNetwork.Plan, maxFaults?: number) {
  const memory = yield* MemoryTransport.make()
  const faulty = yield* FaultyNetwork.make(memory, { plan, ...(maxFaults === undefined ? {} : { maxFaults }) })
  const waiting = yield* Queue.unbounded<Connection.Frames>()
  yield* memory.listen((line) => Effect.andThen(Queue.offer(waiting, line), Effect.never))
  const meet = Effect.gen(function* () {
    const near = yield* faulty.dial
    return [near, yield* Queue.take(waiting)] as const
  })
  return { faulty, meet }
})

/** A fault at one frame of one direction of the first line. */
const at = (direction: FaultyNetwork.Direction, frame: number, fault: FaultyNetwork.Fault): FaultyNetwork.Plan => ({
  frame: (place) =>
    place.connection === 0 && place.direction === direction && place.frame === frame ? fault : undefined
})

/** Everything until the line ends, with how it ended. */
const drain = Effect.fnUntraced(function* (line: Connection.Frames) {
  const batches: Array<ReadonlyArray<string>> = []
  while (true) {
    const pulled = yield* Effect.result(line.pull)
    if (pulled._tag === "Failure") return { batches, frames: batches.flat(), code: pulled.failure.code }
    batches.push(pulled.success)
  }
})

const frames = ["a", "b", "c", "d"] as const

for (const direction of ["toRuntime", "toClient"] as const) {
  const meet = (plan: FaultyNetwork.Plan) =>
    Effect.map(
      Effect.flatMap(network(plan), ({ meet }) => meet),
      ([client, runtime]) =>
        direction === "toRuntime" ? { sender: client, receiver: runtime } : { sender: runtime, receiver: client }
    )

  describe(direction, () => {
    for (let frame = 0; frame < frames.length; frame++) {
      it.effect(`a drop at frame ${frame} lets through what came before and ends both sides`, () =>
        Effect.gen(function* () {
          const { receiver, sender } = yield* meet(at(direction, frame, FaultyNetwork.drop))
          yield* sender.send(frames)
          const received = yield* drain(receiver)
          assert.deepStrictEqual(received.frames, frames.slice(0, frame))
          assert.strictEqual(received.code, 1006)
          assert.strictEqual((yield* drain(sender)).code, 1006)
        })
      )
    }

    it.effect("a half-open line loses one way, tells nobody, and goes on the other way", () =>
      Effect.gen(function* () {
        const { receiver, sender } = yield* meet(at(direction, 2, FaultyNetwork.vanish))
        yield* sender.send(frames)
        yield* sender.send(["e"])
        const receiving = yield* Effect.forkChild(drain(receiver))
        yield* receiver.send(["back"])
        assert.deepStrictEqual(yield* sender.pull, ["back"])
        yield* sender.close(Connection.close.normal)
        yield* TestClock.adjust("1 day")
        assert.isUndefined(receiving.pollUnsafe())
        yield* receiver.close(Connection.close.goingAway)
        assert.deepStrictEqual((yield* Fiber.join(receiving)).frames, ["a", "b"])
      })
    )

    it.effect("a delay holds back what follows, and then all comes as one", () =>
      Effect.gen(function* () {
        const { receiver, sender } = yield* meet(at(direction, 1, FaultyNetwork.delay("3 seconds")))
        yield* sender.send(frames)
        assert.deepStrictEqual(yield* receiver.pull, ["a"])
        const rest = yield* Effect.forkChild(Effect.zip(receiver.pull, Clock.currentTimeMillis))
        yield* TestClock.adjust("2999 millis")
        assert.isUndefined(rest.pollUnsafe())
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* Fiber.join(rest), [["b", "c", "d"], 3000])
      })
    )

    it.effect("a repeated frame comes again, at once or later", () =>
      Effect.gen(function* () {
        for (const { expected, lag } of [
          { lag: 0, expected: ["a", "b", "b", "c", "d"] },
          { lag: 2, expected: ["a", "b", "c", "d", "b"] }
        ]) {
          const { receiver, sender } = yield* meet(at(direction, 1, FaultyNetwork.duplicate(lag)))
          yield* sender.send(frames)
          yield* sender.close(Connection.close.normal)
          assert.deepStrictEqual((yield* drain(receiver)).frames, expected)
        }
      })
    )

    it.effect("a split begins another batch", () =>
      Effect.gen(function* () {
        const { receiver, sender } = yield* meet(at(direction, 3, FaultyNetwork.split))
        const receiving = yield* Effect.forkChild(drain(receiver), { startImmediately: true })
        yield* sender.send(frames)
        yield* Effect.repeat(Effect.yieldNow, { times: 10 })
        yield* sender.close(Connection.close.normal)
        assert.deepStrictEqual((yield* Fiber.join(receiving)).batches, [["a", "b", "c"], ["d"]])
      })
    )
  })
}

it.effect("the end of a line without faults arrives as it was said", () =>
  Effect.gen(function* () {
    const { meet } = yield* network({ frame: () => undefined })
    const [client, runtime] = yield* meet
    yield* runtime.send(["last"])
    yield* runtime.close(Connection.close.goingAway)
    const received = yield* drain(client)
    assert.deepStrictEqual(received.frames, ["last"])
    assert.strictEqual(received.code, Connection.close.goingAway.code)
  })
)

it.effect("a client that goes closes its line", () =>
  Effect.gen(function* () {
    const { meet } = yield* network({ frame: () => undefined })
    const [, runtime] = yield* Effect.scoped(meet)
    assert.strictEqual((yield* drain(runtime)).code, Connection.close.normal.code)
  })
)

it.effect("a dial fails as the plan says, and the next one does not", () =>
  Effect.gen(function* () {
    const { faulty, meet } = yield* network({ dial: (connection) => connection === 0, frame: () => undefined })
    const error = yield* Effect.flip(faulty.dial)
    assert.strictEqual(error.reason, "open")
    const [client, runtime] = yield* meet
    yield* client.send(["a"])
    assert.deepStrictEqual(yield* runtime.pull, ["a"])
    assert.deepStrictEqual(yield* faulty.happened, [{ _tag: "Dial", connection: 0 }])
  })
)

it.effect("after so many faults there are no more", () =>
  Effect.gen(function* () {
    const { faulty, meet } = yield* network({ dial: (dial) => dial === 0, frame: () => FaultyNetwork.duplicate() }, 3)
    yield* Effect.flip(faulty.dial)
    const [client, runtime] = yield* meet
    yield* client.send(frames)
    yield* client.close(Connection.close.normal)
    assert.deepStrictEqual((yield* drain(runtime)).frames, ["a", "a", "b", "b", "c", "d"])
    assert.lengthOf(yield* faulty.happened, 3)
  })
)

it("a seed decides each place by itself, and comes near its rates", () => {
  const plan = FaultyNetwork.seeded({ seed: 7, maxDelay: "1 second" })
  const other = FaultyNetwork.seeded({ seed: 8, maxDelay: "1 second" })
  const places = Array.from({ length: 20_000 }, (_, frame) => ({
    connection: frame % 7,
    direction: frame % 2 === 0 ? ("toClient" as const) : ("toRuntime" as const),
    frame,
    text: ""
  }))
  const faults = places.map((place) => plan.frame(place))
  assert.deepStrictEqual(
    places
      .toReversed()
      .map((place) => plan.frame(place))
      .toReversed(),
    faults
  )
  assert.notDeepEqual(
    places.map((place) => other.frame(place)),
    faults
  )
  for (const kind of ["drop", "vanish", "delay", "duplicate", "split"] as const) {
    const share = faults.filter((fault) => fault?._tag.toLowerCase() === kind).length / places.length
    assert.closeTo(share, FaultyNetwork.rates[kind], 0.01)
  }
  const dials = places.filter(({ frame }) => plan.dial?.(frame)).length / places.length
  assert.closeTo(dials, FaultyNetwork.rates.dial, 0.01)
})

it.effect("dialer and listener stand on one network", () =>
  Effect.gen(function* () {
    const heard = yield* Queue.unbounded<string>()
    const { listen } = yield* Listener.Listener
    yield* listen((connection) =>
      Effect.ignore(Effect.flatMap(connection.pull, ([frame]) => Queue.offer(heard, frame._tag)))
    )
    const { dial } = yield* Dialer.Dialer
    const connection = yield* dial
    yield* connection.send(["no JSON"])
    assert.strictEqual(yield* Queue.take(heard), "Failure")
  }).pipe(Effect.provide(Layer.fresh(FaultyNetwork.layer({ plan: { frame: () => undefined } }))))
)
