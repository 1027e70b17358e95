/**
 * The runtime's end of a line, played by a test: it says and hears raw frames, so that the client meets every form that peers use.
 */
import { assert } from "@effect/vitest"
import { Context, Effect, Layer, Queue, Redacted, Result, type Scope } from "effect"
import * as ArcpClient from "../../src/client/ArcpClient.ts"
import type * as ClientError from "../../src/client/ClientError.ts"
import * as Feature from "../../src/protocol/Feature.ts"
import * as Connection from "../../src/session/Connection.ts"
import * as Dialer from "../../src/session/Dialer.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"

/** A frame of the client, as JSON. Tests look at members by name, so each is there or fails the test. */
export interface Frame {
  readonly arcp: string
  readonly id: string
  readonly type: string
  readonly session_id?: string
  readonly trace_id?: string
  readonly job_id?: string
  readonly extensions?: object
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly payload: any
}

export interface FakeRuntime {
  readonly dialer: Layer.Layer<Dialer.Dialer>
  /** Everything that the client has said so far and that was heard. */
  readonly heard: ReadonlyArray<Frame>
  /** The next thing that the client says, which must be of this type. */
  readonly hear: (type: string) => Effect.Effect<Frame>
  /** What the client has said by now, and the test has not heard. */
  readonly unheard: Effect.Effect<ReadonlyArray<Frame>>
  /** Says frames, in one batch. Envelope members that are not given are made up. */
  readonly say: (
    ...frames: ReadonlyArray<{ readonly type: string; readonly [member: string]: unknown }>
  ) => Effect.Effect<void>
  readonly sayRaw: (...texts: ReadonlyArray<string>) => Effect.Effect<void>
  readonly close: (code?: number) => Effect.Effect<void>
  /** The end of the line, which must be the next thing that comes. */
  readonly closed: Effect.Effect<Connection.ConnectionError>
  /** How many lines were dialled. What is said goes over the last. */
  readonly dials: () => number
  /** Whether dialling fails from now on. */
  readonly refuse: (refuse: boolean) => void
  /** Hears the hello and welcomes the client. */
  readonly welcome: (payload?: { readonly [member: string]: unknown }) => Effect.Effect<Frame>
}

export const sessionId = "sess_1"

export const make = (options?: MemoryTransport.Options): Effect.Effect<FakeRuntime, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const heard: Array<Frame> = []
    const inbox = yield* Queue.bounded<Frame | Connection.ConnectionError>(4096)
    let far: Connection.Frames = (yield* MemoryTransport.pair(options))[1]
    let dials = 0
    let refused = false
    const isFrame = (item: Frame | Connection.ConnectionError): item is Frame => "type" in item

    const dial = Effect.gen(function* () {
      dials++
      if (refused) return yield* new Connection.ConnectionError({ reason: "open", message: "nobody there" })
      const [near, other] = yield* MemoryTransport.pair(options)
      far = other
      const listen = Effect.gen(function* () {
        while (true) {
          for (const text of yield* other.pull) yield* Queue.offer(inbox, JSON.parse(text) as Frame)
        }
      })
      yield* Effect.forkIn(
        Effect.catch(listen, (error) => Queue.offer(inbox, error)),
        scope
      )
      return yield* Effect.acquireRelease(Effect.succeed(near), (line) => line.close(Connection.close.normal))
    })
    let count = 0

    const sayRaw = (...texts: ReadonlyArray<string>) => {
      const [first, ...rest] = texts
      return first === undefined ? Effect.void : Effect.orDie(Effect.suspend(() => far.send([first, ...rest])))
    }
    const say: FakeRuntime["say"] = (...frames) =>
      sayRaw(
        ...frames.map((frame) =>
          JSON.stringify({ arcp: "1.1", id: `rt_${++count}`, session_id: sessionId, payload: {}, ...frame })
        )
      )
    /** Acknowledgements come when they come: only who asks for them hears them. */
    const hear = (type: string): Effect.Effect<Frame> =>
      Effect.flatMap(Queue.take(inbox), (item) => {
        if (!isFrame(item)) return hear(type)
        heard.push(item)
        if (item.type === "session.ack" && type !== "session.ack") return hear(type)
        assert.strictEqual(item.type, type, JSON.stringify(item))
        return Effect.succeed(item)
      })

    return {
      dialer: Dialer.layer(dial),
      dials: () => dials,
      refuse: (refuse) => {
        refused = refuse
      },
      heard,
      hear,
      unheard: Effect.map(Queue.clear(inbox), (items) => {
        const frames = items.filter(isFrame)
        heard.push(...frames)
        return frames.filter(({ type }) => type !== "session.ack")
      }),
      say,
      sayRaw,
      close: (code = 1006) => Effect.suspend(() => far.close({ code, reason: "gone" })),
      closed: Effect.map(Queue.take(inbox), (item) =>
        isFrame(item) ? assert.fail(`not the end but ${JSON.stringify(item)}`) : item
      ),
      welcome: (payload) =>
        Effect.tap(hear("session.hello"), () =>
          say({
            type: "session.welcome",
            payload: {
              runtime: { name: "fake", version: "1" },
              resume_token: "rt",
              resume_window_sec: 600,
              heartbeat_interval_sec: 30,
              ...payload,
              capabilities: {
                encodings: ["json"],
                features: Feature.all,
                agents: [{ name: "greeter", versions: ["1.0.0"], default: "1.0.0" }],
                ...(payload?.["capabilities"] as object | undefined)
              }
            }
          })
        )
    }
  })

/** What marks a runtime of our own, which names the request in every answer. */
export const declared = { capabilities: { [Feature.declaration.key]: Feature.declaration.value } }

/** Without the features by which events are paced and read again. */
export const plain = { features: Feature.all.filter((feature) => feature !== "ack" && feature !== "subscribe") }

export type Client = ArcpClient.ArcpClient["Service"]

/** A client of the fake runtime, welcomed. */
export const open = (
  runtime: FakeRuntime,
  options?: Partial<ArcpClient.Options>,
  welcome?: { readonly [member: string]: unknown }
): Effect.Effect<Client, ClientError.ConnectError, Scope.Scope> =>
  Effect.gen(function* () {
    const layer = ArcpClient.ArcpClient.layer({ token: Redacted.make("secret"), ...options })
    yield* Effect.forkScoped(runtime.welcome(welcome))
    const context = yield* Layer.build(Layer.provide(layer, runtime.dialer))
    return Context.get(context, ArcpClient.ArcpClient)
  })

/** As {@link open}; when the test ends the line is cut first, so that nobody waits for a farewell. */
export const connect: typeof open = (runtime, options, welcome) =>
  Effect.tap(open(runtime, options, welcome), () => Effect.addFinalizer(() => runtime.close()))

/** Accepts a submit in the way of our own runtime. */
export const accept = (submit: Frame, jobId: string, payload?: object) => ({
  type: "job.accepted",
  job_id: jobId,
  trace_id: submit.trace_id,
  payload: {
    job_id: jobId,
    agent: "greeter@1.0.0",
    lease: {},
    accepted_at: "2026-05-13T19:30:00.000Z",
    request_id: submit.id,
    ...payload
  }
})

export const event = (
  jobId: string,
  event_seq: number,
  kind = "log",
  body: object = { level: "info", message: `${event_seq}` }
) => ({
  type: "job.event",
  job_id: jobId,
  event_seq,
  payload: { kind, ts: "2026-05-13T19:30:00.000Z", body }
})

export const result = (jobId: string, event_seq: number | undefined, value: unknown) => ({
  type: "job.result",
  job_id: jobId,
  ...(event_seq === undefined ? undefined : { event_seq }),
  payload: { final_status: "success", result: value }
})

export const failure = (jobId: string, event_seq: number, code: string, details?: object, retryable = false) => ({
  type: "job.error",
  job_id: jobId,
  event_seq,
  payload: { final_status: "error", code, message: `it was ${code}`, retryable, ...(details && { details }) }
})

/** The error of an effect that must fail. */
export const failed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<E, never, R> =>
  Effect.map(Effect.result(effect), (outcome) => {
    if (Result.isSuccess(outcome)) assert.fail(`did not fail: ${JSON.stringify(outcome.success)}`)
    return outcome.failure
  })

/** Lets everything run that can. */
export const settled = Effect.repeat(Effect.yieldNow, { times: 200 })
