/**
 * Reads a CPU profile: which functions the time went into.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

interface CpuProfile {
  readonly nodes: ReadonlyArray<{
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }>
  readonly samples: ReadonlyArray<number>
  /** Microseconds before each sample. */
  readonly timeDeltas: ReadonlyArray<number>
}

export interface Entry {
  readonly name: string
  readonly place: string
  readonly millis: number
  /** Of all the time in which the process was not idle. */
  readonly share: number
}

const root = Path.join(import.meta.dirname, "../..")

const place = (url: string, line: number): string => {
  if (url === "") return "(native)"
  const path = url.startsWith("file:") ? Path.relative(root, fileURLToPath(url)) : url
  return `${path.replace(/^.*node_modules\//, "")}:${line + 1}`
}

/** The functions by their own time, the longest first. */
export const selfTimes = (file: string): ReadonlyArray<Entry> => {
  const profile: CpuProfile = JSON.parse(Fs.readFileSync(file, "utf8"))
  const frames = new Map(profile.nodes.map(({ callFrame, id }) => [id, callFrame]))
  const totals = new Map<string, { name: string; place: string; micros: number }>()
  let busy = 0
  for (const [index, id] of profile.samples.entries()) {
    const frame = frames.get(id)
    if (frame === undefined || frame.functionName === "(idle)") continue
    const micros = Math.max(0, profile.timeDeltas[index] ?? 0)
    busy += micros
    const at = place(frame.url, frame.lineNumber)
    const name = frame.functionName === "" ? "(anonymous)" : frame.functionName
    const total = totals.get(`${name} ${at}`) ?? { name, place: at, micros: 0 }
    total.micros += micros
    totals.set(`${name} ${at}`, total)
  }
  return [...totals.values()]
    .toSorted((a, b) => b.micros - a.micros)
    .map(({ micros, ...entry }) => ({ ...entry, millis: micros / 1000, share: micros / busy }))
}
