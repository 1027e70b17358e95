/** Three processes: a client, a runtime, and between them a proxy that keeps dying. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import type { FromClient, FromProxy, FromRuntime, ToRuntime } from "./fixtures/Numbers.ts"
import * as Process from "./Process.ts"

const events = 100_000
const deaths = 20
/** What the job says from one cut to the next. */
const stretch = events / (deaths + 5)

/** Starts a proxy to this port; it `kill` ends it before its scope does. */
const startProxy = Effect.fnUntraced(function* (port: number, target: number) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const proxy = yield* Scope.provide(Process.start<FromProxy>("proxy", [port, target]), scope)
  return { port: (yield* proxy.next("Listening")).port, kill: Scope.close(scope, Exit.void) }
})

describe("a connection that is cut", () => {
  it.live(
    `${deaths} times while a job says ${events} things loses none of them, and repeats none`,
    () =>
      Effect.gen(function* () {
        const runtime = yield* Process.start<FromRuntime>("runtime")
        const { port: target } = yield* runtime.next("Listening")
        let proxy = yield* startProxy(0, target)
        const { port } = proxy

        const sessions = new Set<string>()
        const seen = { connected: 0, reconnecting: 0 }
        const client = yield* Process.start<FromClient>(
          "client",
          [`ws://127.0.0.1:${port}/arcp`, events],
          (message) => {
            if (message._tag === "Reconnecting") seen.reconnecting++
            if (message._tag !== "Connected") return
            seen.connected++
            sessions.add(message.session)
          }
        )
        yield* client.next("Connected")

        const allow = (until: number) => runtime.send({ until } satisfies ToRuntime)
        yield* allow(stretch)
        for (let death = 1; death <= deaths; death++) {
          // The rest of the stretch is said while nobody can hear it.
          yield* client.next("Read", ({ count }) => count >= (death - 0.9) * stretch)
          yield* proxy.kill
          yield* client.next("Reconnecting")
          proxy = yield* startProxy(port, target)
          yield* client.next("Connected")
          yield* allow(death === deaths ? events : (death + 1) * stretch)
        }

        const { count, misplaced, result } = yield* client.next("Done")
        assert.deepStrictEqual(misplaced, [])
        assert.strictEqual(count, events)
        assert.strictEqual(result, (events * (events + 1)) / 2)
        assert.deepStrictEqual(seen, { connected: deaths + 1, reconnecting: deaths })
        assert.strictEqual(sessions.size, 1)
        yield* Effect.sync(() => console.log(`${count} events in order, ${seen.connected - 1} resumes of one session`))
      }),
    60_000
  )
})
