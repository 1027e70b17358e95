/**
 * `arcp submit`: has an agent do something, shows how it goes, and prints what came of it.
 *
 * @since 0.1.0
 */
import {
  Clock,
  DateTime,
  Duration,
  Effect,
  Fiber,
  Option,
  Result,
  type Scope,
  type Stdio,
  Stream,
  type Terminal
} from "effect"
import { Argument, CliError, Command, Flag } from "effect/cli"
import * as ArcpClient from "../client/ArcpClient.ts"
import type * as ClientError from "../client/ClientError.ts"
import type * as JobHandle from "../client/JobHandle.ts"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Capability from "../protocol/Capability.ts"
import type * as Json from "../protocol/Json.ts"
import * as ExitCode from "./ExitCode.ts"
import * as HelpPage from "./HelpPage.ts"
import * as JobInput from "./JobInput.ts"
import * as LeaseRequest from "./LeaseRequest.ts"
import * as RemoteRuntime from "./RemoteRuntime.ts"
import * as Report from "./Report.ts"
import * as Signals from "./Signals.ts"
import * as TimeSpan from "./TimeSpan.ts"

/** A flag whose text is understood elsewhere, with the error of that place. */
const parsed =
  <A, B>(option: string, parse: (value: A) => Effect.Effect<B, string>) =>
  (flag: Flag.Flag<A>): Flag.Flag<B> =>
    Flag.mapEffect(flag, (value) =>
      Effect.mapError(parse(value), (problem) => new CliError.UserError({ cause: `--${option}: ${problem}` }))
    )

const expiry = (text: string) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fromResult(TimeSpan.parseInstant(text, now)))

const flags = {
  input: Flag.String("input").pipe(
    Flag.withAlias("i"),
    Flag.withDefault("null"),
    Flag.withMetavar("JSON|FILE|-"),
    Flag.withDescription("The input: JSON, a file with JSON in it, or - for standard input (default null)")
  ),
  lease: Flag.String("lease").pipe(
    Flag.withAlias("l"),
    Flag.withMetavar("CAPABILITY=PATTERN"),
    Flag.atLeast(0),
    parsed("lease", (values) => Effect.fromResult(LeaseRequest.parse(values))),
    Flag.withDescription("What the job may do, such as fs.read=/data/**, or a JSON object; may be repeated")
  ),
  expires: Flag.String("expires").pipe(
    Flag.withMetavar("WHEN"),
    parsed("expires", expiry),
    Flag.optional,
    Flag.withDescription("When that ends: a span such as 15m, or a timestamp in UTC")
  ),
  maxRuntime: Flag.String("max-runtime").pipe(
    Flag.withMetavar("SPAN"),
    parsed("max-runtime", (text) => Effect.fromResult(TimeSpan.parse(text))),
    Flag.optional,
    Flag.withDescription("How long the job may run: 90s, 15m, 2h, 1d")
  ),
  idempotencyKey: Flag.String("idempotency-key").pipe(
    Flag.withMetavar("KEY"),
    Flag.optional,
    Flag.withDescription("Submitting again with the same key gives the same job, not another")
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Print the events and the outcome on standard output, one JSON object per line")
  ),
  quiet: Flag.Boolean("quiet").pipe(
    Flag.withAlias("q"),
    Flag.withDefault(false),
    Flag.withDescription("Print the result and nothing else")
  )
}

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "submit",
  {
    agent: Argument.String("agent").pipe(Argument.withDescription("The agent: name or name@version")),
    ...flags,
    ...RemoteRuntime.flags
  },
  Effect.fn("arcp submit")(function* (options) {
    const input = yield* JobInput.read(options.input)
    yield* Effect.scoped(submit(options, input)).pipe(Effect.provide(RemoteRuntime.layer(options)))
  })
).pipe(
  Command.withDescription(
    "Submits a job to an agent and follows it. Events go to standard error, the result goes to standard output as JSON.\n" +
      "  Ctrl-C cancels the job and waits for its end; a second Ctrl-C leaves without waiting."
  ),
  Command.withShortDescription("Submits a job to an agent and follows it"),
  Command.withExamples([
    { command: `arcp submit greeter --input '{"name":"Ada"}'`, description: "The result is what is printed" },
    { command: "jq .items order.json | arcp submit pricing@2.0.0 --input - | jq .total", description: "In a pipe" },
    {
      command: "arcp submit indexer -i job.json --lease 'fs.read=/data/**' --expires 15m --max-runtime 10m",
      description: "With authority to read some files, for a while"
    },
    { command: "arcp submit indexer -i job.json --json > events.ndjson", description: "Everything, for a program" },
    {
      command: `arcp submit greeter -i '"Ada"' --stdio "arcp serve agents.ts --stdio"`,
      description: "With a runtime of its own, for just this job"
    }
  ]),
  Command.annotate(HelpPage.Sections, [HelpPage.exitCodes])
)

interface Options {
  readonly agent: string
  readonly lease: Capability.Grants
  /** Milliseconds since the Unix epoch. */
  readonly expires: Option.Option<number>
  readonly maxRuntime: Option.Option<Duration.Duration>
  readonly idempotencyKey: Option.Option<string>
  readonly json: boolean
  readonly quiet: boolean
}

const requestOf = (options: Options): ArcpClient.SubmitOptions => ({
  ...(Object.keys(options.lease).length === 0 ? undefined : { lease: options.lease }),
  ...(Option.isNone(options.expires) ? undefined : { expiresAt: DateTime.makeUnsafe(options.expires.value) }),
  ...(Option.isNone(options.maxRuntime) ? undefined : { maxRuntime: options.maxRuntime.value }),
  ...(Option.isNone(options.idempotencyKey) ? undefined : { idempotencyKey: options.idempotencyKey.value }),
  // A signal that comes before the answer finds no job to cancel yet.
  cancelOnInterrupt: true
})

const reportOf = ({
  json,
  quiet
}: Options): Effect.Effect<Report.Report, never, Stdio.Stdio | Terminal.Terminal | Scope.Scope> =>
  json ? Effect.succeed(Report.json) : quiet ? Effect.succeed(Report.quiet) : Report.human

const submit = Effect.fnUntraced(function* (options: Options, input: Json.Json) {
  const client = yield* ArcpClient.ArcpClient
  const report = yield* reportOf(options)
  const job = yield* client
    .submit(options.agent, input, requestOf(options))
    .pipe(Effect.tapError(report.refused), Effect.mapError(refusal))
  yield* report.accepted(job)
  const following = yield* Effect.forkScoped(follow(job, report))
  const outcome = yield* Effect.raceFirst(Fiber.join(following), interruption(job, report, following))
  if (Result.isSuccess(outcome)) return yield* report.succeeded(outcome.success)
  yield* report.failed(outcome.failure)
  return yield* failure(outcome.failure)
})

type Outcome = Result.Result<Json.Json, ArcpError.ArcpError>

/** Tells of the job until it ends. Losing the session is no outcome. */
const follow = (job: JobHandle.JobHandle<Json.Json>, report: Report.Report): Effect.Effect<Outcome, ExitCode.Failed> =>
  Stream.runForEachArray(job.events, report.events).pipe(
    Effect.mapError((error) => lost(job, error)),
    Effect.andThen(Effect.result(job.result))
  )

/** The first signal asks the runtime to end the job; the second leaves. */
const interruption = Effect.fnUntraced(function* (
  job: JobHandle.JobHandle<Json.Json>,
  report: Report.Report,
  following: Fiber.Fiber<Outcome, ExitCode.Failed>
) {
  const signals = yield* Signals.Signals
  yield* signals.next
  const left = Effect.andThen(
    signals.next,
    Effect.fail(ExitCode.fail(ExitCode.interrupted, `left, while ${job.id} may still be running`))
  )
  const cancelled = report.note("cancelling the job; once more to leave without waiting").pipe(
    Effect.andThen(job.cancel("interrupted by the user")),
    Effect.catch((error) =>
      // It has ended meanwhile, and how is about to be known.
      error._tag === "JobNotFound" ? Effect.void : report.note(`the job was not cancelled: ${error.message}`)
    ),
    Effect.andThen(Fiber.join(following))
  )
  return yield* Effect.raceFirst(cancelled, left)
})

const lost = (job: JobHandle.JobHandle<Json.Json>, error: ClientError.EventsError) =>
  ExitCode.fail(ExitCode.connection, error.message, `How ${job.id} ends is not known here.`)

const told = (error: ArcpError.ArcpError) => `${ArcpError.code(error)}: ${error.message}`

/** A request that was refused, or never answered. */
const refusal = (error: ClientError.SubmitError): ExitCode.Failed => {
  switch (error._tag) {
    case "HeartbeatLost":
    case "ResumeWindowExpired":
    case "Timeout":
    case "Unauthenticated":
      return ExitCode.fail(ExitCode.connection, told(error))
    case "InternalError":
      return ExitCode.fail(ExitCode.failure, told(error))
    case "AgentNotAvailable":
    case "AgentVersionNotAvailable":
      return ExitCode.fail(ExitCode.usage, told(error), "'arcp agents' lists what there is.")
    default:
      return ExitCode.fail(ExitCode.usage, told(error))
  }
}

const exitCodes = { cancelled: ExitCode.cancelled, timed_out: ExitCode.timedOut, error: ExitCode.failure } as const

const failure = (error: ArcpError.ArcpError) => ExitCode.fail(exitCodes[Report.finalStatus(error)], told(error))
