/**
 * What time does to a connection: the signs of life that are due and those that did not come (§6.4), the credentials that expire, the client
 * that takes nothing, the session that nobody uses. One alarm for all of it, set to the first of these times.
 */
import { Duration, Effect } from "effect"
import * as Heartbeat from "../../session/Heartbeat.ts"
import * as Dispatcher from "../Dispatcher.ts"
import type * as Session from "../Session.ts"
import * as SessionOutbox from "../SessionOutbox.ts"
import * as AlarmClock from "./alarmClock.ts"
import * as Link from "./link.ts"
import * as Writer from "./writer.ts"

/** Looks what is due by now, and sets the alarm for what is not. */
export const look = (session: Session.Session, link: Link.Link, now: number): void => {
  if (Link.isOver(link)) return
  // A time that is none, from an authenticator that has made a mistake, has passed.
  if (!(now < link.expiresAt)) Link.end(link, Effect.succeed({ _tag: "Expired" }))
  const next = Math.min(
    link.expiresAt,
    Writer.look(session.outbox, link, now),
    listen(session, link, now),
    idle(session, link, now)
  )
  if (!Link.isOver(link)) AlarmClock.set(session.surroundings.alarms, link.alarm, next)
}

const listen = (session: Session.Session, link: Link.Link, now: number): number => {
  if (!session.features.has("heartbeat")) return Number.POSITIVE_INFINITY
  const { config, fork } = session.surroundings
  const duty: Heartbeat.Duty = { interval: Duration.toMillis(config.heartbeatInterval), role: "runtime" }
  const lostAt = Heartbeat.lostAt(link, duty)
  if (now >= lostAt) Link.end(link, Effect.succeed({ _tag: "Lost" }))
  else if (now >= Heartbeat.pingAt(link, duty)) {
    link.pingedAt = now
    // A queue that is full has signs of life enough.
    if (SessionOutbox.hasRoom(session.outbox)) fork(Dispatcher.ping(session))
  }
  return Math.min(lostAt, Heartbeat.pingAt(link, duty))
}

/** Nothing was asked and no job was delivered for as long as may be; that is found out after twice as long at the latest. */
const idle = ({ outbox, surroundings }: Session.Session, link: Link.Link, now: number): number => {
  if (now >= link.idleAt) {
    const limit = Duration.toMillis(surroundings.config.idleTimeout)
    const isBusy = SessionOutbox.isBusy(outbox)
    if (isBusy || link.wasBusy) link.askedAt = now
    link.wasBusy = isBusy
    link.idleAt = link.askedAt + limit
    if (now >= link.idleAt) Link.end(link, Effect.succeed({ _tag: "Dismissed", reason: "idle" }))
  }
  return link.idleAt
}
