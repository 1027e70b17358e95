/**
 * The command as a whole: `arcp serve`, `arcp submit`, `arcp agents`.
 *
 * @since 0.1.0
 */
import { Effect, Layer, Logger } from "effect"
import { CliError, Command, TerminalCapabilities } from "effect/cli"
import * as Version from "../protocol/Version.ts"
import * as RuntimeConfig from "../runtime/RuntimeConfig.ts"
import * as AgentsCommand from "./AgentsCommand.ts"
import * as ExitCode from "./ExitCode.ts"
import * as HelpPage from "./HelpPage.ts"
import * as Printable from "./Printable.ts"
import * as ServeCommand from "./ServeCommand.ts"
import type * as Signals from "./Signals.ts"
import * as SubmitCommand from "./SubmitCommand.ts"

/**
 * @category constants
 * @since 0.1.0
 */
export const version = `${RuntimeConfig.defaults.runtime.version} (ARCP ${Version.version})`

const command = Command.make("arcp").pipe(
  Command.withDescription("Runs agents, and has them run: the Agent Runtime Control Protocol at the command line."),
  Command.withSubcommands([ServeCommand.command, SubmitCommand.command, AgentsCommand.command]),
  Command.withExamples([
    { command: "arcp serve agents.ts", description: "Serve the agents of a module, and print a token for them" },
    { command: "arcp agents", description: "See what is served (the token comes from ARCP_TOKEN)" },
    { command: `arcp submit greeter --input '"Ada"'`, description: "Have one of them do something" }
  ]),
  Command.annotate(HelpPage.Sections, [
    {
      title: "ENVIRONMENT",
      rows: [
        ["ARCP_URL", "the runtime that submit and agents talk to"],
        ["ARCP_TOKEN", "the token: what serve accepts, what submit and agents say"]
      ]
    },
    HelpPage.exitCodes
  ])
)

const log = Logger.layer([Logger.withConsoleError(Logger.map(Logger.formatLogFmt, Printable.line))])

const layer = Layer.unwrap(
  Effect.map(TerminalCapabilities.TerminalCapabilities, ({ canColor }) => HelpPage.layer(canColor))
).pipe(Layer.merge(log))

/** Help that was asked for is a success; help that had to be given is not. */
const conclude = <E, R>(program: Effect.Effect<void, E | CliError.CliError, R>) =>
  program.pipe(
    Effect.catchIf(
      (error): error is CliError.ShowHelp => CliError.isCliError(error) && error._tag === "ShowHelp",
      ({ errors }) =>
        errors.length === 0 ? Effect.void : Effect.fail(ExitCode.fail(ExitCode.usage, "the command line is not valid"))
    ),
    Effect.provide(layer)
  )

/**
 * Runs the command with these arguments. What goes wrong has been said on standard error by then; the failure tells the exit code.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (
  arguments_: ReadonlyArray<string>
): Effect.Effect<void, ExitCode.Failed | CliError.CliError, Command.Environment | Signals.Signals> =>
  conclude(Command.runWith(command, { version })(arguments_))

/**
 * Runs the command with the arguments of this process.
 *
 * @category running
 * @since 0.1.0
 */
export const main: Effect.Effect<void, ExitCode.Failed | CliError.CliError, Command.Environment | Signals.Signals> =
  conclude(Command.run(command, { version }))
