/**
 * Judges a run by its tape alone: by what the protocol promises, not by how the runtime keeps it. `Audit` reads what crossed the lines; here
 * what agents said is compared with what consumers got.
 */
import * as Audit from "./Audit.ts"
import type * as Scenario from "./Scenario.ts"
import type * as Tape from "./Tape.ts"

/** A broken promise, in words. */
export type Violation = string

export const check = (tape: Tape.Tape): ReadonlyArray<Violation> => {
  const violations: Array<Violation> = []
  const fail = (violation: Violation) => {
    if (violations.length < 20) violations.push(violation)
  }
  if (tape.stuck !== undefined) fail(`the run does not end: ${tape.stuck}`)
  else if (tape.sessionsLeft > 0) fail(`${tape.sessionsLeft} sessions are never forgotten`)
  const jobs = Audit.audit(tape, fail)
  compare(tape, jobs, fail)
  for (const complaint of tape.complaints) fail(complaint)
  for (const error of tape.errors) fail(`logged: ${error}`)
  return violations
}

/** What was said against what was heard. */
const compare = (
  tape: Tape.Tape,
  jobs: ReadonlyMap<string, Audit.JobState>,
  fail: (violation: Violation) => void
): void => {
  const plans = new Map<string, Scenario.JobPlan>()
  for (const { actions } of tape.scenario.parties) {
    for (const action of actions) if (action.does === "submit") plans.set(action.job.key, action.job)
  }
  const runs = new Map<string, Tape.Run>()
  for (const run of tape.runs) {
    if (runs.has(run.key)) fail(`${run.key} ran twice: as ${runs.get(run.key)!.job} and as ${run.job}`)
    runs.set(run.key, run)
  }
  if (tape.stuck !== undefined) return
  for (const [id, job] of jobs) if (job.end === undefined) fail(`${id} was accepted and never ended`)

  for (const { ends, from, job, key, labels, party, role } of tape.deliveries) {
    const who = `${party}, ${role} of ${key}`
    // Refused; the party said so if that was wrong.
    if (job === undefined) continue
    const run = runs.get(key)
    const state = jobs.get(job)
    if (run === undefined || state === undefined || run.job !== job) {
      fail(`${who}: heard of ${job}, which never ran`)
      continue
    }
    const [end, ...more] = ends
    if (end === undefined || more.length > 0) {
      fail(`${who}: heard of ${ends.length} ends`)
      continue
    }
    if (tape.scenario.scarce) {
      // What is missing was told of on the way. What came is in order, and once.
      const places = labels.map((label) => run.attempted.indexOf(label))
      if (places.some((place, index) => place <= (places[index - 1] ?? -1))) fail(`${who}: heard ${labels.join()}`)
      // A streamed result of which chunks are missing is none.
      const isPartial = end.status === "error" && state.status === "success" && plans.get(key)?.end === "stream"
      if (end.status !== state.status && !isPartial) fail(`${who}: heard of ${end.status}, it was ${state.status}`)
      continue
    }
    const expected = run.attempted.slice(0, labels.length)
    const skipped = run.attempted.indexOf(labels[0] ?? "")
    const heard = from === 0 ? expected : run.attempted.slice(skipped, skipped + labels.length)
    if (labels.some((label, index) => label !== heard[index]))
      fail(`${who}: heard ${labels.join()} of ${run.attempted.join()}`)
    const last = from === 0 ? labels.length : skipped + labels.length
    // What was about to be said when the job was stopped may or may not have been.
    if ((from === 0 || labels.length > 0) && last < run.said) fail(`${who}: heard ${last} of ${run.said}`)
    conclude(who, state, run, plans.get(key), { ...end, whole: from === 0 }, fail)
  }
}

/** Whether a job ended as it had to. */
const conclude = (
  who: string,
  state: Audit.JobState,
  run: Tape.Run,
  plan: Scenario.JobPlan | undefined,
  end: Tape.Delivery["ends"][number] & { readonly whole: boolean },
  fail: (violation: Violation) => void
): void => {
  if (end.status !== state.status) fail(`${who}: heard of ${end.status}, it was ${state.status}`)
  if (state.cancelTaken && end.status !== "cancelled") fail(`${who}: cancelled, and yet ${end.status}`)
  switch (end.status) {
    case "success":
      if (run.outcome !== "result") fail(`${who}: success without a result`)
      // Who begins in the midst of a streamed result gets the rest of it.
      else if (
        end.whole
          ? end.value !== `the result of ${plan?.key}`
          : !`the result of ${plan?.key}`.endsWith(String(end.value))
      ) {
        fail(`${who}: got ${JSON.stringify(end.value)}`)
      }
      return
    case "error":
      if (run.outcome !== "failure") fail(`${who}: failed with ${JSON.stringify(end.value)} though it did not fail`)
      return
    case "timed_out":
      if (plan?.maxRuntime === null) fail(`${who}: timed out without a limit`)
      return
    case "cancelled":
      if (plan !== undefined && !state.cancelAsked) fail(`${who}: cancelled though nobody asked`)
      return
    default:
      fail(`${who}: ended as ${end.status}`)
  }
}
