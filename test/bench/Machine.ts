/**
 * What the numbers were taken on.
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

const root = Path.join(import.meta.dirname, "../..")

const versionOf = (name: string): string => {
  const manifest: { readonly version: string } = JSON.parse(
    Fs.readFileSync(Path.join(root, "node_modules", name, "package.json"), "utf8")
  )
  return manifest.version
}

export const facts = () => ({
  cpu: Os.cpus()[0]?.model.trim() ?? "unknown",
  cores: Os.availableParallelism(),
  memoryGiB: Math.round(Os.totalmem() / 2 ** 30),
  /** Of the last minute, before the first measurement: what else the machine was doing. */
  load: Os.loadavg()[0] ?? 0,
  platform: `${Os.platform()} ${Os.release()} ${Os.arch()}`,
  node: process.version,
  v8: process.versions.v8,
  effect: versionOf("effect"),
  platformNode: versionOf("@effect/platform-node"),
  ws: versionOf("ws"),
  startedAt: new Date().toISOString()
})

/** Fails with what to do about it unless one process may have so many files open, sockets included. */
export const requireOpenFiles = (count: number): void => {
  const report = process.report.getReport() as Report
  // Node raises its own limit to the hard one when it starts; Windows has none.
  const limit = Number(report.userLimits?.open_files.soft ?? Number.POSITIVE_INFINITY)
  if (limit >= count) return
  throw new Error(`${count} open files are needed in one process, and ${limit} are allowed: see \`ulimit -Hn\``)
}

interface Report {
  readonly userLimits?: { readonly open_files: { readonly soft: number | "unlimited" } }
}

export type Facts = ReturnType<typeof facts>
