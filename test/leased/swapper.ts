/**
 * Another process that exchanges what a path leads through, as fast as it can, until its standard input ends: a directory for a link to one
 * outside, and a file for a link to one outside. It says how often.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"

const base = process.argv[2]!
const ws = Path.join(base, "ws")
const at = (name: string) => Path.join(ws, name)

let rounds = 0
const round = () => {
  Fs.renameSync(at("d"), at("away"))
  Fs.symlinkSync("../secret", at("d"))
  Fs.symlinkSync("../secret/f", at("next"))
  Fs.renameSync(at("next"), at("f"))
  Fs.unlinkSync(at("d"))
  Fs.renameSync(at("away"), at("d"))
  Fs.writeFileSync(at("next"), "in")
  Fs.renameSync(at("next"), at("f"))
  rounds++
}

let isOver = false
process.stdin.resume().on("end", () => (isOver = true))

const batch = () => {
  for (let i = 0; i < 50; i++) round()
  if (isOver) process.stdout.write(`${rounds}\n`)
  else setImmediate(batch)
}
process.stdout.write("ready\n", batch)
