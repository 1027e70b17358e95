/**
 * What the exit code of `arcp` says, and the one error that carries it.
 *
 * @since 0.1.0
 */
import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"
import * as Printable from "./Printable.ts"

/**
 * @category constants
 * @since 0.1.0
 */
export const success = 0
/** The job ended with an error, or the runtime could not serve. */
export const failure = 1
/** The command line, the input or the request was not acceptable. */
export const usage = 2
/** The job was cancelled. */
export const cancelled = 3
/** The job ran longer than it may. */
export const timedOut = 4
/** No session: the runtime cannot be reached, does not know the token, or went away. */
export const connection = 5
/** Left by a signal, with the job still running. */
export const interrupted = 130

/**
 * The table that the help prints.
 *
 * @category constants
 * @since 0.1.0
 */
export const table: ReadonlyArray<readonly [code: number, meaning: string]> = [
  [success, "the job succeeded"],
  [failure, "the job ended with an error"],
  [usage, "the command line, the input or the request was refused"],
  [cancelled, "the job was cancelled"],
  [timedOut, "the job ran longer than it may"],
  [connection, "no connection, or the token was refused"],
  [interrupted, "left by a signal; the job may still be running"]
]

/**
 * How a command ends when it does not end well: a message for a person, and an exit code for a script.
 *
 * @category errors
 * @since 0.1.0
 */
export class Failed extends Schema.TaggedError<Failed>("arcp/cli/Failed")("Failed", {
  exitCode: Schema.Int,
  message: Schema.String,
  /** What to do about it. */
  hint: Schema.optionalKey(Schema.String)
}) {
  override readonly [Runtime.errorExitCode] = this.exitCode
  /** The command says it, in one line; a log entry with a stack would say it again. */
  override readonly [Runtime.errorReported] = false

  override get [CliError.userMessage]() {
    const message = Printable.lines(this.message)
    return this.hint === undefined ? message : `${message}\n  ${Printable.lines(this.hint)}`
  }
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const fail = (exitCode: number, message: string, hint?: string): Failed =>
  new Failed({ exitCode, message, ...(hint === undefined ? undefined : { hint }) })
