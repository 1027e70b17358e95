/**
 * A peer that speaks raw frames: what it sends need not be right, and what it receives is shown as it came. It stands in for a client in
 * front of a runtime, or for a runtime in front of a client.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TestPeer } from "effect-arcp/testing"
 *
 * const pings = Effect.gen(function*() {
 *   const peer = yield* TestPeer.connect
 *   yield* peer.hello()
 *   yield* peer.send({ type: "session.ping", payload: { nonce: "n" } })
 *   yield* peer.expect("session.pong", (frame) => frame.payload.ping_nonce === "n")
 * })
 * ```
 *
 * It reads when it is asked to and not before, so a peer that is not asked is one that does not read. It waits on the real clock, so a frame
 * that does not come is a failure with a reason also under a `TestClock` that nobody moves.
 *
 * @since 0.1.0
 */
import { Clock, Context, Duration, Effect, Layer, Option, Queue, Schema, type Scope } from "effect"
import * as Feature from "../protocol/Feature.ts"
import type * as Json from "../protocol/Json.ts"
import type * as Profile from "../protocol/Profile.ts"
import * as Version from "../protocol/Version.ts"
import * as Connection from "../session/Connection.ts"
import type * as MemoryTransport from "../transport/MemoryTransport.ts"

/**
 * A frame as it came: any JSON object with a type and a payload.
 *
 * @category models
 * @since 0.1.0
 */
export interface Frame {
  readonly arcp?: string
  readonly id?: string
  readonly type: string
  readonly session_id?: string
  readonly trace_id?: string
  readonly job_id?: string
  readonly event_seq?: number
  readonly job_seq?: number
  readonly payload: Json.JsonObject
}

/**
 * What of a frame is written down; see {@link TestPeer.send} for what is added.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draft {
  readonly type: string
  readonly [member: string]: Json.Json | undefined
}

/**
 * A frame as it went over the line.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recorded {
  readonly direction: "sent" | "received"
  readonly text: string
}

/**
 * What was expected did not come.
 *
 * @category errors
 * @since 0.1.0
 */
export class PeerError extends Schema.TaggedError<PeerError>("arcp/testing/PeerError")("PeerError", {
  message: Schema.String
}) {}

/**
 * How a hello differs from the usual one.
 *
 * @category models
 * @since 0.1.0
 */
export interface HelloOptions {
  /** Default `secret`. */
  readonly token?: string
  /** What is offered. Default {@link features}. */
  readonly features?: ReadonlyArray<string>
  /** Whose habits are shown, see `Profile.recognize`. Default `standard`. */
  readonly profile?: Profile.Profile
}

/**
 * How a welcome differs from the usual one.
 *
 * @category models
 * @since 0.1.0
 */
export interface WelcomeOptions {
  /** Default `sess_test`. */
  readonly session_id?: string
  /** Default: what the hello offered. */
  readonly features?: ReadonlyArray<string>
  /** Members of the payload, over those that are made up. */
  readonly payload?: Json.JsonObject
}

/**
 * One end of a line of raw frames.
 *
 * @category models
 * @since 0.1.0
 */
export interface TestPeer {
  /**
   * Sends text as it stands; an object as JSON, with those of `arcp`, `id`, `session_id` (once there is one) and `payload` that it does not
   * mention. A member that is `undefined` is left out. Gives the frame that was sent.
   */
  readonly send: {
    (frame: string): Effect.Effect<void, PeerError>
    (frame: Draft): Effect.Effect<Frame & { readonly id: string }, PeerError>
  }
  /** The next frame. */
  readonly receive: Effect.Effect<Frame, PeerError>
  /** The next frame, which must be of this type. Nothing is passed over. */
  readonly expect: (type: string, predicate?: (frame: Frame) => boolean) => Effect.Effect<Frame, PeerError>
  /** The frames up to one of this type that fits, which is the last of them. */
  readonly until: (
    type: string,
    predicate?: (frame: Frame) => boolean
  ) => Effect.Effect<ReadonlyArray<Frame>, PeerError>
  /** What comes in while the other fibers go on as far as they can without the clock; perhaps nothing. */
  readonly drain: Effect.Effect<ReadonlyArray<Frame>, PeerError>
  /** As a client: says hello and gives the welcome. */
  readonly hello: (options?: HelloOptions) => Effect.Effect<Frame, PeerError>
  /** As a runtime: takes the hello, welcomes, and gives the hello. */
  readonly welcome: (options?: WelcomeOptions) => Effect.Effect<Frame, PeerError>
  /** Everything sent and everything read so far. */
  readonly record: Effect.Effect<ReadonlyArray<Recorded>>
  /** Ends the line. */
  readonly close: (reason?: Connection.CloseReason) => Effect.Effect<void>
  /** How the line ended; the next thing that comes must be its end. */
  readonly closed: Effect.Effect<Connection.CloseReason, PeerError>
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** How long a frame may take to come, or to be taken, in real time. Default 5 seconds. */
  readonly patience?: Duration.Input
}

/**
 * What a peer offers as a client unless told otherwise: all features but those that oblige it to speak unasked.
 *
 * @category constants
 * @since 0.1.0
 */
export const features: ReadonlyArray<Feature.Feature> = Feature.all.filter(
  (feature) => feature !== "heartbeat" && feature !== "ack"
)

/** Turns of the scheduler after which a program that only waits for its clock, or for a frame, has come to rest. */
const restingTurns = 50

/**
 * A peer over a line of raw frames.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (line: Connection.Frames, options: Options = {}): TestPeer => {
  const patience = Duration.fromInputUnsafe(options.patience ?? "5 seconds")
  const realClock = Clock.Clock.defaultValue()
  const inbox: Array<string> = []
  const record: Array<Recorded> = []
  let end: Connection.ConnectionError | undefined
  let session: string | undefined
  let sent = 0

  const fail = (message: string) => {
    const last = record.slice(-8).map(({ direction, text }) => `  ${direction}: ${clip(text)}`)
    return Effect.fail(new PeerError({ message: [message, ...last].join("\n") }))
  }

  /** Whether something came in; if not, the line has ended. */
  const pull: Effect.Effect<boolean> = Effect.suspend(() =>
    end !== undefined
      ? Effect.succeed(false)
      : Effect.match(line.pull, {
          onSuccess: (texts) => {
            inbox.push(...texts)
            return true
          },
          onFailure: (error) => {
            end = error
            return false
          }
        })
  )

  const read = (text: string): Effect.Effect<Frame, PeerError> => {
    record.push({ direction: "received", text })
    const frame = parse(text)
    if (frame === undefined) return fail(`A frame is no object with a type and a payload: ${clip(text)}`)
    if (frame.type === "session.welcome") session = frame.session_id
    return Effect.succeed(frame)
  }

  const take = (wanted: string): Effect.Effect<Frame, PeerError> =>
    Effect.suspend(() => {
      const text = inbox.shift()
      if (text !== undefined) return read(text)
      return Effect.timeoutOption(pull, patience).pipe(
        Effect.provideService(Clock.Clock, realClock),
        Effect.flatMap((came) => {
          if (Option.isNone(came)) return fail(`Expected ${wanted}, got nothing within ${Duration.format(patience)}`)
          return came.value ? take(wanted) : fail(`Expected ${wanted}, got the end of the line: ${endOf(end)}`)
        })
      )
    })

  const drain: TestPeer["drain"] = Effect.gen(function* () {
    const rest = Effect.as(Effect.repeat(Effect.yieldNow, { times: restingTurns }), false)
    while (yield* Effect.raceFirst(pull, rest));
    return yield* Effect.forEach(inbox.splice(0), read)
  })

  const expect: TestPeer["expect"] = Effect.fnUntraced(function* (type, predicate = () => true) {
    const frame = yield* take(type)
    if (frame.type === type && predicate(frame)) return frame
    const more = yield* drain
    const others = more.length === 0 ? "" : `, then ${more.map((other) => other.type).join(", ")}`
    const fault = frame.type === type ? `one that does not fit: ${clip(JSON.stringify(frame))}` : frame.type
    return yield* fail(`Expected ${type}, got ${fault}${others}`)
  })

  const until: TestPeer["until"] = Effect.fnUntraced(function* (type, predicate = () => true) {
    const frames: Array<Frame> = []
    while (true) {
      const frame = yield* take(`${type} after ${frames.length} others`)
      frames.push(frame)
      if (frame.type === type && predicate(frame)) return frames
    }
  })

  const write = (text: string) =>
    Effect.suspend(() => {
      record.push({ direction: "sent", text })
      return Effect.timeoutOrElse(line.send([text]), {
        duration: patience,
        orElse: () => fail(`Cannot send: the line has been full for ${Duration.format(patience)}`)
      }).pipe(
        Effect.provideService(Clock.Clock, realClock),
        Effect.catchTag("ConnectionError", (error) => fail(`Cannot send: ${endOf(error)}`))
      )
    })

  const send = ((frame: string | Draft) => {
    if (typeof frame === "string") return write(frame)
    const given = session === undefined ? {} : { session_id: session }
    const whole = { arcp: Version.version, id: `test_${++sent}`, ...given, payload: {}, ...frame }
    return Effect.as(write(JSON.stringify(whole)), whole)
  }) as TestPeer["send"]

  return {
    send,
    receive: take("a frame"),
    expect,
    until,
    drain,
    hello: Effect.fnUntraced(function* (hello: HelloOptions = {}) {
      yield* send(helloOf(hello))
      return yield* expect("session.welcome")
    }),
    welcome: Effect.fnUntraced(function* ({ features, payload, session_id = "sess_test" }: WelcomeOptions = {}) {
      const hello = yield* expect("session.hello")
      const capabilities = hello.payload["capabilities"]
      session = session_id
      yield* send({
        type: "session.welcome",
        payload: {
          runtime: { name: "test", version: "1.0.0" },
          session_id,
          resume_token: "rt_test",
          resume_window_sec: 600,
          capabilities: { encodings: ["json"], features: features ?? offered(capabilities), agents: [] },
          ...payload
        }
      })
      return hello
    }),
    record: Effect.sync(() => [...record]),
    close: (reason = Connection.close.normal) => line.close(reason),
    closed: Effect.gen(function* () {
      const came = yield* Effect.provideService(Effect.timeoutOption(pull, patience), Clock.Clock, realClock)
      if (Option.isNone(came)) return yield* fail(`The line is still open after ${Duration.format(patience)}`)
      const frames = yield* Effect.forEach(inbox.splice(0), read)
      if (frames.length > 0 || end === undefined) {
        return yield* fail(`Expected the end of the line, got ${frames.map((frame) => frame.type).join(", ")}`)
      }
      return { code: end.code ?? Connection.close.normal.code, reason: end.message }
    })
  }
}

/**
 * The hello of a client with the habits of a family, as {@link TestPeer.hello} says it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const helloOf = ({
  features: named = features,
  profile = "standard",
  token = "secret"
}: HelloOptions = {}): Draft => ({
  type: "session.hello",
  ...(profile === "standard" || profile === "effect" ? undefined : { id: helloIds[profile] }),
  payload: {
    client: { name: profile === "java" ? "arcp-client-java" : "test", version: "1.0.0" },
    auth: { scheme: "bearer", token },
    capabilities: {
      encodings: ["json"],
      features: named,
      ...(profile === "effect" ? { [Feature.declaration.key]: Feature.declaration.value } : undefined)
    }
  }
})

/** The forms of envelope id by which families of clients are told apart. */
const helloIds = {
  ts: "msg_01J9ZZZZZZZZZZZZZZZZZZZZZZ",
  go: "01920000-0000-7000-8000-000000000000",
  echo: "01J9ZZZZZZZZZZZZZZZZZZZZZZ",
  java: "01J9ZZZZZZZZZZZZZZZZZZZZZZ"
} as const

const isObject = (value: unknown): value is { readonly [member: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const parse = (text: string): Frame | undefined => {
  try {
    const frame: unknown = JSON.parse(text)
    if (!isObject(frame) || typeof frame["type"] !== "string" || !isObject(frame["payload"])) return undefined
    return frame as typeof frame & Frame
  } catch {
    return undefined
  }
}

const offered = (capabilities: Json.Json | undefined): ReadonlyArray<string> => {
  const features = isObject(capabilities) ? capabilities["features"] : undefined
  return Array.isArray(features) ? features.filter((feature) => typeof feature === "string") : []
}

const clip = (text: string) => (text.length > 300 ? `${text.slice(0, 300)}...` : text)

const endOf = (error: Connection.ConnectionError | undefined) =>
  error === undefined ? "open" : `${error.code ?? error.reason} ${error.message}`

/**
 * Where raw peers connect.
 *
 * @category services
 * @since 0.1.0
 */
export class TestPeers extends Context.Service<
  TestPeers,
  {
    /** One more line to the runtime. The scope owns it. */
    readonly connect: Effect.Effect<TestPeer, Connection.ConnectionError, Scope.Scope>
  }
>()("arcp/testing/TestPeers") {}

/**
 * Peers that are clients of whatever listens on a network.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (network: MemoryTransport.Network, options: Options = {}): Layer.Layer<TestPeers> =>
  Layer.succeed(TestPeers, { connect: Effect.map(network.dial, (line) => make(line, options)) })

/**
 * A peer that is a client of the runtime under test.
 *
 * @category constructors
 * @since 0.1.0
 */
export const connect: Effect.Effect<TestPeer, Connection.ConnectionError, TestPeers | Scope.Scope> = TestPeers.use(
  (peers) => peers.connect
)

/**
 * Listens on a network in the place of a runtime. Running what it gives waits for the next client and gives the peer that faces it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const listen: (
  network: MemoryTransport.Network,
  options?: Options
) => Effect.Effect<Effect.Effect<TestPeer>, Connection.ConnectionError, Scope.Scope> = Effect.fnUntraced(
  function* (network, options) {
    const waiting = yield* Queue.bounded<TestPeer>(16)
    yield* network.listen((line) => Effect.andThen(Queue.offer(waiting, make(line, options)), Effect.never))
    return Queue.take(waiting)
  }
)
