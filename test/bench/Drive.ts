/**
 * What a program does with a client, timed.
 */
import { Effect, Stream } from "effect"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as Workload from "./Workload.ts"

/** Runs one job that emits `count` events and reads them all; events per second from the submit to the result. */
export const events = (count: number, onRead: (read: number) => void = () => {}) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const began = performance.now()
    const job = yield* client.submit(Workload.Flood, { count, message: Workload.message })
    let read = 0
    yield* Stream.runForEachArray(job.events, (page) =>
      Effect.sync(() => {
        for (const event of page) if (event.kind === "log") read++
        onRead(read)
      })
    )
    const said = yield* job.result
    const seconds = (performance.now() - began) / 1000
    if (read !== count || said !== count) return yield* Effect.die(new Error(`${read} of ${count} events arrived`))
    return count / seconds
  })

/** Runs a job for ever that emits `said` events in each hundredth of a second, and reads `read` of them in that time. */
export const slowly = (said: number, read: number, onRead: () => void) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const job = yield* client.submit(Workload.Steady, { each: said, message: Workload.message })
    let taken = 0
    yield* Stream.runForEach(job.events, () => {
      onRead()
      return ++taken % read === 0 ? Effect.sleep("10 millis") : Effect.void
    })
  })

/** One job after the other: milliseconds from each submit to its acceptance and to its result. */
export const latencies = (count: number) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const accepted: Array<number> = []
    const results: Array<number> = []
    for (let run = 0; run < count; run++) {
      const began = performance.now()
      const job = yield* client.submit(Workload.Echo, Workload.echoInput)
      accepted.push(performance.now() - began)
      yield* job.result
      results.push(performance.now() - began)
    }
    return { accepted, results }
  })

/** Jobs per second with `width` of them under way at any time. */
export const inFlight = (count: number, width: number) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const began = performance.now()
    yield* Effect.forEach(
      Array.from({ length: count }, () => Workload.echoInput),
      (input) => client.run(Workload.Echo, input),
      { concurrency: width, discard: true }
    )
    return count / ((performance.now() - began) / 1000)
  })
