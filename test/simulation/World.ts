/**
 * One run: the runtime, its clients, and the network between them, all from one seed.
 */
import { Cause, Deferred, Effect, Exit, Layer, Logger, Random, Redacted, References, Schema, Stream } from "effect"
import * as Authenticator from "../../src/authority/Authenticator.ts"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import * as Json from "../../src/protocol/Json.ts"
import * as Agent from "../../src/runtime/Agent.ts"
import * as AgentRegistry from "../../src/runtime/AgentRegistry.ts"
import * as ArcpServer from "../../src/runtime/ArcpServer.ts"
import * as JobContext from "../../src/runtime/JobContext.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as Jobs from "../../src/runtime/Jobs.ts"
import * as JobStore from "../../src/runtime/JobStore.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import * as Sessions from "../../src/runtime/Sessions.ts"
import * as SessionStore from "../../src/runtime/SessionStore.ts"
import * as Listener from "../../src/session/Listener.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as FaultyNetwork from "../../src/testing/FaultyNetwork.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"
import * as Party from "./Party.ts"
import * as Plant from "./Plant.ts"
import * as ReferenceClient from "./ReferenceClient.ts"
import * as Scenario from "./Scenario.ts"
import * as Seeded from "./Seeded.ts"
import * as Tape from "./Tape.ts"
import * as Thief from "./Thief.ts"

/** Past this time of the virtual clock a run hangs. */
const deadline = 15 * 60_000

export interface Options {
  readonly plant?: Plant.Plant
  readonly client?: (surroundings: Party.Surroundings) => ReturnType<typeof ReferenceClient.make>
}

const Actor = Agent.make({ name: "actor", version: "1.0.0", input: Json.Json, output: Schema.String })

export const resultOf = (job: Scenario.JobPlan): string => `the result of ${job.key}`

/** Does as its input says and notes what it does. */
const actor = (tape: Tape.Tape) =>
  Actor.toLayer(
    Effect.fnUntraced(function* (input) {
      const plan = input as Scenario.JobPlan
      const job = yield* JobContext.JobContext
      const run: Tape.Run = {
        job: job.id,
        principal: job.principal,
        key: plan.key,
        attempted: [],
        said: 0,
        outcome: undefined
      }
      tape.runs.push(run)
      for (const [index, { kind, pause, size }] of plan.steps.entries()) {
        if (pause > 0) yield* Effect.sleep(pause)
        const label = Tape.label(plan.key, index)
        const text = label + ".".repeat(size)
        run.attempted.push(label)
        if (kind === "log") yield* job.log("info", text)
        else if (kind === "thought") yield* job.thought(text)
        else yield* job.progress({ current: index, message: text })
        run.said++
      }
      run.outcome = plan.end === "result" || plan.end === "stream" ? "result" : "failure"
      switch (plan.end) {
        case "result":
          return resultOf(plan)
        case "stream":
          return yield* job.streamResult(Stream.fromIterable(resultOf(plan)))
        case "failure":
          return yield* new ArcpError.PermissionDenied({ message: "as planned" })
        case "defect":
          return yield* Effect.die("as planned")
        case "endless":
          run.outcome = undefined
          return yield* Effect.never
      }
    })
  )

/** Principals by tokens, without a digest: nothing here is secret. */
const authenticator = (scenario: Scenario.Scenario) =>
  Layer.succeed(Authenticator.Authenticator, {
    authenticate: ({ token }) => {
      const known = scenario.parties.find(({ principal }) => Party.tokenOf(principal) === Redacted.value(token))
      return known === undefined ? Effect.fail(Authenticator.refusal()) : Effect.succeed({ id: known.principal })
    }
  })

const runtime = (tape: Tape.Tape, network: MemoryTransport.Network, plant: Plant.Plant) => {
  let lines = 0
  let jobs: Jobs.Jobs["Service"] | undefined
  const listener = Listener.layer((accept) =>
    network.listen((frames) => {
      const tapped = Tape.tap(tape, "runtime", lines++, frames)
      return accept(plant.line === undefined ? tapped : plant.line(tapped))
    })
  )
  const grounds: Plant.Grounds = { jobs: () => jobs! }
  const sessions = plant.sessions
  return ArcpServer.layer.pipe(
    Layer.provideMerge(actor(tape)),
    Layer.provideMerge(Plant.into(Sessions.Sessions, Sessions.layer, sessions && ((real) => sessions(real, grounds)))),
    Layer.provideMerge(
      Plant.into(Jobs.Jobs, Jobs.layer, (real) => {
        jobs = plant.jobs?.(real) ?? real
        return jobs
      })
    ),
    Layer.provideMerge(AgentRegistry.layer),
    Layer.provideMerge(Credentials.layer()),
    Layer.provide(Plant.into(JobJournal.JobJournal, JobJournal.layerMemory, plant.journal)),
    Layer.provide(Plant.into(JobStore.JobStore, JobStore.layerMemory, plant.jobStore)),
    Layer.provide(Plant.into(SessionStore.SessionStore, SessionStore.layerMemory, plant.sessionStore)),
    Layer.provide([
      ArcpServer.layerPolicies(),
      listener,
      authenticator(tape.scenario),
      ArcpTest.layerSeeded(tape.scenario.seed)
    ]),
    Layer.provide(RuntimeConfig.layer({ ...tape.scenario.config, ...plant.config })),
    Layer.orDie
  )
}

/** A plant that breaks a part for good shows as an error in the log, as it would to an operator. */
const logger = (tape: Tape.Tape) =>
  Logger.make<unknown, void>(({ cause, logLevel, message }) => {
    if (logLevel !== "Error" && logLevel !== "Fatal") return
    const text = `${JSON.stringify(message)} ${Cause.pretty(cause)}`.slice(0, 1500)
    // Agents that die as planned are reported; that is no fault.
    if (!text.includes("as planned")) tape.errors.push(text)
  })

/** Everything that the parties do, to the end of all of it. */
const play = Effect.fnUntraced(function* (
  tape: Tape.Tape,
  dial: MemoryTransport.Network["dial"],
  client: Options["client"]
) {
  const { scenario } = tape
  const known = new Map<string, Deferred.Deferred<string>>()
  const jobOf = (key: string) => {
    const found = known.get(key) ?? Deferred.makeUnsafe<string>()
    known.set(key, found)
    return found
  }
  const parties = new Map<string, Party.Party>()
  let lines = 0
  for (const [index, plan] of scenario.parties.entries()) {
    const surroundings: Party.Surroundings = {
      plan,
      dial: Effect.map(dial, (frames) => Tape.tap(tape, plan.name, lines++, frames)),
      chance: Seeded.chance(scenario.seed * 31 + index),
      tape,
      announce: (key, job) => Deferred.succeed(jobOf(key), job)
    }
    parties.set(plan.name, yield* (client ?? ReferenceClient.make)(surroundings))
  }

  const act = Effect.fnUntraced(function* (party: Party.Party, action: Scenario.Action) {
    yield* Effect.sleep(action.at)
    switch (action.does) {
      case "submit":
        return yield* party.submit(action.job)
      case "observe":
        return yield* party.observe(yield* Deferred.await(jobOf(action.key)), action.key, action.from)
      case "cancel":
        return yield* party.cancel(yield* Deferred.await(jobOf(action.key)), action.key)
      case "conflict":
        yield* Deferred.await(jobOf(action.job.key))
        return yield* party.conflict(action.job)
      case "list":
        return yield* party.list
      case "away":
        return yield* party.away(action.duration, action.politely)
    }
  })

  const attempt = Effect.fnUntraced(function* (plan: Scenario.Attempt) {
    yield* Effect.sleep(plan.at)
    const victim = scenario.parties.find(({ name }) => name === plan.victim)!
    const found = parties.get(plan.victim)!.secrets()
    if (found === undefined) return
    const current = found.tokens.at(-1)!
    // The one before the last may still be good: its client need not have used the last yet.
    const old = found.tokens.length > 2 ? found.tokens.at(-3)! : "rt_old"
    const last_event_seq = plan.with === "a number that was never given" ? found.last + 1_000_000 : found.last
    const resume_token = { "an old token": old, "a made-up token": "rt_guess" }[plan.with as string] ?? current
    const other = scenario.parties.find(({ principal }) => principal !== victim.principal)!
    const principal = plan.with === "another principal" ? other.principal : victim.principal
    const answer = yield* Thief.tryToResume(
      Effect.map(dial, (frames) => Tape.tap(tape, "thief", lines++, frames)),
      principal,
      { session_id: found.session, resume_token, last_event_seq }
    )
    if (answer._tag === "Some" && answer.value.type === "session.welcome") {
      tape.complaints.push(`a session was resumed with ${plan.with}`)
    }
  })

  yield* Effect.all(
    [
      ...scenario.parties.flatMap((plan) => plan.actions.map((action) => act(parties.get(plan.name)!, action))),
      ...scenario.attempts.map(attempt)
    ],
    { concurrency: "unbounded", discard: true }
  )
  // What comes too late must not come at all: give it the time to.
  yield* Effect.sleep("3 seconds")
  yield* Effect.forEach(parties.values(), (party) => party.leave, { concurrency: "unbounded", discard: true })
}, Effect.scoped)

const world = Effect.fnUntraced(function* (tape: Tape.Tape, options: Options) {
  const { scenario } = tape
  const memory = yield* MemoryTransport.make()
  const network = yield* FaultyNetwork.make(memory, {
    plan: FaultyNetwork.seeded({ seed: scenario.seed, rates: scenario.rates }),
    maxFaults: scenario.maxFaults
  })
  const services = yield* Layer.build(runtime(tape, memory, options.plant ?? Plant.none))
  yield* play(tape, network.dial, options.client)
  // Every window has passed by then.
  yield* Effect.sleep("2 minutes")
  tape.sessionsLeft = yield* Effect.provideContext(
    Sessions.Sessions.use((sessions) => sessions.size),
    services
  )
  tape.faults = (yield* network.happened).length
}, Effect.scoped)

/** Runs the scenario of a seed. The same seed gives the same tape, to the last frame. */
export const run = (seed: number, options: Options = {}): Promise<Tape.Tape> => {
  const scheduler = Seeded.scheduler(Seeded.chance(seed ^ 0x5eed))
  const tape = Tape.make(Scenario.draw(seed))
  const rest = Effect.callback<void>((resume) => scheduler.onRest(() => resume(Effect.void)))
  const program = Effect.gen(function* () {
    const clock = yield* Seeded.steppingClock
    const inWorld = world(tape, options).pipe(
      Effect.provide(Layer.mergeAll(clock.layer, Seeded.layerCrypto, Logger.layer([logger(tape)]))),
      Effect.provideService(References.TracerEnabled, false),
      Random.withSeed(seed)
    )
    const fiber = yield* Effect.forkDetach(inWorld)
    while (true) {
      yield* rest
      if (scheduler.spins()) {
        tape.stuck = "fibers go on and on while no time passes"
        return
      }
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) {
        if (Exit.isFailure(exit)) tape.stuck = Cause.pretty(exit.cause)
        return
      }
      const moved = yield* clock.step
      tape.duration = yield* clock.now
      const circles = tape.crossings.length > Tape.maxCrossings
      if (!moved || circles || tape.duration > deadline) {
        tape.stuck = circles ? "it goes round in circles" : moved ? "it hangs" : "nothing can happen any more"
        // Left as it stands: what hangs need not let itself be interrupted.
        return
      }
    }
  })
  return Effect.runPromise(program, { scheduler }).then(() => tape)
}
