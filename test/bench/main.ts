/**
 * Measures the system and the limits of the machine side by side.
 *
 * `npm run bench` runs all cases; `-- events codec` those two. `-- --quick` takes a minute and a half. `npm run bench:profile -- events`
 * runs the system's side of one case alone and leaves CPU and heap profiles of its processes. Results go to `bench-results/`.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import type * as Case from "./Case.ts"
import { acknowledged } from "./cases/Acknowledged.ts"
import { codecAlone } from "./cases/CodecAlone.ts"
import { documents } from "./cases/Documents.ts"
import { events, eventsOfManyJobs, eventsOfManySessions } from "./cases/Events.ts"
import { fairness } from "./cases/Fairness.ts"
import { fanOut } from "./cases/FanOut.ts"
import { idleProcessor } from "./cases/IdleProcessor.ts"
import { idleSessions } from "./cases/IdleSessions.ts"
import { leaseChecks } from "./cases/LeaseChecks.ts"
import { inMemory } from "./cases/InMemory.ts"
import { resume } from "./cases/Resume.ts"
import { slowReader } from "./cases/SlowReader.ts"
import { submits } from "./cases/Submits.ts"
import * as Machine from "./Machine.ts"
import type * as Measured from "./Measured.ts"
import * as Peer from "./Peer.ts"
import * as Profile from "./Profile.ts"
import * as Report from "./Report.ts"

const cases: ReadonlyArray<Case.Case> = [
  events,
  eventsOfManyJobs,
  eventsOfManySessions,
  submits,
  documents,
  fanOut,
  resume,
  fairness,
  slowReader,
  acknowledged,
  idleSessions,
  idleProcessor,
  codecAlone,
  inMemory,
  leaseChecks
]

const { positionals, values: flags } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false }, profile: { type: "boolean", default: false } }
})

const unknown = positionals.filter((id) => !cases.some((known) => known.id === id))
if (unknown.length > 0 || (flags.profile && positionals.length !== 1)) {
  const problem = unknown.length > 0 ? `no such case: ${unknown.join(", ")}` : "profiles are of one case"
  console.error(`${problem}; there are ${cases.map(({ id }) => id).join(", ")}`)
  process.exit(2)
}

const scale: Case.Scale = { quick: flags.quick, rounds: flags.quick ? 2 : 5 }
const machine = Machine.facts()
const folder = Path.join(import.meta.dirname, "../../bench-results")
const stamp = machine.startedAt.replace(/[:.]/g, "-")
Fs.mkdirSync(folder, { recursive: true })

/** Runs with processes that end with it. */
const staged = async <A>(profileId: string | undefined, use: (stage: Case.Stage) => Promise<A>): Promise<A> => {
  const peers = new Set<{ readonly stop: () => Promise<void> }>()
  const taken = new Map<string, number>()
  const profiling = (role: string): Peer.Profiling | undefined => {
    if (profileId === undefined) return undefined
    const count = (taken.get(role) ?? 0) + 1
    taken.set(role, count)
    return { folder, name: `${stamp}-${profileId}-${role}${count === 1 ? "" : `-${count}`}` }
  }
  try {
    return await use({
      scale,
      start: async (script, role) => {
        const peer = await Peer.start(script, profiling(role))
        peers.add(peer)
        return peer as never
      },
      stop: async (peer) => {
        peers.delete(peer)
        await peer.stop()
      }
    })
  } finally {
    await Promise.allSettled([...peers].map((peer) => peer.stop()))
  }
}

const measure = (subject: Case.Case, kinds: ReadonlySet<Case.Subject["kind"]>, profileId?: string) =>
  staged(profileId, async (stage): Promise<ReadonlyArray<Measured.Measured>> => {
    const subjects = (await subject.open(stage)).filter(({ kind }) => kinds.has(kind))
    const measured = subjects.map((subject) => ({ subject, rounds: new Array<Case.Values>() }))
    if (subject.warmup ?? true) for (const { run } of subjects) await run()
    // With new processes in each round, one round is one set of profiles.
    const rounds = profileId !== undefined && subject.warmup === false ? 1 : (subject.rounds?.(scale) ?? scale.rounds)
    for (let round = 0; round < rounds; round++) {
      // Each round begins with another subject, so that none is always the one that runs after the same other.
      for (let turn = 0; turn < measured.length; turn++) {
        const next = measured[(round + turn) % measured.length]!
        next.rounds.push(await next.subject.run())
      }
    }
    return measured
  })

const printProfiles = () => {
  const files = Fs.readdirSync(folder).filter((file) => file.startsWith(stamp) && !file.includes("-raw"))
  for (const file of files.toSorted()) {
    const isTime = file.endsWith(".cpuprofile")
    if (!isTime && !file.endsWith(".heapprofile")) continue
    const path = Path.join(folder, file)
    console.log(`\n${file}: ${isTime ? "own time" : "in memory at the end"}`)
    for (const { amount, name, place, share } of (isTime ? Profile.selfTimes : Profile.selfSizes)(path).slice(0, 25)) {
      const shown = isTime ? `${amount.toFixed(0)} ms` : `${(amount / 1024).toFixed(0)} KiB`
      console.log(`${(share * 100).toFixed(1).padStart(5)} %  ${shown.padStart(10)}  ${name}  ${place}`)
    }
  }
}

/** Measures a case and prints it; one that cannot be measured does not end the others. */
const report = async (subject: Case.Case, kinds: ReadonlySet<Case.Subject["kind"]>, profileId?: string) => {
  const outcome = await measure(subject, kinds, profileId).then(
    (measured) => Report.outcome(subject, measured),
    (cause: unknown) => Report.failure(subject, cause)
  )
  console.log(Report.print(outcome))
  return outcome
}

console.log(Report.printMachine(machine))
const outcomes: Array<Report.Outcome> = []
const chosen = cases.filter(({ id }) => positionals.length === 0 || positionals.includes(id))
for (const subject of chosen) {
  outcomes.push(
    flags.profile
      ? await report(subject, new Set(["system"]), subject.id)
      : await report(subject, new Set(["system", "raw"]))
  )
}
if (flags.profile) printProfiles()
else console.log(Report.printVerdicts(outcomes))

const file = Path.join(folder, `${stamp}.json`)
Fs.writeFileSync(file, `${JSON.stringify({ machine, scale, outcomes } satisfies Report.Report, undefined, 2)}\n`)
console.log(`\n${(performance.now() / 1000).toFixed(1)} s, written to ${Path.relative(process.cwd(), file)}`)
if (outcomes.some(({ failure }) => failure !== undefined)) process.exitCode = 1
