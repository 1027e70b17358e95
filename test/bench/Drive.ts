/**
 * What a program does with a client.
 */
import { Deferred, Effect, Fiber, Stream } from "effect"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import * as JobEvent from "../../src/protocol/JobEvent.ts"
import * as Workload from "./Workload.ts"

/** Fails what would be measured wrongly. */
const check = (holds: boolean, problem: string) => (holds ? Effect.void : Effect.die(new Error(problem)))

const logsIn = (page: ReadonlyArray<JobEvent.JobEvent>) => {
  let logs = 0
  for (const event of page) if (event.kind === "log") logs++
  return logs
}

/** Runs one job that emits `count` events and reads them all, from the submit to the result. */
export const events = (count: number, onRead: (more: number) => void = () => {}) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const job = yield* client.submit(Workload.Flood, { count, message: Workload.message })
    let read = 0
    yield* Stream.runForEachArray(job.events, (page) =>
      Effect.sync(() => {
        const logs = logsIn(page)
        read += logs
        onRead(logs)
      })
    )
    const said = yield* job.result
    yield* check(read === count && said === count, `${read} of ${count} events arrived`)
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

/** Begins a job that never stops to emit, and reads it. Gives what ends it: milliseconds from the cancel to the outcome. */
export const floodUntilCancelled = (onRead: (more: number) => void) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const job = yield* client.submit(Workload.Flood, { count: Number.MAX_SAFE_INTEGER, message: Workload.message })
    const reading = yield* Effect.forkDetach(
      Stream.runForEachArray(job.events, (page) => Effect.sync(() => onRead(page.length)))
    )
    return Effect.gen(function* () {
      const began = performance.now()
      yield* job.cancel()
      const outcome = yield* Effect.flip(job.result)
      const millis = performance.now() - began
      yield* Fiber.join(reading)
      yield* check(outcome._tag === "Cancelled", `the job ended with ${outcome._tag}`)
      return millis
    })
  })

/** Reads the `before` events of a held job. Gives what reads the `after` that come when it is told to go on. */
export const held = (before: number, after: number) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const job = yield* client.submit(Workload.Held, { before, after, message: Workload.message })
    const there = yield* Deferred.make<void>()
    let read = 0
    const reading = yield* Effect.forkDetach(
      Stream.runForEachArray(job.events, (page) => {
        read += logsIn(page)
        return read >= before ? Deferred.succeed(there, undefined) : Effect.void
      })
    )
    yield* Effect.raceFirst(Deferred.await(there), Fiber.join(reading))
    return Effect.gen(function* () {
      yield* Fiber.join(reading)
      const said = yield* job.result
      yield* check(said === before + after && read === said, `${read} of ${before + after} events arrived`)
    })
  })

/** Reads a streamed result of so many parts as it comes, and keeps nothing of it. */
export const download = (parts: number, encoding: Workload.Encoding) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    const job = yield* client.submit(Workload.Document, { parts, encoding })
    let bytes = 0
    const count = (length: number) => Effect.sync(() => void (bytes += length))
    yield* encoding === "utf8"
      ? Stream.runForEach(job.text, (text) => count(Buffer.byteLength(text)))
      : Stream.runForEach(job.content, ({ length }) => count(length))
    yield* check(bytes === parts * Workload.partSize, `${bytes} bytes of ${parts} parts arrived`)
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

/** Runs `count` jobs with `width` of them under way at any time. */
export const inFlight = (count: number, width: number) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient.ArcpClient
    yield* Effect.forEach(
      Array.from({ length: count }, () => Workload.echoInput),
      (input) => client.run(Workload.Echo, input),
      { concurrency: width, discard: true }
    )
  })
