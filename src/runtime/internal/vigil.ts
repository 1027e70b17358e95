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

/** Of the interval of signs of life: how much earlier a ping is sent if others are sent then. */
const leeway = 0.05

/** Looks what is due by now, and sets the alarm for what is not. */
export const look = (session: Session.Session, link: Link.Link, now: number): void => {
  if (Link.isOver(link)) return
  // A time that is none, from an authenticator that has made a mistake, has passed.
  if (!(now < link.expiresAt)) Link.end(link, Effect.succeed({ _tag: "Expired" }))
  const duty = dutyOf(session)
  const lostAt = Heartbeat.lostAt(link, duty)
  if (now >= lostAt) Link.end(link, Effect.succeed({ _tag: "Lost" }))
  const stallsAt = Writer.look(session.outbox, link, now)
  const idleAt = idle(session, link, now)
  if (Link.isOver(link)) return
  const pingAt = ask(session, link, duty, now)
  const next = Math.min(link.expiresAt, lostAt, stallsAt, idleAt, pingAt)
  AlarmClock.set(session.surroundings.alarms, link.alarm, next, next === pingAt ? duty.interval * leeway : 0)
}

const dutyOf = ({ features, surroundings: { config } }: Session.Session): Heartbeat.Duty => ({
  interval: features.has("heartbeat") ? Duration.toMillis(config.heartbeatInterval) : Number.POSITIVE_INFINITY,
  role: "runtime"
})

/** Asks for a sign of life, if that is about due. */
const ask = (session: Session.Session, link: Link.Link, duty: Heartbeat.Duty, now: number): number => {
  if (now >= Heartbeat.pingAt(link, duty) - duty.interval * leeway) {
    link.pingedAt = now
    // A queue that is full has signs of life enough.
    if (SessionOutbox.hasRoom(session.outbox)) Writer.attend(session.outbox, link, Dispatcher.ping(session))
  }
  return Heartbeat.pingAt(link, duty)
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
