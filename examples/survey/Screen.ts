/**
 * Shows a job on a terminal: one live line with a bar, and plain lines above it. Where the output is no terminal there is no live line,
 * and `styleText` leaves the colours out, as it does when `NO_COLOR` is set.
 */
import { Console, Effect } from "effect"
import { stdout } from "node:process"
import { styleText } from "node:util"
import { JobEvent } from "../../src/protocol/index.ts"

const width = () => Math.min(stdout.columns ?? 100, 100)

export const dim = (text: string) => styleText("dim", text)
export const bold = (text: string) => styleText("bold", text)
export const good = (text: string) => styleText("green", text)
export const warn = (text: string) => styleText("yellow", text)

export const say = (text = "") => Console.log(text === "" ? "" : `  ${text}`)
export const agrees = (text: string) => say(`${good("✓")} ${text}`)
export const title = (text: string) => Effect.andThen(say(), say(bold(text)))

/** Rows in columns; numbers to the right. Widths are measured before a column is styled. */
export const table = (
  rows: ReadonlyArray<ReadonlyArray<string | number>>,
  styles: ReadonlyArray<(text: string) => string> = []
) => {
  const widths: Array<number> = []
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, show(cell).length)))
  return Effect.forEach(
    rows,
    (row) => {
      const cells = row.map((cell, at) => {
        const isLast = at === widths.length - 1
        const padded =
          typeof cell === "number" ? show(cell).padStart(widths[at]!) : show(cell).padEnd(isLast ? 0 : widths[at]!)
        return styles[at]?.(padded) ?? padded
      })
      return say(cells.join("  ").trimEnd())
    },
    { discard: true }
  )
}

const show = (cell: string | number) => (typeof cell === "number" ? cell.toLocaleString("en") : cell)

export const bar = (share: number, length: number) => {
  const eighths = Math.round(share * length * 8)
  const rest = eighths % 8
  return "█".repeat(Math.floor(eighths / 8)) + (rest === 0 ? "" : " ▏▎▍▌▋▊▉"[rest])
}

/** Draws the events of one job. `clear` takes the live line away. */
export const make = () => {
  let phase = ""
  let reported = 0

  const clear = Effect.sync(() => {
    if (stdout.isTTY) stdout.write("\r\x1b[2K")
  })
  const above = (text: string) => Effect.andThen(clear, say(text))

  const progress = ({ current, message = "", total = current, units = "" }: JobEvent.Body<"progress">) => {
    const share = total === 0 ? 1 : current / total
    const percent = `${Math.round(share * 100)}%`.padStart(4)
    if (stdout.isTTY) {
      const head = `${phase} ${bar(share, 24).padEnd(24, "░")} ${percent}  `
      const room = Math.max(0, width() - head.length - 3)
      return Effect.sync(() =>
        stdout.write(`\r\x1b[2K  ${styleText("cyan", head)}${dim(message.slice(-room || message.length))}`)
      )
    }
    const quarter = Math.floor(share * 4)
    if (quarter === reported) return Effect.void
    reported = quarter
    return say(`${phase} ${percent}  ${current} of ${total} ${units}`)
  }

  const draw = (event: JobEvent.JobEvent): Effect.Effect<void> => {
    if (JobEvent.is(event, "progress")) return progress(event.body)
    if (JobEvent.is(event, "status")) {
      phase = event.body.phase
      return Effect.void
    }
    if (JobEvent.is(event, "log")) {
      const { level, message } = event.body
      return above(`${level === "warn" ? warn("warn") : dim("log ")}  ${message}`)
    }
    if (JobEvent.is(event, "metric")) {
      const { name, unit, value } = event.body
      return above(dim(`metric  ${name} ${value.toLocaleString("en")}${unit === undefined ? "" : ` ${unit}`}`))
    }
    return Effect.void
  }

  return { draw, clear }
}
