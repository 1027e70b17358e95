/**
 * The runtime that `submit` and `agents` talk to: the flags that name it, and the session with it.
 *
 * @since 0.1.0
 */
import { Config, Effect, Layer, Option, Redacted, Result } from "effect"
import { Flag } from "effect/cli"
import { SecureRandom } from "effect/crypto"
import type { ChildProcessSpawner } from "effect/process"
import * as ArcpClient from "../client/ArcpClient.ts"
import * as NodeWebSocketDialer from "../node/NodeWebSocketDialer.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Dialer from "../session/Dialer.ts"
import * as StdioTransport from "../transport/StdioTransport.ts"
import * as WebSocketTransport from "../transport/WebSocketTransport.ts"
import * as CommandWords from "./CommandWords.ts"
import * as ExitCode from "./ExitCode.ts"

/**
 * @category flags
 * @since 0.1.0
 */
export const token = Flag.Redacted("token").pipe(
  Flag.withFallbackConfig(Config.Redacted("ARCP_TOKEN")),
  Flag.withMetavar("TOKEN"),
  Flag.optional
)

/**
 * @category flags
 * @since 0.1.0
 */
export const flags = {
  url: Flag.String("url").pipe(
    Flag.withAlias("u"),
    Flag.withFallbackConfig(Config.String("ARCP_URL")),
    Flag.withDefault("ws://127.0.0.1:7777/arcp"),
    Flag.withMetavar("URL"),
    Flag.withDescription("Where the runtime listens (env ARCP_URL; default ws://127.0.0.1:7777/arcp)")
  ),
  token: token.pipe(
    Flag.withDescription("The runtime's token (env ARCP_TOKEN, which other users of this machine cannot see)")
  ),
  insecure: Flag.Boolean("insecure").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Send the token over ws:// even to another machine")
  ),
  stdio: Flag.String("stdio").pipe(
    Flag.withMetavar("COMMAND"),
    Flag.optional,
    Flag.withDescription("Start this command and talk to the runtime on its standard input and output")
  )
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly url: string
  readonly token: Option.Option<Redacted.Redacted>
  readonly insecure: boolean
  readonly stdio: Option.Option<string>
}

interface Route {
  readonly token: Redacted.Redacted
  readonly dialer: Layer.Layer<Dialer.Dialer, never, ChildProcessSpawner.ChildProcessSpawner>
  /** Where the runtime should be, unless it is a child of this process. */
  readonly place?: string
}

const refuse = (problem: string, hint?: string) => ExitCode.fail(ExitCode.usage, problem, hint)

/** The child learns the token from us, so that it need not be given at all. */
const toChild = Effect.fnUntraced(function* (text: string, given: Options["token"]) {
  const words = CommandWords.parse(text)
  if (Result.isFailure(words)) return yield* refuse(`--stdio: ${words.failure}`)
  const [command, ...args] = words.success
  const token = Option.isSome(given) ? given.value : Redacted.make(yield* (yield* SecureRandom.SecureRandom).ulid)
  return { token, dialer: StdioTransport.layerDialer({ command, args, env: { ARCP_TOKEN: token } }) }
}, Effect.provide(SecureRandom.layerWebCrypto))

const toUrl = Effect.fnUntraced(function* ({ insecure, token, url }: Options) {
  const endpoint = yield* Effect.mapError(WebSocketTransport.endpoint(url), ({ message }) =>
    refuse(`--${message}`, "See ARCP_URL or --url: it is of the form ws://127.0.0.1:7777/arcp.")
  )
  if (Option.isNone(token)) return yield* refuse("there is no token", "Set ARCP_TOKEN, or give --token.")
  if (!endpoint.secure && !insecure) {
    return yield* refuse(
      `the token would travel to ${endpoint.peer} for all to read`,
      "Use a wss:// URL, or say --insecure if the way there is safe."
    )
  }
  return { token: token.value, dialer: NodeWebSocketDialer.layer({ url }), place: placeOf(endpoint.url) }
})

/** Without the query, which may hold a secret. */
const placeOf = (url: string) => url.replace(/\?.*$/, "")

/** No session is one exit code, whatever the reason: the job was never the matter. */
const unreachable = (error: ArcpError.ArcpError, place: string | undefined) =>
  ExitCode.fail(ExitCode.connection, error.message, hintFor(error, place))

const hintFor = (error: ArcpError.ArcpError, place: string | undefined) => {
  if (error._tag === "Unauthenticated") return "The runtime does not know this token: see ARCP_TOKEN or --token."
  if (error._tag === "HeartbeatLost" && place !== undefined) return `It should be at ${place}: see ARCP_URL or --url.`
  return undefined
}

/**
 * A session with the runtime that the flags name.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<ArcpClient.ArcpClient, ExitCode.Failed, ChildProcessSpawner.ChildProcessSpawner> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const route: Route = yield* Option.isSome(options.stdio)
        ? toChild(options.stdio.value, options.token)
        : toUrl(options)
      return ArcpClient.ArcpClient.layer({ name: "arcp", token: route.token }).pipe(
        Layer.catch((error) => Layer.effect(ArcpClient.ArcpClient, unreachable(error, route.place))),
        Layer.provide(route.dialer)
      )
    })
  )
