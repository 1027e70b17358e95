/**
 * Asking the runtime for something, and waiting for the answer: across connections, within a bounded time.
 */
import { Deferred, Effect } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as SessionMessage from "../../protocol/SessionMessage.ts"
import * as Timestamp from "../../protocol/Timestamp.ts"
import type * as ClientError from "../ClientError.ts"
import * as ClientSession from "./clientSession.ts"
import * as Requests from "./requests.ts"

type ClientSession = ClientSession.ClientSession

const maxPings = 64

const timeout = (what: string) => new ArcpError.Timeout({ message: `The runtime did not answer ${what} in time` })

/**
 * Sends a request and waits for its answer. Interrupting the wait lets the exchange go on: what is asked cannot be taken back, and its
 * answer must not be taken for that of the next request. If the connection goes meanwhile, the next one says it again.
 */
export const request = <A>(
  self: ClientSession,
  pending: Requests.Request & { readonly reply: Deferred.Deferred<A, ArcpError.ArcpError> }
): Effect.Effect<A, ArcpError.ArcpError> =>
  Effect.suspend(() => {
    if (self.lost !== undefined) return Effect.fail(self.lost)
    if (self.requests.all.size >= self.maxRequests) {
      self.requests.fewer.closeUnsafe()
      return Effect.andThen(self.requests.fewer.await, request(self, pending))
    }
    Requests.begin(self.requests, pending, self.clock.currentTimeMillisUnsafe() + self.within)
    self.space.openUnsafe()
    // One that was not said is taken back.
    const said = Effect.onInterrupt(self.send(pending.encode(pending.id)), () => Effect.sync(() => drop(self, pending)))
    return Effect.andThen(said, Deferred.await(pending.reply))
  })

const drop = (self: ClientSession, pending: Requests.Request) => {
  Requests.remove(self.requests, pending)
  ClientSession.releaseUnclaimed(self)
}

/**
 * Tells whoever waits too long. Where nothing but the order tells whose an answer is, a late one gets the same time again before others may
 * ask.
 */
export const watch = (self: ClientSession): Effect.Effect<never> =>
  Effect.gen(function* () {
    const { requests } = self
    while (true) {
      const deadline = Requests.firstDeadline(requests)
      if (deadline === undefined) {
        requests.more.closeUnsafe()
        yield* requests.more.await
        continue
      }
      const now = self.clock.currentTimeMillisUnsafe()
      if (now < deadline) {
        yield* Effect.sleep(deadline - now)
        continue
      }
      for (const pending of Array.from(requests.all.values())) {
        if (pending.deadline > now) continue
        Requests.fail(pending, timeout(Requests.type(pending)))
        if (self.declared || pending.overdue) drop(self, pending)
        pending.overdue = true
        pending.deadline = now + self.within
      }
    }
  })

const pingFrame = (self: ClientSession, id: SessionMessage.Ping["id"], nonce: string) =>
  JSON.stringify({
    ...ClientSession.head(self, id),
    type: "session.ping",
    payload: { nonce, sent_at: Timestamp.format(self.clock.currentTimeMillisUnsafe()) }
  } satisfies SessionMessage.Ping)

/** A ping whose answer nobody waits for: it is our own sign of life. */
export const signOfLife = (self: ClientSession): Effect.Effect<string> =>
  Effect.map(self.nextId, (id) => pingFrame(self, id, id))

/** Asks for a sign of life. */
export const ping = (
  self: ClientSession
): Effect.Effect<void, ArcpError.Timeout | ArcpError.InvalidRequest | ClientError.SessionLost> =>
  Effect.gen(function* () {
    if (self.lost !== undefined) return yield* Effect.fail(self.lost)
    if (self.pings.size >= maxPings) {
      return yield* new ArcpError.InvalidRequest({ message: `${maxPings} pings are under way already` })
    }
    const pong = Deferred.makeUnsafe<void, ClientError.SessionLost>()
    const id = yield* self.nextId
    self.pings.set(id, pong)
    self.space.openUnsafe()
    return yield* Effect.andThen(self.send(pingFrame(self, id, id)), Deferred.await(pong)).pipe(
      Effect.timeoutOrElse({ duration: self.within, orElse: () => Effect.fail(timeout("session.ping")) }),
      Effect.ensuring(Effect.sync(() => self.pings.delete(id)))
    )
  })

/**
 * Says again what waits for an answer, now that the session goes on over another connection: a lost answer and a lost question look alike.
 * The key of a submit makes sure that it runs once (§7.2).
 */
export const repeat = Effect.fnUntraced(function* (
  self: ClientSession,
  requests: ReadonlyArray<Requests.Request>,
  send: (frame: string) => Effect.Effect<unknown>
) {
  for (const waiting of requests) {
    const id = yield* self.nextId
    // The replay may have answered it.
    if (!self.requests.all.has(waiting.id)) continue
    Requests.rename(self.requests, waiting, id)
    yield* send(waiting.encode(id))
  }
  const nonces = Array.from(self.pings.keys())
  for (const nonce of nonces) yield* send(pingFrame(self, yield* self.nextId, nonce))
})
