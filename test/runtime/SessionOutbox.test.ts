import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Queue, Schema, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import * as Credentials from "../../src/authority/Credentials.ts"
import * as CredentialStore from "../../src/authority/CredentialStore.ts"
import type * as Feature from "../../src/protocol/Feature.ts"
import type * as Ids from "../../src/protocol/Ids.ts"
import * as AlarmClock from "../../src/runtime/internal/alarmClock.ts"
import * as Link from "../../src/runtime/internal/link.ts"
import type * as JobEntry from "../../src/runtime/JobEntry.ts"
import * as JobJournal from "../../src/runtime/JobJournal.ts"
import * as RuntimeConfig from "../../src/runtime/RuntimeConfig.ts"
import * as SessionOutbox from "../../src/runtime/SessionOutbox.ts"
import * as SessionStore from "../../src/runtime/SessionStore.ts"
import type * as Connection from "../../src/session/Connection.ts"
import * as TestPeer from "../../src/testing/TestPeer.ts"
import * as MemoryTransport from "../../src/transport/MemoryTransport.ts"

const session = "sess_01ARZ3NDEKTSV4RRFFQ69G5FAV" as Ids.SessionId
const traceId = "4bf92f3577b34da6a3ce929d0e0e4736" as Ids.TraceId

const names = ["a", "b", "c"] as const
type Name = (typeof names)[number]
const idOf = (name: Name) => `job_${name}` as Ids.JobId

const pacingWindow = 1500
const sessionWindow = 2500

const Job = Schema.Literals(names)
const Size = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 900 }))
const Times = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))

/** What a test does next: its jobs speak, visibly or not, and end; its client acknowledges, and loses its connection. */
const Step = Schema.Union([
  Schema.TaggedStruct("Say", { job: Job, size: Size, times: Times }),
  Schema.TaggedStruct("Hide", { job: Job, size: Size, times: Times }),
  Schema.TaggedStruct("End", { job: Job }),
  Schema.TaggedStruct("AckAll", { but: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })) }),
  Schema.TaggedStruct("AckJob", { job: Job }),
  Schema.TaggedStruct("Drop", { forgets: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 })) })
])
type Step = typeof Step.Type

const services = Layer.mergeAll(
  JobJournal.layerMemory,
  SessionStore.layerMemory,
  Credentials.layer().pipe(Layer.provide([CredentialStore.layerMemory, SecureRandom.layerWebCrypto]))
).pipe(Layer.provideMerge(RuntimeConfig.layer({ pacingWindow, sessionWindow, maxBatch: 400 })))

interface Spoken {
  readonly drafts: Queue.Queue<JobEntry.Draft>
  /** Of what the session sees, the places in the job's own sequence. */
  readonly visible: Array<number>
  count: number
  ended: boolean
}

const token = (n: number) => Uint8Array.of(n & 0xff, n >> 8)

/** Writes to a connection until that is over. */
const run = (
  outbox: SessionOutbox.SessionOutbox,
  line: Connection.Line,
  epoch: number,
  replay: Option.Option<number>
): Effect.Effect<unknown, Link.Failure> =>
  Effect.suspend(() => {
    const link = Link.make({ line, epoch }, AlarmClock.now(outbox.surroundings.alarms), () => {})
    SessionOutbox.attach(outbox, link, replay)
    return Effect.ensuring(Deferred.await(link.ended), SessionOutbox.detach(outbox, link))
  })

const play = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>) {
  const journal = yield* JobJournal.JobJournal
  const store = yield* SessionStore.SessionStore
  const features: ReadonlySet<Feature.Feature> = new Set<Feature.Feature>(["ack"])
  const outbox = SessionOutbox.make(
    yield* SessionOutbox.surroundings,
    { id: session, features, profile: "effect" },
    () => Effect.succeedNone
  )
  yield* store.create({ id: session, principal: "tester", createdAt: 0 })

  const jobs = yield* Effect.forEach(names, (name) =>
    Effect.gen(function* () {
      const drafts = yield* Queue.unbounded<JobEntry.Draft>()
      yield* journal.open({ id: idOf(name), traceId })
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.flatMap(Queue.take(drafts), (draft) =>
            draft.type === "job.event" ? journal.append(idOf(name), 1, [draft]) : journal.end(idOf(name), 1, draft)
          )
        )
      )
      yield* SessionOutbox.follow(outbox, { job: idOf(name), traceId, after: -1, paces: true })
      const spoken: Spoken = { drafts, visible: [], count: 0, ended: false }
      return [name, spoken] as const
    })
  )
  const job = new Map(jobs)

  /** What the client was ever sent, by number. */
  const texts = new Map<number, string>()
  const frames = new Map<number, TestPeer.Frame>()
  let last = 0
  let acknowledged = 0
  const ackedOf = new Map<string, number>()
  let connections = 0

  const connect = Effect.gen(function* () {
    const presented = connections === 0 ? Option.none() : Option.some(token(connections))
    const epoch = yield* store.rotate(session, { presented, next: token(++connections), lenient: false })
    const [near, far] = yield* MemoryTransport.pair()
    const replay = connections === 1 ? Option.none() : Option.some(last)
    const running = yield* Effect.forkScoped(run(outbox, far, Option.getOrThrow(epoch), replay))
    return { peer: TestPeer.make(near), running }
  })
  let { peer, running } = yield* connect

  const speak = (name: Name, kind: "log" | "progress" | "", size: number) =>
    Effect.suspend(() => {
      const it = job.get(name)!
      if (it.ended) return Effect.void
      it.count++
      it.ended = kind === ""
      if (kind !== "progress") it.visible.push(it.count)
      const payload = JSON.stringify({ kind, text: "x".repeat(size) })
      return Queue.offer(it.drafts, { type: kind === "" ? "job.result" : "job.event", kind, payload })
    })

  const ack = (jobAcks?: { readonly [job: string]: number }) =>
    SessionOutbox.acknowledge(outbox, {
      last_processed_seq: acknowledged,
      ...(jobAcks === undefined ? undefined : { jobs: jobAcks })
    })

  const read = Effect.gen(function* () {
    const before = (yield* peer.record).length
    yield* peer.drain
    const more = (yield* peer.record).slice(before)
    for (const { text } of more) {
      const frame = JSON.parse(text) as TestPeer.Frame
      const seq = frame.event_seq!
      assert.strictEqual(seq, ++last, "no gap and no repeat")
      assert.strictEqual(text, texts.get(seq) ?? text, "a replayed frame is the frame that was sent")
      texts.set(seq, text)
      frames.set(seq, frame)
    }
    checkWindows()
    return more.length
  })

  /** At each sending of an entry there was room, so what is owed without its newest entry is less than the window. */
  const checkWindows = () => {
    for (const [name, { ended }] of job) {
      const owed = [...frames].filter(
        ([seq, frame]) => frame.job_id === idOf(name) && seq > Math.max(acknowledged, ackedOf.get(idOf(name)) ?? 0)
      )
      const sizes = owed.map(([seq]) => texts.get(seq)!.length)
      if (!ended)
        assert.isBelow(
          sizes.slice(0, -1).reduce((sum, size) => sum + size, 0),
          pacingWindow
        )
    }
  }

  const act = (step: Step): Effect.Effect<unknown, TestPeer.PeerError, Scope.Scope> => {
    switch (step._tag) {
      case "Say":
        return Effect.repeat(speak(step.job, "log", step.size), { times: step.times })
      case "Hide":
        return Effect.repeat(speak(step.job, "progress", step.size), { times: step.times })
      case "End":
        return speak(step.job, "", 1)
      case "AckAll":
        acknowledged = Math.max(acknowledged, last - step.but)
        return ack()
      case "AckJob": {
        const id = idOf(step.job)
        const newest = [...frames].filter(([seq, frame]) => seq <= last && frame.job_id === id).at(-1)
        if (newest === undefined) return Effect.void
        ackedOf.set(id, Math.max(ackedOf.get(id) ?? 0, newest[0]))
        return ack(Object.fromEntries(ackedOf))
      }
      case "Drop":
        return Effect.gen(function* () {
          yield* Fiber.interrupt(running)
          last = Math.max(acknowledged, last - step.forgets, ...ackedOf.values())
          const next = yield* connect
          peer = next.peer
          running = next.running
        })
    }
  }

  for (const step of steps) {
    yield* act(step)
    yield* read
  }
  for (const name of names) yield* speak(name, "", 1)

  // A client that reads, and acknowledges what it has read, gets everything, whatever went before.
  acknowledged = last
  yield* ack()
  for (let idle = 0; idle < 3;) {
    const more = yield* read
    idle = more === 0 ? idle + 1 : 0
    if (more === 0) continue
    acknowledged = last
    yield* ack()
  }
  for (const [name, { visible }] of job) {
    const got = [...frames.values()].filter((frame) => frame.job_id === idOf(name)).map(({ job_seq }) => job_seq)
    assert.deepStrictEqual(got, visible, name)
  }
  assert.isFalse(SessionOutbox.isBusy(outbox))
})

describe("SessionOutbox", () => {
  it.effect("a connection whose epoch is over takes no number and sends nothing more", () =>
    Effect.gen(function* () {
      const journal = yield* JobJournal.JobJournal
      const store = yield* SessionStore.SessionStore
      const outbox = SessionOutbox.make(
        yield* SessionOutbox.surroundings,
        { id: session, features: new Set(), profile: "standard" },
        () => Effect.succeedNone
      )
      yield* store.create({ id: session, principal: "tester", createdAt: 0 })
      const rotate = (presented: Option.Option<Uint8Array>, next: number) =>
        Effect.map(store.rotate(session, { presented, next: token(next), lenient: false }), Option.getOrThrow)
      yield* journal.open({ id: idOf("a"), traceId })
      yield* SessionOutbox.follow(outbox, { job: idOf("a"), traceId, after: -1, paces: true })
      const [near, far] = yield* MemoryTransport.pair()
      const old = yield* rotate(Option.none(), 1)
      const running = yield* Effect.forkScoped(run(outbox, far, old, Option.none()))
      const say = journal.append(idOf("a"), 1, [{ type: "job.event", kind: "log", payload: "{}" }])
      const peer = TestPeer.make(near)
      yield* say
      assert.strictEqual((yield* peer.receive).event_seq, 1)

      const epoch = yield* rotate(Option.some(token(1)), 2)
      yield* say
      yield* SessionOutbox.own(outbox, "job.error", `,"payload":{}}`)
      assert.strictEqual((yield* Effect.flip(Fiber.join(running)))._tag, "StaleEpoch")
      assert.deepStrictEqual(yield* peer.drain, [])
      // The new one sends all of it.
      const [here, there] = yield* MemoryTransport.pair()
      yield* Effect.forkScoped(run(outbox, there, epoch, Option.some(1)))
      const next = TestPeer.make(here)
      const frames = [yield* next.receive, yield* next.receive]
      assert.sameMembers(
        frames.map(({ event_seq, type }) => `${event_seq} ${type}`),
        ["2 job.error", "3 job.event"]
      )
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(services)))
  )

  it.effect.prop(
    "whatever jobs say and a client does: one unbroken sequence, windows kept, and in the end nobody waits",
    { steps: Schema.Array(Step).check(Schema.isMaxLength(60)) },
    ({ steps }) => play(steps).pipe(Effect.scoped, Effect.provide(Layer.fresh(services))),
    { arbitrary: { runs: 100, size: 60 } }
  )
})
