/**
 * What a run is about, drawn from its seed: who takes part, what each does and when, how the runtime is set, and how bad the network is. It is
 * plain data, so that a failing run can be read.
 */
import { Duration } from "effect"
import type * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import type * as FaultyNetwork from "../../src/testing/FaultyNetwork.ts"
import * as Seeded from "./Seeded.ts"

/** One thing that a job says. Times are milliseconds. */
export type Step = {
  readonly pause: number
  readonly size: number
  readonly kind: "log" | "thought" | "progress"
}

/** A job: also the input of its agent, which does as it says. */
export type JobPlan = {
  /** The idempotency key; begins with the name of the principal, which nobody else may ever read. */
  readonly key: string
  readonly steps: ReadonlyArray<Step>
  readonly end: "result" | "stream" | "failure" | "defect" | "endless"
  /** Seconds. */
  readonly maxRuntime: number | null
}

export type Action = { readonly at: number } & (
  | { readonly does: "submit"; readonly job: JobPlan }
  /** Watches a job of somebody else's session: from a place in it, or from now on. */
  | { readonly does: "observe"; readonly key: string; readonly from: number | "now" }
  | { readonly does: "cancel"; readonly key: string }
  /** Uses the key of a job for another. */
  | { readonly does: "conflict"; readonly job: JobPlan }
  | { readonly does: "list" }
  | { readonly does: "away"; readonly duration: number; readonly politely: boolean }
)

export interface PartyPlan {
  readonly name: string
  readonly principal: string
  /** Whether it declares that its acknowledgements pace what it is sent. */
  readonly declared: boolean
  readonly heartbeat: boolean
  /** The longest time that it takes over one event. */
  readonly pace: number
  readonly actions: ReadonlyArray<Action>
}

/** Attempts to resume what cannot be resumed. */
export interface Attempt {
  readonly at: number
  /** Whose session. */
  readonly victim: string
  readonly with: "another principal" | "an old token" | "a made-up token" | "a number that was never given"
}

export interface Scenario {
  readonly seed: number
  readonly parties: ReadonlyArray<PartyPlan>
  readonly attempts: ReadonlyArray<Attempt>
  readonly config: Partial<RuntimeConfig.RuntimeConfig>
  readonly rates: FaultyNetwork.Rates
  readonly maxFaults: number
  /** Whether journals are so small that events are lost, which must be told. */
  readonly scarce: boolean
}

export const draw = (seed: number): Scenario => {
  const next = Seeded.chance(seed)
  const flip = (probability: number) => next() < probability
  const heartbeat = flip(0.8)

  const plan = (principal: string, number: number): JobPlan => {
    const steps = Array.from({ length: Seeded.between(next, 0, flip(0.2) ? 24 : 9) }, () => ({
      pause: flip(0.4) ? 0 : Seeded.between(next, 1, 700),
      size: flip(0.1) ? Seeded.between(next, 400, 1500) : Seeded.between(next, 0, 40),
      kind: Seeded.pick(next, ["log", "thought", "progress"] as const)
    }))
    const end = Seeded.pick(next, ["result", "result", "stream", "failure", "defect", "endless"] as const)
    const maxRuntime = end === "endless" || flip(0.1) ? Seeded.between(next, 1, 8) : null
    return { key: `${principal}-${number}`, steps, end, maxRuntime }
  }

  const jobs = { alice: [plan("alice", 1), plan("alice", 2), plan("alice", 3)], bob: [plan("bob", 1)] }
  const when = () => Seeded.between(next, 0, 4000)
  const away = (): Action => ({
    does: "away",
    at: Seeded.between(next, 500, 6000),
    duration: flip(0.25) ? Seeded.between(next, 35_000, 45_000) : Seeded.between(next, 10, 5000),
    politely: flip(0.5)
  })
  const from = () => (flip(0.3) ? ("now" as const) : flip(0.5) ? 0 : Seeded.between(next, 1, 6))
  const submit = (job: JobPlan, at = when()): Action => ({ does: "submit", at, job })
  const some = <A>(probability: number, make: () => A): ReadonlyArray<A> => (flip(probability) ? [make()] : [])
  const party = (name: string, principal: string, actions: ReadonlyArray<Action>): PartyPlan => ({
    name,
    principal,
    declared: flip(0.7),
    heartbeat,
    pace: flip(0.3) ? Seeded.between(next, 1, 600) : flip(0.5) ? Seeded.between(next, 1, 30) : 0,
    actions
  })

  const [one, two, three] = jobs.alice as [JobPlan, JobPlan, JobPlan]
  const [other] = jobs.bob as [JobPlan]
  // At the same moment as the first, so that both ask for one key at once.
  const shared = when()
  const parties = [
    party("laptop", "alice", [
      submit(one, shared),
      submit(two),
      ...some(0.4, () => ({ does: "cancel", at: when() + 500, key: two.key }) as const),
      ...some(0.3, () => ({ does: "conflict", at: when() + 4000, job: one }) as const),
      ...some(0.3, () => ({ does: "list", at: when() + 1000 }) as const),
      ...some(0.4, away)
    ]),
    party("phone", "alice", [
      ...some(0.5, () => submit(one, flip(0.6) ? shared : when() + Seeded.between(next, 0, 9000))),
      ...some(0.5, () => submit(three)),
      ...some(0.6, () => ({ does: "observe", at: when(), key: two.key, from: from() }) as const),
      ...some(0.2, () => ({ does: "cancel", at: when(), key: two.key }) as const),
      ...some(0.3, () => ({ does: "list", at: when() + 4000 }) as const),
      ...some(0.3, away)
    ]),
    party("stranger", "bob", [
      submit(other),
      ...some(0.4, () => ({ does: "observe", at: when(), key: one.key, from: 0 }) as const),
      ...some(0.3, () => ({ does: "cancel", at: when(), key: one.key }) as const),
      ...some(0.3, () => ({ does: "list", at: when() + 2000 }) as const)
    ])
  ]
  const ways = ["another principal", "an old token", "a made-up token", "a number that was never given"] as const
  const attempts = Array.from({ length: Seeded.between(next, 0, 3) }, () => ({
    at: Seeded.between(next, 500, 9000),
    victim: Seeded.pick(next, parties).name,
    with: Seeded.pick(next, ways)
  }))
  const calm = flip(0.15)
  const scarce = flip(0.1)
  const rate = (most: number) => (calm ? 0 : next() * most)
  return {
    seed,
    parties,
    attempts,
    config: {
      resumeWindow: Duration.seconds(30),
      heartbeatInterval: Duration.seconds(5),
      stallTimeout: Duration.seconds(20),
      cancelGrace: Duration.seconds(2),
      helloTimeout: Duration.seconds(5),
      pacingWindow: Seeded.pick(next, [600, 2000, 64 * 1024]),
      sessionWindow: Seeded.pick(next, [2500, 8 * 1024, 1024 * 1024]),
      maxBatch: Seeded.pick(next, [400, 1600, 256 * 1024]),
      ...(scarce ? { maxJournalPerJob: Seeded.between(next, 600, 3000) } : {})
    },
    rates: {
      dial: rate(0.3),
      drop: rate(0.08),
      vanish: heartbeat ? rate(0.02) : 0,
      delay: rate(0.1),
      duplicate: rate(0.06),
      split: rate(0.3)
    },
    maxFaults: 60,
    scarce
  }
}
