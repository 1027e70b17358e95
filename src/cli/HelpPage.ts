/**
 * How `arcp` shows its help, and what it says to a command line that it does not understand.
 *
 * @since 0.1.0
 */
import { Console, Context, Effect, Layer } from "effect"
import { CliOutput, type HelpDoc } from "effect/cli"
import * as ExitCode from "./ExitCode.ts"

/**
 * A part of a help page beyond those that flags and examples make up.
 *
 * @category models
 * @since 0.1.0
 */
export interface Section {
  readonly title: string
  readonly rows: ReadonlyArray<readonly [left: string, right: string]>
}

/**
 * The further parts of a command's help, as an annotation of the command.
 *
 * @category annotations
 * @since 0.1.0
 */
export const Sections = Context.Reference<ReadonlyArray<Section>>("arcp/cli/HelpPage/Sections", {
  defaultValue: () => []
})

/**
 * @category constants
 * @since 0.1.0
 */
export const exitCodes: Section = {
  title: "EXIT CODES",
  rows: ExitCode.table.map(([code, meaning]) => [String(code), meaning])
}

const render = ({ rows, title }: Section, bold: (text: string) => string): string => {
  const width = Math.max(...rows.map(([left]) => left.length)) + 2
  return [bold(title), ...rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`)].join("\n")
}

/** The choices are in the description. */
const shortened = (flag: HelpDoc.FlagDoc): HelpDoc.FlagDoc =>
  flag.type.startsWith("<") ? { ...flag, type: flag.name === "log-level" ? "LEVEL" : "SHELL" } : flag

const spaced = (text: string) => text.replace(/(?<!\n)\n(?=\S*EXAMPLES)/, "\n\n")

const formatter = (colors: boolean): CliOutput.Formatter => {
  const base = CliOutput.defaultFormatter({ colors, globalFlags: "summary" })
  const bold = (text: string) => (colors ? `\u001b[1m${text}\u001b[0m` : text)
  return {
    ...base,
    formatHelpDoc: (doc) =>
      [
        spaced(base.formatHelpDoc({ ...doc, globalFlags: (doc.globalFlags ?? []).map(shortened) })),
        ...Context.get(doc.annotations, Sections).map((section) => render(section, bold))
      ].join("\n\n")
  }
}

/** A mistake is answered on standard error, in a few lines: the whole help would hide what is wrong. */
const present: CliOutput.Presenter["present"] = Effect.fnUntraced(function* (event) {
  if (event._tag !== "InvalidInvocation") return yield* CliOutput.defaultPresenter.present(event)
  const { formatErrors } = yield* CliOutput.Formatter
  yield* Console.error(formatErrors(event.errors).trimStart())
  yield* Console.error(`\nUSAGE\n  ${event.helpDoc.usage}\n\nRun '${event.commandPath.join(" ")} --help' for more.`)
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (colors: boolean): Layer.Layer<never> =>
  Layer.merge(CliOutput.layer(formatter(colors)), CliOutput.layerPresenter({ present }))
