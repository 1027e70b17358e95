/**
 * Runs every example, one after the other, and stops at the first that fails or does not end.
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"

const patienceMillis = 120_000

const folder = Path.join(import.meta.dirname, "../examples")
const examples = Fs.readdirSync(folder)
  .filter((file) => file.endsWith(".ts"))
  .toSorted()

if (examples.length === 0) throw new Error(`${folder} holds no example`)

for (const example of examples) {
  console.log(`\n--- examples/${example}`)
  const run = spawnSync(process.execPath, [Path.join(folder, example)], { stdio: "inherit", timeout: patienceMillis })
  if (run.status !== 0) {
    const reason = run.error?.message ?? (run.signal === null ? `exit code ${run.status}` : `signal ${run.signal}`)
    console.error(`\nexamples/${example} failed: ${reason}`)
    process.exit(1)
  }
}

console.log(`\n${examples.length} examples ran to their end`)
