/**
 * A client written from the specification alone, over raw frames: it shares no code with what it is simulated against. It redials, resumes,
 * asks again for what went unanswered, and drops what it has seen.
 */
import { Clock, Deferred, Effect, Latch, type Scope } from "effect"
import type * as Connection from "../../src/session/Connection.ts"
import * as Party from "./Party.ts"
import { type Call, type Frame, parse, type Session, type View } from "./ReferenceSession.ts"
import * as Seeded from "./Seeded.ts"
import * as Tape from "./Tape.ts"

export const make: (surroundings: Party.Surroundings) => Effect.Effect<Party.Party, never, Scope.Scope> =
  Effect.fnUntraced(function* ({ announce, chance, dial, plan, tape }) {
    const scope = yield* Effect.scope
    const views = new Map<string, View>()
    const calls = new Map<string, Call>()
    const tokens: Array<string> = []
    const ackable = yield* Latch.make(false)
    let session: Session | undefined
    let line: Connection.Frames | undefined
    let ids = 0
    let awayUntil = 0
    let leaving = false
    let heardAt = 0
    const closed = yield* Latch.make(false)

    const complain = (text: string) => tape.complaints.push(`${plan.name}: ${text}`)
    const nextId = () => `${plan.name}_${++ids}`
    const envelope = (id: string, type: string, payload: object, rest: object = {}) => ({
      arcp: "1.1",
      id,
      type,
      ...(session === undefined ? {} : { session_id: session.id }),
      ...rest,
      payload
    })

    /** A frame that cannot be sent now is no loss: who waits for an answer asks again on the next line. */
    const send = (frame: object) =>
      Effect.suspend(() => (line === undefined ? Effect.void : Effect.ignore(line.send([JSON.stringify(frame)]))))

    const hangUp = Effect.suspend(() => {
      const current = line
      line = undefined
      return current === undefined ? Effect.void : current.close({ code: 1000, reason: "done" })
    })

    const put = (call: Call) =>
      Effect.suspend(() => {
        const id = nextId()
        calls.set(id, call)
        return send(call.frame(id))
      })

    const request = (frame: (id: string) => object) =>
      Effect.gen(function* () {
        const reply = yield* Deferred.make<Frame>()
        yield* put({ frame, reply })
        return yield* Deferred.await(reply)
      })

    const viewOf = (job: string): View => {
      const found = views.get(job)
      if (found !== undefined) return found
      const view: View = {
        job,
        last: 0,
        queue: [],
        filled: Latch.makeUnsafe(false),
        ended: false,
        lagged: false,
        missed: false,
        again: undefined
      }
      views.set(job, view)
      return view
    }

    const isTerminal = (frame: Frame) => frame.type === "job.result" || frame.type === "job.error"

    /** A frame that is new to this session. */
    const take = (current: Session, frame: Frame) => {
      const { event_seq, job_id, job_seq } = frame
      if (event_seq === undefined || job_id === undefined) return
      const view = viewOf(job_id)
      if (job_seq === undefined) {
        view.lagged ||= JSON.stringify(frame.payload).includes(`"subscription_lagged"`)
        return
      }
      if (view.last !== undefined && job_seq <= view.last) return
      if (view.last !== undefined && job_seq > view.last + 1 && !view.lagged) {
        complain(`${job_id} goes on at ${job_seq} after ${view.last}`)
      }
      if (view.ended) complain(`${job_id} goes on after its end`)
      view.last = job_seq
      view.lagged = false
      view.ended ||= isTerminal(frame)
      view.queue.push({ session: current, frame })
      current.unprocessed.add(event_seq)
      view.filled.openUnsafe()
    }

    const read = (current: Session, frame: Frame): Effect.Effect<void, "broken"> => {
      if (frame.event_seq !== undefined) {
        if (frame.event_seq <= current.last) return Effect.void
        if (frame.event_seq > current.last + 1) {
          complain(`number ${frame.event_seq} after ${current.last}`)
          return Effect.fail("broken")
        }
        current.last = frame.event_seq
        take(current, frame)
        ackable.openUnsafe()
        return Effect.void
      }
      const request_id = frame.payload["request_id"]
      const call = typeof request_id === "string" ? calls.get(request_id) : undefined
      if (call !== undefined) {
        calls.delete(String(request_id))
        return Effect.asVoid(Deferred.succeed(call.reply, frame))
      }
      if (frame.type === "session.closed") closed.openUnsafe()
      if (frame.type === "session.ping") {
        const nonce = frame.payload["nonce"]
        return send(envelope(nextId(), "session.pong", { ping_nonce: nonce }))
      }
      return Effect.void
    }

    const greet = Effect.fnUntraced(function* (frames: Connection.Frames) {
      const resumed = session
      const hello = {
        arcp: "1.1",
        id: nextId(),
        type: "session.hello",
        payload: {
          client: { name: "reference", version: "1.0.0" },
          auth: { scheme: "bearer", token: Party.tokenOf(plan.principal) },
          capabilities: {
            encodings: ["json"],
            features: [
              "ack",
              "list_jobs",
              "subscribe",
              "progress",
              "result_chunk",
              "agent_versions",
              ...(plan.heartbeat ? ["heartbeat"] : [])
            ],
            ...(plan.declared ? { "x-vendor.effect-arcp": { flow: 1 } } : {})
          },
          ...(resumed === undefined
            ? {}
            : { resume: { session_id: resumed.id, resume_token: resumed.token, last_event_seq: resumed.last } })
        }
      }
      yield* frames.send([JSON.stringify(hello)])
      const [text, ...rest] = yield* frames.pull
      const welcome = parse(text)
      if (welcome.type !== "session.welcome") {
        const code = welcome.payload["code"]
        // The session is over. What was asked of it is asked again of a new one.
        if (resumed !== undefined && code === "RESUME_WINDOW_EXPIRED") session = undefined
        // The hello was lost on the way, or the runtime was slow.
        else if (code !== "INTERNAL_ERROR" && code !== "INVALID_REQUEST") complain(`refused: ${text}`)
        return yield* Effect.fail("broken" as const)
      }
      const token = String(welcome.payload["resume_token"])
      tokens.push(token)
      if (resumed !== undefined && welcome.session_id === resumed.id) {
        resumed.token = token
        return { current: resumed, fresh: false, rest }
      }
      const current: Session = {
        id: String(welcome.session_id),
        token,
        last: 0,
        acknowledged: 0,
        unprocessed: new Set(),
        processed: new Map()
      }
      session = current
      return { current, fresh: true, rest }
    })

    const heartbeat = Effect.gen(function* () {
      while (true) {
        yield* Effect.sleep("4 seconds")
        if ((yield* Clock.currentTimeMillis) - heardAt > 10_000) return
        const id = nextId()
        yield* send(envelope(id, "session.ping", { nonce: id }))
      }
    })

    /** Tells how far it has processed; now and then it repeats something older, which must change nothing. */
    const acknowledge = Effect.gen(function* () {
      while (true) {
        yield* ackable.await
        ackable.closeUnsafe()
        yield* Effect.sleep(Seeded.between(chance, 1, 150))
        const current = session
        if (current === undefined || line === undefined) continue
        const lowest = current.unprocessed.values().next()
        const seq = lowest.done === true ? current.last : lowest.value - 1
        const beyond = [...current.processed].filter(([, processed]) => processed > seq)
        const payload = { last_processed_seq: seq, ...(plan.declared ? { jobs: Object.fromEntries(beyond) } : {}) }
        if (seq > 0 && chance() < 0.05) {
          yield* send(envelope(nextId(), "session.ack", { last_processed_seq: Math.floor(seq / 2) }))
        }
        yield* send(envelope(nextId(), "session.ack", payload))
      }
    })

    const hasMissed = ({ payload: { current_status, replayed } }: Frame) =>
      replayed === false && current_status !== "pending" && current_status !== "running"

    /** Something may come all the same, if an earlier subscription was taken whose answer was lost. */
    const giveUp = Effect.fnUntraced(function* (view: View) {
      yield* Effect.sleep("1 minute")
      view.missed = view.last === undefined
      view.filled.openUnsafe()
    })

    /** Asks for a job in a session that knows nothing of it yet. */
    const askAgain = Effect.fnUntraced(function* (view: View) {
      if (view.again === undefined) return
      const reply = yield* Deferred.make<Frame>()
      yield* put({ frame: view.again, reply })
      const missed = Effect.map(Deferred.await(reply), (frame) => {
        if (hasMissed(frame)) return giveUp(view)
        return Effect.void
      })
      yield* Effect.forkIn(Effect.flatten(missed), scope)
    })

    const converse = Effect.gen(function* () {
      const frames = yield* dial
      const { current, fresh, rest } = yield* Effect.timeoutOrElse(greet(frames), {
        duration: "5 seconds",
        orElse: () => Effect.fail("broken" as const)
      })
      line = frames
      heardAt = yield* Clock.currentTimeMillis
      const unanswered = [...calls.values()]
      calls.clear()
      if (fresh) {
        for (const view of views.values()) if (!view.ended) yield* askAgain(view)
      }
      for (const call of unanswered) yield* put(call)
      // What was acknowledged on the line before may not have arrived.
      ackable.openUnsafe()
      const reading = Effect.gen(function* () {
        for (const text of rest) yield* read(current, parse(text))
        while (true) {
          const texts = yield* frames.pull
          heardAt = yield* Clock.currentTimeMillis
          for (const text of texts) yield* read(current, parse(text))
        }
      })
      yield* plan.heartbeat ? Effect.raceFirst(reading, heartbeat) : reading
    }).pipe(
      Effect.scoped,
      Effect.ensuring(
        Effect.sync(() => {
          line = undefined
        })
      )
    )

    const live = Effect.gen(function* () {
      while (true) {
        if (leaving) return
        yield* Effect.exit(converse)
        const now = yield* Clock.currentTimeMillis
        yield* Effect.sleep(Math.max(awayUntil - now, Seeded.between(chance, 1, 400)))
      }
    })

    /** Gives everything that comes of a job to its consumer. */
    const consume = Effect.fnUntraced(function* (view: View, delivery: Tape.Delivery) {
      while (delivery.ends.length === 0) {
        const item = view.queue.shift()
        if (item === undefined && view.missed) {
          tape.deliveries.splice(tape.deliveries.indexOf(delivery), 1)
          return
        }
        if (item === undefined) {
          view.filled.closeUnsafe()
          yield* view.filled.await
          continue
        }
        if (plan.pace > 0) yield* Effect.sleep(Seeded.between(chance, 0, plan.pace))
        const { frame } = item
        if (isTerminal(frame))
          delivery.ends.push({ status: String(frame.payload["final_status"]), value: valueOf(frame, delivery) })
        else if (frame.payload["kind"] === "result_chunk") chunksOf(delivery).push(frame.payload["body"])
        else {
          const label = Tape.labelOf(frame.payload)
          if (label !== undefined) delivery.labels.push(label)
        }
        item.session.unprocessed.delete(frame.event_seq!)
        item.session.processed.set(view.job, frame.event_seq!)
        ackable.openUnsafe()
      }
    })

    const chunks = new Map<Tape.Delivery, Array<unknown>>()
    const chunksOf = (delivery: Tape.Delivery) => {
      const found = chunks.get(delivery) ?? []
      chunks.set(delivery, found)
      return found
    }
    const valueOf = ({ payload }: Frame, delivery: Tape.Delivery): unknown =>
      payload["result_id"] === undefined
        ? (payload["result"] ?? payload["code"])
        : chunksOf(delivery)
            .map((chunk) => String((chunk as { readonly data?: unknown }).data))
            .join("")

    const open = (role: Tape.Delivery["role"], key: string, from: number | "now"): Tape.Delivery => {
      const delivery: Tape.Delivery = {
        party: plan.name,
        principal: plan.principal,
        key,
        role,
        from,
        job: undefined,
        labels: [],
        ends: []
      }
      tape.deliveries.push(delivery)
      return delivery
    }

    yield* Effect.forkIn(live, scope)
    yield* Effect.forkIn(acknowledge, scope)

    return {
      submit: Effect.fnUntraced(function* (job) {
        const delivery = open("submitter", job.key, 0)
        const frame = (id: string) => envelope(id, "job.submit", Party.submission(job))
        const reply = yield* request(frame)
        if (reply.type !== "job.accepted") {
          complain(`submit of ${job.key} refused: ${JSON.stringify(reply.payload)}`)
          return
        }
        delivery.job = String(reply.payload["job_id"])
        const view = viewOf(delivery.job)
        view.again = frame
        yield* announce(job.key, delivery.job)
        yield* consume(view, delivery)
      }),
      observe: Effect.fnUntraced(function* (job, key, from) {
        const start = from === "now" ? {} : { from_job_seq: from }
        const known = views.get(job)
        // A party that submits this job too has it already.
        if (known !== undefined) return
        const view = viewOf(job)
        view.last = from === 0 ? 0 : undefined
        const frame = (id: string) => envelope(id, "job.subscribe", { job_id: job, ...start })
        const reply = yield* request(frame)
        if (reply.type !== "job.subscribed") {
          views.delete(job)
          if (key.startsWith(plan.principal)) complain(`subscription to ${key} refused: ${JSON.stringify(reply)}`)
          return
        }
        if (hasMissed(reply)) yield* Effect.forkIn(giveUp(view), scope)
        else if (reply.payload["replayed"] === false) view.last ??= reply.job_seq
        view.again = (id) =>
          envelope(id, "job.subscribe", {
            job_id: job,
            ...(view.last === undefined ? start : { from_job_seq: view.last })
          })
        const delivery = open("observer", key, from)
        delivery.job = job
        yield* consume(view, delivery)
      }),
      cancel: (job) =>
        Effect.gen(function* () {
          const ended = Effect.gen(function* () {
            while (views.get(job)?.ended === false) yield* Effect.sleep("1 second")
            // Some clients get no answer about a job whose end they were sent.
            yield* Effect.sleep("5 seconds")
          })
          const frame = (id: string) => envelope(id, "job.cancel", { job_id: job, reason: "enough" }, { job_id: job })
          yield* Effect.raceFirst(request(frame), ended)
        }),
      conflict: Effect.fnUntraced(function* (job) {
        const other = { ...Party.submission(job), max_runtime_sec: 3600 }
        const reply = yield* request((id) => envelope(id, "job.submit", other))
        if (reply.payload["code"] !== "DUPLICATE_KEY") complain(`a key of another job: ${JSON.stringify(reply)}`)
      }),
      list: Effect.gen(function* () {
        const listed = new Set<string>()
        let cursor: unknown
        do {
          const page = yield* request((id) =>
            envelope(id, "session.list_jobs", { limit: 1, ...(typeof cursor === "string" ? { cursor } : {}) })
          )
          const jobs = page.payload["jobs"] as ReadonlyArray<{ readonly job_id: string }>
          for (const { job_id } of jobs) {
            if (listed.has(job_id)) {
              complain(`${job_id} is listed twice`)
              return
            }
            listed.add(job_id)
          }
          cursor = page.payload["next_cursor"]
        } while (typeof cursor === "string")
        const expected = tape.deliveries.filter(
          (delivery) => delivery.party === plan.name && delivery.job !== undefined
        )
        for (const { job } of expected) {
          // Submitted while the pages came, perhaps.
          if (!listed.has(job!) && views.get(job!)?.ended === true) complain(`${job} is not listed`)
        }
      }),
      away: Effect.fnUntraced(function* (millis, politely) {
        awayUntil = (yield* Clock.currentTimeMillis) + millis
        if (politely) yield* send(envelope(nextId(), "session.close", { reason: "lunch" }))
        yield* hangUp
      }),
      leave: Effect.gen(function* () {
        leaving = true
        closed.closeUnsafe()
        yield* send(envelope(nextId(), "session.close", {}))
        if (line !== undefined) yield* Effect.timeoutOption(closed.await, "1 second")
        yield* hangUp
      }),
      secrets: () => (session === undefined ? undefined : { session: session.id, tokens, last: session.last })
    }
  })
