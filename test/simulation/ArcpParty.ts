/**
 * The client of this package as a party. What it loses with a session it asks for again under the same key, as its documentation says.
 */
import { Clock, Effect, Exit, Layer, Redacted, Scope, Stream } from "effect"
import { ArcpClient } from "../../src/client/ArcpClient.ts"
import type * as JobHandle from "../../src/client/JobHandle.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Json from "../../src/protocol/Json.ts"
import type * as Connection from "../../src/session/Connection.ts"
import * as Dialer from "../../src/session/Dialer.ts"
import * as ArcpTest from "../../src/testing/ArcpTest.ts"
import * as Party from "./Party.ts"
import * as Seeded from "./Seeded.ts"
import * as Tape from "./Tape.ts"

/** The network's fault, and no answer. */
const isLoss = (error: ArcpError.ArcpError) =>
  error._tag === "HeartbeatLost" ||
  error._tag === "ResumeWindowExpired" ||
  error.message.startsWith("The runtime did not answer")

/** What was lost is lost, and the stream said so: the outcome is all that is left to ask for. */
const isGap = (error: ArcpError.ArcpError) =>
  error._tag === "ResumeWindowExpired" && error.details?.["dropped"] !== undefined

const statusOf = (error: ArcpError.ArcpError) =>
  error._tag === "Cancelled" ? "cancelled" : error._tag === "Timeout" ? "timed_out" : "error"

export const make: (surroundings: Party.Surroundings) => Effect.Effect<Party.Party, never, Scope.Scope> =
  Effect.fnUntraced(function* ({ announce, chance, dial, plan, tape }) {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const handles = new Map<string, JobHandle.JobHandle<Json.Json>>()
    let line: Connection.Frames | undefined
    let awayUntil = 0

    const dialer = Dialer.layer(
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        yield* Effect.sleep(Math.max(0, awayUntil - now))
        line = yield* dial
        return line
      })
    )
    const connect = Effect.gen(function* () {
      while (true) {
        const attempt = yield* Scope.fork(scope)
        const layer = ArcpClient.layerWithRandom({ token: Redacted.make(Party.tokenOf(plan.principal)) }).pipe(
          Layer.provide([dialer, ArcpTest.layerSeeded(Seeded.between(chance, 0, 2 ** 31))])
        )
        const built = yield* Effect.exit(Layer.buildWithScope(layer, attempt))
        if (Exit.isSuccess(built)) return yield* Effect.provideContext(ArcpClient, built.value)
        yield* Scope.close(attempt, Exit.void)
        yield* Effect.sleep(Seeded.between(chance, 1, 400))
      }
    })
    const client = yield* Effect.cached(connect)

    const complain = (text: string) => tape.complaints.push(`${plan.name}: ${text}`)

    const begin = Effect.fnUntraced(function* (job: Parameters<Party.Party["submit"]>[0]) {
      const { submit } = yield* client
      return yield* submit("actor", job, {
        idempotencyKey: job.key,
        ...(job.maxRuntime === null ? {} : { maxRuntime: `${job.maxRuntime} seconds` })
      })
    })

    const open = (role: Tape.Delivery["role"], key: string): Tape.Delivery => {
      const delivery: Tape.Delivery = {
        party: plan.name,
        principal: plan.principal,
        key,
        role,
        from: 0,
        job: undefined,
        labels: [],
        ends: []
      }
      tape.deliveries.push(delivery)
      return delivery
    }

    /** Takes all that comes of a job; fails if it was lost on the way. */
    const consume = Effect.fnUntraced(function* (
      job: Pick<JobHandle.JobHandle<Json.Json>, "id" | "events" | "result">,
      delivery: Tape.Delivery
    ) {
      delivery.job = job.id
      delivery.labels.length = 0
      yield* Stream.runForEach(
        job.events,
        Effect.fnUntraced(function* (event) {
          if (plan.pace > 0) yield* Effect.sleep(Seeded.between(chance, 0, plan.pace))
          const label = Tape.labelOf(event)
          if (label !== undefined) delivery.labels.push(label)
        })
      ).pipe(Effect.catchIf(isGap, () => Effect.void))
      const outcome = yield* Effect.result(job.result)
      if (outcome._tag === "Success") delivery.ends.push({ status: "success", value: outcome.success })
      else if (isLoss(outcome.failure)) return yield* Effect.fail(outcome.failure)
      else delivery.ends.push({ status: statusOf(outcome.failure), value: ArcpError.code(outcome.failure) })
    })

    /** Begins anew after each loss; gives the error that is none. */
    const insist = <E extends ArcpError.ArcpError>(attempt: Effect.Effect<void, E>) =>
      Effect.gen(function* () {
        while (true) {
          const result = yield* Effect.result(attempt)
          if (result._tag === "Success") return undefined
          if (!isLoss(result.failure)) return result.failure
          yield* Effect.sleep(Seeded.between(chance, 1, 1000))
        }
      })

    return {
      submit: Effect.fnUntraced(function* (job) {
        const delivery = open("submitter", job.key)
        const attempt = Effect.gen(function* () {
          const handle = yield* begin(job)
          handles.set(handle.id, handle)
          yield* announce(job.key, handle.id)
          yield* consume(handle, delivery)
        })
        const refusal = yield* insist(attempt)
        if (refusal !== undefined) complain(`submit of ${job.key} failed: ${refusal._tag}: ${refusal.message}`)
      }),
      // From wherever it was to begin: what comes before must be there too.
      observe: Effect.fnUntraced(function* (job, key) {
        if (handles.has(job)) return
        const delivery = open("observer", key)
        const attempt = Effect.gen(function* () {
          const { subscribe } = yield* client
          yield* consume(yield* subscribe(job, { history: true }), delivery)
        })
        const refusal = yield* insist(Effect.scoped(attempt))
        if (refusal === undefined) return
        if (refusal._tag !== "JobNotFound" || key.startsWith(plan.principal)) {
          complain(`subscription to ${key} failed: ${refusal._tag}: ${refusal.message}`)
        }
      }),
      cancel: (job) =>
        Effect.suspend(() => {
          const handle = handles.get(job)
          return handle === undefined ? Effect.void : Effect.ignore(handle.cancel("enough"))
        }),
      conflict: Effect.fnUntraced(
        function* (job) {
          const refused = yield* Effect.flip(
            begin({ ...job, steps: [...job.steps, ...job.steps, { pause: 1, size: 1, kind: "log" }] })
          )
          if (refused._tag !== "DuplicateKey" && !isLoss(refused)) complain(`a key of another job: ${refused._tag}`)
        },
        Effect.catch(() => Effect.sync(() => complain("a key of another job was taken")))
      ),
      list: Effect.gen(function* () {
        const ended = tape.deliveries.filter(({ ends, party }) => party === plan.name && ends.length > 0)
        const listed = new Set<string>()
        const attempt = Effect.gen(function* () {
          const { jobs } = yield* client
          listed.clear()
          yield* Stream.runForEach(jobs({ pageSize: 1 }), ({ id }) =>
            Effect.sync(() => {
              if (listed.has(id)) complain(`${id} is listed twice`)
              listed.add(id)
            })
          )
        })
        const refusal = yield* insist(attempt)
        if (refusal !== undefined) complain(`listing failed: ${refusal._tag}: ${refusal.message}`)
        for (const { job } of ended) if (!listed.has(job!)) complain(`${job} is not listed`)
      }),
      away: Effect.fnUntraced(function* (millis) {
        awayUntil = (yield* Clock.currentTimeMillis) + millis
        if (line !== undefined) yield* line.close({ code: 1006, reason: "away" })
      }),
      leave: Scope.close(scope, Exit.void),
      secrets: () => undefined
    }
  })
