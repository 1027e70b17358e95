/**
 * Counts a tree again, with plain `node:fs` and in another way than the agent does: bytes instead of text, recursion instead of a queue.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { skipped } from "./SurveyAgent.ts"

export interface Count {
  files: number
  lines: number
  bytes: number
  longest: number
}

export const recount = (folder: string, count: Count = { files: 0, lines: 0, bytes: 0, longest: 0 }): Count => {
  for (const entry of Fs.readdirSync(folder, { withFileTypes: true })) {
    const path = Path.join(folder, entry.name)
    if (entry.isDirectory() && !skipped.has(entry.name)) recount(path, count)
    if (!entry.isFile()) continue
    const content = Fs.readFileSync(path)
    const lines = linesOf(content)
    count.files++
    count.bytes += content.length
    count.lines += lines
    count.longest = Math.max(count.longest, lines)
  }
  return count
}

const linesOf = (content: Buffer): number => {
  if (content.length === 0 || content.includes(0)) return 0
  let breaks = 0
  for (const byte of content) if (byte === 10) breaks++
  return content.at(-1) === 10 ? breaks : breaks + 1
}
