/**
 * Reads profiles: which functions the time went into, and which made what is still in memory.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

interface CallFrame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

interface CpuProfile {
  readonly nodes: ReadonlyArray<{ readonly id: number; readonly callFrame: CallFrame }>
  readonly samples: ReadonlyArray<number>
  /** Microseconds before each sample. */
  readonly timeDeltas: ReadonlyArray<number>
}

interface HeapNode {
  readonly callFrame: CallFrame
  /** Bytes. */
  readonly selfSize: number
  readonly children: ReadonlyArray<HeapNode>
}

export interface Entry {
  readonly name: string
  readonly place: string
  /** Milliseconds, or bytes. */
  readonly amount: number
  /** Of all: of the time that is the time in which the process was not idle. */
  readonly share: number
}

const root = Path.join(import.meta.dirname, "../..")

const place = (url: string, line: number): string => {
  if (url === "") return "(native)"
  const path = url.startsWith("file:") ? Path.relative(root, fileURLToPath(url)) : url
  return `${path.replace(/^.*node_modules\//, "")}:${line + 1}`
}

const ranked = (samples: Iterable<readonly [CallFrame, amount: number]>): ReadonlyArray<Entry> => {
  const totals = new Map<string, { readonly name: string; readonly place: string; amount: number }>()
  let sum = 0
  for (const [frame, amount] of samples) {
    const at = place(frame.url, frame.lineNumber)
    const name = frame.functionName === "" ? "(anonymous)" : frame.functionName
    const total = totals.get(`${name} ${at}`) ?? { name, place: at, amount: 0 }
    total.amount += amount
    sum += amount
    totals.set(`${name} ${at}`, total)
  }
  return [...totals.values()]
    .toSorted((a, b) => b.amount - a.amount)
    .map((total) => ({ ...total, share: total.amount / sum }))
}

/** The functions by their own time, the longest first. */
export const selfTimes = (file: string): ReadonlyArray<Entry> => {
  const profile: CpuProfile = JSON.parse(Fs.readFileSync(file, "utf8"))
  const frames = new Map(profile.nodes.map(({ callFrame, id }) => [id, callFrame]))
  return ranked(
    profile.samples.flatMap((id, index) => {
      const frame = frames.get(id)
      const millis = Math.max(0, profile.timeDeltas[index] ?? 0) / 1000
      return frame === undefined || frame.functionName === "(idle)" ? [] : [[frame, millis] as const]
    })
  )
}

/** The functions by what they made and is still in use when the process ends, the largest first. Sampled. */
export const selfSizes = (file: string): ReadonlyArray<Entry> => {
  const profile: { readonly head: HeapNode } = JSON.parse(Fs.readFileSync(file, "utf8"))
  const samples: Array<readonly [CallFrame, number]> = []
  const rest = [profile.head]
  for (let node = rest.pop(); node !== undefined; node = rest.pop()) {
    samples.push([node.callFrame, node.selfSize])
    rest.push(...node.children)
  }
  return ranked(samples)
}
