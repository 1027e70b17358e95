/**
 * What every transport owes to the two peers that speak over it. Runs on the real clock, and waits for what should happen, never for
 * time to pass.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, type Layer, Queue, Result, Scope } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Connection from "../../src/session/Connection.ts"
import * as Dialer from "../../src/session/Dialer.ts"
import * as Listener from "../../src/session/Listener.ts"
import type * as Acceptor from "../../src/session/Acceptor.ts"

/** Both ends of a transport, as raw frames. */
export interface Ends {
  readonly dial: Effect.Effect<Connection.Frames, Connection.ConnectionError, Scope.Scope>
  readonly listen: (accept: Acceptor.Accept) => Effect.Effect<void, Connection.ConnectionError, Scope.Scope>
}

export interface Traits {
  /** More than one connection to one listener. */
  readonly many: boolean
  /** The end of a line carries a code and a reason. */
  readonly codes: boolean
  /** The dialing side reads no faster than it is pulled. */
  readonly pacedDialer: boolean
}

/** The bound that the ends under test are made with. */
export const maxFrameBytes = 256 * 1024

/** What one direction may hold at most, whatever the kernel adds. */
const boundBytes = 32 * 1024 * 1024

/** A line, both of whose ends are held open until the scope closes. */
const connect = Effect.fnUntraced(function* (ends: Ends) {
  const arrivals = yield* Queue.unbounded<Connection.Frames>()
  const done = yield* Deferred.make<void>()
  yield* ends.listen((frames) => Effect.andThen(Queue.offer(arrivals, frames), Deferred.await(done)))
  const near = yield* ends.dial
  yield* Effect.addFinalizer(() => Deferred.succeed(done, undefined))
  return { near, far: yield* Queue.take(arrivals) }
})

/** Pulls until it has as many frames, or more if they came together. */
const collect = Effect.fnUntraced(function* (frames: Connection.Frames, count: number) {
  const all: Array<string> = []
  while (all.length < count) all.push(...(yield* frames.pull))
  return all as ReadonlyArray<string>
})

/** Pulls until the line ends. */
const drain = Effect.fnUntraced(function* (frames: Connection.Frames) {
  const all: Array<string> = []
  while (true) {
    const pulled = yield* Effect.result(frames.pull)
    if (Result.isFailure(pulled)) return { all: all as ReadonlyArray<string>, error: pulled.failure }
    all.push(...pulled.success)
  }
})

const numbered = (from: number, count: number, text = ""): NonEmptyReadonlyArray<string> => {
  const [head, ...tail] = Array.from({ length: count }, (_, i) => `${from + i} ${text}`)
  assert.isDefined(head)
  return [head, ...tail]
}

/** Sends until nothing is taken any more, then interrupts that last send. Says how many frames were taken before it. */
const clog = Effect.fnUntraced(function* (line: Connection.Frames) {
  const perBatch = 64
  const text = "x".repeat(1024)
  let sent = 0
  while (true) {
    // A send that is not taken within this time is one that waits for the reader.
    const taken = yield* Effect.timeoutOption(line.send(numbered(sent, perBatch, text)), "400 millis")
    if (taken._tag === "None") return sent
    sent += perBatch
    assert.isBelow(sent * text.length, boundBytes, "nothing slowed the sender down")
  }
})

export const suite = (
  name: string,
  ends: Effect.Effect<Ends, Connection.ConnectionError, Scope.Scope>,
  traits: Traits
) =>
  describe(name, () => {
    const test = <E>(
      title: string,
      body: (line: {
        readonly near: Connection.Frames
        readonly far: Connection.Frames
      }) => Effect.Effect<void, E, Scope.Scope>
    ) => it.live(title, () => Effect.flatMap(Effect.flatMap(ends, connect), body), 30_000)

    const withEnds = <E>(title: string, body: (ends: Ends) => Effect.Effect<void, E, Scope.Scope>) =>
      it.live(title, () => Effect.flatMap(ends, body), 30_000)

    test("carries frames in order, both ways at once", ({ near, far }) =>
      Effect.gen(function* () {
        const out = numbered(0, 1000)
        const back = numbered(5000, 1000)
        const [there, here] = yield* Effect.all(
          [
            collect(far, 1000),
            collect(near, 1000),
            Effect.forEach(out, (frame) => near.send([frame])),
            Effect.forEach(back, (frame) => far.send([frame]))
          ],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(there, out)
        assert.deepStrictEqual(here, back)
      }))

    test("carries a batch whole", ({ near, far }) =>
      Effect.gen(function* () {
        const batch = numbered(0, 800, "in one")
        yield* Effect.forkScoped(Effect.andThen(near.send(batch), near.send(["next"])))
        assert.deepStrictEqual(yield* collect(far, 801), [...batch, "next"])
        yield* Effect.forkScoped(Effect.andThen(far.send(batch), far.send(["next"])))
        assert.deepStrictEqual(yield* collect(near, 801), [...batch, "next"])
      }))

    test("carries 100,000 frames", ({ near, far }) =>
      Effect.gen(function* () {
        const total = 100_000
        const sender = Effect.gen(function* () {
          for (let i = 0; i < total; i += 500) yield* far.send(numbered(i, 500, "of many"))
        })
        yield* Effect.forkScoped(sender)
        const all = yield* collect(near, total)
        assert.strictEqual(all.length, total)
        assert.isTrue(all.every((frame, i) => frame === `${i} of many`))
      }))

    test("carries every character", ({ near, far }) =>
      Effect.gen(function* () {
        const frames = Array.from({ length: 400 }, (_, i) =>
          JSON.stringify({ text: "aß€😀\u2028\u0000\uFEFF".repeat(i), i })
        )
        yield* Effect.forkScoped(Effect.forEach(frames, (frame) => near.send([frame, "é"])))
        assert.deepStrictEqual(
          yield* collect(far, 800),
          frames.flatMap((frame) => [frame, "é"])
        )
      }))

    test("takes a frame as large as the bound, counted in UTF-8", ({ near, far }) =>
      Effect.gen(function* () {
        for (const frame of [
          "x".repeat(maxFrameBytes),
          "é".repeat(maxFrameBytes / 2),
          "😀".repeat(maxFrameBytes / 4)
        ]) {
          yield* Effect.forkScoped(near.send([frame]))
          assert.deepStrictEqual(yield* collect(far, 1), [frame])
          yield* Effect.forkScoped(far.send([frame]))
          assert.deepStrictEqual(yield* collect(near, 1), [frame])
        }
      }))

    for (const [what, frame] of [
      ["one byte", "x".repeat(maxFrameBytes + 1)],
      ["one character of two bytes", "é".repeat(maxFrameBytes / 2 + 1)]
    ] as const) {
      test(`ends the line at a frame that is ${what} too large, after those before it`, ({ near, far }) =>
        Effect.gen(function* () {
          yield* near.send(["fine"])
          yield* Effect.forkScoped(Effect.exit(near.send([frame])))
          const there = yield* drain(far)
          assert.deepStrictEqual(there.all, ["fine"])
          assert.strictEqual(there.error.code, 1009)
          yield* far.close(Connection.close.tooBig)
          const here = yield* drain(near)
          assert.deepStrictEqual(here.all, [])
          if (traits.codes) assert.strictEqual(here.error.code, 1009)
        }))
    }

    test("delivers what was sent before the close, then says why, again and again", ({ near, far }) =>
      Effect.gen(function* () {
        const batch = numbered(0, 300)
        yield* far.send(batch)
        yield* far.close({ code: 1008, reason: "not you" })
        const { all, error } = yield* drain(near)
        assert.deepStrictEqual(all, batch)
        assert.strictEqual(error._tag, "ConnectionError")
        assert.strictEqual(error.reason, "closed")
        if (traits.codes) assert.deepInclude(error, { code: 1008, message: "not you" })
        assert.strictEqual((yield* Effect.flip(near.pull)).reason, "closed")
      }))

    test("tells the listening side why the dialing side closed", ({ near, far }) =>
      Effect.gen(function* () {
        yield* near.send(["last"])
        yield* near.close({ code: 1002, reason: "enough" })
        const { all, error } = yield* drain(far)
        assert.deepStrictEqual(all, ["last"])
        assert.strictEqual(error.reason, "closed")
        // From a page only the codes that an application may use.
        if (traits.codes) assert.oneOf(error.code, [1002, 4002])
        if (traits.codes) assert.strictEqual(error.message, "enough")
      }))

    test("fails writes after the end, and closes twice in peace", ({ near, far }) =>
      Effect.gen(function* () {
        yield* far.close(Connection.close.normal)
        yield* drain(near)
        for (const line of [near, far]) {
          assert.strictEqual((yield* Effect.flip(line.send(["too late"])))._tag, "ConnectionError")
          yield* line.close(Connection.close.normal)
          yield* line.close(Connection.close.refused)
        }
      }))

    test("suspends the sender that dialed while nobody reads; the send can be interrupted, nothing before it is lost", ({
      near,
      far
    }) => paced(near, far))

    if (traits.pacedDialer) {
      test("suspends the sender that listened while nobody reads; the send can be interrupted, nothing before it is lost", ({
        near,
        far
      }) => paced(far, near))
    }

    test("fails a suspended send when the other side leaves", ({ near, far }) =>
      Effect.gen(function* () {
        yield* clog(near)
        const stuck = yield* Effect.forkScoped(
          Effect.flip(Effect.forever(near.send(numbered(0, 64, "y".repeat(1024))))),
          { startImmediately: true }
        )
        yield* far.close(Connection.close.goingAway)
        assert.strictEqual((yield* Fiber.join(stuck))._tag, "ConnectionError")
      }))

    test("loses nothing to an interrupted pull", ({ near, far }) =>
      Effect.gen(function* () {
        const waiting = yield* Effect.forkScoped(far.pull, { startImmediately: true })
        yield* Fiber.interrupt(waiting)
        yield* near.send(["one"])
        yield* near.send(["two"])
        assert.deepStrictEqual(yield* collect(far, 2), ["one", "two"])
      }))

    withEnds("keeps what is sent before anybody pulls, from the first moment on", ({ dial, listen }) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const heard = yield* Deferred.make<ReadonlyArray<string>>()
        const greeting = numbered(0, 100, "from the listener")
        yield* listen((frames) =>
          Effect.gen(function* () {
            yield* frames.send(greeting)
            yield* Deferred.await(gate)
            yield* Deferred.succeed(heard, yield* collect(frames, 100))
          }).pipe(Effect.orDie)
        )
        const near = yield* dial
        const first = numbered(0, 100, "from the dialer")
        yield* near.send(first)
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual(yield* Deferred.await(heard), first)
        assert.deepStrictEqual(yield* collect(near, 100), greeting)
      })
    )

    withEnds("closes the line when its handler is done", ({ dial, listen }) =>
      Effect.gen(function* () {
        yield* listen((frames) => Effect.orDie(frames.send(["bye"])))
        const { all, error } = yield* drain(yield* dial)
        assert.deepStrictEqual(all, ["bye"])
        assert.strictEqual(error.reason, "closed")
        if (traits.codes) assert.strictEqual(error.code, 1000)
      })
    )

    withEnds("ends the line at both ends with the scope of the dial", ({ dial, listen }) =>
      Effect.gen(function* () {
        const heard = yield* Deferred.make<Effect.Success<ReturnType<typeof drain>>>()
        yield* listen((frames) => Effect.flatMap(drain(frames), (all) => Deferred.succeed(heard, all)))
        const scope = yield* Scope.make()
        const near = yield* Scope.provide(dial, scope)
        yield* near.send(["here", "and gone"])
        yield* Scope.close(scope, Exit.void)
        const { all, error } = yield* Deferred.await(heard)
        assert.deepStrictEqual(all, ["here", "and gone"])
        assert.strictEqual(error.reason, "closed")
        if (traits.codes) assert.strictEqual(error.code, 1000)
        assert.strictEqual((yield* Effect.flip(near.send(["too late"])))._tag, "ConnectionError")
      })
    )

    withEnds("interrupts handlers and ends their lines with the scope of the listening", ({ dial, listen }) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const finalized = yield* Deferred.make<void>()
        const started = yield* Deferred.make<void>()
        yield* listen((frames) =>
          Effect.gen(function* () {
            yield* Effect.addFinalizer(() =>
              Effect.andThen(Effect.ignore(frames.send(["going"])), Deferred.succeed(finalized, undefined))
            )
            yield* Deferred.succeed(started, undefined)
            yield* Effect.never
          })
        ).pipe(Scope.provide(scope))
        const near = yield* dial
        yield* Deferred.await(started)
        const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void), { startImmediately: true })
        const { all, error } = yield* drain(near)
        yield* Fiber.join(closing)
        assert.isTrue(yield* Deferred.isDone(finalized))
        assert.deepStrictEqual(all, ["going"])
        assert.strictEqual(error.reason, "closed")
        if (traits.codes) assert.strictEqual(error.code, 1001)
      })
    )

    withEnds("refuses a second listener", ({ listen }) =>
      Effect.gen(function* () {
        yield* listen(() => Effect.void)
        assert.strictEqual((yield* Effect.flip(listen(() => Effect.void))).reason, "open")
      })
    )

    if (!traits.many) return

    withEnds("keeps many lines apart", ({ dial, listen }) =>
      Effect.gen(function* () {
        yield* listen((frames) =>
          Effect.ignore(Effect.forever(Effect.flatMap(frames.pull, (batch) => frames.send(batch))))
        )
        yield* Effect.forEach(
          Array.from({ length: 100 }, (_, i) => `line ${i}`),
          Effect.fnUntraced(function* (who) {
            const near = yield* dial
            const said = numbered(0, 50, who)
            yield* near.send(said)
            assert.deepStrictEqual(yield* collect(near, 50), said)
          }, Effect.scoped),
          { concurrency: 25 }
        )
      })
    )

    withEnds(
      "opens a new line after one that was closed, and another listener after one that has gone",
      ({ dial, listen }) =>
        Effect.gen(function* () {
          const round = Effect.gen(function* () {
            yield* listen((frames) => Effect.orDie(Effect.flatMap(frames.pull, (batch) => frames.send(batch))))
            for (const word of ["one", "two"]) {
              const near = yield* dial
              yield* near.send([word])
              assert.deepStrictEqual((yield* drain(near)).all, [word])
            }
          })
          yield* Effect.scoped(round)
          assert.strictEqual((yield* Effect.flip(Effect.scoped(dial))).reason, "open")
          yield* Effect.scoped(round)
        })
    )
  })

const paced = Effect.fnUntraced(function* (sender: Connection.Frames, reader: Connection.Frames) {
  const sent = yield* clog(sender)
  yield* Effect.forkScoped(sender.send(["after"]))
  const received: Array<number> = []
  while (true) {
    const batch = yield* reader.pull
    for (const frame of batch) if (frame !== "after") received.push(Number.parseInt(frame))
    if (batch.includes("after")) break
  }
  // The interrupted batch came whole or not at all.
  assert.include([sent, sent + 64], received.length)
  assert.isTrue(received.every((value, i) => value === i))
})

/** The same transport as the layers that a program provides. */
export const ports = <E>(
  name: string,
  layer: Layer.Layer<Dialer.Dialer | Listener.Listener, E>,
  options?: { readonly secure?: boolean }
) =>
  it.live(`${name}: the layers carry messages`, () =>
    Effect.gen(function* () {
      const { dial } = yield* Dialer.Dialer
      const { listen } = yield* Listener.Listener
      const ping = JSON.stringify({
        arcp: "1.1",
        id: "msg_1",
        type: "session.ping",
        session_id: "sess_1",
        payload: { nonce: "n1", sent_at: "2026-01-01T00:00:00Z" }
      })
      yield* listen((line) =>
        Effect.gen(function* () {
          const [message] = yield* line.pull
          yield* line.send([Result.isSuccess(message) ? ping : JSON.stringify(message.failure)])
          yield* Effect.ignore(Effect.forever(line.pull))
        }).pipe(Effect.orDie)
      )
      const near = yield* dial
      assert.strictEqual(near.secure, options?.secure ?? true)
      yield* near.send([ping])
      const [answer] = yield* near.pull
      assert.strictEqual(
        Result.isSuccess(answer) ? answer.success.type : JSON.stringify(answer.failure),
        "session.ping"
      )
    }).pipe(Effect.scoped, Effect.provide(layer))
  )
