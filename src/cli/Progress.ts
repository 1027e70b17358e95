/**
 * What a job says, as lines for a person, and how far it is, as one line that changes.
 *
 * @since 0.1.0
 */
import { Option } from "effect"
import { CliOutput } from "effect/cli"
import * as JobEvent from "../protocol/JobEvent.ts"
import type * as Json from "../protocol/Json.ts"
import * as Printable from "./Printable.ts"

/**
 * What has been seen of a job, as far as later lines depend on it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  readonly phase: string
  readonly step: JobEvent.Body<"progress"> | undefined
  /** Tools that were called and have not answered, by `call_id`. */
  readonly calls: ReadonlyMap<string, string>
}

/**
 * @category constants
 * @since 0.1.0
 */
export const initial: Progress = { phase: "", step: undefined, calls: new Map() }

/** A peer decides how many calls stay open; beyond this the oldest lose their name. */
const maxCalls = 256

/**
 * Takes one more event into account.
 *
 * @category combinators
 * @since 0.1.0
 */
export const add = (self: Progress, event: JobEvent.JobEvent): Progress => {
  if (JobEvent.is(event, "status")) return { ...self, phase: event.body.phase }
  if (JobEvent.is(event, "progress")) return { ...self, step: event.body }
  if (JobEvent.is(event, "tool_call")) {
    const open = [...self.calls].slice(-(maxCalls - 1))
    return { ...self, calls: new Map([...open, [event.body.call_id, event.body.tool]]) }
  }
  if (JobEvent.is(event, "tool_result")) {
    const { call_id } = event.body
    return { ...self, calls: new Map([...self.calls].filter(([id]) => id !== call_id)) }
  }
  return self
}

/** How much of it is done, from 0 to 100, if that is known. */
const percent = ({ current, total }: JobEvent.Body<"progress">): number | undefined =>
  total === undefined || total === 0 ? undefined : Math.floor(Math.min(1, current / total) * 100)

/** A job may count faster than anybody can read: a line for each part in twenty is enough. */
const stage = (step: JobEvent.Body<"progress">): number => {
  const done = percent(step)
  return done === undefined ? step.current : Math.floor(done / 5)
}

/**
 * How lines are set off against each other.
 *
 * @category models
 * @since 0.1.0
 */
export interface Style {
  readonly dim: (text: string) => string
  readonly alarm: (text: string) => string
  readonly accent: (text: string) => string
}

/**
 * @category constants
 * @since 0.1.0
 */
export const plain: Style = { dim: (text) => text, alarm: (text) => text, accent: (text) => text }

const ansi = (code: number) => (text: string) => `\u001b[${code}m${text}\u001b[0m`

/**
 * @category constants
 * @since 0.1.0
 */
export const colored: Style = { dim: ansi(2), alarm: ansi(31), accent: ansi(36) }

/** Characters of a value that is shown beside what it belongs to. */
const glance = 200

const brief = (value: Json.Json | undefined) =>
  value === undefined ? "" : Printable.truncate(Printable.json(value), glance)

const amount = (value: number) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6))))

const count = ({ current, total, units }: JobEvent.Body<"progress">) =>
  Printable.line(
    [total === undefined ? amount(current) : `${amount(current)}/${amount(total)}`, units ?? ""].join(" ")
  ).trim()

const labelled = (label: string, text: string) => `${label.padEnd(8)} ${text}`

/**
 * The line for an event, given what came before it. Chunks of the result have none, since the result is printed whole.
 *
 * @category conversions
 * @since 0.1.0
 */
export const line = (self: Progress, event: JobEvent.JobEvent, style: Style): Option.Option<string> =>
  Option.fromUndefinedOr(describe(self, event, style))

const describe = (self: Progress, event: JobEvent.JobEvent, style: Style): string | undefined => {
  if (JobEvent.is(event, "log")) {
    const { attributes, level, message } = event.body
    const text = labelled(level, `${Printable.line(message)} ${brief(attributes)}`.trimEnd())
    return level === "error" || level === "warn" ? style.alarm(text) : level === "debug" ? style.dim(text) : text
  }
  if (JobEvent.is(event, "thought")) return style.dim(labelled("thought", Printable.line(event.body.text)))
  if (JobEvent.is(event, "status")) {
    const { message, phase } = event.body
    return labelled("status", Printable.line(message === undefined ? phase : `${phase}: ${message}`))
  }
  if (JobEvent.is(event, "progress")) {
    const { message = "" } = event.body
    const before = self.step
    if (before !== undefined && before.message === event.body.message && stage(before) === stage(event.body))
      return undefined
    return labelled("progress", `${count(event.body)} ${Printable.line(message)}`.trimEnd())
  }
  if (JobEvent.is(event, "tool_call")) {
    return style.accent(labelled("tool", `${Printable.line(event.body.tool)} ${brief(event.body.args)}`))
  }
  if (JobEvent.is(event, "tool_result")) {
    const { call_id, error, result } = event.body
    const tool = Printable.line(self.calls.get(call_id) ?? call_id)
    return error === undefined
      ? style.accent(labelled("tool", `${tool} answered ${brief(result)}`.trimEnd()))
      : style.alarm(labelled("tool", Printable.line(`${tool} failed: ${error.code}: ${error.message}`)))
  }
  if (JobEvent.is(event, "metric")) {
    const { name, unit = "", value } = event.body
    return style.dim(labelled("metric", Printable.line(`${name} ${amount(value)} ${unit}`).trimEnd()))
  }
  if (JobEvent.is(event, "artifact_ref")) {
    const { byte_size, content_type, uri } = event.body
    const size = byte_size === undefined ? "" : `, ${byte_size} bytes`
    return style.accent(labelled("artifact", Printable.line(`${uri} (${content_type}${size})`)))
  }
  if (JobEvent.is(event, "delegate")) {
    const { agent, child_job_id = "" } = event.body
    return style.accent(labelled("delegate", Printable.line(`${agent} ${child_job_id}`).trimEnd()))
  }
  if (JobEvent.is(event, "result_chunk")) return undefined
  return style.dim(labelled("event", `${Printable.line(event.kind)} ${brief(event.body as Json.Json)}`))
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]

const barWidth = 24

/**
 * The line that changes: a bar if it is known how much there is to do, and how long it has taken so far.
 *
 * @category conversions
 * @since 0.1.0
 */
export const status = (
  self: Progress,
  view: { readonly tick: number; readonly seconds: number; readonly columns: number; readonly style: Style }
): string => {
  const parts: Array<string> = []
  const done = self.step === undefined ? undefined : percent(self.step)
  if (done !== undefined) {
    const filled = Math.round((done / 100) * barWidth)
    parts.push(`${"█".repeat(filled)}${"░".repeat(barWidth - filled)} ${String(done).padStart(3)}%`)
  }
  if (self.step !== undefined) parts.push(count(self.step), Printable.line(self.step.message ?? ""))
  else parts.push(Printable.line(self.phase) || "waiting")
  const [tool] = [...self.calls.values()].slice(-1)
  if (tool !== undefined) parts.push(Printable.line(tool))
  const spinner = frames[view.tick % frames.length] ?? ""
  const time = `${view.seconds}s`
  const text = fit(parts.filter((part) => part !== "").join("  "), view.columns - time.length - 5)
  return `${view.style.accent(spinner)} ${text}  ${view.style.dim(time)}`
}

/** Cut to the cells that a terminal has for it. */
const fit = (text: string, columns: number): string => {
  let cut = Printable.truncate(text, Math.max(1, columns))
  while (cut.length > 1 && CliOutput.displayWidth(cut) > columns) cut = Printable.truncate(cut, cut.length - 1)
  return cut
}
