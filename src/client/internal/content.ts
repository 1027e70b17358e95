/**
 * The result of a job, read as it comes (§8.4): what {@link Job.Followed} puts together is not put together then, and the reader's pace is the
 * agent's.
 */
import { Cause, Deferred, Effect, Stream } from "effect"
import type * as AgentOutcome from "../../protocol/AgentOutcome.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as JobEvent from "../../protocol/JobEvent.ts"
import type * as ResultAssembler from "../../protocol/ResultAssembler.ts"
import * as ResultReader from "../../protocol/ResultReader.ts"
import type * as ClientError from "../ClientError.ts"
import * as Job from "./job.ts"

export interface Options<A, E> {
  readonly job: Job.Followed
  /** What the job says, from its first event on. */
  readonly events: Stream.Stream<JobEvent.JobEvent, ClientError.EventsError>
  readonly ack: (event: JobEvent.JobEvent) => Effect.Effect<void>
  readonly read: AgentOutcome.Read<A, E>
}

export interface Content<E> {
  readonly content: Stream.Stream<Uint8Array, ClientError.JobFailure<E>>
  readonly text: Stream.Stream<string, ClientError.JobFailure<E>>
  readonly received: Stream.Stream<number>
}

const pieces = <A, E>({
  ack,
  events,
  job,
  read
}: Options<A, E>): Stream.Stream<ResultReader.Piece, ClientError.JobFailure<E>> =>
  Stream.suspend(() => {
    Job.readAsStream(job)
    const reader = ResultReader.make()
    let last: JobEvent.JobEvent | undefined

    const take = (event: JobEvent.JobEvent) =>
      Effect.suspend(() => {
        // Whoever asks for the next piece is done with the one before.
        const before = last === undefined ? Effect.void : ack(last)
        last = event
        if (event.kind !== "result_chunk") return Effect.as(before, none)
        return Effect.andThen(before, Effect.fromResult(ResultReader.take(reader, event.body as ResultAssembler.Chunk)))
      })

    /** How it ends is for the job to say: its error, the rest of what was streamed, or a result that came whole. */
    const end = Effect.gen(function* () {
      if (last !== undefined) yield* ack(last)
      const outcome = yield* Deferred.await(job.outcome)
      if (job.streamed !== undefined) return yield* Effect.fromResult(ResultReader.finish(reader, job.streamed))
      yield* outcome._tag === "Result" ? Effect.void : read(outcome)
      if (reader.next > 0) {
        return yield* ArcpError.invalidField("result_id", "the job streamed a result and then answered with another", {
          job_id: job.id
        })
      }
      const value = outcome._tag === "Result" ? outcome.value : null
      return [typeof value === "string" ? value : JSON.stringify(value)]
    })

    return events.pipe(Stream.mapEffect(take), Stream.concat(Stream.fromEffect(end)), Stream.flattenIterable)
  })

const none: ReadonlyArray<ResultReader.Piece> = []

const utf8 = new TextEncoder()

const notText = ArcpError.invalidField("result_chunk.data", "the result is bytes, and not text in UTF-8")

const asText = <E>(self: Stream.Stream<ResultReader.Piece, E>): Stream.Stream<string, E | ArcpError.InvalidRequest> =>
  Stream.suspend(() => {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
    const attempt = (decode: () => string) => Effect.try({ try: decode, catch: () => notText })
    return self.pipe(
      Stream.mapEffect((part) =>
        attempt(() => (typeof part === "string" ? decoder.decode() + part : decoder.decode(part, { stream: true })))
      ),
      Stream.concat(Stream.fromEffect(attempt(() => decoder.decode()))),
      Stream.filter((text) => text !== "")
    )
  })

/** How much there is, now and whenever it is more; what comes at once is told as one. */
export const received = (job: Job.Followed): Stream.Stream<number> =>
  Stream.suspend(() => {
    let told = -1
    const pull: Effect.Effect<readonly [number], Cause.Done> = Effect.suspend(() => {
      if (job.received > told) {
        told = job.received
        return Effect.succeed([told] as const)
      }
      if (Deferred.isDoneUnsafe(job.outcome)) return Cause.done()
      job.arrivals.closeUnsafe()
      return Effect.andThen(job.arrivals.await, pull)
    })
    return Stream.fromPull(Effect.succeed(pull))
  })

export const make = <A, E>(options: Options<A, E>): Content<E> => {
  const read = pieces(options)
  return {
    content: Stream.map(read, (piece) => (typeof piece === "string" ? utf8.encode(piece) : piece)),
    text: asText(read),
    received: received(options.job)
  }
}
